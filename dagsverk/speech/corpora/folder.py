"""A folder of recordings: with a table of what is said in them, or with a text beside each recording.

    metadata.jsonl   {"file": "clips/1.wav", "text": "hej", "speaker": "anna"}    (or .csv, .tsv)
    clips/1.wav
or
    anything/1.wav, anything/1.txt
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dagsverk.speech.corpora.corpus import Clip, Listing, RejectedClip, Split, Tally
from dagsverk.speech.corpora.places import REGULAR, Entry, Place
from dagsverk.speech.corpora.rows import (
    SPLIT_NAMES,
    find_columns,
    is_other_language,
    list_with_audio,
    parse_seconds,
    read_clips,
)
from dagsverk.speech.corpora.tables import Row, decode_utf8, parse_table
from dagsverk.speech.errors import CorpusError

USUAL_TABLES = ("metadata", "texts", "transcripts")
TABLE_ENDINGS = (".jsonl", ".csv", ".tsv")
MAX_TEXT_BYTES = 1 << 20  # beside a recording of 30 s
SOUND = (
    ".wav", ".mp3", ".flac", ".ogg", ".oga", ".opus", ".m4a", ".mp4", ".webm", ".mkv", ".mov", ".aac", ".amr",
    ".wma", ".aif", ".aiff", ".avi", ".3gp",
)  # fmt: skip


def find_table(files: Sequence[str], where: str) -> str:
    """The table of texts at the top of the folder; "" if there is none. Raises CorpusError for several."""
    tables = [path for path in files if "/" not in path and path.endswith(TABLE_ENDINGS)]
    for name in USUAL_TABLES:
        if usual := [f"{name}{ending}" for ending in TABLE_ENDINGS if f"{name}{ending}" in tables]:
            tables = usual
            break
    if len(tables) > 1:
        raise CorpusError(
            f"{where} holds several tables ({', '.join(tables)}); keep one, or call one metadata.csv"
        )
    return tables[0] if tables else ""


@dataclass
class FolderCorpus:
    """Its rows in the table's order, or in that of the files' names."""

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
            tally = Tally()
            path = find_table(list(files), self.place.url)
            clips = self._rows(path, tally) if path else self._pairs(files, tally)
            self._listing = list_with_audio(self.place, files, list(clips), tally)
        return self._listing

    def read(self, clips: Sequence[Clip]) -> Iterator[tuple[Clip, bytes | RejectedClip]]:
        yield from read_clips(self.place, clips)

    def _rows(self, path: str, tally: Tally) -> Iterator[Clip]:
        where = f"{self.place.url}/{path}"
        layouts: dict[tuple[str, ...], dict[str, str]] = {}  # lines of JSON may differ in what they tell
        for line, row in parse_table(self.place.table(path), where, tally, self.columns):
            names = tuple(row)
            if names not in layouts:
                layouts[names] = self._columns(names, where, first=not layouts)
            clip = self._clip(row, layouts[names])
            if isinstance(clip, Clip):
                yield clip
            elif clip:
                tally.reject(f"{path} line {line}", *clip)
            else:
                tally.left_out["other language"] += 1

    def _columns(self, names: Sequence[str], where: str, *, first: bool) -> dict[str, str]:
        """meaning -> column. Raises CorpusError if the first row shows that the table is of another kind."""
        named = {meaning: name for meaning, name in self.columns.items() if first or name in names}
        columns = find_columns(names, named, where)
        for meaning in ("audio", "text"):
            if first and meaning not in columns:
                raise CorpusError(
                    f"{where} has no column of {meaning} by a usual name; it has {', '.join(names)}: "
                    f"name it as {meaning}_column"
                )
        return columns

    def _clip(self, row: Row, columns: Mapping[str, str]) -> Clip | tuple[str, str] | None:
        """The clip of a row, or reason and detail of why there is none; None for one in another language."""
        if not {"audio", "text"} <= set(columns):
            return "malformed row", f"want a recording and a text, found {', '.join(row)}"
        values = {meaning: row[name].strip() for meaning, name in columns.items()}
        audio = values["audio"].replace("\\", "/").removeprefix("./")
        if not audio or audio.startswith("/") or ".." in audio.split("/") or ":" in audio.split("/")[0]:
            return "path outside the folder", f"{values['audio']!r}; want a path below the folder"
        if is_other_language(values.get("language", ""), self.language):
            return None
        split = values.get("split", "").lower()
        if split and split not in SPLIT_NAMES:
            return "unknown split", f"{split!r}; want train, dev or test"
        return Clip(
            id=values.get("id") or audio,
            audio=audio,
            text=row[columns["text"]],
            language=self.language,
            split=SPLIT_NAMES[split or "train"],
            duration_s=parse_seconds(values.get("duration_s")),
            **{
                name: values.get(name, "")
                for name in ("speaker", "gender", "age", "accent", "licence", "translation")
            },
        )

    def _pairs(self, files: Mapping[str, Entry], tally: Tally) -> Iterator[Clip]:
        """Recordings with a text of the same name beside them; top folders may be called train, dev, test."""
        sound = [path for path in files if path.lower().endswith(SOUND)]
        texts = {path.removesuffix(".txt") for path in files if path.endswith(".txt")}
        paired = [path for path in sound if path.rpartition(".")[0] in texts]
        if not paired:
            raise CorpusError(
                f"{self.place.url} holds no corpus: want a table of texts (metadata.csv, .tsv or .jsonl), "
                f"recordings with a .txt beside each, a release of Common Voice, or a Hugging Face data set; "
                f"found {len(sound):,} recordings and {len(files) - len(sound):,} other files"
            )
        for path in paired:
            tally.rows += 1
            text = path.rpartition(".")[0] + ".txt"
            if files[text].fault:
                tally.reject(path, "not a regular file", f"{text!r} is {files[text].fault}; {REGULAR}")
                continue
            if files[text].size > MAX_TEXT_BYTES:
                detail = f"{text!r} has {files[text].size:,} bytes, want at most {MAX_TEXT_BYTES:,}"
                tally.reject(path, "too long", detail)
                continue
            split: Split = SPLIT_NAMES.get(path.split("/")[0].lower(), "train")
            yield Clip(
                id=path,
                audio=path,
                text=decode_utf8(self.place.table(text), f"{self.place.url}/{text}"),
                language=self.language,
                split=split,
            )
