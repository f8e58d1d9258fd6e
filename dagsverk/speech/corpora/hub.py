"""Audio data sets read through `datasets`: of the Hugging Face Hub by name, or a local folder that it wrote.

Data sets of the Hub are streamed. Audio is not decoded by `datasets` (it would need torchcodec): the encoded
bytes are handed on. No code of a data set is run.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import datasets
from datasets.exceptions import DatasetsError
from huggingface_hub import HfApi, HfFileSystem
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from dagsverk import hub, reading
from dagsverk.hub import NETWORK
from dagsverk.reading import Below, NotRegular, TooLarge, read_at_most
from dagsverk.speech.config import CorpusConfig
from dagsverk.speech.corpora.corpus import Clip, Listing, RejectedClip, Split, Tally
from dagsverk.speech.corpora.data_sets import DESCRIPTIONS, check_card, leads_out, local_folder
from dagsverk.speech.corpora.identity import is_asked_for
from dagsverk.speech.corpora.places import MAX_CLIP_BYTES, LocalPlace, local_trouble
from dagsverk.speech.corpora.rows import (
    SPLIT_NAMES,
    find_columns,
    make_listing,
    parse_seconds,
    whisper_code,
)
from dagsverk.speech.errors import CorpusError, CorpusUnavailable
from dagsverk.speech.languages import LANGUAGES

AS_PARQUET = "refs/convert/parquet"  # where the Hub keeps a copy of data sets that come with a script
ANSWER_S = 20.0  # for the first question to the Hub; without a network it fails at once
FLEURS_RATE_HZ = 16_000
# The subsets of FLEURS whose language Whisper knows.
FLEURS = """
af_za am_et ar_eg as_in az_az be_by bg_bg bn_in bs_ba ca_es cmn_hans_cn cs_cz cy_gb da_dk de_de el_gr en_us
es_419 et_ee fa_ir fi_fi fil_ph fr_fr gl_es gu_in ha_ng he_il hi_in hr_hr hu_hu hy_am id_id is_is it_it ja_jp
jv_id ka_ge kk_kz km_kh kn_in ko_kr lb_lu ln_cd lo_la lt_lt lv_lv mi_nz mk_mk ml_in mn_mn mr_in ms_my mt_mt
my_mm nb_no ne_np nl_nl oc_fr pa_in pl_pl ps_af pt_br ro_ro ru_ru sd_in sk_sk sl_si sn_zw so_so sr_rs sv_se
sw_ke ta_in te_in tg_tj th_th tr_tr uk_ua ur_pk uz_uz vi_vn yo_ng yue_hant_hk
"""

Rows: TypeAlias = "datasets.Dataset | datasets.IterableDataset"


@dataclass
class HubCorpus:
    """The rows of a data set. A clip's address is its split's name and its row, such as `validation/17`."""

    config: CorpusConfig
    language: str
    _listing: Listing | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._source = self.config.source.removeprefix("hub:")
        self._local = local_folder(self._source)
        self._subset = self.config.subset
        self._opened: dict[tuple[str, ...] | None, dict[str, Rows]] = {}
        if not self._subset and self._source == "google/fleurs":
            self._subset = fleurs_subset(self.language)
        stated = whisper_code(self._subset)
        if "_" in self._subset and stated in LANGUAGES and stated != self.language:
            raise CorpusError(
                f"the subset {self._subset!r} of {self._source} is in {stated!r}, asked for is "
                f"{self.language!r}; name the subset of that language"
            )
        self.name = f"{self._local.name if self._local else self._source} {self._subset}".strip()
        self.sequential = not (self._local and _saved_to_disk(self._local))

    def listing(self) -> Listing:
        if self._listing is None:
            tally = Tally()
            clips = itertools.chain.from_iterable(self._clips(name, tally) for name in self._splits)
            with self._errors():
                self._listing = make_listing(clips, tally, self._identities())
        return self._listing

    def read(self, clips: Sequence[Clip]) -> Iterator[tuple[Clip, bytes | RejectedClip]]:
        wanted: dict[str, dict[int, list[Clip]]] = {}
        for clip in clips:
            split, _, row = clip.audio.rpartition("/")
            wanted.setdefault(split, {}).setdefault(int(row), []).append(clip)
        for split, rows in wanted.items():  # in the data set's order: it is the clips' order
            if split not in self._splits:
                raise CorpusError(f"{self.name} has no split {split!r} any more; prepare it anew")
            column = self._columns(split)["audio"]
            with self._errors():
                for number, value in _picked(self._open([column])[split], column, sorted(rows)):
                    for clip in rows.pop(number):
                        yield clip, self._bytes(clip, value)
            for clip in itertools.chain.from_iterable(rows.values()):
                yield clip, RejectedClip(clip=clip.id, reason="missing audio", detail=f"no row {clip.audio}")

    @cached_property
    def _revision(self) -> tuple[str | None, bool]:
        """The commit that is read, so that every step reads the same one; whether it is the Hub's own copy in
        Parquet of a data set that comes with a script. Raises CorpusError; asks the Hub once."""
        if self._local:
            return None, False
        with self._errors():
            info = HfApi().dataset_info(self._source, timeout=ANSWER_S)
            files = [one.rfilename for one in info.siblings or []]
            check_card(info.card_data, self._source)
            if DESCRIPTIONS[1] in files:
                raise CorpusError(f"{self._source} has a {DESCRIPTIONS[1]}, which is not read here")
            script = f"{self._source.rpartition('/')[2]}.py"
            if script in files and not any(name.endswith(".parquet") for name in files):
                copy = HfApi().dataset_info(self._source, revision=AS_PARQUET, timeout=ANSWER_S)
                return str(copy.sha), True
            return str(info.sha), False

    @cached_property
    def _splits(self) -> dict[str, Rows]:
        splits = self._open(None)
        ours = {name: rows for name, rows in splits.items() if our_split(name)}
        return ours or dict(list(splits.items())[:1])  # one split of another name: ours are drawn from it

    def _open(self, columns: list[str] | None) -> dict[str, Rows]:
        """Split -> rows, of some columns only where that spares reading the others. Raises CorpusError."""
        key = None if columns is None else tuple(columns)
        if key not in self._opened:
            with self._errors():
                if self._local and _saved_to_disk(self._local):
                    splits: Any = datasets.load_from_disk(str(self._local))
                    splits = splits if isinstance(splits, datasets.DatasetDict) else {"train": splits}
                else:
                    splits = self._stream(columns)
                self._opened[key] = {str(name): _undecoded(rows) for name, rows in splits.items()}
        return self._opened[key]

    def _stream(self, columns: list[str] | None) -> Any:
        where = str(self._local.resolve()) if self._local else self._source
        revision, copied = self._revision
        options: dict[str, Any] = {"streaming": True, "revision": revision}
        if copied:
            options["data_dir"] = self._subset or "default"
        elif subset := self._subset or self._only_subset(where, revision):
            options["name"] = subset
        whole = datasets.load_dataset(where, **options)
        if columns is None or not _is_parquet(whole):
            return whole
        return datasets.load_dataset(where, columns=columns, **options)

    def _only_subset(self, where: str, revision: str | None) -> str:
        """Of several subsets the one in our language; "" if there is but one. Raises CorpusError."""
        names = datasets.get_dataset_config_names(where, revision=revision)
        ours = [name for name in names if whisper_code(name) == self.language]
        if len(names) > 1 and len(ours) != 1:
            raise CorpusError(
                f"{self.name} has several subsets; name one as subset: {', '.join(names[:200])}"
            )
        return ours[0] if len(names) > 1 else ""

    def _columns(self, split: str) -> dict[str, str]:
        rows = self._splits[split]
        there = list(rows.column_names or next(iter(rows), {}))
        named = {
            "audio": self.config.audio_column or next(iter(_audio_columns(rows)), ""),
            "text": self.config.text_column,
            "speaker": self.config.speaker_column,
        }
        columns = find_columns(there, named, self.name)
        for meaning in ("audio", "text"):
            if meaning not in columns:
                raise CorpusError(
                    f"{self.name} has no column of {meaning} by a usual name; it has {', '.join(there)}: "
                    f"name it as {meaning}_column"
                )
        return columns

    def _clips(self, split: str, tally: Tally) -> Iterator[Clip]:
        columns = self._columns(split)
        read = {meaning: name for meaning, name in columns.items() if meaning not in ("audio", "id", "split")}
        there = self._splits[split].column_names or []
        extra = ["num_samples"] if "num_samples" in there else []
        rows = self._open([*read.values(), *extra])[split]
        rows = rows.select_columns([*read.values(), *extra]) if there else rows
        for number, row in enumerate(rows):
            tally.rows += 1
            values = {meaning: _words(rows, name, row.get(name)) for meaning, name in read.items()}
            place = f"{split}/{number}"
            if not is_asked_for(values.get("language", ""), self.language, tally, place):
                continue
            samples = row.get("num_samples")
            yield Clip(
                id=place,
                audio=place,
                text=values["text"],
                language=self.language,
                split=our_split(split) or "train",
                duration_s=samples / FLEURS_RATE_HZ if samples else parse_seconds(values.get("duration_s")),
                **{name: values.get(name, "") for name in ("speaker", "gender", "age", "accent", "licence")},
                translation=values.get("translation", ""),
            )

    def _bytes(self, clip: Clip, value: Any) -> bytes | RejectedClip:
        """The encoded audio of a row: in the row, or in a file that it names. What was only not reached is
        raised: it may be read later."""
        audio = value if isinstance(value, Mapping) else {"path": value}
        if isinstance(content := audio.get("bytes"), bytes):
            return content
        path = self._own(str(audio.get("path") or ""))
        if leads_out(path):
            detail = f"row {clip.audio} names {path[:80]!r}; want a path in the data set"
            return RejectedClip(clip=clip.id, reason="path outside the folder", detail=detail)
        try:
            if self._local and path:
                return Below(self._local).read(path, MAX_CLIP_BYTES)
            if path:
                with HfFileSystem().open(f"datasets/{self._source}@{self._revision[0]}/{path}", "rb") as file:
                    return read_at_most(file, MAX_CLIP_BYTES)
        except NotRegular as fault:
            return RejectedClip(clip=clip.id, reason="not a regular file", detail=f"{path[:80]!r} is {fault}")
        except TooLarge:
            pass
        except NETWORK as error:
            if self._may_pass(error):
                raise
        detail = f"row {clip.audio} holds no audio and names no file that can be read ({path[:80]!r})"
        return RejectedClip(clip=clip.id, reason="missing audio", detail=detail)

    def _own(self, path: str) -> str:
        """The path within the data set, where it names a file there; else the path as it is."""
        tops = [f"{self._local}/", f"{self._local.resolve()}/"] if self._local else []
        if not self._local:
            tops = [f"hf://datasets/{self._source}{at}/" for at in (f"@{self._revision[0]}", "")]
        return next((path.removeprefix(top) for top in tops if path.startswith(top)), path)

    def _identities(self) -> list[str]:
        if self._local:
            return [f"{path}\t{entry.stamp}" for path, entry in LocalPlace(self._local).files().items()]
        return [f"{self._source}\t{self._subset}\t{self._revision[0]}"]

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Addresses that the Hub signs are in no message: of errors of the network only the kind is told."""
        try:
            yield
        except GatedRepoError as error:
            raise CorpusError(
                f"{self._source} asks for its terms to be accepted: do so on its page, and set HF_TOKEN"
            ) from error
        except RepositoryNotFoundError as error:
            raise CorpusError(
                f"there is no data set {self._source!r} on the Hugging Face Hub, or it is private; check the "
                "name, or set HF_TOKEN"
            ) from error
        except (*NETWORK, ValueError, RuntimeError, DatasetsError) as error:
            raise self._trouble(error) from error

    def _trouble(self, error: Exception) -> CorpusError:
        if self._local and isinstance(error, OSError) and not isinstance(error, DatasetsError):
            return local_trouble(f"{self._local} cannot be read", error)
        passing = self._may_pass(error)
        if passing or (isinstance(error, NETWORK) and not isinstance(error, DatasetsError)):
            trouble = CorpusUnavailable if passing else CorpusError
            return trouble(
                f"the Hugging Face Hub was not reached for {self._source} ({hub.kind(error)}); check the "
                "network and HF_HUB_OFFLINE, or download the data set and give its folder"
            )
        reason = " ".join(str(error).split())[:400]
        return CorpusError(f"{self.name} cannot be read: {reason}; check source and subset")

    def _may_pass(self, error: Exception) -> bool:
        if self._local:
            return isinstance(error, OSError) and reading.may_pass(error)
        return hub.may_pass(error)


