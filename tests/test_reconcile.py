"""The reconciler: each rule of its table, how it measures time, how it counts attempts; claims and leases."""

import datetime as dt
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.client.schemas.objects import State, StateType
from prefect.states import AwaitingRetry, Completed, Crashed, Running

from deployments import claims, leases
from deployments.claims import Life
from deployments.reconcile import (
    ATTEMPTS,
    LOOK_S,
    LOST_PENDING_S,
    LOST_S,
    RESUMED,
    RULES,
    SETTLES_S,
    SOMEWHERE_S,
    STARTED,
    Outcome,
    Seen,
    Watch,
    decide,
    fruitless,
)

ROOT = Path(__file__).resolve().parents[1]
RUNNING, PENDING, CANCELLING, CRASHED = (
    StateType.RUNNING,
    StateType.PENDING,
    StateType.CANCELLING,
    StateType.CRASHED,
)
OLD = LOST_PENDING_S + 1


def seen(state=RUNNING, life=Life.ENDED, same_s=OLD, **more) -> Seen:
    return Seen(state=state, life=life, same_s=same_s, **more)


# One line per rule, in the order of the table: what is seen, what is done.
CASES = [
    (seen(life=Life.LIVES, managed=True, parent_cancelled=True), Outcome.STOP),
    (seen(StateType.SCHEDULED), Outcome.LEAVE),
    (seen(managed=True), Outcome.LEAVE),
    (seen(CRASHED, Life.LIVES), Outcome.LEAVE),
    (seen(same_s=SETTLES_S / 2), Outcome.LEAVE),
    (seen(parent_ended=True, deployed=False, heartbeat=False), Outcome.CRASH),
    (seen(life=Life.ELSEWHERE, deployed=False, heartbeat=False), Outcome.LEAVE),
    (seen(PENDING, Life.ELSEWHERE, LOST_S + 1), Outcome.LEAVE),
    (seen(RUNNING, Life.ELSEWHERE, LOST_S - 1), Outcome.LEAVE),
    (seen(CANCELLING), Outcome.CANCEL),
    (seen(resumable=False), Outcome.CRASH),
    (seen(CRASHED, resumable=False), Outcome.LEAVE),
    (seen(CRASHED, fruitless=ATTEMPTS), Outcome.FAIL),
    (seen(), Outcome.RESUME),
]


@pytest.mark.parametrize("rule, case", list(zip(RULES, CASES, strict=True)), ids=[rule[0] for rule in RULES])
def test_each_rule_decides_its_case(rule, case):
    why, _, outcome = rule
    facts, expected = case
    assert decide(facts) == (outcome, why)
    assert outcome is expected


@pytest.mark.parametrize("state", [RUNNING, PENDING, CRASHED])
def test_a_run_whose_process_ended_here_goes_back_into_the_queue(state):
    assert decide(seen(state, same_s=SETTLES_S))[0] is Outcome.RESUME


@pytest.mark.parametrize("state, limit_s", [(RUNNING, LOST_S), (PENDING, LOST_PENDING_S)])
def test_a_run_of_another_machine_is_lost_after_its_silence(state, limit_s):
    assert decide(seen(state, Life.ELSEWHERE, limit_s))[0] is Outcome.RESUME


SEEN = st.builds(
    Seen,
    state=st.sampled_from([*STARTED, CRASHED]),
    life=st.sampled_from(Life),
    same_s=st.floats(0, 1000),
    managed=st.booleans(),
    resumable=st.booleans(),
    deployed=st.booleans(),
    heartbeat=st.booleans(),
    parent_ended=st.booleans(),
    parent_cancelled=st.booleans(),
    fruitless=st.integers(0, 20),
)


@given(SEEN)
def test_a_run_with_a_living_process_is_never_touched(facts):
    if (facts.life is Life.LIVES or facts.managed) and not facts.parent_cancelled:
        assert decide(facts)[0] is Outcome.LEAVE


@given(SEEN)
def test_no_deployed_run_is_left_for_ever(facts):
    """Whatever is seen, a started run that nobody works for is settled once it has been silent for long."""
    if facts.deployed and facts.state in STARTED and facts.life is not Life.LIVES and not facts.managed:
        later = Seen(**{**vars(facts), "same_s": OLD})
        assert decide(later)[0] is not Outcome.LEAVE


@given(SEEN)
def test_a_cancelled_run_is_not_resumed(facts):
    if facts.state is CANCELLING:
        assert decide(facts)[0] is not Outcome.RESUME


def test_waiting_is_measured_while_the_facts_stay_the_same():
    watch = Watch()
    assert watch.look({1: "a"}, 100.0) == {1: 0.0}
    assert watch.look({1: "a"}, 100.0 + LOOK_S) == {1: LOOK_S}
    assert watch.look({1: "b"}, 100.0 + 2 * LOOK_S) == {1: 0.0}


