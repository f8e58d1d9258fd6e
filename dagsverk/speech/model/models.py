"""Whisper models: by hub name, from a folder, or our own small `nano`; checked when loaded, saved whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

from dagsverk import hub
from dagsverk.speech.config import MAX_LABEL_TOKENS, NANO, Windows
from dagsverk.speech.errors import ModelError, ModelUnavailable
from dagsverk.speech.languages import LANGUAGES, token_code
from dagsverk.speech.model import nano
from dagsverk.speech.model.decoded import TASKS
from dagsverk.speech.model.tokens import NO_TIMESTAMPS, START, build_byte_tokenizer, end_id, prompt

PUBLISHED_TOKENS = 51_866  # of large-v3; those before it have one less

# d_model, layers of encoder and decoder, heads, mel bins. Source: the published models' config.json.
_SIZES = {
    NANO: (64, (2, 2), 4, 80),
    "tiny": (384, (4, 4), 6, 80),
    "base": (512, (6, 6), 8, 80),
    "small": (768, (12, 12), 12, 80),
    "medium": (1024, (24, 24), 16, 80),
    "large": (1280, (32, 32), 20, 80),
    "large-v3": (1280, (32, 32), 20, 128),
    "turbo": (1280, (32, 4), 20, 128),
}

_Generation: Any = GenerationConfig  # the library's constructors and loaders carry no types
_Extractor: Any = WhisperFeatureExtractor
_Whisper: Any = WhisperForConditionalGeneration


@dataclass
class SpeechModel:
    """A Whisper with what belongs to it. `name` says where it came from."""

    model: WhisperForConditionalGeneration
    tokenizer: Any
    n_mels: int
    name: str

    def __post_init__(self) -> None:
        # cuDNN plans its attention anew for each shape, and here every batch and token has another: on an
        # H100 that took 17 of 20 seconds of decoding; the other kernels take any shape (decision 61)
        torch.backends.cuda.enable_cudnn_sdp(False)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def full_windows(self) -> bool:
        """Whether every clip is padded to 30 s for it: a Whisper as published knows nothing else."""
        return self.windows == "full"

    @property
    def windows(self) -> Windows:
        """The mode that it is to be used in, as its configuration says."""
        marked = getattr(self.model.config, "encoder_windows", "full") == "true_length"
        return "true_length" if marked else "full"

    @property
    def refused_windows(self) -> tuple[Windows, ...]:
        """Modes in which it was scored and is worse than the model that it was trained from."""
        return tuple(getattr(self.model.config, "refused_windows", None) or ())

    @property
    def has_published_size(self) -> bool:
        """Whether it may be one that Whisper's authors trained, on 30 s windows; nano is smaller."""
        return int(self.model.config.d_model) >= _SIZES["tiny"][0]

    def served(self, windows: Windows, refused: Sequence[Windows] = ()) -> SpeechModel:
        """The same, marked in its configuration as one for this mode, and not for those."""
        self.model.config.encoder_windows = windows
        self.model.config.refused_windows = list(refused)
        return self

    @contextmanager
    def marked(self, windows: Windows, refused: Sequence[Windows] = ()) -> Iterator[None]:
        """Meanwhile `served` so; afterwards as it was."""
        before = self.windows, self.refused_windows
        try:
            self.served(windows, refused)
            yield
        finally:
            self.served(*before)

    def fingerprint(self) -> str:
        """SHA-256 of the weights: names, shapes, types and bytes."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            if name == "proj_out.weight" and self.model.config.tie_word_embeddings:
                continue  # the token embeddings once more
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest.update(memoryview(content.numpy()))
        return digest.hexdigest()


def load_model(name: str, *, language: str | None = None, seed: int = 0) -> SpeechModel:
    """A model in fp32 on the CPU, ready to speak: nano (fresh weights from `seed`), a folder, or a hub name.

    Args: language: Whisper's code; if given, the model must know it.
    Raises: ModelError if the folder is absent or lacks weights (safetensors), tokenizer or preprocessor, if
        the hub does not answer, if it is no Whisper, or if it does not know the language.
    """
    model = random_model(NANO, seed) if name == NANO else _load(name)
    if language is not None:
        prompt(model.tokenizer, language)
    return model


def random_model(size: str, seed: int = 0) -> SpeechModel:
    """A model of nano's or a published size, with random weights and the byte tokenizer; no download."""
    if size not in _SIZES:
        raise ModelError(f"no size {size!r}; want one of {', '.join(_SIZES)}")
    tokenizer = build_byte_tokenizer()
    config = _config(size, tokenizer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _Whisper(config)
        if size == NANO:
            nano.begin(model)
    model.generation_config = _generation_config(tokenizer)
    model.eval()
    return SpeechModel(model, tokenizer, config.num_mel_bins, size).served("true_length")


def save_model_folder(model: SpeechModel, folder: Path, *, language: str) -> None:
    """Write all that others need to load the model: weights (safetensors), configuration, tokenizer,
    preprocessor, and a generation configuration in which language and task are fixed.

    Loads with `transformers` by itself. Raises ModelError if the model does not know the language.
    """
    prompt(model.tokenizer, language)
    given = model.model.generation_config
    generation = _generation_config(model.tokenizer, given, language=token_code(language), task="transcribe")
    model.model.save_pretrained(folder)
    generation.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    _Extractor(feature_size=model.n_mels).save_pretrained(folder)


def _config(size: str, tokenizer: Any) -> WhisperConfig:
    d_model, layers, heads, n_mels = _SIZES[size]
    end = end_id(tokenizer)
    return WhisperConfig(
        vocab_size=len(tokenizer) if size == NANO else PUBLISHED_TOKENS,
        num_mel_bins=n_mels,
        d_model=d_model,
        encoder_layers=layers[0],
        decoder_layers=layers[1],
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=4 * d_model,
        decoder_ffn_dim=4 * d_model,
        max_target_positions=MAX_LABEL_TOKENS,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=prompt(tokenizer, "en")[0],
        init_std=nano.INIT_STD if size == NANO else 0.02,
        suppress_tokens=[],
        begin_suppress_tokens=[],
    )


def _generation_config(tokenizer: Any, given: Any = None, **fixed: str) -> Any:
    """The given configuration, with what `generate` asks of a multilingual Whisper."""
    ids = tokenizer.convert_tokens_to_ids
    end = end_id(tokenizer)
    languages = {token: ids(token) for token in (f"<|{code}|>" for code in LANGUAGES)}
    return _Generation(
        **{
            **(given.to_dict() if given is not None else {}),
            "decoder_start_token_id": ids(START),
            "eos_token_id": end,
            "bos_token_id": end,
            "pad_token_id": end,
            "no_timestamps_token_id": ids(NO_TIMESTAMPS),
            "is_multilingual": True,
            "lang_to_id": {token: id_ for token, id_ in languages.items() if id_ != tokenizer.unk_token_id},
            "task_to_id": {task: ids(f"<|{task}|>") for task in TASKS},
            "forced_decoder_ids": None,  # the old way to fix language and task; it contradicts the new one
            "return_timestamps": False,
            "max_initial_timestamp_index": 50,
            "max_length": MAX_LABEL_TOKENS,
            **fixed,
        }
    )


def _load(name: str) -> SpeechModel:
    folder = Path(name).expanduser()
    if folder.is_dir():
        _check_folder(folder)
    elif folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise ModelError(
            f"no model folder {name!r}; want nano, a hub name such as openai/whisper-small, or a folder"
        )
    try:
        model, tokenizer, missing = _parts(str(folder) if folder.is_dir() else name)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        away = not folder.is_dir() and hub.may_pass(error)
        raise (ModelUnavailable if away else ModelError)(
            f"cannot load the model {name!r}: {_first_line(error)}; check the name, the network and that its "
            "folder is whole, or take nano, which needs no download"
        ) from error
    if missing:
        raise ModelError(f"the weights of {name} lack {', '.join(missing[:5])}; get a whole copy")
    prompt(tokenizer, "en")
    model.eval()
    return SpeechModel(model, tokenizer, model.config.num_mel_bins, name)


def _parts(source: str) -> tuple[Any, Any, list[str]]:
    """Model, tokenizer, and the names of weights that the files lack."""
    config = AutoConfig.from_pretrained(source)
    if not isinstance(config, WhisperConfig):
        raise ModelError(f"{source} is a {config.model_type}; want a Whisper, openai/whisper-small say")
    model, report = _Whisper.from_pretrained(
        source,
        dtype=torch.float32,
        use_safetensors=True,  # other weights are pickles, which can run anything when read
        attn_implementation="sdpa",
        output_loading_info=True,
    )
    missing = sorted(set(report["missing_keys"]) - {"proj_out.weight"})  # tied to the embeddings
    return model, WhisperTokenizer.from_pretrained(source), missing


def _check_folder(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    needed = {
        "configuration": {"config.json"},
        "weights": {"model.safetensors", "model.safetensors.index.json"},
        "tokenizer": {"tokenizer.json", "vocab.json"},
        "preprocessor": {"preprocessor_config.json", "processor_config.json"},
    }
    for part, wanted in needed.items():
        if not names & wanted:
            hint = " (weights in .bin are pickles: convert them to safetensors)" if part == "weights" else ""
            raise ModelError(
                f"model folder {folder} has no {part}: want {' or '.join(sorted(wanted))}, found "
                f"{', '.join(sorted(names)) or 'nothing'}{hint}; save it again with save_model_folder, or "
                "copy the file from the model that it was trained from"
            )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
