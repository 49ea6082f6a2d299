"""The site as people meet it: in headless Chromium, on a phone, in the dark, without script, on a bad line."""

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from newsstand import drawn_stories, redrafted
from sourced import thread_from

from threadjuice_dagster.domain.story.credit import credit_of
from threadjuice_dagster.domain.story.publication import PublishedStory
from threadjuice_dagster.domain.story.threads import Author, Thread
from threadjuice_dagster.operations.deployment.site_server import serve
from threadjuice_dagster.site.builder import build_site

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
LONG = "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch and other words that never wrap"
HOSTILE = "\"><img src=x onerror=\"console.error('ran')\"><script>console.error('ran')</script>" + "w" * 300


def question() -> Thread:
    """A question with answers, one of them by somebody with a name that nobody wants to meet."""
    thread = thread_from("stackexchange")
    first, *others = thread.comments
    hostile = first.model_copy(
        update={"author": Author(name=HOSTILE, url="https://workplace.stackexchange.com/users/1")}
    )
    return thread.model_copy(update={"comments": (hostile, *others)})


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> list[PublishedStory]:
    """Thirty stories, the newest ones with pictures of their own, and text that nobody wants to meet."""
    made = list(drawn_stories(tmp_path_factory.mktemp("pictures"), 30, cards=3))
    sections = [one.model_copy(update={"text": HOSTILE}) for one in made[-1].draft.sections[:1]]
    made[-1] = redrafted(made[-1], sections=[*sections, *made[-1].draft.sections[1:]], tags=("choirs", "stairs"))
    made[-2] = redrafted(made[-2], title=LONG).model_copy(update={"credit": credit_of(question())})
    return made


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, stories: list[PublishedStory]) -> Path:
    folder = tmp_path_factory.mktemp("site")
    pictures = Path(stories[-1].image.variants[0].url.removeprefix("file://")).parents[2]
    build_site(stories, folder, "https://stories.example", pictures)
    return folder


@pytest.fixture(scope="module")
def story(stories: list[PublishedStory]) -> str:
    """The path of the newest story."""
    return f"story/{stories[-1].slug}/index.html"


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


def was_missed(request: Any) -> bool:
    """Whether the page lacks it: what is still on its way is given up where the reader goes on."""
    return bool(request.failure != "net::ERR_ABORTED")


def follow(page: Any, link: Any) -> None:
    """Click a link, and wait for the page it leads to."""
    with page.expect_navigation():
        link.click()


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
        page.on(
            "requestfailed",
            lambda request: complaints.append(f"failed: {request.url}") if was_missed(request) else None,
        )
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


@pytest.fixture(params=["front", "story", "long", "category", "persona", "voices", "archive", "month", "about"])
def path(request: pytest.FixtureRequest, stories: list[PublishedStory]) -> str:
    """A page of each kind."""
    newest = stories[-1]
    return {
        "front": "index.html",
        "story": f"story/{newest.slug}/index.html",
        "long": f"story/{stories[-2].slug}/index.html",
        "category": f"category/{newest.category.slug}/index.html",
        "persona": f"persona/{newest.persona.slug}/index.html",
        "voices": "persona/index.html",
        "archive": "archive/index.html",
        "month": "archive/2025-09/index.html",
        "about": "about/index.html",
    }[str(request.param)]


def ground(page: Any) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


PAPER, INK = "rgb(251, 248, 243)", "rgb(23, 21, 18)"


def test_a_page_opens_without_a_complaint(visit: Callable[..., Any], site: str, path: str) -> None:
    page = visit(f"{site}/{path}")
    assert page.locator("h1").count() == 1
    assert page.evaluate("[...document.fonts].filter(font => font.status === 'error').length") == 0


