"""Measures whether every paragraph of a text belongs to it, by its subjects, names, topics and voice.

In what order paragraphs and sentences stand is judged in ``domain/judging/order.py``. The weights are data
(``editorial/reading_weights.yaml``), fitted by ``tests/corpora/fit.py``.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import lru_cache
from itertools import pairwise
from statistics import fmean, median
from typing import NamedTuple

from threadjuice_dagster.domain import editorial
from threadjuice_dagster.domain.language.lexicon import lexicon
from threadjuice_dagster.domain.language.prose import Reading, add_up, everyday_stems, subject

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


class Paragraph(NamedTuple):
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


def take_apart(reading: Reading) -> list[Paragraph]:
    """Take every paragraph of a text apart."""
    groups: list[list[int]] = [[] for _ in reading.paragraphs]
    for i, home in enumerate(reading.homes):
        groups[home].append(i)
    return [_part(reading, group) for group in groups[:_MAX_PARAGRAPHS] if group]


def strangers(parts: Sequence[Paragraph], thread_subjects: Set[str] = frozenset()) -> list[tuple[float, int]]:
    """Measure how far each paragraph looks like one of another text; with its index, most of all first.

    Over 0 hardly any paragraph that belongs there is. ``thread_subjects`` are the subject stems of the thread.
    """
    fitted = editorial.table("reading_weights")["strays"]
    weights = fitted["weights"]
    measured = [
        (sum(weights.get(name, 0.0) * value for name, value in signals.items()) + fitted["shift"], i)
        for i, signals in stray_signals(parts, thread_subjects)
    ]
    return sorted(measured, reverse=True)


def seam(parts: Sequence[Paragraph]) -> tuple[float, int]:
    """Find the break at which a text falls apart in two: the subjects that reach over it, against chance.

    1.0 is what the same mentions would give in any order, 0 that nothing reaches over. With it comes the index of the
    paragraph after the break. A text of fewer than four paragraphs, or of single sentences, has none.
    """
    if not _is_grouped(parts):
        return 1.0, 0
    where: defaultdict[str, list[int]] = defaultdict(list)
    for i, part in enumerate(parts):
        for stem in part.subjects:
            where[stem].append(i)
    repeated = [(_weight(stem), places) for stem, places in where.items() if len(places) > 1]
    size = sum(part.size for part in parts)
    breaks = range(2, len(parts) - 1)
    reaches = [(_reach(repeated, at, sum(part.size for part in parts[:at]) / size), at) for at in breaks]
    return min(reaches, default=(1.0, 0))


def _is_grouped(parts: Sequence[Paragraph]) -> bool:
    return sum(part.sentences for part in parts) >= MIN_SENTENCES * max(1, len(parts))


def _reach(repeated: Sequence[tuple[float, Sequence[int]]], at: int, before: float) -> float:
    over = sum(weight for weight, places in repeated if places[0] < at <= places[-1])
    chance = sum(weight * (1 - before ** len(places) - (1 - before) ** len(places)) for weight, places in repeated)
    return (over + 0.5) / (chance + 0.5)


def stray_signals(
    parts: Sequence[Paragraph], thread_subjects: Set[str] = frozenset()
) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield each paragraph that is long enough to be judged, by index, with its signals by name."""
    if len(parts) < MIN_PARAGRAPHS or not _is_grouped(parts):
        return
    spread = Counter(stem for part in parts for stem in part.subjects)
    named = Counter(name for part in parts for name in part.names)
    shares = [_share(part, spread) for part in parts]
    topics, voice = add_up(part.topics for part in parts), add_up(part.voice for part in parts)
    kinships = [_kinship(part.topics, topics) for part in parts]
    usual_share, usual_kinship = median(shares), median(kinships)
    by_thread = len(thread_subjects) >= MIN_THREAD
    in_thread = [len(part.subjects & thread_subjects) / max(1, len(part.subjects)) for part in parts]
    usual_in_thread = median(in_thread)
    for i, part in enumerate(parts):
        if part.size < MIN_WORDS:
            continue
        place = {
            "share": shares[i],
            "root share": math.sqrt(shares[i]),
            "share over usual": shares[i] - usual_share,
            "kinship": kinships[i],
            "kinship over usual": kinships[i] - usual_kinship,
            "no topic": float(not part.topics),
            "of the thread": in_thread[i] - usual_in_thread if by_thread else 0.0,
            "thread share": in_thread[i] if by_thread else 0.4,
            "edge": float(i in (0, len(parts) - 1)),
            "first": float(i == 0),
            "size": math.log(part.size),
            "paragraphs": math.log(len(parts)),
        }
        yield i, {**_overlap(parts, i, spread), **_naming(parts, i, named, spread), **_voice(parts, i, voice), **place}


