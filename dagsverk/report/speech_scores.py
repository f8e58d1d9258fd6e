"""What a speech version scored: rates with intervals, groups, modes, checks, and what it knew before."""

from __future__ import annotations

from collections.abc import Sequence

from dagsverk import markup, words
from dagsverk.markup import Head, Html, Tile
from dagsverk.report import common, figures
from dagsverk.report.common import NOT_RECORDED
from dagsverk.speech.evaluation.modes import NAMES
from dagsverk.speech.evaluation.report import Check, EvaluationReport, Interval, Retention, TwoModes
from dagsverk.speech.registry.gate import cut_words, unseen_words
from dagsverk.speech.registry.knew_before import not_measured, offer
from dagsverk.speech.registry.knew_before import rows as knew_rows
from dagsverk.speech.steps import Outcome

Scored = tuple[str, EvaluationReport | None, Interval | None, Interval | None]  # name, report, WER, CER


LOOKS = {"this version": "sea", "champion until then": "sun", "before fine-tuning": "grey"}


def percent(rate: Interval | None) -> str:
    """A rate with its 95 % interval."""
    if rate is None:
        return "–"
    return words.percent_interval(rate.value, rate.low, rate.high).replace(" %", "%")


def difference(change: Interval | None) -> str:
    """A difference of rates, in points."""
    if change is None or change.value is None:
        return "–"
    return words.difference(change.value, change.low, change.high).replace("-", "−")


def rate_tile(label: str, rate: Interval | None, note: str) -> Tile:
    if rate is None or rate.value is None:
        return Tile(label=label, figure="–", note=NOT_RECORDED if rate is None else "nothing to score")
    ends = "no interval"
    if rate.low is not None and rate.high is not None:
        ends = f"95% interval {markup.percent(rate.low, 1)} to {markup.percent(rate.high, 1)}"
    return Tile(label=label, figure=markup.percent(rate.value, 1), note=f"{ends}; {note}")


def compared(
    candidate: EvaluationReport | None,
    base: EvaluationReport | None,
    champion: EvaluationReport | None,
    outcome: Outcome | None,
) -> Html:
    """This version, the champion until then and the model before training, on the same clips."""
    rows = _scored(candidate, base, champion, outcome)
    if not rows:
        return markup.card("Scores", "", markup.element("p", "It was not scored before it was registered."))
    drawn = [
        figures.Whisker(name=name, value=wer.value, low=wer.low, high=wer.high, look=LOOKS[name])
        for name, _, wer, _ in rows
        if wer is not None
    ]
    chart = figures.whiskers(drawn, lambda value: markup.percent(value, 0), "word error rate, normalised")
    titles = ("WER", "CER", "WER, raw", "WER by Whisper’s rules", "WER, new sentences", "Edits")
    heads = [Head(title="Model"), *(Head(title=title, numeric=True) for title in titles)]
    table = markup.table("Test set, with 95% intervals", heads, [_row(*row) for row in rows])
    return markup.card("Scores", _about(candidate, outcome), chart, table)


def _scored(
    candidate: EvaluationReport | None,
    base: EvaluationReport | None,
    champion: EvaluationReport | None,
    outcome: Outcome | None,
) -> list[Scored]:
    """By the reports; by the version's own record where a report is gone."""
    short = outcome.candidate if outcome else None, outcome.champion_row if outcome else None, (
        outcome.base if outcome else None
    )  # fmt: skip
    rows: list[Scored] = []
    for name, report, kept in zip(LOOKS, (candidate, champion, base), short, strict=True):
        if report is not None:
            rows.append((name, report, report.scores.normalised.wer, report.scores.normalised.cer))
        elif kept is not None:
            rows.append((name, None, kept.wer, kept.cer))
    return rows


def _row(name: str, report: EvaluationReport | None, wer: Interval | None, cer: Interval | None) -> list[str]:
    if report is None:
        return [name, percent(wer), percent(cer), *["–"] * 4]
    normalised, whisper, unseen = report.scores.normalised, report.scores.whisper, report.unseen
    edits = (normalised.substitutions, normalised.deletions, normalised.insertions)
    others = (report.scores.raw.wer, whisper.wer if whisper else None, unseen.wer if unseen else None)
    return [name, percent(wer), percent(cer), *map(percent, others), " / ".join(map(str, edits))]


