"""The button that writes down while one speaks, and what it shows."""

from __future__ import annotations

from ui import frame, parts
from ui.look import FOLDER
from ui.parts import Html

SCRIPT = (FOLDER / "scripts" / "live.js").read_text(encoding="utf-8")
HELP = "Words appear while you speak. Pale ones may still change, the others stay. Up to 10 minutes."


def live_microphone() -> None:
    """For a form with a choice of language. Where the browser gives no microphone it is not seen."""
    box = Html(
        '<section class="dv-live" aria-label="Live" hidden><div class="dv-ways">'
        '<button type="button" aria-pressed="false">Speak live</button></div>'
        f'<p class="soft small dv-live-status" role="status">{parts.text(HELP)}</p>'
        '<p class="dv-live-words" hidden><span aria-live="polite" aria-relevant="additions"></span>'
        '<span class="soft"></span></p></section>'
    )
    frame.block(parts.page(box), script=SCRIPT)
