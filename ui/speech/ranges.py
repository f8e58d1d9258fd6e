"""Sounds that the store keeps, as players ask for them: whole, or the part that they jump to."""

from __future__ import annotations

import re

from fastapi.responses import Response

ONE_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class UnknownClip(LookupError):
    """No such sound was kept."""


def ranged(wav: bytes, asked: str) -> Response:
    """The sound, or the part of it that a player asks for when it jumps."""
    headers = {"accept-ranges": "bytes", "cache-control": "private, max-age=3600"}
    match = ONE_RANGE.fullmatch(asked)
    if not match:
        return Response(wav, media_type="audio/wav", headers=headers)
    start, end = int(match[1]), min(int(match[2] or len(wav)), len(wav) - 1)
    if start > end:
        return Response(status_code=416, headers={"content-range": f"bytes */{len(wav)}"})
    headers["content-range"] = f"bytes {start}-{end}/{len(wav)}"
    return Response(wav[start : end + 1], status_code=206, media_type="audio/wav", headers=headers)
