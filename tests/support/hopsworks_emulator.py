"""An emulator of the part of Hopsworks that the SDK (5.2.1, Python engine) calls, as a process.

    EMULATOR_API_KEY=... python tests/support/hopsworks_emulator.py --root FOLDER [--port 0] [--bucket NAME]

It prints one line of JSON when it is ready and serves HTTPS on 127.0.0.1 until SIGTERM. Everything
it has acknowledged lies below FOLDER. Tests start it through `emulator_process.hopsworks_emulator`.

It is written from what the SDK sends and parses and from what is public about the server. So it
proves that our code and the SDK work together; it does not prove that a server agrees.
emulator_fidelity.md says for each answer where it comes from and what is not emulated at all.
`emulator_shapes.Recorder` exists to compare it with a real cluster.
"""

# ruff: noqa: ARG002, ARG005 - every handler takes the request

from __future__ import annotations

import argparse
import hmac
import json
import os
import signal
import ssl
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from emulator_certificates import DOMAIN, certificates
from emulator_faults import Faults
from emulator_features import FEATURE_STORE_ID, PROJECT_ID, Features, Storage
from emulator_files import Files, iso
from emulator_http import Answer, Journal, Refusal, Request, Routes, Server
from emulator_models import Models
from emulator_state import State
from emulator_views import Views

API = "/hopsworks-api/api"
VERSION = "5.2.0"  # the SDK warns when its major.minor is another
USER = {
    "username": "emulat10",
    "uid": 10,
    "email": "emulated@example.com",
    "fname": "Emulated",
    "lname": "User",
}


class Emulator:
    """All of it: who may ask, what is answered, and what goes wrong on demand."""

    def __init__(self, options: argparse.Namespace, api_key: str) -> None:
        root = options.root.resolve()
        self.project, self.query_service = options.project, options.query_service
        self._authorisation = f"ApiKey {api_key}"
        self.certificates = certificates(root / "certificates")
        self.state, self.journal, self.faults = State(root / "state.sqlite"), Journal(), Faults()
        folder = root / "tables" if options.folder_locations else None
        self.storage = Storage(options.data_source, options.bucket, folder)
        self.files = Files(root, self.project, options.missing_status)
        self.routes, self.control = self._routes(), self._control_routes()

    def __call__(self, request: Request) -> Answer:
        if not hmac.compare_digest(
            request.headers.get("Authorization", "").encode(), self._authorisation.encode()
        ):
            self.journal.add(request.line)
            return refused(Refusal(401, 320001, "Invalid or missing api key."))
        if request.path.startswith("/emulator/"):
            return self._answer(self.control, request)
        self.journal.add(request.line)
        return self.faults.around(request, lambda: self._answer(self.routes, request))

    def _answer(self, routes: Routes, request: Request) -> Answer:
        handler = routes.find(request)
        if handler is None:
            self.journal.add_unknown(request.line)
            return refused(Refusal(404, 999999, "the emulator has no such route"))
        try:
            answer = handler()
        except Refusal as refusal:
            return refused(refusal)
        except Exception:  # noqa: BLE001 - a server answers 500; tests look at `unknown`
            traceback.print_exc()
            self.journal.add_unknown(f"ERROR {request.line}")
            return refused(Refusal(500, 120000, "the emulator failed; see emulator.log"))
        return answer if isinstance(answer, Answer) else Answer(answer)

    def _routes(self) -> Routes:
        routes, project = Routes(), f"{API}/project/{PROJECT_ID}"
        store = f"{project}/featurestores/{FEATURE_STORE_ID}"
        routes.add("GET", API + "/variables/versions", self.versions)
        routes.add("GET", API + "/variables/{name}", self.variable)
        routes.add("GET", API + "/project/getProjectInfo/{name}", self.project_info)
        routes.add("GET", API + "/project", self.projects)
        routes.add("GET", project + "/credentials", self.credentials)
        features = Features(self.state, self.storage, self.project)
        views = Views(self.state, features)
        features.routes(routes, project, store)
        views.routes(routes, project, store)
        Models(self.state, self.files, views).routes(routes, project)
        self.files.routes(routes, project)
        return routes

    def _control_routes(self) -> Routes:
        """What tests tell the emulator. No part of Hopsworks."""
        routes = Routes()
        routes.add("POST", "/emulator/faults", lambda request: self.faults.add_rule(request.json()))
        routes.add("DELETE", "/emulator/faults", lambda request: self.faults.clear())
        routes.add("POST", "/emulator/barriers", lambda request: self.faults.add_barrier(request.json()))
        routes.add("GET", "/emulator/requests", self._told_requests)
        routes.add("DELETE", "/emulator/requests", lambda request: self.journal.forget())
        return routes

    def _told_requests(self, request: Request) -> dict[str, Any]:
        with self.journal.lock:
            return {"requests": list(self.journal.requests), "unknown": list(self.journal.unknown)}

    def versions(self, request: Request) -> list[dict[str, str]]:
        return [{"software": "hopsworks", "version": VERSION}]

    def variable(self, request: Request, name: str) -> dict[str, str]:
        known = {
            "enable_data_science_profile": "false",
            "enable_flyingduck": "true" if self.query_service else "false",
            "service_discovery_domain": DOMAIN,
            "upload_policy": "everyone",
        }
        if self.query_service:
            known["loadbalancer_external_domain_feature_query"] = "127.0.0.1"
        if name not in known:
            raise Refusal(404, 100042, "Variable not found")
        return {"successMessage": known[name]}

    def project_info(self, request: Request, name: str) -> dict[str, Any]:
        if name != self.project:
            raise Refusal(400, 150004, "Project wasn't found.")
        return {"projectId": PROJECT_ID, "projectName": name, "owner": USER["email"], "created": iso(0)}

    def projects(self, request: Request) -> list[dict[str, Any]]:
        return [{"user": USER, "project": {"id": PROJECT_ID, "name": self.project, "owner": USER}}]

    def credentials(self, request: Request) -> dict[str, str]:
        """The client's certificate. The Java key stores are empty: only Kafka needs them."""
        text = {
            name: (self.certificates / name).read_text() for name in ("ca.pem", "client.pem", "client.key")
        }
        told = {"fileExtension": "jks", "kStore": "", "tStore": "", "password": "emulated"}
        return told | {
            "caChain": text["ca.pem"],
            "clientCert": text["client.pem"],
            "clientKey": text["client.key"],
        }


