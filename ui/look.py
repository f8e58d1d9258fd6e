"""How the pages look: theme, style sheet, and the layout that all charts share. Nothing is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from dagsverk import markup

FOLDER = Path(__file__).parent
STYLE_SHEET = FOLDER / "look.css"
STYLE_SHEETS = (markup.STYLE_SHEET, STYLE_SHEET)  # in this order: what is ours alone goes last
ASSETS = FOLDER / "assets"  # served under /look
FAVICON = ASSETS / "favicon.svg"

# Charts are drawn once for light and dark, so their colours must be readable on both grounds.
SEA, SUN, GREY, GRID = "#3d8bb0", "#c9821f", "#7b8794", "rgba(128,128,128,.22)"
DAY_MS = 24 * 3600 * 1000
MOST_DAY_TICKS = 6  # that stand side by side on a phone
SEA_WASH = "rgba(61,139,176,.18)"


def theme() -> gr.themes.Base:
    """Gradio's theme in our palette: the style sheet's variables. Its fonts are served from here."""
    fonts = gr.themes.utils.fonts
    base = gr.themes.Base(
        # of the families in Gradio's package this one is whole; most others hold a few letters only
        font=[fonts.LocalFont("Source Sans Pro", weights=(400, 700)), "ui-sans-serif", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
        radius_size=gr.themes.sizes.radius_lg,
    )
    # both grounds literally: the first paint comes before the style sheet
    plain: dict[str, str] = {"body_background_fill": "#f8f5ef", "body_background_fill_dark": "#0f151c"}
    for name, value in _COLOURS.items():
        plain[name] = plain[f"{name}_dark"] = value
    return base.set(**plain, button_large_text_weight="600", block_border_width="0px")


_COLOURS = {
    "body_text_color": "var(--ink)",
    "body_text_color_subdued": "var(--soft)",
    "block_background_fill": "transparent",
    "block_info_text_color": "var(--soft)",
    "block_title_text_color": "var(--ink)",
    "block_label_text_color": "var(--ink)",
    "block_label_background_fill": "var(--card)",
    "background_fill_primary": "var(--card)",
    "background_fill_secondary": "var(--sunk)",
    "border_color_primary": "var(--line)",
    "border_color_accent": "var(--sea)",
    "color_accent_soft": "var(--sunk)",
    "link_text_color": "var(--sea)",
    "link_text_color_hover": "var(--sea)",
    "link_text_color_active": "var(--sea)",
    "link_text_color_visited": "var(--sea)",
    "input_background_fill": "var(--paper)",
    "input_background_fill_focus": "var(--paper)",
    "input_border_color": "var(--line)",
    "input_border_color_focus": "var(--sea)",
    "input_placeholder_color": "var(--soft)",
    "input_shadow_focus": "0 0 0 2px rgb(var(--sea-wash) / .35)",
    "button_primary_background_fill": "var(--sea)",
    "button_primary_background_fill_hover": "var(--sea)",
    "button_primary_text_color": "var(--paper)",
    "button_primary_text_color_hover": "var(--paper)",
    "button_primary_border_color": "var(--sea)",
    "checkbox_background_color": "var(--card)",
    "checkbox_background_color_selected": "var(--sea)",
    "checkbox_border_color": "var(--soft)",
    "checkbox_border_color_selected": "var(--sea)",
    "checkbox_label_background_fill": "var(--paper)",
    "checkbox_label_background_fill_hover": "var(--sunk)",
    "checkbox_label_background_fill_selected": "rgb(var(--sea-wash) / .13)",
    "checkbox_label_border_color": "var(--line)",
    "checkbox_label_border_color_selected": "var(--sea)",
    "checkbox_label_text_color": "var(--ink)",
    "checkbox_label_text_color_selected": "var(--ink)",
    "accordion_text_color": "var(--ink)",
    "table_text_color": "var(--ink)",
    "table_border_color": "var(--line)",
    "table_even_background_fill": "transparent",
    "table_odd_background_fill": "transparent",
}


def date_axis(days: pd.Series) -> dict[str, Any]:
    """Plotly's axis for a chart of one or more days: a tick is a day, never a part of one."""
    first, last = days.min(), days.max()
    room = pd.Timedelta(hours=max(12.0, 24 * 0.02 * (last - first).days))
    axis: dict[str, Any] = {"type": "date", "range": [_day(first - room), _day(last + room)]}
    axis |= {"hoverformat": "%Y-%m-%d", "tickformat": "%-d %b\n%Y", "tickangle": 0}
    few = (last - first).days < MOST_DAY_TICKS
    return axis | ({"tick0": _day(first), "dtick": DAY_MS} if few else {"nticks": MOST_DAY_TICKS})


def _day(moment: pd.Timestamp) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def chart_layout(height_px: int) -> dict[str, Any]:
    """Plotly layout for both grounds: no background of its own, neutral text, a quiet grid."""
    axis = {"gridcolor": GRID, "zeroline": False, "automargin": True, "linecolor": GRID, "fixedrange": True}
    return {
        "height": height_px,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "'Source Sans Pro', ui-sans-serif, sans-serif", "size": 14, "color": GREY},
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "hovermode": "x unified",
        "hoverlabel": {"bgcolor": "#1c2733", "font": {"color": "#f8f5ef"}},
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "xaxis": dict(axis),
        "yaxis": dict(axis),
    }
