"""Make a page's JSON-LD and Open Graph metadata. The templates escape it."""

from typing import Any

from threadjuice_dagster.domain.language.text import clean, cut
from threadjuice_dagster.domain.pictures.licences import deed_url
from threadjuice_dagster.domain.story.credit import POST
from threadjuice_dagster.site.links import public_address, safe_link
from threadjuice_dagster.site.views import StoryView, credit_of

SITE_NAME = "ThreadJuice"


def news_article(view: StoryView, site_url: str) -> dict[str, Any]:
    """Return the story as schema.org ``NewsArticle``, with absolute addresses only.

    The author is the publication: a persona is a voice of the house, not a person.
    """
    publisher = {"@type": "NewsMediaOrganization", "name": SITE_NAME}
    credit = view.story.credit
    article = {
        "@context": "https://schema.org",
        "@type": "NewsArticle",
        "headline": cut(view.title, 110),
        "description": view.description,
        "datePublished": view.published.isoformat(),
        "dateModified": view.updated.isoformat(),
        "articleSection": view.category.name,
        "keywords": list(view.story.draft.tags),
        "wordCount": view.word_count,
        "inLanguage": "en",
        "isAccessibleForFree": True,
        "author": publisher,
        "publisher": publisher,
        "creditText": credit.notice if credit.licence else view.byline,
        "license": credit.licence_url,
        "isBasedOn": _based_on(view) if credit.licence else view.credit.address,
        "image": _image_object(view, site_url),
    }
    if site_url:
        article["mainEntityOfPage"] = public_address(site_url, view.path)
        article["publisher"] = article["author"] = {**publisher, "url": f"{site_url}/"}
    return _without_empty(article)


def _based_on(view: StoryView) -> list[dict[str, Any]]:
    """Return the texts that a story is adapted from as schema.org works with author and licence, the post first."""
    credit = view.story.credit
    kinds = {"question": "Question", "answer": "Answer", "comment": "Comment"}
    works = []
    for text, shown in view.credit.works:
        person = {"@type": "Person", "name": shown.author, "url": shown.profile}
        work = {
            "@type": kinds.get(text.kind, "DiscussionForumPosting"),
            "name": clean(credit.title) if text.place == POST else "",
            "url": shown.address,
            "author": _without_empty(person) if shown.author else None,
            "license": shown.deed or view.credit.deed,
        }
        works.append(_without_empty(work))
    return works


def web_page(title: str, summary: str, address: str) -> dict[str, Any]:
    """Return a page that is no story's as schema.org ``CollectionPage``."""
    page = {"@context": "https://schema.org", "@type": "CollectionPage", "name": title, "description": summary}
    web_page = {**page, "url": address, "inLanguage": "en"}
    return _without_empty({**web_page, "isPartOf": {"@type": "WebSite", "name": SITE_NAME}})


def open_graph(view: StoryView, site_url: str) -> list[tuple[str, str]]:
    """Return the story's Open Graph properties (https://ogp.me), in order."""
    properties = {
        "og:type": "article",
        "og:site_name": SITE_NAME,
        "og:title": view.title,
        "og:description": view.description,
        **({"og:url": public_address(site_url, view.path)} if site_url else {}),
        **share_picture(view, site_url),
        "article:published_time": view.published.isoformat(),
        "article:modified_time": view.updated.isoformat(),
        "article:section": view.category.name,
    }
    tags = [("article:tag", tag) for tag in view.story.draft.tags]
    return [(name, value) for name, value in properties.items() if value] + tags


def share_picture(view: StoryView, site_url: str) -> dict[str, str]:
    """Return the picture's Open Graph properties, or none where it has no absolute address."""
    if view.picture is None:
        return {}
    variant, place = view.picture.share()
    if "://" not in place and not site_url:
        return {}
    return {
        "og:image": place if "://" in place else public_address(site_url, place),
        "og:image:width": str(variant.width),
        "og:image:height": str(variant.height),
        "og:image:alt": view.alt,
    }


def _image_object(view: StoryView, site_url: str) -> dict[str, Any] | None:
    """Return the picture as schema.org ``ImageObject`` with credit and licence, or None without an absolute address."""
    shared = share_picture(view, site_url)
    if view.picture is None or not shared:
        return None
    image = view.picture.image
    image_object = {
        "@type": "ImageObject",
        "url": shared["og:image"],
        "contentUrl": shared["og:image"],
        "width": int(shared["og:image:width"]),
        "height": int(shared["og:image:height"]),
        "caption": view.alt,
        "creditText": "".join(part.before + part.text for part in credit_of(view.picture)),
        "license": safe_link(deed_url(image.licence)),
        "acquireLicensePage": safe_link(image.source_url),
    }
    return _without_empty(image_object)


def _without_empty(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts that are not empty."""
    return {key: value for key, value in facts.items() if value not in ("", None, [])}
