"""Story files as people really have them: every program's CSV, every encoding, JSON in wrappers and in pieces."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from threadjuice_dagster.operations.imports.fields import fields_of
from threadjuice_dagster.operations.imports.formats import split_records
from threadjuice_dagster.operations.imports.raw import RawRecord
from threadjuice_dagster.operations.imports.visibility import why_not_public

HEAD = "title,category,text\n"
UNCLOSED = "A quotation mark in it is not closed, or stands in the middle of a cell."
STORIES = [{"title": "Ä", "x": [{"a": 1}, {"b": "}{"}]}, {"title": "B"}]


def split(data: bytes | str, name: str = "x.dat", size: int = 1 << 16) -> list[RawRecord]:
    data = data if isinstance(data, bytes) else data.encode()
    return list(split_records([data[at : at + size] for at in range(0, len(data), size)], name))


def cells(data: bytes | str, size: int = 1 << 16) -> list[Any]:
    """Line and text of each row, or its problem."""
    return [(raw.line, raw.problem or raw.data["text"]) for raw in split(data, size=size)]  # type: ignore[call-overload]


class TestTables:
    @pytest.mark.parametrize(
        "text",
        [
            "sep=;\ntitle;category;text\nA;food;b,c\n",
            '"sep=|"\ntitle|category|text\nA|food|b,c\n',
            "\n\n , , \nTitle\tCategory\tText\nA\tfood\tb,c\n",
            "\ufefftitle,category,text\r\n\r\nA,food,\"b,c\"\r\n",
            "title,category,text\rA,food,\"b,c\"\r",
            "postTitle,postCategory,postContent\nA,food,\"b,c\"\n",
            "Post Title;Categories;Body HTML\nA;food;b,c\n",
            "title, category, text\nA, food, \"b,c\"\n",
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("size", [1, 5, 1 << 16])
    def test_whatever_program_wrote_a_table_its_rows_are_read(self, text: str, size: int) -> None:
        (raw,) = split(text, size=size)
        assert raw.problem == ""
        assert list(raw.data.values()) == ["A", "food", "b,c"]  # type: ignore[union-attr]

    def test_a_line_end_within_a_cell_stays_one_whatever_it_is_made_of(self) -> None:
        for end in ("\n", "\r\n", "\r"):
            text = f'title,category,text{end}A,food,"one{end}{end}two"{end}B,food,b{end}'
            assert cells(text) == cells(text, size=1) == [(2, "one\n\ntwo"), (5, "b")]

    def test_an_unclosed_quotation_mark_costs_its_row_only(self) -> None:
        text = f'{HEAD}A,food,"One, two.\n\nThree, of it, here.\nB,travel,"Four\nfive"\nC,food,six\n'
        assert cells(text) == cells(text, size=3) == [(2, UNCLOSED), (5, "Four\nfive"), (7, "six")]
        excerpt = split(text)[0].data
        assert b"Three, of it" in excerpt
        assert b"Four" not in excerpt

    @pytest.mark.parametrize(
        "row", ['A,food,"Open', 'A,"food,Open', '"A,food,Open', '"A,"food","Open"', 'A,food,"An "inner" mark"']
    )
    @pytest.mark.parametrize("following", ["B,travel,plain", '"B","travel","plain"', 'B,"travel","plain"'])
    def test_wherever_the_mark_is_missing_the_rows_behind_are_read(self, row: str, following: str) -> None:
        found = cells(f"{HEAD}Z,food,before\n{row}\n{following}\nC,food,last\n")
        assert found == [(2, "before"), (3, UNCLOSED), (4, "plain"), (5, "last")]

    def test_the_last_row_may_be_the_one_that_is_cut_off(self) -> None:
        assert cells(f'{HEAD}A,food,a\nB,food,"the upload ended he') == [(2, "a"), (3, UNCLOSED)]

    def test_marks_escaped_by_backslashes_are_read_and_backslashes_elsewhere_are_left(self) -> None:
        text = 'A,food,"He said \\"hi\\", and left"\nB,food,"plain ""one"""\nC,food,"a\\\\b, \\"q\\""\n'
        assert [text for _, text in cells(HEAD + text)] == ['He said "hi", and left', 'plain "one"', 'a\\b, "q"']
        kept = 'A,food,"C:\\new"\nB,food,"it ends with \\"\nC,food,x\n'
        assert [text for _, text in cells(HEAD + kept)] == ["C:\\new", "it ends with \\", "x"]

    def test_a_head_that_stands_again_where_files_were_joined_is_no_row(self) -> None:
        assert cells(f"{HEAD}A,food,a\n\ufeff{HEAD}B,food,b\n") == [(2, "a"), (4, "b")]
        head = HEAD.title()
        assert cells(f"{head}A,food,a\n{head}B,food,b\n") == [(2, "a"), (4, "b")]

    def test_of_columns_with_one_name_each_counts(self) -> None:
        head = "Title,Status,Category,Status,Text,Title,Status\n"
        (raw,) = split(f"{head}A,draft,food,publish,a,B,publish\n")
        assert isinstance(raw.data, dict)
        assert [raw.data[name] for name in ("title", "status")] == ["A", "draft"]
        assert (fields_of(raw.data)["title"], why_not_public(raw.data, datetime.now(UTC))) == ("A", "status: draft")

    def test_rows_that_are_too_long_are_passed_over_in_little_memory(self) -> None:
        long = "x" * 5_000_000
        quoted = '"' + ("x" * 999 + "\n") * 5_000
        for row in (f"A,food,{long}\n", f"A,food,{quoted}"):
            (_, problem), (_, text) = cells(f"{HEAD}{row}B,food,b\n")
            assert (problem, text) == ("It is longer than 4 MiB.", "b")

    def test_many_unclosed_marks_do_not_make_a_file_slow(self) -> None:
        found = split(HEAD + 'A,food,"x\n' * 20_000)
        assert sum(bool(raw.problem) for raw in found) == len(found)


