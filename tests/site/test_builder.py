import json
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

from threadjuice_dagster.domain.images import Licence, StoryImage, Variant
from threadjuice_dagster.domain.publication import PublishedStory
from threadjuice_dagster.domain.stories import Category, Draft, Persona, Quote, Section
from threadjuice_dagster.failures import ConfigurationError, PermanentFailure
from threadjuice_dagster.site.assets import site_assets, woff
from threadjuice_dagster.site.builder import build_site
from threadjuice_dagster.site.colour import INK, PAPER, contrast, readable
from threadjuice_dagster.site.links import comment_link, safe_link
from threadjuice_dagster.site.preview import PreviewServer, serve
from threadjuice_dagster.site.verify import verify_site

NOON = datetime(2026, 2, 3, 12, tzinfo=UTC)
SCRIPT = "<script>alert(1)</script>"
BREAKOUT = "\"><img src=x onerror=alert(2)> '; </script><svg onload=alert(3)> {{ 7*7 }} & co"
HASH = "1QcSHQRnh493V4dIh4eXh1h4kJUI"
SITE = "https://stories.example"


def variant(storage: Path | None, width: int, name: str, sha: str) -> Variant:
    key = f"img/{sha}/{width}.{name}"
    url = f"https://pictures.example/{key}?w={width}&q=80"
    if storage is not None:
        file = storage / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(f"{name} {width} {sha}".encode())
        url = file.as_uri()
    return Variant(width=width, height=width * 2 // 3, format=name, key=key, url=url, bytes=9)  # type: ignore[arg-type]


def picture(storage: Path | None, sha: str = "ab" * 32, **changes: Any) -> StoryImage:
    variants = tuple(variant(storage, width, name, sha) for width in (480, 1200) for name in ("avif", "webp", "jpeg"))
    facts: dict[str, Any] = {
        "story_id": "s",
        "provider": "openverse",
        "source_url": "https://photos.example/7",
        "creator": "Ines Calder",
        "creator_url": "https://photos.example/ines",
        "licence": Licence(code="by", version="4.0", url="https://creativecommons.org/licenses/by/4.0/"),
        "credit": "“Kettle” by Ines Calder",
        "alt_text": "A kettle on a sill",
        "sha256": sha,
        "width": 1200,
        "height": 800,
        "placeholder": HASH,
        "variants": variants,
    }
    return StoryImage(**{**facts, **changes})


def story(storage: Path | None, number: int = 1, **changes: Any) -> PublishedStory:
    draft = Draft(
        title=f"The kettle that whistled in B flat, part {number}",
        dek="A flat share tunes its mornings.",
        sections=(
            Section(kind="opening", text="It started on a Monday.\n\nNobody owned a piano."),
            Section(kind="excerpt", text="I swear it is in tune with the lift."),
            Section(kind="closing", heading="And then", text="They bought a second kettle."),
        ),
        quotes=(Quote(text="Harmony costs twenty pounds.", comment_id="c0ffee", section=1),),
        tags=("kettles", "music"),
    )
    category = Category(slug="home", name="Home", description="Indoors.", colour="#15703a")
    facts: dict[str, Any] = {
        "story_id": f"t{number}",
        "slug": f"the-kettle-{number}",
        "draft": draft,
        "category": category,
        "persona": Persona(slug="mo", name="Mo Tarn", byline="By Mo Tarn, awake early", voice="plain"),
        "image": picture(storage),
        "source_url": "https://www.reddit.com/r/flatshare/comments/abc123/",
        "subreddit": "flatshare",
        "writer": "openai",
        "model": "model-x",
        "score": 8.7,
        "published_at": NOON + timedelta(hours=number),
        "updated_at": NOON + timedelta(hours=number),
    }
    return PublishedStory(**{**facts, **changes})


def redrafted(base: PublishedStory, **changes: Any) -> PublishedStory:
    draft = Draft.model_validate({**base.draft.model_dump(), **changes})
    return PublishedStory.model_validate({**base.model_dump(), "draft": draft.model_dump()})


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    return tmp_path / "storage"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "site"


def page(target: Path, path: str) -> str:
    return (target / "current" / path).read_text(encoding="utf-8")


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.data: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.data.append(data)

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.found if name == tag]


