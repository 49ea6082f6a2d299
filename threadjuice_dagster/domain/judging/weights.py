"""The fitted tables of ``domain/judging/order.py`` and ``domain/judging/unity.py``: hundredths, nothing else.

They were fitted on the dev half of the corpus in ``tests/corpora`` by ``tests/corpora/fit.py``, each story against
thirty random damages of itself; the unseen half had no part in it. A positive weight of order speaks for the order
the text has; a positive weight of strays speaks for a paragraph of another text.
"""

from collections.abc import Iterator

_PLACES = """
^also     |  -24   -7   -9   -6    6
^contrast |    9   -9    8  -15   -4
^had      |    3   -2   -2   -7   -7
^he       |    9  -14   -1    2   -4
^i        |   -3    2    4    2   -8
^indef    |   -1   20  -11   -6   -1
^it       |  -13    2   -2   -9    5
^kin      |   -9   -2    0   -3   -3
^late     |   -3   -2   -2   -3    6
^man      |    1   -5   18  -13    0
^neg      |   -4    5    0   -6    6
^next     |   -6   -3   -2   -6    1
^now      |   21   -5   14    9   11
^one      |    4   17  -11  -14   11
^ordinal  |    8   14   -5    3  -11
^past     |   -4   -2   -3   -5   -7
^quote    |   14   -5    1   18    6
^result   |    6  -12    3    9    7
^she      |    7  -16    5   -2    2
^subject  |   -3    8    1    0   -7
^the      |   -3    4    0    5   -4
^there    |   17   10    0   -4    7
^they     |   21  -11   -1   12   -5
^this     |  -12  -11  -10   18    8
^time     |  -15   48   -4  -12    2
^what     |   -1   -2    3   10  -11
^when     |  -12   16   -8  -20   10
^who      |   -6   25    0  -11    8
^will     |  -15   -6   -6  -10   13
^woman    |   12   -7    7   -7    4
^you      |    0    2    7  -12   -6
also      |    3   -3   -3  -11   17
contrast  |    2   -9   -5   -5   13
figure    |  -31   24  -10   -6    8
first     |   -5   10   -1    1    2
had       |   -7   -5   -2  -10   12
has       |   17   12   35   -5   -6
he        |    9  -12    9   -6    5
i         |    1    8    7    2    8
indef     |  -11    9   -3   -6    6
it        |    5    5    8  -10    6
kin       |    0   -2    5   -9   -2
late      |   -1   -4   17   -3    1
length    |   -8   14    2  -13   12
man       |  -12    5   -1  -13    2
name      |  -23   20    0    0    0
names     |  -30   20   -4   -1    1
neg       |    1   -3   -2   -9   14
next      |   19   -6   -2   -2    4
now       |   18   -1   13    6    0
one       |   -8   13   -1   -7    6
ordinal   |   -2   18    4   -6   -1
past      |    7   -7    1   -2    6
pres      |    2    9   14   -6   -3
question  |   -8    4   -1   -5   -1
quote     |   -1    2   -3    3   14
result    |    6  -11    4    2    2
say       |   11   -5   10   -7   10
she       |   10  -14    2   -4    8
short     |    4  -14   -7   10  -11
the       |    3    4    1   -5    4
there     |    6    8   -2   -9   11
they      |    5    0  -12   -5   14
this      |   -6    1    5  -11   12
time      |  -10   16   -3   -1    3
what      |   -5    1    1   -4   -4
when      |    1   15    4  -18   11
who       |   -8    2   -7   -9    6
will      |   -7    3   -6  -11    7
woman     |    7    3    4   -5    1
you       |   -2   18   -2  -12   11
"""
"""Columns: late, first, last, opens, ends."""

