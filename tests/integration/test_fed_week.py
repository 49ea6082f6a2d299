"""A week of a newsroom that four sources feed: it never runs dry, and asks no source more often than it allows.

The newsroom is a real one on PostgreSQL, whose clocks say what the database says. So a night passes by making older
what it stored; the sources make older what they show.
"""

import html
import itertools
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from command import threadjuice
from makers import make_draft
from servers import discourse_server as discourse
from servers import hacker_news_server as hacker_news
from servers import lemmy_server as lemmy
from servers import stack_exchange_server as stack_exchange
from servers.loopback import LoopbackServer

from threadjuice_dagster.assets.publication.takedowns import takedowns
from threadjuice_dagster.assets.threads.threads import discovered_threads, story_assignments
from threadjuice_dagster.cli.session import NewsroomSession, open_session
from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.outages import Outages
from threadjuice_dagster.domain.story.stories import Quote
from threadjuice_dagster.operations.alerts.rules import Alert
from threadjuice_dagster.operations.alerts.service import Watch
from threadjuice_dagster.operations.alerts.store import Incidents
from threadjuice_dagster.settings import load_settings
from threadjuice_dagster.sources import client

SAMPLES = Path(__file__).parents[2] / "threadjuice_dagster" / "editorial" / "threads"
NEW_A_DAY = 2
DOWN, PAUSED = 3, 5
"""Days (counted from 0) on which Hacker News is down, and on which Stack Exchange asks for a pause of two hours."""

Tale = dict[str, Any]


def tales() -> Iterator[Tale]:
    """The sample threads over and over: title, text, and comments with what they answer. Their titles are numbered."""
    for number in itertools.count(1):
        for path in sorted(SAMPLES.glob("*.json")):
            posts, comments = json.loads(path.read_text())
            post = posts["data"]["children"][0]["data"]
            texts = [thing["data"]["body"] for thing in comments["data"]["children"]]
            title = post["title"] if number == 1 else f"{post['title']} ({number})"
            yield {"title": title, "text": post["selftext"], "comments": texts}


def as_html(text: str) -> str:
    return "".join(f"<p>{html.escape(part)}</p>" for part in text.split("\n\n"))


class Place(ABC):
    """A place of a source, behind its own loopback server. ``listed`` are the numbers of its threads, oldest first."""

    per_day: int | None = None
    per_minute = 60

    def __init__(self, server: LoopbackServer, first: int) -> None:
        self.server, self.listed = server, list[int]()
        self._numbers = itertools.count(first)

    @property
    def address(self) -> str:
        return self.server.url.removeprefix("http://")

    def publish(self, tale: Tale) -> None:
        number = next(self._numbers) * 100
        self.add(number, tale, [(number + rank, text) for rank, text in enumerate(tale["comments"], start=1)])
        self.listed.append(number)

    @property
    @abstractmethod
    def spec(self) -> str: ...

    @abstractmethod
    def add(self, number: int, tale: Tale, comments: list[tuple[int, str]]) -> None: ...

    @abstractmethod
    def delete(self, number: int) -> None: ...

    def pass_time(self, hours: int) -> None:  # noqa: B027 -- most places have no clock
        """Make hours older what is shown, and shorten what was asked for."""

    def end_day(self) -> None:  # noqa: B027
        """Begin to count anew."""


class StackExchangePlace(Place):
    spec, per_day = "stackexchange:workplace", 300
    server: stack_exchange.StackExchangeServer

    def add(self, number: int, tale: Tale, comments: list[tuple[int, str]]) -> None:
        question = stack_exchange.question(number, tale["title"], body=as_html(tale["text"]))
        answers = [stack_exchange.answer(key, number, as_html(text)) for key, text in comments]
        self.server.add({**question, "answer_count": len(answers)}, *answers)

    def delete(self, number: int) -> None:
        self.server.delete("questions", number)

    def pass_time(self, hours: int) -> None:
        paused = self.server._not_before
        self.server._not_before = {method: until - 3600 * hours for method, until in paused.items()}

    def end_day(self) -> None:
        self.server.quota = self.server.quota_max


