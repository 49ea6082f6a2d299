"""Plants one invention in a story that keeps to its thread: what the grounding of a story has to find.

Each plant takes a story, its thread, a source of chance and its half, and returns the changed story, or None where
the story holds nothing to change. Names come in two lots, so that the unseen half holds nothing that was tuned on.
"""

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random

import yaml

import threadjuice_dagster
from corpora.stories import stories
from threadjuice_dagster.domain.language.numbers import Number, numbers
from threadjuice_dagster.domain.language.text import paragraphs, sentences, words
from threadjuice_dagster.domain.story.stories import Category, Draft, Persona, Quote, Section
from threadjuice_dagster.domain.story.threads import Thread
from threadjuice_dagster.domain.writing.extractive import compose
from threadjuice_dagster.sources.reddit_parser import parse_thread

Plant = Callable[[Draft, Thread, Random, str], Draft | None]

PEOPLE = {
    "dev": "Brenda|Gareth|Ngozi|Wilhelmina|Mr Pemberton|Anneliese Vogt|Dr Okonjo|Tariq|Siobhán|James",
    "unseen": "Marguerite|Declan|Yusuf|Octavia|Mrs Hathersage|Bjørn Halvorsen|Professor Anand|Priya|Étienne|Thomas",
}
PLACES = {
    "dev": "Leeds|Saskatchewan|the Outer Hebrides|Kuala Lumpur|Düsseldorf",
    "unseen": "Wolverhampton|Montevideo|the Black Forest|San Diego|Gdańsk",
}
BRANDS = {"dev": "IKEA|Netflix|the NHS|a Toyota|Tesco", "unseen": "Walmart|Spotify|the FBI|a Volvo|Costco"}
NUMBERS = {
    "dev": "fourteen|two hundred and six|a dozen|thirty-seven|1,460|ninety|23",
    "unseen": "seventeen|four hundred|half a dozen|eighty-eight|2,350|sixteen|47",
}
MOMENTS = {
    "dev": "at half past six|on a Wednesday|in August|in 1974|at ten to four",
    "unseen": "at quarter past eleven|on a Sunday|in July|in 1968|at 4:35 in the morning",
}
USERS = {"dev": "u/mossy_gate|@hedgewatcher|quiet_otter_81", "unseen": "u/plum-tart77|@lanternfish|old_kettle_5"}
LINKS = {"dev": "https://hedges.example.com/guide|www.fence-help.net", "unseen": "http://tips.example.org|kettles.shop"}
SAYINGS = {
    "dev": "I told my own sister exactly the same thing last winter|Never sign anything on a staircase",
    "unseen": "You should have sold the whole lot at the first offer|Nobody ever regretted reading the small print",
}


def _choice(lots: dict[str, str], thread: Thread, chance: Random, half: str) -> str:
    """Something of the half's lot that no word of the thread names."""
    thread_text = f"{thread.created_at:%A %B}\n".join(thread.texts).casefold()
    options = lots[half].split("|")
    strange = [
        option
        for option in options
        if option.split()[-1].casefold() not in thread_text and not _known_value(option, thread_text)
    ]
    return chance.choice(strange or options)


def _known_value(text: str, thread_text: str) -> bool:
    meanings = {meaning for number in numbers(thread_text) for meaning in number.meanings}
    return any(number.meanings & meanings for number in numbers(text))


def _sentence(patterns: str, lots: dict[str, str]) -> Plant:
    """A plant that puts a sentence with something invented into the middle of the narration."""

    def plant(draft: Draft, thread: Thread, chance: Random, half: str) -> Draft:
        invented = _choice(lots, thread, chance, half)
        sentence = chance.choice(patterns.split("|")).replace("%", invented)
        place = chance.choice([i for i, section in enumerate(draft.sections) if section.kind != "excerpt"])
        before = sentences(draft.sections[place].text)
        spot = chance.randint(1, len(before))
        return _with_text(draft, place, " ".join((*before[:spot], sentence, *before[spot:])))

    return plant


def _with_text(draft: Draft, place: int, text: str) -> Draft:
    sections = list(draft.sections)
    sections[place] = sections[place].model_copy(update={"text": text})
    return draft.model_copy(update={"sections": tuple(sections)})


def changed_number(draft: Draft, thread: Thread, chance: Random, half: str) -> Draft | None:
    """A number of the narration, three or more, becomes one that the thread does not hold."""
    spots = [
        (place, number)
        for place, section in enumerate(draft.sections)
        if section.kind != "excerpt"
        for number in numbers(section.text)
        if _is_figure(number)
    ]
    if not spots:
        return None
    place, number = chance.choice(spots)
    text = draft.sections[place].text
    digits = number.text[0].isdigit()
    thread_text = "\n".join((*thread.texts, str(thread.score), str(thread.num_comments), str(thread.created_at)))
    options = [str(option) for option in range(13, 99)] if digits else ["eleven", "thirteen", "sixteen", "seventy"]
    new = chance.choice([option for option in options if not _known_value(option, thread_text)])
    return _with_text(draft, place, text[: number.start] + new + text[number.end :])


