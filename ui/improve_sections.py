"""What the page at /improve shows: the list in order, the curve, what is not measured."""

from __future__ import annotations

from collections.abc import Sequence

from dagsverk.label_report import STEP as LABELS
from dagsverk.records import last_report
from dagsverk.report.making import address
from dagsverk.speech.languages import Language
from dagsverk.speech.learning_curve import SpeechCurve
from dagsverk.speech.learning_curve_words import curve_sentences, rate_words
from dagsverk.store import Store
from dagsverk.suggesting import speech as of_speech
from dagsverk.suggesting import tabular as of_tables
from dagsverk.suggesting.corpora import read_again
from dagsverk.suggestions import Gain, Measurement, Suggestion, gain_words, ordered, unmeasured
from dagsverk.tabular.learning_curve import STEP as CURVE
from dagsverk.tabular.learning_curve import TabularCurve
from dagsverk.tabular.learning_curve_words import curve_sentence
from dagsverk.tabular.measures import error_words
from dagsverk.tabular.system import System
from ui import frame, improve_chart, parts
from ui.improve_chart import Drawn
from ui.parts import Head, Html
from ui.speech.desk import FIRST
from ui.speech.parts import gap

__all__ = ["FIRST", "content"]

KINDS = {"model": "Model", "data": "Data"}
LEAST_REACH = 0.05  # share of the error that the scale of the bars shows at least
MOST_REACH = 1.0  # and at most: an interval beyond it ends in an arrow


def content(store: Store, subject: System | Language | None) -> Html:
    """All of the page's pieces."""
    if subject is None:
        return parts.empty("Nothing to improve", "There is no system and no language of that name.")
    spoken = isinstance(subject, Language)
    listed = (
        of_speech.suggestions(store, subject) if isinstance(subject, Language)
        else of_tables.suggestions(store, subject)
    )  # fmt: skip
    steps = [path.split("/")[-1].removesuffix(".json") for path in store.list(f"reports/{subject.name}")]
    flows = of_speech.MEASUREMENTS if spoken else of_tables.MEASUREMENTS
    missing = [
        (one.question, f"prefect deployment run {one.flow}/{subject.name}{_recordings(store, subject, one)}")
        for one in unmeasured(flows, steps)
    ]
    curve = _spoken(store, subject) if isinstance(subject, Language) else _curve(store, subject)
    model = subject.model_name if isinstance(subject, Language) else subject.name
    ranked = _ranked(subject, ordered(listed), begun=store.champion(model) is not None)
    return parts.join(ranked, curve, _missing(missing, something=bool(listed)))


def _recordings(store: Store, subject: System | Language, flow: Measurement) -> str:
    """What a flow that plays recordings is told of where they are."""
    return read_again(store, subject) if isinstance(subject, Language) and flow.step == LABELS else ""


def _ranked(subject: System | Language, listed: Sequence[Suggestion], *, begun: bool) -> Html:
    if not listed and begun:
        return parts.empty(
            f"Nothing says yet what would help {subject.title}",
            "A model is in use, and no report of it names anything that would help; the flows below do.",
        )
    if not listed:
        return parts.empty(
            f"Nothing is measured of {subject.title} yet",
            "What would help is read from reports: a day first, then the flows below.",
            f"prefect deployment run {_day(subject)}/{subject.name}",
        )
    reach = _reach(listed)
    items = "".join(_item(subject, one, reach) for one in listed)
    counts = ", ".join(
        f"{sum(one.about == about for one in listed)} about the {about}" for about in ("model", "data")
    )
    scale = f"a full scale is {reach:.0%}"
    bars = f"Bars: the share of today's error that would go, with its 95% interval; {scale}. "
    words = (
        f"{counts}. {bars if any(one.gain for one in listed) else ''}What is beyond chance comes first, then "
        "what is not shown, then what is only known to be at most so much, then what nobody measured."
    )
    return parts.card("In order", words, Html(f'<ol class="dv-helps">{items}</ol>'))


def _day(subject: System | Language) -> str:
    return "speech-day" if isinstance(subject, Language) else "day"


def _reach(listed: Sequence[Suggestion]) -> float:
    """The share of the error at the right end of all bars."""
    gains = [one.gain for one in listed if one.gain is not None]
    ends = [abs(gain.of_now(end)) for gain in gains for end in (gain.high, gain.low)]
    return min(MOST_REACH, max([LEAST_REACH, *ends]))


def _item(subject: System | Language, one: Suggestion, reach: float) -> str:
    kind = parts.chip(KINDS[one.about], f"dv-{one.about}")
    shown = parts.chip("shown", "good") if one.shown else Html("")
    cost = f"{one.cost}; {one.cost_s:,.0f} s of computing so far" if one.cost_s else one.cost
    pairs = [
        ("Gain", gain_words(one.gain)),
        ("Why", one.why),
        ("Cost", cost),
        ("From", _source(subject, one)),
    ]
    run = parts.command_line(one.command) if one.command else Html("")
    return parts.join(
        Html('<li class="dv-help"><div class="line">'), kind, shown, parts.element("h3", one.action),
        Html("</div>"), _bar(one.gain, reach), parts.facts(pairs), run, Html("</li>"),
    )  # fmt: skip


