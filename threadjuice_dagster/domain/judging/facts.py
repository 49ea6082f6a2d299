"""Facts that a story states and its thread does not hold: numbers by value, names of people, places, brands and days.

Read off the words, so some stay unseen (a name that is also an everyday word) and some true ones are told in words the
thread does not use. How many of them a story may have belongs in ``domain/judging/grounding.py``.

No facts are: one, once and first; two, unless it measures time, money or distance; "a third" and "the third", which
count what the story has just named, and a number of commenters, replies or readers, both up to the number of the
comments; points that the post or a comment has; and the words a newsroom uses of every thread.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

from threadjuice_dagster.domain.language.lexicon import lexicon
from threadjuice_dagster.domain.language.numbers import Number, numbers
from threadjuice_dagster.domain.language.text import WORD, cut, sentences
from threadjuice_dagster.domain.story.stories import Draft
from threadjuice_dagster.domain.story.threads import Thread

_DAYS_AND_MONTHS = """
monday tuesday wednesday thursday friday saturday sunday
january february march april may june july august september october november december
"""
_CALENDAR = frozenset(_DAYS_AND_MONTHS.split())
_OF_EVERY_THREAD = """
reddit redditor redditors subreddit english god mr mrs ms miss dr sir madam prof herr frau monsieur madame op aita tl
tldr edit update internet ok tv pc am pm ps
"""
_GENERIC = frozenset(_OF_EVERY_THREAD.split())

_DISCUSSION = re.compile(
    r"(?:\W+\w+){0,2}?\W+(?:(?P<points>points?|upvotes?|votes?)|comment(?:er)?s?|repl(?:y|ies)|readers?|answers?"
    r"|respon(?:ses?|ders?|dents?)|posters?|redditors?|users?|voices?|opinions?|suggestions?|views?|strangers?)\b",
    re.IGNORECASE,
)
_MEASURED = re.compile(
    r"[\s-]+(?:(?:and\s+a\s+half|more|long|full|whole)\s+)?(?:seconds?|minutes?|hours?|days?|nights?|weeks?|months?|years?"
    r"|decades?|miles?|kilomet\w+|metres?|meters?|feet|foot|inch\w*|kilos?|pounds?|dollars?|euros?|cents?|pence|per\s*cent)\b"
    r"|\s?%",
    re.IGNORECASE,
)
_LOWER = re.compile(r"(?<![\w'’-])[a-z][\w'’-]*")
_STARTS = re.compile(r"(?:[:“\"(\[—–/…]|\.\.\.|(?:^|\s)['‘])$")
_COMMON_ENDING = re.compile(
    r".{2,}(?:ing|ly|ness|tion|sion|ments?|ful|less|ous|ables?|ibles?|ity|ities|isms?|ances?|ences?|ages?|iest|wards?)"
    r"|.{4,}(?:ed|ers?|ors?|ies)"
)
_DOES = re.compile(
    r"""(?:['’]s)?\s+(?:was|is|has|had|says|said|asked|told|did|does|would|could|can|will|might|went|came|got
      |took|gave|made|knew|saw|felt|thought|wrote|kept|put|let|left|found|began|ran|sat|stood|bought|paid|met|brought
      |sent|held|heard|swore|drove|spoke|grew|won|lost|never|also|now|only|simply|once|\w{3,}ed)\b
      | ,\s+(?:who|whose|an?|the|my|his|her|aged|\d\d)\b | ['’]s\s | \s+(?:and|or)\s+[A-Z]""",
    re.VERBOSE,
)


class Fact(NamedTuple):
    """A number or name as written, and the sentence it stands in."""

    text: str
    sentence: str

    def __str__(self) -> str:
        """One line for an operator."""
        return f"{self.text} (in “{cut(self.sentence, 90)}”)"


class Known(NamedTuple):
    """What a thread holds: its words folded, those in lower case, its numbers by meaning, its scores and comments."""

    words: frozenset[str]
    lower: frozenset[str]
    meanings: frozenset[float | str]
    points: frozenset[float]
    comments: int


def known(thread: Thread, more: Iterable[str] = ()) -> Known:
    """What a thread holds, with its forum, date and figures; ``more`` are other texts that a story may draw on."""
    said = "\n".join((*thread.texts, *more))
    date = f"{thread.created_at:%A %B} {thread.created_at.day} {thread.created_at.year}"
    forum = " ".join((thread.subreddit, *re.findall(r"[A-Z]?[a-z]+|[A-Z]+", thread.subreddit)))
    text = f"{said}\n{date}\n{forum}"
    return Known(
        words=frozenset(form for word in set(WORD.findall(text)) for form in _forms(word)),
        lower=frozenset(_LOWER.findall(said)),
        meanings=frozenset(meaning for number in numbers(text) for meaning in number.meanings),
        points=frozenset(map(float, (thread.score, *(one.score for one in thread.comments)))),
        comments=max(thread.num_comments, len(thread.comments)),
    )


def unsupported(draft: Draft, told: Known) -> list[Fact]:
    """The numbers and names of the writer's own words that the thread does not hold, each once."""
    titles = (draft.title, draft.seo_title, *(section.heading for section in draft.sections))
    texts = (*titles, draft.dek, draft.seo_description, draft.narration)
    lower = told.lower.union(*(_LOWER.findall(text) for text in texts))
    found: dict[object, Fact] = {}
    for sentence in (sentence for text in texts for sentence in sentences(text)):
        for number in numbers(sentence):
            if not number.meanings & told.meanings and not _follows(number, sentence, told):
                found.setdefault(number.meanings, Fact(_with_sign(number, sentence), sentence))
        for name in () if sentence in titles and _is_title(sentence) else _names(sentence, lower, told.words):
            parts = [form for word in WORD.findall(name) for form in _forms(word)[:1]]
            if any(part not in told.words and part not in found for part in parts):
                found |= {part: Fact(name, sentence) for part in parts if part not in told.words and part not in found}
    return list(dict.fromkeys(found.values()))


def _follows(number: Number, sentence: str, told: Known) -> bool:
    """Whether a number needs no source (see the module's docstring)."""
    value = max((one for one in number.meanings if isinstance(one, float)), default=None)
    before, after = _before(sentence, number.start), sentence[number.end : number.end + 60]
    if value is None:
        return False
    if value <= 2:
        return value <= 1 or not (_MEASURED.match(after) or re.search(r"[$£€¥]\s?$", before))
    if discussed := _DISCUSSION.match(after):
        return value in told.points if discussed["points"] else value <= told.comments
    return number.ordinal and value <= told.comments and bool(re.search(r"\b(?:an?|the)\s+$", before, re.IGNORECASE))


def _with_sign(number: Number, sentence: str) -> str:
    """The number with its currency, per cent sign, or the letters it is part of."""
    before = re.search(r"[$£€¥]\s?$|\b[A-Za-z]+-?$", _before(sentence, number.start))
    after = re.match(r"\s?%|[-\w]*\w", sentence[number.end : number.end + 20])
    return f"{before.group() if before else ''}{number.text}{after.group() if after else ''}"


def _before(sentence: str, place: int) -> str:
    return sentence[max(0, place - 20) : place]


def _is_title(sentence: str) -> bool:
    """Whether a line is set in capitals or title case, where a capital says nothing."""
    found = [word for word in WORD.findall(sentence) if len(word) > 3]
    return len(found) > 1 and sum(word[0].isupper() for word in found) > 0.7 * len(found)


def _names(sentence: str, lower: frozenset[str], told: frozenset[str]) -> Iterator[str]:
    """The names of a sentence that are not known whole: capitalised words with their capitalised neighbours."""
    group: list[re.Match[str]] = []
    for spot in WORD.finditer(sentence):
        if group and not re.fullmatch(r" |\. ", sentence[group[-1].end() : spot.start()]):
            yield from _name(group, sentence, told)
            group = []
        before = _before(sentence, spot.start()).rstrip()
        opens = not group and (not before or bool(_STARTS.search(before)))
        if _is_name(spot, sentence, lower, told, opens):
            group.append(spot)
        else:
            yield from _name(group, sentence, told)
            group = []
    yield from _name(group, sentence, told)


def _name(group: list[re.Match[str]], sentence: str, told: frozenset[str]) -> Iterator[str]:
    if any(_forms(spot.group())[0] not in told for spot in group):
        yield re.sub(r"['’]s?$", "", sentence[group[0].start() : group[-1].end()])


def _is_name(spot: re.Match[str], sentence: str, lower: frozenset[str], told: frozenset[str], opens: bool) -> bool:
    """Whether a word is a name; one that opens a sentence has to look like one and act like one."""
    word = spot.group()
    folded = _forms(word)[0]
    if (
        not word[0].isupper()
        or len(folded) < 2
        or folded in _GENERIC
        or re.match("I['’]", word)
        or word.lower() in lower
    ):
        return False
    if folded in _CALENDAR and not (opens and folded in ("may", "march")):
        return True
    if not opens or folded in told:
        return True
    if _is_everyday(folded) or folded.removesuffix("s") in lower or f"{folded}s" in lower:
        return False
    possessive = 2 if re.search(r"['’]s$", word) else 0
    after = sentence[spot.end() - possessive : spot.end() + 30]
    if re.match(r" (?:(?!I\b)[A-Z][a-z]+)", after) or (word.isupper() and len(word) > 1):
        return True
    return bool(_DOES.match(after))


def _is_everyday(folded: str) -> bool:
    stems = (folded, folded.removesuffix("s"), re.sub(r"(?<=[hsx])es$", "", folded), re.split("[-']", folded)[0])
    return any(stem in _everyday() for stem in stems) or bool(_COMMON_ENDING.fullmatch(folded) or [*numbers(folded)])


@cache
def _everyday() -> frozenset[str]:
    lists = lexicon()
    return frozenset((*lists.common, *lists.everyday, *lists.topics, *lists.cues)) - _CALENDAR


def _forms(word: str) -> tuple[str, ...]:
    """The forms in which a word counts as known: folded, not possessive, singular, its parts, a day's full name."""
    folded = re.sub(r"'s?$", "", word.casefold().replace("’", "'"))
    days = [day for day in _CALENDAR if word[0].isupper() and len(folded) > 2 and day.startswith(folded)]
    return (folded, folded.removesuffix("s"), f"{folded}s", *folded.split("-"), *days)
