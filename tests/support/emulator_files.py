"""The dataset API: HopsFS as a folder, with the rules of the server where they are known."""

# ruff: noqa: ARG002 - every handler takes the request

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
import shutil
import threading
import uuid
from pathlib import Path
from typing import Any

from emulator_http import Answer, Refusal, Request, Routes

DATASETS = ("Models", "Resources", "Statistics", "Logs")  # as a new project has them
LISTING_LIMIT = 1000
PATH_NOT_FOUND = (400, 110018, "Path not found")
DATASET_NOT_FOUND = (400, 110011, "DataSet not found.")
DESTINATION_EXISTS = (400, 110012, "Destination already exists.")
FOLDER_EXISTS = (400, 110047, "A sub-directory with the same name already exists.")


class Files:
    """Projects/PROJECT/DATASET/... below `root/hopsfs`, unfinished uploads below `root/uploads`."""

    def __init__(self, root: Path, project: str, missing_status: int) -> None:
        self.top, self.uploads, self.project = root / "hopsfs", root / "uploads", project
        self.missing_status = missing_status  # of a path that is not there: 400 in the public source
        self.home = self.top / "Projects" / project
        self.lock = threading.RLock()
        for name in DATASETS:
            (self.home / name).mkdir(parents=True, exist_ok=True)
        self.uploads.mkdir(exist_ok=True)

    def routes(self, routes: Routes, project: str) -> None:
        routes.add("POST", project + "/dataset/upload/{path*}", self.upload)
        routes.add("GET", project + "/dataset/download/with_auth/{path*}", self.download)
        routes.add("GET", project + "/dataset/{path*}", self.look)
        routes.add("GET", project + "/dataset", self.look)
        routes.add("POST", project + "/dataset/{path*}", self.act)
        routes.add("DELETE", project + "/dataset/{path*}", self.delete)

    def look(self, request: Request, path: str = "") -> Any:
        with self.lock:  # a folder that is described is not taken away meanwhile
            place = self._existing(path)
            if request.get("action") == "listing" or place == self.home:
                return self._listing(request, place)
            return self._described(place)

    def act(self, request: Request, path: str) -> Answer:
        action = (request.get("action") or "create").lower()
        if action == "create":
            return self._create(path)
        with self.lock:  # looking at the destination and taking it are one step
            source, target = self._existing(path), self._place(request.get("destination_path") or "")
            if target.exists():
                raise Refusal(*DESTINATION_EXISTS)
            if not target.parent.is_dir():
                raise Refusal(*PATH_NOT_FOUND)
            if action == "move":
                source.rename(target)
            elif action == "copy":
                self._copy(source, target)
            else:
                raise Refusal(404, 120000, f"action {action} is not emulated")
        return Answer(status=204)

    def delete(self, request: Request, path: str) -> Answer:
        with self.lock:
            self.remove(self._existing(path))
        return Answer(status=204)

    def remove(self, place: Path) -> None:
        """Gone at once for everybody who looks, however many files there are."""
        grave = self.uploads / uuid.uuid4().hex
        place.rename(grave)
        shutil.rmtree(grave) if grave.is_dir() else grave.unlink()

    def download(self, request: Request, path: str) -> Answer:
        place = self._existing(path)
        if not place.is_file():
            raise Refusal(400, 110038, "The requested path does not resolve to a valid file")
        return Answer(file=place)

    def upload(self, request: Request, path: str) -> Answer:
        """One flow.js chunk; the file appears when the last one is there.

        Only the first chunk asks whether the file exists. Uploads of the same path at the same
        time replace each other, as on the server, where the last one to finish wins.
        """
        folder, form = self._existing(path), request.form()
        if not folder.is_dir():
            raise Refusal(400, 110039, "The requested path does not resolve to a valid directory")
        target = folder / form["flowFilename"].decode()
        number, chunks = int(form["flowChunkNumber"]), max(1, int(form["flowTotalChunks"]))
        if number == 1 and target.exists():
            raise Refusal(*DESTINATION_EXISTS)
        identity = f"{target} {form['flowIdentifier'].decode()}"
        staging = self.uploads / hashlib.sha256(identity.encode()).hexdigest()[:32]
        staging.mkdir(exist_ok=True)
        _write_whole(staging / str(number), form["file"])
        with self.lock:
            parts = [staging / str(i) for i in range(1, chunks + 1)]
            if all(part.exists() for part in parts):
                self._collect(parts, target)
                shutil.rmtree(staging)
        return Answer()

    def _collect(self, parts: list[Path], target: Path) -> None:
        whole = self.uploads / uuid.uuid4().hex
        with whole.open("wb") as file:
            for part in parts:
                file.write(part.read_bytes())
        if not target.parent.is_dir():
            raise Refusal(*PATH_NOT_FOUND)
        whole.replace(target)

    def _create(self, path: str) -> Answer:
        place = self._place(path)
        with self.lock:
            if place.exists():
                raise Refusal(*FOLDER_EXISTS)
            if not place.parent.is_dir():
                raise Refusal(422, 120004, "Path for parent folder does not exist")
            place.mkdir()
            return Answer(self._described(place), 201)

    def _copy(self, source: Path, target: Path) -> None:
        whole = self.uploads / uuid.uuid4().hex
        shutil.copytree(source, whole) if source.is_dir() else shutil.copyfile(source, whole)
        whole.rename(target)

    def _place(self, path: str) -> Path:
        """Where a path of the API lies: absolute (/Projects/...) or relative to the project."""
        inside = "/" + path.strip("/")
        if not inside.startswith("/Projects/"):
            inside = f"/Projects/{self.project}{inside}"
        place = Path(os.path.normpath(self.top / inside.lstrip("/")))
        if not place.is_relative_to(self.home):
            raise Refusal(*DATASET_NOT_FOUND)
        return place

    def _existing(self, path: str) -> Path:
        place = self._place(path)
        if not place.exists():
            _, code, message = DATASET_NOT_FOUND if place.parent == self.home else PATH_NOT_FOUND
            raise Refusal(self.missing_status, code, message)
        return place

    def _listing(self, request: Request, place: Path) -> dict[str, Any]:
        if not place.is_dir():
            raise Refusal(400, 110019, "Requested path is not a directory")
        sort = (request.get("sort_by") or "ID:asc").lower()
        inside = sorted(place.iterdir(), key=lambda one: one.name if "name" in sort else _made(one))
        if sort.endswith(":desc"):
            inside.reverse()
        offset = request.number("offset", 0)
        limit = min(request.number("limit", LISTING_LIMIT) or LISTING_LIMIT, LISTING_LIMIT)
        items = []
        for one in inside[offset : offset + limit]:
            with contextlib.suppress(FileNotFoundError):  # deleted while we look
                items.append(self._described(one))
        return {"count": len(inside), "items": items}

    def _described(self, place: Path) -> dict[str, Any]:
        known = place.stat()
        told: dict[str, Any] = {
            "type": "inodeDTO",
            "attributes": {
                "name": place.name,
                "path": "/" + str(place.relative_to(self.top)),
                "size": 0 if place.is_dir() else known.st_size,
                "dir": place.is_dir(),
                "owner": "Emulated User",
                "permission": "rwxrwx---",
                "modificationTime": iso(known.st_mtime),
                "underConstruction": False,
            },
            "zipState": "NONE",
        }
        if place.parent == self.home:
            told |= {"type": "datasetDTO", "id": known.st_ino, "name": place.name, "datasetType": "DATASET"}
        return told


def iso(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _write_whole(path: Path, content: bytes) -> None:
    unfinished = path.with_name(uuid.uuid4().hex)
    unfinished.write_bytes(content)
    unfinished.replace(path)


def _made(place: Path) -> int:
    """When it was made; 0 if it was deleted while we look."""
    try:
        return place.stat().st_ctime_ns
    except FileNotFoundError:
        return 0
