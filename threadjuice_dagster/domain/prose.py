"""What can be counted in English prose: specifics, repetition, word forms, and how sentences hang together.

Figures only. What counts as good or bad, and the words an operator reads, belong in ``domain/quality.py``.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from functools import lru_cache
from itertools import combinations, pairwise
from statistics import fmean
from string import ascii_lowercase
from typing import NamedTuple

from threadjuice_dagster.domain.text import WORD, paragraphs, runs, sentences, words

_COMMON = """
a about above across after afterwards again against ago all almost alone along already also although always am among
an and another any anybody anyone anything anyway are around as ask asked at away back be became because become been
before began behind being below best better between big both but by call called came can cannot can't come comes could
couldn't day days did didn't do does doesn't doing don't done down during each either else end enough even ever every
everybody everyone everything far felt few find first for found from gave get gets getting give given go goes going
good got great had hadn't happen happened hard has hasn't have haven't having he he'd he'll he's her here hers herself
him himself his how however i i'd i'll i'm i've if in instead into is isn't it it'd it'll it's its itself just keep
kept kind knew know known last later least left less let like little long look looked lot made make makes making many
may maybe me mean meant might mine more most much must my myself near need never new next no nobody none nor not
nothing now of off often oh okay old on once one only onto or other others our ours out over own part people perhaps
put quite rather really right said same saw say says see seem seemed seen several shall she she'd she'll she's should
shouldn't since so some somebody someone something sometimes soon still such take taken tell than that that's the
their theirs them themselves then there there's these they they'd they'll they're they've thing things think this
those though thought three through time times to today together told too took toward towards tried turn turned two
under until up upon us use used very want wanted was wasn't way ways we we'd we'll we're we've well went were weren't
what whatever what's when where whether which while who who's whole whose why will with within without won't word
words work would wouldn't year years yes yet you you'd you'll you're you've your yours yourself
"""
COMMON = frozenset(_COMMON.split())
"""Words that say nothing of a text's subject."""

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

_PAST = re.compile(r".{3,}ed")
_PLAIN_WORD = re.compile(r"(?<![\w'’.@#/-])[a-z]{4,}(?![\w'’@/-])")
_MIDDLE_WORD = re.compile(rf"(?<=[\w,;:’'”\"–—-] )(?![a-z\d]){WORD.pattern}")
_ARTICLE = re.compile(r"\b(an?|the)\s+([a-z]{4,})\b(?! of)")
_LEANING = re.compile(r"(?:He|She|They|But|And|Or|Then|However|Also|Instead|These|Those|Both|Neither|Later|Soon)\b")
_CLOSING = re.compile(r"(?:Finally|In the end|Eventually|At last|Since then|Ever since|Afterwards|These days|As for)\b")
_MARK = re.compile(r"(?P<opens>“|(?<![^\s(\[—–'‘-])\")|”|(?<!\d)\"")
_MAX_SENTENCES = 80
"""Sentences held against a source's: enough for any story, and a bound on quadratic cost."""


class Reading(NamedTuple):
    """A text taken apart once: its paragraphs, its sentences, and per sentence its words and subject stems."""

    text: str
    paragraphs: list[str]
    sentences: list[str]
    words: list[list[str]]
    subjects: list[set[str]]

    @property
    def all_words(self) -> list[str]:
        """The words of the whole text, in order."""
        return [word for found in self.words for word in found]


def stem(word: str) -> str:
    """A folded word's crude stem: its first five letters, the possessive and plural s left out."""
    word = word.removesuffix("'s")
    return word[:5] if len(word) > 5 else word.removesuffix("s") if len(word) > 3 else word


@lru_cache(maxsize=50_000)
def subject(word: str) -> str:
    """The stem of a word that tells of the subject, or an empty string for a common or short one."""
    folded = word.casefold().replace("’", "'")
    return "" if folded in COMMON or len(folded) < 3 else stem(folded)


