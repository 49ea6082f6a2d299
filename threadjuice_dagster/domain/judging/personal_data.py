"""Finds personal data: telephone, e-mail, card, bank account and social security numbers, home addresses.

Check digits are verified. The data itself is never repeated in a message. What a finding means for a story is decided
in ``domain/judging/moderation.py``.
"""

import re
from collections.abc import Iterator

_EMAIL = re.compile(
    r"(?<![\w.+-])[\w.+-]{1,64}(?:@| ?[\[(](?:at|@)[\])] ?)[\w-]{1,63}(?:(?:\.| ?[\[(]dot[\])] ?)[\w-]{1,63})*"
    r"(?:\.| ?[\[(]dot[\])] ?)[a-z]{2,}",
    re.IGNORECASE,
)
_SHORTEST_NUMBER, _SHORTEST_IBAN = 7, 15
"""Digits of a telephone number, characters of an account number."""

_REGIONS = ("US", "GB", "DE")
"""Countries whose national way of writing telephone numbers is recognised; the international way is for every one."""

_CARD = re.compile(r"(?<![\w-])\d(?:[ -]?\d){12,18}(?![\w-])")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b")
_SOCIAL_SECURITY = re.compile(
    r"(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])"
    r"|(?i:\b(?:ssn|social security number)\b)\D{0,12}\d{3} ?\d{2} ?\d{4}\b"
)

_KIND_OF_STREET = (
    "street|st|avenue|ave|road|rd|lane|ln|drive|dr|boulevard|blvd|close|terrace|crescent|court|ct|way|place|"
    "square|gardens|row|grove|hill|parade|mews|circle|parkway|pkwy|trail|highway"
)
_NO_STREET = "to|of|and|on|in|at|by|the|from|a|an|was|is|were|this|that|our|my|his|her|down|up|along|across|other"
_ENGLISH = rf"\d{{1,5}}[a-z]?,? (?:(?!(?:{_NO_STREET})\b)[a-z][\w'.]* ){{1,4}}(?:{_KIND_OF_STREET})\b\.?"
_GERMAN = (
    r"(?:\b[^\W\d_]+(?:straße|strasse|str\.|weg|gasse|allee|platz|ring|damm|ufer)|"
    r"\b[^\W\d_]+(?:er|-)?[ -](?:straße|strasse|str\.|weg|gasse|allee|platz)) \d{1,4} ?[a-z]?\b"
)
_ADDRESS = re.compile(rf"(?<![\d.,$£€#-])\b(?:{_ENGLISH}|(?<![^\W\d_]){_GERMAN})", re.IGNORECASE)
_HOME = re.compile(
    r"\b(?:lives?|living|resid(?:es?|ing)|stay(?:s|ing)|home(?: address)? (?:is|at)|(?:his|her|their|my|your|'s) "
    r"(?:home )?(?:address|house|flat|place|home)|the address is|find (?:him|her|them) at|wohn(?:t|en|haft)|"
    r"adresse)\b(?:(?!\b(?:from|near|opposite|across|behind|past|between|beside)\b)[^.!?\n]){0,60}$",
    re.IGNORECASE,
)
_UNIT = r"(?:[,\s]+(?:apt|apartment|flat|unit|suite|no|#)\.? ?\w{1,5})?"
_TOWN = r"[^\W\d_][\w'’.-]*(?: [^\W\d_][\w'’.-]*){0,3}"
_CODE_AFTER = re.compile(
    rf"{_UNIT}(?:[,\s]+{_TOWN}){{0,2}}?[,\s]+(?:(?:in )?\d{{5}}(?:-\d{{4}})?\b|[a-z]{{1,2}}\d[a-z\d]? ?\d[a-z]{{2}}\b)",
    re.IGNORECASE,
)
_CODE_BEFORE = re.compile(r"\b\d{5} [^\W\d_][\w-]+(?: am \w+)?[,:]? (?:in der |an der |am )?$")
_TOWN_AFTER = re.compile(rf"{_UNIT}, (?:in )?(?=[A-ZÄÖÜ]){_TOWN}")
_OPEN_TO_ALL = re.compile(
    r"\b(?:caf[ée]s?|shops?|stores?|bars?|pubs?|restaurants?|hotels?|museums?|librar\w+|galler\w+|theat\w+|cinemas?|"
    r"churche?s?|schools?|offices?|stations?|clinics?|hospitals?|baker\w+|markets?|halls?|council|court|police|"
    r"embassy|gyms?|salons?|banks?|charity|venue)\b",
    re.IGNORECASE,
)

