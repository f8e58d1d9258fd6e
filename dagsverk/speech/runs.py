"""What a fine-tuning run is called and where its artefacts are. Light: loads no learning library.

Layout below `speech/<language name>/runs/<run>/`:
    config.json                     settings with every default filled in, and what they were chosen for
    curve.json                      losses and validations on dev so far
    checkpoints/<step>/             see `checkpoints`
    cost.json                       how long it was at work, on what, in which run of Prefect
    finished.json                   written last: {"step": the best one, "steps": all of them}
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from dagsverk.form import CLOSED
from dagsverk.records import parse, plain, read, read_json, write
from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.errors import SpeechError
from dagsverk.speech.languages import Language
from dagsverk.speech.languages import language as language_of
from dagsverk.speech.mixtures import MixedSet
from dagsverk.store import NotFound, Store, StoreError
from dagsverk.version import package_version

RUN = re.compile(r"([a-z_]{2,30})-[0-9a-f]{16}")
OFF_BEFORE = (
    "average_with_base",
    "own_english_share",
    "mixture",
)  # unset, a run is named as before there were these
REPLAY = ("replay_share", "replay_sets")
PART = ("train_share", "train_by")
NEUTRAL = ("processes", "checkpoint_every", "keep_checkpoints", "push_to_hub")  # change no weight


@dataclass(frozen=True)
class CheckpointRef:
    """What steps pass instead of a checkpoint: a run, and after how many steps."""

    run: str
    step: int


def run_id(fingerprint: str, set_id: str, config: FinetuneConfig, language: Language) -> str:
    """The name of the run that these make, such as `sv-0123456789abcdef`; the same again: the same run.

    Args: fingerprint: of the model that it starts from.
    """
    settings = {name: value for name, value in config.to_dict().items() if name not in NEUTRAL}
    if not config.replay_share:  # the name that older versions gave such a run
        settings = {name: value for name, value in settings.items() if name not in REPLAY or value}
    settings = {name: value for name, value in settings.items() if name not in OFF_BEFORE or value}
    if config.train_share == 1:
        settings = {name: value for name, value in settings.items() if name not in PART}
    what = [fingerprint, set_id, settings, language.code, package_version()]
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    return f"{language.code}-{digest[:16]}"


def run_folder(run: str) -> str:
    """The artefact folder of a run. Raises SpeechError if that is no run's name."""
    match = RUN.fullmatch(run)
    try:
        of = language_of(match[1] if match else "")
    except ValueError as error:
        raise SpeechError(f"{run!r} is no run; want a name such as sv-0123456789abcdef") from error
    if not run.startswith(f"{of.code}-"):
        raise SpeechError(f"{run!r} is no run; want a name such as sv-0123456789abcdef")
    return f"speech/{of.name}/runs/{run}"


@dataclass(frozen=True, kw_only=True)
class TrainingPoint:
    """What training came to since the point before."""

    step: int
    loss: float  # mean, nats per token
    learning_rate: float
    clips_per_s: float | None = None  # of the last step


@dataclass(frozen=True, kw_only=True)
class ValidationPoint:
    """What a validation on dev came to. None: nothing to score."""

    step: int
    dev_loss: float | None  # nats per token
    dev_wer: float | None  # normalised; may exceed 1, as the next
    dev_cer: float | None


CurvePoint: TypeAlias = TrainingPoint | ValidationPoint
Curve: TypeAlias = tuple[CurvePoint, ...]


