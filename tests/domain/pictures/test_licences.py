from datetime import UTC, datetime
from typing import Any

import pytest

from threadjuice_dagster.domain.pictures.images import Licence, StoryImage, Variant
from threadjuice_dagster.domain.pictures.licences import (
    POLICIES,
    credit_line,
    credit_text,
    deed_url,
    licence_name,
    licence_problem,
)

NOON = datetime(2026, 4, 5, 12, tzinfo=UTC)
REFERRAL = "utm_source=threadjuice&utm_medium=referral"


def variant(key: str) -> Variant:
    return Variant(width=480, height=320, format="jpeg", key=key, url="https://pictures.example/480", bytes=9)


def image(**changes: Any) -> StoryImage:
    facts: dict[str, Any] = {
        "story_id": "s",
        "provider": "openverse",
        "source_url": "https://photos.example/7",
        "title": "Kettle",
        "creator": "Ines Calder",
        "creator_url": "https://photos.example/ines",
        "licence": Licence(code="by-sa", version="4.0", url="https://creativecommons.org/licenses/by-sa/4.0/"),
        "credit": "“Kettle” by Ines Calder, CC BY-SA 4.0, resized",
        "alt_text": "A kettle on a sill",
        "sha256": "0" * 64,
        "width": 480,
        "height": 320,
        "placeholder": "",
        "variants": (variant("img/a/480.jpg"),),
    }
    return StoryImage(**{**facts, **changes})


def unsplash(**changes: Any) -> StoryImage:
    facts: dict[str, Any] = {
        "provider": "unsplash",
        "delivery": "hotlink",
        "source_url": f"https://unsplash.com/photos/x?{REFERRAL}",
        "creator_url": f"https://unsplash.com/@ines?{REFERRAL}",
        "licence": Licence(code="unsplash", url="https://unsplash.com/license"),
        "credit": "Photo by Ines Calder on Unsplash",
        "variants": (variant(""),),
        "use_reported_at": NOON,
    }
    return image(**{**facts, **changes})


def card(**changes: Any) -> StoryImage:
    facts: dict[str, Any] = {
        "provider": "title_card",
        "source_url": "",
        "title": "",
        "creator": "",
        "creator_url": "",
        "licence": Licence(code="own"),
        "credit": "Illustration: ThreadJuice",
    }
    return image(**{**facts, **changes})


def licensed(code: str, version: str = "", url: str = "", **changes: Any) -> StoryImage:
    return image(licence=Licence(code=code, version=version, url=url), **changes)


# What may be published


@pytest.mark.parametrize("picture", [image(), unsplash(), card()])
def test_a_picture_that_keeps_to_its_providers_terms_is_no_problem(picture: StoryImage) -> None:
    assert licence_problem(picture) is None


@pytest.mark.parametrize("provider", ["", "flickr", "Openverse", "import"])
def test_a_provider_whose_terms_nobody_has_read_is_a_problem(provider: str) -> None:
    assert "nobody has read the terms" in (licence_problem(image(provider=provider)) or "")


@pytest.mark.parametrize(
    ("picture", "why"),
    [
        (image(delivery="hotlink"), "our own storage"),
        (card(delivery="hotlink"), "our own storage"),
        (unsplash(delivery="rehost"), "provider's own address"),
        (unsplash(variants=(variant(""), variant("img/a/480.jpg"))), "provider's own address"),
    ],
)
def test_another_delivery_than_the_terms_ask_for_is_a_problem(picture: StoryImage, why: str) -> None:
    assert why in (licence_problem(picture) or "")


def test_a_use_unsplash_was_not_told_of_is_a_problem() -> None:
    assert "not told" in (licence_problem(unsplash(use_reported_at=None)) or "")
    assert licence_problem(image(use_reported_at=None)) is None


@pytest.mark.parametrize("picture", [image, unsplash, card])
def test_a_picture_without_a_credit_line_is_a_problem(picture: Any) -> None:
    assert "credit" in (licence_problem(picture(credit="  ")) or "")


# Licences


