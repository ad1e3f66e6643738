"""The colours of a report, for light and dark, and the arithmetic that proves their contrast.

Contrast follows WCAG 2.2 (relative luminance of sRGB). The tests hold every pair in use to AA: 4.5 for text, 3 for
lines and shapes that carry meaning. Gridlines carry none.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours by role, as ``#rrggbb``."""

    page: str
    surface: str  # figures, tables
    sunk: str  # table heads, code, verdict
    text: str
    muted: str
    line: str  # gridlines, borders: decoration
    axis: str
    accent: str  # links, focus, the estimate
    good: str
    caution: str
    bad: str
    series1: str
    series2: str
    series3: str
    series4: str
    series5: str

    def variables(self) -> str:
        """Return the CSS custom properties."""
        return "".join(f"--{name}:{value};" for name, value in asdict(self).items())


LIGHT = Palette(
    page="#f7f8fa",
    surface="#ffffff",
    sunk="#eff2f6",
    text="#141a22",
    muted="#4f5b69",
    line="#e3e7ec",
    axis="#7c8794",
    accent="#0a58c2",
    good="#0a7040",
    caution="#875400",
    bad="#bb1f2a",
    series1="#0a58c2",
    series2="#b3480a",
    series3="#08766a",
    series4="#7636b8",
    series5="#6a5b14",
)
DARK = Palette(
    page="#0d1117",
    surface="#141920",
    sunk="#1c232c",
    text="#e9edf2",
    muted="#a5b0be",
    line="#262e38",
    axis="#77838f",
    accent="#74b3ff",
    good="#4fc98f",
    caution="#e9b949",
    bad="#ff8080",
    series1="#74b3ff",
    series2="#ffa562",
    series3="#4fd0ba",
    series4="#c9a2ff",
    series5="#d9c479",
)


def contrast(one: str, other: str) -> float:
    """Return the WCAG contrast ratio of two ``#rrggbb`` colours, 1 to 21."""
    bright, dim = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def blend(over: str, under: str, opacity: float) -> str:
    """Return the colour seen where ``over`` lies on ``under`` at an opacity of 0 to 1."""
    mixed = (round(a * opacity + b * (1 - opacity)) for a, b in zip(_channels(over), _channels(under), strict=True))
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    red, green, blue = (
        channel / 255 / 12.92 if channel / 255 <= 0.04045 else ((channel / 255 + 0.055) / 1.055) ** 2.4
        for channel in _channels(colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
