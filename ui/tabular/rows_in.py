"""How raw rows came in: those set aside, and what was guessed about their source."""

from __future__ import annotations

from ui import parts
from ui.parts import Head, Html
from ui.tabular.desk import View


def is_worth_showing(view: View) -> bool:
    """Whether anything was set aside or guessed."""
    return bool(view.rows_set_aside or (view.ingested and view.ingested.guesses))


def card(view: View) -> Html:
    """Raw rows that failed a check: how many, and the last ones; and how the newest source was read."""
    title, rejects = "Rows set aside", view.rejects
    if rejects.empty:
        nothing = parts.empty("None", "Every raw row passed its checks.")
        return parts.card(title, "", nothing, guesses(view), width="w5")
    heads = [Head(title=name) for name in ("Line", "Column", "Wanted", "Found")]
    rows = [
        [f"{row['line']}", row["column"] or "the whole row", row["check"], parts.short(row["value"])]
        for row in rejects.to_dict("records")
    ]
    note = f"{view.rows_set_aside:,} so far, kept with the check that each failed; the newest are listed."
    caption = f"From {parts.last_part(rejects.iloc[0]['source'])}"
    return parts.card(title, note, parts.table(caption, heads, rows), guesses(view), width="w5")


def guesses(view: View) -> Html:
    """How the newest source was read, where that might have been otherwise."""
    if view.ingested is None or not view.ingested.guesses:
        return Html("")
    items = parts.join(*(parts.element("li", guess) for guess in view.ingested.guesses))
    title = f"How {parts.last_part(view.ingested.source)} was read"
    return parts.join(parts.element("h3", title), parts.element("ul", items))