@pytest.mark.parametrize(
    ("code", "version", "url"),
    [
        ("by", "2.0", "https://creativecommons.org/licenses/by/2.0/"),
        ("BY", "4.0", "https://creativecommons.org/licenses/BY/4.0/deed.en"),
        ("by", "3.0", "http://www.creativecommons.org/licenses/by/3.0/us/"),
        ("by-sa", "", "https://creativecommons.org/licenses/by-sa/2.5/"),
        ("by", "4.0", "https://creativecommons.org/licenses/by/4.0?ref=x"),
        ("by-sa", "4.0", ""),
        ("cc0", "1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
        ("cc0", "", ""),
        ("pdm", "", "https://creativecommons.org/publicdomain/mark/1.0/"),
        ("pdm", "", ""),
    ],
)
def test_free_licences_of_creative_commons_are_no_problem(code: str, version: str, url: str) -> None:
    assert licence_problem(licensed(code, version, url)) is None


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("by-nc", "commercial"),
        ("by-nc-sa", "commercial"),
        ("BY-NC-ND", "commercial"),
        ("CC BY-NC 4.0", "commercial"),
        ("by_nc", "commercial"),
        ("bync", "commercial"),
        ("ccbyncsa", "commercial"),
        ("nc", "commercial"),
        ("nc-sampling+", "commercial"),
        ("Attribution-NonCommercial", "commercial"),
        ("non-commercial", "commercial"),
        ("by-nd", "adaptation"),
        ("BYND", "adaptation"),
        ("CC_BY_ND", "adaptation"),
        ("Attribution-NoDerivs", "adaptation"),
        ("no derivatives", "adaptation"),
        ("", "no licence"),
        ("  ", "no licence"),
        ("sampling+", "not one of"),
        ("all-rights-reserved", "not one of"),
        ("unknown", "not one of"),
        ("cc by", "not one of"),
        ("by-sa-standard", "not one of"),
        ("unsplash", "not one of"),
        ("own", "not one of"),
    ],
)
def test_any_other_licence_is_a_problem(code: str, why: str) -> None:
    for version, url in (("4.0", ""), ("", "https://creativecommons.org/licenses/by/4.0/")):
        assert why in (licence_problem(licensed(code, version, url)) or "")


def test_each_provider_has_licences_of_its_own() -> None:
    free = Licence(code="by", version="4.0", url="https://creativecommons.org/licenses/by/4.0/")
    for picture in (unsplash(licence=free), card(licence=free)):
        assert "not one of" in (licence_problem(picture) or "")
    assert "commercial" in (licence_problem(unsplash(licence=Licence(code="by-nc"))) or "")


@pytest.mark.parametrize(
    ("code", "version", "url", "why"),
    [
        ("by", "2.0", "https://creativecommons.org/licenses/by-nc/2.0/", "by-nc forbids commercial"),
        ("by-sa", "2.0", "https://creativecommons.org/licenses/BY-ND/2.0/", "by-nd forbids adaptations"),
        ("by", "4.0", "https://creativecommons.org/licenses/by-sa/4.0/", "another's"),
        ("by", "4.0", "https://creativecommons.org/licenses/by/2.0/", "another's"),
        ("cc0", "1.0", "https://creativecommons.org/publicdomain/mark/1.0/", "another's"),
        ("by", "4.0", "https://licences.example/by/4.0/", "another's"),
        ("by", "4.0", "https://creativecommons.org.evil.example/licenses/by/4.0/", "another's"),
        ("by", "4.0", "javascript:alert(1)", "another's"),
        ("by", "", "", "no link"),
        ("by-sa", "newest", "", "no link"),
    ],
)
def test_code_and_address_of_a_licence_have_to_agree(code: str, version: str, url: str, why: str) -> None:
    assert why in (licence_problem(licensed(code, version, url)) or "")


def test_a_deed_is_found_where_its_address_did_not_come_along() -> None:
    cases = {
        ("by-sa", "4.0"): "https://creativecommons.org/licenses/by-sa/4.0/",
        ("BY", "2.0"): "https://creativecommons.org/licenses/by/2.0/",
        ("cc0", ""): "https://creativecommons.org/publicdomain/zero/1.0/",
        ("pdm", "1.0"): "https://creativecommons.org/publicdomain/mark/1.0/",
        ("by", ""): "",
        ("by", "4.0/../../x"): "",
        ("own", ""): "",
        ("by-nc", "4.0"): "",
    }
    assert {case: deed_url(Licence(code=case[0], version=case[1])) for case in cases} == cases


