"""Italian sentences about an ordinary day."""

from __future__ import annotations

from dataclasses import dataclass

from dagsverk.speech.corpora.sentences import Grammar, Phrase, phrases, with_article


@dataclass(frozen=True)
class _Colour:
    """Stands after its noun and agrees with it in gender."""

    masculine: str
    feminine: str
    english: str


@dataclass(frozen=True)
class _Noun:
    """Articles are written out: they follow both the gender and the sound that the noun begins with."""

    a: str
    the: str
    mine: str  # the possessive, with its article
    yours: str
    feminine: bool
    english: str


_COLOURS = [
    _Colour("rosso", "rossa", "red"),
    _Colour("bianco", "bianca", "white"),
    _Colour("giallo", "gialla", "yellow"),
    _Colour("nero", "nera", "black"),
    _Colour("grigio", "grigia", "grey"),
    _Colour("verde", "verde", "green"),
    _Colour("blu", "blu", "blue"),  # never inflected
]

_THINGS = [
    _Noun("una bicicletta", "la bicicletta", "la mia bicicletta", "la tua bicicletta", True, "bicycle"),
    _Noun("una borsa", "la borsa", "la mia borsa", "la tua borsa", True, "bag"),
    _Noun("una sedia", "la sedia", "la mia sedia", "la tua sedia", True, "chair"),
    _Noun("una giacca", "la giacca", "la mia giacca", "la tua giacca", True, "jacket"),
    _Noun("un'auto", "l'auto", "la mia auto", "la tua auto", True, "car"),
    _Noun("un'agenda", "l'agenda", "la mia agenda", "la tua agenda", True, "diary"),
    _Noun("un cappello", "il cappello", "il mio cappello", "il tuo cappello", False, "hat"),
    _Noun("un libro", "il libro", "il mio libro", "il tuo libro", False, "book"),
    _Noun("un tavolo", "il tavolo", "il mio tavolo", "il tuo tavolo", False, "table"),
    _Noun("un ombrello", "l'ombrello", "il mio ombrello", "il tuo ombrello", False, "umbrella"),
    _Noun("uno zaino", "lo zaino", "il mio zaino", "il tuo zaino", False, "backpack"),
    _Noun("uno specchio", "lo specchio", "il mio specchio", "il tuo specchio", False, "mirror"),
]


def _a_thing() -> tuple[Phrase, ...]:
    return tuple(
        Phrase(f"{noun.a} {_agreeing(colour, noun)}", with_article(f"{colour.english} {noun.english}"))
        for noun in _THINGS
        for colour in _COLOURS
    )


def _the_thing() -> tuple[Phrase, ...]:
    return tuple(
        Phrase(f"{noun.the} {_agreeing(colour, noun)}", f"the {colour.english} {noun.english}")
        for noun in _THINGS
        for colour in _COLOURS
    )


def _mine_is() -> tuple[Phrase, ...]:
    return tuple(
        Phrase(f"{owned} è {_agreeing(colour, noun)}", f"{english} {noun.english} is {colour.english}")
        for noun in _THINGS
        for owned, english in ((noun.mine, "my"), (noun.yours, "your"))
        for colour in _COLOURS
    )


def _agreeing(colour: _Colour, noun: _Noun) -> str:
    return colour.feminine if noun.feminine else colour.masculine


def _dish_is() -> tuple[Phrase, ...]:
    masculine = phrases(
        "il caffè = the coffee; il pane = the bread; il pesce = the fish; lo yogurt = the yoghurt"
    )
    feminine = phrases(
        "l'acqua = the water; la zuppa = the soup; l'insalata = the salad; la torta = the cake"
    )
    his = phrases("freddo = cold; caldo = hot; buono = good; pronto = ready")
    hers = phrases("fredda = cold; calda = hot; buona = good; pronta = ready")
    return tuple(
        Phrase(f"{dish.text} è {how.text}", f"{dish.english} is {how.english}")
        for dishes, agreeing in ((masculine, his), (feminine, hers))
        for dish in dishes
        for how in agreeing
    )


_NUMBERS = phrases(
    "due = two; tre = three; quattro = four; cinque = five; sei = six; sette = seven; otto = eight; "
    "nove = nine; dieci = ten; undici = eleven; dodici = twelve; venti = twenty; trenta = thirty; "
    "cento = a hundred"
)
_SOME = ("due", "tre", "quattro", "cinque", "sei", "sette", "otto", "dieci")

