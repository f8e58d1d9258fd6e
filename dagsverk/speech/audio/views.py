"""A file as FFmpeg is to see it: a part of it, behind another head. Light."""

from __future__ import annotations

import io
from typing import BinaryIO


class View(io.RawIOBase):
    """`head`, then the bytes [start, end) of a file, which is not closed with it."""

    def __init__(self, file: BinaryIO, start: int, end: int, head: bytes = b"") -> None:
        self._file, self._start, self._head = file, start - len(head), head
        self._size, self._at = max(0, end - start) + len(head), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        wanted = self._size - self._at if size < 0 else min(size, self._size - self._at)
        content = self._head[self._at : self._at + max(0, wanted)]
        if wanted > len(content):
            self._file.seek(self._start + self._at + len(content))
            content += self._file.read(wanted - len(content))
        self._at += len(content)
        return content
