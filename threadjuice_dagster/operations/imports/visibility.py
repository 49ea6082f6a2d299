"""Decides whether a record was public in the system that exported it, by every sign that content systems give.

An unknown sign counts as not public, so that nothing becomes public that was not. What happens to a record that was
not public belongs in ``operations/imports/store.py``.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from threadjuice_dagster.operations.imports.fields import day_of, folded, labels_in, nothing, shown, truth, word_set

_PUBLISHED = word_set(
    "published publish public live online active posted released usable visible listed enabled on yes true 1"
)
"""Values of a status that say that a story was public."""
_EVERYBODY = word_set("public everyone everybody anyone all world open free visible listed published none yes true on")
"""Values of a visibility, an audience or a tier that say that everybody could read a story."""

_REVIEWED = _PUBLISHED | word_set("approved accepted passed reviewed ok done complete completed")
"""Values of a review that do not speak against a story; they do not say that it was public either."""
_KINDS = word_set("draft revision autosave autodraft trash template")
"""Types of records that have no page of their own."""

_OF_WHAT = " post entry article content page story news item doc document publication publish published publishing pub"
_OF_WHAT += " workflow editorial creativework lifecycle current"
_NOUNS = ("status", "state", "stage", "step")
_STATUS = " ".join(("workflow", *(f"{of}{noun}" for of in _OF_WHAT.split(" ") for noun in _NOUNS)))
_REVIEW = " ".join(f"{of}{noun}" for of in ("review", "moderation", "approval") for noun in _NOUNS)
_KIND = "type posttype recordtype layout kind"
_ACCESS = (
    "visibility postvisibility contentvisibility access accesslevel accesstype contentaccess audience privacy"
    " privacystatus tier accesstier membership membershiplevel subscription subscriptionlevel plan security emailtype"
    " visibleto viewableby readableby whocanview whocanread availableto restrictedto"
)
_YES = (
    "published publish public live online currentlypublished active enabled enabledforsite visible listed free"
    " accessibleforfree approved released routable discoverable readytopublish readyforpublication"
)
_SAYS_PUBLIC = word_set("published publish public live online currentlypublished")
_NO = (
    "draft unpublished private hidden hiddenfromfeed unlisted delisted archived archivedindashboard deleted softdeleted"
    " trashed intrash trash expired disabled inactive pending inreview needsreview notpublished notforpublication"
    " donotpublish neverpublish nopublish wip workinprogress unfinished paid paidonly paidcontent paidpost premium"
    " premiumonly premiumcontent memberonly membersonly memberscontent subscriberonly subscribersonly subscribercontent"
    " forsubscribers subscriptionrequired requiressubscription requiresmembership requirespayment paywall paywalled"
    " pricingplanids mincentspledgedtoview locked passwordprotected protected password postpassword requireslogin"
    " loginrequired requiresauth authrequired restricted readrestricted publicaccessrulesenabled allowedroles"
    " allowedgroups usersegmentid fegroup withdrawn retracted removed rejected suspended spam headless emailonly"
    " internal confidential deletedat deletedon deleteddate archivedat archivedon archiveddate trashedat removedat"
    " withdrawnat retractedat hiddenat discardedat deletedversion archivedversion"
)
_UNTIL = (
    "embargo embargoed scheduled schedule future publishscheduled scheduledat scheduledfor scheduledon scheduleddate"
    " scheduledtime scheduledpublishat scheduledpublishdate scheduledpublishtime publicationscheduledat embargountil"
    " embargoeduntil embargodate embargoends goliveat golivedate availablefrom visiblefrom publicfrom activefrom"
)
"""Dates of a plan. Anything but a date there, such as *next week*, counts as still to come."""
_FIRST = (
    "publishedat publishedon publisheddate publishedtime publishdate publicationdate publicationtime datepublished"
    " datetimepublished pubdate firstpublished firstpublishedat firstpublicationdate firstpublisheddate lastpublished"
    " lastpublishedat publishedversion publishdetails"
)
"""Fields that a system fills in when it publishes a story."""
_STARTS = (
    "publishat publishon publishfrom publishup publishtime publishingdate datepublish postdate postdategmt date dategmt"
    " displaydate createdat releasedate releaseat releaseon launchdate validfrom starttime startdate startsat startson"
    " effective effectivedate"
)
_ENDS = (
    "expiresat expireson expires expireat expireon expirydate expiredate expirationdate expirationtime expiry"
    " expiration expiredat unpublishat unpublishon unpublishdate unpublishedat publishdown datedepublish depublishat"
    " depublishedat availableuntil visibleuntil publicuntil activeuntil activeto validuntil validto endtime enddate"
    " endsat endson takedownat takedowndate"
)
_INSIDE = word_set(
    "build sys system meta metadata attributes fields properties frontmatter publication publishing data workflow"
    " content settings preferences options flags control"
)
"""Objects inside a record whose signs count as well."""
_DEEPEST = 3

Signs = Iterator[str]


def why_not_public(record: Mapping[str, Any], moment: datetime) -> str:
    """Return the first sign that a record was not public at a moment, as ``name: value``, or an empty string.

    Signs are a status or visibility, a yes or no in any spelling, a date of start to come, a date of end that is over,
    and an empty date of publication unless something else says that the record was public. They are looked for in the
    record and in the objects inside it.
    """
    return next(_signs(record, moment), "") if any(map(_matters, record)) else ""


def says_it_was_public(record: Mapping[str, Any]) -> bool:
    """Whether a status or a yes says that a record was public."""
    for key, value in record.items() if any(map(_matters, record)) else ():
        name = _name(key)
        if (name in _STATUS_NAMES and _word(value) in _PUBLISHED) or (name in _SAYS_PUBLIC and truth(value)):
            return True
    return False


def _signs(record: Mapping[str, Any], moment: datetime, depth: int = 0) -> Iterator[str]:
    undated = ""
    for key, value in record.items():
        name = _name(key)
        if depth < _DEEPEST and name in _INSIDE and isinstance(value, Mapping):
            yield from _signs(value, moment, depth + 1)
        elif (sign := _SIGNS.get(name)) and sign(value, moment):
            yield f"{shown(str(key), 40)}: {shown(value, 60)}"
        elif name in _FIRST_DATES and nothing(value):
            undated = undated or shown(str(key), 40)
        elif name in _PAGE and (depth or name != "list"):
            if str(value).lower() in ("never", "false", "link", "local"):  # in no list, or no page at all
                yield f"{key}: {shown(value, 60)}"
        elif name == "tiers" and value and not says_it_was_public(record) and _restricts(labels_in(value)):
            yield f"tiers: {shown(value, 60)}"
    if str(record.get("_id") or "").startswith(("drafts.", "versions.")):
        yield f"_id: {shown(record['_id'], 60)}"
    if _is_contentful_draft(record):
        yield "it has no published version"
    if undated and not says_it_was_public(record):
        yield f"{undated} is empty"


@functools.lru_cache(maxsize=4096)
def _matters(key: Any) -> bool:
    """Whether a name is that of a sign. Most records have none, so that they need not be examined."""
    name = _name(key)
    is_sign = name in _SIGNS or name in _INSIDE or name in _FIRST_DATES or name in _PAGE
    return is_sign or name == "tiers" or key == "_id" or key == "contentType"


def _name(key: Any) -> str:
    """Return a name as the sets above spell it: ``isDraft``, ``draft_flag`` and ``wp:draft`` become ``draft``."""
    name = folded(str(key).rpartition(":")[2]).removesuffix("flag")
    return next((name[len(start) :] for start in ("is", "has", "wp") if name.startswith(start)), name)


def _is_contentful_draft(record: Mapping[str, Any]) -> bool:
    """Whether a record is a draft of Contentful's management API, which marks drafts only by missing fields."""
    return "version" in record and "contentType" in record and not record.keys() & {"publishedVersion", "publishedAt"}


