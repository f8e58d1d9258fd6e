"""What evaluations say, as types: the report of one model, the comparison of two, a checkpoint's verdict.

Kept as JSON under the same names, read and written by `dagsverk.records`. Rates are edits per word or
character of the reference and may exceed 1. Light: loads no learning library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from dagsverk.speech.config import EvaluationConfig, Windows
from dagsverk.speech.corpora.corpus import Split

FORMAT = 2  # of reports; part of their key. 1: scores of what the model wrote before it was doubted


@dataclass(frozen=True)
class Interval:
    """A number and its 95 % limits; None where no honest ones can be had (one speaker, nothing to score)."""

    value: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None  # of a difference: two-sided, that there is none


@dataclass(frozen=True)
class Cut:
    """How much of a split was kept, where the corpus was cut; drawn by speaker."""

    clips: int
    of: int


@dataclass(frozen=True)
class Check:
    """A known way to go wrong that was looked for in a model."""

    name: str
    passed: bool
    refuses: bool  # whether failing keeps the model from being promoted
    detail: str  # what there was, in a sentence


Checks = Annotated[tuple[Check, ...], Field(alias="traps")]  # their name in JSON since the first store


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What the error rates of a set of clips are made of."""

    words: int  # of the references
    hits: int
    substitutions: int
    deletions: int
    insertions: int
    characters: int  # of the references, spaces between words included
    character_errors: int


@dataclass(frozen=True, kw_only=True)
class Scores(Counts):
    """Error rates of a model on a set of clips."""

    wer: Interval
    cer: Interval


@dataclass(frozen=True)
class BothScores:
    """Of the texts without case and punctuation, of the texts as they are written, and by Whisper's rules."""

    normalised: Scores
    raw: Scores
    whisper: Scores | None = None  # see `whisper_normaliser`; None: made by a version that did not ask for it


@dataclass(frozen=True, kw_only=True)
class UnseenScores:
    """Of the scored clips whose sentence is not read in train; with the others a model may know the text."""

    clips: int
    speakers: int  # known ones
    of: int  # scored clips in all
    wer: Interval | None  # None: no sentence is new
    gap: Interval | None  # its word error rate minus that of the clips whose sentence is read in train


@dataclass(frozen=True, kw_only=True)
class GroupScore:
    """Clips that share a value, such as gender = female; a small group is counted and not scored."""

    by: str
    value: str
    clips: int
    speakers: int  # known ones
    words: int
    wer: Interval | None
    gap: Interval | None  # its word error rate minus that of all other clips


@dataclass(frozen=True)
class WorstGroup:
    """Of one way to group, the scored group whose rate exceeds that of all others most."""

    value: str
    wer: float
    gap: Interval


@dataclass(frozen=True, kw_only=True)
class WorstClip:
    """A clip that the model understands badly."""

    clip: str  # its id
    audio: str  # where the corpus has it
    speaker: str | None
    duration_s: float
    text: str
    hypothesis: str
    words: int
    errors: int
    wer: float


@dataclass(frozen=True, kw_only=True)
class PlayableClip(WorstClip):
    """With the artefact that can be played, or why there is none."""

    sound: str | None
    why_silent: str | None


@dataclass(frozen=True)
class KeptAudio:
    """Which of a report's worst clips can be played."""

    clips: Mapping[str, str]  # clip -> the artefact of its sound
    missing: Mapping[str, str]  # clip -> why it has none


@dataclass(frozen=True, kw_only=True)
class ScoredModel:
    """Which model a report is about."""

    fingerprint: str
    name: str
    full_windows: bool = False  # every clip is padded to 30 s


