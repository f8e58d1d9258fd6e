"""Swedish sentences about an ordinary day."""

from __future__ import annotations

from dataclasses import dataclass

from dagsverk.speech.corpora.sentences import Grammar, Phrase, phrases, with_article


@dataclass(frozen=True)
class _Adjective:
    en: str  # with "en" nouns
    ett: str  # with "ett" nouns
    weak: str  # after "den" and "det"
    english: str


@dataclass(frozen=True)
class _Noun:
    article: str  # "en" or "ett"
    one: str
    the: str
    english: str


_COLOURS = [
    _Adjective("röd", "rött", "röda", "red"),
    _Adjective("grön", "grönt", "gröna", "green"),
    _Adjective("blå", "blått", "blå", "blue"),
    _Adjective("gul", "gult", "gula", "yellow"),
    _Adjective("vit", "vitt", "vita", "white"),
    _Adjective("svart", "svart", "svarta", "black"),
    _Adjective("brun", "brunt", "bruna", "brown"),
]

_THINGS = [
    _Noun("en", "cykel", "cykeln", "bicycle"),
    _Noun("en", "båt", "båten", "boat"),
    _Noun("en", "väska", "väskan", "bag"),
    _Noun("en", "stol", "stolen", "chair"),
    _Noun("en", "hatt", "hatten", "hat"),
    _Noun("en", "jacka", "jackan", "jacket"),
    _Noun("en", "bok", "boken", "book"),
    _Noun("ett", "bord", "bordet", "table"),
    _Noun("ett", "hus", "huset", "house"),
    _Noun("ett", "tält", "tältet", "tent"),
    _Noun("ett", "paraply", "paraplyet", "umbrella"),
]

_GOODS = phrases(
    "äpplen = apples; päron = pears; blommor = flowers; böcker = books; ägg = eggs; koppar = cups; "
    "ljus = candles; brev = letters; fiskar = fish; lökar = onions"
)


def _a_thing() -> tuple[Phrase, ...]:
    return tuple(
        Phrase(
            f"{noun.article} {colour.en if noun.article == 'en' else colour.ett} {noun.one}",
            with_article(f"{colour.english} {noun.english}"),
        )
        for noun in _THINGS
        for colour in _COLOURS
    )


def _the_thing() -> tuple[Phrase, ...]:
    return tuple(
        Phrase(
            f"{'den' if noun.article == 'en' else 'det'} {colour.weak} {noun.the}",
            f"the {colour.english} {noun.english}",
        )
        for noun in _THINGS
        for colour in _COLOURS
    )


def _mine_is() -> tuple[Phrase, ...]:
    owners = [("min", "mitt", "my"), ("din", "ditt", "your"), ("vår", "vårt", "our")]
    return tuple(
        Phrase(
            f"{en if noun.article == 'en' else ett} {noun.one} är "
            f"{colour.en if noun.article == 'en' else colour.ett}",
            f"{english} {noun.english} is {colour.english}",
        )
        for en, ett, english in owners
        for noun in _THINGS
        for colour in _COLOURS
    )


def _dish_is() -> tuple[Phrase, ...]:
    with_en = phrases("soppan = the soup; fisken = the fish; gröten = the porridge; mjölken = the milk")
    with_ett = phrases("kaffet = the coffee; teet = the tea; brödet = the bread; vattnet = the water")
    en = phrases("varm = hot; kall = cold; god = good; slut = gone")
    ett = phrases("varmt = hot; kallt = cold; gott = good; slut = gone")
    return tuple(
        Phrase(f"{dish.text} är {how.text}", f"{dish.english} is {how.english}")
        for dishes, agreeing in ((with_en, en), (with_ett, ett))
        for dish in dishes
        for how in agreeing
    )


