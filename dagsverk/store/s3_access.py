"""How an S3 server is reached: address, region and keys, by botocore's rules for s3fs and delta-rs alike.

delta-rs has rules of its own: it takes no endpoint from AWS_ENDPOINT_URL_S3 or a profile, and no profile at
all beside an endpoint. So it is told everything, anew for each use, since keys of roles expire.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from deltalake import DeltaTable
from fsspec.asyn import sync
from s3fs.core import S3_RETRYABLE_ERRORS

from dagsverk.store.files import Location
from dagsverk.store.protocol import NotFound, StoreError, Unavailable

VARIABLE = "DAGSVERK_S3_PATIENCE_S"
PATIENCE_S = 60.0  # a request to a server that does not answer has failed about then, retries and all
ATTEMPTS = 4  # of one request; pauses between them add up to 7 s at most
AMAZON = re.compile(r"https://s3[.-]?[a-z0-9-]*\.amazonaws\.com(\.cn)?")
PASSING = (OSError, *S3_RETRYABLE_ERRORS, ConnectionError, CredentialRetrievalError, MetadataRetrievalError)
BUSY = (408, 409, 412, 429)  # answers of the 400s that a later try may not get

Settings: TypeAlias = tuple[tuple[str, str], ...]


class S3Access:
    """A client of one bucket that exists, and what delta-rs has to be told to reach the same."""

    def __init__(self, bucket: str, url: str) -> None:
        """Raises StoreError if the settings or the bucket cannot be used, Unavailable if nothing answers."""
        self.client = _client(patience_s(), os.getpid(), _settings())
        try:
            with s3_errors("open", url):
                self._refuse_keys_in_the_endpoint()
                found = self.client.call_s3("head_bucket", Bucket=bucket)
        except NotFound as error:
            raise StoreError(f"cannot open {url}: no bucket {bucket!r}; create it first") from error
        self._region, self.endpoint = self._place(found.get("BucketRegion"))
        if self.client.session.get_config_variable("ca_bundle") and self.endpoint.startswith("https://"):
            self._check_certificates(url)

    def location(self, url: str) -> Location:
        """Where delta-rs finds a table, with keys that are good for minutes at least."""
        with s3_errors("find keys for", url):
            keys = self.wait(self._keys)
        options = {
            "aws_endpoint_url": self.endpoint,
            "aws_region": self._region,
            "aws_access_key_id": keys.access_key,
            "aws_secret_access_key": keys.secret_key,
            "aws_allow_http": str(self.endpoint.startswith("http://")).lower(),
            **table_options(),
        }
        return Location(url, {**options, **({"aws_session_token": keys.token} if keys.token else {})})

    def wait(self, asked: Callable[..., Any], *arguments: Any) -> Any:
        """The result of a coroutine function that belongs to the client."""
        return sync(self.client.loop, asked, *arguments)

    async def _keys(self) -> Any:
        found = await self.client.session.get_credentials()  # the client's own: refreshed when they run out
        return await found.get_frozen_credentials()

    def _place(self, bucket_region: str | None) -> tuple[str, str]:
        """Region and endpoint; on AWS those of the bucket, to which delta-rs does not find by itself."""
        meta = self.client.s3.meta
        if not AMAZON.fullmatch(meta.endpoint_url):
            return bucket_region or meta.region_name, meta.endpoint_url
        region = bucket_region or meta.region_name
        suffix = ".cn" if meta.endpoint_url.endswith(".cn") else ""
        return region, f"https://s3.{region}.amazonaws.com{suffix}"

    def _check_certificates(self, url: str) -> None:
        """delta-rs trusts the system's certificates, or SSL_CERT_FILE; botocore AWS_CA_BUNDLE."""
        try:
            DeltaTable.is_deltatable(url, {**(self.location(url).options or {}), "max_retries": "0"})
        except OSError as error:
            if "invalid peer certificate" in str(error):
                raise StoreError(
                    f"cannot open {url}: tables are reached by delta-rs, which does not read AWS_CA_BUNDLE; "
                    "set SSL_CERT_FILE to the same file"
                ) from error

    def _refuse_keys_in_the_endpoint(self) -> None:
        if "@" in urlsplit(self.client.s3.meta.endpoint_url).netloc:
            raise StoreError(
                "the S3 endpoint holds a user or password (not shown); give keys as AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY"
            )


@functools.lru_cache(maxsize=8)
def _client(patience_s: float, process: int, settings: Settings) -> Any:  # noqa: ARG001  the key
    """One client per process and settings: to make one takes half a second."""
    client = s3fs.S3FileSystem(
        use_listings_cache=False,
        skip_instance_cache=True,  # s3fs would keep the variables of its first use
        config_kwargs={
            "connect_timeout": patience_s / ATTEMPTS,
            "read_timeout": patience_s / ATTEMPTS,  # of silence, however long a body is
            "retries": {"mode": "standard", "total_max_attempts": ATTEMPTS},
        },
    )
    client.retries = 1  # botocore's count; with s3fs's own on top a silent server would be asked 100 times
    return client


def _settings() -> Settings:
    """What botocore reads of the environment."""
    return tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))


def patience_s() -> float:
    """Seconds until a server that does not answer is given up. Raises StoreError for nonsense."""
    text = os.environ.get(VARIABLE, str(PATIENCE_S))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 3600:
        raise StoreError(f"{VARIABLE} is {text!r}: want seconds from 0.1 to 3600, such as {PATIENCE_S:g}")
    return seconds


def status(error: BaseException) -> int:
    """The HTTP status behind an error of s3fs; 0 if the server did not answer."""
    answer = getattr(error.__cause__ or error, "response", None) or {}
    return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def table_options() -> dict[str, str]:
    """What delta-rs is told of every table in a bucket: safe commits, our patience. Raises StoreError."""
    half = f"{patience_s() / 2:g}s"  # of a whole request with its body: it has no limit for silence alone
    connect = f"{patience_s() / ATTEMPTS:g}s"
    return {
        "aws_conditional_put": "etag",  # a commit is a file that only one writer can create,
        "aws_s3_allow_unsafe_rename": "false",  # whatever the environment says
        "timeout": half,
        "retry_timeout": half,  # no try begins after it
        "connect_timeout": connect,
    }


@contextmanager
def s3_errors(verb: str, where: str) -> Iterator[None]:
    """Errors of s3fs and botocore as ours; none of theirs holds a secret key."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"cannot {verb} {where}: there is no such object") from error
    except SSLError as error:
        raise StoreError(f"cannot {verb} {where}: {error}; check AWS_CA_BUNDLE") from error
    except PASSING as error:
        if isinstance(error, PermissionError) or (status(error) // 100 == 4 and status(error) not in BUSY):
            raise StoreError(f"cannot {verb} {where}: {error}; check the AWS_* variables") from error
        raise Unavailable(f"cannot {verb} {where}: {error}; check AWS_ENDPOINT_URL, try again") from error
    except (BotoCoreError, ValueError) as error:  # settings that contradict themselves, or lack something
        raise StoreError(f"cannot {verb} {where}: {error}; check the AWS_* variables") from error
