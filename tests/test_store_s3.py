"""How a store on S3 is reached, by each way to name server, region and keys; what is refused, and how."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pandas as pd
import pytest
from emulator_certificates import certificates
from s3_server import KEYS, make_bucket, s3_server
from s3_settings import BUCKET, aws, days, works
from store_writer import TABLE

from dagsverk.store import StoreError, open_store, s3

__all__ = ["aws"]

ROOT = Path(__file__).resolve().parents[1]
DEAD = "http://127.0.0.1:9"  # nothing listens there
SETUP_ACTIONS = 40  # that the server takes without asking who calls
ANYTHING = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}


@dataclass
class Guarded:
    """A server that checks signatures and policies, and its administrator."""

    address: str

    def client(self, service: str) -> Any:
        keys = {"aws_access_key_id": "admin", "aws_secret_access_key": "admin"}
        return boto3.client(service, endpoint_url=self.address, region_name="eu-north-1", **keys)

    def unguarded(self, act: Callable[[], Any]) -> Any:
        self._ask_nobody(SETUP_ACTIONS)
        try:
            return act()
        finally:
            self._ask_nobody(0)

    def _ask_nobody(self, actions: int) -> None:
        httpx.post(f"{self.address}/moto-api/reset-auth", content=str(actions)).raise_for_status()

    def user(self, name: str, statements: list[Any]) -> dict[str, str]:
        """A new user's keys."""

        def make() -> dict[str, str]:
            iam = self.client("iam")
            iam.create_user(UserName=name)
            iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=_policy(statements))
            made = iam.create_access_key(UserName=name)["AccessKey"]
            key, secret = made["AccessKeyId"], made["SecretAccessKey"]
            return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}

        return self.unguarded(make)

    def forget(self, name: str, key: str) -> None:
        self.unguarded(lambda: self.client("iam").delete_access_key(UserName=name, AccessKeyId=key))

    def role_keys(self, session: str) -> dict[str, str]:
        """Keys that come with a session token."""

        def assume() -> Any:
            iam = self.client("iam")
            if session not in {role["RoleName"] for role in iam.list_roles()["Roles"]}:
                iam.create_role(RoleName=session, AssumeRolePolicyDocument=_policy([]))
                iam.put_role_policy(RoleName=session, PolicyName="p", PolicyDocument=_policy([ANYTHING]))
            arn = f"arn:aws:iam::123456789012:role/{session}"
            return self.client("sts").assume_role(RoleArn=arn, RoleSessionName=session)["Credentials"]

        made = self.unguarded(assume)
        return {
            "AWS_ACCESS_KEY_ID": made["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
            "AWS_SESSION_TOKEN": made["SessionToken"],
        }


def _policy(statements: list[Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    with s3_server(INITIAL_NO_AUTH_ACTION_COUNT="0") as address:
        server = Guarded(address)
        region = {"LocationConstraint": "eu-north-1"}
        server.unguarded(
            lambda: server.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=region)
        )
        yield server


@pytest.fixture(scope="module")
def keys(guarded: Guarded) -> dict[str, str]:
    return guarded.user("anyone", [ANYTHING])


@pytest.fixture(scope="module")
def open_server() -> Iterator[str]:
    """A server that asks nobody for anything."""
    with s3_server() as address:
        make_bucket(address, BUCKET)
        yield address


# ------------------------------------------------------------------ where the settings come from


def test_keys_region_and_endpoint_are_taken_from_variables(guarded, keys, aws) -> None:
    aws({**keys, "AWS_ENDPOINT_URL": guarded.address, "AWS_REGION": "eu-north-1"})
    works("variables")


@pytest.mark.parametrize("region", [{}, {"AWS_DEFAULT_REGION": "eu-north-1"}, {"AWS_REGION": "us-west-2"}])
def test_a_region_that_is_missing_or_another_than_the_buckets_does_no_harm(
    guarded, keys, aws, region: dict[str, str]
) -> None:
    aws({**keys, "AWS_ENDPOINT_URL": guarded.address, **region})
    works("region")


def test_an_endpoint_for_s3_goes_before_the_one_for_all_services(guarded, keys, aws) -> None:
    aws({**keys, "AWS_ENDPOINT_URL_S3": guarded.address, "AWS_ENDPOINT_URL": DEAD})
    works("endpoint")


def test_keys_with_a_session_token_are_used_together(guarded, aws) -> None:
    aws({**guarded.role_keys("token"), "AWS_ENDPOINT_URL": guarded.address})
    works("token")


@pytest.mark.parametrize(
    "place", ["endpoint_url = {}", "services = own\n[services own]\ns3 =\n  endpoint_url = {}"]
)
def test_a_profile_names_keys_and_endpoint(guarded, keys, aws, tmp_path: Path, place: str) -> None:
    lines = [f"{name.lower()} = {value}" for name, value in keys.items()]
    (tmp_path / "credentials").write_text("\n".join(["[lab]", *lines]))
    settings = ["[profile lab]", "region = eu-north-1", place.format(guarded.address)]
    (tmp_path / "config").write_text("\n".join(settings))
    aws({"AWS_PROFILE": "lab"})
    works("profile")


def test_keys_that_run_out_are_replaced_while_the_store_is_open(guarded, aws, tmp_path: Path) -> None:
    given = tmp_path / "given.json"

    def give(variables: dict[str, str]) -> None:
        soon = pd.Timestamp.now("UTC") + pd.Timedelta(minutes=5)  # so near the end they are asked for anew
        names = {"AWS_ACCESS_KEY_ID": "AccessKeyId", "AWS_SECRET_ACCESS_KEY": "SecretAccessKey"}
        made = {names[name]: value for name, value in variables.items()}
        given.write_text(json.dumps({"Version": 1, "Expiration": soon.isoformat(), **made}))

    first = guarded.user("first", [ANYTHING])
    give(first)
    (tmp_path / "config").write_text(
        f"[default]\nendpoint_url = {guarded.address}\ncredential_process = cat {given}\n"
    )
    store = works("rotated")
    give(guarded.user("second", [ANYTHING]))
    guarded.forget("first", first["AWS_ACCESS_KEY_ID"])
    assert store.get("a") == b"1"
    store.upsert(TABLE, days(2))
    assert store.read(TABLE).turn.tolist() == [2] * 4


def test_a_variable_that_makes_commits_unsafe_is_overruled(open_server, aws) -> None:
    """Both are read by delta-rs, and left over where older versions were used."""
    aws({**KEYS, "AWS_ENDPOINT_URL": open_server})
    aws({"AWS_CONDITIONAL_PUT": "disabled", "AWS_S3_ALLOW_UNSAFE_RENAME": "true"})
    store = works("unsafe")
    with ThreadPoolExecutor(4) as threads:
        stores = [open_store(store.url) for _ in range(4)]
        list(threads.map(lambda i: stores[i].upsert(TABLE, days(i).assign(writer=f"w{i}")), range(4)))
    assert len(store.read(TABLE)) == 20 and len(store.commits(TABLE)) == 5


# ------------------------------------------------------------------ https


def test_a_private_certificate_needs_both_variables_and_the_error_says_so(
    aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = certificates(tmp_path / "certificates")
    authority = str(folder / "ca.pem")
    with s3_server("-s", "-c", f"{folder}/server.pem", "-k", f"{folder}/server.key") as address:
        aws({**KEYS, "AWS_ENDPOINT_URL": address})
        with pytest.raises(StoreError, match="check AWS_CA_BUNDLE"):
            open_store(f"s3://{BUCKET}/tls")
        aws({"AWS_CA_BUNDLE": authority})
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        with pytest.raises(StoreError, match="set SSL_CERT_FILE to the same file"):
            open_store(f"s3://{BUCKET}/tls")
        monkeypatch.setenv("SSL_CERT_FILE", authority)
        works("tls")


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({}, "check the AWS_\\* variables"),
        ({"AWS_PROFILE": "absent"}, "absent.*check the AWS_\\* variables"),
        ({"AWS_ACCESS_KEY_ID": "AKIAKEY"}, "check the AWS_\\* variables"),
        ({"AWS_ACCESS_KEY_ID": "AKIAKEY", "AWS_SECRET_ACCESS_KEY": "sEcReT"}, "check the AWS_\\* variables"),
        ({"AWS_ENDPOINT_URL": "http://AKIAKEY:sEcReT@127.0.0.1:9"}, "holds a user or password"),
        ({"AWS_ENDPOINT_URL": "no address"}, "check the AWS_\\* variables"),
        ({"DAGSVERK_S3_PATIENCE_S": "soon"}, "want seconds from 0.1 to 3600"),
    ],
)
def test_settings_that_cannot_work_are_told_at_once_and_without_a_secret(
    guarded, aws, variables: dict[str, str], says: str
) -> None:
    aws({"AWS_ENDPOINT_URL": guarded.address, **variables})
    with pytest.raises(StoreError, match=says) as refusal:
        open_store(f"s3://{BUCKET}/refused")
    assert "sEcReT" not in f"{refusal.value} {refusal.value.__cause__}"


def test_a_bucket_that_is_missing_is_told_by_name(open_server, aws) -> None:
    aws({**KEYS, "AWS_ENDPOINT_URL": open_server})
    with pytest.raises(StoreError, match="no bucket 'elsewhere'; create it first"):
        open_store("s3://elsewhere/x")


def test_where_a_table_lives_is_shown_without_the_keys(open_server, aws) -> None:
    aws({**KEYS, "AWS_ENDPOINT_URL": open_server})
    at = s3.S3Files(f"{BUCKET}/shown").delta("tables/t_1")
    assert KEYS["AWS_SECRET_ACCESS_KEY"] in str(at.options) and "hunter2" not in repr(at)


def test_the_documented_policy_is_enough_for_all_that_a_store_does(
    guarded, aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = (ROOT / "docs" / "how-to" / "s3.md").read_text()
    block = re.search(r"^```json\n(.*?)^```", document, re.MULTILINE | re.DOTALL)
    assert block
    policy = json.loads(block[1].replace("BUCKET/PREFIX", f"{BUCKET}/least").replace("BUCKET", BUCKET))
    where = f"arn:aws:s3:::{BUCKET}"  # moto asks for these two where AWS asks for what the policy has
    moto = {"Effect": "Allow", "Action": ["s3:HeadBucket", "s3:DeleteObject"], "Resource": where}
    aws({**guarded.user("least", [*policy["Statement"], moto]), "AWS_ENDPOINT_URL": guarded.address})
    monkeypatch.setattr(s3, "PART_BYTES", 5 << 20)
    store = works("least")
    store.compact(TABLE)
    (tmp_path / "large").write_bytes(bytes(12 << 20))
    store.put_file("large", tmp_path / "large")
    assert store.fetch("large", tmp_path / "cache").stat().st_size == 12 << 20
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "m").write_bytes(b"m")
    model = store.save_model("m", tmp_path / "model", metrics={})
    store.promote("m", model.version, reason="first", expected=None)
    store.download(model, tmp_path / "copy")
    assert store.list("") == ["a", "large"]
