"""One Prefect server for the whole session, started when the first test asks for it."""

import os

from hypothesis import settings
from prefect_server import prefect_server

__all__ = ["prefect_server"]

# The same examples every time, so that a change fails for what it changed; look for new ones with
# HYPOTHESIS_PROFILE=explore make test.
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
