"""The page that writes down speech: a microphone or a file in, text and its English out."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast
from urllib.parse import quote

import gradio as gr

from dagsverk.addresses import MAX_LETTERS
from dagsverk.speech.errors import AudioError, Busy, FetchError, SpeechError
from dagsverk.speech.languages import Language, language_or_auto
from dagsverk.speech.serving.champions import NoSpeechModel, refuse_without
from dagsverk.speech.serving.job_files import NoJob
from dagsverk.speech.serving.service import (
    MAX_S,
    Answer,
    Both,
    Decoding,
    Loading,
    Stage,
    Transcribing,
    Waiting,
    transcribe_and_translate,
)
from dagsverk.speech.serving.transcriber import Segment
from dagsverk.speech.subtitles.cues import cues, words_in
from dagsverk.speech.subtitles.formats import WRITERS, Format
from dagsverk.store import StoreError
from dagsverk.tabular.system import System
from ui import frame, parts
from ui.limits import MAX_MEDIA_BYTES
from ui.parts import Html
from ui.speech import beside, corrections, player, sentences
from ui.speech.desk import SpeechDesk
from ui.speech.fetched import Keep, Shelf, shelf_steps
from ui.speech.live import live_microphone
from ui.speech.page_jobs import PageJobs, has_visitor
from ui.speech.parts import (
    REMEMBER_LANGUAGE,
    asked_or_detect,
    language_choice,
    microphone,
    microphone_notice,
    seconds,
)
from ui.speech.who_listens import no_model, promise, welcome
from ui.tabular.predict import SHOW_ANSWER
from ui.visitors import Visitors

PATH = "transcribe"
TITLE = "Transcribe"
WORDS = (
    "Speak, or give a recording or a film: what is said is written down on this machine, by its own model."
)
ADVICE = {
    "empty file": "The file has no content.",
    "not audio": "Give a sound or video file, such as MP3, WAV, M4A, OGG, MP4 or MKV.",
    "undecodable": "Give it again, or the file that it was made from.",
    "unknown codec": "Most players and sound editors can do that.",
    "too long": f"At most {MAX_S / 3600:g} hours are written down at once: cut it into parts.",
    "missing audio": "It is kept here for an hour only: give it again.",
}
SUBTITLES: tuple[Format, ...] = ("srt", "vtt")
VISITORS = 10  # each has a thread of the server; who comes later waits without a word on how long
Begin: TypeAlias = Callable[[Language | None, str], Iterator[Stage | Both]]  # a job of what was given
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}  # events
COPY = """
element.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  } catch {
    button.textContent = "The browser does not let pages copy here";
  }
});
"""
SCRIPT = COPY + player.SCRIPT + corrections.SCRIPT + beside.SCRIPT


def build(demo: gr.Blocks, speech: SpeechDesk, systems: Sequence[System], visitors: Visitors) -> None:
    """The page at /transcribe."""
    frame.head(systems, PATH, TITLE, WORDS)
    shelf, page_jobs = Shelf(visitors, demo.upload_file_set), PageJobs(speech)
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_classes="dv-form"):
            language, sound, file, address = _inputs()
            with gr.Row(elem_classes="dv-buttons"):
                button = gr.Button("Transcribe", variant="primary", size="lg")
                stop = gr.Button("Stop", size="lg", visible=False)
        with gr.Column(scale=6, min_width=300, elem_id="answer"):
            waiting = parts.page(parts.working("Looking which model listens …"))
            shown = frame.block(waiting, min_height_px=300, script=SCRIPT)
    frame.foot()

    def begin(request: gr.Request) -> list[Any]:
        code, choice = asked_or_detect(speech, request)
        return [choice, welcome(speech, code)]

    def run(
        code: str, spoken: str | None, given: str | None, written: str | None, request: gr.Request
    ) -> Iterator[str]:
        where, begun = (written or "").strip(), _begun(page_jobs, request)
        if where and not (given or spoken):
            yield from from_address(speech, code, where, shelf.of(request), begun)
        else:
            yield from respond(speech, code, given or spoken, begun)

    quiet = QUIET
    loaded = demo.load(begin, None, [language, shown], **quiet)
    language.input(lambda code: welcome(speech, code), language, shown, **quiet)
    language.input(None, language, None, js=REMEMBER_LANGUAGE)
    _last_counts(sound, file, address)

    buttons = [button, stop]
    started = button.click(lambda: (working(), *_buttons(running=True)), None, [shown, *buttons], **quiet)
    started.then(None, js=SHOW_ANSWER)
    running = started.then(
        run, [language, sound, file, address], shown,
        concurrency_id="transcribe", concurrency_limit=VISITORS, **quiet,
    )  # fmt: skip
    running.then(lambda: _buttons(running=False), None, buttons, **quiet)

    def again(code: str, request: gr.Request) -> Iterator[Any]:
        for page in resumed(speech, page_jobs, code, request):
            yield page, *_buttons(running=True)
        yield gr.skip(), *_buttons(running=False)

    def halt(request: gr.Request) -> tuple[Any, ...]:
        page_jobs.stop(request)
        return stopped(), *_buttons(running=False)

    resuming = loaded.then(
        again, language, [shown, *buttons],
        concurrency_id="transcribe", concurrency_limit=VISITORS, **quiet,
    )  # fmt: skip
    halted = stop.click(halt, None, [shown, *buttons], cancels=[running, resuming], **quiet)
    # A stage that was on its way when Stop was pressed may have been shown after it.
    halted.then(halt, None, [shown, *buttons], **quiet)


def _inputs() -> tuple[gr.Radio, gr.Audio, gr.File, gr.Textbox]:
    frame.block(parts.page(parts.element("h2", "Give it speech")))
    language = language_choice(detect=True)
    sound = microphone("Microphone")
    microphone_notice()
    live_microphone()
    file = gr.File(
        label="Audio or video file", type="filepath", height=128, elem_classes="dv-file", buttons=[]
    )
    size = f"Up to {MAX_MEDIA_BYTES // 1024**2} MB and {MAX_S / 3600:g} hours, kept here for an hour."
    frame.block(parts.page(parts.element("p", size, "soft small")))
    return language, sound, file, _address()


def _last_counts(sound: gr.Audio, file: gr.File, address: gr.Textbox) -> None:
    """Of the ways to give a recording, the one that was used last."""
    sound.stop_recording(lambda: (None, ""), None, [file, address], **QUIET)
    file.upload(lambda: (None, ""), None, [sound, address], **QUIET)
    address.input(lambda: (None, None), None, [sound, file], **QUIET)


def _address() -> gr.Textbox:
    return gr.Textbox(
        label="Or an address",
        info="of a recording or film, or of the page with it; one of the sites that are allowed here",
        placeholder="https://",
        max_length=MAX_LETTERS,
        lines=1,
    )


def _buttons(*, running: bool) -> tuple[gr.Button, gr.Button]:
    return gr.Button(interactive=not running), gr.Button(visible=running)


def _begun(page_jobs: PageJobs, request: gr.Request) -> Begin | None:
    """What makes a job of a recording; None for who has no cookie: nobody could find it again."""
    if not has_visitor(request):
        return None
    return lambda language, given: page_jobs.begin(language, given, request)


def respond(speech: SpeechDesk, code: str, given: str | None, begun: Begin | None = None) -> Iterator[str]:
    """Pages, as the work goes on: the last one holds the text, or what is wrong, in words; never a trace."""
    language = language_or_auto(code)
    if not given:
        words = "Press Record and speak, choose a file, or write an address."
        yield parts.page(parts.note("There is nothing to transcribe yet.", words, bad=True))
    elif begun:
        yield from _pages(speech, language, lambda: begun(language, given), given)
    else:
        work = partial(transcribe_and_translate, speech.store, language, Path(given))
        yield from _pages(speech, language, work, given)


def resumed(speech: SpeechDesk, page_jobs: PageJobs, code: str, request: gr.Request) -> Iterator[str]:
    """Pages of the visitor's last job, after a reload; none where there is none."""
    language = language_or_auto(code)
    try:
        id = page_jobs.last(language, request)
    except (StoreError, OSError):  # the page says so itself
        return
    if id:
        work = partial(page_jobs.follow, id, request)
        yield from _pages(speech, language, work, page_jobs.file(id))


