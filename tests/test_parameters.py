"""A run with wrong parameters is refused when it is created, by the Prefect server itself."""

import datetime as dt
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from prefect.exceptions import PrefectHTTPStatusError
from prefect.utilities.importtools import import_object
from prefect.utilities.schema_tools.validation import validate
from prefect_server import ROOT

from dagsverk.form import DAY, NO_DAY

ENTRIES = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]

REFUSED = [
    ("day/iris", {"date": "yesterday"}, "date"),
    ("day/iris", {"date": "31 January"}, "date"),
    ("day/iris", {"date": "2026-02-30"}, "a day that no calendar has"),
    ("day/iris", {"date": "2025-02-29"}, "a day that no calendar has"),
    ("day/iris", {"date": "2026-1-31"}, "date"),
    ("day/iris", {"date": "2026-01-31T00:00:00"}, "date"),
    ("day/iris", {"date": "2026-01-31\n"}, "date"),
    ("day/iris", {"date": 20260131}, "date"),
    ("day/iris", {"date": ""}, "date"),
    ("day/iris", {"dat": "2026-01-31"}, "'dat' was unexpected"),
    ("day/iris", {"system": "atlantis"}, "is not one of ['iris', 'titanic']"),
    ("day/iris", {"max_bad_share": 1.5}, "greater than the maximum of 1"),
    ("day/iris", {"training": {"model_clases": ["lda"]}}, "'model_clases' was unexpected"),
    ("day/iris", {"training": {"model_classes": []}}, "should be non-empty"),
    ("day/iris", {"training": {"model_classes": ["lda", "lda"]}}, "has non-unique elements"),
    ("day/iris", {"training": {"model_classes": ["oracle"]}}, "is not one of ['knn'"),
    ("day/iris", {"training": {"origins": ["synthetic"]}}, "does not contain items"),
    ("day/iris", {"training": {"folds": 1}}, "less than the minimum of 2"),
    ("day/iris", {"training": None}, "is not of type 'object'"),
    ("day/iris", {"synthesis": {"cuont": 5}}, "'cuont' was unexpected"),
    ("day/iris", {"synthesis": {"label_shares": {"iris_setosa": 2}}}, "greater than the maximum of 1"),
    ("synthesis/titanic", {"date": "tomorrow"}, "date"),
    ("backfill/titanic", {"first": "2026-01-01", "last": "today"}, "last"),
    ("backfill/titanic", {"first": "2026-01-01"}, "'last' is a required property"),
    ("inference/iris", {"date": "2026-01-31"}, "'date' was unexpected"),
    ("speech-day/swedish", {"corpus": {"sorce": "spoken"}}, "'sorce' was unexpected"),
    ("speech-day/swedish", {"corpus": {"source": "  "}}, "corpus.source"),
    ("speech-day/swedish", {"finetune": {"step": 5}}, "'step' was unexpected"),
    ("speech-day/swedish", {"language": "klingon"}, "not valid under any of the given"),
    ("speech-features/italian", {"preparation": {"n_mels": 64}}, "is not one of [80, 128]"),
    ("speech-training/italian", {"finetune": {"model": ""}}, "finetune.model"),
    ("speech-evaluation/italian", {"evaluation": {"beams": 0}}, "less than the minimum of 1"),
]
TAKEN = [
    ("day/iris", {}),
    ("day/iris", {"date": None}),
    ("day/iris", {"date": "2024-02-29", "synthesis": {"label_shares": {"iris_setosa": 1}}}),
    ("backfill/titanic", {"first": "2026-01-01", "last": "2026-01-02"}),
    ("speech-day/swedish", {"corpus": {"train_clips": None}, "finetune": {"learning_rate": 1e-4}}),
]


@pytest.fixture(scope="module")
def create(prefect_server):
    """Creates a run as the command and the Prefect UI do; it is deleted again, so no worker takes it."""
    done = prefect_server.run("-m", "deployments.register")
    assert done.returncode == 0, done.stderr

    def create(name, parameters):
        async def ask(client):
            deployment = await client.read_deployment_by_name(name)
            run = await client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
            await client.delete_flow_run(run.id)

        prefect_server.ask(ask)

    return create


@pytest.mark.slow
@pytest.mark.parametrize("name, parameters, complaint", REFUSED)
def test_a_wrong_parameter_is_refused_when_the_run_is_created(create, name, parameters, complaint):
    with pytest.raises(PrefectHTTPStatusError) as refused:
        create(name, parameters)
    assert refused.value.response.status_code == 409
    assert complaint in refused.value.response.json()["detail"]


@pytest.mark.parametrize("name, parameters", TAKEN)
def test_right_parameters_are_taken(create, name, parameters):
    create(name, parameters)


@pytest.mark.slow
def test_the_command_says_what_is_wrong(prefect_server, create):
    asked = ("-m", "prefect", "deployment", "run", "day/iris", "--param", "date=yesterday")
    done = prefect_server.run(*asked)
    assert done.returncode != 0
    assert "Validation failed for field 'date'" in " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize("entrypoint", sorted({entry["entrypoint"] for entry in ENTRIES}))
def test_every_table_inside_a_form_is_closed_and_every_default_fits_it(entrypoint):
    form = import_object(entrypoint).parameters
    closed = {name: found.get("additionalProperties") for name, found in form.definitions.items()}
    assert set(closed.values()) <= {False}, closed
    defaults = {name: found["default"] for name, found in form.properties.items() if "default" in found}
    assert validate(defaults, form.model_dump(), ignore_required=True) == []


@given(st.dates())
def test_every_day_of_the_calendar_fits_the_form(date):
    text = date.isoformat()
    assert re.search(DAY, text)
    assert not re.search(NO_DAY, text)


@given(st.from_regex(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\Z"))
def test_what_no_calendar_has_does_not_fit_the_form(text):
    try:
        dt.date.fromisoformat(text)
    except ValueError:
        assert re.search(NO_DAY, text)
    else:
        assert not re.search(NO_DAY, text)