def article(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/ld\+json">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found.group(1))  # type: ignore[no-any-return]


def test_every_kind_of_page_is_built(storage: Path, target: Path) -> None:
    built = build_site([story(storage)], target, SITE, storage)
    expected = {"index.html", "story/the-kettle-1/index.html", "category/home/index.html", "404.html"}
    expected |= {"about/index.html", "feed.xml", "sitemap.xml", "robots.txt", "version.json"}
    assert expected <= set(files(target / "current"))
    assert json.loads(page(target, "version.json"))["version"] == built.version
    assert (built.stories, built.pages, built.pictures) == (1, 5, 6)


def test_a_story_page_shows_everything_a_reader_needs(storage: Path, target: Path) -> None:
    build_site([story(storage)], target, SITE, storage)
    text = page(target, "story/the-kettle-1/index.html")
    for shown in ("The kettle that whistled", "A flat share tunes", "By Mo Tarn, awake early", "3 February 2026"):
        assert shown in text
    for shown in ("Nobody owned a piano.", "Harmony costs twenty pounds.", "model-x", "8.7 of 10", "kettles"):
        assert shown in text
    links = {link["href"]: link for link in Elements(text).of("a")}
    source = "https://www.reddit.com/r/flatshare/comments/abc123/"
    assert links[source]["rel"] == "nofollow ugc"
    assert links[f"{source}comment/c0ffee/"]["rel"] == "nofollow ugc"
    assert "license" in links["https://creativecommons.org/licenses/by/4.0/"]["rel"]
    assert {"https://photos.example/ines", "https://photos.example/7"} <= set(links)


def test_the_post_s_own_words_are_marked_as_a_quotation(storage: Path, target: Path) -> None:
    build_site([story(storage)], target, "", storage)
    text = page(target, "story/the-kettle-1/index.html")
    excerpt = re.search(r'<figure class="excerpt-text">.*?</figure>', text, re.DOTALL)
    assert excerpt
    assert "<blockquote" in excerpt.group()
    assert "I swear it is in tune" in excerpt.group()
    assert "From the original post in" in excerpt.group()


def test_an_extractive_story_says_that_no_model_wrote_it(storage: Path, target: Path) -> None:
    build_site([story(storage, writer="extractive", model="")], target, "", storage)
    text = page(target, "story/the-kettle-1/index.html")
    assert "composed automatically from the thread’s own words" in text
    assert "written by AI" not in text.split("<article>")[1].split("</article>")[0]


def test_the_picture_comes_in_every_format_with_sizes_and_room_kept(storage: Path, target: Path) -> None:
    build_site([story(storage)], target, "", storage)
    elements = Elements(page(target, "story/the-kettle-1/index.html"))
    assert [source["type"] for source in elements.of("source")] == ["image/avif", "image/webp"]
    first = elements.of("img")[0]
    assert (first["width"], first["height"], first["alt"]) == ("1200", "800", "A kettle on a sill")
    assert first["fetchpriority"] == "high"
    assert "loading" not in first
    assert re.fullmatch(r"\.\./\.\./img/\w+/480\.jpeg 480w, \.\./\.\./img/\w+/1200\.jpeg 1200w", first["srcset"])
    assert all(source["sizes"] for source in elements.of("source"))


def test_pictures_below_the_fold_load_lazily(storage: Path, target: Path) -> None:
    build_site([story(storage, number) for number in range(1, 5)], target, "", storage)
    pictures = Elements(page(target, "index.html")).of("img")
    assert [image.get("loading") for image in pictures] == [None, "lazy", "lazy", "lazy"]


def test_the_placeholder_is_the_decoded_hash_and_allowed_by_the_policy(storage: Path, target: Path) -> None:
    build_site([story(storage)], target, "", storage)
    text = page(target, "story/the-kettle-1/index.html")
    name = Elements(text).of("img")[0]["class"]
    assert re.search(rf"<style>\.{name}{{background:0 0/cover url\(data:image/png;base64,[\w+/=]+\)}}</style>", text)
    assert "sha256-" in text.split("Content-Security-Policy")[1].split(">")[0]


@pytest.mark.parametrize("placeholder", ["", "not base64 </style>", "AA=="])
def test_an_unusable_placeholder_costs_only_itself(storage: Path, target: Path, placeholder: str) -> None:
    build_site([story(storage, image=picture(storage, placeholder=placeholder))], target, "", storage)
    text = page(target, "story/the-kettle-1/index.html")
    assert "1200.avif" in text
    assert placeholder == "" or placeholder not in text


def test_stories_come_newest_first_and_the_newest_leads(storage: Path, target: Path) -> None:
    build_site([story(storage, number) for number in (2, 3, 1)], target, "", storage)
    text = page(target, "index.html")
    places = [text.index(f"story/the-kettle-{number}/") for number in (3, 2, 1)]
    assert places == sorted(places)
    assert places[0] > text.index('class="lead')
    assert places[1] > text.index('class="grid"')


def test_older_stories_stay_within_reach_over_several_pages(storage: Path, target: Path) -> None:
    stories = [story(storage, number) for number in range(1, 61)]
    build_site(stories, target, "", storage)
    for folder in ("", "category/home/"):
        listed, path = set(), f"{folder}index.html"
        while path:
            elements = Elements(page(target, path))
            listed |= {re.sub(r"^(\.\./)+", "", link["href"]) for link in elements.of("a")}
            path = next((urljoin(path, link["href"]) for link in elements.of("a") if link.get("rel") == "next"), "")
        assert {f"story/{published.slug}/index.html" for published in stories} <= listed


def test_related_stories_share_the_category_and_leave_out_the_story_itself(storage: Path, target: Path) -> None:
    away = Category(slug="away", name="Away", description="", colour="#0f6b78")
    stories = [story(storage, number) for number in range(1, 6)] + [story(storage, 9, category=away)]
    build_site(stories, target, "", storage)
    related = page(target, "story/the-kettle-4/index.html").split('class="related"')[1]
    assert re.findall(r'class="headline"><a href="\.\./\.\./story/the-kettle-(\d)/', related) == ["5", "3", "2"]
    assert 'class="related"' not in page(target, "story/the-kettle-9/index.html")


def test_pages_use_relative_links_only(storage: Path, target: Path) -> None:
    build_site([story(storage, number) for number in range(1, 40)], target, SITE, storage)
    for path, content in files(target / "current").items():
        if not path.endswith(".html") or path == "404.html":
            continue
        for tag, attributes in Elements(content.decode()).found:
            for name in {"href", "src"} & set(attributes):
                address = attributes[name]
                assert not address.startswith("/")
                assert SITE not in address or (tag == "link" and attributes["rel"] == "canonical")
                assert not address.endswith("/") or urlsplit(address).netloc, f"{path}: {address} opens no page by file"


def test_without_an_address_of_its_own_the_site_names_none(storage: Path, target: Path) -> None:
    build_site([story(storage)], target, "", storage)
    text = page(target, "story/the-kettle-1/index.html")
    assert "canonical" not in text
    assert "og:url" not in text
    assert "og:image" not in text
    assert "image" not in article(text)


@pytest.mark.parametrize("site_url", ["https://stories.example", "https://stories.example/press/"])
def test_canonical_feed_and_sharing_addresses_are_absolute(storage: Path, target: Path, site_url: str) -> None:
    build_site([story(storage)], target, site_url, storage)
    text, base = page(target, "story/the-kettle-1/index.html"), site_url.rstrip("/")
    properties = {meta["property"]: meta["content"] for meta in Elements(text).of("meta") if "property" in meta}
    address = f"{base}/story/the-kettle-1/"
    assert properties["og:url"] == article(text)["mainEntityOfPage"] == address
    assert f'<link rel="canonical" href="{address}">' in text
    assert re.fullmatch(rf"{re.escape(base)}/img/\w+/1200\.jpeg", properties["og:image"])
    assert address in {element.text for element in ET.fromstring(page(target, "feed.xml")).iter("link")}
    assert f"<loc>{address}</loc>" in page(target, "sitemap.xml")
    assert f"Sitemap: {base}/sitemap.xml" in page(target, "robots.txt")


@pytest.mark.parametrize("site_url", ["stories.example", "javascript:alert(1)", "https://stories.example/?a=b"])
def test_an_address_that_is_none_is_refused(target: Path, site_url: str) -> None:
    with pytest.raises(ConfigurationError, match="PRODUCTION_URL"):
        build_site([], target, site_url, None)


def test_a_story_describes_itself_to_search_engines(storage: Path, target: Path) -> None:
    build_site([story(storage)], target, SITE, storage)
    found = article(page(target, "story/the-kettle-1/index.html"))
    assert found["@type"] == "NewsArticle"
    assert found["headline"] == "The kettle that whistled in B flat, part 1"
    assert found["datePublished"] == "2026-02-03T13:00:00+00:00"
    assert found["isBasedOn"].endswith("/abc123/")


def hostile(storage: Path) -> PublishedStory:
    base = story(storage)
    bad = picture(
        storage,
        title=SCRIPT,
        creator=BREAKOUT,
        creator_url="javascript:alert(4)",
        source_url="data:text/html,<script>alert(5)</script>",
        licence=Licence(code=SCRIPT, version=BREAKOUT, url="javascript:alert(6)"),
        credit=f"{SCRIPT} {BREAKOUT}",
        alt_text=BREAKOUT,
    )
    draft = Draft(
        title=SCRIPT + BREAKOUT,
        dek=BREAKOUT,
        sections=tuple(
            Section(kind=kind, heading=BREAKOUT, text=f"{SCRIPT}\n\n{BREAKOUT}")
            for kind in ("opening", "narrative", "excerpt", "discussion", "facts", "turn", "closing")
        ),
        quotes=(Quote(text=BREAKOUT, comment_id='"><script>'), Quote(text=SCRIPT, comment_id="../../evil")),
        seo_title=BREAKOUT,
        seo_description=SCRIPT + BREAKOUT,
        tags=(SCRIPT, BREAKOUT),
        alt_text=BREAKOUT,
    )
    changes = {
        "draft": draft,
        "category": Category(slug="home", name=BREAKOUT, description=SCRIPT, colour="red}</style><script>"),
        "persona": Persona(slug="x", name=SCRIPT, byline=BREAKOUT, voice=""),
        "image": bad,
        "source_url": "javascript:alert(7)//https://ok.example/comments/a/",
        "subreddit": BREAKOUT,
        "writer": SCRIPT,
        "model": BREAKOUT,
    }
    return base.model_copy(update=changes)


def test_hostile_text_stays_text_on_every_page(storage: Path, target: Path) -> None:
    build_site([hostile(storage), story(storage, 2)], target, SITE, storage)
    own = {"html", "head", "meta", "title", "link", "style", "script", "body", "a", "header", "svg", "path", "p", "nav"}
    own |= {
        "ul",
        "li",
        "main",
        "article",
        "div",
        "picture",
        "source",
        "img",
        "h1",
        "h2",
        "h3",
        "time",
        "span",
        "figure",
    }
    own |= {"button", "figure", "figcaption", "section", "blockquote", "footer", "aside", "dl", "dt", "dd", "b"}
    for path, content in files(target / "current").items():
        if not path.endswith(".html"):
            continue
        for tag, attributes in Elements(content.decode()).found:
            assert tag in own, path
            assert not [name for name in attributes if name.startswith("on") or name == "style"], path
            ours = attributes.get("src", "").startswith("../../assets/engagement.")
            assert tag != "script" or ours or attributes == {"type": "application/ld+json"}
            assert tag != "svg" or "onload" not in attributes
            for name in {"href", "src", "cite"} & set(attributes):
                assert urlsplit(attributes[name]).scheme in {"", "https"} or attributes[name] == "data:,", path


def test_hostile_text_is_shown_as_it_was_written(storage: Path, target: Path) -> None:
    published = hostile(storage)
    build_site([published], target, SITE, storage)
    text = page(target, "story/the-kettle-1/index.html")
    assert SCRIPT + BREAKOUT in "".join(Elements(text).data)
    assert article(text)["articleSection"] == BREAKOUT
    titles = [element.text for element in ET.fromstring(page(target, "feed.xml")).iter("title")]
    assert SCRIPT + BREAKOUT in titles
    descriptions = [element.text or "" for element in ET.fromstring(page(target, "feed.xml")).iter("description")]
    assert not any("<" in description for description in descriptions), "a feed reader takes a description for HTML"


def test_control_characters_never_break_the_feed(storage: Path, target: Path) -> None:
    base = story(storage)
    category = base.category.model_copy(update={"name": "Ho\x00me\x1b"})
    build_site([base.model_copy(update={"category": category})], target, SITE, storage)
    assert ET.fromstring(page(target, "feed.xml")).find("channel/item") is not None


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        " javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\nscript:alert(1)",
        "data:text/html,x",
        "//evil.example/x",
        "https://",
        "https://user:secret@host.example/",
        "https://host.example/ onmouseover=x",
        'https://host.example/"x',
        "https://[broken",
        "https://host.example:99999/",
        "",
    ],
)
def test_an_address_that_may_do_harm_is_no_link(address: str) -> None:
    assert safe_link(address) == ""
    assert comment_link(address, "abc") == ""


