"""What can be counted in English prose: specifics, repetition, word forms, and the cues a sentence holds.

Figures only. What counts as good or bad, and the words an operator reads, belong in ``domain/judging/rubric.py``; how
sentences follow one another in ``domain/judging/order.py``; whether paragraphs belong together in
``domain/judging/unity.py``.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from statistics import fmean
from string import ascii_lowercase
from typing import NamedTuple

from threadjuice_dagster.domain.language.lexicon import BEFORE_A_NOUN, COMMON, CUES, EVERYDAY, NEVER_AFTER_IT, VAGUE
from threadjuice_dagster.domain.language.text import WORD, paragraphs, runs, sentences, words

_PERSONS_AND_EVENTS = """
he she i him her his my me was were had said told asked went came took got found left gave thought knew saw two three
four five six seven eight nine ten eleven twelve twenty thirty forty fifty hundred thousand
"""
_SPECIFIC = frozenset(_PERSONS_AND_EVENTS.split())

_PAIRS = (
    "546554345124544515654340100045401404026460406573312303602261106307216205535000304"
    "604060055054007004265000304501370206103004003414100208415633302004461326640324106"
    "500066007005006005245000405500060355003344005414000008620070006002326004353000306"
    "435454400014576303560401041700070004020007000327000003400172106003143102623031317"
    "601471106005005100444300606740070006001416600405000105505553605022034100663300106"
    "334412303025574406445441003600160044006006506454000304000200000004000003009000002"
    "613372306022435204553210306304061045022104400565000208502070057003005005534010406"
    "555352404006562506560000002600080007000005000000000003600060066003056005510000006"
    "505060027000001700060010206213240104003333502430020018700080016001105100000000204"
)
"""How often a letter follows another in English words: 9 + log2 of its share, 0 to 9, one digit per pair.

Rows: start of word, a to z. Columns: a to z, end of word. Counted over 11,000 distinct words of running text.
"""

_PAIR_NAMES = (first + second for first in "^" + ascii_lowercase for second in ascii_lowercase + "$")
_PAIR_SCORE = dict(zip(_PAIR_NAMES, map(int, _PAIRS), strict=True))
_LEAST_PLAUSIBLE = 4.0
"""Mean pair score under which a word is not English: 0.5 % of real words, 87 % of random letters."""

_ENDING = re.compile(r"(?<=\w{3})(?:ations?|ings?|edly|ies|ied|ers|est|es|ed|er|ly|y|s|e)$")
_PLAIN_WORD = re.compile(r"(?<![\w'’.@#/-])[a-z]{4,}(?![\w'’@/-])")
_MIDDLE_WORD = re.compile(rf"(?<=[\w,;:’'”\"–—-] )(?![a-z\d]){WORD.pattern}")
_MARK = re.compile(r"(?P<opens>“|(?<![^\s(\[—–'‘-])\")|”|(?<!\d)\"")


class Reading(NamedTuple):
    """A text taken apart once: its paragraphs and sentences, and what is in each sentence.

    ``homes`` are the indexes of the paragraphs; ``lowered`` has small letters and straight apostrophes; ``capitals``
    are capitalised words; ``subjects`` are stems.
    """

    text: str
    paragraphs: list[str]
    sentences: list[str]
    homes: list[int]
    words: list[list[str]]
    lowered: list[list[str]]
    capitals: list[list[str]]
    subjects: list[set[str]]
    cues: list[dict[str, float]]

    @property
    def all_words(self) -> list[str]:
        """The words of the whole text, in order."""
        return [word for found in self.words for word in found]

    @property
    def all_lowered(self) -> list[str]:
        """The same words in small letters."""
        return [word for found in self.lowered for word in found]


def stem(word: str) -> str:
    """A folded word's crude stem: its first five letters once a possessive or an ending is taken off."""
    bare = _ENDING.sub("", word.removesuffix("'s"))
    if len(bare) > 3 and bare[-1] == bare[-2] and bare[-1] not in "ls":
        bare = bare[:-1]
    return bare[:5]


@lru_cache(maxsize=50_000)
def subject(word: str) -> str:
    """The stem of a word that tells of the subject, or an empty string for a common or short one."""
    folded = word.casefold().replace("’", "'")
    return "" if folded in COMMON or len(folded) < 3 else stem(folded)


EVERYDAY_STEMS = frozenset(map(stem, EVERYDAY))
"""Stems that any two stories may share by chance."""


def subjects(found: Iterable[str]) -> set[str]:
    """The distinct stems of the words that tell of a text's subject."""
    return {known for word in found if (known := subject(word))}


