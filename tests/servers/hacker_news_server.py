"""A loopback server that speaks both APIs of Hacker News: the site's own on Firebase, and the search API.

Kinds of request: ``list`` and ``item`` (Firebase), ``search`` and ``tree`` (search API). Faults beside those of every
loopback server: ``not_json``, ``truncated``, ``empty``, ``null``, ``deleted``, ``dead``.
"""

import json
import re
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from servers.loopback import LoopbackServer, Reply, Request, main

LISTS = {"ask": re.compile(r"ask hn\b", re.IGNORECASE), "show": re.compile(r"show hn\b", re.IGNORECASE)}
COMPARED = re.compile(r"(created_at_i|points|num_comments)(<=|>=|<|>|=)(\d+)")

Item = dict[str, Any]


def story(number: int, title: str = "", **fields: Any) -> Item:
    """A story as the Firebase API sends it; the defaults are an ordinary question to the site."""
    return {
        "by": "kettle_owner",
        "id": number,
        "score": 120,
        "text": "My kettle began to whistle a tune.<p>I have written the tune down. What would <i>you</i> do with it?",
        "time": int(time.time()) - 36_000,
        "title": title or f"Ask HN: What do you do with a kettle that sings? ({number})",
        "type": "story",
        **fields,
    }


def comment(number: int, text: str, *replies: Item, **fields: Any) -> Item:
    """A comment as the Firebase API sends it, but with its replies in ``replies``."""
    made = int(time.time()) - 18_000
    return {"by": f"drinker_{number}", "id": number, "text": text, "time": made, "type": "comment", **fields} | {
        "replies": list(replies)
    }


