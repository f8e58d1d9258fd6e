"""The report of a speech version, from its record, its run and its evaluations. Its weights are not read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from dagsverk import markup, words
from dagsverk.markup import Head, Html, Tile
from dagsverk.report import common, figures, helps, speech_scores
from dagsverk.report.common import NOT_RECORDED, Step, Subject
from dagsverk.report.speech_scores import percent
from dagsverk.speech import exports, results, runs
from dagsverk.speech.errors import SpeechError
from dagsverk.speech.evaluation.report import EvaluationReport, Verdict
from dagsverk.speech.languages import Language
from dagsverk.speech.runs import Curve, RunConfig, TrainingPoint, ValidationPoint
from dagsverk.speech.steps import Outcome
from dagsverk.store import NotFound, Store, StoreError, Unavailable
from dagsverk.suggesting import speech as suggesting

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the store still has of a version besides its record; None or empty for what it has not."""

    candidate: EvaluationReport | None
    base: EvaluationReport | None
    champion: EvaluationReport | None  # until then
    verdict: Verdict | None
    outcome: Outcome | None
    run: RunConfig | None
    curve: Curve
    cost: Mapping[str, Any]  # how long the run was at work, and where


def content(store: Store, subject: Subject, language: Language) -> list[object]:
    """The report's pieces."""
    evidence = _evidence(store, subject, language)
    checks = (
        evidence.outcome.checks if evidence.outcome else evidence.verdict.checks if evidence.verdict else ()
    )
    code = subject.lineage.get("code")
    return [
        _tiles(subject, evidence),
        common.GAP,
        Html('<div class="dv-grid">'),
        common.decision_card(subject, speech_scores.checks(checks)),
        speech_scores.compared(evidence.candidate, evidence.base, evidence.champion, evidence.outcome),
        _curves(evidence),
        speech_scores.groups(evidence.candidate),
        speech_scores.modes(evidence.verdict.modes if evidence.verdict else None),
        speech_scores.knew_before(evidence.verdict.retention if evidence.verdict else None),
        _cost(subject, evidence),
        _exports(store, subject, language),
        helps.card(subject, lambda: suggesting.suggestions(store, language)),
        common.way(_lineage(subject, evidence)),
        common.settings_card(_settings(subject), code),
        common.files_card(subject.model),
        Html("</div>"),
    ]


def _evidence(store: Store, subject: Subject, language: Language) -> Evidence:
    info, notes = subject.info, subject.notes
    verdict = notes.parsed(info.get("verdict"), Verdict, "its verdict")
    run = str(info.get("run") or "")

    def report(key: object, whose: str) -> EvaluationReport | None:
        if not key:
            return None
        return _kept(subject, lambda: results.report(store, language, str(key)), f"the report on {whose}")

    return Evidence(
        candidate=report(info.get("evaluation"), "this version"),
        base=report(verdict.base, "the model before training") if verdict else None,
        champion=report(verdict.champion, "the champion until then") if verdict else None,
        verdict=verdict,
        outcome=notes.parsed(info.get("told"), Outcome, "what it came to"),
        run=_kept(subject, lambda: runs.run_config(store, run), f"the settings of run {run}")
        if run
        else None,
        curve=(_kept(subject, lambda: runs.curve(store, run), f"the curve of run {run}") or ())
        if run
        else (),
        cost=(_kept(subject, lambda: runs.cost(store, run), f"the cost of run {run}") or {}) if run else {},
    )


def _kept(subject: Subject, read: Callable[[], T], what: str) -> T | None:
    """What is read; None, and a note that says why, where it is gone or damaged."""
    try:
        return read()
    except Unavailable:
        raise
    except NotFound:
        subject.notes.sentences.append(f"{what}: it is not in the store any more")
    except (StoreError, SpeechError) as error:
        subject.notes.sentences.append(f"{what}: {markup.short(error, 300)}")
    return None


