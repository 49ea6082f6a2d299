"""HTML and Markdown of posts and comments as plain text: what a reader sees stays, and no text takes long."""

import time

import pytest

from threadjuice_dagster.sources.markup import MOST_MARKS, text_of_html, text_of_markdown

HTML = {
    "<p>One\ntwo.</p>\n<p>Three.</p>": "One two.\n\nThree.",
    "First &gt; all.<p>Second <i>one</i>.<p>Third": "First > all.\n\nSecond one.\n\nThird",
    "<blockquote><p>They.</p><p>Again.</p></blockquote><p>Me.</p>": "> They.\n>\n> Again.\n\nMe.",
    "<blockquote>a<blockquote>b</blockquote></blockquote>c": "> a\n>\n> > b\n\nc",
    "<p>List:</p><ul><li>one</li><li>two <b>bold</b></li></ul>": "List:\n\n* one\n* two bold",
    "<ol start='3'><li>three</li><li>four</li></ol>": "3. three\n4. four",
    "<ul><li>a<ol><li>b</li></ol></li><li>c</li></ul>": "* a\n  1. b\n* c",
    "<p>Use <code>a_b * c</code>, <kbd>Ctrl</kbd>.</p>": "Use a_b * c, Ctrl.",
    "<pre><code>if x &lt; 1:\n    y()\n\n\nz()\n</code></pre>": "```\nif x < 1:\n    y()\n\n\nz()\n```",
    "<blockquote><ul><li>q</li></ul></blockquote>": "> * q",
    "<table><tr><th>Name</th><th>Age</th></tr><tr><td>Ada</td><td>36</td></tr></table>": (
        "| Name | Age |\n| --- | --- |\n| Ada | 36 |"
    ),
    "one<br>two<br/>three": "one\ntwo\nthree",
    "<h2>Title</h2>text<hr>end": "Title\n\ntext\n\nend",
    "Tom &amp; &quot;Jerry&quot; &lt;3 a&nbsp;b": 'Tom & "Jerry" <3 a b',
    "A &amp;amp; B &amp;#39;q&amp;#39;": "A & B 'q'",
    "<a href='https://e.example/x'>the page</a>, <a href='https://e.example/y'>https://e.example/y</a>": (
        "the page, https://e.example/y"
    ),
    "<a href='https://e.example/a/long/one'>https://e.example/a/lo...</a>": "https://e.example/a/long/one",
    "A <img alt='red fox' src=a><img src=b><img alt='enter image description here'>.": "A red fox.",
    "Yes <img class='emoji' alt=':slight_smile:'><img class='emoji' alt=':+1:'>": "Yes",
    "It was <span class='md-spoiler-text'>him</span>.": "It was him.",
    "<details><summary>More</summary>hidden</details>": "More\n\nhidden",
    "<del>old</del> new": "~~old~~ new",
    "10<sup>2</sup>, 19<sup>th</sup>, H<sub>2</sub>O": "10^2, 19th, H2O",
    "a<script>b()</script><style>p{}</style><!-- c -->d": "ad",
    "2 * 3 * 4, snake_case, F***, [sic], 1 < 2 & 3 > 2": "2 * 3 * 4, snake_case, F***, [sic], 1 < 2 & 3 > 2",
    "<p>1. no list</p><p># no title</p><p>- dash</p>": "1. no list\n\n# no title\n\n- dash",
    "unclosed <b>bold <i>both</b> x</i> <a href='x'>q": "unclosed bold both x q",
    "a\x00b\u202ec\u200b": "abc",
    "": "",
}

MARKDOWN = {
    "One\ntwo.  \nThree.\n\n\n\nFour.": "One\ntwo.\nThree.\n\nFour.",
    "**bold** *it* __b__ `a_b` snake_case 2 * 3 * 4 F***": "bold it b a_b snake_case 2 * 3 * 4 F***",
    "&gt; They.\n&gt;&gt; Deeper.\n\nMe.": "> They.\n>\n> > Deeper.\n\nMe.",
    "- a\n- b\n  - c\n\n7. x\n8. y": "* a\n* b\n  * c\n\n7. x\n8. y",
    "1984. A bad year.": "1984. A bad year.",
    "    #include <x>\n    a_b\n\nend": "```\n#include <x>\na_b\n```\n\nend",
    "```\n#if\n\n\n>!x!<\n```": "```\n#if\n\n\nx\n```",
    "|a|b|\n|-|-|\n|1|2|": "| a | b |\n| --- | --- |\n| 1 | 2 |",
    "#Title\n\n## Other ##\n\n#1 reason\n\n#one #two": "Title\n\nOther\n\n#1 reason\n\n#one #two",
    "Title\n=====\ntext\n\n---\n\nend": "Title\n\ntext\n\nend",
    ">!He dies!< and >!so does she!<": "He dies and so does she",
    "::: spoiler Click\nhidden *words*\n:::\nafter": "Click\nhidden words\n\nafter",
    "^so ^^small ^(and this) 19^th 19^th^ 2^10": "so small and this 19th 19th 2^10",
    "\\*no\\* some\\_name 1\\. \\#x": "*no* some_name 1. #x",
    "[words](https://e.example/a_b) https://e.example/c_d_e <https://e.example>": (
        "words https://e.example/c_d_e https://e.example"
    ),
    "![gif](giphy|abc) ![a fox](https://e.example/f.png)": "a fox",
    "~~old~~ new": "~~old~~ new",
    "salt &amp; pepper &amp;#x200B; <b>no</b> markup": "salt & pepper <b>no</b> markup",
    "a ? b&copy=2 *x* &amp": "a ? b&copy=2 x &amp",
}


