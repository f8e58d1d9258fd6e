"""Systems describe themselves, and say so when they cannot."""

import dataclasses
import datetime as dt
import sys
import xml.etree.ElementTree as ET

import pytest
from fastapi.testclient import TestClient

from dagsverk.doctor import systems as systems_check
from dagsverk.doctor.finding import Level
from dagsverk.tabular import systems as package
from dagsverk.tabular.pictures import picture
from dagsverk.tabular.system import (
    Column,
    FaultySystem,
    faults,
    known_system,
    load_system,
    systems,
    usable_systems,
)
from ui.api import build_api
from ui.home import look
from ui.speech.desk import SpeechDesk
from ui.tabular.desk import TabularDesk


def test_both_systems_of_the_originals_are_known():
    assert {"iris", "titanic"} <= set(systems())


@pytest.mark.parametrize("name", ["atlantis", "", "../titanic", "titanic\n", "Titanic", "__init__"])
def test_a_system_nobody_knows_is_refused_with_the_known_names(name):
    with pytest.raises(ValueError, match=r"known: .*titanic"):
        known_system(name)


@pytest.mark.parametrize("name", systems())
def test_every_input_has_limits_or_categories_and_an_example_within_them(name):
    for column in load_system(name).columns:
        if column.kind == "category":
            assert column.example in column.categories
        else:
            assert column.minimum <= column.example <= column.maximum


@pytest.mark.parametrize("name", systems())
def test_every_outcome_has_a_labelled_picture_that_runs_nothing(name):
    system = load_system(name)
    for outcome in system.classes:
        root = ET.fromstring(picture(system, outcome))  # noqa: S314  our own files
        assert root.attrib["role"] == "img"
        assert root.attrib["aria-label"]
        assert not [e for e in root.iter() if e.tag.endswith(("script", "image", "foreignObject"))]


def test_a_system_without_pictures_gets_drawn_ones_with_its_words_escaped():
    label = Column(name="kind", description="Kind", kind="category", categories=("<b>", "plain"))
    system = dataclasses.replace(load_system("iris"), name="strange", label=label)
    assert "<b>" not in picture(system, "<b>")
    with pytest.raises(ValueError, match="no outcome 'other'"):
        picture(system, "other")


def number(name, **more):
    return Column(name=name, description="x", kind="number", **more)


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"event_time": dt.datetime(1912, 4, 15)}, "time zone"),  # noqa: DTZ001  the point of the test
        ({"label": Column(name="x", description="x", kind="number")}, r"a quantity \(regression\)"),
        ({"columns": ()}, "no columns to predict from"),
        ({"columns": (number("Age"),)}, "cannot have a column 'Age'"),
        ({"columns": (number("alder_år"),)}, "cannot have a column 'alder_år'"),
        ({"columns": (number("a" * 64),)}, "cannot have a column"),
        ({"columns": (number("event_time"),)}, "event_time is a column of our own"),
        ({"columns": (number("prediction"),)}, "prediction is a column of our own"),
        ({"columns": (number("fare"), number("fare"))}, "fare is described more than once"),
        ({"columns": (number("sib_sp"), number("sibsp"))}, "sib_sp and sibsp are the same but for case"),
        ({"columns": (number("fare", synonyms=("PassengerId",)),)}, "passenger_id and fare are the same"),
        ({"columns": (number("deck"),)}, "unused names what is used: deck"),
        ({"name": "a" * 60}, "its name must match"),
    ],
)
def test_a_system_that_makes_no_sense_is_refused_when_it_is_written_down(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        dataclasses.replace(load_system("titanic"), **change)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "category"},
        {"kind": "number", "categories": ("a",)},
        {"kind": "number", "minimum": 2, "maximum": 1},
        {"kind": "text"},
        {"kind": "category", "categories": (0, 1)},
        {"kind": "category", "categories": "ab"},
        {"kind": "category", "categories": ("a", " b")},
        {"kind": "category", "categories": ("a", "a")},
        {"kind": "category", "categories": ("a",)},
        {"kind": "category", "categories": tuple(f"street {n}" for n in range(1000))},
        {"kind": "category", "categories": ("a", "b"), "aliases": {"0": "c"}},
        {"kind": "category", "categories": ("a", "b"), "example": "c"},
        {"kind": "integer", "aliases": {"first": "one"}},
        {"kind": "number", "minimum": 0, "example": -1},
    ],
)
def test_a_column_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=r"^column x: "):
        Column(name="x", description="x", **wrong)


@pytest.mark.parametrize(
    "column, value, words",
    [("pclass", 3.0, "third"), ("embarked", "S", "Southampton"), ("age", 29.5, "29.5")],
)
def test_values_are_worded_for_people(column, value, words):
    assert load_system("titanic").column(column).words(value) == words


# ------------------------------------------------------------------ files of systems

FAULTY = {
    "unclosed": ("x = (\n", r"line 1: SyntaxError: '\(' was never closed"),
    "stumbles": ("import sys\n\nsys.nothing()\n", "line 3: AttributeError"),
    "needs": ("import a_package_that_nobody_has\n", "line 1: No module named .*; install it"),
    "empty": ("", "it must define SYSTEM"),
    "leaves": ("import sys\nsys.exit(3)\n", "line 2: SystemExit: 3"),
    "misnamed": ("from dagsverk.tabular.systems.iris import SYSTEM\n", r"SYSTEM = System\(name='misnamed'"),
    "nonsense": (
        "from dagsverk.tabular.system import Column\n\nColumn(name='x', description='', kind='text')\n",
        "line 3: ValueError: column x: kind must be",
    ),
    "strange": ("\udcff", "SyntaxError"),
}


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    """All of them, beside the good ones."""
    for name, (text, _) in FAULTY.items():
        (tmp_path / f"{name}.py").write_bytes(text.encode(errors="surrogateescape"))
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    yield
    for name in FAULTY:
        sys.modules.pop(f"{package.__name__}.{name}", None)


def test_a_faulty_file_costs_its_own_system_alone_and_is_shown_by_file_and_line(faulty):
    assert [system.name for system in usable_systems()] == ["iris", "titanic"]
    assert set(faults()) == set(FAULTY)
    for name, (_, complaint) in FAULTY.items():
        with pytest.raises(FaultySystem, match=rf"systems/{name}\.py.*{complaint}"):
            load_system(name)


def test_the_doctor_and_the_pages_show_faulty_files_and_go_on(faulty, tmp_path):
    findings = list(systems_check.files(None))
    assert [one.level for one in findings] == [Level.FINE] + [Level.WRONG] * len(FAULTY)
    desk = TabularDesk(f"{tmp_path}/store")
    assert [system.name for system in desk.systems] == ["iris", "titanic"]
    health = TestClient(build_api(desk)).get("/healthz").json()
    assert (health["status"], set(health["faulty"])) == ("ok", set(FAULTY))
    assert "unclosed.py, line 1" in look(desk, SpeechDesk(f"{tmp_path}/store"), None)[1]
