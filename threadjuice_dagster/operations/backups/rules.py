"""What a backup is, whether it is ours, and which backups are kept. No I/O and no clock.

Taking a backup belongs in ``operations/backups/dump.py``, restoring one in ``operations/backups/restore.py``.
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
"""The keys of backups in storage begin with this; a key of another form under it is no backup's."""

NO_KEY = "BACKUP_ENCRYPTION_KEY is not set: backups are neither encrypted nor signed"

KEPT_DAYS, KEPT_MOST = 30, 5
"""How many days a database that a restore put aside is kept, and how many older than a day are kept at most."""

_ID = re.compile(r"\d{4}-\d\d-\d\dT\d{6}Z-[0-9a-f]{8}")
_RETENTION = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,4})w)?(?:(\d{1,4})m)?")


class TableContents(Model):
    """The number of rows of a table and the sum of their 64-bit hashes, which does not depend on their order."""

    rows: int
    digest: str


class Contents(Model):
    """The contents of a database: its migration, and the figures of every table by its quoted name."""

    revision: str | None
    tables: Mapping[str, TableContents]

    @property
    def rows(self) -> int:
        """The rows of all tables together."""
        return sum(table.rows for table in self.tables.values())


class Manifest(Model):
    """The description of a backup. It is stored last, so only a complete backup has one.

    ``sha256`` and ``bytes`` are of the stored file, ``dump_bytes`` of the plain dump. ``recipient`` is the public
    half of the key it is encrypted with, empty for none. ``contents`` were read in the dump's own snapshot. ``signed``
    says whether the signature was made with the key at hand, None where there is none; it is computed, never stored.
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
    signed: bool | None = Field(default=None, exclude=True)

    @model_validator(mode="after")
    def _check_folder(self) -> Self:
        if self.key != dump_key(self.id, self.recipient):
            raise ValueError("the dump is not in the backup's own folder")
        return self


class Record(Model):
    """The database's row about a backup: what was taken, and what its restores showed."""

    sha256: str
    bytes: int
    taken_at: datetime
    run_id: str | None = None
    proven_at: datetime | None = None
    problem: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether a restore has proven or refuted the backup."""
        return self.proven_at is not None or bool(self.problem)


class Proof(Model):
    """The result of restoring a backup into a scratch database: an empty ``problem`` proves it."""

    at: datetime
    problem: str = ""
    differences: tuple[str, ...] = ()
    seconds: float = 0.0


class Origin(Model):
    """What signature and database say about who made a backup; each field is empty or a sentence.

    ``forged`` excludes that it is ours. ``unverified`` says that nothing confirms it. ``warning`` is for an operator
    who restores or lists it.
    """

    forged: str = ""
    unverified: str = ""
    warning: str = ""

    @property
    def problem(self) -> str:
        """Why the backup is not restored unasked; empty if it is."""
        return self.forged or self.unverified


class Backup(Model):
    """A backup in storage; ``is_ours`` says that a key or the database confirms it."""

    manifest: Manifest
    proven_at: datetime | None = None
    problem: str = ""
    warning: str = ""
    is_ours: bool = True


class RestorePlan(Model):
    """What a restore would do, and the token that confirms it.

    ``leaves_behind`` are tables and extensions of the live database that are not the newsroom's: no backup holds them,
    they stay in the database that is put aside.
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
    """For how many days (UTC), weeks (ISO) and months one backup each is kept."""

    days: int
    weeks: int
    months: int


def backup_id(moment: datetime, token: str) -> str:
    """Return ``2026-03-01T030000Z-1a2b3c4d``: sorted by time, unique by its token of eight hexadecimal digits."""
    return f"{moment:%Y-%m-%dT%H%M%SZ}-{token}"


def manifest_key(identity: str) -> str:
    """Return the key of a backup's manifest."""
    return f"{PREFIX}{identity}/manifest.json"


def dump_key(identity: str, recipient: str) -> str:
    """Return the key of a backup's dump, encrypted for ``recipient`` unless that is empty."""
    return f"{PREFIX}{identity}/dump.zst{'.age' if recipient else ''}"


def dump_keys(identity: str) -> tuple[str, str]:
    """Return both keys that a backup's dump may have."""
    return dump_key(identity, ""), dump_key(identity, "age")


def signed_content(stored: Mapping[str, Any]) -> bytes:
    """Return the bytes that the signature of a stored JSON object covers: all fields but itself, in one layout."""
    content = {name: value for name, value in stored.items() if name != "signature"}
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def id_of(key: str) -> str | None:
    """Return the id of the backup that a key of the storage belongs to, None if the key is no backup's."""
    identity = key.removeprefix(PREFIX).partition("/")[0]
    return identity if key.startswith(PREFIX) and _ID.fullmatch(identity) else None


def differences(expected: Contents, restored: Contents) -> tuple[str, ...]:
    """Return how a restored database differs from its manifest, a line for each difference."""
    lines = []
    if expected.revision != restored.revision:
        lines.append(f"migration {restored.revision or 'none'} instead of {expected.revision or 'none'}")
    for name in sorted({*expected.tables, *restored.tables}):
        before, after = expected.tables.get(name), restored.tables.get(name)
        if before is None or after is None:
            lines.append(f"{name} {'is missing' if after is None else 'should not be there'}")
        elif before.rows != after.rows:
            lines.append(f"{name} has {after.rows} rows instead of {before.rows}")
        elif before.digest != after.digest:
            lines.append(f"{name} has other contents in its {before.rows} rows")
    return tuple(lines)


