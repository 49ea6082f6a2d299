"""Records of story files: how they are cut out of files, and what of them is taken."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from threadjuice_dagster.database.catalogue import read_catalogue
from threadjuice_dagster.domain.import_formats import MAX_RECORD, Raw, split_records
from threadjuice_dagster.domain.imports import RecordReader, Refused, StoryRow
from threadjuice_dagster.domain.stories import StoryDraft

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLAIN = {"title": "A fence moves", "category": "neighbours", "text": "The fence moved by a metre."}
LEGACY = {
    "title": "The kettle that rang the fire brigade",
    "slug": "kettle-fire-brigade",
    "excerpt": "A kettle, a smoke detector and eleven people in dressing gowns.",
    "category": "Neighbour Troubles",
    "status": "published",
    "author": "the-night-porter",
    "persona": {"name": "The Night Porter", "bio": "Awake when nobody is.", "avatar": "/porter.png"},
    "createdAt": "2025-06-20T22:48:43.000Z",
    "tags": ["kettle", "stairs"],
    "viewCount": 15420,
    "content": {
        "sections": [
            {"type": "image", "content": "A steel kettle on a gas ring", "metadata": {"image_url": "/kettle.jpg"}},
            {"type": "describe-1", "title": "The setup", "content": "The kettle was left on.\n\nNobody heard it."},
            {"type": "quotes", "content": "I only wanted tea.", "metadata": {"attribution": "Flat nine"}},
            {"type": "never-heard-of-it-7", "title": "Then", "content": "The bell went at four."},
            {
                "type": "comments-1",
                "title": "Reactions",
                "content": "People had views:",
                "metadata": {"comments": [{"author": "kettle_fan", "content": "Mine whistles.", "score": 12}, {}]},
            },
            {"type": "quiz", "title": "Test yourself", "content": "How hot?", "metadata": {"quiz_data": {}}},
            {"type": "outro", "content": ["They had tea.", {"text": "All eleven of them."}]},
        ]
    },
}


def read(record: dict[str, Any] | bytes) -> StoryRow:
    reader = RecordReader(*read_catalogue(), MOMENT)
    return reader.read(record if isinstance(record, bytes) else json.dumps(record).encode())


def story(row: StoryRow) -> StoryDraft:
    return StoryDraft.model_validate_json(row.record)


def split(data: bytes, name: str = "stories.json", size: int = 1 << 16) -> list[Raw]:
    return list(split_records([data[at : at + size] for at in range(0, len(data), size)], name))


def objects(raws: list[Raw]) -> list[Any]:
    return [raw.problem or (raw.data if isinstance(raw.data, dict) else json.loads(raw.data)) for raw in raws]


TRICKY: list[Any] = [{"a": 'a "quoted" \\ brace } ] { ['}, {"b": [{"c": ["}", "\\\\"]}], "d": "é🙂"}, {"e": ""}]


class TestFormats:
    @pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1 << 16])
    @pytest.mark.parametrize(
        ("text", "name"),
        [
            (json.dumps(TRICKY), "x.json"),
            (json.dumps(TRICKY, indent=2, ensure_ascii=False), "x.json"),
            (json.dumps({"stories": TRICKY}), "x.json"),
            ("\n".join(map(json.dumps, TRICKY)), "x.jsonl"),
            ("\ufeff" + "\r\n\r\n".join(map(json.dumps, TRICKY)), "x.data"),
            ("".join(json.dumps(one, indent=1) for one in TRICKY), "x"),
        ],
    )
    def test_every_way_of_writing_json_gives_the_same_records_however_it_arrives(
        self, text: str, name: str, size: int
    ) -> None:
        raws = split(text.encode(), name, size)
        assert objects(raws) == TRICKY
        assert [raw.number for raw in raws] == [1, 2, 3]

    def test_a_single_object_over_many_lines_is_one_record(self) -> None:
        assert objects(split(json.dumps(PLAIN, indent=2).encode())) == [PLAIN]

    def test_lines_are_told_as_an_editor_counts_them(self) -> None:
        assert [raw.line for raw in split(b'{"a":1}\n\n{"a":2}\n', "x.jsonl")] == [1, 3]
        assert [raw.line for raw in split(b'[\n  {"a":\n1},\n  {"a":2}]')] == [2, 4]

    def test_a_broken_line_costs_that_line_only(self) -> None:
        raws = split(b'{"a":1}\n{"a":\n{"a":3}\n', "x.jsonl")
        assert [raw.data for raw in raws] == [b'{"a":1}', b'{"a":', b'{"a":3}']

    def test_what_is_no_object_in_an_array_is_told_and_the_rest_goes_on(self) -> None:
        raws = split(b'[1, "two", {"a": 3}, null]')
        assert [bool(raw.problem) for raw in raws] == [True, True, False, True]

    @pytest.mark.parametrize("name", ["x.jsonl", "x.json"])
    def test_a_record_that_is_too_long_is_passed_over(self, name: str) -> None:
        long = json.dumps({"a": 'x\\"' * (MAX_RECORD // 2)})
        text = f"[{long},\n{json.dumps(PLAIN)}]" if name == "x.json" else f"{long}\n{json.dumps(PLAIN)}"
        first, second = split(text.encode(), name)
        assert "longer than" in first.problem
        assert len(first.data) < 10_000
        assert objects([second]) == [PLAIN]
        assert second.line == 2

    def test_a_file_that_ends_in_the_middle_says_so(self) -> None:
        raws = split(b'[{"a": 1}, {"b": "never end')
        assert [raw.problem for raw in raws] == ["", "The file ends in the middle of it."]

    def test_csv_rows_are_records_by_the_names_of_the_head(self) -> None:
        text = 'Title;category;text\n"One; two";neighbours;"Line one\nline ""two"""\n'
        assert objects(split(text.encode(), "x.csv")) == [
            {"title": "One; two", "category": "neighbours", "text": 'Line one\nline "two"'}
        ]

    def test_a_csv_head_that_lacks_columns_is_one_problem(self) -> None:
        (raw,) = split(b"name,kind\na,b\nc,d\n", "x.csv")
        assert raw.problem == "The head of the CSV file lacks: title, category, text."

    def test_a_csv_row_with_other_columns_or_bytes_costs_that_row_only(self) -> None:
        raws = split(b"title,category,text\na,b\n\xff,neighbours,c\nd,neighbours,e\n", "x.csv")
        assert ["columns" in raws[0].problem, "UTF-8" in raws[1].problem, raws[2].problem] == [True, True, ""]
        assert [raw.line for raw in raws] == [2, 3, 4]

    @pytest.mark.parametrize("text", ["", "  \n ", "\ufeff"])
    def test_an_empty_file_holds_no_record(self, text: str) -> None:
        assert split(text.encode()) == []

    def test_utf_16_is_told_once(self) -> None:
        assert [raw.problem for raw in split(json.dumps([PLAIN] * 3).encode("utf-16"))] == ["It is not UTF-8 text."]


