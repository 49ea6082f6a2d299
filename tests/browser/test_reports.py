"""A story's page in a real browser tells what its reader does, and nothing where the reader does not want it."""

import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from makers import make_image
from waiting import eventually

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.catalogue import Catalogue
from threadjuice_dagster.database.engine import pooled_engine
from threadjuice_dagster.database.schema import require_schema
from threadjuice_dagster.database.server import create_database
from threadjuice_dagster.database.store import Store
from threadjuice_dagster.domain.story.page_events import QUARTERS
from threadjuice_dagster.domain.story.publication import PublishedStory
from threadjuice_dagster.domain.story.stories import Draft, Section
from threadjuice_dagster.operations.deployment.site_server import serve
from threadjuice_dagster.operations.engagement.receiver import Reports
from threadjuice_dagster.operations.engagement.store import ViewCounts, through
from threadjuice_dagster.site.builder import build_site

pytestmark = pytest.mark.browser

READER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
PARAGRAPH = "The kettle sang twice before anybody in the house would get up and see to it. " * 8
SLUG = "the-kettle"
STORY = f"story/{SLUG}/index.html"


@pytest.fixture(scope="module")
def store(server_url: str) -> Iterator[Store]:
    url = sa.make_url(server_url)
    name = f"t_{uuid.uuid4().hex[:12]}"
    create_database(url, name)
    store = Store(pooled_engine(url.set(database=name), 4))
    require_schema(store, migrate_if_missing=True)
    yield store
    store.locks.close()
    store.engine.dispose()


def published(store: Store, paragraphs: int) -> PublishedStory:
    """A story of so many paragraphs that the database and the site know, without any counts."""
    category, persona = Catalogue(store.engine).categories()[0], Catalogue(store.engine).personas()[0]
    now = datetime.now(UTC)
    story = PublishedStory(
        story_id="s1",
        slug=SLUG,
        draft=Draft(
            title="The kettle", sections=(Section(kind="opening", text="\n\n".join([PARAGRAPH] * paragraphs)),)
        ),
        category=category,
        persona=persona,
        image=make_image("s1").model_copy(update={"variants": ()}),
        source_url="",
        subreddit="x",
        writer="extractive",
        model="",
        score=9.0,
        published_at=now,
        updated_at=now,
    )
    row = {"story_id": "s1", "slug": SLUG, "category": category.slug, "score": 9.0, "record": {}}
    with store.engine.begin() as connection:
        connection.execute(t.publications.delete())
        connection.execute(t.assignments.delete())
        named = {"story_id": "s1", "category": category.slug, "persona": persona.slug}
        connection.execute(t.assignments.insert().values(named))
        connection.execute(t.publications.insert().values(**row, published_at=now, updated_at=now))
    return story


@pytest.fixture
def site(store: Store, tmp_path: Path) -> Iterator[Callable[[int], str]]:
    """Builds and serves a site with one story of so many paragraphs; gives its address."""
    with Reports(ViewCounts(through(store.engine))) as reports, serve(tmp_path, 0, reports=reports) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()

        def build(paragraphs: int) -> str:
            build_site([published(store, paragraphs)], tmp_path, "", None)
            return server.url

        yield build
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def launch() -> Iterator[Callable[..., Any]]:
    """Starts Chromium with further arguments."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright's Python package is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("no Chromium was found on the PATH")
    with sync_api.sync_playwright() as playwright:
        yield lambda *more: playwright.chromium.launch(executable_path=chromium, args=[*ARGUMENTS, *more])


@pytest.fixture(scope="module")
def browser(launch: Callable[..., Any]) -> Iterator[Any]:
    """A browser as a reader has it. What a page sends as it is left goes out under the browser's own name only."""
    running = launch(f"--user-agent={READER}")
    yield running
    running.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page as a reader's browser would; afterwards fails for anything the browser complained of."""
    opened, complaints = [], []

    def open_page(address: str, **options: Any) -> Any:
        wanted = {"permissions": ["clipboard-read", "clipboard-write"], **options}
        context = browser.new_context(viewport={"width": 1000, "height": 700}, **wanted)
        opened.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        return page

    yield open_page
    for context in opened:
        context.close()
    assert complaints == []


def leave(page: Any, site: str) -> None:
    """Go to a page that tells nothing, and wait until what the story's told has been answered."""
    page.goto(f"{site}/about/index.html")
    page.wait_for_timeout(300)


def counted(store: Store, expected: dict[str, int] | None = None) -> dict[str, int]:
    """Counts by event once the server, which writes every second, has the expected ones."""
    threading.Event().wait(1.3)
    eventually(lambda: (expected or {}).items() <= read_counts(store).items())
    return read_counts(store)


def read_counts(store: Store) -> dict[str, int]:
    with store.engine.connect() as connection:
        rows = connection.execute(sa.select(t.engagement.c.event, t.engagement.c.count))
        return {event: count for event, count in rows}


