"""The configured writer is tried in staging: it writes one story for each deployment that somebody asks for.

The gates on stories that are to be published belong in ``assets/stories/text_gates.py``.
"""

import dagster as dg

from threadjuice_dagster.assets.deployment.trial import Trial, try_writer
from threadjuice_dagster.assets.preview import described
from threadjuice_dagster.assets.steps import classified
from threadjuice_dagster.domain.story.stories import EXTRACTIVE
from threadjuice_dagster.domain.writing.costs import Meter
from threadjuice_dagster.failures import BudgetSpent, TransientFailure
from threadjuice_dagster.resources.postgres import Database
from threadjuice_dagster.resources.writers import ExtractiveWriter, Writer
from threadjuice_dagster.sources.samples import Samples

SENSOR_NAME_TAG = "dagster/sensor_name"
"""Run tag that Dagster gives to a run that a sensor started."""

TRY_IT = "The writer proves itself on: threadjuice deploy staging"
NO_MODEL = "No model is configured (OPENAI_API_KEY), so the extractive writer proved itself."


@dg.asset_check(
    asset="staged_deployment",
    name="configured_writer_proven",
    description="The configured writer makes a story of a sample thread that passes the gates; it is not published.",
)
def configured_writer(
    context: dg.AssetCheckExecutionContext, database: Database, writer: Writer
) -> dg.AssetCheckResult:
    """Write one story with the configured writer; its tokens and cost are counted."""
    from threadjuice_dagster.database.ledger import Ledger

    if SENSOR_NAME_TAG in context.run.tags:  # it deploys whenever a story is published, and each trial costs a story
        return dg.AssetCheckResult(passed=True, description=described(f"Not tried: a sensor deployed this. {TRY_IT}"))
    (sample,), meter = Samples().listing("", 1), Meter()
    severity = dg.AssetCheckSeverity.ERROR
    try:
        trial = try_writer(writer, sample, meter)
        passed, message = _judged(trial, by_a_model=not isinstance(writer, ExtractiveWriter))
    except Exception as error:
        failure = classified(error)
        passed, message = False, str(failure)
        if isinstance(failure, TransientFailure | BudgetSpent):  # which say nothing about the writer
            severity = dg.AssetCheckSeverity.WARN
    finally:
        Ledger(database.store.engine).add_usage("trial", "", meter.usage, None, context.run.run_id)
    usage = meter.usage
    return dg.AssetCheckResult(
        passed=passed,
        severity=severity,
        description=described(message),
        metadata={
            "requests": usage.requests,
            "tokens": usage.input_tokens + usage.output_tokens,
            "cost_usd": usage.cost_usd,
        },
    )


def _judged(trial: Trial, *, by_a_model: bool) -> tuple[bool, str]:
    """Whether the writer that was to prove itself did, and a message about it."""
    if by_a_model and trial.writer == EXTRACTIVE:
        return False, "The model did not answer, and the extractive writer stepped in. See: threadjuice deploy check"
    who = f"{trial.model} wrote" if by_a_model else f"{NO_MODEL} It wrote"
    message = f"{who} “{trial.title}”, which scores {trial.score:.1f}"
    if trial.problem:
        return False, f"{message} and would not be published: {trial.problem}"
    return True, f"{message} and passes every gate on the text. It is not published."
