"""A story names its source; authors are named where a licence demands it, and nowhere else."""

import json

import pytest
from makers import make_draft, make_score
from sourced import every_thread, thread_from

from threadjuice_dagster.domain.judging.grounding import Grounding, Passage
from threadjuice_dagster.domain.story.credit import POST, SourceCredit, credit_of
from threadjuice_dagster.domain.story.provenance import StorySource
from threadjuice_dagster.domain.story.stories import StoryDraft
from threadjuice_dagster.domain.story.threads import Author, Comment, Thread
from threadjuice_dagster.operations.takedowns.rules import can_be_cut, draft_without, score_without

DEED = "https://creativecommons.org/licenses/by-sa/4.0/"
NAMES = ("Rota Keeper", "Orla Penhaligon", "T. Vasquez-Lind", "Benedikta Rowe")
QUESTION = thread_from("stackexchange")
elsewhere = pytest.mark.parametrize(
    "thread",
    [thread for thread in every_thread() if thread.source != "stackexchange"],
    ids=lambda thread: thread.source,
)


def with_authors(thread: Thread) -> Thread:
    """The thread as if its parser had stored the authors of its texts."""
    who = Author(name="SomebodyNamed", url="https://example.org/users/1")
    comments = (comment.model_copy(update={"author": who}) for comment in thread.comments)
    return thread.model_copy(update={"author": who, "comments": tuple(comments)})


class TestALicensedThread:
    def test_credits_every_author_with_a_link_to_the_text(self) -> None:
        credit = credit_of(QUESTION)
        assert [text.author.name if text.author else "" for text in credit.texts] == [
            "Rota Keeper",
            "Orla Penhaligon",
            "T. Vasquez-Lind",
            "",
            "Benedikta Rowe",
            "Benedikta Rowe",
        ]
        assert all(text.address.startswith("https://workplace.stackexchange.com/") for text in credit.texts)
        assert [text.kind for text in credit.texts] == ["question", *["answer"] * 3, *["comment"] * 2]
        assert [text.place for text in credit.texts if text.accepted] == ["98767"]

    def test_puts_the_story_under_its_licence(self) -> None:
        credit = credit_of(QUESTION)
        assert (credit.licence_name, credit.licence_url) == ("CC BY-SA 4.0", DEED)
        assert credit.notice.startswith("This story is adapted from “How do I defend a clipboard")
        assert credit.notice.endswith(f"and is licensed CC BY-SA 4.0 ({DEED}).")
        assert all(name in credit.notice for name in (*NAMES, "an author who is not named", QUESTION.permalink))

    @pytest.mark.parametrize("older", ["cc-by-sa-2.5", "cc-by-sa-3.0"])
    def test_under_an_older_version_gives_a_story_under_the_later_one(self, older: str) -> None:
        credit = credit_of(thread_from("stackexchange", licence=older))
        assert (credit.licence, credit.licence_name, credit.licence_url) == (older, "CC BY-SA 4.0", DEED)

    def test_without_share_alike_leaves_the_story_its_own(self) -> None:
        credit = credit_of(thread_from("discourse", licence="cc-by-4.0"))
        assert (credit.licence_name, credit.licence_url) == ("", "")
        assert credit.notice.endswith(", licensed CC BY 4.0.")

    def test_names_the_licence_of_a_text_that_has_another_one(self) -> None:
        first, *others = QUESTION.comments
        older = QUESTION.model_copy(
            update={"comments": (first.model_copy(update={"licence": "cc-by-sa-3.0"}), *others)}
        )
        assert [text.licence for text in credit_of(older).texts] == ["", "cc-by-sa-3.0", "", "", "", ""]

    def test_credits_all_answers_and_those_comments_whose_words_are_used(self) -> None:
        credit = credit_of(QUESTION).narrowed(["t1_98772"])
        assert [text.place for text in credit.texts] == [POST, "98767", "98768", "98769", "98772"]

    def test_keeps_its_credit_when_its_text_expires(self) -> None:
        story = make_draft("se-workplace-98765", credit=credit_of(QUESTION))
        assert not any(name in QUESTION.without_text().model_dump_json() for name in NAMES)
        stored = StoryDraft.model_validate_json(story.model_dump_json())
        assert stored.credit == credit_of(QUESTION)


