"""What stands around a story: its headline, search texts, tags and the words that find a picture.

A headline never says more than the thread does: the poster's words stand in quotation marks, and what is
added is only where they were posted and what was asked there. The body is ``domain/extractive.py``.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from threadjuice_dagster.domain.passages import balanced, is_printable, stands_in, without_emphasis
from threadjuice_dagster.domain.prose import COMMON
from threadjuice_dagster.domain.stories import Category
from threadjuice_dagster.domain.text import cut, fold, words
from threadjuice_dagster.domain.threads import Thread

MAX_TITLE, MAX_SEO_TITLE, MAX_SEO_DESCRIPTION = 90, 60, 155
"""Characters."""

_TAGS = re.compile(r"<[^>]*>|https?://\S+|www\.\S+|\[[^\]]*\]\([^)]*\)")
_BRACKETED = re.compile(r"\s*[\[{][^\]}]*[\]}]\s*")
_AGE = re.compile(r"\s*[(\[]\s*(?:[MFmf]{1,2}\s*/?\s*\d{2}|\d{2}\s*/?\s*(?:[MFmf]{1,2}|nb|NB|male|female)?)\s*[)\]]")
_LABEL = re.compile(
    r"^\W*(?:(?:(?:new|final|small|quick|long)\s+)?(?:update|edit|rant|vent|serious|psa|lpt|eli5|question|help|advice|story|"
    r"final|long|nsfw|oc)(?:\s*#?\d+)?\s*[:\-–—\]|)]+\s*|(?:update|serious)\s+)+",
    re.IGNORECASE,
)
_SUMMARY = re.compile(r"\W*\(?\b(?:update|edit|long|rant|long post|oc|x-?post.*|cross-?post.*)\)?\W*$", re.IGNORECASE)
_FORUM = re.compile(r"^\W*(AITAH?|AITJ|WIBTAH?|WIBTJ|AIO|TIFU|TIL|CMV|DAE|YSK|ELI5)\b[\s:,\-–—.]*", re.IGNORECASE)
_JOINERS = re.compile(r"^(?:that|by|because|since|as)\s+", re.IGNORECASE)
_FIRST_PERSON = re.compile(r"\b(?:I|I['’]\w+|my|me|mine|myself|we|our|us|we['’]\w+)\b", re.IGNORECASE)
_QUESTION = re.compile(
    r"^(?:what|why|how|who|which|when|where|is|are|was|were|do|does|did|can|could|should|would|will|has|have|am|if|anyone|"
    r"any|whats|what['’]s|who['’]s|redditors)\b",
    re.IGNORECASE,
)
_SUBJECT = r"(?:i|he|she|they|we|it|my|our|his|her|the|now|then|nobody|everyone)\b"
_CLAUSES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?<!\.[a-z])[;:.!?–—]\s+|\s+[-–—]\s+|,\s+(?=(?:and|but|so|because|which|who|now|then)\s|{_SUBJECT})"
        rf"|\s+(?=(?:because|after|when|while|until|before|since)\s|(?:and|but|so|then)\s{_SUBJECT})",
        r",\s+|\s+(?=(?:that|which|who|where)\s)",
        r"\s+(?=(?:with|without|for|from|into|under|at|in|on|over)\s)",
    )
)
"""Where a headline may end early, the better places first."""

_UNFINISHED = re.compile(
    r"\s+(?:a|an|the|and|or|but|of|to|in|on|at|for|with|from|by|as|that|which|who|my|his|her|their|our|your|is|are|was|were|"
    r"be|been|i|we|he|she|they|it|not|so|because|if|when|than|into|about|its|this|these|those|has|have|had|will|would|just|"
    r"very|up|out|over)$|(?:,|\s+and)\s+(?:and\s+)?(?:my|the|his|her|our|an?)\s+[\w-]+$",
    re.IGNORECASE,
)
_ABSTRACT_WORDS = """
account amount answer bit case chance choice comment couple course deal detail edge evening face fact feeling friend
group guy half hand hour idea issue kid kind line lot man matter minute moment month morning name night number order
other others person place plan point post problem question reason reply response rest rule same second sense side
sort start stuff story subject sure thank thread title tomorrow trouble truth type version view voice weekend while
woman women men middle past present attention decision situation opinion advice update money price cost whole only first
second third next last best worst right wrong left end top bottom front back few more most many one two three four five
six seven eight nine ten eleven twelve twenty thirty forty fifty hundred thousand extra free different entire exact real
own single big small little large huge new old young long short good great bad full nice happy sorry able certain
several part bunch row twice lives background attempt call look try turn use need want say talk guess
monday tuesday wednesday thursday friday saturday sunday january february march april may june july august september
october november december week weeks months fortnight afternoon spring summer autumn winter fourth fifth sixth seventh
eighth ninth tenth season body job date cover due afraid apart away aware alone asleep alive degrees
"""
_ABSTRACT = frozenset(_ABSTRACT_WORDS.split())
_NO_NOUN = ("ing", "ly", "ed", "ness", "ious", "ful")
_NOUN = re.compile(
    r"\b(?:a|an|the|my|his|her|their|our|your|another|every|two|three|four|five|\d+)\s+"
    r"((?:[a-z]+(?:-[a-z]+)*\s+){0,2}?)([a-z]{3,})"
    r"(?=\s*(?:[.,;:!?)]|$|\s(?:is|was|has|had|are|were|and|or|of|in|on|at|to|for|from|with|that|who|which|by|as|but|so|"
    r"because|when|after|before|until|i|we|he|she|they|you|it|would|will|could|can|into|out|over|under|about|if|than|did|"
    r"does|went|said|came|made|got|up|down|off|behind|next|near|without|through)\b))"
)
"""A noun by its neighbours, in folded text: determiner, up to two words, noun, and what cannot follow an adjective."""


class Subject(NamedTuple):
    """What a post's title comes to. ``words`` are its own, ``form`` says how they can be framed."""

    words: str
    form: str


