"""Signatures find near copies; copied runs are found outside quotes and excerpts, both ways."""

import random

import pytest
from makers import make_comment, make_thread

from threadjuice_dagster.domain.originality import (
    bands,
    longest_copied_run,
    originality_problem,
    signature,
    similarity,
)
from threadjuice_dagster.domain.stories import Draft, Section
from threadjuice_dagster.domain.threads import Thread

VOCABULARY = [
    f"{a}{b}{c}" for a in ("bal", "cor", "dim", "fen", "gor") for b in ("a", "e", "o") for c in ("ck", "rn", "lt")
]


def made_up(seed: int, count: int = 400) -> list[str]:
    chooser = random.Random(seed)
    return [chooser.choice(VOCABULARY) for _ in range(count)]


def shingles(words: list[str]) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + 3]) for i in range(len(words) - 2)}


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.5, 0.7, 0.9, 1.0])
def test_the_estimate_is_near_the_true_jaccard_similarity(kept: float) -> None:
    errors = []
    for seed in range(5):
        one, other = made_up(seed), made_up(seed + 100)
        two = one[: int(kept * 400)] + other[int(kept * 400) :]
        true = len(shingles(one) & shingles(two)) / len(shingles(one) | shingles(two))
        errors.append(similarity(signature(" ".join(one)), signature(" ".join(two))) - true)
    assert abs(sum(errors) / len(errors)) < 0.08


def test_a_signature_is_stable_and_blind_to_case_and_punctuation() -> None:
    first = signature("The geese have won, again: nobody slept.")
    assert len(first) == 512
    assert first == signature("the GEESE have won again nobody slept")
    assert first.hex()[:16] == signature("The geese have won again. Nobody slept!").hex()[:16]


def test_texts_without_words_resemble_nothing() -> None:
    assert signature("") == b""
    assert bands(b"") == ()
    assert similarity(b"", b"") == 0.0
    assert similarity(signature("one"), signature("two")) == 0.0
    assert similarity(signature("one"), signature("one")) == 1.0


def test_near_copies_share_a_band_and_strangers_do_not() -> None:
    one = made_up(1)
    edited = [word if index % 40 else "changed" for index, word in enumerate(one)]
    ours, near, far = (bands(signature(" ".join(text))) for text in (one, edited, made_up(2)))
    assert len(ours) == 32
    assert set(ours) & set(near)
    assert not set(ours) & set(far)
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
    problem = originality_problem(draft(words_of(0, count)), thread(SOURCE), "", 0.0, excerpting=False)
    assert (problem is not None) is blocked
    assert originality_problem(draft(words_of(0, count)), thread(SOURCE), "", 0.0, excerpting=True) is None
    assert originality_problem(draft(words_of(0, count), "excerpt"), thread(SOURCE), "", 0.0, excerpting=False) is None


def test_a_story_close_to_a_published_one_is_refused_by_name_whoever_wrote_it() -> None:
    problem = originality_problem(draft("Short."), None, "abc-geese", 0.5, excerpting=True)
    assert problem
    assert "abc-geese" in problem
    assert originality_problem(draft("Short."), None, "abc-geese", 0.49, excerpting=False) is None


def test_a_thread_that_repeats_itself_costs_little() -> None:
    assert longest_copied_run(draft("ha " * 1500), thread("ha " * 13000))[0] >= 5
