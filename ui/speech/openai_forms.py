"""What OpenAI's audio API says and is told: fields of a form in, its five formats and its events out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from fastapi.responses import JSONResponse, Response

from dagsverk.speech.model.decoded import Task
from dagsverk.speech.serving.repetition import compression_ratio
from dagsverk.speech.serving.service import Answer
from dagsverk.speech.serving.transcriber import Segment
from dagsverk.speech.subtitles.cues import cues, words_in
from dagsverk.speech.subtitles.formats import MEDIA_TYPES, WRITERS

ANY_MODEL = "whisper-1"
MOST_PROMPT_LETTERS = 4000  # Whisper reads the last 224 tokens of it

ResponseFormat: TypeAlias = Literal["json", "text", "srt", "verbose_json", "vtt"]
FORMATS = get_args(ResponseFormat)
GRANULARITIES = ("segment", "word")
COMMON = ("model", "prompt", "response_format", "temperature")
FIELDS: Mapping[Task, Sequence[str]] = {
    "transcribe": (*COMMON, "language", "stream", "timestamp_granularities[]", "chunking_strategy"),
    "translate": (*COMMON, "language"),
}


class Refused(ValueError):
    """Something in the request is wrong; `param` is the field at fault."""

    def __init__(self, message: str, param: str | None, code: str, status: int = 400) -> None:
        super().__init__(message)
        self.param, self.code, self.status = param, code, status

    def to_dict(self) -> dict[str, str | None]:
        return {
            "message": str(self), "type": "invalid_request_error", "param": self.param, "code": self.code,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a form asks for."""

    model: str
    language: str = ""  # empty: that of the model; of ANY_MODEL: the one that is spoken
    prompt: str = ""
    format: ResponseFormat = "json"
    words: bool = False
    segments: bool = True
    stream: bool = False

    @property
    def timed(self) -> bool:
        """Whether times of words are needed: subtitles are made of them."""
        return self.words or self.format in ("srt", "vtt")


def wish_of(fields: Mapping[str, Sequence[str]], task: Task) -> Wish:
    """What the fields ask for. Raises Refused, which names the field."""
    for name in fields:
        if name not in FIELDS[task] and f"{name}[]" not in FIELDS[task]:
            wanted = ", ".join(["file", *FIELDS[task]])
            raise Refused(
                f"unknown or not supported here: {name[:100]!r}; want {wanted}", name, "unknown_parameter"
            )
    _temperature(_one(fields, "temperature", "0"))
    if _one(fields, "chunking_strategy", "auto") != "auto":
        raise Refused("recordings are cut at pauses: want auto", "chunking_strategy", "unsupported_value")
    prompt = _one(fields, "prompt", "")
    if len(prompt) > MOST_PROMPT_LETTERS:
        raise Refused(f"want at most {MOST_PROMPT_LETTERS} letters, got {len(prompt)}", "prompt", "too_long")
    format = _choice(_one(fields, "response_format", "json"), FORMATS, "response_format")
    stream = _choice(_one(fields, "stream", "false").lower(), ("true", "false", "1", "0"), "stream")
    streams = stream in ("true", "1")
    if streams and format not in ("json", "text"):
        raise Refused(
            f"events hold text: want json or text with stream, not {format}", "stream", "unsupported_value"
        )
    return Wish(
        model=_one(fields, "model"), language=_one(fields, "language", "").strip(), prompt=prompt,
        format=format, stream=streams, **_granularities(fields, format),
    )  # fmt: skip


def body_of(answer: Answer, wish: Wish) -> Response:
    """The answer in the format that was asked for."""
    segments = answer.transcript.segments
    headers = {"x-dagsverk-language": answer.language.code, "x-dagsverk-model": answer.written_by}
    if wish.format == "json":
        return JSONResponse({"text": text_of(segments), "usage": _usage(answer)}, headers=headers)
    if wish.format == "verbose_json":
        return JSONResponse(_verbose(answer, wish), headers=headers)
    written, kind = f"{text_of(segments)}\n", "text/plain"
    if wish.format != "text":
        written, kind = WRITERS[wish.format](cues(words_in(segments))), MEDIA_TYPES[wish.format]
    return Response(written, media_type=f"{kind}; charset=utf-8", headers=headers)


