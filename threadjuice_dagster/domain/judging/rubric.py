"""The rubric: how good a story is to read, 0 to 10, from figures anybody can check, without a model.

The gate's threshold belongs in settings, a model's opinion in ``domain/writing/prompts.py``, exactness of quotes in
``domain/judging/grounding.py``; how order and unity are measured in ``domain/judging/order.py`` and
``domain/judging/unity.py``. A fault takes points off one dimension; a dimension that fails pulls the whole under the
gate. Sound prose of any style must stay over it, so doubtful signals move a score by little.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Set
from itertools import islice
from typing import NamedTuple

from threadjuice_dagster.domain.judging import order, unity
from threadjuice_dagster.domain.judging.originality import longest_copied_run, own_text
from threadjuice_dagster.domain.language import prose
from threadjuice_dagster.domain.language.lexicon import phrases
from threadjuice_dagster.domain.language.text import cut, folded_words, runs, sentences, tail, words
from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.story.stories import Draft
from threadjuice_dagster.domain.story.threads import Thread

VERSION = "rubric-4"

DIMENSIONS: dict[str, str] = {
    "readability": "whether it can be read: sentence and word length, words that are words in an order that is "
    "English, no shouting, emoji or rows of exclamation marks. 10: effortless; 7: an effort; under 5: no English prose",
    "structure": "whether it is one finished text: nothing said twice, no paragraph that breaks off, none too long. "
    "10: whole; 7: a refrain or a ragged end; under 5: cut off or repeated",
    "order": "whether the sentences follow one another: introductions before reuse, pronouns after their persons, "
    "openings first and endings last, against the same sentences in random order. 10: told in order; 8: in doubt; "
    "under 6: shuffled",
    "unity": "whether every paragraph belongs to the story: its subjects, names, topics and voice against the others' "
    "and the thread's. 10: one piece; 8: in doubt; under 6: a paragraph of another text, or two texts joined",
    "specificity": "whether it tells of somebody and something: names, figures, events, the thread's own subjects; no "
    "filler, selling, platitudes or vagueness. 10: of this story alone; 7: partly general; under 5: of anything",
    "hook": "whether headline and opening lead in: no worn phrase, no bait, no overlong first sentence, an opening "
    "that the rest takes up. 10: leads in; 7: could open any story",
    "originality": "whether the words are its own: little in common with published stories, no long run of the "
    "source's words outside quotes. 10: its own; 7: a passage copied; under 4: a copy",
    "length": "whether it is as long as a story. 10: 200 to 1,500 words; 5: about half the least",
}
"""Every dimension: what it asks, and what its scores from 0 to 10 mean."""

MIN_WORDS, MAX_WORDS = 200, 1500

_WORST_FREE = 7.0
"""A dimension may sink to this before it counts beyond its weight."""
_WORST_PULL = 0.8

_VAGUE = 2.5
"""Vague words to a hundred, less a quarter of those that name something; no sound story of the dev half has 1."""
_CLEAR = 0.4
"""The margin over the line from which order and unity are no longer in doubt."""
_SEAM, _WHOLE = 0.43, 1.0
"""Subjects reaching over a break against chance: under the first, two texts were joined; from the second on, one."""
_SOURCE_WEIGHT = 0.6
"""What following the source from end to end counts for, in standard deviations of a random order."""

_LONG_RUN = 15
"""Words in a row that may be the source's."""

_BROKEN_UP = 0.6
"""What faults of order and unity weigh in a story with headings or set-off quotes, across which its text jumps."""

_MAX_SECTIONS = 40
_THREAD_CHARACTERS = 30_000
"""How much of a thread is compared: the post and its best comments; it bounds the cost of a huge one."""

_EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\u2b50\u2b55]")
_LIST_ITEM = re.compile(r"(?:[-*•–]|\d+[.)])\s")
_ENDS = tuple(".!?…\"'”’)]:*")
_UNFINISHED = re.compile(
    r"\b(?:the|a|an|and|or|but|of|to|in|on|at|with|for|from|by|that|which|who|is|was|were|are|had|has|his|her|their|its|my)$|[,;-]$",
    re.IGNORECASE,
)


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


class Source(NamedTuple):
    """What a thread says: its text, the subject stems of each sentence, and all of them."""

    text: str
    told: list[set[str]]
    subjects: frozenset[str]


