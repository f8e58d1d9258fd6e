"""The page of labels that look wrong: each with its recording or row, to be kept, mended or dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from dagsverk import label_decisions
from dagsverk.label_decisions import LabelDecision
from dagsverk.label_report import Suspect, SuspectLabels, suspect_labels
from dagsverk.speech.languages import language
from dagsverk.store import Store, StoreError
from dagsverk.suggesting.corpora import read_again
from dagsverk.tabular.system import System, load_system
from dagsverk.words import counted
from ui import frame, parts
from ui.look import FOLDER
from ui.parts import Html, Tile
from ui.speech.clips import unfolded
from ui.speech.desk import SpeechDesk
from ui.speech.differences import marked
from ui.tabular import sections

PATH = "labels"
TITLE = "Labels"
WORDS = (
    "Texts and outcomes that may be wrong, the most suspicious first. Listen or look, then keep, mend or "
    "drop: the next training uses what you decide."
)
OPEN = 30  # shown at once; the others are unfolded
SCRIPT = (FOLDER / "scripts" / "labels.js").read_text(encoding="utf-8")
REMEMBER = """(of) => {
  const here = new URL(location.href);
  here.searchParams.set("of", of);
  history.replaceState(null, "", here);
}"""
TEST = "This clip is of test: to mend or drop it changes what models are scored on."


def build(demo: gr.Blocks, speech: SpeechDesk, systems: Sequence[System]) -> None:
    """The page at /labels."""
    frame.head(systems, PATH, TITLE, WORDS)
    with gr.Column(elem_classes="dv-choice"):
        choice = gr.Radio(label="System or language", choices=[], value=None)
    body = frame.block(parts.page(parts.loading("Reading what looks wrong …")), min_height_px=240)
    frame.block(script=SCRIPT)
    frame.foot()
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

    def begin(request: gr.Request) -> list[Any]:
        names = choices(speech, systems)
        wanted = str(request.query_params.get("of", ""))
        chosen = wanted if wanted in {name for _, name in names} else names[0][1]
        return [gr.Radio(choices=names, value=chosen), look(speech, systems, chosen)]

    demo.load(begin, None, [choice, body], **quiet)
    choice.input(lambda name: look(speech, systems, name), choice, body, **quiet)
    choice.input(None, choice, None, js=REMEMBER)


def choices(speech: SpeechDesk, systems: Sequence[System]) -> list[tuple[str, str]]:
    """(words, name) of languages and systems."""
    try:
        languages = speech.languages()
    except (StoreError, OSError):  # the body says so
        languages = [language("sv"), language("it")]
    spoken = [(f"{one.title} speech", f"speech-{one.name}") for one in languages]
    return [*spoken, *((system.title, f"tabular-{system.name}") for system in systems)]


def look(speech: SpeechDesk, systems: Sequence[System], chosen: str) -> str:
    """The page's content for a choice; a store that does not answer is said."""
    family, _, name = str(chosen).partition("-")
    if chosen not in {one for _, one in choices(speech, systems)}:
        return parts.page(parts.empty("Nothing of that name", "Choose another."))
    try:
        report = suspect_labels(speech.store, name)
        if report is None or report.family != family:
            return parts.page(_unsearched(speech.store, family, name))
        decided = label_decisions.latest(speech.store, report.family, name)
    except (StoreError, OSError) as error:
        return parts.page(sections.trouble(error, False))
    return parts.page(summary(report, decided), _items(report, decided))


def _unsearched(store: Store, family: str, name: str) -> Html:
    kind = "texts" if family == "speech" else "outcomes"
    words = (
        f"A search for wrong {kind} asks the model in use about all of them. It needs one in use, changes "
        "nothing, and its findings are listed here:"
    )
    again = read_again(store, language(name)) if family == "speech" else ""
    command = f"prefect deployment run {family}-labels/{name}{again}"
    return parts.empty(f"No {kind} were looked at yet", words, command)


