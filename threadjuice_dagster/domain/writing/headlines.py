"""Makes a story's headline, and finds the concrete things that tag it and lead to a picture.

A headline never says more than the thread does: the poster's words stand in quotation marks, and what is
added is only where they were posted and what was asked there. The body is ``domain/writing/extractive.py``.
"""

import re
from collections import Counter
from collections.abc import Sequence

from threadjuice_dagster.domain.language.lexicon import lexicon
from threadjuice_dagster.domain.language.text import cut, fold, head, words
from threadjuice_dagster.domain.story.terms import Terms
from threadjuice_dagster.domain.writing.passages import is_balanced, is_printable, without_emphasis

MAX_TITLE, MAX_SEO_TITLE, MAX_SEO_DESCRIPTION = 90, 60, 155
"""Characters."""

_ASIDES = re.compile(
    r"<[^>]*>|https?://\S+|\[[^\]]*\]\([^)]*\)|[\[{][^\]}]*[\]}]|\(\s*(?:[MF]\s?/?\s?\d\d|\d\d\s?/?\s?[MF]?)\s*\)",
    re.IGNORECASE,
)
_LABEL = re.compile(r"^\W*(?:\w+ )?(?:update|edit|rant|serious|question|help|advice)\b[\s#\d]*[:\-–—|)]+\s*", re.I)
_FORUM = re.compile(
    r"^\W*(?:(AITAH?|AITJ|WIBTAH?|AIO)|TIFU|TIL|CMV|DAE|ELI5)\b[\s:,\-–—.]*(?:(?:that|by|because|since|as|for)\s+)?",
    re.IGNORECASE,
)
_QUESTION = re.compile(
    r"(?:what|why|how|who|which|when|where)(?:['’]s|\s(?:is|are|was|were|do|does|did|has|have|can|could|should|would))\b"
    r"|(?:is|are|do|does|did|can|could|should|would|has|have)\s(?:i|you|we|it|they|he|she|the|my|any\w*|there)\b",
    re.IGNORECASE,
)
_CLAUSES = (
    r"(?<!\.[a-z])[;:.!?–—]\s|\s[-–—]\s|,\s(?=\w+\s)|\s(?=(?:because|after|when|while|until|before|but)\s)",
    r"\s(?=(?:and|so|that|which|who|with|without|for|from|into|at|in|on|over)\s)",
)
"""Where a headline may end early, the better places first."""

_NO_NOUN = ("ing", "ly", "ed", "ness", "ious", "ful", "day")
_NOUN = re.compile(
    r"\b(?:an?|the|my|his|her|their|our|your|two|three|four|five)\s+([a-z]{3,})"
    r"(?=\s*(?:[.,;:!?)]|$)|\s(?:is|was|has|had|are|were|and|or|of|in|on|at|to|for|from|with|that|who|which|by|as|but|so"
    r"|because|when|after|before|until|i|we|he|she|they|you|it|would|will|could|can|into|out|over|under|about|if|than)\b)"
)
"""A noun by its neighbours, in folded text: determiner, noun, and what cannot follow an adjective."""


def headline(title: str, terms: Terms, instead: str = "") -> str:
    """Return a headline of at most ``MAX_TITLE`` characters for a post's title; ``terms`` name its forum.

    ``instead``, a sentence of the post, replaces a title with nothing to say.
    """
    forum = terms.forum
    wording = bare(title)
    wording = wording if len(words(wording)) > 2 else instead.rstrip(" .")
    if not wording:
        return cut(f"A {terms.post} {terms.in_forum}, and what readers made of it", MAX_TITLE)
    # Words that were left out, or marks inside, would make it a false quotation.
    exact = fold(wording) in fold(f"{title}\n{instead}") and not re.search(r"[“”\"]", wording)
    frame = f": {forum} weighs in"
    if (shorthand := _FORUM.match(title)) and shorthand[1]:
        wording, frame = wording.rstrip("?"), f": {forum} is asked to judge"
    elif wording.endswith("?") or _QUESTION.match(wording):
        wording, frame = wording.rstrip("?") + "?", f" {forum} answers"
    room = MAX_TITLE - 2
    parts = [
        (wording, frame),
        (wording, ""),
        (shortened(wording, room - len(frame)), frame),
        (shortened(wording, room), ""),
    ]
    if not exact:  # what cannot stand in quotation marks should at least be told as the forum's
        parts.sort(key=lambda part: not part[1])
    framed = [(f"“{part}”" if exact else part) + end for part, end in parts if part and len(part + end) <= room]
    return framed[0] if framed else cut(wording, MAX_TITLE)


def bare(title: str) -> str:
    """Return a post's title without labels, tags, ages, shouting or shorthand; empty if it cannot be printed."""
    text = _ASIDES.sub(" ", without_emphasis(head(title, 300)))
    text = _FORUM.sub("", _LABEL.sub("", " ".join(text.split()))).strip(" -–—|:;,*_~#>`…")
    letters = [char for char in text if char.isalpha()]
    if len(letters) > 8 and sum(map(str.isupper, letters)) > 0.6 * len(letters):
        text = re.sub(r"\bi\b", "I", text.lower())
    text = re.sub(r"\s*([?!])[?!]*", r"\1", re.sub(r"(?<!\.[a-z])\.$", "", text)).rstrip("!")
    return text[:1].upper() + text[1:] if is_printable(text + ".") else ""


def shortened(text: str, limit: int) -> str:
    """Return the start of a text up to a clause that ends within ``limit`` characters; empty where none does."""
    if len(text) <= limit:
        return text
    for clause, least in zip(_CLAUSES, (0.3, 0.6), strict=True):
        for match in reversed([*re.compile(clause, re.IGNORECASE).finditer(text, 0, limit + 9)]):
            part = text[: match.start()].rstrip(" ,;:-–—")
            fits = least * limit <= len(part) <= limit and len(words(part)) > 3
            if fits and words(part)[-1].lower() not in lexicon().common and is_balanced(part):
                return part
    return ""


def things(texts: Sequence[str], count: int) -> list[str]:
    """Return the concrete things most texts name, most named first; those of the first text, the title, ahead."""
    folded = [fold(text) for text in texts]
    named = Counter(noun for text in folded for noun in {*_NOUN.findall(text)})
    vague, titled = lexicon().common | lexicon().unpicturable, set(words(folded[0])) if folded else set()
    nouns = [
        noun
        for noun in sorted(named, key=lambda noun: (-named[noun] - 3 * (noun in titled), noun))
        if not (noun in vague or noun.removesuffix("s") in vague or noun.endswith(_NO_NOUN))
    ]
    return [noun for noun in nouns if not (noun.endswith("s") and noun[:-1] in named)][:count]
