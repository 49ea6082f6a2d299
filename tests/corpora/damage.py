"""Ways of damaging a sound story that no reader would let pass.

Each takes the story, a source of chance and other stories of its half, and returns the damaged text. Texts that are
put in come in two lots, one for each half, so that the unseen half holds nothing the rubric was fitted on.
"""

import re
from collections.abc import Callable, Sequence
from random import Random
from string import ascii_lowercase

from corpora.stories import HALVES, Story, stories
from threadjuice_dagster.domain.language.text import paragraphs, sentences

Damage = Callable[[Story, Random, Sequence[Story]], str]

ESSAYS = {
    "dev": (
        "Photosynthesis converts sunlight, water and carbon dioxide into glucose and oxygen. Chlorophyll molecules in "
        "the thylakoid membranes absorb red and blue light, exciting electrons that pass through a chain of carriers. "
        "The resulting proton gradient drives the synthesis of adenosine triphosphate, which powers the Calvin cycle.",
        "The Hanseatic League was a confederation of merchant guilds and market towns in northern Europe. It grew from "
        "a few German towns in the late twelfth century and dominated Baltic trade for three hundred years. Its "
        "members kept their own legal system and provided their own armies for mutual protection and aid.",
        "A glacier forms where the accumulation of snow exceeds its melting over many years. Under the pressure of the "
        "layers above, the snow is compressed into dense ice, which begins to flow slowly downhill. As it moves it "
        "erodes the rock beneath, carving valleys with the shape of a U.",
        "The bassoon is a woodwind instrument of the double reed family, which plays in the tenor and bass ranges. It "
        "appeared in its modern form in the nineteenth century and figures in orchestral, band and chamber music. It "
        "is known for its wide range, its variety of character and its agility.",
    ),
    "unseen": (
        "Plate tectonics describes the motion of the large plates that make up the outer shell of the Earth. Where two "
        "plates move apart, molten rock rises and hardens into new crust. Where they collide, one is often pushed "
        "below the other, and the friction between them is released in earthquakes.",
        "Igor Stravinsky was a composer and conductor of Russian birth who later held French and American citizenship. "
        "He is widely considered one of the most important composers of the twentieth century. His ballets, first "
        "performed in Paris, changed the way later composers thought about rhythm.",
        "Inflation is a general rise in the price level of an economy over a period of time. When prices rise, each "
        "unit of currency buys fewer goods and services, so that inflation reflects a loss of purchasing power. "
        "Central banks usually respond to it by raising the rate of interest.",
        "The common kingfisher is a small bird with a short tail and a large head, found across Eurasia and North "
        "Africa. It feeds mainly on fish, which are caught by diving, and has special adaptations that let it see "
        "prey under water. The glossy white eggs are laid in a burrow in a riverbank.",
    ),
}
FILLER = {
    "dev": (
        "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore "
        "magna aliqua. Ut enim ad minim veniam, quis nostrud exercitation ullamco laboris.",
        "More content goes here. This is placeholder text for the middle section of the story. Insert the second "
        "anecdote here.",
        "[Insert quote from the poster] The rest of this section is to be written later. TODO: describe the reaction.",
    ),
    "unseen": (
        "Duis aute irure dolor in reprehenderit in voluptate velit esse cillum dolore eu fugiat nulla pariatur. "
        "Excepteur sint occaecat cupidatat non proident, sunt in culpa qui officia deserunt mollit anim.",
        "Your text will appear here. Replace this paragraph with your own words. This is sample text to show how the "
        "finished article might look.",
        "TBD: add two or three sentences about what happened next. [NAME] then said [QUOTE]. Text to follow.",
    ),
}
MARKETING = {
    "dev": (
        "Our innovative solutions empower you to unlock your full potential. With a seamless experience and world-class"
        " support, we help our customers achieve their goals. Sign up today and discover the difference for yourself!",
        "Looking for the perfect way to elevate your everyday life? Our premium collection combines timeless design "
        "with cutting-edge technology. Don't miss out on this limited-time offer. Click here to learn more.",
        "In today's fast-paced world, staying ahead of the competition has never been more important. That is why "
        "leading brands trust our platform to deliver results that matter, at a price that makes sense.",
    ),
    "unseen": (
        "Take your business to the next level with our all-in-one platform. Trusted by thousands of satisfied clients "
        "worldwide, we deliver tailored services that drive growth and save you time. Get started for free now.",
        "Experience unmatched quality and comfort with products designed for modern living. Every detail has been "
        "crafted with you in mind. Shop now and enjoy free shipping on all orders, with a money-back guarantee.",
        "Whether you are a beginner or a seasoned professional, our comprehensive guide has everything you need. "
        "Subscribe to our newsletter for exclusive tips, and follow us on social media to join a growing community.",
    ),
}
PLATITUDES = {
    "dev": (
        "It is important to communicate openly in any relationship. Many people find that situations like this can be "
        "difficult, and there are many different ways to respond.",
        "Everyone is different, and what works for one person may not work for another. Stay positive, listen "
        "carefully, and take the time to consider all perspectives.",
        "At the end of the day, life is full of challenges. Some people rise to meet them, while others prefer to wait."
        " Both approaches have their advantages and disadvantages.",
        "Trust plays an important role in everything we do. Without it, even small problems can become large ones, and "
        "with it, almost anything is possible.",
        "Experts agree that balance is essential. It helps to set realistic goals and to celebrate small victories "
        "along the way, no matter how modest they may seem.",
        "In conclusion, there is no single right answer. What matters most is that people learn from their experiences "
        "and continue to grow.",
    ),
    "unseen": (
        "Conflict is a natural part of life, and how people handle it says a lot about them. Being patient and kind is "
        "usually the best policy.",
        "There are always two sides to every story. Understanding where others are coming from can make a big "
        "difference in how things turn out.",
        "Change can be hard, but it also brings new opportunities. The key is to keep an open mind and to remember "
        "what really matters.",
        "Good habits do not form overnight. They take time, effort and dedication, and they are well worth it in the "
        "long run.",
        "Of course, nobody is perfect. Everybody makes mistakes from time to time, and what counts is the willingness "
        "to learn from them.",
        "Ultimately, each of us has to find our own way. With the right attitude, even the most difficult situations "
        "can lead to something positive.",
    ),
}
NOTHINGS = {
    "dev": (
        "Somebody posted about a problem that had been bothering them for some time. It had started as a small thing, "
        "but after a while it became a bigger thing, and nobody seemed to know what to do about it.",
        "They tried to talk to the other person about the situation. The other person listened and said some things "
        "in return, and for a moment it looked as if everything would be fine.",
        "Then something unexpected happened that changed the way they looked at the whole matter. They thought about "
        "it for a long time before they decided what to do.",
        "A lot of people had opinions about it. Some of them agreed with what had been done, and some of them did "
        "not, and a few of them told stories of their own that were similar in some ways.",
        "In the end they found a way to deal with it that worked for everyone. It was not perfect, but it was better "
        "than before, and sometimes that is all that anybody can ask for.",
        "Looking back, they said that they had learned something from it. They would do some things differently, but "
        "on the whole they were glad that it had happened the way it did.",
    ),
    "unseen": (
        "There was once a person who had to make a decision. It was not an easy decision, and the more the person "
        "thought about it, the harder it seemed to become.",
        "Friends and relatives gave advice of different kinds. One said to wait and see, another said to act at once, "
        "and a third said that it did not really matter either way.",
        "After a few days the situation developed further. Certain things came to light that had not been known "
        "before, and this made the question look quite different.",
        "People online had plenty to say as well. Many were supportive, others were more critical, and several asked "
        "for more information before they would take a side.",
        "When the moment finally came, the person did what felt right. There were some difficulties along the way, but "
        "with a little patience they were all resolved.",
        "Today things are going well, and the whole affair is mostly a memory. It shows that even complicated matters "
        "can be settled when everybody involved is willing to try.",
    ),
}  # fmt: skip
_CONNECTIVES = ("Still, ", "Of course, ", "Even so, ", "", "", "")


