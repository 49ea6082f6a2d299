"""The extractive writer: a readable story from the thread's own words, framed in the persona's voice.

No model is asked and nothing is retold: excerpts and quotes are exact, and the narration around them
states only what the data says, such as a score, a count, or who is answering whom. Which words are
chosen belongs in ``domain/selection.py``, headline and picture words in ``domain/headlines.py``.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from threadjuice_dagster.domain import headlines
from threadjuice_dagster.domain.narration import Narrator, counted, listed, number
from threadjuice_dagster.domain.passages import Account, Sentence, account, is_english, is_hostile, stands_in
from threadjuice_dagster.domain.prose import subjects
from threadjuice_dagster.domain.selection import Group, GroupKind, Voice, excerpts, gather, verdicts
from threadjuice_dagster.domain.stories import Category, Draft, Persona, Quote, Section, SectionKind
from threadjuice_dagster.domain.text import cut, words
from threadjuice_dagster.domain.threads import Thread
from threadjuice_dagster.failures import Unsuitable

EXCERPTED = 340
"""Words taken from a post; a shorter one is told whole."""

UPDATED = 120
"""Words taken from what the post calls its update."""

MIN_POST, MIN_VOICES, MIN_WORDS = 60, 3, 80
"""A story needs a post of 60 printable words or three quotable comments, and 80 words of both together."""

_SPLIT = 170
"""A stretch of the post longer than this is read more easily in two parts."""

_PARAGRAPH = 90
_KINDS: dict[GroupKind, SectionKind] = {"practical": "facts", "dissent": "turn", "poster": "turn"}
_TURNS = (1, 3)
"""The groups of comments, counted from 1 without answers, that a transition of the persona introduces."""

_VERDICTS = {"NTA": "not at fault", "YTA": "at fault", "ESH": "everybody at fault", "NAH": "nobody at fault"}
_ONWARD = ("The account goes on from there.", "There is more to it than that.", "The post does not stop there.")
_BEGIN = ("It begins as follows.", "This is how it starts.", "Here is the start of it.")
_WHOLE = ("It reads as follows.", "This is what it says.", "Here is what was written.")
_ENDING = ("This is how the post ends.", "The post closes like this.")
_UPDATE = ("Later, the post was given an update.", "The post also carries an update.")
_BRIDGE = (
    "Still to come in the post: {things}.",
    "The rest of it brings in {things}.",
    "The post then comes to {things}.",
)


class ThreadTooThin(Unsuitable):
    """The thread does not hold enough printable English text to tell; the message says what is missing."""


class Part(NamedTuple):
    """A section with the comments quoted after it."""

    section: Section
    voices: tuple[Voice, ...] = ()


class Material(NamedTuple):
    """What a thread offers: stretches of its post, its update, and the comments to quote, grouped."""

    stretches: list[list[Sentence]]
    update: list[Sentence]
    groups: list[Group]
    post: Account


def compose(thread: Thread, category: Category, persona: Persona, seed: int = 0) -> Draft:
    """Write the story of a thread in ``persona``'s framing. The same arguments give the same draft.

    Raises ``ThreadTooThin`` where the thread holds too little that can be printed.
    """
    material = _read(thread)
    narrator = Narrator(f"{thread.id}:{seed}", forum_of(thread), category, persona)
    opening_words = material.stretches[0][0].text if material.stretches else ""
    title = headlines.headline(thread, narrator.forum, opening_words)
    parts = [*_post_parts(thread, title, material, narrator), *_talk_parts(thread, material, narrator)]
    parts.append(_part("closing", f"{narrator.closing} {_where(thread, narrator.forum)}"))
    things = _things(thread, material)
    query = headlines.picture_query(category, things)
    return Draft(
        title=title,
        dek=_dek(thread, persona, narrator.forum, things),
        sections=tuple(part.section for part in parts),
        quotes=tuple(
            Quote(text=voice.text, comment_id=voice.comment.id, section=index)
            for index, part in enumerate(parts)
            for voice in part.voices
        ),
        seo_title=headlines.seo_title(title),
        seo_description=_seo_description(thread, title, narrator.forum),
        tags=headlines.tags(category, things, narrator.forum),
        picture_query=query,
        alt_text=headlines.alt_text(query),
    )


def forum_of(thread: Thread) -> str:
    """Where the thread was posted, as in ``r/cooking``; ``the forum`` where that is not known."""
    name = re.sub(r"\W", "", thread.subreddit)[:40]
    return f"r/{name}" if name and name != "unknown" else "the forum"


def _read(thread: Thread) -> Material:
    """Choose what to print. Raises ``ThreadTooThin``."""
    post = account("" if is_hostile(thread.body) else thread.body)
    spoken = " ".join(sentence.text for sentence in (*post.told, *post.update))
    if not is_english(spoken) or not is_english(f"{thread.title} {thread.body}"):
        raise _too_thin("its post is not in English")
    subject = subjects(words(thread.title))
    told = excerpts(post.told, subject, EXCERPTED)
    groups = gather(thread, subject.union(*(sentence.keys for sentence in post.told)))
    voices = [voice for group in groups for voice in group.voices]
    post_size = sum(sentence.size for stretch in told for sentence in stretch)
    if post_size < MIN_POST and len(voices) < MIN_VOICES:
        raise _too_thin(f"{post_size} printable words of post and {len(voices)} quotable comments")
    if not voices or post_size + sum(voice.size for voice in voices) < MIN_WORDS:
        raise _too_thin(f"{len(voices)} quotable comments, and too few printable words in all")
    return Material(told, _fitting(post.update, UPDATED), groups, post)


def _part(kind: SectionKind, text: str, heading: str = "", voices: tuple[Voice, ...] = ()) -> Part:
    return Part(Section(kind=kind, heading=heading, text=text.strip()), voices)


def _too_thin(why: str) -> ThreadTooThin:
    return ThreadTooThin(f"The thread is too thin to tell: {why}.", "Choose another thread.")


def _post_parts(thread: Thread, title: str, material: Material, narrator: Narrator) -> Iterator[Part]:
    """The opening, then the post in its own words with a bridge wherever it is interrupted."""
    stretches = [half for stretch in material.stretches for half in _halves(stretch)]
    yield _part("opening", f"{narrator.opening} {_facts(thread, title, len(stretches), narrator)}")
    before: list[Sentence] = []
    echo = {key for group in material.groups for voice in group.voices for key in voice.keys}
    last = material.post.told[-1] if material.post.told else None
    for position, stretch in enumerate(stretches):
        if position and position == len(stretches) - 1 and stretch[-1] == last and sum(s.size for s in stretch) < 90:
            yield _part("narrative", narrator.pick(_ENDING))
        elif position:
            yield _part("narrative", _bridge(before, stretch, echo, narrator))
        yield _part("excerpt", _set(stretch))
        before = [*before, *stretch]


def _facts(thread: Thread, title: str, stretches: int, narrator: Narrator) -> str:
    """When it was posted and what it drew, as far as the data says."""
    drew = [counted(thread.score, "point")] if thread.score > 1 else []
    drew += [counted(thread.num_comments, "comment")] if thread.num_comments else []
    dated = f" is dated {thread.created_at.day} {thread.created_at:%B %Y}" if thread.created_at.year > 2004 else ""
    standing = f" had {' and '.join(drew)} when it was read" if drew else ""
    facts = f"The post{dated}{' and' if dated and standing else ''}{standing}." if dated or standing else ""
    full, said = headlines.bare_title(thread.title), headlines.told_in(thread.title)
    if full and said.lower() not in title.lower() and stands_in(full, thread.title) and not re.search(r"[“”\"]", full):
        facts = f"{facts} Its title in full: “{full}{'' if full[-1] in '?!' else '.'}”"
    if not stretches:
        rest = "It has a headline and little else" if len(words(thread.body)) < 20 else "Its text is left out here"
        return f"{facts} {rest}, so the story is in the replies.".strip()
    return f"{facts} {narrator.pick(_BEGIN if stretches > 1 else _WHOLE)}".strip()


def _bridge(before: Sequence[Sentence], after: Sequence[Sentence], echo: set[str], narrator: Narrator) -> str:
    """A sentence from one stretch of the post to the next: what was skipped, or what comes in next.

    ``echo`` are the subject words that come back elsewhere; only what does is worth announcing.
    """
    known = {key for sentence in before for key in sentence.keys}
    new = [
        thing
        for thing in headlines.nouns([sentence.text for sentence in after], 12)
        if not subjects([thing]) <= known and subjects([thing]) <= echo
    ]
    if after[0].place > before[-1].place + 3:
        return "Some way further down, the account picks up again."
    if len(new) < 2:
        return narrator.pick(_ONWARD)
    return narrator.pick(_BRIDGE).format(things=listed([f"the {thing}" for thing in new[:3]]))


def _talk_parts(thread: Thread, material: Material, narrator: Narrator) -> Iterator[Part]:
    """The comments, group by group, each introduced; the post's update where it has one."""
    heard = 0
    for group in material.groups:
        heard += group.kind != "answer"
        said = [narrator.transition()] if heard in _TURNS and group.kind not in ("answer", "poster") else []
        said += [_verdicts(thread)] if group.kind == "favourite" else []
        text = " ".join(filter(None, (*said, narrator.lead(group))))
        yield _part(_KINDS.get(group.kind, "discussion"), text, narrator.heading(group.kind), group.voices)
    if material.update:
        yield _part("turn", narrator.pick(_UPDATE), "An update")
        yield _part("excerpt", _set(material.update))


