"""A sound story of any thread, composed of exact quotes and a narrator's own sentences: the loopback model's talent."""

import re
import zlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

from threadjuice_dagster.domain.language.text import cut, sentences, words

_MARKUP = re.compile(r"https?:|www\.|[<>{}\[\]|*_~^`#\\@“”\"]|\b[ru]/\w|another user|…|\w{25,}")
_BIDDING = re.compile(
    r"\b(?:ignore|instruction|prompt|system|assistant|edit|update|throwaway|upvote)\w*", re.IGNORECASE
)
_NUMBER = re.compile(r"(?<![\w.])[$£€]?\d[\d.,]*\d|(?<![\w.])\d(?![\w.])")
_COMMON_WORDS = """
about after again against another because before being could every first going doesn't having little might never other
really right should something still their there these thing things think those through until where which while would
years yourself always anything around didn't don't everyone people since someone thought
"""
_COMMON = frozenset(_COMMON_WORDS.split())

_SCENES = (
    "Nothing in that line asks for sympathy. It sets the scene, and the readers seem to have understood at once that "
    "the details would matter more than the verdict.",
    "As first lines go it gives little away. The readers leaned in all the same, and most of them stayed for the end.",
    "It is a quiet start, and the poster keeps that tone throughout, even where the events themselves get louder.",
    "From here the poster might have complained, or boasted. What follows does neither and keeps to what was seen.",
)
_REPLIES = (
    "Few of the {voices} comments kept here are verdicts. Most offer something: a comparison, a practical step, a "
    "memory that the post had shaken loose. Those that disagree do it by quoting the post back.",
    "{voices} people wrote an answer worth keeping. Some know the subject from work, some from an evening much like "
    "this one, and a few admit that they know nothing of it and were entertained.",
    "The answers, {voices} in all, fall into camps. One side would have acted sooner; the other would have waited, and "
    "says so at length. Between them stand those who mostly want to hear how it ended.",
    "What the {voices} replies share is attention. They pick up single sentences of the post, turn them over, and "
    "hand them back with a joke or a doubt attached.",
)
_TURNS = (
    "Read twice, the account turns less on what happened than on the order in which the poster found it out. The "
    "replies catch that: they go back to one small fact near the beginning and hold it against the ending.",
    "Somewhere past the middle the tone shifts. What had been a puzzle becomes a matter between people, and the poster "
    "notices it a moment later than the reader does.",
    "The surprise is how little the poster claims. Where another teller would have drawn a lesson, this one gives the "
    "next fact, and leaves the arithmetic to whoever is reading.",
    "Two details pull against each other here. The poster reports both, picks neither, and lets the argument below the "
    "post begin.",
)
_ENDINGS = (
    "The thread does not settle the matter, and nobody in it claims the last word. Whether the poster took any of the "
    "advice is not said. The page stops there, with {score} points beside the title and the question still open.",
    "Nobody was declared right. {score} points stand beside the title, the last reply is as short as the first, and "
    "anyone who wants to know more will have to ask the poster.",
    "So it ends where it began, with one person's word and a row of strangers weighing it. They gave it {score} points "
    "and, for the most part, the benefit of the doubt.",
    "What remains is a record: an account with its doubts left in, answers from people who gained nothing by giving "
    "them, and {score} points. The rest is not in the thread, and so it is not here.",
)


def compose(data: dict[str, Any]) -> dict[str, Any]:
    """A draft, as JSON, of the fenced thread ``data``: title, body and comments as the prompt carries them."""
    told = _usable(data["body"], 5, 45)
    taken = max(4, len(told) - 8)
    sections = [
        _section("opening", "", _opening(data, told)),
        _section("narrative", "What the post sets out", _account(data, told[1 : taken - 2])),
        _section("excerpt", "In the poster's words", " ".join(told[taken - 2 : taken + 2]) or data["title"]),
        _section("discussion", "How the thread answered", _discussion(data)),
        _section("turn", "Where the account turns", _turn(data, told[taken + 2 :])),
        _section("closing", "What is left open", _pick(_ENDINGS, data).format(score=data["score"])),
    ]
    topics = _topics(data)
    return {
        "title": cut(data["title"], 90),
        "dek": f"One {_noun(data)} {_place(data)}, and the {len(data['comments'])} replies that took it seriously.",
        "sections": [section for section in sections if section["text"]],
        "quotes": [
            {**quote, "section": 3 if index < 4 else 4} for index, quote in enumerate(_quotes(data["comments"]))
        ],
        "seo_title": cut(data["title"], 60),
        "seo_description": cut(f"{data['title']}: what people {_place(data)} made of it.", 155),
        "tags": [_community(data).lower(), *topics[:4]],
        "picture_query": " ".join(topics[:3]) or "letters on a table",
        "alt_text": f"A photograph that suggests {' and '.join(topics[:2]) or 'a conversation'}.",
    }


