"""The clips that a model understands worst: to be read, and listened to."""

from __future__ import annotations

from collections.abc import Sequence

from dagsverk.lineage.cards import Ref
from dagsverk.speech.evaluation.report import PlayableClip
from ui import parts
from ui.parts import Html
from ui.speech.desk import SpeechView
from ui.speech.differences import marked

OPEN = 6  # clips shown at once; the others are unfolded


def worst(view: SpeechView) -> Html:
    """What was said, what was heard, and the recording."""
    if not view.worst:
        words = "The clips with the most wrong words are listed here, each with its recording."
        title = "Nothing scored yet" if view.shown is None else "No clip has a wrong word"
        return parts.card("Worst clips", "", parts.empty(title, words))
    items = [_clip(view, clip) for clip in view.worst]
    note = parts.join(
        "Those with the most wrong words. In the last line of each, words ",
        Html("<del>struck out</del>"), " were said and not heard, words ", Html("<ins>underlined</ins>"),
        " were heard and not said.",
    )  # fmt: skip
    return parts.card("Worst clips", note, unfolded(items, OPEN))


def unfolded(items: Sequence[Html], most: int) -> Html:
    """A list of clips, of which the first so many are shown at once."""
    first, others = (
        Html(f'<ul class="dv-clips">{parts.join(*some)}</ul>') for some in (items[:most], items[most:])
    )
    if len(items) <= most:
        return first
    return Html(f"{first}<details><summary>{len(items) - most} more</summary>{others}</details>")


def _clip(view: SpeechView, clip: PlayableClip) -> Html:
    code = view.language.code
    facts = [f"{clip.errors} of {clip.words} words wrong"]
    facts += [f"{clip.duration_s:.1f} s"] if clip.duration_s else []
    facts += [f"speaker {parts.short(clip.speaker, 24)}"] if clip.speaker else []
    lines = [
        ("Said", _spoken(clip.text, code)),
        ("Heard", _spoken(clip.hypothesis or "nothing", code if clip.hypothesis else "en")),
        ("Word by word", marked(clip.text, clip.hypothesis, code)),
    ]
    return Html(
        f'<li><div class="dv-clip-head">{parts.element("span", _about(view, clip, facts), "soft small")}'
        f"{_player(view, clip)}</div>{parts.facts(lines)}</li>"
    )


def _about(view: SpeechView, clip: PlayableClip, facts: Sequence[str]) -> Html:
    traced = parts.link("lineage", Ref("clip", view.language.name, clip.clip).address)
    return parts.join(", ".join(facts), " · ", traced)


def _spoken(words: str, code: str) -> Html:
    return Html(f'<p lang="{parts.text(code)}">{parts.text(words)}</p>')


def _player(view: SpeechView, clip: PlayableClip) -> Html:
    if not clip.sound:
        return parts.element("span", f"no recording: {parts.short(clip.why_silent, 120)}", "soft small")
    label = parts.text(f"Clip {parts.short(clip.clip)}")
    return Html(
        f'<audio controls preload="none" src="{sound_address(view, clip)}" aria-label="{label}"></audio>'
    )


def sound_address(view: SpeechView, clip: PlayableClip) -> str:
    """Where the browser finds a kept clip: its artefact's number, below the evaluation's address."""
    key, number = str(clip.sound).removesuffix(".wav").split("/")[-3::2]
    return parts.text(f"api/speech/{view.language.name}/evaluations/{key}/audio/{number}.wav")
