"""The site from nothing, and after a change, against Hugo and Pelican on the same stories in the same run.

All make the same kinds of page: stories with picture, credit and three related ones, lists by category, voice and
month, the front page, feeds, sitemap. The newsroom reads PostgreSQL, keeps a manifest and checks every link; the peers
read Markdown and do neither. Goals: 10,000 stories from nothing within 3 times Hugo, one changed story within a second,
no more memory for many stories than for few. Hugo and Pelican are Debian's packages; one that is not on the PATH is
left out. ``python -m benchmarks.site 1000`` sets the number of stories.
"""

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from threadjuice_dagster.database.catalogue import Catalogue

if TYPE_CHECKING:
    from threadjuice_dagster.domain.story.publication import PublishedStory

ROOT = Path(__file__).parents[1]
PEERS = Path(__file__).parent / "peers"
COUNT, FEW, CHANGES = 10_000, 1_000, 5
ADDRESS = "https://threadjuice.example"
COMMANDS = {
    "hugo": ["hugo", "--quiet", "--destination", "output"],
    "pelican": [
        "pelican",
        "content",
        "--output",
        "output",
        "--quiet",
        "--settings",
        str(PEERS / "pelican" / "pelicanconf.py"),
    ],
}


def main() -> None:
    count = int(next(filter(str.isdigit, sys.argv[1:]), COUNT))
    with tempfile.TemporaryDirectory(prefix="tj-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        _draw(folder)
        few, many = (_newsroom(folder / name, size) for name, size in (("few", FEW), ("many", count)))
        _say(count, many)
        changes = ", ".join(f"{kind} {many[kind]:.2f} s" for kind in ("changed", "new", "withdrawn", "unchanged"))
        print(f"site: {count:,} stories, one story {changes} (goal 1 s for a changed one)")
        print(f"site: {few['memory']:.0f} MB resident at {FEW:,} stories, {many['memory']:.0f} MB at {count:,}")
        for peer, size, ours in (("hugo", count, many), ("pelican", FEW, few)):
            if shutil.which(peer):
                theirs = _peer(folder / peer, peer, size)
                _say(size, theirs)
                goal = " (goal at most 3)" if peer == "hugo" else ""
                ratio = f"{ours['seconds'] / theirs['seconds']:.2f} x {peer}'s time{goal}"
                print(f"site: {size:,} stories from nothing in {ratio}, {ours['cpu'] / theirs['cpu']:.2f} x its CPU")
            else:
                print(f"site: {peer} is not on the PATH; it is in Debian's package of that name")


def _say(count: int, found: dict[str, Any]) -> None:
    made = f"{found['pages']:,} pages, {found['bytes'] / 1e6:.0f} MB"
    print(
        f"site: {found['name']:<8} {count:>7,} stories, {made}: {found['seconds']:.1f} s, {found['cpu']:.1f} s of CPU"
    )


def _newsroom(folder: Path, count: int) -> dict[str, Any]:
    """Fill a database with stories and build their site, in processes of their own."""
    for step in ("fill", "measure"):
        code = f"from benchmarks.site import {step}; {step}({str(folder)!r}, {count})"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return {"name": "newsroom", **json.loads(done.stdout.splitlines()[-1]), **_size(folder / "site" / "current")}


def fill(place: str, count: int) -> None:
    """Write stories of five sections into an embedded database."""
    import sqlalchemy as sa

    from threadjuice_dagster.database import tables as t
    from threadjuice_dagster.database.schema import migrate

    with _database(Path(place)) as store:
        migrate(store.engine)
        Catalogue(store.engine).seed()
        with store.engine.begin() as connection:
            for story in _stories(Path(place), count):
                row = story.model_dump(include={"story_id", "slug", "score", "published_at", "updated_at"})
                writer = {"category": story.category.slug}
                persona = {"persona": story.persona.slug, "status": "published", "story_id": story.story_id}
                connection.execute(sa.insert(t.assignments).values(**writer, **persona))
                record = story.model_dump(mode="json")
                connection.execute(sa.insert(t.publications).values(**row, **writer, record=record))


def measure(place: str, count: int) -> None:
    """Build the site from nothing and after changes of one story; prints the figures as JSON."""
    from threadjuice_dagster.database.publications import Publications
    from threadjuice_dagster.site.builder import build_site

    folder = Path(place)
    with _database(folder) as store:
        shelf = Publications(store.engine)

        def build() -> float:
            return build_site(shelf, folder / "site", ADDRESS, folder.parent / "pictures").seconds

        began = os.times()
        seconds, ended = build(), os.times()
        cpu = ended.user + ended.system - began.user - began.system
        changes = _changes(store, build, count)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "cpu": cpu, **changes, "memory": memory}))