_FAMOUS = re.compile(r"\b(?:10 downing|221b baker|1600 pennsylvania)\b", re.IGNORECASE)


def personal_data(text: str) -> list[tuple[float, str]]:
    """Return certainty (0 to 1) and name of each kind of personal data in a text."""
    findings = {
        "a telephone number": (0.65, _has_telephone_number(text)),
        "an e-mail address": (0.7, _EMAIL.search(text)),
        "a social security number": (0.7, _SOCIAL_SECURITY.search(text)),
        "a bank account number (IBAN)": (0.95, any(map(_is_iban, _IBAN.findall(text)))),
        "a payment card number": (0.95, any(map(_is_card, _CARD.findall(text)))),
        "a home address": (0.7, any(_is_home(text, address) for address in _addresses(text))),
    }
    return [(certainty, kind) for kind, (certainty, match) in findings.items() if match]


def _has_telephone_number(text: str) -> bool:
    """Whether a text holds a telephone number of a person.

    Numbers that are free to call are public lines, such as the helplines that a story should name.
    """
    if sum(char.isdigit() for char in text) < _SHORTEST_NUMBER:
        return False
    import phonenumbers as phone

    # An international number need only be possible: a new range is in use before the library knows it.
    searches = (
        phone.PhoneNumberMatcher(text, None, leniency=phone.Leniency.POSSIBLE),
        *(phone.PhoneNumberMatcher(text, region, leniency=phone.Leniency.EXACT_GROUPING) for region in _REGIONS),
    )
    numbers = (match.number for matches in searches for match in matches)
    return any(phone.number_type(number) != phone.PhoneNumberType.TOLL_FREE for number in numbers)


def _addresses(text: str) -> Iterator[re.Match[str]]:
    if any(char.isdigit() for char in text):
        yield from _ADDRESS.finditer(text)


def _is_home(text: str, address: re.Match[str]) -> bool:
    """Whether an address is somebody's home: it follows words such as "lives at", or a postal code or town is named.

    Addresses of places that are open to all, such as a café, are no personal data.
    """
    before = text[max(0, address.start() - 100) : address.start()]
    if _HOME.search(before):
        return not _FAMOUS.search(address.group())
    if _FAMOUS.search(address.group()) or _OPEN_TO_ALL.search(re.split(r"[.!?]\s", before)[-1]):
        return False
    after = text[address.end() : address.end() + 80]
    return bool(_CODE_AFTER.match(after) or _CODE_BEFORE.search(before) or _TOWN_AFTER.match(after))


def _is_card(number: str) -> bool:
    """Whether a number begins like a payment card's and its check digit is right (ISO/IEC 7812-1)."""
    from stdnum import luhn

    digits = re.sub(r"\D", "", number)
    return digits[0] in "3456" and len(set(digits)) > 1 and luhn.is_valid(digits)


def _is_iban(account: str) -> bool:
    """Whether an account number is one by its country's form and by its check digits (ISO 13616).

    A capitalised word behind the number was matched with it, so every beginning is tried.
    """
    from stdnum import iban

    account = account.replace(" ", "")
    return any(iban.is_valid(account[:length]) for length in range(_SHORTEST_IBAN, len(account) + 1))
