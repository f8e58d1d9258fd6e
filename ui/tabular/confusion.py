"""The confusion matrix of real rows."""

from __future__ import annotations

from collections.abc import Mapping

from dagsverk.tabular.system import System
from dagsverk.words import counted
from ui import parts
from ui.parts import Html, percent
from ui.tabular import invented
from ui.tabular.desk import View


def card(view: View) -> Html:
    """Counts and shares of real rows with outcomes: rows are what happened, columns what was predicted."""
    counts, system = view.report.confusion, view.system
    if not view.report.outcomes:
        agreed = invented.sentence(view.report)
        words = f"Predictions of real rows whose outcome is known are counted here. {agreed}".strip()
        nothing = parts.empty("No outcome of a real row yet", words)
        return parts.card("Confusion matrix", "", nothing, width="w5")
    titles = "".join(
        f'<th scope="col">{parts.text(system.label.words(name))}</th>' for name in counts.columns
    )
    rows = "".join(_row(system, name, counts.loc[name].to_dict()) for name in counts.index)
    table = (
        '<table class="dv-confusion"><caption class="sr-only">Rows: what happened. Columns: what was '
        f'predicted.</caption><thead><tr><td class="corner" rowspan="2"></td>'
        f'<th scope="colgroup" colspan="{len(counts.columns)}">predicted</th></tr><tr>{titles}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )
    note = f"All {counted(view.report.outcomes, 'real row')} with an outcome; shares are of each line."
    return parts.card("Confusion matrix", note, Html(table), width="w5")


def _row(system: System, actual: str, counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    cells = []
    for predicted, count in counts.items():
        share = count / total if total else 0.0
        kind = "hit" if predicted == actual else "miss"
        cells.append(
            f'<td class="{kind}" style="--share:{share:.3f}"><b>{count:,}</b>'
            f"<span>{percent(share) if total else '–'}</span></td>"
        )
    return f'<tr><th scope="row">{parts.text(system.label.words(actual))}</th>{"".join(cells)}</tr>'