def headline(thread: Thread, forum: str, first_sentence: str = "") -> str:
    """A headline of at most ``MAX_TITLE`` characters; ``forum`` as in ``r/cooking``.

    A title with nothing to say is replaced by the post's ``first_sentence``.
    """
    subject = _subject(thread.title)
    if not _says_something(subject.words):
        subject = Subject(first_sentence.rstrip(" ."), "statement" if first_sentence else "none")
    # Words that were left out, or marks inside, would make it a false quotation.
    exact = stands_in(subject.words, f"{thread.title}\n{first_sentence}") and not re.search(r"[“”\"]", subject.words)
    marks = ("“", "”") if exact else ("", "")
    options = [capital(option) for option in _framings(subject, forum, marks) if len(option) <= MAX_TITLE]
    return options[0] if options else f"A post on {forum}, and what readers made of it"[:MAX_TITLE]


@lru_cache(maxsize=64)
def bare_title(title: str) -> str:
    """The post's title without labels, tags, ages and shouting; empty if it cannot be printed."""
    text = _BRACKETED.sub(" ", _AGE.sub("", _TAGS.sub(" ", without_emphasis(title[:300]))))
    text = _SUMMARY.sub("", _LABEL.sub("", " ".join(text.split())))
    text = " ".join(text.split()).strip(" \t-–—|:;,*_~#>`").rstrip("… ")
    text = re.sub(r"(?<!\.[a-z])\.$", "", text)
    if _is_shouted(text):
        text = re.sub(r"\bi\b", "I", text.lower())
        text = re.sub(r"(^|[.!?]\s+)([a-z])", lambda match: match[1] + match[2].upper(), text)
    text = re.sub(r"([!?])[!?]+", r"\1", text)
    text = re.sub(r"\s+([?!,.])", r"\1", text).rstrip("!")
    latin = sum(char.isascii() for char in text if char.isalpha()) * 2 > sum(map(str.isalpha, text))
    return text if latin and is_printable(text + ".") else ""


def told_in(title: str) -> str:
    """What a title tells once the forum's own shorthand is off it, as in ``AITA for``."""
    return _subject(title).words


def capital(text: str) -> str:
    """The text with its first letter a capital."""
    at = next((place for place, char in enumerate(text) if char.isalnum()), 0)
    return text[:at] + text[at : at + 1].upper() + text[at + 1 :]


def seo_title(title: str) -> str:
    """The headline in at most ``MAX_SEO_TITLE`` characters, without its frame where that is what is too long."""
    if len(title) <= MAX_SEO_TITLE:
        return title
    inner = re.search(r"“([^”]+)”", title)
    text = inner[1] if inner else title.rsplit(": r/", 1)[0]
    return capital(shortened(text, MAX_SEO_TITLE) or cut(text, MAX_SEO_TITLE))


def shortened(text: str, limit: int) -> str:
    """The start of a text up to a clause that ends within ``limit`` characters; empty where none does."""
    if len(text) <= limit:
        return text
    for rank, clause in enumerate(_CLAUSES):
        for match in reversed([*clause.finditer(text, 0, limit + 8)]):
            part = text[: match.start()].rstrip(" ,;:-–—")
            if len(words(part)) < 4 or (rank and len(part) < limit * 0.6):
                continue
            if len(part) <= limit and not _UNFINISHED.search(part) and balanced(part):
                return part
    return ""


def nouns(texts: Iterable[str], count: int) -> list[str]:
    """The concrete things most of the texts name, most named first: what follows an article, possessive or number.

    What the first text names, the headline, counts for three more. What stands right behind its article is the surest.
    """
    found: Counter[str] = Counter()
    told = [fold(text) for text in texts]
    for text in told:
        named = {match[2]: 1 if match[1] else 2 for match in _NOUN.finditer(text) if _is_noun(match[1], match[2])}
        for word, sureness in named.items():
            found[_singular(word, found)] += sureness
    for word in found.keys() & set(words(told[0] if told else "")):
        found[word] += 6 if found[word] > 2 else 0
    return [word for word, _ in sorted(found.items(), key=lambda item: -item[1])[:count]]


