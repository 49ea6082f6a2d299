"""Chooses which of a thread's own words tell it best: stretches of the post, and comments worth quoting, in groups.

What may be printed at all belongs in ``domain/writing/passages.py``; the narration around it in
``domain/writing/extractive.py``.
"""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from functools import cache
from typing import Literal, NamedTuple

from threadjuice_dagster.domain.language.lexicon import alternatives, phrases
from threadjuice_dagster.domain.language.text import words
from threadjuice_dagster.domain.language.wording import plain, stands
from threadjuice_dagster.domain.story.threads import Comment, Thread
from threadjuice_dagster.domain.writing.passages import Sentence, account, is_dangling, is_english, is_hostile

MIN_QUOTE, MAX_QUOTE, _FAVOURITE = 8, 60, 10
"""Words of one quote, and the least for the one that leads."""

MAX_QUOTES, MAX_QUOTED = 8, 330
"""Quotes of a story, and words of all of them together."""

_READ, _READ_OF_ONE, _SENTENCES = 150, 5_000, 40
"""Comments looked at, best first, besides the poster's own; characters and sentences of each: a bound on time."""

_ALIKE = 0.5
"""Share of the shorter quote's subject words in another one from which the two say the same."""

GroupKind = Literal["accepted", "favourite", "answer", "more", "practical", "dissent", "poster", "brief"]

_ORDER: tuple[GroupKind, ...] = ("accepted", "favourite", "answer", "more", "practical", "dissent", "poster", "brief")
_LIMITS = dict(zip(_ORDER, (1, 1, 1, 3, 2, 2, 2, 3), strict=True))
"""The groups in telling order, and how many comments each holds at most."""

_FIGURE = re.compile(r"[$£€]?\d[\d.,]*")
_VERDICT = re.compile(r"\W*(?:\w+ )?(?:(YTA|ESH)|NTA|NAH)\b")


class Voice(NamedTuple):
    """A comment and the ``size`` words of it worth quoting. ``rank`` 1 is the thread's highest score."""

    comment: Comment
    text: str
    size: int
    keys: frozenset[str]
    rank: int
    kind: GroupKind
    worth: float