def _pages(
    speech: SpeechDesk, language: Language | None, work: Callable[[], Iterator[Stage | Both]], given: str
) -> Iterator[str]:
    try:
        with closing(cast(Generator[Stage | Both, None, None], work())) as stages:
            for stage in stages:
                yield parts.page(_stage(speech, stage, given))
    except NoJob:
        yield stopped()
    except NoSpeechModel:
        yield parts.page(no_model(language))
    except AudioError as error:
        yield parts.page(refused(error))
    except Busy as error:
        yield parts.page(parts.note("Please wait.", str(error), bad=True))
    except (StoreError, SpeechError, OSError) as error:
        yield parts.page(parts.note("No model could be asked.", parts.short(error, 300), bad=True))


def from_address(
    speech: SpeechDesk, code: str, address: str, keep: Keep, begun: Begin | None = None
) -> Iterator[str]:
    """Pages, while the recording at an address is fetched and then written down."""
    language = language_or_auto(code)
    try:
        refuse_without(speech.store, language)  # before anything is fetched for nothing
        for step in shelf_steps(address, keep):
            if isinstance(step, str):
                yield from respond(speech, code, step, begun)
            else:
                yield parts.page(fetching(*step))
    except NoSpeechModel:
        yield parts.page(no_model(language))
    except Busy as error:
        yield parts.page(parts.note("Please wait.", str(error), bad=True))
    except FetchError as error:
        yield parts.page(parts.note("Nothing could be fetched:", f"{error}.", bad=True))
    except (StoreError, SpeechError, OSError) as error:
        yield parts.page(parts.note("Nothing could be fetched:", parts.short(error, 300), bad=True))