def rate(draft: Draft, thread: Thread | None = None, nearest: float = 0.0, excerpting: bool = False) -> Rubric:
    """Judge a draft, against its thread when there is one.

    ``nearest`` is the highest ``similarity`` with a published story, 0 to 1. ``excerpting`` says
    the writer's declared method is to excerpt the source, so overlap with the source is not held against it.
    """
    source = _source(thread)
    reading = prose.read(draft.text)
    own = reading if draft.narration == draft.text else prose.read(draft.narration)
    quoted = sum(len(words(quote.text)) for quote in draft.quotes)
    # An excerpting writer's story is in its quotes too; its own lines only lead to them.
    shown = prose.read(draft.shown) if excerpting and draft.quotes else reading
    broken_up = _BROKEN_UP if draft.quotes or any(section.heading for section in draft.sections) else 1.0
    dimensions = (
        _dimension("readability", 1.0, 9.6, _readability(reading)),
        _dimension("structure", 1.2, 9.5, _structure(reading)),
        _dimension("order", 1.0, 9.8, _order(shown if excerpting else own, source, excerpting), broken_up),
        _dimension("unity", 1.0, 9.8, () if excerpting else _unity(own, source), broken_up),
        _dimension(
            "specificity",
            1.2,
            9.6,
            _specificity(reading, shown, draft.title, frozenset() if excerpting else source.subjects),
        ),
        _dimension("hook", 0.8, 9.4, _hook(shown, draft.title)),
        _dimension("originality", 1.0, 9.8, _originality(draft, thread, source.text, nearest, excerpting)),
        _dimension("length", 0.8, 10.0, _length(len(reading.all_words) + quoted)),
    )
    weights = sum(dimension.weight for dimension in dimensions)
    mean = sum(dimension.score * dimension.weight for dimension in dimensions) / weights
    pull = sum(max(0.0, _WORST_FREE - dimension.score) for dimension in dimensions) * _WORST_PULL
    return Rubric(version=VERSION, overall=round(min(10.0, max(0.0, mean - pull)), 2), dimensions=dimensions)


def feedback(rubric: Rubric) -> str:
    """Instructions for a rewrite, one line per finding, worst dimension first; empty when nothing was found."""
    ranked = sorted(
        (dimension for dimension in rubric.dimensions if dimension.evidence), key=lambda dimension: dimension.score
    )
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


def _dimension(name: str, weight: float, base: float, faults: Iterable[Fault], share: float = 1.0) -> Dimension:
    deductions = [fault for fault in faults if fault.points]
    score = min(10.0, max(0.0, base - share * sum(fault.points for fault in deductions)))
    evidence = tuple(fault.evidence for fault in deductions if fault.evidence)
    return Dimension(name=name, score=round(score, 2), weight=weight, evidence=evidence)


def _over(value: float, limit: float, slope: float, most: float, step: float = 0.0) -> float:
    """Points off for a value above its limit: ``step`` and ``slope`` for each unit beyond it, at most ``most``."""
    return min(most, step + slope * (value - limit)) if value > limit else 0.0


def _readability(reading: prose.Reading) -> Iterator[Fault]:
    words = reading.all_words
    mean = len(words) / max(1, len(reading.sentences))
    letters = sum(map(len, words)) / max(1, len(words))
    odd, examples = prose.gibberish(reading.text)
    yield Fault(_over(mean, 28, 0.25, 5.0), f"Sentences hold {mean:.0f} words on average; split the long ones.")
    yield Fault(_over(letters, 6, 2, 3.0), f"Words have {letters:.1f} letters on average; use plainer ones.")
    yield Fault(_over(odd, 0.03, 100, 9.0, step=2.4), f"{odd:.0%} of the words are no words: {_some(examples)}.")
    joined = prose.misjoined(reading.lowered)
    share = 100 * len(joined) / max(50, len(words))
    yield Fault(_over(share, 0.9, 3, 9.0, step=1), f"Words stand in no English order: {_some(joined)}.")
    yield from _noise(reading.text, words)


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
    yield Fault(unfinished, f"The story breaks off: “…{cut(tail(last, 80), 80)}”; finish it.")
    ragged = [part for part in parts[:-1] if _is_ragged(part)]
    if len(ragged) > 1:
        yield Fault(min(3.0, 4 * len(ragged) / len(parts)), f"Paragraphs break off: “{cut(tail(ragged[0], 60), 60)}”.")
    sizes: Counter[int] = Counter()
    for home, found in zip(reading.homes, reading.words, strict=True):
        sizes[home] += len(found)
    longest = max(sizes.values(), default=0)
    yield Fault(_over(longest, 220, 0.004, 1.5), f"A paragraph runs to {longest} words; break it up.")


