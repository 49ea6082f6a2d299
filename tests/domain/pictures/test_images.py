import base64
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin
from servers.pictures import photograph

from threadjuice_dagster.domain.pictures import thumbhash
from threadjuice_dagster.domain.pictures.images import (
    PictureRefused,
    content_key,
    encode_variants,
    format_quality,
    read_picture,
    rendition,
    upright,
    variant_key,
    variant_widths,
)
from threadjuice_dagster.failures import PermanentFailure

FAST = {"speed": 9, "widths": (120, 320)}


def saved(image: Image.Image, picture_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, picture_format, **options)
    return buffer.getvalue()


def opened(data: bytes, width: int, picture_format: str, **options: object) -> Image.Image:
    encoded = encode_variants(data, **{**FAST, **options})
    found = next(v for v in encoded.variants if (v.width, v.format) == (width, picture_format))
    return Image.open(io.BytesIO(found.data))


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bomb(width: int = 30_000, height: int = 30_000) -> bytes:
    """A few bytes that claim to be an enormous picture."""
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + png_chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_every_source_format_becomes_every_width_in_every_format(picture_format: str) -> None:
    data = photograph(1000, 500, picture_format)
    encoded = encode_variants(data, speed=9)
    assert (encoded.width, encoded.height) == (1000, 500)
    sizes = [(v.width, v.height, v.format) for v in encoded.variants]
    for kind in ("avif", "webp", "jpeg"):
        assert [(w, h) for w, h, f in sizes if f == kind] == [(1000, 500), (768, 384), (480, 240)]
    for variant in encoded.variants:
        image = Image.open(io.BytesIO(variant.data))
        assert (image.format.lower(), image.size) == (variant.format, (variant.width, variant.height))


def test_a_picture_is_never_enlarged() -> None:
    assert variant_widths(400) == [400]
    assert variant_widths(480) == [480]
    assert variant_widths(1000) == [480, 768, 1000]
    assert variant_widths(6000) == [480, 768, 1200, 1920]


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_truncated_picture_is_refused(picture_format: str, share: float) -> None:
    data = saved(Image.effect_noise((640, 480), 60).convert("RGB"), picture_format)
    with pytest.raises(PictureRefused, match="refused"):
        read_picture(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe0" + b"\0" * 500,
        b"<svg xmlns='http://www.w3.org/2000/svg' width='800' height='600'><rect width='800' height='600'/></svg>",
        b"<!doctype html><title>403</title>",
        b"RIFF\xff\xff\xff\xffWEBPVP8X",
        b"\0\0\0\x20ftypavif" + b"\0" * 200,
        saved(Image.new("RGB", (640, 480)), "GIF"),
        saved(Image.new("RGB", (640, 480)), "TIFF"),
        saved(Image.new("RGB", (640, 480)), "BMP"),
    ],
    ids=["empty", "jpeg-head", "zeroes", "svg", "html", "webp-head", "avif-head", "gif", "tiff", "bmp"],
)
def test_what_is_no_picture_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(PictureRefused) as caught:
        encode_variants(data)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, PermanentFailure)


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(PictureRefused):
        read_picture(bomb())
    with pytest.raises(PictureRefused, match="million"):
        read_picture(bomb(8000, 8000))


@pytest.mark.parametrize("size", [(4000, 1), (1, 4000), (319, 240), (200, 900), (4000, 200)])
def test_a_picture_of_unusable_size_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(PictureRefused, match="pixels"):
        read_picture(photograph(*size, "PNG"))


@pytest.mark.parametrize("picture_format", ["WEBP", "PNG", "AVIF"])
def test_an_animation_is_refused(picture_format: str) -> None:
    frames = [Image.new("RGB", (400, 300), colour) for colour in ("red", "green", "blue")]
    data = saved(frames[0], picture_format, save_all=True, append_images=frames[1:], duration=100)
    with pytest.raises(PictureRefused, match="animation"):
        read_picture(data)


