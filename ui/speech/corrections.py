"""Lines of a transcript that a visitor corrects: each becomes a clip of a data set of one's own.

Only of what the same visitor gave, while it is kept here. The sound is cut from it again, on this side.
"""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, StrictBool

from dagsverk.reading import BLOCK_BYTES, NotRegular, open_regular
from dagsverk.speech.config import PrepareConfig
from dagsverk.speech.corpora.recordings import MAX_LETTERS, Recording, Recordings, tidied
from dagsverk.speech.errors import AudioError
from dagsverk.speech.languages import Language
from dagsverk.speech.serving import service
from dagsverk.turns import Check
from ui import parts
from ui.look import FOLDER
from ui.parts import Html
from ui.speech.asked import while_asked
from ui.speech.desk import named_language
from ui.speech.parts import clock
from ui.speech.recorder import DATA_SET, MIN_S
from ui.visitors import Visitors, visitor_of

SCRIPT = (FOLDER / "scripts" / "corrections.js").read_text(encoding="utf-8")
ROUTE = "/api/corrections"
GONE = "this recording is no longer kept here for you: give it again"
CONSENT = "The speaker agrees that recordings are kept on this machine and that models learn from them."
HELP = (
    "The line’s sound and this text become a clip of the data set, for the next training on it. What can be "
    "downloaded here stays as the model wrote it."
)

Second = Annotated[float, Field(ge=0, le=service.MAX_S, allow_inf_nan=False)]


class Correction(BaseModel, extra="forbid"):
    """What the page sends."""

    file: Annotated[str, Field(max_length=4096)]  # where the server put what the visitor gave
    start_s: Second
    end_s: Second
    text: Annotated[str, Field(max_length=4 * MAX_LETTERS["text"])]
    language: Annotated[str, Field(max_length=40)]
    data_set: Annotated[str, Field(max_length=100)]
    speaker: Annotated[str, Field(max_length=4 * MAX_LETTERS["speaker"])]
    consent: StrictBool


class NotKept(ValueError):
    """It is not kept here for this visitor."""


def add_correction_routes(app: FastAPI, visitors: Visitors) -> None:
    """The page's own route: a correction of a line of what this visitor gave."""

    @app.post(ROUTE, include_in_schema=False)
    async def correct(sent: Correction, request: Request) -> Any:
        if not visitors.owns(visitor_of(request.headers.get("cookie", "")), sent.file):
            return _refused(404, GONE)
        language = named_language(sent.language)
        try:
            clip = await while_asked(request, partial(keep, sent, language))
        except NotKept as error:
            return _refused(404, str(error))
        except ValueError as error:
            return _refused(422, str(error))
        except OSError as error:
            return _refused(503, f"it could not be written: {error.strerror or error}")
        words = f"{clip.duration_s:.1f} s in the data set {sent.data_set.strip()}."
        return {"kept": words, "text": clip.text, "created": clip.created}


def _refused(status: int, words: str) -> JSONResponse:
    return JSONResponse({"error": words}, status_code=status)


def keep(sent: Correction, language: Language, check: Check) -> Recording:
    """Cut the line's sound out and keep it with its text; the same correction again changes nothing.

    Raises: NotKept, ValueError, AudioError, CorpusError, Busy, OSError.
    """
    recordings = Recordings(sent.data_set.strip())
    tidied(text=sent.text, speaker=sent.speaker)
    if not sent.consent:
        raise ValueError("the speaker has to agree first: tick the box")
    limits, length_s = PrepareConfig(), sent.end_s - sent.start_s
    if length_s > limits.max_clip_s + 0.005:  # times come rounded
        raise AudioError(
            "too long",
            f"the line takes {length_s:.1f} s; training takes clips of at most {limits.max_clip_s:g} s",
        )
    source = Path(sent.file)
    key = f"{_digest(source)}@{sent.start_s:.2f}"
    wav, duration_s = _cut(source, sent, language, limits, check)
    return recordings.keep(
        wav, duration_s, text=sent.text, language=language.code, speaker=sent.speaker, correction_of=key
    )


def _digest(source: Path) -> str:
    """Of a recording's content: the same recording given again is the same."""
    try:
        with open_regular(source) as file:
            digest = hashlib.sha256()
            for block in iter(partial(file.read, BLOCK_BYTES), b""):
                digest.update(block)
            return digest.hexdigest()[:32]
    except (FileNotFoundError, NotRegular) as error:
        raise NotKept(GONE) from error


def _cut(
    source: Path, sent: Correction, language: Language, limits: PrepareConfig, check: Check
) -> tuple[bytes, float]:
    """(WAV, its length in s) of the line, if training can use it."""
    from dagsverk.speech.audio import waveform  # FFmpeg: on first use

    start, stop = (round(at_s * waveform.SAMPLE_RATE_HZ) for at_s in (sent.start_s, sent.end_s))
    stop = min(stop, start + int(limits.max_clip_s * waveform.SAMPLE_RATE_HZ))
    with service.RECORDINGS.place(check), service.decoded(source, language, check) as samples:
        line = samples.part(start, stop)
    waveform.check(
        line, min_s=MIN_S, max_s=limits.max_clip_s, silence_dbfs=limits.silence_dbfs,
        max_clipped_share=limits.max_clipped_share,
    )  # fmt: skip
    return waveform.encode_wav(line), len(line) / waveform.SAMPLE_RATE_HZ


def button(start_s: float, end_s: float) -> Html:
    """What opens the form below a line."""
    times = f"{clock(start_s)}–{clock(end_s)}"
    return Html(
        f'<button type="button" class="fix" data-start="{start_s:.2f}" data-end="{end_s:.2f}">'
        f'Correct<span class="sr-only"> {times}</span></button>'
    )


def form(file: str, language: Language) -> Html:
    """The form that the script moves below a line. Args: file: where the server put the recording."""
    where = f'data-file="{parts.text(Path(file).as_posix())}" data-language="{language.code}"'
    most = MAX_LETTERS
    fields = [
        f'<label>What is said<textarea name="text" rows="3" maxlength="{most["text"]}" required '
        f'lang="{language.code}"></textarea></label>',
        f'<label>Who speaks<input name="speaker" maxlength="{most["speaker"]}" required '
        'autocomplete="off"></label>',
        f'<label>Data set<input name="data_set" value="{DATA_SET}" maxlength="40" required '
        'autocomplete="off"></label>',
        f'<label class="tick"><input type="checkbox" name="consent"><span>{CONSENT}</span></label>',
        '<div class="dv-ways"><button type="submit">Keep</button>'
        '<button type="button" data-close>Close</button></div>',
        '<p class="small" role="status"></p>',
    ]
    help = parts.element("p", HELP, "soft small")
    return Html(
        f'<form class="dv-correct" {where} aria-label="Correction" hidden>{help}{"".join(fields)}</form>'
    )
