"""What is left of what a published Whisper knew, as numbers: English from foreign speech, other languages,
timestamps. Texts of the model before and after training -> counts, rates, paired differences.

Which texts, and what follows from the numbers: `retained`. Light: loads no learning library.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from dagsverk.speech.config import EvaluationConfig
from dagsverk.speech.evaluation.bootstrap import Floats, Sums, bootstrap
from dagsverk.speech.evaluation.chrf import COLUMNS, chrf, chrf_counts
from dagsverk.speech.evaluation.description import rate_columns, rate_pairs
from dagsverk.speech.evaluation.normaliser import normalise
from dagsverk.speech.evaluation.report import (
    English,
    Interval,
    OtherLanguage,
    Stamps,
    Timestamps,
    TranslatedClip,
    Translation,
)
from dagsverk.speech.evaluation.scoring import NORMALISED, count_errors
from dagsverk.speech.serving.repetition import loops

MIN_WORDS = 3  # of a clip that is asked for English
EXAMPLES = 6  # clips shown with their English
LATE_S = 0.2  # a last time may lie so far beyond the clip's end: batches are given that much silence
COPIED = 0.6  # chrF with the transcript from which a text may be called untranslated

_COMMON_WORDS = """
the and of to is that it was for with you this are not have from they be been were will would could should
what which when where who their there your she his her him its our we if but my me has had did does about
than then these those some into just because only very can
"""
COMMON_ENGLISH = frozenset(_COMMON_WORDS.split())
# Where English was asked for, words that other languages have, too, speak for it.
_SHARED_WORDS = "please i'm i am do don't no yes on at by an or"
ENGLISH = COMMON_ENGLISH | frozenset(_SHARED_WORDS.split())


class Written(Protocol):
    """A text with the times that a model wrote; see `model.timestamps.Stamped`."""

    @property
    def whole(self) -> bool: ...
    @property
    def end_s(self) -> float | None: ...


def draw(rows: pd.DataFrame, most: int, seed: int = 0) -> list[int]:
    """Places of at most so many clips: of every speaker one, then of every speaker a second, and so on.

    The same clips whatever their order. Speakers are what intervals rest on, so there are as many as can be.
    """
    keys = [hashlib.sha256(f"{seed} {name}".encode()).hexdigest() for name in rows["id"]]
    speakers = list(rows["speaker"].fillna(""))
    taken: Counter[str] = Counter()
    turns: list[tuple[int, str, int]] = []
    for place in sorted(range(len(keys)), key=keys.__getitem__):
        turns.append((taken[speakers[place]] if speakers[place] else 0, keys[place], place))
        taken[speakers[place]] += 1
    return sorted(place for _, _, place in sorted(turns)[:most])


def sentences(rows: pd.DataFrame, language: str) -> list[int]:
    """Places of the clips by whose English a model can be judged: of MIN_WORDS words or more.

    Single words tell nothing: on human prompts of one and two words Whisper base guesses, and chrF against
    its guesses puts a human translation below the transcript.
    """
    words = [len(normalise(text, language).split()) for text in rows["text"]]
    return [place for place, count in enumerate(words) if count >= MIN_WORDS]


def translation(
    rows: pd.DataFrame, before: Sequence[str], after: Sequence[str], language: str, config: EvaluationConfig
) -> Translation:
    """English of the same clips by a model before and after training.

    chrF is of the clips that have a translation in the corpus; `agreement`, of all clips, takes what was
    written before as the reference.
    Args: rows: of PreparedClips. language: that was spoken.
    """
    texts, references = list(rows["text"]), list(rows["translation"].fillna(""))
    targets = [reference or text for reference, text in zip(references, before, strict=True)]
    sides = [_kinds(texts, targets, written, language) for written in (before, after)]
    columns = [chrf_counts(before, references), chrf_counts(after, references), chrf_counts(after, before)]
    columns += [side[["missing"]].to_numpy(np.float64) for side in sides]
    columns += [np.ones((len(rows), 1))]
    sums = bootstrap(np.column_stack(columns), rows["speaker"], resamples=config.resamples, seed=config.seed)
    has_reference, clip = any(references), 3 * COLUMNS + 2  # the place of the column of ones
    return Translation(
        clips=len(rows),
        speakers=_speakers(rows),
        references=sum(map(bool, references)),
        before=_english(sides[0], _score(sums, 0) if has_reference else None),
        after=_english(sides[1], _score(sums, 1) if has_reference else None),
        change=sums.measure(lambda of: chrf(_part(of, 1)) - chrf(_part(of, 0)), 1) if has_reference else None,
        agreement=_score(sums, 2),
        missing_change=sums.difference((clip - 1, clip), (clip - 2, clip)),
        examples=_examples(texts, references, before, after),
    )


def other_language(
    rows: pd.DataFrame,
    before: Sequence[str],
    after: Sequence[str],
    language: str,
    corpus: str,
    set_id: str,
    config: EvaluationConfig,
) -> OtherLanguage:
    """Word error rates of a language that was not tuned. Args: rows: of PreparedClips."""
    texts = list(rows["text"])
    sides = [count_errors(texts, list(written), language, (NORMALISED,)) for written in (before, after)]
    columns = np.column_stack([rate_columns(side, (NORMALISED,)) for side in sides])
    sums = bootstrap(columns, rows["speaker"], resamples=config.resamples, seed=config.seed)
    errors, words = rate_pairs()["wer"]
    shift = columns.shape[1] // 2
    return OtherLanguage(
        language=language,
        corpus=corpus,
        set=set_id,
        clips=len(rows),
        speakers=_speakers(rows),
        words=int(sides[0]["words"].sum()),
        before=sums.rate(errors, words),
        after=sums.rate(errors + shift, words + shift),
        change=sums.difference((errors + shift, words + shift), (errors, words)),
        loops_before=_loops(before, texts),
        loops_after=_loops(after, texts),
    )


def timestamps(
    durations_s: Sequence[float], before: Sequence[Written], after: Sequence[Written]
) -> Timestamps:
    """Times of the same clips by a model before and after training."""
    ends = [(one.end_s, other.end_s) for one, other in zip(before, after, strict=True)]
    shifts = [abs(one - other) for one, other in ends if one is not None and other is not None]
    return Timestamps(
        clips=len(durations_s),
        before=_stamps(durations_s, before),
        after=_stamps(durations_s, after),
        end_shift_s=round(float(np.median(shifts)), 3) if shifts else None,
    )


def _stamps(durations_s: Sequence[float], written: Sequence[Written]) -> Stamps:
    pairs = zip(written, durations_s, strict=True)
    within = sum(one.whole and (one.end_s or 0.0) <= duration_s + LATE_S for one, duration_s in pairs)
    return Stamps(whole=sum(one.whole for one in written), within=within)


def _kinds(
    texts: Sequence[str], targets: Sequence[str], written: Sequence[str], language: str
) -> pd.DataFrame:
    """A row per text: english, spoken, empty, loop, missing (no English at all); all true or false.

    Args: targets: what the English should be, as far as anybody knows.
    """
    evidence = ENGLISH - {word for text in texts for word in normalise(text, language).split()}
    rows = pd.DataFrame(
        {
            "spoken": [
                _is_copy(text, target, one, language)
                for text, target, one in zip(texts, targets, written, strict=True)
            ],
            "empty": [not one.strip() for one in written],
            "loop": [loops(one) and not loops(text) for one, text in zip(written, texts, strict=True)],
            "common": [bool(evidence & set(normalise(one, "en").split())) for one in written],
        },
        dtype=bool,
    )
    return rows.assign(english=rows["common"] & ~rows["spoken"], missing=rows["spoken"] | rows["empty"])


def _english(kinds: pd.DataFrame, score: Interval | None) -> English:
    return English(
        chrf=score,
        english=int(kinds["english"].sum()),
        spoken=int(kinds["spoken"].sum()),
        empty=int(kinds["empty"].sum()),
        loops=int(kinds["loop"].sum()),
    )


def _is_copy(text: str, target: str, written: str, language: str) -> bool:
    """Whether this is the transcript, not its English: much like it, and more like it than like English.

    A name or a number that is the same in both languages is no copy."""
    spoken, wanted, got = (normalise(one, language) for one in (text, target, written))
    like_spoken, like_english = (_alike(got, other) for other in (spoken, wanted))
    return like_spoken >= COPIED and like_spoken > like_english


def _alike(text: str, reference: str) -> float:
    return float(np.nan_to_num(chrf(chrf_counts([text], [reference])[0])))


def _loops(written: Sequence[str], texts: Sequence[str]) -> int:
    return sum(loops(one) and not loops(text) for one, text in zip(written, texts, strict=True))


def _part(of: Floats, block: int) -> Floats:
    return of[..., block * COLUMNS : (block + 1) * COLUMNS]


def _score(sums: Sums, block: int) -> Interval:
    return sums.measure(lambda of: chrf(_part(of, block)), block * COLUMNS + 1)


def _examples(
    texts: Sequence[str], references: Sequence[str], before: Sequence[str], after: Sequence[str]
) -> tuple[TranslatedClip, ...]:
    """The longest texts among those whose English changed most: what a reader wants to see."""
    likeness: npt.NDArray[np.float64] = np.array(
        [_alike(one, other) for one, other in zip(after, before, strict=True)]
    )
    places = sorted(range(len(texts)), key=lambda i: (likeness[i], -len(texts[i]), texts[i]))[:EXAMPLES]
    return tuple(
        TranslatedClip(text=texts[i], reference=references[i], before=before[i], after=after[i])
        for i in places
    )


def _speakers(rows: pd.DataFrame) -> int:
    named = rows["speaker"].fillna("")
    return int(named[named != ""].nunique())
