"""Text is cut where a reader sees an end, and cleaned of what nobody sees."""

import pytest

from threadjuice_dagster.domain.language.text import clean, cut, graphemes, head, tail

FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
SEEN_AS_ONE = {
    "a family": FAMILY,
    "a skin tone": "\U0001f44d\U0001f3fd",
    "a profession with a skin tone": "\U0001f469\U0001f3ff\u200d\U0001f680",
    "a heart of two": "\U0001f469\u200d\u2764\ufe0f\u200d\U0001f48b\u200d\U0001f468",
    "a flag": "\U0001f1e9\U0001f1ea",
    "the rainbow flag": "\U0001f3f3\ufe0f\u200d\U0001f308",
    "Scotland": "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "a keycap": "7\ufe0f\u20e3",
    "a variation": "\u2764\ufe0f",
    "a letter with a mark": "x\u0301",
    "a syllable of Hangul": "\u1112\u1161\u11ab",
    "a conjunct of Devanagari": "\u0915\u094d\u200d\u0937",
}
each = pytest.mark.parametrize("seen", SEEN_AS_ONE.values(), ids=list(SEEN_AS_ONE))


@each
def test_what_is_seen_as_one_character_is_kept_whole_or_left_out(seen: str) -> None:
    assert clean(f"Look: {seen}!").endswith((f"{seen}!", "\ud55c!"))  # clean composes Hangul
    row = seen * 40
    for limit in range(1, 60):
        for shown in (head(row, limit), tail(row, limit), cut(row, limit).removesuffix("…")):
            assert len(shown) <= limit
            assert shown == seen * (len(shown) // len(seen)) or limit < len(seen) + 1
        mixed = f"Ab {seen} cd {seen}{seen} ef {seen}"
        parts, shown = graphemes(mixed), graphemes(cut(mixed, limit).removesuffix("…"))
        if limit > len(seen) + 4:
            assert parts[: len(shown)] == shown


def test_a_text_of_plain_letters_is_cut_as_ever() -> None:
    assert cut("one two three", 9) == "one two…"
    assert cut("one two three", 13) == "one two three"
    assert (head("abc", 2), tail("abc", 2), head("abc", 5), tail("abc", 5)) == ("ab", "bc", "abc", "abc")


def test_a_mountain_of_marks_is_cut_all_the_same() -> None:
    heap = "x" + "\u0301" * 5000
    assert 0 < len(head(heap, 300)) <= 300
    assert 0 < len(tail(heap, 300)) <= 300
    assert len(cut(heap * 3, 300)) <= 300


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (f"We are {FAMILY}.", f"We are {FAMILY}."),
        ("f\u200du\u200cn", "fun"),
        ("\u200d\U0001f469", "\U0001f469"),
        ("\U0001f469\u200d", "\U0001f469"),
        ("\U0001f469\u200dx", "\U0001f469x"),
        ("a\U000e0069\U000e0067b", "ab"),
        ("\U0001f3f4\U000e0069\U000e0067\U000e006e\U000e007f", "\U0001f3f4"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
        ("a\u202eb\u2066c\u00add\ufeff", "abcd"),
    ],
)
def test_joiners_stay_where_they_join_and_hide_nothing(text: str, right: str) -> None:
    assert clean(text) == right
