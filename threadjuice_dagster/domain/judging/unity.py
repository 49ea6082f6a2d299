"""Whether every paragraph of a text belongs to it: its subjects, names, topics and voice held against the others'.

In what order paragraphs and sentences stand is judged in ``domain/judging/order.py``.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import lru_cache
from itertools import pairwise
from statistics import fmean, median
from typing import NamedTuple

from threadjuice_dagster.domain.judging.weights import STRAY, STRAY_SHIFT
from threadjuice_dagster.domain.language.lexicon import TOPICS
from threadjuice_dagster.domain.language.prose import EVERYDAY_STEMS, Reading, subject

MIN_WORDS, MIN_PARAGRAPHS, MIN_SENTENCES = 28, 4, 1.6
"""Shorter paragraphs are not judged, nor those of shorter texts, nor those of a text with fewer sentences to each: a
line of dialogue shares little with anything.
"""

MIN_THREAD = 15
"""Subjects a thread must name before a paragraph is held against it."""

_MAX_PARAGRAPHS = 120
"""Paragraphs held against one another: more than any story has, and a bound on quadratic cost."""

_EVERYDAY_WEIGHT = 0.3
_NOTHING = 1e-9
VOICE = ("he", "she", "they", "it", "i", "you", "past", "pres", "had", "has", "figure", "kin")
"""The cues whose share in a paragraph is compared with their share in the others."""


class Part(NamedTuple):
    """One paragraph taken apart.

    ``size`` counts words; ``definite`` are stems that follow "the"; ``voice`` sums each cue over its sentences;
    ``opening`` are the cues of the first of them.
    """

    size: int
    subjects: frozenset[str]
    capitalised: frozenset[str]
    names: frozenset[str]
    definite: frozenset[str]
    topics: Mapping[str, float]
    voice: Mapping[str, float]
    opening: Mapping[str, float]
    sentences: int


def take_apart(reading: Reading) -> list[Part]:
    """Every paragraph of a text, taken apart."""
    groups: list[list[int]] = [[] for _ in reading.paragraphs]
    for i, home in enumerate(reading.homes):
        groups[home].append(i)
    return [_part(reading, group) for group in groups[:_MAX_PARAGRAPHS] if group]


def strangers(parts: Sequence[Part], known: Set[str] = frozenset()) -> list[tuple[float, int]]:
    """How far each paragraph looks like one of another text, with the paragraph's index, most of all first.

    Over 0 hardly any paragraph that belongs there is. ``known`` is what the thread speaks of, as subject stems.
    """
    found = [
        (sum(STRAY.get(name, 0.0) * value for name, value in signals.items()) + STRAY_SHIFT, i)
        for i, signals in stray_signals(parts, known)
    ]
    return sorted(found, reverse=True)


def seam(parts: Sequence[Part]) -> tuple[float, int]:
    """Where a text falls apart in two: the subjects that reach over that break, against what chance would give.

    1.0 is what the same mentions would give in any order, 0 that nothing reaches over. With it the index of
    the paragraph after the break. A text of fewer than four paragraphs, or of single
    sentences, has none.
    """
    if not _is_grouped(parts):
        return 1.0, 0
    where: dict[str, list[int]] = {}
    for i, part in enumerate(parts):
        for one in part.subjects:
            where.setdefault(one, []).append(i)
    again = [(_weight(one), places) for one, places in where.items() if len(places) > 1]
    size, breaks = sum(part.size for part in parts), range(2, len(parts) - 1)
    return min(
        ((_reach(again, at, sum(part.size for part in parts[:at]) / size), at) for at in breaks), default=(1.0, 0)
    )


def _is_grouped(parts: Sequence[Part]) -> bool:
    return sum(part.sentences for part in parts) >= MIN_SENTENCES * max(1, len(parts))


def _reach(again: Sequence[tuple[float, Sequence[int]]], at: int, before: float) -> float:
    over = sum(weight for weight, places in again if places[0] < at <= places[-1])
    chance = sum(weight * (1 - before ** len(places) - (1 - before) ** len(places)) for weight, places in again)
    return (over + 0.5) / (chance + 0.5)


def stray_signals(parts: Sequence[Part], known: Set[str] = frozenset()) -> Iterator[tuple[int, dict[str, float]]]:
    """Each paragraph long enough to be judged, by index, with its signals by name."""
    if len(parts) < MIN_PARAGRAPHS or not _is_grouped(parts):
        return
    spread = Counter(one for part in parts for one in part.subjects)
    named = Counter(name for part in parts for name in part.names)
    share = [_share(part, spread) for part in parts]
    topics, voice = _total(part.topics for part in parts), _total(part.voice for part in parts)
    kin = [_kinship(part.topics, topics) for part in parts]
    usual = median(share), median(kin)
    told = [len(part.subjects & known) / max(1, len(part.subjects)) for part in parts]
    by_thread = len(known) >= MIN_THREAD
    for i, part in enumerate(parts):
        if part.size < MIN_WORDS:
            continue
        yield (
            i,
            {
                **_overlap(parts, i, spread),
                **_naming(parts, i, named, spread),
                **_voice(parts, i, voice),
                "share": share[i],
                "root share": math.sqrt(share[i]),
                "share over usual": share[i] - usual[0],
                "kinship": kin[i],
                "kinship over usual": kin[i] - usual[1],
                "no topic": float(not part.topics),
                "of the thread": told[i] - median(told) if by_thread else 0.0,
                "thread share": told[i] if by_thread else 0.4,
                "edge": float(i in (0, len(parts) - 1)),
                "first": float(i == 0),
                "size": math.log(part.size),
                "paragraphs": math.log(len(parts)),
            },
        )


def _part(reading: Reading, group: Sequence[int]) -> Part:
    found = [word for i in group for word in reading.words[i]]
    low = {word for i in group for word in reading.lowered[i]}
    topics: dict[str, float] = {}
    for at_home in filter(None, map(_topics_of, low)):
        for topic in at_home:
            topics[topic] = topics.get(topic, 0.0) + 1 / len(at_home)
    definite = {b for a, b in pairwise(found) if a in ("the", "The") and b.islower()}
    return Part(
        size=len(found),
        subjects=frozenset(one for i in group for one in reading.subjects[i]),
        capitalised=frozenset(_bare(word) for word in found if word[0].isupper()),
        names=frozenset(_bare(word) for i in group for word in reading.capitals[i]),
        definite=frozenset(filter(None, map(subject, definite))),
        topics=topics,
        voice=_total(map(_narrated, (reading.cues[i] for i in group))),
        opening=reading.cues[group[0]] if group else {},
        sentences=len(group),
    )


def _narrated(cued: Mapping[str, float]) -> dict[str, float]:
    """The cues of the narrator's voice: who says I or you between quotation marks is somebody else."""
    mute = ("i", "you") if "quote" in cued else ()
    return {cue: value for cue, value in cued.items() if cue in VOICE and cue not in mute}


