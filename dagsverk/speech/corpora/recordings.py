"""A data set of one's own: clips and their texts in a folder that `corpora.folder` reads.

    <root>/<name>/metadata.jsonl      a line per clip: file_name, text, language, speaker, translation, …
    <root>/<name>/clips/<id>.wav      16 kHz, mono, 16-bit

A clip's id is a digest of its audio and text, so that keeping the same one again changes nothing. A line of a
transcript that somebody corrected is a clip, too: of each line there is one, the last. The audio is written
first and its line last, each whole or not at all: a killed writer leaves at most a file that no line names.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from dagsverk.reading import NotRegular, open_regular
from dagsverk.speech.errors import CorpusError
from dagsverk.speech.languages import language as language_of
from dagsverk.store.files import appearing

VARIABLE = "DAGSVERK_RECORDINGS"
DEFAULT_FOLDER = Path(".dagsverk/recordings")
METADATA = "metadata.jsonl"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")  # of a data set: a folder's name on any file system
FILE_NAME = re.compile(r"clips/[0-9a-f]{20}\.wav")
MAX_CLIPS = 10_000  # in one data set; its list is written anew with every clip
MAX_LETTERS = {"text": 500, "speaker": 60, "translation": 500}


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One kept clip: a line of the metadata."""

    file_name: str  # relative to the data set's folder
    text: str
    language: str  # Whisper's code
    speaker: str
    translation: str  # in English; empty: not known
    duration_s: float
    created: str  # ISO 8601, UTC
    consent: bool = True  # the speaker agreed; nothing is kept otherwise
    correction_of: str = ""  # which line of which recording: "digest@start in s"; empty: it was read aloud

    def __post_init__(self) -> None:
        if not FILE_NAME.fullmatch(self.file_name):  # undoing removes it
            raise ValueError(f"file_name is {self.file_name!r}")


class Recordings:
    """The data set `name` below `root`; safe with several processes. Nothing is made before the first `keep`.

    Args: root: None: the environment variable DAGSVERK_RECORDINGS, else `.dagsverk/recordings`.
    Raises: ValueError if the name cannot be a folder's.
    """

    def __init__(self, name: str, root: Path | None = None) -> None:
        if not NAME.fullmatch(name):
            raise ValueError(
                f"a data set's name is of 1 to 40 small letters a–z, digits, - and _, the first not a sign; "
                f"got {name!r}"
            )
        self.name = name
        self.folder = (root or recordings_root()) / name

    def clips(self) -> list[Recording]:
        """All kept clips, oldest first; [] before the first. Raises CorpusError for a damaged list."""
        try:
            with open_regular(self.folder / METADATA) as file:
                lines = file.read().decode().splitlines()
        except FileNotFoundError:
            return []
        except NotRegular as error:
            raise CorpusError(f"{self.folder / METADATA} is {error}; record into another data set") from error
        try:
            return [Recording(**json.loads(line)) for line in lines if line.strip()]
        except (ValueError, TypeError) as error:
            raise CorpusError(
                f"{self.folder / METADATA} is not what the recorder wrote ({error}); mend it, or record into "
                "another data set"
            ) from error

    def keep(
        self,
        wav: bytes,
        duration_s: float,
        *,
        text: str,
        language: str,
        speaker: str,
        translation: str = "",
        correction_of: str = "",
    ) -> Recording:
        """Keep one clip that was checked before; the same clip again changes nothing.

        Args:
            wav: the bytes of a WAV file, 16 kHz mono. duration_s: its length. text: what is said in it.
            correction_of: the line that is corrected; what was kept of it before goes.
        Raises: ValueError if something is empty or too long, CorpusError when the data set is full.
        """
        tidy = tidied(text=text, speaker=speaker, translation=translation)
        digest = hashlib.sha256(wav + tidy["text"].encode() + correction_of.encode()).hexdigest()[:20]
        made = Recording(
            file_name=f"clips/{digest}.wav",
            language=language_of(language).spoken,
            duration_s=round(duration_s, 3),
            created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            text=tidy["text"],
            speaker=tidy["speaker"],
            translation=tidy["translation"],
            correction_of=correction_of,
        )
        with self._alone():
            return self._keep(made, wav)

    def _keep(self, made: Recording, wav: bytes) -> Recording:
        clips = self.clips()
        before = [clip for clip in clips if made.correction_of and clip.correction_of == made.correction_of]
        for clip in before or clips:
            unchanged = not before or replace(made, created=clip.created) == clip
            if clip.file_name == made.file_name and unchanged:
                return clip
        rest = [clip for clip in clips if clip not in before]
        if len(rest) >= MAX_CLIPS:
            raise CorpusError(f"{self.name} has {MAX_CLIPS:,} clips, as many as fit; begin another data set")
        _write(self.folder / made.file_name, wav)
        self._list([*rest, made])
        for clip in before:
            if clip.file_name != made.file_name:
                (self.folder / clip.file_name).unlink(missing_ok=True)
        return made

    def undo(self) -> Recording | None:
        """Remove the clip that was kept last; None if there is none."""
        if not self.folder.is_dir():
            return None
        with self._alone():
            clips = self.clips()
            if not clips:
                return None
            self._list(clips[:-1])  # first the line: a line without its file would be a damaged data set
            (self.folder / clips[-1].file_name).unlink(missing_ok=True)
            return clips[-1]

    def _list(self, clips: list[Recording]) -> None:
        lines = "".join(json.dumps(asdict(clip), ensure_ascii=False) + "\n" for clip in clips)
        _write(self.folder / METADATA, lines.encode())

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the data set for oneself; the lock ends with its holder, however that ends."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def recordings_root() -> Path:
    """The folder that holds all data sets."""
    return Path(os.environ.get(VARIABLE) or DEFAULT_FOLDER).expanduser().resolve()


def tidied(**given: str) -> dict[str, str]:
    """Texts of a clip as they are kept. Raises ValueError if one is empty, too long or no text."""
    tidy = {name: " ".join(words.split()) for name, words in given.items()}
    for name, words in tidy.items():
        if len(words) > MAX_LETTERS[name]:
            raise ValueError(f"{name} has {len(words)} characters; want at most {MAX_LETTERS[name]}")
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in words):
            raise ValueError(f"{name} holds a control character; type it anew")
    for name in ("text", "speaker"):
        if not tidy[name]:
            raise ValueError(f"{name} is empty; say {'what is read' if name == 'text' else 'who speaks'}")
    return tidy


def _write(path: Path, data: bytes) -> None:
    """The file is there whole or not at all."""
    with appearing(path) as temporary:
        temporary.write_bytes(data)
        temporary.chmod(0o644)  # workers may run as another user
