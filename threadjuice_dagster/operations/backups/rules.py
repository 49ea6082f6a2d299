"""What a backup is, who vouches for it, when it is proven, and which backups are kept.

Taking one belongs in ``operations/backups/dump.py``, restoring one in ``operations/backups/restore.py``.
"""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.failures import ConfigurationError

PREFIX = "backups/"
"""Under which keys of the storage backups are; what else is there is none of theirs."""

NO_KEY = "BACKUP_ENCRYPTION_KEY is not set: backups are neither encrypted nor signed"

KEPT_DAYS, KEPT_MOST = 30, 5
"""How long the databases that restores put aside are kept, and how many of them beyond their first day."""

_ID = re.compile(r"\d{4}-\d\d-\d\dT\d{6}Z-[0-9a-f]{8}")
_RETENTION = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,4})w)?(?:(\d{1,4})m)?")


class TableFigures(Model):
    """Rows of a table and the sum of their 64-bit hashes, which does not depend on their order."""

    rows: int
    digest: str


class Contents(Model):
    """What a database holds: the migration it is at, and the figures of every table by its quoted name."""

    revision: str | None
    tables: Mapping[str, TableFigures]

    @property
    def rows(self) -> int:
        """Rows in all tables."""
        return sum(table.rows for table in self.tables.values())


class Manifest(Model):
    """A backup's label. It is stored last, so that only whole backups have one.

    ``sha256`` and ``bytes`` are of the stored file, ``dump_bytes`` of the plain dump. ``recipient`` is the public
    half of the key it is encrypted with, empty for none. ``contents`` were read in the dump's own snapshot. ``signed``
    says whether its signature is that of the key at hand, None where it carries none; it is found out, never stored.
    """

    id: str
    key: str
    taken_at: datetime
    database: str
    postgres: str
    tools: Mapping[str, Annotated[str, Field(pattern=r"^\d{1,3}(\.\d+)*")]]
    recipient: str
    sha256: str
    bytes: int
    dump_bytes: int
    seconds: float
    contents: Contents
    signed: bool | None = Field(None, exclude=True)

    @model_validator(mode="after")
    def _stays_in_its_folder(self) -> Self:
        if self.key != dump_key(self.id, self.recipient):
            raise ValueError("the dump is not in the backup's own folder")
        return self


class Record(Model):
    """What the database wrote down of a backup when it was taken, and what its restores showed."""

    sha256: str
    bytes: int
    taken_at: datetime
    run_id: str | None = None
    proven_at: datetime | None = None
    problem: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether a restore has shown what it is worth."""
        return self.proven_at is not None or bool(self.problem)


class Proof(Model):
    """What a real restore of a backup showed: an empty ``problem`` proves it."""

    at: datetime
    problem: str = ""
    differences: tuple[str, ...] = ()
    seconds: float = 0.0


class Backup(Model):
    """A backup in storage with what is known of it; ``is_ours`` says that a key or the database vouches for it."""

    manifest: Manifest
    proven_at: datetime | None = None
    problem: str = ""
    is_ours: bool = True


class RestorePlan(Model):
    """What a restore would do, and the token that has it done.

    ``leaves_behind`` are tables and extensions of the live database that are not the newsroom's: no backup holds them,
    they stay in the database that is kept. ``warning`` says why the backup deserves a second look.
    """

    backup: str
    taken_at: datetime
    database: str
    tables: int
    rows: int
    connections: int
    keeps: str
    token: str
    leaves_behind: tuple[str, ...] = ()
    warning: str = ""


class KeptDatabase(Model):
    """A database that a restore put aside."""

    name: str
    bytes: int


class Restored(Model):
    """A finished restore: ``kept`` names the database that was live before, empty if there was none."""

    backup: str
    database: str
    kept: str
    migrated_from: str | None
    revision: str
    rows: int
    seconds: float


class Retention(Model):
    """How many days, weeks and months keep a backup each; UTC days, ISO weeks."""

    days: int
    weeks: int
    months: int


def backup_id(moment: datetime, token: str) -> str:
    """``2026-03-01T030000Z-1a2b3c4d``: sorted by time, unique by its token of eight hexadecimal digits."""
    return f"{moment:%Y-%m-%dT%H%M%SZ}-{token}"


def manifest_key(identity: str) -> str:
    """The key of a backup's manifest."""
    return f"{PREFIX}{identity}/manifest.json"


