"""Every source states the terms that it offers its threads on."""

import pytest

from threadjuice_dagster.operations.policy import EditorialPolicy
from threadjuice_dagster.sources.registry import ThreadSources
from threadjuice_dagster.sources.thread_source import ThreadSource

SOURCES = ThreadSources().sources()


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_source_has_a_policy_and_keeps_texts_no_longer_than_it_allows(source: ThreadSource) -> None:
    policy = source.policy
    assert policy.terms
    assert policy.licence
    assert policy.deletion_hours is None or EditorialPolicy().thread_retention_hours <= policy.deletion_hours
    assert policy.stores_author_names <= policy.share_alike, "an author is stored only where a licence demands credit"


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_source_tells_its_addresses_from_files(source: ThreadSource) -> None:
    assert not source.recognises("soup.json")
    assert not source.recognises("./a folder/soup.md")


def test_an_address_belongs_to_one_source() -> None:
    assert ThreadSources().recognises("https://www.reddit.com/r/cooking/comments/1abcde/soup/")
    assert not ThreadSources().recognises("https://www.example.org/soup")
