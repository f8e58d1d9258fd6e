"""A run that waits for runs of other deployments: what it takes for their end, and what it tells of it."""

import logging
import os
import signal
import threading
from contextvars import copy_context

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import AwaitingRetry, Cancelled, Completed, Crashed, Failed, Pending, Running
from prefect_server import wait_for

from tasks import children
from tasks.children import patiently, run_child

WAITING = """
name: waiting
pull: [{prefect.deployments.steps.set_working_directory: {directory: "{{ $DAGSVERK_ROOT }}"}}]
deployments:
  - {name: resumable, entrypoint: gated_flows.gated, tags: [resumable], work_pool: {name: cpu}}
  - {name: fragile, entrypoint: gated_flows.gated, work_pool: {name: cpu}}
  - {name: parent-of-one, entrypoint: gated_flows.parent_of_one, tags: [resumable], work_pool: {name: cpu}}
"""


@pytest.fixture(scope="module")
def server(prefect_server, tmp_path_factory):
    path = tmp_path_factory.mktemp("waiting") / "prefect.yaml"
    path.write_text(WAITING)
    done = prefect_server.run("-m", "deployments.register", "--prefect-file", str(path))
    assert done.returncode == 0, done.stderr
    with temporary_settings(
        {PREFECT_API_URL: prefect_server.api_url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    ):
        yield prefect_server


class Parent:
    """A flow in a thread of this process, which waits for a child that no worker takes: the test moves it."""

    def __init__(self, server, deployment, log):
        self.server, self.log, self.state = server, log, None
        self.seen = 0

        @flow(name="waiting-parent")
        def parent():
            run_child(deployment, {"folder": "nowhere"})

        def run():
            self.state = parent(return_state=True)

        self.thread = threading.Thread(target=copy_context().run, args=(run,), daemon=True)
        self.thread.start()
        self.child = wait_for(self._started, "the child")

    def _started(self):
        lines = [record.getMessage() for record in self.log.records if " is Scheduled" in record.getMessage()]
        if not lines:
            return None
        name = FlowRunFilter.model_validate({"name": {"any_": [lines[0].split(" is ")[0]]}})
        return self.server.ask(lambda client: client.read_flow_runs(flow_run_filter=name))[0]

    def move(self, *states):
        """Set the child's states one after another, each when the parent has seen the one before."""
        for state in states:
            self.server.ask(lambda client, s=state: client.set_flow_run_state(self.child.id, s, force=True))
            if not state.is_final() or (state.is_crashed() and "resumable" in self.child.tags):
                words = f"{self.child.name} is {state.name}"
                wait_for(lambda w=words: self._logged(w), words)

    def _logged(self, words):
        lines = [record.getMessage() for record in self.log.records]
        place = next((n for n, line in enumerate(lines) if n >= self.seen and line.startswith(words)), None)
        if place is not None:
            self.seen = place + 1
        return place is not None

    def end(self):
        self.thread.join(60)
        assert self.state is not None, "the parent goes on waiting"
        return self.state


@pytest.fixture
def begin(server, caplog):
    caplog.set_level(logging.INFO)
    begun = []

    def begin(deployment):
        begun.append(Parent(server, deployment, caplog))
        return begun[-1]

    yield begin
    for parent in begun:  # no worker of another test shall take it
        server.ask(lambda client, p=parent: client.delete_flow_run(p.child.id))


def test_a_child_that_crashes_and_is_resumed_is_waited_for(begin):
    parent = begin("gated/resumable")
    parent.move(
        Pending(), Running(), Crashed(), AwaitingRetry(), Running(), Crashed(), Running(), Completed()
    )
    assert parent.end().is_completed()


def test_a_child_that_nobody_resumes_fails_its_parent_after_a_while(begin, monkeypatch):
    monkeypatch.setattr(children, "LOST_S", 3 * children.POLL_S)
    parent = begin("gated/resumable")
    parent.move(Running(), Crashed(message="No heartbeat."))
    assert parent.end().is_failed()
    assert "crashed and nobody resumed it" in parent.state.message
    assert (
        "see that a worker of its pool runs, then retry this run. It said: No heartbeat"
        in parent.state.message
    )


@pytest.mark.parametrize(
    "deployment, end, words",
    [
        ("gated/resumable", Failed(message="Given up after 8 attempts."), "ended Failed: Given up after 8"),
        ("gated/resumable", Cancelled(), "was cancelled; retry this run to start it again"),
        ("gated/fragile", Crashed(message="Out of memory."), "ended Crashed: Out of memory."),
    ],
)
def test_a_child_that_ends_otherwise_fails_its_parent_with_the_reason(begin, deployment, end, words):
    parent = begin(deployment)
    parent.move(Running(), end)
    assert parent.end().is_failed()
    assert words in parent.state.message


def test_a_child_that_is_deleted_fails_its_parent(server, caplog):
    caplog.set_level(logging.INFO)
    parent = Parent(server, "gated/resumable", caplog)
    server.ask(lambda client: client.delete_flow_run(parent.child.id))
    assert "was deleted; retry this run" in parent.end().message


def test_a_deployment_that_does_not_exist_is_named(server):
    @flow
    def lonely():
        run_child("gated/nowhere", {})

    state = lonely(return_state=True)
    assert "no deployment gated/nowhere: give it an entry in prefect.yaml" in state.message


def test_a_server_that_is_away_is_asked_again_and_what_it_says_is_heard(monkeypatch):
    monkeypatch.setattr(children, "POLL_S", 0.0)
    answers = [httpx.ConnectError("away"), httpx.ReadTimeout("slow"), "here"]

    def ask():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert patiently(ask) == "here"
    with pytest.raises(LookupError):
        patiently(lambda: {}["nothing"])


def test_a_parent_that_is_cancelled_cancels_its_child(server, tmp_path):
    """Both run in a real worker, which cancels the parent and then runs the hook."""
    os.mkfifo(tmp_path / "gate")

    async def start(client):
        deployment = await client.read_deployment_by_name("parent-of-one/parent-of-one")
        return await client.create_flow_run_from_deployment(
            deployment.id, parameters={"folder": str(tmp_path)}
        )

    def reaches(filtered, name):
        of = FlowRunFilter.model_validate(filtered)
        runs = server.ask(lambda client: client.read_flow_runs(flow_run_filter=of))
        return runs[0].state_name == name

    with server.worker(drain_s=0):
        parent = server.ask(start)
        its_own, its_child = ({key: {"any_": [parent.id]}} for key in ("id", "parent_flow_run_id"))
        wait_for((tmp_path / "attempts").exists, "the child's attempt")
        wait_for(lambda: reaches(its_child, "Running"), "the child says that it runs")
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(parent.id, children.Cancelling())
        wait_for(lambda: reaches(its_own, "Cancelled"), "the parent's end")
        wait_for(lambda: reaches(its_child, "Cancelled"), "the child's end")
    process = int((tmp_path / "attempts").read_text().split()[0])
    with pytest.raises(ProcessLookupError):
        os.kill(process, signal.SIGCONT)