def subjects(found: Iterable[str]) -> set[str]:
    """The distinct stems of the words that tell of a text's subject."""
    return {known for word in found if (known := subject(word))}


@lru_cache(maxsize=50_000)
def plausible(word: str) -> bool:
    """Whether a lower-case ASCII word is built like an English one."""
    edged = f"^{word}$"
    return fmean(_PAIR_SCORE[first + second] for first, second in pairwise(edged)) >= _LEAST_PLAUSIBLE


def specifics(found: Iterable[str]) -> int:
    """How many words tell of somebody or something that happened: persons, past tense, figures."""
    lowered = map(str.casefold, found)
    return sum(word in _SPECIFIC or word[0].isdigit() or bool(_PAST.fullmatch(word)) for word in lowered)


def gibberish(text: str) -> tuple[float, list[str]]:
    """The share (0 to 1) and list of distinct lower-case words that are not built like English ones."""
    distinct = dict.fromkeys(_PLAIN_WORD.findall(text))
    odd = [word for word in distinct if not plausible(word)]
    return len(odd) / max(1, len(distinct)), odd


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
    told = sentences(text)
    found = [words(sentence) for sentence in told]
    return Reading(text, paragraphs(text), told, found, [subjects(one) for one in found])


def order(reading: Reading, source: str) -> tuple[float, int]:
    """How far a text follows its source's order, -1 to 1 (Kendall's tau), and the sentences it rests on."""
    origin = read(source).subjects[:_MAX_SENTENCES]
    spread = Counter(found for part in origin for found in part)
    places = []
    for subjects_told in reading.subjects[:_MAX_SENTENCES]:
        told = subjects_told & spread.keys()
        likes = [sum(1 / spread[found] for found in part & told) for part in origin]
        best = max(likes, default=0.0)
        if best >= 1.0:
            places.append(likes.index(best))
    steps = [1 if first < second else -1 for first, second in combinations(places, 2) if first != second]
    return fmean(steps or [0]), len(places)


def ties(parts: Sequence[set[str]], known: Set[str] = frozenset()) -> list[float]:
    """For each part of a text, the share (0 to 1) of its subject stems met in another part or in ``known``."""
    spread = Counter(found for part in parts for found in part)
    return [sum(spread[found] > 1 or found in known for found in part) / len(part) if part else 1.0 for part in parts]


def broken_quotes(paragraph: str) -> int:
    """Quotation marks that open or close out of turn."""
    opens = [bool(match["opens"]) for match in _MARK.finditer(paragraph)]
    return sum(before == after for before, after in pairwise([False, *opens]))


def neighbours(told: Sequence[set[str]]) -> float:
    """Likeness of neighbouring sentences (next, next but one) over that of any two, by subject stems.

    Rare words weigh more; 1.0 is what a random order has.
    """
    count = len(told)
    spread = Counter(found for part in told for found in part)
    weight = {found: math.log(count / often) for found, often in spread.items() if often > 1}
    everywhere = sum(weight[found] * often * (often - 1) / 2 for found, often in spread.items() if often > 1)
    if count < 4 or not everywhere:
        return 1.0
    near = sum(weight[found] for step in (1, 2) for i in range(count - step) for found in told[i] & told[i + step])
    return (near / (2 * count - 3)) / (everywhere / (count * (count - 1) / 2))


def late_introductions(text: str) -> int:
    """Things met as "the dog" before "a dog", less those met in order."""
    seen: dict[str, list[bool]] = {}
    for article, noun in _ARTICLE.findall(text):
        if noun not in COMMON:
            seen.setdefault(stem(noun), []).append(article in ("a", "an"))
    return sum(-1 if uses[0] else 1 for uses in seen.values() if any(uses) and not all(uses))


def dangling(told: Sequence[str]) -> int:
    """Whether the first sentence leans on something said before, plus last words that come in the first fifth."""
    leans = bool(told and _LEANING.match(told[0]))
    return leans + sum(bool(_CLOSING.match(sentence)) for sentence in told[: len(told) // 5])
