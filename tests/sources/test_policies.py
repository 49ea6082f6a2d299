"""Every source states the terms that it offers its threads on."""

import pytest

from threadjuice_dagster.operations.policy import EditorialPolicy
from threadjuice_dagster.sources.reddit import RedditThreads
from threadjuice_dagster.sources.samples import SampleThreads
from threadjuice_dagster.sources.thread_source import ThreadSource

SOURCES = [RedditThreads(client_id="id", client_secret="secret"), SampleThreads()]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: type(source).__name__)
def test_a_source_has_a_policy_and_keeps_texts_no_longer_than_it_allows(source: ThreadSource) -> None:
    policy = source.policy
    assert policy.terms
    assert policy.licence
    assert policy.deletion_hours is None or EditorialPolicy().thread_retention_hours <= policy.deletion_hours


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: type(source).__name__)
def test_a_source_tells_its_addresses_from_files(source: ThreadSource) -> None:
    assert source.recognises("https://www.reddit.com/r/cooking/comments/1abcde/soup/")
    assert not source.recognises("soup.json")
