"""The page that answers for one row: values in, outcome, probability, and what moved it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from itertools import accumulate, groupby, pairwise
from typing import TYPE_CHECKING, Any

import gradio as gr

from dagsverk.lineage.cards import Ref
from dagsverk.store import Model, StoreError
from dagsverk.tabular.accuracy import promised_interval
from dagsverk.tabular.errors import InvalidInput
from dagsverk.tabular.pictures import picture
from dagsverk.tabular.system import Column, System
from dagsverk.tabular.typical import typical_case
from dagsverk.words import counted
from ui import frame, parts
from ui.parts import Html, percent
from ui.tabular.answers import Answer, answer_for
from ui.tabular.champion import kind_of
from ui.tabular.desk import NoChampion, TabularDesk, day_command

if TYPE_CHECKING:
    from dagsverk.tabular.explanation import Explanation

MOST_CHOICES = 6  # a whole number of no more values is chosen, not typed
# On a phone the answer is below the form.
SHOW_ANSWER = """() => {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (innerWidth < 760)
    document.getElementById("answer").scrollIntoView({ behavior: calm ? "auto" : "smooth" });
}"""
NOT_KNOWN = ""  # what the choice "not known" gives


def build(demo: gr.Blocks, system: System, desk: TabularDesk) -> None:
    """The page of one system, inside its route. It opens with the model's record, then an answer."""
    frame.head(desk.systems, frame.predict_path(system), system.title, system.description)

    def answer(*values: Any) -> str:
        return respond(system, desk, dict(zip(system.inputs, values, strict=True)))

    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_classes="dv-form"):
            frame.block(parts.page(parts.element("h2", f"Describe a {system.row_name}")))
            fields = form(system)
            button = gr.Button("Predict", variant="primary", size="lg")
        with gr.Column(scale=6, min_width=300, elem_id="answer"):
            waiting = parts.working(f"Asking the model in use about this {system.row_name} …")
            shown = frame.block(parts.page(waiting), min_height_px=420)
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

    def opened() -> Iterator[list[Any]]:
        kept = kept_case(system, desk)
        same = [gr.skip()] * len(fields)
        yield [introduction(system, desk), *(kept.values() if kept else same)]
        case = kept or opening_case(system, desk)
        yield [respond(system, desk, case), *(same if kept else case.values())]

    demo.load(opened, None, [shown, *fields], **quiet)
    asked = [button.click, *(item.submit for item in fields if isinstance(item, gr.Number))]
    gr.on(asked, answer, fields, shown, **quiet).then(None, js=SHOW_ANSWER)
    frame.foot()


def kept_case(system: System, desk: TabularDesk) -> dict[str, Any]:
    """A typical real row as the champion's record holds it, which is read at once; empty without one."""
    try:
        kept = desk.promoted(system).info.get("typical")
    except (NoChampion, StoreError, OSError):
        return {}
    return _filled(system, kept) if isinstance(kept, Mapping) else {}


def opening_case(system: System, desk: TabularDesk) -> dict[str, Any]:
    """What the form holds when the page is opened: a typical real row, where a model has seen some.

    A model of an older version has none on its record; then it is made of the rows that its explanations
    compare with. Without a model: each column's example.
    """
    if kept := kept_case(system, desk):
        return kept
    try:
        return _filled(system, typical_case(system, desk.champion(system).background))
    except (NoChampion, StoreError, OSError):
        return _filled(system, {})


def _filled(system: System, case: Mapping[str, Any]) -> dict[str, Any]:
    return {column.name: _shown(column, case.get(column.name, column.example)) for column in system.columns}


def _shown(column: Column, value: Any) -> Any:
    """The value as the column's component takes it: of choices, only one that is there."""
    values = [choice for _, choice in choices(column)]
    if not values or value in values:
        return value
    return NOT_KNOWN if not column.required else column.example


def form(system: System) -> list[gr.Radio | gr.Number]:
    """A component per input, in their order; numbers that follow each other stand two in a row."""
    fields: list[gr.Radio | gr.Number] = []
    for typed, group in groupby(system.columns, lambda column: not choices(column)):
        columns = list(group)
        for start in range(0, len(columns), 2 if typed else 1):
            with gr.Row() if typed else nullcontext():
                fields += [field(column) for column in columns[start : start + (2 if typed else 1)]]
    return fields


