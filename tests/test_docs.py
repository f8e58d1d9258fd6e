"""What the documents say is run as they say it."""

import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CARRIED = ("dagsverk", "flows", "tasks", "ui", "deployments")
QUICK = 'TrainingConfig(model_classes=("lda",), folds=3, repeats=1)'


def blocks(path, language):
    return re.findall(
        rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def run_python(code, folder, **variables):
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONWARNINGS": "ignore", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_every_link_between_documents_leads_somewhere(path):
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (path.parent / target).exists()] == []


def test_every_make_target_that_a_document_names_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        name
        for path in DOCUMENTS
        for name in re.findall(r"\bmake ([a-z]+)\b", path.read_text(encoding="utf-8"))
    }
    assert named - targets - {"it"} == set()


def test_every_variable_that_a_document_gives_to_make_is_one():
    makefile = (ROOT / "Makefile").read_text()
    taken = set(re.findall(r"\$[({](?:if \$\()?([A-Z]+)\b", makefile))
    given = {
        name
        for path in DOCUMENTS
        for line in re.findall(r"\bmake [a-z]+ [^`\n]*", path.read_text(encoding="utf-8"))
        for name in re.findall(r"\b([A-Z]+)=", line)
    }
    assert given and given - taken == set()


def test_every_line_of_the_page_on_security_names_a_test_that_exists():
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    lines = [line.split("|") for line in page.splitlines() if line.startswith("|")][2:]
    assert len(lines) > 15
    for cells in lines:
        named = re.findall(r"`(test_\w+\.py)`", cells[-2])
        assert named and all((ROOT / "tests" / name).is_file() for name in named), cells


def test_the_readme_fits_two_screens():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 100


@pytest.fixture(scope="module")
def commands_of_deployments():
    """Every `prefect deployment run` that a document shows, with the lines it spans joined."""
    found = []
    for path in DOCUMENTS:
        for block in blocks(path, "bash"):
            joined = block.replace("\\\n", " ")
            found += [
                shlex.split(line) for line in joined.splitlines() if line.startswith("prefect deployment run")
            ]
    return found


def test_every_deployment_command_names_a_deployment_and_parameters_that_it_takes(commands_of_deployments):
    from prefect.utilities.importtools import import_object

    entries = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    known = {f"{import_object(e['entrypoint']).name}/{e['name']}": e for e in entries}
    assert len(commands_of_deployments) >= 4
    for command in commands_of_deployments:
        entry = known[command[3]]
        given = dict(word.split("=", 1) for flag, word in itertools.pairwise(command) if flag == "--param")
        values = {name: json.loads(text) if text.startswith("{") else text for name, text in given.items()}
        import_object(entry["entrypoint"]).validate_parameters({**entry["parameters"], **values})


@pytest.mark.slow
def test_every_request_to_the_rest_api_that_a_document_shows_is_answered():
    from fastapi.testclient import TestClient
    from ui_site import filled_store

    from ui.api import build_api
    from ui.tabular.desk import TabularDesk

    client = TestClient(build_api(TabularDesk(str(filled_store()))))
    block = blocks(ROOT / "docs" / "how-to" / "pages.md", "bash")[-1].replace("\\\n", " ")
    requests = [shlex.split(line) for line in block.splitlines() if line.startswith("curl")]
    assert len(requests) == 3
    for words in requests:
        path = next(word for word in words if word.startswith("http")).split("7860", 1)[1]
        body = words[words.index("-d") + 1] if "-d" in words else None
        headers = dict(words[words.index("-H") + 1].split(": ", 1) for flag in words if flag == "-H")
        answer = client.post(path, content=body, headers=headers) if body else client.get(path)
        assert answer.status_code == 200, (path, answer.text)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the tree to which the how-to is applied, word for word."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in CARRIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    how_to = ROOT / "docs" / "how-to" / "add-a-system.md"
    header = blocks(how_to, "csv")[0].splitlines()[0]
    islands, species = ("Biscoe", "Dream", "Torgersen"), ("adelie", "chinstrap", "gentoo")
    rows = [
        f"{i},{35 + i % 3 * 6 + i % 7},{180 + i % 3 * 14 + i % 5},{islands[i % 2]},{species[i % 3]}"
        for i in range(1, 61)
    ]
    (folder / "data").mkdir()
    (folder / "data" / "penguins.csv").write_text("\n".join([header, *rows]) + "\n")
    (folder / "dagsverk" / "tabular" / "systems" / "penguins.py").write_text(blocks(how_to, "python")[0])
    entry = blocks(how_to, "yaml")[0]
    (folder / "prefect.yaml").write_text((ROOT / "prefect.yaml").read_text().rstrip() + "\n\n" + entry)
    return folder


