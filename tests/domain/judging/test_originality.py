"""Signatures find near copies; copied runs are found outside quotes and excerpts, both ways."""

import hashlib
import random
from itertools import combinations

import pytest
from corpora.inventions import sound
from corpora.stories import stories
from makers import make_comment, make_thread

from threadjuice_dagster.domain.judging.originality import (
    MAX_SIMILARITY,
    SIGNATURE_VERSION,
    Neighbour,
    bands,
    longest_copied_run,
    originality_problem,
    signature,
    similarity,
)
from threadjuice_dagster.domain.language.text import paragraphs, sentences
from threadjuice_dagster.domain.story.stories import Draft, Section
from threadjuice_dagster.domain.story.threads import Thread


def made_up(seed: int, count: int = 400) -> list[str]:
    """Words of six letters that no other seed has."""
    chooser = random.Random(seed)
    return ["".join(chooser.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(count)]


def jaccard(one: set[object], two: set[object]) -> float:
    return len(one & two) / len(one | two)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.5, 0.7, 0.9, 1.0])
def test_the_estimate_is_near_the_geometric_mean_of_both_jaccard_similarities(kept: float) -> None:
    errors = []
    for seed in range(5):
        one, other = made_up(seed), made_up(seed + 100)
        two = one[: int(kept * 400)] + other[int(kept * 400) :]
        triples = [{tuple(words[i : i + 3]) for i in range(398)} for words in (one, two)]
        true = (jaccard(set(one), set(two)) * jaccard(*triples)) ** 0.5
        errors.append(similarity(signature(" ".join(one)), signature(" ".join(two))) - true)
    assert abs(sum(errors) / len(errors)) < 0.05


def test_a_signature_is_stable_and_blind_to_case_and_punctuation() -> None:
    first = signature("The geese have won, again: nobody slept.")
    assert len(first) == 4 * (128 + 128)
    assert first == signature("the GEESE have won again nobody slept")
    assert first == signature("The geese have won again. Nobody slept!")


def test_a_text_has_the_same_signature_in_every_release() -> None:
    """Another digest needs another SIGNATURE_VERSION: stored signatures cannot be compared with it."""
    signed = signature("The geese have won, again: nobody in the village slept before the constable came.")
    assert (SIGNATURE_VERSION, hashlib.sha256(signed).hexdigest()[:16]) == (1, "d57dc946f6794341")


def test_texts_without_words_resemble_nothing() -> None:
    assert signature("") == b""
    assert bands(b"") == ()
    assert similarity(b"", b"") == 0.0
    assert similarity(signature("one"), signature("two")) == 0.0
    assert similarity(signature("one"), signature("one")) == 1.0


def edited(text: str, share: float, seed: int) -> str:
    """The text with its sentences in another order and a share of its words replaced by strange ones."""
    chooser = random.Random(seed)
    told = sentences(text)
    words = " ".join(chooser.sample(told, len(told))).split()
    return " ".join(
        new if chooser.random() < share else old for old, new in zip(words, made_up(seed, 2000), strict=False)
    )


@pytest.mark.parametrize("share", [0.0, 0.05, 0.1])
def test_an_edited_copy_shares_a_band_and_is_over_the_bound(share: float) -> None:
    texts = [story.text for story in stories("dev") if len(story.text) > 1500][:25]
    missed = 0
    for seed, text in enumerate(texts):
        one, two = signature(text), signature(edited(text, share, seed))
        missed += similarity(one, two) < MAX_SIMILARITY or not set(bands(one)) & set(bands(two))
    assert missed == 0


def test_a_copy_without_a_third_of_its_paragraphs_is_over_the_bound() -> None:
    for story in stories("unseen")[:10]:
        told = paragraphs(story.text)
        rest = "\n\n".join(told[: -(len(told) // 3)])
        assert similarity(signature(story.text), signature(rest)) >= MAX_SIMILARITY


def test_other_stories_are_far_under_the_bound_and_so_are_those_of_one_persona() -> None:
    texts = [draft.text for draft, _, _ in sound("dev")]
    signed = [signature(text) for text in dict.fromkeys(texts)]
    assert max(similarity(one, two) for one, two in combinations(signed, 2)) < 0.8 * MAX_SIMILARITY


def test_bands_are_64_bit_numbers_that_strangers_do_not_share() -> None:
    ours, theirs = (bands(signature(" ".join(made_up(seed)))) for seed in (1, 2))
    assert len(ours) == 96
    assert not set(ours) & set(theirs)
    assert all(-(2**63) <= band < 2**63 for band in ours)


def thread(body: str, comment: str = "Nice.") -> Thread:
    return make_thread(title="A title", body=body, comments=(make_comment(body=comment),))


def draft(text: str, kind: str = "narrative") -> Draft:
    return Draft(title="T", sections=(Section(kind=kind, heading="", text=text),))


SOURCE = " ".join(f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(120))


def words_of(start: int, end: int) -> str:
    return " ".join(SOURCE.split()[start:end])


def test_the_longest_copied_run_is_measured_in_words_and_shown() -> None:
    length, run = longest_copied_run(
        draft(f"We begin. {words_of(10, 30).upper()}, and {words_of(50, 57)} end."), thread(SOURCE)
    )
    assert length == 20
    assert run == words_of(10, 30).upper()


def test_a_run_copied_from_a_comment_counts_too() -> None:
    assert longest_copied_run(draft(words_of(0, 12)), thread("Else.", SOURCE))[0] == 12


def test_a_retelling_has_no_run() -> None:
    assert longest_copied_run(draft("Nothing here was taken from anywhere at all, honestly."), thread(SOURCE)) == (
        0,
        "",
    )


@pytest.mark.parametrize(("opening", "closing"), [("“", "”"), ('"', '"'), ("‘", "’")])
def test_quoted_words_are_not_a_copied_run(opening: str, closing: str) -> None:
    assert longest_copied_run(draft(f"She wrote {opening}{words_of(0, 60)}{closing} in full."), thread(SOURCE))[0] == 0


def test_a_quote_breaks_a_run() -> None:
    text = f"{words_of(0, 10)} “{words_of(10, 20)}” {words_of(20, 28)}"
    assert longest_copied_run(draft(text), thread(SOURCE))[0] == 10


@pytest.mark.parametrize(("count", "blocked"), [(40, False), (41, True), (100, True)])
def test_a_run_of_more_than_forty_words_is_refused(count: int, blocked: bool) -> None:
    problem = originality_problem(draft(words_of(0, count)), thread(SOURCE), Neighbour(), excerpting=False)
    assert (problem is not None) is blocked
    assert originality_problem(draft(words_of(0, count)), thread(SOURCE), Neighbour(), excerpting=True) is None
    assert (
        originality_problem(draft(words_of(0, count), "excerpt"), thread(SOURCE), Neighbour(), excerpting=False) is None
    )


def test_a_story_close_to_a_published_one_is_refused_by_name_whoever_wrote_it() -> None:
    problem = originality_problem(draft("Short."), None, Neighbour("abc-geese", MAX_SIMILARITY), excerpting=True)
    assert problem
    assert "abc-geese" in problem
    assert originality_problem(draft("Short."), None, Neighbour("abc-geese", 0.16), excerpting=False) is None


def test_a_thread_that_repeats_itself_costs_little() -> None:
    assert longest_copied_run(draft("ha " * 1500), thread("ha " * 13000))[0] >= 5
