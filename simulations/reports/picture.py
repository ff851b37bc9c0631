"""A run as a picture: one HTML file that needs nothing else.

Time runs from left to right, each replica is a lane.  A message is an arrow from where it left to where it arrived, in
the colour of its kind; a lost one ends in a cross.  The lane's background shows the view, grey while it is down.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from simulations.observations import (
    Accused,
    BlockMade,
    Crashed,
    Delivered,
    Dropped,
    EnteredView,
    FaultChanged,
    Halted,
    Observation,
    Restarted,
)
from simulations.reports.words import KINDS, get_replica, tell, tell_message

ARROWS_MAX = 4_000
"""More would make a picture that no browser scrolls; the rest is counted in a note."""
MARKS_MAX = 4_000
LANE_PX, TOP_PX, LEFT_PX, WIDTH_MIN_PX, WIDTH_MAX_PX = 90, 60, 90, 900, 12_000
KIND_COLOURS = {
    "PRE-PREPARE": "#1b5e9b",
    "PREPARE": "#3f9b3a",
    "COMMIT": "#b8560f",
    "CHECKPOINT": "#7b7b7b",
    "VIEW-CHANGE": "#c2185b",
    "NEW-VIEW": "#6a1b9a",
    "STATUS": "#c9b458",
    "BODY": "#00838f",
    "RECALL": "#8d6e63",
    "RECALLED": "#5d4037",
}
VIEW_COLOURS = ("#f3f8ff", "#fff6e9", "#f0fbef", "#fdf0f4", "#f4f0fb", "#edfafa")
"""In turn; each band says its view."""
STYLE = (
    "body{font:14px system-ui,sans-serif;margin:16px}svg{border:1px solid #ccc}text{font:11px monospace}"
    ".scroll{overflow-x:auto}.key{display:inline-block;width:12px;height:12px;margin:0 4px 0 14px}"
)


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of a lane: a view, or None while the replica is down."""

    replica: int
    from_ms: int
    to_ms: int
    view: int | None


@dataclass(frozen=True, slots=True)
class Scale:
    """From milliseconds and replicas to pixels."""

    from_ms: int
    to_ms: int
    width_px: int

    def x(self, at_ms: int) -> str:
        span = max(1, self.to_ms - self.from_ms)
        return f"{LEFT_PX + (at_ms - self.from_ms) * self.width_px / span:.1f}"

    @staticmethod
    def y(replica: int) -> int:
        return TOP_PX + replica * LANE_PX + LANE_PX // 2


