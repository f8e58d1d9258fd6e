"""A version's folder -> a folder of CTranslate2's, with all that it takes to run it, here or elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from dagsverk import threads
from dagsverk.records import plain, read_file, write_file
from dagsverk.speech.errors import ModelError
from dagsverk.speech.model.models import SpeechModel
from dagsverk.speech.serving.ctranslate_engine import ABOUT, About

COPIED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
    "generation_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "normalizer.json",
    "processor_config.json",
)
NEEDED = ("model.bin", "config.json", "tokenizer.json", "preprocessor_config.json", "generation_config.json")
CONFIG = "config.json"
MULTILINGUAL = 51_865  # tokens; with fewer the library knows no languages


def convert(model: SpeechModel, folder: Path, form: str, target: Path) -> None:
    """Write the model's weights in a form, and beside them every file that goes with them.

    Args:
        model: as loaded from `folder`, its adapters merged.
        form: int8 or float16.
        target: a folder that is not there yet.
    Raises: ModelError if the library cannot convert it, or left out what it needs.
    """
    threads.prepare_environment()  # before the library reads how its threads wait
    from ctranslate2.converters import TransformersConverter

    if model.model.config.vocab_size < MULTILINGUAL:
        raise ModelError(
            f"CTranslate2 takes a model of {model.model.config.vocab_size} tokens for one of English alone, "
            f"published ones have {MULTILINGUAL} or more: {model.name} stays on torch, here and elsewhere"
        )
    present = [name for name in COPIED if (folder / name).is_file()]
    try:
        TransformersConverter(str(folder), copy_files=present).convert(str(target), quantization=form)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError) as error:
        raise ModelError(f"CTranslate2 cannot convert {model.name} to {form}: {error}") from error
    about = _about(model, form)
    write_file(target / ABOUT, plain(about))
    _check(target, about, model)


def readme(target: Path, text: str, card: Path) -> None:
    """Write how to run it, and put the version's own card beside it."""
    (target / "README.md").write_text(text, encoding="utf-8")
    if card.is_file():
        shutil.copyfile(card, target / "MODEL_CARD.md")


def _about(model: SpeechModel, form: str) -> About:
    config, generation = model.model.config, model.model.generation_config
    return About(
        windows=model.windows,
        refused_windows=model.refused_windows,
        form=form,
        n_mels=model.n_mels,
        positions=config.max_target_positions,
        vocabulary=config.vocab_size,
        suppressed=tuple(generation.suppress_tokens or ()),
        names_heads=bool(_heads(generation)),
    )


def _heads(generation: Any) -> list[list[int]]:
    return [list(head) for head in getattr(generation, "alignment_heads", None) or []]


def _check(target: Path, about: About, model: SpeechModel) -> None:
    """What the converter may leave out in silence. Raises ModelError."""
    absent = [name for name in NEEDED if not (target / name).is_file()]
    if absent:
        raise ModelError(f"the converted {model.name} lacks {', '.join(absent)}")
    written: Any = read_file(target / CONFIG)
    generation = model.model.generation_config
    wanted: dict[str, Any] = {
        "suppress_ids": list(generation.suppress_tokens or []),
        "suppress_ids_begin": list(generation.begin_suppress_tokens or []),
    }
    if about.names_heads:
        wanted["alignment_heads"] = _heads(generation)
    for name, value in wanted.items():
        if (written.get(name) or []) != value:
            raise ModelError(
                f"the converted {model.name} has other {name} than its weights: {written.get(name)}, "
                f"want {value}"
            )
