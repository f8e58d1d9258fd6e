"""A published Whisper -> a registered version as it is, untrained: in use where no other model is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from dagsverk import promotion, words
from dagsverk.promotion import Decision, Registration
from dagsverk.records import plain
from dagsverk.speech.config import Windows, published_model
from dagsverk.speech.evaluation.modes import NAMES
from dagsverk.speech.languages import Language
from dagsverk.speech.model.models import SpeechModel, load_model, save_model_folder
from dagsverk.speech.registry.card import borrowed_token
from dagsverk.store import Model, Store
from dagsverk.version import code_version

_HABIT: dict[Windows, str] = {
    "full": "as every Whisper is published: at the true length of its clips it would say nonsense",
    "true_length": "as its configuration asks",
}
RULE = "A published model is put to use as it is only where no model is in use; after it the gate decides."


def adopt(store: Store, language: Language, source: str) -> Registration:
    """Register a model under a language without training it; it is in use if the language had none.

    Safe to repeat, see `promotion.register`: the same weights are saved once.

    Args: source: a hub name such as openai/whisper-small, or a folder.
    Raises: ValueError for nano, which knows nothing untrained, or an address; ModelError if it is no whole,
        multilingual Whisper; ModelUnavailable if the hub is not reached; Conflict when another process
        promoted a version.
    """
    published_model(source)
    model = load_model(source, language=language.code)
    weights = model.fingerprint()
    parts = json.dumps([weights, language.code])
    key = {"adoption_key": hashlib.sha256(parts.encode()).hexdigest()[:16]}
    _, registration = promotion.register(
        store,
        language.model_name,
        key,
        lambda: _save(store, language, model, source, {**key, "weights": weights}),
        nothing_new="nothing new, these weights are",
    )
    return registration


def _save(store: Store, language: Language, model: SpeechModel, source: str, ids: dict[str, str]) -> Model:
    champion = store.champion(language.model_name)
    decision = _decision(language, source, champion.version if champion else None)
    layers = model.model.config
    lineage = {"base_model": source, "weights": ids["weights"], "code": code_version()}
    with TemporaryDirectory(prefix="dagsverk-") as path:
        folder = Path(path)
        save_model_folder(model, folder, language=language.code)
        card = _card(language, source, decision, lineage, model.windows)
        (folder / "README.md").write_text(card, encoding="utf-8")
        return store.save_model(
            language.model_name,
            folder,
            metrics={},
            description=f"{language.title}: {source} as published",
            info={
                "adoption_key": ids["adoption_key"],
                "base_model": source,
                "windows": model.windows,
                # turbo, whose decoder is shallower than its encoder, was not taught to translate
                "translates": layers.decoder_layers == layers.encoder_layers,
                "decision": plain(decision),
                "lineage": lineage,
            },
        )


def _decision(language: Language, source: str, in_use: int | None) -> Decision:
    name = words.last_part(source)
    if in_use is None:
        reason = (
            f"{name} as published: {language.title} had no model; its scores come with the first training"
        )
    else:
        reason = f"{name} is kept and not used: version {in_use} is in use, and only the gate replaces it"
    return Decision(promoted=in_use is None, reason=reason, rule=RULE, numbers={})


def _card(
    language: Language, source: str, decision: Decision, lineage: dict[str, str], windows: Windows
) -> str:
    header = {
        "language": language.spoken,
        "library_name": "transformers",
        "pipeline_tag": "automatic-speech-recognition",
        "tags": ["whisper", "dagsverk"],
    }
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in header.items()]
    sections = [
        "\n".join(["---", *lines, "---"]),
        f"# {language.title}: {words.last_part(source)}, as published",
        f"Writes down what is said in {language.title}. It was **not trained here and not scored here**: it "
        "is what others published. The next training is scored beside it, and the gate compares. It is "
        f"served {NAMES[windows]}, {_HABIT[windows]}." + borrowed_token(language),
        "## Decision\n\n" + words.decision(decision.reason, decision.warnings, decision.rule),
        "## Origin\n\n" + words.facts({**lineage, "base_model": words.last_part(source)}),
    ]
    return "\n\n".join(sections) + "\n"
