"""The model registry API. A model's files are in the dataset Models; here is what is registered."""

# ruff: noqa: ARG002 - every handler takes the request

from __future__ import annotations

import re
import struct
import time
from typing import Any

from emulator_features import PROJECT_ID
from emulator_files import Files
from emulator_http import Answer, Refusal, Request, Routes
from emulator_state import State
from emulator_views import Views, key, node

NAME = re.compile(r"[A-Za-z0-9_]+")
MODEL_NOT_FOUND = (404, 360000, "Model not found.")
NO_TAG_SCHEMA = (404, 370000, "Schema not found.")


class Models:
    """Registered versions by the id NAME_VERSION."""

    def __init__(self, state: State, files: Files, views: Views) -> None:
        self.state, self.files, self.views = state, files, views

    def routes(self, routes: Routes, project: str) -> None:
        models = f"{project}/modelregistries/{PROJECT_ID}/models"
        model = models + "/{identity}"
        routes.add("GET", models, self.listing)
        routes.add("PUT", model, self.register)
        routes.add("GET", model, self.one)
        routes.add("PATCH", model, self.update)
        routes.add("DELETE", model, self.delete)
        routes.add("GET", model + "/tags", self.no_tags)
        routes.add("GET PUT DELETE", model + "/tags/{name}", self.no_tag_schema)
        routes.add("GET", model + "/provenance/links", self.links)

    def register(self, request: Request, identity: str) -> Answer:
        """An existing version is overwritten. What the server does then is not known."""
        model = request.json()
        if not NAME.fullmatch(model["name"]):
            raise Refusal(422, 120004, "Illegal model name")
        view, dataset = model.pop("featureView", None), model.get("trainingDatasetVersion")
        if view and dataset:  # a view alone is not recorded: the link goes through the training dataset
            model["madeFrom"] = [key(view["name"], view["version"]), dataset]
        model |= {
            "id": identity,
            "modelRegistryId": PROJECT_ID,
            "projectName": self.files.project,
            "created": int(time.time() * 1000),
            "userFullName": "Emulated User",
            "creator": {"email": "emulated@example.com", "firstname": "Emulated", "lastname": "User"},
            "metrics": {name: float(value) for name, value in (model.get("metrics") or {}).items()},
            "trainingDatasetVersion": dataset or 0,
        }
        self.state.put("model", identity, model)
        return Answer(self._told(model), 201)

    def model(self, identity: str) -> dict[str, Any]:
        found = self.state.get("model", identity)
        if found is None:
            raise Refusal(*MODEL_NOT_FOUND)
        return found

    def one(self, request: Request, identity: str) -> dict[str, Any]:
        return self._told(self.model(identity))

    def listing(self, request: Request) -> dict[str, Any]:
        """Filtered by `name_eq`, sorted by a metric: numbers as float32, versions without it last."""
        models = self.state.all("model")
        named = re.fullmatch(r"name_eq:(.*)", request.get("filter_by") or "")
        if named:
            models = [model for model in models if model["name"] == named[1]]
        metric, _, direction = (request.get("sort_by") or "").partition(":")
        if metric == "name":
            models.sort(key=lambda model: model["name"], reverse=direction == "desc")
        elif metric:
            having = [model for model in models if metric in model["metrics"]]
            having.sort(key=lambda model: as_float32(model["metrics"][metric]), reverse=direction == "desc")
            models = having + [model for model in models if metric not in model["metrics"]]
        first = request.number("offset", 0)
        shown = models[first : first + (request.number("limit", 0) or len(models))]
        told = {"count": len(models)}
        return told | {"items": [self._told(model) for model in shown]} if shown else {"count": 0}

    def update(self, request: Request, identity: str) -> dict[str, Any]:
        model = self.model(identity) | {"framework": request.json().get("framework")}
        self.state.put("model", identity, model)
        return self._told(model)

    def delete(self, request: Request, identity: str) -> Answer:
        """The registration and the folder of its files, if there is one."""
        model = self.model(identity)
        with self.files.lock:
            place = self.files.home / "Models" / model["name"] / str(model["version"])
            if place.exists():
                self.files.remove(place)
            self.state.delete("model", identity)
        return Answer()

    def no_tags(self, request: Request, identity: str) -> dict[str, Any]:
        self.model(identity)
        return {"count": 0, "items": []}

    def no_tag_schema(self, request: Request, identity: str, name: str) -> Any:
        """A tag needs a schema that an administrator makes first; the emulator has none."""
        self.model(identity)
        raise Refusal(*NO_TAG_SCHEMA)

    def links(self, request: Request, identity: str) -> dict[str, Any]:
        """Parents: the training dataset, and its feature view behind it."""
        model = self.model(identity)
        upstream = []
        if model.get("madeFrom"):
            view_key, number = model["madeFrom"]
            view = self.state.get("view", view_key)
            dataset = self.state.get("dataset", key(view_key, number))
            if view and dataset:
                behind = [node("FEATURE_VIEW", self.views.told(view))]
                upstream = [node("TRAINING_DATASET", dataset, upstream=behind)]
        return node("MODEL", self._told(model), upstream=upstream)

    def _told(self, model: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in model.items() if name != "madeFrom"}


def as_float32(value: float) -> float:
    return struct.unpack("f", struct.pack("f", value))[0]