def _is_ragged(part: str) -> bool:
    """Whether a paragraph of running text lacks an end; short lines, list items and sign-offs may."""
    bare = _EMOJI.sub("", part).rstrip("\ufe0f ")
    return bare == part and len(words(bare)) > 3 and not bare.endswith(_ENDS) and not _LIST_ITEM.match(bare)


def _line(margin: float, sure: float) -> float:
    """Points off for a measure with its line between sound and damaged at 0; none from ``sure`` on."""
    if margin >= _CLEAR:
        return 1.2 * max(0.0, 1 - (margin - _CLEAR) / sure)
    return min(9.0, 1.2 + 3.4 * (1 - max(0.0, margin) / _CLEAR) + 1.2 * max(0.0, -margin))


def _order(reading: prose.Reading, source: Source, excerpting: bool) -> Iterator[Fault]:
    """An excerpting writer's linking lines have no order of their own; the excerpts have the source's."""
    follows, rests_on = order.follows_source(reading.subjects, source.told)
    known = follows if rests_on >= 6 else 0.0
    own = None if excerpting else order.in_order(reading)
    points = _line(own + known * _SOURCE_WEIGHT, sure=2.0) if own is not None else _over(-known, 0, 6, 6.0)
    worst = "; ".join(f"“{cut(sentence, 80)}”" for sentence in order.misplaced(reading)[:3]) if points > 1.2 else ""
    yield Fault(points, worst and f"The sentences do not follow one another; out of place seem {worst}.")


def _unity(reading: prose.Reading, source: Source) -> Iterator[Fault]:
    parts = unity.take_apart(reading)
    strays = unity.strangers(parts, source.subjects)
    for value, at in strays[:1]:
        yield Fault(_line(-value, sure=6.0), _stray(reading.paragraphs[at]) if -value < _CLEAR else "")
    reach, at = unity.seam(parts)
    points = max(0.0, _WHOLE - reach) * 2 + _over(_SEAM - reach, 0, 12, 6.0, step=2.5)
    yield Fault(
        points, f"Nothing leads to “{cut(reading.paragraphs[at], 80)}”; join the parts." if reach < _SEAM else ""
    )
    for value, at in strays[1:4]:
        yield Fault(min(2.0, max(0.0, value)), _stray(reading.paragraphs[at]))


def _stray(part: str) -> str:
    return f"“{cut(part, 80)}” has little to do with the rest; tie it in or cut it."


def _specificity(reading: prose.Reading, shown: prose.Reading, title: str, theirs: Set[str]) -> Iterator[Fault]:
    text, found = reading.text.lower().replace("’", "'"), shown.all_words
    filler = [match.group() for match in phrases("filler").finditer(text)]
    yield Fault(_over(len(filler), 0, 1.5, 9.0, step=2.5), f"Filler stands in for a story: {_some(filler)}.")
    generic = [match.group() for match in phrases("generic").finditer(text)]
    per_hundred = 100 / max(50, len(found))
    points = _over(len(generic) * per_hundred, 0.4, 2.5, 6.0) if len(generic) > 1 else 0.0
    yield Fault(points, f"Phrases that fit any story: {_some(generic)}; say what happened here.")
    sold = [match.group() for match in phrases("selling").finditer(text)]
    yield Fault(_over(len(sold), 1, 1.5, 8.0, step=2.5), f"It sells instead of telling: {_some(sold)}; cut it.")
    vague = prose.vagueness(shown.all_lowered) * per_hundred
    if vague > _VAGUE:
        points = _over(vague, _VAGUE, 1.1, 7.0, step=1)
        yield Fault(points, f"It could be about anything: {_some(_vaguest(shown))}; say who and what.")
    specifics = (prose.specifics(shown.all_lowered) + sum(map(len, shown.capitals))) * per_hundred
    points = _over(7 - specifics, 0, 0.9, 6.0)
    yield Fault(points, f"Only {specifics:.0f} names, figures or events to a hundred words; be concrete.")
    yield from _unused_thread([*words(title), *found], theirs)


