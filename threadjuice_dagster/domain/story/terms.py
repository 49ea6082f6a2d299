"""How a story speaks of its thread: by the words of the source that the thread is from.

The words themselves are data (``editorial/sources.yaml``). Who is credited belongs in ``domain/story/credit.py``.
"""

import re
from collections.abc import Collection
from functools import lru_cache
from urllib.parse import urlsplit

from threadjuice_dagster.domain import editorial
from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.story.threads import Comment, SourceName, Thread

SOURCES: tuple[SourceName, ...] = SourceName.__args__  # type: ignore[attr-defined]

LONGEST_NAME = 40
"""Characters of a community's name in a story."""

_HOST = re.compile(r"(?:[a-z0-9-]{1,63}\.){1,6}[a-z]{2,24}|localhost|127\.0\.0\.1")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class Terms(Model):
    """What a thread's source, its place and the parts of the thread are called.

    ``community`` is the readable name of the place, empty if it is not known; ``forum`` names the place inside a
    sentence (``r/cooking``, ``the Technology community on lemmy.world``) and ``in_forum`` says where with a
    preposition. ``place`` is the kind of place (``subreddit``, ``site``), ``nameless`` what a place is called whose
    name is not known. ``work`` is what a story is said to be adapted from, and ``whole`` the sentence that tells
    readers where the thread can be read.
    """

    source: SourceName
    name: str
    place: str
    community: str
    nameless: str
    forum: str
    in_forum: str
    thread: str
    work: str
    post: str
    poster: str
    reply: str
    replies: str
    point: str
    whole: str

    def filled(self, line: str, **more: str) -> str:
        """Return a line with its placeholders filled, from ``more`` first, or nothing if one of them is unknown.

        A placeholder with a capital letter gives a word with one. ``{subreddit}`` is what ``{forum}`` once was called.
        """
        words = {**self.model_dump(), "subreddit": self.forum}
        words |= {name.capitalize(): value[:1].upper() + value[1:] for name, value in words.items()} | more
        if not words.keys() >= {*_PLACEHOLDER.findall(line)}:
            return ""
        text = _PLACEHOLDER.sub(lambda match: words[match[1]], line)
        return "" if "{" in text or "}" in text else text

    def kind_of(self, comment: Comment) -> str:
        """Return what a comment is called at its source."""
        if comment.kind == "answer":
            return "answer"
        return "comment" if self.source == "stackexchange" else self.reply

    def replies_of(self, comments: Collection[Comment]) -> str:
        """Return what so many comments are called together, such as ``answers``, or ``answer`` for a single one."""
        kinds = {self.kind_of(comment) for comment in comments}
        kind = kinds.pop() if len(kinds) == 1 else "reply"
        return kind if len(comments) == 1 else plural(kind)


def plural(noun: str) -> str:
    """Return the plural of one of the nouns of ``editorial/sources.yaml``."""
    return re.sub(r"(?<=[^aeiou])y$", "ie", noun) + "s"


def terms_of(thread: Thread) -> Terms:
    """Return the terms of a thread."""
    return terms_for(thread.source, thread.community, thread.permalink)


@lru_cache(maxsize=1024)
def terms_for(source: SourceName, community: str = "", address: str = "") -> Terms:
    """Return the terms of a source for one of its places; ``address`` is that of a thread there.

    The names come from strangers: what is no plain name is taken as not known.
    """
    table = editorial.table("sources")[source]
    name, host = _readable(source, community), _host(community, address)
    missing = ("{community}" in table["forum"] and not name) or ("{host}" in table["forum"] and not host)
    forum = table["nameless"] if missing else table["forum"].format(community=name, host=host)
    if community in table.get("alone", ()):
        forum = name
    elif host and name.lower() == host:  # a forum that is called like its host is not named twice
        forum = forum.replace(f"{name} {table['place']}", table["place"])
    by_name = "on {forum}" if forum == name else table["in"]
    in_forum = table["nameless_in"] if missing else by_name.format(forum=forum)
    words = {key: value for key, value in table.items() if key in Terms.model_fields and key != "forum"}
    words |= {"forum": forum, "in_forum": in_forum, "whole": table["whole"].format(in_forum=in_forum)}
    return Terms(source=source, community=name, **words)


def _readable(source: SourceName, community: str) -> str:
    """Return a community's name as readers know it: without markup, with capitals where it is a bare word."""
    if source == "hackernews":
        return "Hacker News"
    given = community.strip().lstrip("!").partition("@")[0] if source == "lemmy" else community.strip()
    known = editorial.table("sources")[source].get("names", {}).get(given)
    if known or given in ("", "unknown"):
        return known or ""
    if source == "reddit":
        return re.sub(r"\W", "", given)[:LONGEST_NAME]
    bare = given if _HOST.fullmatch(given) else re.sub(r"[^\w ,&'’+-]", "", given)
    bare = " ".join(bare.replace("_", " ").split())
    if source in ("lemmy", "discourse"):
        bare = re.sub(rf"^the\s+|\s+{editorial.table('sources')[source]['place']}$", "", bare, flags=re.IGNORECASE)
    if bare.islower() and not _HOST.fullmatch(bare):
        bare = " ".join(word[:1].upper() + word[1:] for word in bare.split(" "))
    return bare[:LONGEST_NAME].strip()


def _host(community: str, address: str) -> str:
    """Return the host of a place: the one in a community's name (``technology@lemmy.world``), else a thread's."""
    named = community.partition("@")[2].lower()
    if _HOST.fullmatch(named):
        return named
    try:
        host = urlsplit(address).hostname or ""
    except ValueError:
        return ""
    return host if _HOST.fullmatch(host) and len(host) <= LONGEST_NAME else ""