def _bar(gain: Gain | None, reach: float) -> Html:
    """The interval on a scale with 0; striped where only the most is known. Nothing where nobody knows."""
    if gain is None:
        return Html("")

    def at(part: float) -> float:
        return 50 + 50 * max(-1.0, min(1.0, gain.of_now(part) / reach))

    low, high = at(gain.low), at(gain.high)
    look = "most" if gain.value is None else "shown" if gain.shown else "open"
    dot = "" if gain.value is None else f'<i class="dot" style="left:{at(gain.value):.2f}%"></i>'
    return Html(
        f'<div class="dv-gain {look}" aria-hidden="true"><i class="zero"></i>'
        f'<i class="bar" style="left:{low:.2f}%;width:{max(0.4, high - low):.2f}%"></i>{dot}</div>'
    )


def _source(subject: System | Language, one: Suggestion) -> Html:
    """Where the report is to be read: on a page where there is one, and where it lies in the store."""
    at = f", {one.made_at[:16].replace('T', ' ')} UTC" if one.made_at else ""
    return parts.join(_link(subject, one.source), " ", parts.element("code", one.source), at)


def _link(subject: System | Language, source: str) -> Html:
    folder, _, rest = source.partition("/")
    name, _, version = rest.partition("/")
    if folder == "models" and version.isdigit():
        return parts.link(f"version {version}", address(name, int(version)))
    if source.endswith(f"{CURVE}.json"):
        return parts.link("the curve below", "#learning-curve")
    if source.endswith(f"{LABELS}.json"):
        family = "speech" if isinstance(subject, Language) else "tabular"
        return parts.link("the page Labels", f"labels?of={family}-{subject.name}")
    if isinstance(subject, Language):
        return parts.link("speech monitor", f"speech-monitor?language={subject.code}")
    return parts.link(f"{subject.title} monitor", frame.monitor_path(subject))


def _curve(store: Store, system: System) -> Html:
    report = last_report(store, system.name, CURVE, TabularCurve)
    if report is None:
        return Html("")
    drawn = improve_chart.chart(
        [Drawn(name=f"{report.model_class}, fitted on parts of the rows", fit=report.fit)],
        x_title="Rows fitted on, each step twice as far", y_title=error_words(report.measure),
        say_size=lambda size: f"{size:,.0f}", say_error=lambda error: f"{error:.3f}",
    )  # fmt: skip
    aside = [f"No point of {share} of the rows: {why}." for share, why in report.set_aside.items()]
    return _anchored(
        parts.card(
            "Learning curve", curve_sentence(report), drawn, _points(report),
            *(parts.element("p", line, "small soft") for line in aside),
        )
    )  # fmt: skip


def _spoken(store: Store, language: Language) -> Html:
    """Of a language: a curve for each way in which there are fewer clips, and speakers against minutes."""
    report = last_report(store, language.name, CURVE, SpeechCurve)
    if report is None or not report.fits:
        return Html("")
    drawn = improve_chart.chart(
        [Drawn(name=f"fewer {way}", fit=fit) for way, fit in report.fits.items()],
        x_title="Minutes learned from, each step twice as far", y_title="word error rate on test",
        say_size=lambda size: f"{size / 60:,.0f}" if size >= 600 else f"{size / 60:.1f}",
        say_error=lambda error: f"{error:.0%}",
    )  # fmt: skip
    sentences = [parts.element("p", one, "small") for one in curve_sentences(report)]
    return _anchored(
        parts.card(
            "Learning curve", f"{report.clips:,} clips of {report.speakers} named speakers, tested on "
            f"{report.test_clips:,} clips of {report.test_speakers}; {report.seeds} trainings of each part, "
            f"as many {report.held} for each.", drawn, *sentences, _against(report),
        )
    )  # fmt: skip


def _against(report: SpeechCurve) -> Html:
    if not report.against:
        return Html("")
    heads = [Head(title=name) for name in ("Minutes", "Few speakers", "Many speakers", "Gain of many")]
    rows = [
        [
            f"{one.audio_s / 60:.1f}",
            f"{one.speakers_few:.0f}: {rate_words(one.wer_few)}",
            f"{one.speakers_many:.0f}: {rate_words(one.wer_many)}",
            gap(one.gain, more_is_better=True),
        ]
        for one in report.against
    ]
    return parts.table("At equal minutes: few speakers with all their clips, many with a part", heads, rows)


def _anchored(card: Html) -> Html:
    return Html(f'<div id="learning-curve" class="dv-below">{card}</div>')


def _points(report: TabularCurve) -> Html:
    heads = [
        Head(title="Share"),
        *(Head(title=name, numeric=True) for name in ("Rows", "Error", "95% interval")),
    ]
    rows = [
        [_share(p.share), f"{p.size:,.0f}", f"{p.error:.4f}", f"{p.low:.4f} to {p.high:.4f}"]
        for p in report.fit.points
    ]
    if report.fit.trusted:
        rows += [
            [
                f"{f.times:g} times as many, foretold",
                f"{f.size:,.0f}",
                f"{f.error:.4f}",
                f"{f.low:.4f} to {f.high:.4f}",
            ]
            for f in report.fit.forecasts
        ]
    return parts.table("Error by share of the rows", heads, rows)


def _share(share: float) -> str:
    """A part of the rows: "all", "1/8", "0.3"."""
    parts_of = round(1 / share)
    if abs(share * parts_of - 1) > 1e-9:
        return f"{share:.3g}"
    return "all" if parts_of == 1 else f"1/{parts_of}"


def _missing(moves: Sequence[tuple[str, str]], *, something: bool) -> Html:
    if not moves:
        return Html("")
    lines = parts.join(
        *(parts.join(parts.element("p", q, "small"), parts.command_line(run)) for q, run in moves)
    )
    more = "Each of these flows leaves a report that this page reads." if something else "What answers it:"
    return Html(f'<div class="dv-below">{parts.card("Not measured yet", more, lines)}</div>')
