"""Lines over two logarithmic axes, as an SVG drawing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

_WIDTH, _HEIGHT = 760, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 210, 50, 60
_INK, _GRID = "#333333", "#dddddd"


@dataclass(frozen=True, slots=True)
class Line:
    """Points that belong together, all of them above zero."""

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
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_LEFT, 28, title, size=15),
        *_grid(x, y),
        _text((x.first + x.last) / 2, _HEIGHT - 16, across, anchor="middle"),
        _text(20, _TOP - 12, up),
        *(part for place, line in enumerate(lines) for part in _line(line, x, y, _TOP + 20 * place)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


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
