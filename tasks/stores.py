"""The store of a run: as everywhere, and with the key of Hopsworks from a Prefect Secret block if need be."""

from __future__ import annotations

import os

from prefect.blocks.system import Secret

from dagsverk import store
from dagsverk.store import Store

BLOCK = "hopsworks-api-key"
KEY = "HOPSWORKS_API_KEY"


def open_store() -> Store:
    """The store that DAGSVERK_STORE names.

    On Hopsworks the key is taken from HOPSWORKS_API_KEY, else from the Prefect Secret block of that name; it
    is put into the environment of this process, where processes that a training starts find it too.
    Raises: as `dagsverk.store.open_store`.
    """
    if os.environ.get(store.VARIABLE, "").startswith("hopsworks://") and not os.environ.get(KEY):
        try:
            os.environ[KEY] = str(Secret.load(BLOCK).get())  # type: ignore[union-attr]
        except ValueError as error:  # no such block
            raise store.StoreError(
                f"no key for Hopsworks: set {KEY} where the workers run, or make the Prefect Secret block "
                f"{BLOCK!r}"
            ) from error
    return store.open_store()
