"""People at the desk: what is held or rejected, who decided what, and stories people wrote themselves."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from makers import make_draft, make_score, make_thread

from threadjuice_dagster.assets.publication.review_desk import review_desk
from threadjuice_dagster.cli.importing import import_manual
from threadjuice_dagster.cli.session import NewsroomSession, open_session
from threadjuice_dagster.cli.writing import publish_story
from threadjuice_dagster.database.catalogue import read_catalogue
from threadjuice_dagster.database.records import story_record
from threadjuice_dagster.database.store import Store
from threadjuice_dagster.domain.judging.gates import GATES, GateFinding
from threadjuice_dagster.failures import PermanentFailure
from threadjuice_dagster.operations.imports.decoding import text_of
from threadjuice_dagster.operations.imports.manual import manual_id, manual_records
from threadjuice_dagster.operations.imports.rules import RecordReader, RefusedRecord
from threadjuice_dagster.resources.postgres import Postgres
from threadjuice_dagster.settings import load_settings
from threadjuice_dagster.site.publisher import Publisher

MARKDOWN = """---
title: The lift that stopped for tea
category: workplace
author: Ada Reuter
---
On Tuesday at eleven the lift in the Corn Exchange stopped between the second and the third floor, with four
accountants, a courier and a trolley of sandwiches inside. The courier, Femi, had seven minutes left on his meter.

The intercom answered on the fourth try. A man called Gerald said that he was on the other side of the river and that
the bridge was up. He asked whether anybody was unwell, and when nobody was, he asked what was on the trolley.

## What they did about it

They ate the egg sandwiches first, because of the heat. Nobody wanted to be the one to open the second tray, until
Priya from payroll said that the meeting it was for could no longer happen, since everyone invited to it was in the
lift. Femi kept count on the back of a parking ticket. At half past eleven there were nine sandwiches left.

Somebody found that the handrail made a fair shelf. Somebody else found that the mirror made the place look full of
people, and turned to face the door. They told each other where they had been stuck before: a cable car, a tunnel, a
marriage. Femi had once spent a night in a museum, which he recommended.

## What came of it

Gerald arrived at ten past twelve with a key the length of his forearm. He let them out one by one and took the last
sandwich as his fee. The meeting was held in the stairwell on the way down, and it was over by the first floor.