def fleurs_subset(language: str) -> str:
    """The subset of FLEURS in a language. Raises CorpusError."""
    for subset in FLEURS.split():
        if whisper_code(subset) == language:
            return subset
    raise CorpusError(f"google/fleurs has no subset for {language!r} that is known here; name it as subset")


def _saved_to_disk(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("dataset_dict.json", "state.json"))


def _undecoded(rows: Any) -> Rows:
    for column in _audio_columns(rows):
        rows = rows.cast_column(column, datasets.Audio(decode=False))
    return rows


def _audio_columns(rows: Any) -> list[str]:
    return [name for name, kind in (rows.features or {}).items() if isinstance(kind, datasets.Audio)]


def _is_parquet(splits: Mapping[str, Any]) -> bool:
    infos = [rows.info for rows in splits.values()]
    return all(info.builder_name == "parquet" for info in infos)


def _picked(rows: Any, column: str, numbers: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """(row number, value) of some rows; of a stream, those before the first are skipped."""
    if isinstance(rows, datasets.Dataset):
        chosen = rows.select_columns([column])
        yield from ((number, chosen[number][column]) for number in numbers if number < len(rows))
        return
    wanted, first, last = set(numbers), numbers[0], numbers[-1]
    stream: Iterable[Any] = rows.skip(first) if first else rows
    for number, row in enumerate(itertools.islice(stream, last - first + 1), start=first):
        if number in wanted:
            yield number, row[column]


def our_split(name: str) -> Split | None:
    """train of "train", "train.clean.100" or "train-other"."""
    return SPLIT_NAMES.get(re.split(r"[^a-z]", name.lower())[0])


def _words(rows: Any, column: str, value: Any) -> str:
    """A value as text; of a class, its name."""
    kind = (rows.features or {}).get(column)
    if isinstance(kind, datasets.ClassLabel) and isinstance(value, int) and 0 <= value < kind.num_classes:
        return str(kind.int2str(value))
    return "" if value is None else str(value)
