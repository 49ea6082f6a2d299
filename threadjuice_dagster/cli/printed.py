"""What commands print for people; ``--json`` prints the same documents as they are."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from threadjuice_dagster.domain.story.records import StoryRecord
    from threadjuice_dagster.operations.backups.rules import RestorePlan
    from threadjuice_dagster.operations.environment.rules import EnvironmentReport

SHOWN = 20
"""Records of a kind that an import names on the screen."""


def validation_text(report: dict[str, Any]) -> str:
    """A report of `content validate`."""
    lines = [f"{report['checked']} checked, {report['passed']} passed, {report['damaged']} damaged"]
    for gate, counts in report["gates"].items():
        lines.append(f"{gate:<24} {', '.join(f'{count:,} {outcome}' for outcome, count in counts.items())}")
    for story in report["newly_failing"]:
        stays = "; its page stays as it was published" if story["status"] == "published" else ""
        lines.append(f"newly failing: {story['id']} ({', '.join(story['gates'])}){stays}")
    return "\n".join(lines)


def import_text(document: dict[str, Any]) -> str:
    """What an import did: the counts, which add up to what was read, and what was refused or kept back."""
    names = ("read", "imported", "updated", "unchanged", "rejected", "kept_back")
    lines = [", ".join(f"{document[name]} {name.replace('_', ' ')}" for name in names)]
    lines += [f"unknown category {name!r}: {count}" for name, count in document["unknown_categories"].items()]
    for heading, listed, count, file in (
        ("refused", document["refusals"], document["rejected"], document["rejects_file"]),
        ("kept back", document["held"], document["kept_back"], document["kept_back_file"]),
    ):
        lines += [f"{heading}: {_place(record)}: {record['reason']}" for record in listed[:SHOWN]]
        more = f"{heading}: {count - SHOWN} more" if count > SHOWN else ""
        where = f"{heading}: all of them in {file}" if file else ""
        lines += [line for line in (more, where) if line]
    return "\n".join(lines)


def _place(record: dict[str, Any]) -> str:
    title = f" “{record['title']}”" if record["title"] else ""
    return f"{record['file']}, {record['line']}{title}"


def story_line(story: "StoryRecord") -> str:
    """A story of a list, with what was found wrong."""
    score = f"{story.score:.1f}" if story.score is not None else "-"
    lines = [f"{story.status:<9} {score:>4}  {story.id}  {story.title}"]
    lines += [f"    {reason.check}: {reason.message}" for reason in story.reasons]
    if story.error:
        lines.append(f"    {story.error['message']} {story.error['next_step']}")
    if story.page:
        lines.append(f"    {story.page}")
    return "\n".join(lines)


def backup_line(backup: dict[str, Any]) -> str:
    """A backup of a list."""
    state = {True: "proven", False: "not proven", None: "proven elsewhere, if at all"}[backup["proven"]]
    signed = "and signed" if backup.get("signed", True) else "but NOT signed"
    protection = f"encrypted {signed}" if backup["encrypted"] else "neither encrypted nor signed"
    lines = [f"{backup['id']}  {backup['bytes']:,} bytes, {protection}, {state}  {backup['location']}"]
    lines += [f"    {text}" for text in (backup["problem"], backup.get("warning")) if text]
    return "\n".join(lines)


def plan_text(plan: "RestorePlan", *, unverified: bool = False) -> str:
    """What a restore would do, and how to have it done."""
    option = " --unverified" if unverified else ""
    lines = [
        f"Nothing was restored. {plan.backup}, {plan.rows} rows in {plan.tables} tables, would take the place of "
        f"{plan.database}, which would be kept as {plan.keeps}; {plan.connections} connections would be ended.",
        f"In no backup, and only to be kept there: {', '.join(plan.leaves_behind)}" if plan.leaves_behind else "",
        f"WARNING: {plan.warning}" if plan.warning else "",
        f"To do it: threadjuice database restore {plan.backup}{option} --confirm {plan.token}",
    ]
    return "\n".join(filter(None, lines))


def story_text(story: "StoryRecord") -> str:
    """A whole story."""
    lines = [story_line(story), "", story.title, story.dek, ""]
    for section in story.sections:
        lines += [*([section.heading] if section.heading else []), section.text, ""]
    lines += [f'"{quote.text}" (comment {quote.comment_id})' for quote in story.quotes]
    lines += ["", f"Written by {story.writer} ({story.model}) as {story.persona}; {story.cost_usd:.4f} USD."]
    if story.image:
        lines.append(f"Picture: {story.image.credit}")
    if story.credit and story.credit.notice:
        lines.append(f"Source: {story.credit.notice}")
    return "\n".join(lines)


def status_text(document: dict[str, Any]) -> str:
    """The newsroom's state."""
    lines = [f"{name:<10} {value}" for name, value in document["runs_on"].items()]
    lines.append(f"{'reads':<10} {document['reads_from']}")
    counts = ", ".join(f"{number} {name}" for name, number in document["stories"].items()) or "none yet"
    lines.append(f"{'budget':<10} {document['budget']['message']}")
    lines += [f"{'stories':<10} {counts}", f"{'threads':<10} {_supply_line(document['threads'])}"]
    lines.append(f"{'site':<10} {document['site'] or 'not built yet: threadjuice deploy build'}")
    lines += [f"{'error':<10} {error['message']} {error['next_step']}" for error in document["errors"]]
    return "\n".join(lines)


