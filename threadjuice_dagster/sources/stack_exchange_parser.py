"""Parse questions of the Stack Exchange API 2.3 into threads, and addresses of its sites into what the API calls them.

Fields are those of https://api.stackexchange.com/docs/types/question, ``answer``, ``comment`` and ``shallow-user``.
Requests belong in ``sources/stack_exchange_api.py``.
"""

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from threadjuice_dagster.domain.language.text import clean, head, unescaped
from threadjuice_dagster.domain.story.threads import Author, Comment, Thread, thread_key
from threadjuice_dagster.domain.story.user_names import telling_names
from threadjuice_dagster.failures import Unsuitable, UsageError
from threadjuice_dagster.sources.fields import digits_of, fields_of, objects_in, string_in
from threadjuice_dagster.sources.markup import text_of_html
from threadjuice_dagster.sources.texts import (
    MAX_COMMENTS,
    cleaned,
    cleaned_title,
    is_bots_name,
    moment,
    number,
    says_it_is_a_bot,
)
from threadjuice_dagster.sources.thread_source import ThreadFormatError

Item = Mapping[str, Any]
"""A question, answer or comment as the API sends it."""

_HOSTS = {
    "stackoverflow": "stackoverflow.com",
    "superuser": "superuser.com",
    "serverfault": "serverfault.com",
    "askubuntu": "askubuntu.com",
    "mathoverflow.net": "mathoverflow.net",
    "stackapps": "stackapps.com",
}
"""Hosts of the sites that stand outside stackexchange.com, by the API's name of the site."""

_NETWORK = "stackexchange.com"
_NO_SITES = frozenset({"api", "chat", "data", "area51", "blog", "www", "openid", "careers", "talent", "business"})
_SITE = re.compile(r"[a-z0-9-]{1,40}(?:\.[a-z0-9-]{1,40}){0,2}")
_PATH = re.compile(r"/(questions|q|a)/(\d{1,10})(?:/[^/]*){0,3}/?")
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9/_.~%-]{1,300}")
_KEY = re.compile(r"se-([a-z0-9.-]+)-(\d{1,10})")

_LICENCES = ("cc-by-sa-2.5", "cc-by-sa-3.0", "cc-by-sa-4.0")
_FIRST_DAYS = {"cc-by-sa-3.0": datetime(2011, 4, 8, tzinfo=UTC), "cc-by-sa-4.0": datetime(2018, 5, 2, tzinfo=UTC)}
"""Days from which contributions are under a version: https://stackoverflow.com/help/licensing"""

_COMMUNITY = "-1"
"""The user id of the network's own program."""

_DUPLICATE = re.compile(r"duplic|дубл|重複", re.IGNORECASE)
_AUTOMATED = re.compile(
    r"\s*(?:does this answer your question\?|possible duplicate of\b).*"
    r"|.*\b(?:comments|conversation|discussion)\b.{0,80}\bmoved to chat\b.*|.*\bcontinue this discussion in chat\b.*"
    r"|.*[-–—] from review\s*",
    re.IGNORECASE | re.DOTALL,
)
"""Comments that the site writes for people who vote or review, and moderators' notes that a discussion moved."""


class PostReference(NamedTuple):
    """A question, or an answer to one, of a site."""

    site: str
    id: str
    is_answer: bool = False


class SavedQuestion(NamedTuple):
    """A question of saved answers of the API, with the answers and comments that were saved beside it."""

    question: Item
    answers: Sequence[Item] = ()
    comments: Sequence[Item] = ()


def site_of(place: str) -> str:
    """Return the API's name of a site (``workplace``) that is named so or by its host. Raises ``UsageError``."""
    name = place.strip().lower()
    name = name.partition("://")[2].partition("/")[0] if "://" in name else name.rstrip("/")
    if site := site_at(name):
        return site
    has_known_dot = "meta" in name.split(".") or any(name == own or name.endswith(f".{own}") for own in _HOSTS)
    if not _SITE.fullmatch(name) or ("." in name and not has_known_dot):
        raise UsageError(
            f"{place[:60]!r} is no site of Stack Exchange.", "Name one as in stackexchange:workplace or its host."
        )
    return name


