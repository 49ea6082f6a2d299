"""Quotes, excerpts, quoted spans, links, numbers and names are held against the thread, both ways."""

import hashlib
from collections import Counter
from datetime import UTC, datetime
from random import Random

import pytest
from corpora.inventions import PLANTS, sound
from corpora.stories import HALVES

from threadjuice_dagster.domain.judging.grounding import MAX_UNSUPPORTED, Grounding, ground
from threadjuice_dagster.domain.language.numbers import numbers
from threadjuice_dagster.domain.language.wording import locate
from threadjuice_dagster.domain.story.stories import Draft, Quote, Section
from threadjuice_dagster.domain.story.threads import Comment, Thread

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


def facts(text: str, **fields: object) -> list[str]:
    return [line.split(" (in “")[0] for line in check(text, **fields).unsupported]


def test_a_found_quote_says_where_in_the_stored_comment_it_stands() -> None:
    for text, comment_id, stored in [
        ("Honestly? I would never move out.", "aaa1", "Honestly?  I would   **never** move out."),
        (
            "Geese are better than any burglar alarm - trust me",
            "aaa1",
            "Geese are better than any burglar alarm—trust me",
        ),
        ("they can't ignore noise before six", "bbb2", "they can't ignore\nnoise before six"),
        ("Feed them ... It isn't hard & it's cheap.", "ccc3", THIRD),
        ("“See the guide”", "t1_bbb2", "See [the guide"),
    ]:
        finding = quoted(text, comment_id).quotes[0]
        body = {"aaa1": FIRST, "bbb2": SECOND, "ccc3": THIRD}[comment_id.removeprefix("t1_")]
        assert body[finding.start : finding.end] == stored


def test_a_place_is_exact_beside_letters_and_marks_outside_ascii() -> None:
    body = "She said “Élan is ALL you need” &amp; left."
    start, end = locate("élan is all you need", body) or (0, 0)
    assert body[start:end] == "Élan is ALL you need"


def test_a_quote_that_is_not_found_has_no_place() -> None:
    finding = quoted("Nobody ever said this", "aaa1").quotes[0]
    assert (finding.start, finding.end) == (-1, -1)


def test_every_verbatim_passage_is_recorded_with_its_place_and_the_digest_of_its_source() -> None:
    result = check(
        "They wake me at 5 a.m. every day. Buy earplugs, some said. A reader wrote that geese “follow you forever”. "
        "Geese are better than any burglar alarm—trust me, I've had both.",
        quotes=(Quote(text="Buy earplugs", comment_id="bbb2"),),
    )
    bodies = {"post": POST, "aaa1": FIRST, "bbb2": SECOND, "ccc3": THIRD}
    assert [(one.place, one.kind, bodies[one.place][one.start : one.end]) for one in result.passages] == [
        ("bbb2", "quote", "Buy earplugs"),
        ("post", "text", "They wake me at 5 a.m. every day."),
        ("aaa1", "text", "Geese are better than any burglar alarm—trust me, I've had both."),
        ("ccc3", "text", "follow you forever"),
    ]
    for one in result.passages:
        assert one.digest == hashlib.sha256(bodies[one.place].encode()).hexdigest()


def test_an_excerpt_is_recorded_sentence_by_sentence_and_short_sentences_of_the_narration_are_not() -> None:
    passages = check("He said “geese don't take bribes” and laughed.", "excerpt").passages
    assert [(one.place, POST[one.start : one.end]) for one in passages] == [
        ("post", "He said “geese don't take bribes” and laughed.")
    ]
    assert not check("Buy earplugs.").passages


def test_numbers_and_names_that_the_thread_lacks_are_listed_with_their_sentence_and_few_do_not_refuse() -> None:
    result = check("The man called Okafor took £40 at 5 a.m., while Brenda paid 75 pounds to three geese in Leeds.")
    assert result.ok
    assert [line.split(" (in “")[0] for line in result.unsupported] == ["75", "Brenda", "Leeds"]
    assert all("The man called Okafor" in line for line in result.unsupported)


def test_more_than_the_bound_of_unsupported_facts_refuse_and_are_named() -> None:
    invented = [
        "Brenda had heard of it.",
        "It cost £75.",
        "They moved to Leeds.",
        "This was in August.",
        "A Toyota came.",
    ]
    assert check(" ".join(invented[:MAX_UNSUPPORTED])).ok
    problems = check(" ".join(invented[: MAX_UNSUPPORTED + 1])).problems
    assert len(problems) == 1
    assert all(name in problems[0] for name in ("Brenda", "£75", "Leeds", "August"))


def test_names_are_held_against_the_thread_whole_whatever_their_letters() -> None:
    found = facts("Okafor’s brother came from Tromsø with Åse Ødegård and the Smith-Jones twins.")
    assert found == ["Tromsø", "Åse Ødegård", "Smith-Jones"]


@pytest.mark.parametrize(
    ("text", "invented"),
    [
        ("Brenda kept geese as well.", ["Brenda"]),
        ("Brenda’s geese were quieter.", ["Brenda"]),
        ("Brenda Walsh and the landlord met. Brenda laughed.", ["Brenda Walsh"]),
        ("Marcus Okafor said no.", ["Marcus Okafor"]),
        ("Nobody slept. Perhaps Mr Okafor did. Exhausted, the tenant wrote to the council.", []),
        ("Geese woke him. Silence would have been cheaper. Walking away was no option.", []),
        ("It was a Wednesday in August.", ["Wednesday", "August"]),
        ("It was posted on a Friday in March.", []),
        ("The RSPCA and IKEA were called; TV was no help.", ["RSPCA", "IKEA"]),
        ("They lived in Saskatchewan, or so Reddit and r/neighbours believed.", ["Saskatchewan"]),
        ("THE GEESE HAVE WON", []),
    ],
)
def test_a_name_the_thread_lacks_is_found_wherever_it_stands(text: str, invented: list[str]) -> None:
    assert facts(text) == invented