def test_licences_are_named_as_people_write_them() -> None:
    names = {("by-sa", "4.0"): "CC BY-SA 4.0", ("cc0", ""): "CC0 1.0", ("pdm", ""): "Public Domain Mark 1.0"}
    names |= {("unsplash", "1"): "Unsplash Licence", ("own", ""): "ThreadJuice", ("by", ""): "CC BY"}
    assert {case: licence_name(Licence(code=case[0], version=case[1])) for case in names} == names
    from_address = Licence(code="by", url="https://creativecommons.org/licenses/by/2.5/")
    assert licence_name(from_address) == "CC BY 2.5"


# Credit


def test_creative_commons_is_credited_with_title_author_source_and_licence() -> None:
    parts = credit_line(image(licence=Licence(code="by-sa", version="4.0")), "openverse")
    assert {part.text: part.address for part in parts} == {
        "“Kettle”": "https://photos.example/7",
        "Ines Calder": "https://photos.example/ines",
        "CC BY-SA 4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
        "resized": "",
    }
    assert next(part.rel for part in parts if part.text.startswith("CC")) == "license nofollow"
    assert credit_text(image(), "openverse") == "“Kettle” by Ines Calder, CC BY-SA 4.0, resized"


def test_what_a_credit_has_no_need_of_is_left_out() -> None:
    nameless = licensed("cc0", creator="", creator_url="", title=" ")
    assert credit_text(nameless, "openverse") == "“Untitled”, CC0 1.0, resized"
    assert licence_problem(nameless) is None
    assert licence_problem(image(creator_url="")) is None


@pytest.mark.parametrize(
    ("picture", "why"),
    [
        (image(creator=" "), "no creator"),
        (image(source_url=""), "title in the credit has no link"),
        (image(source_url="javascript:alert(1)"), "title in the credit has no link"),
        (image(source_url="/photos/7"), "title in the credit has no link"),
        (unsplash(creator=""), "no creator"),
        (unsplash(creator_url=""), "creator in the credit has no link"),
        (unsplash(creator_url="https://unsplash.com/@ines"), "referral"),
        (unsplash(creator_url="https://unsplash.com/@ines?utm_source=other&utm_medium=referral"), "referral"),
    ],
)
def test_a_credit_that_lacks_what_the_terms_ask_for_is_a_problem(picture: StoryImage, why: str) -> None:
    assert why in (licence_problem(picture) or "")


def test_unsplash_is_credited_with_photographer_and_unsplash_both_linked() -> None:
    parts = credit_line(unsplash(), "unsplash")
    assert [(part.before, part.text, part.address) for part in parts] == [
        ("Photo by ", "Ines Calder", f"https://unsplash.com/@ines?{REFERRAL}"),
        (" on ", "Unsplash", f"https://unsplash.com/?{REFERRAL}"),
    ]


def test_own_pictures_are_credited_plainly() -> None:
    (part,) = credit_line(card(), "title_card")
    assert (part.before, part.text, part.address) == ("", "Illustration: ThreadJuice", "")


def test_a_stored_picture_of_an_unknown_provider_keeps_its_credit_and_names_its_licence() -> None:
    picture = image(provider="archive", credit="The Archive")
    assert credit_text(picture, picture.provider) == "The Archive · CC BY-SA 4.0"


def test_words_in_a_picture_are_never_read_as_a_pattern() -> None:
    hostile = image(title="{creator.__class__}", creator="{licence}", licence=Licence(code="by", version="4.0"))
    assert credit_text(hostile, "openverse") == "“{creator.__class__}” by {licence}, CC BY 4.0, resized"


def test_unattended_use_and_advertising_are_part_of_the_terms() -> None:
    terms = {name: (policy.unattended, policy.ads, policy.reports_use) for name, policy in POLICIES.items()}
    assert terms == {
        "openverse": ("yes", True, False),
        "unsplash": ("by agreement", False, True),
        "title_card": ("yes", True, False),
    }
