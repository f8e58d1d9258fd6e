"""Whether a converted model says what its weights say: token by token, and in word errors.

Both decode the same clips greedily, the weights in fp32. Where two tokens are almost equally likely, another
order of sums is enough to turn the choice, and all that follows is another text; such clips are counted, and
their tokens are not. Word errors are of all clips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from dagsverk.speech.config import Windows
from dagsverk.speech.evaluation.scoring import NORMALISED, count_errors, word_errors
from dagsverk.speech.exports import Parity
from dagsverk.speech.features.log_mel import Mel, floor
from dagsverk.speech.features.prepared import PreparedClips
from dagsverk.speech.model.cached_decoder import CachedDecoder
from dagsverk.speech.model.decoded import Decoded
from dagsverk.speech.model.decoding import encoder_states
from dagsverk.speech.model.lengths import SLACK_S, grid_frames
from dagsverk.speech.model.models import SpeechModel
from dagsverk.speech.model.precision import as_kept, evaluating
from dagsverk.speech.model.tokens import end_id, prompt
from dagsverk.speech.serving.engine import Engine
from dagsverk.speech.serving.torch_engine import TorchEngine

MOST_CLIPS = 120  # that are decoded at true length
MOST_IN_WINDOWS = 40  # each costs as much as five to ten at true length
LEAST_AGREEMENT = 0.995
MOST_MORE_WER = 0.002  # of its words; or one word, where the clips have fewer than 500
NEAR_TIE = 0.5  # nats between the tokens at which two texts part: e^0.5 = 1.6 times as likely
MOST_NEAR_TIES = 0.1  # of the clips


@dataclass(frozen=True)
class CheckSet:
    """Clips that every form decodes, fewer in windows, and what the weights write of them in each mode."""

    model: SpeechModel
    language: str
    mels: Sequence[Mel]
    texts: Sequence[str]
    own_texts: Mapping[Windows, Sequence[Decoded]]


def check_set(model: SpeechModel, clips: PreparedClips, modes: Sequence[Windows]) -> CheckSet:
    """The clips, decoded by the weights as they are kept."""
    mels = [clips.mel(i) for i in range(len(clips))]
    texts = [str(text) for text in clips.rows["text"]]
    most = {"true_length": MOST_CLIPS, "full": MOST_IN_WINDOWS}
    with as_kept():
        own_texts = {
            mode: TorchEngine(model, mode).decode(mels[: most[mode]], language=clips.language)
            for mode in modes
        }
    return CheckSet(model, clips.language, mels, texts, own_texts)


def compare(engine: Engine, of: CheckSet, mode: Windows) -> Parity:
    """A converted model, loaded to work in a mode, beside its weights."""
    own_texts = of.own_texts[mode]
    mels = of.mels[: len(own_texts)]
    spoken = engine.decode(mels, language=of.language)
    differing = {
        clip: _edits(own.tokens, other.tokens)
        for clip, (own, other) in enumerate(zip(own_texts, spoken, strict=True))
        if own.tokens != other.tokens
    }
    ties = [clip for clip in differing if _is_near_tie(of, mode, clip, spoken[clip])]
    errors = _word_errors(of, [one.text for one in spoken])
    own_errors = _word_errors(of, [one.text for one in own_texts])
    return Parity(
        windows=mode,
        clips=len(mels),
        tokens=sum(len(one.tokens) + 1 for one in own_texts),
        differing=sum(differing.values()),
        near_ties=len(ties),
        differing_beyond_ties=sum(count for clip, count in differing.items() if clip not in ties),
        words=own_errors[1],
        word_errors=errors[0],
        word_errors_of_weights=own_errors[0],
    )


def refusal(parity: Parity) -> str:
    """Why a form must not be published; "" if it may."""
    name = {"true_length": "at true length", "full": "in 30 s windows"}[parity.windows]
    if parity.clips == 0 or parity.words == 0:
        return f"{name}: there was nothing to check it on"
    if parity.agreement < LEAST_AGREEMENT:
        return (
            f"{name}: {100 * parity.agreement:.2f} % of {parity.tokens} tokens are those of the weights, "
            f"{100 * LEAST_AGREEMENT:.1f} % are wanted (clips that part at a near tie not counted)"
        )
    if parity.near_ties > max(1.0, MOST_NEAR_TIES * parity.clips):
        return f"{name}: {parity.near_ties} of {parity.clips} texts part at a near tie, too many for chance"
    more = parity.word_errors - parity.word_errors_of_weights
    if more > max(1.0, MOST_MORE_WER * parity.words):
        return (
            f"{name}: {parity.word_errors} of {parity.words} words are wrong, of the weights "
            f"{parity.word_errors_of_weights}; {100 * MOST_MORE_WER:.1f} points more are allowed, or one word"
        )
    return ""


def _word_errors(of: CheckSet, texts: Sequence[str]) -> tuple[int, int]:
    """Wrong words, and words in all."""
    counts = count_errors(of.texts[: len(texts)], texts, of.language, forms=(NORMALISED,))
    return int(word_errors(counts).sum()), int(counts["words"].sum())


def _is_near_tie(of: CheckSet, mode: Windows, clip: int, spoken: Decoded) -> bool:
    """Whether the weights hardly prefer their own token where the two texts part."""
    own = [*of.own_texts[mode][clip].tokens, end_id(of.model.tokenizer)]
    other = [*spoken.tokens, end_id(of.model.tokenizer)]
    place = next((i for i, (a, b) in enumerate(zip(own, other, strict=False)) if a != b), None)
    if place is None:  # one was stopped at its limit
        return False
    logits = _logits_after(of, mode, clip, own[:place])
    return float(logits[own[place]] - logits[other[place]]) <= NEAR_TIE


def _logits_after(of: CheckSet, mode: Windows, clip: int, written: Sequence[int]) -> torch.Tensor:
    """What the weights say of the token after these, (vocabulary,)."""
    mel = of.mels[clip]
    padded = grid_frames(len(mel), round(100 * SLACK_S), full=mode == "full")
    start = prompt(of.model.tokenizer, of.language)
    with as_kept(), evaluating(of.model.model) as network:
        states = encoder_states(network, [mel], [floor(float(mel.max()))], [padded], [0])
        decoder = CachedDecoder(network, states)
        hidden = decoder.read(torch.tensor([[*start, *written]], device=network.device))
        return decoder.logits(hidden[:, -1])[0]


def _edits(own: Sequence[int], other: Sequence[int]) -> int:
    """Least insertions, deletions and substitutions that turn one text into the other."""
    row = list(range(len(other) + 1))
    for i, token in enumerate(own, 1):
        before, row[0] = row[0], i
        for j, there in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (token != there))
    return row[-1]
