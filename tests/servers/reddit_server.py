"""A loopback server that speaks Reddit's API: an app's token, top posts, threads, and things by name.

Kinds of request: ``token``, ``listing``, ``thread``, ``info``. Faults beside those of every loopback
server: ``not_json``, ``truncated``, ``redirect``, ``oauth_error``, ``not_a_thread``, ``empty``.
"""

import base64
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from servers.loopback import LoopbackServer, Reply, Request, main

CLIENT_ID, CLIENT_SECRET = "an-app", "its-secret"


def post(thread_id: str, subreddit: str = "cooking", **fields: Any) -> dict[str, Any]:
    """A post as Reddit sends it; the defaults are an ordinary one."""
    return {
        "id": thread_id,
        "name": f"t3_{thread_id}",
        "subreddit": subreddit,
        "title": f"The kettle that answered back ({thread_id})",
        "selftext": "My kettle began to whistle a tune. I have written the tune down, and so has u/some_neighbour.",
        "author": "poster_name",
        "score": 100,
        "upvote_ratio": 0.91,
        "num_comments": 2,
        "over_18": False,
        "stickied": False,
        "removed_by_category": None,
        "created_utc": 1_700_000_000.0,
        "permalink": f"/r/{subreddit}/comments/{thread_id}/the_kettle/",
        **fields,
    }


def comment(comment_id: str, body: str, replies: list[dict[str, Any]] | None = None, **fields: Any) -> dict[str, Any]:
    """A comment as Reddit sends it, with its replies nested."""
    data = {
        "id": comment_id,
        "body": body,
        "author": "commenter_name",
        "score": 10,
        "parent_id": "t3_x",
        "is_submitter": False,
        "created_utc": 1_700_000_100.0,
        "replies": listing(replies) if replies else "",
        **fields,
    }
    return {"kind": "t1", "data": data}


def listing(children: list[dict[str, Any]]) -> dict[str, Any]:
    """A listing of things."""
    return {"kind": "Listing", "data": {"after": None, "dist": len(children), "children": children}}


class RedditServer(LoopbackServer):
    """Speaks POST /api/v1/access_token, GET /r/x/top, /comments/id and /api/info.

    ``omitted`` names what /api/info leaves out although its thread still shows it.
    """

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self.posts: dict[str, dict[str, Any]] = {}
        self.comments: dict[str, list[dict[str, Any]]] = {}
        self.omitted: set[str] = set()
        self.add(
            post("kettle1"), [comment("c1", "Mine hums in the key of G on cold mornings, and nobody believes me.")]
        )

    def add(self, data: dict[str, Any], comments: list[dict[str, Any]]) -> None:
        self.posts[data["id"]] = data
        self.comments[data["id"]] = comments

    def kind_of(self, method: str, path: str, body: bytes) -> str:
        kinds = {"access_token": "token", "/top": "listing", "/comments/": "thread", "/api/info": "info"}
        return next((kind for part, kind in kinds.items() if part in path), "unknown")

    def answer(self, request: Request) -> Reply:
        method = {"token": self._token, "listing": self._listing, "thread": self._thread, "info": self._info}
        if request.kind not in method:
            return Reply({"message": "Not Found", "error": 404}, 404)
        if request.kind != "token" and request.headers.get("authorization") != "bearer a-token":
            return Reply({"message": "Unauthorized", "error": 401}, 401)
        return method[request.kind](request)

    def problem(self, status: int) -> Any:
        return {"message": f"scripted {status}", "error": status}

    def fault(self, name: str, request: Request) -> Reply:
        if name == "not_json":
            return Reply(raw=b"<html>gateway</html>", headers={"Content-Type": "text/html"})
        if name == "truncated":
            whole = json.dumps(self.answer(request).document).encode()
            return Reply(raw=whole[: len(whole) // 2])
        if name == "empty":
            return Reply(listing([]), headers=_rate_headers())
        if name == "redirect":
            return Reply({}, 302, {"Location": "/subreddits/search?q=nothing"})
        if name == "oauth_error":
            return Reply({"error": "unsupported_grant_type"})
        if name == "not_a_thread":
            return Reply({"kind": "wiki"})
        return super().fault(name, request)

    def _token(self, request: Request) -> Reply:
        login = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {login}":
            return Reply({"message": "Unauthorized", "error": 401}, 401)
        return Reply({"access_token": "a-token", "token_type": "bearer", "expires_in": 86_400, "scope": "*"})

    def _listing(self, request: Request) -> Reply:
        match = re.search(r"/r/(\w+)/top", request.path)
        name = match[1].lower() if match else ""
        found = [{"kind": "t3", "data": data} for data in self.posts.values() if data["subreddit"].lower() == name]
        return Reply(listing(found[: int(request.query.get("limit", 25))]), headers=_rate_headers())

    def _thread(self, request: Request) -> Reply:
        thread_id = request.path.split("/comments/")[1].split("/")[0].removesuffix(".json")
        if thread_id not in self.posts:
            return Reply(self.problem(404), 404)
        things = [{"kind": "t3", "data": self.posts[thread_id]}]
        comments = self.comments[thread_id][: int(request.query.get("limit", 200))]
        if focus := request.query.get("comment"):
            comments = [thing for thing in _with_replies(self.comments[thread_id]) if thing["data"]["id"] == focus]
        return Reply([listing(things), listing(comments)], headers=_rate_headers())

    def _info(self, request: Request) -> Reply:
        wanted = set(request.query.get("id", "").split(",")[:100]) - self.omitted
        things = [{"kind": "t3", "data": data} for data in self.posts.values()]
        for comments in self.comments.values():
            things += ({"kind": "t1", "data": {**one["data"], "replies": ""}} for one in _with_replies(comments))
        found = [thing for thing in things if f"{thing['kind']}_{thing['data']['id']}" in wanted]
        return Reply(listing(found), headers=_rate_headers())


def _with_replies(comments: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for thing in comments:
        yield thing
        yield from _with_replies((thing["data"].get("replies") or listing([]))["data"]["children"])


def _rate_headers() -> dict[str, str]:
    return {"x-ratelimit-remaining": "95.0", "x-ratelimit-used": "5", "x-ratelimit-reset": "3"}


if __name__ == "__main__":
    main(RedditServer)