def make_picture(
    observations: Iterable[Observation],
    *,
    title: str = "A run",
    from_ms: int = 0,
    to_ms: int | None = None,
    arrows_max: int = ARROWS_MAX,
) -> str:
    """Return the HTML; with a time window only what happened in it, but with the views that were entered before."""
    seen = list(observations)
    end = max((each.at_ms for each in seen), default=from_ms) if to_ms is None else to_ms
    n = 1 + max((_highest_replica(each) for each in seen), default=0)
    inside = [each for each in seen if from_ms <= each.at_ms <= end]
    width = min(WIDTH_MAX_PX, max(WIDTH_MIN_PX, (end - from_ms) // 2))
    scale = Scale(from_ms, end, width)
    height = TOP_PX + n * LANE_PX + 20
    arrows = [each for each in inside if isinstance(each, Delivered | Dropped)]
    marks = [each for each in inside if not isinstance(each, Delivered | Dropped)]
    parts = [
        *_draw_lanes(n, scale),
        *_draw_bands(_make_bands(seen, n, end), scale),
        *_draw_arrows(arrows[:arrows_max], scale),
        *_draw_marks(marks, scale, height),
    ]
    note = _make_note(arrows, arrows_max, from_ms, end)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>\n<h1>{escape(title)}</h1>\n<p>{_make_legend()}</p>\n<p>{note}</p>\n"
        f'<div class="scroll"><svg width="{LEFT_PX + width + 40}" height="{height}">\n'
        + _DEFINITIONS
        + "\n".join(parts)
        + "\n</svg></div>\n</body></html>\n"
    )


def _highest_replica(observation: Observation) -> int:
    if isinstance(observation, Delivered | Dropped):
        return max(observation.source, observation.to)
    return get_replica(observation) or 0


def _make_bands(observations: Sequence[Observation], n: int, end_ms: int) -> list[Band]:
    """Follow each replica through its views and crashes.  A restarted one is in the view that it enters, or was in."""
    bands: list[Band] = []
    since = [(0, 0, True)] * n  # from when, view, up
    for each in observations:
        if isinstance(each, EnteredView | Crashed | Restarted) and each.at_ms <= end_ms:
            from_ms, view, up = since[each.replica]
            bands.append(Band(each.replica, from_ms, each.at_ms, view if up else None))
            now = each.view if isinstance(each, EnteredView) else view
            since[each.replica] = (each.at_ms, now, not isinstance(each, Crashed))
    bands.extend(
        Band(number, from_ms, end_ms, view if up else None) for number, (from_ms, view, up) in enumerate(since)
    )
    return [band for band in bands if band.to_ms > band.from_ms]


def _draw_lanes(n: int, scale: Scale) -> Iterator[str]:
    for number in range(n):
        y = scale.y(number)
        yield f'<text x="8" y="{y + 4}">replica {number}</text>'
    for tenth in range(11):
        at_ms = scale.from_ms + (scale.to_ms - scale.from_ms) * tenth // 10
        yield f'<text x="{scale.x(at_ms)}" y="16" fill="#666">{at_ms} ms</text>'


def _draw_bands(bands: Iterable[Band], scale: Scale) -> Iterator[str]:
    for band in bands:
        start, stop = max(band.from_ms, scale.from_ms), min(band.to_ms, scale.to_ms)
        if start > stop or band.to_ms <= scale.from_ms:
            continue
        x, y = scale.x(start), scale.y(band.replica) - LANE_PX // 2 + 4
        width = float(scale.x(stop)) - float(x)
        colour = "#d5d5d5" if band.view is None else VIEW_COLOURS[band.view % len(VIEW_COLOURS)]
        says = "down" if band.view is None else f"view {band.view}"
        yield (
            f'<rect class="band" x="{x}" y="{y}" width="{width:.1f}" height="{LANE_PX - 8}" fill="{colour}">'
            f"<title>{says}</title></rect>"
        )
        yield f'<text x="{float(x) + 3:.1f}" y="{y + 12}" fill="#888">{says}</text>'
    for replica in sorted({band.replica for band in bands}):
        y = scale.y(replica)
        yield f'<line x1="{LEFT_PX}" y1="{y}" x2="{LEFT_PX + scale.width_px}" y2="{y}" stroke="#aaa"/>'


def _draw_arrows(arrows: Iterable[Delivered | Dropped], scale: Scale) -> Iterator[str]:
    for each in arrows:
        x, y, y_from = scale.x(each.at_ms), scale.y(each.to), scale.y(each.source)
        if isinstance(each, Dropped):
            says = escape(f"{each.at_ms} ms: {each.source} to {each.to} lost: {each.why}")
            middle = (y + y_from) // 2
            yield (
                f'<g class="lost"><line x1="{x}" y1="{y_from}" x2="{x}" y2="{middle}" stroke="#c00" '
                f'stroke-dasharray="2 3"/><text x="{x}" y="{middle}" fill="#c00">×</text><title>{says}</title></g>'
            )
            continue
        kind = KINDS[type(each.signed.message)]
        says = escape(f"{each.sent_ms} to {each.at_ms} ms: {each.source} to {each.to}: {tell_message(each.signed)}")
        yield (
            f'<line class="arrow" x1="{scale.x(max(each.sent_ms, scale.from_ms))}" y1="{y_from}" x2="{x}" y2="{y}" '
            f'stroke="{KIND_COLOURS[kind]}" marker-end="url(#{kind})"><title>{says}</title></line>'
        )


def _draw_marks(observations: Iterable[Observation], scale: Scale, height: int) -> Iterator[str]:
    """Blocks, crashes, restarts, halts, accusations on their lane; faults of the scenario across all of them."""
    signs: dict[type[Observation], tuple[str, str]] = {
        BlockMade: ("■", "#222"),
        Crashed: ("✖", "#c00"),
        Restarted: ("▲", "#0a0"),
        Halted: ("◆", "#c00"),
        Accused: ("⚑", "#c2185b"),
    }
    drawn = 0
    for each in observations:
        if drawn >= MARKS_MAX:
            return
        x, says = scale.x(each.at_ms), escape(f"{each.at_ms} ms: {tell(each)}")
        if isinstance(each, FaultChanged):
            yield (
                f'<g class="fault"><line x1="{x}" y1="34" x2="{x}" y2="{height}" stroke="#c00" stroke-dasharray="6 4"/>'
                f'<text x="{x}" y="32" fill="#c00">{escape(each.what)}</text><title>{says}</title></g>'
            )
        elif type(each) in signs:
            sign, colour = signs[type(each)]
            y = scale.y(get_replica(each) or 0)
            number = str(each.executed.header.height) if isinstance(each, BlockMade) else ""
            yield (
                f'<g class="mark"><text x="{x}" y="{y + 4}" fill="{colour}">{sign}</text>'
                f'<text x="{x}" y="{y + 24}">{number}</text><title>{says}</title></g>'
            )
        else:
            continue
        drawn += 1


def _make_note(arrows: Sequence[Delivered | Dropped], arrows_max: int, from_ms: int, end_ms: int) -> str:
    note = f"{from_ms} to {end_ms} ms, {len(arrows)} messages."
    left_out = arrows[arrows_max:]
    if left_out:
        note += (
            f" Not drawn: the {len(left_out)} after {left_out[0].at_ms} ms; choose a shorter time window to see them."
        )
    return note


def _make_legend() -> str:
    keys = "".join(
        f'<span class="key" style="background:{colour}"></span>{kind}' for kind, colour in KIND_COLOURS.items()
    )
    return keys + "<br>■ block, its height below · ✖ crash · ▲ restart · ◆ halt · ⚑ accusation · × lost · grey: down"


_DEFINITIONS = (
    "<defs>"
    + "".join(
        f'<marker id="{kind}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
        f'<path d="M0,1 L8,4 L0,7 z" fill="{colour}"/></marker>'
        for kind, colour in KIND_COLOURS.items()
    )
    + "</defs>\n"
)
