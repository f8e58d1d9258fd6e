"""Which corpus is meant by an address: told by what is there, not by its name."""

from __future__ import annotations

from dagsverk.speech.config import CorpusConfig
from dagsverk.speech.corpora.common_voice import CommonVoice, is_release
from dagsverk.speech.corpora.corpus import Corpus, Split
from dagsverk.speech.corpora.folder import FolderCorpus
from dagsverk.speech.corpora.limited import Limited
from dagsverk.speech.corpora.places import LocalPlace, Place, check_address, local_path
from dagsverk.speech.corpora.resolving import SOUND
from dagsverk.speech.corpora.unpacking import ARCHIVES, REFUSED, WANTED
from dagsverk.speech.errors import CorpusError
from dagsverk.speech.languages import language as language_of

HUB = "hub:"
PARTS = (".csv", ".tsv", ".jsonl", ".json", ".txt", ".parquet", ".arrow", ".xlsx", ".scp", *SOUND)


def open_corpus(config: CorpusConfig, language: str) -> Limited:
    """The corpus of a configuration, in a language by Whisper's code or name, or as rm_as_it.

    Raises: CorpusError if there is none, CorpusUnavailable if it is not reached; ValueError for a language
        that Whisper does not know.
    """
    code = language_of(language).spoken
    limits: dict[Split, int | None] = {
        "train": config.train_clips,
        "dev": config.dev_clips,
        "test": config.test_clips,
    }
    if config.source == "spoken":  # it says as many clips as are wanted: nothing is cut
        return Limited(_spoken(config, code))
    stated = {split: limit for split, limit in limits.items() if limit is not None}
    return Limited(_recorded(config, code), stated, config.seed)


def _spoken(config: CorpusConfig, language: str) -> Corpus:
    from dagsverk.speech.corpora.spoken import SpokenCorpus

    return SpokenCorpus(
        language,
        train_clips=config.train_clips,
        dev_clips=config.dev_clips,
        test_clips=config.test_clips,
        seed=config.seed,
    )


def _recorded(config: CorpusConfig, language: str) -> Corpus:
    if config.source.startswith(HUB):
        return _hub(config, language)
    source = check_address(config.source)
    if source.startswith("s3://"):
        place = _in_bucket(source)
    else:
        path = local_path(source)
        if not path.exists():
            raise CorpusError(
                f"there is no {path}; want a folder, {WANTED}, s3://bucket/path, hub:NAME or spoken"
            )
        place = LocalPlace(path) if path.is_dir() else _archive(_no_part(str(path)))
    near = place.near()
    if not near:
        raise CorpusError(f"{place.url} is empty or absent; check the path")
    if is_release(near):
        return CommonVoice(place, language)
    if isinstance(place, LocalPlace) and _is_data_set(near):
        return _hub(config, language)
    columns = {"audio": config.audio_column, "text": config.text_column, "speaker": config.speaker_column}
    return FolderCorpus(place, language, columns)


def _in_bucket(source: str) -> Place:
    """What lies below the prefix, or the object of this name, whatever its ending."""
    from dagsverk.speech.corpora.bucket import S3Place, is_object  # botocore takes half a second to import

    if source.lower().endswith((*ARCHIVES, *REFUSED)):
        return _archive(source)
    place = S3Place(source)
    return _archive(_no_part(source)) if not place.near() and is_object(source) else place


def _no_part(source: str) -> str:
    """The name of an archive. Raises CorpusError for one file of a corpus, which people name as all of it."""
    if source.lower().endswith(PARTS):
        folder = source.rpartition("/")[0] or "."
        raise CorpusError(f"{source} is one file of a corpus; give the folder that holds all of it: {folder}")
    return source


def _archive(source: str) -> Place:
    from dagsverk.speech.corpora.archive import open_archive

    return open_archive(source)


def _hub(config: CorpusConfig, language: str) -> Corpus:
    from dagsverk.speech.corpora.hub import HubCorpus

    return HubCorpus(config, language)


def _is_data_set(near: set[str]) -> bool:
    """Whether `datasets` wrote these files: by save_to_disk, or as Parquet."""
    names = {path.rpartition("/")[2] for path in near}
    saved = names & {"dataset_dict.json", "dataset_info.json"}
    return bool(saved) or any(name.endswith(".parquet") for name in names)
