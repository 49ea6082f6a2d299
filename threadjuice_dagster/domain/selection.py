"""Which of a thread's own words tell it best: stretches of the post, and comments worth quoting, in groups.

What may be printed at all belongs in ``domain/passages.py``; the narration around it in ``domain/extractive.py``.
"""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from threadjuice_dagster.domain.passages import Sentence, is_english, is_hostile, passage, runs, stands_in
from threadjuice_dagster.domain.text import words
from threadjuice_dagster.domain.threads import Comment, Thread

MIN_QUOTE, MAX_QUOTE = 8, 60
"""Words of one quote."""

MAX_QUOTES = 8
MAX_QUOTED = 330
"""Words of all quotes together."""

_READ = 150
"""Comments looked at, best first, besides the poster's own: enough to choose from, and a bound on time."""

_ALIKE = 0.5
"""Jaccard similarity of subject words from which two quotes say the same."""

GroupKind = Literal["favourite", "answer", "own", "dissent", "practical", "brief", "poster", "more"]

_POINTING_BACK = """
and but so then that this it he she they these those which because or also however anyway him her his their them such
instead otherwise still too yet nor there meanwhile after later therefore afterwards both either
"""
_AT_THE_LAST = frozenset(["that", "this", "these", "those", "which", "and", "but", "or", "nor", "yet", "also"])
_DANGLING = frozenset(_POINTING_BACK.split())
_DISSENT = re.compile(
    r"""\b(?:
          disagree(?!able) | devil.?s\ advocate | unpopular\b | (?:not\ be|won.?t\ be)\ popular\b
        | not\ (?:so\ |entirely\ |quite\ )?sure\ (?:i\ agree|that|about) | against\ the\ grain
        | on\ the\ other\ hand\b | (?:don.?t|do\ not|can.?t|cannot)\ (?:agree|buy\ (?:it|this|that))
        | i(?:.?m|\ am)\ (?:with|on\ the\ side\ of)\ (?:your|the|her|him|them)\b
        | other\ side\ of\ (?:this|the|it)\b
        | you(?:.re|\ are|\ were)\ (?:\w+\ )?(?:wrong|overreacting|at\ fault|the\ problem|in\ the\ wrong|to\ blame)\b
        | the\ (?:unkind|harsh)\ (?:thing|truth)
        | (?:people|everyone|everybody|you\ all)\ (?:here\ )?(?:is|are)\ being\b
        | the\ (?:miserable|odd|grumpy|lone)\ one\ here\b | am\ i\ the\ only\ one\ who\ thinks
      )
      | ^(?:to\ be\ fair|in\ fairness)\b""",
    re.VERBOSE | re.IGNORECASE,
)
_ADVICE = re.compile(
    r"""(?:^|[.!?:;,]\s+(?:and\ |then\ )?)(?:please\ )?(?:call|check|write|ask|keep|get|take|send|document|look
          |photograph|make|put|use|buy|talk|tell|read|find|try|do\ not|don.?t|never|always|start|stop|set|save|leave|add
          |change|report|record|measure|test|wait|watch|go|bring|pay|learn|replace|turn|remember|consider|avoid|file|move|ring
          |contact)\b
      | \byou\ (?:should|need\ to|want\ to|must|might\ want|can\ (?:also|always|ask|get|use)|could)\b | \bmake\ sure\b
      | \bi(?:.?d|\ would)\ (?:\w+\ )?(?:suggest|recommend|add|start|ask|call|check)\b
      | \bthe\ (?:trick|first\ step)\ is\b | \bas\ an?\ \w+(?:er|or|ist|ian|ant|se)\b | \bpractical\b""",
    re.VERBOSE | re.IGNORECASE,
)
_FIGURE = re.compile(r"[$£€]\s?\d|\b\d+(?:[.,]\d+)?\b|\b(?:percent|per cent|degrees|metres|hours|weeks|months)\b")
_OWN = re.compile(
    r"\b(?:I|we|(?:my|our)\s\w+)\s+(?:\w+ly\s|once\s|also\s|then\s|had\s|have\s|never\s)?(?:was|were|had|did|used|went|took|got|"
    r"came|told|said|found|made|left|lost|gave|kept|bought|saw|knew|spent|taught|thought|felt|ran|sold|wrote|[a-z]{2,}ed)\b",
    re.IGNORECASE,
)
_ONLY_I = re.compile(r"\b(?:I|my|we|our|me|us)\b", re.IGNORECASE)
_VERDICT = re.compile(r"\W*(?:soft |gentle |definitely |hard |clear )?(YTA|NTA|ESH|NAH)\b", re.IGNORECASE)
_VERDICTS = re.compile(r"\b(?:YTA|NTA|ESH|NAH)\b")
_LIMITS: dict[GroupKind, int] = {"own": 2, "dissent": 2, "practical": 2, "brief": 2, "more": 3, "poster": 2}


