"""A shard while its clips arrive, in any order; with the changed copies of them, if these are asked for."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, TypeAlias

from dagsverk.speech.corpora.corpus import Clip, RejectedClip, Split
from dagsverk.speech.features import suspicions
from dagsverk.speech.features.clips import COPIES, Made
from dagsverk.speech.features.shards import CopiesRecord, ShardRecord

Row: TypeAlias = Mapping[str, Any]
Waiting: TypeAlias = tuple[dict[str, Any], int, int]  # a row without its spectrum; where that is, its bytes


class Building:
    """Spectra wait in a file that vanishes with its process."""

    def __init__(self, clips: Iterable[Clip]) -> None:
        self.missing = {clip.id: place for place, clip in enumerate(clips)}
        self._rows: dict[int, Waiting] = {}
        self._copies: dict[tuple[int, int], Waiting] = {}  # by the clip's place, and the copy's number
        self._copies_left_out: Counter[str] = Counter()
        self._rejected: dict[int, RejectedClip] = {}
        self._texts: dict[int, tuple[str, str, float, str]] = {}  # clip, text, its seconds, language
        self._file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115  closed when written, or with the process

    def add(self, clip: Clip, made: Made) -> None:
        place = self.missing.pop(clip.id)
        if isinstance(made, RejectedClip):
            self._rejected[place] = made
            return
        for number, copy in enumerate(made.pop(COPIES, ())):
            if isinstance(copy, RejectedClip):
                self._copies_left_out[copy.reason] += 1
            else:
                self._copies[place, number] = self._kept(copy)
        self._texts[place] = (clip.id, clip.text, made["duration_s"], clip.language)
        self._rows[place] = self._kept(made)

    def rows(self) -> Iterator[Row]:
        """In the order of the plan."""
        return self._with_spectra(self._rows)

    def copies(self) -> Iterator[Row]:
        """In the order of the plan."""
        return self._with_spectra(self._copies)

    def close(self) -> None:
        """What was kept is no longer needed."""
        self._file.close()

    def record(self, number: int, split: Split, path: str, size: int, sha256: str) -> ShardRecord:
        """Of the shard, now that it is written."""
        rows = [row for _, (row, _, _) in sorted(self._rows.items())]
        speakers = {row["speaker"] for row in rows if row["speaker"]}
        return ShardRecord(
            number=number,
            path=path,
            split=split,
            bytes=size,
            sha256=sha256,
            clips=len(rows),
            seconds=round(sum(row["duration_s"] for row in rows), 3),
            speakers=tuple(sorted(hashlib.sha256(one.encode()).hexdigest()[:16] for one in speakers)),
            licences=dict(sorted(Counter(row["licence"] for row in rows).items())),
            rejected=tuple(one for _, one in sorted(self._rejected.items())),
            suspicious=suspicions.count(about for _, about in sorted(self._texts.items())),
        )

    def copies_record(self, path: str, size: int, sha256: str) -> CopiesRecord:
        """Of the copies, now that they are written."""
        return CopiesRecord(
            path=path,
            bytes=size,
            sha256=sha256,
            clips=len(self._copies),
            seconds=round(sum(row["duration_s"] for row, _, _ in self._copies.values()), 3),
            left_out=dict(sorted(self._copies_left_out.items())),
        )

    def _kept(self, row: dict[str, Any]) -> Waiting:
        mel = row.pop("mel")
        start = self._file.seek(0, 2)
        self._file.write(mel)
        return row, start, len(mel)

    def _with_spectra(self, rows: Mapping[Any, Waiting]) -> Iterator[Row]:
        for _, (row, start, length) in sorted(rows.items(), key=lambda item: item[0]):
            self._file.seek(start)
            yield {**row, "mel": self._file.read(length)}