def _part(reading: Reading, group: Sequence[int]) -> Paragraph:
    words = [word for i in group for word in reading.words[i]]
    lowered = {word for i in group for word in reading.lowered[i]}
    topics: dict[str, float] = {}
    for topics_of_word in filter(None, map(_topics_of, lowered)):
        for topic in topics_of_word:
            topics[topic] = topics.get(topic, 0.0) + 1 / len(topics_of_word)
    definite = {after for before, after in pairwise(words) if before in ("the", "The") and after.islower()}
    return Paragraph(
        size=len(words),
        subjects=frozenset(stem for i in group for stem in reading.subjects[i]),
        capitalised=frozenset(_bare(word) for word in words if word[0].isupper()),
        names=frozenset(_bare(word) for i in group for word in reading.capitals[i]),
        definite=frozenset(filter(None, map(subject, definite))),
        topics=topics,
        voice=add_up(map(_narrated, (reading.cues[i] for i in group))),
        opening=reading.cues[group[0]] if group else {},
        sentences=len(group),
    )


def _narrated(cued: Mapping[str, float]) -> dict[str, float]:
    """The cues of the narrator's voice: who says I or you between quotation marks is somebody else."""
    mute = ("i", "you") if "quote" in cued else ()
    return {cue: value for cue, value in cued.items() if cue in VOICE and cue not in mute}


@lru_cache(maxsize=50_000)
def _topics_of(word: str) -> tuple[str, ...]:
    topics = lexicon().topics
    return topics.get(word) or topics.get(word.removesuffix("s"), ())


def _bare(word: str) -> str:
    return word.removesuffix("'s").removesuffix("’s")


def _weight(stem: str) -> float:
    return _EVERYDAY_WEIGHT if stem in everyday_stems() else 1.0


def _weights(stems: Iterable[str]) -> float:
    return sum(map(_weight, stems))


def _share(part: Paragraph, spread: Mapping[str, int]) -> float:
    """The share of a paragraph's subjects that stand in another one, everyday ones counting less."""
    return _weights(stem for stem in part.subjects if spread[stem] > 1) / (_weights(part.subjects) or 1.0)


def _kinship(own: Mapping[str, float], total: Mapping[str, float]) -> float:
    """The cosine of a paragraph's topics and those of all others."""
    others = {topic: value - own.get(topic, 0.0) for topic, value in total.items()}
    norm = math.hypot(*own.values()) * math.hypot(*others.values())
    return sum(value * others[topic] for topic, value in own.items()) / norm if norm > _NOTHING else 0.3


def _overlap(parts: Sequence[Paragraph], i: int, spread: Mapping[str, int]) -> dict[str, float]:
    own = parts[i].subjects
    total = _weights(own) or 1.0
    shared = [stem for stem in own if spread[stem] > 1]
    around = [parts[j].subjects for j in (i - 1, i + 1) if 0 <= j < len(parts)]
    between = _alike(*around) - fmean(_alike(own, neighbour) for neighbour in around) if len(around) == 2 else 0.0
    return {
        "bridged": between,
        "nothing shared": float(not shared),
        "number shared": math.log1p(_weights(shared)),
        "shared often": min(2.0, sum(_weight(stem) * (spread[stem] - 1) for stem in shared) / total),
        "shared beside": _weights(own & set().union(*around)) / total,
    }


def _alike(first: Set[str], second: Set[str]) -> float:
    """The subjects two paragraphs share, everyday ones counting less, against the roots of their counts."""
    return _weights(first & second) / math.sqrt((len(first) or 1) * (len(second) or 1))


def _naming(
    parts: Sequence[Paragraph], i: int, named: Mapping[str, int], spread: Mapping[str, int]
) -> dict[str, float]:
    part, others = parts[i], [other for j, other in enumerate(parts) if j != i]
    theirs = set().union(*(other.names for other in others))
    main = {name for name in theirs if sum(name in other.capitalised for other in others) > 1}
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


def _voice(parts: Sequence[Paragraph], i: int, total: Mapping[str, float]) -> dict[str, float]:
    """Each cue of the voice: how far its share differs from the others', and both together."""
    part, before = parts[i], parts[i - 1].voice if i else {}
    other_sentences = max(1, sum(other.sentences for other in parts) - part.sentences)
    unmet = any(f"^{cue}" in part.opening and cue not in before for cue in ("he", "she", "they"))
    starts = any(f"^{cue}" in part.opening for cue in ("he", "she", "they", "it"))
    signals = {"starts with a pronoun": float(starts), "pronoun unmet": float(unmet and i > 0)}
    for cue in VOICE:
        count = part.voice.get(cue, 0.0)
        own, usual = count / part.sentences, (total.get(cue, 0.0) - count) / other_sentences
        signals |= {f"differs {cue}": abs(own - usual), f"shares {cue}": own * usual}
    return signals