@lru_cache(maxsize=50_000)
def _topics_of(word: str) -> tuple[str, ...]:
    return TOPICS.get(word) or TOPICS.get(word.removesuffix("s"), ())


def _total(counts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for one in counts:
        for name, value in one.items():
            total[name] = total.get(name, 0.0) + value
    return total


def _bare(word: str) -> str:
    return word.removesuffix("'s").removesuffix("’s")


def _weight(one: str) -> float:
    return _EVERYDAY_WEIGHT if one in EVERYDAY_STEMS else 1.0


def _share(part: Part, spread: Mapping[str, int]) -> float:
    """The share of a paragraph's subjects that stand in another one, everyday ones counting less."""
    shared = sum(_weight(one) for one in part.subjects if spread[one] > 1)
    return shared / (sum(map(_weight, part.subjects)) or 1.0)


def _kinship(own: Mapping[str, float], total: Mapping[str, float]) -> float:
    """The cosine of a paragraph's topics and those of all others."""
    others = {topic: value - own.get(topic, 0.0) for topic, value in total.items()}
    norm = math.hypot(*own.values()) * math.hypot(*others.values())
    return sum(value * others[topic] for topic, value in own.items()) / norm if norm > _NOTHING else 0.3


def _overlap(parts: Sequence[Part], i: int, spread: Mapping[str, int]) -> dict[str, float]:
    own = parts[i].subjects
    total = sum(map(_weight, own)) or 1.0
    shared = [one for one in own if spread[one] > 1]
    beside = set().union(*(parts[j].subjects for j in (i - 1, i + 1) if 0 <= j < len(parts)))
    around = [parts[j].subjects for j in (i - 1, i + 1) if 0 <= j < len(parts)]
    return {
        "bridged": _alike(*around) - fmean(_alike(own, one) for one in around) if len(around) == 2 else 0.0,
        "nothing shared": float(not shared),
        "number shared": math.log1p(sum(map(_weight, shared))),
        "shared often": min(2.0, sum(_weight(one) * (spread[one] - 1) for one in shared) / total),
        "shared beside": sum(_weight(one) for one in own & beside) / total,
    }


def _alike(first: Set[str], second: Set[str]) -> float:
    """The subjects two paragraphs share, everyday ones counting less, against the roots of their counts."""
    return sum(map(_weight, first & second)) / math.sqrt((len(first) or 1) * (len(second) or 1))


def _naming(parts: Sequence[Part], i: int, named: Mapping[str, int], spread: Mapping[str, int]) -> dict[str, float]:
    part, others = parts[i], [one for j, one in enumerate(parts) if j != i]
    theirs = set().union(*(one.names for one in others))
    main = {name for name in theirs if sum(name in one.capitalised for one in others) > 1}
    return {
        "names known": sum(named[name] > 1 for name in part.names) / max(1, len(part.names)),
        "names new": min(4, sum(named[name] == 1 for name in part.names)),
        "no names": float(not part.names),
        "a name known": float(any(named[name] > 1 for name in part.names)),
        "any name": float(not part.capitalised.isdisjoint(theirs)),
        "main name": float(not part.capitalised.isdisjoint(main)) if main else 0.5,
        "the new": sum(spread[noun] <= 1 for noun in part.definite) / 3,
        "the known": sum(spread[noun] > 1 for noun in part.definite) / 3,
    }


def _voice(parts: Sequence[Part], i: int, total: Mapping[str, float]) -> dict[str, float]:
    """Each cue of the voice: how far its share differs from the others', and both together."""
    part, before = parts[i], parts[i - 1].voice if i else {}
    count = max(1, sum(one.sentences for one in parts) - part.sentences)
    unmet = any(f"^{cue}" in part.opening and cue not in before for cue in ("he", "she", "they"))
    starts = any(f"^{cue}" in part.opening for cue in ("he", "she", "they", "it"))
    found = {"starts with a pronoun": float(starts), "pronoun unmet": float(unmet and i > 0)}
    for cue in VOICE:
        said = part.voice.get(cue, 0.0)
        own, usual = said / part.sentences, (total.get(cue, 0.0) - said) / count
        found |= {f"differs {cue}": abs(own - usual), f"shares {cue}": own * usual}
    return found
