"""The moderator without a key: harm is flagged in many forms, ordinary talk is not."""

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from corpora.stories import stories

from threadjuice_dagster.domain.judging.moderation import LocalModerator, Verdict, load_moderator

CORPORA = Path(__file__).parents[2] / "corpora"

STORIES = [f"{story.title}\n{story.text}" for story in stories("dev")[-10:]]

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
        "Text 6175551212 after six.",
        "Her number is (020) 7946 0018.",
        "The card is 4111 1111 1111 1111.",
        "Pay into GB82 WEST 1234 5698 7654 32 please.",
        "PAY INTO GB82 WEST 1234 5698 7654 32 PLEASE.",
        "She lives at 4821 Maple Grove Road.",
        "Find them at 14 Albany Road, Cardiff CF24 3RQ.",
        "That is 1460 Sycamore Court, Apt 3, Dayton, Ohio 45402.",
        "The Hendersons, 5 Elm Grove, flat 2, Brighton.",
        "Er wohnt in der Lindenstraße 27.",
        "Familie Ott, Am Ende der Gartenstraße 112b, 04109 Leipzig.",
        "Write to jane (at) mailbox (dot) org about it.",
        "Her SSN is 219099999.",
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
    "The shop at 12 High Street sells the best buttons.",
    "We tried 5 Main Street cafés in one afternoon.",
    "Our library, 5 Bridge Street, Galway, opens at ten.",
    "The prime minister spoke outside 10 Downing Street, London.",
    "My hotel was two streets from 40 Park Lane.",
    "Version 3.11.4.2024 came on 2024-05-17, order 0000123456, invoice 20240517-0001.",
    "Call the helpline on 0800 068 4141 or 1-800-273-8255, day or night.",
    "I hate women's jeans: no pockets at all.",
    "We buy herbs and spices in bulk, and a chink of light fell on the jars.",
    "Muslims, Jews and gays danced at the wedding of two refugees.",
    "Shoot the breeze with us over a cocktail, and bring the recipe for your killer chilli.",
    "The surgeon took out the bullet, closed the wound in the skull and stopped the bleeding.",
    "The nurse gave him morphine and ketamine before the operation.",
    "Police said a man was stabbed on Friday and two suspects had been arrested.",
    "In 1940 the bombs killed four hundred people in one night, historians say.",
    "A man was jailed for selling cocaine and stolen passports.",
    "“You will regret this,” he wrote, and a week later he asked me to come back.",
    "You are not worthless, whatever he told you.",
    "If you think of suicide, please talk to somebody; you are not alone.",
    "Sie sagte: «Ça va?» — и всё. 再见!",
]


def judged(text: str, desk: str = "") -> Verdict:
    return load_moderator().moderate(text, desk)


