"""The page that makes a data set of one's own: a sentence is shown, read aloud, listened to, and kept."""

from __future__ import annotations

import json
import random
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from dagsverk.speech.config import PrepareConfig
from dagsverk.speech.corpora.grammars import GRAMMARS
from dagsverk.speech.corpora.recordings import MAX_LETTERS, Recording, Recordings
from dagsverk.speech.errors import AudioError, CorpusError, SpeechError
from dagsverk.speech.languages import Language
from dagsverk.speech.languages import language as language_of
from dagsverk.speech.serving.champions import speech_command
from dagsverk.speech.serving.service import DECODERS
from dagsverk.tabular.system import System
from ui import frame, parts
from ui.parts import Head, Html
from ui.speech.desk import SpeechDesk
from ui.speech.parts import (
    REMEMBER_LANGUAGE,
    asked,
    language_choice,
    microphone,
    microphone_notice,
    seconds,
)

PATH = "recorder"
WORDS = "Read sentences aloud and keep them: a small data set of one’s own, ready to train on."
DATA_SET = "my-voice"
MIN_S = 0.5
QUIET_DBFS = -40.0  # below, a voice is hard to tell from the room
ENOUGH = 30  # clips: of fewer, chance may leave dev or test without one
LAST = 6  # kept clips that are listed
MOST_LETTERS = 200_000  # of one's own sentences, all together
ADVICE = {
    "too short": "Press Record, read the whole sentence, then press Stop.",
    "too long": "Read the sentence alone.",
    "silence": "Is the right microphone chosen, and is it on?",
    "clipped": "It is too loud: go further from the microphone, or turn it down.",
}

# The sentence that one visitor sees: {"text", "english", "skipped": texts passed over}; None: not chosen yet.
Prompt = dict[str, Any]


def build(demo: gr.Blocks, speech: SpeechDesk, systems: Sequence[System]) -> None:
    """The page at /recorder."""
    frame.head(systems, PATH, "Recorder", WORDS)
    prompt = gr.State(None)
    with gr.Row(equal_height=False):
        with gr.Column(scale=7, min_width=300, elem_classes="dv-form"):
            sentence = frame.block(parts.page(parts.working("Choosing a sentence …")), min_height_px=104)
            sound = microphone("Read it aloud")
            microphone_notice()
            message = frame.block()
            with gr.Row(elem_classes="dv-buttons"):
                keep = gr.Button("Keep", variant="primary", size="lg", min_width=80)
                skip = gr.Button("Skip", size="lg", min_width=80)
                undo = gr.Button("Undo last", size="lg", min_width=80)
        with gr.Column(scale=5, min_width=300, elem_classes="dv-form"):
            name, language, speaker, consent, own = _settings()
    kept = frame.block(min_height_px=200)
    frame.foot()

    def begin(request: gr.Request) -> list[Any]:
        chosen, choice = asked(speech, request)
        return [choice, *another(DATA_SET, chosen.code, "")]

    where, shown = [name, language, own], [prompt, sentence, kept]
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    demo.load(begin, None, [language, *shown], **quiet)
    language.input(None, language, None, js=REMEMBER_LANGUAGE)
    gr.on([name.change, language.input, own.change], another, where, shown, **quiet)
    sound.stop_recording(listen, sound, message, **quiet)
    sound.clear(lambda: "", None, message, **quiet)
    skip.click(skip_one, [*where, prompt], shown, **quiet)
    keep.click(keep_one, [*where, speaker, consent, sound, prompt], [*shown, sound, message], **quiet)
    undo.click(undo_one, [name, language], [kept, message], **quiet)


def _settings() -> tuple[gr.Textbox, gr.Radio, gr.Textbox, gr.Checkbox, gr.Textbox]:
    """(name, language, speaker, consent, own sentences)"""
    frame.block(parts.page(parts.element("h2", "The data set")))
    language = language_choice()
    name = gr.Textbox(DATA_SET, label="Its name", info="small letters, digits, - and _", max_length=40)
    speaker = gr.Textbox(
        label="Who speaks", info="a name, or a number that says nothing to others",
        max_length=MAX_LETTERS["speaker"],
    )  # fmt: skip
    consent = gr.Checkbox(
        label="The speaker agrees that recordings are kept on this machine and that models learn from them."
    )
    with gr.Accordion("Sentences of my own", open=False, elem_classes="dv-fold"):
        own = gr.Textbox(
            label="One per line", info="empty: sentences are made up", lines=6, max_length=MOST_LETTERS
        )
    return name, language, speaker, consent, own


