"""The rows of each layout, by what they mean: recording, text, speaker and others. Where the recordings are
is found later, for all rows of a table together (`resolving`).

    table         a header names columns: metadata.csv, .tsv, .jsonl (Hugging Face AudioFolder, our recorder)
    lines, array  NeMo's manifests, and others in .json: a JSON object in each line, or a list of them
    bars          LJSpeech, Piper, M-AILABS: `id|text`, `id|text|normalised`, `id|speaker|text`, no header
    kaldi         a folder with wav.scp, text, perhaps utt2spk
    transcript    LibriSpeech's *.trans.txt, MLS's transcripts.txt, OpenSLR's line_index.tsv: id and text
    spontaneous   Common Voice's spontaneous speech: ss-corpus-sv.tsv, audios/
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dagsverk.speech.corpora.corpus import Split, Tally
from dagsverk.speech.corpora.places import Place
from dagsverk.speech.corpora.rows import COLUMNS, find_columns, parse_seconds
from dagsverk.speech.corpora.tables import Row, decode_utf8, parse_jsonl, parse_table, parse_tsv, text_lines
from dagsverk.speech.errors import CorpusError

STARTS = ("offset", "start", "start_s", "start_time", "begin")  # columns: where in a recording a row begins,
ENDS = ("end", "end_s", "end_time", "stop")  # and where it ends, if its duration does not say so
SPEAKERS_SHARE = 0.5  # of rows: a second field with fewer values, none of several words, names speakers
MAX_BARS = 4  # fields between bars, of which a fourth is a length, in seconds (CSS10)

READER = re.compile(r"(\d+)([-_])(\d+)\2\d+")  # speaker, chapter or book, utterance
ARK = re.compile(r"\.ark(:\d+)?$")

Values = dict[str, str]  # meaning -> what a row says
Kind = Literal["table", "lines", "array", "bars", "kaldi", "transcript", "spontaneous"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """What tells the texts of some recordings: a table; of Kaldi, the list of recordings in its folder."""

    path: str
    kind: Kind = "table"
    split: Split | None = None  # that its name tells, or its folders

    @property
    def folder(self) -> str:
        """Empty, or with `/` at its end."""
        return self.path[: self.path.rfind("/") + 1]

    @property
    def stem(self) -> str:
        return self.path[len(self.folder) :].rpartition(".")[0]


def read_rows(
    place: Place, source: Source, tally: Tally, columns: Mapping[str, str]
) -> Iterator[tuple[str, Values]]:
    """(label, values) of each row. Those that are none are rejected; each is counted. Raises CorpusError."""
    where = f"{place.url}/{source.path}"
    if source.kind == "kaldi":
        return _kaldi(place, source, tally)
    content = place.table(source.path)
    if source.kind == "bars":
        return _bars(content, source.path, where, tally, columns)
    if source.kind == "transcript":
        return _transcript(content, source, where, tally, place.files())
    if source.kind == "spontaneous":
        return _spontaneous(content, source.path, where, tally)
    if source.kind == "lines":
        rows = parse_jsonl(content, where, tally, columns)
    elif source.kind == "array":
        rows = parse_array(content, where, tally)
    else:
        rows = parse_table(content, where, tally, columns)
    return _by_columns(rows, source.path, where, tally, columns)


def _by_columns(
    rows: Iterator[tuple[int, Row]], path: str, where: str, tally: Tally, columns: Mapping[str, str]
) -> Iterator[tuple[str, Values]]:
    layouts: dict[tuple[str, ...], dict[str, str]] = {}  # lines of JSON may differ in what they tell
    for line, row in rows:
        names = tuple(row)
        if names not in layouts:
            layouts[names] = _columns(names, where, columns, first=not layouts)
        if {"audio", "text"} <= set(layouts[names]):
            yield f"{path} line {line}", {meaning: row[name] for meaning, name in layouts[names].items()}
        else:
            detail = f"want a recording and a text, found {', '.join(row)}"
            tally.reject(f"{path} line {line}", "malformed row", detail)


def _columns(names: Sequence[str], where: str, columns: Mapping[str, str], *, first: bool) -> dict[str, str]:
    """meaning -> column. Raises CorpusError if the first row shows that the table is of another kind."""
    named = {meaning: name for meaning, name in columns.items() if first or name in names}
    meant = find_columns(names, named, where)
    for meaning in ("audio", "text"):
        if first and meaning not in meant:
            raise CorpusError(
                f"{where} has no column of {meaning} by a usual name; it has {', '.join(names)}: "
                f"name it as {meaning}_column, or write the names of columns above, if this is a row"
            )
    start = next((name for name in names if name.lower() in STARTS), "")
    end = next((name for name in names if start and name.lower() in ENDS), "")
    return {**meant, **({"start": start} if start else {}), **({"end": end} if end else {})}


def parse_array(content: bytes, where: str, tally: Tally) -> Iterator[tuple[int, Row]]:
    """(number, row) of a JSON list of objects. Raises CorpusError if it is none."""
    try:
        rows = json.loads(decode_utf8(content, where))
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{where} is no JSON ({error}); mend it") from error
    lines = (json.dumps(row, ensure_ascii=False).encode() for row in rows)
    yield from parse_jsonl(b"\n".join(lines), where, tally)


# ------------------------------------------------------------------ id|text


def _bars(
    content: bytes, path: str, where: str, tally: Tally, columns: Mapping[str, str]
) -> Iterator[tuple[str, Values]]:
    """LJSpeech's has an id, the text as it is written, and the same in words; quotes mean themselves."""
    rows = [(number, line.split("|")) for number, line in text_lines(content, where) if line.strip()]
    rows = rows[1:] if rows and _is_header(rows[0][1]) else rows
    width = len(rows[0][1]) if rows else 0
    if width == MAX_BARS and parse_seconds(rows[0][1][-1]):
        rows, width = [(number, [*row[:3], *row[4:]]) for number, row in rows], 3
    if not 2 <= width <= 3:
        raise CorpusError(
            f"{where} has {width} fields and no header; want id|text, or name them in a first line"
        )
    with_speaker = width == 3 and _second_is_speaker([row for _, row in rows if len(row) == width])
    normalised = columns.get("text", "").startswith("normali")
    for number, row in rows:
        tally.rows += 1
        if len(row) != width:
            tally.reject(
                f"{path} line {number}", "malformed row", f"{len(row)} fields, the first row has {width}"
            )
            continue
        speaker = row[1] if with_speaker else ""
        text = row[2] if with_speaker or (width == 3 and (normalised or not row[1].strip())) else row[1]
        yield f"{path} line {number}", {"audio": row[0], "text": text, "speaker": speaker}