def tags(category: Category, things: Sequence[str], forum: str) -> tuple[str, ...]:
    """Three to six lower-case tags: the desk, the things told of, the forum."""
    options = [category.name.lower(), *things[:4], forum.removeprefix("r/").lower(), "discussion", "readers"]
    return tuple(dict.fromkeys(option for option in options if option))[: max(3, min(6, len(things[:4]) + 2))]


def picture_query(category: Category, things: Sequence[str]) -> str:
    """Two to four concrete words to look for a photograph with; the desk's where the thread has none."""
    own = [word for word in words(f"{category.name} {' '.join(category.keywords[:3])}".lower()) if word.isalpha()]
    chosen = list(dict.fromkeys((*things[:3], *own, "conversation", "people")))
    return " ".join(chosen[: max(2, len(things[:3]))])


def alt_text(query: str) -> str:
    """A plain description of what a photograph found by ``query`` shows."""
    things = query.split()
    return f"Symbolic photograph: {', '.join(things[:-1])} and {things[-1]}" if things[1:] else f"Photograph: {query}"


@lru_cache(maxsize=64)
def _subject(title: str) -> Subject:
    text = bare_title(title)
    match = _FORUM.match(text)
    if not match:
        return Subject(text, _form(text))
    code, rest = match[1].upper(), text[match.end() :].strip(" ?")
    if code.startswith(("AIT", "WIBT", "AIO")):
        conditional = rest.lower().startswith(("if ", "for ", "to "))
        return Subject(rest.removeprefix("for ") if conditional else _JOINERS.sub("", rest), "judged")
    if code == "TIFU":
        return Subject(_JOINERS.sub("", rest), "confessed")
    rest = _JOINERS.sub("", rest)
    return Subject(rest, _form(rest))


def _form(text: str) -> str:
    if text.endswith("?") or (_QUESTION.match(text) and len(words(text)) > 3):
        return "question"
    return "statement" if _FIRST_PERSON.search(text) or re.search(r"[“”\"]", text) else "report"


def _framings(subject: Subject, forum: str, marks: tuple[str, str]) -> list[str]:
    """Headlines for a subject, best first; the caller takes the first that is short enough."""
    text = capital(subject.words)
    if not text:
        return []
    left, right = marks
    if subject.form == "question":
        return _asked(text if text.endswith("?") else f"{text}?", forum, marks)
    frames = {
        "judged": ("{}: {} is asked to judge", "{}: {} judges"),
        "confessed": ("{}: a confession on {}", "{}: told on {}"),
        "statement": ("{}: {} weighs in", "{}: told on {}"),
        "report": ("{}: {} has its say", "{}: {} weighs in"),
    }[subject.form]
    if subject.form == "report":
        left = right = ""
    part = shortened(text, MAX_TITLE - len(frames[1].format("", forum)) - 2)
    whole, framed = ([frame.format(f"{left}{said}{right}", forum) for frame in frames if said] for said in (text, part))
    bare, last = (f"{left}{said}{right}" for said in (text, shortened(text, MAX_TITLE - 2) or cut(text, 80)))
    # Quoted, the whole of it says more than a part with a frame; unquoted, it would be the post's title again.
    return [*whole, bare, *framed, last] if left else [*whole, *framed, bare, last]


def _asked(text: str, forum: str, marks: tuple[str, str]) -> list[str]:
    """A question put to the forum, cut to its first or last sentence where the whole is too long."""
    left, right = marks
    parts = (text, text.split("? ", 1)[0].rstrip("?") + "?", re.split(r"[.!?] ", text)[-1])
    options = [f"{left}{capital(part)}{right} {forum} answers" for part in parts]
    return [*options, f"{left}{shortened(text, MAX_TITLE - 2) or cut(text, 80)}{right}"]


def _says_something(text: str) -> bool:
    return (
        len(words(text)) >= 3
        and len(text) >= 12
        and not re.match(r"(?i)(?:please )?(?:help|advice|need)\b.{0,25}$", text)
    )


def _is_shouted(text: str) -> bool:
    letters = [char for char in text if char.isalpha()]
    return len(letters) > 8 and sum(char.isupper() for char in letters) > 0.6 * len(letters)


def _is_noun(between: str, word: str) -> bool:
    """Whether the last word of a ``_NOUN`` match names a thing, and no verb or pronoun stands before it."""
    if word in COMMON or word in _ABSTRACT or word.removesuffix("s") in _ABSTRACT or word.endswith(_NO_NOUN):
        return False
    return all(part in _ABSTRACT or part not in COMMON for part in between.split())


def _singular(word: str, known: Counter[str]) -> str:
    single = word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word
    return single if single in known else word
