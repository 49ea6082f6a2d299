"""Markdown of imported stories: its marks are rendered, and what the gates refuse is left for them to see."""

import contextlib
import time

import pytest

from threadjuice_dagster.operations.imports.markdown import TooManyMarks, plain_text, sections_of

MARKS = """Intro **bold**, *it*, __strong__, ~~gone~~, ==marked== and `code` \\* snake_case.[^1]

Setext
------

- one
- two
1. first
5. fifth
- [x] done

> quoted words

| Name | Age |
|------|-----|
| Ada  | 36  |

```py
x = 1
```

***
<!--more-->

### Closed ###
2 * 3 * 4 and F*** you

[^1]: A note.
"""


def test_every_mark_is_rendered() -> None:
    intro, setext, closed = sections_of(MARKS)
    assert intro == {
        "kind": "opening",
        "heading": "",
        "text": "Intro bold, it, strong, gone, marked and code * snake_case.",
    }
    assert setext["heading"] == "Setext"
    assert setext["text"].split("\n\n") == [
        *("• one", "• two", "1. first", "5. fifth", "• done"),
        *("“quoted words”", "Name: Ada; Age: 36", "x = 1"),
    ]
    assert closed["heading"] == "Closed"
    assert closed["text"].split("\n\n") == ["2 * 3 * 4 and F*** you", "Note 1: A note."]


@pytest.mark.parametrize(
    "text", ["[words](https://example.org)", "![alt](https://example.org/a.png)", "a <b>bold</b> word", "<p>one</p>"]
)
def test_what_a_story_may_not_hold_stays_for_the_gates_to_see(text: str) -> None:
    assert plain_text(text) == text


def test_text_without_marks_is_left_as_it_is() -> None:
    text = "One - two.\nA line of 1984. And\n\n   an indented one, 5 > 3?"
    assert plain_text(text) == text
    assert sections_of(" \n ") == []


@pytest.mark.parametrize(
    "part", ["a**", "[", "`", "<", "_a", "> ", "- ", "[a](b", "*a **b ", "|a", "<!--", "~~a", "<a "]
)
def test_no_text_takes_long_to_render(part: str) -> None:
    began = time.process_time()
    for count in (6_000, 40_000):
        with contextlib.suppress(TooManyMarks):
            plain_text(part * count)
    assert time.process_time() - began < 5


def test_a_text_made_to_keep_the_parser_busy_is_refused() -> None:
    with pytest.raises(TooManyMarks, match="too many marks"):
        sections_of("*[" * 15_000)