def fetching(done: int, total: int | None) -> Html:
    """How much of a recording has come."""
    of = f" of {total / 1024**2:.1f}" if total else ""
    share = min(1.0, done / total) if total else None
    return parts.working(f"Fetching it: {done / 1024**2:.1f}{of} MB" if done else "Asking the site …", share)


def refused(error: AudioError) -> Html:
    return parts.note("This recording cannot be used:", f"{error}. {ADVICE.get(error.reason, '')}", bad=True)


def _stage(speech: SpeechDesk, stage: Stage | Both, given: str) -> Html:
    if isinstance(stage, Waiting):
        return parts.working(sentences.waiting(stage.place))
    if isinstance(stage, Decoding):
        return parts.working("Reading the recording …")
    if isinstance(stage, Loading):
        words = f"Loading version {stage.model.version}: once, the next recordings need not wait for it."
        return parts.working(words)
    if isinstance(stage, Transcribing):
        share = stage.done_s / stage.total_s if stage.total_s else 0.0
        return parts.working(sentences.progress(stage), share)
    return transcript(speech, stage, given)


def working() -> str:
    return parts.page(parts.working(sentences.waiting()))


def stopped() -> str:
    return parts.page(parts.note("Stopped.", "Nothing was written down."))


def transcript(speech: SpeechDesk, both: Both, given: str) -> Html:
    """What was said with its times beside what was given, its English, and ways to take it along."""
    answer, language, duration_s = both.original, both.original.language, both.original.transcript.duration_s
    factor = answer.took_s / duration_s if duration_s else 0.0
    done = "written down and put into English" if both.english else "written down"
    words = f"{seconds(duration_s)} of {language.title}, {done} in {seconds(answer.took_s)} "
    words += f"(real-time factor {factor:.2f})."
    pieces: list[object] = [parts.element("h2", "What was said"), parts.element("p", words, "soft small")]
    if answer.notes:
        pieces.append(parts.element("p", " ".join(answer.notes), "soft small"))
    if answer.transcript.text:
        pieces += [
            _ways(both),
            player.player(given),
            beside.offer(both),
            _lines(both),
            corrections.form(given, both.original.language),
        ]
    else:
        pieces.append(parts.element("p", "Nothing: the model heard no words in it.", "dv-whole"))
    pieces.append(parts.element("p", both.why_no_english, "soft small dv-why") if both.why_no_english else "")
    box = (
        '<section class="dv-card dv-answer" aria-label="Transcript" aria-live="polite">'
        f"{parts.join(*pieces)}</section>"
    )
    return Html(f'<div style="display:grid;gap:16px">{box}{promise(speech, language, answer.model)}</div>')