def _community(data: dict[str, Any]) -> str:
    return str(next(data[kind] for kind in ("subreddit", "site", "community", "forum", "page") if kind in data))


def _place(data: dict[str, Any]) -> str:
    return f"on r/{data['subreddit']}" if "subreddit" in data else f"at {_community(data)}"


def _noun(data: dict[str, Any]) -> str:
    return "question" if any(comment["kind"] == "answer" for comment in data["comments"]) else "post"


def _opening(data: dict[str, Any], told: list[str]) -> str:
    title = data["title"].rstrip(".")
    ended = title if title.endswith(("?", "!")) else f"{title}."
    first = f" It begins plainly: “{told[0]}”" if told else ""
    return (
        f"“{ended}” Under that headline somebody wrote {_place(data)}, where {data['comment_count']} replies "
        f"followed.{first}\n\n{_pick(_SCENES, data)}"
    )


def _account(data: dict[str, Any], told: list[str]) -> str:
    leads = ("The poster goes on from there:", "A little later:", "And then:", "In the same breath:", "After that:")
    quoted = [f"{leads[place % 5]} {_spans(told[at : at + 2])}" for place, at in enumerate(range(0, len(told), 2))]
    topics, numbers = _topics(data), _numbers(data)
    named = f"Two words keep returning, {topics[0]} and {topics[1]}." if topics[1:] else ""
    counted = f"The figures are exact: {', '.join(numbers)}." if numbers else ""
    return "\n\n".join(part for part in (*quoted[:6], f"{named} {counted}".strip()) if part)


def _discussion(data: dict[str, Any]) -> str:
    return _pick(_REPLIES, data).format(voices=len(data["comments"])) + (
        "\n\nSome of them stand below in full sentences, because a paraphrase would lose their tone."
    )


def _turn(data: dict[str, Any], told: list[str]) -> str:
    by_poster = (comment["body"] for comment in data["comments"] if comment["by_poster"])
    own = [sentence for body in by_poster for sentence in _usable(body, 5, 40)]
    later = f"Towards the end the poster adds what had been missing: {_spans(told[:4])}" if told else ""
    back = f"Down in the replies the poster came back to say: {_spans(own[:2])}" if own else ""
    return "\n\n".join(part for part in (later, _pick(_TURNS, data), back) if part)


def _pick(variants: tuple[str, ...], data: dict[str, Any]) -> str:
    return variants[zlib.crc32(f"{data['title']}{variants[0]}".encode()) % len(variants)]


def _spans(told: list[str]) -> str:
    return " ".join(f"“{sentence}”" for sentence in told)


def _quotes(comments: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for comment in comments:
        usable = [] if comment["by_poster"] else _usable(comment["body"], 7, 45)
        if usable:
            found.append({"text": " ".join(usable[:1]), "comment_id": comment["id"]})
    return found[:6]


def _usable(text: str, least: int, most: int) -> list[str]:
    return [
        sentence
        for sentence in sentences(text)
        if least <= len(words(sentence)) <= most
        and sentence[-1] in ".!?"
        and not _MARKUP.search(sentence)
        and not _BIDDING.search(sentence)
    ]


def _topics(data: dict[str, Any]) -> list[str]:
    found = (word for word in words(data["body"].lower()) if word.isalpha() and len(word) > 4)
    said = Counter(word for word in found if word not in _COMMON)
    heard = {word for comment in data["comments"] for word in words(comment["body"].lower())}
    return [word for word, count in said.most_common() if count > 1 and word in heard][:5]


def _numbers(data: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(_NUMBER.findall(data["body"])))[:4]


def _section(kind: str, heading: str, text: str) -> dict[str, str]:
    return {"kind": kind, "heading": heading, "text": text}
