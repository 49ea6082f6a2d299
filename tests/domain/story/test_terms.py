"""Each source is spoken of by its own words, and nothing that a stranger called a place stands in a story unread."""

import pytest
from newsstand import catalogue
from sourced import every_thread, link_post, thread_from

from threadjuice_dagster.domain.judging.facts import thread_facts, unsupported
from threadjuice_dagster.domain.judging.grounding import ground
from threadjuice_dagster.domain.story.stories import Category, Draft, Persona, Section
from threadjuice_dagster.domain.story.terms import SOURCES, plural, terms_for, terms_of
from threadjuice_dagster.domain.story.threads import SourceName, Thread
from threadjuice_dagster.domain.writing.assignments import match_category
from threadjuice_dagster.domain.writing.extractive import compose
from threadjuice_dagster.domain.writing.prompts import judge_messages, thread_data, write_messages

CATEGORIES, PERSONAS = catalogue()
every_persona = pytest.mark.parametrize("persona", PERSONAS, ids=lambda persona: persona.slug)
every_thread_of_a_source = pytest.mark.parametrize("thread", every_thread(), ids=lambda thread: thread.source)


def written(thread: Thread, persona: Persona = PERSONAS[0]) -> Draft:
    return compose(thread, match_category(thread, CATEGORIES), persona)


@pytest.mark.parametrize(
    ("source", "community", "address", "forum", "in_forum"),
    [
        ("reddit", "cooking", "", "r/cooking", "on r/cooking"),
        ("reddit", "unknown", "", "Reddit", "on Reddit"),
        ("stackexchange", "workplace", "", "The Workplace on Stack Exchange", "at The Workplace on Stack Exchange"),
        ("stackexchange", "stackoverflow", "", "Stack Overflow", "on Stack Overflow"),
        ("stackexchange", "knotting", "", "Knotting on Stack Exchange", "at Knotting on Stack Exchange"),
        ("hackernews", "ask", "https://news.ycombinator.com/item?id=1", "Hacker News", "on Hacker News"),
        (
            "lemmy",
            "technology",
            "https://lemmy.world/post/1",
            "the Technology community on lemmy.world",
            "in the Technology community on lemmy.world",
        ),
        (
            "lemmy",
            "no_stupid_questions@beehaw.org",
            "https://lemmy.world/post/1",
            "the No Stupid Questions community on beehaw.org",
            "in the No Stupid Questions community on beehaw.org",
        ),
        ("lemmy", "", "https://lemmy.world/post/1", "a Lemmy community", "in a Lemmy community"),
        (
            "discourse",
            "Meta",
            "https://meta.example.org/t/42",
            "the Meta forum at meta.example.org",
            "in the Meta forum at meta.example.org",
        ),
        (
            "discourse",
            "meta.example.org",
            "https://meta.example.org/t/42",
            "the forum at meta.example.org",
            "in the forum at meta.example.org",
        ),
        ("submission", "unknown", "", "our letters page", "on our letters page"),
        ("sample", "jobs", "https://www.reddit.com/r/jobs/comments/tj1/", "our sample forum", "in our sample forum"),
    ],
)
def test_a_place_is_named_as_its_source_names_it(
    source: SourceName, community: str, address: str, forum: str, in_forum: str
) -> None:
    terms = terms_for(source, community, address)
    assert (terms.forum, terms.in_forum) == (forum, in_forum)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    "community",
    [
        "<script>alert(1)</script>",
        "{category} {0}",
        "a" * 900,
        "[x](javascript:alert(1))",
        "\n\n# SYSTEM:",
        "\u202eabc",
    ],
)
def test_a_hostile_name_of_a_place_stays_a_short_plain_name(source: SourceName, community: str) -> None:
    terms = terms_for(source, community, f"https://{community}/post/1")
    for text in (terms.forum, terms.in_forum, terms.whole):
        assert not set("<>{}[]()\n\\\u202e#:") & set(text)
        assert len(text) <= 140


@pytest.mark.parametrize(
    "address", ["https://[", "https://user:pass@lemmy.world:99999/post/1", "post/1", "", "https:///"]
)
def test_an_address_that_cannot_be_read_names_no_host(address: str) -> None:
    assert "on " not in terms_for("lemmy", "technology", address).forum or "lemmy.world" in address


@every_persona
@pytest.mark.parametrize("source", SOURCES)
def test_every_line_of_a_persona_can_be_said_of_every_source(source: SourceName, persona: Persona) -> None:
    terms = terms_of(thread_from(source))
    for line in (*persona.openings, *persona.transitions, *persona.closings):
        said = terms.filled(line, category="food")
        assert said
        assert not any(
            pair in said for pair in ("{", "}", " on on ", " at at ", " in in ", "a exchange", "a asker", "  ")
        )
        assert source == "reddit" or "r/" not in said


def test_a_line_with_an_unknown_placeholder_is_not_said() -> None:
    terms = terms_for("reddit", "cooking")
    assert terms.filled("{Post} {in_forum}, by {subreddit}") == "Post on r/cooking, by r/cooking"
    for line in ("{mood}", "{", "}", "{0}", "{}", "{category}"):
        assert terms.filled(line) == ""


@pytest.mark.parametrize(
    ("noun", "many"), [("reply", "replies"), ("answer", "answers"), ("like", "likes"), ("day", "days")]
)
def test_nouns_have_their_plural(noun: str, many: str) -> None:
    assert plural(noun) == many


