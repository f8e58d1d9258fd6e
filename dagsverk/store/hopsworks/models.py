"""Models of a store in Hopsworks' model registry.

A version number is claimed first, by a file that only one writer can create; then the SDK uploads the model
and registers it; it is looked at, and last its record is created. So a version without record, which is what
a killed or failed save leaves, does not exist for us, and its number is not used again. Records and
promotions are files as in `models`, beside claims/000001.json.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hopsworks_common.client.exceptions import ModelRegistryException
from hsml.model_schema import ModelSchema
from hsml.schema import Schema

from dagsverk.store.encoding import encode, read_object
from dagsverk.store.files import ABANDONED_S
from dagsverk.store.hopsworks.connection import Connection, again, errors
from dagsverk.store.hopsworks.files import decoded, encoded
from dagsverk.store.hopsworks.hopsfs import HopsFS, local_folder
from dagsverk.store.models import FileModels
from dagsverk.store.protocol import Conflict, Model, NotFound, StoreError, Unavailable

logger = logging.getLogger(__name__)

RECORD = "dagsverk.json"  # inside the model's files, for those who find it in Hopsworks
REGISTRATION_S = 120
ATTEMPTS = 3
EXISTS = (
    110012,
    110047,
)  # file or folder is there: in a folder of ours alone, by a try whose answer was lost

_saves: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)  # one save of a name at a time


class HopsworksModels(FileModels):
    """A ModelRegistry in Hopsworks."""

    _connection: Connection
    _prefix: str

    def _add(self, name: str, folder: Path, content: dict[str, Any]) -> Model:
        with _saves[f"{self.url} {name}"]:
            for attempt in range(ATTEMPTS):
                if same := self._same(name, content):  # saved by another thread meanwhile
                    return same
                version = self._claim_number(name)
                try:
                    upload = self._register_version(name, version, folder, content)
                except StoreError as error:
                    if attempt == ATTEMPTS - 1:
                        raise
                    logger.warning("%s version %d is given up, the next is tried: %s", name, version, error)
                else:
                    if same := self._same(name, content):  # by another process: one of two is enough
                        self._discard(name, version)
                        return same
                    self._record_version(name, version, _now(), upload, content)
                    self._sweep(f"models/{name}")
                    return self.model(name, version)
        raise AssertionError("unreachable")

    def _claim_number(self, name: str) -> int:
        """A version number that is this writer's alone."""
        while True:
            taken = {*self._numbers(f"models/{name}/claims"), *self._numbers(f"models/{name}/versions")}
            version = max(taken | self._numbers_of_others(name), default=0) + 1
            if self._files.create(_claim_path(name, version), _claim()):
                return version

    def _numbers_of_others(self, name: str) -> set[int]:
        """Version numbers that the registry or its folder has, of whomever."""
        names = [entry.name for entry in HopsFS(self._connection).entries(f"Models/{self._named(name)}")]
        registered = again(lambda: self._registered(name))
        return registered | {int(name) for name in names if name.isdecimal()}

    def _registered(self, name: str) -> set[int]:
        with errors(self._connection.address.url, "list the versions of", name):
            return {int(model.version) for model in self._connection.models.get_models(self._named(name))}

    def _keep(self, name: str, version: int, folder: Path, content: Mapping[str, Any]) -> str:
        """Register the files as a version of another store; where they are. Raises Conflict if somebody else
        has used its number."""
        ours = not self._files.create(_claim_path(name, version), _claim())  # by a copy that was killed
        if HopsFS(self._connection).entry(f"Models/{self._named(name)}/{version}") is not None:
            if not ours:
                raise Conflict(
                    f"version {version} of model {self._named(name)} in {self.url} is somebody else's; "
                    "use a prefix: hopsworks://HOST/PROJECT/PREFIX"
                )
            self._discard(name, version)
        return self._register_version(name, version, folder, content)

    def _register_version(self, name: str, version: int, folder: Path, content: Mapping[str, Any]) -> str:
        """Register the files as a version; where they are. What a failure leaves is removed."""
        place = f"{self._named(name)}/{version}"
        try:
            with local_folder() as stage:
                _stage(folder, content["files"], _record(name, version, content), Path(stage))
                self._save(name, version, Path(stage), content)
            self._check_whole(place, content["files"])
        except BaseException as error:
            if not isinstance(error.__cause__, ModelRegistryException):  # else somebody else was first
                self._discard(name, version)
            if getattr(error.__cause__, "error_code", None) in EXISTS:
                raise Unavailable(f"{error}: an answer was lost on the way; try again") from error
            raise
        return place

    def _check_whole(self, place: str, files: Mapping[str, str]) -> None:
        kept = {entry.path for entry in HopsFS(self._connection).files(f"Models/{place}/Files")}
        if kept != {f"Models/{place}/Files/{encoded(path)}" for path in (*files, RECORD)}:
            raise StoreError(
                f"model {place} in {self.url} was registered without all of its files; try again"
            )

    def _save(self, name: str, version: int, stage: Path, content: Mapping[str, Any]) -> None:
        address = self._connection.address.url
        view = self._view(name, content)
        with errors(address, "register the model", f"{name} version {version}"):
            model = self._connection.models.python.create_model(
                self._named(name),
                version=version,
                metrics=dict(content["metrics"]),
                description=content["description"],
                input_example=content["input_example"],
                model_schema=_model_schema(content),
                feature_view=view,
            )
            # The SDK's own look comes after five seconds, and never if it is told to wait for fewer
            model._model_engine._poll_model_available = lambda model, _: self._appeared(model)
            model.save(str(stage), await_registration=REGISTRATION_S)

    def _appeared(self, saved: Any) -> Any:
        """The version as the registry has it. Raises Unavailable if it does not come to have it."""
        deadline, pause_s = time.monotonic() + REGISTRATION_S, 0.1
        while (model := self._connection.models.get_model(saved.name, saved.version)) is None:
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"model {saved.name} version {saved.version} was uploaded to {self.url}, but did not "
                    f"appear within {REGISTRATION_S} s; try again"
                )
            time.sleep(pause_s)
            pause_s = min(5.0, 2 * pause_s)
        return model

    def _view(self, name: str, content: Mapping[str, Any]) -> Any:
        """A feature view of what the model is trained on, for lineage; None if that is no table, or if it
        cannot be made, as a model is worth more than its lineage in a user interface."""
        lineage, schema = content["info"].get("lineage"), content["schema"]
        if not schema or not isinstance(lineage, Mapping) or not {"table", "label"} <= set(lineage):
            return None
        features, title = self._connection.features, self._named(name)
        try:
            with errors(self._connection.address.url, "make the feature view", title):
                group = features.get_feature_group(
                    self._named(lineage["table"]), int(lineage.get("table_version", 1))
                )
                columns = (
                    [column.name for column in columns_of(group) if column.name in schema] if group else []
                )
                if set(columns) != set(schema):
                    return None
                views = {int(view.version): view for view in features.get_feature_views(title) or []}
                for view in views.values():
                    if [feature.name for feature in view.features] == columns:
                        return view
                return features.create_feature_view(
                    title,
                    query=group.select(columns),
                    version=max(views, default=0) + 1,
                    labels=[lineage["label"]],
                    description=content["description"],
                )
        except StoreError as error:
            logger.warning("model %s is registered without a feature view: %s", name, error)
            return None

    def _discard(self, name: str, version: int) -> None:
        """Remove what is left of a version that was not completed, as far as the server answers; not one that
        somebody else has registered under this number."""
        place = f"{self._named(name)}/{version}"
        files = HopsFS(self._connection)
        try:
            with errors(self._connection.address.url, "remove the model", place):
                left = self._connection.models.get_model(self._named(name), version)
                if (
                    left
                    and files.entry(f"Models/{place}")
                    and not files.entry(f"Models/{place}/Files/{RECORD}")
                ):
                    return
                if left:
                    left.delete()
            files.remove(f"Models/{place}")
        except StoreError as error:
            logger.warning("what is left of model %s is removed by a later save: %s", place, error)

    def _sweep(self, top: str) -> None:
        """Remove what is left of versions that were claimed more than a day ago and never completed."""
        name = top.removeprefix("models/")
        for version in set(self._numbers(f"{top}/claims")) - set(self._numbers(f"{top}/versions")):
            claim = read_object(self._files, _claim_path(name, version))
            if "swept" not in claim and _age_s(claim["at"]) > ABANDONED_S:
                self._discard(name, version)
                self._files.write(_claim_path(name, version), encode({**claim, "swept": True}))

    def _kept_at(self, name: str, upload: str) -> str:  # noqa: ARG002
        return f"Models/{upload}/Files"

    def _kept_names(self, upload: str) -> set[str]:
        """Raises NotFound if the version was deleted in Hopsworks, where nobody knows our record of it."""
        files = HopsFS(self._connection)
        if files.entry(upload) is None:
            raise NotFound(
                f"{upload} is not in {self.url} any more: the version was deleted in Hopsworks; train and "
                "promote another one"
            )
        paths = (entry.path for entry in files.files(upload))
        return {decoded(path.removeprefix(f"{upload}/")) for path in paths} - {RECORD}

    def _kept_file(self, upload: str, path: str, target: Path) -> str:
        return HopsFS(self._connection).download(f"{upload}/{encoded(path)}", target)

    def _named(self, name: str) -> str:
        """A table's or a model's name in the project: no two prefixes make one name of two."""
        return f"{self._prefix}__{name}" if self._prefix else name


