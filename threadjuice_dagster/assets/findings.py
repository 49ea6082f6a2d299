"""Thresholds as asset checks: how a monitoring asset declares them, and how a finding becomes a result.

A run that finds something wrong stays green: the check is what is seen. Thresholds are in ``domain/``.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, timedelta
from typing import Any

import dagster as dg

from threadjuice_dagster.assets.preview import described
from threadjuice_dagster.assets.steps import now
from threadjuice_dagster.operations.findings import Finding

_SEVERITIES = {"failed": dg.AssetCheckSeverity.ERROR}


def specs(asset: str, **described: str) -> list[dg.AssetCheckSpec]:
    """Checks that an asset evaluates itself, on the figures it has just measured."""
    return [dg.AssetCheckSpec(name, asset=asset, description=text) for name, text in described.items()]


def result(
    name: str,
    passed: bool,
    message: str,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN,
    metadata: Mapping[str, Any] | None = None,
) -> dg.AssetCheckResult:
    """Return the result of one check; its message reads the same in the UI and as plain text."""
    return dg.AssetCheckResult(
        check_name=name, passed=passed, severity=severity, description=described(message), metadata=metadata
    )


def results(findings: Iterable[Finding], day: date | None = None) -> Iterator[dg.AssetCheckResult]:
    """Findings as results. A ``day`` before yesterday was judged when it was new: a backfill raises no alarm."""
    past = day is not None and day < now().astimezone(UTC).date() - timedelta(days=1)
    for finding in findings:
        message = f"{day}, not judged any more. {finding.message}" if past else finding.message
        severity = _SEVERITIES.get(finding.state, dg.AssetCheckSeverity.WARN)
        advice = {"next step": finding.next_step or "Nothing needs to be done.", "runbook": finding.runbook}
        yield result(finding.name, past or finding.passed, message, severity, advice)
