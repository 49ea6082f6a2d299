"""`threadjuice content`: stories are generated, looked at, imported, checked, published and withdrawn."""

import dataclasses
import getpass
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from threadjuice_dagster.cli import printed
from threadjuice_dagster.cli.shared import AsJson, fail, json_text, opened, reporting, say, show_document
from threadjuice_dagster.failures import OrderUnfilled, ThreadJuiceError, UsageError

if TYPE_CHECKING:
    from threadjuice_dagster.cli.session import NewsroomSession
    from threadjuice_dagster.domain.story.records import StoryRecord

content = typer.Typer(no_args_is_help=True, help="Stories: generate, look at, publish, withdraw.")

StoryIds = Annotated[
    list[str], typer.Argument(metavar="STORY…", help="Ids or slugs, or beginnings that fit one story only.")
]
ByWhom = Annotated[str, typer.Option("--by", help="Who decides; your user name if left out.")]
Reason = Annotated[str, typer.Option(help="Why; stored and shown.")]
TextFiles = Annotated[list[str], typer.Argument(metavar="FILE…", help="JSONL files; - is standard input.")]


@content.command()
def generate(
    count: Annotated[int, typer.Option(min=0, max=1000, help="Stories to publish; 0 is DAILY_STORY_COUNT.")] = 0,
    category: Annotated[str, typer.Option(help="Only threads of this category.")] = "",
    persona: Annotated[str, typer.Option(help="Written in this persona's voice.")] = "",
    source: Annotated[str, typer.Option(help="Only threads of this place, such as hackernews:ask.")] = "",
    thread: Annotated[str, typer.Option(help="A thread's address, or a saved file.")] = "",
    as_json: AsJson = False,
) -> None:
    """Write, check, illustrate and publish stories, and rebuild the site."""
    reference = str(Path(thread).resolve()) if thread and Path(thread).is_file() else thread
    with opened(as_json) as session:
        from threadjuice_dagster.assets.threads.threads import AssignmentConfig
        from threadjuice_dagster.cli.writing import generate_stories

        config = AssignmentConfig(count=count, category=category, persona=persona, source=source, thread=reference)
        stories, problem = generate_stories(session, config)
        _print_stories(stories, as_json, problem=problem)
        if problem or any(story.status in ("failed", "interrupted", "waiting") for story in stories):
            raise typer.Exit(1)


