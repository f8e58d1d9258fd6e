"""Prefect's leases in files, where a place whose lease cannot be written (a full disk) is given back.

Named to the server by PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE. Prefect counts the place first, and with its
own storage keeps it counted when the file then fails: nobody would free it until the server starts again.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from uuid import UUID

import sqlalchemy as sa
from prefect.server.concurrency.lease_storage import ConcurrencyLimitLeaseMetadata, filesystem
from prefect.server.database import provide_database_interface
from prefect.server.models.concurrency_limits_v2 import bulk_decrement_active_slots
from prefect.server.utilities.leasing import ResourceLease

AGAIN_S = 1.0  # the same full disk may keep the database from writing
_giving_back: set[asyncio.Task[None]] = set()  # the event loop itself holds tasks weakly

Lease = ResourceLease[ConcurrencyLimitLeaseMetadata]


class ConcurrencyLeaseStorage(filesystem.ConcurrencyLeaseStorage):
    """Found by this name."""

    async def create_lease(
        self,
        resource_ids: list[UUID],
        ttl: dt.timedelta,
        metadata: ConcurrencyLimitLeaseMetadata | None = None,
    ) -> Lease:
        expiration = dt.datetime.now(dt.UTC) + ttl
        lease = ResourceLease(resource_ids=resource_ids, metadata=metadata, expiration=expiration)
        path = self._lease_file_path(lease.id)
        try:
            self._atomic_write_json(path, self._serialize_lease(lease))
            await self._update_expiration_index(lease.id, expiration)
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink()
            task = asyncio.create_task(give_back(resource_ids, metadata.slots if metadata else 0))
            _giving_back.add(task)
            task.add_done_callback(_giving_back.discard)
            raise
        return lease


async def give_back(limits: list[UUID], slots: int) -> None:
    """Uncount places that were counted and not leased, as soon as the database takes it."""
    database = provide_database_interface()
    while True:
        try:
            async with database.session_context(begin_transaction=True) as session:
                await bulk_decrement_active_slots(session=session, concurrency_limit_ids=limits, slots=slots)
        except (sa.exc.SQLAlchemyError, OSError):
            await asyncio.sleep(AGAIN_S)
        else:
            return