def summary(report: SuspectLabels, decided: dict[str, LabelDecision]) -> Html:
    """Counts of what was found and decided; the page's script replaces it after each decision."""
    what = "texts" if report.family == "speech" else "outcomes"
    standing = [one for one in decided.values() if one.action != "undo"]
    counts = label_decisions.counts(standing)
    wrong, right = counts["mend"] + counts["drop"], counts["keep"]
    shown = f"{100 * report.precision:.0f} %" if report.precision is not None else "–"
    recall = f"{100 * report.recall:.0f} %" if report.recall is not None else "–"
    tiles = parts.tiles([
        Tile(label=f"Suspicious {what}", figure=f"{report.suspicious:,}", note=f"of {report.labels:,}"
             + (f", {report.suspicious_test} of test" if report.suspicious_test else "")),
        Tile(label="Expected to be wrong", figure=shown,
             note=f"of these; {_limits(report)}; if {100 * report.share:.0f} % are wrong in all"),
        Tile(label="Planted faults seen", figure=recall, note="of those put in on purpose, to measure"),
        Tile(label="Decided", figure=str(wrong + right),
             note=f"{right} kept, {counts['mend']} mended, {counts['drop']} dropped"),
    ])  # fmt: skip
    return Html(f'<div class="dv-labels-summary">{tiles}{_told(report, decided)}</div>')


def _limits(report: SuspectLabels) -> str:
    if report.precision_low is None or report.precision_high is None:
        return "none is suspicious"
    return f"{100 * report.precision_low:.0f} to {100 * report.precision_high:.0f} %"


def _told(report: SuspectLabels, decided: dict[str, LabelDecision]) -> Html:
    seen = ", ".join(f"{kind} {one.seen} of {one.planted}" for kind, one in report.kinds.items())
    of = f"set {report.of}" if report.family == "speech" else f"commit {report.of}"
    lines = [
        f"Judged by {report.model} version {report.model_version}, {of}, in {report.seconds:.0f} s, "
        f"{_at(report.at)}.",
        f"Faults put in on purpose, and seen: {seen}." if seen else "",
        *(f"{note[:1].upper()}{note[1:]}." for note in report.notes),
    ]
    pieces = [parts.element("p", line, "soft small") for line in lines if line]
    kind, flow = (
        ("the next preparation or training makes a set of its own of them, and leaves this one as it is",
         f"prefect deployment run speech-training/{report.name}")
        if report.family == "speech"
        else ("the next training uses them; the table stays what its source says",
              f"prefect deployment run day/{report.name}")
    )  # fmt: skip
    tests = [one for one in decided.values() if one.split == "test" and one.action in ("mend", "drop")]
    if tests:
        pieces.append(parts.note(
            f"{counted(len(tests), 'test clip')} mended or dropped:",
            "models are then scored on another test set; those scores are not compared with the ones before.",
            bad=True,
        ))  # fmt: skip
    if any(one.action in ("mend", "drop") for one in decided.values()):
        pieces.append(
            parts.join(parts.element("p", f"Decisions wait: {kind}.", "soft"), parts.command_line(flow))
        )
    return Html(f'<div class="dv-labels-about">{parts.join(*pieces)}</div>')


def _items(report: SuspectLabels, decided: dict[str, LabelDecision]) -> Html:
    if not report.suspects:
        return parts.empty("Nothing looks wrong", "No label stands out.")
    items = [_item(report, one, decided.get(one.key)) for one in report.suspects]
    address = f'data-family="{report.family}" data-name="{parts.text(report.name)}"'
    note = parts.join(
        "Word by word: ", Html("<del>struck out</del>"), " stands in the text and was not heard, ",
        Html("<ins>underlined</ins>"), " was heard and does not stand there.",
    ) if report.family == "speech" else ""  # fmt: skip
    listed = Html(f'<div class="dv-labels" {address}>{unfolded(items, OPEN)}</div>')
    return parts.card("The most suspicious first", note, listed)


def _item(report: SuspectLabels, one: Suspect, last: LabelDecision | None) -> Html:
    chips = [
        parts.chip(f"{100 * one.suspicion:.0f} % suspicious", "bad" if one.suspicion >= report.cut else "")
    ]
    chips += [parts.chip(one.split)] if one.split else []
    facts = _spoken(report, one) if report.family == "speech" else _row(report, one)
    name = parts.element("span", parts.short(one.name), "soft small")
    warn = parts.element("p", TEST, "dv-of-test small") if one.split == "test" else ""
    named = parts.join(*(parts.join(piece, " ") for piece in (*chips, name)))
    head = parts.join(Html('<div class="dv-clip-head">'), parts.element("span", named),
                      _player(report, one), Html("</div>"))  # fmt: skip
    reasons = "; ".join(one.why)
    why = parts.element("p", f"{reasons[:1].upper()}{reasons[1:]}.", "soft small") if reasons else ""
    return Html(
        f'<li class="dv-suspect" data-key="{one.key}" data-number="{last.number if last else 0}">'
        f"{parts.join(head, parts.facts(facts), why, warn, _decisions(report, one, last))}</li>"
    )


