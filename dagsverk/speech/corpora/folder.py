"""A folder of recordings, or an archive of one: with tables of what is said, or a text beside each.

    metadata.jsonl   {"file": "clips/1.wav", "text": "hej", "speaker": "anna"}    (or .csv, .tsv)
    clips/1.wav
or
    anything/1.wav, anything/1.txt
or as others publish it: see `readers` for what each layout is, and `layouts` for which one is there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from dagsverk.speech.corpora.common_voice import CommonVoice, release_folders
from dagsverk.speech.corpora.corpus import Clip, Listing, RejectedClip, Split, Tally
from dagsverk.speech.corpora.identity import clean_value, is_asked_for
from dagsverk.speech.corpora.layouts import Choice, find_sources, read_together
from dagsverk.speech.corpora.pairs import find_pairs, read_pairs
from dagsverk.speech.corpora.parts import Part, read_span
from dagsverk.speech.corpora.places import Entry, Place
from dagsverk.speech.corpora.readers import Source, Values, read_rows
from dagsverk.speech.corpora.resolving import Recordings, is_sound, is_whole_path
from dagsverk.speech.corpora.rows import (
    SPLIT_NAMES,
    list_with_audio,
    parse_seconds,
    read_clips,
)
from dagsverk.speech.corpora.splits import shared_folder, split_named, split_of_path, top_folder
from dagsverk.speech.corpora.unpacking import ARCHIVES, REFUSED
from dagsverk.speech.errors import CorpusError

FACTS = ("speaker", "gender", "age", "accent", "licence", "translation")  # that a clip takes as they are
NO_ROW = "recordings that no table names"
NO_TEXT = "recordings without a text"

NO_PART = "no part of a recording"

Fault = tuple[str, str]  # reason, detail
Span = tuple[float, float]  # start and end in a recording, s
UNTOLD = cast(Split, "")  # until the recording's folders are looked at


@dataclass
class FolderCorpus:
    """Its rows in the tables' order, or in that of the files' names."""

    place: Place
    language: str
    columns: Mapping[str, str] = field(default_factory=dict)  # meaning -> the user's name for it
    name: str = ""
    sequential: bool = False
    _listing: Listing | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.sequential = self.place.sequential
        self.name = self.name or self.place.name

    def listing(self) -> Listing:
        if self._listing is None:
            files = self.place.files()
            self._listing = self._release() if release_folders(files) else self._list(files)
        return self._listing

    def read(self, clips: Sequence[Clip]) -> Iterator[tuple[Clip, bytes | RejectedClip]]:
        yield from read_clips(self.place, clips)

    def _release(self) -> Listing:
        """It was too far down, or too far behind in an archive, to be seen at once."""
        release = CommonVoice(self.place, self.language)
        self.name = release.name
        return release.listing()

    def _list(self, files: dict[str, Entry]) -> Listing:
        tally = Tally()
        choice = find_sources(self.place, files, self.columns)
        if not choice.sources:
            return list_with_audio(self.place, files, self._paired(files, tally), tally)
        tally.notes += read_together(choice.sources)
        recordings, named = Recordings(files, self.place.url), set[str]()
        clips = [
            clip
            for source in choice.sources
            for clip in self._told(source, recordings, tally, named, alone=len(choice.sources) == 1)
        ]
        self._count_rest(files, choice, named, tally)
        return list_with_audio(self.place, files, clips, tally)

    def _told(
        self, source: Source, recordings: Recordings, tally: Tally, named: set[str], *, alone: bool
    ) -> Iterator[Clip]:
        """The clips of a table. `named` gets the recordings that it names, whatever becomes of their rows."""
        rows = [
            (
                label,
                values["audio"].strip(),
                "stem" in values,
                *self._clip(values, source, tally, label, alone=alone),
            )
            for label, values in read_rows(self.place, source, tally, self.columns)
        ]
        stated = [row[1].replace("\\", "/") for row in rows]
        if rows and rows[0][2]:
            paths = [recordings.named(audio, source.folder) for audio in stated]
        else:
            paths, note = recordings.resolve(stated, source.folder)
            tally.notes += [note] if note else []
        named.update(paths)
        parts = {path for path, (*_, span) in zip(paths, rows, strict=True) if span and span[0] > 0}
        root, shared = recordings.root, recordings.shared
        above = shared_folder(stated)
        for path, (label, audio, _, clip, span) in zip(paths, rows, strict=True):
            if clip is None:
                continue
            if not isinstance(clip, Clip):
                tally.reject(label, *clip)
            elif not path:
                tally.reject(label, "path outside the folder", _why_outside(audio))
            else:
                split = _told_split(clip, path.removeprefix(shared), audio.removeprefix(above))
                cut = span if span and (path in parts or source.kind == "kaldi") else None
                address = str(Part(path, *cut)) if cut else path
                length_s = cut[1] - cut[0] if cut and cut[1] < math.inf else None
                yield replace(
                    clip,
                    id=clip.id or address.removeprefix(root),
                    audio=address,
                    split=split,
                    duration_s=clip.duration_s or length_s,
                )

    def _clip(
        self, values: Values, source: Source, tally: Tally, label: str, *, alone: bool
    ) -> tuple[Clip | Fault | None, Span | None]:
        """The clip of a row, its recording not found yet, or reason and detail of why there is none; None for
        one in another language, which is counted here. And where in its recording it is, if it says so."""
        plain = {meaning: value.strip() for meaning, value in values.items()}
        if not is_asked_for(plain.get("language", ""), self.language, tally, label):
            return None, None
        try:
            span = read_span(plain.get("start", ""), plain.get("end", ""), plain.get("duration_s", ""))
        except ValueError as error:
            return (NO_PART, str(error)), None
        split = clean_value(plain.get("split", "")).lower()
        if split and split not in SPLIT_NAMES and not split_named(split):
            return ("unknown split", f"{split!r}; want train, dev or test"), None
        stated = SPLIT_NAMES.get(split) or split_named(split) or source.split
        clip = Clip(
            id=plain.get("id", "") if alone or source.kind == "kaldi" else "",
            audio=plain["audio"],
            text=values["text"],
            language=self.language,
            split=stated or UNTOLD,
            duration_s=parse_seconds(plain.get("duration_s")),
            **{name: plain.get(name, "") for name in FACTS},
        )
        return clip, span

    def _paired(self, files: dict[str, Entry], tally: Tally) -> list[Clip]:
        pairs = find_pairs(files)
        sound = [path for path in files if is_sound(path)]
        if not pairs:
            raise self._no_corpus(files, len(sound))
        if rest := len(sound) - len(pairs):
            tally.rows += rest
            tally.left_out[NO_TEXT] += rest
        root, shared = top_folder(files), shared_folder(files)
        return [
            Clip(
                id=path.removeprefix(root),
                audio=path,
                text=text,
                language=self.language,
                split=split_of_path(path.removeprefix(shared)) or "train",
            )
            for path, text in read_pairs(self.place, files, pairs, tally)
        ]

    def _count_rest(self, files: Mapping[str, Entry], choice: Choice, named: set[str], tally: Tally) -> None:
        """Recordings that no table names are left out, and counted.

        Raises: CorpusError if they are a corpus of their own: half of what is there would be used in silence.
        """
        rest = {path: entry for path, entry in files.items() if is_sound(path) and path not in named}
        if not rest:
            return
        folders = {above for path in named for above in _above(path)}
        others = [f"{one.path} of others" for one in choice.passed_over if one.folder not in folders]
        texts = {path: entry for path, entry in files.items() if not is_sound(path)}
        pairs = [
            path for path in find_pairs({**rest, **texts}) if f"{path.rpartition('/')[0]}/" not in folders
        ]
        others += [f"{len(pairs):,} have a text beside them ({pairs[0]})"] if pairs else []
        if others:
            first = ", ".join(one.path for one in choice.sources[:3])
            raise CorpusError(
                f"{self.place.url} holds two corpora: {first} tells of {len(named):,} recordings, and "
                f"{', '.join(others[:3])}; give one of the folders, or a table of all"
            )
        tally.rows += len(rest)
        tally.left_out[NO_ROW] += len(rest)

    def _no_corpus(self, files: Mapping[str, Entry], sound: int) -> CorpusError:
        hint = next((hint for ends, hint in HINTS.items() if _first(files, ends)), "").format(
            *(_first(files, ends) for ends in HINTS if _first(files, ends))
        )
        return CorpusError(
            f"{self.place.url} holds no corpus: want a table of texts (metadata.csv, .tsv or .jsonl), "
            f"recordings with a .txt beside each, a release of Common Voice, or a Hugging Face data set; "
            f"found {sound:,} recordings and {len(files) - sound:,} other files{hint}"
        )


HINTS = {  # endings of files that people take for a corpus -> the next move
    (".parquet", ".arrow"): "; Parquet ({}) is read from a local folder: unpack it and give that",
    (*ARCHIVES, *REFUSED): "; archives in there are not opened: give {} itself, or unpack it",
    (".xlsx", ".xls", ".ods", ".numbers"): "; a spreadsheet is not read: save {} as CSV",
}


def _first(files: Mapping[str, Entry], endings: tuple[str, ...]) -> str:
    return next((path for path in files if path.lower().endswith(endings)), "")


def _why_outside(stated: str) -> str:
    other = "; no recording here has a name that ends so" if is_whole_path(stated) else ""
    return f"{stated!r}; want a path below the folder{other}"


def _told_split(clip: Clip, path: str, stated: str) -> Split:
    """That of the table, else of the recording's folders, else of those that the table names."""
    return clip.split or split_of_path(path) or split_of_path(stated) or "train"


def _above(path: str) -> Iterator[str]:
    """The folders above a path: "", "a/", "a/b/"."""
    parts = path.split("/")[:-1]
    for depth in range(len(parts) + 1):
        yield "".join(f"{part}/" for part in parts[:depth])
