"""The layout rules of docs/architecture.md, and what must never be in the tree."""

import ast
import graphlib
import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prefect import Flow
from prefect.utilities.importtools import import_object

ROOT = Path(__file__).resolve().parents[1]
LAYERS = {  # a package -> what it must not import
    "dagsverk": {"flows", "tasks", "ui", "deployments", "prefect", "gradio"},
    "tasks": {"flows", "ui", "deployments", "gradio"},
    "flows": {"ui", "deployments", "gradio"},
    "ui": {"flows", "tasks", "deployments", "prefect"},
}
SPEECH = {  # a package of dagsverk.speech -> those that it may import, besides the light modules beside them
    "corpora": set(),
    "audio": set(),
    "subtitles": set(),
    "fetching": set(),
    "model": set(),
    "features": {"audio", "corpora", "model"},
    "serving": {"audio", "features", "model", "subtitles"},
    "evaluation": {"audio", "corpora", "features", "model", "serving"},
    "transcription": {"audio", "corpora", "features", "model", "serving", "subtitles", "evaluation"},
    "compared": {"audio", "corpora", "features", "model", "serving", "evaluation", "transcription"},
    "training": {"corpora", "features", "model", "evaluation"},
    "search": {"features", "model", "evaluation", "training"},
    "labels": {"audio", "corpora", "features", "model", "evaluation"},
    "registry": {"features", "model", "evaluation"},
    "export": {"features", "model", "evaluation", "serving"},
}
HEAVY = ("torch", "transformers", "datasets", "xgboost", "sklearn", "skops", "hopsworks", "gradio", "plotly")
HEAVY += ("av", "accelerate", "peft", "jiwer", "ctranslate2", "optuna")
LIGHT = (  # imported in this order, in one process
    "dagsverk.store",
    "dagsverk.records",
    "dagsverk.cache",
    "dagsverk.tabular.config",
    "dagsverk.tabular.days",
    "dagsverk.tabular.system",
    "dagsverk.promotion",
    "dagsverk.words",
    "dagsverk.comparisons",
    "dagsverk.label_decisions",
    "dagsverk.label_report",
    "dagsverk.tabular.reports",
    "dagsverk.tabular.summary",
    "dagsverk.tabular.searching",
    "dagsverk.tabular.searched_words",
    "dagsverk.report.making",
    "dagsverk.lineage.tracing",
    "dagsverk.tracking.gathering",
    "dagsverk.learning_curve_words",
    "dagsverk.tabular.learning_curve_words",
    "dagsverk.suggestions",
    "dagsverk.suggesting.tabular",
    "dagsverk.suggesting.speech",
    *(f"dagsverk.speech.{name}" for name in ("config", "errors", "languages", "results", "runs")),
    *(f"dagsverk.speech.{name}" for name in ("steps", "summary", "corpora.opening", "registry.gate")),
    "dagsverk.speech.learning_curve_words",
    *(f"dagsverk.speech.{name}" for name in ("searching", "searched_words")),
    *(f"dagsverk.speech.{name}" for name in ("registry.card", "evaluation.groups")),
    *(f"dagsverk.speech.serving.{name}" for name in ("engine", "transcriber", "champions", "jobs")),
    *(f"dagsverk.speech.transcription.{name}" for name in ("adding_up", "files", "models", "terminal")),
    *(f"dagsverk.speech.transcription.{name}" for name in ("config", "results", "sources", "work")),
    *(f"dagsverk.speech.compared.{name}" for name in ("config", "contenders", "program", "writing")),
    "tasks.tabular",
    "tasks.search",
    "tasks.learning_curve",
    "tasks.speech_learning_curve",
    "tasks.speech_search",
    "tasks.labels",
    "tasks.speech",
    "tasks.transcription",
    "tasks.compare",
    "flows.tabular",
    "flows.speech",
    "flows.speech_search",
    "flows.compare",
)
CODE = [p for d in (*LAYERS, "deployments", "tests", "benchmarks") for p in sorted((ROOT / d).rglob("*.py"))]


def tracked_files():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    names = listed.stdout.split("\n") if listed.returncode == 0 else []
    return [ROOT / n for n in names if n and (ROOT / n).is_file()] or CODE


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_go_in_one_direction(layer):
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / layer).rglob("*.py")
        for name in imports(path)
        if name.split(".")[0] in LAYERS[layer]
    ]
    assert wrong == []