def field(column: Column) -> gr.Radio | gr.Number:
    """The component for one column, filled with its example.

    Limits are not given to the component: our own check words them better, and the server needs it anyway.
    """
    label = f"{column.description} ({column.unit})" if column.unit else column.description
    values = choices(column)
    if values:
        if not column.required:
            values.append(("not known", NOT_KNOWN))
        return gr.Radio(values, value=column.example, label=label, interactive=True)
    return gr.Number(
        value=None if column.example is None else float(column.example),
        label=label,
        info=limits(column),
        placeholder="not known" if not column.required else "a number",
        precision=0 if column.kind == "integer" else None,
        step=1 if column.kind == "integer" else 0.1,
        min_width=150,
        interactive=True,
    )


def choices(column: Column) -> list[tuple[str, str | int]]:
    """(words, value) for a category or a small range of whole numbers; empty where a number is typed."""
    if column.kind == "category":
        return [(column.words(value), value) for value in column.categories]
    if column.kind != "integer" or column.minimum is None or column.maximum is None:
        return []
    low, high = math.ceil(column.minimum), math.floor(column.maximum)
    few = high - low < MOST_CHOICES
    return [(column.words(value), value) for value in range(low, high + 1)] if few else []


def limits(column: Column) -> str:
    """The column's limits in words."""
    ends = [parts.number(end, 6) for end in (column.minimum, column.maximum) if end is not None]
    allowed = " to ".join(ends) if len(ends) == 2 else ""
    if len(ends) == 1:
        allowed = f"at least {ends[0]}" if column.minimum is not None else f"at most {ends[0]}"
    optional = "" if column.required else "may be left empty"
    return ", ".join(part for part in (allowed, optional) if part)


def respond(system: System, desk: TabularDesk, values: Mapping[str, Any]) -> str:
    """The answer as HTML, or what is wrong, in words; never a trace."""
    try:
        given = answer_for(system, desk.champion(system), values, explained=True)
    except InvalidInput as error:
        return parts.page(problems(system, error.problems))
    except NoChampion:
        return parts.page(no_champion(system))
    except (StoreError, OSError) as error:
        return parts.page(parts.note("No model could be asked.", str(error), bad=True))
    return parts.page(answer_card(system, given))


def introduction(system: System, desk: TabularDesk) -> str:
    """What is to be seen before the first answer: the model's own record, which is read at once."""
    try:
        model = desk.promoted(system)
    except NoChampion:
        return parts.page(no_champion(system))
    except (StoreError, OSError) as error:
        return parts.page(parts.note("No model could be asked.", str(error), bad=True))
    asked = parts.working(f"Asking version {model.version}{kind_of(model)}, about this {system.row_name} …")
    return parts.page(stack(asked, standing(system, model)))


def stack(*boxes: Html) -> Html:
    return Html(f'<div style="display:grid;gap:16px">{parts.join(*boxes)}</div>')


def standing(system: System, model: Model) -> Html:
    """How good the model was when it was chosen, beside what knowing nothing is worth."""
    pairs: list[tuple[object, object]] = []
    if model.metrics.get("accuracy") is not None:
        pairs.append(("Right for", f"{share_right(model)} of the {system.row_name}s that it had not seen"))
    guess = model.info.get("baseline", {}).get("accuracy")
    if guess is not None:
        pairs.append(("A bare guess", f"{percent(guess, 1)}, by always naming the commonest outcome"))
    rows = model.info.get("decision", {}).get("numbers", {}).get("rows")
    if rows:
        pairs.append(("Learnt from", counted(int(rows), "row")))
    return parts.card("How good it is", "", parts.facts([*pairs, *task_of(system)]))


def task_of(system: System) -> list[tuple[object, object]]:
    """What goes in and what comes out, which is so before any model."""
    outcomes = ", ".join(system.label.words(name) for name in system.classes)
    return [("It answers", outcomes), ("It asks for", ", ".join(c.description for c in system.columns))]


def problems(system: System, refused: Mapping[str, str]) -> Html:
    """One line per value that cannot be used."""
    named = {column.name: column.description for column in system.columns}
    lines = [
        parts.element("li", parts.join(parts.element("strong", named.get(name, name)), ": ", words))
        for name, words in refused.items()
    ]
    return parts.note("Some values cannot be used.", parts.element("ul", parts.join(*lines)), bad=True)


def no_champion(system: System) -> Html:
    words = (
        f"A day of {system.title} trains the models, and the best one answers here. "
        "Start one in the Prefect UI, or with this command:"
    )
    nothing = parts.empty("No model has been trained yet", words, day_command(system))
    return stack(nothing, parts.card("What it will do", "", parts.facts(task_of(system))))


