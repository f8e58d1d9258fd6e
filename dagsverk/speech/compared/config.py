"""What people decide about a comparison of two models that write down speech. Light; checked when built."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field

from dagsverk.addresses import SCHEMA, refuse_address, refuse_keys
from dagsverk.form import CLOSED
from dagsverk.speech.config import Count, Windows, published_model

Kind: TypeAlias = Literal["champion", "version", "before", "published", "program"]
Form: TypeAlias = Literal["served", "weights", "int8", "float16"]
Runner: TypeAlias = Literal["own", "transformers", "faster-whisper"]
MOST_CLIPS = 20_000
MAX_AT_ONCE = 32
MAX_WAIT_S = 3600.0
_OF: Mapping[str, tuple[Kind, ...]] = {  # a field -> kinds of contender that have it
    "version": ("version", "before"),
    "form": ("champion", "version"),
    "model": ("published", "program"),
    "runs_on": ("published",),
    "address": ("program",),
}
_Price = Annotated[float, Field(ge=0, le=1e6)]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A model that is compared, and how it is asked. Keys are no part of it, see `program.key_of`."""

    __pydantic_config__ = CLOSED

    # of the store: the champion, a version, or what a version was trained from; or published; or a program
    kind: Kind = "champion"
    version: Count | None = None  # of `version` and `before`; None: of the champion
    form: Form = "served"  # of the store: as it is served here, its own weights by torch, or an export
    windows: Windows | None = None  # of the store's weights; None: the mode that it is served in
    model: str = ""  # published: a hub name or a folder; program: the name that it is asked for
    runs_on: Runner = "own"  # published: our decoding, or a library that is installed
    # of a program that answers OpenAI's route, with the /v1 that stands before /audio/transcriptions
    address: Annotated[str, Field(json_schema_extra=SCHEMA)] = ""
    at_once: Annotated[int, Field(ge=1, le=MAX_AT_ONCE)] = 1  # clips that a program is asked for at a time
    timeout_s: Annotated[float, Field(gt=0, le=MAX_WAIT_S)] = 120.0  # for one clip, all of the answer
    edition: Annotated[str, Field(max_length=100)] = ""  # another word: what was kept is asked for again
    price_per_machine_hour: _Price | None = None  # in whatever currency
    price_per_audio_minute: _Price | None = None

    def __post_init__(self) -> None:
        if self.kind == "published":
            published_model(self.model)
        if self.kind == "program":
            check_program(self.address)
            refuse_address(self.model, "the name of a model")
            if not self.model.strip():
                raise ValueError("a program is asked for a model by its name, such as whisper-1: give model")
        if self.kind == "version" and self.version is None:
            raise ValueError("kind version wants a version; the one in use is kind champion")
        if self.windows is not None and self.form != "weights":
            raise ValueError("windows can be chosen of form weights alone; other forms work as served")
        for name, kinds in _OF.items():
            if (
                getattr(self, name) != type(self).__dataclass_fields__[name].default
                and self.kind not in kinds
            ):
                raise ValueError(f"{name} is of kind {' or '.join(kinds)}, and the kind is {self.kind}")
        _between("at_once", self.at_once, 1, MAX_AT_ONCE)
        _between("timeout_s", self.timeout_s, 0.001, MAX_WAIT_S)
        for name in ("price_per_machine_hour", "price_per_audio_minute"):
            if getattr(self, name) is not None:
                _between(name, getattr(self, name), 0, 1e6)


def _between(name: str, value: float, low: float, high: float) -> None:
    if isinstance(value, bool) or not (math.isfinite(value) and low <= value <= high):
        raise ValueError(f"{name} must be from {low:g} to {high:g}, got {value!r}")


def check_program(address: str) -> str:
    """The address without a slash at its end. Raises ValueError for one that is not http(s), or has keys."""
    refuse_keys(address)
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"the address cannot be read: {error}") from error
    if parts.scheme.lower() not in ("http", "https") or not host:
        raise ValueError(
            "want the address of a program, such as http://127.0.0.1:8000/v1, got "
            f"{parts.scheme + '://' if parts.scheme else 'no scheme'}; files are no programs"
        )
    return address.rstrip("/")


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """On which clips, and how exactly."""

    __pydantic_config__ = CLOSED

    # test: test clips of a prepared set; corpus: all clips of the corpus that is given, whichever split
    clips: Literal["test", "corpus"] = "test"
    set: str = ""  # of `test`; empty: the newest of the language
    most_clips: Annotated[int, Field(ge=2, le=MOST_CLIPS)] = 500  # of more a draw, of every speaker in turn
    resamples: Annotated[int, Field(ge=100, le=100_000)] = 2000
    min_group_clips: Count = 20  # a smaller group is not compared
    examples: Annotated[int, Field(ge=0, le=100)] = 12  # clips shown, with audio, that differ most
    seed: int = 0

    def __post_init__(self) -> None:
        if self.set and self.clips != "test":
            raise ValueError("set is of clips: test; of clips: corpus all that the corpus has is compared")
        for name, low, high in (
            ("most_clips", 2, MOST_CLIPS), ("resamples", 100, 100_000), ("examples", 0, 100),
            ("min_group_clips", 1, MOST_CLIPS),
        ):  # fmt: skip
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{name} must be a whole number from {low} to {high}, got {value!r}")


def digest(*parts: Any) -> str:
    """The name of what depends on these, in JSON types."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def settings_of(contender: Contender) -> dict[str, Any]:
    """All but prices, speed and patience: what its texts depend on, besides its weights."""
    beside = ("at_once", "timeout_s", "price_per_machine_hour", "price_per_audio_minute")
    return {name: value for name, value in asdict(contender).items() if name not in beside}
