"""The search for what a clip says: greedy, or with beams.

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


@dataclass
class _Search:
    """One clip's search."""

    limit: int  # tokens
    paths: list[Path] = field(default_factory=lambda: [Path()])  # none: it is over
    finished: list[Path] = field(default_factory=list)

    def extend(
        self, scores: Sequence[Sequence[float]], tokens: Sequence[Sequence[int]], end: int, beams: int
    ) -> list[int]:
        """Go on with the best of what may follow each path: tokens, and their log-probabilities, by path.

        Returns: the beams gone on with, by their place.
        """
        candidates = [
            (path.log_probability + score, beam, token)
            for beam, (path, *own) in enumerate(zip(self.paths, scores, tokens, strict=False))
            for score, token in zip(*own, strict=True)
        ]
        chosen: list[tuple[int, Path]] = []
        for total, beam, token in sorted(candidates, key=lambda candidate: -candidate[0]):
            if len(chosen) == beams:
                break
            before = self.paths[beam].tokens
            if token == end:
                self.finished.append(Path(before, total, ended=True))
            elif math.isfinite(total):
                chosen.append((beam, Path((*before, token), total)))
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


def follow(
    decoder: CachedDecoder,
    logits: torch.Tensor,
    rules: Rules,
    limits: Sequence[int],
    check: Check = go_on,
) -> list[Path]:
    """The likeliest token after the likeliest token, of each clip. As `search`, and faster than it with one
    beam: tokens and sums stay on the model's device, which is asked once per token who goes on.
    """
    device = logits.device
    clips = torch.arange(len(limits), device=device)  # of each row
    room = torch.tensor(limits, device=device)
    tokens = torch.full((len(limits), max(limits)), rules.end, device=device)
    sums = torch.zeros(len(limits), dtype=torch.float64, device=device)
    ended = torch.zeros(len(limits), dtype=torch.bool, device=device)
    going = ~ended
    for place in range(max(limits)):
        check()
        logits += rules.always if place else rules.at_first
        best, token = logits.max(-1)
        score = best - logits.logsumexp(-1)
        going = going & score.isfinite()  # it is not if the model's weights are broken
        sums[clips] += score.where(going, 0)
        ended[clips] |= going & (token == rules.end)
        token = token.where(going, rules.end)
        tokens[clips, place] = token
        going = going & (token != rules.end) & (place + 1 < room)
        rows = [row for row, goes in enumerate(going.tolist()) if goes]
        if not rows:
            break
        if len(rows) <= KEPT_SHARE * len(going):
            decoder.keep(rows)
            kept = torch.tensor(rows, device=device)
            clips, room, going, token = clips[kept], room[kept], going[kept], token[kept]
        logits = decoder.logits(decoder.read(token[:, None])[:, -1])
    lengths = (tokens != rules.end).sum(1)  # after a text there are ends alone
    each = zip(tokens.tolist(), lengths.tolist(), sums.tolist(), ended.tolist(), strict=True)
    return [Path(tuple(row[:length]), total, end) for row, length, total, end in each]


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
        hidden = decoder.read(torch.tensor(tokens, device=logits.device)[:, None])
        logits = decoder.logits(hidden[:, -1])


def _step(batch: Sequence[_Search], logits: torch.Tensor, end: int, beams: int) -> list[list[int]]:
    """Extend every search by a token; returns, of each, the beams that its `beams` rows come from."""
    width = len(logits) // len(batch)
    # one of a path's candidates may be the end: one more than there are beams is always enough
    best, tokens = logits.topk(beams + 1, dim=-1)
    best = best - logits.logsumexp(-1, keepdim=True)
    scores, choices = best.tolist(), tokens.tolist()
    sources = []
    for place, one in enumerate(batch):
        rows = slice(place * width, (place + 1) * width)
        chosen = one.extend(scores[rows], choices[rows], end, beams) if one.paths else []
        sources.append([*chosen, *[0] * (beams - len(chosen))])  # rows to spare go on unread
    return sources


def _last_tokens(one: _Search, beams: int) -> list[int]:
    tokens = [path.tokens[-1] for path in one.paths]
    return [*tokens, *[0] * (beams - len(tokens))]
