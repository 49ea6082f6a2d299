"""The extractive writer: it makes a readable story of the thread's own words, framed in the persona's voice.

No model is asked and nothing is retold: excerpts and quotes are exact, and the narration around them states only what
the data says, such as a score, a count, or who is answering whom. Which threads hold enough words belongs in
``domain/writing/supply.py``, which words are chosen in ``domain/writing/selection.py``, headline and picture words in
``domain/writing/headlines.py``. The linking lines are data (``editorial/narration.yaml``).
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import Any, NamedTuple

from threadjuice_dagster.domain import editorial
from threadjuice_dagster.domain.language.text import cut, fold, folded_words, runs, words
from threadjuice_dagster.domain.story.stories import Category, Draft, Persona, Quote, Section, SectionKind
from threadjuice_dagster.domain.story.terms import plural, terms_of
from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.domain.writing.headlines import (
    MAX_SEO_DESCRIPTION,
    MAX_SEO_TITLE,
    bare,
    headline,
    shortened,
    things,
)
from threadjuice_dagster.domain.writing.passages import Sentence
from threadjuice_dagster.domain.writing.selection import GroupKind, Voice, fitting
from threadjuice_dagster.domain.writing.supply import english_headline, printable, refusal
from threadjuice_dagster.failures import Unsuitable

UPDATED, _PARAGRAPH = 120, 90
"""Words taken from what a post calls its update; words after which a paragraph of it is broken."""

_SAID = 6
"""Words in a row that count as said before."""

_KINDS: dict[GroupKind, SectionKind] = {"practical": "facts", "dissent": "turn", "poster": "turn"}
_LEFT_OUT = "[…]"
_WIDE_GAP = 4
"""Sentences left out from which a line of our own leads on; where fewer are, or no line is left, a mark shows it."""


class ThreadTooThin(Unsuitable):
    """The thread does not hold enough printable English text to tell; the message says what is missing."""


class Part(NamedTuple):
    """A section in the making, with the comments quoted after it."""

    kind: SectionKind
    text: str
    heading: str = ""
    voices: tuple[Voice, ...] = ()


class Narrator:
    """The persona's lines and our own linking lines, chosen by a hash of thread and seed."""

    def __init__(self, key: str, thread: Thread, category: Category, persona: Persona) -> None:
        """``key`` decides every choice; the lines speak of the ``thread`` by the terms of its source."""
        self.terms = terms_of(thread)
        self._key, self._category = key, category.name.lower()
        self._transitions = sorted(persona.transitions, key=self._order)
        openings = _lines("links") if thread.link and not thread.body else persona.openings
        self.opening = self.say(self.pick(openings)) or self.say(_lines("opening"))
        self.closing = self.say(self.pick(persona.closings)) or self.say(_lines("closing"))

    def transition(self) -> str:
        """The next of the persona's transitions, or nothing once they are used up."""
        return self.say(self._transitions.pop()) if self._transitions else ""

    def pick(self, options: Sequence[str]) -> str:
        """One of the options, always the same one for the same key; nothing of none."""
        return min(options, key=self._order, default="")

    def say(self, line: str, **more: str) -> str:
        """The line with its placeholders filled, or nothing if one is unknown."""
        return self.terms.filled(line, category=self._category, **more)

    def heading(self, voices: Sequence[Voice]) -> str:
        """The heading above a group of comments, or nothing."""
        return self.say(self.pick(_lines_for("headings", voices[0].kind, voices)))

    def lead(self, voices: Sequence[Voice]) -> str:
        """The line that introduces a group of comments."""
        first, count = voices[0], _number_words()[len(voices)]
        replies = self.terms.replies_of([voice.comment for voice in voices])
        is_top = first.kind == "favourite" and first.rank == 1 and first.comment.score > 1
        line = self.pick(_lines_for("leads", "top" if is_top else first.kind, voices))
        points = _counted(first.comment.score, self.terms.point)
        return self.say(line, count=count, Count=count.capitalize(), replies=replies, points=points)

    def _order(self, line: str) -> bytes:
        return hashlib.blake2b(f"{self._key}:{line}".encode(errors="replace"), digest_size=8).digest()


