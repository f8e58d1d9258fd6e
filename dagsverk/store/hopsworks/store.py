"""The Hopsworks store: tables are feature groups, models are in the model registry, files in the project.

A row is written as in the embedded store, by the one writer that is exact about commits (`upsert`), at the
place and with the credentials that the SDK names; then the commit is registered, as the SDK's own writer
does it. So the two backends agree on every row and commit, and Hopsworks shows both (docs/decisions/0015).

Layout:
    feature group [prefix__]{table}     version {version}; Delta on a data source (S3), or on HopsFS
    feature view [prefix__]{model}      what a model is trained on, for lineage
    model [prefix__]{model}             the model's files, and its record in dagsverk.json
    Resources/dagsverk[/prefix]/        definitions, records of versions, promotions, artefacts: see `backend`
"""

from __future__ import annotations

# Before all else that imports the SDK: it undoes what that import does to the whole process
from dagsverk.store.hopsworks.connection import Address, Connection, again, connect, errors

# isort: split
import contextlib
import datetime as dt
import functools
import logging
import os
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import deltalake
import pyarrow as pa
from deltalake.exceptions import CommitFailedError
from hsfs.core.delta_engine import DeltaEngine
from hsfs.core.feature_group_api import FeatureGroupApi
from hsfs.feature import Feature
from hsfs.feature_group_commit import FeatureGroupCommit

from dagsverk.store.backend import Backend
from dagsverk.store.delta import commit_of, delta_errors, wrote
from dagsverk.store.files import Files, Location
from dagsverk.store.hopsworks.files import HopsworksFiles
from dagsverk.store.hopsworks.models import HopsworksModels, columns_of
from dagsverk.store.protocol import NAME, Conflict, NotFound, StoreError, Table, Unavailable
from dagsverk.store.rows import check_storable
from dagsverk.store.upsert import CONFIGURATION

logger = logging.getLogger(__name__)

FORM = "hopsworks://HOST[:PORT]/PROJECT[/PREFIX][?data_source=NAME]"
ROOT = "Resources/dagsverk"
FRESH_S = 600.0  # a data source may hand out keys for a while only
TYPES = {
    "string": "string",
    "bool": "boolean",
    "int64": "bigint",
    "int32": "int",
    "double": "double",
    "float": "float",
    "timestamp[us]": "timestamp",
    "date32[day]": "date",
    "binary": "binary",
}


def open_hopsworks(url: str, *, create: bool = True) -> Hopsworks:
    """The store at `hopsworks://HOST[:PORT]/PROJECT[/PREFIX][?data_source=NAME]`.

    Raises: StoreError if the URL is of another form, or as `connect`. Unavailable.
    """
    address, prefix, options = _parts(url)
    if prefix and (not NAME.fullmatch(prefix) or "__" in f"{prefix}_"):
        raise StoreError(
            f"{address.url}: the prefix {prefix!r} cannot begin a feature group's name: want {NAME.pattern}, "
            "without two underscores and none at its end"
        )
    return Hopsworks(
        connect(address), prefix, options.get("data_source", ""), options.get("files", ""), create=create
    )


def _parts(url: str) -> tuple[Address, str, dict[str, str]]:
    """Project, prefix and options. Raises StoreError, without the URL: it may hold a misplaced key."""
    refusal = StoreError(
        f"cannot open this hopsworks:// address; want {FORM}, and the key in HOPSWORKS_API_KEY alone"
    )
    try:
        parts = urlsplit(url)
        port = 443 if parts.port is None else parts.port
    except ValueError:  # says what it found
        raise refusal from None
    path = parts.path.strip("/").split("/")
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    strange = "@" in parts.netloc or parts.fragment or set(options) - {"data_source", "files"}
    if strange or not parts.hostname or not port or not path[0] or len(path) > 2:
        raise refusal
    return Address(parts.hostname, port, path[0]), path[1] if len(path) == 2 else "", options