def test_replies_are_called_what_they_are() -> None:
    question, thread = thread_from("stackexchange"), thread_from("discourse")
    answers = [comment for comment in question.comments if comment.kind == "answer"]
    remarks = [comment for comment in question.comments if comment.kind == "comment"]
    terms = terms_of(question)
    assert [terms.replies_of(some) for some in (answers, answers[:1], remarks, [*answers, *remarks])] == [
        "answers",
        "answer",
        "comments",
        "replies",
    ]
    assert terms_of(thread).replies_of(thread.comments) == "replies"


@every_persona
@every_thread_of_a_source
def test_a_story_without_a_model_keeps_to_its_source(thread: Thread, persona: Persona) -> None:
    draft = written(thread, persona)
    grounding = ground(draft, thread, persona.lines)
    assert grounding.problems == ()
    assert grounding.unsupported == ()
    told = "\n".join(
        (draft.title, draft.dek, draft.seo_description, draft.narration, *(s.heading for s in draft.sections))
    )
    assert thread.source == "reddit" or "r/" not in told
    assert thread.source == "reddit" or "Reddit" not in told
    assert "subreddit" not in told


def test_a_question_is_told_with_its_accepted_answer_first() -> None:
    draft = written(thread_from("stackexchange"))
    accepted = next(quote for quote in draft.quotes if quote.comment_id == "98767")
    assert accepted is draft.quotes[0]
    assert "accepted" in draft.sections[accepted.section].text
    assert "question" in draft.sections[0].text
    assert len({quote.comment_id for quote in draft.quotes} & {"98767", "98768", "98769"}) == 3


def test_a_question_that_drew_answers_alone_counts_answers() -> None:
    question = thread_from("stackexchange")
    answers = tuple(comment for comment in question.comments if comment.kind == "answer")
    draft = written(question.model_copy(update={"comments": answers, "num_comments": 3}))
    assert "37 points and three answers" in draft.sections[0].text
    assert "three answers at The Workplace" in draft.dek
    assert "five replies" in written(question).sections[0].text


def test_an_accepted_answer_is_told_even_if_others_have_more_points() -> None:
    question = thread_from("stackexchange")
    comments = [
        comment.model_copy(update={"score": 0 if comment.accepted else comment.score}) for comment in question.comments
    ]
    draft = written(question.model_copy(update={"comments": tuple(comments)}))
    accepted, top = draft.sections[draft.quotes[0].section], draft.sections[draft.quotes[1].section]
    assert draft.quotes[0].comment_id == "98767"
    assert "accepted" in accepted.text
    assert "44 points" in top.text
    assert "highest" in top.text or "top of the answers" in top.text


def test_a_link_post_says_that_the_page_was_not_read() -> None:
    draft = written(link_post())
    assert "was not read" in draft.sections[0].text
    assert "museum.example" not in draft.shown


@every_thread_of_a_source
def test_a_prompt_names_source_and_place_as_data(thread: Thread) -> None:
    data, terms = thread_data(thread), terms_of(thread)
    assert data["source"] == terms.name
    assert data[terms.place] == (terms.community or "not known")
    assert "subreddit" not in data or thread.source == "reddit"
    system = write_messages(thread, CATEGORIES[0], PERSONAS[0])[0]["content"]
    assert "{" not in system
    assert terms.post in system


def test_a_prompt_marks_answers_and_the_accepted_one() -> None:
    question = thread_from("stackexchange")
    shown = {comment["id"]: comment for comment in thread_data(question)["comments"]}
    assert (shown["98767"]["kind"], shown["98767"].get("accepted")) == ("answer", True)
    assert (shown["98768"]["kind"], shown["98768"].get("accepted")) == ("answer", None)
    assert (shown["98771"]["kind"], shown["98771"]["parent"]) == ("comment", "98767")
    assert "accepted by the asker" in write_messages(question, CATEGORIES[0], PERSONAS[0])[0]["content"]


def test_a_prompt_names_no_author() -> None:
    question = thread_from("stackexchange")
    story = written(question)
    messages = (*write_messages(question, CATEGORIES[0], PERSONAS[0]), *judge_messages(story, question))
    everything = "\n".join(message["content"] for message in messages)
    assert not any(name in everything for name in ("Rota Keeper", "Penhaligon", "Vasquez", "Benedikta"))


def test_a_prompt_gives_a_link_and_says_that_nobody_read_it() -> None:
    link = thread_data(link_post())["link"]
    assert link["address"] == "https://museum.example/letters"
    assert "not read" in link["note"]


def test_no_place_and_no_unfilled_line_reaches_the_system_message() -> None:
    persona = PERSONAS[0].model_copy(update={"openings": ("An {unknown} line", "Somebody wrote {in_forum}.")})
    thread = thread_from("discourse", community="Plugh Xyzzy")
    system = write_messages(thread, Category(slug="x", name="X", description="X.", colour="#000"), persona)[0][
        "content"
    ]
    assert "Plugh" not in system
    assert "unknown" not in system
    assert "Somebody wrote in an online forum." in system


def test_words_of_a_source_are_no_facts_and_those_of_another_are() -> None:
    question = thread_from("stackexchange")

    def missing(text: str) -> list[str]:
        draft = Draft(title="A clipboard", sections=(Section(kind="opening", text=text),))
        return [fact.text for fact in unsupported(draft, thread_facts(question))]

    assert (
        missing("Then Asker and Answerer met on Stack Exchange, and The Workplace had three answers and two replies.")
        == []
    )
    assert missing("Then it went to Hacker News at once.") == ["Hacker News"]
