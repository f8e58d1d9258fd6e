"""Places in limits that a dead run held: given back at once where the leases lie on this machine.

Elsewhere, the lease of a place ends by itself a minute after its holder was killed.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from prefect.client.orchestration import PrefectClient
from prefect.exceptions import PrefectHTTPStatusError


def leases_of(run_id: str, folder: Path) -> list[str]:
    """Ids of the leases that a run, or a task of it, holds by what the server has written."""
    found = []
    for path in folder.glob("*.json"):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            holder = (json.loads(path.read_text()).get("metadata") or {}).get("holder") or {}
            if holder.get("id") == run_id:
                found.append(path.stem)
    return found


async def release_leases(client: PrefectClient, run_id: str, prefect_home: Path) -> None:
    for lease in leases_of(run_id, prefect_home / "concurrency_leases"):
        with contextlib.suppress(PrefectHTTPStatusError):  # it has just run out
            await client.request(
                "POST", "/v2/concurrency_limits/decrement-with-lease", json={"lease_id": lease}
            )
