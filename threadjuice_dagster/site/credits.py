"""The source of a story as templates read it: what it is called, where it stands, its licence and its authors.

What is credited is decided in ``domain/story/credit.py``; the credit of a picture belongs in ``site/views.py``.
"""

from dataclasses import dataclass
from functools import cached_property

from threadjuice_dagster.domain.language.text import clean
from threadjuice_dagster.domain.pictures.licences import deed_url, licence_from, licence_name
from threadjuice_dagster.domain.story.credit import POST, CreditedText, SourceCredit
from threadjuice_dagster.site.links import comment_link, safe_link


@dataclass(frozen=True)
class TextView:
    """A text that a story was made of: what it is, its address, its author's name and profile, a licence of its own.

    All but the label may be empty. ``rel`` is the relation of its links in HTML.
    """

    label: str
    address: str = ""
    author: str = ""
    profile: str = ""
    licence: str = ""
    deed: str = ""
    rel: str = "nofollow ugc"


@dataclass(frozen=True)
class CreditView:
    """The credit of one story, with cleaned names and checked addresses."""

    credit: SourceCredit

    @property
    def rel(self) -> str:
        """The relation of links to the source. Stack Exchange wants its credit without ``nofollow``.

        https://stackoverflow.blog/2009/06/25/attribution-required/
        """
        return "external" if self.credit.licence else "nofollow ugc"

    @property
    def address(self) -> str:
        """The thread's address, or an empty string."""
        return safe_link(self.credit.permalink)

    @cached_property
    def label(self) -> str:
        """What the story is adapted from, such as ``a question at The Workplace on Stack Exchange``, or nothing."""
        terms = self.credit.terms
        if terms is None or terms.source in ("sample", "submission"):
            return terms.name if terms else ""
        return f"a {terms.work} {terms.in_forum}"

    @property
    def place(self) -> str:
        """Where the thread stands, with a preposition, or an empty string."""
        return self.credit.terms.in_forum if self.credit.terms else ""

    @property
    def thread(self) -> str:
        """What the whole is called: a thread, a topic, an exchange."""
        return self.credit.terms.thread if self.credit.terms else "thread"

    @property
    def post(self) -> str:
        """What the start of the thread is called: a post, or a question."""
        return self.credit.terms.post if self.credit.terms else "post"

    @cached_property
    def original(self) -> TextView:
        """The post or question. Its label is its title, where that may be shown."""
        label = f"“{clean(self.credit.title)}”" if self.credit.title else f"the {self.post}"
        text = self.credit.text(POST) or CreditedText(place=POST, kind=self.post)
        return self._view(text, label, self.address)

    @cached_property
    def works(self) -> tuple[tuple[CreditedText, TextView], ...]:
        """Every text that is credited with its view: the post, then those whose authors a licence wants named."""
        post = self.credit.text(POST) or CreditedText(place=POST, kind=self.post)
        others = [text for text in self.credit.texts if text.place != POST and self.credit.names_authors]
        return ((post, self.original), *((text, self._view(text, _what(text))) for text in others))

    @property
    def replies(self) -> tuple[TextView, ...]:
        """The credited answers and comments, in the order of the thread."""
        return tuple(view for _, view in self.works[1:])

    @property
    def all_alike(self) -> bool:
        """Whether all of the texts are under the licence that the story is under."""
        others = any(text.licence for text in self.credit.texts)
        return self.credit.licence == self.credit.story_licence and not others

    @property
    def licence(self) -> str:
        """The licence of the texts that the story is adapted from, as people write it, or nothing."""
        return licence_name(licence_from(self.credit.licence)) if self.credit.licence else ""

    @property
    def deed(self) -> str:
        """The address of that licence's deed."""
        return safe_link(deed_url(licence_from(self.credit.licence))) if self.credit.licence else ""

    def origin(self, comment_id: str) -> TextView:
        """Return the comment that a quote is from; where authors are not named its label says where it stands."""
        terms = self.credit.terms
        text = self.credit.text(comment_id)
        text = text or CreditedText(place=comment_id, kind=terms.reply if terms else "comment")
        # Reddit's comments are not stored with their addresses, which follow from the thread's.
        address = comment_link(self.credit.permalink, comment_id) if self.credit.source == "reddit" else ""
        if self.credit.licence:
            return self._view(text, _what(text), address)
        return self._view(text, f"{_what(text)} {self.place or 'in the thread'}", address)

    def _view(self, text: CreditedText, label: str, address: str = "") -> TextView:
        own = licence_from(text.licence) if text.licence else None
        return TextView(
            label=label,
            address=safe_link(text.address) or address,
            author=clean(text.author.name) if text.author else "",
            profile=safe_link(text.author.url) if text.author else "",
            licence=licence_name(own) if own else "",
            deed=safe_link(deed_url(own)) if own else "",
            rel=self.rel,
        )


def _what(text: CreditedText) -> str:
    """What a text is, with its article."""
    if text.accepted:
        return "the accepted answer"
    return f"an {text.kind}" if text.kind[:1] in "aeiou" else f"a {text.kind}"