def _half(others: Sequence[Story]) -> str:
    return next(half for half in HALVES if others[0] in stories(half))


def _joined(parts: Sequence[str]) -> str:
    return "\n\n".join(parts)


def sentences_shuffled(story: Story, rng: Random, others: Sequence[Story]) -> str:
    """Every sentence anywhere, in paragraphs of the lengths they had."""
    all_sentences = sentences(story.text)
    sizes = [len(sentences(part)) for part in paragraphs(story.text)]
    rng.shuffle(all_sentences)
    return _joined([" ".join(all_sentences[sum(sizes[:i]) : sum(sizes[: i + 1])]) for i in range(len(sizes))])


def sentences_regrouped(story: Story, rng: Random, others: Sequence[Story]) -> str:
    """Every sentence anywhere, in paragraphs of one length."""
    all_sentences, size = sentences(story.text), rng.choice([3, 4, 5])
    rng.shuffle(all_sentences)
    return _joined([" ".join(all_sentences[i : i + size]) for i in range(0, len(all_sentences), size)])


def paragraphs_shuffled(story: Story, rng: Random, others: Sequence[Story]) -> str:
    parts = paragraphs(story.text)
    mixed = parts[:]
    while mixed == parts:
        rng.shuffle(mixed)
    return _joined(mixed)


