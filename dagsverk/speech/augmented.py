"""Which changed copies of train's recordings a set has beside them. Light; checked when built."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from dagsverk.addresses import refuse_address
from dagsverk.form import CLOSED

Share = Annotated[float, Field(ge=0, le=1)]
Speed = Annotated[float, Field(ge=0.5, le=2)]
MOST_COPIES = 10
MOST_GAIN_DB = 30.0
FOLDERS = ("noises", "rooms")  # fields that say where something lies: a set is named by what lies there


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Copies of each of train's clips, changed by chance that follows from seed and clip.

    What is done to a copy, in this order: speed, room, noise, gain, telephone.
    """

    __pydantic_config__ = CLOSED

    copies: Annotated[int, Field(ge=1, le=MOST_COPIES)] = 1  # of each clip
    speeds: tuple[Speed, ...] = ()  # a clip's copies take turns, such as 0.9, 1.1; empty: as it is
    noise_share: Share = 0.0  # of copies that get noise
    snr_db: tuple[float, float] = (5.0, 20.0)  # least and most, of the voice above the noise
    noises: str = (
        ""  # a folder of recordings of noise, on each worker's machine; empty: coloured noise is made
    )
    room_share: Share = 0.0  # of copies that sound as in a room
    rooms: str = ""  # a folder of impulse responses; empty: rooms are made
    telephone_share: Share = 0.0  # of copies that come over a telephone line
    gain_db: Annotated[float, Field(ge=0, le=MOST_GAIN_DB)] = (
        0.0  # copies are so much louder or quieter at most
    )
    seed: int = 0

    def __post_init__(self) -> None:
        _check_copies(self.copies)
        object.__setattr__(self, "speeds", tuple(map(float, self.speeds)))
        object.__setattr__(self, "snr_db", tuple(map(float, self.snr_db)))
        if not all(0.5 <= speed <= 2 for speed in self.speeds) or len(set(self.speeds)) < len(self.speeds):
            raise ValueError(f"speeds must be from 0.5 to 2, each once, got {list(self.speeds)!r}")
        for name in ("noise_share", "room_share", "telephone_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)!r}")
        if len(self.snr_db) != 2 or not -20 <= self.snr_db[0] <= self.snr_db[1] <= 60:
            raise ValueError(
                f"snr_db wants the least and the most, from -20 to 60, got {list(self.snr_db)!r}"
            )
        if not (math.isfinite(self.gain_db) and 0 <= self.gain_db <= MOST_GAIN_DB):
            raise ValueError(f"gain_db must be in [0, {MOST_GAIN_DB:g}], got {self.gain_db!r}")
        for name, share in (("noises", "noise_share"), ("rooms", "room_share")):
            refuse_address(getattr(self, name), f"a local folder in {name}")
            if getattr(self, name) and not getattr(self, share):
                raise ValueError(f"{name} names a folder, and {share} is 0: nothing of it would be used")
        if not self.changes_anything:
            raise ValueError(
                "the copies would be what they are copied from; name speeds, noise_share, room_share, "
                "telephone_share or gain_db, or leave out augment"
            )

    @property
    def changes_anything(self) -> bool:
        shares = self.noise_share, self.room_share, self.telephone_share, self.gain_db
        return any(shares) or any(speed != 1 for speed in self.speeds)


def _check_copies(copies: int) -> None:
    if isinstance(copies, bool) or not isinstance(copies, int) or not 1 <= copies <= MOST_COPIES:
        raise ValueError(f"copies must be a whole number from 1 to {MOST_COPIES}, got {copies!r}")
