"""How many threads a computation is given."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dagsverk import threads


@pytest.mark.parametrize(
    ("files", "groups", "cores"),
    [
        ({"cpu.max": "150000 100000"}, "0::/", 1.5),
        ({"cpu.max": "max 100000"}, "0::/", float("inf")),
        ({"a/cpu.max": "400000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b", 4.0),
        ({"a/cpu.max": "50000 100000"}, "0::/a/b", 0.5),
        ({"cpu.max": "200000 100000"}, "0::/of/another/container", 2.0),
        ({"cpu/a/cpu.cfs_quota_us": "300000", "cpu/a/cpu.cfs_period_us": "100000"}, "3:cpu,cpuacct:/a", 3.0),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "3:cpu,cpuacct:/", float("inf")),
        ({"cpu.max": "nonsense"}, "0::/", float("inf")),
        ({"cpu.max": "100 0"}, "0::/", float("inf")),
        ({}, "0::/a\n4:memory:/b", float("inf")),
    ],
)
def test_the_least_quota_of_the_groups_a_process_lies_in_counts(tmp_path, files, groups, cores):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "cgroup").write_text(groups + "\n")
    assert threads.quota(tmp_path / "cgroup", tmp_path) == cores


def test_where_no_control_group_is_told_of_no_quota_counts(tmp_path):
    assert threads.quota(tmp_path / "nothing", tmp_path) == float("inf")


def test_a_container_s_quota_bounds_the_cores_and_leaves_one(tmp_path, monkeypatch):
    (tmp_path / "cgroup").write_text("0::/\n")
    (tmp_path / "cpu.max").write_text("50000 100000")
    monkeypatch.setattr(threads, "GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(threads, "CGROUPS", tmp_path)
    assert threads.allowed() == 1


@pytest.mark.parametrize(
    ("value", "number"),
    [("3", 3), ("4,2", 4), (" 2 ", 2), ("", None), ("0", None), ("many", None), ("-1", None)],
)
def test_what_people_ask_for_counts_before_all_else(monkeypatch, value, number):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads.asked_for() == number
    assert threads.given() == (number or threads.allowed())


def test_waiting_threads_sleep_and_memory_is_kept_unless_somebody_set_it_otherwise():
    code = """
import os
from dagsverk import threads
threads.prepare_environment()
print(*map(os.environ.get, [*threads.ASLEEP, *threads.KEEP_MEMORY]))
"""
    kept = {"PATH": os.environ["PATH"], "OMP_WAIT_POLICY": "ACTIVE"}
    said = subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["ACTIVE", "0", "33554432", "268435456"]
