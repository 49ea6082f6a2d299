"""Measures how much the words of a text, taken together, sound like harm: a weighted bag of words, never a verdict.

The weights are data (``editorial/moderation_tone.yaml``), fitted by ``benchmarks/fit_tone.py``. Combinations of
words, which can flag a text, belong in ``domain/judging/moderation.py``.
"""

import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

_WORD = re.compile(r"[a-z][a-z']*")
_FEW = 16
_MOST, _SLOPE, _SILENT = 0.55, 2.4, -1.5


def stems(plain: str) -> set[str]:
    """Return the different stems of the words of a lower-case text."""
    return set(map(_stem, _WORD.findall(plain)))


@lru_cache(maxsize=50_000)
def _stem(word: str) -> str:
    from snowballstemmer.english_stemmer import EnglishStemmer

    # A stemmer keeps the word in itself while it works, so that threads must not share one.
    return str(EnglishStemmer().stemWord(word))


def spread(count: int) -> float:
    """Return the divisor of the sum of so many weights; a few words say less than their sum."""
    return math.sqrt(max(count, _FEW))


class Tone:
    """Holds the weights of stems; one instance serves any number of texts."""

    def __init__(self, bias: float, words: Mapping[float, str]) -> None:
        self.bias = bias
        self.weights = {word: weight for weight, listed in words.items() for word in listed.split()}

    def lean(self, text_stems: Iterable[str]) -> float:
        """Return the log-odds of harm: the weights of a text's stems over the root of their number, plus the bias."""
        weights = [self.weights.get(stem, 0.0) for stem in text_stems]
        return sum(weights) / spread(len(weights)) + self.bias if any(weights) else -math.inf

    def certainty(self, plain: str) -> float:
        """Return how sure the tone of a lower-case text alone makes us, 0 to 0.55; 0.5 at log-odds of 1.

        Measured by cross-validation: of 39 texts at 1 or more, 36 are harmful, and no sample thread is over 0.
        """
        lean = self.lean(stems(plain))
        return _MOST / (1 + math.exp(-_SLOPE * lean)) if lean > _SILENT else 0.0
