"""Stories of threads of every shape, drawn with a fixed seed: our own words are never why a gate refuses one."""

import json
import random
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path

import pytest

import threadjuice_dagster
from threadjuice_dagster.database.catalogue import read_catalogue
from threadjuice_dagster.domain.judging.gates import QUALITY_THRESHOLD
from threadjuice_dagster.domain.judging.grounding import ground
from threadjuice_dagster.domain.judging.originality import MAX_SIMILARITY, signature, similarity
from threadjuice_dagster.domain.judging.rubric import rate
from threadjuice_dagster.domain.language.lexicon import phrases
from threadjuice_dagster.domain.language.text import fold, sentences, words
from threadjuice_dagster.domain.story.stories import Draft, Persona
from threadjuice_dagster.domain.story.threads import Comment, Thread
from threadjuice_dagster.domain.writing.assignments import match_category
from threadjuice_dagster.domain.writing.extractive import ThreadTooThin, compose
from threadjuice_dagster.domain.writing.passages import is_english
from threadjuice_dagster.sources.reddit_parser import parse_thread

EDITORIAL = Path(threadjuice_dagster.__file__).parent / "editorial"
CASES = Path(__file__).parents[2] / "cases"
CATEGORIES, PERSONAS = read_catalogue()
SAMPLES = [
    parse_thread(json.loads(path.read_text()), "sample") for path in sorted((EDITORIAL / "threads").glob("*.json"))
]
MOMENT = datetime(2025, 3, 4, 12, tzinfo=UTC)
DRAWN = 90

TITLES: dict[str, Callable[[str, list[str]], str]] = {
    "as it is": lambda title, told: title,
    "title case": lambda title, told: title.title(),
    "shouted": lambda title, told: title.upper(),
    "a question": lambda title, told: f"Why does {title[0].lower()}{title[1:].rstrip('.?!')}?",
    "the first sentence": lambda title, told: told[0][:290],
    "with the second sentence": lambda title, told: f"{title}, and {told[1]}"[:300],
}
BODIES: dict[str, Callable[[random.Random, list[str]], str]] = {
    "none": lambda chance, told: "",
    "a line": lambda chance, told: told[0],
    "short": lambda chance, told: " ".join(told[: chance.randint(3, 6)]),
    "whole": lambda chance, told: "\n\n".join(told),
    "long": lambda chance, told: "\n\n".join(f"{sample.body}" for sample in chance.sample(SAMPLES, 4)),
    "a link in every few lines": lambda chance, told: " ".join(
        line if at % 3 else f"{line} See https://example.org/p/{at} for it." for at, line in enumerate(told * 1)
    ),
    "a link after every line": lambda chance, told: "\n\n".join(
        f"{line} I put it at https://example.org/p/{at} for you." for at, line in enumerate(told)
    ),
    "a list": lambda chance, told: "\n".join([told[0], "", *(f"* {line}" for line in told[1:])]),
    "quoted lines between": lambda chance, told: "\n\n".join(
        line if chance.random() < 0.6 else f"> {line}" for line in told
    ),
    "small letters": lambda chance, told: " ".join(told).lower(),
    "an update that says it again": lambda chance, told: "\n\n".join([*told, "UPDATE: " + " ".join(told[2:6])]),
    "edits around it": lambda chance, told: "\n\n".join(["EDIT: spelling", *told, "Edit: thanks", told[-1]]),
}


def drawn(seed: int) -> tuple[Thread, Persona]:
    """A thread of some shape, made of the samples' sentences, and who writes it."""
    chance = random.Random(seed)
    base = chance.choice(SAMPLES)
    told = sentences(base.body)
    names = list(BODIES)
    pool = [comment.body for comment in base.comments]
    cut = chance.choice(
        [lambda body: body, lambda body: sentences(body)[0], lambda body: max(sentences(body), key=len)]
    )
    replies = []
    for number in range(chance.choice([1, 3, 4, 8, 20, 150])):
        parent = f"c{chance.randrange(number)}" if number and chance.random() < 0.3 else None
        replies.append(
            Comment(
                id=f"c{number}",
                body=cut(chance.choice(pool)),
                score=chance.choice([-5, 0, 1, 50, 900 - number]),
                parent_id=parent,
                depth=1 if parent else 0,
                by_poster=chance.random() < 0.1,
                created_at=MOMENT + timedelta(minutes=number),
            )
        )
    thread = base.model_copy(
        update={
            "id": f"z{seed}",
            "title": chance.choice(list(TITLES.values()))(base.title, told),
            "body": BODIES[names[seed % len(names)]](chance, told),
            "community": chance.choice([base.community, "unknown", "AskReddit"]),
            "num_comments": chance.choice([0, len(replies) + 40]),
            "created_at": chance.choice([MOMENT, datetime.fromtimestamp(0, UTC)]),
            "comments": tuple(sorted(replies, key=lambda reply: -reply.score)),
        }
    )
    return thread, chance.choice(PERSONAS)


