"""Whether a record was public where it was exported, by every sign that content systems give.

A sign that is unknown counts against it: nothing becomes public that was not. What happens to a record that was not
public belongs in ``database/imports.py``.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from threadjuice_dagster.domain.fields import day_of, folded, labels_in, nothing, shown, truth, word_set

_PUBLISHED = word_set(
    "published publish public live online active posted released visible listed enabled on yes true 1"
)
"""What a status may say of a story that was public."""
_EVERYBODY = word_set("public everyone everybody anyone all world open free visible listed published none yes true on")
"""What a visibility, an audience or a tier may say of a story that everybody could read."""

_STATUS = (
    "status poststatus entrystatus articlestatus contentstatus pagestatus state poststate contentstate workflowstate"
    " workflowstatus reviewstatus moderationstate moderationstatus publicationstate publicationstatus publishstatus"
    " publishingstatus"
)
_ACCESS = (
    "visibility postvisibility contentvisibility access accesslevel accesstype contentaccess audience privacy"
    " privacystatus tier accesstier membership membershiplevel plan"
)
_YES = (
    "published publish public live online currentlypublished active enabled visible listed free accessibleforfree"
    " approved released"
)
_SAYS_PUBLIC = word_set("published publish public live online currentlypublished")
_NO = (
    "draft unpublished private hidden unlisted delisted archived deleted trashed intrash trash expired disabled"
    " inactive pending inreview needsreview paid premium paidonly memberonly membersonly subscriberonly subscribersonly"
    " forsubscribers subscriptionrequired paywall paywalled locked passwordprotected protected password postpassword"
    " requireslogin loginrequired requiresauth authrequired restricted withdrawn retracted removed rejected suspended"
    " spam headless emailonly internal confidential deletedat deletedon deleteddate archivedat archivedon archiveddate"
    " trashedat removedat withdrawnat retractedat hiddenat deletedversion archivedversion"
)
_UNTIL = "embargo embargoed scheduled schedule future"
_FIRST = (
    "publishedat publishedon publisheddate publishdate publicationdate datepublished pubdate firstpublishedat"
    " firstpublicationdate firstpublisheddate"
)
"""Dates that a system fills in when it publishes a story."""
_STARTS = (
    "publishat publishon publishfrom publishup postdate postdategmt date createdat scheduledat scheduledfor scheduledon"
    " scheduleddate scheduledtime embargountil embargoeduntil embargodate embargoends goliveat golivedate releasedate"
    " releaseat releaseon availablefrom visiblefrom publicfrom activefrom validfrom"
)
_ENDS = (
    "expiresat expireson expires expireat expireon expirydate expiredate expirationdate expirationtime expiry"
    " expiration expiredat unpublishat unpublishon unpublishdate unpublishedat publishdown availableuntil availableto"
    " visibleuntil publicuntil activeuntil activeto validuntil validto takedownat takedowndate"
)
_INSIDE = word_set(
    "build sys system meta metadata attributes fields frontmatter publication publishing data workflow content"
)
"""Objects inside a record whose own signs count as well."""

Signs = Iterator[str]


def why_not_public(record: Mapping[str, Any], moment: datetime) -> str:
    """The first sign that a record was not public at a moment, as ``name: value``; empty where there is none.

    Shapes: a status or visibility in words or numbers, yes and no in any spelling, dates to come and dates that are
    over, an empty date of publication (unless something else says that the record was public), in the record and one
    level below.
    """
    return next(_signs(record, moment, below=True), "") if any(map(_matters, record)) else ""


def says_it_was_public(record: Mapping[str, Any]) -> bool:
    """Whether a status or a yes says so."""
    for key, value in record.items() if any(map(_matters, record)) else ():
        name = _name(key)
        if (name in _STATUS_NAMES and _word(value) in _PUBLISHED) or (name in _SAYS_PUBLIC and truth(value)):
            return True
    return False


def _signs(record: Mapping[str, Any], moment: datetime, *, below: bool) -> Iterator[str]:
    undated = ""
    for key, value in record.items():
        name = _name(key)
        if below and name in _INSIDE and isinstance(value, Mapping):
            yield from _signs(value, moment, below=False)
        elif (sign := _SIGNS.get(name)) and sign(value, moment):
            yield f"{shown(str(key), 40)}: {shown(value, 60)}"
        elif name in _FIRST_DATES and nothing(value):
            undated = undated or shown(str(key), 40)
        elif name in ("render", "list") and not below:
            if str(value).lower() in ("never", "false", "link", "local"):  # Hugo: in no list, or no page at all
                yield f"{key}: {shown(value, 60)}"
        elif name == "tiers" and value and not says_it_was_public(record) and _restricts(labels_in(value)):
            yield f"tiers: {shown(value, 60)}"
    if str(record.get("_id") or "").startswith("drafts."):
        yield f"_id: {shown(record['_id'], 60)}"
    if _is_contentful_draft(record):
        yield "it has no published version"
    if undated and not says_it_was_public(record):
        yield f"{undated} is empty"


@functools.lru_cache(maxsize=4096)
def _matters(key: Any) -> bool:
    """Whether a name is that of any sign: most records have none, and are not looked at."""
    name = _name(key)
    return name in _SIGNS or name in _INSIDE or name == "tiers" or key == "_id" or key == "contentType"


def _name(key: Any) -> str:
    """A name as the sets above have it: ``isDraft`` and ``draft`` are one."""
    name = folded(str(key))
    return name[2:] if name.startswith("is") else name


def _is_contentful_draft(record: Mapping[str, Any]) -> bool:
    """The management API of Contentful tells a draft by what it does not have."""
    return "version" in record and "contentType" in record and not record.keys() & {"publishedVersion", "publishedAt"}


def _status(value: Any, _: datetime) -> bool:
    """A word of a fixed set is public, any other is not; nothing said is no sign."""
    return any(_word(part) not in _PUBLISHED for part in _parts(value))


def _access(value: Any, _: datetime) -> bool:
    return _restricts(_parts(value))


def _restricts(words: Sequence[Any]) -> bool:
    return any(_word(word) not in _EVERYBODY for word in words)


def _parts(value: Any) -> list[Any]:
    return [part for part in (value if isinstance(value, list) else [value]) if _word(part)]


def _word(value: Any) -> str:
    if isinstance(value, Mapping):
        named = ("value", "name", "slug", "label", "status", "state", "code", "type", "id")
        value = next((value[name] for name in named if value.get(name) is not None), "unknown")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else folded(str(value)) or str(value).strip()


def _yes(value: Any, moment: datetime) -> bool:
    """Whether a yes is denied; some systems put a date or a status under the same name."""
    if value is None or value == "":
        return False
    if (answer := truth(value)) is not None:
        return not answer
    day = day_of(value)
    return day > moment if day else _status(value, moment)


def _no(value: Any, _: datetime) -> bool:
    """Whether anything but a no stands there, such as a yes, a password or the date of a deletion."""
    return not nothing(value) and truth(value) is not False


def _until(value: Any, moment: datetime) -> bool:
    """A day to come, or anything but a no."""
    day = day_of(value)
    return day > moment if day else _no(value, moment)


def _starts(value: Any, moment: datetime) -> bool:
    day = day_of(value)
    return day is not None and day > moment


def _ends(value: Any, moment: datetime) -> bool:
    if nothing(value) or truth(value) is False:
        return False
    day = day_of(value)
    return day is None or day <= moment


_STATUS_NAMES, _FIRST_DATES = word_set(_STATUS), word_set(_FIRST)
_GROUPS: tuple[tuple[str, Callable[[Any, datetime], bool]], ...] = (
    (_STATUS, _status),
    (_ACCESS, _access),
    (_YES, _yes),
    (_NO, _no),
    (_UNTIL, _until),
    (f"{_FIRST} {_STARTS}", _starts),
    (_ENDS, _ends),
)
_SIGNS = {name: sign for names, sign in _GROUPS for name in names.split()}
