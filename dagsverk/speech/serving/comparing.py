"""A job's recording once more, by the model before training: a job of its own, to be set beside the first."""

from __future__ import annotations

import threading
from dataclasses import replace

from dagsverk.speech.errors import AudioError, Busy
from dagsverk.speech.serving.before_training import NoModelBefore, was_tuned
from dagsverk.speech.serving.jobs import Jobs, View

_lock = threading.Lock()  # who asks twice at once gets one job


def compare(jobs: Jobs, id: str) -> View:
    """The job beside a job that is done: the one there is, unless it failed, else a new one.

    It is given the same stretches of the recording, several at once if it hears 30 s, and the same prompt.
    The times of its words say which stretch they are of.
    Raises: NoJob; Busy if the job is not done, or too many wait; NoModelBefore if its model was not trained
        from another one; AudioError if the recording is no longer kept; StoreError.
    """
    view = jobs.view(id)
    if view.result is None:
        raise Busy(f"the job is {view.state}; compare it when it is done")
    version = view.result.original.model
    if not was_tuned(version):
        raise NoModelBefore(f"{version.name} {version.version} was not trained from another model")
    with _lock:
        beside = jobs.beside(id)
        if beside is not None and beside.state != "failed":
            return beside
        recording = jobs.recording(id)
        if recording is None:
            raise AudioError("missing audio", "it is no longer kept here; give it again, and then compare")
        job = view.job
        order = replace(job.order, tasks=job.order.tasks[:1], words=True, before=version.version)
        spoken, name = view.result.original.language, job.name
        new = jobs.submit(spoken, recording, visitor=job.visitor, name=name, order=order, beside=id)
        return jobs.view(new)