def test_a_comment_is_linked_inside_its_thread() -> None:
    assert comment_link("https://r.example/r/a/comments/x1", "t1_c2") == "https://r.example/r/a/comments/x1/comment/c2/"
    assert comment_link("https://r.example/r/a/comments/x1/title/?s=1", "c2").endswith("/comments/x1/title/c2/")
    assert comment_link("https://r.example/r/a/comments/x1/", "../c2") == ""


@pytest.mark.parametrize("slug", ["../../etc", "a/b", "", ".", "-a", "Ü", "a" * 200, "a b"])
def test_a_slug_that_is_no_address_is_refused(storage: Path, target: Path, slug: str) -> None:
    with pytest.raises(PermanentFailure, match="t1"):
        build_site([story(storage, slug=slug)], target, "", storage)
    assert not (target / "current").exists()


def test_two_stories_with_one_slug_are_refused(storage: Path, target: Path) -> None:
    with pytest.raises(PermanentFailure, match="t2 and t1 share the slug same"):
        build_site([story(storage, 1, slug="same"), story(storage, 2, slug="same")], target, "", storage)


@pytest.mark.parametrize("key", ["../outside.jpeg", "img/../../outside.jpeg", "/etc/passwd", "img/.hidden", "img//x"])
def test_a_picture_key_that_leaves_the_storage_is_refused(storage: Path, target: Path, key: str) -> None:
    bad = variant(storage, 480, "jpeg", "cd" * 32).model_copy(update={"key": key})
    with pytest.raises(PermanentFailure, match="no usable address"):
        build_site([story(storage, image=picture(storage, variants=(bad,)))], target, "", storage)