def labelled(half: str) -> list[dict[str, Any]]:
    lines = (CORPORA / f"moderation_{half}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def average_precision(ranked: list[int]) -> float:
    """Of labels in falling order of score."""
    hits = [index for index, label in enumerate(ranked, 1) if label]
    return sum(count / index for count, index in enumerate(hits, 1)) / len(hits)


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
        "f*ggot",
        "f#gg0ts",
        "f_a_g_g_o_t",
        "FAGGÓT",
        "F4GG0T",
        "ｆａｇｇｏｔ",
        "ғᴀɢɢᴏᴛ",
        "fᎪᏀᏀᎾᎢ",
        "ƒⱥǥǥøŧ",
        "🅵🅰🅶🅶🅾🆃",
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
    assert clean.score < 0.1 < doubtful.score < 0.5


def test_an_empty_text_is_clean() -> None:
    assert judged("").score == 0.0


RULES = """
thresholds: {default: 0.5, desks: {cider: {hate: 0.95}}}
masked: []
lists: {fruit: "apples?|pears?"}
report: "\\\\breported\\\\b"
hints: {hate: "pips"}
rules:
  - {category: hate, weight: 0.9, when: "%s", pattern: "bad ~2 {fruit}", unless: "\\\\bnot\\\\b"}
"""


def test_a_rule_file_can_be_read_from_text() -> None:
    moderator = LocalModerator.from_yaml(RULES % "{fruit}")
    assert moderator.moderate("Such bad and brown apples.").categories["hate"] == 0.9
    assert moderator.moderate("One bad pear.").flagged
    assert not moderator.moderate("One bad pear.", "cider").flagged
    assert moderator.moderate("They reported bad apples.").score == 0.45
    assert not moderator.moderate("Bad as one, two and three apples.").flagged
    assert not moderator.moderate("These are not bad apples.").flagged


def test_a_list_whose_words_have_no_beginning_is_refused() -> None:
    with pytest.raises(ValueError, match="literal beginning"):
        LocalModerator.from_yaml((RULES % "{fruit}").replace("apples?", "(?:red )?apples?"))


def test_the_tone_alone_flags_only_where_its_words_weigh_enough() -> None:
    tone = "{bias: 0, words: {3: 'pip rot', -30: 'orchard'}}"
    moderator = LocalModerator.from_yaml(RULES % "app", tone)
    assert moderator.moderate("Pips rot.").reasons == ("hate: its wording as a whole",)
    assert not moderator.moderate("Pips rot in an orchard.").flagged
    assert not moderator.moderate("Pips.").flagged


def test_what_is_said_of_sex_is_read_more_strictly_on_the_family_desk() -> None:
    scores = {"sexual": 0.45}
    assert load_moderator().decide(scores, "family") == ("sexual",)
    assert load_moderator().decide(scores, "relationships") == ()


def test_despair_may_be_told_on_the_relationships_desk_but_a_call_for_it_may_not() -> None:
    told, call = "When she left I wanted to end it all.", "Go and kill yourself."
    assert judged(told).flagged
    assert not judged(told, "relationships").flagged
    assert judged(call, "relationships").flagged


@pytest.mark.parametrize(
    ("scores", "service", "desk", "over"),
    [
        ({"hate": 0.5, "violence": 0.6}, (), "", ("violence", "hate")),
        ({"hate": 0.49}, (), "", ()),
        ({"sexual": 0.2}, ("sexual",), "", ("sexual",)),
        ({"sexual": 0.2}, ("sexual",), "relationships", ()),
        ({"sexual": 0.7}, (), "relationships", ("sexual",)),
        ({"sexual/minors": 0.1, "sexual": 0.1}, ("sexual/minors",), "relationships", ("sexual/minors",)),
        ({}, ("something new",), "family", ("something new",)),
        ({"violence": 0.55}, (), "no such desk", ("violence",)),
    ],
)
def test_one_decision_is_made_for_local_and_service_scores(
    scores: Mapping[str, float], service: tuple[str, ...], desk: str, over: tuple[str, ...]
) -> None:
    assert load_moderator().decide(scores, desk, service) == over


def test_every_desk_with_thresholds_of_its_own_exists_and_names_known_categories() -> None:
    editorial = files("threadjuice_dagster") / "editorial"
    rules = yaml.safe_load((editorial / "moderation.yaml").read_text(encoding="utf-8"))
    slugs = {one["slug"] for one in yaml.safe_load((editorial / "categories.yaml").read_text(encoding="utf-8"))}
    assert set(rules["thresholds"]["desks"]) <= slugs
    named = {name for desk in rules["thresholds"]["desks"].values() for name in desk}
    assert named <= set(judged("").categories)


def test_harm_of_all_kinds_is_told_from_harmless_text_in_both_halves() -> None:
    for half, wanted_precision, wanted_recall in (("dev", 0.9, 0.8), ("unseen", 0.9, 0.5)):
        pairs = [(judged(one["text"]), one["label"]) for one in labelled(half)]
        # A harmless text goes first among equals: ties must not help.
        ranked = [label for _, label in sorted(pairs, key=lambda pair: (-pair[0].score, pair[1]))]
        flagged = [label for verdict, label in pairs if verdict.flagged]
        assert average_precision(ranked) >= 0.8
        assert sum(flagged) / len(flagged) >= wanted_precision
        assert sum(flagged) / sum(ranked) >= wanted_recall


def test_the_halves_share_no_text_and_hold_as_many_harmless_as_harmful_ones() -> None:
    texts = [{one["text"] for one in labelled(half)} for half in ("dev", "unseen")]
    assert not texts[0] & texts[1]
    for half in ("dev", "unseen"):
        labels = [one["label"] for one in labelled(half)]
        assert sum(labels) <= len(labels) / 2


@pytest.mark.parametrize("text", ["a" * 40_000, "a1" * 20_000, "a " * 20_000, "a@" * 20_000, "you are " * 5_000])
def test_a_hostile_text_is_judged_like_any_other(text: str) -> None:
    assert not judged(text).flagged