def site_at(host: str) -> str:
    """Return the API's name of the site with this host, or an empty text for a host outside the network."""
    host = host.lower().rstrip(".").removeprefix("www.")
    for site, own in _HOSTS.items():
        if host == own or host.endswith(f".{own}"):
            name = host.removesuffix(own) + site
            return "" if name.partition(".")[0] in _NO_SITES else name
    name = host.removesuffix(f".{_NETWORK}")
    if name == host or name.partition(".")[0] in _NO_SITES or not _SITE.fullmatch(name):
        return ""
    # The metas' hosts were the other way round until 2018; old links still lead there.
    return f"{name.removeprefix('meta.')}.meta" if name.startswith("meta.") else name


def host_of(site: str) -> str:
    """Return the host of a site."""
    own = next((own for own in _HOSTS if site == own or site.endswith(f".{own}")), "")
    return site.removesuffix(own) + _HOSTS[own] if own else f"{site}.{_NETWORK}"


def is_address(reference: str) -> bool:
    """Return whether a reference is meant as an address within the network, or as the key of one of its threads."""
    return bool(_KEY.fullmatch(reference.strip()) or _site_and_path(reference))


def reference_in(reference: str) -> PostReference | None:
    """Return the question or answer at an address of any of the network's forms, or with a key; None for another."""
    if key := _KEY.fullmatch(reference.strip().lower()):
        return PostReference(key[1], key[2])
    site, path = _site_and_path(reference) or ("", "")
    match = _PATH.fullmatch(path)
    return PostReference(site, str(int(match[2])), match[1] == "a") if match else None


def _site_and_path(address: str) -> tuple[str, str] | None:
    address = address.strip()
    if not re.match(r"https?://|[\w.-]+/", address, re.IGNORECASE):
        return None
    try:
        parts = urlsplit(address if "://" in address else f"https://{address}")
        site = site_at(parts.hostname or "")
    except ValueError:
        return None
    return (site, parts.path) if site else None


def by_id(items: Iterable[Any], field: str) -> dict[str, Item]:
    """Return the items that are shown, by their ids (``question_id``, ``answer_id`` or ``comment_id``).

    The API never shows what was deleted, not even as a mark. So parser and deletion sweep share this rule: what is
    shown with its id is there, and what is not shown is gone.
    """
    named = ((id_in(item, field), item) for item in items if isinstance(item, Mapping))
    return {item_id: item for item_id, item in named if item_id}


def id_in(item: Item, field: str) -> str:
    """Return the id in a field in digits, or an empty text."""
    return digits_of(item.get(field))


def saved_question(document: Any) -> SavedQuestion | None:
    """Return the question of saved answers of the API, one or an array of them in any order; None for other documents.

    Raises ``ThreadFormatError`` for answers of the API that do not hold one question with its text.
    """
    pages = [page for page in (document if isinstance(document, list) else [document]) if isinstance(page, Mapping)]
    if not any(_is_the_apis(page) for page in pages):
        return None
    if isinstance(document, list) and not all(_is_page(page) for page in document):
        raise ThreadFormatError("its array holds more than answers of Stack Exchange's API")
    if error := next((page for page in pages if _is_error(page)), None):
        reason = f"{error['error_id']} ({str(error['error_name'])[:60]})"
        raise ThreadFormatError(f"it holds Stack Exchange's answer {reason} instead of a question")
    items = [item for page in pages for item in objects_in(page, "items")]
    comments = [item for item in items if "comment_id" in item]
    answers = [item for item in items if "answer_id" in item and "comment_id" not in item]
    posts = [item for item in items if "title" in item and "answer_id" not in item and "comment_id" not in item]
    # One that was saved twice may have its text only once.
    questions = by_id(sorted(posts, key=lambda item: isinstance(item.get("body"), str)), "question_id")
    if len(questions) != 1:
        raise ThreadFormatError(f"it holds {len(questions)} questions instead of one")
    (question,) = questions.values()
    if not isinstance(question.get("body"), str):
        raise ThreadFormatError("the question has no body: it takes filter=withbody")
    for name, written in (("answers", answers), ("comments", comments)):
        if written and not any(isinstance(item.get("body"), str) for item in written):
            raise ThreadFormatError(f"the {name} have no body: they take filter=withbody")
    return SavedQuestion(question, answers, comments)


def _is_the_apis(page: Item) -> bool:
    """Return whether a document is an answer of this API beyond doubt: others have ``items`` as well."""
    if _is_error(page) or (_is_page(page) and "quota_remaining" in page):
        return True
    return any("question_id" in item or "post_id" in item for item in objects_in(page, "items"))


def _is_error(page: Item) -> bool:
    return "error_id" in page and "error_name" in page


