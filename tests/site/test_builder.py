import base64
import io
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from newsstand import HASH, Elements, files, kettle_story, page, plain_picture, plain_variant, redrafted

from threadjuice_dagster.domain.pictures.images import Licence
from threadjuice_dagster.domain.pictures.thumbhash import decode
from threadjuice_dagster.domain.story.credit import POST, CreditedText, SourceCredit
from threadjuice_dagster.domain.story.publication import PublishedStory
from threadjuice_dagster.domain.story.stories import Category, Draft, Persona, Quote, Section
from threadjuice_dagster.domain.story.threads import Author
from threadjuice_dagster.failures import ConfigurationError, PermanentFailure
from threadjuice_dagster.site import lists
from threadjuice_dagster.site.builder import build_site
from threadjuice_dagster.site.links import comment_link, safe_link
from threadjuice_dagster.site.markup import verify_site

SCRIPT = "<script>alert(1)</script>"
BREAKOUT = "\"><img src=x onerror=alert(2)> '; </script><svg onload=alert(3)> {{ 7*7 }} & co"
_PNG = re.compile(r"data:image/png;base64,[\w+/=]+")
SITE = "https://stories.example"


def article(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/ld\+json">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found.group(1))  # type: ignore[no-any-return]


def test_every_kind_of_page_is_built(storage: Path, target: Path) -> None:
    built = build_site([kettle_story(storage)], target, SITE, storage)
    pages = {"index.html", "404.html", "about/index.html", "archive/index.html", "archive/2026-02/index.html"}
    pages |= {"story/the-kettle-1/index.html", "category/home/index.html", "persona/index.html"}
    pages |= {"persona/mo/index.html"}
    found = files(target / "current")
    assert {path for path in found if path.endswith(".html")} == pages
    expected = {"feed.xml", "feed.json", "sitemap.xml", "sitemap-1.xml", "sitemap-pages.xml", "robots.txt"}
    assert {path for path in found if "/" not in path} - pages == expected | {"version.json"}
    assert json.loads(page(target, "version.json"))["version"] == built.version
    assert (built.stories, built.pages, built.pictures) == (1, 9, 6)


def test_a_story_page_shows_everything_a_reader_needs(storage: Path, target: Path) -> None:
    build_site([kettle_story(storage)], target, SITE, storage)
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
    build_site([kettle_story(storage)], target, "", storage)
    text = page(target, "story/the-kettle-1/index.html")
    excerpt = re.search(r'<figure class="excerpt-text">.*?</figure>', text, re.DOTALL)
    assert excerpt
    assert "<blockquote" in excerpt.group()
    assert "I swear it is in tune" in excerpt.group()
    assert "the original post on r/flatshare</a>" in excerpt.group()


def test_an_extractive_story_says_that_no_model_wrote_it(storage: Path, target: Path) -> None:
    build_site([kettle_story(storage, writer="extractive", model="")], target, "", storage)
    text = page(target, "story/the-kettle-1/index.html")
    assert "composed automatically from the thread’s own words" in text
    assert "written by AI" not in text.split("<article>")[1].split("</article>")[0]


def test_the_picture_comes_in_every_format_with_sizes_and_room_kept(storage: Path, target: Path) -> None:
    build_site([kettle_story(storage)], target, "", storage)
    elements = Elements(page(target, "story/the-kettle-1/index.html"))
    assert [source["type"] for source in elements.of("source")] == ["image/avif", "image/webp"]
    blur, first = elements.of("img")[:2]
    assert (first["width"], first["height"], first["alt"]) == ("1200", "800", "A kettle on a sill")
    assert (first["loading"], first["fetchpriority"]) == ("eager", "high")
    assert re.fullmatch(r"\.\./\.\./img/\w+/480\.jpeg 480w, \.\./\.\./img/\w+/1200\.jpeg 1200w", first["srcset"])
    assert all(source["sizes"] for source in elements.of("source"))
    assert (blur["class"], blur["alt"]) == ("blur", "")


def test_pictures_below_the_fold_load_lazily(storage: Path, target: Path) -> None:
    build_site([kettle_story(storage, number) for number in range(1, 5)], target, "", storage)
    for path in ("index.html", "category/home/index.html"):
        pictures = [image for image in Elements(page(target, path)).of("img") if image.get("class") != "blur"]
        assert [image.get("loading") for image in pictures] == ["eager", "lazy", "lazy", "lazy"]
        assert [image.get("fetchpriority") for image in pictures] == ["high", None, None, None]


def test_the_placeholder_is_the_hash_in_a_few_pixels(storage: Path, target: Path) -> None:
    from PIL import Image

    build_site([kettle_story(storage)], target, "", storage)
    blur = Elements(page(target, "story/the-kettle-1/index.html")).of("img")[0]
    kind, _, data = blur["src"].partition(";base64,")
    small, whole = Image.open(io.BytesIO(base64.b64decode(data))), decode(HASH).convert("RGB")
    assert (kind, max(small.size)) == ("data:image/png", 8)
    colours = [
        picture.convert("RGB").resize((1, 1), Image.Resampling.BOX).getpixel((0, 0)) for picture in (small, whole)
    ]
    assert all(abs(one - other) <= 12 for one, other in zip(*colours, strict=True))  # type: ignore[arg-type]


@pytest.mark.parametrize("placeholder", ["", "not base64 </style>", "AA=="])
def test_an_unusable_placeholder_costs_only_itself(storage: Path, target: Path, placeholder: str) -> None:
    build_site([kettle_story(storage, image=plain_picture(storage, placeholder=placeholder))], target, "", storage)
    text = page(target, "story/the-kettle-1/index.html")
    assert "1200.avif" in text
    assert placeholder == "" or placeholder not in text


def test_stories_come_newest_first_and_the_newest_leads(storage: Path, target: Path) -> None:
    build_site([kettle_story(storage, number) for number in (2, 3, 1)], target, "", storage)
    text = page(target, "index.html")
    places = [text.index(f"story/the-kettle-{number}/") for number in (3, 2, 1)]
    assert places == sorted(places)
    assert places[0] > text.index('class="lead')
    assert places[1] > text.index('class="grid"')


def test_every_story_stays_within_reach(storage: Path, target: Path) -> None:
    stories = [kettle_story(storage, number) for number in range(1, 221)]
    build_site(stories, target, "", storage)
    for start in ("category/home/index.html", "persona/mo/index.html", "archive/2026-02/index.html"):
        listed, path = [], start
        while path:
            elements = Elements(page(target, path))
            links = [urljoin(path, link["href"]) for link in elements.of("a")]
            listed += [link for link in links if link.startswith("story/")]
            path = next((urljoin(path, link["href"]) for link in elements.of("a") if link.get("rel") == "next"), "")
        assert listed == [f"story/{story.slug}/index.html" for story in reversed(stories)]
    assert "archive/index.html" in page(target, "index.html")
    assert "220 stories" in page(target, "archive/index.html")


def test_related_stories_are_earlier_ones_of_the_desk_that_share_most_tags(storage: Path, target: Path) -> None:
    away = Category(slug="away", name="Away", description="", colour="#0f6b78")
    stories = [kettle_story(storage, number) for number in range(1, 8)]
    stories[0], stories[3] = (redrafted(stories[index], tags=("soup", "keys")) for index in (0, 3))
    stories[6] = redrafted(stories[6], tags=("soup",))
    build_site([*stories, kettle_story(storage, 9, category=away)], target, "", storage)
    related = page(target, "story/the-kettle-7/index.html").split('class="related"')[1]
    assert re.findall(r'class="headline"><a href="\.\./\.\./story/the-kettle-(\d)/', related) == ["4", "1", "6"]
    first = page(target, "story/the-kettle-1/index.html").split('class="related"')[1]
    assert re.findall(r'class="headline"><a href="\.\./\.\./story/the-kettle-(\d)/', first) == ["2", "3", "4"]
    assert 'class="related"' not in page(target, "story/the-kettle-9/index.html")


def test_pages_use_relative_links_only(storage: Path, target: Path) -> None:
    build_site([kettle_story(storage, number) for number in range(1, 40)], target, SITE, storage)
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
    build_site([kettle_story(storage)], target, "", storage)
    text = page(target, "story/the-kettle-1/index.html")
    assert "canonical" not in text
    assert "og:url" not in text
    assert "og:image" not in text
    assert "image" not in article(text)


@pytest.mark.parametrize("site_url", ["https://stories.example", "https://stories.example/press/"])
def test_canonical_feed_and_sharing_addresses_are_absolute(storage: Path, target: Path, site_url: str) -> None:
    build_site([kettle_story(storage)], target, site_url, storage)
    text, base = page(target, "story/the-kettle-1/index.html"), site_url.rstrip("/")
    properties = {meta["property"]: meta["content"] for meta in Elements(text).of("meta") if "property" in meta}
    address = f"{base}/story/the-kettle-1/"
    assert properties["og:url"] == article(text)["mainEntityOfPage"] == address
    assert f'<link rel="canonical" href="{address}">' in text
    assert re.fullmatch(rf"{re.escape(base)}/img/\w+/1200\.jpeg", properties["og:image"])
    assert address in {element.text for element in ET.fromstring(page(target, "feed.xml")).iter("link")}
    assert f"<loc>{base}/sitemap-1.xml</loc>" in page(target, "sitemap.xml")
    assert f"<loc>{address}</loc>" in page(target, "sitemap-1.xml")
    assert f"<loc>{base}/category/home/</loc>" in page(target, "sitemap-pages.xml")
    feed = json.loads(page(target, "feed.json"))
    assert (feed["feed_url"], feed["items"][0]["url"]) == (f"{base}/feed.json", address)
    assert f"Sitemap: {base}/sitemap.xml" in page(target, "robots.txt")


@pytest.mark.parametrize("site_url", ["stories.example", "javascript:alert(1)", "https://stories.example/?a=b"])
def test_an_address_that_is_none_is_refused(target: Path, site_url: str) -> None:
    with pytest.raises(ConfigurationError, match="PRODUCTION_URL"):
        build_site([], target, site_url, None)


def test_a_story_describes_itself_to_search_engines(storage: Path, target: Path) -> None:
    build_site([kettle_story(storage)], target, SITE, storage)
    found = article(page(target, "story/the-kettle-1/index.html"))
    assert found["@type"] == "NewsArticle"
    assert found["headline"] == "The kettle that whistled in B flat, part 1"
    assert found["datePublished"] == "2026-02-03T13:00:00+00:00"
    assert found["isBasedOn"].endswith("/abc123/")


def test_every_page_but_that_of_what_is_missing_describes_itself(storage: Path, target: Path) -> None:
    build_site([kettle_story(storage)], target, SITE, storage)
    for path in files(target / "current"):
        if path.endswith(".html") and path != "404.html":
            elements = Elements(page(target, path))
            told = {
                one.get("property") or one.get("name"): one["content"]
                for one in elements.of("meta")
                if "content" in one
            }
            address = f"{SITE}/{path.removesuffix('index.html')}"
            assert [link["href"] for link in elements.of("link") if link["rel"] == "canonical"] == [address]
            assert told["og:url"] == address
            assert told["og:description"] == told["description"]
            named = article(page(target, path))
            assert told["og:title"] == (named.get("name") or named["headline"])
    missing = page(target, "404.html")
    assert 'content="noindex"' in missing
    assert "canonical" not in missing


def hostile_credit() -> SourceCredit:
    address = "javascript:alert(7)//https://ok.example/comments/a/"
    who = Author(name=SCRIPT + BREAKOUT, url="javascript:alert(8)")
    places = (POST, '"><script>', "../../evil", "c1")
    return SourceCredit(
        source="discourse",
        community=BREAKOUT,
        permalink=address,
        title=SCRIPT,
        licence="cc-by-sa-4.0",
        texts=tuple(
            CreditedText(place=at, kind=BREAKOUT, address=address, licence=SCRIPT, author=who) for at in places
        ),
    )


def hostile(storage: Path) -> PublishedStory:
    base = kettle_story(storage)
    bad = plain_picture(
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
        "credit": hostile_credit(),
        "writer": SCRIPT,
        "model": BREAKOUT,
    }
    return base.model_copy(update=changes)


def test_hostile_text_stays_text_on_every_page(storage: Path, target: Path) -> None:
    build_site([hostile(storage), kettle_story(storage, 2)], target, SITE, storage)
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
            script = re.fullmatch(r"(\.\./|/)*assets/(site|engagement)\.[0-9a-f]{12}\.js", attributes.get("src", ""))
            assert tag != "script" or script or attributes == {"type": "application/ld+json"}
            assert tag != "svg" or "onload" not in attributes
            for name in {"href", "src", "cite"} & set(attributes):
                assert urlsplit(attributes[name]).scheme in {"", "https"} or tag == "img", path
            assert tag != "img" or not attributes["src"].startswith("data:") or _PNG.fullmatch(attributes["src"])


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
    base = kettle_story(storage)
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
        build_site([kettle_story(storage, slug=slug)], target, "", storage)
    assert not (target / "current").exists()


def test_two_stories_with_one_slug_are_refused(storage: Path, target: Path) -> None:
    with pytest.raises(PermanentFailure, match="t1 and t2 share the slug same"):
        build_site([kettle_story(storage, 1, slug="same"), kettle_story(storage, 2, slug="same")], target, "", storage)


@pytest.mark.parametrize("key", ["../outside.jpeg", "img/../../outside.jpeg", "/etc/passwd", "img/.hidden", "img//x"])
def test_a_picture_key_that_leaves_the_storage_is_refused(storage: Path, target: Path, key: str) -> None:
    bad = plain_variant(storage, 480, "jpeg", "cd" * 32).model_copy(update={"key": key})
    with pytest.raises(PermanentFailure, match="no usable address"):
        build_site([kettle_story(storage, image=plain_picture(storage, variants=(bad,)))], target, "", storage)


def test_a_symbolic_link_out_of_the_storage_is_not_followed(storage: Path, target: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    published = kettle_story(storage)
    stolen = storage / published.image.variants[0].key
    stolen.unlink()
    stolen.symlink_to(secret)
    with pytest.raises(PermanentFailure, match=published.image.variants[0].key):
        build_site([published], target, "", storage)


def test_a_picture_address_that_is_no_address_is_refused(storage: Path, target: Path) -> None:
    bad = plain_variant(None, 480, "jpeg", "cd" * 32).model_copy(update={"url": "javascript:alert(1)"})
    with pytest.raises(PermanentFailure, match="story_image"):
        build_site([kettle_story(storage, image=plain_picture(storage, variants=(bad,)))], target, "", storage)


def test_hotlinked_pictures_keep_their_addresses_and_are_allowed_by_name(storage: Path, target: Path) -> None:
    built = build_site([kettle_story(storage, image=plain_picture(None))], target, "", None)
    text = page(target, "story/the-kettle-1/index.html")
    image = Elements(text).of("img")[1]
    assert image["src"].startswith("https://pictures.example/img/")
    assert image["src"].endswith("1200.jpeg?w=1200&q=80")
    policy = next(meta["content"] for meta in Elements(text).of("meta") if "http-equiv" in meta)
    assert "img-src 'self' data: https://pictures.example;" in policy
    assert built.pictures == 0


def test_the_policy_allows_the_site_s_own_files_and_nothing_else(storage: Path, target: Path) -> None:
    build_site([kettle_story(storage)], target, SITE, storage)
    for path in ("index.html", "story/the-kettle-1/index.html", "404.html", "about/index.html"):
        elements = Elements(page(target, path))
        policy = next(meta["content"] for meta in elements.of("meta") if "http-equiv" in meta)
        parts = dict(part.split(" ", 1) for part in policy.split("; "))
        assert parts.pop("default-src") == parts.pop("base-uri") == parts.pop("form-action") == "'none'"
        assert parts.pop("img-src") == "'self' data:"
        assert set(parts.values()) == {"'self'"}
        assert not elements.of("style")


def test_a_story_without_a_picture_still_has_its_page(storage: Path, target: Path) -> None:
    build_site([kettle_story(storage, image=plain_picture(storage, variants=()))], target, SITE, storage)
    assert "<picture>" not in page(target, "story/the-kettle-1/index.html")
    assert "The kettle that whistled" in page(target, "index.html")


def test_stored_pictures_are_part_of_the_site(storage: Path, target: Path) -> None:
    published = kettle_story(storage)
    build_site([published], target, "", storage)
    for stored in published.image.variants:
        assert (target / "current" / stored.key).read_bytes() == (storage / stored.key).read_bytes()


def test_pictures_can_be_read_from_elsewhere(storage: Path, target: Path) -> None:
    published = kettle_story(storage)
    build_site([published], target, "", None, read_picture=lambda stored: f"read {stored.width}".encode())
    assert (target / "current" / published.image.variants[0].key).read_bytes() == b"read 480"


def test_a_missing_picture_is_named_with_its_page(storage: Path, target: Path) -> None:
    published = kettle_story(storage)
    lost = published.image.variants[3]
    (storage / lost.key).unlink()
    with pytest.raises(PermanentFailure, match=rf"story/the-kettle-1/index\.html refers to {lost.key}"):
        build_site([published], target, "", storage)


def test_pictures_in_a_folder_nobody_named_are_a_configuration_error(storage: Path, target: Path) -> None:
    with pytest.raises(ConfigurationError, match="no picture folder"):
        build_site([kettle_story(storage)], target, "", None)


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
    folder = build_site([kettle_story(storage)], target, SITE, storage).folder
    verify_site(folder)
    changed = folder / "story/the-kettle-1/index.html"
    changed.write_text(changed.read_text().replace("</main>", f"{markup}</main>"))
    with pytest.raises(PermanentFailure, match=re.escape(f"story/the-kettle-1/index.html refers to {named},")):
        verify_site(folder)


def test_a_site_with_no_story_welcomes_its_reader(target: Path) -> None:
    build_site([], target, "", None)
    assert "still in the press" in page(target, "index.html")
    assert ET.fromstring(page(target, "feed.xml")).find("channel/item") is None


def test_scripts_are_small(storage: Path, target: Path) -> None:
    build_site([kettle_story(storage)], target, "", storage)
    scripts = [content for path, content in files(target / "current").items() if path.endswith(".js")]
    assert len(scripts) == 2
    assert sum(map(len, scripts)) < 15_000


def test_the_page_for_what_is_missing_looks_right_at_any_address(storage: Path, target: Path) -> None:
    build_site([kettle_story(storage)], target, f"{SITE}/press", storage)
    elements = Elements(page(target, "404.html"))
    own = [tag["href"] for name in ("a", "link") for tag in elements.of(name)]
    assert all(link.startswith("/press/") or link == "#main" or "://" in link for link in own)
    assert "/press/index.html" in own


def test_sitemaps_hold_50_000_addresses_at_most(storage: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "SITEMAP", 3)
    stories = [kettle_story(storage, number) for number in range(1, 8)]
    build_site(stories, target, SITE, storage)
    slugs = [re.findall(r"story/the-kettle-(\d)/", page(target, f"sitemap-{part}.xml")) for part in (1, 2, 3)]
    assert slugs == [["1", "2", "3"], ["4", "5", "6"], ["7"]]
    build_site(stories[:5], target, SITE, storage)
    assert "sitemap-2.xml" in page(target, "sitemap.xml")
    assert not (target / "current" / "sitemap-3.xml").exists()
    assert re.findall(r"story/the-kettle-(\d)/", page(target, "sitemap-2.xml")) == ["4", "5"]


FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"


def test_what_is_seen_as_one_character_is_whole_on_pages_in_feeds_and_in_metadata(storage: Path, target: Path) -> None:
    told = {"title": f"The kettle of {FAMILY}", "dek": FAMILY * 60, "seo_description": ""}
    build_site([redrafted(kettle_story(storage), **told)], target, SITE, storage)
    story = page(target, "story/the-kettle-1/index.html")
    feed = json.loads(page(target, "feed.json"))["items"][0]
    item = ET.fromstring(page(target, "feed.xml")).find("channel/item")
    assert item is not None
    assert [item.findtext("title"), feed["title"], article(story)["headline"]] == [told["title"]] * 3
    assert told["title"] in story
    for described in (str(item.findtext("description")), article(story)["description"]):
        assert described == FAMILY * (199 // len(FAMILY)) + "…"
