"""Numbers and names that a story states, each with whether its thread has them: numbers by value, names by word.

They are read off the words, so some stay unseen (a name that is also an everyday word), and some true ones count as
missing because the thread says them differently. How many a story may have is set in ``domain/judging/grounding.py``.

Some numbers need no source: one, once and first; two, unless it measures time, money or distance; "a third" and "the
third" and a number of commenters, replies or readers, up to the number of comments; the points of the post or of a
comment. Neither do the words that a newsroom uses of every thread.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

from threadjuice_dagster.domain.language.lexicon import lexicon
from threadjuice_dagster.domain.language.numbers import Number, numbers
from threadjuice_dagster.domain.language.text import WORD, cut, sentences
from threadjuice_dagster.domain.story.stories import Draft
from threadjuice_dagster.domain.story.terms import terms_of
from threadjuice_dagster.domain.story.threads import Thread

_DAYS_AND_MONTHS = """
monday tuesday wednesday thursday friday saturday sunday
january february march april may june july august september october november december
"""
_CALENDAR = frozenset(_DAYS_AND_MONTHS.split())
_OF_EVERY_THREAD = """
reddit redditor redditors subreddit asker askers answerer answerers commenter commenters forum topic english god mr
mrs ms miss dr sir madam prof herr frau monsieur madame op aita tl tldr edit update internet ok tv pc am pm ps
threadjuice
"""
_GENERIC = frozenset(_OF_EVERY_THREAD.split())

_DISCUSSION = re.compile(
    r"(?:\W+\w+){0,2}?\W+(?:(?P<points>points?|upvotes?|votes?|likes?)|comment(?:er)?s?|repl(?:y|ies)|readers?|answer(?:er)?s?"
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
    """A number or name as written, the sentence it stands in, and whether the thread has it.

    ``meanings`` are the values of a number, ``words`` the folded words of a name.
    """

    text: str
    sentence: str
    supported: bool
    meanings: frozenset[float | str] = frozenset()
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line for an operator."""
        return f"{self.text} (in “{cut(self.sentence, 90)}”)"


class ThreadFacts(NamedTuple):
    """What a thread holds: its words folded, those in lower case, its numbers by meaning, its scores and comments."""

    words: frozenset[str]
    lower: frozenset[str]
    meanings: frozenset[float | str]
    points: frozenset[float]
    comments: int


def thread_facts(thread: Thread, framing: Iterable[str] = ()) -> ThreadFacts:
    """Return what a thread holds, its source, place, date and figures included.

    ``framing`` may be drawn on as well.
    """
    written = "\n".join((*thread.texts, *framing))
    date = f"{thread.created_at:%A %B} {thread.created_at.day} {thread.created_at.year}"
    forum = " ".join((thread.community, *re.findall(r"[A-Z]?[a-z]+|[A-Z]+", thread.community)))
    terms = terms_of(thread)
    text = f"{written}\n{date}\n{forum}\n{terms.name}\n{terms.forum}\n{terms.whole}"
    return ThreadFacts(
        words=folded_forms(text),
        lower=frozenset(_LOWER.findall(written)),
        meanings=frozenset(meaning for number in numbers(text) for meaning in number.meanings),
        points=frozenset(map(float, (thread.score, *(comment.score for comment in thread.comments)))),
        comments=max(thread.num_comments, len(thread.comments)),
    )


def stated_facts(draft: Draft, source: ThreadFacts) -> Iterator[Fact]:
    """Yield every number and name in the writer's own words, except numbers that need no source."""
    titles = (draft.title, draft.seo_title, *(section.heading for section in draft.sections))
    texts = (*titles, draft.dek, draft.seo_description, draft.narration)
    lower = source.lower.union(*(_LOWER.findall(text) for text in texts))
    for sentence in (sentence for text in texts for sentence in sentences(text)):
        for number in numbers(sentence):
            supported = bool(number.meanings & source.meanings)
            if supported or not _needs_no_source(number, sentence, source):
                yield Fact(_with_sign(number, sentence), sentence, supported, meanings=number.meanings)
        # In a line of title case a capital letter does not mark a name.
        for name in () if sentence in titles and _is_title(sentence) else _names(sentence, lower, source.words):
            parts = tuple(_forms(word)[0] for word in WORD.findall(name))
            supported = all(part in source.words for part in parts)
            if not (supported and all(map(_is_everyday, parts))):
                yield Fact(name, sentence, supported, words=parts)


