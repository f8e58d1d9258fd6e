"""The one way to reach S3: a client with patience, objects as bytes, and what an error there means.

botocore finds endpoint, region, keys and certificates by its own rules; stores, corpora and tables that are
read from a bucket all use this client. Whether trouble may pass by itself is decided here, for all of them.
"""

from __future__ import annotations

import asyncio
import functools
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import s3fs
from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ConnectionError,
    CredentialRetrievalError,
    MetadataRetrievalError,
    SSLError,
)
from fsspec.asyn import sync
from s3fs.core import S3_RETRYABLE_ERRORS

from dagsverk.reading import BLOCK_BYTES, TooLarge

VARIABLE = "DAGSVERK_S3_PATIENCE_S"
PATIENCE_S = 60.0  # a request to a server that does not answer has failed about then, retries and all
ATTEMPTS = 4  # of one request, or of going on with a body; pauses add up to 7 s at most
PASSING = (OSError, *S3_RETRYABLE_ERRORS, ConnectionError, CredentialRetrievalError, MetadataRetrievalError)
BUSY = (408, 409, 412, 429)  # answers of the 400s that a later try may not get
NEVER = (301, 308, 501)  # answers outside the 400s that a later try gets as well
BUSY_CODES = ("RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded")
MAX_WORDS = 300  # letters of what a server says

Settings: TypeAlias = tuple[tuple[str, str], ...]


class SettingsError(ValueError):
    """A setting that cannot work; the message says which, and never repeats a key."""


@dataclass(frozen=True)
class Kinds:
    """What trouble with S3 is called by those who read there."""

    missing: type[Exception]  # no such bucket or object
    wrong: type[Exception]  # a setting, no permission, a request that is refused however often it is made
    unavailable: type[Exception]  # no answer, a busy server, an answer cut short: a later try may do


# ------------------------------------------------------------------ the client


def client() -> Any:
    """A file system of s3fs, by the environment as it is now. Raises SettingsError; what botocore raises."""
    made = _client(patience_s(), os.getpid(), _settings())
    if "@" in urlsplit(made.s3.meta.endpoint_url).netloc:
        raise SettingsError(
            "the S3 endpoint holds a user or password (not shown); give keys as AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        )
    return made


@functools.lru_cache(maxsize=8)
def _client(patience_s: float, process: int, settings: Settings) -> Any:  # noqa: ARG001  the key
    """One client per process and settings: to make one takes half a second."""
    made = s3fs.S3FileSystem(
        use_listings_cache=False,
        skip_instance_cache=True,  # s3fs would keep the variables of its first use
        config_kwargs={
            "connect_timeout": patience_s / ATTEMPTS,
            "read_timeout": patience_s / ATTEMPTS,  # of silence, however long a body is
            "retries": {"mode": "standard", "total_max_attempts": ATTEMPTS},
        },
    )
    made.retries = 1  # botocore's count; with s3fs's own on top a silent server would be asked 100 times
    return made


def _settings() -> Settings:
    """What botocore reads of the environment."""
    return tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))


def patience_s() -> float:
    """Seconds until a server that does not answer is given up. Raises SettingsError for nonsense."""
    text = os.environ.get(VARIABLE, str(PATIENCE_S))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 3600:
        raise SettingsError(f"{VARIABLE} is {text!r}: want seconds from 0.1 to 3600, such as {PATIENCE_S:g}")
    return seconds


# ------------------------------------------------------------------ what an error means


@contextmanager
def errors(verb: str, where: str, kinds: Kinds) -> Iterator[None]:
    """Errors of s3fs and botocore as those of whoever reads; no secret key is in a message."""
    try:
        yield
    except SettingsError as error:
        raise kinds.wrong(str(error)) from error
    except FileNotFoundError as error:
        raise kinds.missing(
            f"cannot {verb} {where}: there is no such bucket or object; check its name"
        ) from error
    except PermissionError as error:
        raise kinds.wrong(
            f"cannot {verb} {where}: access denied; check the AWS_* variables and what the key may do "
            f"({_words(error)})"
        ) from error
    except SSLError as error:
        raise kinds.wrong(f"cannot {verb} {where}: {_words(error)}; check AWS_CA_BUNDLE") from error
    except PASSING as error:
        if not may_pass(error):
            raise kinds.wrong(f"cannot {verb} {where}: {_words(error)}; check the AWS_* variables") from error
        raise kinds.unavailable(
            f"cannot {verb} {where}: {_words(error)}; check AWS_ENDPOINT_URL, try again"
        ) from error
    except (BotoCoreError, ValueError) as error:  # settings that contradict themselves, or lack something
        raise kinds.wrong(f"cannot {verb} {where}: {_words(error)}; check the AWS_* variables") from error


def may_pass(error: BaseException) -> bool:
    """Whether a later try may go well, of an error of the kinds PASSING."""
    number = status(error)
    if isinstance(error, (FileNotFoundError, PermissionError, SSLError)) or number in NEVER:
        return False
    return number // 100 != 4 or number in BUSY or _code(error) in BUSY_CODES


def status(error: BaseException) -> int:
    """The HTTP status behind an error of s3fs; 0 if the server did not answer."""
    return int(_answer(error).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _code(error: BaseException) -> str:
    return str(_answer(error).get("Error", {}).get("Code", ""))


def _answer(error: BaseException) -> dict[str, Any]:
    return getattr(error.__cause__ or error, "response", None) or {}


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:MAX_WORDS] or type(error).__name__


