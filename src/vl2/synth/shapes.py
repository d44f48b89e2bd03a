"""The outlines of the shapes and their antialiased masks."""

import functools
import math

from PIL import Image, ImageDraw

Points = tuple[tuple[float, float], ...]

_SUPERSAMPLING = 2
_MOST_TURN: dict[str, float] = {
    "circle": 0,
    "square": 9,
    "triangle": 16,
    "star": 30,
    "diamond": 9,
    "cross": 14,
    "heart": 22,
    "moon": 40,
}


def _ring(corners: int, radius: float = 1.0, start: float = -90.0) -> Points:
    step = 360.0 / corners
    angles = [math.radians(start + step * i) for i in range(corners)]
    return tuple((radius * math.cos(angle), radius * math.sin(angle)) for angle in angles)


def _star() -> Points:
    outer, inner = _ring(5), _ring(5, 0.44, -54.0)
    return tuple(point for pair in zip(outer, inner, strict=True) for point in pair)


def _cross() -> Points:
    a = 0.36
    corners = ((-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a))
    return corners + tuple((-x, -y) for x, y in corners)


def _heart() -> Points:
    points = []
    for i in range(44):
        t = 2 * math.pi * i / 44
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((x / 16, -(y + 2.5) / 16))
    return tuple(points)


def _moon() -> Points:
    # A disc less a smaller one to its right; the two circles meet at (x, +-y).
    shift, radius = 0.55, 0.78
    x = (1 - radius**2 + shift**2) / (2 * shift)
    y = math.sqrt(1 - x**2)
    outer, inner = math.atan2(y, x), math.atan2(y, x - shift)
    back = [outer + (2 * math.pi - 2 * outer) * i / 22 for i in range(23)]
    front = [inner + (2 * math.pi - 2 * inner) * i / 16 for i in range(15, 0, -1)]
    return tuple((math.cos(t), math.sin(t)) for t in back) + tuple(
        (shift + radius * math.cos(t), radius * math.sin(t)) for t in front
    )


@functools.cache
def outline(shape: str) -> Points:
    """The corners of an upright shape around the origin, about two units across."""
    makers = {
        "circle": lambda: _ring(44),
        "square": lambda: _ring(4, math.sqrt(2), -45.0),
        "triangle": lambda: _ring(3),
        "star": _star,
        "diamond": lambda: ((0.0, -1.0), (0.68, 0.0), (0.0, 1.0), (-0.68, 0.0)),
        "cross": _cross,
        "heart": _heart,
        "moon": _moon,
    }
    return makers[shape]()


def most_turn(shape: str) -> float:
    """How many degrees a shape may be turned and still be itself (a square is no diamond)."""
    return _MOST_TURN[shape]


def may_be_hollow(shape: str) -> bool:
    """Whether a shape is also drawn as an outline; a crescent is too thin for that."""
    return shape != "moon"


def inset(points: Points, distance: float) -> Points:
    """The corners of a clockwise polygon moved inwards, each edge by `distance`."""
    moved = []
    count = len(points)
    for i, (x, y) in enumerate(points):
        ax, ay = points[i - 1]
        bx, by = points[(i + 1) % count]
        ax, ay, bx, by = x - ax, y - ay, bx - x, by - y
        la, lb = math.hypot(ax, ay), math.hypot(bx, by)
        # Inward normals of the two edges; their sum, scaled, moves the corner along the mitre.
        left_x, left_y, right_x, right_y = -ay / la, ax / la, -by / lb, bx / lb
        scale = distance / max(0.15, 1 + left_x * right_x + left_y * right_y)
        moved.append((x + (left_x + right_x) * scale, y + (left_y + right_y) * scale))
    return tuple(moved)


def turned(shape: str, size: float, degrees: float) -> tuple[Points, float, float]:
    """A shape turned and scaled so that its longer side is `size` pixels.

    Returns:
        The corners, from (0, 0) on, and the width and the height they fill.
    """
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    points = [(x * cos - y * sin, x * sin + y * cos) for x, y in outline(shape)]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    left, top = min(xs), min(ys)
    width, height = max(xs) - left, max(ys) - top
    scale = size / max(width, height)
    corners = tuple(((x - left) * scale, (y - top) * scale) for x, y in points)
    return corners, width * scale, height * scale


def hole(shape: str, corners: Points, stroke: float) -> Points:
    """The corners of the hole in a shape that is an outline `stroke` pixels thick."""
    if shape != "heart":
        return inset(corners, stroke)
    # The many short edges of a heart cross each other near its tip when they move inwards.
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    middle_x, middle_y = (min(xs) + max(xs)) / 2, min(ys) + 0.45 * (max(ys) - min(ys))
    shrink = 1 - 2.3 * stroke / (max(xs) - min(xs))
    return tuple(
        (middle_x + shrink * (x - middle_x), middle_y + shrink * (y - middle_y)) for x, y in corners
    )


def mask(shape: str, corners: Points, stroke: float | None) -> Image.Image:
    """The antialiased mask of a shape with these corners; `stroke` pixels thick, or None if filled.

    It begins at (0, 0) and ends at the farthest corner.
    """
    s = _SUPERSAMPLING
    width = math.ceil(max(x for x, _ in corners))
    height = math.ceil(max(y for _, y in corners))
    canvas = Image.new("L", (s * width, s * height))
    draw = ImageDraw.Draw(canvas)
    draw.polygon([(s * x - 0.5, s * y - 0.5) for x, y in corners], fill=255)
    if stroke is not None:
        inner = hole(shape, corners, stroke)
        draw.polygon([(s * x - 0.5, s * y - 0.5) for x, y in inner], fill=0)
    return canvas.reduce(s)
