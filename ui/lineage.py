"""The page that says where a thing comes from and what was made of it: one search, a readable chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from dagsverk.lineage import tracing
from dagsverk.lineage.cards import Card, Chain, NotTraced, Ref, Trace
from dagsverk.store import Store, StoreError
from dagsverk.tabular.system import System
from ui import frame, parts
from ui.lineage_api import place
from ui.parts import Html
from ui.tabular import sections
from ui.tabular.api import TooBusy
from ui.tabular.desk import TabularDesk, day_command

PATH = "lineage"
TITLE = "Lineage"
WORDS = "Where a prediction, a text or a model comes from, and what was made of a row or a clip."
KINDS = {
    "aside": "row set aside",
    "run": "training run",
    "set": "set of clips",
}  # what is not called as it is


def build(demo: gr.Blocks, desk: TabularDesk, systems: Sequence[System]) -> None:
    """The page at /lineage; what is asked for is in its address, so that it can be kept and sent."""
    frame.head(systems, PATH, TITLE, WORDS)
    shown = frame.block(
        parts.page(parts.loading("Reading where it comes from …", boxes=1)), min_height_px=320
    )
    frame.foot()

    def opened(request: gr.Request) -> str:
        return look(desk, systems, str(request.query_params.get("q") or ""))

    demo.load(opened, None, shown, api_visibility="private", show_progress="hidden", concurrency_limit=4)


def link(words: object, ref: Ref) -> Html:
    """What leads from another page to a thing's lineage."""
    return parts.link(words, ref.address)


def look(desk: TabularDesk, systems: Sequence[System], asked: str) -> str:
    """The page's content: the search, and the trace of what was asked for."""
    return parts.page(_form(asked), _content(desk, systems, asked))


def _content(desk: TabularDesk, systems: Sequence[System], asked: str) -> Html:
    try:
        with place():
            return _traced(desk.store, asked) if asked.strip() else _starts(desk.store, systems)
    except TooBusy as error:
        return parts.note("Not now.", str(error), bad=True)
    except NotTraced as error:
        return parts.note("It is not there.", parts.short(error, 300), bad=True)
    except (StoreError, OSError) as error:
        return sections.trouble(error, had_content=False)


def _traced(store: Store, asked: str) -> Html:
    refs = tracing.search(store, asked)
    if not refs:
        return _nothing(asked)
    if len(refs) > 1:
        return _choice("Which one?", f"{len(refs)} things are, or begin, so.", refs)
    return drawn(tracing.trace(store, refs[0]))


def _form(asked: str) -> Html:
    """A plain form: it works from the keyboard, and its address can be kept."""
    value = parts.text(parts.short(asked, 200))
    return Html(
        '<form class="dv-seek" method="get" action="lineage" role="search">'
        '<label for="dv-seek">A row, prediction, version, run, set, clip or recording</label>'
        f'<div><input id="dv-seek" name="q" type="search" maxlength="1000" value="{value}" '
        'autocomplete="off" spellcheck="false" placeholder="titanic-17, titanic 3, sv-0123456789abcdef">'
        "<button>Trace</button></div></form>"
    )


def _nothing(asked: str) -> Html:
    words = parts.join(
        "Nothing in the store is of the name “", parts.element("span", parts.short(asked, 200), "wrap"),
        "”, or begins with it. Names are those that the monitor pages show: of rows, commits, runs, sets and "
        "clips; a version is named like “titanic 3”.",
    )  # fmt: skip
    return parts.note("Nothing is of that name.", words)


def _choice(title: str, words: str, refs: Sequence[Ref]) -> Html:
    items = (
        parts.element(
            "li", parts.join(parts.element("span", f"{_kind(ref)} of {ref.of} ", "soft"), _named(ref))
        )
        for ref in refs
    )
    return parts.card(title, words, Html(f'<ul class="dv-choices">{parts.join(*items)}</ul>'))


def _kind(ref: Ref) -> str:
    return KINDS.get(ref.kind, ref.kind)


def _named(ref: Ref) -> Html:
    name = ref.id
    if ref.kind == "prediction":
        version, _, rest = ref.id.partition("/")
        name = f"{rest.partition('/')[2]}, by version {version}"
    return link(parts.element("code", parts.short(name, 120)), ref)


def _starts(store: Store, systems: Sequence[System]) -> Html:
    """Where to begin: the versions in use, and the newest predictions."""
    refs = tracing.starts(store)
    if not refs:
        words = (
            "A day reads rows, trains, decides and predicts; each step is then found here, with what it used:"
        )
        return parts.empty("Nothing to trace yet", words, day_command(systems[0]) if systems else None)
    return _choice("Begin here", "What is in use, and what was predicted last.", refs)


def drawn(trace: Trace) -> Html:
    """A trace: what it came from above, the thing itself, below what was made of it."""
    notes = (parts.note("Not all of it could be read.", one, bad=True) for one in trace.notes)
    return parts.join(
        parts.element("h2", trace.title, "dv-traced wrap"),
        *notes,
        _chains(trace.before),
        Html(f'<section class="dv-card dv-self" aria-label="{parts.text(_kind(trace.ref))}">'),
        _inside(trace.card, level="h3", own=True),
        Html("</section>"),
        _chains(trace.after),
    )


def _chains(chains: Sequence[Chain]) -> Html:
    return parts.join(Html('<div class="dv-chains">'), *(_chain(chain) for chain in chains), Html("</div>"))


def _chain(chain: Chain) -> Html:
    items = (
        Html(f'<li class="{"missing" if card.missing else ""}">{_inside(card, level="h4")}</li>')
        for card in chain.cards
    )
    words = parts.element("p", chain.words, "soft small") if chain.words else ""
    listed = Html(f'<ol class="dv-chain">{parts.join(*items)}</ol>') if chain.cards else ""
    return Html(f'<section class="dv-card">{parts.element("h3", chain.title)}{words}{listed}</section>')


def _inside(card: Card, *, level: str, own: bool = False) -> Html:
    name: Any = parts.element("code", card.id, "wrap") if card.id else ""
    if card.ref is not None and card.id and not own:
        name = link(name, card.ref)
    chip = parts.chip("not recorded") if card.missing else ""
    links = [link(words, ref) for words, ref in card.links]
    if card.ref is not None and card.ref.kind == "version":
        links.append(parts.link("its report", f"report/{card.ref.of}/{card.ref.id}.html"))
    return parts.join(
        parts.element(level, parts.join(card.title, " ", chip)),
        parts.element("p", name, "name") if card.id else "",
        parts.element("p", card.words, "words wrap") if card.words else "",
        parts.pairs(card.facts) if card.facts else "",
        parts.element("p", parts.join(*_between(links)), "small") if links else "",
    )


def _between(links: Sequence[Html]) -> list[object]:
    pieces: list[object] = []
    for one in links:
        pieces += [" · ", one] if pieces else [one]
    return pieces
