"""What would help a language's model, from the reports that the store has of it. Light."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from shlex import quote

from dagsverk.label_report import STEP as LABELS
from dagsverk.records import last_report, report_path
from dagsverk.speech import exports, results
from dagsverk.speech.evaluation.report import EvaluationReport, GroupScore, Verdict
from dagsverk.speech.languages import Language
from dagsverk.speech.learning_curve import STEP as CURVE
from dagsverk.speech.learning_curve import SpeechCurve
from dagsverk.speech.learning_curve_words import way_sentence
from dagsverk.speech.runs import CheckpointRef
from dagsverk.speech.searching import STEP as SEARCH
from dagsverk.speech.searching import SearchedSpeech
from dagsverk.store import NotFound, Store
from dagsverk.suggesting.compared import better_speech
from dagsverk.suggesting.corpora import FROM_FOLDER
from dagsverk.suggesting.labels import suspect_texts
from dagsverk.suggesting.reports import made_at
from dagsverk.suggestions import Gain, Measurement, Suggestion

WER = "word error rate"
MOST_GROUPS = 3
# of groups: brought by more recordings like them. Length and rate of speech are of the clip, not of people
BRINGABLE = {"gender": "of {}", "age": "of the age {}", "accent": "with the accent {}"}


def suggestions(store: Store, language: Language) -> list[Suggestion]:
    """All of them, in no order. Raises StoreError where a report is damaged."""
    return [one for source in SOURCES for one in source(store, language)]


def worst_groups(store: Store, language: Language) -> Iterator[Suggestion]:
    """Groups of test clips in which more goes wrong than in the others, beyond chance for so many groups."""
    report = newest_report(store, language)
    if report is None:
        return
    scored = [group for group in report.groups if group.wer is not None and group.gap is not None]
    behind = [group for group in scored if _lower_end(group, len(scored)) > 0]
    words = report.scores.normalised.words
    for group in sorted(behind, key=lambda one: -_most(one, words))[:MOST_GROUPS]:
        gap, rate = group.gap, group.wer
        if gap is None or rate is None or gap.value is None:
            continue
        yield Suggestion(
            about="data",
            action=f"Bring more recordings {_like(group)}.",
            why=f"Its {group.clips} test clips have a word error rate of {rate.value or 0:.1%}, "
            f"{100 * gap.value:.1f} points above all others ({100 * (gap.low or 0):.1f} to "
            f"{100 * (gap.high or 0):.1f}), one of {len(scored)} groups looked at.",
            gain=Gain(measure=WER, value=None, low=0.0, high=_most(group, words), share=True,
                      now=report.scores.normalised.wer.value),
            cost="recordings with their texts",
            command=f"prefect deployment run speech-day/{language.name}{FROM_FOLDER}",
            source=f"{results.evaluation_folder(language, report.key)}/report.json",
            made_at=report.at,
        )  # fmt: skip


def _lower_end(group: GroupScore, looked_at: int) -> float:
    """Of its gap, where so many groups were looked at: Bonferroni by the gap's own p, cruder without one."""
    gap = group.gap
    if gap is None or gap.value is None or gap.low is None or gap.value <= 0:
        return 0.0
    if gap.p is not None:
        return gap.value if gap.p * looked_at < 0.05 else 0.0
    return gap.value - 1.5 * (gap.value - gap.low)


def _most(group: GroupScore, words: int) -> float:
    """By how much the whole rate falls if the group comes up to the others."""
    gap = group.gap.value if group.gap else None
    return max(0.0, (gap or 0.0) * group.words / max(1, words))


def _like(group: GroupScore) -> str:
    if group.by in BRINGABLE:
        return BRINGABLE[group.by].format(group.value)
    return f"like these: {group.by} {group.value}"


def searched(store: Store, language: Language) -> Iterator[Suggestion]:
    """Other settings of fine-tuning, from the last search."""
    report = last_report(store, language.name, SEARCH, SearchedSpeech)
    if report is None or report.best is None or report.trouble:
        return
    gain, settings = report.gain, json.dumps(dict(report.changes))
    measured = gain.value is not None and gain.low is not None and gain.high is not None
    if gain.high is not None and gain.high <= 0:
        return  # worse ones help nobody
    model = report.default.model
    is_folder = model.startswith((".", "/", "~"))  # of the trainer: pages do not name it
    whole = json.dumps({"model": model, **report.changes})
    yield Suggestion(
        about="model",
        action=f"Fine-tune with the settings that the search chose: {settings}.",
        why=report.verdict,
        gain=Gain(measure=WER, value=gain.value, low=gain.low or 0.0, high=gain.high or 0.0,
                  now=report.default_wer, share=True) if measured else None,
        cost="one training anew; the search is done",
        command="" if is_folder else f"prefect deployment run speech-training/{language.name} "
        f"--param {quote(f'finetune={whole}')}",
        source=report_path(language.name, SEARCH),
        made_at=made_at(store, language.name, SEARCH),
    )  # fmt: skip


