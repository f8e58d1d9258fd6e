"""The search for what a clip says: beam search, which with one beam is greedy.

Texts are ranked by their mean log-probability, as in openai/whisper, `decoding.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from dagsverk.speech.model.cached_decoder import CachedDecoder
from dagsverk.turns import Check, go_on

KEPT_SHARE = 0.75  # finished clips leave the batch once no more than this share of it is still speaking


@dataclass(frozen=True)
class Rules:
    """What may be written: additive masks over the vocabulary, 0 or -inf, and the token that ends a text."""

    end: int
    always: torch.Tensor
    at_first: torch.Tensor


@dataclass(frozen=True)
class Path:
    """Tokens so far, without the end; the sum of the log-probabilities of all, the end included."""

    tokens: tuple[int, ...] = ()
    log_probability: float = 0.0
    ended: bool = False

    @property
    def mean_log_probability(self) -> float:
        """Per token, the end counted."""
        return self.log_probability / max(1, len(self.tokens) + self.ended)

    def extended(self, token: int, log_probability: float, end: int) -> Path:
        """This path and one token more."""
        tokens = self.tokens if token == end else (*self.tokens, token)
        return Path(tokens, self.log_probability + log_probability, token == end)


@dataclass
class _Search:
    """One clip's search."""

    limit: int  # tokens
    paths: list[Path] = field(default_factory=lambda: [Path()])  # none: it is over
    finished: list[Path] = field(default_factory=list)

    def extend(self, candidates: Sequence[tuple[int, Path]], beams: int) -> list[int]:
        """Go on with the best of the candidates (beam it came from, path); returns the beams gone on with."""
        chosen: list[tuple[int, Path]] = []
        for beam, path in sorted(candidates, key=lambda candidate: -candidate[1].log_probability):
            if len(chosen) == beams:
                break
            if path.ended:
                self.finished.append(path)
            elif math.isfinite(path.log_probability):
                chosen.append((beam, path))
        self.paths = [path for _, path in chosen]
        if self.paths and len(self.paths[0].tokens) >= self.limit:
            self.finished += self.paths
            self.paths = []
        if len(self.finished) >= beams and not self._may_improve():
            self.paths = []
        return [beam for beam, _ in chosen]

    def _may_improve(self) -> bool:
        # as the library's beam search: what goes on is taken at its mean so far, which seldom rises
        going_on = max((path.mean_log_probability for path in self.paths), default=-math.inf)
        return going_on > self.best().mean_log_probability

    def best(self) -> Path:
        return max(self.finished, key=lambda path: path.mean_log_probability, default=Path())


def search(
    decoder: CachedDecoder,
    logits: torch.Tensor,
    rules: Rules,
    limits: Sequence[int],
    beams: int,
    check: Check = go_on,
) -> list[Path]:
    """The likeliest text of each clip.

    Args:
        decoder: has read each clip's prompt.
        logits: of the first token, (clips, vocabulary).
        limits: tokens per clip at which it is stopped, all > 0.
        beams: texts that are followed at a time; 1 follows the likeliest token.
        check: asked before each token; what it raises ends the search.
    """
    everything = [_Search(limit) for limit in limits]
    batch = list(everything)
    first = True
    while True:
        check()
        sources = _step(batch, logits + (rules.at_first if first else rules.always), rules.end, beams)
        speaking = [place for place, one in enumerate(batch) if one.paths]
        if not speaking:
            return [one.best() for one in everything]
        if beams > 1:
            width = len(logits) // len(batch)
            decoder.take([place * width + beam for place, own in enumerate(sources) for beam in own])
        if len(speaking) <= KEPT_SHARE * len(batch):
            decoder.keep(speaking)
            batch = [batch[place] for place in speaking]
        first = False
        tokens = [token for one in batch for token in _last_tokens(one, beams)]
        logits = decoder.read(torch.tensor(tokens, device=logits.device)[:, None])[:, -1]


def _step(batch: Sequence[_Search], logits: torch.Tensor, end: int, beams: int) -> list[list[int]]:
    """Extend every search by a token; returns, of each, the beams that its `beams` rows come from."""
    width = len(logits) // len(batch)
    # one of a path's candidates may be the end: one more than there are beams is always enough
    best, tokens = logits.topk(beams + 1, dim=-1)
    best = best - logits.logsumexp(-1, keepdim=True)
    scores, choices = best.tolist(), tokens.tolist()
    sources = []
    for place, one in enumerate(batch):
        candidates = [
            (beam, path.extended(token, score, end))
            for beam, path in enumerate(one.paths)
            for token, score in zip(choices[place * width + beam], scores[place * width + beam], strict=True)
        ]
        chosen = one.extend(candidates, beams) if one.paths else []
        sources.append([*chosen, *[0] * (beams - len(chosen))])  # rows to spare go on unread
    return sources


def _last_tokens(one: _Search, beams: int) -> list[int]:
    tokens = [path.tokens[-1] for path in one.paths]
    return [*tokens, *[0] * (beams - len(tokens))]