class Voice(NamedTuple):
    """A comment and the words of it worth quoting. ``rank`` 1 is the thread's highest score."""

    comment: Comment
    text: str
    size: int
    keys: frozenset[str]
    rank: int
    whole: bool
    kind: GroupKind
    worth: float


class Group(NamedTuple):
    """Comments that do the same thing, in the order they are to be quoted."""

    kind: GroupKind
    voices: tuple[Voice, ...]


def excerpts(told: Sequence[Sentence], subject: Collection[str], budget: int) -> list[list[Sentence]]:
    """Stretches of a post, in order, of about ``budget`` words: all of it where it fits.

    A longer post keeps its start (two fifths of the budget), its end (a third), and the stretch
    between them whose sentences are most central: for each subject word the number of times the post
    uses it, three more if the headline does, divided by the root of the sentence's subject words.
    No stretch but the first starts with a word that points back, such as "and" or "she".
    """
    told = _connected(told)
    if sum(sentence.size for sentence in told) <= budget:
        return [told] if told else []
    head = _head(told, budget * 2 // 5)
    tail = _tail(told[len(head) :], budget // 3)
    between = told[len(head) : len(told) - len(tail)]
    weights = Counter(key for sentence in told for key in sentence.keys)
    weights.update(dict.fromkeys(subject, 3))
    middle = _most_central(between, weights, budget - sum(sentence.size for sentence in (*head, *tail)))
    return _joined([part for part in (head, middle, tail) if part])


def gather(thread: Thread, post: Collection[str]) -> list[Group]:
    """The comments to quote, grouped and in telling order; at most ``MAX_QUOTES``, none saying what another says.

    ``post`` are the subject words of headline and post. Groups without a member are left out.
    """
    pool = sorted(_voices(thread, post), key=lambda voice: -voice.worth)
    chosen = _leaders(pool)
    # A reply that starts by pointing at what it answers means nothing without it.
    apart = [voice for voice in pool if voice.comment.depth == 0 or not dangling(voice.text)]
    for limit in (1, 2, 3, 4):
        for kind, most in _LIMITS.items():
            # Where there is no post to tell, the comments are the story.
            if sum(voice.kind == kind for voice in chosen) < (min(limit, most) if thread.body else limit):
                _add(chosen, (voice for voice in apart if voice.kind == kind))
    order: tuple[GroupKind, ...] = ("favourite", "answer", "own", "more", "brief", "practical", "dissent", "poster")
    members = {kind: sorted((v for v in chosen if v.kind == kind), key=lambda v: v.comment.depth) for kind in order}
    members["poster"].sort(key=lambda voice: voice.comment.created_at)
    return _parents_first([Group(kind, tuple(voices)) for kind, voices in members.items() if voices])


def verdicts(thread: Thread) -> Counter[str]:
    """How many comments open with each verdict of a judging forum: YTA, NTA, ESH or NAH."""
    return Counter(filter(None, (_verdict(comment.body) for comment in thread.comments if not comment.by_poster)))


def alike(one: Collection[str], other: Collection[str]) -> bool:
    """Whether two texts, given by their subject words, say much the same."""
    shared = len(set(one) & set(other))
    return shared >= _ALIKE * max(1, min(len(one), len(other)))


def _connected(told: Sequence[Sentence]) -> list[Sentence]:
    """The sentences without those that point at one which was left out just before them."""
    kept: list[Sentence] = []
    for sentence in told:
        follows = sentence.place == (kept[-1].place + 1 if kept else 1)
        if follows or words(sentence.text)[0].lower() not in _AT_THE_LAST:
            kept.append(sentence)
    return kept


def _head(told: Sequence[Sentence], budget: int) -> list[Sentence]:
    """The start of a post, ended where its paragraph ends if that is near."""
    taken, size = 1, told[0].size
    while taken < len(told) and size + told[taken].size <= budget:
        size += told[taken].size
        taken += 1
    for end in range(taken, 0, -1):
        kept = sum(sentence.size for sentence in told[:end])
        if told[end - 1].paragraph != told[min(end, len(told) - 1)].paragraph and kept >= budget * 0.6:
            return list(told[:end])
    return list(told[:taken])


def _tail(told: Sequence[Sentence], budget: int) -> list[Sentence]:
    """The end of a post, started at a paragraph or at least at a sentence that stands alone."""
    start, size = len(told), 0
    while start > 0 and size + told[start - 1].size <= budget:
        start -= 1
        size += told[start].size
    starts = [place for place in range(start, len(told)) if _can_start(told, place)]
    at_paragraph = [place for place in starts if place == 0 or told[place - 1].paragraph != told[place].paragraph]
    return list(told[(at_paragraph or starts or [len(told)])[0] :])


def _most_central(told: Sequence[Sentence], weights: Counter[str], budget: int) -> list[Sentence]:
    best: tuple[float, int, int] = (0.0, 0, 0)
    value = [sum(weights[key] for key in s.keys) / math.sqrt(len(s.keys) or 1) for s in told]
    for start in range(len(told)):
        if not _can_start(told, start):
            continue
        end, size, total = start, 0, 0.0
        while end < len(told) and size + told[end].size <= budget:
            size, total, end = size + told[end].size, total + value[end], end + 1
        if end - start >= 2:
            best = max(best, (total, start, end))
    return list(told[best[1] : best[2]])


def _can_start(told: Sequence[Sentence], place: int) -> bool:
    return not dangling(told[place].text)


def dangling(text: str) -> bool:
    """Whether a sentence starts with a word that points back to the one before it."""
    found = words(text[:40])
    return bool(found) and found[0].lower().split("'")[0].split("’")[0] in _DANGLING


def _joined(parts: list[list[Sentence]]) -> list[list[Sentence]]:
    """Stretches that touch made one."""
    joined = [parts[0]]
    for part in parts[1:]:
        if part[0].place == joined[-1][-1].place + 1:
            joined[-1] = joined[-1] + part
        else:
            joined.append(part)
    return joined


def _voices(thread: Thread, post: Collection[str]) -> Iterator[Voice]:
    ranked = sorted(thread.comments, key=lambda comment: (-comment.score, comment.id))
    against = _minority(verdicts(thread))
    known = set(post)
    for rank, comment in enumerate(ranked, start=1):
        if rank > _READ and not comment.by_poster:
            continue
        if is_hostile(comment.body) or not is_english(comment.body):
            continue
        sentences = passage(comment.body)
        span = _best_span(sentences, known)
        if span and stands_in(text := " ".join(sentence.text for sentence in span), comment.body):
            whole = len(words(comment.body)) == sum(sentence.size for sentence in span)
            yield _voice(comment, text, span, rank, whole, known, against)


def _voice(
    comment: Comment, text: str, span: Sequence[Sentence], rank: int, whole: bool, known: set[str], against: set[str]
) -> Voice:
    size = sum(sentence.size for sentence in span)
    keys = frozenset(key for sentence in span for key in sentence.keys)
    worth = math.log2(2 + max(comment.score, 0)) + 2 * len(keys & known) / (len(keys) + 2) + (12 <= size <= 50)
    worth -= comment.depth > 0
    return Voice(comment, text, size, keys, rank, whole, _kind(comment, text, size, whole, against), worth)


def _kind(comment: Comment, text: str, size: int, whole: bool, against: set[str]) -> GroupKind:
    if comment.by_poster:
        return "poster"
    if comment.score < -3 or _DISSENT.search(text) or _verdict(comment.body) in against:
        return "dissent"
    if 2 * len(_ADVICE.findall(text)) + min(2, len(_FIGURE.findall(text))) >= 4:
        return "practical"
    if size >= 18 and len(_OWN.findall(text)) >= 2 and len(_ONLY_I.findall(text)) >= 3:
        return "own"
    if size <= 22 and whole and not text.endswith("?"):
        return "brief"
    return "more"


def _verdict(body: str) -> str:
    """The verdict a comment opens with; none where it takes it back by giving another."""
    match = _VERDICT.match(body)
    return match[1].upper() if match and len(set(_VERDICTS.findall(body))) == 1 else ""


def _minority(counted: Counter[str]) -> set[str]:
    """The verdicts against the most frequent side; none where too few gave one."""
    blamed, cleared = counted["YTA"] + counted["ESH"], counted["NTA"] + counted["NAH"]
    if blamed + cleared < 3 or blamed == cleared:
        return set()
    return {"YTA", "ESH"} if cleared > blamed else {"NTA", "NAH"}


def _best_span(found: Sequence[Sentence], known: set[str]) -> list[Sentence] | None:
    """The contiguous sentences of a comment, ``MIN_QUOTE`` to ``MAX_QUOTE`` words, that speak best for it."""
    scored = ((_span_score(span, ends, known), span) for span, ends in _spans(found))
    score, span = max(scored, key=lambda pair: pair[0], default=(0.0, []))
    return span if score > 0 else None


def _spans(found: Sequence[Sentence]) -> Iterator[tuple[list[Sentence], bool]]:
    """Every stretch of a comment of quotable length, and whether it goes on to where the text breaks off."""
    for run in runs(found[:40]):
        for start in range(len(run)):
            if run[start].place > 1 and dangling(run[start].text):
                continue
            size = 0
            for end in range(start, len(run)):
                size += run[end].size
                if size > MAX_QUOTE:
                    break
                if size >= MIN_QUOTE:
                    yield run[start : end + 1], end == len(run) - 1


def _span_score(span: Sequence[Sentence], ends: bool, known: set[str]) -> float:
    """Worth of a span: subject words (the thread's count double), length up to 45 words, start and end of the text."""
    keys = {key for sentence in span for key in sentence.keys}
    size = sum(sentence.size for sentence in span)
    if len(keys) < 3 or any(sentence.text[-1].isalnum() for sentence in span[:-1]):
        return 0.0
    subject = (len(keys) + len(keys & known)) / math.sqrt(size)
    crossing = span[0].paragraph != span[-1].paragraph
    edges = (span[0].place == 1) + ends / 2
    return subject + min(size, 45) / 45 + edges - 0.5 * crossing - 0.03 * max(0, size - 45)


def _leaders(pool: Iterable[Voice]) -> list[Voice]:
    """The crowd's favourite and the best answer given directly to it."""
    ranked = sorted(pool, key=lambda voice: voice.rank)
    favourites = [voice for voice in ranked if not voice.comment.by_poster and voice.size >= 10]
    chosen = [voice._replace(kind="favourite") for voice in favourites[:1]]
    if chosen:
        below = (voice for voice in ranked if voice.comment.parent_id == chosen[0].comment.id)
        _add(chosen, (voice._replace(kind="answer") for voice in below if not voice.comment.by_poster))
    return chosen


def _add(chosen: list[Voice], candidates: Iterable[Voice]) -> None:
    """Add the first candidate that is new and that there is still room for."""
    room = MAX_QUOTED - sum(voice.size for voice in chosen)
    for voice in candidates if len(chosen) < MAX_QUOTES else ():
        taken = any(voice.comment.id == other.comment.id or alike(voice.keys, other.keys) for other in chosen)
        if voice.size <= room and not taken:
            chosen.append(voice)
            return


def _parents_first(groups: list[Group]) -> list[Group]:
    """The groups with each one that answers a later one moved right behind that one."""
    ordered = list(groups)
    for group in groups:
        answered = {voice.comment.parent_id for voice in group.voices}
        position = ordered.index(group)
        later = [
            place
            for place, other in enumerate(ordered[position:], start=position)
            if other is not group and any(voice.comment.id in answered for voice in other.voices)
        ]
        if later:
            ordered.insert(later[-1], ordered.pop(position))
    return ordered