def _is_figure(number: Number) -> bool:
    return not number.ordinal and all(isinstance(meaning, float) and meaning > 2 for meaning in number.meanings)


def _quote_plant(change: Callable[[Quote, Draft, Thread, Random, str], Quote | None]) -> Plant:
    def plant(draft: Draft, thread: Thread, chance: Random, half: str) -> Draft | None:
        if not draft.quotes:
            return None
        place = chance.randrange(len(draft.quotes))
        changed = change(draft.quotes[place], draft, thread, chance, half)
        quotes = (*draft.quotes[:place], changed, *draft.quotes[place + 1 :])
        return draft.model_copy(update={"quotes": quotes}) if changed else None

    return plant


def _invented_quote(quote: Quote, draft: Draft, thread: Thread, chance: Random, half: str) -> Quote:
    return quote.model_copy(update={"text": _choice(SAYINGS, thread, chance, half)})


def _altered_quote(quote: Quote, draft: Draft, thread: Thread, chance: Random, half: str) -> Quote:
    quote_words = words(quote.text)
    word = chance.choice(quote_words)
    other = chance.choice(
        [word_of_title for word_of_title in words(thread.title) if word_of_title.casefold() != word.casefold()]
    )
    return quote.model_copy(update={"text": quote.text.replace(word, other, 1)})


def _moved_quote(quote: Quote, draft: Draft, thread: Thread, chance: Random, half: str) -> Quote | None:
    others = [comment.id for comment in thread.comments if quote.text not in comment.body]
    return quote.model_copy(update={"comment_id": chance.choice(others)}) if others else None


PLANTS: dict[str, Plant] = {
    "changed number": changed_number,
    "added number": _sentence("It happened % times.|By then % people knew of it.|It cost $% more.", NUMBERS),
    "invented time": _sentence("It began %.|This was % and nobody was about.", MOMENTS),
    "name inside a sentence": _sentence("A man called % heard of it.|Afterwards it was left to %.", PEOPLE),
    "name at a sentence start": _sentence("% had heard of it by then.|%’s view was different.|% said so.", PEOPLE),
    "invented place": _sentence("All of it happened in %.|They moved to % soon after.", PLACES),
    "invented brand": _sentence("It came from %.|She had worked for % before.", BRANDS),
    "invented quote": _quote_plant(_invented_quote),
    "altered quote": _quote_plant(_altered_quote),
    "quote in the wrong comment": _quote_plant(_moved_quote),
    "quotation in the text": _sentence("One reader wrote, “%.”|Somebody said: “%”.", SAYINGS),
    "invented user name": _sentence("The first to answer was %.|Then % agreed.", USERS),
    "invented link": _sentence("There is more at %.|See % for the rest.", LINKS),
}


@cache
def sound(half: str) -> tuple[tuple[Draft, Thread, tuple[str, ...]], ...]:
    """Stories that keep to their threads, with their framing: the corpus's, and the extractive writer's of samples."""
    return (*_written(half), *_composed(half))


def _written(half: str) -> Iterator[tuple[Draft, Thread, tuple[str, ...]]]:
    for story in stories(half):
        if story.thread:
            sections = tuple(Section(kind="narrative", heading="", text=text) for text in paragraphs(story.text))
            yield Draft(title=story.title, sections=sections, quotes=tuple(_quotes(story.thread))), story.thread, ()


def _quotes(thread: Thread) -> Iterator[Quote]:
    for comment in thread.comments[:3]:
        if len(words(comment.body)) > 4:
            yield Quote(text=max(sentences(comment.body), key=len), comment_id=comment.id, section=-1)


def _composed(half: str) -> Iterator[tuple[Draft, Thread, tuple[str, ...]]]:
    editorial = Path(threadjuice_dagster.__file__).with_name("editorial")
    desks = [Category(**one) for one in yaml.safe_load((editorial / "categories.yaml").read_text("utf-8"))]
    personas = [Persona(**one) for one in yaml.safe_load((editorial / "personas.yaml").read_text("utf-8"))]
    files = sorted((editorial / "threads").glob("*.json"))
    for place, path in enumerate(files[half == "unseen" :: 2]):
        thread = parse_thread(json.loads(path.read_text("utf-8")), "sample")
        persona = personas[place % len(personas)]
        yield compose(thread, desks[place % len(desks)], persona), thread, (persona.name,)
