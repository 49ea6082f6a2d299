"""A loopback instance of Lemmy that speaks version 3 of its API as Lemmy 0.19 does.

Kinds of request: ``posts``, ``post``, ``comments``, ``comment``, ``site``. Faults beside those of every loopback
server: ``html``, ``truncated``, ``empty``, ``limited`` (a limit as Lemmy itself tells of it: status 400), ``private``,
``unknown`` (an error of the database), ``missing``.
"""

import json
import sys
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from servers.loopback import LoopbackServer, Reply, Request, main

ERRORS = {
    "limited": "rate_limit_error",
    "private": "instance_is_private",
    "missing": "couldnt_find_post",
    "missing_comment": "couldnt_find_comment",
}

TREE = 300
"""Comments in one answer where the request names ``max_depth``."""


def person(number: int, name: str, **fields: Any) -> dict[str, Any]:
    """An account as Lemmy sends it."""
    return {
        "id": number,
        "name": name,
        "actor_id": f"https://lemmy.example/u/{name}",
        "local": True,
        "banned": False,
        "deleted": False,
        "bot_account": False,
        "instance_id": 1,
        **fields,
    }


def community(name: str = "kettles", **fields: Any) -> dict[str, Any]:
    """A community as Lemmy sends it."""
    return {
        "id": 7,
        "name": name,
        "title": name.title(),
        "actor_id": f"https://lemmy.example/c/{name}",
        "local": True,
        "nsfw": False,
        "deleted": False,
        "removed": False,
        "hidden": False,
        **fields,
    }


def post(number: int, *, creator: Any = None, place: Any = None, counts: Any = None, **fields: Any) -> dict[str, Any]:
    """A post with what Lemmy sends beside it; the defaults are an ordinary one."""
    return {
        "post": {
            "id": number,
            "name": f"My kettle learned a second tune ({number})",
            "body": "It began on **Monday**.\n\n> Only kettles know why\n\nI wrote the tune down for brass_neighbour9.",
            "creator_id": 501,
            "community_id": 7,
            "ap_id": f"https://lemmy.example/post/{number}",
            "local": True,
            "language_id": 37,
            "nsfw": False,
            "deleted": False,
            "removed": False,
            "locked": False,
            "featured_community": False,
            "featured_local": False,
            "published": "2026-11-20T08:00:00.123456Z",
            **fields,
        },
        "creator": creator or person(501, "TuneKeeper77"),
        "community": place or community(),
        "counts": {"post_id": number, "score": 80, "upvotes": 90, "downvotes": 10, "comments": 0, **(counts or {})},
    }


def comment(
    number: int, content: str, *, path: str = "", creator: Any = None, score: int = 5, **fields: Any
) -> dict[str, Any]:
    """A comment with what Lemmy sends beside it; ``path`` names the comments above it, such as ``0.1``."""
    account = creator or person(502, "brass_neighbour9")
    return {
        "comment": {
            "id": number,
            "creator_id": account["id"],
            "content": content,
            "path": f"{path or '0'}.{number}",
            "ap_id": f"https://lemmy.example/comment/{number}",
            "local": True,
            "language_id": 37,
            "deleted": False,
            "removed": False,
            "distinguished": False,
            "published": "2026-11-20T09:00:00Z",
            **fields,
        },
        "creator": account,
        "counts": {"comment_id": number, "score": score, "upvotes": score, "downvotes": 0, "child_count": 0},
    }


