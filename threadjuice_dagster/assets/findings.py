"""Thresholds as asset checks: how a monitoring asset declares them, and how a finding becomes a result.

A run that finds something wrong stays green: the check is what is seen. Thresholds are in ``domain/``.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, timedelta

import dagster as dg

from threadjuice_dagster.assets.preview import described
from threadjuice_dagster.assets.steps import now
from threadjuice_dagster.operations.findings import Finding

_SEVERITIES = {"failed": dg.AssetCheckSeverity.ERROR}


def specs(asset: str, **described: str) -> list[dg.AssetCheckSpec]:
    """Checks that an asset evaluates itself, on the figures it has just measured."""
    return [dg.AssetCheckSpec(name, asset=asset, description=text) for name, text in described.items()]


def results(findings: Iterable[Finding], day: date | None = None) -> Iterator[dg.AssetCheckResult]:
    """Findings as results. A ``day`` before yesterday was judged when it was new: a backfill raises no alarm."""
    past = day is not None and day < now().astimezone(UTC).date() - timedelta(days=1)
    for finding in findings:
        yield dg.AssetCheckResult(
            check_name=finding.name,
            passed=past or finding.passed,
            severity=_SEVERITIES.get(finding.state, dg.AssetCheckSeverity.WARN),
            description=described(f"{day}, not judged any more. {finding.message}" if past else finding.message),
            metadata={"next step": finding.next_step or "Nothing needs to be done.", "runbook": finding.runbook},
        )
