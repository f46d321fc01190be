"""Pictures as pages carry them: bytes, addresses, and the HTML of Plotly figures."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

_PNG_PIXELS = 256
_MAX_PIXELS = 640


def image_bytes(image: np.ndarray) -> bytes:
    """An image (H, W, 3), uint8, as a page carries it: PNG, or WebP of at most 640 pixels per side for a large one.

    >>> image_bytes(np.zeros((2, 2, 3), np.uint8))[1:4], image_bytes(np.zeros((900, 30, 3), np.uint8))[8:12]
    (b'PNG', b'WEBP')
    """
    picture = Image.fromarray(np.ascontiguousarray(image))
    buffer = BytesIO()
    if max(picture.size) <= _PNG_PIXELS:
        picture.save(buffer, "PNG")
    else:
        picture.thumbnail((_MAX_PIXELS, _MAX_PIXELS))
        picture.save(buffer, "WEBP", quality=85)
    return buffer.getvalue()


def data_address(png: bytes) -> str:
    """A PNG as an address that holds the picture itself."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def plotly_div(figure: Any, *, with_library: bool = True) -> str:
    """HTML of a Plotly figure without the network; plotly.js (about 5 MB) before it, once in a page is enough.

    >>> "plotly" in plotly_div({"data": []}, with_library=False).lower()
    True
    """
    from plotly import io

    return io.to_html(
        figure, include_plotlyjs=with_library, full_html=False, include_mathjax=False, validate=False
    )