GRAMMAR = Grammar(
    "it",
    patterns=phrases(
        """
        {who} compra {some} {goods} {market}. = {who} buys {some} {goods} {market}.
        {who} {does} {place}. = {who} {does} {place}.
        {day} a {town} {weather}. = {day} it will {weather} in {town}.
        {line} per {town} parte {hour}. = {line} to {town} leaves at {hour}.
        {who} aspetta {line} da {time}. = {who} has been waiting for {line} for {time}.
        {mine_is}. = {mine_is}.
        {dish_is}. = {dish_is}.
        {the_thing} costa {number} euro. = {the_thing} costs {number} euros.
        {who} beve {drink} e mangia {food}. = {who} drinks {drink} and eats {food}.
        {day} {who} va a {town}. = {day} {who} is going to {town}.
        {who} vede {a_thing} {place}. = {who} sees {a_thing} {place}.
        hai {a_thing}? = do you have {a_thing}?
        """
    ),
    slots={
        "who": phrases(
            "Anna; Marco; Giulia; Luca; Niccolò; Sofia; mio fratello = my brother; mia sorella = my sister; "
            "lo zio = my uncle; la nonna = my grandmother; la maestra = the teacher"
        ),
        "does": phrases(
            "legge = is reading; canta = is singing; lavora = is working; dorme = is sleeping; "
            "balla = is dancing; corre = is running; dipinge = is painting"
        ),
        "place": phrases(
            "in piazza = in the square; al parco = in the park; alla stazione = at the station; "
            "a scuola = at school; in città = in town; in giardino = in the garden; "
            "sull'isola = on the island; al mare = by the sea; all'università = at the university"
        ),
        "market": phrases(
            "al mercato = at the market; in piazza = in the square; in città = in town; "
            "al negozio = at the shop; al porto = at the harbour"
        ),
        "town": phrases(
            "Roma = Rome; Milano = Milan; Napoli = Naples; Torino = Turin; Pisa; Lucca; Bari; Forlì"
        ),
        "day": phrases(
            "oggi = today; domani = tomorrow; lunedì = on Monday; martedì = on Tuesday; "
            "mercoledì = on Wednesday; venerdì = on Friday; sabato = on Saturday; domenica = on Sunday"
        ),
        "weather": phrases(
            "piove = rain; nevica = snow; fa caldo = be hot; fa freddo = be cold; c'è il sole = be sunny; "
            "c'è vento = be windy; c'è la nebbia = be foggy"
        ),
        "line": phrases(
            "il treno = the train; l'autobus = the bus; il prossimo treno = the next train; "
            "l'ultimo autobus = the last bus"
        ),
        "hour": phrases(
            "all'una = one; alle due = two; alle tre = three; alle quattro = four; alle cinque = five; "
            "alle sei = six; alle sette = seven; alle otto = eight; alle nove = nine; alle dieci = ten; "
            "alle undici = eleven; a mezzogiorno = noon; a mezzanotte = midnight; "
            "alle due e mezza = half past two; alle quattro e mezza = half past four; "
            "alle sette e mezza = half past seven"
        ),
        "time": phrases(
            "un'ora = an hour; mezz'ora = half an hour; due ore = two hours; dieci minuti = ten minutes; "
            "venti minuti = twenty minutes"
        ),
        "number": _NUMBERS,
        "some": tuple(number for number in _NUMBERS if number.text in _SOME),
        "goods": phrases(
            "mele = apples; pere = pears; fiori = flowers; limoni = lemons; uova = eggs; arance = oranges; "
            "pesci = fish; cipolle = onions; candele = candles; tazze = cups"
        ),
        "drink": phrases(
            "un caffè = a coffee; il tè = tea; il latte = milk; l'acqua = water; un succo = a juice; "
            "un'aranciata = an orangeade"
        ),
        "food": phrases(
            "il pane = bread; la zuppa = soup; il pesce = fish; un panino = a sandwich; una mela = an apple; "
            "l'insalata = salad; gli spaghetti = spaghetti; lo yogurt = yoghurt"
        ),
        "mine_is": _mine_is(),
        "dish_is": _dish_is(),
        "a_thing": _a_thing(),
        "the_thing": _the_thing(),
    },
)
