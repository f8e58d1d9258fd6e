"""A recording that a program sends: as the body, or as the `file` of a form; kept on disk as it comes.

A form may be made to fill the memory: with parts without number, a name of megabytes, a field without end. So
its fields are few and short, its file goes to disk block by block, and nothing else of it is kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from dagsverk.speech.errors import Busy
from ui.limits import MAX_MEDIA_BYTES

MOST_FIELDS, MOST_FIELD_BYTES = 32, 16 * 1024  # of a form, and of all its fields together
MOST_NAME_LETTERS = 200
LEAST_FREE_BYTES = 2 * MAX_MEDIA_BYTES  # of the disk that takes the recording; its samples come beside it
FILE = "file"


class BadForm(ValueError):
    """What was sent cannot be taken; `field` is the part of the form that is at fault."""

    def __init__(self, message: str, field: str = FILE) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Sent:
    """A recording on disk, what it was called, and the fields that came with it."""

    path: Path
    name: str = ""  # empty: it came as the body
    fields: Mapping[str, list[str]] = field(default_factory=dict)


def is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().strip().startswith("multipart/form-data")


async def received(request: Request, folder: Path) -> Sent:
    """The recording in a file of `folder`, whichever way it was sent.

    Raises: BadForm; Busy if the disk is nearly full; ClientDisconnect.
    """
    if shutil.disk_usage(folder).free < LEAST_FREE_BYTES:
        raise Busy("this machine's disk is nearly full, so no recording can be taken; try again later")
    path = folder / "recording"
    with path.open("xb") as file:
        if not is_form(request):
            async for block in request.stream():
                file.write(block)
            return Sent(path)
        parts = _Parts(file)
        parser = _parser(request.headers["content-type"], parts)
        async for block in request.stream():
            _fed(parser, block)
    if not parts.ended:
        raise BadForm("want a whole form; this one ends in the middle")
    if parts.file_name is None:
        raise BadForm("want the recording as a part called file, as `curl -F file=@recording.wav` sends it")
    return Sent(path, parts.file_name, parts.fields)


def _parser(content_type: str, parts: _Parts) -> MultipartParser:
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not 1 <= len(boundary) <= 200:
        raise BadForm("want a boundary of 1 to 200 letters in the content type multipart/form-data")
    return MultipartParser(
        boundary,
        {
            "on_part_begin": parts.begin,
            "on_header_field": parts.header_name,
            "on_header_value": parts.header_value,
            "on_header_end": parts.header_end,
            "on_headers_finished": parts.headers_finished,
            "on_part_data": parts.data,
            "on_part_end": parts.end,
            "on_end": parts.finish,
        },
    )


def _fed(parser: MultipartParser, block: bytes) -> None:
    try:
        parser.write(block)
    except FormParserError as error:
        raise BadForm(f"want multipart/form-data; this is none: {str(error)[:200]}") from error


class _Parts:
    """What is kept of a form while it is parsed."""

    def __init__(self, file: BinaryIO) -> None:
        self.fields: dict[str, list[str]] = {}
        self.file_name: str | None = None
        self.ended = False
        self._file, self._is_file = file, False
        self._parts = self._field_bytes = 0
        self._header, self._value, self._disposition = b"", b"", b""
        self._name, self._field = "", bytearray()

    def begin(self) -> None:
        self._parts += 1
        if self._parts > MOST_FIELDS:
            raise BadForm(f"want at most {MOST_FIELDS} parts in a form")
        self._disposition = b""

    # A header is at most 4 KiB: the parser's own limit.
    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def headers_finished(self) -> None:
        options = parse_options_header(self._disposition)[1]
        self._name = _text(options.get(b"name", b""), "a name")
        if not self._name or len(self._name) > MOST_NAME_LETTERS:
            raise BadForm(f"want a name of 1 to {MOST_NAME_LETTERS} letters for each part of the form")
        self._is_file = b"filename" in options
        self._field = bytearray()
        if self._is_file:
            if self._name != FILE or self.file_name is not None:
                raise BadForm(
                    f"want one file, called file; found another one, called {self._name}", self._name
                )
            self.file_name = _text(options[b"filename"], FILE)[:MOST_NAME_LETTERS]
        elif self._name == FILE:
            raise BadForm(
                "want a file in the part called file, found a text; with curl: -F file=@recording.wav"
            )

    def data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._file.write(data[start:end])
            return
        self._field_bytes += end - start
        if self._field_bytes > MOST_FIELD_BYTES:
            raise BadForm(f"want at most {MOST_FIELD_BYTES} bytes in all fields together", self._name)
        self._field += data[start:end]

    def end(self) -> None:
        if not self._is_file:
            self.fields.setdefault(self._name, []).append(_text(bytes(self._field), self._name))

    def finish(self) -> None:
        self.ended = True


def _text(data: bytes, field: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadForm(f"want UTF-8 in {field[:MOST_NAME_LETTERS]}", field) from error