def unsupported(draft: Draft, source: ThreadFacts) -> list[Fact]:
    """Return the numbers and names that the thread does not hold, each value and each new word of a name once."""
    values: set[frozenset[float | str]] = set()
    new_words: set[str] = set()
    missing: list[Fact] = []
    for fact in stated_facts(draft, source):
        strange = {word for word in fact.words if word not in source.words} - new_words
        if not fact.supported and (strange or (fact.meanings and fact.meanings not in values)):
            missing.append(fact)
            new_words |= strange
            values.add(fact.meanings)
    return missing


def folded_forms(text: str) -> frozenset[str]:
    """Return every form in which a word of a text counts as known."""
    return frozenset(form for word in set(WORD.findall(text)) for form in _forms(word))


def _needs_no_source(number: Number, sentence: str, source: ThreadFacts) -> bool:
    value = max((meaning for meaning in number.meanings if isinstance(meaning, float)), default=None)
    before, after = _before(sentence, number.start), sentence[number.end : number.end + 60]
    if value is None:
        return False
    if value <= 2:
        return value <= 1 or not (_MEASURED.match(after) or re.search(r"[$£€¥]\s?$", before))
    if discussed := _DISCUSSION.match(after):
        return value in source.points if discussed["points"] else value <= source.comments
    return number.ordinal and value <= source.comments and bool(re.search(r"\b(?:an?|the)\s+$", before, re.IGNORECASE))


def _with_sign(number: Number, sentence: str) -> str:
    """Return the number with its currency, per cent sign, or the letters that it is part of."""
    before = re.search(r"[$£€¥]\s?$|\b[A-Za-z]+-?$", _before(sentence, number.start))
    after = re.match(r"\s?%|[-\w]*\w", sentence[number.end : number.end + 20])
    return f"{before.group() if before else ''}{number.text}{after.group() if after else ''}"


def _before(sentence: str, place: int) -> str:
    return sentence[max(0, place - 20) : place]


def _is_title(sentence: str) -> bool:
    """Whether a line is set in capitals or title case."""
    long_words = [word for word in WORD.findall(sentence) if len(word) > 3]
    return len(long_words) > 1 and sum(word[0].isupper() for word in long_words) > 0.7 * len(long_words)


def _names(sentence: str, lower: frozenset[str], in_thread: frozenset[str]) -> Iterator[str]:
    """Yield the names of a sentence: capitalised words with their capitalised neighbours."""
    group: list[re.Match[str]] = []
    for spot in WORD.finditer(sentence):
        if group and not re.fullmatch(r" |\. ", sentence[group[-1].end() : spot.start()]):
            yield from _name(group, sentence)
            group = []
        before = _before(sentence, spot.start()).rstrip()
        opens = not group and (not before or bool(_STARTS.search(before)))
        if _is_name(spot, sentence, lower, in_thread, opens):
            group.append(spot)
        else:
            yield from _name(group, sentence)
            group = []
    yield from _name(group, sentence)


def _name(group: list[re.Match[str]], sentence: str) -> Iterator[str]:
    if group:
        yield re.sub(r"['’]s?$", "", sentence[group[0].start() : group[-1].end()])


def _is_name(spot: re.Match[str], sentence: str, lower: frozenset[str], in_thread: frozenset[str], opens: bool) -> bool:
    """Whether a word is a name. One that opens a sentence has to look like a name and act like one."""
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
    if not opens or folded in in_thread:
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
    """Return the forms in which a word counts as known: not possessive, singular, plural, parts, a day's full name."""
    folded = re.sub(r"'s?$", "", word.casefold().replace("’", "'"))
    days = [day for day in _CALENDAR if word[0].isupper() and len(folded) > 2 and day.startswith(folded)]
    return (folded, folded.removesuffix("s"), f"{folded}s", *folded.split("-"), *days)