def write(thread: Thread, persona: Persona) -> Draft:
    return compose(thread, match_category(thread, CATEGORIES), persona)


def refused(draft: Draft, thread: Thread, persona: Persona) -> list[str]:
    """What the gates on the text have against a draft."""
    rubric = rate(draft, thread, excerpting=True)
    faults = [fault for dimension in rubric.dimensions for fault in dimension.evidence]
    problems = list(ground(draft, thread, persona.lines).problems)
    return problems + (faults if rubric.overall < QUALITY_THRESHOLD else [])


def test_a_thread_of_any_shape_gives_a_story_the_gates_let_through_or_none() -> None:
    written = Counter[str]()
    for seed in range(DRAWN):
        thread, persona = drawn(seed)
        try:
            draft = write(thread, persona)
        except ThreadTooThin:
            continue
        assert refused(draft, thread, persona) == [], seed
        told = Counter(fold(line) for line in sentences(draft.text) if len(words(line)) > 4)
        assert [line for line, times in told.items() if times > 1] == [], seed
        written["excerpt" if any(section.kind == "excerpt" for section in draft.sections) else "replies alone"] += 1
    assert written.total() > 0.7 * DRAWN
    assert len(written) == 2


@pytest.mark.parametrize("name", ["13-own-bridge", "13-own-bridge-without-links", "10-headline-title", "20-crosspost"])
def test_threads_that_the_writers_own_words_once_got_refused_pass_in_every_voice(name: str) -> None:
    thread = parse_thread(json.loads((CASES / f"{name}.json").read_text()))
    for persona in PERSONAS:
        assert refused(write(thread, persona), thread, persona) == []


def test_what_was_left_out_of_a_post_is_bridged_once_each_and_otherwise_marked() -> None:
    # Whole stretches of links between single sentences: more gaps than there are lines to bridge them.
    lines = [line for sample in SAMPLES[:3] for line in sentences(sample.body) if len(words(line)) > 9][:40]
    links = " ".join(["See https://example.org/x for more of it."] * 6)
    body = "\n\n".join(f"{line}\n\n{links}" for line in lines)
    thread = SAMPLES[0].model_copy(update={"body": body})
    draft = write(thread, PERSONAS[0])
    assert refused(draft, thread, PERSONAS[0]) == []
    bridges = [section.text for section in draft.sections if section.kind == "narrative"]
    assert len(bridges) == len(set(bridges)) > 1
    assert draft.text.count("[…]") > 1


def test_stories_of_replies_alone_in_one_voice_do_not_count_as_copies_of_one_another() -> None:
    threads = [sample.model_copy(update={"body": ""}) for sample in SAMPLES]
    signed = [signature(write(thread, PERSONAS[0]).shown) for thread in threads]
    assert max(similarity(a, b) for a, b in combinations(signed, 2)) < MAX_SIMILARITY / 2


def test_no_line_of_a_persona_is_what_the_rubric_calls_worn() -> None:
    for persona in PERSONAS:
        for line in (*persona.openings, *persona.transitions, *persona.closings):
            small = line.lower().replace("’", "'")
            assert not phrases("tired_opening").match(small), line
            assert not any(phrases(worn).search(small) for worn in ("filler", "generic", "selling")), line


ENGLISH = """
Local Man Repairs Vintage Clocks, Neighbours Celebrate Quiet Victory Outside Bakery
lol idk why ppl keep doin this tbh, my cat just stares at me n walks off
Wife Finds Husband's Secret Lego Room Behind Garage Wall, Chaos Ensues
gf said no dogs. bought dog. gf loves dog now. send help
Update: landlord caved, got deposit back plus interest!!!
ngl that lasagna slaps, ur nan is a legend, pls share recipe
OLD PIANO MOVED NIGHTLY, CHOIR BAFFLED, CARETAKER SILENT, TUNER PAID
Best Budget Laptops Under 500 Dollars
Best Budget Laptops 2024: Dell, Asus, Lenovo, Acer, HP Compared
Ronaldo, Messi, Mbappe, Haaland Ranked: Greatest Strikers, Worst Haircuts
Grandma Maria's Tiramisu Recipe: Mascarpone, Espresso, Savoiardi, Marsala, Cocoa
Two cats, one box, zero regrets
Thx! Works gr8 now :)
""".strip().split("\n")
FOREIGN = """
Mein Nachbar hat einen Zaun gebaut und ich bin sauer
MEIN NACHBAR HAT EINEN ZAUN GEBAUT UND ICH BIN SAUER
alter was geht, hab kein bock mehr auf den job
Ik heb een huis in de stad en we zijn me te laat
a minha sogra não me deixa dormir no sofá, o que eu faço
No me lo puedo creer, mi gato come más que yo
C'est pas possible, mon voisin a volé mon chat hier soir
Mój sąsiad postawił płot i nie wiem co robić
Il mio vicino suona la tromba a mezzanotte e mezza
Min granne spelar trumpet varje natt och jag orkar inte mer
Naapurini soittaa trumpettia joka yö enkä saa nukuttua lainkaan
Tetanggaku memindahkan pagar kami dan aku tidak tahu harus bagaimana
Мой сосед построил забор и теперь не хочет со мной говорить
""".strip().split("\n")