@dataclass(frozen=True, kw_only=True)
class DecodingSpeed:
    """How fast the clips were decoded, and on what."""

    seconds: float
    clips_per_s: float
    audio_s_per_s: float
    device: str
    beams: int
    precision: str = ""  # fp32 or bf16; of those kept before there was a choice on processors, ""


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a report says about its clips."""

    clips: int
    speakers: int  # known ones
    clips_without_speaker: int
    audio_s: float
    empty_references: int  # not scored
    empty_hypotheses: int
    loops: int  # clips in which the model at first says the same over and over, and nobody did
    unfinished: int  # stopped at the limit of tokens: mostly loops
    scores: BothScores
    groups: tuple[GroupScore, ...]
    worst_groups: Mapping[str, WorstGroup]  # by the way to group
    worst: tuple[WorstClip, ...]
    unseen: UnseenScores | None = None  # None: made by a version that did not know
    first_wer: Interval | None = None  # of what the model wrote before it was doubted; None: it was not


@dataclass(frozen=True, kw_only=True)
class EvaluationReport(Description):
    """One model on one split of a set of clips."""

    key: str
    at: str  # ISO 8601, UTC
    language: str  # Whisper's code
    model: ScoredModel
    set: str
    split: Split
    cut: Cut | None
    config: EvaluationConfig
    normaliser: int  # the version of its rules
    decoding: DecodingSpeed
    rows: str  # the artefact with a row per clip
    format: int = FORMAT


@dataclass(frozen=True, kw_only=True)
class GroupChange:
    """A group in a comparison of two models."""

    by: str
    value: str
    clips: int
    wer: Interval  # difference of the two models' rates
    gap_change: Interval  # how much further it is behind all others with the first model


@dataclass(frozen=True, kw_only=True)
class Difference:
    """First minus second model, of rates on the same clips: below 0 the first is better."""

    clips: int
    wer: Interval
    cer: Interval
    groups: tuple[GroupChange, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison(Difference):
    """The same of two reports."""

    first: str  # the key of its report
    second: str


@dataclass(frozen=True, kw_only=True)
class English:
    """What one model wrote when it was asked for English."""

    chrf: Interval | None  # against the corpus' translations, in [0, 1]; None: it has none
    english: int  # texts with common English words
    spoken: int  # texts that stayed in the language that was spoken
    empty: int
    loops: int  # the same over and over


@dataclass(frozen=True, kw_only=True)
class TranslatedClip:
    """A clip's text, and its English by the model before and after it was trained."""

    text: str
    reference: str  # "": the corpus has no translation
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Translation:
    """English asked for from speech in the tuned language, before and after."""

    clips: int
    speakers: int  # known ones
    references: int  # clips that have a translation in the corpus
    before: English
    after: English
    change: Interval | None  # of chrF against the corpus' translations
    agreement: Interval  # chrF of what was written after against what was written before
    missing_change: Interval  # of the share of clips without any English: in the language spoken, or empty
    examples: tuple[TranslatedClip, ...]


@dataclass(frozen=True, kw_only=True)
class OtherLanguage:
    """A language that was not tuned: word error rates before and after, on the same clips."""

    language: str  # Whisper's code
    corpus: str
    set: str
    clips: int
    speakers: int  # known ones
    words: int
    before: Interval
    after: Interval
    change: Interval
    loops_before: int
    loops_after: int


@dataclass(frozen=True, kw_only=True)
class Stamps:
    """Times that one model wrote between its words."""

    whole: int  # clips of which every word stands between two times, in order
    within: int  # of those, clips whose last time lies within the clip


@dataclass(frozen=True, kw_only=True)
class Timestamps:
    """Times asked for with the text, before and after."""

    clips: int
    before: Stamps
    after: Stamps
    end_shift_s: float | None  # median distance of the last times of the two, where both are whole


@dataclass(frozen=True, kw_only=True)
class Retention:
    """What a published model still knows of what it was not tuned for."""

    translation: Translation | None
    languages: tuple[OtherLanguage, ...]
    timestamps: Timestamps | None
    not_measured: Mapping[str, str]  # English, other languages, timestamps -> why
    english: bool  # whether English is offered
    why: str  # as part of a sentence


@dataclass(frozen=True, kw_only=True)
class ModeScore:
    """A checkpoint in one of the two modes: its clips at their true length, or each padded to 30 s."""

    report: str  # its key
    clips: int
    cut: Cut | None
    wer: Interval
    cer: Interval
    against_base: Interval  # its word error rate minus that of the base, on these clips
    decoding: DecodingSpeed
    refused: str | None  # why it must not be served so; None: it may


@dataclass(frozen=True, kw_only=True)
class TwoModes:
    """A checkpoint in both modes, and in which it is served. See `modes`."""

    served: Windows
    reason: str  # why so
    scores: Mapping[Windows, ModeScore]
    difference: Interval | None  # word error rate at true length minus in full windows, on the same clips
    left_out: str | None = None  # why only one mode was scored; None: both were


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A checkpoint against the model that it was trained from and the champion, on the same clips."""

    at: str  # ISO 8601, UTC
    run: str
    step: int
    language: str  # Whisper's code
    set: str
    candidate: str  # the key of its report, in the mode that it is served in; so are the next two
    base: str
    champion: str | None  # None: there was none, or `problems` says why it could not be compared
    champion_version: int | None
    against_base: Comparison
    against_champion: Comparison | None
    checks: Checks
    problems: tuple[str, ...]
    retention: Retention | None = None  # None: of nano, or made by a version that did not ask
    modes: TwoModes | None = None  # None: made by a version that scored one mode
