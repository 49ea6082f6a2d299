"""The models of a story's picture, and how a picture is read, refused and encoded.

Finding and storing pictures belongs in ``resources/pictures.py``, whether one may be shown in
``domain/pictures/licences.py``, drawing one in ``domain/pictures/title_card.py``. The encoder's figures (quality map,
speeds, order) are measured ones: at these settings the three formats look alike and AVIF takes most of
the time.
"""

import base64
import dataclasses
import hashlib
import io
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.pictures import thumbhash
from threadjuice_dagster.failures import PermanentFailure

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTHS = (480, 768, 1200, 1920)
"""Variant widths in pixels; a picture is never enlarged to reach one."""

Format = Literal["avif", "webp", "jpeg"]
FORMATS: tuple[Format, ...] = ("avif", "webp", "jpeg")

CONTENT_TYPES: dict[Format, str] = {"avif": "image/avif", "webp": "image/webp", "jpeg": "image/jpeg"}

MAX_PIXELS = 50_000_000
"""Pixels of a picture as it arrives. A larger one is refused before it is decoded."""

MIN_WIDTH, MIN_HEIGHT = 320, 120
"""Least pixels of a picture as displayed."""

MAX_RATIO = 5
"""Longer side over shorter side; also keeps a variant within WebP's 16,383 pixels."""

ENCODING_VERSION = 2
"""Part of every key. Raise it when the code below encodes the same picture to other bytes."""

FAST = 9
"""The AVIF speed from which every format is encoded for speed instead of size; drawings lose little by it."""

INSPECTED_SIDE = 512
"""Pixels on the longer side of the rendition a picture is judged by."""

_SOURCE_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF")
_PLACEHOLDER_SIDE = 64


class Variant(Model):
    """One encoded size of a picture. ``key`` is its key in storage, ``url`` its address for readers."""

    width: int
    height: int
    format: Format
    key: str
    url: str
    bytes: int


class Licence(Model):
    """A picture's licence. ``code`` as in ``by-sa``, ``cc0``, ``unsplash``, ``own``."""

    code: str
    version: str = ""
    url: str = ""


class Credited(Model):
    """A picture's origin, from which its credit is made. Addresses are http(s) or empty."""

    source_id: str = ""
    source_url: str = ""
    title: str = ""
    creator: str = ""
    creator_url: str = ""
    licence: Licence
    credit: str = ""


class StoryImage(Credited):
    """The picture chosen for one story. ``hotlink`` pictures have variants at the provider's own URLs."""

    story_id: str
    provider: str
    alt_text: str
    delivery: Literal["rehost", "hotlink"] = "rehost"
    sha256: str
    width: int
    height: int
    placeholder: str
    """ThumbHash, base64 (https://evanw.github.io/thumbhash/)."""
    variants: tuple[Variant, ...]
    use_reported_at: datetime | None = None
    """When this use was reported to the provider, where its terms ask for that."""
    note: str = ""
    """Tells the operator why providers before this one gave no picture."""


class PictureRefused(PermanentFailure):
    """The bytes are no picture that can illustrate a story; the message says why."""


class EncodedVariant(NamedTuple):
    """One encoded size of a picture, in pixels and bytes."""

    width: int
    height: int
    format: Format
    data: bytes


@dataclasses.dataclass(frozen=True)
class DecodedPicture:
    """A decoded picture. ``width`` and ``height`` are those displayed; ``pixels`` may already be drafted smaller."""

    pixels: "Image"
    width: int
    height: int
    orientation: int
    """As EXIF counts it, 1 to 8; ``pixels`` are not turned yet."""
    sha256: str


@dataclasses.dataclass(frozen=True)
class EncodedPicture:
    """A picture in every size and format. ``sha256`` is that of the source's bytes."""

    width: int
    height: int
    sha256: str
    placeholder: str
    variants: tuple[EncodedVariant, ...]


def content_key(sha256: str, quality: int, speed: int) -> str:
    """Return a digest of the picture and its encoding, in 64 hexadecimal digits: equal keys hold equal files."""
    return hashlib.sha256(f"{ENCODING_VERSION}:{sha256}:{quality}:{speed}".encode()).hexdigest()


def variant_key(content: str, width: int, picture_format: Format) -> str:
    """Return the storage key of one variant of the picture that ``content_key`` names."""
    return f"img/{content}/{width}.{'jpg' if picture_format == 'jpeg' else picture_format}"


def variant_widths(width: int, widths: tuple[int, ...] = WIDTHS) -> list[int]:
    """Return the widths to encode of a picture this wide, ascending; none is wider than the picture."""
    return sorted({min(width, wanted) for wanted in widths})


