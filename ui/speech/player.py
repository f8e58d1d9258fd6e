"""The player under an answer: what was given, with its subtitles, and words that play it from where they are.

The file comes by the gate, which gives it to none but the visitor who sent it in, while it is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from dagsverk.speech.subtitles.cues import Word
from ui import parts
from ui.look import FOLDER
from ui.parts import Html
from ui.speech.parts import clock

SCRIPT = (FOLDER / "scripts" / "player.js").read_text(encoding="utf-8")
TROUBLE = "This browser cannot play the file, or it is no longer kept here: the text and the downloads stay."
HELP = (
    "Click a word to play from there. By keyboard: a line’s time plays the line, the arrow keys go on to its "
    "words, and Enter plays from a word."
)


def player(file: str) -> Html:
    """What plays the file that a visitor gave. Args: file: where the server put it."""
    source = f"gradio_api/file={quote(Path(file).as_posix())}"  # relative: it holds below any path of a proxy
    return Html(
        f'<div class="dv-player" data-src="{parts.text(source)}" data-trouble="{parts.text(TROUBLE)}">'
        '<video controls playsinline preload="metadata" aria-label="Recording"></video>'
        f'<p class="soft small" role="status">{parts.text(HELP)}</p></div>'
    )


def playing_words(words: Sequence[Word]) -> Html:
    """A line's words. None is a button: a screen reader reads them as the sentence that they are."""
    spans = (
        f'<span tabindex="-1" data-s="{word.start_s:.2f}" data-e="{word.end_s:.2f}">'
        f"{parts.text(word.text)}</span>"
        for word in words
    )
    return Html(" ".join(spans))


def line_button(start_s: float, end_s: float) -> Html:
    """A line's times; pressed, they play the line."""
    times = f"{clock(start_s)}–{clock(end_s)}"
    return Html(
        f'<button type="button" class="at" data-from="{start_s:.2f}">'
        f'<span class="sr-only">Play from </span>{times}</button>'
    )