class Hopsworks(HopsworksModels, Backend):
    """A Store in a project of Hopsworks."""

    def __init__(
        self, connection: Connection, prefix: str, data_source: str, files: str, *, create: bool
    ) -> None:
        self._connection, self._prefix, self._data_source = connection, prefix, data_source
        self._groups: dict[tuple[str, int], tuple[float, Any]] = {}
        self._whole: set[tuple[str, int]] = set()  # tables that this process has found complete
        self._lock = threading.RLock()
        query = "&".join(f"{k}={v}" for k, v in (("data_source", data_source), ("files", files)) if v)
        below = f"/{prefix}" if prefix else ""
        if _endpoint().startswith("http://"):
            os.environ.setdefault("AWS_ALLOW_HTTP", "true")  # for tables that the SDK itself makes
        url = f"{connection.address.url}{below}{'?' + query if query else ''}"
        super().__init__(_files(connection, f"{ROOT}{below}", files), url, create=create)

    # ------------------------------------------------------------------ tables

    def ensure(self, table: Table) -> None:
        """As in `Backend`. Somebody else's feature group is seen before a definition of ours is stored."""
        check_storable(table)
        defined = f"tables/{table.name}_{table.version}.json"
        if (table.name, table.version) not in self._whole and defined not in self._files.paths("tables"):
            self._refuse_another(table, again(lambda: self._find(table)))
        super().ensure(table)

    def _create(self, table: Table) -> None:
        with self._lock:
            if (table.name, table.version) in self._whole:
                return
            group = again(lambda: self._find(table) or self._make(table))
            self._refuse_another(table, group)
            self._remember(table, group)
            self._create_delta(table)  # a creation that was killed leaves a group without one
            self._keep_history(table)
            self._whole.add((table.name, table.version))

    def _refuse_another(self, table: Table, group: Any) -> None:
        if group is not None and (theirs := _definition(group)) != (wanted := _wanted(table)):
            raise Conflict(
                f"feature group {group.name} version {group.version} in {self.url} is another table "
                f"({theirs}, not {wanted}); give the new one a new version, or use a prefix"
            )

    def _make(self, table: Table) -> Any:
        with errors(self._connection.address.url, "create the feature group", self._named(table.name)):
            group = self._connection.features.create_feature_group(
                self._named(table.name),
                version=table.version,
                description=table.description,
                primary_key=list(table.key),
                event_time=table.event_time,
                features=[Feature(field.name, hive_type(field.type)) for field in table.schema],
                time_travel_format="DELTA",  # the one format that needs neither Kafka nor Spark
                online_enabled=False,
                stream=False,
                statistics_config=False,
                data_source=self._source(table),
            )
            try:
                group.save()
            except Exception:
                # Another process may have been first, or this one stopped half-way before: then it is there
                if existing := self._find(table):
                    return existing
                raise
        return group

    def _source(self, table: Table) -> Any:
        """Where the table is to lie; None for HopsFS."""
        if not self._data_source:
            return None
        source = self._connection.features.get_data_source(self._data_source)
        if source.storage_connector is None:  # the SDK would take HopsFS instead
            raise StoreError(
                f"no data source {self._data_source!r} in {self._connection.address.url}; name one of type "
                "S3 that the project's page of data sources lists"
            )
        source.path = f"dagsverk/{self._named(table.name)}_{table.version}"
        return source

    def _find(self, table: Table) -> Any:
        """The table's feature group as the server has it, None if it has none."""
        name = self._named(table.name)
        try:
            with errors(self._connection.address.url, "open the feature group", name):
                return self._connection.features.get_feature_group(name, table.version)
        except NotFound:
            return None

    def _group(self, table: Table) -> Any:
        with self._lock:
            asked, group = self._groups.get((table.name, table.version), (0.0, None))
            if group is None or time.monotonic() - asked > FRESH_S:
                group = again(lambda: self._find(table))
                if group is None:
                    raise NotFound(
                        f"no table {table.name} version {table.version} in {self.url}; create it with "
                        "store.ensure(table)"
                    )
                self._remember(table, group)
            return group

    def _remember(self, table: Table, group: Any) -> None:
        self._groups[table.name, table.version] = (time.monotonic(), group)

    def _location(self, table: Table) -> Location:
        group = self._group(table)
        if group._is_hopsfs_storage() and "post" not in deltalake.__version__:
            raise StoreError(
                f"table {table.name} in {self.url} lies on HopsFS, which the installed deltalake "
                f"{deltalake.__version__} cannot reach; name an S3 data source in the store's address "
                "(?data_source=NAME), or put hops-deltalake in deltalake's place: docs/how-to/hopsworks.md"
            )
        with errors(self._connection.address.url, "locate the feature group", group.name):
            engine = DeltaEngine(group.feature_store_id, group.feature_store_name, group, None, None)
            url, options = engine._get_delta_rs_location(), engine._get_delta_rs_storage_options()
        return Location(url, {**_s3_options(), **options} if url.startswith("s3") else options or None)

    def _keep_history(self, table: Table) -> None:
        """Give a table that the SDK made our settings: "as of" needs its log and its old files."""
        with delta_errors(table, self._location(table).url):
            while missing := self._settings_missing(table):
                with contextlib.suppress(CommitFailedError):  # another process does the same, or writes
                    self._open(table).alter.set_table_properties(missing)

    def _settings_missing(self, table: Table) -> dict[str, str]:
        configuration = self._open(table).metadata().configuration
        return {name: value for name, value in CONFIGURATION.items() if configuration.get(name) != value}

    def _announce(self, table: Table) -> None:
        """Register commits that Hopsworks does not know: the newest, and those of writers that were killed.

        The rows are safe already, so a failure is only logged, and the next write tries again."""
        group = self._group(table)
        try:
            for entry in reversed(self._since(table, self._registered_ms(group))):
                again(functools.partial(self._register, group, entry))
        except StoreError as error:
            logger.warning("a commit is registered by the next write: %s", error)

    def _registered_ms(self, group: Any) -> int:
        """The newest registered commit's moment in ms, 0 if there is none."""
        with errors(self._connection.address.url, "read the commits of", group.name):
            return max(map(int, group.commit_details(limit=1) or ()), default=0)

    def _register(self, group: Any, entry: Mapping[str, Any]) -> None:
        try:
            with errors(self._connection.address.url, "register a commit of", group.name):
                FeatureGroupApi()._commit(group, _registration(entry))
        except Unavailable:
            if self._registered_ms(group) < entry["timestamp"]:  # else only the answer was lost
                raise

    def _since(self, table: Table, last_ms: int) -> list[dict[str, Any]]:
        """Writes after the moment in ms, newest first."""
        for limit in (8, None):
            entries = self._history(table, limit)
            new = [entry for entry in entries if entry["timestamp"] > last_ms and wrote(entry)]
            if limit is None or len(new) < len(entries):
                return new
        return []