def curve(store: Store, run: str) -> Curve:
    """What a run came to so far, by step. Empty before the first point."""
    path = f"{run_folder(run)}/curve.json"
    try:
        points = read_json(store, path)
    except NotFound:
        return ()
    return tuple(parse(points, list[CurvePoint], f"artefact {path} in {store.url}"))


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What a run was started with; it goes on with the same on whatever machine."""

    __pydantic_config__ = CLOSED

    run: str
    language: str  # Whisper's code
    set_id: str
    fingerprint: str  # of the model that it starts from
    finetune: Annotated[FinetuneConfig, Field(alias="config")]  # every default filled in
    groups_per_step: int  # of batches, over all processes
    threads: int  # of each process; sums come out differently with another number
    clips: int  # trained on
    dev_clips: int  # looked at
    set_aside: Mapping[str, int]  # clips of the set that are not trained on, by reason
    version: str  # of this package
    copies: int = 0  # of `clips`, the changed copies of others
    replayed: Mapping[str, int] = field(default_factory=dict)  # set of another language -> clips to draw from
    search: str = ""  # for which the run was made; "": for none
    mixed: tuple[MixedSet, ...] = ()  # other sets of this language, by weight

    def to_dict(self) -> dict[str, Any]:
        """In JSON types; the settings below "config"."""
        content: dict[str, Any] = plain(self)
        return content


def run_config(store: Store, run: str) -> RunConfig:
    """What a run was started with. Raises NotFound; SpeechError if another version of this wrote it."""
    path = f"{run_folder(run)}/config.json"
    content = read_json(store, path)
    try:
        return parse(content, RunConfig, path)
    except StoreError as error:
        raise SpeechError(
            f"the run {run} in {store.url} was begun by another version of Dagsverk ({error}); go on with it "
            "under that version, or remove the run"
        ) from error


@dataclass(frozen=True, kw_only=True)
class Finish:
    """How a run ended."""

    step: int  # the best one
    steps: int | None = None  # all of them
    trail: str = ""  # SHA-256 over all clips trained on, in order
    tuned_share: float = 1.0  # of what the weights learnt; the rest is of the model that it started from
    averaged: tuple[tuple[float, float | None], ...] = ()  # shares that were tried, and WER on dev with them
    seen: Mapping[str, int] = field(default_factory=dict)  # set -> clips trained on, each as often as it was;
    # {}: begun by a version that did not count


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Where a run was at work, and for how long. None, "": of a run that an older version made."""

    seconds: float | None = (
        None  # of steps, looks at dev and checkpoints that count: what was lost is not in it
    )
    device: str = ""
    machine: str = ""
    flow_run: str = ""  # Prefect's, of the last attempt
    run: str = ""  # its name
    at: str = ""  # ISO 8601, UTC


def note_cost(store: Store, run: str, about: Mapping[str, str]) -> None:
    """Note by which run of Prefect a training came to its end; what was noted before stays."""
    before = cost(store, run)
    fields = {name: about[name] for name in ("flow_run", "run", "machine") if name in about}
    if fields.keys() - before.keys():
        write(store, f"{run_folder(run)}/cost.json", Cost(**{**fields, **before}))


def cost(store: Store, run: str) -> dict[str, Any]:
    """What a run noted of where and how long it was at work; {} if an older version made it."""
    try:
        noted = read(store, f"{run_folder(run)}/cost.json", Cost)
    except (NotFound, StoreError):
        return {}
    return {name: value for name, value in plain(noted).items() if value not in (None, "")}


def tuned_share(store: Store, ref: CheckpointRef) -> float:
    """Of what a checkpoint learnt, the part that its model keeps; 1 but for the best of a finished run."""
    try:
        finish = read(store, f"{run_folder(ref.run)}/finished.json", Finish)
    except NotFound:
        return 1.0
    return finish.tuned_share if finish.step == ref.step else 1.0


def finished(store: Store, run: str) -> CheckpointRef | None:
    """The best checkpoint of a run that came to its end; None of any other."""
    try:
        return CheckpointRef(run, finish(store, run).step)
    except NotFound:
        return None


def clips_seen(store: Store, run: str) -> Mapping[str, int]:
    """Set -> clips trained on, each as often as it was; nothing where that is not kept."""
    try:
        return finish(store, run).seen
    except NotFound:
        return {}


def finish(store: Store, run: str) -> Finish:
    """How a run ended. Raises NotFound where it has not."""
    return read(store, f"{run_folder(run)}/finished.json", Finish)