Femi's meter had run out an hour before. There was no ticket under the wiper, because the warden, it turned out, had
been the fourth accountant's husband, and he had been waiting in the lobby with a flask of tea the whole time.
"""


@pytest.fixture
def database(database_url: str) -> Postgres:
    return Postgres(url=database_url, pool_size=3, migrates_itself=True)


@pytest.fixture
def newsroom(newsroom_environment: dict[str, str]) -> Iterator[NewsroomSession]:
    with open_session(load_settings(), prepare=True) as newsroom:
        yield newsroom


def judged(store: Store, finding: GateFinding, thread_id: str = "abc123") -> str:
    store.save_threads([make_thread(thread_id)])
    story_id = store.assign(store.open_order(1, None, None, 3))[0].story_id
    store.save(make_draft(story_id))
    store.save(make_score(story_id))
    store.record_verdicts(story_id, {gate: GateFinding(True, "fine") for gate in GATES[1:4]} | {GATES[0]: finding})
    return story_id


def status(store: Store, story_id: str) -> str:
    return story_record(store, story_id, str).status


def decide(database: Postgres, *decisions: dict[str, str]) -> dict[str, Any]:
    config = {"ops": {"review_desk": {"config": {"decisions": list(decisions)}}}}
    resources = {"database": database, "publisher": Publisher(folder="site")}
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([review_desk], resources=resources, run_config=config, instance=instance,
                                raise_on_error=False)  # fmt: skip
        assert result.success
        return {key: value.value for key, value in result.asset_materializations_for_node("review_desk")[0].metadata.items()}  # fmt: skip  # noqa: E501


def test_a_divided_judge_holds_a_story_and_a_low_score_rejects_it(database: Postgres) -> None:
    held = judged(database.store, GateFinding(False, "the answers lie far apart", held=True))
    low = judged(database.store, GateFinding(False, "7.1 of 10"), "abd124")
    assert (status(database.store, held), status(database.store, low)) == ("held", "rejected")


def test_one_refusal_among_holds_rejects(database: Postgres) -> None:
    story_id = judged(database.store, GateFinding(False, "apart", held=True))
    database.store.record_verdicts(
        story_id, {GATES[0]: GateFinding(False, "apart", held=True), GATES[1]: GateFinding(False, "flagged")}
    )
    assert status(database.store, story_id) == "rejected"


def test_the_desk_lists_what_waits_with_reasons_and_a_preview(database: Postgres) -> None:
    story_id = judged(database.store, GateFinding(False, "the answers lie far apart", held=True))
    shown = decide(database)
    assert shown["held"] == 1
    for part in (story_id, "the answers lie far apart", "The fence moved by a metre"):
        assert part in shown["stories"].replace("\\", "")


def test_a_story_approved_in_the_ui_waits_for_a_run_and_says_who_let_it_through(database: Postgres) -> None:
    story_id = judged(database.store, GateFinding(False, "apart", held=True))
    decide(database, {"story": story_id, "ruling": "APPROVE", "by": "Ada", "reason": "reads well"})
    assert status(database.store, story_id) == "assigned"
    assert [one.story_id for order in database.store.open_orders() for one in database.store.waiting(order.id)] == [
        story_id
    ]
    verdict = database.store.verdicts(story_id)[0]
    assert (verdict.overridden_by, verdict.override_reason, verdict.lets_through) == ("Ada", "reads well", True)


def test_a_story_turned_down_in_the_ui_stays_rejected_with_the_reason(database: Postgres) -> None:
    story_id = judged(database.store, GateFinding(False, "apart", held=True))
    decide(database, {"story": story_id, "ruling": "REJECT", "by": "Ada", "reason": "too thin"})
    record = story_record(database.store, story_id, str)
    assert record.status == "rejected"
    assert ("editor", "too thin") in [(one.check, one.message) for one in record.reasons]
    assert [(one.action, one.actor) for one in record.decisions] == [("reject", "Ada")]


def test_a_published_story_cannot_be_turned_down(database: Postgres) -> None:
    with pytest.raises(PermanentFailure, match="not waiting"):
        database.store.reject("no-such-story", "Ada", "because")


def manual(newsroom: NewsroomSession, folder: Path, text: str) -> dict[str, Any]:
    path = folder / "lift.md"
    path.write_text(text)
    return import_manual(newsroom, [path], [], dry_run=False)


def test_a_story_a_person_wrote_is_published_under_their_name_through_the_same_gates(
    newsroom: NewsroomSession, tmp_path: Path
) -> None:
    done = manual(newsroom, tmp_path, MARKDOWN)
    record = done["stories"][0]
    assert record.status == "published", record.reasons
    assert (done["read"], done["imported"], record.id, record.writer) == (
        1,
        1,
        "manual-the-lift-that-stopped-for-tea",
        "manual",
    )
    page = Path(record.page).read_text()
    assert "written by <b>Ada Reuter</b>, a person" in page
    assert json.loads(Path(record.page).with_name("provenance.json").read_text())["writer"] == "manual"
    assert manual(newsroom, tmp_path, MARKDOWN)["unchanged"] == 1
    assert len(newsroom.store.published()) == 1


def test_a_story_with_quotes_nobody_can_check_is_held_until_a_person_approves_it(
    newsroom: NewsroomSession, tmp_path: Path
) -> None:
    document = {"title": "A lift", "category": "workplace", "text": MARKDOWN.split("---\n")[2],
                "quotes": [{"text": "I was there the whole time.", "comment_id": "x"}]}  # fmt: skip
    done = manual(newsroom, tmp_path, json.dumps(document))
    assert [done[name] for name in ("read", "imported", "rejected")] == [1, 0, 1]
    record = done["stories"][0]
    assert (record.status, record.reasons[0].check) == ("held", "quotes_are_grounded")
    approved = publish_story(newsroom, record.id, ("Ada", "I know the witness"))
    assert approved.status == "published"
    assert approved.provenance is not None
    assert approved.provenance.signed_off_by == ("Ada",)
    newsroom.build_site()
    page = Path(approved.page).read_text()
    assert "overruled a check: quotes are grounded, by Ada: I know the witness" in page


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("no head at all", "has no head"),
        ("---\ntitle: [\n---\ntext", "not YAML"),
        ("---\na: &a [b]\ntitle: *a\n---\ntext", "not YAML"),
        ("---\ntitle: A\n---\ntext", "category"),
        ("---\ntitle:\ncategory: food\n---\ntext", "title"),
        ("{not json", "not JSON"),
        ('[{"title": "A", "category": "workplace"}]', "sections"),
        ("[3]", "no object"),
    ],
)
def test_a_file_that_holds_no_story_is_one_clear_line(text: str, problem: str) -> None:
    with pytest.raises(RefusedRecord, match=problem):
        RecordReader(*read_catalogue(), datetime.now(UTC)).story(manual_records(text)[0])


@pytest.mark.parametrize("title", ["1984", "No", "2024-01-01", "12:30", "1_000", "0x1F", ".inf"])
def test_a_head_is_read_as_it_is_written(title: str) -> None:
    (record,) = manual_records(f"\n---\ntitle: {title}\nauthor: ~\ntags: goats, rhubarb\n...\nA text.")
    assert (record["title"], record["author"], record["tags"]) == (title, None, "goats, rhubarb")


def test_a_story_takes_the_place_of_the_one_with_its_slug_or_title_and_of_no_other() -> None:
    reader = RecordReader(*read_catalogue(), datetime.now(UTC))

    def key(title: str, titles: dict[str, str], **head: str) -> str:
        story = reader.story({"title": title, "category": "food", "text": "A text.", **head})
        return manual_id(story, titles.get)

    goats, cows = (key(title, {}) for title in ("🐐🐐", "🐄🐄"))
    assert goats != cows
    long = "Letters from the allotments and the people who keep them there, part"
    assert key(f"{long} 1", {}) != key(f"{long} 2", {})
    assert key("A lift", {}) == key("A lift", {"manual-a-lift": "A lift"}) == "manual-a-lift"
    other = key("A lift!", {"manual-a-lift": "A lift"})
    assert other.startswith("manual-a-lift-")
    assert key("A lift!", {"manual-a-lift": "A lift", other: "A lift!"}) == other
    assert key("Another title", {"manual-x": "A lift"}, slug="x") == "manual-x"
    cut = "manual-letters-from-the-allotments-and-the-people-who-keep-them"
    assert key(f"{long} 1", {cut: f"{long} 1"}) == cut
    assert key(f"{long} 2", {cut: f"{long} 1"}).endswith("part-2")


@pytest.mark.parametrize(
    "text", ['[{"a":1},{"a":2}]', '{"meta":{},"stories":[{"a":1},{"a":2}]}', '{"a":1}\n{"a":2}\n', '{"a":1}{"a":2}']
)
def test_a_file_may_hold_several_stories_in_any_way_of_writing_json(text: str) -> None:
    assert manual_records(text) == [{"a": 1}, {"a": 2}]
    assert manual_records('{"a": 1, "stories": 2}') == [{"a": 1, "stories": 2}]


def test_a_file_in_another_encoding_is_read() -> None:
    for encoding in ("utf-16", "utf-16-le", "utf-8-sig"):
        (record,) = manual_records(text_of("---\r\ntitle: Ä\r\n---\r\nOne\r\n".encode(encoding)))
        assert (record["title"], record["text"]) == ("Ä", "One\n")