def _tiles(subject: Subject, evidence: Evidence) -> Html:
    report, outcome = evidence.candidate, evidence.outcome
    wer = report.scores.normalised.wer if report else outcome.candidate.wer if outcome else None
    base = evidence.base.scores.normalised.wer if evidence.base else outcome.base.wer if outcome else None
    clips, speakers = (report.clips, report.speakers) if report else (
        (outcome.clips, outcome.speakers) if outcome else (None, 0)
    )  # fmt: skip
    cut = ", a cut" if (report.cut if report else outcome.cut if outcome else None) else ""
    unnamed = report.clips_without_speaker if report else 0
    tested = words.voices(speakers, unnamed) + cut if clips is not None else "not scored here"
    return markup.tiles(
        (
            speech_scores.rate_tile("Word error rate", wer, "on test clips"),
            speech_scores.rate_tile("Before fine-tuning", base, "same clips"),
            Tile(label="Test clips", figure="–" if clips is None else f"{clips:,}", note=tested),
            common.use_tile(subject),
        )
    )


def _curves(evidence: Evidence) -> Html:
    title, curve = "Training", evidence.curve
    if not curve:
        return markup.card(title, "", markup.element("p", f"The curve is {NOT_RECORDED}."))
    loss = _line(curve, TrainingPoint, "loss", "training loss", "grey")
    dev_loss = _line(curve, ValidationPoint, "dev_loss", "dev loss", "sun")
    wer = _line(curve, ValidationPoint, "dev_wer", "dev WER", "sea")
    cer = _line(curve, ValidationPoint, "dev_cer", "dev CER", "sea dash")
    rate = _line(curve, TrainingPoint, "learning_rate", "learning rate", "grey")
    charts = [
        _chart([loss, dev_loss], "loss, nats per token", lambda value: f"{value:.3g}"),
        _chart([wer, cer], "error rate on dev", lambda value: markup.percent(value, 0)),
        _chart([rate], "learning rate", lambda value: f"{value:.2g}"),
    ]
    heads = [Head(title="Step"), *(Head(title=t, numeric=True) for t in ("Dev loss", "Dev WER", "Dev CER"))]
    rows = [
        (f"{point.step:,}", markup.number(point.dev_loss), markup.percent(point.dev_wer, 1),
         markup.percent(point.dev_cer, 1))
        for point in curve if isinstance(point, ValidationPoint)
    ]  # fmt: skip
    some = f"; the last {common.MOST_ROWS} of {len(rows)}" if len(rows) > common.MOST_ROWS else ""
    caption = f"Looks at dev, which chose the checkpoint{some}"
    table = markup.table(caption, heads, rows[-common.MOST_ROWS :]) if rows else ""
    return markup.card(title, "Dev clips choose the checkpoint; test clips are scored once.", *charts, table)


def _line(curve: Curve, kind: type, name: str, words_: str, look: str) -> figures.Line:
    points = [
        (float(point.step), float(value))
        for point in curve
        if isinstance(point, kind) and (value := getattr(point, name)) is not None
    ]
    return figures.Line(name=words_, points=points, look=look)


def _chart(drawn: Sequence[figures.Line], title: str, say: Callable[[float], str]) -> Html:
    return figures.lines(drawn, x_title="steps", y_title=title, say_x=lambda step: f"{step:,.0f}", say_y=say)


def _exports(store: Store, subject: Subject, language: Language) -> Html:
    """The forms in which other engines run it."""
    made = exports.kept(store, language, subject.model)
    if made is None:
        return markup.card("Exports", "", markup.element("p", "It was not exported for other engines."))
    pairs = [
        (
            one.form,
            f"refused: {common.without_folders(one.refused)}" if one.refused else f"{one.bytes:,} bytes",
        )
        for one in made.forms
    ]
    note = f"Compared with its own weights on clips of {made.checked_on}; {common.moment(made.at)}."
    return markup.card("Exports", note, markup.facts(pairs))


def _cost(subject: Subject, evidence: Evidence) -> Html:
    run, report = evidence.run, evidence.candidate
    splits = subject.lineage.get("splits")
    train = splits.get("train") if isinstance(splits, Mapping) else None
    train_s = common.number(train.get("seconds")) if isinstance(train, Mapping) else None
    pairs: list[tuple[object, object]] = [
        ("Clips trained on", f"{run.clips:,}" if run else NOT_RECORDED),
        ("Speech in the training split", NOT_RECORDED if train_s is None else f"{train_s / 3600:.2f} h"),
        ("Steps", common.recorded(subject.info.get("step")) + _of_steps(run)),
        ("Audio heard in training, at most", _heard_at_most(run)),
        ("Clips a second in training", _speed(evidence.curve)),
        ("Processes, threads of each", f"{run.finetune.processes}, {run.threads}" if run else NOT_RECORDED),
        ("Seconds of training", common.recorded(evidence.cost.get("seconds"))),
        ("Computed on", common.recorded(evidence.cost.get("device") or evidence.cost.get("machine"))),
        ("Prefect run", common.recorded(evidence.cost.get("flow_run"))),
        ("Scoring the test clips", _decoding(report)),
    ]
    return markup.card("Cost", "", markup.facts(pairs))