def _verdicts(thread: Thread) -> str:
    """How the replies of a judging forum voted, where at least three did."""
    cast = verdicts(thread)
    if sum(cast.values()) < MIN_VOICES:
        return ""
    told = [
        f"{number(votes)} {'say' if votes > 1 else 'says'} {name} ({_VERDICTS[name]})"
        for name, votes in cast.most_common()
    ]
    return f"Of the replies that open with the forum's shorthand verdict, {listed(told)}."


def _set(stretch: Sequence[Sentence]) -> str:
    """Sentences as paragraphs: where the post has them, and in a very long one after about 90 words."""
    text, size = stretch[0].text, stretch[0].size
    for before, sentence in pairwise(stretch):
        breaks = sentence.paragraph != before.paragraph or sentence.place != before.place + 1 or size >= _PARAGRAPH
        text += ("\n\n" if breaks else " ") + sentence.text
        size = sentence.size if breaks else size + sentence.size
    return text


def _halves(stretch: list[Sentence]) -> list[list[Sentence]]:
    """A long stretch in two, parted where a paragraph starts nearest to its middle."""
    total, passed = sum(sentence.size for sentence in stretch), 0
    if total <= _SPLIT:
        return [stretch]
    places: list[tuple[float, int]] = []
    for place, sentence in enumerate(stretch):
        inside = place and stretch[place - 1].paragraph == sentence.paragraph
        places.append((abs(passed - total * 0.5) + (60 if inside else 0), place))
        passed += sentence.size
    middle = min(places[1:], default=(0, 0))[1]
    return [stretch[:middle], stretch[middle:]] if middle else [stretch]


