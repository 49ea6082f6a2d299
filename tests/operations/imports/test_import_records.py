"""Records of story files: how they are cut out of files, and what of them is taken."""

import contextlib
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from threadjuice_dagster.database.catalogue import read_catalogue
from threadjuice_dagster.domain.story.stories import StoryDraft
from threadjuice_dagster.failures import UsageError
from threadjuice_dagster.operations.imports.formats import split_records
from threadjuice_dagster.operations.imports.raw import MAX_RECORD, RawRecord
from threadjuice_dagster.operations.imports.rules import RecordReader, RefusedRecord, StoryRow, category_map
from threadjuice_dagster.operations.imports.slugs import slug_for

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


def split(data: bytes, name: str = "stories.json", size: int = 1 << 16) -> list[RawRecord]:
    return list(split_records([data[at : at + size] for at in range(0, len(data), size)], name))


def objects(raws: list[RawRecord]) -> list[Any]:
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
        with pytest.raises(RefusedRecord, match=reason) as refusal:
            read(record)
        assert "\n" not in str(refusal.value)
        assert len(str(refusal.value)) < 400


class TestSpellings:
    """The values of one field as different systems write them."""

    @pytest.mark.parametrize(
        ("author", "name"),
        [
            ("Ada Reuter", "Ada Reuter"),
            ("Ada Reuter <ada@example.org>", "Ada Reuter"),
            ("ada@example.org (Ada Reuter)", "Ada Reuter"),
            ({"name": "Ada Reuter", "email": "ada@example.org"}, "Ada Reuter"),
            ({"id": 3, "first_name": "Ada", "last_name": "Reuter"}, "Ada Reuter"),
            ([{"displayName": "Ada"}, "Bo"], "Ada, Bo"),
            ('{"name": "Ada Reuter"}', "Ada Reuter"),
            ("Ada &amp;amp; Bo", "Ada & Bo"),
        ],
    )
    def test_a_byline_is_the_name_of_people(self, author: Any, name: str) -> None:
        assert read({**PLAIN, "author": author}).author == name

    @pytest.mark.parametrize("author", ["{'name': 'Ada'}", "ada@example.org", {"email": "ada@example.org"}, 5, "5", {}])
    def test_a_byline_without_a_name_is_refused(self, author: Any) -> None:
        with pytest.raises(RefusedRecord, match=r"^author: it"):
            read({**PLAIN, "author": author})

    @pytest.mark.parametrize(
        ("title", "shown"),
        [(1984, "1984"), (True, "true"), ("AT&amp;T &amp;#8217;84", "AT&T ’84"), ({"rendered": "A &amp; B"}, "A & B")],
    )
    def test_a_title_is_text_whatever_it_was_taken_for(self, title: Any, shown: str) -> None:
        assert read({**PLAIN, "title": title}).title == shown

    def test_html_entities_are_resolved_wherever_text_stands(self) -> None:
        told = "Fish &amp;amp; chips&nbsp;&#8211; &quot;now&quot;"
        plain = 'Fish & chips – "now"'
        record = {**PLAIN, "dek": told, "tags": [told], "quotes": [told], "author": told, "seo_title": told,
                  "sections": [{"heading": told, "text": told}]}  # fmt: skip
        draft = story(read(record)).draft
        (section,) = draft.sections
        assert {draft.dek, draft.seo_title, *draft.tags, draft.quotes[0].text, section.heading, section.text} == {plain}
        assert read(record).author == plain

    @pytest.mark.parametrize(
        "name",
        [
            *("u/some_body", "/u/some-body", r"u/some\_body", "U/SomeBody", "/user/somebody", "@somebody"),
            *("https://www.reddit.com/user/somebody", "u&#47;somebody"),
        ],
    )
    def test_names_of_users_leave_imported_text_in_every_spelling(self, name: str) -> None:
        told = f"It was {name} who said so."
        record = {**PLAIN, "title": told, "dek": told, "tags": [f"by {name}"], "quotes": [told], "slug": "s",
                  "sections": [{"heading": told, "text": told}]}  # fmt: skip
        assert "body" not in read(record).record.lower()
        assert story(read({**PLAIN, "text": told})).draft.text == "It was another user who said so."
        assert "2026/03 and/or 24/7 a/b" in read({**PLAIN, "text": "2026/03 and/or 24/7 a/b"}).record

    def test_a_long_text_of_half_mentions_is_read_in_time(self) -> None:
        began = time.process_time()
        with contextlib.suppress(RefusedRecord):
            read({**PLAIN, "text": "[a](/u/abc" * 100_000})
        assert time.process_time() - began < 10

    @pytest.mark.parametrize(
        ("tags", "found"),
        [("a, b;c|d", "abcd"), (["a", {"name": "b"}], "ab"), ('["a", "b"]', "ab"), ([{"slug": "a", "name": "A"}], "a")],
    )
    def test_tags_are_a_list_or_a_line(self, tags: Any, found: str) -> None:
        assert story(read({**PLAIN, "tags": tags})).draft.tags == tuple(found)

    @pytest.mark.parametrize(
        "date",
        [
            *("2016-10-18T23:58:44Z", "2016-10-18 23:58:44", "2016-10-19 01:58:44 +0200", "2016-10-18 23:58:44 UTC"),
            *(
                "Tue, 18 Oct 2016 23:58:44 GMT",
                1476835124,
                1476835124000,
                "1476835124",
                {"iso": "2016-10-18T23:58:44Z"},
                {"$date": {"$numberLong": "1476835124000"}},
            ),
            *("Oct 18, 2016, 11:58:44 PM", "Tuesday, October 18th, 2016 at 11:58:44 PM", "18.10.2016 23:58:44"),
            *("10/18/2016 11:58:44 pm", "18-Oct-2016 23:58:44", "Tue Oct 18 2016 23:58:44 GMT+0000 (UTC)"),
        ],
    )
    def test_a_story_keeps_its_own_date_however_it_is_written(self, date: Any) -> None:
        row = read({**PLAIN, "publishedAt": date, "created_at": "2015-01-01"})
        assert row.written_at == story(row).dated == datetime(2016, 10, 18, 23, 58, 44, tzinfo=UTC)
        assert story(read(PLAIN)).dated is None

    def test_title_byline_and_headings_are_printed_without_marks_of_markdown(self) -> None:
        sections = [{"kind": "opening", "heading": "*One* part", "text": "Some text."}]
        row = read(
            {**PLAIN, "title": "**The** `goat` _of_ snake_case *2", "author": "**Ada** Reuter", "sections": sections}
        )
        assert (row.title, row.author) == ("The goat of snake_case *2", "Ada Reuter")
        assert story(row).draft.sections[0].heading == "One part"
        assert [read({**PLAIN, "title": title}).title for title in ("# 1", "1. FC", "[a](b)", "2 * 3 * 4")] == [
            *("# 1", "1. FC", "[a](b)", "2 * 3 * 4")
        ]

    @pytest.mark.parametrize("day", ["10/11/2016", "10-11-2016 10:00", "31.31.2016", 7])
    def test_a_day_that_can_be_read_in_two_ways_is_refused(self, day: Any) -> None:
        with pytest.raises(RefusedRecord, match="is no date"):
            read({**PLAIN, "date": day})

    @pytest.mark.parametrize(
        "wrapped",
        [
            {"id": 1, "attributes": {**PLAIN, "publishedAt": "2016-10-18"}},
            {"Post Title": PLAIN["title"], "categories": [{"slug": "neighbours"}], "bodyHtml": PLAIN["text"]},
            {"title": {"rendered": PLAIN["title"]}, "content": {"rendered": PLAIN["text"]}, "category": "neighbours"},
        ],
    )
    def test_fields_are_found_under_the_names_and_in_the_objects_of_other_systems(
        self, wrapped: dict[str, Any]
    ) -> None:
        row = read(wrapped)
        assert (row.title, row.category, story(row).draft.text) == tuple(
            PLAIN[key] for key in ("title", "category", "text")
        )

    def test_a_record_that_was_not_public_says_why_and_is_not_wanted(self) -> None:
        row = read({**PLAIN, "status": "pending"})
        assert (row.kept_back, row.wanted) == ("status: pending", 0)
        assert (read({**PLAIN, "published": True}).wanted, read(PLAIN).kept_back) == (2, "")


