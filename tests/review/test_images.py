"""Pictures from agents: only their pixels come through."""

import base64
import io

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from review.images import MAX_PICTURE_BYTES, MAX_SIDE, UninspectableError, re_encoded


def encoded(picture: Image.Image, form: str = "PNG", **options: object) -> str:
    out = io.BytesIO()
    picture.save(out, form, **options)
    return base64.b64encode(out.getvalue()).decode()


def opened(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content), formats=["PNG"])
    picture.load()
    return picture


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_a_picture_comes_out_as_a_png_of_the_same_size(form: str) -> None:
    picture = Image.new("RGB", (30, 20), (255, 0, 0))

    drawn = opened(re_encoded(encoded(picture, form)))

    pixel = drawn.convert("RGB").getpixel((15, 10))
    assert (drawn.format, drawn.size) == ("PNG", (30, 20))
    assert isinstance(pixel, tuple)
    assert all(abs(found - meant) < 6 for found, meant in zip(pixel, (255, 0, 0), strict=True))


def test_transparency_stays() -> None:
    picture = Image.new("RGBA", (4, 4), (1, 2, 3, 0))

    assert opened(re_encoded(encoded(picture))).getpixel((0, 0)) == (1, 2, 3, 0)


def test_metadata_is_stripped() -> None:
    told = PngInfo()
    told.add_text("Comment", "ada@example.com")
    exif = Image.Exif()
    exif[0x010E] = "ada@example.com"
    content = encoded(Image.new("RGB", (4, 4)), pnginfo=told, exif=exif, icc_profile=b"ada@example.com", dpi=(72, 72))

    drawn = re_encoded(content)

    assert b"ada@example.com" in base64.b64decode(content)
    assert b"ada" not in drawn
    assert opened(drawn).info == {}


def test_what_follows_the_picture_is_dropped() -> None:
    content = base64.b64decode(encoded(Image.new("RGB", (4, 4)))) + b"<script>alert(1)</script>"

    assert b"script" not in re_encoded(base64.b64encode(content).decode())


def test_a_turned_photo_is_shown_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6

    drawn = opened(re_encoded(encoded(Image.new("RGB", (30, 20)), "JPEG", exif=exif)))

    assert drawn.size == (20, 30)


def test_a_large_picture_is_made_smaller() -> None:
    drawn = opened(re_encoded(encoded(Image.new("1", (5_000, 2_500)))))

    assert drawn.size == (MAX_SIDE, MAX_SIDE // 2)


def test_a_picture_that_does_not_shrink_by_itself_is_made_to_fit() -> None:
    noise = Image.effect_noise((900, 900), 100).convert("RGB")

    drawn = re_encoded(encoded(noise, "JPEG", quality=60))

    assert len(drawn) <= MAX_PICTURE_BYTES
    assert min(opened(drawn).size) > 200


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "cannot be decoded"),
        ("***", "is not base64"),
        ("äöü", "is not base64"),
        (base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>").decode(), "cannot be decoded"),
        (base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 40).decode(), "cannot be decoded"),
        (encoded(Image.new("RGB", (40, 40)))[:60], "cannot be decoded"),
        (encoded(Image.new("RGB", (4, 4)), "TIFF"), "cannot be decoded"),
        (encoded(Image.new("1", (5_001, 4_000))), "more than 20 million pixels"),
        (encoded(Image.new("1", (10_000, 10_000))), "cannot be inspected"),
        (encoded(Image.new("1", (20_000, 20_000))), "cannot be decoded"),
    ],
)
def test_what_cannot_be_shown_is_uninspectable(content: str, why: str) -> None:
    with pytest.raises(UninspectableError, match=why):
        re_encoded(content)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_a_moving_picture_is_uninspectable(form: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "green")]
    content = encoded(frames[0], form, save_all=True, append_images=frames[1:], duration=100)

    with pytest.raises(UninspectableError, match="it moves"):
        re_encoded(content)


def test_twenty_million_pixels_are_still_shown() -> None:
    drawn = opened(re_encoded(encoded(Image.new("1", (5_000, 4_000)))))

    assert drawn.width == MAX_SIDE