@pytest.mark.parametrize("html", HTML)
def test_html_becomes_what_a_reader_sees(html: str) -> None:
    assert text_of_html(html) == HTML[html]


@pytest.mark.parametrize("text", MARKDOWN)
def test_markdown_becomes_what_a_reader_sees(text: str) -> None:
    assert text_of_markdown(text) == MARKDOWN[text]


def test_a_link_to_a_profile_names_nobody() -> None:
    profiles = ("/u/jane_d", "https://forum.example/u/jane_d", "https://qa.example/users/12/jane", "user?id=jane_d")
    assert {text_of_html(f"<a href='{address}'>Jane</a>") for address in profiles} == {"another user"}
    assert text_of_markdown("As [Jane](https://lemmy.example/u/jane_d) said") == "As another user said"
    assert text_of_html("<a href='https://e.example/users/guide'>guide</a>") == "guide"


def test_a_quotation_of_discourse_names_nobody_and_a_preview_is_its_address() -> None:
    title = "<div class='title'><img class='avatar' src='x'> jane_d:</div>"
    quoted = f"<aside class='quote' data-username='jane_d'>{title}<blockquote>q</blockquote></aside>a"
    assert text_of_html(quoted) == "> q\n\na"
    preview = "<aside class='onebox' data-onebox-src='https://e.example/x'><article>their words</article></aside>"
    assert text_of_html(preview) == "https://e.example/x"
    picture = "<a class='lightbox' href=x><img alt='a fox' src=x><div class='meta'>690x388</div></a>"
    assert text_of_html(f"<div class='lightbox-wrapper'>{picture}</div>") == "a fox"
    poll = "<div class='poll-container'><ul><li>tea</li></ul></div><div class='poll-info'>0 voters</div>"
    assert text_of_html(f"<div class='poll'>{poll}</div>") == "* tea"
    assert text_of_html("<a class='inline-onebox' href='https://e.example/x'>their title</a>") == "https://e.example/x"


def test_a_picture_of_an_emoji_is_left_out_where_only_its_code_describes_it() -> None:
    assert text_of_html("<p>tea <img class='emoji' alt=':tea:' src='x'> time</p>").split() == ["tea", "time"]
    assert text_of_html("<p>tea <img class='emoji' alt='🍵' src='x'></p>") == "tea 🍵"


@pytest.mark.parametrize(
    "part",
    [
        *(
            "<div>",
            "<b>",
            "<b><i>x",
            "<blockquote>x",
            "<ul><li>",
            "<table><tr><td>",
            "<p>x<b>",
            "<del>x",
            "<a href=x>y",
        ),
        *("<h1>", "<code>", "<!--", "<a ", "&amp;", "<img alt=x>", "<sup>1", "<div class=title>", "<svg><p>"),
    ],
)
def test_hostile_html_of_a_megabyte_is_read_at_once(part: str) -> None:
    began = time.process_time()
    assert isinstance(text_of_html(part * (1_000_000 // len(part))), str)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "part",
    [
        *("a**", "[", "`", "<", "_a", "> ", "- ", "[a](b", "*a **b ", "|a", "<!--", "~~a", ">!a", "!<", "^(", "#a\n"),
        *(":::\n", "    a\n", "1. ", "![", "&amp;", "\\", "\n> ", "- a\n ", "|a|b|\n|-|-|\n|c", "[a]: <b\n", "\t", " "),
    ],
)
def test_hostile_markdown_of_a_megabyte_is_read_at_once(part: str) -> None:
    began = time.process_time()
    assert isinstance(text_of_markdown(part * (1_000_000 // len(part))), str)
    assert time.process_time() - began < 2


def test_a_text_made_to_keep_the_parser_busy_stays_as_it_is() -> None:
    text = "*[" * MOST_MARKS
    assert text_of_markdown(text) == text
