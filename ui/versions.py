"""The list of a name's versions: of each its report and its lineage."""

from __future__ import annotations

from collections.abc import Sequence

from dagsverk.lineage.cards import Ref
from dagsverk.report.making import address
from dagsverk.store import Model
from ui import parts
from ui.parts import Html

LISTED = 8


def versions(models: Sequence[Model], champion: Model | None) -> Html:
    """The newest versions, each with its report and its lineage; the one in use is marked."""
    if not models:
        return Html("none")
    lines = [_line(model, champion) for model in models[: -LISTED - 1 : -1]]
    if len(models) > LISTED:
        lines.append(parts.element("div", f"and {len(models) - LISTED} older ones, by their number"))
    return parts.join(*lines)


def _line(model: Model, champion: Model | None) -> Html:
    in_use = ", in use" if champion and champion.version == model.version else ""
    name = f"version {model.version} of {model.created:%Y-%m-%d}{in_use}: "
    report = parts.link("report", address(model.name, model.version))
    traced = parts.link("lineage", Ref("version", model.name, str(model.version)).address)
    return parts.element("div", parts.join(name, report, " · ", traced))