def _is_page(page: Any) -> bool:
    return isinstance(page, Mapping) and (_is_error(page) or isinstance(page.get("items"), list))


def parse_saved(saved: SavedQuestion) -> Thread:
    """Parse a saved question. Raises as ``parse_question`` does, and ``ThreadFormatError`` if its answers are missing.

    A question alone would be a thread without a single reply, and too thin for a story.
    """
    question, answers, comments = saved
    thread = parse_question(question, site_of_question(question), answers, comments)
    if number(question.get("answer_count")) and not _own_answers(question, answers):
        raise ThreadFormatError(
            "it holds the question without its answers: "
            f"put the saved answers of /questions/{id_in(question, 'question_id')}/answers beside it in one array"
        )
    return thread


def site_of_question(question: Item) -> str:
    """Return the site that a question's own link names. Raises ``ThreadFormatError`` if there is none."""
    place = reference_in(string_in(question, "link"))
    if not place:
        raise ThreadFormatError("the question's link leads to no site of Stack Exchange")
    return place.site


def parse_question(question: Item, site: str, answers: Iterable[Any] = (), comments: Iterable[Any] = ()) -> Thread:
    """Parse a question with its answers and the comments on all of them, also those that are nested in it.

    User names in texts are masked; programs' comments and texts under another licence are left out; ``MAX_COMMENTS``
    are kept. Raises ``ThreadFormatError``, and ``Unsuitable`` for a question that may not become a story.
    """
    question_id = id_in(question, "question_id")
    if not question_id:
        raise ThreadFormatError("the question has no usable id")
    own_answers = _own_answers(question, answers)
    own_posts = {question_id: question, **own_answers}
    nested = [comment for post_id, post in own_posts.items() for comment in _comments_in(post, post_id)]
    posts = _Posts(question, site, own_answers)
    if why := posts.why_barred():
        raise Unsuitable(f"Question {question_id} of {site} {why}.", "Choose another question.")
    return posts.thread(by_id([*comments, *nested], "comment_id"))


def _own_answers(question: Item, answers: Iterable[Any]) -> dict[str, Item]:
    """Return the answers to a question by id: those nested in it, and its own among others."""
    every = by_id([*answers, *objects_in(question, "answers")], "answer_id")
    own = ("", id_in(question, "question_id"))
    return {key: item for key, item in every.items() if id_in(item, "question_id") in own}


def _comments_in(post: Item, post_id: str) -> list[Item]:
    """Return the comments that are nested in a post, each with the post's id, which a filter may leave out."""
    return [{"post_id": post_id, **item} for item in objects_in(post, "comments")]


