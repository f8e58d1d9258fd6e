"""An address with a key in it is refused where parameters are given, and shown nowhere."""

import re
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.exceptions import ParameterTypeError

from dagsverk.addresses import PATTERN, refuse_address, refuse_keys
from dagsverk.speech.config import CorpusConfig, FinetuneConfig, PrepareConfig
from flows.speech import speech_day, speech_features
from flows.tabular import day, features

WITH_KEYS = [
    "https://user:hunter2@example.org/rows.csv",
    "https://hunter2@example.org/rows.csv",
    "HTTPS://user:hunter2@example.org/rows.csv",
    "  https://user:hunter2@example.org/rows.csv",
    "https:/user:hunter2@example.org/rows.csv",
    "https:user:hunter2@example.org/rows.csv",
    "https:\\\\user:hunter2@example.org\\rows.csv",
    "//user:hunter2@example.org/rows.csv",
    "user:hunter2@example.org/rows.csv",
    "https://user:hun/ter2@example.org/rows.csv",
    "https://example.org/rows.csv?token=hunter2",
    "https://example.org/rows.csv?X-Amz-Signature=hunter2",
    "https://example.org/rows.csv?sv=2024&sig=hunter2",
    "https://example.org/rows.csv?api_key=hunter2",
    "https://example.org/rows.csv?any=hunter2",
    "https://example.org/rows.csv?hunter2",
    "https://example.org/rows.csv#access_token=hunter2",
    "https://example.org/rows.csv;jsessionid=hunter2",
    "s3://KEY:hunter2@bucket/rows.csv",
    "s3://KEY:hunter2/bucket/rows.csv",
    "s3:KEY:hunter2@bucket/rows.csv",
    "s3://bucket/rows.csv?X-Amz-Credential=hunter2",
    "ftp://user:hunter2@example.org/rows.csv",
    "hub:https://user:hunter2@huggingface.co/datasets/x/y",
    "hub:https://huggingface.co/datasets/x/y?token=hunter2",
    "://user:hunter2@example.org/rows.csv",
    "https://user%3Ahunter2%40example.org/rows.csv",
]
WITHOUT = [
    "embedded", "spoken", "data/rows.csv", "/data/a@b.csv", "data/a?b.csv", "data/a#1;2.csv", "C:\\rows.csv",
    "~/rows.parquet", "s3://bucket/a@b/rows.csv", "https://example.org/rows.csv", "http://127.0.0.1:80/rows.csv",
    "https://cdn.example.org/npm/set@2/rows.csv", "http://[2001:db8::1]:80/rows.csv", "hub:google/fleurs",
    "hub:./own", "åäö/rader.csv", "https://räksmörgås.se/rader.csv",
]  # fmt: skip


@pytest.mark.parametrize("source", WITH_KEYS)
def test_an_address_that_may_hold_a_key_is_refused_with_the_remedy_and_not_shown(source):
    with pytest.raises(ValueError, match=r"\(not shown\)") as caught:
        refuse_keys(source)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ValueError, match=r"\(not shown\)"):
        CorpusConfig(source=source)


@pytest.mark.parametrize("source", WITHOUT)
def test_paths_and_plain_addresses_are_taken_as_they_are(source):
    assert refuse_keys(source) == source
    assert re.search(PATTERN, source)


@pytest.mark.parametrize("source", WITH_KEYS[:-1])  # the last: a host that cannot be
def test_the_form_knows_the_same_rule_so_that_a_server_keeps_nothing(source):
    assert not re.search(PATTERN, source)


@given(
    st.sampled_from(["http", "https", "s3", "ftp", "S3", "hub:https"]),
    st.text("abcXYZ019-_.~%+", max_size=12),
    st.text("abcXYZ019-_.~%+", min_size=1, max_size=40),
    st.sampled_from(["example.org", "127.0.0.1", "bucket"]),
)
def test_no_user_and_no_query_of_any_wording_is_taken(scheme, user, secret, host):
    for source in (
        f"{scheme}://{user}:{secret}@{host}/rows.csv",
        f"{scheme}://{secret}@{host}/rows.csv",
        f"{scheme}://{host}/rows.csv?{user}={secret}",
        f"{scheme}://{host}/rows.csv?{secret}",
        f"{scheme}://{host}/rows.csv#{secret}",
    ):
        with pytest.raises(ValueError, match=r"\(not shown\)"):
            refuse_keys(source)
        assert not re.search(PATTERN, source)


@pytest.mark.parametrize(
    "source", ["a\nb.csv", "https://example.org/\r\nHost: x/rows.csv", "nul\0.csv", "x" * 2001]
)
def test_control_characters_and_endless_addresses_are_refused(source):
    with pytest.raises(ValueError, match="at most 2,000 characters, none of them a control character"):
        refuse_keys(source)


def test_names_of_models_are_no_addresses():
    secret = "https://user:hunter2@example.org/model"
    for made in (
        lambda: FinetuneConfig(model=secret),
        lambda: FinetuneConfig(push_to_hub=secret),
        lambda: PrepareConfig(tokenizer=secret),
        lambda: CorpusConfig(subset=secret),
    ):
        with pytest.raises(ValueError, match="found an address") as caught:
            made()
        assert "hunter2" not in str(caught.value)
    refuse_address("openai/whisper-small", "a name")


@pytest.mark.parametrize("flow", [day, features, speech_day, speech_features], ids=lambda flow: flow.name)
def test_flows_refuse_a_key_when_parameters_are_validated(flow):
    secret = WITH_KEYS[0]
    asked = {"system": "iris", "source": secret}
    if "language" in flow.parameters.properties:
        asked = {"language": "sv", "corpus": {**asdict(CorpusConfig()), "source": secret}}
    with pytest.raises(ParameterTypeError, match=r"\(not shown\)") as caught:
        flow.validate_parameters(asked)
    assert "hunter2" not in str(caught.value)
    assert PATTERN in str(flow.parameters.model_dump()).replace(
        "\\\\", "\\"
    )  # Prefect's server asks for it too
