"""Objects of an S3 bucket, read whole: as many bytes as come are counted, whatever their header says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dagsverk.reading import BLOCK_BYTES, TooLarge


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
    """The object at bucket/key, by a client of s3fs. Raises TooLarge, and what s3fs raises."""
    from fsspec.asyn import sync

    content: bytes = sync(s3.loop, _read, s3, path, Room(most, most))
    return content


def read_objects(s3: Any, paths: Sequence[str], most: int) -> Iterator[bytes | Exception]:
    """Each object, or why there is none. They are fetched together as long as all of them fit into `most`;
    what does not fit is fetched alone when its turn comes."""
    from fsspec.asyn import sync

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
    from s3fs.core import _error_wrapper  # its patience: a body that breaks off is asked for again

    async def ask() -> bytes:
        bucket, _, key = path.partition("/")
        answer = await s3._call_s3("get_object", Bucket=bucket, Key=key)
        body, data = answer["Body"], bytearray()
        try:
            while block := await body.read(BLOCK_BYTES):
                data += block
                room.take(len(block))
        except BaseException:
            room.left += len(data)  # it is given up: others may have its room
            raise
        finally:
            body.close()
        return bytes(data)

    content: bytes = await _error_wrapper(ask, retries=s3.retries)
    return content