@content.command(name="list")
def list_stories(
    status: Annotated[str, typer.Option(help="Only stories of this status, such as published or rejected.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most this many, newest first.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """List stories with their status and score."""
    with opened(as_json) as session:
        from threadjuice_dagster.database.records import SHOWN, story_records

        if status and status not in SHOWN:
            raise UsageError(f"There is no status {status[:40]!r}.", f"Known: {', '.join(SHOWN)}.")
        stories = story_records(session.store, session.page, status=status or None, limit=limit)
        counts = session.store.status_counts() if len(stories) == limit else Counter()
        more = max(0, (counts[status] if status else counts.total()) - limit)
        _print_stories(stories, as_json, more)


@content.command()
def show(story: Annotated[str, typer.Argument(metavar="STORY")], as_json: AsJson = False) -> None:
    """Show one story with its text, verdicts, picture and cost."""
    with opened(as_json) as session:
        from threadjuice_dagster.database.records import find_story, story_record

        record = story_record(session.store, find_story(session.store, story), session.page)
        show_document(record.model_dump(mode="json"), as_json, lambda: printed.story_text(record))


@content.command(name="import")
def import_stories(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Story files or folders of them.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
    rejects: Annotated[Path | None, typer.Option(help="Where bad records go, with line and reason.")] = None,
    manual: Annotated[bool, typer.Option("--manual", help="Check and publish stories people wrote, at once.")] = False,
    mapped: Annotated[
        list[str] | None,
        typer.Option(
            "--map-category", metavar="NAME=CATEGORY", help="A category of ours for one of theirs; repeatable."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Import story files (JSON, JSONL, CSV, gzip, zstd); `content validate` checks them before they are published."""
    with reporting(as_json):
        from threadjuice_dagster.operations.imports.files import require_place
        from threadjuice_dagster.operations.imports.rules import category_map

        require_place(rejects)
        category_map(mapped or [])
    with opened(as_json) as session:
        from threadjuice_dagster.cli.importing import import_files, import_manual

        if manual:
            document = import_manual(session, paths, mapped or [], dry_run=dry_run)
            records = document["stories"]
            document["stories"] = [record.model_dump(mode="json") for record in records]
            lines = [printed.story_line(record) for record in records]
        else:
            document, lines = import_files(session, paths, rejects, mapped or [], dry_run=dry_run), []
        show_document(document, as_json, lambda: "\n".join([*lines, printed.import_text(document)]))
        if document["rejected"]:
            raise typer.Exit(1)


@content.command()
def validate(
    stories: Annotated[list[str] | None, typer.Argument(metavar="[STORY…]", help="Stories to check again.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Check every stored story again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check imported stories, named ones or all against schema, gates and rules, and report what fails."""
    with opened(as_json) as session:
        from threadjuice_dagster.database.records import find_story
        from threadjuice_dagster.operations.imports.validation import Validation

        named = [find_story(session.store, story) for story in stories or ()]
        validation = Validation(session.store, session.say)
        report = dataclasses.asdict(validation.check(named or None, everything=everything))
        validation.release()
        show_document(report, as_json, lambda: printed.validation_text(report))


@content.command()
def score(files: TextFiles, as_json: AsJson = False) -> None:
    """Score texts by the rubric: JSONL of {id, title, text, thread?} in, of {id, overall, dimensions, flags} out."""
    with reporting(as_json):
        from threadjuice_dagster.cli.texts import score_line

        _each_line(files, score_line, as_json)


@content.command()
def moderate(files: TextFiles, as_json: AsJson = False) -> None:
    """Moderate texts locally: JSONL of {id, title, text} in, of {id, flagged, score, categories} out."""
    with reporting(as_json):
        from threadjuice_dagster.cli.texts import moderate_line

        _each_line(files, moderate_line, as_json)


@content.command()
def check(files: TextFiles, as_json: AsJson = False) -> None:
    """Check drafts by every gate on the text: JSONL of {id, draft, thread} in, {id, outcome, gates, claims} out."""
    with reporting(as_json):
        from threadjuice_dagster.cli.texts import check_line

        _each_line(files, check_line, as_json)


@content.command()
def publish(
    stories: StoryIds,
    override: Annotated[bool, typer.Option("--override", help="Overrule the gates that refused.")] = False,
    reason: Annotated[str, typer.Option(help="Why; needed with --override, stored and shown.")] = "",
    by: ByWhom = "",
    as_json: AsJson = False,
) -> None:
    """Finish and publish stories; with --override also those a gate refused."""
    _publish(stories, _decision(by, reason, as_json) if override else None, as_json)


@content.command()
def approve(stories: StoryIds, reason: Reason, by: ByWhom = "", as_json: AsJson = False) -> None:
    """Publish stories that were held or rejected, under your name: the same as publish --override."""
    _publish(stories, _decision(by, reason, as_json), as_json)


@content.command()
def reject(stories: StoryIds, reason: Reason, by: ByWhom = "", as_json: AsJson = False) -> None:
    """Turn stories down that wait for a decision, under your name."""
    decision = _decision(by, reason, as_json)
    _act(stories, lambda session, story: session.store.reject(story, *decision), as_json)


@content.command()
def withdraw(
    stories: StoryIds, reason: Reason = "withdrawn by an operator", by: ByWhom = "", as_json: AsJson = False
) -> None:
    """Take published stories off the site; they can be published again."""
    decision = _decision(by, reason, as_json)
    _act(stories, lambda session, story: session.store.withdraw(story, *decision), as_json)


@content.command()
def takedown(
    references: Annotated[list[str], typer.Argument(metavar="SOURCE…", help="Story id, t3_THREAD or t1_COMMENT.")],
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Remove what rests on a source for good: from database, storage, site, run history and restored backups."""
    with opened(as_json) as session:
        from threadjuice_dagster.database.publications import Publications

        with session.opened("takedown_service") as service:
            changed = service.take_down(references, _decision("", reason, as_json)[1], session.instance)
        session.resources["publisher"].build(Publications(session.store.engine), keep_old=False)
        show_document({"taken_down": changed}, as_json, lambda: "\n".join(changed) or "No story rested on it.")


@content.command()
def sweep(as_json: AsJson = False) -> None:
    """Ask every source what was deleted there, and remove what rests on it, as every six hours by itself."""
    with opened(as_json) as session:
        result = session.run("takedowns_job").asset_materializations_for_node("takedowns")[0].metadata
        counts = {name: result[name].value for name in ("sources", "deleted_threads", "deleted_comments")}
        document = {**counts, "changed": result["withdrawn"].value, "not_asked": result["not asked"].value}
        show_document(document, as_json, lambda: "\n".join(f"{name}: {value}" for name, value in document.items()))


def _publish(stories: list[str], decision: tuple[str, str] | None, as_json: bool) -> None:
    with opened(as_json) as session:
        from threadjuice_dagster.cli.writing import publish_story
        from threadjuice_dagster.database.records import find_story

        ids = [find_story(session.store, story) for story in stories]
        records = [publish_story(session, story_id, decision) for story_id in ids]
        session.build_site()
        _print_stories(records, as_json)
        if any(record.status != "published" for record in records):
            raise typer.Exit(1)


def _act(stories: list[str], act: "Callable[[NewsroomSession, str], None]", as_json: bool) -> None:
    with opened(as_json) as session:
        from threadjuice_dagster.database.records import find_story, story_records

        ids = [find_story(session.store, story) for story in stories]
        for story_id in ids:
            act(session, story_id)
        session.build_site()
        _print_stories(story_records(session.store, session.page, ids=ids), as_json)


def _decision(by: str, reason: str, as_json: bool) -> tuple[str, str]:
    """Who decides and why; both are stored and shown."""
    if not reason.strip():
        fail(UsageError("A decision needs a reason.", "Add --reason TEXT."), as_json)
    return by.strip() or getpass.getuser(), reason.strip()


def _each_line(files: list[str], answer: "Callable[[str], dict[str, Any]]", as_json: bool) -> None:
    """Answer every line of JSONL files (``-`` is standard input) with a line, or all of them with one document.

    A bad line is reported and does not end the rest; the command then exits with 1.
    """
    answers: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for name in files:
        if name != "-" and not Path(name).is_file():
            fail(UsageError(f"There is no file {name}.", "Pass a JSONL file, or - for standard input."), as_json)
        with sys.stdin if name == "-" else Path(name).open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    answers.append(answer(line))
                except UsageError as error:
                    errors.append({"file": name, "line": number, **error.record})
                    say(f"{name}, line {number}: {error}")
                    continue
                if not as_json:
                    print(json_text(answers.pop()), flush=name == "-")
    if as_json:
        show_document({"answers": answers, "errors": errors}, as_json, str)
    if errors:
        raise typer.Exit(1)


def _print_stories(
    stories: "list[StoryRecord]", as_json: bool, more: int = 0, problem: ThreadJuiceError | None = None
) -> None:
    """Print stories, how many ``more`` there are, and the ``problem`` why there are no more of them."""
    document = {"stories": [story.model_dump(mode="json") for story in stories], "more": more}
    document |= {"error": problem.record} if problem else {}
    lines = [printed.story_line(story) for story in stories] or ([] if problem else ["No stories yet."])
    lines += [f"{more:,} more are not shown; show them with --limit."] if more else []
    if lines or as_json:
        show_document(document, as_json, lambda: "\n".join(lines))
    if problem and not as_json:
        say(str(problem) if isinstance(problem, OrderUnfilled) else f"Error: {problem}")
