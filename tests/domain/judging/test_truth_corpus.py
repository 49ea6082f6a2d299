"""The stories that the gates are measured on: true ones quote exactly, damaged ones differ by a single change."""

import pytest
from corpora.truth import HALVES, SOUND, truth_stories


@pytest.mark.parametrize("half", HALVES)
def test_sound_stories_quote_exactly_and_damaged_ones_differ(half: str) -> None:
    stories = truth_stories(half)
    sound = {story.id: story for story in stories if story.kind == SOUND}
    damaged = [story for story in stories if story.kind != SOUND]
    assert len(sound) >= 24
    assert len(damaged) >= 5 * len(sound)
    for story in sound.values():
        for quote in story.draft.quotes:
            comment = story.thread.comment(quote.comment_id)
            assert comment, story.id
            assert quote.text in comment.body, story.id
    for story in damaged:
        original = sound[story.id.rpartition("-")[0]]
        assert story.draft != original.draft, story.id
        assert story.thread == original.thread


def test_the_halves_tell_of_different_threads() -> None:
    titles = [{story.thread.title for story in truth_stories(half)} for half in HALVES]
    assert len(set.union(*titles)) == sum(map(len, titles))