class TestRecords:
    def test_a_plain_record_becomes_a_draft(self) -> None:
        row = read({**PLAIN, "text": "One.\n\n## Then\nTwo.", "tags": "fence, garden", "author": "Ada"})
        draft = story(row).draft
        assert [(one.kind, one.heading, one.text) for one in draft.sections] == [
            ("opening", "", "One."),
            ("narrative", "Then", "Two."),
        ]
        assert draft.tags == ("fence", "garden")
        assert (row.story_id, row.category, row.author) == ("imported-a-fence-moves", "neighbours", "Ada")

    def test_the_same_content_has_the_same_digest_whenever_it_is_read(self) -> None:
        later = RecordReader(*read_catalogue(), datetime(2027, 1, 1, tzinfo=UTC))
        assert read(PLAIN).digest == later.read(json.dumps(PLAIN, indent=3).encode()).digest
        assert read(PLAIN).digest != read({**PLAIN, "text": "The fence moved by two metres."}).digest
        assert read(PLAIN).digest != read({**PLAIN, "category": "food"}).digest

    def test_a_persona_at_home_in_the_category_is_chosen_where_none_is_named(self) -> None:
        assert "neighbours" in next(one for one in read_catalogue()[1] if one.slug == read(PLAIN).persona).categories
        assert read({**PLAIN, "persona": "Bea Hollis"}).persona == "bea-hollis"

    def test_titles_in_any_script_have_slugs_of_their_own(self) -> None:
        ids = {read({**PLAIN, "title": title}).story_id for title in ("Забор", "Сосед", "垣根", "🙂", "🙃")}
        assert len(ids) == 5
        assert all(one.isascii() for one in ids)

    def test_long_slugs_with_one_beginning_stay_apart(self) -> None:
        assert read({**PLAIN, "slug": "a-" * 90 + "b"}).story_id != read({**PLAIN, "slug": "a-" * 90 + "c"}).story_id

    @pytest.mark.parametrize(
        ("record", "reason"),
        [
            ({**PLAIN, "category": "astrology"}, "no category 'astrology'; known: "),
            ({**PLAIN, "persona": "nobody"}, "no persona 'nobody'; known: "),
            ({**PLAIN, "title": ""}, "title"),
            ({**PLAIN, "title": "x" * 301}, "title: String should have at most 300 characters"),
            ({**PLAIN, "text": " \n "}, "sections"),
            ({**PLAIN, "text": "... ---"}, "no text"),
            ({**PLAIN, "text": "a\0b"}, "NUL"),
            ({**PLAIN, "nested": [{"deep": "a\0b"}]}, "NUL"),
            ({**PLAIN, "sections": [{"text": 5}]}, "sections.0"),
            ({**PLAIN, "created_at": "yesterday"}, "created_at"),
            ([PLAIN], "no object"),
            (b'{"title": "\\ud800"}', "lone surrogate"),
            (b'{"title": "\xff"}', "not UTF-8"),
            (b'{"title": "a\0b"}', "NUL"),
            (b'{"title": ', "not JSON"),
            (b"[" * 100_000, "not JSON"),
        ],
    )
    def test_a_bad_record_is_refused_in_one_line(self, record: Any, reason: str) -> None:
        with pytest.raises(Refused, match=reason) as refusal:
            read(record)
        assert "\n" not in str(refusal.value)
        assert len(str(refusal.value)) < 400