@lru_cache(maxsize=50_000)
def plausible(word: str) -> bool:
    """Whether a lower-case ASCII word is built like an English one."""
    edged = f"^{word}$"
    return fmean(_PAIR_SCORE[first + second] for first, second in pairwise(edged)) >= _LEAST_PLAUSIBLE


def specifics(lowered: Iterable[str]) -> int:
    """How many words tell of somebody or something that happened: persons, past tense, figures."""
    return sum(word in _SPECIFIC or word[0].isdigit() or (len(word) > 4 and word.endswith("ed")) for word in lowered)


def gibberish(text: str) -> tuple[float, list[str]]:
    """The share (0 to 1) and list of distinct lower-case words that are not built like English ones."""
    distinct = dict.fromkeys(_PLAIN_WORD.findall(text))
    odd = [word for word in distinct if not plausible(word)]
    return len(odd) / max(1, len(distinct)), odd


def misjoined(told: Iterable[Sequence[str]]) -> list[str]:
    """The pairs of words in sentences of lowered words that no English sentence holds, such as "the of"."""
    pairs = (pair for found in told for pair in pairwise(found))
    return [" ".join(pair) for pair in pairs if pair[0] in BEFORE_A_NOUN and pair[1] in NEVER_AFTER_IT]


def vagueness(lowered: Sequence[str]) -> float:
    """Vague words less a quarter of the words that name something out of the ordinary."""
    vague = sum(word in VAGUE for word in lowered)
    telling = sum(bool(one := subject(word)) and one not in EVERYDAY_STEMS and word not in VAGUE for word in lowered)
    return vague - telling / 4


def repetition(found: Sequence[str], size: int = 8) -> tuple[float, str]:
    """The share (0 to 1) of word runs of ``size`` already used before, and the run used most."""
    counts = Counter(runs([word.casefold() for word in found], size))
    if not counts:
        return 0.0, ""
    return 1 - len(counts) / counts.total(), " ".join(counts.most_common(1)[0][0])


def names(text: str) -> list[str]:
    """The capitalised words that do not start a sentence, in order; the pronoun I is not one."""
    return [word for word in _MIDDLE_WORD.findall(text) if word[0].isupper() and word[:2].rstrip("'’") != "I"]


def read(text: str) -> Reading:
    """Take a text apart."""
    parts = paragraphs(text)
    told = [(home, sentence) for home, part in enumerate(parts) for sentence in sentences(part)]
    found = [words(sentence) for _, sentence in told]
    low = [" ".join(inside).lower().replace("’", "'").split(" ") if inside else [] for inside in found]
    homes, all_sentences = [home for home, _ in told], [sentence for _, sentence in told]
    high = list(map(capitals, found))
    cued = list(map(cues, all_sentences, low, map(len, high)))
    return Reading(text, parts, all_sentences, homes, found, low, high, [subjects(one) for one in found], cued)


def capitals(found: Sequence[str]) -> list[str]:
    """The capitalised words of a sentence's words, its first one and the pronoun I left out."""
    return [word for word in found[1:] if word[0].isupper() and word[:2].rstrip("'’") != "I"]


def cues(sentence: str, low: Sequence[str], named: int) -> dict[str, float]:
    """What a sentence with these lowered words and so many names tells of its place: 1.0 for each cue that is there.

    A cue of its first word is marked ``^``; ``length`` is the natural logarithm of its words.
    """
    if not low:
        return {}
    told = {cue for word in low if word in CUES for cue in CUES[word]}
    told |= {f"^{cue}" for cue in CUES.get(low[0], ()) if sentence[0] not in '"“'}
    seen = {
        "past": any(len(word) > 4 and word.endswith("ed") for word in low),
        "figure": any(word[0].isdigit() for word in low),
        "quote": not {*sentence}.isdisjoint('"“”'),
        "^quote": sentence[0] in '"“',
        "question": sentence.rstrip("\"”')").endswith("?"),
        "short": len(low) < 7,
        "name": named > 0,
        "names": named > 1,
        "^subject": low[0] not in COMMON,
    }
    told |= {cue for cue, there in seen.items() if there}
    return {**dict.fromkeys(told, 1.0), "length": math.log(len(low))}


def broken_quotes(paragraph: str) -> int:
    """Quotation marks that open or close out of turn."""
    if {*paragraph}.isdisjoint('"“”'):
        return 0
    opens = [bool(match["opens"]) for match in _MARK.finditer(paragraph)]
    return sum(before == after for before, after in pairwise([False, *opens]))
