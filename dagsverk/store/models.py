"""The model registry as files.

Layout below `models/{name}/`:
    uploads/{time}-{random}/...    the files of one save
    versions/000001.json           a version: metrics, info, its upload, and the SHA-256 of each file
    promotions/000001.json         a champion: version, moment, reason; the greatest number is in use

A save uploads all files first and claims the version last, by creating its record exclusively. So a killed
writer leaves an upload that no version names, and two writers get two versions.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
import numbers
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from dagsverk.store.encoding import encode, read_object
from dagsverk.store.files import ABANDONED_S, Files, checked_path
from dagsverk.store.protocol import (
    METRIC_NAME,
    MODEL_NAME,
    Conflict,
    Model,
    NotFound,
    SchemaError,
    StoreError,
)

STAMP = "%Y%m%dT%H%M%SZ"
DESCRIBED = ("metrics", "description", "info", "files", "input_example", "schema")  # what a version is


class FileModels:
    """A ModelRegistry on Files."""

    url: str
    _files: Files

    def save_model(
        self,
        name: str,
        folder: Path,
        *,
        metrics: Mapping[str, float],
        description: str = "",
        info: Mapping[str, Any] | None = None,
        input_example: Mapping[str, Any] | None = None,
        schema: Mapping[str, str] | None = None,
    ) -> Model:
        """Copy the folder's files into a new version, visible only when complete.

        Saving the very same again returns the version that has it. Raises SchemaError.
        """
        _folder_of(name)
        content = {
            "description": description,
            "metrics": checked_metrics(metrics),
            "info": _plain("info", dict(info or {})),
            "input_example": _plain(
                "input_example", dict(input_example) if input_example is not None else None
            ),
            "schema": _plain("schema", dict(schema) if schema is not None else None),
            "files": _hashes(Path(folder)),
        }
        return self._same(name, content) or self._add(name, Path(folder), content)

    def model_names(self) -> list[str]:
        """Names under which a version was saved, sorted."""
        paths = (path.split("/") for path in self._files.paths("models"))
        return sorted({parts[1] for parts in paths if parts[2] == "versions"})

    def restore_model(self, model: Model, folder: Path) -> None:
        """Register a version of another store as that version, with its moment; there already: nothing.

        Raises: Conflict if the version is there and is another; SchemaError if the folder holds other files.
        """
        top, folder = _folder_of(model.name), Path(folder)
        content = {key: getattr(model, key) for key in DESCRIBED}
        if _hashes(folder) != content["files"]:
            raise SchemaError(f"cannot restore {_title(model)} from {folder}: it holds other files")
        if model.version not in self._numbers(f"{top}/versions"):
            upload = self._keep(model.name, model.version, folder, content)
            self._record_version(model.name, model.version, model.created, upload, content)
        restored = self.model(model.name, model.version)
        if any(getattr(restored, key) != value for key, value in content.items()):
            raise Conflict(f"{_title(model)} in {self.url} is another one; copy into a new store")

    def restore_promotions(self, name: str, promotions: Sequence[Mapping[str, Any]]) -> None:
        """Make the promotions of another store, oldest first; those that are there already are left alone.

        Raises Conflict if others are there."""
        for number, record in enumerate(promotions, 1):
            path = f"{_folder_of(name)}/promotions/{number:06d}.json"
            if not self._files.create(path, encode(record)) and self._promotion(name, number) != dict(record):
                raise Conflict(
                    f"promotion {number} of {name!r} in {self.url} is another one; copy into a new store"
                )

    def model(self, name: str, version: int) -> Model:
        """Raises NotFound."""
        return _model(name, version, self._record(name, version))

    def models(self, name: str) -> list[Model]:
        """All complete versions, ascending; [] for an unknown name."""
        return [self.model(name, version) for version in self._numbers(f"{_folder_of(name)}/versions")]

    def best(self, name: str, metric: str, mode: Literal["min", "max"]) -> Model:
        """The best version that has the metric; of equals the newest. Raises NotFound."""
        if mode not in ("min", "max"):
            raise SchemaError(f"best {name!r} by {metric!r}: want mode 'min' or 'max', got {mode!r}")
        scored = [model for model in self.models(name) if metric in model.metrics]
        if not scored:
            raise NotFound(f"no version of model {name!r} in {self.url} has the metric {metric!r}")
        sign = 1 if mode == "max" else -1
        return max(scored, key=lambda model: (sign * model.metrics[metric], model.version))

    def champion(self, name: str) -> Model | None:
        """The version in use, None before the first promotion."""
        numbers_ = self._numbers(f"{_folder_of(name)}/promotions")
        return self.model(name, int(self._promotion(name, numbers_[-1])["version"])) if numbers_ else None

    def champions(self, name: str) -> list[Mapping[str, Any]]:
        """All promotions, oldest first: {"version", "promoted_at" (ISO 8601, UTC), "reason"}."""
        return [self._promotion(name, number) for number in self._numbers(f"{_folder_of(name)}/promotions")]

    def promote(self, name: str, version: int, *, reason: str, expected: int | None) -> None:
        """Make `version` the champion. `expected` is the version that the caller believes is champion now
        (None: none is); Conflict if another one is. Promoting the present champion again changes nothing.
        Raises NotFound."""
        model = self.model(name, version)
        while True:
            done = self._numbers(f"{_folder_of(name)}/promotions")
            current = int(self._promotion(name, done[-1])["version"]) if done else None
            if current == model.version:
                return
            if current != expected:
                raise Conflict(
                    f"model {name!r} in {self.url}: version {version} was to follow {_words(expected)}, "
                    f"but {_words(current)} is champion; compare with it and promote again"
                )
            record = {"version": model.version, "promoted_at": _now().isoformat(), "reason": reason}
            path = f"{_folder_of(name)}/promotions/{(done[-1] if done else 0) + 1:06d}.json"
            if self._files.create(path, encode(record)):
                return

    def download(self, model: Model, folder: Path) -> Path:
        """Exactly the files saved, into `folder`, each checked against its SHA-256.

        `folder` must be absent, empty, or hold these very files already.
        Raises: StoreError naming the file when one was changed, is missing or is extra; Conflict if `folder`
        holds something else.
        """
        record = self._record(model.name, model.version)
        files: dict[str, str] = record["files"]
        upload = self._kept_at(model.name, checked_path(record["upload"]))
        for path in files:
            checked_path(path)
        folder = Path(folder)
        if folder.exists() and any(folder.iterdir()):
            if _hashes(folder) != files:
                raise Conflict(f"cannot download {_title(model)} into {folder}: it holds something else")
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            whole = Path(temporary) / "files"
            self._fetch(model, upload, files, whole)
            whole.replace(folder)  # a killed download leaves no half folder
        return folder

    def _fetch(self, model: Model, upload: str, files: Mapping[str, str], target: Path) -> None:
        stored = self._kept_names(upload)
        for problem, names in (
            ("lacks", set(files) - stored),
            ("has, besides its own,", stored - set(files)),
        ):
            if names:
                raise StoreError(
                    f"{_title(model)} in {self.url} {problem} the file {sorted(names)[0]!r}; it was tampered "
                    "with: restore it, or train and promote another version"
                )
        for path, digest in files.items():
            if self._kept_file(upload, path, target / path) != digest:
                raise StoreError(
                    f"{_title(model)} in {self.url}: the file {path!r} is not the one that was saved "
                    "(SHA-256 differs); restore it, or train and promote another version"
                )

    def _kept_at(self, name: str, upload: str) -> str:
        """The folder of a version's files, by what its record says."""
        return f"{_folder_of(name)}/uploads/{upload}"

    def _kept_names(self, upload: str) -> set[str]:
        """Names of the files that are there."""
        return {path.removeprefix(f"{upload}/") for path in self._files.paths(upload)}

    def _kept_file(self, upload: str, path: str, target: Path) -> str:
        """Copy one of them to a local path. Returns its SHA-256."""
        return self._files.download(f"{upload}/{path}", target)

    def _add(self, name: str, folder: Path, content: dict[str, Any]) -> Model:
        """Keep the files, then claim the next version for them."""
        upload = self._upload(_folder_of(name), folder, content["files"])
        return self._claim_version(name, upload, content)

    def _keep(self, name: str, version: int, folder: Path, content: Mapping[str, Any]) -> str:  # noqa: ARG002
        """Copy the files of a version of another store; where they are."""
        return self._upload(_folder_of(name), folder, content["files"])

    def _upload(self, top: str, folder: Path, files: Mapping[str, str]) -> str:
        started = _now()
        upload = f"{started.strftime(STAMP)}-{uuid.uuid4().hex[:8]}"
        for path, digest in files.items():
            if self._files.upload(folder / path, f"{top}/uploads/{upload}/{path}") != digest:
                raise StoreError(f"{folder / path} changed while it was being saved; nothing was registered")
        if (_now() - started).total_seconds() > ABANDONED_S / 2:  # soon a sweep would take it for abandoned
            raise StoreError(
                f"saving {folder} took over {ABANDONED_S / 7200:.0f} h; nothing was registered, save again"
            )
        return upload

    def _claim_version(self, name: str, upload: str, content: dict[str, Any]) -> Model:
        top = _folder_of(name)
        while True:
            taken = self._numbers(f"{top}/versions")  # before comparing: a later one makes the claim fail
            if same := self._same(name, content):  # another writer had the same to save, and was first
                self._files.remove(f"{top}/uploads/{upload}")
                return same
            version = max(taken, default=0) + 1
            if self._record_version(name, version, _now(), upload, content):
                self._sweep(top)
                return self.model(name, version)

    def _record_version(
        self, name: str, version: int, created: dt.datetime, upload: str, content: Mapping[str, Any]
    ) -> bool:
        """Complete a version; False if it is taken."""
        record = {"name": name, "version": version, "created": created.isoformat(), "upload": upload}
        return self._files.create(
            f"{_folder_of(name)}/versions/{version:06d}.json", encode({**record, **content})
        )

    def _same(self, name: str, content: Mapping[str, Any]) -> Model | None:
        for version in reversed(self._numbers(f"{_folder_of(name)}/versions")):
            record = self._record(name, version)
            if all(record.get(key) == value for key, value in content.items()):
                return _model(name, version, record)
        return None

    def _sweep(self, top: str) -> None:
        """Remove uploads of killed writers: older than a day and named by no version."""
        oldest = (_now() - dt.timedelta(seconds=ABANDONED_S)).strftime(STAMP)
        uploads = {
            path.removeprefix(f"{top}/uploads/").split("/")[0] for path in self._files.paths(f"{top}/uploads")
        }
        if abandoned := {upload for upload in uploads if upload < oldest}:
            name = top.rsplit("/", 1)[-1]
            named = {self._record(name, version)["upload"] for version in self._numbers(f"{top}/versions")}
            for upload in sorted(abandoned - named):
                self._files.remove(f"{top}/uploads/{upload}")

    def _numbers(self, folder: str) -> list[int]:
        names = (path.rsplit("/", 1)[-1] for path in self._files.paths(folder))
        return sorted(int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdecimal())

    def _record(self, name: str, version: int) -> dict[str, Any]:
        path = f"{_folder_of(name)}/versions/{int(version):06d}.json"
        try:
            return read_object(self._files, path)
        except NotFound as error:
            versions = ", ".join(map(str, self._numbers(f"{_folder_of(name)}/versions"))) or "none"
            raise NotFound(
                f"no version {version} of model {name!r} in {self.url} (versions: {versions}); train it first"
            ) from error

    def _promotion(self, name: str, number: int) -> dict[str, Any]:
        return read_object(self._files, f"{_folder_of(name)}/promotions/{number:06d}.json")


