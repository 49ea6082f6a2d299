"""A day without a Reddit key: stories from three sources, credited by their terms, and one that its source deletes."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from command import threadjuice
from servers import hacker_news_server as hn
from servers import lemmy_server as lemmy
from servers import stack_exchange_server as se

from threadjuice_dagster.cli.session import open_session
from threadjuice_dagster.database.outages import Outages
from threadjuice_dagster.settings import load_settings

FERN = (
    "Our office has a fern called Gerald, and for three years I have been the only person who waters him. Last "
    "month a new colleague began to water him as well, every morning, without a word. By the second week the pot "
    "stood in a lake and the leaves went brown at the tips.",
    "I put a small card on the pot that asked people to leave him alone. The next day there was a second card "
    "beside it, in green ink, which said that Gerald had looked thirsty. On Friday our manager asked both of us "
    "who was in charge of the plant, and neither of us could name a rule.",
    "How do I settle this without turning a fern into a meeting?",
)
FERN_ANSWERS = (
    "Offer her the odd weeks and keep the even ones. A rota on the wall ended the same quarrel about the coffee "
    "machine in our office, and nobody had to apologise to anybody.",
    "Tell her what the brown tips mean before you say anything about cards. She thinks she is saving a plant that"
    " you neglect, and you think she is drowning a plant that you love.",
    "Move the fern to a shelf between your two desks. A plant on neutral ground belongs to both of you, and the "
    "manager can stop asking who is in charge.",
)
CLOCK = (
    "My grandfather left me a station clock that runs eleven minutes fast. I opened it last winter and found a "
    "second spring inside, tied to the first with fishing line. When I cut the line the clock ran perfectly for a"
    " week and then stopped for good.",
    "My aunt laughed when I told her. The clock was never wrong, she said: he set it fast so that he would catch "
    "the early train, and the line was there so that nobody could set it right. I have since tied the springs "
    "together again, and it is eleven minutes fast once more.",
    "What have you repaired that turned out not to be broken?",
)
CLOCK_COMMENTS = (
    "I spent a whole weekend on a kettle that leaked, and then my mother told me that she had drilled the hole "
    "herself because the lid whistled at night.",
    "A lathe in our workshop pulls to the left, and every new apprentice straightens it. The old hands put it "
    "back the next morning, since all the jigs are built for the bend.",
    "My first job was to remove a sleep statement from a program that paid wages. It was there because the bank "
    "on the other end refused two payments in one second.",
    "There is a door in my house that only shuts if you lift it, and that door is how we know who is coming home.",
)
SOUP = (
    "Every Thursday I cook soup for the eight people on my staircase, and for two years there has always been one"
    " bowl left over. Last week I finally counted the bowls: there are nine, and nobody owns the ninth. It is "
    "blue, it has a chip at the rim, and it is always clean when I start.\n\n"
    "I asked everybody on the stairs. The woman on the ground floor said that the bowl was there before she moved"
    " in, and that her late husband used to fill it for the night porter. There has been no night porter for "
    "twenty years. This Thursday I filled it anyway and left it by the door, and in the morning it was empty and "
    "washed."
)
SOUP_COMMENTS = (
    "Please keep filling it. Somebody on that staircase needs the bowl more than they can say out loud.",
    "We had a bread basket like that in our yard, and it took us a year to find out that the postman lived alone.",
    "Ask nobody. The day you find out who eats it is the day they are too proud to come back for it.",
    "Leave a second spoon beside it next Thursday, and see whether two of them come back in the morning.",
)


class Servers(NamedTuple):
    stack_exchange: se.StackExchangeServer
    hacker_news: hn.HackerNewsServer
    lemmy: lemmy.LemmyServer


@pytest.fixture
def servers(newsroom_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    with se.StackExchangeServer() as exchange, hn.HackerNewsServer() as news, lemmy.LemmyServer() as instance:
        exchange.posts.clear()
        body = "".join(f"<p>{paragraph}</p>" for paragraph in FERN)
        exchange.add(se.question(7001, "Two people water one fern at work. Who is in charge of it?", body=body))
        for number, text in enumerate(FERN_ANSWERS):
            owner = se.user(800 + number, ("Rota Keeper", "Leaf Reader", "Shelf Mover")[number])
            exchange.add(se.answer(7010 + number, 7001, f"<p>{text}</p>", owner=owner, is_accepted=number == 0))
        news.items.clear()
        replies = [hn.comment(9001 + number, text) for number, text in enumerate(CLOCK_COMMENTS)]
        title = "Ask HN: What have you repaired that was not broken?"
        news.add(hn.story(9000, title, text="<p>".join(CLOCK)), *replies)
        instance.posts.clear(), instance.comments.clear()
        said = [lemmy.comment(600 + number, text, score=40 - number) for number, text in enumerate(SOUP_COMMENTS)]
        instance.add(
            lemmy.post(500, name="There is a ninth soup bowl on my staircase and nobody owns it", body=SOUP), said
        )
        for name, value in {
            "THREAD_SOURCES": f"stackexchange:workplace,hackernews:ask,lemmy:{instance.url}/c/kettles",
            "STACK_EXCHANGE_API_URL": exchange.url,
            "HACKER_NEWS_API_URL": news.url,
            "HACKER_NEWS_SEARCH_URL": news.url,
        }.items():
            monkeypatch.setenv(name, value)
        yield Servers(exchange, news, instance)


def files_with(folder: Path, words: str) -> list[Path]:
    """Files below a folder that hold these words, plain or compressed."""
    found = []
    for path in (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
        data = path.read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        found += [path] if words.encode() in data else []
    return found


def page_of(home: Path, story: dict[str, object]) -> str:
    return (home / "site" / "current" / "story" / str(story["slug"]) / "index.html").read_text()


def test_three_stories_come_from_three_sources_each_by_its_own_terms(
    servers: Servers, newsroom_environment: dict[str, str]
) -> None:
    home = Path(newsroom_environment["THREADJUICE_HOME"])
    code, document, said = threadjuice("content", "generate", "--count", "3")
    assert code == 0, said
    stories = {story["id"].partition("-")[0]: story for story in document["stories"]}
    assert {name: story["status"] for name, story in stories.items()} == dict.fromkeys(
        ("se", "hn", "lemmy"), "published"
    ), [story["reasons"] for story in stories.values()]
    assert stories["se"]["id"] == "se-workplace-7001"
    assert all(len(story["id"]) <= 32 for story in stories.values())

    credited = page_of(home, stories["se"])
    assert "https://workplace.stackexchange.com/questions/7001" in credited
    assert "creativecommons.org/licenses/by-sa/4.0" in credited
    for name in ("Fern Keeper", "Rota Keeper", "Leaf Reader", "Shelf Mover"):
        assert name in credited
    for source, names in (("hn", ("kettle_owner", "drinker_9001")), ("lemmy", ("TuneKeeper77", "brass_neighbour9"))):
        assert "by-sa" not in page_of(home, stories[source])
        assert not [name for name in names if files_with(home / "site", name)]
    assert "https://news.ycombinator.com/item?id=9000" in page_of(home, stories["hn"])
    provenance = json.loads((home / "site/current/story" / stories["se"]["slug"] / "provenance.json").read_text())
    assert "Rota Keeper" in json.dumps(provenance)
    assert [path.name for path in files_with(home / "site", "Rota Keeper") if path.suffix in (".xml", ".json")]


def test_what_a_source_deletes_is_gone_after_one_sweep_and_an_outage_takes_nothing_down(
    servers: Servers, newsroom_environment: dict[str, str]
) -> None:
    home = Path(newsroom_environment["THREADJUICE_HOME"])
    assert threadjuice("content", "generate", "--count", "3")[0] == 0
    backup = threadjuice("maintenance", "backup")[1]["backup"]["id"]
    servers.hacker_news.delete(9000)
    servers.lemmy.always("post", "502")
    servers.lemmy.always("comments", "502")
    servers.lemmy.always("comment", "502")
    with open_session(load_settings()) as session:
        session.run("takedowns_job")
        left = {story.story_id.partition("-")[0] for story in session.store.published()}
        assert left == {"se", "lemmy"}
        (outage,) = Outages(session.store.engine).ongoing()
        assert outage.service.startswith("lemmy:127.0.0.1")
        assert session.store.unused_threads() == 0
    for folder in ("site", "cdn", "backups"):
        assert files_with(home / folder, "station clock") == []
    servers.lemmy.heal()
    code, swept, said = threadjuice("content", "sweep")
    assert (code, swept["changed"], swept["not_asked"]) == (0, 0, "none"), said
    with open_session(load_settings()) as session:
        assert Outages(session.store.engine).ongoing() == []
        assert len(session.store.published()) == 2

    plan = threadjuice("database", "restore", backup)[1]["plan"]
    code, document, said = threadjuice("database", "restore", backup, "--confirm", plan["token"])
    assert code == 0, said or document
    with open_session(load_settings()) as session:
        session.build_site()
        assert {story.story_id.partition("-")[0] for story in session.store.published()} == {"se", "lemmy"}
    assert files_with(home / "site", "station clock") == []


@pytest.mark.parametrize(
    ("address", "story_id"),
    [
        ("https://workplace.stackexchange.com/questions/7001/two-people-water-one-fern", "se-workplace-7001"),
        ("https://workplace.stackexchange.com/a/7011", "se-workplace-7001"),
        ("https://news.ycombinator.com/item?id=9000", "hn-9000"),
        ("LEMMY/post/500", "lemmy-127.0.0.1-PORT-500"),
    ],
)
def test_a_story_can_be_written_from_the_address_of_a_thread(servers: Servers, address: str, story_id: str) -> None:
    address = address.replace("LEMMY", servers.lemmy.url)
    code, document, said = threadjuice("content", "generate", "--thread", address)
    assert code == 0, said
    (story,) = document["stories"]
    assert story["id"] == story_id.replace("PORT", servers.lemmy.url.rpartition(":")[2])
    assert story["status"] == "published", story["reasons"]
    asked = [(request.path, request.query) for server in servers for request in server.requests]
    assert len(asked) == len({repr(request) for request in asked}), "nothing is asked twice"


def test_one_place_can_be_asked_for(servers: Servers) -> None:
    code, document, said = threadjuice("content", "generate", "--source", "hackernews:ask", "--count", "1")
    assert code == 0, said
    assert [story["id"] for story in document["stories"]] == ["hn-9000"]
    assert servers.stack_exchange.requests == servers.lemmy.requests == []


def test_samples_are_no_supply_once_real_places_are_read(servers: Servers) -> None:
    assert threadjuice("content", "generate", "--count", "1", THREAD_SOURCES="samples")[0] == 0
    code, document, said = threadjuice("content", "generate", "--count", "5")
    assert code == 1, said
    assert {story["id"].partition("-")[0] for story in document["stories"]} == {"se", "hn", "lemmy"}
    assert threadjuice("status")[1]["threads"]["suitable"] == 0


def test_every_place_is_checked_before_a_deployment(servers: Servers) -> None:
    servers.lemmy.always("posts", "502")
    _, document, _ = threadjuice("deploy", "check")
    row = next(row for row in document["rows"] if row["name"] == "threads")
    assert row["state"] == "warning"
    assert "stackexchange: 299 of 300 requests of the day are left" in row["message"]
    assert "lemmy:127.0.0.1" in row["message"]
    assert len(servers.stack_exchange.requests) == 1
