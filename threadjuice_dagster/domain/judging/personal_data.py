"""Personal data found by its form: telephone, e-mail, card, account and social security numbers, home addresses.

Numbers with check digits are checked. The data itself is never repeated; what follows from it belongs in
``domain/judging/moderation.py``.
"""

import re
from collections.abc import Iterator

_EMAIL = re.compile(
    r"(?<![\w.+-])[\w.+-]{1,64}(?:@| ?[\[(](?:at|@)[\])] ?)[\w-]{1,63}(?:(?:\.| ?[\[(]dot[\])] ?)[\w-]{1,63})*"
    r"(?:\.| ?[\[(]dot[\])] ?)[a-z]{2,}",
    re.IGNORECASE,
)
_FREEPHONE = r"(?!(?:1[-. ])?\(?8(?:00|33|44|55|66|77|88)\b|080[08]\b)"
"""Numbers that are free to call are public lines, such as the helplines a story should name."""

_PHONE = re.compile(
    rf"(?<![\w.,/$£€-]){_FREEPHONE}(?:\+\d{{1,3}}[ .-]?(?:\(?\d{{1,4}}\)?[ .-]?){{2,5}}\d{{2,4}}"
    r"|(?:1[-. ])?\(\d{3}\) ?\d{3}[-. ]\d{4}|(?:1[-. ])?\d{3}[-. ]\d{3}[-. ]\d{4}"
    r"|0\d{4} ?\d{6}|0\d{2,3} \d{3,4} \d{4}|0\d{3} \d{3} \d{3,4}|0\d{2,4}[ /-]\d{6,8})(?![\w-]|[.,]\d)"
)
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
    """Certainty (0 to 1) and name of each kind of personal data in a text."""
    matches = {
        "a telephone number": (0.65, _PHONE.search(text)),
        "an e-mail address": (0.7, _EMAIL.search(text)),
        "a social security number": (0.7, _SOCIAL_SECURITY.search(text)),
        "a bank account number (IBAN)": (0.95, any(map(_is_iban, _IBAN.findall(text)))),
        "a payment card number": (0.95, any(map(_is_card, _CARD.findall(text)))),
        "a home address": (0.7, any(_is_home(text, found) for found in _addresses(text))),
    }
    return [(weight, what) for what, (weight, found) in matches.items() if found]


def _addresses(text: str) -> Iterator[re.Match[str]]:
    if any(char.isdigit() for char in text):
        yield from _ADDRESS.finditer(text)


def _is_home(text: str, found: re.Match[str]) -> bool:
    """Whether house number and street come with a person's home, a postal code or a town.

    A place that is open to all may give street and town, as a café does; its postal code gives nobody away either.
    """
    before = text[max(0, found.start() - 100) : found.start()]
    if _HOME.search(before):
        return not _FAMOUS.search(found.group())
    if _FAMOUS.search(found.group()) or _OPEN_TO_ALL.search(re.split(r"[.!?]\s", before)[-1]):
        return False
    after = text[found.end() : found.end() + 80]
    return bool(_CODE_AFTER.match(after) or _CODE_BEFORE.search(before) or _TOWN_AFTER.match(after))


def _is_card(number: str) -> bool:
    """Luhn's check (ISO/IEC 7812-1) on a number that begins like a card's."""
    digits = re.sub(r"\D", "", number)
    doubled = [int(digit) * (2 if index % 2 else 1) for index, digit in enumerate(reversed(digits))]
    return digits[0] in "3456" and len(set(digits)) > 1 and sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


def _is_iban(account: str) -> bool:
    """ISO 13616's check: the account, moved and spelled in digits, leaves 1 modulo 97."""
    account = account.replace(" ", "")
    spelled = "".join(str(int(char, 36)) for char in account[4:] + account[:4])
    return 15 <= len(account) <= 34 and int(spelled) % 97 == 1