def test_no_page_scrolls_sideways(visit: Callable[..., Any], site: str, path: str) -> None:
    page = visit(f"{site}/{path}")
    for width in (1280, 768, 360, 320):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_reader_gets_from_the_front_page_through_a_story_to_its_desk_and_the_archive(
    visit: Callable[..., Any], site: str, stories: list[PublishedStory]
) -> None:
    newest = stories[-1]
    page = visit(f"{site}/", width=390)
    follow(page, page.get_by_role("link", name=newest.draft.title).first)
    assert page.locator("h1").inner_text() == newest.draft.title
    for shown in (newest.draft.dek, newest.persona.byline, "min read", "A thread on r/stairs"):
        assert page.get_by_text(shown).count()
    follow(page, page.get_by_role("main").get_by_role("link", name=newest.category.name).first)
    assert page.locator("h1").inner_text() == newest.category.name
    follow(page, page.get_by_role("link", name="All stories"))
    follow(page, page.get_by_role("link", name="September 2025"))
    assert page.locator(".lines li").count() == len(stories)
    follow(page, page.get_by_role("link", name="ThreadJuice").first)
    assert page.url.endswith("/index.html")


def test_every_picture_loads_in_the_best_format(visit: Callable[..., Any], site: str) -> None:
    page = visit(f"{site}/index.html")
    for picture in page.locator("picture img").all():
        picture.scroll_into_view_if_needed()
        picture.evaluate("image => image.complete || new Promise(done => image.onload = image.onerror = done)")
        assert picture.evaluate("image => image.naturalWidth") > 0
        assert picture.evaluate("image => image.currentSrc").endswith(".avif")


def test_pictures_far_below_the_fold_wait_until_they_are_near(browser: Any, site: str) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto(f"{site}/")
    last = page.locator("picture img").last
    assert not last.evaluate("image => image.complete")
    last.scroll_into_view_if_needed()
    page.wait_for_function("[...document.querySelectorAll('picture img')].at(-1).naturalWidth > 0")
    page.close()


def test_the_site_opens_from_a_folder(visit: Callable[..., Any], target: Path, stories: list[PublishedStory]) -> None:
    page = visit((target / "current").resolve().joinpath("index.html").as_uri())
    follow(page, page.get_by_role("link", name=stories[-1].draft.title).first)
    assert page.locator("h1").inner_text() == stories[-1].draft.title
    assert page.locator("picture img").first.evaluate("image => image.naturalWidth") > 0


def test_the_dark_scheme_turns_the_page_dark(visit: Callable[..., Any], site: str, story: str) -> None:
    accents = []
    for scheme, expected in (("light", PAPER), ("dark", INK)):
        page = visit(f"{site}/{story}", color_scheme=scheme)
        assert ground(page) == expected
        accents.append(page.locator(".kicker").first.evaluate("element => getComputedStyle(element).color"))
    assert accents[0] != accents[1]


def test_a_reader_s_choice_of_colours_stays_on_the_next_page(browser: Any, site: str, story: str) -> None:
    context = browser.new_context(color_scheme="light")
    page = context.new_page()
    page.goto(f"{site}/")
    page.get_by_role("button", name="Switch to dark colours").click()
    assert ground(page) == INK
    page.goto(f"{site}/{story}")
    assert ground(page) == INK
    page.get_by_role("button", name="Switch to light colours").click()
    assert ground(page) == PAPER
    context.close()


def test_fonts_are_fetched_once_the_first_page_is_there_and_set_the_next_one(
    browser: Any, site: str, story: str
) -> None:
    context = browser.new_context()
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith(".woff2") else None)
    page.goto(f"{site}/", wait_until="domcontentloaded")
    assert page.evaluate("document.fonts.size") == 0
    kept = "const look = () => localStorage.fonts ? done() : setTimeout(look, 50); look()"
    page.evaluate(f"new Promise(done => {{ {kept} }})")
    assert len(asked) == 3
    page.goto(f"{site}/{story}")
    page.evaluate("document.fonts.ready.then(() => true)")
    assert page.evaluate("[...document.fonts].map(font => font.status)") == ["loaded"] * 3
    shifts = "new PerformanceObserver(list => done(list.getEntries().length))"
    seen = f"{shifts}.observe({{type: 'layout-shift', buffered: true}}); setTimeout(() => done(0), 500)"
    moved = page.evaluate(f"new Promise(done => {{ {seen} }})")
    assert moved == 0
    context.close()


def test_everything_can_be_read_without_script(browser: Any, site: str, stories: list[PublishedStory]) -> None:
    context = browser.new_context(java_script_enabled=False, color_scheme="dark")
    page = context.new_page()
    page.goto(f"{site}/")
    follow(page, page.get_by_role("link", name=stories[-1].draft.title).first)
    assert page.locator("h1").inner_text() == stories[-1].draft.title
    assert page.get_by_text(stories[-1].draft.sections[-1].text.split("\n")[0]).is_visible()
    assert not page.get_by_role("button").count()
    context.close()