def stored_otherwise(manifest: Manifest, sha256: str, size: int, others: Iterable[Manifest]) -> str:
    """Return why the stored file is not the one the manifest was written for; empty if it is."""
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


def check_origin(manifest: Manifest, recipient: str, record: Record | None, *, has_history: bool) -> Origin:
    """Return what is known about who made a backup. ``recipient`` is that of the key at hand, empty without one.

    While a key is set, a plain backup is unverified even if the database recorded it. Without a key, and where no
    database has a history of backups (``has_history``), nothing could verify a backup, so none is called unverified.
    """
    name = f"Backup {manifest.id}"
    if record and any(getattr(record, field) != getattr(manifest, field) for field in ("sha256", "bytes", "taken_at")):
        return Origin(forged=f"{name} is not the one that was taken: the database recorded another dump or time.")
    if recipient and manifest.recipient == recipient and manifest.signed is False:
        return Origin(forged=f"{name} was altered or forged: its manifest is not signed with BACKUP_ENCRYPTION_KEY.")
    unverified = ""
    if recipient and not manifest.recipient:
        unverified = f"{name} is plain and unsigned, although BACKUP_ENCRYPTION_KEY is set."
    elif not (manifest.signed or record) and (recipient or has_history):
        unverified = (
            f"Nothing verifies backup {manifest.id}: this key did not sign it, and the database has no record of it."
        )
    if manifest.signed or unverified:
        return Origin(unverified=unverified, warning=unverified)
    if not record:
        return Origin(warning=f"{name} is not signed: whoever can write to the storage may have made it.")
    if manifest.recipient and manifest.signed is None:
        return Origin(
            warning=f"{name} is encrypted, but its manifest has no signature. Somebody removed it, or a version that "
            "did not sign took the backup. Its dump is the one that this database recorded."
        )
    return Origin(warning=f"{name} is not signed; it is the one that this database recorded.")


def confirmation(manifest: Manifest, database: str, identity: str) -> str:
    """Return the token that confirms restoring this backup over this database as it is now (``identity``)."""
    subject = "\n".join((manifest.id, manifest.sha256, database, identity))
    return f"{database}-{hashlib.sha256(subject.encode()).hexdigest()[:12]}"


def parse_retention(text: str) -> Retention:
    """Parse ``7d4w12m``, of which any part may be left out. Raises ``ConfigurationError``."""
    match = _RETENTION.fullmatch(text.strip().lower())
    days, weeks, months = (int(number or 0) for number in match.groups()) if match else (0, 0, 0)
    if not days + weeks + months:
        message = f"BACKUP_RETENTION should be days, weeks and months to keep (it is {text[:60]!r})."
        raise ConfigurationError(message, "Example: BACKUP_RETENTION=7d4w12m.")
    return Retention(days=days, weeks=weeks, months=months)


def expired(backups: Iterable[Backup], retention: Retention) -> list[Backup]:
    """Return the backups to delete, oldest first.

    One backup each is kept for the last days, weeks and months: the newest proven one of that time, or the newest
    where none is proven. The newest proven backup and all after it stay in any case; so do all while none is proven.
    Backups that are not ours neither count nor go.
    """
    by_age = sorted((backup for backup in backups if backup.is_ours), key=lambda backup: backup.manifest.taken_at)
    newest = max((place for place, backup in enumerate(by_age) if backup.proven_at), default=0)
    settled = by_age[: newest + 1]
    keeping = {by_age[newest].manifest.id} if by_age else set()
    periods: Sequence[tuple[int, Callable[[datetime], tuple[int, ...]]]] = (
        (retention.days, lambda day: (day.year, day.month, day.day)),
        (retention.weeks, lambda day: tuple(day.isocalendar())[:2]),
        (retention.months, lambda day: (day.year, day.month)),
    )
    for count, period_of in periods:
        best: dict[tuple[int, ...], Backup] = {}
        for backup in settled:
            period = period_of(backup.manifest.taken_at)
            if backup.proven_at or period not in best or not best[period].proven_at:
                best[period] = backup
        keeping |= {best[period].manifest.id for period in sorted(best, reverse=True)[:count]}
    return [backup for backup in settled if backup.manifest.id not in keeping]


def kept_stem(live: str) -> str:
    """Return how the names of the databases begin that restores of ``live`` put aside.

    PostgreSQL cuts names at 63 bytes.
    """
    return f"{live[:38]}_before_"


def kept_name(live: str, moment: datetime, taken: Collection[str] = ()) -> str:
    """Name the database that a restore puts aside after this second, or after the next one that is not ``taken``."""
    while (name := f"{kept_stem(live)}{moment:%Y%m%dT%H%M%SZ}") in taken:
        moment += timedelta(seconds=1)
    return name


def kept_since(name: str, live: str) -> datetime | None:
    """Return when a restore of ``live`` put this database aside; None if it is not one of those."""
    match = re.fullmatch(re.escape(kept_stem(live)) + r"(\d{8}T\d{6}Z)", name)
    return datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) if match else None


def outlived(names: Iterable[str], live: str, now: datetime) -> list[str]:
    """Return the databases put aside by restores that are to be dropped, oldest first.

    Those over ``KEPT_DAYS`` old go, and of those over a day old all but the newest ``KEPT_MOST`` of all.
    """
    dated = sorted((moment, name) for name in names if (moment := kept_since(name, live)))
    beyond = len(dated) - KEPT_MOST
    return [
        name
        for place, (moment, name) in enumerate(dated)
        if now - moment > timedelta(days=KEPT_DAYS if place >= beyond else 1)
    ]