def delta(segment: Segment, *, first: bool) -> str:
    """The event of one more stretch of text. All of them together are the whole text."""
    return event({"type": "transcript.text.delta", "delta": segment.text if first else f" {segment.text}"})


def done(answer: Answer) -> str:
    about = {"language": answer.language.code, "model": answer.written_by}
    return event({"type": "transcript.text.done", "text": text_of(answer.transcript.segments), **about})


def failed(error: Exception) -> str:
    """What goes wrong after the first event."""
    content = {"message": str(error), "type": "server_error", "param": None, "code": type(error).__name__}
    return event({"type": "error", "error": content})


def event(content: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


def text_of(segments: Sequence[Segment]) -> str:
    """As OpenAI's: one line."""
    return " ".join(segment.text for segment in segments)


def _verbose(answer: Answer, wish: Wish) -> dict[str, Any]:
    transcript = answer.transcript
    language = "english" if transcript.task == "translate" else answer.language.title.lower()
    content: dict[str, Any] = {
        "task": transcript.task,
        "language": language,
        "duration": round(transcript.duration_s, 3),
        "text": text_of(transcript.segments),
        "model": answer.written_by,
        "notes": list(answer.notes),
    }
    if wish.words:
        content["words"] = [
            {"word": word.text, "start": round(word.start_s, 3), "end": round(word.end_s, 3)}
            for word in words_in(transcript.segments)
        ]
    if wish.segments:
        content["segments"] = [_segment(number, one) for number, one in enumerate(transcript.segments)]
    return {**content, "usage": _usage(answer)}


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    """Decoded without chance, so the temperature is 0."""
    return {
        "id": number,
        "seek": round(segment.start_s * 100),
        "start": round(segment.start_s, 3),
        "end": round(segment.end_s, 3),
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": 0.0,
        "avg_logprob": segment.mean_log_probability,
        "compression_ratio": compression_ratio(segment.text),
        "no_speech_prob": segment.no_speech_probability,
    }


def _usage(answer: Answer) -> dict[str, Any]:
    return {"type": "duration", "seconds": math.ceil(answer.transcript.duration_s)}


def _granularities(fields: Mapping[str, Sequence[str]], format: str) -> dict[str, bool]:
    name = "timestamp_granularities[]"
    asked = [*fields.get(name, ()), *fields.get(name.removesuffix("[]"), ())]
    if asked and format != "verbose_json":
        raise Refused(f"times stand in verbose_json, not in {format}", "response_format", "unsupported_value")
    for one in asked:
        _choice(one, GRANULARITIES, "timestamp_granularities")
    return {"words": "word" in asked, "segments": "segment" in asked or not asked}


def _temperature(given: str) -> None:
    """It is looked at, and changes nothing: texts are decoded without chance."""
    try:
        temperature = float(given)
    except ValueError:
        temperature = math.nan
    if not 0 <= temperature <= 1:
        raise Refused(f"want a number from 0 to 1, got {given[:100]!r}", "temperature", "invalid_value")


def _one(fields: Mapping[str, Sequence[str]], name: str, default: str | None = None) -> str:
    values = fields.get(name, ())
    if len(values) > 1:
        raise Refused(f"want one {name}, got {len(values)}", name, "invalid_value")
    value = values[0] if values else default
    if value is None or (default is None and not value.strip()):
        raise Refused(f"want the field {name}", name, "missing_parameter")
    return value


def _choice(value: str, wanted: Sequence[Any], field: str) -> Any:
    if value not in wanted:
        raise Refused(f"want one of {', '.join(wanted)}, got {value[:100]!r}", field, "invalid_value")
    return value