class TestLegacy:
    def test_parts_become_sections_and_quotes_without_their_authors(self) -> None:
        draft = story(read(LEGACY)).draft
        assert [(one.kind, one.heading, one.text) for one in draft.sections] == [
            ("opening", "The setup", "The kettle was left on.\n\nNobody heard it."),
            ("narrative", "Then", "The bell went at four."),
            ("discussion", "Reactions", "People had views:"),
            ("closing", "", "They had tea.\n\nAll eleven of them."),
        ]
        assert [(one.text, one.section) for one in draft.quotes] == [("I only wanted tea.", 0), ("Mine whistles.", 2)]
        assert "kettle_fan" not in read(LEGACY).record
        assert (draft.dek, draft.alt_text) == (LEGACY["excerpt"], "A steel kettle on a gas ring")

    def test_desk_byline_slug_time_and_wish_are_kept(self) -> None:
        row = read(LEGACY)
        assert (row.story_id, row.category, row.author) == (
            "imported-kettle-fire-brigade",
            "neighbours",
            "the-night-porter",
        )
        assert row.written_at == datetime(2025, 6, 20, 22, 48, 43, tzinfo=UTC)
        assert row.wanted == 2
        assert (read({**LEGACY, "status": "draft"}).wanted, read({**LEGACY, "status": None}).wanted) == (0, 1)

    def test_an_unknown_desk_is_refused_here_too(self) -> None:
        with pytest.raises(Refused, match="no category 'celebrity gossip'"):
            read({**LEGACY, "category": "celebrity gossip"})

    @pytest.mark.parametrize(
        "content",
        [
            {"introduction": "It began.", "sections": [{"content": "It went on."}], "conclusion": "End."},
            {"sections": ["It began.", {"type": 3, "content": {"text": "It went on."}}, {"paragraphs": ["End."]}]},
            [{"type": "heading", "content": "Start"}, {"type": "paragraph", "text": "It began. It went on. End."}],
            {"text": "It began. It went on. End."},
        ],
    )  # fmt: skip
    def test_other_shapes_of_content_are_read_as_far_as_they_have_text(self, content: Any) -> None:
        text = " ".join(story(read({**LEGACY, "content": content})).draft.text.split())
        assert text == "It began. It went on. End."

    @pytest.mark.parametrize("content", [{}, [], {"sections": [{"type": "quiz", "content": "Which?"}]}, [None, 3]])
    def test_content_without_text_is_refused(self, content: Any) -> None:
        with pytest.raises(Refused, match="sections"):
            read({**LEGACY, "content": content})
