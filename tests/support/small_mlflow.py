"""What of MLflow's REST API (2.0) an export asks for, kept in memory, by the rules of its SQL store:
a metric's point is kept once, a parameter never changes."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Refused(Exception):
    pass


class SmallMlflow(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Answer)
        self.experiments, self.runs, self.asked = {}, {}, []
        self.breaks_at = None  # a route, and what it is asked

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"

    def alive(self):
        return [run for run in self.runs.values() if not run["deleted"]]

    def answer(self, route, asked):
        self.asked.append(route)
        if self.breaks_at and self.breaks_at(route, asked):
            raise Refused("BAD_GATEWAY")
        return getattr(self, "_" + route.replace("/", "_").replace("-", "_"))(asked)

    def _experiments_get_by_name(self, asked):
        if asked["experiment_name"] not in self.experiments:
            raise Refused("RESOURCE_DOES_NOT_EXIST")
        return {"experiment": {"experiment_id": self.experiments[asked["experiment_name"]]}}

    def _experiments_create(self, asked):
        self.experiments[asked["name"]] = "1"
        return {"experiment_id": "1"}

    def _runs_search(self, asked):
        wanted = asked["filter"].split("'")[1]
        runs = [run for run in self.alive() if run["tags"]["dagsverk.training"] == wanted]
        return {"runs": [self._shown(run) for run in runs]} if runs else {}

    def _shown(self, run):
        return {"info": {"run_id": run["id"]}, "data": {"tags": _listed(run["tags"])}}

    def _runs_create(self, asked):
        name = f"run{len(self.runs)}"
        tags = {one["key"]: one["value"] for one in asked["tags"]}
        self.runs[name] = {
            "id": name, "tags": tags, "params": {}, "metrics": set(), "deleted": False, "status": "RUNNING",
        }  # fmt: skip
        return {"run": self._shown(self.runs[name])}

    def _runs_log_batch(self, asked):
        run = self.runs[asked["run_id"]]
        assert len(asked.get("metrics", [])) <= 1000 and len(asked.get("params", [])) <= 100
        for one in asked.get("params", []):
            if run["params"].setdefault(one["key"], one["value"]) != one["value"]:
                raise Refused("INVALID_PARAMETER_VALUE")
        run["metrics"] |= {
            (m["key"], m["value"], m["timestamp"], m["step"]) for m in asked.get("metrics", [])
        }
        run["tags"] |= {one["key"]: one["value"] for one in asked.get("tags", [])}
        return {}

    def _runs_update(self, asked):
        self.runs[asked["run_id"]]["status"] = asked["status"]
        return {}

    def _runs_delete(self, asked):
        self.runs[asked["run_id"]]["deleted"] = True
        return {}


class _Answer(BaseHTTPRequestHandler):
    def log_message(self, *_):
        """Quiet."""

    def do_GET(self):
        parts = urlsplit(self.path)
        self._reply(parts.path, {name: value[0] for name, value in parse_qs(parts.query).items()})

    def do_POST(self):
        self._reply(self.path, json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def _reply(self, path, asked):
        try:
            status, body = 200, self.server.answer(path.removeprefix("/api/2.0/mlflow/"), asked)
        except Refused as error:
            status, body = 404, {"error_code": str(error), "message": "no"}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _listed(values):
    return [{"key": name, "value": value} for name, value in values.items()]


@contextlib.contextmanager
def running():
    server = SmallMlflow()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