def compose(thread: Thread, category: Category, persona: Persona, seed: int = 0) -> Draft:
    """Write the story of a thread in ``persona``'s framing. The same arguments give the same draft.

    Raises ``ThreadTooThin`` where the thread holds too little that can be printed.
    """
    thread = english_headline(thread)
    material = printable(thread)
    if why := refusal(thread, material):
        raise ThreadTooThin(f"The thread is too thin to tell: {why}.", "Choose another thread.")
    excerpted, quoted = material.excerpted, material.quoted
    narrator = Narrator(f"{thread.id}:{seed}", thread, category, persona)
    title = headline(thread.title, narrator.terms, excerpted[0] if excerpted else "")
    facts = _facts(thread, narrator, title, [*excerpted, *quoted])
    parts = [
        *_post_parts(facts, material.stretches, narrator),
        *_talk_parts(material.voices, narrator),
        *_update_parts([sentence for sentence in material.post.update if sentence.text not in excerpted], narrator),
        Part("closing", f"{narrator.closing} {narrator.terms.whole}"),
    ]
    sections = tuple(Section(kind=part.kind, heading=part.heading, text=part.text.strip()) for part in parts)
    placed = ((index, voice) for index, part in enumerate(parts) for voice in part.voices)
    quotes = tuple(Quote(text=voice.text, comment_id=voice.comment.id, section=index) for index, voice in placed)
    named = things([bare(thread.title), *excerpted, *quoted], 4)
    return Draft(sections=sections, quotes=quotes, **_surroundings(thread, category, persona.name, title, named))


def _post_parts(facts: str, stretches: list[list[Sentence]], narrator: Narrator) -> Iterator[Part]:
    """The opening, then the post in its own words; what was left out is bridged or marked."""
    texts = _joined(stretches)
    follows = narrator.pick(_lines("begin" if texts[1:] else "whole")) if texts else _lines("untold")
    yield Part("opening", f"{narrator.opening} {facts} {follows}")
    for position, text in enumerate(texts):
        if position:
            yield Part("narrative", narrator.say(_lines("onward")[position - 1]))
        yield Part("excerpt", text)


def _joined(stretches: Sequence[Sequence[Sentence]]) -> list[str]:
    """The stretches as excerpts, no more than can be led on to without saying a line twice."""
    texts = [_set(stretches[0])] if stretches else []
    for before, stretch in pairwise(stretches):
        if stretch[0].place - before[-1].place > _WIDE_GAP and len(texts) <= len(_lines("onward")):
            texts.append(_set(stretch))
        else:
            texts[-1] += f"\n\n{_LEFT_OUT}\n\n{_set(stretch)}"
    return texts


def _facts(thread: Thread, narrator: Narrator, title: str, shown: Sequence[str]) -> str:
    """When it was posted and what it drew, as far as the data says, and its title where the headline cuts it.

    A title that the texts ``shown`` say again is not told twice. A link is said to lead to a page that was not read.
    """
    terms = narrator.terms
    counts = ((terms.point, thread.score), (_reply(thread), thread.num_comments))
    drew = [_counted(count, noun) for noun, count in counts if count > 0]
    facts = [f"is dated {thread.created_at.day} {thread.created_at:%B %Y}"] if thread.created_at.year > 2004 else []
    facts += [f"had {_listed(drew)} when it was read"] if drew else []
    sentences = [f"The {terms.post} {_listed(facts)}."] if facts else []
    line = " ".join((*sentences, *([narrator.say(_lines("linked"))] if thread.link else [])))
    full = bare(thread.title)
    shown_runs = {run for text in shown for run in runs(folded_words(text), _SAID)}
    again = not shown_runs.isdisjoint(runs(folded_words(full), _SAID))
    if again or full.rstrip("?") in title or fold(full) not in fold(thread.title) or re.search(r"[“”\"]", full):
        return line
    return f"{line} Its title in full: “{full}{'' if full[-1] in '?!' else '.'}”"