def format_quality(quality: int, picture_format: Format) -> int:
    """Return the encoder's quality number at which a format looks like JPEG at ``quality`` (1 to 100)."""
    offset = {"avif": -13, "webp": 3, "jpeg": 0}[picture_format]
    return min(max(quality + offset, 1), 100)


def read_picture(data: bytes, widest: int = WIDTHS[-1]) -> DecodedPicture:
    """Decode hostile bytes. Their format is read from them, never from a name or a header.

    A JPEG is decoded at a fraction of its size where that leaves twice ``widest`` pixels. Raises
    ``PictureRefused`` for anything that is not one whole JPEG, PNG, WebP or AVIF still of usable size.
    """
    from PIL import Image

    try:
        image: Any = Image.open(io.BytesIO(data), formats=_SOURCE_FORMATS)
        # A phone's JPEG may carry a second view (MPO); its first frame is the photograph.
        frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        problem = _size_problem(*image.size) or ("it is an animation" if frames > 1 else None)
        if problem is None:
            stored, orientation = image.size, _orientation(image)
            width, height = reversed(stored) if orientation >= 5 else stored
            scale = 2 * widest / width
            image.draft(None, (int(stored[0] * scale), int(stored[1] * scale)))
            image.load()
            if image.format == "PNG":
                _scale_transparent_colour(image, depth=data[24])  # where every PNG says how many bits a sample has
            problem = f"it is only {width} pixels wide" if width < MIN_WIDTH else None
    # Decoders raise anything from SyntaxError to struct.error on bytes made to break them.
    except Exception as error:
        raise _refusal(f"it is damaged or no JPEG, PNG, WebP or AVIF ({type(error).__name__})") from error
    if problem:
        raise _refusal(problem)
    return DecodedPicture(image, width, height, orientation, hashlib.sha256(data).hexdigest())


def drawn_picture(image: "Image") -> DecodedPicture:
    """Return a picture that this package drew, which needs no checks."""
    return DecodedPicture(image, *image.size, 1, hashlib.sha256(image.tobytes()).hexdigest())


def encode_variants(
    source: bytes | DecodedPicture,
    quality: int = 85,
    speed: int = 6,
    threads: int = 2,
    widths: tuple[int, ...] = WIDTHS,
) -> EncodedPicture:
    """Encode every width in every format, largest first, without metadata and in sRGB; never enlarged.

    ``quality`` is JPEG's scale, ``speed`` AVIF's: 6 to publish, 9 for drawings and previews (below 6 costs
    six times as much). Raises ``PictureRefused``.
    """
    picture = read_picture(source, max(widths)) if isinstance(source, bytes) else source
    sizes = list(_sizes(picture, variant_widths(picture.width, widths)))
    # AVIF takes four fifths of the time: started first and largest first, it leaves no thread idle at the end.
    tasks = [(image, picture_format) for picture_format in FORMATS for image in sizes]
    with ThreadPoolExecutor(threads) as pool:
        encoded = list(pool.map(lambda task: _encode(task[0], task[1], quality, speed), tasks))
    return EncodedPicture(picture.width, picture.height, picture.sha256, placeholder(sizes[-1]), tuple(encoded))


def placeholder(image: "Image") -> str:
    """Return the ThumbHash of a picture, base64."""
    small = image.convert("RGBA")
    small.thumbnail((_PLACEHOLDER_SIDE, _PLACEHOLDER_SIDE))
    return base64.b64encode(thumbhash.encode(small)).decode()


def rendition(picture: DecodedPicture, side: int = INSPECTED_SIDE) -> bytes:
    """Return a small JPEG of the picture as displayed, its longer side at most ``side`` pixels; never enlarged."""
    scale = min(1, side / max(picture.width, picture.height))
    return _encode(upright(picture, max(1, int(picture.width * scale))), "jpeg", 85, FAST).data


def upright(picture: DecodedPicture, width: int | None = None) -> "Image":
    """Return the picture as displayed, in 8-bit sRGB without metadata, ``width`` pixels wide (default: its own)."""
    from PIL import Image

    width = picture.width if width is None else width
    size = (width, max(1, round(picture.height * width / picture.width)))
    if picture.orientation >= 5:
        size = (size[1], size[0])
    image = _to_srgb(_plain_mode(picture.pixels).resize(size, Image.Resampling.LANCZOS))
    turn = _turns().get(picture.orientation)
    image = image if turn is None else image.transpose(turn)
    image.info.clear()
    return image


def _refusal(problem: str) -> PictureRefused:
    return PictureRefused(f"The picture was refused: {problem}.", "Choose another picture.")


