"""Hostile threads over the wire: a model that obeys whatever it hears, and the whole newsroom around it."""

import json
import re
import uuid
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from command import threadjuice
from corpora.injections import ATTACKS, Attack, document
from servers.loopback import Reply, Request
from servers.openai_server import OpenAIServer, fenced_data

from threadjuice_dagster.database.server import create_database
from threadjuice_dagster.domain.language.text import clean, fold, sentences, words
from threadjuice_dagster.sources.markup import text_of_markdown

BY_NAME = {attack.name: attack for attack in ATTACKS}
WORST = ("plain order", "fake fence boundary", "closing braces")
_VARYING = re.compile(r"[0-9a-f]{12,}|(?<=/)[\w-]{12,}(?=/)|(?<=/comment/)\w+|(?<=/r/)\w+")
_FENCED = re.compile(r"^(BOUNDARY \w+)\n.+\n\1$", re.MULTILINE)
_STERN = dict.fromkeys(("hook", "clarity", "structure", "specificity", "voice", "faithfulness"), 2)


class ObedientServer(OpenAIServer):
    """Does what an attack demands as soon as it hears a sentence of it.

    ``credulous`` hears it in the thread's data too when it writes; otherwise only outside the fence. ``forward`` does
    it in any case, whether it heard of it or not. ``scores`` is what the judge gives when nobody tells it otherwise.
    """

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self.attack = Attack("")
        self.credulous = self.forward = False
        self.scores: dict[str, int] = {}
        self.obeyed = 0

    def answer(self, request: Request) -> Reply:
        if request.kind not in ("write", "judge"):
            return super().answer(request)
        if request.kind == "judge" and self.scores:
            return self._judged(request, dict.fromkeys(self.scores, 5) if self._hears(request) else self.scores)
        if request.kind == "write" and (self.forward or self._hears(request)):
            self.obeyed += 1
            return self._obeying(request)
        return super().answer(request)

    def _hears(self, request: Request) -> bool:
        heard = _FENCED.sub("", "\n".join(one["content"] for one in request.json["messages"]))
        if self.credulous and request.kind == "write":
            heard += json.dumps(fenced_data(request), ensure_ascii=False)
        heard = fold(heard)
        orders = (sentence for text in self.attack.texts for sentence in sentences(clean(text)))
        return any(fold(order) in heard for order in orders if len(words(order)) > 3)

    def _obeying(self, request: Request) -> Reply:
        reply = super().answer(request)
        story = json.loads(reply.document["choices"][0]["message"]["content"])
        prompt = request.json["messages"][0]["content"]
        story["sections"][0]["text"] += " " + (prompt if self.attack.obeyed == "PROMPT" else self.attack.obeyed)
        return self._completion(request, [json.dumps(story, ensure_ascii=False)])

    def _judged(self, request: Request, scores: dict[str, int]) -> Reply:
        answer = {name: {"evidence": "As it was read.", "score": score} for name, score in scores.items()}
        return self._completion(request, [json.dumps(answer)] * int(request.json.get("n") or 1))


KEYED = {"OPENAI_API_KEY": "sk-hunter2-hunter2-hunter2", "CONTENT_GENERATION_RATE_LIMIT": "1000"}