def test_time_that_was_slept_through_counts_for_nobody():
    watch = Watch()
    watch.look({1: "a"}, 0.0)
    watch.look({1: "a"}, LOOK_S)
    assert watch.look({1: "a"}, 400.0) == {1: 0.0}  # a laptop's lid, a SIGSTOP, a server that was away
    assert watch.look({1: "a"}, 400.0 + LOOK_S) == {1: LOOK_S}


def history(*steps: tuple[float, State]) -> list[State]:
    """States at seconds from a beginning."""
    begin = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return [state.model_copy(update={"timestamp": begin + dt.timedelta(seconds=s)}) for s, state in steps]


def test_attempts_that_got_nowhere_are_counted_and_forgotten_after_one_that_did():
    again = AwaitingRetry(message=f"{RESUMED}: its process is gone.")
    short = [(0, Running()), (5, Crashed()), (6, again), (7, Running()), (9, Crashed()), (10, again)]
    assert fruitless(history(*short)) == 2
    long = [*short, (11, Running()), (11 + SOMEWHERE_S, Crashed()), (12 + SOMEWHERE_S, again)]
    assert fruitless(history(*long)) == 1


def test_being_handed_back_is_no_failed_attempt():
    back = AwaitingRetry(message="Handed back: its worker was stopped")
    assert fruitless(history((0, Running()), (1, back), (2, Running()), (3, Completed()))) == 0


HOLDER = """
import sys, os
from deployments import claims
handle = claims.hold(sys.argv[1], sys.argv[2])
if len(sys.argv) > 3:
    begun, told = os.pipe()
    if not os.fork():
        os.write(told, b"!")  # what is done at a fork is done
        sys.stdin.read()
        os._exit(0)
    os.read(begun, 1)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Starts a process that holds the claim of a run."""
    started = []

    def start(run: str, *more: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path), run, *more],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_claim_lives_with_its_process_and_ends_with_it(tmp_path, holder):
    assert claims.life(tmp_path, "run") is Life.ELSEWHERE
    claims.claim(tmp_path, "run", "worker-1")
    assert claims.life(tmp_path, "run") is Life.ENDED
    process = holder("run")
    assert claims.life(tmp_path, "run") is Life.LIVES
    process.kill()
    process.wait()
    assert claims.life(tmp_path, "run") is Life.ENDED
    assert claims.claimant(tmp_path, "run") == "worker-1"


def test_a_frozen_process_lives(tmp_path, holder):
    process = holder("run")
    os.kill(process.pid, signal.SIGSTOP)
    assert claims.life(tmp_path, "run") is Life.LIVES


def test_a_run_has_one_process_on_a_machine(tmp_path, holder, monkeypatch):
    holder("run")
    monkeypatch.setattr(claims, "LOOKED_AT_S", 0.1)
    with pytest.raises(claims.AlreadyHeld, match="another process works for run run"):
        claims.hold(tmp_path, "run")


def test_a_forked_child_does_not_keep_a_dead_process_alive(tmp_path, holder):
    process = holder("run", "fork")
    process.kill()
    process.wait()
    assert claims.life(tmp_path, "run") is Life.ENDED


def test_a_claim_is_not_taken_from_a_living_process_and_not_forgotten(tmp_path, holder):
    claims.claim(tmp_path, "run", "worker-1")
    holder("run")
    claims.claim(tmp_path, "run", "worker-2")
    claims.release(tmp_path, "run")
    assert claims.claimant(tmp_path, "run") == "worker-1"


@pytest.mark.skipif(sys.platform != "linux", reason="environments of processes are read on Linux")
def test_what_a_dead_flow_left_running_is_killed_by_the_runs_id(tmp_path):
    run = "5f0c7e1e-0000-4000-8000-000000000001"
    left = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE,
                            env={**os.environ, "PREFECT__FLOW_RUN_ID": run})  # fmt: skip
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        while not list(claims.leftovers(run)):  # until it has replaced our own environment by its own
            assert left.poll() is None
        assert claims.end_leftovers(run) == 1
        assert left.wait(30) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        for process in (left, other):
            process.kill()
            process.communicate()


def lease(folder: Path, name: str, run: str, limit: str) -> None:
    content = {"id": name, "resource_ids": [limit], "expiration": "2026-01-01T00:00:00+00:00"}
    metadata = {"slots": 1, "holder": {"type": "flow_run", "id": run}}
    (folder / f"{name}.json").write_text(json.dumps({**content, "metadata": metadata}))


def test_leases_are_found_by_their_holder_and_a_spoilt_file_is_passed_over(tmp_path):
    limit = "5f0c7e1e-0000-4000-8000-000000000002"
    lease(tmp_path, "a", "run", limit)
    lease(tmp_path, "b", "other", limit)
    (tmp_path / "c.json").write_text('{"metadata": ')
    (tmp_path / leases.INDEX).write_text(json.dumps({"a": "2026-01-01"}))
    assert leases.leases_of("run", tmp_path) == ["a"]
    assert leases.places_held(tmp_path) == {UUID(limit): 2}
