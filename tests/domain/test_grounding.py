"""Quotes, excerpts, quoted spans and links are held against the thread, both ways."""

from datetime import UTC, datetime

import pytest

from threadjuice_dagster.domain.grounding import Grounding, ground
from threadjuice_dagster.domain.stories import Draft, Quote, Section
from threadjuice_dagster.domain.threads import Comment, Thread

WHEN = datetime(2024, 3, 1, tzinfo=UTC)
POST = (
    "My landlord, Mr Okafor, keeps *three* geese in the courtyard. They wake me at 5 a.m. every day.\n\n"
    "I offered him £40 to move them. He said “geese don't take bribes” and laughed."
)
FIRST = "Honestly?  I would   **never** move out. Geese are better than any burglar alarm—trust me, I've had both."
SECOND = "> They wake me\n\nBuy earplugs. Then write to the council; they can't ignore\nnoise before six. See [the guide](https://council.example.org/noise)."
THIRD = "Feed them... then they will follow you forever. It isn’t hard &amp; it's cheap."


def thread() -> Thread:
    bodies = {"aaa1": FIRST, "bbb2": SECOND, "ccc3": THIRD}
    return Thread(
        id="t1x",
        source="file",
        subreddit="neighbours",
        title="The geese downstairs have won",
        body=POST,
        permalink="https://www.reddit.com/r/neighbours/comments/t1x/",
        score=812,
        num_comments=3,
        created_at=WHEN,
        comments=tuple(Comment(id=key, body=body, created_at=WHEN) for key, body in bodies.items()),
    )


def check(text: str = "Three geese rule a courtyard.", kind: str = "narrative", **fields: object) -> Grounding:
    return ground(Draft(title="Geese", sections=(Section(kind=kind, text=text, heading=""),), **fields), thread())


def quoted(text: str, comment_id: str) -> Grounding:
    return check(quotes=(Quote(text=text, comment_id=comment_id),))


@pytest.mark.parametrize(
    ("text", "comment_id"),
    [
        ("Geese are better than any burglar alarm", "aaa1"),
        ("geese are better than any burglar alarm - trust me.", "aaa1"),
        ("I would never move out", "aaa1"),
        ("I would **never** move out!", "t1_aaa1"),
        ("“I've had both”", "aaa1"),
        ("I’ve had both,", "aaa1"),
        ("they can't ignore noise before six", "bbb2"),
        ("See the guide", "bbb2"),
        ("Feed them…then they will follow you", "ccc3"),
        ("Feed them ... it isn't hard & it's cheap", "ccc3"),
        ("Feed them [...] follow you forever", "ccc3"),
        ("…follow you forever…", "ccc3"),
        ("It isn't hard & it's cheap", "ccc3"),
    ],
)
def test_an_exact_quote_is_found_in_its_comment(text: str, comment_id: str) -> None:
    result = quoted(text, comment_id)
    assert result.ok, result.problems
    assert result.quotes[0].found


@pytest.mark.parametrize(
    ("text", "comment_id", "message"),
    [
        ("Geese are better than every burglar alarm", "aaa1", "word for word"),
        ("I would never ever move out", "aaa1", "word for word"),
        ("I would move out", "aaa1", "word for word"),
        ("eese are better than any burglar", "aaa1", "word for word"),
        ("Geese are better than any burglar alar", "aaa1", "word for word"),
        ("follow you forever ... Feed them", "ccc3", "word for word"),
        ("Feed them ... noise before six", "ccc3", "word for word"),
        ("I [...] move out", "aaa1", "word for word"),
        ("Buy earplugs", "aaa1", "comment bbb2"),
        ("Buy earplugs", "zzz9", "comment bbb2"),
        ("Nobody ever said this", "zzz9", "does not have"),
        ("Geese", "aaa1", "shorter than"),
        ("", "aaa1", "shorter than"),
        ("...", "aaa1", "shorter than"),
        ("My landlord, Mr Okafor", "aaa1", "word for word"),
    ],
)
def test_a_changed_misplaced_or_empty_quote_is_refused(text: str, comment_id: str, message: str) -> None:
    result = quoted(text, comment_id)
    assert not result.ok
    assert result.quotes[0].found is False
    assert message in result.problems[0]