# ------------------------------------------------------------------ objects


class Download:
    """An object's bytes, all of one version; a body that breaks off is read on from there."""

    def __init__(
        self, s3: Any, path: str, tag: str | None = None, start: int = 0, stop: int | None = None
    ) -> None:
        """Args: path: bucket/key. tag: the ETag of the version; None: the one that is there. start, stop: of
        the bytes that are wanted, as in a slice."""
        self._s3, self._tag = s3, tag
        self._bucket, _, self._key = path.partition("/")
        self._body: Any = None
        self._done, self._size, self._broken = start, start + 1, 0
        self._last = "" if stop is None else str(stop - 1)

    async def next(self) -> bytes:
        """A block; b"" at the end. Raises what s3fs and botocore raise."""
        while self._done < self._size:
            body = self._body or await self._ask()
            try:
                block: bytes = await body.read(BLOCK_BYTES)
                if not block:
                    raise ConnectionResetError(f"the answer ends after {self._done} of {self._size} bytes")
            except PASSING:
                self.close()
                self._broken += 1
                if self._broken == ATTEMPTS:
                    raise
                continue
            self._done, self._broken = self._done + len(block), 0
            return block
        self.close()
        return b""

    async def _ask(self) -> Any:
        same = {"IfMatch": self._tag} if self._tag else {}
        rest = {"Range": f"bytes={self._done}-{self._last}"} if self._done or self._last else {}
        answer = await self._s3._call_s3("get_object", Bucket=self._bucket, Key=self._key, **same, **rest)
        self._tag, self._body = answer["ETag"], answer["Body"]
        self._size = self._done + int(answer["ContentLength"])
        return self._body

    def close(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None


def blocks(s3: Any, path: str, tag: str | None = None) -> Iterator[bytes]:
    """The bytes of the object at bucket/key. Raises what s3fs and botocore raise."""
    download = Download(s3, path, tag)
    try:
        while block := sync(s3.loop, download.next):
            yield block
    finally:
        download.close()


class ObjectStream(io.RawIOBase):
    """An object as a stream that is read from front to end. Errors are of the given kinds."""

    def __init__(self, s3: Any, path: str, kinds: Kinds) -> None:
        self._s3, self._where, self._kinds = s3, f"s3://{path}", kinds
        self._download = Download(s3, path)
        self._waiting = bytearray()
        self._given, self._ended = 0, False

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._given

    def read(self, size: int = -1) -> bytes:
        while not self._ended and (size < 0 or len(self._waiting) < size):
            with errors("read", self._where, self._kinds):
                block = sync(self._s3.loop, self._download.next)
            self._waiting += block
            self._ended = not block
        part = bytes(self._waiting[:size] if size >= 0 else self._waiting)
        del self._waiting[: len(part)]
        self._given += len(part)
        return part

    def close(self) -> None:
        self._download.close()
        super().close()


@dataclass
class Room:
    """How many bytes may still come."""

    most: int
    left: int

    def take(self, count: int) -> None:
        """Raises TooLarge."""
        self.left -= count
        if self.left < 0:
            raise TooLarge(self.most)


def read_object(s3: Any, path: str, most: int) -> bytes:
    """The object at bucket/key. As many bytes as come are counted, whatever their header says.

    Raises TooLarge, and what s3fs and botocore raise.
    """
    content: bytes = sync(s3.loop, _read, s3, path, Room(most, most))
    return content


def read_part(s3: Any, path: str, tag: str, start: int, stop: int) -> bytes:
    """Bytes `start` to `stop` (not included, and not empty) of a version of the object at bucket/key.

    Raises what s3fs and botocore raise.
    """
    content: bytes = sync(s3.loop, _drain, Download(s3, path, tag, start, stop))
    return content


async def _drain(download: Download) -> bytes:
    data = bytearray()
    try:
        while block := await download.next():
            data += block
    finally:
        download.close()
    return bytes(data)


def read_objects(s3: Any, paths: Sequence[str], most: int) -> Iterator[bytes | Exception]:
    """Each object, or why there is none. They are fetched together as long as all of them fit into `most`;
    what does not fit is fetched alone when its turn comes."""
    for path, content in zip(paths, sync(s3.loop, _read_all, s3, paths, most), strict=True):
        if not isinstance(content, TooLarge):
            yield content
            continue
        try:
            yield read_object(s3, path, most)
        except Exception as error:  # noqa: BLE001  handed to the caller, as those above
            yield error


async def _read_all(s3: Any, paths: Sequence[str], most: int) -> list[Any]:
    shared = Room(most, most)
    return await asyncio.gather(*(_read(s3, path, shared) for path in paths), return_exceptions=True)


async def _read(s3: Any, path: str, room: Room) -> bytes:
    download, data = Download(s3, path), bytearray()
    try:
        while block := await download.next():
            data += block
            room.take(len(block))
    except BaseException:
        room.left += len(data)  # it is given up: others may have its room
        raise
    finally:
        download.close()
    return bytes(data)


# ------------------------------------------------------------------ listings


def keys_below(s3: Any, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    """What S3 tells of each object whose key begins so: Key, Size, ETag, LastModified."""
    asked = {"Bucket": bucket, "Prefix": prefix}
    while True:
        page = s3.call_s3("list_objects_v2", **asked)
        yield from page.get("Contents", [])
        if not page.get("IsTruncated"):
            return
        asked["ContinuationToken"] = page["NextContinuationToken"]