def _fitting(found: Sequence[Sentence], budget: int) -> list[Sentence]:
    kept: list[Sentence] = []
    for sentence in found:
        budget -= sentence.size
        if budget < 0:
            break
        kept.append(sentence)
    return kept


def _things(thread: Thread, material: Material) -> list[str]:
    """The concrete things told of, most used first; the headline's count three-fold."""
    post = [sentence.text for stretch in material.stretches for sentence in stretch]
    quoted = [voice.text for group in material.groups for voice in group.voices]
    return headlines.nouns([headlines.bare_title(thread.title), *post, *quoted], 5)


def _dek(thread: Thread, persona: Persona, forum: str, things: Sequence[str]) -> str:
    drew = counted(thread.num_comments, "comment") if thread.num_comments else "its readers"
    if len(things) < 2:
        return f"{persona.name} reads a post on {forum} and what {drew} made of it."
    return f"The {things[0]}, the {things[1]} and what {drew} on {forum} made of it, as read by {persona.name}."


def _seo_description(thread: Thread, title: str, forum: str) -> str:
    short = headlines.shortened(headlines.told_in(thread.title), 70) or headlines.seo_title(title)
    told = headlines.capital(short.strip(".?!… “”"))
    drew = counted(thread.num_comments, "comment")
    said = f"the best of {drew}" if thread.num_comments > 1 else "what was said to it"
    return cut(f"{told}: a post on {forum} and {said}, in their own words.", headlines.MAX_SEO_DESCRIPTION)


def _where(thread: Thread, forum: str) -> str:
    if thread.num_comments < 2:
        return f"The thread itself is on {forum}."
    return f"The full thread, with {counted(thread.num_comments, 'comment')}, is on {forum}."