# Gradio gives None for a text field that is empty.
Text = str | None


def another(name: Text, code: str, own: Text, prompt: Prompt | None = None) -> list[Any]:
    """[prompt, sentence, kept clips]: the next sentence that is not kept yet."""
    language, own = language_of(code), own or ""
    try:
        recordings = data_set(name)
        clips = recordings.clips()
    except (ValueError, CorpusError, OSError) as error:
        return [None, parts.page(parts.note("This data set cannot be used.", str(error), bad=True)), ""]
    skipped = prompt["skipped"] if prompt else []
    chosen = next_prompt(language, own, {clip.text for clip in clips}, skipped)
    return [chosen, parts.page(sentence_box(language, chosen, own)), kept_page(recordings, language, clips)]


def data_set(name: Text) -> Recordings:
    """Raises ValueError for a name that no folder can have."""
    return Recordings((name or "").strip())


def next_prompt(language: Language, own: str, kept: set[str], skipped: Sequence[str]) -> Prompt | None:
    """One's own sentences in their order, else one made by the grammar; None when there is none left."""
    past = kept | set(skipped)
    lines = [" ".join(line.split()) for line in own.splitlines() if line.strip()]
    if lines:
        left = [line for line in lines if line not in past] or [line for line in lines if line not in kept]
        return {"text": left[0], "english": "", "skipped": list(skipped)} if left else None
    if language.code not in GRAMMARS:
        return None
    chance = random.Random()
    drawn = (GRAMMARS[language.code].sentence(chance) for _ in range(1000))
    made = next((one for one in drawn if one.text not in past), None)
    return {"text": made.text, "english": made.english, "skipped": list(skipped)} if made else None


def sentence_box(language: Language, prompt: Prompt | None, own: str) -> Html:
    if prompt is None:
        words = (
            "All your sentences are kept."
            if own.strip()
            else f"No grammar makes {language.title} sentences: give your own, under “Sentences of my own”."
        )
        return parts.note("Nothing to read.", words)
    english = parts.element("p", prompt["english"], "soft") if prompt["english"] else ""
    text = Html(f'<p class="dv-sentence serif" lang="{language.code}">{parts.text(prompt["text"])}</p>')
    return Html(
        f'<section aria-label="Sentence to read" aria-live="polite">'
        f"{parts.join(parts.element('p', 'Read this sentence', 'soft small'), text, english)}</section>"
    )


def listen(sound: str | None) -> str:
    """What is to be said of a recording before it is kept."""
    if not sound:
        return ""
    try:
        _, length_s, hint = checked(sound)
    except AudioError as error:
        return parts.page(refused(error))
    except SpeechError as error:  # Busy
        return parts.page(parts.note("It could not be listened to.", str(error), bad=True))
    return parts.page(parts.note(f"{length_s:.1f} s recorded.", hint or "Listen to it, then keep it."))


def checked(sound: str) -> tuple[bytes, float, str]:
    """(WAV, its length in s, a hint or nothing) of a recording that can be used. Raises AudioError, Busy."""
    from dagsverk.speech.audio import waveform  # FFmpeg: on first use

    limits = PrepareConfig()  # what preparation would set aside is not kept
    samples = DECODERS.read_samples(Path(sound), max_s=limits.max_clip_s)
    waveform.check(
        samples, min_s=MIN_S, max_s=limits.max_clip_s, silence_dbfs=limits.silence_dbfs,
        max_clipped_share=limits.max_clipped_share,
    )  # fmt: skip
    quiet = waveform.loudness_dbfs(samples) < QUIET_DBFS
    hint = "It is very quiet: come closer to the microphone, or record it again." if quiet else ""
    return waveform.encode_wav(samples), len(samples) / waveform.SAMPLE_RATE_HZ, hint


