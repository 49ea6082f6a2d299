"""Claims of a draft that can be checked without a model, one by one: quotes, copied words, numbers and names.

Each claim comes with the words of the thread that it rests on. Whether a draft passes is decided in
``domain/judging/grounding.py``; what is found here explains that decision sentence by sentence. That a number or name
stands in the thread does not prove what the sentence says of it.
"""

from collections.abc import Iterable, Iterator

from threadjuice_dagster.domain.judging.facts import Fact, folded_forms, stated_facts, thread_facts
from threadjuice_dagster.domain.judging.grounding import MIN_SPAN_WORDS, POST, Grounding, excerpted, spans
from threadjuice_dagster.domain.language.numbers import numbers
from threadjuice_dagster.domain.language.text import sentences, words
from threadjuice_dagster.domain.language.wording import locate, plain, stands
from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.story.stories import Draft
from threadjuice_dagster.domain.story.threads import Thread

Places = dict[str, str]
"""The texts of a thread that may be evidence: the title and the post under those names, comments under their ids."""

TITLE = "title"


class Evidence(Model):
    """Words of the thread; ``place`` is ``title``, ``post`` or the id of a comment."""

    place: str
    words: str


class Claim(Model):
    """What a sentence of the story claims, whether the thread has it, where, and why or why not."""

    sentence: str
    text: str
    supported: bool
    evidence: tuple[Evidence, ...] = ()
    why: str


def find_claims(
    draft: Draft, screened: Thread | None, grounding: Grounding, framing: Iterable[str] = ()
) -> tuple[Claim, ...]:
    """Return the claims of a draft. ``screened`` is what of its thread counts as evidence, None without its text."""
    if screened is None:
        why = grounding.unverifiable or "There is no thread to check it against."
        return tuple(Claim(sentence=text, text=text, supported=False, why=why) for text in _borrowed(draft))
    places = {TITLE: screened.title, POST: screened.body, **{comment.id: comment.body for comment in screened.comments}}
    facts = stated_facts(draft, thread_facts(screened, framing))
    return (
        *_quotes(grounding, places),
        *_copied(draft, places),
        *dict.fromkeys(_fact_claim(fact, places) for fact in facts),
    )


def _borrowed(draft: Draft) -> Iterator[str]:
    yield from (quote.text for quote in draft.quotes)
    yield from excerpted(draft)
    yield from (span for span in spans(draft) if len(words(span)) >= MIN_SPAN_WORDS)


def _quotes(grounding: Grounding, places: Places) -> Iterator[Claim]:
    for quote in grounding.quotes:
        body = places.get(quote.comment_id, "")
        evidence = (Evidence(place=quote.comment_id, words=body[quote.start : quote.end]),) if quote.found else ()
        why = quote.message or f"It stands word for word in comment {quote.comment_id}."
        yield Claim(sentence=quote.text, text=quote.text, supported=quote.found, evidence=evidence, why=why)


def _copied(draft: Draft, places: Places) -> Iterator[Claim]:
    """Yield excerpts and quoted spans; the sentence of a span is the one that it stands in."""
    shown = [sentence for text in (draft.title, draft.dek, draft.narration) for sentence in sentences(text)]
    for sentence in excerpted(draft):
        if words(sentence):
            yield _copy(sentence, sentence, places)
    for span in spans(draft):
        if len(words(span)) >= MIN_SPAN_WORDS:
            yield _copy(next((sentence for sentence in shown if span in sentence), span), span, places)


def _copy(sentence: str, text: str, places: Places) -> Claim:
    wanted = plain(text)
    place = next((place for place, body in places.items() if stands(wanted, [plain(body)])), None)
    if place is None:
        why = "Nobody in the thread wrote these words."
        return Claim(sentence=sentence, text=text, supported=False, why=why)
    span = locate(text, places[place])
    evidence = (Evidence(place=place, words=places[place][slice(*span)] if span else text),)
    return Claim(sentence=sentence, text=text, supported=True, evidence=evidence, why="It stands there word for word.")


def _fact_claim(fact: Fact, places: Places) -> Claim:
    kind = "number" if fact.meanings else "name"
    if not fact.supported:
        why = f"The thread does not have this {kind}."
        return Claim(sentence=fact.sentence, text=fact.text, supported=False, why=why)
    support = next(_supporting(fact, places), None)
    why = f"The thread has this {kind}." if support else f"The {kind} is the thread's date, forum or the persona's."
    evidence = (support,) if support else ()
    return Claim(sentence=fact.sentence, text=fact.text, supported=True, evidence=evidence, why=why)


def _supporting(fact: Fact, places: Places) -> Iterator[Evidence]:
    """Yield the sentences of the thread that have the number, or every word of the name."""
    for place, body in places.items():
        for sentence in sentences(body):
            same_number = any(number.meanings & fact.meanings for number in numbers(sentence))
            if same_number or (fact.words and folded_forms(sentence).issuperset(fact.words)):
                yield Evidence(place=place, words=sentence)
