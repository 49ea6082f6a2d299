"""Validation: stored stories are checked against schema, gates and rules, many at a time."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from threadjuice_dagster.assets.decorators import asset
from threadjuice_dagster.assets.preview import escape
from threadjuice_dagster.assets.publication.imported_stories import imported_stories
from threadjuice_dagster.domain.language.text import cut
from threadjuice_dagster.resources.postgres import Database

if TYPE_CHECKING:
    from threadjuice_dagster.operations.imports.validation import ValidationReport


class ValidationConfig(dg.Config):
    """Which stories to check; by default imported ones that were not checked yet."""

    stories: list[str] = Field(default=[], description="Story ids to check again.")
    everything: bool = Field(default=False, description="Check every stored story again.")
    limit: int = Field(default=5_000, ge=0, description="Stories checked in this run at most; 0 is no limit.")
    release: int = Field(
        default=20, ge=0, le=1000, description="Imported stories that may be on their way to a picture and the site."
    )


@asset(kinds={"postgres"}, deps=[imported_stories])
def content_validation(
    context: dg.AssetExecutionContext, config: ValidationConfig, database: Database
) -> dg.MaterializeResult[None]:
    """Run the gates on stored stories again; imported ones that pass are handed over to be published."""
    from threadjuice_dagster.operations.imports.validation import Validation

    validation = Validation(database.store, context.log.info)
    ids = config.stories or None
    limit = config.limit if config.limit and not config.stories and not config.everything else None
    report = validation.check(ids, everything=config.everything, limit=limit)
    released = validation.release(config.release)
    return dg.MaterializeResult(
        metadata={
            "checked": report.checked,
            "passed": report.passed,
            "newly_failing": report.failing,
            "damaged": report.damaged,
            "released": len(released),
            "waiting": validation.waiting(),
            "gates": dg.MetadataValue.md(_gate_table(report.gates)),
            "stories": dg.MetadataValue.md(_failing(report) or "No story fails that had passed before."),
        }
    )


def _gate_table(gates: Mapping[str, Mapping[str, int]]) -> str:
    rows = [
        f"| {gate} | {counts['passed']} | {counts['held']} | {counts['refused']} |" for gate, counts in gates.items()
    ]
    return "\n".join(["| gate | passed | held | refused |", "|---|---|---|---|", *rows])


def _failing(report: "ValidationReport") -> str:
    lines = [
        f"* `{story['id']}` ({story['status']}): {_reasons(story['gates'])}" for story in report.newly_failing[:25]
    ]
    lines += [f"* `{story['id']}` is damaged: {escape(story['problem'])}" for story in report.problems[:25]]
    return "\n".join(lines)


def _reasons(gates: Mapping[str, Any]) -> str:
    return escape(cut("; ".join(f"{gate}: {message}" for gate, message in gates.items()), 300))
