"""Rows of any corpus -> its listing: what is rejected while listing, and how splits are drawn."""

from __future__ import annotations

import hashlib
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from dagsverk.speech.corpora.corpus import SPLITS, Clip, Listing, RejectedClip, Split, Tally
from dagsverk.speech.corpora.identity import (
    MISSING_TEXTS,
    FileNames,
    Voices,
    clean_name,
    clean_translation,
    clean_value,
)
from dagsverk.speech.corpora.parts import (
    HELD_OUT_FIRST,
    part_of,
    part_overlaps,
    path_of,
    same_sounds,
)
from dagsverk.speech.corpora.places import MAX_CLIP_BYTES, REGULAR, Entry, Place
from dagsverk.speech.corpora.sameness import same_bytes
from dagsverk.speech.corpora.text import clean_text
from dagsverk.speech.corpora.twins import keep_together, part_twins
from dagsverk.speech.errors import CorpusError
from dagsverk.speech.language_names import spoken_language

SPLIT_NAMES: dict[str, Split] = {
    "train": "train", "training": "train",
    "dev": "dev", "development": "dev", "validation": "dev", "valid": "dev", "val": "dev",
    "test": "test", "testing": "test",
}  # fmt: skip
GENDERS = {  # one wording for all releases of Common Voice and for FLEURS
    "male_masculine": "male", "m": "male", "man": "male", "maschio": "male", "uomo": "male",
    "female_feminine": "female", "f": "female", "woman": "female", "kvinna": "female", "donna": "female",
    "femmina": "female",
}  # fmt: skip
COLUMNS = {  # usual names of columns, best first
    "audio": ("audio", "path", "file", "file_name", "filename", "audio_path", "audio_file", "audio_filepath",
              "clip", "wav"),
    "text": ("text", "sentence", "raw_transcription", "raw_text", "transcription", "transcript",
             "normalized_text", "normalised_text"),
    "speaker": ("speaker", "speaker_id", "client_id", "spk_id", "speakerid", "spk", "speaker_name"),
    "gender": ("gender", "sex"),
    "age": ("age", "age_group"),
    "accent": ("accent", "accents", "dialect", "variant"),
    "licence": ("licence", "license"),
    "translation": ("translation", "translation_en", "english"),
    "split": ("split", "subset", "partition"),
    "id": ("id", "clip_id", "utterance_id", "utt_id"),
    "language": ("language", "lang", "locale"),
    "duration_s": ("duration_s", "duration"),
}  # fmt: skip


MIN_SPEAKERS = 5  # that splits are drawn by; with fewer, train would have less than three fifths of them


def find_columns(there: Sequence[str], named: Mapping[str, str], where: str) -> dict[str, str]:
    """What each column is called here: as `named`, else by its usual names; absent ones are left out.

    Raises: CorpusError if a named column is not there.
    """
    lower = {name.strip().casefold(): name for name in reversed(there)}
    columns = {}
    for meaning, usual in COLUMNS.items():
        wanted = named.get(meaning, "")
        if wanted and wanted not in there and wanted.strip().casefold() not in lower:
            raise CorpusError(f"{where} has no column {wanted!r}; it has {', '.join(map(repr, there))}")
        if wanted and wanted not in there:
            wanted = lower[wanted.strip().casefold()]
        name = wanted or next((lower[name] for name in usual if name in lower), "")
        if name:
            columns[meaning] = name
    return columns


def drawn_split(voice: str) -> Split:
    """80 % train, 10 % dev, 10 % test, by a hash of the speaker, else the id: rows added later move none."""
    place = int.from_bytes(_rank(voice)[:8], "big") % 10
    return "train" if place < 8 else "dev" if place < 9 else "test"


def fill_splits(clips: Sequence[Clip]) -> list[Clip]:
    """The clips with all three splits: those that the corpus lacks are drawn from train (or its only split).

    Drawn by speaker. With fewer than MIN_SPEAKERS, where that would leave a split without a clip, by clip:
    they then lose their speakers, for the splits share voices.
    """
    there = {clip.split for clip in clips}
    lacking = set(SPLITS) - there
    if not lacking or (len(there) > 1 and "train" not in there):
        return list(clips)
    source: Split = "train" if "train" in there else next(iter(there), "train")
    lacking = lacking if len(there) > 1 else set(SPLITS)
    drawn = _drawn(clips, source, lacking, MIN_SPEAKERS, _voice)
    if {clip.split for clip in drawn} == set(SPLITS):
        return drawn
    nameless = [replace(clip, speaker="") for clip in clips]
    return _drawn(nameless, source, lacking, len(SPLITS), lambda clip: clip.id)


