"""The form of a deployment: the schema by which the server refuses a run with wrong parameters."""

from __future__ import annotations

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentUpdate


async def close_form(client: PrefectClient, name: str) -> None:
    """Refuse unknown parameters: Prefect leaves the top level open, and such a run would fail in a worker.

    `dagsverk.form` says the same of each config inside.
    """
    deployment = await client.read_deployment_by_name(name)
    schema = {**(deployment.parameter_openapi_schema or {}), "additionalProperties": False}
    await client.update_deployment(deployment.id, DeploymentUpdate(parameter_openapi_schema=schema))