def _supply_line(threads: dict[str, Any]) -> str:
    """How many unused threads there are, how many of them suit a story, and for how many days those last."""
    by_source = ", ".join(f"{name} {count}" for name, count in threads["by_source"].items())
    of_sources = f" ({by_source})" if by_source else ""
    return f"{threads['unused']} unused, {threads['suitable']} suit a story{of_sources}: for {threads['days']:g} days"


def upkeep_text(document: dict[str, Any]) -> str:
    """What was done, and which thresholds are crossed."""
    lines = [f"{asset['state']:<9} {asset['name']}  {asset['message']}".rstrip() for asset in document["assets"]]
    lines += [f"crossed   {check['name']} of {check['asset']}: {check['message']}" for check in document["checks"]]
    return "\n".join([*lines, f"Run {document['run_id']}"])


def incidents_text(document: dict[str, Any]) -> str:
    """Incidents, and the messages that have not arrived yet."""
    lines = [incident_line(incident) for incident in document["incidents"]] or ["Nothing is wrong."]
    lines += [f"{document['more']} more are not shown."] if document["more"] else []
    waiting = document["waiting"]
    lines += [f"{waiting} messages have not been delivered yet."] if waiting else []
    lines += [f"{document['given_up']} messages were refused for good."] if document["given_up"] else []
    return "\n".join([*lines, *([f"         {document['problem']}"] if document["problem"] else [])])


def incident_line(incident: dict[str, Any]) -> str:
    """An incident with its cause and what to do."""
    state = incident["severity"] if incident["open"] else "over"
    muted = f", muted until {incident['muted_until']} by {incident['muted_by']}" if incident["muted_until"] else ""
    lines = [f"{state:<8} {incident['title']} ({incident['count']} times, last {incident['last_at']}{muted})"]
    lines += [f"         {text}" for text in (incident["message"], incident["next_step"]) if text]
    return "\n".join([*lines, f"         {incident['cause']}"])


def cleanup_text(report: dict[str, Any]) -> str:
    """What a clean-up found and removed, a line for each rule."""
    lines = [
        f"{rule['name']:<18} {rule['found']:>9,} found {rule['removed']:>9,} removed  {rule['refused']}".rstrip()
        for rule in report["rules"]
    ]
    if report["dry_run"]:
        return "\n".join([*lines, "A dry run: nothing was removed."])
    return "\n".join([*lines, f"Archive: {report['archive'] or 'nothing was archived'}"])


def sweep_text(swept: dict[str, Any]) -> str:
    """What was wrong with pictures, what was done about it, and which stories are as they were."""
    wrong = f"{swept['lacking']} stories lacked files, {swept['outdated']} had them elsewhere or of another quality."
    done = (
        f"{swept['renewed']} have theirs as it should be, {swept['redrawn']} have another, {swept['left']} have none."
    )
    return "\n".join([wrong, done, swept["stories"]])


def environment_text(report: "EnvironmentReport") -> str:
    """A report of `deploy check`, aligned, with what mends a row below it."""
    width = max(len(row.name) for row in report.rows)
    lines = [f"Environment: {report.environment}"]
    for row in report.rows:
        latency = "" if row.latency_ms is None else f"{row.latency_ms:.0f} ms"
        lines.append(f"{row.name:<{width}}  {row.state:<8}  {latency:>8}  {row.message}")
        if row.next_step:
            lines.append(f"{'':<{width + 22}}{row.next_step}")
    counts = ", ".join(f"{count} {state}" for state, count in report.counts.items() if count)
    return "\n".join([*lines, counts])


def deployment_text(document: dict[str, Any]) -> str:
    """A deployment, its steps, and the checks that did not pass."""
    deployment, checks = document["deployment"], document["checks"]
    missed = [f"{check['state']:<11} {check['name']}: {check['message']}" for check in checks if _is_missed(check)]
    passed = [f"{len(checks) - len(missed)} of {len(checks)} checks passed."] if checks else []
    shown = f"{deployment['state']}: {deployment['id']} (version {deployment['version']})"
    return "\n".join([*_step_lines(document["steps"]), *missed, *passed, shown, f"    {deployment['url']}"])


def _is_missed(check: dict[str, Any]) -> bool:
    return bool(check["state"] != "passed")


def history_text(document: dict[str, Any]) -> str:
    """Deployments with a star before those that can be gone back to."""
    lines = (
        f"{'*' if row['restorable'] else ' '} {row['at'][:16]}  {row['state']:<11} {row['id']}"
        for row in document["deployments"]
    )
    return "\n".join(lines) or "Nothing was deployed yet."


def migration_text(document: dict[str, Any]) -> str:
    """The migrations that ran, and where the database is now."""
    revision = document["revision"]
    lines = _step_lines([*document["migrations"], *document["steps"]])
    return "\n".join([*lines, f"Migration {revision['before'] or 'none'} before, {revision['after'] or 'none'} now."])


def _step_lines(steps: list[dict[str, Any]]) -> list[str]:
    return [
        f"{step['state']:<11} {step['seconds']:>7.1f} s  {step['name']}  {step['message']}".rstrip() for step in steps
    ]
