"""Common Voice as Mozilla ships it: one language of a release, from 11 on, as a folder or an archive.

    <release>/<locale>/clips/*.mp3, train.tsv, dev.tsv, test.tsv, clip_durations.tsv (from 13 on), ...

Source: the releases' own README, and common-voice/cv-dataset. Texts and recordings are in the public domain
(CC0-1.0).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from dagsverk.speech.corpora.corpus import Clip, Listing, RejectedClip, Split, Tally
from dagsverk.speech.corpora.identity import is_asked_for
from dagsverk.speech.corpora.places import Entry, Place
from dagsverk.speech.corpora.resolving import is_sound
from dagsverk.speech.corpora.rows import list_with_audio, read_clips, whisper_code
from dagsverk.speech.corpora.tables import parse_tsv
from dagsverk.speech.errors import CorpusError

HELD_OUT_FIRST: tuple[Split, ...] = ("test", "dev", "train")  # of a clip listed twice, test keeps its own
TABLES = ("train.tsv", "dev.tsv", "test.tsv")
ALL = "validated.tsv"  # what a release without splits has, such as a delta release or one of a small language
NEEDED = {"client_id", "path", "sentence"}


def is_release(near: set[str]) -> bool:
    """Whether these paths are of a release: one of its tables beside clips, or clips by their names."""
    split_tables = {path.rpartition("/")[0] for path in near if path.rpartition("/")[2] in (*TABLES, ALL)}
    beside_clips = {path.removesuffix("clips/").rstrip("/") for path in near if path.endswith("clips/")}
    return bool(split_tables & beside_clips) or any("/clips/common_voice_" in f"/{path}" for path in near)


def release_folders(files: Iterable[str]) -> list[str]:
    """The folders ("" or with `/` at their end) that hold one of a release's tables beside clips."""
    tables, clips = set(), set()
    for path in files:
        above, _, name = path.rpartition("/")
        if name in (*TABLES, ALL):
            tables.add(above)
        elif name == "clips":  # a linked folder: its clips are set aside
            clips.add(above)
        elif above.endswith("clips"):
            clips.add(above.removesuffix("clips").rstrip("/"))
    return sorted(f"{folder}/" if folder else "" for folder in tables & clips)


@dataclass
class CommonVoice:
    """The clips of train, dev and test. Those of validated.tsv that are in none of them are not used; of a
    release that has no splits, validated.tsv is used, and splits are drawn by speaker."""

    place: Place
    language: str
    name: str = ""
    sequential: bool = False
    _listing: Listing | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.sequential = self.place.sequential
        self.name = self.name or f"Common Voice {self.place.name}"

    def listing(self) -> Listing:
        if self._listing is None:
            self._listing = self._list()
        return self._listing

    def read(self, clips: Sequence[Clip]) -> Iterator[tuple[Clip, bytes | RejectedClip]]:
        yield from read_clips(self.place, clips)

    def _list(self) -> Listing:
        files = self.place.files()
        folder = self._folder(files)
        tally = Tally()
        durations = self._durations(files, folder)
        rows = [
            clip
            for split in HELD_OUT_FIRST
            if f"{folder}{split}.tsv" in files
            for clip in self._rows(f"{folder}{split}.tsv", folder, split, durations, tally)
        ]
        if not tally.rows and f"{folder}{ALL}" in files:
            rows = list(self._rows(f"{folder}{ALL}", folder, "train", durations, tally))
        return list_with_audio(self.place, files, rows, tally)

    def _folder(self, files: dict[str, Entry]) -> str:
        """The folder of our language."""
        folders = release_folders(files)
        locales = {folder: self._locale(files, folder) for folder in folders}
        ours = [folder for folder in folders if locales[folder] == self.language]
        if len(ours) > 1:
            raise CorpusError(
                f"{self.place.url} holds several releases of language {self.language!r} "
                f"({', '.join(ours)}); give one of them"
            )
        if not ours:
            raise CorpusError(
                f"{self.place.url} holds no clips of language {self.language!r}; it holds "
                f"{', '.join(one or 'an unnamed one' for one in locales.values()) or 'no release'}; give the "
                "release of that language"
            )
        others = [path for path in files if is_sound(path) and not path.startswith(tuple(folders))]
        if others:
            raise CorpusError(
                f"{self.place.url} holds two corpora: a release of Common Voice "
                f"({ours[0] or 'at the top'}), and "
                f"{len(others):,} recordings elsewhere ({others[0]}); give one of the folders"
            )
        return ours[0]

    def _locale(self, files: dict[str, Entry], folder: str) -> str:
        """Whisper's code of the locale that the rows name, else the folder's name."""
        for name in (*TABLES, ALL):
            if (path := f"{folder}{name}") in files:
                for _, row in parse_tsv(self.place.table(path), path, Tally()):
                    if row.get("locale"):
                        return whisper_code(row["locale"])
                    break
        return whisper_code(folder.rstrip("/").rpartition("/")[2])

    def _durations(self, files: dict[str, Entry], folder: str) -> dict[str, float]:
        path = f"{folder}clip_durations.tsv"
        if path not in files:
            return {}
        durations = {}
        for _, row in parse_tsv(self.place.table(path), path, Tally()):
            if (stated := row.get("duration[ms]", "")).isdecimal():
                durations[row.get("clip", "")] = int(stated) / 1000
        return durations

    def _rows(
        self, path: str, folder: str, split: Split, durations: dict[str, float], tally: Tally
    ) -> Iterator[Clip]:
        for _, row in parse_tsv(self.place.table(path), f"{self.place.url}/{path}", tally, NEEDED):
            file = row["path"]
            stated = row.get("locale", "") or row.get("language", "")
            if not is_asked_for(stated, self.language, tally, file.removesuffix(".mp3")):
                continue
            yield Clip(
                id=file.removesuffix(".mp3"),
                audio=f"{folder}clips/{file}",
                text=row["sentence"],
                language=self.language,
                split=split,
                speaker=row["client_id"],
                gender=row.get("gender", ""),
                age=row.get("age", ""),
                accent=row.get("accents", "") or row.get("variant", ""),
                licence="CC0-1.0",
                duration_s=durations.get(file),
            )