def _size_problem(width: int, height: int) -> str | None:
    longer, shorter = max(width, height), min(width, height)
    if width * height > MAX_PIXELS:
        return f"its {width}x{height} pixels are more than {MAX_PIXELS // 1_000_000} million"
    if longer < MIN_WIDTH or shorter < MIN_HEIGHT:
        return f"its {width}x{height} pixels are less than {MIN_WIDTH}x{MIN_HEIGHT}"
    if longer > MAX_RATIO * shorter:
        return f"at {width}x{height} pixels it is more than {MAX_RATIO} times as long as it is short"
    return None


def _scale_transparent_colour(image: "Image", depth: int) -> None:
    """Scale the one colour that a PNG calls transparent as Pillow scaled the pixels; Pillow itself does not."""
    colour = image.info.get("transparency")
    if image.mode == "L" and isinstance(colour, int) and depth < 8:
        image.info["transparency"] = colour * 255 // (2**depth - 1)
    elif image.mode == "RGB" and isinstance(colour, tuple) and depth == 16:
        image.info["transparency"] = tuple(level >> 8 for level in colour)


def _orientation(image: "Image") -> int:
    value = image.getexif().get(0x0112, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turns() -> dict[int, Any]:
    from PIL.Image import Transpose as Turn

    order = (Turn.FLIP_LEFT_RIGHT, Turn.ROTATE_180, Turn.FLIP_TOP_BOTTOM, Turn.TRANSPOSE)
    return dict(enumerate((*order, Turn.ROTATE_270, Turn.TRANSVERSE, Turn.ROTATE_90), start=2))


def _sizes(picture: DecodedPicture, widths: list[int]) -> Iterator["Image"]:
    """Yield the picture in each width, widest first, each made from the one before."""
    from PIL import Image

    image = upright(picture, widths[-1])
    yield image
    for width in reversed(widths[:-1]):
        height = max(1, round(picture.height * width / picture.width))
        image = image.resize((width, height), Image.Resampling.LANCZOS)
        yield image


def _plain_mode(image: "Image") -> "Image":
    """Return the picture in a mode that can be resized well: L, RGB, CMYK, LA or RGBA."""
    if image.mode.startswith(("I", "F")):
        return _grey(image)
    if image.has_transparency_data and image.mode != "LA":
        return image.convert("RGBA")
    if image.mode in ("L", "LA", "RGB", "CMYK"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _grey(image: "Image") -> "Image":
    """Convert 16-bit grey to 8 bits, which Pillow clips to white. A transparent level stays transparent."""
    levels = image.convert("I")
    grey = levels.point(lambda value: value * (1 / 257)).convert("L")
    transparent = image.info.get("transparency")
    if not isinstance(transparent, int):
        return grey
    import numpy as np
    from PIL import Image

    opaque = np.asarray(levels) != transparent
    shown = Image.merge("LA", (grey, Image.fromarray(opaque.astype(np.uint8) * 255)))
    shown.info = dict(grey.info)
    return shown


def _to_srgb(image: "Image") -> "Image":
    """Convert to RGB, or to RGBA where the picture is transparent. A broken or unfitting profile is ignored."""
    from PIL import ImageCms

    alpha = image.getchannel("A") if image.mode.endswith("A") else None
    colour = image.convert(image.mode.removesuffix("A")) if alpha else image
    profile = image.info.get("icc_profile")
    if profile:
        try:
            srgb = ImageCms.createProfile("sRGB")
            colour = ImageCms.profileToProfile(colour, io.BytesIO(profile), srgb, outputMode="RGB") or colour
        except ImageCms.PyCMSError:
            pass
    colour = colour.convert("RGB")
    if alpha and alpha.getextrema() != (255, 255):
        colour.putalpha(alpha)
    return colour


def _encode(image: "Image", picture_format: Format, quality: int, speed: int) -> EncodedVariant:
    """Encode one variant. ``save`` keeps state on the image, so each thread works on a copy."""
    from PIL import Image

    image = image.copy()
    if picture_format == "jpeg" and image.mode == "RGBA":
        flat = Image.new("RGB", image.size, "white")
        flat.paste(image, mask=image.getchannel("A"))
        image = flat
    fast = speed >= FAST
    options: dict[str, Any] = {"quality": format_quality(quality, picture_format)}
    if picture_format == "avif":
        options |= {"speed": speed, "subsampling": "4:2:0", "max_threads": 1}
        # Of two ways to save time at this speed, this one keeps a drawing as near to its JPEG at fewer bytes.
        options |= {"advanced": {"tune": "psnr"}, "quality": max(1, options["quality"] - 6)} if fast else {}
    elif picture_format == "webp":
        options["method"] = 1 if fast else 4
    else:
        options |= {"progressive": True, "optimize": True}
    # Saved to a real file, a JPEG leaves Python's lock to the other thread; to memory it does not.
    with tempfile.TemporaryFile() as file:
        image.save(file, picture_format.upper(), **options)
        file.seek(0)
        return EncodedVariant(*image.size, picture_format, file.read())
