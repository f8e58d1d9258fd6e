"""What the speech pages share: the choice of a language, the microphone, how a rate is written."""

from __future__ import annotations

import gradio as gr

from dagsverk.speech.evaluation.report import Interval
from dagsverk.speech.languages import AUTO, LANGUAGES, Language
from dagsverk.store import StoreError
from ui import frame, parts
from ui.look import SEA
from ui.parts import Html, percent
from ui.speech.desk import FIRST, SpeechDesk, UnknownLanguage, named_language

# The chosen language goes into the address, so that a reload or a bookmark keeps it.
REMEMBER_LANGUAGE = """(code) => {
  const here = new URL(location.href);
  here.searchParams.set("language", code);
  history.replaceState(null, "", here);
}"""

# Browsers give the microphone to pages of this machine, and to others over https only. Gradio labels some
# buttons with words that do not hold those to be seen on them, which people who speak to their browser need.
_PREPARE = """
const absent = !(window.isSecureContext && navigator.mediaDevices);
element.querySelector(".dv-no-microphone").hidden = !absent;
const mend = () => {
  document.querySelectorAll("button.upload-container[aria-label]").forEach((b) => {
    b.removeAttribute("aria-label");
  });
  document.querySelectorAll("button.playback").forEach((b) => {
    const name = b.textContent.trim() + " playback speed";
    if (b.getAttribute("aria-label") !== name) b.setAttribute("aria-label", name);
  });
};
mend();
const looked = { childList: true, subtree: true, attributeFilter: ["aria-label"] };
new MutationObserver(mend).observe(document.body, looked);
"""


DETECT = ("Detect it", AUTO)


def language_choice(*, detect: bool = False) -> gr.Radio:
    """The languages with deployments; `asked` adds those that the store knows."""
    choices = [(LANGUAGES[code].title, code) for code in FIRST]
    return gr.Radio([*choices, *([DETECT] if detect else [])], value=FIRST[0], label="Language")


def asked(speech: SpeechDesk, request: gr.Request) -> tuple[Language, gr.Radio]:
    """The language that the address asks for (`?language=it`), else the first; and the choice filled."""
    languages, wanted = _languages(speech, request)
    return wanted, gr.Radio([(one.title, one.code) for one in languages], value=wanted.code)


def asked_or_detect(speech: SpeechDesk, request: gr.Request) -> tuple[str, gr.Radio]:
    """The same as a code, which may be "auto"."""
    languages, wanted = _languages(speech, request)
    code = AUTO if request.query_params.get("language") == AUTO else wanted.code
    return code, gr.Radio([*((one.title, one.code) for one in languages), DETECT], value=code)


def _languages(speech: SpeechDesk, request: gr.Request) -> tuple[list[Language], Language]:
    """Those to choose from, and the one that the address asks for, else the first."""
    try:
        languages = speech.languages()
    except (StoreError, OSError):  # the page says so itself
        languages = [LANGUAGES[code] for code in FIRST]
    chosen = languages[0]
    try:
        wanted = named_language(str(request.query_params.get("language", chosen.code)))
    except UnknownLanguage:
        wanted = chosen
    if wanted not in languages:
        languages.append(wanted)
    return languages, wanted


def microphone(label: str) -> gr.Audio:
    """A microphone; what it records is listened to in the same place."""
    return gr.Audio(
        sources=["microphone"],
        type="filepath",
        label=label,
        editable=False,
        buttons=[],
        elem_classes="dv-sound",
        waveform_options=gr.WaveformOptions(waveform_color="#7b8794", waveform_progress_color=SEA),
    )


def microphone_notice() -> None:
    """A line that is seen only where the browser gives no microphone."""
    words = (
        "Browsers lend the microphone to pages of this machine (localhost) or over https only, and this page "
        "is neither. A file can be given all the same."
    )
    frame.block(parts.page(Html(f'<p class="dv-note dv-no-microphone" hidden>{words}</p>')), script=_PREPARE)


def rate(interval: Interval | None, digits: int = 1) -> str:
    """An error rate with its 95 % interval; an en dash stands for none."""
    if interval is None or interval.value is None:
        return "–"
    low, high = interval.low, interval.high
    within = (
        f" [{_plain(low, digits)}–{percent(high, digits)}]" if low is not None and high is not None else ""
    )
    return percent(interval.value, digits) + within


def unbroken(cell: str) -> str:
    """A rate in which no line ends at the dash; a lone dash as it is."""
    return cell.replace("–", "\u2060–\u2060") if len(cell) > 1 else cell


def gap(difference: Interval | None, *, more_is_better: bool = False) -> Html:
    """A difference of rates in percentage points; a word where it is more than chance."""
    if difference is None or difference.value is None:
        return Html("–")
    low, high = difference.low, difference.high
    words = _signed(difference.value)
    if low is None or high is None:
        return Html(words)
    words += f" [{_signed(low)} to {_signed(high)}]"
    if low <= 0 <= high:
        return Html(words)
    better = (low > 0) == more_is_better
    return parts.join(words, " ", parts.chip("better", "good") if better else parts.chip("worse", "bad"))


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")


def _plain(share: float, digits: int) -> str:
    return percent(share, digits).rstrip("%")


def seconds(length_s: float) -> str:
    """A length as people say it: 4.2 s, 3 min 20 s, 1 h 5 min."""
    if length_s < 60:
        return f"{length_s:.1f} s"
    minutes, rest = divmod(round(length_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def clock(at_s: float) -> str:
    """A place in a recording: 0:07, 12:40, 1:02:03."""
    minutes, rest = divmod(int(at_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
