"""What trouble with the Hugging Face Hub means: whether it may pass, whichever library raised it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from typing import Any

from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

NETWORK: Any = HfHubHTTPError.__bases__  # the HTTP client's own error, whichever it is, and OSError
NO_ANSWER: Any = (NETWORK[0], ConnectionError, TimeoutError, socket.gaierror)
BUSY = (408, 425, 429)  # answers of the 400s that a later try may not get


def may_pass(error: BaseException) -> bool:
    """Whether the Hub may answer a later try: libraries wrap what happened, so it is looked for inside."""
    inside = list(_inside(error))
    if any(isinstance(one, (OfflineModeIsEnabled, ssl.SSLCertVerificationError)) for one in inside):
        return False
    if (status := _status(error)) is not None:
        return status >= 500 or status in BUSY
    return any(isinstance(one, NO_ANSWER) for one in inside)


def kind(error: BaseException) -> str:
    """What happened without an address, which may be signed: "HfHubHTTPError, 503"."""
    status = _status(error)
    return type(error).__name__ if status is None else f"{type(error).__name__}, {status}"


def _status(error: BaseException) -> int | None:
    """Of the HTTP answer behind an error; None where there was no answer."""
    answers = (getattr(one, "response", None) for one in _inside(error))
    statuses = (int(answer.status_code) for answer in answers if answer is not None)
    return next(statuses, None)


def _inside(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