class _Posts:
    """A question of a site and its answers by id."""

    def __init__(self, question: Item, site: str, answers: Mapping[str, Item]) -> None:
        self._question, self._site, self._answers = question, site, answers
        self._id = id_in(question, "question_id")
        self._url = f"https://{host_of(site)}"
        self._poster, self._licence = _user_id(question), _licence(question)

    def why_barred(self) -> str:
        """Return why a question may not become a story, as the end of "Question 123 …", or an empty text.

        Closed for its content means that the site itself does not want it discussed. A duplicate is no such judgement:
        what people answered stands.
        """
        closed = string_in(self._question, "closed_reason") or ("no reason given" if self._is("closed_date") else "")
        is_duplicate = bool(_DUPLICATE.search(closed))
        is_answered = bool(self._answers or number(self._question.get("answer_count")))
        reasons = {
            "was moved to another site": self._is("migrated_to"),
            f"was closed ({' '.join(closed.split())[:80]})": bool(closed) and not (is_duplicate and is_answered),
            "is locked by moderators": self._is("locked_date"),
            "was posted by a program": _is_programs(self._question),
            "is not under a licence known here": not self._licence,
        }
        return next((reason for reason, holds in reasons.items() if holds), "")

    def thread(self, comments: Mapping[str, Item]) -> Thread:
        every = (self._question, *self._answers.values(), *comments.values())
        names = telling_names(_name(item) for item in every)
        title = cleaned_title(self._question.get("title"), names)
        if not title:
            raise ThreadFormatError("the question has no title")
        kept = self._kept(comments, names)
        link = string_in(self._question, "link")
        is_own = reference_in(link) == PostReference(self._site, self._id)
        return Thread(
            id=thread_key("se", self._site, self._id),
            source="stackexchange",
            spec=f"stackexchange:{self._site}",
            community=self._site,
            title=title,
            body=cleaned(text_of_html(string_in(self._question, "body")), names),
            permalink=(_https(link) if is_own else "") or f"{self._url}/questions/{self._id}",
            licence=self._licence,
            author=self._author(self._question),
            score=number(self._question.get("score")),
            num_comments=max(number(self._question.get("answer_count")), len(kept)),
            created_at=moment(self._question.get("creation_date")),
            comments=tuple(kept),
        )

    def _kept(self, comments: Mapping[str, Item], names: Set[str]) -> list[Comment]:
        """Return the answers and comments that are kept, best first."""
        written = [self._answer(key, item, names) for key, item in self._answers.items()]
        written += [self._comment(key, item, names) for key, item in comments.items()]
        kept = [comment for comment in written if comment]
        return sorted(kept, key=lambda comment: (-comment.score, comment.kind))[:MAX_COMMENTS]

    def _answer(self, answer_id: str, item: Item, names: Set[str]) -> Comment | None:
        accepted = item.get("is_accepted") is True or id_in(self._question, "accepted_answer_id") == answer_id
        permalink = f"{self._url}/a/{answer_id}"
        return self._written(item, names, id=f"a{answer_id}", kind="answer", accepted=accepted, permalink=permalink)

    def _comment(self, comment_id: str, item: Item, names: Set[str]) -> Comment | None:
        post = id_in(item, "post_id")
        if post != self._id and post not in self._answers:
            return None
        permalink = f"{self._url}/questions/{self._id}#comment{comment_id}_{post}"
        parent = None if post == self._id else f"a{post}"
        return self._written(
            item, names, id=f"c{comment_id}", parent_id=parent, depth=1 if parent else 0, permalink=permalink
        )

    def _written(self, item: Item, names: Set[str], **fields: Any) -> Comment | None:
        body, licence = cleaned(text_of_html(string_in(item, "body")), names), _licence(item)
        if not (body and licence) or _is_programs(item) or says_it_is_a_bot(body):
            return None
        if fields.get("kind") != "answer" and _AUTOMATED.fullmatch(body):
            return None
        return Comment(
            body=body,
            score=number(item.get("score")),
            by_poster=bool(self._poster) and _user_id(item) == self._poster,
            created_at=moment(item.get("creation_date")),
            licence=licence if licence != self._licence else "",
            author=self._author(item),
            **fields,
        )

    def _author(self, item: Item) -> Author | None:
        """Return whom a text is credited to.

        An account that is gone leaves at most its name. A community wiki's owner is who began it; its other authors
        stand on the page that the permalink leads to, and nowhere in the API.
        """
        name = head(" ".join(clean(unescaped(_name(item))).split()), 100)
        if not name:
            return None
        if fields_of(item, "owner").get("user_type") == "does_not_exist":
            return Author(name=name)
        user, link = _user_id(item), string_in(fields_of(item, "owner"), "link")
        is_profile = (_site_and_path(link) or ("", ""))[1].startswith("/users/")
        url = (_https(link) if is_profile else "") or (f"{self._url}/users/{user}" if user else "")
        return Author(name=name, url=url)

    def _is(self, field: str) -> bool:
        return bool(self._question.get(field))


def _licence(item: Item) -> str:
    """Return the code of a text's licence; by its date where the API names none, and empty for one not known here.

    A story of texts under several of these versions may be under 4.0, since both others allow an adaptation under a
    later version: section 4b of https://creativecommons.org/licenses/by-sa/2.5/legalcode and of .../3.0/legalcode.
    """
    if named := string_in(item, "content_license"):
        code = "-".join(named.lower().split())
        return code if code in _LICENCES else ""
    # The newest revision counts, and it is under the version of its day.
    written = max(moment(item.get("creation_date")), moment(item.get("last_edit_date")))
    return next((code for code in reversed(_LICENCES) if written >= _FIRST_DAYS.get(code, written)), "")


def _is_programs(item: Item) -> bool:
    return str(fields_of(item, "owner").get("user_id")) == _COMMUNITY or is_bots_name(_name(item))


def _name(item: Item) -> str:
    return string_in(fields_of(item, "owner"), "display_name")


def _user_id(item: Item) -> str:
    return id_in(fields_of(item, "owner"), "user_id")


def _https(address: str) -> str:
    """Return an address by https, without query and fragment; empty for one with unusual characters."""
    parts = urlsplit(address.strip())
    return f"https://{parts.hostname}{parts.path}" if _PLAIN_PATH.fullmatch(parts.path) else ""