def test_on_a_slow_line_the_text_and_a_blurred_picture_come_first(browser: Any, site: str, story: str) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.route("**/img/**", lambda route: None)
    page.route("**/*.woff2", lambda route: None)
    page.goto(f"{site}/{story}", wait_until="domcontentloaded")
    assert page.locator("h1").is_visible()
    box = page.locator("picture img").first.bounding_box()
    assert box["width"] / box["height"] == pytest.approx(16 / 9, abs=0.02)
    assert page.locator(".hero .blur").evaluate("image => image.naturalWidth") == 8
    assert page.locator(".hero .blur").bounding_box() == box
    page.close()


def test_a_broken_picture_is_replaced_by_a_drawing_and_keeps_its_words(browser: Any, site: str, story: str) -> None:
    page = browser.new_page()
    page.route("**/img/**", lambda route: route.abort())
    page.goto(f"{site}/{story}")
    frame = page.locator(".hero .frame")
    frame.and_(page.locator(".lost")).wait_for()
    assert "drawn." in frame.evaluate("element => getComputedStyle(element).backgroundImage")
    assert not frame.locator(".blur").is_visible()
    assert page.get_by_role("img", name="Title card:").first.bounding_box()["height"] > 100
    page.close()


def test_a_broken_picture_shows_its_words_without_script(browser: Any, site: str, story: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.route("**/img/**", lambda route: route.abort())
    page.goto(f"{site}/{story}")
    assert page.locator(".hero picture img").get_attribute("alt").startswith("Title card:")
    assert page.locator(".hero .blur").is_visible()
    context.close()


def test_the_keyboard_alone_leads_to_a_story_and_back(visit: Callable[..., Any], site: str) -> None:
    page = visit(f"{site}/", width=390)
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        assert focused.bounding_box()["height"] > 0
        shown = focused.evaluate(
            "element => [element, element.closest('.lead, .card')]"
            ".some(one => one && getComputedStyle(one).outlineStyle !== 'none')"
        )
        assert shown, focused.inner_text()
        seen.append(focused.evaluate("element => element.textContent.trim() || element.ariaLabel"))
        if focused.evaluate("element => !!element.closest('.headline')"):
            break
    assert seen[:3] == ["Skip to the stories", "ThreadJuice", "Switch to dark colours"]
    page.keyboard.press("Enter")
    page.wait_for_url("**/story/**")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "kicker"


def test_fingers_find_every_control(visit: Callable[..., Any], site: str, path: str) -> None:
    page = visit(f"{site}/{path}", width=390)
    small = page.evaluate(
        "[...document.querySelectorAll('nav a, button, .pager a, .colophon a')].filter(one => one.offsetParent)"
        ".map(one => one.getBoundingClientRect()).filter(box => box.width < 24 || box.height < 24).length"
    )
    assert small == 0


def test_a_credit_leads_to_the_question_its_authors_and_the_licence(
    visit: Callable[..., Any], site: str, stories: list[PublishedStory]
) -> None:
    page = visit(f"{site}/story/{stories[-2].slug}/index.html", width=390)
    credit = page.locator(".disclosure")
    assert "This story is adapted from" in credit.inner_text()
    for name in ("Rota Keeper", "T. Vasquez-Lind", "CC BY-SA 4.0", "The accepted answer"):
        assert credit.get_by_role("link", name=name).first.is_visible()
    assert page.locator(".credits li").count() == 5


def test_story_text_never_becomes_an_element(visit: Callable[..., Any], site: str, story: str) -> None:
    page = visit(f"{site}/{story}")
    assert page.locator("img[src=x], .body script").count() == 0
    assert "<script>console.error('ran')</script>" in page.locator(".body").inner_text()


def test_a_missing_page_looks_like_the_site_and_leads_home(browser: Any, site: str) -> None:
    page = browser.new_page()
    answer = page.goto(f"{site}/story/gone/deeper/")
    assert answer.status == 404
    assert ground(page) == PAPER
    follow(page, page.get_by_role("link", name="Go to the front page"))
    assert page.locator("picture img").count() > 1
    page.close()
