"""Builds one after the other, at once, killed half way, and out of room: what readers see is always one whole site."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from newsstand import catalogue, files, kettle_story, made_story, page, plain_picture, redrafted

from threadjuice_dagster.domain.story.publication import PublishedStory
from threadjuice_dagster.failures import PermanentFailure
from threadjuice_dagster.site.build_state import STATE_FILE, BuildState
from threadjuice_dagster.site.builder import SiteBuild, build_site
from threadjuice_dagster.site.markup import verify_site

SITE = "https://stories.example"
PROGRAM = """
import resource, signal, sys, time
from pathlib import Path
from newsstand import kettle_story
from threadjuice_dagster.site.builder import build_site
target, storage, count, limit, wait = sys.argv[1:]
if int(limit):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
def read(variant):
    print("reading", flush=True)
    time.sleep(float(wait))
    return b"picture"
stories = [kettle_story(Path(storage), number) for number in range(1, int(count) + 1)]
build_site(stories, Path(target), "", None, read_picture=read)
"""


def build(stories: list[PublishedStory], target: Path, storage: Path, **options: bool) -> SiteBuild:
    return build_site(stories, target, SITE, storage, **options)


def started(
    target: Path, storage: Path, count: int = 1, limit: int = 0, wait: float = 0, seed: int = 0
) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONHASHSEED": str(seed)}
    command = [sys.executable, "-c", PROGRAM, *map(str, (target, storage, count, limit, wait))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_the_same_stories_give_the_same_bytes_and_version(storage: Path, tmp_path: Path) -> None:
    stories = [kettle_story(storage, number) for number in range(1, 30)]
    first = build(stories, tmp_path / "one", storage)
    second = build(list(reversed(stories)), tmp_path / "two", storage)
    assert first.version == second.version
    assert files(first.folder) == files(second.folder)


def test_the_same_stories_give_the_same_bytes_in_every_process(storage: Path, tmp_path: Path) -> None:
    found = []
    for seed in (1, 2):
        with started(tmp_path / str(seed), storage, count=5, seed=seed) as builder:
            assert builder.wait() == 0
        found.append(files(tmp_path / str(seed) / "current"))
    assert found[0] == found[1]


def changed_at_random(rng: random.Random, stories: dict[str, PublishedStory], storage: Path) -> None:
    categories, personas = catalogue()
    for _ in range(rng.randrange(1, 4)):
        number = rng.randrange(90)
        story = stories.get(f"m{number:07d}")
        kind = rng.randrange(6)
        if story is None or kind == 0:
            sha = hashlib.sha256(str(number % 7).encode()).hexdigest()
            stories[f"m{number:07d}"] = made_story(number, plain_picture(storage, sha))
            continue
        if kind == 1:
            del stories[story.story_id]
            continue
        words = {"description": f"Told {rng.randrange(3)} times.", "name": f"Ada {rng.randrange(3)}"}
        changes = {
            2: {"category": rng.choice(categories[:3]).model_copy(update=words)},
            3: {"persona": rng.choice(personas).model_copy(update=words)},
            4: {"published_at": story.published_at + timedelta(days=rng.randrange(-40, 40))},
            5: {"draft": story.draft.model_copy(update={"dek": f"Told anew {rng.random()}.", "tags": ("soup",)})},
        }[kind]
        stories[story.story_id] = story.model_copy(update=changes)


@pytest.mark.parametrize("seed", range(2))
def test_a_site_after_many_changes_is_the_one_built_from_nothing(storage: Path, tmp_path: Path, seed: int) -> None:
    rng, stories = random.Random(seed), {}
    for number in range(75):
        story = made_story(number, plain_picture(storage))
        stories[story.story_id] = story.model_copy(update={"category": catalogue()[0][number % 3]})
    for step in range(6):
        built = build(list(stories.values()), tmp_path / "grown", storage, keep_old=rng.random() < 0.7)
        whole = build(list(stories.values()), tmp_path / f"whole-{step}", storage)
        assert files(built.folder) == files(whole.folder)
        assert built.version == whole.version
        verify_site(built.folder)
        changed_at_random(rng, stories, storage)


def test_a_changed_story_rewrites_its_page_and_the_lists_it_is_on(storage: Path, target: Path) -> None:
    stories = [kettle_story(storage, number) for number in range(1, 101)]
    build(stories, target, storage)
    before = {path: (target / "current" / path).stat().st_ino for path in files(target / "current")}
    stories[9] = redrafted(stories[9], dek="Another dek.")
    built = build(stories, target, storage)
    after = {path: (target / "current" / path).stat().st_ino for path in files(target / "current")}
    written = {path for path in after if after[path] != before[path]}
    related = {path for path in written if path.startswith("story/") and "the-kettle-10/" not in path}
    assert len(related) <= 4
    assert written - related - {"version.json"} == {
        "story/the-kettle-10/index.html",
        "category/home/page/1/index.html",
        "persona/mo/page/1/index.html",
    }
    assert (built.written, built.removed) == (3 + len(related), 0)


def test_a_new_story_leaves_pages_of_older_ones_alone(storage: Path, target: Path) -> None:
    stories = [kettle_story(storage, number) for number in range(1, 130)]
    build(stories[:128], target, storage)
    before = files(target / "current")
    build(stories, target, storage)
    written = {path for path, content in files(target / "current").items() if before.get(path) != content}
    assert {path for path in written if "/page/" in path} == set()
    assert {path for path in written if path.startswith("story/")} == {"story/the-kettle-129/index.html"}


def test_a_changed_word_changes_the_version(storage: Path, target: Path) -> None:
    first = build([kettle_story(storage)], target, storage)
    second = build([redrafted(kettle_story(storage), dek="Another dek.")], target, storage)
    assert second.changed
    assert first.version != second.version
    assert json.loads(page(target, "version.json"))["version"] == second.version


def test_building_again_changes_nothing_and_says_so(storage: Path, target: Path) -> None:
    first = build([kettle_story(storage)], target, storage)
    before = (target / "current").lstat()
    again = build([kettle_story(storage)], target, storage)
    assert (first.changed, again.changed, again.written, again.removed) == (True, False, 0, 0)
    assert (target / "current").lstat() == before


def test_the_manifest_names_every_file_with_its_digests(storage: Path, target: Path) -> None:
    stories = [kettle_story(storage, number) for number in range(1, 4)]
    build(stories, target, storage)
    build([*stories[1:], kettle_story(storage, 5)], target, storage)
    memory = BuildState(target / STATE_FILE)
    listed = {file.path: file for file in memory.files()}
    memory.close()
    there = files(target / "current")
    assert set(listed) == set(there) - {"version.json"}
    for path, file in listed.items():
        assert file.size == len(there[path])
        assert file.sha256 == hashlib.sha256(there[path]).hexdigest()
        assert file.sha1 == hashlib.sha1(there[path]).hexdigest()


def test_a_damaged_version_is_replaced_by_the_next_build(storage: Path, target: Path) -> None:
    build([kettle_story(storage)], target, storage)
    (target / "current" / "about" / "index.html").unlink()
    build([kettle_story(storage)], target, storage)
    assert "About ThreadJuice" in page(target, "about/index.html")


@pytest.mark.parametrize("content", [b"", b"no database at all" * 500])
def test_a_lost_or_damaged_memory_costs_only_time(storage: Path, target: Path, content: bytes) -> None:
    first = build([kettle_story(storage)], target, storage)
    (target / STATE_FILE).write_bytes(content)
    again = build([kettle_story(storage), kettle_story(storage, 2)], target, storage)
    assert page(target, "story/the-kettle-2/index.html")
    assert again.version != first.version
    assert not (target / "versions" / first.version).exists()


def test_the_version_before_is_kept_and_no_other(storage: Path, target: Path) -> None:
    built = [build([kettle_story(storage, number)], target, storage).version for number in range(1, 6)]
    assert {path.name for path in (target / "versions").iterdir()} == set(built[-2:])
    assert (target / "current").readlink() == Path("versions") / built[-1]
    assert (target / "versions" / built[-2] / "story" / "the-kettle-4" / "index.html").is_file()


def test_keeping_no_old_version_leaves_nothing_of_a_withdrawn_story(storage: Path, target: Path) -> None:
    secret = redrafted(kettle_story(storage, 1), dek="Taken down since.", tags=("unspeakable",))
    secret = secret.model_copy(update={"image": plain_picture(storage, sha="cd" * 32)})
    build([secret, kettle_story(storage, 2)], target, storage)
    build([kettle_story(storage, 2)], target, storage, keep_old=False)
    assert not [path for path in target.rglob("*") if "the-kettle-1" in path.name or "cdcd" in path.name]
    for path, content in files(target).items():
        assert b"Taken down since" not in content, path
        assert b"unspeakable" not in content, path
    build([kettle_story(storage, 2), kettle_story(storage, 3)], target, storage)
    verify_site(target / "current")


def test_a_picture_that_two_stories_share_stays_for_the_second(storage: Path, target: Path) -> None:
    stories = [kettle_story(storage, number) for number in (1, 2)]
    build(stories, target, storage)
    build(stories[1:], target, storage)
    assert (target / "current" / stories[1].image.variants[0].key).is_file()
    build([kettle_story(storage, 3, image=plain_picture(None))], target, storage)
    assert not (target / "current" / "img").exists()


def test_going_back_to_an_older_version_makes_it_current(storage: Path, target: Path) -> None:
    first = build([kettle_story(storage, 1)], target, storage)
    build([kettle_story(storage, 2)], target, storage)
    again = build([kettle_story(storage, 1)], target, storage)
    assert (again.changed, again.version) == (True, first.version)
    assert "the-kettle-1" in page(target, "index.html")


def test_a_failed_build_leaves_the_site_as_it_was(storage: Path, target: Path) -> None:
    build([kettle_story(storage, 1)], target, storage)
    before = files(target / "current")
    broken = kettle_story(storage, 2, image=plain_picture(storage, sha="ef" * 32))
    (storage / broken.image.variants[-1].key).unlink()
    with pytest.raises(PermanentFailure):
        build([kettle_story(storage, 1), broken], target, storage)
    assert files(target / "current") == before
    build([kettle_story(storage, 1), kettle_story(storage, 3)], target, storage)
    assert "the-kettle-3" in page(target, "index.html")


def test_a_killed_build_leaves_the_site_as_it_was(storage: Path, target: Path) -> None:
    build([kettle_story(None, 9, image=plain_picture(None))], target, storage)
    before = files(target / "current")
    with started(target, storage, wait=60) as builder:
        assert builder.stdout
        assert builder.stdout.readline() == "reading\n"
        builder.send_signal(signal.SIGKILL)
    assert files(target / "current") == before
    assert (target / "versions" / ".next").exists()
    built = build([kettle_story(storage)], target, storage)
    assert not (target / "versions" / ".next").exists()
    assert (target / "current").resolve() == built.folder


def test_a_build_killed_before_readers_saw_it_is_shown_by_the_next(storage: Path, target: Path) -> None:
    first = build([kettle_story(storage)], target, storage)
    second = build([kettle_story(storage), kettle_story(storage, 2)], target, storage)
    (target / "current").unlink()
    (target / "current").symlink_to(Path("versions") / first.version)
    again = build([kettle_story(storage), kettle_story(storage, 2)], target, storage)
    assert (again.changed, again.folder) == (False, second.folder)


def test_a_full_disk_leaves_the_old_site(storage: Path, target: Path) -> None:
    build([kettle_story(None, 9, image=plain_picture(None))], target, storage)
    before = files(target / "current")
    with started(target, storage, count=40, limit=40_000) as builder:
        _, said = builder.communicate()
    assert builder.returncode == 1
    assert "File too large" in said or "disk" in said
    assert files(target / "current") == before
    assert build([kettle_story(storage, 3)], target, storage).stories == 1


def test_builds_at_once_end_with_a_whole_site(storage: Path, target: Path) -> None:
    stories = [kettle_story(storage, number) for number in range(1, 7)]
    with ThreadPoolExecutor(4) as pool:
        built = list(pool.map(lambda count: build(stories[:count], target, storage), (1, 2, 3, 4, 5, 6)))
    version = json.loads(page(target, "version.json"))["version"]
    assert version in {build.version for build in built}
    count = next(build.stories for build in built if build.version == version)
    assert len(list((target / "current" / "story").iterdir())) == count
    verify_site(target / "current")


def test_readers_never_miss_the_site_while_it_is_rebuilt(storage: Path, target: Path) -> None:
    build([kettle_story(storage, 1)], target, storage)
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
        build([kettle_story(storage, number)], target, storage)
    done.set()
    reader.join()
    assert missing == []


def test_a_link_to_what_is_gone_is_found_on_pages_that_were_not_written(storage: Path, target: Path) -> None:
    stories = [kettle_story(storage, number) for number in range(1, 4)]
    build(stories, target, storage)
    about = target / "current" / "about" / "index.html"
    about.write_text(about.read_text().replace("</main>", '<a href="../story/the-kettle-1/index.html">x</a></main>'))
    with pytest.raises(PermanentFailure, match=r"about/index\.html refers to"):
        build(stories[1:], target, storage)