def scroll_to(page: Any, share: float) -> None:
    """Scroll until so much of the text has come into sight."""
    page.evaluate(
        "share => { const box = document.querySelector('.body').getBoundingClientRect();"
        " scrollTo(0, scrollY + box.top + share * box.height - innerHeight) }",
        share,
    )
    # Observers report with the frames; a busy machine draws few.
    page.evaluate(
        "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 100))))"
    )


def test_a_reader_is_counted_as_far_as_they_read(
    visit: Callable[..., Any], site: Callable[[int], str], store: Store
) -> None:
    address = site(30)
    page = visit(f"{address}/{STORY}")
    scroll_to(page, 0.6)
    leave(page, address)
    expected = {"view": 1, "depth:25": 1, "depth:50": 1}
    assert counted(store, expected) == expected
    page.goto(f"{address}/{STORY}")
    scroll_to(page, 1.0)
    page.go_back()
    leave(page, address)
    expected = {"view": 2, **dict.fromkeys(["depth:25", "depth:50"], 2), "depth:75": 1, "depth:100": 1}
    assert counted(store, expected) == expected


def test_a_story_shorter_than_the_window_is_read_when_it_is_seen(
    visit: Callable[..., Any], site: Callable[[int], str], store: Store
) -> None:
    address = site(1)
    leave(visit(f"{address}/{STORY}", screen={"width": 1000, "height": 3000}), address)
    counts = counted(store, {"view": 1, "depth:25": 1})
    assert counts["view"] == 1
    assert "depth:25" in counts


def test_shares_and_reactions_are_counted_and_shown(
    visit: Callable[..., Any], site: Callable[[int], str], store: Store
) -> None:
    address = site(3)
    page = visit(f"{address}/{STORY}")
    juicy = page.get_by_role("button", name="Juicy")
    juicy.click()
    juicy.click()
    assert juicy.get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="Share").click()
    page.get_by_role("button", name="Link copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == f"{address}/{STORY}"
    leave(page, address)
    expected = {"reaction:juicy": 1, "share:link": 1, "view": 1}
    assert expected.items() <= counted(store, expected).items()


def test_the_system_s_own_share_dialogue_is_used_where_there_is_one(
    browser: Any, site: Callable[[int], str], store: Store
) -> None:
    address = site(3)
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script(
        "navigator.share = async what => { if (window.cancelled) throw new Error('no'); window.shared = what }"
    )
    page.goto(f"{address}/{STORY}")
    page.evaluate("window.cancelled = true")
    page.get_by_role("button", name="Share").click()
    leave(page, address)
    assert "share:native" not in counted(store)
    page.goto(f"{address}/{STORY}")
    page.get_by_role("button", name="Share").click()
    assert page.evaluate("window.shared.url") == f"{address}/{STORY}"
    leave(page, address)
    assert counted(store, {"share:native": 1})["share:native"] == 1
    context.close()


@pytest.mark.parametrize(
    "wish",
    [
        "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {get: () => true})",
        "Object.defineProperty(Navigator.prototype, 'doNotTrack', {get: () => '1'})",
    ],
)
def test_a_reader_who_asks_not_to_be_tracked_sends_nothing(
    browser: Any, site: Callable[[int], str], store: Store, wish: str
) -> None:
    address, sent = site(3), []
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script(wish)
    page.on("request", lambda request: sent.append(request.method))
    page.goto(f"{address}/{STORY}")
    assert not page.get_by_role("button", name="Juicy").is_visible()
    assert page.get_by_role("button", name="Share").is_visible()
    leave(page, address)
    assert set(sent) == {"GET"}
    assert counted(store) == {}
    context.close()


def test_a_browser_that_nobody_looks_at_is_not_counted(
    launch: Callable[..., Any], site: Callable[[int], str], store: Store
) -> None:
    address, headless = site(3), launch()
    page = headless.new_page()
    page.goto(f"{address}/{STORY}")
    assert "HeadlessChrome" in page.evaluate("navigator.userAgent")
    leave(page, address)
    headless.close()
    assert counted(store) == {}


def test_a_page_without_scripts_has_no_buttons_that_do_nothing(
    visit: Callable[..., Any], site: Callable[[int], str]
) -> None:
    page = visit(f"{site(3)}/{STORY}", java_script_enabled=False)
    assert page.get_by_role("button").count() == 0
    assert page.locator("h1").inner_text() == "The kettle"


def test_the_script_is_small_and_keeps_nothing_in_the_browser(
    visit: Callable[..., Any], site: Callable[[int], str]
) -> None:
    address = site(3)
    page = visit(f"{address}/{STORY}")
    page.get_by_role("button", name="Juicy").click()
    leave(page, address)
    assert page.context.cookies() == []
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0
    page.goto(f"{address}/{STORY}")
    size = "performance.getEntriesByType('resource').find(one => one.name.endsWith('.js')).decodedBodySize"
    assert 0 < page.evaluate(size) < 2000


def test_the_script_knows_the_quarters_that_are_counted() -> None:
    import threadjuice_dagster.site

    script = Path(threadjuice_dagster.site.__file__).with_name("static") / "engagement.js"
    assert str(list(QUARTERS)) in script.read_text()