def refused(refusal: Refusal) -> Answer:
    told = {"errorCode": refusal.code, "errorMsg": refusal.message, "usrMsg": ""}
    return Answer(told, refusal.status)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="folder that keeps everything")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--project", default="dagsverk")
    parser.add_argument(
        "--key-variable", default="EMULATOR_API_KEY", help="environment variable with the key"
    )
    parser.add_argument("--bucket", help="S3 bucket of the data source; its keys are the AWS_* variables")
    parser.add_argument("--data-source", default="lake", help="name of the S3 data source")
    parser.add_argument("--folder-locations", action="store_true", help="tables below root; for own tests")
    parser.add_argument("--missing-status", type=int, default=400, help="of paths that do not exist")
    parser.add_argument("--follow-stdin", action="store_true", help="end when standard input does")
    parser.add_argument("--no-query-service", dest="query_service", action="store_false")
    return parser.parse_args()


def main() -> None:
    options = parsed()
    api_key = os.environ.get(options.key_variable)
    if not api_key:
        raise SystemExit(f"no API key: set the environment variable {options.key_variable}")
    options.root.mkdir(parents=True, exist_ok=True)
    emulator = Emulator(options, api_key)
    if options.query_service:
        from emulator_query_service import QueryService

        service = QueryService(emulator.state, emulator.journal, emulator.certificates)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(emulator.certificates / "server.pem", emulator.certificates / "server.key")
    server = Server(("127.0.0.1", options.port), context, emulator)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    if options.follow_stdin:
        threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
    ready = {
        "port": server.server_port,
        "certificate": str(emulator.certificates / "ca.pem"),
        "query_service": options.query_service,
    }
    print(json.dumps(ready), flush=True)
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    if options.query_service:
        service.shutdown()


if __name__ == "__main__":
    main()
