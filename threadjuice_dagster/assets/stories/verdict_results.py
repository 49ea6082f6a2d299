"""How a gate is declared and how its stored verdict becomes a check result. No gate is defined here."""

import dagster as dg

from threadjuice_dagster.assets.preview import described
from threadjuice_dagster.domain.judging.gates import GateVerdict


def gate(name: str, asset: dg.AssetsDefinition, description: str) -> dg.AssetCheckSpec:
    """A blocking check: the steps behind it run only when it passed."""
    return dg.AssetCheckSpec(name, asset=asset, description=description, blocking=True)


def result(story_id: str, verdict: GateVerdict, asset: dg.AssetsDefinition) -> dg.AssetCheckResult:
    """The verdict as Dagster shows it; an overruled gate passes and says who overruled it, and why."""
    notes = {"story": story_id, "overruled by": verdict.overridden_by, "because": verdict.override_reason}
    return dg.AssetCheckResult(
        passed=verdict.lets_through,
        check_name=verdict.gate,
        asset_key=asset.key,
        severity=dg.AssetCheckSeverity.ERROR,
        description=described(verdict.message),
        metadata={key: value for key, value in notes.items() if value},
    )
