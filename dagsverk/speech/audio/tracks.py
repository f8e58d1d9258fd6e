"""Which of a film's tracks of sound is heard: the language asked for, else the main one that has sound."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import Any

COMMENTARY = ("comment", "kommentar")  # in the title of a track
BESIDE = (
    "comment",
    "descriptions",
    "visual_impaired",
    "karaoke",
    "lyrics",
)  # what is no plain sound of the film
# ISO 639-1 and, both forms of ISO 639-2, and others in use, of the languages that Whisper knows
_TAGS = """
en eng; zh chi zho cmn; de deu ger; es spa; ru rus; ko kor; fr fra fre; ja jpn; pt por; tr tur; pl pol; ca
cat; nl dut nld; ar ara arb; sv swe; it ita; id ind; hi hin; fi fin; vi vie; he heb iw; uk ukr; el ell gre;
ms may msa; cs ces cze; ro ron rum; da dan; hu hun; ta tam; no nor nb nob; th tha; ur urd; hr hrv; bg bul;
lt lit; la lat; mi mao mri; ml mal; cy cym wel; sk slk slo; te tel; fa fas per pes; lv lav; bn ben; sr srp;
az aze; sl slv; kn kan; et est; mk mac mkd; br bre; eu baq eus; is ice isl; hy arm hye; ne nep; mn mon; bs
bos; kk kaz; sq alb sqi; sw swa; gl glg; mr mar; pa pan; si sin; km khm; sn sna; yo yor; so som; af afr; oc
oci; ka geo kat; be bel; tg tgk; sd snd; gu guj; am amh; yi yid; lo lao; uz uzb; fo fao; ht hat; ps pus; tk
tuk; nn nno; mt mlt; sa san; lb ltz; my bur mya; bo bod tib; tl fil tgl; mg mlg; as asm; tt tat; ln lin; ha
hau; ba bak; jw jv jav; su sun
"""
FIRST_PACKETS = 200  # of a film, by which its start is known
MOST_TRACKS = 8  # that are listened to


def ranked(container: Any, codecs: Collection[str], tags: Collection[str]) -> list[Any]:
    """The streams of sound that can be decoded, the one to be heard first.

    Args: codecs: that are decoded. tags: how the language asked for is tagged; empty: any.
    """
    best = container.streams.best("audio")
    streams = [stream for stream in container.streams.audio if codec_of(stream) in codecs]
    return sorted(
        streams,
        key=lambda stream: (
            not is_in(stream, tags),
            _is_beside(stream),
            not is_marked(stream, "default"),
            stream is not best and stream.index != getattr(best, "index", None),
            stream.index,
        ),
    )


def tags_of(language: str) -> tuple[str, ...]:
    """How files may tag a language, by Whisper's code of it: sv, swe. Empty for no language."""
    lines = (line.split() for line in _TAGS.split(";"))
    return next((tuple(tags) for tags in lines if tags[0] == language), (language,) * bool(language))


def codec_of(stream: Any) -> str:
    context = stream.codec_context
    return "" if context is None or not context.codec.name else str(context.codec.name)


def is_in(stream: Any, tags: Collection[str]) -> bool:
    """Whether a stream says that it is in a language, by any of its tags ("sv", "swe"; "sv-SE" is one)."""
    stated = (stream.metadata.get("language") or "").lower().replace("_", "-")
    return bool(stated) and stated.split("-")[0] in tags


def of_film(container: Any) -> list[Any]:
    """The streams that a film's time is counted by: pictures and sound. A cover is no picture of it."""
    pictures = [stream for stream in container.streams.video if not is_marked(stream, "attached_pic")]
    return [*pictures, *container.streams.audio]


def film_starts_s(container: Any) -> float:
    """Where the film starts, on the clock of its stamps. Its first packets are taken from the container.

    FFmpeg's own start times are not used: it guesses those of pictures that it may not decode.
    """
    streams = of_film(container)
    starts = [
        float(packet.pts * packet.time_base)
        for packet in islice(container.demux(streams), FIRST_PACKETS)
        if packet.pts is not None and not packet.is_discard
    ]
    return min(starts, default=0.0)


def is_marked(stream: Any, flag: str) -> bool:
    """Whether a stream has a mark of FFmpeg's: "default", "attached_pic", "comment" ..."""
    return type(stream.disposition)[flag] in stream.disposition


def _is_beside(stream: Any) -> bool:
    title = (stream.metadata.get("title") or stream.metadata.get("handler_name") or "").lower()
    return any(word in title for word in COMMENTARY) or any(is_marked(stream, flag) for flag in BESIDE)
