"""Lines over two logarithmic axes, lines over one time, and bars beside each other, as SVG drawings."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

_WIDTH, _HEIGHT = 760, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 210, 50, 60
_PANEL, _BETWEEN = 130, 40
_INK, _GRID = "#333333", "#dddddd"
# Beyond that, their names do not fit beside each other.
_GROUPS_IN_A_ROW = 4


@dataclass(frozen=True, slots=True)
class Line:
    """Points that belong together, in order; above zero where axes are logarithmic."""

    name: str
    colour: str
    dashes: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class _Axis:
    """Whole powers of ten from `low` to `high`, between two places on the drawing."""

    low: int
    high: int
    first: float
    last: float

    @classmethod
    def over(cls, values: Sequence[float], first: float, last: float) -> "_Axis":
        low, high = floor(log10(min(values))), ceil(log10(max(values)))
        return cls(low, max(high, low + 1), first, last)

    def place(self, value: float) -> float:
        """Return where a value is."""
        return self.first + (log10(value) - self.low) / (self.high - self.low) * (self.last - self.first)

    @property
    def ticks(self) -> list[int]:
        return list(range(self.low, self.high + 1))


def drawn(title: str, across: str, up: str, lines: Sequence[Line]) -> str:
    """Return the drawing of `lines`; those without points are left out."""
    lines = [line for line in lines if line.points]
    points = [point for line in lines for point in line.points]
    x = _Axis.over([point[0] for point in points], _LEFT, _WIDTH - _RIGHT)
    y = _Axis.over([point[1] for point in points], _HEIGHT - _BOTTOM, _TOP)
    parts = [
        *_frame(title),
        *_grid(x, y),
        _text((x.first + x.last) / 2, _HEIGHT - 16, across, anchor="middle"),
        _text(20, _TOP - 12, up),
        *(part for place, line in enumerate(lines) for part in _line(line, x, y, _TOP + 20 * place)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def followed(title: str, across: str, places: Mapping[float, str], lines: Sequence[Line]) -> str:
    """Return a drawing of `lines` below each other, each over an axis of its own from zero.

    They have the axis across in common, with names at some `places` in ascending order.
    """
    first, last = min(places), max(places)
    bottom = _TOP + len(lines) * (_PANEL + _BETWEEN)
    parts = _frame(title, bottom + 30)
    for number, line in enumerate(lines):
        top = _TOP + number * (_PANEL + _BETWEEN) + 10
        height, ticks, _ = _from_zero([value for _, value in line.points], top + _PANEL, top)
        parts.append(_text(_LEFT, top - 8, line.name))
        for value in ticks:
            parts.append(_stroke(_LEFT, height(value), _WIDTH - _LEFT, height(value), _GRID))
            parts.append(_text(_LEFT - 8, height(value) + 4, f"{value:,.4g}", anchor="end", size=10))
        for place, name in places.items():
            x = _along(place, first, last)
            parts.append(_stroke(x, top, x, top + _PANEL, _GRID))
            parts.append(_text(x, top + _PANEL + 16, name, anchor="middle", size=10))
        path = " ".join(f"{_along(place, first, last):.1f},{height(value):.1f}" for place, value in line.points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="1.5"/>')
    parts.append(_text(_WIDTH / 2, bottom + 16, across, anchor="middle"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _along(place: float, first: float, last: float) -> float:
    return _LEFT + (place - first) / (last - first) * (_WIDTH - 2 * _LEFT)


@dataclass(frozen=True, slots=True)
class Bars:
    """What belongs to one side: its name, its colour, and a value for each group; `None` where it has none."""

    name: str
    colour: str
    values: Sequence[float | None]


def barred(
    title: str,
    up: str,
    groups: Sequence[str],
    sides: Sequence[Bars],
    *,
    line: float | None = None,
    ratios: bool = False,
) -> str:
    """Return a drawing with a bar for each side in each group, all from zero, and a `line` across at a value.

    Of `ratios`, which are all above zero, bars stand on 1 or hang from it, and half is as far from it as twice.
    """
    values = [value for side in sides for value in side.values if value is not None] + ([line] if line else [])
    base = _HEIGHT - _BOTTOM
    height, ticks, foot = _around_one(values, base) if ratios else _from_zero(values, base)
    width = (_WIDTH - _RIGHT - _LEFT) / len(groups)
    parts = [*_frame(title), _text(20, _TOP - 12, up)]
    for value in ticks:
        parts += [
            _stroke(_LEFT, height(value), _WIDTH - _RIGHT, height(value), _GRID),
            _text(_LEFT - 8, height(value) + 4, f"{value:,.4g}", anchor="end"),
        ]
    for number, group in enumerate(groups):
        start = _LEFT + width * number
        parts += _group(start, width, [(side.colour, side.values[number]) for side in sides], height, foot)
        row = number % 2 if len(groups) > _GROUPS_IN_A_ROW else 0
        parts.append(_text(start + width / 2, base + 20 + 15 * row, group, anchor="middle", size=11))
    if line is not None:
        parts.append(_stroke(_LEFT, height(line), _WIDTH - _RIGHT, height(line), _INK))
    for place, side in enumerate(sides):
        parts.append(_box(_WIDTH - _RIGHT + 20, _TOP + 20 * place - 8, 12, 12, side.colour))
        parts.append(_text(_WIDTH - _RIGHT + 40, _TOP + 20 * place + 3, side.name))
    return "\n".join([*parts, "</svg>"]) + "\n"


_Scale = tuple[Callable[[float], float], list[float], float]
"""Where a value is on an axis, its ticks, and where bars begin."""


def _around_one(values: Sequence[float], base: float) -> _Scale:
    """Return an axis of powers of ten."""
    axis = _Axis.over(values, base, _TOP)
    return axis.place, [10.0**power for power in axis.ticks], 1.0


def _from_zero(values: Sequence[float], base: float, above: float = _TOP) -> _Scale:
    """Return an axis from zero, or from below if need be, with round ticks, up to the place `above`."""
    bottom, top = min([0.0, *values]), max([0.0, *values]) or 1.0
    step = _round_step((top - bottom) / 5)
    low, high = floor(bottom / step), ceil(top / step)

    def height(value: float) -> float:
        return base - (value / step - low) / (high - low) * (base - above)

    return height, [number * step for number in range(low, high + 1)], 0.0


def _round_step(least: float) -> float:
    """Return the next of 1, 2, 5, 10, 20 and so on."""
    power = 10.0 ** floor(log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least)


def _group(
    start: float,
    width: float,
    bars: Sequence[tuple[str, float | None]],
    height: Callable[[float], float],
    foot: float,
) -> Iterator[str]:
    each = width * 0.8 / len(bars)
    for place, (colour, value) in enumerate(bars):
        if value is not None:
            above, below = sorted((height(value), height(foot)))
            left = start + width * 0.1 + each * place
            yield _box(left, above, each * 0.9, max(below - above, 0.5), colour)
            label = above - 4 if value >= foot else below + 11
            yield _text(
                left + each * 0.45, label, f"{value:.2g}" if value < 10 else f"{value:,.0f}", anchor="middle", size=9
            )


def _frame(title: str, height: int = _HEIGHT) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif">',
        _box(0, 0, _WIDTH, height, "white"),
        _text(_LEFT, 28, title, size=15),
    ]


def _box(left: float, top: float, width: float, height: float, colour: str) -> str:
    place = f'x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {place} fill="{colour}"/>'


def _grid(x: _Axis, y: _Axis) -> Iterator[str]:
    for power in x.ticks:
        place = x.place(10.0**power)
        yield _stroke(place, y.first, place, y.last, _GRID)
        yield _text(place, y.first + 20, f"{10**power:,}", anchor="middle")
    for power in y.ticks:
        place = y.place(10.0**power)
        yield _stroke(x.first, place, x.last, place, _GRID)
        yield _text(x.first - 8, place + 4, f"{10.0**power:g}", anchor="end")


def _line(line: Line, x: _Axis, y: _Axis, legend: float) -> Iterator[str]:
    places = [(x.place(across), y.place(up)) for across, up in line.points]
    path = " ".join(f"{across:.1f},{up:.1f}" for across, up in places)
    style = f'fill="none" stroke="{line.colour}" stroke-width="2" stroke-dasharray="{line.dashes}"'
    yield f'<polyline points="{path}" {style}/>'
    for across, up in places:
        yield f'<circle cx="{across:.1f}" cy="{up:.1f}" r="3" fill="{line.colour}"/>'
    begin = _WIDTH - _RIGHT + 20
    yield f'<polyline points="{begin},{legend:.1f} {begin + 28},{legend:.1f}" {style}/>'
    yield _text(begin + 34, legend + 4, line.name)


def _stroke(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{_INK}"'
    return f"<text {place}>{escape(text)}</text>"