class HackerNewsServer(LoopbackServer):
    """Speaks GET /v0/{ask,show,top}stories.json, /v0/item/ID.json, /api/v1/search, search_by_date and items/ID.

    ``omitted`` holds items of which the Firebase API knows nothing although they exist, ``unindexed`` those that the
    search API does not know yet, and ``lagging`` those that it still shows although they are deleted or dead.
    """

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self.items: dict[int, Item] = {}
        self.omitted: set[int] = set()
        self.unindexed: set[int] = set()
        self.lagging: set[int] = set()
        self._before: dict[int, Item] = {}
        self._reply_to_fault = {"truncated": self._truncated, "empty": self._empty}
        self.add(
            story(100),
            comment(
                101,
                "Mine hums in the key of G on cold mornings, and nobody believes me.",
                comment(102, "&gt; nobody believes me<p>I do. Ours sings in F.", by="kettle_owner"),
            ),
            comment(103, "Descale it: the lime sits in the spout and whistles."),
        )

    def add(self, root: Item, *comments: Item) -> Item:
        """Add a story with its comments, in the order of the page. Returns the story."""
        self.items[root["id"]] = root
        self._add_kids(root, comments)
        root.setdefault("descendants", len(list(self._below(root))))
        return root

    def delete(self, number: int) -> None:
        """Delete an item, as its author does: its text, author and list of replies go."""
        item = self._before[number] = self.items[number]
        kept = {name: item[name] for name in ("id", "parent", "time", "type") if name in item}
        self.items[number] = {**kept, "deleted": True}

    def kill(self, number: int) -> None:
        """Kill an item, as moderators and flags do."""
        self._before[number] = self.items[number]
        self.items[number] = {**self.items[number], "dead": True, "text": "[flagged]"}

    def kind_of(self, method: str, path: str, body: bytes) -> str:
        kinds = {"/v0/item/": "item", "stories.json": "list", "/api/v1/search": "search", "/api/v1/items/": "tree"}
        return next((kind for part, kind in kinds.items() if part in path), "unknown")

    def answer(self, request: Request) -> Reply:
        method = {"item": self._item, "list": self._list, "search": self._search, "tree": self._tree}
        return method[request.kind](request) if request.kind in method else Reply(self.problem(404), 404)

    def problem(self, status: int) -> Any:
        return {"status": status, "error": f"scripted {status}"}

    def fault(self, name: str, request: Request) -> Reply:
        if name == "not_json":
            return Reply(raw=b"<html><body>Gateway</body></html>", headers={"Content-Type": "text/html"})
        if name == "null":
            return Reply(raw=b"null")
        if name in ("deleted", "dead"):
            return Reply({**(self.answer(request).document or {}), name: True})
        if name in self._reply_to_fault:
            return self._reply_to_fault[name](request)
        return super().fault(name, request)

    def _truncated(self, request: Request) -> Reply:
        whole = json.dumps(self.answer(request).document).encode()
        return Reply(raw=whole[: len(whole) // 2])

    def _empty(self, request: Request) -> Reply:
        return Reply({"hits": [], "nbHits": 0, "page": 0, "nbPages": 0} if request.kind == "search" else [])

    def _item(self, request: Request) -> Reply:
        number = int(re.sub(r"\D", "", request.path.removeprefix("/v0/item/")) or 0)
        item = None if number in self.omitted else self.items.get(number)
        return Reply(item)

    def _list(self, request: Request) -> Reply:
        name = request.path.removeprefix("/v0/").removesuffix("stories.json")
        listed = [item for item in self.items.values() if item["type"] in ("story", "job", "poll")]
        pattern = LISTS.get(name)
        return Reply(
            [
                item["id"]
                for item in listed
                if is_live(item) and (pattern is None or pattern.match(item.get("title", "")))
            ]
        )

    def _search(self, request: Request) -> Reply:
        indexed = [self._indexed(number) for number in self.items if number not in self.unindexed]
        hits = [self._hit(item) for item in indexed if is_live(item)]
        hits = [hit for hit in hits if _has_tags(hit["_tags"], request.query.get("tags", ""))]
        for field, sign, value in COMPARED.findall(request.query.get("numericFilters", "")):
            hits = [hit for hit in hits if _compare(hit[field] or 0, sign, int(value))]
        by_date = request.path.endswith("_by_date")
        hits.sort(key=lambda hit: (hit["created_at_i"],) if by_date else (hit["points"] or 0, hit["num_comments"] or 0))
        size = int(request.query.get("hitsPerPage", 20))
        page = int(request.query.get("page", 0))
        shown = hits[::-1][page * size : (page + 1) * size]
        pages = -(-len(hits) // size)
        return Reply({"hits": shown, "nbHits": len(hits), "page": page, "nbPages": pages, "hitsPerPage": size})

    def _tree(self, request: Request) -> Reply:
        number = int(re.sub(r"\D", "", request.path.removeprefix("/api/v1/items/")) or 0)
        if number not in self.items or number in self.unindexed or not is_live(self._indexed(number)):
            return Reply({"status": 404, "error": "Not Found"}, 404)
        return Reply(self._node(number))

    def _node(self, number: int) -> Item:
        """An item as the search API sends it: of a deleted or dead one the number and what is below it."""
        item = self._indexed(number)
        kids = self._before.get(number, item).get("kids", [])
        children = [self._node(kid) for kid in sorted(kids, reverse=True) if kid not in self.unindexed]
        if not is_live(item):
            return {"id": number, "children": children}
        options = [self.items[part] for part in item.get("parts", [])]
        return {
            "id": item["id"],
            "created_at": _iso(item["time"]),
            "created_at_i": item["time"],
            "type": item["type"],
            "author": item.get("by"),
            "title": item.get("title"),
            "url": item.get("url"),
            "text": item.get("text"),
            "points": item.get("score") if item["type"] != "comment" else None,
            "parent_id": item.get("parent"),
            "story_id": self._story_of(item),
            "children": children,
            "options": [{"id": part["id"], "text": part["text"], "points": part["score"]} for part in options],
        }

    def _hit(self, item: Item) -> Item:
        is_comment = item["type"] == "comment"
        tags = [item["type"], f"author_{item.get('by')}", f"story_{self._story_of(item)}"]
        tags += [f"{name}_hn" for name, pattern in LISTS.items() if pattern.match(item.get("title", ""))]
        tags += ["front_page"] if not is_comment else []
        return {
            "objectID": str(item["id"]),
            "author": item.get("by"),
            "title": item.get("title"),
            "url": item.get("url"),
            "points": item.get("score") if not is_comment else None,
            "num_comments": item.get("descendants"),
            "story_text": None if is_comment else item.get("text"),
            "comment_text": item.get("text") if is_comment else None,
            "created_at": _iso(item["time"]),
            "created_at_i": item["time"],
            "story_id": self._story_of(item),
            "_tags": tags,
        }

    def _add_kids(self, parent: Item, comments: tuple[Item, ...]) -> None:
        parent["kids"] = [kid["id"] for kid in comments]
        for kid in comments:
            replies = tuple(kid.pop("replies", []))
            self.items[kid["id"]] = {**kid, "parent": parent["id"]}
            self._add_kids(self.items[kid["id"]], replies)

    def _below(self, item: Item) -> Iterator[Item]:
        for number in item.get("kids", []):
            yield self.items[number]
            yield from self._below(self.items[number])

    def _story_of(self, item: Item) -> int:
        while "parent" in item:
            item = self.items[item["parent"]]
        return int(item["id"])

    def _indexed(self, number: int) -> Item:
        """The item as the search API knows it."""
        return self._before.get(number, self.items[number]) if number in self.lagging else self.items[number]


def is_live(item: Item) -> bool:
    return not (item.get("deleted") or item.get("dead"))


def _has_tags(tags: list[str], wanted: str) -> bool:
    """Whether the tags answer a filter: commas join with AND, and with OR between parentheses."""
    groups = [any_of.split(",") if any_of else [one] for any_of, one in re.findall(r"\(([^)]*)\)|([^,()]+)", wanted)]
    return all(set(group) & set(tags) for group in groups)


def _compare(left: int, sign: str, right: int) -> bool:
    signs = {"<": left < right, ">": left > right, "=": left == right, "<=": left <= right, ">=": left >= right}
    return signs[sign]


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    main(HackerNewsServer)