def test_english_is_told_from_other_languages_in_headlines_and_slang() -> None:
    assert [text for text in ENGLISH if not is_english(text)] == []
    assert [text for text in FOREIGN if is_english(text)] == []


def test_every_sentence_of_the_samples_is_english_also_in_capitals() -> None:
    lines = [line for sample in SAMPLES for text in sample.texts for line in sentences(text)]
    assert [line for line in lines if not is_english(line)] == []
    assert sum(not is_english(line.upper()) for line in lines) == 0
    assert sum(not is_english(re.sub(r"\b(?:the|a|an|of|to|in|and|is|was)\b ", "", line)) for line in lines) < 5


@pytest.mark.parametrize("title", [*ENGLISH, "Zaun", "Ça va?"])
def test_a_short_or_headline_title_does_not_decide_on_a_threads_language(title: str) -> None:
    for body in ("", "Local Man Repairs Clocks, Bakers Cheer.", SAMPLES[0].body):
        assert write(SAMPLES[0].model_copy(update={"title": title, "body": body}), PERSONAS[0]).quotes


def test_a_title_in_another_language_is_no_headline() -> None:
    draft = write(SAMPLES[0].model_copy(update={"title": FOREIGN[0]}), PERSONAS[0])
    assert "Nachbar" not in "\n".join((draft.title, draft.text, draft.dek, draft.seo_title, draft.seo_description))
    assert sentences(SAMPLES[0].body)[0][:30] in draft.title


def test_a_thread_in_another_language_is_refused_whatever_its_title_says() -> None:
    german = " ".join(FOREIGN[:1] * 9)
    comments = tuple(
        comment.model_copy(update={"body": f"{FOREIGN[0]}. {FOREIGN[2]}."}) for comment in SAMPLES[0].comments
    )
    for update in ({"body": german}, {"body": german, "comments": comments}, {"body": "", "comments": comments}):
        with pytest.raises(ThreadTooThin):
            write(SAMPLES[0].model_copy(update=update), PERSONAS[0])


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (
            "I bought **two** lamps and *one* was broken on the way.",
            "I bought two lamps and one was broken on the way.",
        ),
        ("The **lamp was _very_ green** and nobody liked it.", "The lamp was very green and nobody liked it."),
        ("The ending is >!he was the goat!< and nobody saw it.", "The ending is he was the goat and nobody saw it."),
        (
            ">!The goat did it, and nobody in the village saw it.!<",
            "The goat did it, and nobody in the village saw it.",
        ),
        ("It was the 2^nd time that the lamp had gone out.", "It was the 2nd time that the lamp had gone out."),
        ("This is ^(a small remark) in a longer sentence.", "This is (a small remark) in a longer sentence."),
        (
            'I read [the long manual](https://example.org/m "page") twice before I plugged it in.',
            "I read the long manual twice before I plugged it in.",
        ),
        ("The lamp \\- an old one \\- cost 20 pounds (or 30\\).", "The lamp - an old one - cost 20 pounds (or 30)."),
        ("AT\\&T sent a man to look at it after three weeks.", "AT&T sent a man to look at it after three weeks."),
    ],
)
def test_markdown_is_read_as_plain_words_in_posts_and_quotes(written: str, told: str) -> None:
    rest = "My aunt kept hers under the stairs, and it hummed whenever the lift went past our floor."
    reply = SAMPLES[0].comments[0].model_copy(update={"id": "md1", "body": f"{written} {rest}", "score": 9999})
    thread = SAMPLES[1].model_copy(
        update={"body": f"{written}\n\n{SAMPLES[1].body}", "comments": (reply, *SAMPLES[1].comments)}
    )
    draft = write(thread, PERSONAS[0])
    assert told in draft.text
    assert f"{told} {rest}" in {quote.text for quote in draft.quotes}
    assert ground(draft, thread, PERSONAS[0].lines).problems == ()


@pytest.mark.parametrize(
    "written",
    [
        "He said ~~never~~ always to bring the receipt along.",
        "Here is a [picture](https://example.org/p) of the lamp itself.",
        "I looked it up at https://example.org/lamp before I bought it.",
        "Press [this button](javascript:alert(1)) to see the lamp.",
        "Use `reset` on the lamp before you go to sleep.",
        "![the lamp](https://example.org/lamp.png) is what it looked like.",
        "5\\* lamps are the only ones I would ever buy.",
        "> The lamp is mine, said the quoted line above.",
    ],
)
def test_a_sentence_that_markdown_makes_mean_something_else_is_left_out(written: str) -> None:
    thread = SAMPLES[1].model_copy(update={"body": f"{written}\n\n{SAMPLES[1].body}"})
    draft = write(thread, PERSONAS[0])
    assert not any(word in draft.text for word in ("receipt", "lamp", "Press", "reset"))
