"""What each gate on the text makes of a score: let through, refused, or held for a person."""

from typing import Any

import pytest
from makers import make_score

from threadjuice_dagster.domain.judging.gates import GateFinding
from threadjuice_dagster.domain.judging.grounding import Grounding
from threadjuice_dagster.domain.judging.judge import JudgeAnswer, JudgeVerdict, anchors, combine
from threadjuice_dagster.domain.judging.moderation import Verdict
from threadjuice_dagster.domain.judging.verdicts import gate_findings

CLEAN = Verdict(flagged=False, score=0.1, categories={"hate": 0.1})
VIOLENT = Verdict(flagged=True, score=0.9, categories={"violence": 0.9}, reasons=("violence: “…”",))


def answer(score: int, **others: int) -> JudgeAnswer:
    return JudgeAnswer.model_validate({name: {"score": others.get(name, score)} for name in anchors()})


def verdict(*scores: int) -> JudgeVerdict:
    return combine([answer(score) for score in scores], "a-judge")


def found(gate: str, **changes: Any) -> GateFinding:
    score = make_score("story").model_copy(update={"moderation": CLEAN, **changes})
    return gate_findings(score)[gate]


def test_the_median_decides_and_the_spread_is_told() -> None:
    judged = verdict(5, 4, 4)
    assert (judged.overall, judged.spread, judged.is_divided) == (8.0, 2.0, False)


@pytest.mark.parametrize(("scores", "divided"), [((4, 4, 4), False), ((5, 4, 4), False), ((5, 4, 3), True)])
def test_answers_far_apart_are_divided(scores: tuple[int, ...], divided: bool) -> None:
    assert verdict(*scores).is_divided is divided


def test_one_dimension_that_is_disputed_does_not_divide_the_judge() -> None:
    assert not combine([answer(4), answer(4), answer(4, voice=1)]).is_divided


@pytest.mark.parametrize(("faithfulness", "passed"), [((4, 4, 4), True), ((5, 4, 3), True), ((3, 3, 5), False)])
def test_faithfulness_is_a_veto_that_no_other_dimension_makes_up(faithfulness: tuple[int, ...], passed: bool) -> None:
    judge = combine([answer(5, faithfulness=score) for score in faithfulness])
    assert judge.overall > 8
    finding = found("meets_quality_threshold", judge=judge, overall=judge.overall)
    assert (finding.passed, finding.held) == (passed, False)
    assert ("faithfulness 3 of 5, below 4" in finding.message) is not passed


def test_a_divided_judge_holds_a_sound_story_instead_of_deciding() -> None:
    for scores in ((5, 4, 3), (4, 3, 2)):
        judge = verdict(*scores)
        finding = found("meets_quality_threshold", judge=judge, overall=min(9.0, judge.overall))
        assert (finding.passed, finding.held) == (False, True)
        assert "a person has to decide" in finding.message


def test_a_story_the_rubric_refuses_is_rejected_whatever_the_judge_says() -> None:
    weak = make_score("story", overall=5.0).rubric
    finding = found("meets_quality_threshold", rubric=weak, overall=5.0, judge=verdict(5, 4, 3))
    assert (finding.passed, finding.held) == (False, False)


@pytest.mark.parametrize(("overall", "passed"), [(8.0, True), (7.99, False)])
def test_the_threshold_is_eight(overall: float, passed: bool) -> None:
    rubric = make_score("story", overall=overall).rubric
    assert found("meets_quality_threshold", overall=overall, rubric=rubric).passed is passed


@pytest.mark.parametrize(("moderation", "passed"), [(CLEAN, True), (VIOLENT, False), (None, False)])
def test_only_a_clean_verdict_is_appropriate(moderation: Verdict | None, passed: bool) -> None:
    finding = found("is_appropriate", moderation=moderation)
    assert (finding.passed, finding.held) == (passed, False)
    assert finding.message


@pytest.mark.parametrize(
    ("grounding", "passed", "held"),
    [
        (Grounding(), True, False),
        (Grounding(problems=("an invented quote",)), False, False),
        (Grounding(unverifiable="2 quotes cannot be checked"), False, True),
        (Grounding(problems=("a link",), unverifiable="2 quotes cannot be checked"), False, False),
    ],
)
def test_what_cannot_be_checked_is_held_and_what_is_wrong_is_refused(
    grounding: Grounding, passed: bool, held: bool
) -> None:
    finding = found("quotes_are_grounded", grounding=grounding)
    assert (finding.passed, finding.held) == (passed, held)


@pytest.mark.parametrize(("problem", "passed"), [(None, True), ("The story repeats another-story.", False)])
def test_an_original_story_passes_and_a_copy_names_the_other(problem: str | None, passed: bool) -> None:
    finding = found("is_original", originality_problem=problem)
    assert finding.passed is passed
    assert problem is None or "another-story" in finding.message