def _lines(both: Both) -> Html:
    """A line per stretch of speech."""
    language = both.original.language
    originals = both.original.transcript.segments
    english = _in_english(originals, both.english.transcript.segments if both.english else ())
    heads = parts.element("span", "Time"), parts.element("span", language.title)
    items = [_line_of(*heads, parts.element("span", "English") if both.english else "", "heads")]
    for segment, in_english in zip(originals, english, strict=True):
        times = segment.start_s, segment.end_s
        at = parts.element("div", parts.join(player.line_button(*times), corrections.button(*times)), "dv-at")
        words = player.playing_words(words_in([segment]))
        line = Html(f'<p lang="{language.code}">{words}</p>')
        translated = Html(f'<p lang="en">{parts.text(in_english or "–")}</p>')
        items.append(_line_of(at, line, translated if both.english else "", ""))
    kind = " both" if both.english else ""
    return Html(f'<ul class="dv-transcript{kind}">{parts.join(*items)}</ul>')


def _in_english(originals: Sequence[Segment], english: Sequence[Segment]) -> list[str]:
    """The English of each line; what begins between two lines belongs to the first, so none is lost."""
    starts_s, lines = [one.start_s for one in originals], [""] * len(originals)
    for one in english:
        place = max(0, bisect.bisect_right(starts_s, one.start_s) - 1)
        lines[place] = f"{lines[place]} {one.text}".strip()
    return lines


def _line_of(at: Html, line: Html, english: Html | str, classes: str) -> Html:
    return parts.element("li", parts.join(at, line, english), classes)


def _ways(both: Both) -> Html:
    """Copy and download, without asking the server again."""
    original, english = both.original, both.english
    text, code = original.transcript.text, original.language.code
    ways = [Html(f'<button type="button" data-copy="{parts.text(text)}">Copy the text</button>')]
    ways.append(_download("Text", f"{text}\n", f"transcript-{code}.txt"))
    ways += [_subtitles(original, name, code) for name in SUBTITLES]
    if english:
        ways.append(_download("English text", f"{english.transcript.text}\n", "transcript-en.txt"))
        ways += [_subtitles(english, name, "en") for name in SUBTITLES]
    return Html(f'<div class="dv-ways">{parts.join(*ways)}</div>')


def _subtitles(answer: Answer, name: Format, code: str) -> Html:
    english = answer.transcript.task == "translate"
    words = f"English .{name}" if english else f"Subtitles .{name}"
    title = "English" if english else answer.language.title
    track = f' lang="{code}" data-label="{parts.text(title)}"' if name == "vtt" else ""  # the player's
    written = WRITERS[name](cues(words_in(answer.transcript.segments)))
    return _download(words, written, f"subtitles-{code}.{name}", track)


def _download(words: str, content: str, name: str, more: str = "") -> Html:
    address = f"data:text/plain;charset=utf-8,{quote(content)}"
    return Html(f'<a download="{name}" href="{address}"{more}>{parts.text(words)}</a>')