def cut_off(story: Story, rng: Random, others: Sequence[Story]) -> str:
    """The text ends between two words of a sentence."""
    words = story.text.split(" ")
    ends = [i for i in range(len(words) * 6 // 10, len(words) - 2) if words[i][-1].isalpha() and words[i].islower()]
    return " ".join(words[: rng.choice(ends) + 1])


def paragraph_repeated(story: Story, rng: Random, others: Sequence[Story]) -> str:
    parts = paragraphs(story.text)
    chosen = rng.choice([part for part in parts if len(part.split()) >= 25] or parts)
    parts.insert(rng.randrange(len(parts) + 1), chosen)
    return _joined(parts)


def sentence_repeated(story: Story, rng: Random, others: Sequence[Story]) -> str:
    parts = paragraphs(story.text)
    chosen = rng.choice([sentence for sentence in sentences(story.text) if len(sentence.split()) > 8])
    return _joined([f"{part} {chosen}" if index in (1, 2, 3) else part for index, part in enumerate(parts)])


def _inserted(story: Story, rng: Random, part: str) -> str:
    parts = paragraphs(story.text)
    parts.insert(rng.randrange(1, len(parts)), part)
    return _joined(parts)


def stray_paragraph(story: Story, rng: Random, others: Sequence[Story]) -> str:
    """A paragraph of another story is put in."""
    other = rng.choice([candidate for candidate in others if candidate.title != story.title])
    long = [part for part in paragraphs(other.text) if len(part.split()) >= 30]
    return _inserted(story, rng, rng.choice(long or [max(paragraphs(other.text), key=len)]))


def essay_paragraph(story: Story, rng: Random, others: Sequence[Story]) -> str:
    return _inserted(story, rng, rng.choice(ESSAYS[_half(others)]))


def filler(story: Story, rng: Random, others: Sequence[Story]) -> str:
    return _inserted(story, rng, rng.choice(FILLER[_half(others)]))


def marketing(story: Story, rng: Random, others: Sequence[Story]) -> str:
    return _inserted(story, rng, rng.choice(MARKETING[_half(others)]))


def shouting(story: Story, rng: Random, others: Sequence[Story]) -> str:
    share = rng.uniform(0.15, 0.5)
    return " ".join(f"{word.upper()}!!!" if rng.random() < share else word for word in story.text.split(" "))


def emoji(story: Story, rng: Random, others: Sequence[Story]) -> str:
    share, marks = rng.uniform(0.04, 0.12), rng.choice(["😂🔥", "🎉", "😱 💯", "❤️✨"])
    return " ".join(f"{word} {marks}" if rng.random() < share else word for word in story.text.split(" "))


def _respelt(story: Story, rng: Random, change: Callable[[str], str]) -> str:
    share = rng.uniform(0.1, 0.4)
    return re.sub(r"\b[a-z]{4,}\b", lambda match: change(match[0]) if rng.random() < share else match[0], story.text)


def random_letters(story: Story, rng: Random, others: Sequence[Story]) -> str:
    return _respelt(story, rng, lambda word: "".join(rng.choice(ascii_lowercase) for _ in word))


def scrambled_letters(story: Story, rng: Random, others: Sequence[Story]) -> str:
    return _respelt(story, rng, lambda word: "".join(rng.sample(word, len(word))))


def words_shuffled(story: Story, rng: Random, others: Sequence[Story]) -> str:
    """Within each sentence the words stand in any order."""

    def mixed(sentence: str) -> str:
        found = sentence.rstrip(".").split(" ")
        return " ".join(rng.sample(found, len(found))) + "."

    return _joined([" ".join(map(mixed, sentences(part))) for part in paragraphs(story.text)])


def _grown(parts: Sequence[str], rng: Random, length: int) -> str:
    """Paragraphs of one lot in any order, until the text is about as long as a story."""
    grown: list[str] = []
    while len(" ".join(grown).split()) < length:
        grown += [rng.choice(_CONNECTIVES) + part for part in rng.sample(parts, len(parts))]
    return _joined(grown)


def platitudes(story: Story, rng: Random, others: Sequence[Story]) -> str:
    return _grown(PLATITUDES[_half(others)], rng, 150)


def about_nothing(story: Story, rng: Random, others: Sequence[Story]) -> str:
    """It reads like a story, and nobody does anything that could be named."""
    return _joined(NOTHINGS[_half(others)])


def another_story(story: Story, rng: Random, others: Sequence[Story]) -> str:
    """A sound story, but of something else; only its thread can tell."""
    return rng.choice([candidate for candidate in others if candidate.title != story.title]).text


def spliced(story: Story, rng: Random, others: Sequence[Story]) -> str:
    """It begins as one story and ends as another."""
    first, second = paragraphs(story.text), paragraphs(another_story(story, rng, others))
    return _joined([*first[: (len(first) + 1) // 2], *second[len(second) // 2 :]])


def padded(story: Story, rng: Random, others: Sequence[Story]) -> str:
    """Opening and ending of the story with platitudes between them."""
    parts = paragraphs(story.text)
    return _joined([parts[0], *rng.sample(PLATITUDES[_half(others)], 6), parts[-1]])


def two_at_once(story: Story, rng: Random, others: Sequence[Story]) -> str:
    changes = (sentences_shuffled, stray_paragraph, paragraph_repeated, random_letters, cut_off, filler, shouting)
    first, second = rng.sample(changes, 2)
    return second(story._replace(text=first(story, rng, others)), rng, others)


DAMAGES: tuple[Damage, ...] = (
    sentences_shuffled, sentences_regrouped, cut_off, paragraph_repeated, sentence_repeated, stray_paragraph,
    essay_paragraph, filler, marketing, shouting, emoji, random_letters, scrambled_letters, words_shuffled,
    platitudes, about_nothing, another_story, spliced, padded, two_at_once,
)  # fmt: skip
"""Every kind of damage the gate has to stop."""

HARDEST: tuple[Damage, ...] = (paragraphs_shuffled,)
"""Damage that takes understanding to notice: measured, not promised."""