def _changes(store: Any, build: Callable[[], float], count: int) -> dict[str, float]:
    """Seconds of builds after one story in the middle changed, was withdrawn or came back; medians."""
    import sqlalchemy as sa

    def after(statement: str, number: int) -> float:
        with store.engine.begin() as connection:
            assert connection.execute(sa.text(statement), {"id": f"m{number:07d}"}).rowcount == 1
        return build()

    text = "UPDATE publications SET record = jsonb_set(record, '{draft,dek}', '\"Changed.\"') WHERE story_id = :id"
    away = "UPDATE publications SET withdrawn_at = now() WHERE story_id = :id"
    back = "UPDATE publications SET withdrawn_at = NULL WHERE story_id = :id"
    numbers = [count // 2 + 7 * step for step in range(CHANGES)]
    return {
        "changed": statistics.median(after(text, number) for number in numbers),
        "withdrawn": after(away, count - 1),
        "new": after(back, count - 1),
        "unchanged": build(),
    }


def _stories(folder: Path, count: int) -> "Iterator[PublishedStory]":
    sys.path.insert(0, str(ROOT / "tests"))
    from newsstand import made_story, varied_placeholder

    from threadjuice_dagster.domain.pictures.images import StoryImage

    drawn = json.loads((folder.parent / "pictures.json").read_text())
    images = [StoryImage.model_validate(one) for one in drawn]
    for number in range(count):
        image = images[number % len(images)]
        yield made_story(number, image.model_copy(update={"placeholder": varied_placeholder(number)}))


def _draw(folder: Path) -> None:
    """Twelve title cards for all to share."""
    sys.path.insert(0, str(ROOT / "tests"))
    from newsstand import drawn_stories

    drawn = [story.image.model_dump(mode="json") for story in drawn_stories(folder / "pictures", 12)]
    (folder / "pictures.json").write_text(json.dumps(drawn))


def _database(folder: Path) -> Any:
    import contextlib

    from threadjuice_dagster.database.server import embedded_url
    from threadjuice_dagster.database.store import open_store

    folder.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def opened() -> Iterator[Any]:
        store = open_store(embedded_url(folder / "home"), 2)
        yield store
        store.locks.close()
        store.engine.dispose()

    return opened()


def _peer(folder: Path, peer: str, count: int) -> dict[str, Any]:
    """Write a peer's content and have it build: seconds, those of all its threads, pages and bytes."""
    shutil.copytree(PEERS / peer, folder)
    (folder / "content" / "story").mkdir(parents=True)
    (folder / "data").mkdir()
    pictures: dict[str, Any] = {}
    for story in _stories(folder, count):
        pictures.setdefault(story.image.sha256, _picture(story))
        front = _front_matter(story)
        lines = [f"{key}: {json.dumps(value) if peer == 'hugo' else _plain(value)}" for key, value in front.items()]
        named = (
            [] if peer == "hugo" else [f"category: {front['desk']}", f"author: {front['voice']}", f"slug: {story.slug}"]
        )
        text = "\n".join(["---", *lines, *named, "---", "", _body(story)])
        (folder / "content" / "story" / f"{story.slug}.md").write_text(text)
    (folder / "data" / "pictures.json").write_text(json.dumps(pictures))
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(COMMANDS[peer], cwd=folder, check=True, capture_output=True)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"name": peer, "seconds": seconds, "cpu": cpu, **_size(folder / "output")}


def _front_matter(story: "PublishedStory") -> dict[str, Any]:
    from threadjuice_dagster.site.views import view_of

    view, draft = view_of(story), story.draft
    assert view.picture
    return {
        "title": draft.title,
        "date": story.published_at.isoformat(),
        "category": [story.category.slug],
        "persona": [story.persona.slug],
        "month": [story.published_at.strftime("%Y-%m")],
        "tags": list(draft.tags),
        "dek": draft.dek,
        "about": view.description,
        "writer": story.category.slug,
        "deskname": story.category.name,
        "byline": view.byline,
        "voice": story.persona.name,
        "minutes": view.minutes,
        "model": view.author,
        "score": f"{story.score:.1f}",
        "source": story.credit.permalink,
        "subreddit": story.credit.community,
        "credit": story.image.credit,
        "picture": story.image.sha256,
        "alt": view.alt,
        "blur": view.picture.blur,
    }


def _plain(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def _picture(story: "PublishedStory") -> dict[str, Any]:
    from threadjuice_dagster.site.pictures import picture_of

    shown = picture_of(story.image)
    assert shown
    sets: dict[str, Any] = {
        name: {"small": shown.srcset(name, "/", 768), "large": shown.srcset(name, "/")} for name in shown.formats
    }
    share = f"{ADDRESS}/{shown.share()[1]}"
    return {
        **sets,
        "src": shown.fallback("/"),
        "share": share,
        "width": story.image.width,
        "height": story.image.height,
    }


def _body(story: "PublishedStory") -> str:
    parts = []
    for section, quotes in story.draft.layout():
        parts += [f"## {section.heading}"] if section.heading else []
        parts += [f"> {section.text}" if section.kind == "excerpt" else section.text]
        for quote in quotes:
            parts += [
                f"> {quote.text}",
                f"[A comment in r/{story.credit.community}]({story.credit.permalink}comment/{quote.comment_id}/)",
            ]
    return "\n\n".join(parts) + "\n"


def _size(folder: Path) -> dict[str, int]:
    """Pages of a site and their bytes."""
    sizes = [path.stat().st_size for path in folder.resolve().rglob("*.html")]
    return {"pages": len(sizes), "bytes": sum(sizes)}


if __name__ == "__main__":
    main()