def excerpts(sentences: Sequence[Sentence], subject: Collection[str], budget: int) -> list[list[Sentence]]:
    """Return stretches of a post, in order, of about ``budget`` words: all of it where it fits.

    A longer post keeps its start (two fifths of the budget), its end (a third), and between them the
    stretch whose sentences are most central: for each subject word the number of times the post uses
    it, three more if the headline does. No stretch starts with a word that points back, such as "she".
    """
    if sum(sentence.size for sentence in sentences) <= budget:
        return [list(sentences)] if sentences else []
    head = sentences[: fitting(sentences, budget * 2 // 5)]
    end = len(sentences) - fitting(sentences[: -len(head) or None][::-1], budget // 3)
    while end < len(sentences) and is_dangling(sentences[end].text):
        end += 1
    weights = Counter(key for sentence in sentences for key in sentence.keys)
    weights.update(dict.fromkeys(subject, 3))
    room = budget - sum(sentence.size for sentence in (*head, *sentences[end:]))
    middle = _most_central(sentences[len(head) : end], weights, room)
    return _runs([*head, *middle, *sentences[end:]])


def gather(thread: Thread, subject: Set[str]) -> list[Voice]:
    """Return the comments to quote, group by group in telling order; none says what another says.

    ``subject`` are the subject words of headline and post.
    """
    pool = sorted(_voices(thread, subject), key=lambda voice: (min(3, _ORDER.index(voice.kind)), -voice.worth))
    chosen: list[Voice] = []
    for limits in (dict.fromkeys(_ORDER, 1), _LIMITS):
        for voice in pool:
            # Where there is no post to tell, the comments are the story.
            most = 6 if voice.kind == "more" and not thread.body else limits[voice.kind]
            if sum(other.kind == voice.kind for other in chosen) < most and _fits(voice, chosen):
                chosen.append(voice)
    return sorted(chosen, key=_place)


def fitting(sentences: Sequence[Sentence], budget: int) -> int:
    """Count how many of the first sentences fit in ``budget`` words."""
    for count, sentence in enumerate(sentences):
        budget -= sentence.size
        if budget < 0:
            return count
    return len(sentences)


def _most_central(sentences: Sequence[Sentence], weights: Mapping[str, int], budget: int) -> Sequence[Sentence]:
    value = {s.place: sum(weights[key] for key in s.keys) / math.sqrt(len(s.keys) or 1) for s in sentences}
    starts = [place for place, sentence in enumerate(sentences) if not is_dangling(sentence.text)]
    spans = [sentences[place : place + fitting(sentences[place : place + budget], budget)] for place in starts]
    return max(spans, key=lambda span: sum(value[sentence.place] for sentence in span), default=())


def _runs(sentences: Sequence[Sentence]) -> list[list[Sentence]]:
    """The sentences in unbroken stretches: within one, each follows the one before it in the source."""
    grouped: list[list[Sentence]] = []
    for sentence in sentences:
        if grouped and sentence.place == grouped[-1][-1].place + 1:
            grouped[-1].append(sentence)
        else:
            grouped.append([sentence])
    return grouped


def _voices(thread: Thread, subject: Set[str]) -> Iterator[Voice]:
    """The comments worth quoting, best score first: the first one is the favourite, replies to it are answers.

    An accepted answer is told first of all. Where it has the best score too, nothing else is the favourite.
    """
    # Where comments have no points, such as on Hacker News, they stay in the order of the source.
    ranked = sorted(thread.comments, key=lambda comment: -comment.score)
    sides = Counter(side for comment in ranked if (side := _blames(comment)) is not None)
    minority = sides[True] < sides[False] if sides.total() > 2 and sides[True] != sides[False] else None
    top = ""
    for rank, comment in enumerate(ranked, start=1):
        span = _best_span(comment, subject) if rank <= _READ or comment.by_poster else []
        text, size = " ".join(sentence.text for sentence in span), sum(sentence.size for sentence in span)
        # A reply that starts by pointing at what it answers means nothing without it.
        if not span or (comment.depth and comment.parent_id != top and is_dangling(text)):
            continue
        kind = _kind(comment, text, size, minority is not None and _blames(comment) is minority)
        if comment.accepted:
            kind, top = "accepted", top or comment.id
        elif kind != "poster" and comment.parent_id == top:
            kind = "answer"
        elif kind != "poster" and not top and size >= _FAVOURITE:
            top, kind = comment.id, "favourite"
        keys = frozenset[str]().union(*(sentence.keys for sentence in span))
        on_subject = 2 * len(keys & subject) / (len(keys) + 2)
        worth = math.log2(2 + max(comment.score, 0)) + on_subject + (12 <= size <= 50) - (comment.depth > 0)
        yield Voice(comment, text, size, keys, rank, kind, worth)


def _kind(comment: Comment, text: str, size: int, against: bool) -> GroupKind:
    if comment.by_poster:
        return "poster"
    if against or comment.score < -3 or phrases("dissent").search(text.lower()):
        return "dissent"
    if 2 * len(_advice().findall(text.lower())) + min(2, len(_FIGURE.findall(text))) >= 4:
        return "practical"
    whole = len(words(comment.body)) == size
    return "brief" if size <= 22 and whole and not text.endswith("?") else "more"


@cache
def _advice() -> re.Pattern[str]:
    opening = r"(?:^|[.!?:;,]\s+(?:and |then )?)(?:please )?"
    return re.compile(rf"{opening}(?:{alternatives('advising_verbs')})\b|(?<!\w)(?:{alternatives('advice')})(?!\w)")


def _blames(comment: Comment) -> bool | None:
    """Whether a judging forum's verdict at the start of a comment blames the poster; None without one."""
    match = _VERDICT.match(comment.body)
    return bool(match[1]) if match and not comment.by_poster else None


def _best_span(comment: Comment, subject: Set[str]) -> list[Sentence]:
    """The contiguous sentences of a comment, ``MIN_QUOTE`` to ``MAX_QUOTE`` words, that speak best for it."""
    body = comment.body if len(comment.body) <= _READ_OF_ONE else comment.body[:_READ_OF_ONE].rpartition("\n")[0]
    if is_hostile(comment.body) or not is_english(body):
        return []
    text = account(body)
    sentences = text.main or text.update
    spans = [
        run[start:end]
        for run in _runs(sentences[:_SENTENCES])
        for start in range(len(run))
        if run[start].place == 1 or not is_dangling(run[start].text)
        for end in range(start + 1, start + fitting(run[start:], MAX_QUOTE) + 1)
    ]
    best = max(spans, key=lambda span: _span_score(span, span[-1] is sentences[-1], subject), default=[])
    is_exact = stands(plain(" ".join(sentence.text for sentence in best)), [plain(body)])
    return best if best and is_exact and _span_score(best, True, subject) > 0 else []


def _span_score(span: Sequence[Sentence], ends: bool, subject_words: Set[str]) -> float:
    """Worth of a span: subject words (the thread's count double), length up to 45 words, start and end of the text."""
    size = sum(sentence.size for sentence in span)
    keys = set[str]().union(*(sentence.keys for sentence in span))
    if size < MIN_QUOTE or len(keys) < 3 or any(sentence.text[-1].isalnum() for sentence in span[:-1]):
        return 0.0
    on_subject = (len(keys) + len(keys & subject_words)) / math.sqrt(size)
    crossing = span[0].paragraph != span[-1].paragraph
    return on_subject + min(size, 45) / 45 + (span[0].place == 1) + ends / 2 - crossing / 2


def _place(voice: Voice) -> tuple[int, float]:
    """Where a comment is told: by its group, then the poster's by time and others with parents first."""
    own = voice.comment.created_at.timestamp() if voice.kind == "poster" else voice.comment.depth
    return _ORDER.index(voice.kind), own


def _fits(voice: Voice, chosen: Sequence[Voice]) -> bool:
    """Whether there is room for a comment that says something new and will not stand before what it answers."""
    if len(chosen) >= MAX_QUOTES or voice.size + sum(other.size for other in chosen) > MAX_QUOTED:
        return False
    for other in chosen:
        alike = len(voice.keys & other.keys) >= _ALIKE * min(len(voice.keys), len(other.keys))
        first, second = sorted((voice, other), key=_place)
        if alike or first.comment.parent_id == second.comment.id or voice.comment.id == other.comment.id:
            return False
    return True
