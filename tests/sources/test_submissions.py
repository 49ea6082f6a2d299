"""Submissions: what a person types as a post with comments, and what an error says of what cannot be read."""

import time

import pytest

from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.failures import UsageError
from threadjuice_dagster.sources.submissions import (
    MAX_SUBMISSION,
    Submissions,
    is_submission,
    parse_submission,
)
from threadjuice_dagster.sources.thread_source import ThreadFormatError

KETTLE = """---
community: choir
date: 2026-11-20
url: https://forum.example.org/t/42
licence: CC BY-SA 4.0
points: 88
---
# My neighbour's *kettle* sings in G

Every morning at six. Ask low_note.

---

In the evening it hums.

## low_note, 12 points

Mine hums in **D**.

### (poster) +3

Really?

#### Anna

> Really?

Yes.

## -4 points

```
# no heading
```
"""


def shape(thread: Thread) -> list[tuple[str, int, int, bool]]:
    return [(comment.body, comment.depth, comment.score, comment.by_poster) for comment in thread.comments]


def test_a_post_its_comments_and_their_replies_are_read() -> None:
    thread = parse_submission(KETTLE)
    assert (thread.title, thread.community, thread.score) == ("My neighbour's kettle sings in G", "choir", 88)
    assert thread.body == "Every morning at six. Ask another user.\n\nIn the evening it hums."
    assert (thread.source, thread.spec, thread.licence) == ("submission", "submission", "cc-by-sa-4.0")
    assert thread.permalink == "https://forum.example.org/t/42"
    assert thread.created_at.isoformat() == "2026-11-20T00:00:00+00:00"
    assert shape(thread) == [
        ("Mine hums in D.", 0, 12, False),
        ("Really?", 1, 3, True),
        ("> Really?\n\nYes.", 2, 0, False),
        ("```\n# no heading\n```", 0, -4, False),
    ]
    first, second, third, _ = thread.comments
    assert (first.parent_id, second.parent_id, third.parent_id) == (None, first.id, second.id)
    stored = thread.model_dump_json()
    assert not [name for name in ("Anna", "low_note") if name in stored]


def test_rules_alone_part_comments_too() -> None:
    thread = parse_submission("# The kettle\nIt sings.\n---\nSo does mine.\n\n***\n\nMine does not.\n---\n")
    assert (thread.body, [comment.body for comment in thread.comments]) == (
        "It sings.",
        ["So does mine.", "Mine does not."],
    )
    assert (thread.community, thread.permalink, thread.licence) == ("submissions", "", "")


def test_a_long_post_may_have_headings_before_the_comments() -> None:
    thread = parse_submission("# T\n\n## Monday\n\nIt sang.\n\n## Comments\n\n### One\n\nNo.\n\n#### Two\n\nYes.\n")
    assert thread.body == "Monday\n\nIt sang."
    assert shape(thread) == [("No.", 0, 0, False), ("Yes.", 1, 0, False)]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_every_line_end_and_a_byte_order_mark_are_read(ending: str) -> None:
    text = "\ufeff" + KETTLE.replace("\n", ending)
    assert is_submission(text)
    assert parse_submission(text) == parse_submission(KETTLE)


def test_a_correction_is_the_same_thread_and_another_title_is_another() -> None:
    first = parse_submission("# The kettle\nIt sings.\n## A\nOne.\n## B\nTwo.")
    corrected = parse_submission("---\npoints: 3\n---\n# The Kettle \nIt sang.\n## C\nZero.\n## B\nTwo.")
    assert first.id == corrected.id
    assert len(first.id) <= 32
    assert first.comments[1].id == corrected.comments[1].id
    assert parse_submission("# The lid\nIt sings.\n## A\nOne.").id != first.id
    elsewhere = parse_submission("---\ncommunity: choir\n---\n# The kettle\nIt sings.\n## A\nOne.")
    assert elsewhere.id != first.id
    retitled = KETTLE.replace("kettle", "teapot")
    assert parse_submission(retitled).id == parse_submission(KETTLE).id


def test_comments_that_repeat_each_other_have_ids_of_their_own() -> None:
    comments = parse_submission("# T\np\n## A\nYes.\n## B\nYes.\n").comments
    assert len({comment.id for comment in comments}) == 2
    assert all(comment.id.isalnum() and len(comment.id) <= 32 for comment in comments)


def test_deleted_comments_and_those_of_programs_are_left_out_and_their_replies_stay() -> None:
    thread = parse_submission("# T\np\n## A\n[deleted]\n### B\nWhy?\n## AutoModerator\nRules.\n## C\nI am a bot.\n")
    assert [comment.body for comment in thread.comments] == ["Why?"]
    assert thread.comments[0].parent_id


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the title is missing"),
        ("\n\nIt sings.\n# T\n## A\nNo.", "line 3: the title is missing"),
        ("# T\nIt sings.", "line 2: it has no comments"),
        ("# T\nIt sings.\n## A\n\n## B\nNo.", "line 3: this comment has no text"),
        ("# T\n## A\nNo.\n# U\nYes.", "line 4: a second title"),
        ("---\ndate: 2026-11-20\ncomunity: x\n---\n# T\n## A\nNo.", "line 3: “comunity” is no field; known: title"),
        ("---\ndate: soon\n---\n# T\n## A\nNo.", "line 2: date is no date"),
        ("---\nurl: nowhere\n---\n# T\n## A\nNo.", "line 2: url is no web address"),
        ("---\nurl: javascript:alert(1)\n---\n# T\n## A\nNo.", "line 2: url is no web address"),
        ("---\npoints: many\n---\n# T\n## A\nNo.", "line 2: points is no whole number"),
        ("---\nlicence: mine\n---\n# T\n## A\nNo.", "line 2: licence is none of cc0"),
        ("---\nlicence: cc-by-4.0\n---\n# T\n## A\nNo.", "add url"),
        ("---\na: [\n---\n# T\n## A\nNo.", "line 3: the head holds one"),
        ("---\ntitle: [a, b]\n---\n# T\n## A\nNo.", "line 2: “title” is no field"),
        ("# T\n" * (MAX_SUBMISSION // 3), "longer than 500,000 characters"),
    ],
)
def test_an_error_names_the_line_and_what_to_write(text: str, message: str) -> None:
    with pytest.raises(ThreadFormatError, match=message):
        parse_submission(text)


def test_a_title_may_stand_in_the_head() -> None:
    thread = parse_submission("---\ntitle: The kettle\n---\nIt sings.\n## A\nNo.")
    assert (thread.title, thread.body) == ("The kettle", "It sings.")


def test_the_source_takes_text_in_its_form_and_nothing_else() -> None:
    source = Submissions()
    assert source.parse(KETTLE) == parse_submission(KETTLE)
    assert source.parse("It sings.") is source.parse({"title": "x"}) is source.parse([]) is None
    assert not source.recognises("sub-3cc007d7b174")
    assert source.listing("", 10) == []
    with pytest.raises(UsageError, match="has no address"):
        source.thread("sub-3cc007d7b174")


@pytest.mark.parametrize("part", ["# a\n", "## a\n", "---\n", "- ", "> ", "```\n", "1. ", "[", "* a\n ", "---\na: ["])
def test_a_hostile_file_is_read_in_seconds(part: str) -> None:
    began = time.process_time()
    for start in ("# T\n", ""):
        try:
            parse_submission(start + part * ((MAX_SUBMISSION - 10) // len(part)))
        except ThreadFormatError:
            continue
    assert time.process_time() - began < 10