def refused(error: AudioError) -> Html:
    advice = ADVICE.get(error.reason, "Record it again.")
    return parts.note("This recording cannot be kept:", f"{error}. {advice}", bad=True)


def skip_one(name: Text, code: str, own: Text, prompt: Prompt | None) -> list[Any]:
    if prompt:
        prompt = {**prompt, "skipped": [*prompt["skipped"], prompt["text"]][-500:]}
    return another(name, code, own, prompt)


def keep_one(
    name: Text, code: str, own: Text, speaker: Text, consent: bool, sound: str | None, prompt: Prompt | None
) -> list[Any]:
    """[prompt, sentence, kept clips, microphone, message]: the next sentence, or why this one is not kept."""
    stay: list[Any] = [gr.skip()] * 4
    missing = _missing(speaker, consent, sound, prompt)
    if missing or not (sound and prompt and speaker):
        return [*stay, parts.page(parts.note("Not kept yet.", missing, bad=True))]
    try:
        wav, length_s, _ = checked(sound)
        clip = data_set(name).keep(
            wav,
            length_s,
            text=prompt["text"],
            language=code,
            speaker=speaker,
            translation=prompt["english"],
        )
    except AudioError as error:
        return [*stay, parts.page(refused(error))]
    except (ValueError, SpeechError, OSError) as error:
        return [*stay, parts.page(parts.note("Not kept.", str(error), bad=True))]
    message = parts.note("Kept.", f"“{clip.text}”, {clip.duration_s:.1f} s.")
    return [*another(name, code, own, prompt), None, parts.page(message)]


def _missing(speaker: Text, consent: bool, sound: str | None, prompt: Prompt | None) -> str:
    """What is to be done before a clip can be kept; empty when nothing is."""
    if prompt is None:
        return "There is no sentence to read."
    if not sound:
        return "Press Record, read the sentence aloud, then press Stop."
    if not (speaker and speaker.strip()):
        return "Say who speaks: clips of one speaker must stay together when a model is judged."
    return "" if consent else "The speaker has to agree first: tick the box."


def undo_one(name: Text, code: str) -> list[str]:
    """[kept clips, message]"""
    try:
        recordings = data_set(name)
        gone, clips = recordings.undo(), recordings.clips()
    except (ValueError, CorpusError, OSError) as error:
        return ["", parts.page(parts.note("Nothing was removed.", str(error), bad=True))]
    message = parts.note("Removed:", f"“{gone.text}”.") if gone else parts.note("There is no clip to remove.")
    return [kept_page(recordings, language_of(code), clips), parts.page(message)]


def kept_page(recordings: Recordings, language: Language, clips: Sequence[Recording]) -> str:
    """How much is kept, the last clips, and how to train on them."""
    if not clips:
        words = "What you keep is listed here, and written into a folder of this machine that training reads."
        return parts.page(parts.empty("No clip kept yet", words))
    total = sum(clip.duration_s for clip in clips)
    rows = [
        (Html(f'<span lang="{parts.text(clip.language)}">{parts.text(clip.text)}</span>'),
         clip.speaker, clip.language, f"{clip.duration_s:.1f} s")
        for clip in reversed(clips[-LAST:])
    ]  # fmt: skip
    heads = [Head(title="Sentence"), Head(title="Speaker"), Head(title="Language")]
    heads.append(Head(title="Length", numeric=True))
    speakers = len({clip.speaker for clip in clips})
    total_words = f"{len(clips):,} clip{'s' * (len(clips) > 1)}, {seconds(total)}, "
    total_words += f"{speakers} speaker{'s' * (speakers > 1)}."
    if len(clips) < ENOUGH:
        total_words += f" From about {ENOUGH} on there are some to learn from, to choose by and to test on."
    return parts.page(
        parts.card(
            f"Kept in {recordings.name}", total_words,
            parts.table("The last ones, newest first", heads, rows),
            parts.element("h3", "Train on it"),
            parts.command_line(training_command(recordings, language)),
        )
    )  # fmt: skip


def training_command(recordings: Recordings, language: Language) -> str:
    source = json.dumps({"source": str(recordings.folder)})
    return f"{speech_command(language)} --param {shlex.quote(f'corpus={source}')}"