def _voice(clip: Clip) -> str:
    """Who speaks: one without a name is a voice of its own, and so is all that comes from one recording."""
    part = part_of(clip.audio)
    return clip.speaker or (part.path if part else clip.id)


def _drawn(
    clips: Sequence[Clip], source: Split, lacking: set[Split], least: int, voice_of: Callable[[Clip], str]
) -> list[Clip]:
    """The source's clips in train and in the splits that are lacking. With `least` voices or more, a split
    that got none is given one of the split with the most."""
    split_of: dict[str, Split] = {}
    for clip in clips:
        if clip.split == source:
            drawn = drawn_split(voice_of(clip))
            split_of[voice_of(clip)] = drawn if drawn in lacking else "train"
    for split in [one for one in SPLITS if one in lacking | {"train"} and one not in split_of.values()]:
        if len(split_of) >= least:
            counts = Counter(split_of.values())
            fullest: Split = max(counts, key=lambda one: (counts[one], one))
            mover = min((voice for voice, one in split_of.items() if one == fullest), key=_rank)
            split_of[mover] = split
    return [replace(clip, split=split_of[voice_of(clip)]) if clip.split == source else clip for clip in clips]


def _rank(voice: str) -> bytes:
    return hashlib.sha256(voice.encode("utf-8", "replace")).digest()


def make_listing(
    clips: Iterable[Clip],
    tally: Tally,
    identities: Iterable[str],
    sounds: Mapping[str, str] | None = None,
) -> Listing:
    """The listing of clips whose audio is there; splits that the corpus lacks are drawn.

    Names of clips and people are cleaned (`identity`). Rejected are: "duplicate id", "empty text", and what
    another split has as well: "recording in another split", "speaker in another split" (a speaker of test is
    heard in no other split, one of dev not in train). A clip without a speaker stays where it is.

    Args: tally: of the rows that the clips were made of, with those rejected before; it is filled further.
        identities: what tells that the audio is the same, such as checksums or sizes and times.
        sounds: see `twins.part_twins`.
    """
    named = part_twins(_named(clips, tally), sounds or {}, tally)
    drawn = keep_together(fill_splits(named), named, sounds or {})
    drawn = part_overlaps(drawn, sounds or {}, tally)
    alone, shared = part_speakers(drawn)
    return Listing(
        clips=alone,
        rejected=[*tally.rejected, *shared],
        fingerprint=digest(alone, identities),
        left_out=dict(tally.left_out),
        rows=tally.rows,
        notes=tuple(tally.notes),
    )


def _named(clips: Iterable[Clip], tally: Tally) -> list[Clip]:
    """The clips with something said, by clean names. Of those with one id, a split that is held out keeps
    its own."""
    kept: dict[str, Clip] = {}
    voices = Voices()
    for clip in clips:
        one = _tidy(clip, voices)
        if not clean_text(one.text):
            tally.reject(one.id, "empty text", repr(clip.text[:80]))
            continue
        first = kept.get(one.id)
        if first is None:
            kept[one.id] = one
        elif HELD_OUT_FIRST.index(one.split) < HELD_OUT_FIRST.index(first.split):
            kept[one.id] = one
            tally.reject(first.id, "duplicate id", f"in {first.split}, and again in {one.split}")
        else:
            tally.reject(one.id, "duplicate id", f"again in {one.split}")
    return list(kept.values())


def part_speakers(clips: Sequence[Clip]) -> tuple[list[Clip], list[RejectedClip]]:
    """The clips such that no speaker is in two splits, and those rejected for it."""
    voices = {split: {clip.speaker for clip in clips if clip.split == split} - {""} for split in SPLITS}
    taken = {"test": set[str](), "dev": voices["test"], "train": voices["dev"] | voices["test"]}
    alone = [clip for clip in clips if clip.speaker not in taken[clip.split]]
    shared = [
        RejectedClip(
            clip=clip.id,
            reason="speaker in another split",
            detail=f"in {clip.split}, and in {'test' if clip.speaker in voices['test'] else 'dev'}",
        )
        for clip in clips
        if clip.speaker in taken[clip.split]
    ]
    return alone, shared