@pytest.mark.parametrize("word", ["are", "better", "any", "burglar"])
def test_changing_any_single_word_of_a_quote_refuses_it(word: str) -> None:
    exact = "Geese are better than any burglar alarm"
    assert quoted(exact, "aaa1").ok
    assert not quoted(exact.replace(word, word + "s"), "aaa1").ok
    assert not quoted(exact.replace(word + " ", ""), "aaa1").ok


def test_an_excerpt_must_be_the_sources_own_words_sentence_by_sentence() -> None:
    assert check(
        "My landlord, Mr Okafor, keeps three geese in the courtyard. I offered him £40 to move them.", "excerpt"
    ).ok
    bad = check("My landlord, Mr Okafor, keeps three geese in the courtyard. He refused £40.", "excerpt")
    assert len(bad.problems) == 1
    assert "He refused" in bad.problems[0]


@pytest.mark.parametrize(
    ("text", "ok"),
    [
        ('The landlord said "geese don\'t take bribes" and that was that.', True),
        ("One reader wrote, “Geese are better than any burglar alarm,” and was believed.", True),
        ("One reader wrote, ‘they can’t ignore noise before six’, which settled it.", True),
        ("The so-called “alarm system” honked.", True),
        ("The landlord said “these geese are my children” and laughed.", False),
        ('The landlord said "these geese are my children" and laughed.', False),
        ("It was ‘a truly terrible week of honking’, by all accounts.", False),
        ("The dogs’ bowls stood next to the neighbours’ geese and nobody’s sleep was safe.", True),
        ('He was 5\' 10" tall and the goose was about 30" long, all told, and loud.', True),
    ],
)
def test_words_in_quotation_marks_must_be_somebodys(text: str, ok: bool) -> None:
    assert check(text).ok is ok


@pytest.mark.parametrize(
    "text",
    [
        "Ask u/goose_lord about it.",
        "Read more at https://spam.example.com/geese now.",
        "Go to www.geese-for-sale.com today.",
        "Visit cheap-geese.shop today.",
        'Click <a href="https://x.test">here</a>.',
        "Click [here](/buy) for more.",
        "Hello <script>alert(1)</script> there.",
    ],
)
def test_a_link_user_name_or_markup_that_the_thread_lacks_is_refused(text: str) -> None:
    assert not check(text).ok


def test_a_link_of_the_thread_and_ordinary_punctuation_are_not_refused() -> None:
    assert check("The guide is at https://council.example.org/noise.").ok
    assert check("The bill was 3 < 4 pounds, e.g. nothing, vs. the and/or clause; see r/neighbours.").ok


def test_numbers_and_names_that_the_thread_lacks_are_listed_but_do_not_refuse() -> None:
    result = check("The man called Okafor took £40 at 5 a.m., while Brenda paid 75 pounds to three geese in Leeds.")
    assert result.ok
    assert set(result.unsupported) == {"75 pounds", "Brenda", "Leeds"}


def test_names_are_held_against_the_thread_whole_whatever_their_letters() -> None:
    result = check("Okafor’s brother came from Tromsø with Åse Ødegård and the Smith-Jones twins.")
    assert result.unsupported == ("Tromsø", "Åse", "Ødegård", "Smith-Jones")


def test_a_draft_of_a_thread_without_comments_can_still_be_grounded() -> None:
    bare = thread().model_copy(update={"comments": ()})
    draft = Draft(title="Geese", sections=(Section(kind="narrative", heading="", text="Geese honk."),))
    assert ground(draft, bare).ok