@pytest.mark.parametrize("package", SPEECH)
def test_packages_of_speech_import_in_one_direction(package):
    """So serving, for one, does not import training."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / "dagsverk" / "speech" / package).rglob("*.py")
        for name in imported_names(path)
        if name.startswith("dagsverk.speech.")
        and name.split(".")[2] in SPEECH.keys() - SPEECH[package] - {package}
    ]
    assert wrong == []


def test_the_table_of_speech_names_every_package_and_holds_no_circle():
    folders = [path for path in (ROOT / "dagsverk" / "speech").iterdir() if (path / "__init__.py").exists()]
    assert {path.name for path in folders} == set(SPEECH)
    graphlib.TopologicalSorter(SPEECH).prepare()  # raises CycleError


def imported_names(path):
    """Modules and what is taken from them: `from a import b` is a.b."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_importing_light_modules_loads_no_heavy_library():
    code = f"""
import importlib, json, sys
loaded = {{}}
for module in {LIGHT!r}:
    importlib.import_module(module)
    loaded |= {{heavy: module for heavy in {HEAVY!r} if heavy in sys.modules and heavy not in loaded}}
print(json.dumps(loaded))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == {}, "a heavy library, and the module that loads it"


def test_what_a_store_keeps_as_json_goes_through_records():
    """No function calls `json` and gets or puts an artefact, but in dagsverk.records and the store itself."""
    wrong = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"
        for layer in LAYERS
        for path in sorted((ROOT / layer).rglob("*.py"))
        if not (path.is_relative_to(ROOT / "dagsverk" / "store") or path == ROOT / "dagsverk" / "records.py")
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        and any(is_call_of(node, {"json"}, {"loads", "dumps"}) for node in ast.walk(function))
        and any(is_call_of(node, {"store"}, {"get", "put"}) for node in ast.walk(function))
    ]
    assert wrong == []


def is_call_of(node, owners, methods):
    """`owner.method(...)`, also of `self._owner`."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    owner = ast.unparse(node.func.value).split(".")[-1].strip("_")
    return owner in owners and node.func.attr in methods


SAY_NOTHING = {"found", "known", "told", "said", "heard"}


@pytest.mark.parametrize("layer", [*LAYERS, "deployments"])
def test_names_say_what_they_hold(layer):
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno} {name}"
        for path in sorted((ROOT / layer).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (name := named_here(node)) in SAY_NOTHING
    ]
    assert wrong == []


def named_here(node):
    """The variable or parameter that a node makes."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return node.id
    return node.arg if isinstance(node, ast.arg) else None


def test_no_module_is_named_like_an_installed_package():
    installed = {name for name in importlib.metadata.packages_distributions() if name not in LAYERS}
    ours = {path.stem for path in CODE if path.stem not in ("__init__", "__main__")}
    ours |= {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    known = {"deployments", "hopsworks"}  # the latter is dagsverk.store.hopsworks, inside two packages
    assert ours & (installed | sys.stdlib_module_names) - known == set()


def test_docker_is_no_package_because_prefect_imports_one_of_that_name():
    assert not (ROOT / "docker" / "__init__.py").exists()


def test_package_files_are_empty_except_where_a_package_has_a_door():
    doors = {ROOT / "dagsverk" / "store" / "__init__.py", ROOT / "ui" / "__init__.py"}
    full = [p for p in CODE if p.name == "__init__.py" and p not in doors and p.read_text().strip()]
    assert full == []


def entries():
    return yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


@pytest.mark.parametrize("entry", entries(), ids=lambda e: f"{e['entrypoint']}-{e['name']}")
def test_every_deployment_loads_and_its_parameters_validate(entry):
    flow = import_object(entry["entrypoint"])
    assert isinstance(flow, Flow)
    assert "/" not in entry["entrypoint"], "a path entrypoint puts flows/ first on sys.path"
    given = entry.get("parameters") or {}
    asked = {name: "2026-01-31" for name in flow.parameters.required if name not in given}
    assert all(flow.parameters.properties[name].get("format") == "date" for name in asked), "a form with gaps"
    flow.validate_parameters({**given, **asked})


def decorated_tasks():
    return list(_decorated_tasks())


def _decorated_tasks():
    for path in sorted((ROOT / "tasks").glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                for decorator in node.decorator_list:
                    if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "task":
                        yield pytest.param(node, decorator, id=node.name)


@pytest.mark.parametrize("function, decorator", decorated_tasks())
def test_every_task_names_its_retry_policy_and_says_why_a_retry_is_safe(function, decorator):
    policies = [k.value.id for k in decorator.keywords if k.arg is None and isinstance(k.value, ast.Name)]
    assert policies, f"{function.name} names no policy of tasks.policies"
    assert ast.get_docstring(function).startswith("Safe to repeat"), function.name


def test_nothing_can_be_unpickled():
    wrong = re.compile(r"^\s*(import|from)\s+(pickle|joblib|cloudpickle|dill)\b", re.MULTILINE)
    assert [str(p) for p in CODE if wrong.search(p.read_text(encoding="utf-8"))] == []


def test_no_secret_and_no_path_of_one_machine_is_in_the_tree():
    wrong = re.compile(
        r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY-----"
        r"|(?i:api_?key)\s*=\s*[\"'][A-Za-z0-9_.-]{16,}[\"']|/home/\w+/|/Users/\w+/"
    )
    text = {".py", ".md", ".toml", ".yaml", ".yml", ".json", ".txt", ".sh", ".env", ""}
    found = [
        str(p.relative_to(ROOT))
        for p in tracked_files()
        if p.suffix in text
        and p != Path(__file__)
        and wrong.search(p.read_text(encoding="utf-8", errors="ignore"))
    ]
    assert found == []


def test_functions_and_files_stay_short_enough_to_read():
    long = []
    for path in (p for p in CODE if p.parts[len(ROOT.parts)] != "benchmarks"):
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > 400:
            long.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                documented = len((ast.get_docstring(node, clean=False) or "").splitlines())
                if (node.end_lineno or 0) - node.lineno + 1 - documented > 60:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert long == []
