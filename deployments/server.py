"""`python -m deployments.server`: Prefect's API and UI behind our doors, until SIGTERM or Ctrl-C.

Alone, Prefect answers any page that is open in a browser of this machine, wherever it came from, and who may
ask its API can have any command run.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial

from dagsverk.doors import App, Doors, Rules, proxy_options, rules_from
from dagsverk.login import DoorsError, prefect_settings

OPEN_PATHS = ("/api/health", "/api/ready")


def settings(rules: Rules) -> Mapping[str, str]:
    """What Prefect must be told before it is imported."""
    # of the address that the browser is at: the only one that its pages may ask
    own = {"PREFECT_UI_API_URL": os.environ.get("PREFECT_UI_API_URL") or "/api"}
    return {**own, "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "none", **prefect_settings(rules.login)}


def guarded_app(rules: Rules) -> App:
    """Prefect's app behind the doors. It has a form for the login itself, so the browser need not ask.

    Before it serves, its places in limits are made to agree with their leases.
    """
    from prefect.server.api.server import create_app
    from prefect.settings import PREFECT_HOME

    from deployments.leases import restoring

    app = restoring(create_app(), PREFECT_HOME.value())
    return Doors(app, rules, open_paths=OPEN_PATHS, guarded="/api/", asks=False)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m deployments.server", description=__doc__)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine only)"
    )
    parser.add_argument("--port", type=int, default=4200)
    given = parser.parse_args(arguments)
    try:
        rules, proxies = rules_from(os.environ, given.host), proxy_options(os.environ)
    except DoorsError as error:
        sys.exit(str(error))
    os.environ.update(settings(rules))

    import uvicorn

    uvicorn.run(
        partial(guarded_app, rules), factory=True, host=given.host, port=given.port,
        log_level="warning", server_header=False, timeout_graceful_shutdown=3,
        **proxies,
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
