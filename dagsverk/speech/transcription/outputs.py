"""Where texts are written besides the store: a folder or an S3 prefix. Each file whole or not there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from dagsverk.speech.corpora.places import check_address, local_path
from dagsverk.speech.errors import CorpusError
from dagsverk.speech.transcription.config import TranscriptionConfig
from dagsverk.speech.transcription.files import write_whole

# No file of this name can be there, while others can: it is too long, or has signs that the disk does not
# take, or a file is where it wants a folder.
OF_THE_NAME = {
    errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EISDIR, errno.ENOTDIR, errno.EEXIST,
}  # fmt: skip
HARMLESS = {"srt", "vtt", "lrc"}  # beside recordings nobody takes them for what is said in them


class Unwritable(Exception):
    """A file cannot have this name there."""


def check_output(config: TranscriptionConfig) -> None:
    """Raises CorpusError if it is a file, or what is written would be read again as texts to compare with."""
    if config.output and not check_address(config.output).startswith("s3://"):
        _check_folder(config.output)
    inside = config.output and _is_inside(config.output, config.source)
    if inside and (risky := sorted(set(config.written_formats) - HARMLESS)):
        raise CorpusError(
            f"the output lies in the source, where a file in {', '.join(risky)} is taken for what is said; "
            f"name another place, or formats of {', '.join(sorted(HARMLESS))} only"
        )


def _check_folder(output: str) -> None:
    if (folder := local_path(output)).exists() and not folder.is_dir():
        raise CorpusError(f"the output {output} is a file; want a folder, or s3://bucket/prefix")


def write_output(address: str, path: str, text: str) -> None:
    """Write a file below the address.

    Raises: Unwritable; CorpusError; CorpusUnavailable if it does not answer.
    """
    target = check_address(address)
    if target.startswith("s3://"):
        _put_object(f"{target}/{path}", text.encode("utf-8", "surrogateescape"))
        return
    file = local_path(target) / path
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, text, overwrite=True)
    except OSError as error:
        if error.errno in OF_THE_NAME:
            raise Unwritable(f"{error.strerror}; rename the recording, or name another output") from error
        raise CorpusError(
            f"cannot write below {target}: {error.strerror or error}; check place and permissions"
        ) from error


def _put_object(url: str, data: bytes) -> None:
    from dagsverk import s3
    from dagsverk.speech.corpora.bucket import KINDS

    with s3.errors("write", url, KINDS):
        s3.client().pipe_file(url.removeprefix("s3://"), data)


def _is_inside(output: str, source: str) -> bool:
    if output.startswith("s3://") or source.startswith("s3://"):
        return f"{output.rstrip('/')}/".startswith(f"{source.rstrip('/')}/")
    inner, outer = (os.path.realpath(Path(one).expanduser()) for one in (output, source))
    return f"{inner}/".startswith(f"{outer.rstrip('/')}/")
