"""A model's folder -> a repository on the Hugging Face Hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from dagsverk.speech.errors import SpeechError

NETWORK: Any = HfHubHTTPError.__bases__  # the HTTP client's own error, whichever it is, and OSError
EXISTS = (403, 409)  # 403: of a token that may write to this repository, and make none
TOKEN_VARIABLE = "HF_TOKEN"  # noqa: S105  the name, not the token


def publish(folder: Path, repository: str, message: str) -> str:
    """Push the folder's files in one commit to `name/repository`, made private if it is absent.

    Files equal to those on the Hub are left alone. Returns: the repository's address.
    Raises: SpeechError without a token, or if the Hub refuses it or does not answer.
    """
    token = os.environ.get(TOKEN_VARIABLE)
    if not token:
        raise SpeechError(
            f"cannot push to {repository}: {TOKEN_VARIABLE} is not set; set it to a token that may write "
            "there, or empty push_to_hub"
        )
    hub = HfApi(token=token, endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        _make_repository(hub, repository)
        hub.upload_folder(repo_id=repository, folder_path=folder, commit_message=message)
    except (*NETWORK, HFValidationError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].replace(token, "***")
        raise SpeechError(
            f"cannot push to {repository}: {reason}; check the repository's name, the network and that the "
            f"token of {TOKEN_VARIABLE} may write there, then run this again"
        ) from None  # the cause may hold the request, and with it the token
    return f"{hub.endpoint}/{repository}"


def _make_repository(hub: HfApi, repository: str) -> None:
    try:
        hub.create_repo(repository, private=True)
    except HfHubHTTPError as error:
        if error.response.status_code not in EXISTS:
            raise
