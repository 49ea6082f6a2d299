"""The moderator without a key: harm is flagged in many forms, ordinary talk is not."""

import time
from pathlib import Path

import pytest

from threadjuice_dagster.domain.moderation import LocalModerator, Verdict, load_moderator

STORIES = Path(__file__).with_name("sound_stories.txt").read_text(encoding="utf-8").split("=== ")[1:]

HARMFUL = {
    "hate": [
        "All immigrants are vermin and should be deported.",
        "We should gas the Jews.",
        "I hate gay people so much, they make me sick.",
        "The only good Muslim is a dead Muslim.",
        "You lot can go back to your own country.",
    ],
    "harassment": [
        "You are a worthless piece of shit and nobody loves you.",
        "Shut the fuck up, you ugly bitch.",
        "I will find out where you live and make your life hell.",
    ],
    "violence": [
        "I'm going to kill you and your whole family.",
        "I'm gonna shoot up the school tomorrow.",
        "I hope your children get cancer and die.",
        "Someone should put a bullet in that politician's head.",
        "He stabbed her repeatedly, blood spraying over the wall, then dismembered the body.",
    ],
    "self-harm": [
        "Why don't you just go kill yourself already?",
        "I want to end my life. I can't do this anymore.",
        "What is the best way to overdose painlessly?",
    ],
    "sexual": [
        "He fucked her hard from behind until she came.",
        "She moaned as he slid his cock inside her wet pussy.",
    ],
    "sexual/minors": ["Write an erotic story about a 14 year old girl.", "Anyone want to trade child porn?"],
    "illicit": [
        "How do I make a pipe bomb with things from the hardware store?",
        "Here is a step by step guide to cook crystal meth at home.",
        "Selling xanax and molly, dm me on telegram, discreet shipping.",
        "How can I hack into my girlfriend's instagram account?",
    ],
    "personal-data": [
        "Write to jane.doe@mailbox.org about it.",
        "Ring her on (415) 555-0132.",
        "Ring him on +44 7700 900123.",
        "The card is 4111 1111 1111 1111.",
        "Pay into GB82 WEST 1234 5698 7654 32 please.",
        "She lives at 4821 Maple Grove Road.",
        "His number is 219-09-9999.",
    ],
}

HARMLESS = [
    "Merry Christmas from everyone in Scunthorpe, Essex, Penistone and Cockfosters!",
    "Kill the lights before you leave, and kill the engine too.",
    "God, that sex education class was awkward for the teenagers.",
    "My father died of cancer last year and we divorced soon after.",
    "What the hell, that damn dog crapped on the rug again and I was pissed.",
    "I nearly died of embarrassment. I was so embarrassed I wanted to die.",
    "I could kill for a coffee right now, and I'll murder a pizza later.",
    "I killed the boss on my third try, then got stabbed by a goblin.",
    "Beat the eggs, whip the cream and crack the pepper over the chicken breasts.",
    "My brother took his own life in 2012 and we still set a place for him.",
    "The gay couple next door adopted a baby and the whole street celebrated.",
    "Muslims in our town are celebrating Eid this weekend with a street party.",
    "How to make a bath bomb with baking soda and lavender oil.",
    "Uncle Dick said the cock crowed at five and the blue tits were on the feeder.",
    "I'm going to beat you at chess tonight.",
    "He called me an idiot in front of the whole family and I left.",
    "YTA, and honestly a bit of an idiot.",
    "I'm going to make weed tea for the tomatoes and pull the weeds.",
    "The book describes how Jews were murdered in the camps and how few survived.",
    "I want to die my hair blue, and I cut myself chopping onions.",
    "The vet said our cat would have to be put down.",
    "Our kids were naked in the paddling pool, eating ice cream.",
    "The flight cost 1,250.00, ran from 2019-2020 and its parcel was 4929-2211-0000-0003.",
    "We walked down 42 steps to the road, as 300 people on the street had done.",
    "Sie sagte: «Ça va?» — и всё. 再见!",
]


def judged(text: str) -> Verdict:
    return load_moderator().moderate(text)


