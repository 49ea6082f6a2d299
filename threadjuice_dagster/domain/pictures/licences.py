"""The terms of each picture provider as data, and whether a picture keeps to them; names and deeds of licences.

Asking providers and making the calls that their terms want belong in ``resources/picture_providers.py``;
turning a credit line into HTML in ``site/``.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from threadjuice_dagster.domain.judging.gates import GateFinding
from threadjuice_dagster.domain.pictures.images import Credited, Licence, StoryImage

PUBLIC_DOMAIN = frozenset({"cc0", "pdm"})
"""Licence codes that do not ask for a credit."""

_DEEDS = {"by": "licenses/by", "by-sa": "licenses/by-sa", "cc0": "publicdomain/zero", "pdm": "publicdomain/mark"}
_DEED = re.compile(
    r"https?://(?:www\.)?creativecommons\.org/(licenses/[a-z+-]+|publicdomain/[a-z]+)(?:/(\d\.\d))?(?:[/?#]\S*)?", re.I
)
_NO_COMMERCE = re.compile(r"(?<![a-z])(?:cc|by|sa|nd)*nc|non\W?comm")
_NO_CHANGES = re.compile(r"(?<![a-z])(?:cc|by|nc|sa)*nd(?![a-z])|no\W?deriv")
_NAMES = {"own": "ThreadJuice", "unsplash": "Unsplash Licence", "cc0": "CC0", "pdm": "Public Domain Mark"}


@dataclasses.dataclass(frozen=True)
class CreditPart:
    """A piece of a credit line: the words before it, its text, and where the text leads.

    In a policy, text and address hold fields such as ``{creator}``; in a line they are filled in. A part whose
    text stays empty is left out of the line, which only the licences in ``waived`` allow; a ``linked`` one has
    to lead somewhere. ``rel`` is the link's relation in HTML.
    """

    before: str = ""
    text: str = ""
    address: str = ""
    linked: bool = False
    waived: frozenset[str] = frozenset()
    rel: str = "nofollow"


@dataclasses.dataclass(frozen=True)
class Policy:
    """A provider's terms. ``licences`` are the codes its pictures may carry.

    ``unattended`` says whether software may choose pictures alone, ``ads`` whether they may stand beside
    advertising, ``reports_use`` whether the provider has to be told of each use, and ``referral`` which
    parameters every link of the credit carries.
    """

    delivery: Literal["hotlink", "rehost"]
    credit: tuple[CreditPart, ...]
    licences: frozenset[str]
    unattended: Literal["yes", "by agreement"] = "yes"
    ads: bool = True
    reports_use: bool = False
    referral: Mapping[str, str] = dataclasses.field(default_factory=dict)


_LICENCE = CreditPart(", ", "{licence}", "{deed}", linked=True, rel="license nofollow")

POLICIES: dict[str, Policy] = {
    # Title, author, source and licence, and that the picture was changed: section 3(a) of CC BY 4.0.
    "openverse": Policy(
        delivery="rehost",
        credit=(
            CreditPart("", "“{title}”", "{source_url}", linked=True),
            CreditPart(" by ", "{creator}", "{creator_url}", waived=PUBLIC_DOMAIN),
            _LICENCE,
            CreditPart(", ", "resized"),
        ),
        licences=frozenset(_DEEDS),
    ),
    # Unsplash's API guidelines, help.unsplash.com articles 2511245, 2511256 and 2511271.
    "unsplash": Policy(
        delivery="hotlink",
        credit=(
            CreditPart("Photo by ", "{creator}", "{creator_url}", linked=True),
            CreditPart(" on ", "Unsplash", "https://unsplash.com/?utm_source=threadjuice&utm_medium=referral"),
        ),
        licences=frozenset({"unsplash"}),
        unattended="by agreement",
        ads=False,
        reports_use=True,
        referral={"utm_source": "threadjuice", "utm_medium": "referral"},
    ),
    "title_card": Policy(delivery="rehost", credit=(CreditPart("", "{credit}"),), licences=frozenset({"own"})),
}
"""The terms by provider. Pictures of any other provider are refused, since nobody has read its terms."""

_UNREAD = (CreditPart("", "{credit}"), dataclasses.replace(_LICENCE, before=" · "))


def licence_finding(image: StoryImage) -> GateFinding:
    """Return the finding of the gate on a story's picture."""
    problem = licence_problem(image)
    return GateFinding(
        problem is None, problem or "Licensed for this use, credited and delivered as its provider asks."
    )