class TestEncodings:
    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
    @pytest.mark.parametrize("size", [1, 7, 1 << 16])
    def test_unicode_in_any_encoding_is_read_with_a_mark_or_without(self, encoding: str, size: int) -> None:
        for text in (json.dumps(STORIES, ensure_ascii=False), "\n".join(map(json.dumps, STORIES))):
            found = split(text.encode(encoding), size=size)
            assert [json.loads(raw.data) for raw in found] == STORIES  # type: ignore[arg-type]
        assert cells(f"{HEAD}A,food,Ä 🙂\n".encode(encoding), size=size) == [(2, "Ä 🙂")]

    def test_a_file_that_is_cut_in_the_middle_of_a_character_says_so(self) -> None:
        data = f"{HEAD}A,food,b\nC,food,d".encode("utf-16")[:-1]
        assert [bool(raw.problem) for raw in split(data)][-1]
        assert "not UTF-16" in split(b"\xff\xfe" + b"\x00\xdc" * 50)[-1].problem

    def test_byte_order_marks_where_files_were_joined_are_no_text(self) -> None:
        lines = b'\xef\xbb\xbf{"a": 1}\n\xef\xbb\xbf{"a": 2}\n'
        arrays = b'\xef\xbb\xbf[{"a": 1}]\n\xef\xbb\xbf[{"a": 2}]'
        for data, name in ((lines, "x.jsonl"), (arrays, "x.json"), (lines, "x.json")):
            assert [json.loads(raw.data)["a"] for raw in split(data, name)] == [1, 2]  # type: ignore[arg-type]


class TestJson:
    @pytest.mark.parametrize(
        ("line", "found"),
        [
            ('{"a":1}{"a":2}', 2),
            ('{"a":1} {"a":2}', 2),
            ('{"a":1},{"a":2},', 2),
            ('{"a":[{"b":1},{"b":2}]},', 1),
            ('{"a":"}{"}', 1),
            ('[{"a":1},{"a":[2]}]', 2),
        ],
    )
    def test_a_line_may_hold_several_objects(self, line: str, found: int) -> None:
        raws = split(f'{{"first":0}}\n{line}\n{{"last":0}}\n', "x.jsonl")
        assert [raw.problem for raw in raws] == [""] * (found + 2)
        assert [raw.line for raw in raws] == [1, *[2] * found, 3]
        assert [raw.number for raw in raws] == list(range(1, found + 3))

    def test_an_object_over_many_lines_is_read_from_a_file_of_lines(self) -> None:
        assert len(split(json.dumps(STORIES[0], indent=1), "x.jsonl")) == 1
        assert len(split(json.dumps(STORIES, indent=1), "x.jsonl")) == 2

    @pytest.mark.parametrize("size", [1, 1 << 16])
    @pytest.mark.parametrize("indent", [None, 2])
    @pytest.mark.parametrize(
        "wrapper",
        [
            {"meta": {"pages": [1, 2], "note": "}{[", "authors": [{"a": 1}]}, "stories": STORIES, "tags": [{"id": 1}]},
            {"version": "1.1", "title": "A blog", "items": STORIES},
            {"db": [{"meta": {"on": 1}, "data": {"posts": STORIES, "users": [{"id": 1}]}}]},
            {"results": STORIES, "next": None},
            {"response": {"numFound": 2, "docs": STORIES}},
            {"data": STORIES, "meta": {"pagination": {"page": 1}}},
        ],
        ids=lambda wrapper: ",".join(wrapper) if isinstance(wrapper, dict) else None,
    )
    def test_stories_in_an_object_around_them_are_read_and_nothing_else(
        self, wrapper: dict[str, Any], indent: int | None, size: int
    ) -> None:
        raws = split(json.dumps(wrapper, indent=indent), "x.json", size)
        assert [json.loads(raw.data) for raw in raws] == STORIES  # type: ignore[arg-type]

    def test_the_lines_of_wrapped_stories_are_those_of_the_file(self) -> None:
        text = json.dumps({"meta": 1, "stories": STORIES}, indent=0)
        lines = text.split("\n")
        assert [raw.line for raw in split(text, "x.json")] == [n for n, line in enumerate(lines, 1) if line == "{"][1:][
            ::3
        ]

    def test_a_single_story_is_no_wrapper_of_its_own_parts(self) -> None:
        story = {"title": "A", "category": "food", "content": [{"type": "intro", "text": "b"}]}
        assert json.loads(split(json.dumps(story), "x.json")[0].data) == story  # type: ignore[arg-type]

    def test_a_long_preface_in_front_of_the_stories_is_passed_over(self) -> None:
        text = json.dumps({"meta": [{"n": n} for n in range(100_000)], "stories": STORIES})
        assert len(split(text, "x.json", 1 << 18)) == 2


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"PK\x03\x04rest", "zip archive or an Excel workbook"),
        (b"\x1f\x8brest", "packed by gzip once more"),
        (b"\x28\xb5\x2f\xfdrest", "packed by zstd once more"),
        (b"\xfd7zXZ\x00rest", "packed by xz"),
        (b"BZh91AY", "packed by bzip2"),
        (b"x" * 257 + b"ustar", "a tar archive"),
    ],
)
def test_archives_and_files_packed_twice_are_one_clear_line(data: bytes, kind: str) -> None:
    (raw,) = split(data, "x.json")
    assert kind in raw.problem
