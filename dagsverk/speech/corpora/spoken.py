"""The spoken corpus: our own sentences, said by eSpeak NG in many voices. It needs no network.

Everything follows from the language, the numbers of clips and the seed. The voices of dev and test are
unheard in training, and so are their sentences.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice
from urllib.parse import parse_qsl, urlencode

from dagsverk.speech.corpora import espeak
from dagsverk.speech.corpora.corpus import SPLITS, Clip, Listing, RejectedClip, Split
from dagsverk.speech.corpora.grammars import GRAMMARS
from dagsverk.speech.corpora.sentences import Phrase
from dagsverk.speech.errors import AudioError, CorpusError

# Variants of eSpeak NG by split and by the gender that their files state ("": none stated). Robots and
# whispers are left out. Those of dev and test are no near copies of one in training: their log-mels of the
# same sentence differ by 0.15 or more on average; those of Mario and Michael, by 0.09.
_BY_GENDER: Mapping[Split, Mapping[str, str]] = {
    "train": {
        "female": "f1 f2 f5 Alicia aunty linda grandma",
        "male": "m1 m5 m6 m7 Denis Diogo Henrique antonio miguel Marco Storm Andy Lee",
        "": "Alex Gene Jacky Mario Michael Mike Nguyen Reed adam boris caleb david ed edward gustave grandpa "
        "ian iven3 john max norbert pablo paul pedro quincy rob robert shelby",
    },
    "dev": {"female": "f3 belinda anika", "male": "m2 sandro victor"},
    "test": {"female": "f4 Andrea Annie steph", "male": "m3 m4 m8 travis"},
}
VOICES: Mapping[Split, Mapping[str, str]] = {  # split -> variant -> gender
    split: {voice: gender for gender, voices in genders.items() for voice in voices.split()}
    for split, genders in _BY_GENDER.items()
}
DEFAULT_CLIPS: Mapping[Split, int] = {"train": 3000, "dev": 200, "test": 400}

RATES_WPM = (160, 210)  # eSpeak's own is 175
PITCHES = (35, 65)  # around each variant's own, 50
PITCH_RANGES = (35, 65)
TRACTS_PERCENT: Mapping[Split, tuple[int, int]] = {  # training hears more voices than there are variants
    "train": (88, 112),
    "dev": (100, 100),
    "test": (100, 100),
}
LICENCE = "CC0-1.0"  # the sentences are ours, and what a synthesiser says is not covered by its licence
_SCHEME = "spoken"
_DRAWN = ("sentences", "voices", "manner")
_MANNER = {
    "rate_wpm": "rate",
    "pitch": "pitch",
    "pitch_range": "range",
    "tract_percent": "tract",
}  # in an address


@dataclass
class SpokenCorpus:
    """So many clips of each split, in one language. The audio is made when it is read."""

    language: str
    train_clips: int | None = None  # None: the defaults below
    dev_clips: int | None = None
    test_clips: int | None = None
    seed: int = 0
    name: str = "spoken"
    sequential: bool = False
    _listing: Listing | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.language not in GRAMMARS:
            raise CorpusError(
                f"the spoken corpus has sentences in {', '.join(sorted(GRAMMARS))}, not in {self.language}; "
                "name recordings as the corpus's source, or write a grammar beside "
                "dagsverk/speech/corpora/swedish.py"
            )

    def listing(self) -> Listing:
        """All rows; nothing is spoken yet. Raises CorpusError."""
        if self._listing is None:
            clips = [clip for split in SPLITS for clip in self.clips(split)]
            content = [espeak.version(), self.seed, *(asdict(clip) for clip in clips)]
            digest = hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()
            self._listing = Listing(clips=clips, rejected=[], fingerprint=digest)
        return self._listing

    def read(self, clips: Sequence[Clip]) -> Iterator[tuple[Clip, bytes | RejectedClip]]:
        """Each clip with its WAV file, or why it has none. Raises CorpusError."""
        spoken = espeak.speak([utterance(clip) for clip in clips])
        for clip, answer in zip(clips, spoken, strict=True):
            if isinstance(answer, AudioError):
                yield clip, RejectedClip(clip=clip.id, reason=answer.reason, detail=answer.detail)
            else:
                yield clip, answer

    def clips(self, split: Split) -> Iterator[Clip]:
        """The rows of one split. Raises CorpusError if the grammar has not so many sentences."""
        wanted = {"train": self.train_clips, "dev": self.dev_clips, "test": self.test_clips}[split]
        count = DEFAULT_CLIPS[split] if wanted is None else wanted
        # A stream of chance for each thing drawn: the first clips are the same however many are wanted.
        about, by, manner = (random.Random(f"{self.seed} {self.language} {split} {what}") for what in _DRAWN)
        sentences = list(islice(GRAMMARS[self.language].sentences(split, about), count))
        if len(sentences) < count:
            raise CorpusError(
                f"wanted {count} {split} clips, the {self.language} grammar has about {len(sentences)} "
                f"sentences for it; ask for fewer"
            )
        for index, (sentence, (gender, voice)) in enumerate(zip(sentences, _voices(split, by), strict=False)):
            yield self._clip(f"{self.language}-{split}-{index:05d}", split, sentence, gender, voice, manner)

    def _clip(
        self, id: str, split: Split, sentence: Phrase, gender: str, voice: str, chance: random.Random
    ) -> Clip:
        manner = {
            "rate": chance.randint(*RATES_WPM),
            "pitch": chance.randint(*PITCHES),
            "range": chance.randint(*PITCH_RANGES),
            "tract": chance.randint(*TRACTS_PERCENT[split]),
        }
        return Clip(
            id=id,
            audio=f"{_SCHEME}:{self.language}+{voice}?{urlencode(manner)}",
            text=sentence.text,
            language=self.language,
            split=split,
            speaker=voice,
            gender=gender,
            licence=LICENCE,
            translation=sentence.english,
        )


def utterance(clip: Clip) -> espeak.Utterance:
    """What to say and how, from a clip's text and its address. Raises CorpusError."""
    scheme, _, rest = clip.audio.partition(":")
    voice, _, manner = rest.partition("?")
    values = dict(parse_qsl(manner))
    try:
        how = {name: int(values[key]) for name, key in _MANNER.items()}
    except (KeyError, ValueError) as error:
        raise _not_ours(clip) from error
    if scheme != _SCHEME:
        raise _not_ours(clip)
    return espeak.Utterance(text=clip.text, voice=voice, **how)


def _not_ours(clip: Clip) -> CorpusError:
    return CorpusError(
        f"clip {clip.id} is no clip of the spoken corpus: want an address such as "
        f"spoken:sv+f3?rate=171&pitch=48&range=50&tract=100, found {clip.audio!r}; list the corpus anew"
    )


def _voices(split: Split, chance: random.Random) -> Iterator[tuple[str, str]]:
    """Endless (gender, voice): women every second time, as eSpeak NG has far more variants for men."""
    voices = [(gender, voice) for voice, gender in VOICES[split].items()]
    chance.shuffle(voices)
    women = cycle(pair for pair in voices if pair[0] == "female")
    others = cycle(pair for pair in voices if pair[0] != "female")
    while True:
        yield next(women)
        yield next(others)
