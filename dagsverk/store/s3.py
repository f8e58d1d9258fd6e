"""Small files below a prefix of an S3 bucket, on any server with conditional writes (If-None-Match).

Keys, region and endpoint come from the AWS environment variables or profile, for s3fs and delta-rs alike.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import s3fs
from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]

from dagsverk.store.files import Location, appearing, hashed_copy
from dagsverk.store.protocol import NotFound, StoreError, Unavailable

MULTIPART_BYTES = 64 << 20  # an upload is one PUT up to here: whole or absent


class S3Files:
    """Files in a bucket that exists already."""

    def __init__(self, address: str) -> None:
        self._root = address.strip("/")
        self.url = f"s3://{self._root}"
        bucket = self._root.split("/")[0]
        if not bucket or "//" in self._root:
            raise StoreError(f"{self.url} does not name a bucket; want s3://bucket/prefix")
        self._s3 = s3fs.S3FileSystem(use_listings_cache=False)
        try:
            with self._errors("open"):
                self._s3.call_s3("head_bucket", Bucket=bucket)
        except NotFound as error:
            raise StoreError(f"cannot open {self.url}: no bucket {bucket!r}; create it first") from error

    def read(self, path: str) -> bytes:
        with self._errors("read", path):
            return bytes(self._s3.cat_file(self._key(path)))

    def write(self, path: str, data: bytes) -> None:
        with self._errors("write", path):
            self._s3.pipe_file(self._key(path), data)

    def create(self, path: str, data: bytes) -> bool:
        with self._errors("create", path):
            try:
                self._s3.pipe_file(self._key(path), data, mode="create")
            except FileExistsError:
                return False
            return True

    def paths(self, folder: str) -> list[str]:
        with self._errors("list", folder):
            names = (name.removeprefix(f"{self._root}/") for name in self._s3.find(self._key(folder)))
            return sorted(name for name in names if name.startswith(f"{folder}/"))

    def upload(self, source: Path, path: str) -> str:
        with self._errors("write", path):
            write = self._s3.open(self._key(path), "wb", block_size=MULTIPART_BYTES, autocommit=False)
            try:
                with source.open("rb") as read, write:
                    digest = hashed_copy(read, write)
                write.commit()  # closing does not: a copy that failed must not appear
            except BaseException:
                write.discard()
                raise
            return digest

    def download(self, path: str, target: Path) -> str:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            self._errors("read", path),
            self._s3.open(self._key(path), "rb") as read,
            target.open("wb") as write,
        ):
            return hashed_copy(read, write)

    def fetch(self, path: str, cache: Path) -> Path:
        """A copy in a folder named by address, ETag and size: another object never takes its place."""
        with self._errors("read", path), self._s3.open(self._key(path), "rb") as read:
            if read.details["type"] != "file":
                raise FileNotFoundError
            size, tag = int(read.details["size"]), read.details["ETag"]
            name = hashlib.sha256(f"{self.url}/{path} {size} {tag}".encode()).hexdigest()[:32]
            copy = cache / name / path.rsplit("/", 1)[-1]
            if not (copy.is_file() and copy.stat().st_size == size):
                with appearing(copy) as temporary, temporary.open("wb") as write:
                    hashed_copy(read, write)  # asks for this ETag: an object replaced meanwhile is an error
            return copy

    def remove(self, folder: str) -> None:
        bucket = self._root.split("/")[0]
        keys = [{"Key": self._key(path).removeprefix(f"{bucket}/")} for path in self.paths(folder)]
        with self._errors("remove", folder):
            for first in range(0, len(keys), 1000):  # what one call may delete; s3fs would glob the names
                asked = {"Objects": keys[first : first + 1000], "Quiet": True}
                done = self._s3.call_s3("delete_objects", Bucket=bucket, Delete=asked)
                for failed in done.get("Errors", []):
                    raise PermissionError(f"{failed.get('Key')}: {failed.get('Message')}")

    def foreign(self) -> list[str]:
        with self._errors("list"):
            try:
                return sorted(name.rsplit("/", 1)[-1] for name in self._s3.ls(self._root, detail=False))[:5]
            except FileNotFoundError:
                return []

    def delta(self, path: str) -> Location:
        plain = os.environ.get("AWS_ENDPOINT_URL_S3", os.environ.get("AWS_ENDPOINT_URL", ""))
        options = {"aws_allow_http": "true"} if plain.startswith("http://") else None
        return Location(f"{self.url}/{path}", options)

    def sweep(self) -> None:
        """Nothing to do: an object appears whole or not at all."""

    def _key(self, path: str) -> str:
        return f"{self._root}/{path}"

    @contextlib.contextmanager
    def _errors(self, verb: str, path: str = "") -> Iterator[None]:
        where = f"{self.url}/{path}" if path else self.url
        try:
            yield
        except FileNotFoundError as error:
            raise NotFound(f"cannot {verb} {where}: there is no such object") from error
        except PermissionError as error:
            raise StoreError(f"cannot {verb} {where}: {error}; check the AWS_* variables") from error
        except (OSError, BotoCoreError) as error:
            raise Unavailable(f"cannot {verb} {where}: {error}; check AWS_ENDPOINT_URL, try again") from error
