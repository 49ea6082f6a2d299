"""Whom and what a story is credited to: its thread, the licence of the thread's texts, and their authors.

An author is named only where the licence of the text demands it. Licences themselves are described in
``domain/pictures/licences.py``; how a credit looks on a page belongs in ``site/``.
"""

from collections.abc import Collection, Iterable
from typing import Any, Literal

from pydantic import computed_field, model_validator

from threadjuice_dagster.domain.language.text import clean
from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.pictures.licences import deed_url, licence_from, licence_name
from threadjuice_dagster.domain.story.terms import Terms, terms_for, terms_of
from threadjuice_dagster.domain.story.threads import Author, Comment, SourceName, Thread

POST = "post"
"""The place of a thread's post among its texts; the place of a comment is its id."""

UNNAMED = "an author who is not named"

_ADAPTED = "cc-by-sa-4.0"
"""The licence of an adaptation of share-alike texts: section 4(b) of CC BY-SA 2.5 and 3.0 allows this later version."""


class CreditedText(Model):
    """One text that a story was made of: the post, an answer or a comment, where it stands and who wrote it.

    ``kind`` is what its source calls it. ``author`` is None where no credit is demanded or the account is gone.
    """

    place: str
    kind: str
    accepted: bool = False
    address: str = ""
    licence: str = ""
    author: Author | None = None


class SourceCredit(Model):
    """The source of a story. ``texts`` has the post, the quoted comments, and all whose authors have to be named.

    ``source`` is empty for a story that names no thread, ``permalink`` for one whose thread stands nowhere else.
    ``licence`` is the code of the licence of the texts; ``title`` is kept only where there is one.
    """

    source: SourceName | Literal[""] = ""
    community: str = ""
    permalink: str = ""
    title: str = ""
    licence: str = ""
    texts: tuple[CreditedText, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _from_earlier_versions(cls, values: Any) -> Any:
        """Read a source as earlier versions stored it, when Reddit was the only one."""
        if isinstance(values, dict) and "source" not in values and {"subreddit", "source_url"} & values.keys():
            permalink = values.get("source_url") or values.get("permalink") or ""
            community = values.get("subreddit") or ""
            source = "reddit" if permalink else "sample" if community else ""
            values = {**values, "source": source, "community": community, "permalink": permalink}
        return values

    @property
    def terms(self) -> Terms | None:
        """The words of the source, or None for a story that names no thread."""
        return terms_for(self.source, self.community, self.permalink) if self.source else None

    @property
    def names_authors(self) -> bool:
        """Whether the texts are credited to their authors, so that a missing name has to be explained."""
        return self.source == "stackexchange" or any(text.author for text in self.texts)

    @property
    def story_licence(self) -> str:
        """The code of the licence that the story itself is under, empty where the texts demand none."""
        return _ADAPTED if "-sa-" in self.licence else ""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def licence_name(self) -> str:
        """The licence of the story as people write it."""
        return licence_name(licence_from(self.story_licence)) if self.story_licence else ""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def licence_url(self) -> str:
        """The address of the deed of the story's licence."""
        return deed_url(licence_from(self.story_licence)) if self.story_licence else ""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def notice(self) -> str:
        """The credit in plain text, empty for a story that names no thread."""
        return clean(self._notice()) if self.source else ""

    def text(self, place: str) -> CreditedText | None:
        """Return the text at a place: a comment's id (a ``t1_`` prefix is accepted) or ``POST``."""
        wanted = place.removeprefix("t1_")
        return next((text for text in self.texts if text.place == wanted), None)

    def without(self, place: str) -> "SourceCredit":
        """Return the credit without one of its texts and the author of it."""
        wanted = place.removeprefix("t1_")
        return self.model_copy(update={"texts": tuple(text for text in self.texts if text.place != wanted)})

    def narrowed(self, used: Collection[str]) -> "SourceCredit":
        """Return the credit for a story that holds the words of the comments ``used``.

        The post stays, and where a licence demands credit every answer, since the writer may have retold it.
        """
        wanted = {place.removeprefix("t1_") for place in used} | {POST}
        kept = (text for text in self.texts if text.place in wanted or (self.licence and text.kind == "answer"))
        return self.model_copy(update={"texts": tuple(kept)})

    def _notice(self) -> str:
        terms = terms_for(self.source or "submission", self.community, self.permalink)
        is_ours = terms.source in ("sample", "submission")
        where = terms.name if is_ours else f"a {terms.work} {terms.in_forum}"
        where += f" ({self.permalink})" if self.permalink else ""
        if not self.licence:
            return f"This story is adapted from {where}."
        title = f"“{self.title}”, " if self.title else ""
        authors = f" by {self._author_of_post()}{''.join(f', {part}' for part in self._others())}"
        told = f"This story is adapted from {title}{where}{authors if self.names_authors else ''}"
        if not self.story_licence:
            return f"{told}, licensed {licence_name(licence_from(self.licence))}."
        return f"{told}, and is licensed {self.licence_name} ({self.licence_url})."

    def _author_of_post(self) -> str:
        post = self.text(POST)
        return post.author.name if post and post.author else UNNAMED

    def _others(self) -> list[str]:
        """Who wrote the rest: ``answers by A and B``, ``comments by C``."""
        parts = []
        for kind in dict.fromkeys(text.kind for text in self.texts if text.place != POST):
            texts = [text for text in self.texts if text.kind == kind and text.place != POST]
            names = list(dict.fromkeys(text.author.name if text.author else UNNAMED for text in texts))
            parts.append(f"{'an ' if kind == 'answer' else 'a '}{kind}" if not texts[1:] else f"{kind}s")
            parts[-1] += f" by {', '.join(names[:-1])} and {names[-1]}" if names[1:] else f" by {names[0]}"
        return parts


def credit_of(thread: Thread, given: Iterable[Comment] | None = None) -> SourceCredit:
    """Return the credit for a thread with the comments that a writer was ``given``, all of them by default.

    A sample has no address: the ones that its format gives it lead nowhere.
    """
    terms, licensed = terms_of(thread), bool(thread.licence)
    post = CreditedText(
        place=POST,
        kind=terms.post,
        address="" if thread.source == "sample" else thread.permalink,
        author=thread.author if licensed else None,
    )
    return SourceCredit(
        source=thread.source,
        community=thread.community,
        permalink=post.address,
        title=thread.title if licensed else "",
        licence=thread.licence,
        texts=(post, *(_credited(comment, thread, terms) for comment in (thread.comments if given is None else given))),
    )


def _credited(comment: Comment, thread: Thread, terms: Terms) -> CreditedText:
    return CreditedText(
        place=comment.id,
        kind=terms.kind_of(comment),
        accepted=comment.accepted,
        address=comment.permalink,
        licence=comment.licence if thread.licence and comment.licence != thread.licence else "",
        author=comment.author if thread.licence else None,
    )
