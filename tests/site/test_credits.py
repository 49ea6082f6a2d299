"""The page of a story says where it is from; one under a licence says so everywhere, with all authors and links."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from newsstand import Elements, kettle_story, page
from sourced import every_thread, thread_from

from threadjuice_dagster.domain.story.credit import SourceCredit, credit_of
from threadjuice_dagster.domain.story.publication import PublishedStory
from threadjuice_dagster.domain.story.stories import Quote
from threadjuice_dagster.domain.story.threads import SourceName, Thread
from threadjuice_dagster.operations.takedowns.rules import publication_without
from threadjuice_dagster.site.builder import build_site

SITE = "https://threadjuice.example"
STORY = "story/the-kettle-1/index.html"
DEED = "https://creativecommons.org/licenses/by-sa/4.0/"
QUESTION = thread_from("stackexchange")
NAMES = ("Rota Keeper", "Orla Penhaligon", "T. Vasquez-Lind", "Benedikta Rowe")
RIGHTS = "{http://purl.org/dc/elements/1.1/}rights"


def story_of(thread: Thread, storage: Path, **changes: Any) -> PublishedStory:
    """A story that quotes two comments of a thread."""
    base = kettle_story(storage)
    quoted = thread.comments[0], thread.comments[-1]
    quotes = tuple(Quote(text=comment.body[:40], comment_id=comment.id, section=1) for comment in quoted)
    draft = base.draft.model_copy(update={"quotes": quotes})
    credit = credit_of(thread).narrowed([comment.id for comment in quoted])
    return base.model_copy(update={"draft": draft, "credit": credit, "writer": "extractive", **changes})


def built(thread: Thread, storage: Path, target: Path) -> str:
    build_site([story_of(thread, storage)], target, SITE, storage)
    return page(target, STORY)


def text_of(html: str) -> str:
    return " ".join("".join(Elements(html).data).split())


def article(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/ld\+json">(.*?)</script>', html, re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


def test_a_page_under_a_licence_names_and_links_every_text_and_author(storage: Path, target: Path) -> None:
    html = built(QUESTION, storage, target)
    text, links = text_of(html), {link["href"]: link for link in Elements(html).of("a")}
    assert "This story is adapted from “How do I defend a clipboard" in text
    assert "and is licensed CC BY-SA 4.0" in text
    for part in (*NAMES, "a question at The Workplace on Stack Exchange by Rota Keeper", "The accepted answer by Orla"):
        assert part in text
    addresses = [text.address for text in credit_of(QUESTION).texts if text.place != "98771"]
    profiles = [text.author.url for text in credit_of(QUESTION).texts if text.author]
    assert links.keys() >= {*addresses, *profiles, DEED}
    assert "98771" not in html, "a comment that is not quoted is not credited"


def test_links_that_a_licence_demands_are_not_kept_from_search_engines(storage: Path, target: Path) -> None:
    links = Elements(built(QUESTION, storage, target)).of("a")
    credited = [link for link in links if "stackexchange.com" in link["href"]]
    assert len(credited) > 8
    assert not [link for link in credited if "nofollow" in link["rel"]]


def test_every_quote_names_its_author_beside_it(storage: Path, target: Path) -> None:
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", built(QUESTION, storage, target), re.DOTALL)
    told = [text_of(caption) for caption in captions]
    assert told[1:] == [
        "From the original question at The Workplace on Stack Exchange by Rota Keeper",
        "The accepted answer by Orla Penhaligon",
        "A comment by Benedikta Rowe",
    ]


def test_metadata_names_licence_authors_and_the_works_that_a_story_is_based_on(storage: Path, target: Path) -> None:
    html = built(QUESTION, storage, target)
    facts = article(html)
    assert facts["license"] == DEED
    assert "licensed CC BY-SA 4.0" in facts["creditText"]
    question, *replies = facts["isBasedOn"]
    assert (question["@type"], question["url"]) == ("Question", QUESTION.permalink)
    assert question["author"]["name"] == "Rota Keeper"
    assert {work["@type"] for work in replies} == {"Answer", "Comment"}
    assert {work["license"] for work in facts["isBasedOn"]} == {DEED}
    licences = [link["href"] for link in Elements(html).of("link") if link.get("rel") == "license"]
    assert licences == [DEED]


def test_both_feeds_carry_credit_and_licence(storage: Path, target: Path) -> None:
    other = story_of(thread_from("reddit"), storage, story_id="t2", slug="the-kettle-2")
    build_site([story_of(QUESTION, storage), other], target, SITE, storage)
    rights = [element.text or "" for element in ET.fromstring(page(target, "feed.xml")).iter(RIGHTS)]
    assert len(rights) == 1, "a story that no licence binds has none"
    items = {item["id"]: item for item in json.loads(page(target, "feed.json"))["items"]}
    told = items["threadjuice:the-kettle-1"]["_rights"]
    assert "_rights" not in items["threadjuice:the-kettle-2"]
    assert (told["license"], told["source"]) == (DEED, QUESTION.permalink)
    for notice in (rights[0], told["notice"]):
        assert "licensed CC BY-SA 4.0" in notice
        assert QUESTION.permalink in notice
        assert all(name in notice for name in NAMES)


def test_a_picture_keeps_its_own_licence(storage: Path, target: Path) -> None:
    html = built(QUESTION, storage, target)
    assert article(html)["image"]["license"] == "https://creativecommons.org/licenses/by/4.0/"


def test_a_text_with_a_licence_of_its_own_says_so(storage: Path, target: Path) -> None:
    first, *others = QUESTION.comments
    older = first.model_copy(update={"licence": "cc-by-sa-3.0"})
    html = built(QUESTION.model_copy(update={"comments": (older, *others)}), storage, target)
    assert "The accepted answer by Orla Penhaligon (CC BY-SA 3.0)" in text_of(html)
    assert "https://creativecommons.org/licenses/by-sa/3.0/" in html


@pytest.mark.parametrize(
    ("source", "told", "caption"),
    [
        ("reddit", "A thread on r/flatshare", "A comment on r/flatshare"),
        ("hackernews", "A thread on Hacker News", "A comment on Hacker News"),
        (
            "lemmy",
            "A thread in the Housing community on lemmy.world",
            "A comment in the Housing community on lemmy.world",
        ),
        (
            "discourse",
            "A topic in the Shared Houses forum at talk.example.org",
            "A reply in the Shared Houses forum at talk.example.org",
        ),
        ("submission", "A reader's submission", "A reply on our letters page"),
        ("sample", "A sample thread written for ThreadJuice", "A reply in our sample forum"),
    ],
)
def test_other_sources_are_called_by_their_own_terms(
    source: SourceName, told: str, caption: str, storage: Path, target: Path
) -> None:
    html = built(thread_from(source), storage, target)
    text = text_of(html)
    assert f"Source{told}" in text.replace("Source ", "Source")
    assert caption in text
    assert "licensed CC BY" not in text
    assert "license" not in article(html)
    assert ("reddit" in html.lower()) == (source == "reddit")
    assert "a href" not in html.split("<dt>Source</dt>")[1][:9] if source in ("sample", "submission") else True


@pytest.mark.parametrize("thread", every_thread(), ids=lambda thread: thread.source)
def test_a_quote_links_to_its_comment_where_it_stands(thread: Thread, storage: Path, target: Path) -> None:
    quoted = [quote.get("cite", "") for quote in Elements(built(thread, storage, target)).of("blockquote")][1:]
    expected = {
        "reddit": ["https://www.reddit.com/r/flatshare/comments/1frz01/comment/c0/"],
        "stackexchange": ["https://workplace.stackexchange.com/a/98767"],
        "hackernews": ["https://news.ycombinator.com/item?id=41234567#c0"],
        "lemmy": ["https://lemmy.world/post/4711#c0"],
        "discourse": ["https://talk.example.org/t/the-crumble/42#c0"],
    }
    assert quoted[:1] == expected.get(thread.source, [""])


def test_a_story_without_a_thread_claims_no_source(storage: Path, target: Path) -> None:
    story = story_of(QUESTION, storage, credit=SourceCredit(), writer="manual", model="Ada Example")
    build_site([story], target, SITE, storage)
    html = page(target, STORY)
    assert "<dt>Source</dt>" not in html
    assert "<dt>Licence</dt>" not in html
    assert "A comment in the thread" in html


def test_a_deleted_answer_leaves_page_feeds_and_metadata(storage: Path, target: Path) -> None:
    story = publication_without(story_of(QUESTION, storage), "98768")
    build_site([story], target, SITE, storage)
    for path in (STORY, "feed.xml", "feed.json"):
        assert "Vasquez" not in page(target, path)
        assert "Orla Penhaligon" in page(target, path)


def test_a_submission_under_a_licence_says_so_and_names_nobody(storage: Path, target: Path) -> None:
    html = built(thread_from("submission", licence="cc-by-4.0"), storage, target)
    text = text_of(html)
    assert "a reader's submission. The post is licensed CC BY 4.0. Quotations are unchanged" in text
    assert "by an author" not in text
    assert "and is licensed" not in text
    assert 'href="https://creativecommons.org/licenses/by/4.0/"' in html
