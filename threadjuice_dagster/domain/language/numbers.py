"""Numbers in English text, by value: figures, number words, ordinals, years, sums and times of day.

Whether a number is true of a thread belongs in ``domain/judging/facts.py``.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

_ONES = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen
"""
_PLACES = """
zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth
sixteenth seventeenth eighteenth nineteenth
"""
_ROUND = "twenty thirty forty fifty sixty seventy eighty ninety"
_UNITS, _ORDINALS, _TENS = _ONES.split(), _PLACES.split(), _ROUND.split()
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "dozen": 12}
_SMALL = {
    **{word: value for value, word in enumerate(_UNITS)},
    **{word: value for value, word in enumerate(_ORDINALS)},
    **{word: 20 + 10 * place for place, word in enumerate(_TENS)},
    **{f"{word[:-1]}ieth": 20 + 10 * place for place, word in enumerate(_TENS)},
    "once": 1,
    "twice": 2,
    "thrice": 3,
}
_LARGE = {**_SCALES, **{f"{word}th": value for word, value in _SCALES.items() if word != "dozen"}}
_SUFFIXES = {"k": 1000, "m": 10**6, "bn": 10**9, **_SCALES}

_WORD = "|".join(sorted((*_SMALL, *_LARGE), key=len, reverse=True))
_NUMBER = re.compile(
    rf"""(?=\d|(?<!\w)[abdefhmnoqstz])(?:
        \b(?P<half>half\ an?|(?:{"|".join(_UNITS[1:])}|\d+)\ and\ a\ half)(?:[ ](?P<halved>{"|".join(_SCALES)})\b)?
      | (?P<clock>\b(?:half|(?:a\ )?quarter|{"|".join(_UNITS)}|twenty(?:-five)?|\d{{1,2}})
          (?:[ ]minutes?)?[ ](?P<way>past|to|after)[ ](?P<hour>{"|".join(_UNITS[1:13])}|\d{{1,2}})\b(?![ ]?%|[.,:]\d))
      | (?P<figure>\d+(?:[.,:]\d+)*)(?:[ -]?(?P<scale>{"|".join(_SUFFIXES)})\b)?
      | (?P<words>\b(?:an?[ ](?={"|".join(_SCALES)}))?(?:{_WORD})(?:(?:[ -]|[ ]and[ ])(?:{_WORD})){{0,9}}\b))""",
    re.VERBOSE | re.IGNORECASE,
)


class Number(NamedTuple):
    """A number as written, where it starts, and what it may mean: values, and times as "t" and minutes of 12 hours."""

    text: str
    start: int
    end: int
    meanings: frozenset[float | str]
    ordinal: bool


def numbers(text: str) -> Iterator[Number]:
    """Yield every number of a text, in order."""
    for match in _NUMBER.finditer(text):
        if match["words"]:
            yield from _worded(match)
        else:
            yield Number(match.group(), match.start(), match.end(), frozenset(_meanings(match)), ordinal=False)


def _meanings(match: re.Match[str]) -> Iterator[float | str]:
    if match["half"]:
        whole = match["half"].split()[0].lower()
        yield ((0 if whole == "half" else _value(whole)) + 0.5) * _SCALES.get((match["halved"] or "").lower(), 1)
    elif match["clock"]:
        hour, minutes = _clock(match)
        yield _time(hour, minutes)
        if minutes < 0:
            yield float(-minutes)  # "five to four" may be a vote
    else:
        yield from _figures(match["figure"], _SUFFIXES.get((match["scale"] or "").lower(), 1))


def _figures(figure: str, scale: int) -> Iterator[float | str]:
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?", figure):
        yield round(float(figure.replace(",", "")) * scale, 6)
    else:
        yield from (float(part) for part in re.split(r"\D", figure))
    if clock := re.fullmatch(r"(\d{1,2})[.:]([0-5]\d)", figure):
        yield _time(int(clock[1]), int(clock[2]))


def _clock(match: re.Match[str]) -> tuple[int, int]:
    """The hour and minute of a time in words."""
    hour, minute_words = _value(match["hour"]), match["clock"].lower().removeprefix("a ").split()[0]
    tens, _, unit = minute_words.partition("-")
    minutes = {"half": 30, "quarter": 15}.get(minute_words) or _value(tens) + (_value(unit) if unit else 0)
    return hour, -minutes if match["way"].lower() == "to" else minutes


def _time(hour: int, minute: int) -> str:
    return f"t{(hour * 60 + minute) % 720}"


def _value(word: str) -> int:
    return int(word) if word.isdigit() else _SMALL[word.lower()]


def _worded(match: re.Match[str]) -> Iterator[Number]:
    """The numbers of a run of number words: "nineteen eighty-seven" is a year, "three four" are two numbers."""
    spots = list(re.finditer(r"[a-z]+", match["words"], re.IGNORECASE))
    begin, total, group, last = 0, 0, 0, 10**12
    for place, spot in enumerate(spots):
        word = spot.group().lower()
        value = _SMALL.get(word)
        if word in ("a", "an", "and"):
            continue
        if value is not None and place > begin and not _joins(group, last, value, word):
            yield _number(match, spots, begin, place, total + group)
            begin, total, group, last = place, 0, 0, 10**12
        if value is None:
            scale = _LARGE[word]
            group = max(group, 1) * scale
            total, group = (total, group) if scale == 100 else (total + group, 0)
            last = scale
        else:
            group = group * 100 + value if _is_year(group, value) else group + value
            last = value
    yield _number(match, spots, begin, len(spots), total + group)


def _joins(group: int, last: int, value: int, word: str) -> bool:
    """Whether a small number goes on with the number before it."""
    if last >= 100:
        return value > 0 and word not in ("once", "twice", "thrice")
    return (20 <= last <= 90 and last % 10 == 0 and 0 < value < 10) or _is_year(group, value)


def _is_year(group: int, value: int) -> bool:
    return 16 <= group <= 20 and value >= 10


def _number(match: re.Match[str], spots: list[re.Match[str]], begin: int, end: int, value: int) -> Number:
    own = [spot for spot in spots[begin:end] if spot.group().lower() != "and"]
    start, stop = match.start() + own[0].start(), match.start() + own[-1].end()
    last = own[-1].group().lower()
    ordinal = last in _ORDINALS or last.endswith(("ieth", "dth", "nth"))
    return Number(match.string[start:stop], start, stop, frozenset([float(value)]), ordinal)
