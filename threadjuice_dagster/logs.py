"""Structured logs: what runs log, one JSON object per line, in one file per UTC day under ``THREADJUICE_HOME/logs``.

``dagster.yaml`` names the handler. Which loggers reach it, and from what level on, is said there as well.
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

from threadjuice_dagster.settings import SECTIONS, read_settings

KEPT = timedelta(days=30)
"""Age at which a day's file is deleted."""

LONGEST = 20_000
"""Characters of a message or traceback; more is cut off."""

_LOGIN = re.compile(r"//[^/@\s]*@")
_SHORTEST_SECRET = 6
_HIDDEN = "[hidden]"


class JsonLines(logging.Handler):
    """Appends each record as one line, in one write, so that lines of several processes never mix.

    A log that cannot be written is nobody's failure: whatever goes wrong here is left at that.
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
        except Exception:  # noqa: S110 -- a run must not fail because of what is said about it
            pass

    def _prepared(self, day: date) -> Path:
        """The folder, there and tidied up; done anew only when a day begins."""
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
    """Files to delete on a day: older than ``KEPT``, counted from the day after the newest one where that is less.

    A clock that is suddenly a month ahead deletes no more than tomorrow would.
    """
    files = sorted(path for path in folder.glob("????-??-??.jsonl") if path.stem < f"{day:%Y-%m-%d}")
    with contextlib.suppress(ValueError, IndexError):
        day = min(day, date.fromisoformat(files[-1].stem) + timedelta(days=1))
    return [path for path in files if path.stem < f"{day - KEPT:%Y-%m-%d}"]


def as_document(record: logging.LogRecord, moment: datetime) -> dict[str, Any]:
    """A record as it is written. What belongs to no run has no ``run_id``, ``job``, ``step`` or ``partition``."""
    context = getattr(record, "dagster_meta", None) or {}
    tags, event = context.get("job_tags") or {}, context.get("dagster_event")
    known = {
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
        **{name: value for name, value in known.items() if value},
    }


def secrets_in(settings: Any) -> "re.Pattern[str]":
    """What finds the value of any secret of these settings, as it is written in JSON."""
    sections = [getattr(settings, name) for name in type(settings).model_fields]
    values = [getattr(one, name) for one in sections for name in type(one).model_fields if isinstance(one, SECTIONS)]
    known = {value.get_secret_value() for value in values if isinstance(value, SecretStr)}
    found = sorted((json.dumps(one)[1:-1] for one in known if len(one) >= _SHORTEST_SECRET), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, found)) or r"(?!)")


def _error(record: logging.LogRecord, event: Any) -> str:
    """The traceback that came with a record, or the error of a failed step."""
    if record.exc_info and record.exc_info[1]:
        return "".join(traceback.format_exception(record.exc_info[1]))[-LONGEST:]
    error = getattr(event.event_specific_data, "error", None) if event else None
    return str(error.to_string())[:LONGEST] if error else ""