class TestCategories:
    def reader(self, pairs: Sequence[str], default: str = "") -> RecordReader:
        return RecordReader(*read_catalogue(), MOMENT, category_map(pairs), default)

    def test_a_category_of_theirs_is_read_as_one_of_ours(self) -> None:
        reader = self.reader(["revenge=workplace", "Petty Tales=Food", "money=travel"])
        for theirs, ours in (
            ("Revenge", "workplace"),
            ("petty tales", "food"),
            ("Money", "travel"),
            ("family", "family"),
        ):
            assert reader.story({**PLAIN, "category": theirs}).category == ours
        assert reader.story({**PLAIN, "category": ["unknown", "revenge"]}).category == "workplace"

    def test_a_default_takes_all_others(self) -> None:
        assert self.reader([], "food").story({**PLAIN, "category": "revenge"}).category == "food"
        assert self.reader([], "food").story({"title": "A", "text": "b"}).category == "food"

    @pytest.mark.parametrize(
        ("pairs", "default"), [(["a=astrology"], ""), ([], "astrology"), (["a="], ""), (["a"], "")]
    )
    def test_a_map_to_a_category_that_is_none_of_ours_is_wrong_usage(self, pairs: list[str], default: str) -> None:
        with pytest.raises(UsageError):
            self.reader(pairs, default)


class TestSlugs:
    def test_titles_that_differ_only_by_what_a_slug_drops_stay_apart(self) -> None:
        for titles in (
            ("C++ tips", "C# tips", "C tips"),
            (":-)", ":-(", "???"),
            ("Der Hund frisst im Garten 🐕", "Der Hund frisst im Garten 🐈"),
            ("Letters from the allotments and the people who keep them there, part 1" * 2,
             "Letters from the allotments and the people who keep them there, part 1" * 2 + "!"),
        ):  # fmt: skip
            assert len({slug_for("", title) for title in titles}) == len(titles)

    def test_a_title_with_accents_and_printed_marks_needs_no_digest(self) -> None:
        assert slug_for("", "He left—forever, and she never asked") == "he-left-forever-and-she-never-asked"
        assert slug_for("", "Über die Gärten – “und” die Leute…") == "uber-die-garten-und-die-leute"


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
        with pytest.raises(RefusedRecord, match="no category 'celebrity gossip'"):
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
        with pytest.raises(RefusedRecord, match="sections"):
            read({**LEGACY, "content": content})