def columns_of(group: Any) -> list[Any]:
    """A feature group's features, under the name that the installed SDK has for them."""
    features: list[Any] = group.columns if hasattr(group, "columns") else group.features
    return features


def _stage(folder: Path, files: Mapping[str, str], record: bytes, stage: Path) -> None:
    """Lay the files out as they are to be named in Hopsworks, without copying them."""
    for path in files:
        link = stage / encoded(path)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((folder / path).resolve())
    (stage / RECORD).write_bytes(record)


def _record(name: str, version: int, content: Mapping[str, Any]) -> bytes:
    return encode({"name": name, "version": version, **content})


def _model_schema(content: Mapping[str, Any]) -> ModelSchema | None:
    if not content["schema"]:
        return None
    label = (content["info"].get("lineage") or {}).get("label")
    columns = [{"name": name, "type": kind} for name, kind in content["schema"].items()]
    inputs = [column for column in columns if column["name"] != label]
    outputs = [column for column in columns if column["name"] == label]
    return ModelSchema(input_schema=Schema(inputs), output_schema=Schema(outputs) if outputs else None)


def _claim_path(name: str, version: int) -> str:
    return f"models/{name}/claims/{version:06d}.json"


def _claim() -> bytes:
    return encode({"at": _now().isoformat()})


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _age_s(moment: str) -> float:
    return (_now() - dt.datetime.fromisoformat(moment)).total_seconds()