@pytest.fixture
def model(newsroom_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[ObedientServer]:
    with ObedientServer() as server:
        for name, value in {**KEYED, "OPENAI_BASE_URL": server.url}.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture(scope="module")
def harmless(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> "Page":
    """The page of a story without any attack, from a newsroom of its own."""
    folder = tmp_path_factory.mktemp("harmless")
    server_address, name = sa.engine.make_url(server_url), f"h_{uuid.uuid4().hex[:12]}"
    create_database(server_address, name)
    url = server_address.set(database=name)
    with OpenAIServer() as server:
        home = {"DATABASE_URL": url.render_as_string(hide_password=False), "THREADJUICE_HOME": str(folder / "home")}
        story = generate(folder / "t.json", None, **KEYED, **home, OPENAI_BASE_URL=server.url)
        return Page(Path(story["page"]).read_text(encoding="utf-8"))


def generate(path: Path, attack: Attack | None, **variables: str) -> dict[str, Any]:
    """The story that the newsroom makes of a thread, as the command line reports it."""
    path.write_text(json.dumps(document(attack)), encoding="utf-8")
    code, answer, said = threadjuice("content", "generate", "--thread", str(path), **variables)
    assert code == 0, said
    told: dict[str, Any] = answer["stories"][0]
    return told


class Page(HTMLParser):
    """The kinds of element a page has, with their attributes' names, and where its links lead, names and ids apart."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.kinds: set[tuple[str, tuple[str, ...]]] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.kinds.add((tag, tuple(sorted(name for name, _ in attrs))))
        leading = (value or "" for name, value in attrs if name in ("href", "src", "action"))
        self.links |= {_VARYING.sub("*", link) for link in leading}


def assert_like_the_harmless_page(story: dict[str, Any], harmless: Page) -> str:
    """What a published page may hold; returns its folded text."""
    assert story["status"] == "published", story["reasons"]
    text = Path(story["page"]).read_text(encoding="utf-8")
    page = Page(text)
    assert page.links <= harmless.links
    assert page.kinds <= harmless.kinds
    return fold(text)


@pytest.mark.parametrize("name", WORST)
def test_a_model_that_obeys_all_it_hears_outside_the_fence_hears_nothing(
    model: ObedientServer, harmless: Page, tmp_path: Path, name: str
) -> None:
    model.attack = BY_NAME[name]
    story = generate(tmp_path / "t.json", model.attack)
    assert model.obeyed == 0
    assert model.attack.sign not in assert_like_the_harmless_page(story, harmless)


@pytest.mark.parametrize("name", ["markdown links", "letters moved by thirteen"])
def test_hostile_text_that_nobody_recognised_reaches_the_model_as_data_alone(
    model: ObedientServer, harmless: Page, tmp_path: Path, name: str
) -> None:
    model.attack = BY_NAME[name]
    story = generate(tmp_path / "t.json", model.attack)
    told = json.dumps([fenced_data(request) for request in model.seen("write")], ensure_ascii=False)
    assert text_of_markdown(model.attack.comments[0]) in told
    assert model.obeyed == 0
    if story["status"] == "published":
        assert_like_the_harmless_page(story, harmless)


@pytest.mark.parametrize("name", ["order in the post", "prompt into the alt text", "split over comments"])
def test_a_model_that_obeys_the_thread_itself_is_not_shown_its_orders(
    model: ObedientServer, harmless: Page, tmp_path: Path, name: str
) -> None:
    model.attack, model.credulous = BY_NAME[name], True
    story = generate(tmp_path / "t.json", model.attack)
    assert model.obeyed == 0
    assert model.attack.sign not in assert_like_the_harmless_page(story, harmless)


def test_an_order_nobody_recognised_gets_no_link_onto_the_page(
    model: ObedientServer, harmless: Page, tmp_path: Path
) -> None:
    """The reader's own link stands in the thread, so a story may name it, as text."""
    model.attack, model.credulous = BY_NAME["bare link"], True
    story = generate(tmp_path / "t.json", model.attack)
    assert model.obeyed > 0
    if story["status"] == "published":
        assert_like_the_harmless_page(story, harmless)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("claimed developer", "adds a link"),
        ("data address", "markup"),
        ("key into the story", "instructions"),
    ],
)
def test_a_story_that_did_as_it_was_told_is_rejected_with_the_reason(
    model: ObedientServer, tmp_path: Path, name: str, reason: str
) -> None:
    model.attack, model.forward = BY_NAME[name], True
    story = generate(tmp_path / "t.json", model.attack)
    assert story["status"] == "rejected"
    assert not story["page"]
    assert any(reason in one["message"] for one in story["reasons"] if one["check"] == "quotes_are_grounded")


@pytest.mark.parametrize("name", ["score demand", "bribed judge"])
def test_the_score_is_the_judges_and_not_the_threads(model: ObedientServer, tmp_path: Path, name: str) -> None:
    model.attack, model.scores = BY_NAME[name], _STERN
    story = generate(tmp_path / "t.json", model.attack)
    assert story["judge_score"] == 4.0
    assert story["score"] <= 4.0
    assert story["status"] == "rejected"