def list_with_audio(place: Place, files: dict[str, Entry], clips: Sequence[Clip], tally: Tally) -> Listing:
    """The listing of the clips whose audio the place has, in the place's order; see `make_listing`."""
    there = []
    names = FileNames(files)
    for stated in clips:
        wanted = path_of(stated.audio)
        alike = names.find(wanted)
        path = alike[0] if len(alike) == 1 else wanted
        clip = stated if path == wanted else replace(stated, audio=path + stated.audio.removeprefix(wanted))
        entry = files.get(path)
        if fault := _fault(files, path):
            tally.reject(clip.id, "not a regular file", fault)
        elif wanted != stated.audio in files:
            tally.reject(
                clip.id, "ambiguous audio", f"{stated.audio!r} is named like a part; rename the file"
            )
        elif len(alike) > 1:
            detail = f"{path!r} may be {' or '.join(map(repr, alike[:3]))}; name it as it is spelt there"
            tally.reject(clip.id, "ambiguous audio", detail)
        elif entry is None:
            tally.reject(clip.id, "missing audio", f"no file {path!r} in {place.name}")
        elif entry.size > MAX_CLIP_BYTES:
            tally.reject(clip.id, "too long", f"{entry.size:,} bytes, want at most {MAX_CLIP_BYTES:,}")
        else:
            there.append(clip)
    stamps = (f"{clip.id}\t{files[path_of(clip.audio)].stamp}" for clip in there)
    checksum = getattr(place, "sha256", "")
    sounds = same_sounds(same_bytes(place, files, [path_of(clip.audio) for clip in there]), there)
    listing = make_listing(there, tally, [checksum] if checksum else stamps, sounds)
    if not place.sequential:
        return listing
    order = {path: position for position, path in enumerate(files)}
    return replace(listing, clips=sorted(listing.clips, key=lambda clip: order[path_of(clip.audio)]))


def _fault(files: dict[str, Entry], path: str) -> str:
    """Why a path that the place has is not read; so it is with all that lies below a linked folder."""
    while path:
        if path in files:
            return f"{path!r} is {files[path].fault}; {REGULAR}" if files[path].fault else ""
        path = path.rpartition("/")[0]
    return ""


def read_clips(place: Place, clips: Sequence[Clip]) -> Iterator[tuple[Clip, bytes | RejectedClip]]:
    """Each clip with its encoded audio; last, those whose audio is not there.

    The parts of one recording follow each other, each with all of it.
    """
    waiting: dict[str, list[Clip]] = {}
    for clip in clips:
        waiting.setdefault(path_of(clip.audio), []).append(clip)
    for path, content in place.read(list(waiting)):
        for clip in waiting.pop(path):
            yield clip, content
    for clip in (clip for missing in waiting.values() for clip in missing):
        yield (
            clip,
            RejectedClip(
                clip=clip.id, reason="missing audio", detail=f"no file {clip.audio!r} that can be read"
            ),
        )


def whisper_code(locale: str) -> str:
    """Whisper's code of a locale (sv of sv-SE), or of how a name begins (sv_clean); ISO 639's for a language
    that Whisper lacks, else the beginning as it is."""
    first = re.split(r"[-_]", locale, maxsplit=1)[0].lower()
    return (locale and spoken_language(locale)) or (first and spoken_language(first)) or first


def parse_seconds(stated: str | None) -> float | None:
    """The number, if it is one above 0."""
    try:
        return float(stated) if stated and float(stated) > 0 else None
    except ValueError:
        return None


def digest(clips: Iterable[Clip], identities: Iterable[str]) -> str:
    """SHA-256 over rows and audio, whatever their order."""
    total = hashlib.sha256()
    for line in sorted(identities):
        total.update(line.encode("utf-8", "surrogatepass") + b"\n")
    for line in sorted("\t".join(map(str, vars(clip).values())) for clip in clips):
        total.update(line.encode("utf-8", "surrogatepass") + b"\n")
    return total.hexdigest()


def _tidy(clip: Clip, voices: Voices) -> Clip:
    """The clip with its names cleaned, and its text as it is taught."""
    gender = clean_value(clip.gender).lower()
    return replace(
        clip,
        id=clean_value(clip.id) or clean_name(clip.audio),
        text="" if clip.text.strip() in MISSING_TEXTS else clean_text(clip.text, keep_marks=True),
        translation=clean_text(clean_translation(clip.translation)) if clip.translation else "",
        speaker=sys.intern(voices[clip.speaker]),  # few values over many rows
        gender=sys.intern(GENDERS.get(gender, gender)),
        age=sys.intern(clean_value(clip.age)),
        accent=sys.intern(clean_value(clip.accent)),
        licence=sys.intern(clean_value(clip.licence)),
    )
