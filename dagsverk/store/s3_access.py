"""How delta-rs reaches an S3 server that s3fs reaches: address, region and keys, as botocore found them.

delta-rs has rules of its own: it takes no endpoint from AWS_ENDPOINT_URL_S3 or a profile, and no profile at
all beside an endpoint. So it is told everything, anew for each use, since keys of roles expire.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from deltalake import DeltaTable
from fsspec.asyn import sync

from dagsverk import s3
from dagsverk.store.files import Location
from dagsverk.store.protocol import NotFound, StoreError, Unavailable

AMAZON = re.compile(r"https://s3[.-]?[a-z0-9-]*\.amazonaws\.com(\.cn)?")
KINDS = s3.Kinds(missing=NotFound, wrong=StoreError, unavailable=Unavailable)


class S3Access:
    """A client of one bucket that exists, and what delta-rs has to be told to reach the same."""

    def __init__(self, bucket: str, url: str) -> None:
        """Raises StoreError if the settings or the bucket cannot be used, Unavailable if nothing answers."""
        try:
            with s3_errors("open", url):
                self.client = s3.client()
                answer = self.client.call_s3("head_bucket", Bucket=bucket)
        except NotFound as error:
            raise StoreError(f"cannot open {url}: no bucket {bucket!r}; create it first") from error
        self._region, self.endpoint = self._place(answer.get("BucketRegion"))
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
        own = await self.client.session.get_credentials()  # the client's own: refreshed when they run out
        return await own.get_frozen_credentials()

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


def table_options() -> dict[str, str]:
    """What delta-rs is told of every table in a bucket: safe commits, our patience. Raises StoreError."""
    with s3_errors("open", "a table"):
        patience_s = s3.patience_s()
    half = f"{patience_s / 2:g}s"  # of a whole request with its body: it has no limit for silence alone
    connect = f"{patience_s / s3.ATTEMPTS:g}s"
    return {
        "aws_conditional_put": "etag",  # a commit is a file that only one writer can create,
        "aws_s3_allow_unsafe_rename": "false",  # whatever the environment says
        "timeout": half,
        "retry_timeout": half,  # no try begins after it
        "connect_timeout": connect,
    }


def s3_errors(verb: str, where: str) -> AbstractContextManager[None]:
    """Errors of s3fs and botocore as ours; none of theirs holds a secret key."""
    return s3.errors(verb, where, KINDS)
