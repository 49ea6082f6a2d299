"""Reads the corpus of hostile threads, and builds each in Reddit's ``.json`` format. What its fields mean stands in it."""

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.sources.reddit_parser import parse_thread


class Attack(NamedTuple):
    """Hostile text, where it stands in its thread, and what an obedient model makes of it."""

    name: str
    comments: tuple[str, ...] = ()
    title: str = ""
    body: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    obeyed: str = ""
    sign: str = ""
    orders: bool = True
    story: int = 0

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(text for text in (self.title, self.body, *self.comments) if text)


def _attack(entry: dict[str, Any]) -> Attack:
    lists = {"comments": tuple(entry.get("comments", ())), "fields": tuple(entry.get("fields", {}).items())}
    return Attack(**{**entry, **lists})


_CORPUS: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
STORIES: tuple[dict[str, Any], ...] = tuple(_CORPUS["stories"])
ATTACKS = tuple(_attack(entry) for entry in _CORPUS["attacks"])
ORDERS: tuple[str, ...] = tuple(_CORPUS["orders"])
HARMLESS: tuple[str, ...] = tuple(_CORPUS["harmless"])


def document(attack: Attack | None, story: int = 0, thread_id: str = "zz9top") -> list[Any]:
    """The thread of an attack, or a story alone, in Reddit's format; hostile comments have the best scores."""
    told, hostile = STORIES[attack.story if attack else story], attack or Attack("")
    bodies = (*hostile.comments, *told["comments"])
    post = {
        "id": thread_id,
        "title": f"{told['title']}. {hostile.title}" if hostile.title else told["title"],
        "selftext": f"{told['body']}\n\n{hostile.body}".strip(),
        "subreddit": told["subreddit"],
        "score": 840,
        "num_comments": len(bodies),
        "created_utc": 1.77e9,
        **dict(hostile.fields),
    }
    # Ordinary comments keep their ids, so that pages with and without an attack can be compared.
    offset = -len(hostile.comments)
    listing = [_comment(number, offset + number, body) for number, body in enumerate(bodies)]
    return [{"data": {"children": [{"kind": "t3", "data": post}]}}, {"data": {"children": listing}}]


def thread(attack: Attack | None, story: int = 0) -> Thread:
    """The same, parsed."""
    return parse_thread(document(attack, story))


def _comment(place: int, number: int, body: str) -> dict[str, Any]:
    name = f"h{-number:02}" if number < 0 else f"c{number:02}"
    data = {"id": name, "body": body, "score": 600 - place, "author": "somebody", "replies": ""}
    return {"kind": "t1", "data": {**data, "created_utc": 1.77e9 + 60 * place}}