def _spoken(report: SuspectLabels, one: Suspect) -> list[tuple[object, object]]:
    code = language(report.name).code
    lines: list[tuple[object, object]] = [
        ("Text", _said(one.label, code)),
        ("Heard", _said(one.other, code) if one.other else "nothing"),
        ("Word by word", marked(one.label[:1000], one.other[:1000], code)),
    ]
    if one.label != one.source_label:
        lines.insert(1, ("Text before", _said(one.source_label, code)))
    return lines


def _row(report: SuspectLabels, one: Suspect) -> list[tuple[object, object]]:
    label = load_system(report.name).label
    values = ", ".join(f"{name} {value or 'not known'}" for name, value in one.about.items())
    return [
        ("Outcome", label.words(one.label)),
        ("Model", label.words(one.other)),
        ("Row", parts.short(values, 400)),
    ]


def _said(words: str, code: str) -> Html:
    return Html(f'<p lang="{parts.text(code)}" dir="auto">{parts.text(parts.short(words, 1000))}</p>')


def _player(report: SuspectLabels, one: Suspect) -> Html:
    if report.family != "speech":
        return Html("")
    if not one.sound:
        why = one.why_silent or "the recordings were not read"
        return parts.element("span", f"no recording: {parts.short(why, 120)}", "soft small")
    label = parts.text(f"Clip {parts.short(one.name)}")
    source = f"api/labels/speech/{report.name}/sounds/{one.key}.wav"
    return Html(f'<audio controls preload="none" src="{source}" aria-label="{label}"></audio>')


def _decisions(report: SuspectLabels, one: Suspect, last: LabelDecision | None) -> Html:
    """Buttons, the form for another label, and what was decided."""
    standing = last if last and last.action != "undo" else None
    buttons = "".join(
        f'<button type="button" data-action="{action}" aria-pressed="{_pressed(standing, action)}"'
        f"{' hidden' if action == 'undo' and standing is None else ''}>"
        f'{words}<span class="sr-only"> {parts.text(parts.short(one.name, 60))}</span></button>'
        for action, words in (("keep", "Keep"), ("mend", "Mend"), ("drop", "Drop"), ("undo", "Undo"))
    )
    words = _decided_words(standing) if standing else ""
    return Html(
        f'<div class="dv-ways dv-decide">{buttons}</div>{_form(report, one, standing)}'
        f'<p class="small dv-decided" role="status">{parts.text(words)}</p>'
    )


def _at(moment: str) -> str:
    return f"{moment[:16].replace('T', ' ')} UTC"


def _pressed(standing: LabelDecision | None, action: str) -> str:
    return "true" if standing and standing.action == action else "false"


def _decided_words(decision: LabelDecision) -> str:
    who = f" by visitor {decision.by}" if decision.by else ""
    words = label_decisions.in_words(decision)
    return f"{words[:1].upper()}{words[1:]}{who}, {_at(decision.at)}."


def _form(report: SuspectLabels, one: Suspect, standing: LabelDecision | None) -> Html:
    value = standing.value if standing and standing.value else ""
    if report.family == "speech":
        code = language(report.name).code
        field = (
            f'<label>What is said<textarea name="value" rows="3" maxlength="2000" lang="{code}" dir="auto">'
            f"{parts.text(value or one.other or one.label)}</textarea></label>"
        )
    else:
        label = load_system(report.name).label
        options = "".join(
            f'<option value="{parts.text(name)}"{" selected" if name == (value or one.other) else ""}>'
            f"{parts.text(label.words(name))}</option>"
            for name in label.categories
        )
        field = f'<label>{parts.text(label.name)}<select name="value">{options}</select></label>'
    return Html(
        f'<form class="dv-correct dv-mend" aria-label="Mend {parts.text(parts.short(one.name, 60))}" hidden>'
        f"{field}"
        '<div class="dv-ways"><button type="submit">Save</button>'
        '<button type="button" data-close>Close</button></div></form>'
    )
