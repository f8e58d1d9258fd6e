"""Small files below a prefix of an S3 bucket, on any server with conditional writes (If-None-Match).

Address, keys and region: see `dagsverk.s3`. The client asks again when an answer is lost, and may then meet
what its first try did: it must come to the same end.
"""

from __future__ import annotations

import hashlib
import random
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from dagsverk.s3 import ATTEMPTS, blocks, keys_below, status
from dagsverk.store.files import BLOCK_BYTES, Location, appearing
from dagsverk.store.protocol import StoreError
from dagsverk.store.s3_access import S3Access, s3_errors

PART_BYTES = 32 << 20  # an upload is one request up to here, above it one per part; at most 10,000 parts
WRITER = "dagsverk-writer"  # metadata by which a writer knows an object as its own
PROVEN: set[tuple[str, str]] = set()  # endpoint and address of stores that this process has tried
PROBE = ".dagsverk-conditional-writes"  # an empty object that only the first to write it may create


class S3Files:
    """Files in a bucket that exists already."""

    def __init__(self, address: str) -> None:
        root = address.strip("/")
        self.url = f"s3://{root}"
        self._bucket, _, prefix = root.partition("/")
        if not self._bucket or "//" in root:
            raise StoreError(f"{self.url} does not name a bucket; want s3://bucket/prefix")
        self._prefix = f"{prefix}/" if prefix else ""
        self._access = S3Access(self._bucket, self.url)

    def read(self, path: str) -> bytes:
        with self._errors("read", path):
            return b"".join(self._blocks(path))

    def write(self, path: str, data: bytes) -> None:
        with self._errors("write", path):
            self._object("put_object", path, Body=data)

    def create(self, path: str, data: bytes) -> bool:
        token = {WRITER: uuid.uuid4().hex}
        with self._errors("create", path):
            for attempt in range(ATTEMPTS):
                try:
                    self._object("put_object", path, Body=data, IfNoneMatch="*", Metadata=token)
                except OSError as error:
                    if status(error) == 412:  # another writer's, or ours and its answer was lost
                        return self._is_ours(path, token)
                    if status(error) != 409 or attempt == ATTEMPTS - 1:  # 409: another writer is at it
                        raise
                    time.sleep(random.uniform(0, 0.1 * 2**attempt))
                else:
                    return True
        raise AssertionError("the last attempt returns or raises")

    def paths(self, folder: str) -> list[str]:
        return sorted(self.stamps(folder))

    def stamps(self, folder: str) -> dict[str, str]:
        with self._errors("list", folder):
            start = len(self._prefix)
            return {
                one["Key"][start:]: f"{one['ETag']} {one['Size']} {one['LastModified'].isoformat()}"
                for one in keys_below(self._access.client, self._bucket, self._key(f"{folder}/"))
            }

    def upload(self, source: Path, path: str) -> str:
        with self._errors("write", path), source.open("rb") as file:
            first = _part(file)
            if len(first) == PART_BYTES:
                return self._upload_parts(path, first, file)
            self._object("put_object", path, Body=first)
            return hashlib.sha256(first).hexdigest()

    def download(self, path: str, target: Path) -> str:
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._errors("read", path), target.open("wb") as write:
            return _written(self._blocks(path), write)

    def fetch(self, path: str, cache: Path) -> Path:
        """A copy in a folder named by address, ETag and size: another object never takes its place."""
        with self._errors("read", path):
            head = self._object("head_object", path)
            size, tag = int(head["ContentLength"]), head["ETag"]
            name = hashlib.sha256(f"{self.url}/{path} {size} {tag}".encode()).hexdigest()[:32]
            copy = cache / name / path.rsplit("/", 1)[-1]
            if not (copy.is_file() and copy.stat().st_size == size):
                with appearing(copy) as temporary, temporary.open("wb") as write:
                    _written(self._blocks(path, tag), write)  # an object replaced meanwhile is an error
            return copy

    def remove(self, folder: str) -> None:
        keys = [{"Key": self._key(path)} for path in self.paths(folder)]
        with self._errors("remove", folder):
            for first in range(0, len(keys), 1000):  # what one call may delete
                asked = {"Objects": keys[first : first + 1000], "Quiet": True}
                done = self._call("delete_objects", Delete=asked)
                for failed in done.get("Errors", []):
                    raise PermissionError(f"{failed.get('Key')}: {failed.get('Message')}")

    def foreign(self) -> list[str]:
        with self._errors("list"):
            page = self._call("list_objects_v2", Prefix=self._prefix, Delimiter="/", MaxKeys=6)
            names = [each["Key"] for each in page.get("Contents", [])]
            names += [each["Prefix"].rstrip("/") for each in page.get("CommonPrefixes", [])]
            return sorted(name.removeprefix(self._prefix) for name in names if name != self._prefix)[:5]

    def delta(self, path: str) -> Location:
        return self._access.location(f"{self.url}/{path}")

    def sweep(self) -> None:
        """Nothing to do: an object appears whole or not at all."""

    def prove(self) -> None:
        """Create the same object twice: one request at the first opening in a process, at most two."""
        place = (self._access.endpoint, self.url)
        if place in PROVEN:
            return
        with self._errors("write", PROBE):
            if all(self._created_anew() for _ in range(2)):
                raise StoreError(
                    f"cannot keep a store at {self.url}: the server at {self._access.endpoint} ignores "
                    "If-None-Match, so that of two writers one would lose what it wrote; use a server with "
                    "conditional writes: docs/how-to/s3.md"
                )
        PROVEN.add(place)

    def _created_anew(self) -> bool:
        """Whether the server let us create the probe. Keys that may not write can lose nothing: no."""
        try:
            self._object("put_object", PROBE, Body=b"", IfNoneMatch="*")
        except PermissionError:
            return False
        except OSError as error:
            if status(error) == 501:  # it knows the header, and says that it cannot
                return True
            if status(error) in (409, 412):
                return False
            raise
        return True

    def _blocks(self, path: str, tag: str | None = None) -> Iterator[bytes]:
        return blocks(self._access.client, f"{self._bucket}/{self._key(path)}", tag)

    def _upload_parts(self, path: str, part: bytes, file: BinaryIO) -> str:
        """Upload what is larger than a part; nothing appears before the last step."""
        token, digest = {WRITER: uuid.uuid4().hex}, hashlib.sha256()
        parts: list[dict[str, Any]] = []
        upload = self._object("create_multipart_upload", path, Metadata=token)["UploadId"]
        try:
            while part:
                digest.update(part)
                number = len(parts) + 1
                done = self._object("upload_part", path, UploadId=upload, PartNumber=number, Body=part)
                parts.append({"PartNumber": number, "ETag": done["ETag"]})
                part = _part(file)
            try:
                self._object(
                    "complete_multipart_upload", path, UploadId=upload, MultipartUpload={"Parts": parts}
                )
            except FileNotFoundError:  # completed already, by our try whose answer was lost?
                if not self._is_ours(path, token):
                    raise
        except BaseException:
            with suppress(OSError):  # what it leaves costs storage, not truth
                self._object("abort_multipart_upload", path, UploadId=upload)
            raise
        return digest.hexdigest()

    def _is_ours(self, path: str, token: dict[str, str]) -> bool:
        return bool(self._object("head_object", path)["Metadata"].get(WRITER) == token[WRITER])

    def _object(self, method: str, path: str, **asked: Any) -> Any:
        return self._call(method, Key=self._key(path), **asked)

    def _call(self, method: str, **asked: Any) -> Any:
        return self._access.client.call_s3(method, Bucket=self._bucket, **asked)

    def _key(self, path: str) -> str:
        return f"{self._prefix}{path}"

    def _errors(self, verb: str, path: str = "") -> AbstractContextManager[None]:
        return s3_errors(verb, f"{self.url}/{path}" if path else self.url)


def _part(file: BinaryIO) -> bytes:
    """The next PART_BYTES, or what is left."""
    return b"".join(file.read(BLOCK_BYTES) for _ in range(PART_BYTES // BLOCK_BYTES))


def _written(blocks: Iterator[bytes], target: BinaryIO) -> str:
    """Write all blocks; the SHA-256 of them, in hex."""
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
        target.write(block)
    return digest.hexdigest()