@pytest.mark.parametrize(
    ("text", "invented"),
    [
        ("He keeps 3 geese, and the third one bites.", []),
        ("Four geese came.", ["Four"]),
        ("Fourteen geese came.", ["Fourteen"]),
        ("A dozen geese came, then twenty-one more.", ["A dozen", "twenty-one"]),
        ("He paid forty pounds at five.", []),
        ("He paid £41.", ["£41"]),
        ("It began at half past five.", ["half past five"]),
        ("The 34-year-old tenant (34F) rose on the 19th.", ["34-year-old", "19th"]),
        ("Some 30% of it dates from 1987.", ["30%", "1987"]),
        ("Two of the three commenters had one answer each; a third reply came first, twice.", []),
        ("Two years went by.", ["Two"]),
        ("It had 812 points and three comments.", []),
        ("It had 813 points and nine comments.", ["813", "nine"]),
        ("The post is dated 1 March 2024.", []),
    ],
)
def test_a_number_the_thread_lacks_is_found_by_value(text: str, invented: list[str]) -> None:
    assert facts(text) == invented


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("two hundred and forty-one thousand and six", [241_006]),
        ("£1.2 million or 13k, not 1,200.50", [1_200_000, 13_000, 1_200.5]),
        ("nineteen eighty-seven, twenty nineteen, the 1980s", [1987, 2019, 1980]),
        ("half a dozen, half a million, five and a half", [6, 500_000, 5.5]),
        ("three four five and sixty-first", [3, 4, 5, 61]),
        ("hundreds of dozens", []),
        ("million " * 50, [10_000_000] * 5),
    ],
)
def test_numbers_are_read_by_value(text: str, values: list[float]) -> None:
    found = [max(one for one in number.meanings if isinstance(one, float)) for number in numbers(text)]
    assert found == pytest.approx(values)


@pytest.mark.parametrize("text", ["half past six", "6:30", "18.30"])
def test_times_of_day_are_compared_by_the_clock(text: str) -> None:
    (time,) = numbers(text)
    (other,) = numbers("twenty to seven")
    assert "t390" in time.meanings
    assert not time.meanings & other.meanings


def test_headline_dek_and_search_texts_are_held_against_the_thread_too() -> None:
    told = (Section(kind="narrative", text="Geese won."),)
    draft = Draft(title="Nineteen geese", dek="As seen in Leeds.", sections=told, seo_title="Cost £99")
    assert [line.split(" (in “")[0] for line in ground(draft, thread()).unsupported] == ["Nineteen", "£99", "Leeds"]


def test_what_frames_a_story_is_no_added_fact() -> None:
    draft = Draft(
        title="Geese", dek="As read by Margo Finch.", sections=(Section(kind="narrative", text="Geese won."),)
    )
    assert ground(draft, thread()).unsupported
    assert not ground(draft, thread(), ["Margo Finch"]).unsupported


@pytest.mark.parametrize("text", ["Then @goosefan agreed.", "Then goose_lord_9 agreed.", "The user GooseLord agreed."])
def test_an_invented_user_name_always_refuses(text: str) -> None:
    assert "user" in check(text).problems[0]


def test_a_story_that_repeats_the_newsrooms_instructions_is_refused_unless_the_thread_says_the_same() -> None:
    leak = "Facts come from the thread only. Add no name, number, place, date, motive or outcome that is not in it."
    assert "instructions" in check(leak).problems[0]
    known = thread().model_copy(update={"body": f"{POST} {leak}"})
    assert ground(Draft(title="Geese", sections=(Section(kind="narrative", text=leak),)), known).ok


@pytest.mark.parametrize("source", [None, thread().without_text()])
def test_without_the_text_of_a_thread_quotes_wait_for_a_person_and_links_still_refuse(source: Thread | None) -> None:
    told = Draft(title="Geese", sections=(Section(kind="narrative", text="Geese honk in Leeds."),))
    assert ground(told, source) == Grounding()
    quoting = told.model_copy(update={"quotes": (Quote(text="Buy earplugs", comment_id="bbb2"),)})
    assert ground(quoting, source).ok
    assert ground(quoting, source).unverifiable.startswith("1 quote cannot be checked because the")
    linking = told.model_copy(update={"dek": "See https://spam.example.com now."})
    assert not ground(linking, source).ok


@pytest.mark.parametrize("half", HALVES)
def test_planted_inventions_are_found_and_sound_stories_keep_under_the_bound(half: str) -> None:
    missed: Counter[str] = Counter()
    refused = 0
    for number, (draft, source, framing) in enumerate(sound(half)[::3]):
        clean = ground(draft, source, framing)
        refused += len(clean.unsupported) > MAX_UNSUPPORTED
        for kind, plant in PLANTS.items():
            changed = plant(draft, source, Random(number), half)
            if changed:
                found = ground(changed, source, framing)
                missed[kind] += not {*found.problems, *found.unsupported} - {*clean.problems, *clean.unsupported}
    assert refused <= 1
    assert sum(missed.values()) <= 1, missed
    assert not [kind for kind in missed if missed[kind] and "quot" in kind]


def test_a_draft_of_a_thread_without_comments_can_still_be_grounded() -> None:
    bare = thread().model_copy(update={"comments": ()})
    draft = Draft(title="Geese", sections=(Section(kind="narrative", heading="", text="Geese honk."),))
    assert ground(draft, bare).ok
