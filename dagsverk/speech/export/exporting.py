"""A version -> its forms for other engines: converted, loaded again, compared with the weights, then kept.

Safe to repeat, and to be killed at any line: archives are written by key, the record that makes them count
comes last, and an export that is there is used.
"""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from dagsverk.speech import exports
from dagsverk.speech.config import Windows
from dagsverk.speech.errors import ModelError
from dagsverk.speech.export import conversion, parity
from dagsverk.speech.export.elsewhere import archive_name, how_to_run
from dagsverk.speech.exports import FORMS, Export, Exported, Parity
from dagsverk.speech.features import shards
from dagsverk.speech.features.prepared import PreparedClips, draw, open_prepared
from dagsverk.speech.languages import Language
from dagsverk.speech.model.models import SpeechModel, load_model
from dagsverk.speech.serving.ctranslate_engine import load_engine
from dagsverk.store import Model, NotFound, Store
from dagsverk.version import code_version

DATE = (1980, 1, 1, 0, 0, 0)  # of every file in an archive: equal files make equal archives


def export(store: Store, language: Language, model: Model, cache: Path) -> tuple[Export, bool]:
    """The version in every form that says what its weights say, and whether this call made it.

    Args: cache: a folder for copies of shards.
    Raises: NotFound if there are no clips to check it on; ModelError if the version's own files are no model.
    """
    before = exports.kept(store, language, model)
    if before is not None:
        return before, False
    set_id, clips = _clips(store, language, model, cache)
    with TemporaryDirectory(prefix="dagsverk-") as path:
        folder = store.download(model, Path(path) / "model")
        weights = load_model(str(folder), language=language.code)
        weights.name = f"{model.name} {model.version}"
        # asked for once something is converted: to decode the clips costs far more than to convert
        checked = functools.cache(lambda: parity.check_set(weights, clips, _modes(weights, model)))
        forms = tuple(
            _form(store, language, model, folder, weights, checked, form, Path(path) / form) for form in FORMS
        )
    made = Export(
        model=model.name,
        version=model.version,
        key=exports.export_key(model),
        forms=forms,
        checked_on=set_id,
        code=code_version(),
    )
    exports.keep(store, language, model, made)
    return made, True


def _form(
    store: Store,
    language: Language,
    model: Model,
    folder: Path,
    weights: SpeechModel,
    checked: Callable[[], parity.CheckSet],
    form: str,
    target: Path,
) -> Exported:
    """One form, its archive in the store if it passed."""
    try:
        conversion.convert(weights, folder, form, target)
        compared = tuple(_compared(target, checked(), mode, form) for mode in checked().own_texts)
    except ModelError as error:
        return Exported(form=form, refused=str(error))
    refused = "; ".join(reason for one in compared if (reason := parity.refusal(one)))
    judged = Exported(form=form, refused=refused, parity=compared)
    if refused:
        return judged
    conversion.readme(target, how_to_run(language, model, judged), folder / "README.md")
    archive = _archive(target, archive_name(model, form))
    path = f"{exports.export_folder(language, model)}/{form}.zip"
    return replace(judged, path=path, sha256=store.put_file(path, archive), bytes=archive.stat().st_size)


def _compared(target: Path, checked: parity.CheckSet, mode: Windows, form: str) -> Parity:
    """The converted model, loaded again, beside its weights. Raises ModelError."""
    name = f"{checked.model.name} {form}"
    engine = load_engine(target, name, language=checked.language, windows=mode)
    if not engine.is_multilingual:
        raise ModelError(f"CTranslate2 takes {name} for a model of English alone: it stays on torch")
    return parity.compare(engine, checked, mode)


def _clips(store: Store, language: Language, model: Model, cache: Path) -> tuple[str, PreparedClips]:
    """The set that the version was trained with, else the newest; and its clips of test and dev, or some."""
    set_id = str(model.info["set"]) if "set" in model.info else shards.newest(store, language.code)
    clips = open_prepared(store, set_id, ("test", "dev"), cache)
    if not len(clips):
        raise NotFound(
            f"the set {set_id} has no clips of test or dev to check {model.name} {model.version} on; prepare "
            f"one that has: prefect deployment run speech-features/{language.name}"
        )
    return set_id, clips.only(draw(clips, parity.MOST_CLIPS, seed=0))


def _modes(weights: SpeechModel, model: Model) -> Sequence[Windows]:
    """The mode that it is served in, and the other one where it was scored and is not refused."""
    scored = [mode for mode in ("true_length", "full") if mode in (model.info.get("modes") or {})]
    others = [mode for mode in scored if mode not in (weights.windows, *weights.refused_windows)]
    return [weights.windows, *others]  # type: ignore[list-item]


def _archive(folder: Path, name: str) -> Path:
    """The folder's files in one archive, below a folder of that name; stored, for weights hardly shrink."""
    target = folder.with_suffix(".zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.iterdir()):
            entry = zipfile.ZipInfo(f"{name}/{path.name}", DATE)
            entry.external_attr = 0o644 << 16
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as sink:
                while block := source.read(1 << 20):
                    sink.write(block)
    return target