def _vaguest(reading: prose.Reading) -> list[str]:
    """The two sentences that say least."""
    by_vagueness = sorted(zip(map(prose.vagueness, reading.lowered), reading.sentences, strict=True), reverse=True)
    return [sentence for _, sentence in by_vagueness[:2]]


def _unused_thread(found: list[str], theirs: Set[str]) -> Iterator[Fault]:
    """A story of a thread speaks of what the thread speaks of; measured on the subjects it names more than once."""
    told = Counter(one for word in found if (one := prose.subject(word)) and one not in prose.everyday_stems())
    main = {one: often for one, often in told.items() if often > 1}
    main = main if len(main) > 3 else dict(told)
    if len(theirs) < unity.MIN_THREAD or not main:
        return
    used = sum(often for one, often in main.items() if one in theirs) / sum(main.values())
    least = 0.4 * min(1.0, len(theirs) / 80) + 0.13 * min(1.0, max(0.0, (len(theirs) - 250) / 350))
    points = _over(1 - used / least, 0, 9, 7.5, step=1.5)
    yield Fault(points, f"{used:.0%} of its main subjects are the thread's; tell what the thread tells.")


def _hook(reading: prose.Reading, title: str) -> Iterator[Fault]:
    first = reading.sentences[0] if reading.sentences else ""
    if phrases("tired_opening").match(first.lower().replace("’", "'")):
        yield Fault(2.2, f"The opening could open anything: “{cut(first, 80)}”; open with what happened.")
    if len(words(first)) > 50:
        yield Fault(1.2, f"The first sentence runs to {len(words(first))} words; shorten it.")
    opening, rest = (set().union(*part) for part in (reading.subjects[:3], reading.subjects[3:]))
    if rest and len(opening) > 4 and not opening & rest:
        yield Fault(1.2, "The first three sentences share no subject with the rest; open with the story itself.")
    if phrases("bait").search(title.lower().replace("’", "'")):
        yield Fault(2.0, "The headline baits; say what happened.")
    if len(title) > 120 or (title.isupper() and len(words(title)) > 3):
        yield Fault(1.2, "The headline is shouted or longer than 120 characters; shorten it.")


def _originality(draft: Draft, thread: Thread | None, source: str, nearest: float, excerpting: bool) -> Iterator[Fault]:
    points = _over(nearest, 0.36, 40, 9.0)
    yield Fault(points, f"It is {nearest:.2f} like a published story; tell another one.")
    if thread is None or excerpting:
        return
    own, theirs = (set(runs(folded_words(text), 5)) for text in (own_text(draft), source))
    alike = len(own & theirs)
    share = alike / len(own) if len(own) >= 20 else 0.0
    yield Fault(
        _over(share, 0.2, 9, 5.0), f"{share:.0%} of its five-word phrases are the source's; use your own words."
    )
    if alike > _LONG_RUN - 5:
        length, run = longest_copied_run(draft, thread)
        points = _over(length, _LONG_RUN, 0.14, 6.0)
        yield Fault(points, f"{length} words in a row are the source's: “{cut(run, 100)}”; retell or quote.")


def _length(count: int) -> Iterator[Fault]:
    short = 1 - count / MIN_WORDS
    yield Fault(10 * max(0.0, short) ** 0.9, f"{count} words; a story needs at least {MIN_WORDS}.")
    yield Fault(_over(count, MAX_WORDS, 1 / 300, 6.0), f"{count} words; cut to at most {MAX_WORDS}.")


def _source(thread: Thread | None) -> Source:
    text = "\n\n".join(thread.texts)[:_THREAD_CHARACTERS] if thread else ""
    told = [prose.subjects(words(sentence)) for sentence in sentences(text)]
    return Source(text, told, frozenset().union(*told))


def _some(found: Iterable[str]) -> str:
    return ", ".join(f"“{cut(one, 40)}”" for one in islice(dict.fromkeys(found), 5))
