"""Which threads suit a story, by the writer's own rule, and for how many days they last."""

from typing import Any

import pytest
from makers import make_comment, make_thread

from threadjuice_dagster.database.catalogue import read_catalogue
from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.domain.writing.extractive import ThreadTooThin, compose
from threadjuice_dagster.domain.writing.supply import MIN_WORDS, Supply, counted, unsuitable

POST = """The council came to measure our fence on a Tuesday, and nobody had told my brother about it.
He stood in the garden with a cup of tea and asked them what they wanted from us after eleven years.
They said that the line on their map ran through the pond, and that the pond would have to be moved by June.
My brother asked who moves a pond, and the younger surveyor said that he had wondered about that as well.
In the end they left a letter under the door, and the pond is still where my grandfather dug it in the autumn."""
COMMENTS = (
    make_comment("c1", "I would ask the council for the original survey before anybody lifts a spade near that pond."),
    make_comment(
        "c2", "Our street had the same letter in spring, and the map turned out to be upside down at the time."
    ),
    make_comment("c3", "A pond that old may well be protected, so look for newts before you answer their letter."),
)
GERMAN = """Am Dienstag kam die Gemeinde, um unseren Zaun zu vermessen, und niemand hatte meinem Bruder etwas gesagt.
Er stand mit einer Tasse Tee im Garten und fragte, was sie nach elf Jahren eigentlich von uns wollten.
Sie sagten, dass die Linie auf ihrer Karte mitten durch den Teich laufe und der Teich bis Juni verlegt werden müsse."""


def thread(**changes: Any) -> Thread:
    return make_thread(**{"title": "The council wants our pond moved", "body": POST, "comments": COMMENTS, **changes})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"body": "", "comments": COMMENTS[:2]}, "0 printable words of post and 2 quotable comments"),
        ({"comments": ()}, "printable words of post and 0 quotable comments"),
        ({"body": "No."}, "quotable comments"),
        ({"body": GERMAN}, "its post is not in English"),
        ({"over_18": True}, "it is marked as adult"),
        ({"expired": True}, "its text has expired"),
    ],
)
def test_a_thread_that_is_adult_expired_foreign_or_thin_suits_no_story(changes: dict[str, Any], why: str) -> None:
    said = unsuitable(thread(**changes))
    assert why in said
    assert bool(said) == bool(why)


@pytest.mark.parametrize("changes", [{}, {"comments": ()}, {"body": "No."}, {"body": GERMAN}, {"title": "Der Teich"}])
def test_the_supply_and_the_writer_go_by_one_rule(changes: dict[str, Any]) -> None:
    categories, personas = read_catalogue()
    why = unsuitable(thread(**changes))
    if why:
        with pytest.raises(ThreadTooThin, match=why):
            compose(thread(**changes), categories[0], personas[0])
    else:
        assert compose(thread(**changes), categories[0], personas[0]).word_count > MIN_WORDS


class TestDays:
    def test_they_are_the_suitable_threads_by_the_stories_of_a_day(self) -> None:
        supply = Supply(unused=20, by_place={"hackernews:ask": 6, "stackexchange:workplace": 9}, daily_stories=3)
        assert (supply.suitable, supply.days) == (15, 5.0)

    @pytest.mark.parametrize(("tried", "published", "days"), [(9, 0, 5.0), (10, 5, 2.5), (40, 10, 1.2), (10, 0, 0.0)])
    def test_the_share_that_was_published_counts_once_ten_were_tried(
        self, tried: int, published: int, days: float
    ) -> None:
        supply = Supply(unused=15, by_place={"samples": 15}, tried=tried, published=published, daily_stories=3)
        assert supply.days == days

    def test_no_thread_lasts_for_no_day(self) -> None:
        assert Supply().days == 0.0

    def test_places_of_one_source_are_added_up(self) -> None:
        supply = Supply(by_place={"stackexchange:cooking": 2, "hackernews:ask": 3, "stackexchange:diy": 4})
        assert supply.by_source == {"stackexchange": 6, "hackernews": 3}
        assert str(supply) == "9 unused threads suit a story (stackexchange 6, hackernews 3), enough for 3 days"

    def test_the_record_adds_up(self) -> None:
        record = Supply(unused=4, by_place={"samples": 3}, tried=20, published=10, daily_stories=1).record
        assert record == {
            "unused": 4,
            "suitable": 3,
            "by_source": {"samples": 3},
            "by_place": {"samples": 3},
            "published_share": 0.5,
            "days": 1.5,
        }


def test_many_counts_are_cut_and_the_rest_is_counted() -> None:
    assert counted({"a": 2, "b": 1}) == "a 2, b 1"
    assert counted({str(number): 1 for number in range(10)}, most=2) == "0 1, 1 1, 8 more"
