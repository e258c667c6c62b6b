"""Charts and the drawing of the norms, read back from their SVG."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylize.comparison import charts
from stylize.comparison.chart_styles import NORM_STYLES, PLACES, SOLID, NormStyle, norm_style
from stylize.comparison.charts import (
    Bar,
    BarSeries,
    Series,
    bars,
    grouped_bars,
    lines,
    panels,
)
from stylize.comparison.cube import AVERAGING, CHANNELS, PHOTOS, cube_alt, cube_figure
from stylize.config import NORM_NAMES, PLACEMENTS
from stylize.errors import InputError

SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"
BLUE, VERMILLION = "#0072b2", "#d55e00"


def two_lines(**options) -> str:
    series = [
        Series("instance", [1, 2, 3], [0.1, 0.1, 0.1], [0.05] * 3, [0.2] * 3, norm="instance"),
        Series("batch", [1, 2, 3], [0.5, 0.4, 0.3], norm="batch"),
    ]
    return lines(series, x_label="factor", y_label="distance", **options)


def every_chart() -> dict[str, str]:
    one = Series("one", [0, 1], [1.0, 2.0])
    return {
        "lines": two_lines(),
        "panels": panels([("first", [one]), ("second", [one]), ("empty", [])], x_label="x", y_label="y"),
        "bars": bars([Bar("instance", 1, 0.5, 2, "instance"), Bar("batch", 3, norm="batch")], x_label="x"),
        "grouped": grouped_bars(["a", "b"], [BarSeries("before", [1, 2]), BarSeries("after", [1, None])], y_label="y"),
        "cube": cube_figure(["instance", "batch"]),
    }


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    return every_chart()


@pytest.fixture
def readable(monkeypatch):
    """Draw text as text, so that a test can read it."""
    monkeypatch.setitem(charts.SETTINGS, "svg.fonttype", "none")


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()).strip() for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def drawn_lines(svg: str, colour: str) -> list[str]:
    """Return the shapes of all lines in a colour: those of the data, and the sample in the legend."""
    paths = ElementTree.fromstring(svg).iter(f"{SVG}path")
    styles = ((path.get("d", ""), path.get("style", "")) for path in paths)
    return [shape for shape, style in styles if f"stroke: {colour}" in style and "fill: none" in style]


def bar_widths(svg: str, colour: str) -> list[float]:
    """Return the widths of the bars filled with a colour, in points."""
    result = []
    root = ElementTree.fromstring(svg)
    hatches = {id(path) for pattern in root.iter(f"{SVG}pattern") for path in pattern}
    for path in root.iter(f"{SVG}path"):
        if id(path) not in hatches and f"fill: {colour}" in path.get("style", ""):
            corners = [float(x) for x, _ in re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", path.get("d", ""))]
            result.append(max(corners) - min(corners))
    return result


def test_the_same_numbers_give_the_same_bytes_whatever_the_settings_of_the_user(drawn):
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "svg.fonttype": "none", "axes.grid": False}):
        before = dict(matplotlib.rcParams)
        again = every_chart()
        assert dict(matplotlib.rcParams) == before
    assert again == drawn


def test_charts_can_stand_in_one_page(drawn):
    seen: set[str] = set()
    for svg in drawn.values():
        root = ElementTree.fromstring(svg)
        assert root.tag == f"{SVG}svg" and svg.startswith("<svg")
        ids = [element.get("id") for element in root.iter() if element.get("id")]
        assert len(ids) == len(set(ids))
        assert not seen & set(ids)
        seen |= set(ids)
        links = {element.get(LINK) for element in root.iter() if element.get(LINK)}
        links |= set(re.findall(r"url\((#[^)]+)\)", svg))
        assert links and {link.removeprefix("#") for link in links} <= set(ids)
        assert not list(root.iter(f"{SVG}style")), "a style sheet would apply to the whole page"
        assert "<metadata" not in svg and "<text" not in svg
        assert set(re.findall(r"https?://[^\"' <]+", svg)) <= {
            "http://www.w3.org/2000/svg",
            "http://www.w3.org/1999/xlink",
        }


def test_a_norm_has_its_colour(drawn):
    for colour in (BLUE, VERMILLION):
        assert len(drawn_lines(drawn["lines"], colour)) == 2, "the line and its sample in the legend"
        assert len(bar_widths(drawn["bars"], colour)) == 1


def test_a_missing_value_leaves_a_gap():
    for missing in (None, math.nan, -math.inf, 1e308):
        svg = lines([Series("a", [1, 2, 3, 4, 5], [1, 2, missing, 2, 1], norm="batch")], x_label="x", y_label="y")
        assert max(shape.count("M") for shape in drawn_lines(svg, VERMILLION)) == 2
    whole = lines([Series("a", [1, 2, 3, 4, 5], [1, 2, 3, 2, 1], norm="batch")], x_label="x", y_label="y")
    assert max(shape.count("M") for shape in drawn_lines(whole, VERMILLION)) == 1


def test_a_range_is_shaded():
    assert f"fill: {BLUE}; fill-opacity" in two_lines()
    assert f"fill: {VERMILLION}; fill-opacity" not in two_lines()


def test_zero_has_no_place_on_a_logarithmic_axis_and_the_legend_says_so(readable):
    series = [Series("instance", [1, 2, 3], [1e-7, 0, 1e-6], norm="instance"), Series("batch", [1, 2], [0.1, 1.0])]
    svg = lines(series, x_label="x", y_label="y", log_y=True)
    assert "instance (0 not shown)" in texts(svg) and "batch" in texts(svg)
    assert {"10⁻⁶", "0.1", "1"} <= set(texts(svg))
    assert "instance" in texts(lines(series, x_label="x", y_label="y"))


def test_the_steps_of_a_sweep_are_its_ticks(readable):
    places = [0.1, 0.25, 0.5, 1, 2]
    series = [Series("a", places, [1, 2, 3, 4, 5])]
    svg = lines(series, x_label="contrast", y_label="y", log_x=True, vertical=1, vertical_label="as it is")
    assert {"0.1", "0.25", "0.5", "1", "2", "contrast", "as it is"} <= set(texts(svg))


def test_layers_have_names(readable):
    svg = lines([Series("a", [0, 1], [1, 2])], x_label="layer", y_label="y", x_names=["encoder.0", "decoder.3"])
    assert {"encoder.0", "decoder.3"} <= set(texts(svg))


def test_a_second_line_of_a_norm_keeps_its_colour_and_gets_another_stroke():
    x = [1, 2]
    svg = lines(
        [Series("training", x, [1, 1], norm="batch"), Series("evaluation", x, [2, 2], norm="batch")],
        x_label="x",
        y_label="y",
    )
    styles = re.findall(rf"fill: none; (?:stroke-dasharray: ([\d., ]+); )?[^\"]*stroke: {VERMILLION}", svg)
    assert len(styles) == 4 and len(set(styles)) == 2


def test_seeds_of_one_label_share_a_look_and_an_entry(readable):
    series = [Series("batch", [1, 2], [seed, seed + 1], norm="batch") for seed in range(3)]
    svg = lines(series, x_label="x", y_label="y")
    assert texts(svg).count("batch") == 1
    assert len(drawn_lines(svg, VERMILLION)) == 4


def test_lines_without_a_norm_do_not_look_like_one():
    svg = lines([Series(name, [1, 2], [1, 2]) for name in "abcdefgh"], x_label="x", y_label="y")
    assert not drawn_lines(svg, BLUE) and not drawn_lines(svg, VERMILLION)


def test_panels_share_a_legend(readable):
    group = [Series("instance", [1, 2], [1, 1], norm="instance"), Series("batch", [1, 2], [2, 3], norm="batch")]
    found = texts(panels([("contrast", group), ("gamma", group)], x_label="factor", y_label="distance"))
    for word in ("contrast", "gamma", "instance", "batch", "factor", "distance"):
        assert found.count(word) == 1, word


def test_panels_share_their_scale_or_not(readable):
    groups = [(str(top), [Series("a", [0, 1], [0, top])]) for top in (1, 1000)]
    shared = texts(panels(groups, x_label="x", y_label="y"))
    own = texts(panels(groups, x_label="x", y_label="y", share_y=False))
    assert "1000" in shared and "0.2" not in shared
    assert "1000" in own and "0.2" in own


def test_bars_are_as_long_as_their_values():
    svg = bars([Bar("a", 1, norm="instance"), Bar("b", 3, norm="batch"), Bar("c", None)], x_label="x")
    (short,), (long,) = bar_widths(svg, BLUE), bar_widths(svg, VERMILLION)
    assert long == pytest.approx(3 * short, rel=1e-3)


def test_bars_tell_their_values(readable):
    found = texts(bars([Bar("a", 0.0417), Bar("b", -2), Bar("c", None), Bar("d", math.nan)], x_label="distance"))
    assert {"a", "b", "c", "d", "0.0417", "−2.00", "distance"} <= set(found)
    assert found.count("no value") == 2


def test_bars_on_a_logarithmic_axis(readable):
    svg = bars([Bar("a", 1e-6, norm="instance"), Bar("b", 1e-2, norm="batch"), Bar("c", 0)], x_label="x", log_x=True)
    assert {"0", "1.0×10⁻⁶", "0.0100"} <= set(texts(svg))
    (short,), (long,) = bar_widths(svg, BLUE), bar_widths(svg, VERMILLION)
    assert short < long


def test_grouped_bars(readable):
    series = [BarSeries("before", [4, 2], [3, 1], [5, 3], norm="batch"), BarSeries("after", [1, None], norm="batch")]
    svg = grouped_bars(["first", "second"], series, y_label="share", x_label="layer")
    assert {"first", "second", "before", "after", "share", "layer"} <= set(texts(svg))
    assert len(bar_widths(svg, VERMILLION)) == 3, "two bars and the sample in the legend"
    assert "<pattern" in svg, "the second bars of a norm are hatched"


X = {"x_label": "x", "y_label": "y"}


@pytest.mark.parametrize(
    "draw",
    [
        lambda: lines([], **X),
        lambda: lines([Series("a", [], [])], **X),
        lambda: lines([Series("a", [1, 2], [None, math.nan])], **X),
        lambda: lines([Series("a", [1, 2], [0, -1])], log_y=True, **X),
        lambda: lines([Series("a", [1, 2], [1])], **X),
        lambda: lines([Series("a", [1, 2], [1, 2], low=[1, 2])], **X),
        lambda: lines([Series("a", [1, 2], [1, 2], low=[1], high=[2])], **X),
        lambda: lines([Series("a", [1], ["much"])], **X),
        lambda: panels([], **X),
        lambda: panels([("a", [])], **X),
        lambda: panels([("a", [Series("a", [1], [1])])], columns=0, **X),
        lambda: bars([], x_label="x"),
        lambda: bars([Bar("a", None)], x_label="x"),
        lambda: bars([Bar("a", 0)], x_label="x", log_x=True),
        lambda: grouped_bars([], [], y_label="y"),
        lambda: grouped_bars(["a"], [], y_label="y"),
        lambda: grouped_bars(["a"], [BarSeries("b", [1, 2])], y_label="y"),
        lambda: cube_figure([]),
        lambda: cube_figure(["instanze"]),
    ],
)
def test_nothing_to_show_is_one_clear_line(draw):
    with pytest.raises(InputError) as caught:
        draw()
    assert "\n" not in str(caught.value)


def test_names_of_users_are_drawn_as_they_are(readable):
    names = ["$x^2$.jpg", "_hidden", "星空", "a\nb", "100% <&>"]
    svg = lines([Series(name, [1, 2], [1, 2]) for name in names], x_label="$5_a", y_label="y")
    assert {"$x^2$.jpg", "_hidden", "星空", "a b", "100% <&>", "$5_a"} <= set(texts(svg))


def test_names_that_the_font_does_not_have_are_no_warning():
    assert lines([Series("星空", [1, 2], [1, 2])], **X).startswith("<svg")


def has_place(value: float | None, above_zero: bool) -> bool:
    return value is not None and math.isfinite(value) and (value > 0 or not above_zero)


number = st.one_of(st.none(), st.floats(width=32))


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(number, number), min_size=1, max_size=6), st.booleans(), st.booleans())
def test_any_numbers_are_drawn_or_refused(points, log_x, log_y):
    x, y = [point[0] for point in points], [point[1] for point in points]
    try:
        svg = lines([Series("a", x, y)], log_x=log_x, log_y=log_y, **X)
    except InputError:
        assert not any(has_place(one, log_x) and has_place(other, log_y) for one, other in points)
        return
    ElementTree.fromstring(svg)


def test_every_norm_has_a_look_of_its_own():
    assert norm_style("instance").colour.lower() == BLUE
    assert norm_style("batch").colour.lower() == VERMILLION
    assert len({look.colour for look in NORM_STYLES.values()}) == len(NORM_STYLES)
    assert len({look.marker for look in NORM_STYLES.values()}) == len(NORM_STYLES)
    placed = [norm_style(f"{norm}@{place}") for norm in ("instance", "batch") for place in PLACES]
    placed += [norm_style(f"instance@{place}+none") for place in PLACES]
    assert len(set(placed)) == len(placed)


def test_every_norm_and_placement_of_the_project_is_known_here():
    assert set(NORM_STYLES) == set(AVERAGING) == set(NORM_NAMES)
    assert set(PLACES) == set(PLACEMENTS)


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@given(st.one_of(st.text(), st.text().map(lambda place: f"instance@{place}")))
def test_any_name_has_a_look_that_shows_on_white_and_stays(name):
    look = norm_style(name)
    assert look == norm_style(name)
    assert (1.05) / (luminance(look.colour) + 0.05) > 1.9
    if name not in NORM_STYLES and "@" not in name:
        assert look.colour.lower() not in (BLUE, VERMILLION)


def test_the_look_of_an_unknown_name_follows_from_the_name_alone():
    assert norm_style("switchable") == NormStyle("#56B4E9", "P", SOLID)


def members(norm: str) -> set[tuple[int, int]]:
    """Return (photo, channel) of the set shown; photo 0 is in front, the last channel at the right."""
    places = ((photo, channel) for photo in range(PHOTOS) for channel in range(CHANNELS))
    return {place for place in places if AVERAGING[norm].member(*place)}


def test_the_drawing_shows_what_each_norm_averages_over():
    last = CHANNELS - 1
    assert members("instance") == {(0, last)}
    assert members("batch") == {(photo, last) for photo in range(PHOTOS)}
    assert members("layer") == {(0, channel) for channel in range(CHANNELS)}
    assert members("group") == {(0, channel) for channel in range(CHANNELS // 2, CHANNELS)}
    assert members("ibn") == members("batch") | {(0, CHANNELS // 2 - 1)}
    assert members("batch-instance") == members("batch")
    assert not members("none") and not members("weight")


@pytest.mark.parametrize(
    ("norm", "blue", "vermillion"),
    [("instance", 4, 0), ("batch", 0, 12), ("ibn", 4, 12), ("batch-instance", 4, 8), ("none", 0, 0), ("weight", 0, 0)],
)
def test_the_fronts_of_the_set_are_in_the_colour_of_the_norm(norm, blue, vermillion):
    svg = cube_figure([norm])
    assert len(re.findall(rf"fill: {BLUE}\b", svg)) == blue
    assert len(re.findall(rf"fill: {VERMILLION}\b", svg)) == vermillion


def test_the_axes_of_the_drawing_are_named(readable):
    found = texts(cube_figure(["instance", "batch@first", "batch"]))
    for word in ("photos", "channels"):
        assert found.count(word) == 2, "one block for each norm, placements are drawn as their norm"
    assert {"instance", "batch", "positions"} <= set(found)
    assert "averages over positions" in cube_alt(["instance"])
    assert "batch: averages over photos and positions" in cube_alt(["batch@first"])
