"""The English that a published model writes of the run's clips before it is trained, kept as what it goes on
writing when it is asked for English. Needs no translations and no other corpus."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from dagsverk import records
from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.errors import ModelError, SpeechError
from dagsverk.speech.evaluation.forgetting import knows_english
from dagsverk.speech.evaluation.normaliser import normalise
from dagsverk.speech.features.prepared import PreparedClips, draw
from dagsverk.speech.languages import token_code
from dagsverk.speech.model.decoding import decode
from dagsverk.speech.model.models import SpeechModel
from dagsverk.speech.runs import run_folder
from dagsverk.store import Conflict, NotFound, Store
from dagsverk.turns import Check, go_on

MOST_CLIPS = 2000  # that are translated: in windows of 30 s, so about half a second each for `base` on a core
MOST_OFTEN = 0.5  # of the epochs, a clip teaches its English: in the others, what is said
AT_ONCE = 64  # clips whose spectra are held while they are translated

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class English:
    """What the base wrote, by clip; written once, so that a resume teaches the same."""

    texts: Mapping[str, str]


def taught(
    store: Store,
    run: str,
    clips: PreparedClips,
    model: SpeechModel,
    config: FinetuneConfig,
    check: Check = go_on,
) -> tuple[PreparedClips, float]:
    """The clips with the model's own English as their translations, and how often each of these teaches it.

    So often that `own_english_share` of an epoch's clips do; fewer, if too few can be used: English that was
    cut off, is empty, or is only what was said, is not.
    Args: check: asked again and again; what it raises ends the work.
    Raises: ModelError if the model was not taught to translate; SpeechError of clips in English.
    """
    texts = _kept(store, run, clips, model, config, check)
    english = clips.rows["id"].map(lambda clip: texts.get(clip, ""))
    usable = int((english != "").sum())
    if not usable:
        logger.warning("%s wrote no English of %s that can be taught", model.name, clips.set_id)
    often = config.own_english_share * len(clips) / max(1, usable)
    return replace(clips, rows=clips.rows.assign(translation=english)), min(MOST_OFTEN, often)


def _kept(
    store: Store,
    run: str,
    clips: PreparedClips,
    model: SpeechModel,
    config: FinetuneConfig,
    check: Check,
) -> Mapping[str, str]:
    path = f"{run_folder(run)}/english.json"
    try:
        return records.read(store, path, English).texts
    except NotFound:
        pass
    if not knows_english(model.model.config):
        raise ModelError(
            f"own_english_share is {config.own_english_share:g}, and {model.name} was not taught to "
            "translate (turbo was not); leave it 0, or take another model"
        )
    if token_code(clips.language) == "en":
        raise SpeechError(
            f"own_english_share is {config.own_english_share:g}, and {clips.set_id} is in English already"
        )
    made = records.to_bytes(English(_translated(clips, model, config, check)))
    with suppress(Conflict):  # another process of the run was first
        store.put(path, made)
    return records.read(store, path, English).texts


def _translated(
    clips: PreparedClips, model: SpeechModel, config: FinetuneConfig, check: Check
) -> dict[str, str]:
    wanted = math.ceil(len(clips) * min(1.0, config.own_english_share / MOST_OFTEN))
    chosen = draw(clips, min(MOST_CLIPS, wanted), config.seed)
    texts: dict[str, str] = {}
    for first in range(0, len(chosen), AT_ONCE):
        part = chosen[first : first + AT_ONCE]
        decoded = decode(
            model,
            [clips.mel(place) for place in part],
            [clips.floor(place) for place in part],
            language=clips.language,
            task="translate",
            full_windows=model.full_windows,
            check=check,
        )
        for place, one in zip(part, decoded, strict=True):
            spoken = normalise(str(clips.rows["text"].iat[place]), clips.language)
            if one.finished and normalise(one.text, "en") not in ("", spoken):
                texts[str(clips.rows["id"].iat[place])] = one.text
    return texts
