"""Places in limits and the leases that hold them, which two writes make: the database's count, then a file.

A killed run's lease is given back at once where the files lie on this machine; elsewhere it ends by itself a
minute later. A server that was killed between the two writes counts a place that no lease will ever free, or
keeps a file that its index has forgotten: when it starts, counts and index are made anew from the files.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.exceptions import PrefectHTTPStatusError

Message = MutableMapping[str, Any]
Receive, Send = Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
INDEX = "expirations.json"


def leases_folder(prefect_home: Path) -> Path:
    """Where Prefect's lease storage of kind "filesystem" keeps them."""
    return prefect_home / "concurrency_leases"


def leases(folder: Path) -> Iterator[dict[str, Any]]:
    """Every lease that can be read; one that cannot holds nothing."""
    for path in folder.glob("*.json"):
        with contextlib.suppress(OSError, ValueError):
            lease = json.loads(path.read_text())
            if path.name != INDEX and isinstance(lease, dict) and lease.get("id") == path.stem:
                yield lease


def leases_of(run_id: str, folder: Path) -> list[str]:
    """Ids of the leases that a run holds."""
    holders = ((lease["id"], (lease.get("metadata") or {}).get("holder") or {}) for lease in leases(folder))
    return [lease for lease, holder in holders if holder.get("id") == run_id]


async def release_leases(client: PrefectClient, run_id: str, prefect_home: Path) -> None:
    """Give back the places that a dead run held."""
    for lease in leases_of(run_id, leases_folder(prefect_home)):
        with contextlib.suppress(PrefectHTTPStatusError):  # it has just run out
            await client.request(
                "POST", "/v2/concurrency_limits/decrement-with-lease", json={"lease_id": lease}
            )


def places_held(folder: Path) -> Counter[UUID]:
    """How many places of each limit are leased."""
    held: Counter[UUID] = Counter()
    for lease in leases(folder):
        for limit in lease["resource_ids"]:
            held[UUID(limit)] += (lease.get("metadata") or {}).get("slots", 0)
    return held


async def restore(prefect_home: Path) -> None:
    """Make the counts of all limits, and the index of the leases, what the leases say. Before any request."""
    import sqlalchemy as sa
    from prefect.server.database import provide_database_interface

    folder = leases_folder(prefect_home)
    if folder.exists():
        index = {lease["id"]: lease["expiration"] for lease in leases(folder)}
        new = folder / f".{INDEX}.new"
        new.write_text(json.dumps(index))
        new.replace(folder / INDEX)
    held, database = places_held(folder), provide_database_interface()
    table = database.ConcurrencyLimitV2
    async with database.session_context(begin_transaction=True) as session:
        stored = sa.select(table.id, table.active_slots).where(table.slot_decay_per_second == 0)
        for limit, count in (await session.execute(stored)).all():  # those that decay free themselves
            if count != held[limit]:
                await session.execute(
                    sa.update(table).where(table.id == limit).values(active_slots=held[limit])
                )


def restoring(app: App, prefect_home: Path) -> App:
    """The server's app, which restores places once its database is migrated and before it serves."""

    async def restored(scope: Message, receive: Receive, send: Send) -> None:
        async def tell(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                await restore(prefect_home)
            await send(message)

        await app(scope, receive, tell if scope["type"] == "lifespan" else send)

    return restored
