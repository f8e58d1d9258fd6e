"""Feature views, their training datasets, the queries they stand for, and who comes from whom."""

# ruff: noqa: ARG002 - every handler takes the request

from __future__ import annotations

import base64
import datetime as dt
import json
import time
from typing import Any

from emulator_features import FEATURE_STORE_ID, ILLEGAL_GROUP, NAME, Features
from emulator_files import iso
from emulator_http import Answer, Refusal, Request, Routes
from emulator_state import State

VIEW_NOT_FOUND = (404, 270181, "Feature view wasn't found.")
VIEW_EXISTS = (400, 270179, "The feature view you are trying to create does already exist.")
GROUP_DELETED = (400, 270113, "Cannot generate query, some feature groups were deleted")
TRAINING_DATASET_NOT_FOUND = (404, 270012, "Training dataset wasn't found.")


class Views:
    """Feature views by name and version. What they select is stored with the ids of its groups."""

    def __init__(self, state: State, features: Features) -> None:
        self.state, self.features = state, features

    def routes(self, routes: Routes, project: str, store: str) -> None:
        routes.add("PUT", project + "/featurestores/query", self.construct)
        views = store + "/featureview"
        view = views + "/{name}/version/{version}"
        dataset = view + "/trainingdatasets"
        routes.add("POST", views, self.create)
        routes.add("GET", views, self.every_view)
        routes.add("GET", views + "/{name}", self.by_name)
        routes.add("DELETE", views + "/{name}", self.delete_name)
        routes.add("GET", view, self.one)
        routes.add("PUT", view, self.update)
        routes.add("DELETE", view, self.delete)
        routes.add("GET", view + "/query/batch", self.batch_query)
        routes.add("GET", view + "/provenance/links", self.links)
        routes.add("POST", dataset, self.create_dataset)
        routes.add("GET", dataset, self.datasets)
        routes.add("DELETE", dataset, self.delete_datasets)
        routes.add("GET", dataset + "/version/{number}", self.dataset)
        routes.add("DELETE", dataset + "/version/{number}", self.delete_dataset)
        routes.add("POST", dataset + "/version/{number}/statistics", self.statistics)

    def construct(self, request: Request) -> dict[str, Any]:
        """The query as the Query Service takes it: opaque to the SDK, signed by the server."""
        payload = base64.b64encode(json.dumps(slim(request.json())).encode()).decode()
        return {
            "query": "SELECT",
            "hqsPayload": payload,
            "hqsPayloadSignature": "emulated",
            "onDemandFeatureGroups": [],
            "hudiCachedFeatureGroups": [],
        }

    def create(self, request: Request) -> Answer:
        view = request.json()
        if not NAME.fullmatch(view["name"]):
            raise Refusal(*ILLEGAL_GROUP)
        with self.state.lock:
            taken = [one["version"] for one in self.state.all("view") if one["name"] == view["name"]]
            view["version"] = view.get("version") or max(taken, default=0) + 1
            if view["version"] in taken:
                raise Refusal(*VIEW_EXISTS)
            view |= {
                "id": self.state.next_id(),
                "query": slim(view["query"]),
                "labels": [one["name"] for one in view.get("features") or [] if one.get("label")],
                "featurestoreId": FEATURE_STORE_ID,
                "featurestoreName": f"{self.features.project}_featurestore",
                "created": iso(time.time()),
            }
            view["groups"] = groups_of(view["query"])
            self.state.put("view", key(view["name"], view["version"]), view)
        return Answer(self.told(view), 201)

    def told(self, view: dict[str, Any]) -> dict[str, Any]:
        """A stored view as the server describes it: with its groups, features and serving keys."""
        query = self.full(view["query"])
        parts = [query, *(join["query"] for join in query["joins"])]
        features = [
            {
                "name": feature["name"],
                "type": feature.get("type"),
                "label": feature["name"] in view["labels"],
                "featuregroup": part["leftFeatureGroup"],
            }
            for part in parts
            for feature in part["leftFeatures"]
        ]
        left = query["leftFeatureGroup"]
        keys = [
            {"featureName": one["name"], "prefix": "", "required": True, "joinIndex": 0, "featureGroup": left}
            for one in left["features"]
            if one.get("primary")
        ]
        numbered = [feature | {"index": i} for i, feature in enumerate(features)]
        return view | {"query": query, "features": numbered, "servingKeys": keys}

    def full(self, query: dict[str, Any]) -> dict[str, Any]:
        """The stored query with each group's id replaced by the group.

        Raises: Refusal if a group is gone.
        """
        group = self.state.get("group", query["leftFeatureGroup"]["id"])
        if group is None:
            raise Refusal(*GROUP_DELETED)
        joins = [join | {"query": self.full(join["query"])} for join in query.get("joins") or []]
        return query | {"leftFeatureGroup": self.features.told(group), "joins": joins}

    def view(self, name: str, version: object) -> dict[str, Any]:
        found = self.state.get("view", key(name, version))
        if found is None:
            raise Refusal(*VIEW_NOT_FOUND)
        return found

    def every_view(self, request: Request) -> dict[str, Any]:
        views = [self.told(view) for view in self.state.all("view")]
        return {"count": len(views), "items": views}

    def by_name(self, request: Request, name: str) -> dict[str, Any]:
        views = [self.told(view) for view in self.state.all("view") if view["name"] == name]
        if not views:
            raise Refusal(*VIEW_NOT_FOUND)
        return {"count": len(views), "items": views}

    def one(self, request: Request, name: str, version: str) -> dict[str, Any]:
        return self.told(self.view(name, version))

    def update(self, request: Request, name: str, version: str) -> dict[str, Any]:
        view = self.view(name, version) | {"description": request.json().get("description")}
        self.state.put("view", key(name, version), view)
        return self.told(view)

    def delete(self, request: Request, name: str, version: str) -> Answer:
        self.view(name, version)
        self.delete_datasets(request, name, version)
        self.state.delete("view", key(name, version))
        return Answer()

    def delete_name(self, request: Request, name: str) -> Answer:
        for view in self.by_name(request, name)["items"]:
            self.delete(request, name, view["version"])
        return Answer()

    def batch_query(self, request: Request, name: str, version: str) -> dict[str, Any]:
        """What the view selects, without its labels unless asked for, within [start_time, end_time) in ms."""
        view = self.view(name, version)
        query = self.full(view["query"])
        group = query["leftFeatureGroup"]
        if not truth(request, "with_label"):
            for part in [query, *(join["query"] for join in query["joins"])]:
                part["leftFeatures"] = [
                    one for one in part["leftFeatures"] if one["name"] not in view["labels"]
                ]
        wanted = [one["name"] for one in group["features"] if one.get("primary")]
        wanted = wanted if truth(request, "with_primary_keys") else []
        if truth(request, "with_event_time") and group.get("eventTime"):
            wanted.append(group["eventTime"])
        present = {one["name"] for one in query["leftFeatures"]}
        query["leftFeatures"] += [
            one for one in group["features"] if one["name"] in wanted and one["name"] not in present
        ]
        query["filter"] = time_filter(request, group)
        return query

    def create_dataset(self, request: Request, name: str, version: str) -> dict[str, Any]:
        """A new version with every call, as the server does."""
        self.view(name, version)
        dataset = request.json()
        with self.state.lock:
            taken = [one["version"] for one in self._datasets(name, version)]
            dataset |= {
                "version": dataset.get("version") or max(taken, default=0) + 1,
                "id": self.state.next_id(),
                "name": f"{name}_{version}",
                "featurestoreId": FEATURE_STORE_ID,
                "created": iso(time.time()),
                "view": key(name, version),
            }
            self.state.put("dataset", key(name, version, dataset["version"]), dataset)
        return dataset

    def _datasets(self, name: str, version: object) -> list[dict[str, Any]]:
        return [one for one in self.state.all("dataset") if one["view"] == key(name, version)]

    def datasets(self, request: Request, name: str, version: str) -> dict[str, Any]:
        items = self._datasets(name, version)
        return {"count": len(items), "items": items}

    def dataset(self, request: Request, name: str, version: str, number: str) -> dict[str, Any]:
        found = self.state.get("dataset", key(name, version, number))
        if found is None:
            raise Refusal(*TRAINING_DATASET_NOT_FOUND)
        return found

    def delete_dataset(self, request: Request, name: str, version: str, number: str) -> Answer:
        self.dataset(request, name, version, number)
        self.state.delete("dataset", key(name, version, number))
        return Answer()

    def delete_datasets(self, request: Request, name: str, version: object) -> Answer:
        for dataset in self._datasets(name, version):
            self.state.delete("dataset", key(name, version, dataset["version"]))
        return Answer()

    def statistics(self, request: Request, name: str, version: str, number: str) -> dict[str, Any]:
        self.dataset(request, name, version, number)
        return {"count": 1, "items": [request.json() | {"id": self.state.next_id()}]}

    def links(self, request: Request, name: str, version: str) -> dict[str, Any]:
        """Parents: the groups. Children: the training datasets, and the models made from each."""
        view = self.view(name, version)
        groups = [self.state.get("group", identity) for identity in view["groups"]]
        upstream = [node("FEATURE_GROUP", self.features.told(group)) for group in groups if group]
        datasets = self._datasets(name, version)
        downstream = [
            node("TRAINING_DATASET", dataset, downstream=self._models(view, dataset)) for dataset in datasets
        ]
        return node("FEATURE_VIEW", self.told(view), upstream=upstream, downstream=downstream)

    def _models(self, view: dict[str, Any], dataset: dict[str, Any]) -> list[dict[str, Any]]:
        made = [key(view["name"], view["version"]), dataset["version"]]
        return [node("MODEL", one) for one in self.state.all("model") if made == one.get("madeFrom")]