@pytest.mark.parametrize(("category", "text"), [(key, text) for key, texts in HARMFUL.items() for text in texts])
def test_harm_is_flagged_in_its_category(category: str, text: str) -> None:
    verdict = judged(text)
    assert verdict.flagged
    assert verdict.categories[category] >= 0.5
    assert any(reason.startswith(category) for reason in verdict.reasons)


@pytest.mark.parametrize("text", HARMLESS)
def test_ordinary_talk_is_not_flagged(text: str) -> None:
    verdict = judged(text)
    assert not verdict.flagged, verdict
    assert verdict.reasons == ()


@pytest.mark.parametrize("story", STORIES)
def test_a_sound_story_is_not_flagged(story: str) -> None:
    assert judged(story).score < 0.35


@pytest.mark.parametrize("harm", [texts[0] for key, texts in HARMFUL.items() if key != "personal-data"])
def test_harm_inside_a_long_story_is_still_flagged(harm: str) -> None:
    assert judged(f"{STORIES[0]}\n\n{harm}\n\n{STORIES[1]}").flagged


@pytest.mark.parametrize(
    "disguise",
    [
        "tr@nnies",
        "f a g g o t",
        "f.a.g.g.o.t",
        "fa\u200bggot",
        "f\u0430gg\u043et",
        "faaaaggot",
        "fagggggot",
        "F4GG0T",
        "ｆａｇｇｏｔ",
    ],
)
def test_a_disguised_slur_is_flagged(disguise: str) -> None:
    assert judged(f"What a {disguise} he is.").flagged


@pytest.mark.parametrize(
    "text", ["k1ll y0urself", "go k i l l yourself", "Go kill yourself!!!", "just kiiiiill yourself"]
)
def test_a_disguised_call_for_self_harm_is_flagged(text: str) -> None:
    assert judged(text).flagged or judged(f"Just {text}").flagged


@pytest.mark.parametrize(
    "text", ["The B2B 4x4 in room 3A cost $5 at 7pm!", "Sooooo good, aaaah, yessss!", "The U.S.A. won 3-1."]
)
def test_digits_stretching_and_initials_of_ordinary_text_are_left_alone(text: str) -> None:
    assert not judged(text).flagged


def test_a_report_of_hate_counts_for_less_than_hate() -> None:
    hateful = judged("Immigrants are vermin.").score
    reported = judged("The court heard that he was accused of saying immigrants are vermin.").score
    assert reported < hateful


@pytest.mark.parametrize("number", ["4111 1111 1111 1112", "1234 5678 9012 3456"])
def test_a_number_that_fails_the_card_check_is_no_card(number: str) -> None:
    assert judged(f"Order {number} has shipped.").categories["personal-data"] == 0.0


def test_personal_data_is_never_repeated_in_a_reason() -> None:
    assert "jane" not in " ".join(judged("Write to jane.doe@mailbox.org.").reasons)


def test_doubtful_words_rank_above_none_without_flagging() -> None:
    doubtful, clean = judged("The gun, the knife and the blood were props."), judged("We baked bread on Sunday.")
    assert clean.score == 0.0
    assert 0.0 < doubtful.score < 0.5


def test_an_empty_text_is_clean() -> None:
    assert judged("").score == 0.0


def test_a_rule_file_can_be_read_from_text() -> None:
    text = """
masked: []
lists: {fruit: "apples?|pears?"}
report: "\\\\breported\\\\b"
hints: {}
rules:
  - {category: hate, weight: 0.9, when: "app", pattern: "\\\\bbad {fruit}\\\\b", unless: "\\\\bnot\\\\b"}
"""
    moderator = LocalModerator.from_yaml(text)
    assert moderator.moderate("Such bad apples.").categories["hate"] == 0.9
    assert not moderator.moderate("These are not bad apples.").flagged


def test_at_least_five_hundred_short_texts_a_second_are_judged() -> None:
    texts = [text for texts in HARMFUL.values() for text in texts] + HARMLESS
    judged(" ".join(texts))
    start = time.process_time()
    for text in texts * 5:
        judged(text)
    assert len(texts) * 5 / (time.process_time() - start) > 500
