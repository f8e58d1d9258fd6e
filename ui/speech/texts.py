"""Texts that may not be what is said in their clips: how many, and which to look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dagsverk.speech.features.shards import Example, Suspicion
from dagsverk.speech.steps import Prepared
from ui import parts
from ui.parts import Head, Html
from ui.speech import sentences
from ui.speech.desk import SpeechView

OPEN = 2  # examples of a kind that are shown at once


def suspicious(view: SpeechView) -> Html:
    """The kinds of suspicious texts of the set that was prepared last, with clips to listen to."""
    return _card(
        view, "Suspicious texts", lambda step: step.suspicious, sentences.suspicious,
        lambda step: kinds(step, view.language.code),
    )  # fmt: skip


def alike(view: SpeechView) -> Html:
    """Texts of the set that was prepared last that are nearly the same, in two splits or in train."""
    return _card(
        view, "Texts that are nearly the same", lambda step: step.near_texts, sentences.alike,
        lambda step: _near(step, view.language.code),
    )  # fmt: skip


def _card(
    view: SpeechView,
    title: str,
    of: Callable[[Prepared], Mapping[str, object] | None],
    note: Callable[[Prepared], str],
    table: Callable[[Prepared], Html],
) -> Html:
    """What was counted when the newest set was prepared: a table; or that it is nothing, or not known."""
    step = view.steps.preparation
    if step is None:
        return parts.card(title, "", parts.empty("Nothing prepared yet", "They are counted here."))
    counted = of(step)
    if not counted:
        return parts.card(title, "", parts.empty("None" if counted == {} else "Not known", note(step)))
    return parts.card(title, note(step), table(step))


def _near(step: Prepared, code: str) -> Html:
    heads = [Head(title="Text"), Head(title="Clips", numeric=True), Head(title="Such as", wide=True)]
    rows = [
        (kind, f"{one.clips:,}", _folded([_example(each, code) for each in one.examples]))
        for kind, one in (step.near_texts or {}).items()
    ]
    return parts.table("By kind", heads, rows)


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