def hive_type(kind: pa.DataType) -> str:
    """An Arrow type as feature groups name it."""
    return f"array<{hive_type(kind.value_type)}>" if pa.types.is_list(kind) else TYPES[str(kind)]


def _s3_options() -> dict[str, str]:
    """What a data source does not say: how any table in a bucket is reached, and the endpoint of a server
    that is not Amazon's."""
    from dagsverk.store.s3_access import table_options  # botocore takes half a second to import

    options = table_options()
    if endpoint := _endpoint():
        options["aws_endpoint_url"] = endpoint
        options["aws_allow_http"] = str(endpoint.startswith("http://")).lower()
    return options


def _endpoint() -> str:
    return os.environ.get("AWS_ENDPOINT_URL_S3", os.environ.get("AWS_ENDPOINT_URL", ""))


def _wanted(table: Table) -> dict[str, Any]:
    columns = {field.name: hive_type(field.type) for field in table.schema}
    return {"columns": columns, "key": sorted(table.key), "event_time": table.event_time}


def _definition(group: Any) -> dict[str, Any]:
    columns = {feature.name: feature.type for feature in columns_of(group)}
    return {"columns": columns, "key": sorted(group.primary_key), "event_time": group.event_time}


def _registration(entry: Mapping[str, Any]) -> FeatureGroupCommit:
    commit, moment = commit_of(entry), dt.datetime.fromtimestamp(entry["timestamp"] / 1000, dt.UTC)
    return FeatureGroupCommit(
        commitid=None,
        commit_date_string=moment.strftime("%Y%m%d%H%M%S%f")[:-3],
        commit_time=entry["timestamp"],  # Delta's own: Hopsworks' time travel looks the log up by it
        rows_inserted=commit.inserted,
        rows_updated=commit.updated,
        rows_deleted=0,
        last_active_commit_time=0,  # nothing is ever vacuumed
    )


def _files(connection: Connection, root: str, address: str) -> Files:
    """Where small files lie: in the project, or, where REST is too slow for checkpoints, in a bucket."""
    if not address:
        return HopsworksFiles(connection, root)
    if not address.startswith("s3://"):
        raise StoreError("files= names where small files lie: want s3://bucket/prefix")
    from dagsverk.store.s3 import S3Files

    return S3Files(address.removeprefix("s3://"))
