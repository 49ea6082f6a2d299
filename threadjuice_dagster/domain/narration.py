"""The sentences between excerpts and quotes: the persona's lines, and linking lines that state only data.

A linking line may name a score, a count, a length or who answers whom, and nothing that would have to be
inferred. What is quoted belongs in ``domain/selection.py``, the order of it all in ``domain/extractive.py``.
"""

import hashlib
from collections.abc import Sequence

from threadjuice_dagster.domain.selection import Group, GroupKind, Voice
from threadjuice_dagster.domain.stories import Category, Persona

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_VERBS = ("answers", "turns", "gets", "shows", "says", "belongs", "deserves", "brings", "takes")

_HEADINGS: dict[GroupKind, tuple[str, ...]] = {
    "favourite": ("What readers said", "The replies", "From the comments"),
    "own": ("From experience", "Stories in return"),
    "practical": ("Practical matters", "What to do"),
    "dissent": ("The other side", "Another view"),
    "more": ("More voices", "Further down the thread"),
    "brief": ("In a few words", "Short and to the point"),
    "poster": ("The poster writes back", "Back to the poster"),
}
_LEADS: dict[str, tuple[str, ...]] = {
    "top": (
        "Nothing below the post scored higher than this reply, which stands at {points}.",
        "At the top of the replies, with {points}, stands this one.",
        "The reply that readers lifted highest, to {points}, reads like this.",
    ),
    "high": ("Among the replies that scored highest is this one, at {points}.",),
    "favourite": ("This reply is a good place to start.", "One reply may speak first."),
    "answer": (
        "An answer came directly underneath it.",
        "Right below that comment hangs an answer.",
        "That comment drew an answer of its own.",
    ),
    "own": (
        "{Count} {replies} {answers} with experience of {its} own.",
        "{Count} {replies} {brings} experience along.",
    ),
    "practical": (
        "{Count} {replies} {turns} to the practical side of things.",
        "{Count} {replies} {gets} down to practicalities.",
    ),
    "dissent": (
        "Agreement is not complete, as {count} {replies} {shows}.",
        "Not everybody sees it the same way, and {count} {replies} {says} so.",
    ),
    "sunk": ("One reply has been voted down to {points}, and it belongs in the record too.",),
    "more": (
        "{Count} more {replies} {belongs} in the picture.",
        "{Count} more {replies} {deserves} a place here.",
        "The talk goes on, and {count} more {replies} {takes} it further.",
    ),
    "brief": (
        "Some replies do not need much room. This one has {size} words.",
        "It can also be said briefly, as here in {size} words.",
    ),
    "briefs": (
        "Some replies do not need much room. These have {size} words between them.",
        "It can also be said briefly, as here in {size} words all told.",
    ),
    "poster": (
        "The poster has not only posted but also answered.",
        "The comments also hold an answer from the poster.",
    ),
    "posters": (
        "The poster has not only posted but also answered, more than once.",
        "The comments also hold answers from the poster.",
    ),
}


class Narrator:
    """The persona's lines and our own linking lines, chosen by a hash of thread and seed."""

    def __init__(self, key: str, forum: str, category: Category, persona: Persona) -> None:
        """``key`` decides every choice; ``forum`` is how the place of the thread is named."""
        self.forum = forum
        self._key = key
        self._names = {"subreddit": forum, "category": category.name.lower()}
        self._transitions = sorted(persona.transitions, key=self._order)
        self.opening = self._framing(persona.openings, "Somebody brought this to {subreddit}.")
        self.closing = self._framing(persona.closings, "That is where the thread leaves it.")

    def transition(self) -> str:
        """The next of the persona's transitions, or nothing once they are used up."""
        return self._formatted(self._transitions.pop()) if self._transitions else ""

    def pick(self, options: Sequence[str]) -> str:
        """One of the options, always the same one for the same key."""
        return min(options, key=self._order)

    def heading(self, kind: GroupKind) -> str:
        """A heading for a group of comments; an answer continues the section before it and has none."""
        return self.pick(_HEADINGS[kind]) if kind in _HEADINGS else ""

    def lead(self, group: Group) -> str:
        """The line that introduces a group of comments."""
        first, count = group.voices[0], len(group.voices)
        plural = count > 1
        return self.pick(_LEADS[_lead_name(group, first)]).format(
            **{verb: verb.removesuffix("s") if plural else verb for verb in _VERBS},
            count=number(count),
            Count=number(count).capitalize(),
            replies="replies" if plural else "reply",
            its="their" if plural else "its",
            points=counted(first.comment.score, "point"),
            size=number(sum(voice.size for voice in group.voices)),
        )

    def _order(self, line: str) -> bytes:
        return hashlib.blake2b(f"{self._key}:{line}".encode(errors="replace"), digest_size=8).digest()

    def _framing(self, lines: Sequence[str], fallback: str) -> str:
        return self._formatted(self.pick(lines or (fallback,))) or self._formatted(fallback)

    def _formatted(self, line: str) -> str:
        try:
            return line.format(**self._names)
        except (KeyError, IndexError, ValueError, AttributeError):
            return ""


def listed(items: Sequence[str]) -> str:
    """``a, b and c``."""
    return f"{', '.join(items[:-1])} and {items[-1]}" if items[1:] else "".join(items)


def number(count: int) -> str:
    """A count as a word up to twelve, in figures above."""
    return _NUMBERS[count] if 0 <= count < len(_NUMBERS) else f"{count:,}"


def counted(count: int, noun: str) -> str:
    """A count with its noun, as in ``one point``, ``1,204 comments``, ``minus 7 points``."""
    figure = f"minus {-count:,}" if count < 0 else number(count)
    return f"{figure} {noun}{'' if abs(count) == 1 else 's'}"


def _lead_name(group: Group, first: Voice) -> str:
    if group.kind == "favourite" and first.comment.score > 1 and first.rank <= 5:
        return "top" if first.rank == 1 else "high"
    if group.kind == "dissent" and len(group.voices) == 1 and first.comment.score < -3:
        return "sunk"
    plural = f"{group.kind}s"
    return plural if len(group.voices) > 1 and plural in _LEADS else group.kind