def _about(report: EvaluationReport | None, outcome: Outcome | None) -> str:
    if report is None:
        clips = words.counted(outcome.clips, "clip") if outcome else "clips"
        return f"On {clips}; the whole report is not in the store any more."
    whose = words.voices(report.speakers, report.clips_without_speaker)
    count = report.scores.normalised.words
    about = f"{words.counted(report.clips, 'clip')}, {report.audio_s / 60:.1f} min, {whose}, "
    about += f"{words.counted(count, 'word')}. Edits are words substituted / missing / added. "
    if report.cut:
        about += f"The test set is a cut: {cut_words(report.cut, report)}. "
    if report.empty_references:
        about += f"Not scored, having no words in their text: {report.empty_references}. "
    return about + " ".join(f"{one[:1].upper()}{one[1:]}." for one in unseen_words(report))


def groups(report: EvaluationReport | None) -> Html:
    """How well each group of speakers and clips is understood."""
    if report is None or not report.groups:
        why = NOT_RECORDED if report is None else "the clips say nothing of their speakers"
        return markup.card("Groups", "", markup.element("p", f"Groups: {why}."))
    shown = report.groups[: common.MOST_ROWS]
    titles = ("Clips", "Voices", "WER", "Against all others")
    heads = [Head(title="Group"), *(Head(title=title, numeric=True) for title in titles)]
    rows = [
        (f"{words.spaced(one.by)}: {markup.short(one.value)}", f"{one.clips:,}",
         f"{one.speakers:,}" if one.speakers else "not named",
         percent(one.wer) if one.wer else "not scored", difference(one.gap))
        for one in shown
    ]  # fmt: skip
    drawn = [
        figures.Whisker(name=f"{words.spaced(one.by)}: {markup.short(one.value)}", value=one.wer.value,
                        low=one.wer.low, high=one.wer.high)
        for one in shown if one.wer is not None
    ]  # fmt: skip
    chart = figures.whiskers(drawn, lambda value: markup.percent(value, 0), "word error rate, normalised")
    least = report.config.min_group_clips
    note = f"Groups of fewer than {least} clips are counted and not scored. Gaps are in percentage points."
    if len(report.groups) > len(shown):
        note += f" The first {len(shown)} of {len(report.groups)} groups."
    return markup.card("Groups", note, chart, markup.table("Test set, with 95% intervals", heads, rows))


def checks(listed: Sequence[Check]) -> Html:
    """Known ways to go wrong that were looked for."""
    if not listed:
        return markup.join(common.GAP, markup.element("p", f"Checks: {NOT_RECORDED}.", "soft small"))
    rows = [
        (one.name, markup.short(one.detail, 300),
         markup.chip("passed ✓", "good") if one.passed else markup.chip("failed ✗", "bad"))
        for one in listed
    ]  # fmt: skip
    heads = [Head(title="Check"), Head(title="Result", wide=True), Head(title="Verdict")]
    return markup.join(common.GAP, markup.table("Checks for what fine-tuned models get wrong", heads, rows))


def modes(of: TwoModes | None) -> Html:
    """Rates in both modes, and which one is served."""
    title = "True length and 30 s windows"
    if of is None:
        return markup.card(title, "", markup.element("p", f"{NOT_RECORDED.capitalize()}."))
    titles = ("WER", "CER", "WER against before", "Clips", "Audio a second")
    heads = [Head(title="Clips are heard"), *(Head(title=one, numeric=True) for one in titles)]
    heads.append(Head(title="Verdict"))
    rows = []
    for mode, score in of.scores.items():
        verdict = markup.chip("allowed")
        if score.refused:
            verdict = markup.chip("refused ✗", "bad")
        elif mode == of.served:
            verdict = markup.chip("served ✓", "good")
        speed = f"{score.decoding.audio_s_per_s:,.1f} s ({score.decoding.device})"
        rates = (percent(score.wer), percent(score.cer), difference(score.against_base))
        rows.append((NAMES[mode], *rates, f"{score.clips:,}", speed, verdict))
    reasons = (f"Refused {NAMES[m]}: {s.refused}." for m, s in of.scores.items() if s.refused)
    below = (markup.element("p", reason, "small") for reason in reasons)
    table = markup.table("Test set, with 95% intervals", heads, rows) if rows else ""
    note = of.left_out or of.reason
    return markup.card(title, f"{note[:1].upper()}{note[1:]}.", table, *below)


def knew_before(of: Retention | None) -> Html:
    """English from speech, other languages and timestamps, before and after."""
    title = "What it knew before"
    if of is None:
        return markup.card(title, "", markup.element("p", f"{NOT_RECORDED.capitalize()}."))
    heads = [Head(title="Asked for", wide=True)]
    heads += [Head(title=one, numeric=True) for one in ("Before", "After", "Change")]
    rows = [(row.what, row.before or "–", row.after, difference(row.change)) for row in knew_rows(of)]
    table = markup.table("Before and after tuning, with 95% intervals", heads, rows) if rows else ""
    missing = (markup.element("p", sentence, "soft small") for sentence in not_measured(of))
    return markup.card(title, offer(of), table, *missing)
