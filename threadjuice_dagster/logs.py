"""Write what runs log as JSON lines, in one file per UTC day under ``THREADJUICE_HOME/logs``.

``dagster.yaml`` names the handler, the loggers that reach it, and their level.
"""

import contextlib
import json
import logging
import os
import re
import traceback
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from threadjuice_dagster.settings import read_settings

KEPT = timedelta(days=30)
"""Age at which a day's file is deleted."""

LONGEST = 20_000
"""Characters of a message or traceback; more is cut off."""

_LOGIN = re.compile(r"//[^/@\s]*@")
_SHORTEST_SECRET = 6
_HIDDEN = "[hidden]"


class JsonLines(logging.Handler):
    """Append each record as one line, in one write, so that lines of several processes never mix.

    An error while writing the log is ignored: it must not fail a run.
    """

    def __init__(self, folder: str = "", level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        self._folder = Path(folder) if folder else None
        self._secrets: re.Pattern[str] | None = None
        self._day: date | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Append the record to the file of its day."""
        try:
            moment = datetime.fromtimestamp(record.created, UTC)
            folder = self._prepared(moment.date())
            line = self._plain(json.dumps(as_document(record, moment), ensure_ascii=False, default=str))
            target = os.open(folder / f"{moment:%Y-%m-%d}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
            try:
                os.write(target, f"{line}\n".encode(errors="replace"))
            finally:
                os.close(target)
        except Exception:  # noqa: S110 -- a log that cannot be written must not fail the run
            pass

    def _prepared(self, day: date) -> Path:
        """Return the folder. It is created, and old files are deleted, at the first record of each day."""
        if self._folder is None or self._secrets is None:
            settings = read_settings()[0]
            self._folder = self._folder or settings.home / "logs"
            self._secrets = secrets_in(settings)
        if day != self._day:
            self._folder.mkdir(parents=True, exist_ok=True)
            for path in past_files(self._folder, day):
                path.unlink(missing_ok=True)
            self._day = day
        return self._folder

    def _plain(self, line: str) -> str:
        line = _LOGIN.sub("//", line)
        return self._secrets.sub(_HIDDEN, line) if self._secrets else line


def past_files(folder: Path, day: date) -> list[Path]:
    """Return the files to delete on a day, those older than ``KEPT``.

    The age is counted from the day after the newest file at most, so that a clock that jumps a month ahead deletes only
    what tomorrow would.
    """
    files = sorted(path for path in folder.glob("????-??-??.jsonl") if path.stem < f"{day:%Y-%m-%d}")
    with contextlib.suppress(ValueError, IndexError):
        day = min(day, date.fromisoformat(files[-1].stem) + timedelta(days=1))
    return [path for path in files if path.stem < f"{day - KEPT:%Y-%m-%d}"]


def as_document(record: logging.LogRecord, moment: datetime) -> dict[str, Any]:
    """Return a record as it is written. Only a record of a run has ``run_id``, ``job``, ``step`` and ``partition``."""
    context = getattr(record, "dagster_meta", None) or {}
    tags, event = context.get("job_tags") or {}, context.get("dagster_event")
    fields = {
        "run_id": context.get("run_id"),
        "job": context.get("job_name"),
        "step": context.get("step_key"),
        "partition": tags.get("dagster/partition"),
        "event": event.event_type_value if event else None,
        "error": _error(record, event),
    }
    return {
        "time": moment.isoformat(timespec="milliseconds"),
        "level": record.levelname,
        "logger": record.name,
        "message": str(context.get("orig_message") or record.getMessage())[:LONGEST],
        **{name: value for name, value in fields.items() if value},
    }


def secrets_in(settings: Any) -> "re.Pattern[str]":
    """Return a pattern that matches every secret of these settings, as JSON writes it."""
    sections = [getattr(settings, name) for name in type(settings).model_fields]
    values = [getattr(section, name) for section in sections for name in type(section).model_fields]
    secrets = {value.get_secret_value() for value in values if isinstance(value, SecretStr)}
    # Longest first: a secret may contain another, and the pattern takes its first alternative.
    written = sorted(
        (json.dumps(text)[1:-1] for text in secrets if len(text) >= _SHORTEST_SECRET), key=len, reverse=True
    )
    return re.compile("|".join(map(re.escape, written)) or r"(?!)")


def _error(record: logging.LogRecord, event: Any) -> str:
    """Return the traceback of a record, or the error of a failed step; empty if there is none."""
    if record.exc_info and record.exc_info[1]:
        return "".join(traceback.format_exception(record.exc_info[1]))[-LONGEST:]
    error = getattr(event.event_specific_data, "error", None) if event else None
    return str(error.to_string())[:LONGEST] if error else ""
