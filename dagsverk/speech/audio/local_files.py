"""Files of this machine that somebody named. Light."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from dagsverk.speech.errors import AudioError


def open_file(path: Path) -> BinaryIO:
    """A file that is one. Raises AudioError "missing audio"; never waits."""
    try:
        file = os.fdopen(
            os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb"
        )  # else a pipe would wait for a writer
    except FileNotFoundError as error:
        raise AudioError("missing audio", f"there is no file {path.name}") from error
    except OSError as error:
        raise AudioError("missing audio", f"{path.name} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise AudioError("missing audio", "no file has a name with a zero byte in it") from error
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise AudioError("missing audio", f"{path.name} is no file, but a pipe or a device")
