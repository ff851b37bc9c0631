"""Pictures of lines, as SVG text: what reports in docs/ show."""

import math
from collections.abc import Mapping, Sequence

WIDE, HIGH, LEFT, LOW, RIGHT, TOP = 720, 320, 70, 40, 130, 40
STEPS = 4
POINTS_MAX = 300


def draw_lines(title: str, note: str, series: Mapping[str, Sequence[float]], colours: Mapping[str, str]) -> str:
    """Return a picture of lines over 1, 2, 3, …; many values are thinned out."""
    top = max(max(values) for values in series.values()) or 1.0
    count = max(len(values) for values in series.values())
    grid = [(_rise(step / STEPS), f"{top * step / STEPS:,.4g}") for step in range(STEPS + 1)]
    lines = {
        name: [
            (LEFT + at * (WIDE - RIGHT - LEFT) / max(1, count - 1), _rise(values[at] / top))
            for at in range(0, len(values), max(1, len(values) // POINTS_MAX))
        ]
        for name, values in series.items()
    }
    return _frame(HIGH, [*_start(title, note, grid), *_draw(lines, colours)])


def draw_log_lines(
    title: str, note: str, places: Sequence[int], series: Mapping[str, Sequence[float]], colours: Mapping[str, str]
) -> str:
    """Return a picture of lines over the places given, both axes logarithmic.  All values are above 0."""
    values = [value for each in series.values() for value in each]
    least, most = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    span, wide = max(1, most - least), math.log(places[-1] / places[0]) or 1.0

    def across(place: int) -> float:
        return LEFT + math.log(place / places[0]) / wide * (WIDE - RIGHT - LEFT)

    grid = [(_rise((power - least) / span), f"{10.0**power:,.4g}") for power in range(least, least + span + 1)]
    lines = {
        name: [
            (across(place), _rise((math.log10(value) - least) / span))
            for place, value in zip(places, each, strict=True)
        ]
        for name, each in series.items()
    }
    marks = [
        f'<text x="{across(place):.1f}" y="{HIGH - LOW + 14}" text-anchor="middle">{place}</text>' for place in places
    ]
    dots = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colours[name]}"/>'
        for name, points in lines.items()
        for x, y in points
    ]
    return _frame(HIGH, [*_start(title, note, grid), *marks, *_draw(lines, colours), *dots])


def _rise(share: float) -> float:
    return HIGH - LOW - share * (HIGH - LOW - TOP)


def _start(title: str, note: str, grid: Sequence[tuple[float, str]]) -> list[str]:
    parts = [f'<text x="{LEFT}" y="18" font-size="14" font-weight="bold">{title}</text>']
    for y, label in grid:
        parts.append(f'<line x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    parts.append(f'<text x="{LEFT}" y="{HIGH - 12}">{note}</text>')
    return parts


def _draw(lines: Mapping[str, Sequence[tuple[float, float]]], colours: Mapping[str, str]) -> list[str]:
    parts: list[str] = []
    for place, (name, points) in enumerate(lines.items()):
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{joined}" fill="none" stroke="{colours[name]}" stroke-width="1.6"/>')
        parts.append(f'<text x="{WIDE - RIGHT + 8}" y="{48 + 18 * place}" fill="{colours[name]}">{name}</text>')
    return parts


def _frame(high: int, parts: Sequence[str]) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {high}" '
            'font-family="sans-serif" font-size="12">',
            f'<rect width="{WIDE}" height="{high}" fill="#ffffff"/>',
            *parts,
            "</svg>",
            "",
        ]
    )