def _talk_parts(voices: Sequence[Voice], narrator: Narrator) -> Iterator[Part]:
    """The comments, group by group, each introduced; the first and the fourth by the persona too."""
    for position, (kind, members) in enumerate(groupby(voices, key=lambda voice: voice.kind)):
        group, turn = tuple(members), narrator.transition() if position in (0, 3) else ""
        yield Part(_KINDS.get(kind, "discussion"), f"{turn} {narrator.lead(group)}", narrator.heading(group), group)


def _update_parts(update: Sequence[Sentence], narrator: Narrator) -> Iterator[Part]:
    if sentences := update[: fitting(update, UPDATED)]:
        yield Part("turn", narrator.say(narrator.pick(_lines("update"))), "An update")
        yield Part("excerpt", _set(sentences))


def _reply(thread: Thread) -> str:
    """What one of all that stands below the post is called: an answer where there is nothing else."""
    answers = sum(comment.kind == "answer" for comment in thread.comments)
    return "answer" if answers and answers == thread.num_comments else terms_of(thread).reply


def _set(stretch: Sequence[Sentence]) -> str:
    """Sentences as paragraphs: where the post has them, and in a very long one after about 90 words."""
    text, size = stretch[0].text, stretch[0].size
    for before, sentence in pairwise(stretch):
        breaks = sentence.paragraph != before.paragraph or size >= _PARAGRAPH
        text += ("\n\n" if breaks else " ") + sentence.text
        size = sentence.size if breaks else size + sentence.size
    return text


def _surroundings(thread: Thread, category: Category, reader: str, title: str, named: Sequence[str]) -> dict[str, Any]:
    """The fields of a draft around its body; ``named`` are the things it tells of, ``reader`` is the persona's name."""
    terms = terms_of(thread)
    drew = _counted(thread.num_comments, _reply(thread)) if thread.num_comments else "readers"
    subject = bare(thread.title) or title
    brief = (shortened(subject, 80) or cut(subject, 80)).strip(".?!… “”")
    place = terms.community.lower() if "." not in terms.community else ""  # a forum that is called like its host
    tags = dict.fromkeys((category.name.lower(), *named, place or "forum", "readers", "discussion"))
    desk = words(f"{category.name} {' '.join(category.keywords)} people talking".lower())
    pictured = [*named[:3]] if named[1:] else [*dict.fromkeys((*named, *desk))][:3]
    things_read = f"The {named[0]}, the {named[1]}" if named[1:] else f"A {terms.post}"
    return {
        "title": title,
        "dek": f"{things_read} and what {drew} {terms.in_forum} made of it, as read by {reader}.",
        "seo_title": shortened(subject, MAX_SEO_TITLE) or cut(subject, MAX_SEO_TITLE),
        "seo_description": cut(
            f"{brief}: a {terms.post} {terms.in_forum} and what {drew} made of it.", MAX_SEO_DESCRIPTION
        ),
        "tags": tuple(tags)[: max(3, len(named) + 2)],
        "picture_query": " ".join(pictured),
        "alt_text": f"Symbolic photograph: {_listed(pictured)}",
    }


def _listed(items: Sequence[str]) -> str:
    """``a, b and c``."""
    return f"{', '.join(items[:-1])} and {items[-1]}" if items[1:] else "".join(items)


def _counted(count: int, noun: str) -> str:
    """A count with its noun: in words up to twelve, in figures above."""
    figure = _number_words()[count] if 0 <= count < len(_number_words()) else f"{count:,}"
    return f"{figure} {noun if count == 1 else plural(noun)}"


def _lines(name: str) -> Any:
    """The linking lines of this name."""
    return editorial.table("narration")[name]


def _lines_for(name: str, kind: str, voices: Sequence[Voice]) -> Sequence[str]:
    """The headings or leads of a kind of comments; answers may have their own."""
    of_answers = _lines("answers")[name] if all(voice.comment.kind == "answer" for voice in voices) else {}
    lines: Sequence[str] = of_answers.get(kind) or _lines(name).get(kind, ())
    return lines


def _number_words() -> list[str]:
    """The numbers from 0 in words."""
    return _lines("numbers").split()