_NUMBERS = phrases(
    "två = two; tre = three; fyra = four; fem = five; sex = six; sju = seven; åtta = eight; nio = nine; "
    "tio = ten; elva = eleven; tolv = twelve; tjugo = twenty; trettio = thirty; hundra = a hundred"
)
_SOME = ("två", "tre", "fyra", "fem", "sex", "sju", "åtta", "tio")
_HOURS = phrases(
    "ett = one; två = two; tre = three; fyra = four; fem = five; sex = six; sju = seven; åtta = eight; "
    "nio = nine; tio = ten; elva = eleven; tolv = twelve; halv två = half past one; "
    "halv tre = half past two; halv fem = half past four; halv sju = half past six; "
    "halv åtta = half past seven"
)

GRAMMAR = Grammar(
    "sv",
    patterns=phrases(
        """
        {who} köper {some} {goods} {market}. = {who} buys {some} {goods} {market}.
        {who} {does} {place}. = {who} {does} {place}.
        {day} blir det {weather} i {city}. = {day} it will {weather} in {city}.
        {line} till {city} går klockan {hour}. = {line} to {city} leaves at {hour}.
        {who} har väntat på {line} i {time}. = {who} has been waiting for {line} for {time}.
        {mine_is}. = {mine_is}.
        {dish_is}. = {dish_is}.
        {the_thing} kostar {number} kronor. = {the_thing} costs {number} crowns.
        {who} dricker {drink} och äter {food}. = {who} drinks {drink} and eats {food}.
        {day} åker {who} till {city}. = {day} {who} is going to {city}.
        {who} ser {a_thing} {place}. = {who} sees {a_thing} {place}.
        har du {a_thing}? = do you have {a_thing}?
        """
    ),
    slots={
        "who": phrases(
            "Anna; Erik; Åsa; Nils; Maja; Östen; Sara; min bror = my brother; min syster = my sister; "
            "vår granne = our neighbour; läraren = the teacher"
        ),
        "does": phrases(
            "läser = is reading; sjunger = is singing; arbetar = is working; väntar = is waiting; "
            "dansar = is dancing; springer = is running; målar = is painting"
        ),
        "place": phrases(
            "på torget = in the square; i parken = in the park; på stationen = at the station; "
            "i skolan = at school; vid sjön = by the lake; i trädgården = in the garden; "
            "på ön = on the island; vid havet = by the sea"
        ),
        "city": phrases("Lund; Malmö; Göteborg = Gothenburg; Umeå; Kiruna; Örebro; Växjö; Falun"),
        "day": phrases(
            "i dag = today; i morgon = tomorrow; på måndag = on Monday; på tisdag = on Tuesday; "
            "på onsdag = on Wednesday; på fredag = on Friday; på lördag = on Saturday; i kväll = tonight"
        ),
        "weather": phrases(
            "soligt = be sunny; kallt = be cold; varmt = be warm; regn = rain; snö = snow; dimma = be foggy; "
            "blåsigt = be windy"
        ),
        "line": phrases(
            "tåget = the train; bussen = the bus; nästa tåg = the next train; sista bussen = the last bus"
        ),
        "time": phrases(
            "en timme = an hour; en halvtimme = half an hour; två timmar = two hours; "
            "tio minuter = ten minutes; tjugo minuter = twenty minutes"
        ),
        "market": phrases(
            "på torget = in the square; i affären = at the shop; på marknaden = at the market; "
            "i hamnen = at the harbour; i Lund = in Lund"
        ),
        "hour": _HOURS,
        "number": _NUMBERS,
        "some": tuple(number for number in _NUMBERS if number.text in _SOME),
        "goods": _GOODS,
        "drink": phrases("kaffe = coffee; te = tea; mjölk = milk; vatten = water; saft = squash"),
        "food": phrases(
            "bröd = bread; ost = cheese; soppa = soup; fisk = fish; gröt = porridge; en smörgås = a sandwich"
        ),
        "mine_is": _mine_is(),
        "dish_is": _dish_is(),
        "a_thing": _a_thing(),
        "the_thing": _the_thing(),
    },
)
