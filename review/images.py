"""Pictures from agents: decoded, measured and drawn anew, so that only pixels reach a reviewer's browser."""

import base64
import binascii
import io

from PIL import Image, ImageOps

from agents.protocol import MAX_BODY_BYTES
from review.errors import ReviewError

# The media type of a picture that cannot be shown.
UNINSPECTABLE = "application/x-uninspectable"
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
MAX_PIXELS = 20_000_000
MAX_SIDE = 2_048

# A context entry holds no more text than this, and base64 makes four signs of three bytes.
MAX_PICTURE_BYTES = MAX_BODY_BYTES // 4 * 3

_NOT_BASE64 = "it is not base64"
_NOT_DECODED = "it cannot be decoded"
_TOO_MANY_PIXELS = f"it has more than {MAX_PIXELS // 1_000_000} million pixels"
_MOVES = "it moves, and only one of its pictures could be shown"
_TOO_LARGE = "it cannot be made small enough to be kept"

_COLOURS = 256
_SMALLER = 0.8
_SMALLEST_SIDE = 16


class UninspectableError(ReviewError):
    """A picture cannot be shown, so nobody can say what it holds."""

    code = "uninspectable"
    status = 422

    def __init__(self, why: str) -> None:
        super().__init__(f"The picture cannot be inspected: {why}.")


def re_encoded(content_base64: str) -> bytes:
    """Return the picture as a PNG that holds its pixels and nothing else: no metadata, no animation.

    It is turned as its EXIF orientation says, and loses first colours and then size until it fits into a
    context entry. Raises UninspectableError for what is no picture, moves, or has more than 20 million
    pixels.
    """
    try:
        content = base64.b64decode(content_base64, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UninspectableError(_NOT_BASE64) from error
    return _fitting(_pixels(content))


def _pixels(content: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            _require_modest(picture)
            turned = ImageOps.exif_transpose(picture)
            clean = turned.convert("RGBA" if turned.has_transparency_data else "RGB")
    except UninspectableError:
        raise
    except Exception as error:  # Decoders raise many things over broken files, and none of them may be shown.
        raise UninspectableError(_NOT_DECODED) from error
    clean.info.clear()
    clean.thumbnail((MAX_SIDE, MAX_SIDE))
    return clean


def _require_modest(picture: Image.Image) -> None:
    if picture.width * picture.height > MAX_PIXELS:
        raise UninspectableError(_TOO_MANY_PIXELS)
    if getattr(picture, "is_animated", False):
        raise UninspectableError(_MOVES)


def _fitting(picture: Image.Image) -> bytes:
    drawn = _png(picture)
    while len(drawn) > MAX_PICTURE_BYTES and min(picture.size) > _SMALLEST_SIDE:
        drawn = _png(picture.quantize(_COLOURS, method=Image.Quantize.FASTOCTREE))
        picture = picture.resize((round(picture.width * _SMALLER), round(picture.height * _SMALLER)))
    if len(drawn) > MAX_PICTURE_BYTES:
        raise UninspectableError(_TOO_LARGE)
    return drawn


def _png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