class HackerNewsPlace(Place):
    spec, per_minute = "hackernews:ask", 600
    server: hacker_news.HackerNewsServer

    def add(self, number: int, tale: Tale, comments: list[tuple[int, str]]) -> None:
        story = hacker_news.story(number, f"Ask HN: {tale['title']}", text=as_html(tale["text"]))
        self.server.add(story, *(hacker_news.comment(key, as_html(text)) for key, text in comments))

    def delete(self, number: int) -> None:
        self.server.delete(number)

    def pass_time(self, hours: int) -> None:
        for item in self.server.items.values():
            item["time"] -= 3600 * hours


class LemmyPlace(Place):
    server: lemmy.LemmyServer

    @property
    def spec(self) -> str:
        return f"lemmy:{self.server.url}/c/kettles"

    def add(self, number: int, tale: Tale, comments: list[tuple[int, str]]) -> None:
        view = lemmy.post(number, name=tale["title"], body=tale["text"])
        self.server.add(view, [lemmy.comment(key, text) for key, text in comments])

    def delete(self, number: int) -> None:
        self.server.posts[number]["post"]["deleted"] = True


class DiscoursePlace(Place):
    server: discourse.DiscourseServer

    @property
    def spec(self) -> str:
        return f"discourse:{self.server.url}"

    def add(self, number: int, tale: Tale, comments: list[tuple[int, str]]) -> None:
        texts = [tale["text"], *(text for _, text in comments)]
        posts = [
            discourse.post(place, as_html(text), username=f"writer_{place}", user_id=place)
            for place, text in enumerate(texts, start=1)
        ]
        self.server.add(discourse.topic(number, title=tale["title"], fancy_title=tale["title"]), posts)

    def delete(self, number: int) -> None:
        self.server.refused[number] = "deleted"


class Week:
    """A newsroom with its places, and what it asks of them."""

    def __init__(self, newsroom: NewsroomSession, places: list[Place]) -> None:
        self.newsroom, self.places = newsroom, places
        self._tales, self._hours = tales(), 0
        self._seen: dict[Place, list[int]] = {place: [0] for place in places}

    @property
    def engine(self) -> sa.Engine:
        return self.newsroom.store.engine

    def publish(self) -> None:
        """Everywhere people write new threads."""
        for place in self.places:
            for _ in range(NEW_A_DAY):
                place.publish(next(self._tales))

    def discover(self) -> dict[str, Any]:
        """Find threads and assign stories as the daily schedule does, and write them in short."""
        said = self._run(discovered_threads, story_assignments)
        store = self.newsroom.store
        for order in store.open_orders():
            for assignment in store.waiting(order.id):
                comment = store.thread(assignment.thread_id or "").comments[0]
                quote = Quote(text=comment.body[:100], comment_id=comment.id)
                draft = make_draft(assignment.story_id)
                store.save(draft.model_copy(update={"draft": draft.draft.model_copy(update={"quotes": (quote,)})}))
            store.close_order(order.id)
        with self.engine.begin() as connection:
            connection.execute(t.assignments.update().values(status="rejected"))
        return said["threads"] | said["story_assignments"]

    def sweep(self) -> dict[str, Any]:
        """Follow deletions, as four times a day."""
        return self._run(takedowns)["takedowns"]

    def wait(self, hours: int) -> None:
        """Let hours pass. All that a place was asked before is no more than it allows in a minute."""
        for place, seen in self._seen.items():
            assert len(place.server.requests) - seen[-1] <= place.per_minute, place.spec
            seen.append(len(place.server.requests))
            place.pass_time(hours)
        past = {"past": timedelta(hours=hours)}
        self._hours += hours
        with self.engine.begin() as connection:
            for table, column in AGEING:
                connection.execute(sa.text(f"UPDATE {table} SET {column} = {column} - :past"), past)
            if self._hours % 24 == 0:
                connection.execute(sa.text("UPDATE source_limits SET day = day - 1"))

    def end_day(self) -> dict[Place, int]:
        """Return how often each place was asked on the day that is over."""
        asked = {place: seen[-1] - seen[0] for place, seen in self._seen.items()}
        for place in self.places:
            self._seen[place] = [len(place.server.requests)]
            place.end_day()
        return asked

    def keys(self, gone: dict[Place, int]) -> dict[Place, str]:
        """The keys of those of these threads whose texts are stored."""
        with self.engine.connect() as connection:
            keys = list(connection.scalars(sa.select(t.threads.c.id).where(t.threads.c.expired_at.is_(None))))
        return {place: key for place, number in gone.items() for key in keys if key.endswith(f"-{number}")}

    def _run(self, *assets: dg.AssetsDefinition) -> dict[str, dict[str, Any]]:
        """Make assets, then look for trouble as the sensors do. Returns what the assets say, by asset."""
        result = dg.materialize(assets, resources=self.newsroom.resources, instance=self.newsroom.instance)
        Watch(self.newsroom.instance, self.newsroom.store).now()
        said = [event.step_materialization_data.materialization for event in result.get_asset_materialization_events()]
        return {
            event.asset_key.path[-1]: {name: value.value for name, value in event.metadata.items()} for event in said
        }