def _is_header(cells: Sequence[str]) -> bool:
    """Whether a first line names columns after all: `id|text|normalized_text`."""
    names = [cell.strip().lower() for cell in cells]
    return names[0] in (*COLUMNS["id"], *COLUMNS["audio"]) and any(
        name in COLUMNS["text"] for name in names[1:]
    )


def _second_is_speaker(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the second of three fields is a speaker's name or number, not the text."""
    seconds = [row[1].strip() for row in rows]
    few = len(set(seconds)) <= max(1, SPEAKERS_SHARE * len(seconds))
    return few and not any(len(second.split()) != 1 for second in seconds) and len(rows) > 1


# ------------------------------------------------------------------ Kaldi


def _kaldi(place: Place, source: Source, tally: Tally) -> Iterator[tuple[str, Values]]:
    """Nothing that wav.scp says is ever run."""
    folder, there = source.folder, place.files()
    texts = _pairs_of(place, f"{folder}text", Tally())
    speakers = _pairs_of(place, f"{folder}utt2spk", Tally()) if f"{folder}utt2spk" in there else {}
    if all(one == speaker for one, speaker in speakers.items()):
        speakers = {}  # a name for each utterance: nobody is known
    parted = f"{folder}segments" in there
    recordings = _pairs_of(place, source.path, Tally() if parted else tally)
    segments, faulty = _segments(place, f"{folder}segments", tally) if parted else ({}, ())
    for utterance in segments if parted else recordings:
        name, start, end = segments.get(utterance, (utterance, "", ""))
        recording = recordings.get(name, "")
        if not recording:
            tally.reject(utterance, "missing audio", f"{source.path} has no line of {name}")
        elif recording.endswith("|"):
            detail = f"{recording[:120]!r} is a command, which is never run; write what it gives to a file"
            tally.reject(utterance, "a command, not a file", detail)
        elif ARK.search(recording):
            detail = (
                f"{recording[:120]!r} is an archive of Kaldi, which is not read; write the sound to files"
            )
            tally.reject(utterance, "a command, not a file", detail)
        elif utterance not in texts:
            tally.reject(utterance, "empty text", f"{folder}text has no line of it")
        else:
            values = {"id": utterance, "audio": recording, "text": texts[utterance]}
            values |= {"start": start, "end": end} if parted else {}
            yield utterance, {**values, "speaker": speakers.get(utterance, "")}
    for utterance in sorted(texts.keys() - (segments if parted else recordings).keys() - set(faulty)):
        tally.rows += 1
        where = "segments" if parted else source.path
        tally.reject(utterance, "missing audio", f"{where} has no line of it")


def _segments(
    place: Place, path: str, tally: Tally
) -> tuple[dict[str, tuple[str, str, str]], Collection[str]]:
    """utterance -> (recording, start, end) of a line `utterance recording 12.50 15.25`, in seconds; and the
    utterances whose lines are no such, which are rejected."""
    segments: dict[str, tuple[str, str, str]] = {}
    faulty = set()
    for utterance, rest in _pairs_of(place, path, tally).items():
        fields = rest.split()
        if len(fields) in (3, 4) and all(map(_is_number, fields[1:3])):  # a fourth is the channel
            segments[utterance] = fields[0], fields[1], fields[2]
        else:
            detail = f"{rest[:80]!r} in {path}; want a recording, its start and its end in seconds"
            tally.reject(utterance, "malformed row", detail)
            faulty.add(utterance)
    return segments, faulty


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _pairs_of(place: Place, path: str, tally: Tally) -> dict[str, str]:
    """name -> the rest of its line."""
    pairs: dict[str, str] = {}
    for number, line in text_lines(place.table(path), f"{place.url}/{path}"):
        if not line.strip():
            continue
        name, _, rest = line.strip().replace("\t", " ", 1).partition(" ")
        tally.rows += 1
        if name in pairs:
            tally.reject(f"{path} line {number}", "duplicate id", f"{name} is there twice")
        else:
            pairs[name] = rest.strip()
    return pairs


# ------------------------------------------------------------------ an id and a text in each line


def _transcript(
    content: bytes, source: Source, where: str, tally: Tally, files: Mapping[str, object]
) -> Iterator[tuple[str, Values]]:
    for number, line in text_lines(content, where):
        if not line.strip():
            continue
        tally.rows += 1
        name, _, text = line.strip().partition("\t" if "\t" in line else " ")
        speaker = _reader(name, source, files)
        yield (
            f"{source.path} line {number}",
            {"audio": name, "text": text, "stem": name, "speaker": speaker},
        )


def _reader(name: str, source: Source, files: Mapping[str, object]) -> str:
    """Who reads, where names and folders agree that it is told; else "", for a name may begin with a year.

    LibriSpeech: 84-121123-0000 in 84-121123.trans.txt. MLS: 4800_10003_000000 in audio/4800/10003/.
    """
    match = READER.fullmatch(name)
    if match is None:
        return ""
    speaker, chapter = match[1], match[3]
    if source.path[len(source.folder) :] == f"{speaker}-{chapter}.trans.txt" and match[2] == "-":
        return speaker
    below = f"{source.folder}audio/{speaker}/{chapter}/{name}"
    return (
        speaker if any(f"{below}{ending}" in files for ending in (".flac", ".opus", ".wav", ".mp3")) else ""
    )


# ------------------------------------------------------------------ Common Voice, spontaneous


def _spontaneous(content: bytes, path: str, where: str, tally: Tally) -> Iterator[tuple[str, Values]]:
    """Answers to questions. Those that nobody has written down yet, or that are in no split, are left out."""
    rows = list(parse_tsv(content, where, tally, {"audio_file", "transcription"}))
    any_split = any(row.get("split", "").strip() for _, row in rows)
    for number, row in rows:
        if not row["transcription"].strip():
            tally.left_out["not transcribed yet"] += 1
        elif any_split and not row.get("split", "").strip():
            tally.left_out["in no split of the release"] += 1
        else:
            yield f"{path} line {number}", _answer(row)


def _answer(row: Row) -> Values:
    stated = row.get("duration_ms", "")
    names = {
        "speaker": "client_id",
        "gender": "gender",
        "age": "age",
        "split": "split",
        "language": "language",
    }
    return {
        "audio": row["audio_file"],
        "text": row["transcription"],
        "licence": "CC0-1.0",
        "duration_s": str(int(stated) / 1000) if stated.isdecimal() else "",
        **{meaning: row.get(name, "") for meaning, name in names.items()},
    }