_FOLLOWS = """
he > he             |   31
she > she           |   20
they > they         |   25
it > it             |   -1
i > i               |    0
you > you           |    8
name > ^he          |    3
name > ^she         |   16
name > ^they        |  -13
name > ^it          |    6
he > ^he            |   27
she > ^she          |   21
they > ^they        |   24
it > ^it            |  -10
man > ^he           |   21
woman > ^she        |   28
man > he            |   25
woman > she         |   28
kin > he            |   15
kin > she           |   10
indef > ^it         |    9
indef > ^the        |   -3
indef > the         |  -11
question > question |    4
question > neg      |   11
question > short    |   22
quote > quote       |   30
quote > say         |    3
say > quote         |   15
say > say           |    2
^quote > ^quote     |   46
neg > ^contrast     |   14
neg > neg           |   -1
past > past         |    5
pres > pres         |   -1
had > had           |   21
has > has           |   18
figure > figure     |   10
length > length     |  -17
short > short       |   -3
first > ordinal     |   19
one > also          |   -3
one > ordinal       |   -5
first > ^next       |    0
when > ^when        |   -2
time > time         |   -8
kin > kin           |   -6
will > will         |   13
what > question     |   13
quote > ^quote      |   40
quote > ^he         |    6
quote > ^she        |    6
^quote > ^he        |    5
^quote > ^she       |    0
name > name         |   -2
names > ^he         |    3
names > ^she        |   15
names > short       |   10
^one > ^one         |   -3
^one > also         |   10
^the > ^the         |    6
^i > ^i             |    0
figure > ^this      |   15
indef > ^this       |    1
past > ^result      |   17
past > ^contrast    |  -14
short > ^contrast   |   17
neg > ^it           |   -3
neg > ^result       |   -7
names > ^it         |   -5
he > say            |    2
she > say           |   14
"""
"""Cue of one sentence > cue of the next."""

_CHAINS = """
broken quotes   |  -14
counts          |    4
explained       |   14
full name       |   20
introduced      |   40
met first       |   35
months          |    1
names further   |   -2
names near      |   -9
names next      |   -5
names together  |   -5
presented       |   23
things further  |   -2
things near     |   -4
things next     |    3
things together |    1
weekdays        |    9
years           |    0
"""
"""Repetition, introductions, names."""

ORDER_SHIFT, BREAKS = -0.60, 0.69
"""What makes 0 the line, and what the signals at paragraph breaks bring a sound text on average."""

_VOICES = """
he     |  143 -287
she    |   99 -100
they   |   67 -310
it     |   87 -146
i      |  266 -394
you    |   83 -226
past   |  146   84
pres   |  113 -281
had    |  164  -61
has    |   47  342
figure |   12 -220
kin    |  -76 -194
"""
"""Columns: how far the share differs from the others', both shares together."""

_STRAYS = """
bridged               |  653
nothing shared        |   28
number shared         | -103
shared often          | -175
shared beside         | -117
names known           |  -64
names new             |   10
no names              |  -78
a name known          |  -52
any name              |  -70
main name             |  -11
the new               |   74
the known             | -133
starts with a pronoun |  -56
pronoun unmet         |    5
share                 | -300
root share            | -336
share over usual      | -461
kinship               | -161
kinship over usual    | -261
no topic              |  -84
of the thread         | -296
thread share          | -275
edge                  | -145
first                 | -126
size                  |  -17
paragraphs            |   14
"""
"""Subjects, names, topics, thread."""

STRAY_SHIFT = -1.22
"""What makes 0 the line."""


def _rows(table: str) -> Iterator[tuple[str, list[float]]]:
    """Each line's name and its figures."""
    for line in table.strip().splitlines():
        name, _, figures = line.partition("|")
        yield name.strip(), [int(figure) / 100 for figure in figures.split()]


ROLES = ("late", "first", "last", "opens", "ends")
"""What a sentence's place can be: late in the text, first or last of all, opening or ending a paragraph."""

PLACES = {role: {cue: row[i] for cue, row in _rows(_PLACES)} for i, role in enumerate(ROLES)}
"""By role, what it speaks for the order that a cue stands there."""

_SENTENCES = {tuple(name.split(" > ")): row[0] for name, row in _rows(_FOLLOWS)}
FOLLOWS: dict[tuple[str, str], float] = {(first, second): weight for (first, second), weight in _SENTENCES.items()}
"""What it speaks for the order that a sentence with the first cue is followed by one with the second."""

ORDER = {
    **{f"{role} {cue}": weight for role, weights in PLACES.items() for cue, weight in weights.items()},
    **{f"{first} > {second}": weight for (first, second), weight in FOLLOWS.items()},
    **{name: row[0] for name, row in _rows(_CHAINS)},
}
"""The weight of every signal of ``order.signals``."""

STRAY = {
    **{f"{how} {cue}": row[i] for cue, row in _rows(_VOICES) for i, how in enumerate(("differs", "shares"))},
    **{name: row[0] for name, row in _rows(_STRAYS)},
}
"""The weight of every signal of ``unity.stray_signals``."""