def _of_steps(run: RunConfig | None) -> str:
    return f" of {run.finetune.steps:,}" if run and run.finetune.steps else ""


def _heard_at_most(run: RunConfig | None) -> str:
    """Seconds of a batch times batches: batches are filled as far as clips go in."""
    settings = run.finetune if run else None
    if run is None or settings is None or not settings.steps or not settings.batch_s:
        return NOT_RECORDED
    audio_s = settings.steps * run.groups_per_step * settings.batch_s
    return (
        f"{audio_s / 3600:.2f} h: {settings.steps:,} steps of {run.groups_per_step} × {settings.batch_s:g} s"
    )


def _speed(curve: Curve) -> str:
    speeds = sorted(p.clips_per_s for p in curve if isinstance(p, TrainingPoint) and p.clips_per_s)
    return f"{speeds[len(speeds) // 2]:.2g}, the median" if speeds else NOT_RECORDED


def _decoding(report: EvaluationReport | None) -> str:
    if report is None:
        return NOT_RECORDED
    done = report.decoding
    how = f"{done.audio_s_per_s:g} s of audio a second on {done.device}, {words.counted(done.beams, 'beam')}"
    return f"{done.seconds:.1f} s; {how}{', ' + done.precision if done.precision else ''}"


def _settings(subject: Subject) -> Mapping[str, Any]:
    settings = subject.info.get("settings")
    return settings if isinstance(settings, Mapping) else {}


def _lineage(subject: Subject, evidence: Evidence) -> list[Step]:
    kept, info, run = subject.lineage, subject.info, evidence.run
    base = markup.last_part(info.get("base_model") or kept.get("base_model") or NOT_RECORDED)
    pairs = [
        (name, kept[name]) for name in ("splits", "set_aside", "suspicious_texts", "cut") if kept.get(name)
    ]
    pairs += [(name, kept[name]) for name in ("licences", "mixed", "replayed") if kept.get(name)]
    facts = markup.facts((name, value) for name, value in common.plain(dict(pairs)))
    source = common.said_plainly("source", kept.get("source"))
    started = f"fingerprint of its weights {run.fingerprint}" if run else ""
    if not info.get("run"):
        return [
            Step(title="Published model", id=base, words="not trained here"),
            *_rest(subject, evidence),
        ]
    ran = (
        f"step {common.recorded(info.get('step'))}{_of_steps(run)}; code {common.recorded(kept.get('code'))}"
    )
    return [
        Step(
            title="Recordings",
            id=str(kept.get("corpus_fingerprint") or ""),
            words=f"corpus {common.recorded(kept.get('corpus'))}, from {source}",
        ),
        Step(title="Set of clips", id=str(info.get("set") or kept.get("set") or ""), words=facts),
        Step(title="Model before training", id=base, words=started or NOT_RECORDED),
        Step(title="Training run", id=str(info["run"]), words=ran),
        *_rest(subject, evidence),
    ]


def _rest(subject: Subject, evidence: Evidence) -> list[Step]:
    report, info = evidence.candidate, subject.info
    scored = (
        f"{percent(report.scores.normalised.wer)} of words wrong on {words.counted(report.clips, 'clip')} of "
        f"{report.set}, {report.split}; {common.moment(report.at)}"
        if report
        else "not scored before it was registered" if not info.get("run") else NOT_RECORDED
    )  # fmt: skip
    weights = subject.lineage.get("weights")
    listed = [
        Step(title="Evaluation", id=str(info.get("evaluation") or ""), words=scored),
        Step(title="Weights", id=str(weights or ""), words="" if weights else NOT_RECORDED),
    ]
    return [*listed, common.registered(subject), common.decided(subject), common.served(subject)]