def key(*parts: object) -> str:
    return "/".join(str(part) for part in parts)


def node(kind: str, artifact: dict[str, Any], *, upstream: Any = (), downstream: Any = ()) -> dict[str, Any]:
    """One artefact of a provenance graph with its neighbours."""
    told = {"artifactType": kind, "accessible": True, "deleted": False, "artifact": artifact}
    return {"node": told, "upstream": list(upstream), "downstream": list(downstream)}


def slim(query: dict[str, Any]) -> dict[str, Any]:
    """The query with ids in place of feature groups, whose connector would carry keys."""
    joins = [join | {"query": slim(join["query"])} for join in query.get("joins") or []]
    return query | {"leftFeatureGroup": {"id": query["leftFeatureGroup"]["id"]}, "joins": joins}


def groups_of(query: dict[str, Any]) -> list[int]:
    inner = [identity for join in query["joins"] for identity in groups_of(join["query"])]
    return [query["leftFeatureGroup"]["id"], *inner]


def truth(request: Request, name: str) -> bool:
    return (request.get(name) or "").lower() == "true"


def time_filter(request: Request, group: dict[str, Any]) -> dict[str, Any] | None:
    event_time = next((one for one in group["features"] if one["name"] == group.get("eventTime")), None)
    bounds = [
        {"feature": event_time, "condition": condition, "value": moment(int(value))}
        for name, condition in (("start_time", "GREATER_THAN_OR_EQUAL"), ("end_time", "LESS_THAN"))
        if event_time and (value := request.get(name)) not in (None, "", "None")
    ]
    if not bounds:
        return None
    kind = "AND" if len(bounds) > 1 else "SINGLE"
    return {"type": kind, "leftFilter": bounds[0], "rightFilter": bounds[1] if len(bounds) > 1 else None}


def moment(ms: int) -> str:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).replace(tzinfo=None).isoformat(sep=" ")
