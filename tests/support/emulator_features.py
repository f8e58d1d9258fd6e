"""The feature store API: storage connectors, feature groups and their commits."""

# ruff: noqa: ARG002 - every handler takes the request

from __future__ import annotations

import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator_files import iso
from emulator_http import Answer, Refusal, Request, Routes
from emulator_state import State

PROJECT_ID, FEATURE_STORE_ID, CONNECTOR_ID = 119, 67, 31
NAME = re.compile(r"(?=.{1,63}$)[a-z][a-z0-9_]*")
GROUP_NOT_FOUND = (404, 270009, "Featuregroup wasn't found.")
GROUP_EXISTS = (400, 270089, "The feature group you are trying to create does already exist.")
ILLEGAL_GROUP = (400, 270091, "Illegal feature store entity name")
ILLEGAL_FEATURE = (400, 270040, "Illegal feature name")
CONNECTOR_NOT_FOUND = (404, 270042, "Connector not found")
IN_USE = (400, 270005, "Could not delete feature group: feature views depend on it")
WAREHOUSE = "hopsfs://rpc.namenode.service.consul:8020/apps/hive/warehouse"
CREATOR = {"email": "emulated@example.com", "firstName": "Emulated", "lastName": "User"}


@dataclass(frozen=True)
class Storage:
    """Where the tables of feature groups lie: a bucket's data source, HopsFS, or a folder for our tests."""

    data_source: str
    bucket: str | None
    folder: Path | None

    def connector(self) -> dict[str, Any]:
        """The data source as the server describes it, with the keys of this process's environment.

        Raises: Refusal if there is neither a bucket nor a folder.
        """
        if self.bucket is None and self.folder is None:
            raise Refusal(*CONNECTOR_NOT_FOUND)
        content: dict[str, Any] = {
            "type": "featurestoreS3ConnectorDTO",
            "id": CONNECTOR_ID,
            "name": self.data_source,
            "description": "",
            "featurestoreId": FEATURE_STORE_ID,
            "storageConnectorType": "S3",
            "bucket": self.bucket or "folder",
            "path": "",
            "region": os.environ.get("AWS_REGION") or "us-east-1",
            "arguments": [],
        }
        if self.bucket:
            content["accessKey"] = os.environ.get("AWS_ACCESS_KEY_ID")
            content["secretKey"] = os.environ.get("AWS_SECRET_ACCESS_KEY")
            if os.environ.get("AWS_SESSION_TOKEN"):
                content["sessionToken"] = os.environ["AWS_SESSION_TOKEN"]
        return content

    def location(self, group: dict[str, Any], project: str) -> str:
        name = f"{group['name']}_{group['version']}"
        if self.folder is not None:
            return f"file://{self.folder / name}"
        if self.bucket is not None and names_connector(group):
            path = (group["dataSource"].get("path") or "").strip("/")
            return f"s3://{self.bucket}/{path or name}"
        return f"{WAREHOUSE}/{project}_featurestore.db/{name}"

    def empty(self, location: str) -> None:
        """Delete the table's files; those in HopsFS were never written."""
        if location.startswith("file://"):
            shutil.rmtree(location.removeprefix("file://"), ignore_errors=True)
        elif location.startswith("s3://"):
            import boto3

            bucket, _, prefix = location.removeprefix("s3://").partition("/")
            boto3.resource("s3").Bucket(bucket).objects.filter(Prefix=prefix + "/").delete()


def names_connector(group: dict[str, Any]) -> bool:
    connector = (group.get("dataSource") or {}).get("storageConnector") or {}
    return bool(connector.get("name") or connector.get("id"))


