"""Files with the same bytes, at little cost: by size, then by a few pieces, and only then by all of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain

from dagsverk.speech.corpora.places import Entry, Place

Digests = Iterable[tuple[str, str]]


def same_bytes(place: Place, files: Mapping[str, Entry], paths: Iterable[str]) -> dict[str, str]:
    """file -> digest of its bytes, of those files that have the bytes of another one.

    A place tells digests where they cost nothing (`Entry.digest`: of an archive, which is read whole anyway,
    or a bucket's own). Else files of one size are compared by `place.pieces`, where it has that, and those
    that are still alike by all of their bytes; not where one file is reached through all before it.
    """
    alike = _alike(
        [path for path in dict.fromkeys(paths) if files[path].size],
        lambda group: ((path, str(files[path].size)) for path in group),
    )
    listed = [[path for path in group if files[path].digest] for group in alike]
    same = _alike(list(chain(*listed)), lambda group: ((path, files[path].digest) for path in group))
    digests = {path: files[path].digest for group in same for path in group}
    if place.sequential:
        return digests
    unknown = [[path for path in group if not files[path].digest] for group in alike]
    pieces: Callable[[Sequence[str]], Iterator[tuple[str, bytes]]] | None = getattr(place, "pieces", None)
    if pieces is not None:
        unknown = [group for one in unknown for group in _alike(one, lambda some: _digests(pieces(some)))]
    for group in unknown:
        for one in _alike(group, lambda some: _digests(place.read(some))):
            digests |= dict.fromkeys(one, f"{files[one[0]].size}-{one[0]}")
    return digests


def _alike(paths: Sequence[str], digests: Callable[[Sequence[str]], Digests]) -> list[list[str]]:
    """The groups of two and more with the same digest."""
    if len(paths) < 2:
        return []
    groups: dict[str, list[str]] = {}
    for path, digest in digests(paths):
        groups.setdefault(digest, []).append(path)
    return [group for group in groups.values() if len(group) > 1]


def _digests(contents: Iterable[tuple[str, bytes]]) -> Digests:
    return ((path, hashlib.blake2b(content, digest_size=16).hexdigest()) for path, content in contents)