AGEING = [
    ("source_limits", "paused_until"),
    ("rate_tickets", "at"),
    ("outages", "since"),
    ("outages", "next_at"),
    ("threads", "fetched_at"),
]
"""Times that a limit, an outage or the age of a thread goes by."""


@pytest.fixture
def week(newsroom_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Week]:
    monkeypatch.setattr(client, "_PAUSE", 0.01)
    with (
        stack_exchange.StackExchangeServer() as questions,
        hacker_news.HackerNewsServer() as news,
        lemmy.LemmyServer() as instance,
        discourse.DiscourseServer() as forum,
    ):
        places = [
            StackExchangePlace(questions, 1000),
            HackerNewsPlace(news, 2000),
            LemmyPlace(instance, 3000),
            DiscoursePlace(forum, 4000),
        ]
        monkeypatch.setenv("THREAD_SOURCES", ",".join(place.spec for place in places))
        monkeypatch.setenv("STACK_EXCHANGE_API_URL", questions.url)
        monkeypatch.setenv("HACKER_NEWS_API_URL", news.url)
        monkeypatch.setenv("HACKER_NEWS_SEARCH_URL", news.url)
        with open_session(load_settings(), print) as newsroom:
            yield Week(newsroom, places)


def test_a_week_never_runs_dry_and_asks_no_source_more_than_it_allows(week: Week) -> None:
    questions, news = week.places[:2]
    for day in range(7):
        week.publish()
        if day == DOWN:
            for kind in ("search", "tree", "item", "list"):
                news.server.always(kind, "502")
        week.sweep()
        week.wait(6)
        week.sweep()
        week.wait(3)
        if day == PAUSED:
            questions.server.script("listing", "backoff:7200")
        assert write_for_real(week) if day == 0 else week.discover()["assigned"] == 3, day
        if day == PAUSED:
            before = len(questions.server.requests)
            week.discover()
            assert len(questions.server.requests) == before
        gone = {place: place.listed.pop(0) for place in week.places}
        assert len(week.keys(gone)) == 4
        for place, number in gone.items():
            place.delete(number)
        week.wait(3)
        week.sweep()
        week.wait(6)
        week.sweep()
        assert week.keys(gone).keys() == ({news} if day == DOWN else set())
        week.wait(6)
        for place, requests in week.end_day().items():
            assert 0 < requests <= (place.per_day or requests), place.spec
        news.server.heal()
    # However often a trouble was seen: one message that it began, and one that it is over.
    messages = [Alert.model_validate(message["record"]) for message in Incidents(week.engine).messages()]
    about = Counter(alert.incident.cause for alert in messages if alert.incident.trouble.source == "outage")
    assert about == {"outage:hackernews": 2, "outage:stackexchange": 2}
    assert Outages(week.engine).ongoing() == []


def write_for_real(week: Week) -> bool:
    """Write and publish a day's three stories by the command. Returns whether all are public, of three sources."""
    code, document, said = threadjuice("content", "generate", "--count", "3")
    assert code == 0, said
    sources = {story["id"].partition("-")[0] for story in document["stories"]}
    return [story["status"] for story in document["stories"]] == ["published"] * 3 and len(sources) == 3
