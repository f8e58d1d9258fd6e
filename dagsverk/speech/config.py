"""What people decide about speech: corpus, preparation, fine-tuning, evaluation. Light; checked when built.

The annotations show the limits in the Prefect UI's form; `__post_init__` refuses the same for everyone else.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from dagsverk.addresses import SCHEMA, refuse_address, refuse_keys
from dagsverk.form import CLOSED, NOT_BLANK
from dagsverk.speech.augmented import AugmentConfig
from dagsverk.speech.mixtures import MixtureConfig, in_order

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(json_schema_extra={"pattern": NOT_BLANK})]
Windows: TypeAlias = Literal["true_length", "full"]  # full: every clip is padded to 30 s

NANO = "nano"  # the model that is built in and learns from nothing
WINDOW_S = 30.0  # Whisper's window: the encoder has positions for no more
MEL_FRAMES_PER_S = 100  # the encoder has a position for two
MOST_REPLAY = 0.9  # of an epoch's clips
MAX_LABEL_TOKENS = 448  # the decoder has positions for no more, prompt and end included


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """Where the recordings are. Empty columns are found by their usual names."""

    __pydantic_config__ = CLOSED

    # "spoken", a folder or .tar(.gz), local or s3://, or "hub:name" (Hugging Face)
    source: Annotated[str, Field(json_schema_extra={**SCHEMA, "allOf": [{"pattern": NOT_BLANK}]})] = "spoken"
    subset: str = ""  # of a Hugging Face data set, such as sv_se
    audio_column: str = ""
    text_column: str = ""
    speaker_column: str = ""
    train_clips: Count | None = None  # None: all (of the spoken corpus: its own numbers)
    dev_clips: Count | None = None
    test_clips: Count | None = None  # a cut is drawn by speaker, and flagged wherever its scores are shown
    seed: int = 0  # of cuts, and of what the spoken corpus says

    def __post_init__(self) -> None:
        if not self.source.strip():
            raise ValueError("source is empty; name a folder, an archive, s3://…, hub:NAME, or spoken")
        refuse_keys(self.source)
        refuse_address(self.subset, "the name of a subset")
        for name in ("train_clips", "dev_clips", "test_clips"):
            _at_least(name, getattr(self, name), 1)


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """How recordings become features. Part of a shard set's name."""

    __pydantic_config__ = CLOSED

    n_mels: Literal[80, 128] = 80  # 128 for large-v3 and turbo
    tokenizer: str = "nano"  # counts tokens, to set aside texts that are too long: nano, a hub name, a folder
    shard_clips: Annotated[int, Field(ge=1, le=100_000)] = 1000
    min_clip_s: Annotated[float, Field(ge=0, le=30)] = 0.2
    max_clip_s: Annotated[float, Field(gt=0, le=30)] = WINDOW_S  # longer clips are set aside, not cut
    silence_dbfs: float = -60.0  # quieter clips are set aside
    max_clipped_share: Share = 0.1  # of samples at full scale
    max_bad_share: Share = 0.1  # no set is made when more than this share of the clips is set aside
    augment: AugmentConfig | None = None  # changed copies of train's clips beside them; None: none
    train_only: bool = False  # all clips are train's: a set to be mixed in, which becomes nobody's newest

    def __post_init__(self) -> None:
        if self.n_mels not in (80, 128):
            raise ValueError(f"n_mels must be 80 or 128, got {self.n_mels!r}")
        refuse_address(self.tokenizer, "nano, a hub name or a folder as tokenizer")
        _at_least("shard_clips", self.shard_clips, 1)
        if not 0 <= self.min_clip_s < self.max_clip_s <= WINDOW_S:
            raise ValueError(
                f"want 0 <= min_clip_s < max_clip_s <= {WINDOW_S:g}, "
                f"got {self.min_clip_s} and {self.max_clip_s}"
            )
        for name in ("max_clipped_share", "max_bad_share"):
            _share(name, getattr(self, name))


