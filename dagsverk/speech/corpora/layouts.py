"""Which tables of a place tell what is said in its recordings: what is there decides, not where it lies.

One table is read; tables whose names or folders are those of splits are read as splits; tables of one kind in
folders of their own are read together. Where that leaves a choice, nothing is read, and it is told.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dagsverk.speech.corpora.corpus import Split, Tally
from dagsverk.speech.corpora.places import Place
from dagsverk.speech.corpora.readers import MAX_BARS, Kind, Source, parse_array
from dagsverk.speech.corpora.rows import find_columns
from dagsverk.speech.corpora.splits import shared_folder, split_named, split_of_path
from dagsverk.speech.corpora.tables import Row, parse_jsonl, parse_table
from dagsverk.speech.errors import CorpusError

USUAL_TABLES = ("metadata", "texts", "transcripts")
TABLE_ENDINGS = (".jsonl", ".csv", ".tsv")
SPONTANEOUS = re.compile(r"ss-corpus-[\w-]+\.tsv")
TRANSCRIPTS = re.compile(r"(.+\.trans|transcripts?|trans)\.txt|line_index\.tsv")  # LibriSpeech, MLS, OpenSLR
BARS = re.compile(r"(metadata|train|val|valid|dev|test|texts)([-_]\w+)*\.txt|.*filelist.*\.txt")
KALDI_PARTS = re.compile(r"split\d+(utt)?")  # of a data folder, made for the processes of a recipe
MAX_LOOKED_AT = 200  # tables of which the first line is read
FIRST_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The tables to be read, held-out splits first, and those that tell of recordings and are not read."""

    sources: Sequence[Source] = ()
    passed_over: Sequence[Source] = ()


def find_sources(place: Place, files: Mapping[str, object], columns: Mapping[str, str]) -> Choice:
    """What tells the texts. Raises CorpusError where there is a choice."""
    tables = [*_tables(place, files, columns), *_bar_transcripts(place, files)]
    kinds = [kind for kind in (_kaldi(files), _transcripts(place, files), tables) if kind]
    if len(kinds) > 1:
        named = "; ".join(_names(kind) for kind in kinds)
        raise CorpusError(
            f"{place.url} tells the texts in several ways ({named}); give a folder with one of them"
        )
    chosen = _chosen(place, tables) if tables else kinds[0] if kinds else []
    order = {"test": 0, "dev": 1, "train": 2, None: 3}
    return Choice(
        sources=sorted(chosen, key=lambda one: (order[one.split], one.path)),
        passed_over=[table for table in tables if table not in chosen],
    )


def read_together(sources: Sequence[Source]) -> list[str]:
    """A note, if tables were put together that may have been meant as corpora of their own."""
    tables = [source for source in sources if source.kind not in ("kaldi", "transcript")]
    splits = Counter(source.split for source in tables)
    if not tables or max(splits.values()) == 1:
        return []
    return [f"{len(tables):,} tables are read together: {_names(tables)}"]


def _chosen(place: Place, tables: Sequence[Source]) -> Sequence[Source]:
    of_splits = [table for table in tables if table.split]
    if of_splits and (len(of_splits) == len(tables) or len({table.split for table in of_splits}) > 1):
        return _one_of_each_name(place, of_splits)
    folders: dict[str, list[Source]] = {}
    for table in tables:
        folders.setdefault(table.folder, []).append(table)
    top = min(folders, key=len)
    if all(folder.startswith(top) for folder in folders):  # a table above others
        return [_one(place, folders[top])]
    return [_one(place, group) for group in folders.values()]


def _one_of_each_name(place: Place, tables: Sequence[Source]) -> list[Source]:
    """In a folder for one split, the table of a usual name goes before others."""
    groups: dict[tuple[str, Split | None], list[Source]] = {}
    for table in tables:
        groups.setdefault((table.folder, table.split), []).append(table)
    chosen = []
    for group in groups.values():
        usual = [table for table in group if table.stem.lower() in USUAL_TABLES]
        chosen += usual or group
        names = Counter(f"{table.folder}{table.stem.lower()}" for table in usual or group)
        if max(names.values()) > 1:
            raise _several(place, usual or group)
    return chosen


def _one(place: Place, tables: Sequence[Source]) -> Source:
    for name in USUAL_TABLES:
        if usual := [table for table in tables if table.stem.lower() == name]:
            tables = usual
            break
    if len(tables) > 1:
        raise _several(place, tables)
    return tables[0]


def _several(place: Place, tables: Sequence[Source]) -> CorpusError:
    return CorpusError(
        f"{place.url} holds several tables ({_names(tables)}); keep one, call one metadata.csv, or, if they "
        "are splits, call them train.csv, dev.csv and test.csv"
    )


def _names(tables: Sequence[Source]) -> str:
    return ", ".join(table.path for table in tables[:4]) + (
        f" and {len(tables) - 4:,} more" if len(tables) > 4 else ""
    )


def _split(path: str) -> Split | None:
    return split_named(path.rpartition("/")[2].rpartition(".")[0]) or split_of_path(path)


