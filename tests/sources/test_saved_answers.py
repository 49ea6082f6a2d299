"""Saved answers of every source's API: a file is read by the source that it is of, and by no other."""

import json
from pathlib import Path
from typing import Any

import pytest
from servers import discourse_server, lemmy_server, reddit_server, stack_exchange_server

from threadjuice_dagster.failures import UsageError
from threadjuice_dagster.sources.files import thread_from_file
from threadjuice_dagster.sources.registry import ThreadSources

SUBMISSION = "# The kettle\n\nIt sings.\n\n## 3 points\n\nMine too.\n"
ITEM = {"id": 1, "type": "comment", "author": "x", "text": "Mine too.", "created_at_i": 1.77e9, "children": []}
MORE = {"created_at_i": 1.77e9, "story_id": 1}


def answers() -> dict[str, Any]:
    view = lemmy_server.post(130, counts={"comments": 1})
    reply = lemmy_server.comment(61, "Mine hums.")
    reply["comment"]["post_id"] = 130
    posts = [discourse_server.post(1, "<p>It sings.</p>"), discourse_server.post(2, "<p>Mine too.</p>")]
    asked = stack_exchange_server.question(98765, answers=[stack_exchange_server.answer(5, 98765)])
    return {
        "reddit": [
            reddit_server.listing([{"kind": "t3", "data": reddit_server.post("kettle")}]),
            reddit_server.listing([reddit_server.comment("c1", "Mine too.")]),
        ],
        "stackexchange": {"items": [asked], "has_more": False, "quota_remaining": 5},
        "hackernews": {**ITEM, **MORE, "id": 100, "type": "story", "title": "Ask HN: Why does it sing?", "points": 3,
                       "children": [{**ITEM, **MORE, "id": 101, "parent_id": 100}]},
        "lemmy": [{"post_view": view}, {"comments": [reply]}],
        "discourse": {**discourse_server.topic(70), "posts_count": 2,
                      "post_stream": {"posts": posts, "stream": [9001, 9002]}},
        "submission": SUBMISSION,
    }  # fmt: skip


@pytest.mark.parametrize("name", answers())
def test_a_saved_answer_is_read_by_its_own_source_alone(tmp_path: Path, name: str) -> None:
    document = answers()[name]
    path = tmp_path / "saved"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    thread = thread_from_file(path, ThreadSources())
    assert (thread.source, len(thread.comments)) == (name, 1)
    assert len(thread.key) <= 32
    others = [source for source in ThreadSources().sources().values() if source.name not in (name, "sample")]
    assert [source.name for source in others if source.parse(document)] == []


@pytest.mark.parametrize(
    "document",
    [
        {"title": "A story", "text": "It sings.", "category": "food"},
        {"title": "Own form", "body": "It sings.", "comments": [{"id": "c1", "body": "Mine too."}]},
        [{"id": "c1", "body": "Mine too."}],
        {"hits": [{"objectID": "1"}]},
        {"meta": {}, "stories": []},
        {"version": "https://jsonfeed.org/version/1.1", "items": [{"id": "1", "title": "x"}]},
        "It sings.",
        {"message": "Not found"},
    ],
)
def test_what_is_of_no_source_is_of_none(tmp_path: Path, document: Any) -> None:
    assert ThreadSources().parse(document) is None
    path = tmp_path / "saved"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(UsageError, match="no thread of a known source"):
        thread_from_file(path, ThreadSources())
