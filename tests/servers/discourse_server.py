"""A loopback site that runs Discourse: lists of topics, topics, and posts, as anonymous readers are answered.

Kinds of request: ``top``, ``latest``, ``topic``, ``posts``, ``post``. Faults beside those of every loopback server:
``html``, ``truncated``, ``empty``, ``login`` (the site is for members only), ``not_found``, ``deleted`` (410),
``no_access``, ``limited`` (429 as Discourse sends it).
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from servers.loopback import LoopbackServer, Reply, Request, main

CHUNK = 20
"""Posts that an answer about a topic holds."""

REFUSALS = {
    "login": ("not_logged_in", 403),
    "no_access": ("invalid_access", 403),
    "not_found": ("not_found", 404),
    "deleted": ("not_found", 410),
}


def post(number: int, cooked: str, *, likes: int = 0, **fields: Any) -> dict[str, Any]:
    """A post as Discourse sends it; ``number`` is its place in its topic."""
    return {
        "id": 9000 + number,
        "name": "Ines Kesselring",
        "username": "kettle_ines7",
        "user_id": 31,
        "avatar_template": "/letter_avatar_proxy/v4/letter/k/91b2a8/{size}.png",
        "created_at": "2026-11-20T08:00:00.000Z",
        "cooked": cooked,
        "post_number": number,
        "post_type": 1,
        "reply_to_post_number": None,
        "actions_summary": [{"id": 2, "count": likes}] if likes else [],
        "moderator": False,
        "admin": False,
        "staff": False,
        "hidden": False,
        "deleted_at": None,
        "user_deleted": False,
        **fields,
    }


def topic(number: int, **fields: Any) -> dict[str, Any]:
    """A topic as Discourse sends it, without its posts."""
    return {
        "id": number,
        "title": f"The kettle that kept a diary ({number})",
        "fancy_title": f"The kettle that kept a diary ({number})",
        "slug": "the-kettle-that-kept-a-diary",
        "created_at": "2026-11-20T08:00:00.000Z",
        "visible": True,
        "closed": False,
        "archived": False,
        "archetype": "regular",
        "pinned": False,
        "pinned_globally": False,
        "category_id": 6,
        "tags": ["kettles"],
        "deleted_at": None,
        "like_count": 12,
        **fields,
    }


class DiscourseServer(LoopbackServer):
    """Answers anonymous readers of lists, topics and posts.

    ``refused`` names the topics that are refused, and how. ``moved`` are posts that stand in another topic now.
    """

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self.topics: dict[int, dict[str, Any]] = {}
        self.posts: dict[int, list[dict[str, Any]]] = {}
        self.refused: dict[int, str] = {}
        self.moved: dict[int, dict[str, Any]] = {}
        self.add(
            topic(42),
            [
                post(1, "<p>Each morning there is a <strong>new page</strong> in it.</p>", likes=9),
                post(2, "<p>What does it write about?</p>", username="asker", user_id=32, likes=3),
                post(3, "<p>Mostly about the stove.</p>", reply_to_post_number=2, likes=5),
            ],
        )

    def add(self, data: dict[str, Any], posts: list[dict[str, Any]]) -> None:
        number = data["id"]
        self.topics[number] = data
        # The ids of posts are unique in the whole site.
        self.posts[number] = [{**each, "id": number * 1000 + each["post_number"], "topic_id": number} for each in posts]

    def kind_of(self, method: str, path: str, body: bytes) -> str:
        patterns = {
            "posts": r"/t/\d+/posts\.json",
            "topic": r"/t/\d+\.json",
            "post": r"/posts/\d+\.json",
            "top": r"(/c/[\w/-]+/\d+/l|/tag/[\w-]+/l)?/top\.json",
            "latest": r"/latest\.json|/c/[\w/-]+/\d+\.json|/tag/[\w-]+\.json",
        }
        return next((kind for kind, pattern in patterns.items() if re.fullmatch(pattern, path)), "unknown")

    def answer(self, request: Request) -> Reply:
        answers = {
            "posts": self._posts,
            "topic": self._topic,
            "post": self._post,
            "top": self._list,
            "latest": self._list,
        }
        return answers[request.kind](request) if request.kind in answers else _refusal("not_found")

    def problem(self, status: int) -> Any:
        return {"errors": [f"scripted {status}"]}

    def fault(self, name: str, request: Request) -> Reply:
        if name == "html":
            return Reply(raw=b"<html>Just a moment...</html>", status=403, headers={"Content-Type": "text/html"})
        if name == "truncated":
            whole = json.dumps(self.answer(request).document).encode()
            return Reply(raw=whole[: len(whole) // 2])
        if name == "empty":
            return Reply({"post_stream": {"posts": [], "stream": []}, "topic_list": {"topics": []}})
        if name == "limited":
            document = {"errors": ["Slow down."], "error_type": "rate_limit", "extras": {"wait_seconds": 1}}
            return Reply(document, 429, {"Retry-After": "1", "Discourse-Rate-Limit-Error-Code": "ip_10_secs_limit"})
        return _refusal(name) if name in REFUSALS else super().fault(name, request)

    def _list(self, request: Request) -> Reply:
        shown = [data for number, data in self.topics.items() if number not in self.refused and data["visible"]]
        if category := re.search(r"/c/[\w/-]+/(\d+)(?:/l|\.)", request.path):
            shown = [data for data in shown if str(data["category_id"]) == category[1]]
        if tag := re.search(r"/tag/([\w-]+)", request.path):
            shown = [data for data in shown if tag[1] in data["tags"]]
        topics = [{**data, "posts_count": len(self.posts[data["id"]])} for data in shown]
        return Reply({"users": [], "topic_list": {"per_page": 30, "topics": topics[:30]}})

    def _topic(self, request: Request) -> Reply:
        number = int(re.findall(r"\d+", request.path)[0])
        if number in self.refused or number not in self.topics:
            return _refusal(self.refused.get(number, "not_found"))
        posts = self._public(number)
        stream = {"posts": posts[:CHUNK], "stream": [each["id"] for each in posts]}
        return Reply({"post_stream": stream, "posts_count": len(posts), "chunk_size": CHUNK, **self.topics[number]})

    def _posts(self, request: Request) -> Reply:
        number = int(re.findall(r"\d+", request.path)[0])
        if number in self.refused or number not in self.topics:
            return _refusal(self.refused.get(number, "not_found"))
        wanted = request.repeated.get("post_ids[]", [])
        assert len(wanted) <= CHUNK
        posts = [each for each in self._public(number) if str(each["id"]) in wanted]
        return Reply({"post_stream": {"posts": posts}, "id": number})

    def _post(self, request: Request) -> Reply:
        number = int(re.findall(r"\d+", request.path)[0])
        posts = {each["id"]: each for topic_id in self.posts for each in self._public(topic_id)}
        found = posts.get(number) or self.moved.get(number)
        return Reply(found) if found else _refusal("not_found")

    def _public(self, number: int) -> list[dict[str, Any]]:
        """Deleted posts and whispers are not sent to anonymous readers; hidden ones without their text."""
        shown = [each for each in self.posts[number] if not each["deleted_at"] and each["post_type"] != 4]
        flagged = "<p>This post was flagged by the community and is temporarily hidden.</p>"
        return [{**each, "cooked": flagged, "cooked_hidden": True} if each["hidden"] else each for each in shown]


def _refusal(name: str) -> Reply:
    kind, status = REFUSALS[name]
    return Reply({"errors": ["You may not see this."], "error_type": kind}, status)


if __name__ == "__main__":
    main(DiscourseServer)
