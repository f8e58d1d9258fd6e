"""The Hopsworks Query Service: Arrow Flight over TLS on the port that the SDK has hard-coded."""

# ruff: noqa: ARG002 - the base class gives the context

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from emulator_http import Journal
from emulator_state import State
from pyarrow import flight

PORT = 5005
COMPARISONS = {
    "EQUALS": "eq",
    "NOT_EQUALS": "ne",
    "GREATER_THAN": "gt",
    "GREATER_THAN_OR_EQUAL": "ge",
    "LESS_THAN": "lt",
    "LESS_THAN_OR_EQUAL": "le",
}


class QueryService(flight.FlightServerBase):
    """Runs the queries that the REST API has put together: columns, joins, filters, limit."""

    def __init__(self, state: State, journal: Journal, certificates: Path) -> None:
        pair = ((certificates / "server.pem").read_bytes(), (certificates / "server.key").read_bytes())
        super().__init__(f"grpc+tls://127.0.0.1:{PORT}", tls_certificates=[pair])
        self.state, self.journal = state, journal

    def list_actions(self, context: Any) -> list[tuple[str, str]]:
        return [("healthcheck", ""), ("get-version", "")]

    def do_action(self, context: Any, action: flight.Action) -> Any:
        self.journal.add(f"FLIGHT {action.type}")
        yield flight.Result(pa.py_buffer(b"1.0" if action.type == "get-version" else b"ok"))

    def get_flight_info(self, context: Any, descriptor: flight.FlightDescriptor) -> flight.FlightInfo:
        self.journal.add("FLIGHT get_flight_info")
        endpoint = flight.FlightEndpoint(descriptor.command, [])
        return flight.FlightInfo(pa.schema([]), descriptor, [endpoint], -1, -1)

    def do_get(self, context: Any, ticket: flight.Ticket) -> flight.RecordBatchStream:
        self.journal.add("FLIGHT do_get")
        query = json.loads(base64.b64decode(ticket.ticket))
        return flight.RecordBatchStream(pa.Table.from_pandas(self.run(query), preserve_index=False))

    def run(self, query: dict[str, Any]) -> pd.DataFrame:
        """The rows of a query of the server's own form.

        Raises: FlightServerError if the group has no table yet.
        """
        group = self.state.get("group", query["leftFeatureGroup"]["id"])
        if group is None:
            raise flight.FlightServerError("No data found for feature group. Details: deleted")
        rows = self._rows(group)
        columns = [feature["name"] for feature in query["leftFeatures"]]
        for join in query.get("joins") or []:
            rows, added = self._joined(rows, join, group)
            columns += added
        if query.get("filter"):
            rows = rows[kept(rows, query["filter"])]
        rows = rows[list(dict.fromkeys(columns))]
        return rows.head(query["limit"]) if query.get("limit") else rows

    def _rows(self, group: dict[str, Any]) -> pd.DataFrame:
        try:
            return DeltaTable(group["location"], storage_options={"AWS_ALLOW_HTTP": "true"}).to_pandas()
        except TableNotFoundError as error:
            named = f"{group['name']}_{group['version']}"
            raise flight.FlightServerError(f"No delta logs found for {named}. Details: {error}") from error

    def _joined(
        self, rows: pd.DataFrame, join: dict[str, Any], group: dict[str, Any]
    ) -> tuple[pd.DataFrame, list[str]]:
        """Joined on the named columns, or on those of the left primary key that the right side has."""
        other = self.state.get("group", join["query"]["leftFeatureGroup"]["id"]) or {}
        right, prefix = self._rows(other), join.get("prefix") or ""
        shown = [feature["name"] for feature in join["query"]["leftFeatures"]]
        on = [feature["name"] for feature in join.get("on") or []]
        on = on or [one["name"] for one in group["features"] if one.get("primary") and one["name"] in right]
        renamed = {name: prefix + name for name in shown if name not in on}
        right = right[[*on, *renamed]].rename(columns=renamed)
        how = "inner" if (join.get("type") or "").upper() == "INNER" else "left"
        return rows.merge(right, on=on, how=how), list(renamed.values())


def kept(rows: pd.DataFrame, condition: dict[str, Any]) -> pd.Series:
    """Which rows a filter, or filters joined by AND and OR, let through."""
    if condition.get("feature"):
        column, value = rows[condition["feature"]["name"]], condition["value"]
        if condition["condition"] == "IN":
            return column.astype(str).isin([str(one) for one in json.loads(value)])
        wanted = pd.Series([value]).astype(column.dtype)[0]
        return getattr(column, COMPARISONS[condition["condition"]])(wanted)
    parts = ("leftFilter", "rightFilter", "leftLogic", "rightLogic")
    masks = [kept(rows, condition[part]) for part in parts if condition.get(part)]
    together = masks[0]
    for mask in masks[1:]:
        together = (together | mask) if condition["type"] == "OR" else (together & mask)
    return together
