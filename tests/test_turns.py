"""Places in a line, stages of work, and a way to stop it. Nothing is timed."""

from __future__ import annotations

import threading

import pytest

from dagsverk.speech.errors import Busy
from dagsverk.turns import Left, Places, Stop, staged


def places(count: int = 1, **options: float) -> Places:
    return Places(count, "the bench", **{"most_waiting": 1, "patience_s": 60.0, **options})


def test_a_place_that_is_given_up_is_given_to_the_next():
    bench = places()
    for _ in range(3):
        with bench.place():
            pass
    bench.refuse_if_full()


def test_a_long_line_is_not_joined():
    bench = places(most_waiting=0)
    with bench.place(), pytest.raises(Busy, match="the bench is taken, and 0 wait for it"):
        bench.refuse_if_full()


def test_nobody_waits_for_longer_than_the_patience():
    bench = places(patience_s=0.0)
    with bench.place(), pytest.raises(Busy, match="was taken for 0 s"), bench.place():
        pass


def test_who_leaves_the_line_is_not_waited_for():
    bench, stop = places(), Stop()
    stop.press()
    with bench.place(), pytest.raises(Left), bench.place(stop):
        pass
    with bench.place():
        pass


def test_stages_come_in_their_order_and_the_result_last():
    def work(report, check):
        for stage in ("reading", "writing"):
            check()
            report(stage)
        return 42

    seen = list(staged(work, "waiting"))
    assert list(dict.fromkeys(seen)) in (["reading", "writing", 42], ["waiting", "reading", "writing", 42])


def test_a_stage_is_given_again_while_it_lasts():
    go_on = threading.Event()

    def work(report, check):
        go_on.wait()
        return "done"

    stages = staged(work, "waiting")
    assert [next(stages), next(stages)] == ["waiting", "waiting"]
    go_on.set()
    assert list(stages)[-1] == "done"


def test_what_the_work_raises_is_raised_to_who_reads():
    def work(report, check):
        raise InterruptedError("no more")

    with pytest.raises(InterruptedError, match="no more"):
        list(staged(work, "waiting"))


def test_closing_the_stages_ends_the_work():
    ended = threading.Event()

    def work(report, check):
        report("working")
        try:
            while True:
                check()
        finally:
            ended.set()

    stages = staged(work, "waiting")
    while next(stages) != "working":
        pass
    stages.close()
    assert ended.wait(60)
