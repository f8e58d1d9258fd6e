"""One verified, patient connection of this process to a Hopsworks project, through the SDK.

The private names of the SDK that the project uses are in the modules `hopsworks*` and `hopsfs`; a test holds
them to the installed version. What the SDK leaves open is closed here: it verifies no certificate unless told
to, waits for ever for a stalled server, repeats nothing, prints, and sets up logging for the whole process.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import random
import re
import shutil
import tempfile
import threading
import time
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from dagsverk.store.protocol import NotFound, StoreError, Unavailable

_format, _root = warnings.formatwarning, logging.getLogger()
_root.addHandler(_silent := logging.NullHandler())  # a root logger with a handler is left alone
import hopsworks  # noqa: E402  the lines around it undo what this import does to the whole process
from hopsworks_common import client, util  # noqa: E402
from hopsworks_common.client import exceptions, external  # noqa: E402
from hopsworks_common.core import dataset_api  # noqa: E402
from hsfs.core import feature_group_engine, feature_view_engine  # noqa: E402
from hsml.engine import model_engine  # noqa: E402

# A model misses a training data set: ours is a commit of the table, and in the model's record
warnings.filterwarnings("ignore", category=util.ProvenanceWarning)
warnings.filterwarnings("ignore", message=r"hsml\.model_schema|ModelSchema", category=DeprecationWarning)
_root.removeHandler(_silent)
warnings.formatwarning = _format

logger = logging.getLogger(__name__)

KEY = "HOPSWORKS_API_KEY"
CERTIFICATES = "HOPSWORKS_TRUST_STORE_PATH"  # the SDK's own names
VERIFICATION = "HOPSWORKS_HOSTNAME_VERIFICATION"
INSIDE = "REST_ENDPOINT"  # set in Hopsworks' own containers, where a token takes the key's place
CONNECT_S, READ_S = 10.0, 60.0  # the second for each block of an answer; an upload's answer comes at its end
TRIES, PAUSE_S = 6, 0.25  # with waits of about 0.25, 0.5, 1, 2, 4 s between
TRANSIENT = (500, 502, 503, 504)
READING = ("GET", "HEAD")
ABSENT = (110008, 110011, 110018)  # no such path: a 404 or a 400, as the server's version has it
NO_PROJECT = 150004
WORD = re.compile(r"[!-~]+")  # what a header takes, unchanged

Done = TypeVar("Done")


class Spent(Unavailable):
    """What failed has been repeated in vain already, by `Patience`."""


class Patience(HTTPAdapter):
    """Requests with time limits; repeated where that is safe: all that read, and connections not made."""

    def __init__(self) -> None:
        again = Retry(
            total=TRIES - 1,
            backoff_factor=PAUSE_S,
            backoff_jitter=PAUSE_S,
            status_forcelist=TRANSIENT,
            allowed_methods=READING,
            raise_on_status=False,
        )
        super().__init__(max_retries=again, pool_maxsize=16)

    def send(self, request: Any, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        return super().send(request, **{**kwargs, "timeout": kwargs.get("timeout") or (CONNECT_S, READ_S)})


@dataclass(frozen=True)
class Address:
    """A project on a server."""

    host: str
    port: int
    project: str

    @property
    def url(self) -> str:
        port = "" if self.port == 443 else f":{self.port}"
        return f"hopsworks://{self.host}{port}/{self.project}"


class Connection:
    """A login. Its parts are asked for on first use: each costs a request."""

    def __init__(self, address: Address, project: Any) -> None:
        self.address, self.project = address, project
        self.datasets: Any = project.get_dataset_api()
        self._login = client._client

    @property
    def current(self) -> bool:
        """Whether the process is logged in by it still: another part of the program may use the SDK too."""
        return client._client is self._login

    @functools.cached_property
    def features(self) -> Any:
        with errors(self.address.url, "open the feature store"):
            return self.project.get_feature_store()

    @functools.cached_property
    def models(self) -> Any:
        with errors(self.address.url, "open the model registry"):
            return self.project.get_model_registry()


_lock = threading.Lock()
_connection: Connection | None = None


def connect(address: Address) -> Connection:
    """The process's connection, made at the first call, and anew if somebody has logged out.

    Raises: StoreError if the key, the project or the certificate is refused, if settings would weaken the
    connection, or if the process is connected to another project already. Unavailable.
    """
    global _connection  # noqa: PLW0603  the SDK keeps its login in globals too, so there can be but one
    with _lock:
        if _connection is None or not _connection.current:
            _connection = Connection(address, _login(address))
        if _connection.address != address:
            raise StoreError(
                f"this process is connected to {_connection.address.url}, and the SDK keeps one connection; "
                f"use {address.url} in a process of its own"
            )
        return _connection


def _login(address: Address) -> Any:
    key = _key(address)
    _refuse_weak_settings(address)
    _be_quiet()
    # Its own, as a process that ends removes the folder, which by default all processes share
    folder = tempfile.mkdtemp(prefix="dagsverk-hopsworks-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    external.requests = types.SimpleNamespace(session=_patient_session)
    with errors(address.url, "log in to"):
        project = hopsworks.login(
            host=address.host,
            port=str(address.port),  # the number 443 would be replaced by HOPSWORKS_PORT
            project=address.project,
            api_key_value=key,
            engine="python",
            hostname_verification=True,
            trust_store_path=os.environ.get(CERTIFICATES),
            cert_folder=folder,
        )
    client._get_instance()._session.mount("https://", Patience())
    return project


def _key(address: Address) -> str | None:
    key = os.environ.get(KEY)
    if not key and INSIDE not in os.environ:
        raise StoreError(
            f"no key for {address.url}: set {KEY}, or keep one for flows in the Prefect Secret block "
            "hopsworks-api-key"
        )
    if key and not WORD.fullmatch(key.strip()):  # the error of a header that cannot be sent would show it
        raise StoreError(
            f"the value of {KEY} (not shown) is no key for {address.url}: want one word of plain letters, "
            "found a space, a line break or another letter in it; copy it again"
        )
    return key.strip() if key else None  # a file's last line break


def _refuse_weak_settings(address: Address) -> None:
    if os.environ.get(VERIFICATION, "true").lower() not in ("true", "1", "y", "yes"):
        raise StoreError(
            f"{VERIFICATION} switches the check of certificates off, and the key would go to anyone; unset "
            f"it, and name a private authority's certificate in {CERTIFICATES}"
        )
    trusted = os.environ.get(CERTIFICATES)
    if trusted is not None and not Path(trusted).is_file():
        raise StoreError(
            f"cannot log in to {address.url}: {CERTIFICATES} is {trusted!r}, and there is no such file; name "
            "the certificate of the server's authority, or unset it"
        )


def _patient_session() -> requests.Session:
    session = requests.Session()
    session.mount("https://", Patience())
    return session


def _be_quiet() -> None:
    """What the SDK prints goes to the log; its progress bars go nowhere, as few flows have a terminal."""

    def tell(*words: object, **_: object) -> None:
        if text := " ".join(map(str, words)).strip():
            logger.debug("%s", text)

    for module in (hopsworks, model_engine, feature_group_engine, feature_view_engine):
        module.print = tell
    for module in (dataset_api, model_engine):
        module.tqdm = functools.partial(module.tqdm, disable=True)


@contextlib.contextmanager
def errors(url: str, verb: str, what: str = "") -> Iterator[None]:
    """Errors of the SDK and of the network as ours. They name the address; answers of the server are cut."""
    doing = f"cannot {verb} {what + ' in ' if what else ''}{url}"
    try:
        yield
    except exceptions.RestAPIError as error:
        raise _refusal(error, doing) from error
    except (exceptions.HopsworksSSLClientError, requests.exceptions.SSLError) as error:
        raise StoreError(
            f"{doing}: the server's certificate cannot be verified; name the certificate of its authority in "
            f"{CERTIFICATES}"
        ) from error
    except requests.RequestException as error:
        raise _unavailable(
            f"{doing}: no answer ({type(error).__name__}); check the address, or try again", error.request
        ) from error
    except (
        exceptions.FeatureStoreException,
        exceptions.DatasetException,
        exceptions.ModelRegistryException,
        exceptions.ProjectException,
        AssertionError,  # of a model's save where there is no dataset Models, or it may not be seen
    ) as error:
        if isinstance(error.__cause__, exceptions.RestAPIError):
            raise _refusal(error.__cause__, doing) from error
        raise StoreError(f"{doing}: {_first_line(error)}") from error


def _refusal(error: Any, doing: str) -> StoreError:
    status = error.response.status_code
    says = f"{status} {getattr(error, 'user_message', '') or _message(error)}".strip()
    if status == 404 or getattr(error, "error_code", None) in ABSENT:
        return NotFound(f"{doing}: the server knows no such thing ({says})")
    if getattr(error, "error_code", None) == NO_PROJECT:
        return StoreError(f"{doing}: the key sees no such project ({says}); check the address and the key")
    if status == 401:
        return StoreError(f"{doing}: the key in {KEY} is not accepted ({says}); make one in your account")
    if status == 403:
        return StoreError(
            f"{doing}: the key may not do this ({says}); give it the scopes PROJECT, FEATURESTORE, JOB, "
            "DATASET_VIEW, DATASET_CREATE, DATASET_DELETE and MODELREGISTRY"
        )
    if status in TRANSIENT or status == 429:
        return _unavailable(f"{doing}: the server failed ({says}); try again", error.response.request)
    return StoreError(f"{doing}: the server refused ({says})")


def _unavailable(message: str, request: Any) -> Unavailable:
    return (Spent if getattr(request, "method", None) in READING else Unavailable)(message)


def _message(error: Any) -> str:
    try:
        content = error.response.json()
    except ValueError:
        return str(error.response.reason or "")
    return str(content.get("errorMsg", "")) if isinstance(content, dict) else ""


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def again(act: Callable[[], Done], recovered: Callable[[], Done | None] = lambda: None) -> Done:
    """Do what is safe to repeat, again while the server does not answer or fails for a moment.

    Args: recovered: asked after a failure whether it was done all the same: its result, None if not.
    """
    for attempt in range(TRIES):
        try:
            return act()
        except Unavailable as error:
            if attempt == TRIES - 1 or isinstance(error, Spent):
                raise
            time.sleep(random.uniform(0.5, 1) * PAUSE_S * 2**attempt)
            if (done := recovered()) is not None:
                return done
    raise AssertionError("unreachable")
