"""What became of the stories of a day, by whatever they are told apart by, and what they cost.

Which stories a day has is decided in ``operations/monitoring/generation_store.py``.
"""

import statistics
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

from threadjuice_dagster.operations.findings import Finding, State, first_problem

if TYPE_CHECKING:
    import pandas as pd

OUTCOMES = ("published", "rejected", "held", "failed")

JUDGED_AT_LEAST = 4
"""Stories a day's share of rejections is not believed below."""

FAILED_AT_LEAST, FAILED_WARNING, FAILED_ERROR = 2, 0.2, 0.5
"""Failed stories of a day that need no look, and the shares that do."""

NEARLY_SPENT = 0.8
"""Share of the day's budget from which an operator is warned."""

_RUNBOOK = "content-generation-failure"
_UPKEEP = "Look at the reasons by gate in generation_metrics, and at: threadjuice content list --status rejected"


def cut(stories: "pd.DataFrame", by: str) -> "pd.DataFrame":
    """What became of stories for each value of the column ``by``, the most stories first.

    ``stories`` has that column and ``story_id``, ``outcome``, ``cost_usd``, ``tokens``, ``seconds`` (NaN where nobody
    knows). ``per_published`` is all that was spent, also on what was not published, for each that was.
    """
    import pandas as pd

    wide = pd.crosstab(stories[by], stories["outcome"]).reindex(columns=list(OUTCOMES), fill_value=0)
    totals = wide.assign(stories=wide.sum(axis=1))
    totals["success"] = (100 * totals["published"] / totals["stories"]).round(1)
    sums = stories.groupby(by)[["cost_usd", "tokens"]].sum()
    totals["tokens"] = sums["tokens"].astype("int64")
    totals["cost_usd"] = sums["cost_usd"].round(4)
    totals["per_published"] = (sums["cost_usd"] / totals["published"].where(totals["published"] > 0)).round(4)
    totals["seconds"] = stories.groupby(by)["seconds"].median().round(1)
    return totals.sort_values(["stories", "published"], ascending=False, kind="stable")


def reasons(stories: "pd.DataFrame") -> "Counter[str]":
    """How many stories each gate or cause kept from being published; of several each one counts."""
    refused = stories[stories["outcome"] != "published"]
    return Counter(name for found in refused["reasons"] for name in found)


def summed(stories: "pd.DataFrame", usage: "pd.DataFrame") -> dict[str, Any]:
    """A day in numbers. ``usage`` has ``cost_usd``, ``input_tokens``, ``output_tokens`` and ``requests`` by purpose."""
    counts = {name: int((stories["outcome"] == name).sum()) for name in OUTCOMES}
    total = len(stories)
    cost = float(usage["cost_usd"].sum())
    published = stories[stories["outcome"] == "published"]
    waits = [float(one) for one in published["seconds"].dropna()]
    return {
        **counts,
        "stories": total,
        "success %": _share(counts["published"], total),
        "rejected %": _share(counts["rejected"] + counts["held"], total),
        "requests": int(usage["requests"].sum()),
        "input_tokens": int(usage["input_tokens"].sum()),
        "output_tokens": int(usage["output_tokens"].sum()),
        "cost_usd": round(cost, 4),
        "cost_usd per story": round(cost / total, 4) if total else 0.0,
        "cost_usd per published story": round(cost / len(published), 4) if len(published) else 0.0,
        "seconds, median": round(statistics.median(waits), 1) if waits else 0.0,
        "seconds, slowest": round(max(waits), 1) if waits else 0.0,
        "mean score": round(float(published["score"].mean()), 2) if len(published) else 0.0,
    }


def generation_findings(
    stories: "pd.DataFrame", usage: "pd.DataFrame", budget: float, rejection_share: float
) -> list[Finding]:
    """Whether stories of a day come through: not stopped by outages, not by the gates, and within the budget."""
    counts = Counter(cast("list[str]", stories["outcome"].tolist()))
    return [
        _failures(counts["failed"], len(stories), stories),
        _refusals(counts["rejected"] + counts["held"], len(stories) - counts["failed"], rejection_share, stories),
        _spending(float(usage["cost_usd"].sum()), budget),
    ]


def _failures(failed: int, total: int, stories: "pd.DataFrame") -> Finding:
    told = f"{failed} of {total} stories failed."
    worst = reasons(stories[stories["outcome"] == "failed"]).most_common(1)
    told += f" Mostly: {worst[0][0]}." if worst else ""
    step = "Run: threadjuice diagnose generation"
    many = failed >= FAILED_AT_LEAST
    return first_problem(
        "generation_succeeds",
        _RUNBOOK,
        told if total else "No story was written yet.",
        ("failed", many and failed > FAILED_ERROR * total, told, step),
        ("warning", many and failed > FAILED_WARNING * total, told, step),
    )


def _refusals(refused: int, judged_: int, share: float, stories: "pd.DataFrame") -> Finding:
    told = f"The gates kept back {refused} of {judged_} stories."
    worst = reasons(stories[stories["outcome"].isin(["rejected", "held"])]).most_common(1)
    told += f" Mostly {worst[0][0]} ({worst[0][1]})." if worst else ""
    enough = judged_ >= JUDGED_AT_LEAST
    none_left: State = "failed" if refused == judged_ else "warning"
    wrong = (none_left, enough and refused > share * judged_, told, _UPKEEP)
    return first_problem("gates_let_enough_through", _RUNBOOK, told, wrong)


def _spending(spent: float, budget: float) -> Finding:
    message = f"{spent:.2f} USD of {budget:.2f} were spent."
    step = "Lower DAILY_STORY_COUNT, choose a cheaper OPENAI_MODEL, or raise DAILY_BUDGET_USD."
    return first_problem(
        "spend_is_within_budget",
        _RUNBOOK,
        message if budget else f"{spent:.2f} USD were spent; DAILY_BUDGET_USD sets no budget.",
        ("failed", 0 < budget < spent, message, step),
        ("warning", 0 < budget * NEARLY_SPENT < spent, message, step),
    )


def _share(part: int, whole: int) -> float:
    return round(100 * part / whole, 1) if whole else 0.0
