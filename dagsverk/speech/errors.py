"""What can go wrong with speech, by kind. Light: loads no learning library."""

from __future__ import annotations


class SpeechError(Exception):
    """Something that was asked of speech cannot be done; the message says the next move."""


class CorpusError(SpeechError):
    """A corpus cannot be read at all: absent, of another form, cut short, access denied."""


class CorpusUnavailable(CorpusError):
    """Where the corpus lies did not answer, or broke off: another try may do."""


class AudioError(SpeechError):
    """One recording cannot be used. `reason` is the short name under which it is counted."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class TooManyBadClips(SpeechError):
    """More clips were set aside than the run allows; nothing was made of the rest."""


class DamagedShard(SpeechError):
    """A shard is not the one that was written; the message names it."""


class ModelError(SpeechError):
    """A model folder or name cannot be used for speech."""


class ModelUnavailable(ModelError):
    """Where the model is to be got from did not answer: another try may do."""


class Untrainable(SpeechError):
    """Nothing is learnt with these settings: the loss is no number any more, or memory does not suffice."""


class Interrupted(SpeechError):
    """Training was asked to stop: it has saved a checkpoint and goes on from there."""


class Killed(SpeechError):
    """A process that worked for us was killed by somebody else, or for want of memory: another try may do."""


class Busy(SpeechError):
    """Others are before; come back."""


class FetchError(SpeechError):
    """What an address leads to cannot be fetched; the message is for who gave the address."""
