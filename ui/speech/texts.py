"""Texts that may not be what is said in their clips: how many, and which to look at."""

from __future__ import annotations

from dagsverk.speech.features.shards import Example, Suspicion
from dagsverk.speech.steps import Prepared
from ui import parts
from ui.parts import Head, Html
from ui.speech import sentences
from ui.speech.desk import SpeechView

OPEN = 2  # examples of a kind that are shown at once


def suspicious(view: SpeechView) -> Html:
    """The kinds of suspicious texts of the set that was prepared last, with clips to listen to."""
    step, title = view.steps.preparation, "Suspicious texts"
    if step is None:
        return parts.card(title, "", parts.empty("Nothing prepared yet", "They are counted here."))
    note = sentences.suspicious(step)
    if not step.suspicious:
        return parts.card(title, "", parts.empty("None" if step.suspicious == {} else "Not known", note))
    return parts.card(title, note, kinds(step, view.language.code))


def alike(view: SpeechView) -> Html:
    """Texts of the set that was prepared last that are nearly the same, in two splits or in train."""
    step, title = view.steps.preparation, "Texts that are nearly the same"
    if step is None:
        return parts.card(title, "", parts.empty("Nothing prepared yet", "They are counted here."))
    note = sentences.alike(step)
    if not step.near_texts:
        return parts.card(title, "", parts.empty("None" if step.near_texts == {} else "Not known", note))
    heads = [Head(title="Text"), Head(title="Clips", numeric=True), Head(title="Such as", wide=True)]
    rows = [
        (kind, f"{one.clips:,}", _folded([_example(each, view.language.code) for each in one.examples]))
        for kind, one in step.near_texts.items()
    ]
    return parts.card(title, note, parts.table("By kind", heads, rows))


def kinds(step: Prepared, code: str) -> Html:
    """A row per kind. Args: code: Whisper's, of the texts."""
    heads = [Head(title="Text with"), Head(title="Clips", numeric=True), Head(title="In test", numeric=True)]
    rows = [
        (kind, f"{one.clips:,}", f"{one.test_clips:,}", _examples(one, code))
        for kind, one in (step.suspicious or {}).items()
    ]
    return parts.table("By kind", [*heads, Head(title="Such as", wide=True)], rows)


def _examples(one: Suspicion, code: str) -> Html:
    """Those of the test set first, for they are scored."""
    tested = list(one.test_examples)
    others = [example for example in one.examples if example not in tested]
    items = [_example(each, code, of_test=True) for each in tested]
    return _folded([*items, *(_example(each, code) for each in others)])


def _folded(items: list[Html]) -> Html:
    first, rest = items[:OPEN], items[OPEN:]
    folded = f"<details><summary>{len(rest)} more</summary>{parts.join(*rest)}</details>" if rest else ""
    return parts.join(*first, Html(folded))


def _example(each: Example, code: str, *, of_test: bool = False) -> Html:
    name = f"clip {parts.short(each.clip, 40)}{', of the test set' if of_test else ''}"
    words = parts.text(parts.short(each.detail, 120))
    about = parts.element("span", name, "soft small wrap")
    return Html(f'<div><span class="wrap" lang="{parts.text(code)}">{words}</span> {about}</div>')