class LemmyServer(LoopbackServer):
    """Speaks GET /api/v3/post/list, /post, /comment/list, /comment and /site for anonymous readers."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self.posts: dict[int, dict[str, Any]] = {}
        self.comments: dict[int, list[dict[str, Any]]] = {}
        self.add(
            post(101), [comment(1, "Mine only hums, but it hums in **thirds**."), comment(2, "It hums?", path="0.1")]
        )

    def add(self, view: dict[str, Any], comments: list[dict[str, Any]]) -> None:
        number = view["post"]["id"]
        self.posts[number] = view
        self.comments[number] = [_with_post(each, view) for each in comments]
        view["counts"]["comments"] = view["counts"]["comments"] or len(comments)

    def purge(self, number: int) -> None:
        """Take a comment away altogether, as admins can."""
        for post_id, comments in self.comments.items():
            self.comments[post_id] = [each for each in comments if each["comment"]["id"] != number]

    def kind_of(self, method: str, path: str, body: bytes) -> str:
        kinds = {"post/list": "posts", "post": "post", "comment/list": "comments", "comment": "comment", "site": "site"}
        return kinds.get(path.removeprefix("/api/v3/"), "unknown")

    def answer(self, request: Request) -> Reply:
        answers = {
            "posts": self._posts,
            "post": self._post,
            "comments": self._comments,
            "comment": self._comment,
            "site": self._site,
        }
        return answers[request.kind](request.query) if request.kind in answers else Reply(raw=b"", status=404)

    def problem(self, status: int) -> Any:
        return {"error": "unknown", "message": f"scripted {status}"}

    def fault(self, name: str, request: Request) -> Reply:
        if name == "html":
            return Reply(raw=b"<html>502 Bad Gateway</html>", headers={"Content-Type": "text/html"})
        if name == "truncated":
            whole = json.dumps(self.answer(request).document).encode()
            return Reply(raw=whole[: len(whole) // 2])
        if name == "empty":
            return Reply({"posts": [], "comments": []})
        if name in ERRORS:
            return Reply({"error": ERRORS[name]}, 400)
        if name == "unknown":
            return Reply(self.problem(400), 400)
        return super().fault(name, request)

    def _posts(self, query: dict[str, str]) -> Reply:
        views = [view for view in self.posts.values() if _is_public(view)]
        if name := query.get("community_name"):
            views = [view for view in views if _address(view["community"]) == name]
            if not views:  # Lemmy 0.19 for a community that it does not know
                return Reply({"error": "unknown", "message": "Record not found"}, 404)
        recent = {"TopWeek": "2026-11", "TopMonth": "2026-1"}.get(query.get("sort", ""), "")
        views = [view for view in views if view["post"]["published"].startswith(recent)]
        views.sort(key=lambda view: view["counts"]["score"], reverse=True)
        return Reply({"posts": views[: _limit(query)], "next_page": None})

    def _post(self, query: dict[str, str]) -> Reply:
        view = self.posts.get(int(query.get("id", 0)))
        if view is None or not _is_public(view):
            return Reply({"error": "couldnt_find_post"}, 400)
        return Reply({"post_view": view, "community_view": {}, "moderators": [], "cross_posts": []})

    def _comments(self, query: dict[str, str]) -> Reply:
        number = query.get("post_id")
        comments = [
            each for post_id, listed in self.comments.items() for each in listed if number in (None, str(post_id))
        ]
        if "max_depth" in query:
            # Whatever the limit; those on the post itself first.
            comments.sort(key=lambda each: (each["comment"]["path"].split(".")[:-1], -each["counts"]["score"]))
            return Reply({"comments": [_emptied(each) for each in comments[:TREE]]})
        comments.sort(key=lambda each: -each["counts"]["score"])
        start = _limit(query) * (int(query.get("page", 1)) - 1)
        return Reply({"comments": [_emptied(each) for each in comments[start : start + _limit(query)]]})

    def _comment(self, query: dict[str, str]) -> Reply:
        found = (
            each for listed in self.comments.values() for each in listed if str(each["comment"]["id"]) == query["id"]
        )
        view = next(found, None)
        return Reply({"comment_view": _emptied(view)}) if view else Reply({"error": "couldnt_find_comment"}, 400)

    def _site(self, query: dict[str, str]) -> Reply:
        return Reply({"site_view": {"counts": {"posts": len(self.posts)}}, "version": "0.19.20"})


def _limit(query: dict[str, str]) -> int:
    limit = int(query.get("limit", 10))
    assert 1 <= limit <= 50, "Lemmy refuses a limit above 50"
    return limit


def _is_public(view: dict[str, Any]) -> bool:
    return not any(thing[mark] for thing in (view["post"], view["community"]) for mark in ("deleted", "removed"))


def _address(place: dict[str, Any]) -> str:
    host = place["actor_id"].split("/")[2]
    return place["name"] if place["local"] else f"{place['name']}@{host}"


def _with_post(view: dict[str, Any], post_view: dict[str, Any]) -> dict[str, Any]:
    view["comment"]["post_id"] = post_view["post"]["id"]
    return {**view, "post": post_view["post"], "community": post_view["community"]}


def _emptied(view: dict[str, Any]) -> dict[str, Any]:
    """Lemmy lists deleted and removed comments, with their flags and without their text."""
    is_gone = view["comment"]["deleted"] or view["comment"]["removed"]
    return {**view, "comment": {**view["comment"], "content": ""}} if is_gone else view


if __name__ == "__main__":
    main(LemmyServer)
