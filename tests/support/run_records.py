"""What the Prefect UI shows of a run: its graph, and the lines that its tasks logged.

The server records both a while after the run has ended: ask until they are there.
"""

import re

import httpx
from prefect.client.schemas.filters import LogFilter


def graph(server, state):
    """Nodes of the run's graph by id."""
    found = httpx.get(f"{server.api_url}/flow_runs/{state.state_details.flow_run_id}/graph-v2", timeout=60)
    found.raise_for_status()
    return dict(found.json()["nodes"])


def links(server, state):
    """Pairs of labels: a step, and one that follows from it."""
    nodes = graph(server, state)
    return {
        (nodes[edge["id"]]["label"], node["label"]) for node in nodes.values() for edge in node["parents"]
    }


def lines_of(server, state, label):
    """Lines that steps of that label, or that begin so, have logged with the seconds they took."""
    ids = {node_id for node_id, node in graph(server, state).items() if node["label"].startswith(label)}
    wanted = LogFilter.model_validate({"flow_run_id": {"any_": [state.state_details.flow_run_id]}})
    logs = server.ask(lambda client: client.read_logs(log_filter=wanted, limit=200))
    return [
        log.message
        for log in logs
        if str(log.task_run_id) in ids and re.search(r"in \d+\.\d s$", log.message)
    ]