def checked_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics as plain floats. Raises SchemaError for a name or a value that a registry cannot keep."""
    for name, value in metrics.items():
        if not METRIC_NAME.fullmatch(name) or name.lower() == "name":
            raise SchemaError(f"illegal metric name {name!r}: want {METRIC_NAME.pattern}, and not 'name'")
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
            raise SchemaError(f"metric {name} = {value!r}: want a finite number")
    return {name: float(value) for name, value in metrics.items()}


def _folder_of(name: str) -> str:
    if not MODEL_NAME.fullmatch(name):
        raise SchemaError(f"illegal model name {name!r}: want {MODEL_NAME.pattern}")
    return f"models/{name}"


def _hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each file in the folder and below it, by relative path. Raises SchemaError."""
    if not folder.is_dir():
        raise SchemaError(f"cannot save a model from {folder}: it is not a folder")
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    if not paths:
        raise SchemaError(f"cannot save a model from {folder}: it holds no files")
    hashes = {}
    for path in paths:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        hashes[checked_path(path.relative_to(folder).as_posix())] = digest
    return hashes


def _plain(what: str, value: Any) -> Any:
    """The value as JSON gives it back. Raises SchemaError."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise SchemaError(
            f"a model's {what} must be plain JSON (text, finite numbers, lists): {error}"
        ) from error


def _model(name: str, version: int, record: Mapping[str, Any]) -> Model:
    created = dt.datetime.fromisoformat(record["created"])
    described = {key: record[key] for key in DESCRIBED}
    return Model(name=name, version=version, created=created, **described)


def _title(model: Model) -> str:
    return f"model {model.name!r} version {model.version}"


def _words(version: int | None) -> str:
    return "no champion" if version is None else f"version {version}"


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