def _kaldi(files: Mapping[str, object]) -> list[Source]:
    shared = shared_folder(files)
    folders = [path.removesuffix("wav.scp") for path in files if f"/{path}".endswith("/wav.scp")]
    return [
        Source(path=f"{folder}wav.scp", kind="kaldi", split=split_of_path(folder.removeprefix(shared)))
        for folder in folders
        if f"{folder}text" in files and not any(KALDI_PARTS.fullmatch(part) for part in folder.split("/"))
    ]


def _transcripts(place: Place, files: Mapping[str, object]) -> list[Source]:
    shared = shared_folder(files)
    return [
        Source(path=path, kind="transcript", split=split_of_path(path.removeprefix(shared)))
        for path in _transcript_files(files)
        if not _bars(place, path)
    ]


def _bar_transcripts(place: Place, files: Mapping[str, object]) -> list[Source]:
    """CSS10 calls its table of `path|text|…` transcript.txt."""
    shared = shared_folder(files)
    paths = [path for path in _transcript_files(files) if not path.endswith((".trans.txt", ".tsv"))]
    return [
        Source(path=path, kind="bars", split=_split(path.removeprefix(shared)))
        for path in paths
        if _bars(place, path)
    ]


def _transcript_files(files: Mapping[str, object]) -> list[str]:
    return [
        path
        for path in files
        if TRANSCRIPTS.fullmatch(path.rpartition("/")[2]) and not _beside_sound(path, files)
    ]


def _bars(place: Place, path: str) -> int:
    """How many bars its first line has. LibriSpeech's tables, of which there are thousands, have none."""
    if path.endswith((".trans.txt", ".tsv")):
        return 0
    return place.table(path)[:FIRST_BYTES].lstrip().split(b"\n", 1)[0].count(b"|")


def _tables(place: Place, files: Mapping[str, object], columns: Mapping[str, str]) -> list[Source]:
    """Tables of texts. Where there are several, those are left out that have no recordings or no texts."""
    endings = (*TABLE_ENDINGS, ".json", ".txt")
    candidates = [path for path in files if path.lower().endswith(endings) and _may_be(path, files)]
    sure = [path for path in candidates if path.lower().endswith(TABLE_ENDINGS)]
    if len(candidates) > MAX_LOOKED_AT:
        shallow = min(path.count("/") for path in candidates)
        candidates = [path for path in candidates if path.count("/") == shallow][:MAX_LOOKED_AT]
    kinds = {path: kind for path in candidates if (kind := _kind(place, path, columns))}
    if not kinds and len(sure) == 1:  # its fault is told when it is read
        kinds = {sure[0]: "table"}
    if not kinds and len(sure) > 1:
        raise CorpusError(
            f"{place.url} holds several tables ({', '.join(sorted(sure)[:4])}), and none has rows and, by "
            "usual names, a column of recordings and one of texts; keep one, and name its audio_column and "
            "text_column"
        )
    shared = shared_folder(files)
    return [
        Source(path=path, kind=kind, split=_split(path.removeprefix(shared))) for path, kind in kinds.items()
    ]


def _may_be(path: str, files: Mapping[str, object]) -> bool:
    name = path.rpartition("/")[2].lower()
    if name.endswith(".txt"):
        return (
            bool(BARS.fullmatch(name)) and not TRANSCRIPTS.fullmatch(name) and not _beside_sound(path, files)
        )
    if name.endswith(".json"):
        return not _beside_sound(path, files)
    return name != "line_index.tsv"


def _beside_sound(path: str, files: Mapping[str, object]) -> bool:
    """Whether it belongs to one recording: 1.json beside 1.wav."""
    bare = path.rpartition(".")[0]
    return any(f"{bare}{ending}" in files for ending in (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a"))


def _kind(place: Place, path: str, columns: Mapping[str, str]) -> Kind | None:
    """What the first lines of a table show it to be; None: no table of recordings and their texts."""
    content = place.table(path)
    first = content[:FIRST_BYTES]
    first = first if len(first) == len(content) else first[: first.rfind(b"\n") + 1]
    ending = path.lower().rpartition(".")[2]
    if SPONTANEOUS.fullmatch(path.rpartition("/")[2]):
        return "spontaneous"
    if ending == "json":
        array = content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
        rows = parse_array(content, path, Tally()) if array else parse_jsonl(first, path, Tally(), columns)
        return ("array" if array else "lines") if _has_columns(rows, columns, path) else None
    if ending != "txt" and _has_columns(parse_table(first, path, Tally(), columns), columns, path):
        return "table"
    bars = first.lstrip().split(b"\n", 1)[0].count(b"|")
    return "bars" if ending in ("csv", "txt") and 1 <= bars < MAX_BARS else None


def _has_columns(rows: Iterator[tuple[int, Row]], columns: Mapping[str, str], path: str) -> bool:
    try:
        names = list(next(rows, (0, {}))[1])
        named = {meaning: name for meaning, name in columns.items() if name in names}
        return {"audio", "text"} <= set(find_columns(names, named, path))
    except CorpusError:
        return False