def answer_card(system: System, answer: Answer) -> Html:
    """Outcome, probability, picture, and what moved it."""
    outcome = system.label.words(answer.prediction)
    top = parts.join(
        parts.element("div", Html(picture(system, answer.prediction)), "dv-picture"),
        parts.element("p", outcome[:1].upper() + outcome[1:], "said serif"),
        _sure(answer),
        _meter(system, answer.probabilities),
    )
    box = f'<section class="dv-card dv-answer" aria-label="Answer" aria-live="polite">{top}</section>'
    why = answer.explanation
    moved = parts.card("What moved it", "", effects_table(system, why)) if why else Html("")
    return stack(Html(box), moved, promise(system, answer.model))


def _sure(answer: Answer) -> Html:
    share = parts.element("b", percent(answer.probability))
    return parts.element("p", parts.join("with a probability of ", share), "sure")


def _meter(system: System, probabilities: Mapping[str, float]) -> Html:
    """The probabilities of all classes as one bar, and in words."""
    top = max(probabilities.values())
    bars = "".join(
        f'<i style="width:{100 * p:.2f}%"{" class=top" if p == top else ""}></i>'
        for p in probabilities.values()
    )
    words = [
        parts.element("li", f"{system.label.words(name)} {percent(p)}") for name, p in probabilities.items()
    ]
    return Html(
        f'<div class="dv-meter" aria-hidden="true">{bars}</div>'
        f'<ul class="dv-classes">{parts.join(*words)}</ul>'
    )


def effects_table(system: System, why: Explanation) -> Html:
    """A waterfall: from the typical probability, input by input, to this answer's."""
    steps = list(accumulate((effect.effect for effect in why.effects), initial=why.base))
    scale = min(0.0, *steps), max(1.0, *steps)
    rows = [_effect_row(f"a typical {system.row_name}", why.base, "total", (0.0, why.base), scale)]
    for effect, bar in zip(why.effects, pairwise(steps), strict=True):
        column = system.column(effect.column)
        words = f"{column.description}: {parts.entered(column, effect.value)}"
        tone = "up" if effect.effect >= 0 else "down"
        rows.append(_effect_row(words, effect.effect, tone, bar, scale))
    rows.append(_effect_row(f"this {system.row_name}", steps[-1], "total", (0.0, steps[-1]), scale))
    caption = (
        f"How each value moves the probability of “{system.label.words(why.outcome)}”, "
        "in percentage points; the steps add up."
    )
    return Html(
        '<table class="dv-effects"><colgroup><col class="what"><col><col class="size"></colgroup>'
        f'<caption>{parts.text(caption)}</caption><thead><tr><th scope="col">Value</th>'
        f'<td aria-hidden="true"></td><th scope="col" class="num">Effect</th></tr></thead>'
        f"<tbody>{parts.join(*rows)}</tbody></table>"
    )


def _effect_row(
    words: str, size: float, tone: str, bar: tuple[float, float], scale: tuple[float, float]
) -> Html:
    low, high = scale
    left = 100 * (min(bar) - low) / (high - low)
    width = 100 * abs(bar[1] - bar[0]) / (high - low)
    shown = percent(size) if tone == "total" else points(size)
    row = ' class="total"' if tone == "total" else ""
    return Html(
        f'<tr{row}><th scope="row">{parts.text(words)}</th><td aria-hidden="true"><span class="track">'
        f'<i class="{tone}" style="left:{left:.2f}%;width:{width:.2f}%"></i></span></td>'
        f'<td class="num {tone}">{shown}</td></tr>'
    )


def points(share: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    rounded = round(100 * share, 1)
    return "±0.0" if rounded == 0 else f"{rounded:+.1f}".replace("-", "−")


def promise(system: System, model: Model) -> Html:
    """Which version answered, and how often it is right on rows that it has not seen."""
    words = f"Answered by version {model.version}{kind_of(model)}. "
    if model.metrics.get("accuracy") is not None:
        words += f"In cross-validation it was right for {share_right(model)} of the {system.row_name}s "
        words += "that it had not seen. "
    more = parts.link("How it does now", frame.monitor_path(system))
    origin = parts.link("Where it comes from", Ref("version", model.name, str(model.version)).address)
    return parts.element("p", parts.join(words, more, " · ", origin), "soft small")


def share_right(model: Model) -> str:
    """The accuracy that cross-validation found, with its interval where one was kept."""
    ends = promised_interval(model)
    within = f" (95% interval {percent(ends[0], 1)} to {percent(ends[1], 1)})" if ends else ""
    return f"{percent(model.metrics.get('accuracy'), 1)}{within}"