def dump_key(identity: str, recipient: str) -> str:
    """The key of a backup's dump, encrypted for ``recipient`` unless that is empty."""
    return f"{PREFIX}{identity}/dump.zst{'.age' if recipient else ''}"


def dump_keys(identity: str) -> tuple[str, str]:
    """Both keys a backup's dump may have."""
    return dump_key(identity, ""), dump_key(identity, "age")


def signed_content(stored: Mapping[str, Any]) -> bytes:
    """What the signature of a stored manifest is over: all of it but the signature, in one form whatever its layout."""
    content = {name: value for name, value in stored.items() if name != "signature"}
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def id_of(key: str) -> str | None:
    """The backup a key of the storage belongs to, or None for a key that is no backup's."""
    identity = key.removeprefix(PREFIX).partition("/")[0]
    return identity if key.startswith(PREFIX) and _ID.fullmatch(identity) else None


def differences(expected: Contents, found: Contents) -> tuple[str, ...]:
    """What a restored database has otherwise than the manifest says, a line each."""
    lines = []
    if expected.revision != found.revision:
        lines.append(f"migration {found.revision or 'none'} instead of {expected.revision or 'none'}")
    for name in sorted({*expected.tables, *found.tables}):
        one, other = expected.tables.get(name), found.tables.get(name)
        if one is None or other is None:
            lines.append(f"{name} {'is missing' if other is None else 'should not be there'}")
        elif one.rows != other.rows:
            lines.append(f"{name} has {other.rows} rows instead of {one.rows}")
        elif one.digest != other.digest:
            lines.append(f"{name} has other contents in its {one.rows} rows")
    return tuple(lines)


def stored_otherwise(manifest: Manifest, sha256: str, size: int, others: Iterable[Manifest]) -> str:
    """Why the stored file is not the one the manifest was written for; empty if it is."""
    if sha256 == manifest.sha256 and size == manifest.bytes:
        return ""
    swapped = next((other.id for other in others if other.sha256 == sha256), None)
    if swapped:
        return f"It is the dump of another backup, {swapped}."
    if size < manifest.bytes:
        return f"The dump is cut short: {size:,} of {manifest.bytes:,} bytes are there."
    if size > manifest.bytes:
        return f"The dump was altered: it has {size:,} bytes instead of {manifest.bytes:,}."
    return "The dump was altered: its SHA-256 is not the manifest's."


def forgery(manifest: Manifest, recipient: str, record: Record | None) -> str:
    """Why a backup cannot be the one that was taken; empty if it can. ``recipient`` is that of the key at hand."""
    if record and any(getattr(record, name) != getattr(manifest, name) for name in ("sha256", "bytes", "taken_at")):
        return f"Backup {manifest.id} is not the one that was taken: the database recorded another dump or time."
    if recipient and manifest.recipient == recipient and manifest.signed is False:
        return f"Backup {manifest.id} was altered or forged: its manifest is not signed with BACKUP_ENCRYPTION_KEY."
    return ""


def unvouched(manifest: Manifest, recipient: str, record: Record | None, *, has_history: bool) -> str:
    """Why nothing says that a backup is ours; empty if a signature or the database does.

    While a key is set, a plain backup is refused whoever knows it. Without one, and where no database has a history of
    backups (``has_history``), there is nothing that could speak against any.
    """
    if recipient and not manifest.recipient:
        return f"Backup {manifest.id} is plain and unsigned, although BACKUP_ENCRYPTION_KEY is set."
    if manifest.signed or record or not (recipient or has_history):
        return ""
    return (
        f"Nothing vouches for backup {manifest.id}: it is not signed with this key, and the database does not know it."
    )


