"""A difference as a bar to the left or right of nothing, with its interval as a line."""

from __future__ import annotations

from ui.parts import Html

BAR_PX, HALF_PX = 200, 100
MARGIN_PX = 4
Three = tuple[float | None, float | None, float | None]


def bar(ends: Three, most: float, *, less_is_better: bool = True) -> Html:
    """The text beside it says the same. Args: ends: value, low, high. most: of all, to the edge."""
    value, low, high = ends
    if value is None or not most:
        return Html("–")

    def at(share: float) -> float:
        return HALF_PX + share / most * (HALF_PX - MARGIN_PX)

    left, width = min(HALF_PX, at(value)), abs(at(value) - HALF_PX)
    colour = "var(--good)" if (value < 0) == less_is_better else "var(--sun)"
    whisker = ""
    if low is not None and high is not None:
        whisker = (
            f'<line x1="{at(low):.1f}" x2="{at(high):.1f}" y1="9" y2="9" stroke="var(--ink)" '
            'stroke-width="1.5"/>'
        )
    return Html(
        f'<svg viewBox="0 0 {BAR_PX} 18" style="width:100%;max-width:{BAR_PX}px;height:auto" '
        f'aria-hidden="true"><rect x="{left:.1f}" y="3" width="{width:.1f}" height="12" fill="{colour}"/>'
        f'<line x1="{HALF_PX}" x2="{HALF_PX}" y1="0" y2="18" stroke="var(--soft)"/>{whisker}</svg>'
    )
