"""A job outlives the server that is at it: killed without a word, its successor ends what it began."""

import os
import signal

import httpx
import numpy as np
import psutil
from speech_models import sounds
from speech_site import spoken_store, wav
from ui_site import serving_process

TEXTS = [sound.text for sound in sounds()]
THREE = wav(np.concatenate([part for s in sounds() for part in (np.zeros(24_000, np.float32), s.audio)]))


def workers_of(process):
    return [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "dagsverk.speech.serving.worker" in child.cmdline()
    ]


def test_a_job_whose_server_is_killed_is_ended_by_the_next_one(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    store = spoken_store()
    with serving_process(store, tmp_path / "first.log") as (address, server):
        sent = httpx.post(f"{address}/api/jobs/swedish", content=THREE).json()
        waiting = httpx.post(f"{address}/api/jobs/swedish", content=THREE).json()
        path = f"/api/jobs/{sent['id']}"
        while not (workers := workers_of(server)):
            assert httpx.get(address + path).json()["state"] in ("queued", "running")
        os.kill(server.pid, signal.SIGKILL)
        server.wait(20)
    gone, alive = psutil.wait_procs(workers, timeout=60)
    assert gone and not alive  # the process of the models does not outlive who asks it
    with serving_process(store, tmp_path / "second.log") as (address, _):
        for job in (sent, waiting):
            while (answer := httpx.get(f"{address}/api/jobs/{job['id']}", timeout=60).json())["state"] in (
                "queued",
                "running",
            ):
                pass
            assert (answer["state"], answer["result"]["text"]) == ("done", "\n".join(TEXTS))
