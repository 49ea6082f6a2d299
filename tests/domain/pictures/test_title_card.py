import numpy as np
import pytest
from PIL import Image

from threadjuice_dagster.domain.pictures import title_card
from threadjuice_dagster.domain.pictures.images import FAST, drawn_picture, encode_variants
from threadjuice_dagster.domain.pictures.title_card import draw_title_card

HEADLINES = {
    "short": "Cake",
    "usual": "The ladder came back after eleven years, with a note taped to the third rung",
    "long": "and then somebody else brought up the hedge again " * 12,
    "one word": "Rindfleischetikettierungsueberwachungsaufgabenuebertragungsgesetz" * 4,
    "empty": "",
    "spaces": " \n\t ",
    "emoji": "🎉🔥👩‍👩‍👧‍👦",
    "mixed": "Café déjà vu 🎉 in Łódź — naïve Ωmega",
    "cjk": "日本語の見出しはこの書体にない",
    "rtl": "עברית ‮and‬ العربية",
    "markup": "<script>alert(1)</script> & {{ title }} %s",
    "control": "a\0b\x1b[31mc\ud800d",
    "punctuation": "?!… ——— ***",
}


def card(title: str, colour: str = "#1d4ed8") -> Image.Image:
    return draw_title_card(title, "Neighbours", colour)


def light_columns(image: Image.Image) -> np.ndarray:
    """Which columns of the headline's box hold the headline's near-white."""
    box = np.asarray(image.crop((0, 250, 1920, 900)), int)
    return np.flatnonzero((box.min(axis=2) > 225).any(axis=0))


@pytest.mark.parametrize("title", HEADLINES.values(), ids=HEADLINES.keys())
def test_any_headline_makes_a_card_that_stays_within_its_margins(title: str) -> None:
    image = card(title)
    assert (image.mode, image.size) == ("RGB", (1920, 1080))
    columns = light_columns(image)
    assert columns.min() >= 120
    assert columns.max() <= 132 + 1300 + 10


@pytest.mark.parametrize("title", [HEADLINES["empty"], HEADLINES["cjk"], HEADLINES["emoji"], HEADLINES["punctuation"]])
def test_a_headline_the_typeface_cannot_set_gives_way_to_the_category(title: str) -> None:
    assert title_card._legible(title, "serif") == ""
    assert light_columns(card(title)).size > 300


def test_characters_the_typeface_lacks_are_left_out() -> None:
    assert title_card._legible("Tea 🎉 at 五 o’clock — naïve Ωmega", "serif") == "Tea at o’clock — naïve Ωmega"


def test_equal_arguments_draw_equal_pixels_and_others_another_card() -> None:
    assert draw_title_card("A", "B", "#be123c") == draw_title_card("A", "B", "#be123c")
    cards = {
        draw_title_card(*arguments).tobytes()
        for arguments in (("A", "B", "#be123c"), ("A2", "B", "#be123c"), ("A", "B", "#15703a"))
    }
    assert len(cards) == 3


@pytest.mark.parametrize(("colour", "strongest"), [("#b91c1c", 0), ("#15803d", 1), ("#1d4ed8", 2)])
def test_the_card_wears_the_categorys_colour(colour: str, strongest: int) -> None:
    right = np.asarray(card("Hue", colour).crop((1400, 0, 1920, 1080)), float).mean((0, 1))
    assert right.argmax() == strongest


@pytest.mark.parametrize("colour", ["", "no colour", "#12", "url(x)", "rgba(1,2,3,4)", "#ffffff", "#000000", "#facc15"])
def test_any_colour_leaves_the_headline_readable(colour: str) -> None:
    image = np.asarray(card("A readable headline of some length", colour), float)
    ground = image[290:890, 40:120] @ (0.2126, 0.7152, 0.0722)
    assert ground.mean() < 70


def test_lines_are_balanced() -> None:
    size, lines = title_card._fit(HEADLINES["usual"])
    widths = [title_card._length(line, size) for line in lines]
    assert len(lines) > 1
    assert " ".join(lines) == HEADLINES["usual"]
    assert min(widths) > 0.55 * max(widths)


def test_shorter_headlines_are_set_larger() -> None:
    sizes = [title_card._fit(HEADLINES[name])[0] for name in ("short", "usual")]
    assert sizes[0] > sizes[1]


def test_a_card_is_encoded_in_every_size_and_format() -> None:
    encoded = encode_variants(drawn_picture(card("The ladder came back after years")), speed=FAST)
    assert len({(variant.width, variant.format) for variant in encoded.variants}) == 12
