"""The only door to saved state: `open_store(url)` and the types and errors that its methods speak."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dagsverk.store.embedded import Embedded
from dagsverk.store.files import LocalFiles, TableFiles
from dagsverk.store.protocol import (
    Artefacts,
    Commit,
    Conflict,
    FeatureStore,
    Model,
    ModelRef,
    ModelRegistry,
    Moment,
    NotFound,
    Rows,
    SchemaError,
    Store,
    StoreError,
    Table,
    TableRef,
    Unavailable,
)

__all__ = [
    "Artefacts",
    "Commit",
    "Conflict",
    "FeatureStore",
    "Model",
    "ModelRef",
    "ModelRegistry",
    "Moment",
    "NotFound",
    "Rows",
    "SchemaError",
    "Store",
    "StoreError",
    "Table",
    "TableRef",
    "Unavailable",
    "open_store",
]

VARIABLE = "DAGSVERK_STORE"
DEFAULT_FOLDER = Path(".dagsverk/store")
UNREADABLE = re.compile(r"[%#?\[\]^|\\]")  # delta-rs 1.6 reads such paths as something else, or panics
FORMS = "a folder, file:///folder, s3://bucket/prefix or hopsworks://host/project"


def open_store(url: str | None = None, *, create: bool = True) -> Store:
    """The store at `url`; an absent or empty place is made into one, unless `create` is False.

    Args: url: a folder, `file:///folder`, `s3://bucket/prefix` or `hopsworks://host/project?data_source=name`.
        None: the environment variable DAGSVERK_STORE, else `.dagsverk/store` below the working directory.
        The keys, region and endpoint of S3 come from the AWS environment variables or profile, the key of
        Hopsworks from HOPSWORKS_API_KEY, never from the URL.
    Raises: NotFound if there is no store and `create` is False. StoreError if the URL is of another form, or
        the place is not writable, holds something that is not a store, or was written by a newer version.
        Unavailable if it does not answer.
    """
    if url is None:
        url = os.environ.get(VARIABLE) or str(DEFAULT_FOLDER)
    if str(url).startswith("hopsworks://"):
        return _hopsworks(str(url), create)
    return Embedded(_place(str(url), create), create=create)


def _hopsworks(url: str, create: bool) -> Store:
    if find_spec("hopsworks") is None:
        raise StoreError(
            "a store at hopsworks:// needs the Hopsworks SDK, which is not installed: make hopsworks, "
            "or pip install -c constraints-hopsworks.txt -e '.[hopsworks]'"
        )
    from dagsverk.store.hopsworks.store import open_hopsworks  # the SDK takes seconds to import

    return open_hopsworks(url, create=create)


def _place(url: str, create: bool) -> TableFiles:
    scheme, mark, rest = url.partition("://")
    if not mark:
        return LocalFiles(_folder(url, url), create=create)
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise StoreError(
            f"a store's {scheme}:// URL carries no keys and no options; give {FORMS} and set AWS_* variables"
        )
    if scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise StoreError(f"{url} names the host {parts.netloc!r}; a local store is file:///folder")
        return LocalFiles(_folder(unquote(parts.path), url), create=create)
    if scheme == "s3":
        from dagsverk.store.s3 import S3Files  # s3fs takes half a second to import

        return S3Files(rest)
    raise StoreError(f"cannot open a store at {url!r}: unknown form {scheme}://; use {FORMS}")


def _folder(path: str, url: str) -> Path:
    if not path.strip() or "\0" in path:
        raise StoreError(f"cannot open a store at {url!r}: no folder is named; use {FORMS}")
    folder = Path(path).expanduser().resolve()
    if unreadable := UNREADABLE.search(folder.as_posix()):
        raise StoreError(
            f"cannot open a store at {folder}: tables cannot be kept below a folder with {unreadable[0]!r} "
            "in its name; name another folder"
        )
    return folder
