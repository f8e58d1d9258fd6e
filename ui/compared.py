"""How two models beside each other are drawn: verdict, rates, groups, examples with sound, cost, notes."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, cast

from dagsverk.speech.compared import results
from dagsverk.speech.compared.paired import paired
from dagsverk.speech.compared.results import CompareReport, Cost, Example, Group, Paired
from dagsverk.speech.evaluation.report import Interval
from dagsverk.store import NotFound
from dagsverk.tabular.compared import TableReport
from dagsverk.words import counted, difference, voices
from ui import compared_rows, parts
from ui.bars import bar
from ui.comparable import Entrant, Spoken, Subject
from ui.parts import Head, Html, Tile, percent
from ui.speech.clips import unfolded
from ui.speech.differences import marked
from ui.speech.parts import seconds

OPEN = 6  # examples shown at once; the others are unfolded
BY = {"length": "Clip length", "rate": "Speaking rate", "sentence": "Sentence", "speaker": "Voice"}
MULTIPLE = (
    "Many groups are looked at, and one in twenty would differ by chance alone: a group is called better or "
    "worse only if it is beyond chance with all of them considered (Holm)."
)
FEW_VOICES = (
    "In a group of fewer than six voices all may be of one mind by luck, so none is called; of a voice by "
    "itself the clips are counted, and nothing follows for other voices."
)


def empty(subject: Subject) -> Html:
    """What to run, where there is nothing to compare."""
    words = (
        "Two models with scores of the same clips or rows are compared here. A run of this flow compares "
        "the model in use with the one that it was trained from; its parameters name any other two, also a "
        "program that answers OpenAI's route for transcriptions."
    )
    return parts.empty(f"Nothing of {subject.title} to compare yet", words, subject.command())


def shown(subject: Subject, one: Entrant, two: Entrant) -> Html:
    """Both, as they stand in the store."""
    if isinstance(one.report, TableReport):
        return compared_rows.shown(one.report, turned=one.id.endswith("-2"))
    if not isinstance(subject, Spoken):
        raise TypeError(f"no way to draw {type(subject).__name__}")
    report = subject.comparison(one, two)
    try:
        outcome = report or _of_rows(cast(Hashable, subject.store), one.rows, two.rows)
    except NotFound as error:
        return parts.note("Their texts are not in the store any more:", f"{error}.", bad=True)
    except ValueError as error:
        return parts.note("They cannot be compared:", f"{error}.", bad=True)
    nothing = Interval(None)
    words = results.verdict(outcome, one.name, two.name, one.wer or nothing, two.wer or nothing)
    return parts.join(
        _verdict(outcome, words),
        _tiles(outcome, one, two),
        Html('<div class="dv-grid">'),
        _groups(outcome),
        _cost(one, two),
        _examples(subject, outcome, one, two),
        _about(one, report),
        Html("</div>"),
    )


@functools.lru_cache(maxsize=64)
def _of_rows(store: Any, first: str, second: str) -> Paired:
    """Artefacts of rows are named by their content, so what was computed stays right."""
    return paired(results.rows_of(store, first), results.rows_of(store, second))


def _verdict(outcome: Paired, words: str) -> Html:
    tone = "good" if outcome.outcome else ""
    chip = parts.chip("beyond chance" if outcome.outcome else "no difference shown", tone)
    return Html(f'<p class="dv-verdict" role="status">{chip} {parts.text(words)}</p>')


def _tiles(outcome: Paired, one: Entrant, two: Entrant) -> Html:
    value, low, high = outcome.wer.value, outcome.wer.low, outcome.wer.high
    figure = "–" if value is None else _points(value)
    within = "no interval" if low is None or high is None else f"95%: {_points(low)} to {_points(high)}"
    clips = f"{voices(outcome.speakers)}, {seconds(outcome.audio_s)} of speech; intervals over {outcome.by}"
    return parts.tiles(
        (
            _rate_tile("First", one),
            _rate_tile("Second", two),
            Tile(label="First minus second, in points", figure=figure, note=f"word error rate; {within}"),
            Tile(label="Compared on", figure=counted(outcome.clips, "clip"), note=clips),
        )
    )


def _points(share: float) -> str:
    """A difference of rates in points, with its sign."""
    return f"{100 * share:+.1f}".replace("-", "−")


def _rate_tile(place: str, entrant: Entrant) -> Tile:
    wer = entrant.wer
    figure = percent(wer.value, 1) if wer else "–"
    ends = (wer.low, wer.high) if wer else (None, None)
    within = "" if None in ends else f"; 95%: {percent(ends[0], 1)} to {percent(ends[1], 1)}"
    return Tile(label=f"{place}: word error rate", figure=figure, note=f"{entrant.name}{within}")


def _groups(outcome: Paired) -> Html:
    """A row per group, with a bar to the side of who is better there."""
    if not outcome.groups:
        words = "Groups with enough clips (by length, voice, accent, ...) are compared here."
        return parts.card("Groups", "", parts.empty("No group is large enough", words))
    most = max((abs(end) for g in outcome.groups for end in _ends(g.change.wer)), default=0.0)
    heads = [Head(title="Group"), Head(title="Clips", numeric=True)]
    heads += [Head(title="WER, first minus second", numeric=True), Head(title="First better | second better")]
    rows = [
        (
            f"{BY.get(group.change.by, group.change.by.capitalize())}: {group.change.value}",
            f"{group.change.clips:,}",
            _change(group),
            bar(_three(group.change.wer), most),
        )
        for group in outcome.groups
    ]
    note = f"{MULTIPLE} {FEW_VOICES}" if outcome.by == "voices" else MULTIPLE
    return parts.card("Groups", note, parts.table("95% intervals, in points", heads, rows))


def _ends(interval: Interval) -> Iterable[float]:
    return (end for end in _three(interval) if end is not None)


def _three(interval: Interval) -> tuple[float | None, float | None, float | None]:
    return interval.value, interval.low, interval.high


def _change(group: Group) -> Html:
    wer = group.change.wer
    words = "–" if wer.value is None else difference(wer.value, wer.low, wer.high)
    if not group.differs or wer.value is None:
        return Html(parts.text(words))
    chip = parts.chip("first better", "good") if wer.value < 0 else parts.chip("second better", "bad")
    return parts.join(words, " ", chip)


def _cost(one: Entrant, two: Entrant) -> Html:
    """Seconds, memory and money for an hour of audio, where a run has measured them."""
    costs = [(entrant, entrant.side.cost) for entrant in (one, two) if entrant.side]
    if not costs:
        words = "A run of the flow asks both clip by clip and keeps how long each took."
        return parts.card("Cost", "", parts.empty("Not measured", words))
    heads = [Head(title="Model"), Head(title="Seconds per hour of audio", numeric=True)]
    heads += [Head(title="Memory", numeric=True), Head(title="Price per hour of audio", numeric=True)]
    heads += [Head(title="Measured on", wide=True)]
    rows = [_cost_row(entrant.name, cost) for entrant, cost in costs]
    note = (
        "Clip by clip, warm, from samples to text; other programs may have been at work. Memory is the most "
        "that a process with this model alone takes, libraries and all."
    )
    return parts.card("Cost", note, parts.table("Of each", heads, rows))


def _cost_row(name: str, cost: Cost) -> tuple[object, ...]:
    per_hour = cost.seconds_per_hour
    at_once = f", {cost.at_once} at a time" if cost.at_once > 1 else ""
    return (
        name,
        "–" if per_hour is None else f"{per_hour:,.0f}",
        "–" if cost.memory_bytes is None else f"{cost.memory_bytes / 1e6:,.0f} MB",
        "–" if cost.price_per_audio_hour is None else f"{cost.price_per_audio_hour:.4g}",
        f"{counted(cost.clips, 'clip')}{at_once}; {cost.machine}",
    )


def _examples(subject: Spoken, outcome: Paired, one: Entrant, two: Entrant) -> Html:
    """Clips of which one wrote much more wrong than the other."""
    title = "Where they differ most"
    if not outcome.examples:
        words = "In every clip both get as many words wrong."
        return parts.card(title, "", parts.empty("No clip differs", words))
    items = [_example(subject, example, one, two) for example in outcome.examples]
    note = parts.join(
        f"{counted(outcome.only_second, 'clip')} without a wrong word by the first alone, ",
        f"{outcome.only_first:,} by the second alone. Words ", Html("<del>struck out</del>"),
        " were said and not heard, words ", Html("<ins>underlined</ins>"), " were heard and not said.",
    )  # fmt: skip
    return parts.card(title, note, unfolded(items, OPEN))


def _example(subject: Spoken, example: Example, one: Entrant, two: Entrant) -> Html:
    code = subject.language.spoken
    facts = [f"wrong words: first {example.first_errors}, second {example.second_errors}, of {example.words}"]
    facts += [f"{example.duration_s:.1f} s"]
    facts += [f"speaker {parts.short(example.speaker, 24)}"] if example.speaker else []
    lines = [
        ("Said", Html(f'<p lang="{parts.text(code)}">{parts.text(example.text)}</p>')),
        (f"First: {parts.short(one.name, 40)}", marked(example.text, example.first, code)),
        (f"Second: {parts.short(two.name, 40)}", marked(example.text, example.second, code)),
    ]
    return Html(
        f'<li><div class="dv-clip-head">{parts.element("span", ", ".join(facts), "soft small")}'
        f"{_player(subject, example)}</div>{parts.facts(lines)}</li>"
    )


def _player(subject: Spoken, example: Example) -> Html:
    if not example.sound:
        return parts.element("span", "no recording is kept", "soft small")
    number = example.sound.rpartition("/")[2]
    label = parts.text(f"Clip {parts.short(example.clip)}")
    address = parts.text(f"api/speech/{subject.language.name}/comparisons/audio/{number}")
    return Html(f'<audio controls preload="none" src="{address}" aria-label="{label}"></audio>')


def _about(one: Entrant, report: CompareReport | None) -> Html:
    """Which clips, what was set aside, and what to be aware of."""
    pairs: list[tuple[object, object]] = [("On", one.of)]
    if report is not None:
        aside = [f"{counted(n, 'clip')}: {reason}" for reason, n in report.set_aside.items()]
        pairs.append(("Set aside, for both", _lines(aside) if aside else "none"))
        pairs.append(("To know", _lines(report.notes) if report.notes else "nothing more"))
        pairs.append(("Compared", f"{report.at[:16].replace('T', ' ')} UTC"))
        sides = [f"{side.name}: {side.detail}" for side in (report.first, report.second)]
        pairs.append(("Asked", _lines(sides)))
    return parts.card("About this comparison", "", parts.facts(pairs))


def _lines(lines: Sequence[str]) -> Html:
    return parts.join(*(parts.element("div", line) for line in lines))