def doubt(manifest: Manifest, recipient: str, record: Record | None, *, has_history: bool) -> str:
    """What somebody who restores a backup should know of where it is from; empty for a signed one."""
    if manifest.signed:
        return ""
    known = f"Backup {manifest.id} is not signed; it is the one that this database recorded."
    unknown = f"Backup {manifest.id} is not signed: whoever can write to the storage may have made it."
    return unvouched(manifest, recipient, record, has_history=has_history) or (known if record else unknown)


def confirmation(manifest: Manifest, database: str, identity: str) -> str:
    """The token that confirms one restore: of this backup, over this database as it is now (``identity``)."""
    told = "\n".join((manifest.id, manifest.sha256, database, identity))
    return f"{database}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"


def parse_retention(text: str) -> Retention:
    """``7d4w12m`` as numbers; any part may be left out. Raises ``ConfigurationError``."""
    found = _RETENTION.fullmatch(text.strip().lower())
    days, weeks, months = (int(number or 0) for number in found.groups()) if found else (0, 0, 0)
    if not days + weeks + months:
        message = f"BACKUP_RETENTION should be days, weeks and months to keep (it is {text[:60]!r})."
        raise ConfigurationError(message, "Example: BACKUP_RETENTION=7d4w12m.")
    return Retention(days=days, weeks=weeks, months=months)


def expired(backups: Iterable[Backup], retention: Retention) -> list[Backup]:
    """Those to delete, oldest first: grandfather, father, son, among the backups older than the newest proven one.

    That one and all after it stay whatever the retention says, and so does everything while none is proven. The
    newest proven backup stands for its day, week and month; where none is proven, the newest. What nobody vouches for
    neither counts nor goes.
    """
    by_age = sorted((one for one in backups if one.is_ours), key=lambda backup: backup.manifest.taken_at)
    newest = max((place for place, backup in enumerate(by_age) if backup.proven_at), default=0)
    settled = by_age[: newest + 1]
    keeping = {by_age[newest].manifest.id} if by_age else set()
    rules: Sequence[tuple[int, Callable[[datetime], tuple[int, ...]]]] = (
        (retention.days, lambda day: (day.year, day.month, day.day)),
        (retention.weeks, lambda day: tuple(day.isocalendar())[:2]),
        (retention.months, lambda day: (day.year, day.month)),
    )
    for count, period in rules:
        best: dict[tuple[int, ...], Backup] = {}
        for backup in settled:
            held = best.get(period(backup.manifest.taken_at))
            if held is None or backup.proven_at or not held.proven_at:
                best[period(backup.manifest.taken_at)] = backup
        keeping |= {best[one].manifest.id for one in sorted(best, reverse=True)[:count]}
    return [backup for backup in settled if backup.manifest.id not in keeping]


def kept_stem(live: str) -> str:
    """How the names of all databases begin that restores of ``live`` put aside; PostgreSQL cuts names at 63 bytes."""
    return f"{live[:38]}_before_"


def kept_name(live: str, moment: datetime, taken: Collection[str] = ()) -> str:
    """Name the database that a restore puts aside, after the second it does so, or the next one not ``taken``."""
    while (name := f"{kept_stem(live)}{moment:%Y%m%dT%H%M%SZ}") in taken:
        moment += timedelta(seconds=1)
    return name


def kept_since(name: str, live: str) -> datetime | None:
    """When a restore of ``live`` put this database aside; None if it is not one of those."""
    found = re.fullmatch(re.escape(kept_stem(live)) + r"(\d{8}T\d{6}Z)", name)
    return datetime.strptime(found[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) if found else None


def outlived(names: Iterable[str], live: str, now: datetime) -> list[str]:
    """Databases put aside by restores that are to go, oldest first: those that are old, and those that are too many.

    None goes on its first day, however many restores that day sees.
    """
    since = sorted((moment, name) for name in names if (moment := kept_since(name, live)))
    beyond = since[:-KEPT_MOST]
    return [
        name
        for moment, name in since
        if now - moment > timedelta(days=KEPT_DAYS) or ((moment, name) in beyond and now - moment > timedelta(days=1))
    ]