def test_a_symbolic_link_out_of_the_storage_is_not_followed(storage: Path, target: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    published = story(storage)
    stolen = storage / published.image.variants[0].key
    stolen.unlink()
    stolen.symlink_to(secret)
    with pytest.raises(PermanentFailure, match=published.image.variants[0].key):
        build_site([published], target, "", storage)


def test_a_picture_address_that_is_no_address_is_refused(storage: Path, target: Path) -> None:
    bad = variant(None, 480, "jpeg", "cd" * 32).model_copy(update={"url": "javascript:alert(1)"})
    with pytest.raises(PermanentFailure, match="story_image"):
        build_site([story(storage, image=picture(storage, variants=(bad,)))], target, "", storage)


def test_hotlinked_pictures_keep_their_addresses_and_are_allowed_by_name(storage: Path, target: Path) -> None:
    built = build_site([story(storage, image=picture(None))], target, "", None)
    text = page(target, "story/the-kettle-1/index.html")
    image = Elements(text).of("img")[0]
    assert image["src"].startswith("https://pictures.example/img/")
    assert image["src"].endswith("1200.jpeg?w=1200&q=80")
    policy = next(meta["content"] for meta in Elements(text).of("meta") if "http-equiv" in meta)
    assert "img-src 'self' data: https://pictures.example;" in policy
    assert built.pictures == 0


def test_the_policy_allows_no_script_but_a_story_s_own_and_no_other_origin(storage: Path, target: Path) -> None:
    build_site([story(storage)], target, SITE, storage)
    for path in ("index.html", "story/the-kettle-1/index.html", "404.html", "about/index.html"):
        policy = next(meta["content"] for meta in Elements(page(target, path)).of("meta") if "http-equiv" in meta)
        assert "default-src 'none'" in policy
        assert "img-src 'self' data:;" in policy
        scripts = ["script-src 'self'"] if path.startswith("story/") else []
        assert [part for part in policy.split("; ") if part.startswith("script-src")] == scripts
        assert "unsafe" not in policy


def test_a_story_without_a_picture_still_has_its_page(storage: Path, target: Path) -> None:
    build_site([story(storage, image=picture(storage, variants=()))], target, SITE, storage)
    assert "<picture>" not in page(target, "story/the-kettle-1/index.html")
    assert "The kettle that whistled" in page(target, "index.html")


def test_stored_pictures_are_part_of_the_site(storage: Path, target: Path) -> None:
    published = story(storage)
    build_site([published], target, "", storage)
    for stored in published.image.variants:
        assert (target / "current" / stored.key).read_bytes() == (storage / stored.key).read_bytes()


def test_pictures_can_be_read_from_elsewhere(storage: Path, target: Path) -> None:
    published = story(storage)
    build_site([published], target, "", None, read_picture=lambda stored: f"read {stored.width}".encode())
    assert (target / "current" / published.image.variants[0].key).read_bytes() == b"read 480"


def test_a_missing_picture_is_named_with_its_page(storage: Path, target: Path) -> None:
    published = story(storage)
    lost = published.image.variants[3]
    (storage / lost.key).unlink()
    with pytest.raises(PermanentFailure, match=rf"story/the-kettle-1/index\.html refers to {lost.key}"):
        build_site([published], target, "", storage)


def test_pictures_in_a_folder_nobody_named_are_a_configuration_error(storage: Path, target: Path) -> None:
    with pytest.raises(ConfigurationError, match="no picture folder"):
        build_site([story(storage)], target, "", None)


@pytest.mark.parametrize(
    ("markup", "named"),
    [
        ('<a href="../gone/index.html">', "../gone/index.html"),
        ('<a href="/about/index.html">', "/about/index.html"),
        ('<a href="../../../outside.html">', "../../../outside.html"),
        ('<a href="//elsewhere.example/x">', "//elsewhere.example/x"),
        ('<a href="javascript:alert(1)">', "javascript:alert(1)"),
        ('<a href="">', "an empty address"),
        ('<a href="#nowhere">', "#nowhere"),
        ('<img src="../../img/gone.jpeg">', "../../img/gone.jpeg"),
        ('<source srcset="../../index.html 480w, ../../img/gone.avif 768w">', "../../img/gone.avif"),
    ],
)
def test_a_link_that_leads_nowhere_is_named_with_its_page(storage: Path, target: Path, markup: str, named: str) -> None:
    folder = build_site([story(storage)], target, SITE, storage).folder
    verify_site(folder)
    changed = folder / "story/the-kettle-1/index.html"
    changed.write_text(changed.read_text().replace("</main>", f"{markup}</main>"))
    with pytest.raises(PermanentFailure, match=re.escape(f"story/the-kettle-1/index.html refers to {named},")):
        verify_site(folder)


def test_the_same_stories_give_the_same_bytes_and_version(storage: Path, tmp_path: Path) -> None:
    stories = [story(storage, number) for number in range(1, 30)]
    first = build_site(stories, tmp_path / "one", SITE, storage)
    second = build_site(iter(reversed(stories)), tmp_path / "two", SITE, storage)
    assert first.version == second.version
    assert files(first.folder) == files(second.folder)


def test_a_changed_word_or_picture_changes_the_version(storage: Path, target: Path) -> None:
    published = story(storage)
    versions = {build_site([published], target, "", storage).version}
    versions.add(build_site([redrafted(published, dek="Another dek.")], target, "", storage).version)
    (storage / published.image.variants[0].key).unlink()
    (storage / published.image.variants[0].key).write_bytes(b"encoded anew, at another quality")
    versions.add(build_site([published], target, "", storage).version)
    assert len(versions) == 3


def test_building_again_changes_nothing_and_says_so(storage: Path, target: Path) -> None:
    first = build_site([story(storage)], target, "", storage)
    again = build_site([story(storage)], target, "", storage)
    assert (first.changed, again.changed) == (True, False)
    assert [path.name for path in (target / "versions").iterdir()] == [first.version]


def test_a_damaged_version_is_replaced_by_the_next_build(storage: Path, target: Path) -> None:
    build_site([story(storage)], target, "", storage)
    (target / "current" / "about" / "index.html").unlink()
    build_site([story(storage)], target, "", storage)
    assert "About ThreadJuice" in page(target, "about/index.html")


def test_the_last_three_versions_are_kept(storage: Path, target: Path) -> None:
    built = []
    for number in range(1, 6):
        built.append(build_site([story(storage, number)], target, "", storage).version)
        for age, version in enumerate(reversed(built)):
            if (target / "versions" / version).exists():
                os.utime(target / "versions" / version, (1_000_000 - age, 1_000_000 - age))
    assert {path.name for path in (target / "versions").iterdir()} == set(built[-3:])
    assert (target / "current").readlink() == Path("versions") / built[-1]


def test_keeping_one_version_leaves_nothing_of_a_withdrawn_story(storage: Path, target: Path) -> None:
    build_site([story(storage, 1), story(storage, 2)], target, "", storage)
    build_site([story(storage, 2)], target, "", storage, keep=1)
    assert not [path for path in target.rglob("*") if "the-kettle-1" in path.name]


def test_going_back_to_an_older_version_makes_it_current(storage: Path, target: Path) -> None:
    first = build_site([story(storage, 1)], target, "", storage)
    build_site([story(storage, 2)], target, "", storage)
    assert build_site([story(storage, 1)], target, "", storage).changed
    assert (target / "current").resolve() == first.folder.resolve()


def test_a_failed_build_leaves_the_site_as_it_was(storage: Path, target: Path) -> None:
    build_site([story(storage, 1)], target, "", storage)
    before = files(target)
    broken = story(storage, 2, image=picture(storage, sha="ef" * 32))
    (storage / broken.image.variants[-1].key).unlink()
    with pytest.raises(PermanentFailure):
        build_site([story(storage, 1), broken], target, "", storage)
    assert files(target) == before
    assert not list((target / "versions").glob(".*"))


def test_what_a_killed_build_left_is_cleaned_up_by_the_next(storage: Path, target: Path, tmp_path: Path) -> None:
    published = story(storage)
    (tmp_path / "story.json").write_text(published.model_dump_json())
    program = (
        "import sys, time; from pathlib import Path\n"
        "from threadjuice_dagster.domain.publication import PublishedStory\n"
        "from threadjuice_dagster.site.builder import build_site\n"
        "def wait(variant): print('reading', flush=True); time.sleep(60)\n"
        "story = PublishedStory.model_validate_json(Path(sys.argv[1]).read_text())\n"
        "build_site([story], Path(sys.argv[2]), '', None, read_picture=wait)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "story.json"), str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as builder:
        assert builder.stdout
        assert builder.stdout.readline() == "reading\n"
        builder.send_signal(signal.SIGKILL)
    assert list((target / "versions").glob(".build-*"))
    built = build_site([published], target, "", storage)
    assert [path.name for path in (target / "versions").iterdir()] == [built.version]


def test_builds_at_once_end_with_a_whole_site(storage: Path, target: Path) -> None:
    stories = [story(storage, number) for number in range(1, 7)]
    with ThreadPoolExecutor(4) as pool:
        built = list(pool.map(lambda count: build_site(stories[:count], target, "", storage), (1, 2, 3, 4, 5, 6)))
    assert (target / "current").resolve().name in {build.version for build in built}
    version = json.loads(page(target, "version.json"))["version"]
    assert version == (target / "current").resolve().name
    assert len(list((target / "versions").iterdir())) == 3


def test_readers_never_miss_the_site_while_it_is_rebuilt(storage: Path, target: Path) -> None:
    build_site([story(storage, 1)], target, "", storage)
    missing, done = [], threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                page(target, "index.html")
            except FileNotFoundError as error:
                missing.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(2, 8):
        build_site([story(storage, number)], target, "", storage)
    done.set()
    reader.join()
    assert missing == []


def test_a_site_with_no_story_welcomes_its_reader(target: Path) -> None:
    build_site([], target, "", None)
    assert "still in the press" in page(target, "index.html")
    assert ET.fromstring(page(target, "feed.xml")).find("channel/item") is None


@pytest.mark.parametrize("colour", ["#ffff00", "#000000", "#ffffff", "#1d4ed8", "#808080", "nonsense", "red;}", ""])
def test_every_accent_can_be_read_on_both_backgrounds(colour: str) -> None:
    for background in (PAPER, INK):
        assert contrast(readable(colour, background), background) >= 4.5


def test_the_style_sheet_s_text_colours_meet_aa() -> None:
    sheet = site_assets([]).plain_style
    light, dark = (dict(re.findall(r"--([\w-]+):(#[0-9a-f]{6})", block)) for block in sheet.split("@media", 2)[:2])
    assert (light["paper"], dark["paper"]) == (PAPER, INK)
    for scheme in (light, dark):
        for background in (scheme["paper"], scheme["raised"]):
            for text in ("ink", "soft", "accent"):
                assert contrast(scheme[text], background) >= 4.5


def test_a_font_is_only_compressed_never_changed() -> None:
    import importlib.resources

    font = (importlib.resources.files("font_source_serif_pro") / "files" / "SourceSerifPro-It.ttf").read_bytes()
    packed = woff(font)
    _, length, count, _, total = struct.unpack(">4sIHHI", packed[4:20])
    assert packed[:4] == b"wOFF"
    assert length == len(packed) < len(font) * 0.6
    assert total == len(font)
    for index in range(count):
        tag, offset, size, original, _ = struct.unpack(">4sIIII", packed[44 + 20 * index : 64 + 20 * index])
        table = packed[offset : offset + size]
        start, end = struct.unpack(">II", font[12 + 16 * index + 8 : 12 + 16 * index + 16])
        unpacked = table if size == original else zlib.decompress(table)
        assert unpacked == font[start : start + end], tag


@pytest.fixture
def server(storage: Path, target: Path) -> Iterator[PreviewServer]:
    build_site([story(storage)], target, "", storage)
    with serve(target, 0) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def get(server: PreviewServer, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection(*server.server_address[:2], timeout=5)  # type: ignore[arg-type]
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


def test_the_preview_serves_pages_and_pictures_with_their_types(server: PreviewServer) -> None:
    status, headers, body = get(server, "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"The kettle" in body
    for name, expected in (("avif", "image/avif"), ("webp", "image/webp"), ("jpeg", "image/jpeg")):
        status, headers, body = get(server, f"/img/{'ab' * 32}/480.{name}")
        assert (status, headers["content-type"]) == (200, expected)
        assert headers["cache-control"] == "public, max-age=31536000, immutable"
        assert body.startswith(name.encode())
    assert "immutable" not in get(server, "/version.json")[1]["cache-control"]


def test_the_preview_leads_to_the_folder_s_page(server: PreviewServer) -> None:
    status, headers, _ = get(server, "/story/the-kettle-1?x=1")
    assert (status, headers["location"]) == (301, "/story/the-kettle-1/")
    assert get(server, "/story/the-kettle-1/")[0] == 200


def test_the_preview_answers_head_without_a_body(server: PreviewServer) -> None:
    status, headers, body = get(server, "/about/", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 1000


def test_the_preview_shows_the_site_s_own_page_for_a_miss(server: PreviewServer) -> None:
    status, headers, body = get(server, "/story/gone/deeper/")
    assert (status, headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert b"come loose" in body
    assert b'<base href="/">' in body


@pytest.mark.parametrize(
    "path",
    [
        "/../../secret.txt",
        "/%2e%2e/%2e%2e/secret.txt",
        "/..%2f..%2fsecret.txt",
        "/img/..\\..\\secret.txt",
        "/link/secret.txt",
        "/%00",
        "//secret.txt",
        "/" + "a/" * 400,
        "/" + "a" * 5000,
        "/index.html/x",
    ],
)
def test_the_preview_never_leaves_the_site(server: PreviewServer, tmp_path: Path, path: str) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "site" / "current" / "link").symlink_to(tmp_path)
    status, _, body = get(server, path)
    assert status == 404
    assert b"secret" not in body


def test_the_preview_never_redirects_to_another_host(server: PreviewServer, target: Path) -> None:
    (target / "current" / "evil.example").mkdir()
    assert get(server, "//evil.example")[1]["location"] == "/evil.example/"


def test_the_preview_shows_a_new_build_at_once(server: PreviewServer, storage: Path, target: Path) -> None:
    built = build_site([story(storage, 2)], target, "", storage)
    with urllib.request.urlopen(f"{server.url}/version.json", timeout=5) as answer:
        assert json.load(answer)["version"] == built.version
    assert get(server, "/story/the-kettle-1/")[0] == 404


def test_the_preview_says_so_when_nothing_was_built(tmp_path: Path) -> None:
    with serve(tmp_path / "nowhere", 0) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(running.url, timeout=5)
        refused.value.close()
        running.shutdown()
    assert refused.value.code == 503


def test_the_time_of_a_build_grows_no_faster_than_its_stories(storage: Path, tmp_path: Path) -> None:
    stories = [story(storage, number) for number in range(1, 401)]
    few = build_site(stories[:100], tmp_path / "few", SITE, storage)
    many = build_site(stories, tmp_path / "many", SITE, storage)
    assert many.seconds < max(10 * few.seconds, 1)