def published_model(name: str) -> str:
    """The name of a model that can be taken as it is. Raises ValueError for no name, an address, or nano."""
    if not name.strip() or name == NANO:
        raise ValueError(
            f"want a hub name such as openai/whisper-small, or a folder, got {name!r}"
            + ("; nano knows no words before it is trained" if name == NANO else "")
        )
    refuse_address(name, "a hub name or a folder as model")
    return name


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """All that one fine-tuning run depends on, besides its clips. None: what suits the model and device."""

    __pydantic_config__ = CLOSED

    model: Text = "nano"  # nano (built in, from scratch), a hub name (openai/whisper-small), or a folder
    steps: Count | None = None  # of the optimiser
    learning_rate: Annotated[float, Field(gt=0, le=0.1)] | None = None  # peak, after warm-up
    warmup_share: Share = 0.1  # of the steps
    decay: Literal["linear", "cosine", "constant"] = "linear"
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    batch_s: Annotated[float, Field(gt=0)] | None = None  # seconds of audio per process and batch
    accumulate: Annotated[int, Field(ge=1, le=1024)] = 1  # batches per step
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 where the GPU has it
    windows: Windows = "true_length"  # full: every clip padded to 30 s, as recipes do
    full_window_share: Share | None = None  # of clips given as full windows all the same
    slack_s: Annotated[float, Field(ge=0, le=5)] = 0.1  # of silence after a batch's longest clip
    spec_augment: bool | None = None
    translate_share: Share = 0.0  # of clips that teach translation, where the corpus has one
    own_english_share: Share = 0.0  # of clips that teach the English that the model wrote of them at first
    # of an epoch's clips, those of other languages; 0: none; empty: a fifth, if the store has some
    replay_share: Annotated[float, Field(ge=0, le=MOST_REPLAY)] | None = None  # nano: none
    replay_sets: tuple[str, ...] = ()  # empty: the newest sets of the store's other languages
    mixture: tuple[MixtureConfig, ...] = ()  # other sets of the language that are drawn from, by weight
    average_with_base: bool = False  # the best checkpoint, with a share that is chosen on dev
    freeze_encoder: bool = False
    lora_rank: Annotated[int, Field(ge=0, le=1024)] = 0  # 0: all weights are trained
    gradient_checkpointing: bool = False
    compile: bool = False
    processes: Annotated[int, Field(ge=0, le=1024)] = 0  # 0: one per GPU, one without
    evaluate_every: Count | None = None  # steps between two validations on dev
    dev_clips: Count = 500  # in each validation; a fixed draw
    checkpoint_every: Count | None = None
    keep_checkpoints: Count = 2  # besides the best one
    seed: int = 0
    # of train's seconds, for a learning curve: of each speaker, or of the speakers; drawn by the seed
    train_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    train_by: Literal["clips", "speakers"] = "clips"
    push_to_hub: str = ""  # "name/repository" on the Hugging Face Hub; needs HF_TOKEN; empty: not pushed

    def __post_init__(self) -> None:
        if not self.model.strip():
            raise ValueError(
                "model is empty; want nano, a hub name such as openai/whisper-small, or a folder"
            )
        refuse_address(self.model, "nano, a hub name or a folder as model")
        refuse_address(self.push_to_hub, "name/repository in push_to_hub")
        for name in (
            "steps",
            "accumulate",
            "evaluate_every",
            "dev_clips",
            "checkpoint_every",
            "keep_checkpoints",
        ):
            _at_least(name, getattr(self, name), 1)
        for name in ("warmup_share", "full_window_share", "translate_share", "own_english_share"):
            _share(name, getattr(self, name) or 0.0)
        for name in ("learning_rate", "batch_s", "max_grad_norm"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be above 0, got {value!r}")
        if not 0 < self.train_share <= 1 or self.train_by not in ("clips", "speakers"):
            raise ValueError(
                "train_share must be in (0, 1], and train_by 'clips' or 'speakers', got "
                f"{self.train_share!r} and {self.train_by!r}"
            )
        _check_replay(self.replay_share, self.replay_sets)
        object.__setattr__(self, "mixture", in_order(self.mixture))
        if self.own_english_share and (self.translate_share or self.model == NANO):
            raise ValueError(
                "own_english_share teaches the English that a published model writes: leave it 0 with nano, "
                f"which writes none, and with a translate_share; got {self.own_english_share!r}, model "
                f"{self.model!r}, translate_share {self.translate_share!r}"
            )
        if self.lora_rank < 0 or self.processes < 0:
            raise ValueError("lora_rank and processes must be 0 or more")

    def to_dict(self) -> dict[str, Any]:
        """The settings in JSON types."""
        return asdict(self)


RETENTION_CLIPS = 100
MOST_RETENTION_CLIPS = 1000  # all are held in memory: 1 GB of full windows
# Of EvaluationConfig: on these only a verdict depends, or which clips are asked for.
BESIDE_REPORTS = ("retention_clips", "max_forgetting", "other_mode_clips")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How a checkpoint is scored."""

    __pydantic_config__ = CLOSED

    beams: Annotated[int, Field(ge=1, le=16)] = 1  # 1: greedy
    batch_s: Annotated[float, Field(gt=0)] = 240.0  # seconds of audio decoded at a time
    resamples: Annotated[int, Field(ge=100, le=100_000)] = 2000  # of the bootstrap over speakers
    min_group_clips: Count = 20  # a smaller group is counted and not scored
    worst: Annotated[int, Field(ge=0, le=200)] = 20  # clips shown with their audio
    other_mode_clips: Count | None = None  # scored in the mode it was not trained for; None: 1000
    seed: int = 0
    # what a published model knew before: test clips asked for English, half as many of each other language
    # in the store; None: RETENTION_CLIPS; 0: not measured
    retention_clips: Annotated[int, Field(ge=0, le=1000)] | None = None
    # of word error rate: a model by which another language gets worse by more is refused; None: a warning
    max_forgetting: Annotated[float, Field(gt=0)] | None = None

    def __post_init__(self) -> None:
        for name, least in (("beams", 1), ("resamples", 100), ("min_group_clips", 1), ("worst", 0)):
            _at_least(name, getattr(self, name), least)
        _at_least("other_mode_clips", self.other_mode_clips, 1)
        _at_least("retention_clips", self.retention_clips, 0)
        if self.clips_asked > MOST_RETENTION_CLIPS:
            raise ValueError(
                f"retention_clips must be at most {MOST_RETENTION_CLIPS}, got {self.retention_clips}"
            )
        for name in ("batch_s", "max_forgetting"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be above 0, got {value!r}")

    @property
    def clips_asked(self) -> int:
        """Test clips that are asked for English."""
        return RETENTION_CLIPS if self.retention_clips is None else self.retention_clips

    def of_report(self) -> dict[str, Any]:
        """The settings that a model's report depends on."""
        return {name: value for name, value in asdict(self).items() if name not in BESIDE_REPORTS}


def _at_least(name: str, value: int | None, least: int) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise ValueError(f"{name} must be a whole number from {least}, got {value!r}")


def _check_replay(share: float | None, sets: tuple[str, ...]) -> None:
    if share is not None and not 0 <= share <= MOST_REPLAY:
        raise ValueError(f"replay_share must be in [0, {MOST_REPLAY:g}], got {share!r}")
    if share == 0 and sets:
        raise ValueError(f"replay_share is 0, and replay_sets names {', '.join(sets)}; leave out one of them")
    if len(set(sets)) < len(sets) or not all(isinstance(one, str) and one.strip() for one in sets):
        raise ValueError(f"replay_sets names a set twice, or none: got {list(sets)!r}")


def _share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {value!r}")