def licence_problem(image: StoryImage) -> str | None:
    """Return why this picture must not be published under its provider's terms, or None."""
    policy = POLICIES.get(image.provider)
    if policy is None:
        return f"nobody has read the terms of {image.provider or 'its provider'}; known are {', '.join(POLICIES)}"
    copied = policy.delivery == "hotlink" and any(variant.key for variant in image.variants)
    if image.delivery != policy.delivery or copied:
        where = "from the provider's own address" if policy.delivery == "hotlink" else "from our own storage"
        return f"a picture of {image.provider} must be shown {where}"
    problem = terms_problem(image, policy)
    if problem is None and not image.credit.strip():
        problem = "the picture has no credit line"
    if problem is None and policy.reports_use and image.use_reported_at is None:
        problem = f"{image.provider} was not told that its picture is used"
    return problem


def terms_problem(work: Credited, policy: Policy) -> str | None:
    """Return why licence or credit of a picture do not meet a provider's terms, or None."""
    return _licence_flaw(work.licence, policy.licences) or _credit_flaw(work, policy)


def credit_line(work: Credited, provider: str) -> tuple[CreditPart, ...]:
    """Return the parts of the credit as the provider asks for it; for an unknown provider the stored one."""
    policy = POLICIES.get(provider)
    parts = (_filled(part, work) for part in (policy.credit if policy else _UNREAD))
    return tuple(part for part in parts if part.text)


def credit_text(work: Credited, provider: str) -> str:
    """Return the credit line without its links."""
    return "".join(part.before + part.text for part in credit_line(work, provider))


def licence_from(code: str) -> Licence:
    """Return the licence that a code with its version names, such as ``cc-by-sa-4.0`` or ``cc0-1.0``."""
    named = re.fullmatch(r"(?:cc-)?(\w+(?:-[a-z]+)*?)(?:-(\d\.\d))?", code.strip().lower())
    return Licence(code=named[1], version=named[2] or "") if named else Licence(code=code)


def licence_name(licence: Licence) -> str:
    """Return a licence as people write it: ``CC BY-SA 4.0``, ``CC0 1.0``, ``Unsplash Licence``."""
    code = licence.code.strip().lower()
    name = _NAMES.get(code) or (f"CC {code.upper()}" if code.startswith("by") else code.upper())
    return name if code in ("own", "unsplash") else f"{name} {_version(licence)}".strip()


def deed_url(licence: Licence) -> str:
    """Return the address of the licence's text: the one that came with it, else Creative Commons', else nothing."""
    deed, version = _DEEDS.get(licence.code.strip().lower()), _version(licence)
    if licence.url or not deed or not re.fullmatch(r"\d\.\d", version):
        return licence.url
    return f"https://creativecommons.org/{deed}/{version}/"


def _version(licence: Licence) -> str:
    """Return the stated version, else the one in the deed's address; CC0 and the mark have only 1.0."""
    named = _DEED.fullmatch(licence.url)
    only = "1.0" if licence.code.strip().lower() in PUBLIC_DOMAIN else ""
    return licence.version.strip() or (named and named[2]) or only


def _licence_flaw(licence: Licence, allowed: frozenset[str]) -> str | None:
    code, named = licence.code.strip().lower(), _DEED.fullmatch(licence.url)
    if not code:
        return "the picture has no licence"
    for code_or_deed in (code, named[1].lower().partition("/")[2] if named else ""):
        if _NO_COMMERCE.search(code_or_deed):
            return f"the licence {code_or_deed} forbids commercial use"
        if _NO_CHANGES.search(code_or_deed):
            return f"the licence {code_or_deed} forbids adaptations, such as other sizes"
    if code not in allowed:
        return f"the licence {code} is not one of {', '.join(sorted(allowed))}"
    agrees = named and named[1].lower() == _DEEDS.get(code) and named[2] in (None, _version(licence))
    if code in _DEEDS and licence.url and not agrees:
        return f"its licence is {licence_name(licence)}, but the address of the licence is another's"
    return None


def _credit_flaw(work: Credited, policy: Policy) -> str | None:
    for part in policy.credit:
        name, filled = re.sub(r"\W", "", part.text), _filled(part, work)
        if not filled.text and work.licence.code.strip().lower() not in part.waived:
            return f"the credit has no {name}"
        if part.linked and not _leads_out(filled.address, policy.referral):
            return f"the {name} in the credit has no link" + (" with a referral" if policy.referral else "")
    return None


def _leads_out(address: str, referral: Mapping[str, str]) -> bool:
    if not re.match(r"https?://[^\s/?#]", address):
        return False
    return set(referral.items()) <= set(parse_qsl(urlsplit(address).query))


def _filled(part: CreditPart, work: Credited) -> CreditPart:
    fields = work.model_dump(include={"creator", "creator_url", "source_url", "credit"})
    fields = {name: value.strip() for name, value in fields.items()}
    fields |= {"title": work.title.strip() or "Untitled"}
    fields |= {"licence": licence_name(work.licence), "deed": deed_url(work.licence)}
    return dataclasses.replace(part, text=part.text.format_map(fields), address=part.address.format_map(fields))