def more_recordings(store: Store, language: Language) -> Iterator[Suggestion]:
    """Twice the minutes, of the same speakers or by new ones, from the last learning curve."""
    report = last_report(store, language.name, CURVE, SpeechCurve)
    if report is None:
        return
    for way, fit in report.fits.items():
        twice = fit.forecasts[0] if fit.foretells else None
        who = "new speakers" if way == "speakers" else "the same speakers"
        yield Suggestion(
            about="data",
            action=f"Bring twice the minutes, of {who}.",
            why=way_sentence(way, fit),
            gain=Gain(measure=WER, value=twice.gain, low=twice.gain_low, high=twice.gain_high, share=True,
                      now=fit.error_now) if twice else None,
            cost=f"{report.audio_s / 60:.0f} minutes more, with their texts",
            command=f"prefect deployment run speech-day/{language.name}{FROM_FOLDER}",
            source=report_path(language.name, CURVE),
            made_at=made_at(store, language.name, CURVE),
        )  # fmt: skip


def forgotten(store: Store, language: Language) -> Iterator[Suggestion]:
    """Languages that the newest model understands less well than before it was tuned."""
    verdict = newest_verdict(store, language)
    if verdict is None or verdict.retention is None:
        return
    for other in verdict.retention.languages:
        change = other.change
        if change.value is None or change.low is None or change.high is None or change.low <= 0:
            continue
        yield Suggestion(
            about="model",
            action=f"Train with clips of {other.language} among the others: "
            "finetune={\"replay_share\": 0.2}.",
            why=f"Tuning raised the word error rate of {other.language} by {100 * change.value:.1f} points "
            f"({100 * change.low:.1f} to {100 * change.high:.1f}) on {other.clips} clips.",
            gain=Gain(measure=f"{WER} of {other.language}", value=None, low=0.0, high=change.high,
                      now=other.after.value, share=True),
            cost="one training anew",
            command=f"prefect deployment run speech-training/{language.name} "
            "--param 'finetune={\"replay_share\": 0.2}'",
            source=results.verdict_path(language, _ref(verdict)),
            made_at=verdict.at,
        )  # fmt: skip


def refused_exports(store: Store, language: Language) -> Iterator[Suggestion]:
    """Forms in which the version in use is not published: pages then run it more slowly."""
    champion = store.champion(language.model_name)
    export = exports.kept(store, language, champion) if champion else None
    if champion is None or export is None:
        return
    for form in export.forms:
        if form.refused and form.parity:  # without: no engine takes such a model at all
            yield Suggestion(
                about="model",
                action=f"Look why version {export.version} is not published in {form.form}.",
                why=f"It runs on torch instead: {form.refused}.",
                gain=None,
                cost="a look at the report; perhaps a training anew",
                command=f"prefect deployment run speech-export/{language.name}",
                source=f"{exports.export_folder(language, champion)}/export.json",
                made_at=export.at,
            )


def newest_verdict(store: Store, language: Language) -> Verdict | None:
    """Of the checkpoint that was scored last."""
    return next(iter(results.verdicts(store, language)[::-1]), None)


def newest_report(store: Store, language: Language) -> EvaluationReport | None:
    """Of the checkpoint that was scored last, in the mode that it is served in."""
    verdict = newest_verdict(store, language)
    if verdict is None:
        return None
    try:
        return results.report(store, language, verdict.candidate)
    except NotFound:
        return None


def _ref(verdict: Verdict) -> CheckpointRef:
    return CheckpointRef(verdict.run, verdict.step)


# Every function that turns a report into suggestions. One that has nothing to say yields none.
SOURCES: tuple[Callable[[Store, Language], Iterator[Suggestion]], ...] = (
    searched,
    more_recordings,
    worst_groups,
    forgotten,
    refused_exports,
    better_speech,
    suspect_texts,
)

# Every flow whose report becomes suggestions.
MEASUREMENTS: tuple[Measurement, ...] = (
    Measurement(
        question="How well does it do, and for whom not?", step="evaluation", flow="speech-evaluation"
    ),
    Measurement(question="Would other settings of fine-tuning be better?", step=SEARCH, flow="speech-search"),
    Measurement(
        question="Would more recordings help, or more speakers?", step=CURVE, flow="speech-learning-curve"
    ),
    Measurement(question="Which texts look wrong?", step=LABELS, flow="speech-labels"),
)
