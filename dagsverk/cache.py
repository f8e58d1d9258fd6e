"""Where this machine keeps copies of shards and models that it can fetch again at any time."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "DAGSVERK_CACHE"
DEFAULT_FOLDER = Path(".dagsverk/cache")


def cache_folder() -> Path:
    """The folder in DAGSVERK_CACHE, else `.dagsverk/cache` below the working directory; made if absent."""
    folder = Path(os.environ.get(VARIABLE) or DEFAULT_FOLDER).expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder
