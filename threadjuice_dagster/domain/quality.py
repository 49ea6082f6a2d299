"""The rubric: how good a story is to read, 0 to 10, from figures anybody can check, without a model.

The gate's threshold belongs in settings, a model's opinion in ``domain/prompts.py``, exactness of quotes
in ``domain/grounding.py``. A fault takes points off one dimension; a dimension that fails pulls the whole
under the gate. Sound prose of any style must stay over it, so doubtful signals move a score by little.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from statistics import median
from typing import NamedTuple

from threadjuice_dagster.domain import prose
from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.originality import longest_copied_run, own_text
from threadjuice_dagster.domain.stories import Draft
from threadjuice_dagster.domain.text import cut, folded_words, runs, words
from threadjuice_dagster.domain.threads import Thread

VERSION = "rubric-1"
MIN_WORDS, MAX_WORDS = 200, 1500

_WORST_FREE = 7.0
"""A dimension may sink to this before it counts beyond its weight."""
_WORST_PULL = 0.8

_MAX_SECTIONS = 40
_THREAD_CHARACTERS = 30_000
"""How much of a thread is compared: the post and its best comments; it bounds the cost of a huge one."""

_FILLER = re.compile(
    r"\b(?:lorem ipsum|dolor sit amet|consectetur adipiscing|sed do eiusmod|ut labore et dolore"
    r"|(?:content|text|story|paragraph|copy) goes here|(?:insert|add|put|write) (?:\w+ ){1,4}here\b"
    r"|your (?:text|content|story) here|placeholder (?:text|content)|(?:sample|dummy) (?:text|paragraph)\b"
    r"|this is (?:a|the) (?:test|sample|placeholder|filler|dummy)\b|as an ai (?:language )?model"
    r"|to be (?:written|filled in|completed)\b|more (?:text|content) (?:will follow|to (?:follow|come)))"
    r"|\{\{[^}]*\}\}|\[(?:insert|your|name|todo|tbd)[^\]]*\]"
)
_GENERIC = re.compile(
    r"\b(?:it(?:'s| is) (?:important|essential|crucial|vital|worth noting|always a good idea|no secret)\b"
    r"|in today's (?:\S+ ){0,3}(?:world|society|age)|fast-paced\b|communication is key|in conclusion\b"
    r"|(?:there are|come in|a) (?:many|various|several|variety of|wide range of|number of) (?:different )?"
    r"(?:ways|reasons|things|factors|kinds|aspects|opinions|perspectives|tips|benefits)\b|everyone is different\b"
    r"|each (?:person|situation|individual) is (?:unique|different)|when it comes to\b"
    r"|play(?:s|ing)? an? (?:\w+ )?role in\b|make (?:the most|informed|sure to|healthy)\b"
    r"|stay (?:positive|motivated|tuned|organi[sz]ed|focused)\b|achieve (?:your|their) (?:goals|full)|best practices\b"
    r"|key (?:to success|takeaway)|don't forget to|many people (?:believe|think|find|feel|agree|have|struggle|around)"
    r"|some people\b.{0,60}\bwhile others\b|situations? like (?:this|these) (?:can|may|are)\b|life is full of\b"
    r"|at its core\b|take (?:care of yourself|the time to)\b|healthy (?:lifestyle|diet|habits)\b|work-life balance\b"
    r"|opinions? (?:may )?vary\b)"
)
_TIRED_OPENING = re.compile(
    r"in today's|in this (?:article|post|story|day and age)|welcome (?:to|back)|have you ever (?:wondered|thought|felt)"
    r"|this (?:article|story|post) (?:is|will|explores|discusses)|since the dawn|as we all know|throughout history"
    r"|it is (?:important|well known|no secret)|many people|everyone (?:knows|has)|people often|there are many",
    re.IGNORECASE,
)
_BAIT = re.compile(
    r"you won't believe|what happens? next|will (?:shock|blow)|doctors hate|number \d+ will", re.IGNORECASE
)
_EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\u2b50\u2b55]")
_LIST_ITEM = re.compile(r"(?:[-*•–]|\d+[.)])\s")
_ENDS = tuple(".!?…\"'”’)]:*")
_UNFINISHED = re.compile(
    r"\b(?:the|a|an|and|or|but|of|to|in|on|at|with|for|from|by|that|which|who|is|was|were|are|had|has|his|her|their|its|my)$|[,;-]$",
    re.IGNORECASE,
)
_PEOPLE = re.compile(r"\b(?:he|she|they|him|her|his|them|their|i|we|me|my|us|our)\b", re.IGNORECASE)


class Dimension(Model):
    """One side of the rubric: 0 to 10, its weight in the mean, and what it rests on in an operator's words."""

    name: str
    score: float
    weight: float
    evidence: tuple[str, ...] = ()


class Rubric(Model):
    """The whole judgement: ``overall`` 0 to 10 and its dimensions. ``version`` says by which rules."""

    version: str
    overall: float
    dimensions: tuple[Dimension, ...]


class Fault(NamedTuple):
    """Points off a dimension (points on, where negative) and the evidence."""

    points: float
    evidence: str = ""


def rate(draft: Draft, thread: Thread | None = None, nearest: float = 0.0, excerpting: bool = False) -> Rubric:
    """Judge a draft, against its thread when there is one.

    ``nearest`` is the highest estimated Jaccard similarity with a published story, 0 to 1. ``excerpting`` says
    the writer's declared method is to excerpt the source, so overlap with the source is not held against it.
    """
    source = _source(thread)
    reading = prose.read(draft.text)
    own = reading if draft.narration == draft.text else prose.read(draft.narration)
    dimensions = (
        _dimension("readability", 1.0, 9.6, _readability(reading)),
        _dimension("structure", 1.2, 9.5, _structure(reading)),
        _dimension("coherence", 1.0, 9.1, _coherence(own, source)),
        _dimension("specificity", 1.2, 9.6, _specificity(reading, draft.title, source)),
        _dimension("hook", 0.8, 9.4, _hook(reading, draft.title)),
        _dimension("originality", 1.0, 9.8, _originality(draft, thread, nearest, excerpting)),
        _dimension("length", 0.8, 10.0, _length(draft.word_count)),
    )
    mean = sum(one.score * one.weight for one in dimensions) / sum(one.weight for one in dimensions)
    pull = sum(max(0.0, _WORST_FREE - one.score) for one in dimensions) * _WORST_PULL
    return Rubric(version=VERSION, overall=round(min(10.0, max(0.0, mean - pull)), 2), dimensions=dimensions)


def feedback(rubric: Rubric) -> str:
    """Instructions for a rewrite, one line per finding, worst dimension first; empty when nothing was found."""
    ranked = sorted((one for one in rubric.dimensions if one.evidence), key=lambda one: one.score)
    return "\n".join(f"- {one.name} ({one.score:.1f} of 10): {fact}" for one in ranked for fact in one.evidence)


def draft_from_text(title: str, text: str) -> Draft:
    """A draft from plain text: its paragraphs become sections. Lines count as paragraphs where no blank line does."""
    text = text.strip()
    parts = re.split(r"\n\s*\n" if re.search(r"\n\s*\n", text) else r"\n", text)
    if len(parts) > _MAX_SECTIONS:
        parts = [*parts[: _MAX_SECTIONS - 1], "\n\n".join(parts[_MAX_SECTIONS - 1 :])]
    kinds = ["opening", *["narrative"] * (len(parts) - 2), "closing"][: len(parts)]
    sections = [{"kind": kind, "text": part} for kind, part in zip(kinds, parts, strict=True)]
    return Draft.model_validate({"title": cut(title, 300) or "Untitled", "sections": sections})


def _dimension(name: str, weight: float, base: float, faults: Iterable[Fault]) -> Dimension:
    found = [fault for fault in faults if fault.points]
    score = min(10.0, max(0.0, base - sum(fault.points for fault in found)))
    evidence = tuple(fault.evidence for fault in found if fault.evidence)
    return Dimension(name=name, score=round(score, 2), weight=weight, evidence=evidence)


def _over(value: float, limit: float, slope: float, most: float, step: float = 0.0) -> float:
    """Points off for a value above its limit: ``step`` and ``slope`` for each unit beyond it, at most ``most``."""
    return min(most, step + slope * (value - limit)) if value > limit else 0.0


def _readability(reading: prose.Reading) -> Iterator[Fault]:
    found = reading.all_words
    mean = len(found) / max(1, len(reading.sentences))
    letters = sum(map(len, found)) / max(1, len(found))
    odd, examples = prose.gibberish(reading.text)
    yield Fault(_over(mean, 28, 0.25, 5.0), f"Sentences hold {mean:.0f} words on average; split the long ones.")
    yield Fault(_over(letters, 6, 2, 3.0), f"Words have {letters:.1f} letters on average; use plainer ones.")
    yield Fault(_over(odd, 0.03, 100, 9.0, step=2.4), f"{odd:.0%} of the words are no words: {_some(examples)}.")
    yield from _noise(reading.text, found)


def _noise(text: str, found: list[str]) -> Iterator[Fault]:
    per_hundred = 100 / max(20, len(found))
    shouted = [word for word in found if len(word) > 1 and word.isupper()]
    loud = len(shouted) * per_hundred
    emoji = len(_EMOJI.findall(text)) * per_hundred
    marks = (text.count("!") + len(re.findall(r"[!?]{2,}", text))) * per_hundred
    yield Fault(_over(loud, 6, 0.4, 7.0), f"{loud:.0f} words in a hundred are shouted: {_some(shouted)}.")
    yield Fault(_over(emoji, 1, 1.5, 6.0), f"{emoji:.1f} emoji to a hundred words; take them out.")
    yield Fault(_over(marks, 4, 0.6, 6.0), f"{marks:.0f} exclamation marks to a hundred words; use fewer.")


def _structure(reading: prose.Reading) -> Iterator[Fault]:
    parts = reading.paragraphs
    repeated, run = prose.repetition(reading.all_words)
    points = _over(repeated, 0.008, 65, 8.0, step=1.1)
    yield Fault(points, f"{repeated:.0%} of the text repeats itself, such as “{run}”; say it once.")
    again = Counter(told for told, found in zip(reading.sentences, reading.words, strict=True) if len(found) > 5)
    refrain, times = max(again.items(), key=lambda item: item[1], default=("", 0))
    yield Fault(_over(times, 2, 1.5, 6.0, step=1.5), f"“{cut(refrain, 80)}” stands {times} times; say it once.")
    last = parts[-1] if parts else ""
    unfinished = 6.0 if _UNFINISHED.search(last) else 4.5 * _is_ragged(last)
    yield Fault(unfinished, f"The story breaks off: “…{cut(last[-80:], 80)}”; finish it.")
    ragged = [part for part in parts[:-1] if _is_ragged(part)]
    if len(ragged) > 1:
        yield Fault(min(3.0, 4 * len(ragged) / len(parts)), f"Paragraphs break off: “{cut(ragged[0][-60:], 60)}”.")
    longest = max((len(words(part)) for part in parts), default=0)
    yield Fault(_over(longest, 220, 0.004, 1.5), f"A paragraph runs to {longest} words; break it up.")


def _is_ragged(part: str) -> bool:
    """Whether a paragraph of running text lacks an end; short lines, list items and sign-offs may."""
    bare = _EMOJI.sub("", part).rstrip("\ufe0f ")
    return bare == part and len(words(bare)) > 3 and not bare.endswith(_ENDS) and not _LIST_ITEM.match(bare)


def _coherence(reading: prose.Reading, source: str) -> Iterator[Fault]:
    broken = sum(map(prose.broken_quotes, reading.paragraphs))
    points = _over(broken, 0, 1.8, 6.0, step=-0.8)
    yield Fault(points, f"{broken} quotation marks open or close out of turn; check the order of sentences.")
    yield Fault(0.45 * max(-2, min(3, prose.late_introductions(reading.text))))
    yield Fault(0.7 * prose.dangling(reading.sentences))
    yield Fault(-0.4 * max(-1.0, min(1.0, prose.neighbours(reading.subjects) - 1)))
    if source:
        follows, rests_on = prose.order(reading, source)
        yield Fault(-0.8 * follows if rests_on >= 6 else 0.0)
    yield from islice(_odd_paragraphs(reading, source), 3)


def _odd_paragraphs(reading: prose.Reading, source: str) -> Iterator[Fault]:
    """Paragraphs that share next to nothing with the rest of the story or with its thread."""
    told = [prose.subjects(words(part)) for part in reading.paragraphs]
    shares = prose.ties(told, prose.subjects(words(source)))
    long = [i for i, subjects in enumerate(told) if len(subjects) >= 12]
    if len(told) < 4 or len(long) < 2:
        return
    limit = min(0.12, 0.27 * median(shares[i] for i in long))
    for i in (i for i in long if shares[i] < limit):
        part = reading.paragraphs[i]
        points = 1 + 2.2 * (1 - shares[i] / limit) + 1.3 * (not _PEOPLE.search(part))
        yield Fault(points, f"“{cut(part, 80)}” has little to do with the rest; tie it in or cut it.")


def _specificity(reading: prose.Reading, title: str, source: str) -> Iterator[Fault]:
    text, found = reading.text.lower().replace("’", "'"), reading.all_words
    filler = [match.group() for match in _FILLER.finditer(text)]
    yield Fault(_over(len(filler), 0, 1.5, 9.0, step=2.5), f"Filler stands in for a story: {_some(filler)}.")
    generic = [match.group() for match in _GENERIC.finditer(text)]
    per_hundred = 100 / max(50, len(found))
    points = _over(len(generic) * per_hundred, 0.4, 2.5, 6.0) if len(generic) > 1 else 0.0
    yield Fault(points, f"Phrases that fit any story: {_some(generic)}; say what happened here.")
    specifics = (prose.specifics(found) + len(prose.names(reading.text))) * per_hundred
    points = _over(7 - specifics, 0, 0.9, 6.0)
    yield Fault(points, f"Only {specifics:.0f} names, figures or events to a hundred words; be concrete.")
    yield from _unused_thread([*words(title), *found], source)


def _unused_thread(found: list[str], source: str) -> Iterator[Fault]:
    """A story of a thread speaks of what the thread speaks of; measured on the subjects it names more than once."""
    theirs = prose.subjects(words(source))
    told = Counter(subject for word in found if (subject := prose.subject(word)))
    main = {subject: often for subject, often in told.items() if often > 1}
    if len(theirs) < 15 or len(main) < 5:
        return
    used = sum(often for subject, often in main.items() if subject in theirs) / sum(main.values())
    least = 0.32 * min(1.0, len(theirs) / 80) + 0.13 * min(1.0, max(0.0, (len(theirs) - 250) / 350))
    points = _over(1 - used / least, 0, 9, 7.0)
    yield Fault(points, f"{used:.0%} of its main subjects are the thread's; tell what the thread tells.")


def _hook(reading: prose.Reading, title: str) -> Iterator[Fault]:
    first = reading.sentences[0] if reading.sentences else ""
    if _TIRED_OPENING.match(first.replace("’", "'")):
        yield Fault(2.2, f"The opening could open anything: “{cut(first, 80)}”; open with what happened.")
    if len(words(first)) > 50:
        yield Fault(1.2, f"The first sentence runs to {len(words(first))} words; shorten it.")
    opening, rest = (set().union(*part) for part in (reading.subjects[:3], reading.subjects[3:]))
    if rest and len(opening) > 4 and not opening & rest:
        yield Fault(1.2, "The first three sentences share no subject with the rest; open with the story itself.")
    if _BAIT.search(title):
        yield Fault(2.0, "The headline baits; say what happened.")
    if len(title) > 120 or (title.isupper() and len(words(title)) > 3):
        yield Fault(1.2, "The headline is shouted or longer than 120 characters; shorten it.")


def _originality(draft: Draft, thread: Thread | None, nearest: float, excerpting: bool) -> Iterator[Fault]:
    points = _over(nearest, 0.1, 12, 9.0)
    yield Fault(points, f"{nearest:.0%} of its phrases stand in a published story; tell another one.")
    if thread is None or excerpting:
        return
    length, run = longest_copied_run(draft, thread)
    points = _over(length, 15, 0.14, 6.0)
    yield Fault(points, f"{length} words in a row are the source's: “{cut(run, 100)}”; retell or quote.")
    own, theirs = (set(runs(folded_words(text), 5)) for text in (own_text(draft), _source(thread)))
    share = len(own & theirs) / len(own) if len(own) >= 20 else 0.0
    yield Fault(
        _over(share, 0.2, 9, 5.0), f"{share:.0%} of its five-word phrases are the source's; use your own words."
    )


def _length(count: int) -> Iterator[Fault]:
    short = 1 - count / MIN_WORDS
    yield Fault(10 * max(0.0, short) ** 0.9, f"{count} words; a story needs at least {MIN_WORDS}.")
    yield Fault(_over(count, MAX_WORDS, 1 / 300, 6.0), f"{count} words; cut to at most {MAX_WORDS}.")


def _source(thread: Thread | None) -> str:
    return "\n\n".join(thread.texts)[:_THREAD_CHARACTERS] if thread else ""


def _some(found: Iterable[str]) -> str:
    return ", ".join(f"“{cut(one, 40)}”" for one in islice(dict.fromkeys(found), 5))
