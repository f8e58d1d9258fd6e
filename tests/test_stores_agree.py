"""The same days on every store end with the same rows, models, shards, checkpoints, scores and pages."""

from __future__ import annotations

import pandas as pd
import pytest
from days_on_stores import SYSTEMS, differences, shown, speech_day, store_at, tabular_day
from store_backends import BACKENDS


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    """What each backend holds and shows after the same days, by the backend's name."""
    states = {}
    for name, make in BACKENDS.items():
        room = tmp_path_factory.mktemp(name)
        with store_at(make(room).url, room):
            for system in SYSTEMS:
                tabular_day(system)
            speech_day()
            states[name] = shown()
    return states


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "folder"])
@pytest.mark.parametrize("what", ["models", "artefacts", "pages"])
def test_models_artefacts_and_pages_are_those_of_a_folder(days, backend, what):
    differing = differences(days["folder"][what], days[backend][what])
    assert differing == [], "\n".join(differing)


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "folder"])
def test_tables_are_those_of_a_folder(days, backend):
    for name, expected in days["folder"]["tables"].items():
        pd.testing.assert_frame_equal(days[backend]["tables"][name], expected, check_exact=True, obj=name)


def test_the_days_left_what_can_be_compared(days):
    state = days["folder"]
    assert {name: len(rows) for name, rows in state["tables"].items()} == {
        "titanic_features": 901,
        "titanic_predictions": 901,
        "titanic_rejects": 0,
        "iris_features": 160,
        "iris_predictions": 160,
        "iris_rejects": 0,
    }
    assert sorted(state["models"]) == ["iris", "titanic", "whisper_swedish"]
    assert sum("/shards/" in path for path in state["artefacts"]) > 5
    assert sum("/checkpoints/" in path for path in state["artefacts"]) > 5
