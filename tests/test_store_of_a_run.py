"""The store of a flow run: on Hopsworks its key may lie in a Prefect Secret block."""

from __future__ import annotations

import pytest
from hopsworks_project import project_url, shared_emulator
from prefect.blocks.system import Secret
from prefect.settings import PREFECT_API_URL, temporary_settings

OPEN = "from tasks.stores import open_store; print(open_store().url)"


@pytest.fixture
def variables() -> dict[str, str]:
    """Of a run whose store is on Hopsworks, without the key."""
    url = project_url()
    authority = str(shared_emulator().certificate)
    return {"DAGSVERK_STORE": url, "HOPSWORKS_TRUST_STORE_PATH": authority, "HOPSWORKS_API_KEY": ""}


def test_without_a_key_a_run_says_where_to_put_one(prefect_server, variables):
    done = prefect_server.run("-c", OPEN, **variables)
    assert done.returncode == 1
    assert "set HOPSWORKS_API_KEY" in done.stderr and "'hopsworks-api-key'" in done.stderr


def test_a_run_takes_its_key_from_the_secret_block_and_shows_it_nowhere(prefect_server, variables):
    key = shared_emulator().api_key
    with temporary_settings({PREFECT_API_URL: prefect_server.api_url}):
        Secret(value=key).save("hopsworks-api-key", overwrite=True)
        try:
            done = prefect_server.run("-c", OPEN, **variables)
        finally:
            Secret.delete("hopsworks-api-key")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == variables["DAGSVERK_STORE"]
    assert key not in done.stdout + done.stderr
