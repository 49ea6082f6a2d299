import base64
import hashlib
import io
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from threadjuice_dagster.domain.images import Licence, StoryImage, Variant
from threadjuice_dagster.domain.publication import PublishedStory
from threadjuice_dagster.domain.stories import Category, Draft, Persona, Quote, Section
from threadjuice_dagster.domain.thumbhash import encode
from threadjuice_dagster.site.builder import build_site
from threadjuice_dagster.site.preview import serve

pytestmark = pytest.mark.browser

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TITLES = (
    "The stairwell choir that began with one forgotten key",
    "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch and other words that never wrap",
    "Nine clocks, no two the same",
)
STORY = "story/tale-0/index.html"


def picture(storage: Path, number: int) -> StoryImage:
    from PIL import Image

    image = Image.linear_gradient("L").resize((1200, 800)).convert("RGB").rotate(40 * number, fillcolor=(190, 90, 40))
    sha, variants = hashlib.sha256(str(number).encode()).hexdigest(), []
    for width in (480, 1200):
        for name in ("avif", "webp", "jpeg"):
            buffer = io.BytesIO()
            image.resize((width, width * 2 // 3)).save(buffer, name, quality=60)
            file = storage / f"img/{sha}/{width}.{name}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(buffer.getvalue())
            facts = {"width": width, "height": width * 2 // 3, "format": name, "bytes": len(buffer.getvalue())}
            key = file.relative_to(storage).as_posix()
            variants.append(Variant.model_validate({**facts, "key": key, "url": file.as_uri()}))
    placeholder = base64.b64encode(encode(image.resize((48, 32)))).decode()
    return StoryImage(
        story_id=f"s{number}",
        provider="title_card",
        creator="Olu Marsh",
        licence=Licence(code="by", version="4.0", url="https://licences.example/by"),
        credit="“Gradient” by Olu Marsh",
        alt_text="A slope from dark to light",
        sha256=sha,
        width=1200,
        height=800,
        placeholder=placeholder,
        variants=tuple(variants),
    )


def story(storage: Path, number: int) -> PublishedStory:
    published = datetime(2026, 5, 6, 9, tzinfo=UTC) - timedelta(days=number)
    hostile = "\"><img src=x onerror=\"console.error('ran')\"><script>console.error('ran')</script>" + "w" * 300
    draft = Draft(
        title=TITLES[number],
        dek="Somebody hummed. Somebody else knew the second voice.",
        sections=(
            Section(kind="opening", text="The door had shut behind her at seven.\n\nBy eight there were four of them."),
            Section(kind="excerpt", text="I only meant to pass the time until the locksmith came."),
            Section(kind="discussion", heading="The thread joins in", text=hostile),
            Section(kind="closing", text="She had a spare key cut. She leaves it at home."),
        ),
        quotes=(Quote(text="Our stairwell has one verse. We have been waiting years for the next.", comment_id="c1"),),
        tags=("choirs", "stairs"),
    )
    return PublishedStory(
        story_id=f"s{number}",
        slug=f"tale-{number}",
        draft=draft,
        category=Category(slug="home", name="Home", description="Indoors.", colour="#be123c"),
        persona=Persona(slug="p", name="Pia Lund", byline="By Pia Lund, two floors up", voice="warm"),
        image=picture(storage, number),
        source_url="https://threads.example/r/stairs/comments/q1/",
        subreddit="stairs",
        writer="extractive",
        model="",
        score=8.4,
        published_at=published,
        updated_at=published,
    )


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    storage = folder / "storage"
    stories = [story(storage, number) for number in range(len(TITLES))]
    build_site(stories, folder / "out", "https://stories.example", storage)
    return folder / "out"


@pytest.fixture(scope="module")
def site(target: Path) -> Iterator[str]:
    with serve(target, 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server.url
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright's Python package is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("no Chromium was found on the PATH")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page; afterwards fails for anything the browser complained of or fetched from elsewhere."""
    opened, complaints = [], []

    def open_page(address: str, width: int = 1280, **options: Any) -> Any:
        page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        opened.append(page)
        home = "/".join(address.split("/")[:3])
        page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
        page.on(
            "request",
            lambda request: None if request.url.startswith((home, "data:")) else complaints.append(request.url),
        )
        page.goto(address)
        page.evaluate("document.fonts.ready.then(() => true)")
        return page

    yield open_page
    for page in opened:
        page.close()
    assert complaints == []


PAGES = ("index.html", STORY, "story/tale-1/index.html", "category/home/index.html", "about/index.html")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_opens_without_a_complaint(visit: Callable[..., Any], site: str, path: str) -> None:
    page = visit(f"{site}/{path}")
    assert page.locator("h1").count() == 1
    assert page.evaluate("document.fonts.size") == 3
    assert page.evaluate("[...document.fonts].filter(font => font.status === 'error').length") == 0
    assert page.evaluate("document.fonts.check('600 20px \"ThreadJuice Serif\"')")


@pytest.mark.parametrize("path", ["index.html", STORY])
def test_every_picture_loads_in_the_best_format(visit: Callable[..., Any], site: str, path: str) -> None:
    page = visit(f"{site}/{path}")
    for picture in page.locator("img").all():
        picture.scroll_into_view_if_needed()
        picture.evaluate("image => image.complete || new Promise(done => image.onload = image.onerror = done)")
        assert picture.evaluate("image => image.naturalWidth") > 0
        assert picture.evaluate("image => image.currentSrc").endswith(".avif")


def test_the_placeholder_stands_behind_the_picture(visit: Callable[..., Any], site: str) -> None:
    background = (
        visit(f"{site}/{STORY}").locator("img").first.evaluate("image => getComputedStyle(image).backgroundImage")
    )
    assert background.startswith('url("data:image/png;base64,')


def test_the_site_opens_from_a_folder(visit: Callable[..., Any], target: Path) -> None:
    page = visit((target / "current").resolve().joinpath("index.html").as_uri())
    page.get_by_role("link", name=TITLES[0]).click()
    assert page.locator("h1").inner_text() == TITLES[0]
    assert page.locator("img").first.evaluate("image => image.naturalWidth") > 0
    page.get_by_role("link", name="ThreadJuice").first.click()
    assert page.url.endswith("/index.html")


@pytest.mark.parametrize("path", PAGES)
def test_no_page_scrolls_sideways(visit: Callable[..., Any], site: str, path: str) -> None:
    page = visit(f"{site}/{path}")
    for width in (1280, 768, 360, 320):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_dark_scheme_turns_the_page_dark(visit: Callable[..., Any], site: str) -> None:
    colours = [
        visit(f"{site}/{STORY}", color_scheme=scheme).evaluate(
            "[document.body, document.querySelector('.kicker')].map(element => {"
            " const style = getComputedStyle(element); return [style.backgroundColor, style.color] })"
        )
        for scheme in ("light", "dark")
    ]
    (light_page, light_accent), (dark_page, dark_accent) = colours
    assert light_page[0] == "rgb(251, 248, 243)"
    assert dark_page[0] == "rgb(23, 21, 18)"
    assert light_page[1] != dark_page[1]
    assert light_accent[1] != dark_accent[1]


def test_the_first_stop_of_the_keyboard_skips_to_the_story(visit: Callable[..., Any], site: str) -> None:
    page = visit(f"{site}/{STORY}")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the stories"
    assert page.locator(":focus").bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_a_page_makes_room_for_its_pictures_before_they_come(browser: Any, site: str) -> None:
    page = browser.new_page()
    page.route("**/img/**", lambda route: None)
    page.goto(f"{site}/{STORY}", wait_until="domcontentloaded")
    box = page.locator("img").first.bounding_box()
    assert box["width"] / box["height"] == pytest.approx(1.5, abs=0.02)
    page.close()


def test_story_text_never_becomes_an_element(visit: Callable[..., Any], site: str) -> None:
    page = visit(f"{site}/{STORY}")
    assert page.locator("img[src=x], .body script").count() == 0
    assert "<script>console.error('ran')</script>" in page.locator(".body").inner_text()


def test_a_missing_page_looks_like_the_site_and_leads_home(browser: Any, site: str) -> None:
    page = browser.new_page()
    answer = page.goto(f"{site}/story/gone/deeper/")
    assert answer.status == 404
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(251, 248, 243)"
    assert page.get_by_role("link", name="Go to the front page").get_attribute("href") == "https://stories.example/"
    page.close()