class Features:
    """Feature groups by id; a name and version belong to one of them."""

    def __init__(self, state: State, storage: Storage, project: str) -> None:
        self.state, self.storage, self.project = state, storage, project

    def routes(self, routes: Routes, project: str, store: str) -> None:
        routes.add(
            "GET", project + "/featurestores", lambda request: [self.feature_store(request, self.project)]
        )
        routes.add("GET", project + "/featurestores/{name}_featurestore", self.feature_store)
        routes.add("GET", store + "/storageconnectors", self.connectors)
        routes.add("GET", store + "/storageconnectors/{name}", self.connector)
        group = store + "/featuregroups/{identity}"
        routes.add("POST", store + "/featuregroups", self.create)
        routes.add("GET", store + "/featuregroups", self.every_group)
        routes.add("GET", group, self.by_name_or_id)
        routes.add("PUT", group, self.update)
        routes.add("DELETE", group, self.delete)
        routes.add("POST", group + "/clear", self.clear)
        routes.add("GET", group + "/expectationsuite", self.no_items)
        routes.add("GET", group + "/statistics", self.no_statistics)
        routes.add("POST", group + "/commits", self.commit)
        routes.add("GET", group + "/commits", self.commits)

    def feature_stores(self, request: Request) -> list[dict[str, Any]]:
        return [self.feature_store(request, self.project)]

    def feature_store(self, request: Request, name: str) -> dict[str, Any]:
        if name.lower() != self.project.lower():
            raise Refusal(404, 270008, "Featurestore wasn't found.")
        return {
            "featurestoreId": FEATURE_STORE_ID,
            "featurestoreName": f"{self.project}_featurestore",
            "offlineFeaturestoreName": f"{self.project}_featurestore",
            "created": iso(0),
            "projectName": self.project,
            "projectId": PROJECT_ID,
            "onlineEnabled": False,
        }

    def connectors(self, request: Request) -> list[dict[str, Any]]:
        return [self.storage.connector()] if self.storage.bucket else []

    def connector(self, request: Request, name: str) -> dict[str, Any]:
        if name != self.storage.data_source:
            raise Refusal(*CONNECTOR_NOT_FOUND)
        return self.storage.connector()

    def create(self, request: Request) -> Answer:
        group = request.json()
        if not NAME.fullmatch(group["name"]):
            raise Refusal(*ILLEGAL_GROUP)
        if not all(NAME.fullmatch(feature["name"]) for feature in group.get("features") or []):
            raise Refusal(*ILLEGAL_FEATURE)
        with self.state.lock:
            taken = [one["version"] for one in self.state.all("group") if one["name"] == group["name"]]
            group["version"] = group.get("version") or max(taken, default=0) + 1
            if group["version"] in taken:
                raise Refusal(*GROUP_EXISTS)
            group["id"] = self.state.next_id()
            group |= {
                "location": self.storage.location(group, self.project),
                "featurestoreId": FEATURE_STORE_ID,
                "featurestoreName": f"{self.project}_featurestore",
                "created": iso(time.time()),
                "creator": CREATOR,
            }
            source = group.get("dataSource") or {}
            group["dataSource"] = source | {
                "storageConnector": names_connector(group) or None
            }  # no keys kept
            self.state.put("group", group["id"], group)
        return Answer(self.told(group), 201)

    def told(self, group: dict[str, Any]) -> dict[str, Any]:
        """A stored group as the server describes it."""
        source = dict(group["dataSource"])
        if source["storageConnector"] or self.storage.folder:
            source["storageConnector"] = self.storage.connector()
        return group | {"dataSource": source}

    def group(self, identity: object) -> dict[str, Any]:
        """Raises: Refusal if there is none with this id."""
        group = self.state.get("group", identity)
        if group is None:
            raise Refusal(*GROUP_NOT_FOUND)
        return group

    def every_group(self, request: Request) -> dict[str, Any]:
        groups = [self.told(group) for group in self.state.all("group")]
        return {"count": len(groups), "items": groups}

    def by_name_or_id(self, request: Request, identity: str) -> Any:
        if identity.isdigit():
            return self.told(self.group(identity))
        version = request.number("version", 0)
        groups = [group for group in self.state.all("group") if group["name"] == identity]
        groups = [group for group in groups if version in (0, group["version"])]
        if not groups:
            raise Refusal(*GROUP_NOT_FOUND)
        return [self.told(group) for group in groups]

    def update(self, request: Request, identity: str) -> dict[str, Any]:
        """Description and features, as `updateMetadata` says; any other field stays."""
        group, wanted = self.group(identity), request.json()
        group |= {name: wanted[name] for name in ("description", "features") if name in wanted}
        self.state.put("group", identity, group)
        return self.told(group)

    def delete(self, request: Request, identity: str) -> Answer:
        group = self.group(identity)
        users = [view for view in self.state.all("view") if group["id"] in view["groups"]]
        if users and request.get("force", "").lower() != "true":
            raise Refusal(*IN_USE)
        self.state.delete("group", identity)
        self.state.delete("commits", identity)
        self.storage.empty(group["location"])
        return Answer()

    def clear(self, request: Request, identity: str) -> Answer:
        self.storage.empty(self.group(identity)["location"])
        self.state.delete("commits", identity)
        return Answer()

    def no_items(self, request: Request, identity: str) -> dict[str, Any]:
        self.group(identity)
        return {"count": 0}

    def no_statistics(self, request: Request, identity: str) -> Any:
        raise Refusal(404, 270228, "Statistics wasn't found.")

    def commit(self, request: Request, identity: str) -> dict[str, Any]:
        self.group(identity)
        commit = request.json()
        commit["commitID"] = commit["commitTime"]
        with self.state.lock:
            commits = self.state.get("commits", identity) or {"items": []}
            self.state.put("commits", identity, {"items": [*commits["items"], commit]})
        return commit | {"href": request.path}

    def commits(self, request: Request, identity: str) -> dict[str, Any]:
        self.group(identity)
        items = (self.state.get("commits", identity) or {"items": []})["items"]
        limit = re.search(r"commited_on_ltoeq:(\d+)", request.get("filter_by") or "")
        if limit:
            items = [item for item in items if item["commitTime"] <= int(limit[1])]
        items = sorted(items, key=lambda item: item["commitTime"], reverse=True)
        first = request.number("offset", 0)
        shown = items[first : first + (request.number("limit", 0) or len(items))]
        return {"count": len(items), "items": [item | {"commitid": item["commitTime"]} for item in shown]}