def _status(value: Any, _: datetime) -> bool:
    """Whether a status speaks against a story: it is not empty and not one of the public words."""
    return any(_word(part) not in _PUBLISHED for part in _parts(value))


def _review(value: Any, _: datetime) -> bool:
    return any(_word(part) not in _REVIEWED for part in _parts(value))


def _kind(value: Any, _: datetime) -> bool:
    return any(_word(part) in _KINDS for part in _parts(value))


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
    """Whether a field that says yes for public stories says no. Some systems put a date or a status there."""
    if value is None or value == "":
        return False
    if (answer := truth(value)) is not None:
        return not answer
    day = day_of(value)
    return day > moment if day else _status(value, moment)


def _no(value: Any, _: datetime) -> bool:
    """Whether a field that is empty or no for public stories holds anything else, such as a password."""
    return not nothing(value) and truth(value) is not False


def _until(value: Any, moment: datetime) -> bool:
    """Whether a plan's field holds a day to come, or anything else but no."""
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


_STATUS_NAMES, _FIRST_DATES, _PAGE = word_set(_STATUS), word_set(_FIRST), word_set("render list permalink")
_GROUPS: tuple[tuple[str, Callable[[Any, datetime], bool]], ...] = (
    (_STATUS, _status),
    (_REVIEW, _review),
    (_KIND, _kind),
    (_ACCESS, _access),
    (_YES, _yes),
    (_NO, _no),
    (_UNTIL, _until),
    (f"{_FIRST} {_STARTS}", _starts),
    (_ENDS, _ends),
)
_SIGNS = {name: sign for names, sign in _GROUPS for name in names.split()}