@pytest.mark.slow
def test_a_third_system_is_one_file_and_its_entries(checkout):
    """Its day runs, and every place that lists systems knows it."""
    code = f"""
import datetime as dt, importlib, json, yaml
from dagsverk.store import open_store
from dagsverk.tabular.summary import day_summary
from dagsverk.tabular.config import TrainingConfig
from dagsverk.tabular.days import SynthesisConfig
from flows.tabular import day
from tasks import tabular as tasks
entries = [one for one in yaml.safe_load(open("prefect.yaml"))["deployments"] if one["name"] == "penguins"]
for one in entries:
    getattr(importlib.import_module(one["entrypoint"].rpartition(".")[0]),
            one["entrypoint"].rpartition(".")[2]).validate_parameters(one["parameters"])
config = {QUICK}
rows = tasks.ingest.fn("penguins")
scores = [tasks.cross_validate.fn("penguins", rows, name, config) for name in config.model_classes]
tasks.register_best.fn("penguins", rows, scores, config)
tasks.synthesize.fn("penguins", dt.date(2026, 1, 31), SynthesisConfig())
tasks.predict.fn("penguins")
tasks.monitor.fn("penguins")
flows = [one["entrypoint"].rpartition(".")[2] for one in entries]
print(json.dumps([flows, day.parameters.model_dump()["properties"]["system"]["enum"]]))
print(day_summary(open_store(), "penguins"))
"""
    told = run_python(code, checkout, DAGSVERK_STORE=str(checkout / "store")).splitlines()
    flows = ["day", "tabular_search", "tabular_learning_curve", "tabular_labels", "tabular_compare"]
    assert json.loads(told[0]) == [flows, ["iris", "penguins", "titanic"]]
    assert "60 from embedded, 0 set aside; 60 rows new" in told[1]
    assert "champion         version 1" in "\n".join(told)


@pytest.mark.slow
def test_a_third_system_has_its_pages_and_its_rest_address(checkout):
    code = """
from ui.app import build_app
from ui.tabular.desk import TabularDesk
app = build_app(TabularDesk("store"))
from fastapi.testclient import TestClient
client = TestClient(app)
for path in ("/penguins", "/penguins-monitor"):
    assert client.get(path).status_code == 200, path
given = {"bill_length_mm": 41, "flipper_length_mm": 200, "island": "Dream"}
print(client.post("/api/predict/penguins", json=given).json())
"""
    told = run_python(
        code, checkout, DAGSVERK_STORE=str(checkout / "store"), GRADIO_ANALYTICS_ENABLED="False"
    )
    assert any(name in told for name in ("adelie", "chinstrap", "gentoo"))


@pytest.mark.slow
def test_the_python_of_add_a_system_runs(checkout):
    told = run_python(blocks(ROOT / "docs" / "how-to" / "add-a-system.md", "python")[1], checkout)
    assert "60 rows taken, 0 set aside" in told


@pytest.mark.slow
def test_the_python_of_run_a_day_reads_the_store(checkout):
    run_python(
        'from tasks import tabular; tabular.ingest.fn("titanic")',
        checkout,
        DAGSVERK_STORE=str(checkout / "other"),
    )
    code = blocks(ROOT / "docs" / "how-to" / "run-a-day.md", "python")[0]
    told = run_python(code, checkout, DAGSVERK_STORE=str(checkout / "other"))
    assert "titanic-99" in told
    assert told.rstrip().endswith("None")