class TestAThreadWithoutALicence:
    @elsewhere
    def test_names_nobody_even_if_names_were_stored(self, thread: Thread) -> None:
        credit = credit_of(with_authors(thread))
        assert "SomebodyNamed" not in credit.model_dump_json()
        assert (credit.licence_name, credit.licence_url, credit.title) == ("", "", "")

    @elsewhere
    def test_keeps_post_and_quoted_comments_alone(self, thread: Thread) -> None:
        credit = credit_of(thread).narrowed(["c2", "t1_c4", POST])
        assert [text.place for text in credit.texts] == [POST, "c2", "c4"]

    def test_is_called_what_it_is(self) -> None:
        notices = {thread.source: credit_of(thread).notice for thread in every_thread()}
        assert notices["reddit"] == (
            "This story is adapted from a thread on r/flatshare (https://www.reddit.com/r/flatshare/comments/1frz01/)."
        )
        assert notices["lemmy"].startswith(
            "This story is adapted from a thread in the Housing community on lemmy.world"
        )
        assert notices["submission"] == "This story is adapted from a reader's submission."
        assert notices["sample"] == "This story is adapted from a sample thread written for ThreadJuice."

    def test_never_claims_a_thread_on_reddit_for_a_sample(self) -> None:
        assert "reddit" not in credit_of(thread_from("sample")).model_dump_json().lower()


class TestARecordOfAnEarlierVersion:
    def test_of_a_thread_on_reddit_stays_readable(self) -> None:
        url = "https://www.reddit.com/r/cooking/comments/abc123/"
        credit = SourceCredit.model_validate({"source_url": url, "subreddit": "cooking"})
        assert (credit.source, credit.community, credit.permalink) == ("reddit", "cooking", url)

    def test_of_a_sample_stays_one(self) -> None:
        credit = SourceCredit.model_validate({"source_url": "", "subreddit": "cooking"})
        assert (credit.source, credit.permalink) == ("sample", "")

    def test_without_a_thread_credits_nobody(self) -> None:
        credit = SourceCredit.model_validate({"source_url": "", "subreddit": ""})
        assert credit == SourceCredit()
        assert credit.notice == ""

    def test_of_a_provenance_keeps_its_passages(self) -> None:
        passage = {"place": "c1", "kind": "quote", "start": 0, "end": 9, "digest": "d"}
        url = "https://www.reddit.com/r/x/comments/abc123/"
        stored = {"thread": "abc123", "permalink": url, "subreddit": "x", "passages": [passage]}
        source = StorySource.model_validate(stored)
        assert (source.source, source.community, source.permalink, source.thread) == ("reddit", "x", url, "abc123")
        assert source.passages == (Passage.model_validate(passage),)

    def test_of_this_version_is_read_as_it_was_written(self) -> None:
        for thread in every_thread():
            credit = credit_of(thread)
            assert SourceCredit.model_validate(json.loads(credit.model_dump_json())) == credit


class TestATextThatWasDeleted:
    def test_loses_its_credit_and_leaves_the_others(self) -> None:
        credit = credit_of(QUESTION).without("98768")
        assert "Vasquez" not in credit.model_dump_json()
        assert all(name in credit.notice for name in ("Rota Keeper", "Orla Penhaligon", "Benedikta Rowe"))

    def test_is_taken_out_of_a_draft_and_its_score(self) -> None:
        story = make_draft("s", credit=credit_of(QUESTION))
        score = make_score("s").model_copy(update={"grounding": Grounding()})
        assert can_be_cut(story, score, "98768")
        left = draft_without(story, "98768").model_dump_json() + score_without(score, "98768").model_dump_json()
        assert "Vasquez" not in left

    def test_is_found_by_its_old_prefix_too(self) -> None:
        credit = credit_of(QUESTION)
        assert credit.text("t1_98768") == credit.text("98768")
        assert credit.without("t1_98768") == credit.without("98768")


def test_a_comment_of_a_source_without_own_addresses_has_none() -> None:
    comment = Comment(id="c1", body="A reply.", created_at=QUESTION.created_at)
    credit = credit_of(thread_from("reddit"), [comment])
    assert [text.address for text in credit.texts][1:] == [""]
