"""The sections of the speech monitor, each drawn from a SpeechView; each says so when it has nothing yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dagsverk.report.making import address
from dagsverk.speech.evaluation.report import Check, EvaluationReport
from dagsverk.speech.registry.gate import cut_words
from dagsverk.speech.serving.champions import speech_command
from dagsverk.store import Model
from dagsverk.words import counted
from ui import parts
from ui.parts import Head, Html, Tile, percent
from ui.speech import modes, sentences
from ui.speech.charts import Dot
from ui.speech.desk import SpeechView, evaluation_of
from ui.speech.parts import gap, rate, unbroken
from ui.versions import versions

GROUPINGS = {
    "gender": "Gender",
    "age": "Age",
    "accent": "Accent",
    "length": "Clip length",
    "rate": "Speaking rate",
}
MOST_PROMOTIONS = 5  # listed
MOST_CANDIDATES = 6  # in the comparison, besides champion and base


def overview(view: SpeechView) -> Html:
    """What needs attention, and the number row; before the first day, how to start one."""
    warned = [parts.element("li", words, "bad") for words in warnings(view)]
    listed = Html(f'<ul class="dv-alerts">{parts.join(*warned)}</ul>') if warned else ""
    if view.blank:
        return parts.join(listed, first_day(view))
    return parts.join(listed, number_row(view))


def first_day(view: SpeechView) -> Html:
    language = view.language
    title = f"No {language.title} model has been trained yet"
    return parts.empty(title, sentences.first_day(language), speech_command(language))


def warnings(view: SpeechView) -> Iterator[Html]:
    """A cut test set, failed checks, files that cannot be trusted."""
    shown = view.shown
    if shown and shown.cut:
        cut = cut_words(shown.cut, shown)
        words = f"scores below are of {cut}; a cut says less than the whole test set."
        yield parts.join(parts.element("strong", "The test set was cut: "), words)
    if shown and shown.unseen and not shown.unseen.clips:
        yield parts.join(parts.element("strong", "No sentence is new: "), sentences.new_sentences(shown))
    for check in checks_of(view):
        if not check.passed:
            yield parts.join(parts.element("strong", f"Check failed, {check.name}: "), check.detail)
    if view.card_problem:
        yield parts.join(parts.element("strong", "The champion cannot be trusted: "), view.card_problem)


def checks_of(view: SpeechView) -> Sequence[Check]:
    """The checks of the checkpoint that was scored last."""
    return view.verdicts[-1].checks if view.verdicts else ()


def number_row(view: SpeechView) -> Html:
    """Champion's word error rate, the untrained model's, what was learnt from, what it was tested on."""
    preparation = view.steps.preparation
    training = preparation.splits.get("train") if preparation else None
    return parts.tiles(
        (
            wer_tile(view),
            _base_tile(view),
            Tile(
                label="Learnt from",
                figure=_hours(training.audio_s if training else None),
                note=sentences.learnt_from(training),
            ),
            _test_tile(view.shown),
        )
    )


def wer_tile(view: SpeechView) -> Tile:
    model, shown = view.champion, view.shown
    label = "Word error rate"
    if shown is None:
        return Tile(label=label, figure="–", note="nothing scored yet")
    wer = shown.scores.normalised.wer
    who = f"version {model.version}" if model else "candidate, not in use"
    return Tile(label=label, figure=percent(wer.value, 1), note=f"{sentences.within(wer)}; {who}")


def _base_tile(view: SpeechView) -> Tile:
    base = view.reports.get(base_key(view) or "")
    label = "Before fine-tuning"
    if base is None:
        return Tile(label=label, figure="–", note="not scored yet")
    wer = base.scores.normalised.wer
    return Tile(label=label, figure=percent(wer.value, 1), note=f"{sentences.within(wer)}; same clips")


def _test_tile(shown: EvaluationReport | None) -> Tile:
    label = "Tested on"
    if shown is None:
        return Tile(label=label, figure="–")
    return Tile(label=label, figure=counted(shown.clips, "clip"), note=sentences.tested_on(shown))


def _hours(length_s: float | None) -> str:
    if length_s is None:
        return "–"
    return f"{length_s / 3600:.1f} h" if length_s >= 3600 else f"{length_s / 60:.0f} min"


def base_key(view: SpeechView) -> str | None:
    """The report of the untrained model on the clips of the report that is shown."""
    if view.shown is None:
        return None
    for verdict in reversed(view.verdicts):
        base = view.reports.get(verdict.base)
        if base and comparable(base, view.shown):
            return base.key
    return None


def comparable(one: EvaluationReport, other: EvaluationReport) -> bool:
    """Scored on the same clips, in the same way."""
    of = one.set, one.split, one.normaliser, one.cut
    return of == (other.set, other.split, other.normaliser, other.cut)


def named_reports(view: SpeechView) -> list[tuple[str, str, EvaluationReport]]:
    """(name, role, report) of all models scored on the clips that the shown one was scored on.

    The untrained model first, the one in use last; after the shown one itself in the mode that it is not
    served in, which may be of a cut of the clips.
    """
    shown = view.shown
    if shown is None:
        return []
    base = base_key(view)
    names = {evaluation_of(model, view.verdicts): f"Version {model.version}" for model in view.models}
    for verdict in view.verdicts:
        names.setdefault(verdict.candidate, f"Run {verdict.run[:9]}, step {verdict.step}")
    in_use = evaluation_of(view.champion, view.verdicts) if view.champion else ""
    others = [
        (names.get(key, parts.last_part(report.model.name, 24)), "candidate", report)
        for key, report in view.reports.items()
        if key not in {base, in_use, *modes.other_reports(view)} and comparable(report, shown)
    ]
    named = [(f"{_base_name(view)}, before", "before fine-tuning", view.reports[base])] if base else []
    named += others[-MOST_CANDIDATES:]
    if in_use in view.reports:
        named.append((f"{names[in_use]}, in use", "in use", view.reports[in_use]))
    other = modes.other_report(view)
    if other is not None:
        cut = "" if comparable(other[1], shown) else ", a cut"
        name = names.get(shown.key, parts.last_part(shown.model.name, 24))
        named.append((f"{name}, {other[0]}{cut}", "the other mode", other[1]))
    return named


def _base_name(view: SpeechView) -> str:
    named = view.champion.info.get("base_model") if view.champion else None
    return parts.last_part(named or view.reports[base_key(view) or ""].model.name, 24)


def dots(view: SpeechView) -> list[Dot]:
    return [
        Dot(name=name, role=role, wer=report.scores.normalised.wer)
        for name, role, report in named_reports(view)
    ]


def compared_title(view: SpeechView) -> Html:
    title = parts.element("h2", "Models compared")
    shown = view.shown
    if shown is None:
        return parts.join(
            title, parts.element("p", "Drawn as soon as a model has been scored.", "soft small")
        )
    return parts.join(title, parts.element("p", sentences.compared(shown), "soft small"))


def compared_table(view: SpeechView) -> Html:
    """Rates of all models, normalised and raw."""
    heads = [Head(title="Model")]
    titles = ("WER", "CER", "WER, raw", "CER, raw", "WER by Whisper’s rules", "WER, new sentences")
    heads += [Head(title=title, numeric=True) for title in titles]
    heads.append(Head(title="Substituted, missing, added", numeric=True))
    rows = []
    for name, _, report in named_reports(view):
        normalised, raw = report.scores.normalised, report.scores.raw
        cells = [rate(one) for scores in (normalised, raw) for one in (scores.wer, scores.cer)]
        by_whisper, unseen = report.scores.whisper, report.unseen
        cells += [rate(by_whisper.wer if by_whisper else None), rate(unseen.wer if unseen else None)]
        cells = [unbroken(cell) for cell in cells]
        counts = (normalised.substitutions, normalised.deletions, normalised.insertions)
        rows.append([name, *cells, ", ".join(f"{count:,}" for count in counts)])
    cut = "; the test set is a cut" if view.shown and view.shown.cut else ""
    return parts.table(f"Test set, with 95% intervals{cut}", heads, rows) if rows else Html("")


def groups(view: SpeechView) -> Html:
    """How well each group of speakers and clips is understood."""
    shown = view.shown
    if shown is None or not shown.groups:
        words = "Gender, age and accent come with the recordings; with scores they are compared here."
        return parts.card("Groups", "", parts.empty("No groups yet", words), width="w7")
    least = shown.config.min_group_clips
    heads = [Head(title="Group"), Head(title="Clips", numeric=True), Head(title="Voices", numeric=True)]
    heads += [Head(title="WER", numeric=True), Head(title="Against all others", numeric=True)]
    rows = []
    for group in shown.groups:
        name = f"{GROUPINGS.get(group.by, group.by)}: {group.value}"
        everyone = group.clips == shown.clips  # nothing to compare it with
        scored = rate(group.wer) if group.wer else "all clips" if everyone else "too few"
        voices = f"{group.speakers:,}" if group.speakers else "not named"
        rows.append([name, f"{group.clips:,}", voices, scored, gap(group.gap)])
    note = f"Groups of fewer than {least} clips are counted and not scored. Gaps are in percentage points."
    return parts.card("Groups", note, parts.table("Test set, with 95% intervals", heads, rows), width="w7")


def checks(view: SpeechView) -> Html:
    """The sanity checks of the last scored checkpoint, each with its verdict in words."""
    listed = checks_of(view)
    if not listed:
        return parts.card(
            "Checks",
            "",
            parts.empty("Not checked yet", "They are made when a checkpoint is scored."),
            width="w5",
        )
    heads = [Head(title="Check"), Head(title="Found"), Head(title="Verdict")]
    rows = [
        (check.name, parts.short(check.detail, 200),
         parts.chip("passed ✓", "good") if check.passed else parts.chip("failed ✗", "bad"))
        for check in listed
    ]  # fmt: skip
    verdict = view.verdicts[-1]
    caption = f"Run {verdict.run[:9]}, step {verdict.step}"
    return parts.card("Checks", "What fine-tuned models are known to get wrong.",
                      parts.table(caption, heads, rows), width="w5")  # fmt: skip


def set_aside(view: SpeechView) -> Html:
    """Clips that were not used, by reason."""
    step = view.steps.preparation
    title = "Clips set aside"
    if step is None:
        return parts.card(
            title, "", parts.empty("Nothing prepared yet", "They are counted here."), width="w5"
        )
    reasons = step.set_aside
    total = sum(reasons.values())
    if not total:
        words = sentences.not_used(step, parts.last_part(step.corpus))
        return parts.card(title, "", parts.empty("None", words), width="w5")
    note = sentences.not_used(step, parts.last_part(step.corpus))
    rows = [(reason, f"{n:,}") for reason, n in sorted(reasons.items(), key=lambda pair: -pair[1])]
    heads = [Head(title="Reason"), Head(title="Clips", numeric=True)]
    return parts.card(title, note, parts.table("By reason", heads, rows), width="w5")


def champion(view: SpeechView) -> Html:
    """The model in use, the gate's last decision, and the promotions."""
    pairs: list[tuple[object, object]] = []
    if view.champion is not None:
        pairs += _champion_facts(view.champion)
        report = address(view.champion.name, view.champion.version)
        pairs.append(("Report", parts.link("all of this version", report)))
    if view.models:
        pairs.append(("Versions", versions(view.models, view.champion)))
    last = view.steps.evaluation
    if last and last.reason:
        pairs.append(("Last decision", last.reason))
    if last and last.warnings:
        warned = (words[:1].upper() + words[1:] for words in last.warnings)
        pairs.append(("Warnings", parts.join(*(parts.element("div", words) for words in warned))))
    newest_first = list(view.promotions)[: -MOST_PROMOTIONS - 1 : -1]
    if newest_first:
        lines = (
            f"Version {p['version']} on {str(p['promoted_at'])[:10]}: {p['reason']}" for p in newest_first
        )
        pairs.append(("Promotions", parts.join(*(parts.element("div", line) for line in lines))))
    nothing = "" if view.champion else parts.empty(
        "No champion yet", "A model is put to use when it is better than the one before it beyond chance.",
        speech_command(view.language),
    )  # fmt: skip
    return parts.card("Champion and decisions", "", nothing, parts.facts(pairs), width="w7")


def _champion_facts(model: Model) -> list[tuple[object, object]]:
    info = model.info
    can = "transcribes, and translates into English" if info.get("translates") else "transcribes"
    pairs: list[tuple[object, object]] = [
        ("Version", str(model.version)),
        ("Registered", parts.moment(model.created)),
        ("It can", can),
    ]
    if listens := modes.listens(model):
        pairs.append(("It listens", listens))
    origin = "Trained from" if info.get("run") else "As published"
    for name, key in (
        (origin, "base_model"),
        ("Run", "run"),
        ("Step", "step"),
        ("Prepared set", "set"),
    ):
        if info.get(key) is not None:
            pairs.append((name, parts.last_part(info[key], 60)))
    return pairs
