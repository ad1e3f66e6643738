"""Contrast meets WCAG 2.2 AA in both schemes, and the style sheet stays within its own element."""

from __future__ import annotations

import re
from dataclasses import asdict

import pytest

from sentinelzer0.reports import render, render_fragment
from sentinelzer0.reports.palette import DARK, LIGHT, Palette, blend, contrast
from sentinelzer0.reports.theme import AREA_OPACITY, BAND_OPACITY, FADED_OPACITY, css
from tests.unit.reports_sample import document, interval_chart

SCHEMES = pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
SERIES = ("series1", "series2", "series3", "series4", "series5")


def test_contrast_agrees_with_the_published_examples() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)


@SCHEMES
@pytest.mark.parametrize("role", ["text", "muted", "accent", "good", "caution", "bad"])
@pytest.mark.parametrize("ground", ["page", "surface", "sunk"])
def test_text_contrast(palette: Palette, role: str, ground: str) -> None:
    assert contrast(getattr(palette, role), getattr(palette, ground)) >= 4.5


@SCHEMES
@pytest.mark.parametrize("role", [*SERIES, "axis", "good", "caution", "bad", "text"])
def test_meaningful_lines_contrast_with_the_surface(palette: Palette, role: str) -> None:
    assert contrast(getattr(palette, role), palette.surface) >= 3.0


@SCHEMES
def test_text_and_lines_stay_legible_on_bands_and_areas(palette: Palette) -> None:
    band = blend(palette.series1, palette.surface, BAND_OPACITY)
    faded = blend(palette.series1, palette.surface, FADED_OPACITY)
    assert contrast(palette.text, band) >= 4.5
    assert min(contrast(palette.series1, ground) for ground in (band, faded)) >= 3.0
    for series in SERIES:
        area = blend(getattr(palette, series), palette.surface, AREA_OPACITY)
        assert contrast(palette.text, area) >= 4.5
        assert contrast(getattr(palette, series), area) >= 3.0


@SCHEMES
def test_series_differ_from_each_other(palette: Palette) -> None:
    assert len({getattr(palette, series) for series in SERIES}) == len(SERIES)


def test_every_rule_is_scoped() -> None:
    without_at_rules = re.sub(r"@[a-z]+ ?(?:\([^{]*\)|print)\{", "", css())
    selectors = re.findall(r"([^{}]+)\{", without_at_rules)
    assert len(selectors) > 80
    assert [s for rule in selectors for s in rule.split(",") if not s.strip().startswith(".sz0")] == []


def test_colours_come_only_from_variables() -> None:
    rules = re.sub(r"--[a-z0-9]+:#[0-9a-f]{6};", "", css())
    assert re.findall(r"#[0-9a-f]{3,8}\b|rgba?\(|hsl", rules) == []
    defined = set(asdict(LIGHT))
    assert set(re.findall(r"var\(--([a-z0-9]+)\)", css())) <= defined


def test_drawings_carry_no_colour_of_their_own() -> None:
    page = render(document())
    drawings = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))
    painted = set(re.findall(r'(?:fill|stroke)="([^"]*)"', drawings))
    assert {value for value in painted if not value.startswith("url(#")} == {"none", "currentColor"}


def test_the_sheet_covers_dark_print_focus_and_motion() -> None:
    sheet = css()
    for needed in ("prefers-color-scheme:dark", "@media print", ":focus-visible", "prefers-reduced-motion"):
        assert needed in sheet
    assert "transition" not in re.sub(r"@media \(prefers-reduced-motion:no-preference\)\{[^@]*", "", sheet)


def test_a_fragment_is_static_and_small() -> None:
    fragment = render_fragment(interval_chart())
    assert fragment.startswith('<div class="sz0 fragment">')
    assert fragment.count('role="img"') == 1
    assert len(fragment.encode()) < 80_000