def test_the_first_view_of_a_phones_double_picture_is_used() -> None:
    views = [Image.new("RGB", (640, 480), colour) for colour in ("red", "blue")]
    data = saved(views[0], "MPO", save_all=True, append_images=views[1:])
    red, _, blue = opened(data, 320, "jpeg").convert("RGB").getpixel((100, 100))
    assert red > 200 > 60 > blue


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_camera_was(orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.new("RGB", (640, 400), "white")
    image.paste("red", (0, 0, 320, 200))
    image.paste("blue", (320, 0, 640, 200))
    data = saved(image, "JPEG", quality=95, exif=exif)
    right = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    encoded = encode_variants(data, **FAST)
    assert (encoded.width, encoded.height) == right.size
    ours = opened(data, 320, "jpeg").convert("RGB")
    assert ours.size == (320, round(right.height * 320 / right.width))
    difference = np.asarray(ours, float) - np.asarray(right.resize(ours.size), float)
    assert np.abs(difference).mean() < 4
    assert ours.getexif().get(0x0112) is None


def test_sixteen_bit_grey_keeps_its_tones() -> None:
    ramp = np.linspace(0, 65535, 640, dtype=np.uint16)[None, :].repeat(400, 0)
    image = opened(saved(Image.fromarray(ramp)), 320, "jpeg").convert("L")
    tones = [image.getpixel((x, 100)) for x in (10, 80, 160, 240, 310)]
    assert tones == pytest.approx([8, 64, 128, 191, 247], abs=5)


def test_grey_and_one_bit_pictures_are_read() -> None:
    assert opened(saved(Image.new("L", (640, 400), 90)), 320, "jpeg").getpixel((9, 9)) == pytest.approx(
        (90,) * 3, abs=3
    )
    assert opened(saved(Image.new("1", (640, 400), 1)), 320, "jpeg").getpixel((9, 9)) == pytest.approx(
        (255,) * 3, abs=3
    )


def test_cmyk_without_a_profile_is_converted() -> None:
    data = saved(Image.new("CMYK", (640, 400), (0, 255, 255, 0)), "JPEG", quality=95)
    red, green, blue = opened(data, 320, "webp").convert("RGB").getpixel((100, 100))
    assert red > 200
    assert max(green, blue) < 60


def swapped_profile() -> bytes:
    """sRGB with red and blue exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"????", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"????", b"bXYZ", 1)


def cmyk_profile() -> bytes:
    """An ICC profile that takes full cyan for white and everything else for black (ICC.1:2001, lut8Type)."""
    identity = b"".join(struct.pack(">i", 65536 * (i % 4 == 0)) for i in range(9))
    ramp = bytes(range(256))
    grid = b"".join(bytes((255 if i == 0b1000 else 0, 128, 128)) for i in range(16))
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + identity + ramp * 4 + grid + ramp * 3
    tags = struct.pack(">I4sII", 1, b"A2B0", 144, len(table))
    head = struct.pack(">I4xI4s4s4s12x4s", 144 + len(table), 0x02400000, b"prtr", b"CMYK", b"Lab ", b"acsp")
    head += bytes(28) + struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + tags + table


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_a_profile_is_applied_and_not_kept(picture_format: str) -> None:
    data = saved(Image.new("RGB", (640, 400), (200, 90, 30)), picture_format, icc_profile=swapped_profile())
    assert opened(data, 320, "webp").getpixel((9, 9)) == pytest.approx((30, 90, 200), abs=12)


def test_a_profile_is_applied_beneath_transparency() -> None:
    data = saved(Image.new("RGBA", (640, 400), (200, 90, 30, 128)), "PNG", icc_profile=swapped_profile())
    assert opened(data, 320, "webp").getpixel((9, 9)) == pytest.approx((30, 90, 200, 128), abs=12)


def test_cmyk_is_converted_through_its_profile() -> None:
    cyan = Image.new("CMYK", (640, 400), (255, 0, 0, 0))
    data = saved(cyan, "JPEG", quality=95, icc_profile=cmyk_profile())
    assert min(opened(data, 320, "webp").getpixel((9, 9))) > 240


@pytest.mark.parametrize("profile", [b"not a profile", b"\0" * 200])
def test_a_broken_profile_is_ignored(profile: bytes) -> None:
    data = saved(Image.new("RGB", (640, 400), (10, 120, 200)), "PNG", icc_profile=profile)
    assert opened(data, 320, "jpeg").getpixel((9, 9)) == pytest.approx((10, 120, 200), abs=6)


def test_a_grey_profile_on_a_colour_picture_is_ignored() -> None:
    grey = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    data = saved(Image.new("RGB", (640, 400), (10, 120, 200)), "JPEG", icc_profile=grey, quality=95)
    assert opened(data, 320, "jpeg").getpixel((9, 9)) == pytest.approx((10, 120, 200), abs=6)


def transparent_palette() -> bytes:
    image = Image.new("P", (640, 400), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (320, 0, 640, 400))
    return saved(image, "PNG", transparency=0)


def test_what_shows_through_stays_so_except_in_jpeg_where_it_is_white() -> None:
    data = transparent_palette()
    for picture_format in ("webp", "avif"):
        image = opened(data, 320, picture_format)
        assert image.mode == "RGBA"
        assert image.getpixel((20, 100))[3] < 10
        assert image.getpixel((300, 100))[3] > 245
    jpeg = opened(data, 320, "jpeg")
    assert jpeg.getpixel((20, 100)) == pytest.approx((255, 255, 255), abs=4)
    assert jpeg.getpixel((300, 100))[2] > 200


def two_halves(kind: int, depth: int, left: tuple[int, ...], right: tuple[int, ...], transparent: bytes) -> bytes:
    """A PNG of a colour type and so many bits a sample, with its chunk ``tRNS``; Pillow writes few of them."""
    samples = "".join(f"{sample:0{depth}b}" for sample in [*left * 320, *right * 320])
    row = b"\0" + int(samples, 2).to_bytes(len(samples) // 8)
    palette = png_chunk(b"PLTE", bytes([250, 0, 0, 0, 250, 0])) if kind == 3 else b""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 640, 400, depth, kind, 0, 0, 0))
    shows_through = png_chunk(b"tRNS", transparent) if transparent else b""
    body = png_chunk(b"IDAT", zlib.compress(row * 400)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + palette + shows_through + body


@pytest.mark.parametrize(
    ("kind", "depth", "left", "right", "transparent", "pixels"),
    [
        (0, 1, (0,), (1,), "0000", [(0, 0), (255, 255)]),
        (0, 1, (1,), (0,), "0001", [(255, 0), (0, 255)]),
        (0, 2, (1,), (3,), "0001", [(85, 0), (255, 255)]),
        (0, 4, (15,), (0,), "000f", [(255, 0), (0, 255)]),
        (0, 4, (3,), (4,), "0003", [(51, 0), (68, 255)]),
        (0, 8, (200,), (0,), "00c8", [(200, 0), (0, 255)]),
        (0, 16, (0x1234,), (0x1235,), "1234", [(18, 0), (18, 255)]),
        (0, 16, (0,), (0xFFFF,), "0000", [(0, 0), (255, 255)]),
        (0, 16, (0xFFFF,), (0,), "ffff", [(255, 0), (0, 255)]),
        (0, 16, (0x8080,), (0,), "", [(128, 255), (0, 255)]),
        (2, 8, (10, 20, 30), (200, 0, 0), "000a0014001e", [(10, 0), (200, 255)]),
        (2, 16, (0x7FFF, 0x5555, 0xC8), (0xFFFF, 0, 0), "7fff555500c8", [(127, 0), (255, 255)]),
        (2, 16, (0xFFFF, 0, 0xFFFF), (0, 0, 0), "ffff0000ffff", [(255, 0), (0, 255)]),
        (3, 1, (0,), (1,), "00", [(250, 0), (0, 255)]),
        (3, 8, (0,), (1,), "80ff", [(250, 128), (0, 255)]),
        (4, 8, (90, 0), (90, 255), "", [(90, 0), (90, 255)]),
        (4, 16, (0x5A00, 0), (0x5A00, 0xFFFF), "", [(90, 0), (90, 255)]),
        (6, 16, (0x5A00, 0, 0, 0x8080), (0, 0, 0, 0xFFFF), "", [(90, 128), (0, 255)]),
    ],
)
def test_every_kind_of_png_shows_what_it_says_shows_through(
    kind: int,
    depth: int,
    left: tuple[int, ...],
    right: tuple[int, ...],
    transparent: str,
    pixels: list[tuple[int, int]],
) -> None:
    image = upright(read_picture(two_halves(kind, depth, left, right, bytes.fromhex(transparent)))).convert("RGBA")
    shown = [(pixel[0], pixel[3]) for pixel in (image.getpixel((5, 5)), image.getpixel((630, 5)))]
    assert shown == pixels


def test_16_bit_grey_that_shows_through_keeps_its_place_in_every_format() -> None:
    data = two_halves(0, 16, (0,), (0x8000,), b"\0\0")
    for picture_format in ("webp", "avif"):
        image = opened(data, 320, picture_format)
        assert (image.getpixel((20, 100))[3] < 10, image.getpixel((300, 100))[3] > 245) == (True, True)
    assert opened(data, 320, "jpeg").getpixel((20, 100)) == pytest.approx((255, 255, 255), abs=4)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_a_wholly_opaque_alpha_channel_is_dropped(mode: str) -> None:
    data = saved(photo_in(mode), "PNG")
    assert opened(data, 320, "webp").mode == "RGB"


def photo_in(mode: str) -> Image.Image:
    return Image.open(io.BytesIO(photograph(640, 400, "PNG"))).convert(mode)


def test_no_metadata_leaves_the_house() -> None:
    exif = Image.Exif()
    exif[0x010F] = "SECRET-CAMERA"
    exif[0x8825] = {2: (52.0, 31.0, 0.0)}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = photo_in("RGB")
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "SECRET-COMMENT")
    sources = [
        saved(image, "JPEG", exif=exif, comment=b"SECRET-COMMENT", icc_profile=profile, xmp=b"<x>SECRET-XMP</x>"),
        saved(image, "PNG", exif=exif, pnginfo=text, icc_profile=profile),
        saved(image, "WEBP", exif=exif, xmp=b"<x>SECRET-XMP</x>", icc_profile=profile),
        saved(image, "AVIF", exif=exif, xmp=b"<x>SECRET-XMP</x>", icc_profile=profile),
    ]
    for source in sources:
        assert b"SECRET" in source
        for variant in encode_variants(source, **FAST).variants:
            info = Image.open(io.BytesIO(variant.data)).info
            assert b"SECRET" not in variant.data
            assert not {"exif", "icc_profile", "comment", "xmp", "Comment"} & set(info)


def test_equal_bytes_and_settings_encode_to_equal_bytes() -> None:
    data = photograph()
    assert encode_variants(data, **FAST) == encode_variants(data, threads=1, **FAST)


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size() -> None:
    picture = read_picture(photograph(4000, 1000, "JPEG"), widest=480)
    assert picture.pixels.size == (1000, 250)
    assert (picture.width, picture.height) == (4000, 1000)


def test_the_formats_are_encoded_to_look_alike() -> None:
    assert [format_quality(85, kind) for kind in ("avif", "webp", "jpeg")] == [72, 88, 85]
    assert [format_quality(100, "webp"), format_quality(5, "avif")] == [100, 1]
    noise = saved(Image.effect_noise((640, 480), 40).convert("RGB"), "PNG")
    sizes = {
        quality: {v.format: len(v.data) for v in encode_variants(noise, quality, **FAST).variants if v.width == 320}
        for quality in (60, 85)
    }
    assert all(sizes[60][kind] < sizes[85][kind] for kind in ("avif", "webp", "jpeg"))
    assert sizes[85]["avif"] < sizes[85]["jpeg"]


def test_a_key_names_the_source_and_how_it_was_encoded() -> None:
    keys = {
        content_key(sha, quality, speed) for sha in ("a" * 64, "b" * 64) for quality in (70, 85) for speed in (6, 9)
    }
    assert len(keys) == 8
    content = content_key("a" * 64, 85, 6)
    assert content == content_key("a" * 64, 85, 6)
    assert variant_key(content, 480, "jpeg") == f"img/{content}/480.jpg"
    assert variant_key(content, 1920, "avif") == f"img/{content}/1920.avif"


def test_the_placeholder_resembles_the_picture() -> None:
    placeholder = encode_variants(photograph(800, 500, "PNG"), **FAST).placeholder
    preview = np.asarray(thumbhash.decode(placeholder), int)
    assert preview.shape == (18, 32, 4) or preview.shape == (23, 32, 4)
    left, right = preview[:, :4].mean((0, 1)), preview[:, -4:].mean((0, 1))
    gradient = Image.open(io.BytesIO(photograph(800, 500, "PNG")))
    for ours, x in ((left, 50), (right, 750)):
        assert np.abs(ours[:3] - np.array(gradient.getpixel((x, 250)))).max() < 40


def test_a_placeholder_becomes_a_small_png() -> None:
    placeholder = encode_variants(photograph(500, 800, "PNG"), **FAST).placeholder
    head, _, body = thumbhash.to_data_url(placeholder).partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(body)))
    assert head == "data:image/png;base64"
    assert image.format == "PNG"
    assert max(image.size) == 32
    assert image.height > image.width


@pytest.mark.parametrize("alpha", [255, 128])
def test_a_plain_colour_stays_what_it_is(alpha: int) -> None:
    image = Image.new("RGBA", (30, 20), (200, 100, 40, alpha))
    placeholder = base64.b64encode(thumbhash.encode(image)).decode()
    assert thumbhash.decode(placeholder, 32).getpixel((16, 10)) == pytest.approx((200, 100, 40, alpha), abs=8)


def test_a_hash_is_the_one_other_encoders_make() -> None:
    y, x = np.mgrid[0:24, 0:40]
    pixels = np.stack([x * y % 241, y * 10, (x * x + 3 * x * y) % 251, np.full_like(x, 255)], 2).astype(np.uint8)
    assert thumbhash.encode(Image.fromarray(pixels)).hex() == "9bd70d3c90656677708788768886878046f557"


@pytest.mark.parametrize("bad", ["", "AAA", "not base64!", "AAAA"])
def test_a_placeholder_that_is_none_is_refused(bad: str) -> None:
    with pytest.raises(ValueError):
        thumbhash.to_data_url(bad)


@pytest.mark.parametrize("size", [(0, 5), (101, 5)])
def test_a_picture_too_large_to_hash_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError):
        thumbhash.encode(Image.new("RGB", size))


@pytest.mark.parametrize(
    ("size", "small"), [((4000, 3000), (512, 384)), ((900, 1800), (256, 512)), ((400, 300), (400, 300))]
)
def test_a_rendition_is_a_small_jpeg_of_the_whole_picture(size: tuple[int, int], small: tuple[int, int]) -> None:
    image = Image.open(io.BytesIO(rendition(read_picture(photograph(*size, "PNG")))))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", small)
    left, right = (image.getpixel((x, small[1] // 2)) for x in (3, small[0] - 3))
    assert left[2] > 200 > 60 > right[2]


def test_a_rendition_is_turned_and_what_shows_through_is_white() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = saved(Image.new("RGB", (1000, 500)), "JPEG", exif=exif)
    assert Image.open(io.BytesIO(rendition(read_picture(turned)))).size == (256, 512)
    clear = Image.open(io.BytesIO(rendition(read_picture(transparent_palette()))))
    assert clear.getpixel((20, 100)) == pytest.approx((255, 255, 255), abs=4)
