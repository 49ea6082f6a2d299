"""Runs the imports of the command line: story files in bulk, and stories that people wrote.

How results are printed belongs in ``cli/printed.py``, how files are stored in ``operations/imports/store.py``.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from threadjuice_dagster.assets.steps import now
from threadjuice_dagster.cli.writing import write_story
from threadjuice_dagster.database.catalogue import Catalogue
from threadjuice_dagster.database.outages import Outages
from threadjuice_dagster.database.records import story_record, story_records
from threadjuice_dagster.domain.language.text import printable
from threadjuice_dagster.domain.story.stories import MANUAL, StoryDraft
from threadjuice_dagster.failures import UsageError
from threadjuice_dagster.operations.imports.decoding import DamagedText, text_of
from threadjuice_dagster.operations.imports.fields import shown
from threadjuice_dagster.operations.imports.manual import manual_id, manual_records
from threadjuice_dagster.operations.imports.rules import (
    ImportedStory,
    RecordReader,
    RefusedRecord,
    UnknownCategory,
    category_map,
)

if TYPE_CHECKING:
    from threadjuice_dagster.cli.session import NewsroomSession


def import_files(
    session: "NewsroomSession", paths: Sequence[Path], rejects: Path | None, mapped: Sequence[str], *, dry_run: bool
) -> dict[str, Any]:
    """Store the stories of files and return the counts. ``content validate`` puts them through the gates later.

    ``mapped`` are ``NAME=CATEGORY`` pairs, which win over those of the settings.
    """
    from threadjuice_dagster.operations.imports.store import import_files as store_files

    content = session.settings.content
    summary = store_files(
        session.store,
        paths,
        session.settings.home / "imports",
        rejects=rejects,
        dry_run=dry_run,
        category_map=category_map([*content.import_category_map, *mapped]),
        default_category=content.import_default_category,
        progress=session.say,
    )
    places = {
        name: place and printable(place)
        for name, place in (("rejects_file", summary.rejects_file), ("kept_back_file", summary.kept_back_file))
    }
    return {**dataclasses.asdict(summary), **places}


def import_manual(
    session: "NewsroomSession", paths: Sequence[Path], mapped: Sequence[str], *, dry_run: bool
) -> dict[str, Any]:
    """Check, illustrate and publish stories that people wrote; return the counts and the stories."""
    if missing := [path for path in paths if not path.is_file()]:
        problem = f"{printable(str(missing[0]))} cannot be read: there is no such file."
        raise UsageError(problem, "Name files of Markdown or JSON.")
    Outages(session.store.engine).try_now()
    manual = _ManualImport(session, mapped, dry_run)
    for path in paths:
        manual.take(path)
    if not dry_run:
        session.build_site()
    return manual.document()


class _ManualImport:
    """Takes stories of people one by one. Each is counted once, and an error in one stops no other."""

    def __init__(self, session: "NewsroomSession", mapped: Sequence[str], dry_run: bool) -> None:
        self._session, self._store, self._dry_run = session, session.store, dry_run
        catalogue, content = Catalogue(session.store.engine), session.settings.content
        self._reader = RecordReader(
            catalogue.categories(),
            catalogue.personas(),
            now(),
            category_map([*content.import_category_map, *mapped]),
            content.import_default_category,
        )
        self._counts: Counter[str] = Counter()
        self._categories: Counter[str] = Counter()
        self._refusals: list[dict[str, Any]] = []
        self._held: list[dict[str, Any]] = []
        self._ids: list[str] = []

    def take(self, path: Path) -> None:
        """Take the stories of one file."""
        name = printable(path.name)
        try:
            records = manual_records(text_of(path.read_bytes()))
        except OSError as error:
            self._refuse(name, 1, "", f"It cannot be read: {error.strerror}.")
        except (DamagedText, RefusedRecord) as error:
            self._refuse(name, 1, "", str(error))
        else:
            for number, record in enumerate(records, start=1):
                title = shown(record["title"], 80) if isinstance(record, dict) and record.get("title") else ""
                try:
                    self._take_story(name, number, title, self._reader.story(record))
                except RefusedRecord as refusal:
                    self._categories.update([refusal.name] if isinstance(refusal, UnknownCategory) else [])
                    self._refuse(name, number, title, str(refusal))

    def document(self) -> dict[str, Any]:
        """Return the result in the form that ``content import`` prints."""
        records = story_records(self._store, self._session.page, ids=self._ids)
        names = ("imported", "updated", "unchanged", "rejected", "kept_back")
        return {
            "read": self._counts.total(),
            **{name: self._counts[name] for name in names},
            "rejects_file": None,
            "kept_back_file": None,
            "unknown_categories": dict(self._categories),
            "refusals": self._refusals,
            "held": self._held,
            "stories": records,
        }

    def _take_story(self, name: str, number: int, title: str, story: ImportedStory) -> None:
        if story.kept_back:
            self._counts["kept_back"] += 1
            reason = f"It is not public: {story.kept_back}"
            self._held.append({"file": name, "line": number, "title": title, "reason": reason})
            return
        story_id = manual_id(story, self._title_of)
        if story_id in self._ids:
            raise RefusedRecord("A story of this import has its title or slug already: give it a slug of its own.")
        done = self._done_to(story_id, story)
        if self._dry_run:
            self._counts[done] += 1
            return
        self._ids.append(story_id)
        if done != "unchanged":
            self._save(story_id, story)
        if done != "unchanged" or self._store.is_unfinished(story_id):
            write_story(self._session, self._store.assignment(story_id), order_tag=False)
        if problem := self._problem(story_id, story):
            self._refuse(name, number, title, problem)
        else:
            self._counts[done] += 1

    def _done_to(self, story_id: str, story: ImportedStory) -> str:
        stored = self._store.find_draft(story_id)
        if stored is None:
            return "imported"
        place = self._store.assignment(story_id)
        now_and_before = (
            (stored.draft, story.as_draft),
            (stored.model, story.draft.author),
            (stored.dated, story.dated),
            ((place.category, place.persona), (story.category, story.persona)),
        )
        return "unchanged" if all(before == after for before, after in now_and_before) else "updated"

    def _save(self, story_id: str, story: ImportedStory) -> None:
        self._store.assign_manual(story_id, story.category, story.persona)
        self._store.save(
            StoryDraft(
                story_id=story_id,
                draft=story.as_draft,
                writer=MANUAL,
                model=story.draft.author,
                prompt_version="",
                written_at=now(),
                dated=story.dated,
            )
        )

    def _problem(self, story_id: str, story: ImportedStory) -> str:
        """Return why readers do not see the story as it was stored, or an empty string."""
        record = story_record(self._store, story_id, self._session.page)
        reasons = " ".join(f"{reason.check}: {reason.message}" for reason in record.reasons)
        if record.status != "published":
            return f"It is {record.status}. {reasons}".strip()
        page = self._store.publication(story_id)
        same = (page.draft, page.model, page.category.slug) == (story.as_draft, story.draft.author, story.category)
        if same and page.persona.slug == story.persona and story.dated in (None, page.published_at):
            return ""
        return f"The update was refused, and the page stands as it was published. {reasons}".strip()

    def _title_of(self, story_id: str) -> str | None:
        stored = self._store.find_draft(story_id)
        return stored.draft.title if stored else None

    def _refuse(self, name: str, number: int, title: str, reason: str) -> None:
        self._counts["rejected"] += 1
        self._refusals.append({"file": name, "line": number, "title": title, "reason": reason})
