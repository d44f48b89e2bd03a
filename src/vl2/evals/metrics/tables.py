"""TEDS, the similarity of tables as trees (Zhong et al. 2019, "Image-based table recognition").

A table in HTML is a tree of rows and cells. Its similarity to another is 1 less the edit distance
of the trees as a share of the larger one's nodes. Turning a cell into another costs the normalised
edit distance of their contents; any other change costs 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

from vl2.evals.metrics.distance import normalised_distance

MAX_CHARACTERS = 200_000
MAX_NODES = 2_000
"""Larger tables of a model are runaway repetition; they are not compared and score 0."""

_VOID = frozenset({"br", "img", "hr", "wbr", "input"})
_CLOSED_BY = {
    "td": frozenset({"td", "th", "tr", "thead", "tbody", "tfoot"}),
    "th": frozenset({"td", "th", "tr", "thead", "tbody", "tfoot"}),
    "tr": frozenset({"tr", "thead", "tbody", "tfoot"}),
    "thead": frozenset({"tbody", "tfoot"}),
    "tbody": frozenset({"tbody", "tfoot"}),
}


@dataclass(slots=True)
class Node:
    """A part of a table.

    Attributes:
        tag: name of the element.
        span: what it says of columns and rows that it spans, as text.
        content: of a cell: its characters, and tags inside it as one item each.
        children: parts inside it; none of a cell.
    """

    tag: str
    span: tuple[str, str] = ("1", "1")
    content: list[str] = field(default_factory=list)
    children: list[Node] = field(default_factory=list)


def teds(prediction: str, answer: str, *, structure_only: bool = False) -> float:
    """Similarity of the first tables of two HTML texts, 0 to 1; 0 if one has no table.

    Args:
        prediction: what the model wrote.
        answer: the right table.
        structure_only: leave the contents of cells out.
    """
    if max(len(prediction), len(answer)) > MAX_CHARACTERS:
        return 0.0
    said, right = _Reader.read(prediction), _Reader.read(answer)
    if said is None or right is None:
        return 0.0
    most = max(said.elements, right.elements)
    if most > MAX_NODES:
        return 0.0
    distance = tree_distance(said.root, right.root, structure_only=structure_only)
    return 1 - distance / most if most else 1.0


def tree_distance(a: Node, b: Node, *, structure_only: bool = False) -> float:
    """Cheapest edit of one tree into another (Zhang and Shasha 1989)."""
    first, second = _Order(a), _Order(b)
    costs = [
        [_renaming(x, y, structure_only=structure_only) for y in second.nodes] for x in first.nodes
    ]
    trees = [[0.0] * len(second.nodes) for _ in first.nodes]
    for i in first.keyroots:
        for j in second.keyroots:
            _fill(i, j, first, second, costs, trees)
    return trees[-1][-1]


class _Order:
    """A tree in post-order: nodes, the leftmost leaf below each, and the roots to start from."""

    def __init__(self, root: Node) -> None:
        self.nodes: list[Node] = []
        self.leftmost: list[int] = []
        self._walk(root)
        last = {leaf: index for index, leaf in enumerate(self.leftmost)}
        self.keyroots = sorted(last.values())

    def _walk(self, root: Node) -> None:
        stack: list[tuple[Node, Iterator[Node], list[int]]] = [(root, iter(root.children), [])]
        while stack:
            node, rest, leaves = stack[-1]
            child = next(rest, None)
            if child is not None:
                stack.append((child, iter(child.children), []))
                continue
            stack.pop()
            leaf = leaves[0] if leaves else len(self.nodes)
            self.nodes.append(node)
            self.leftmost.append(leaf)
            if stack:
                stack[-1][2].append(leaf)


def _fill(
    i: int,
    j: int,
    first: _Order,
    second: _Order,
    costs: list[list[float]],
    trees: list[list[float]],
) -> None:
    """Distances of all pairs of forests below two nodes; those of trees are kept in `trees`."""
    left, up = first.leftmost[i], second.leftmost[j]
    rows, columns = i - left + 2, j - up + 2
    forest = [[float(column) for column in range(columns)]]
    for x in range(1, rows):
        node = x + left - 1
        row = [float(x)]
        forest.append(row)
        for y in range(1, columns):
            other = y + up - 1
            cheapest = min(forest[x - 1][y], row[y - 1]) + 1
            if first.leftmost[node] == left and second.leftmost[other] == up:
                row.append(min(cheapest, forest[x - 1][y - 1] + costs[node][other]))
                trees[node][other] = row[y]
            else:
                before = forest[first.leftmost[node] - left][second.leftmost[other] - up]
                row.append(min(cheapest, before + trees[node][other]))


def _renaming(a: Node, b: Node, *, structure_only: bool) -> float:
    if a.tag != b.tag or a.span != b.span:
        return 1.0
    if a.tag == "td" and not structure_only:
        return normalised_distance(a.content, b.content)
    return 0.0


class _Reader(HTMLParser):
    """Reads the first table of a text; forgives what browsers forgive."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("")
        self.elements = 0
        self._open: list[Node] = []
        self._cell: Node | None = None
        self._inside: list[str] = []
        self._done = False

    @classmethod
    def read(cls, text: str) -> _Reader | None:
        """The reader after a text; `None` if there is no table in it."""
        reader = cls()
        reader.feed(text)
        reader.close()
        return reader if reader.root.tag else None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._done or not (self._open or tag == "table"):
            return
        if not self._open:
            self.root = Node("table")
            self._open.append(self.root)
            return
        self._close_implied(tag)
        self.elements += 1
        if self._cell is not None:
            self._cell.content.append(f"<{tag}>")
            if tag in _VOID:
                self._cell.content.append(f"</{tag}>")
            else:
                self._inside.append(tag)
            return
        given = {name: value or "1" for name, value in attrs}
        node = Node(tag, (given.get("colspan", "1"), given.get("rowspan", "1")))
        self._open[-1].children.append(node)
        if tag not in _VOID:
            self._open.append(node)
        self._cell = node if tag == "td" else None

    def handle_endtag(self, tag: str) -> None:
        if self._cell is not None and tag in self._inside:
            while self._inside:
                closed = self._inside.pop()
                self._cell.content.append(f"</{closed}>")
                if closed == tag:
                    return
        if any(node.tag == tag for node in self._open):
            self._close(tag)

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.content += data

    def _close_implied(self, tag: str) -> None:
        while self._open and tag in _CLOSED_BY.get(self._open[-1].tag, frozenset()):
            self._close(self._open[-1].tag)

    def _close(self, tag: str) -> None:
        while self._open:
            node = self._open.pop()
            if node is self._cell:
                node.content += [f"</{inner}>" for inner in reversed(self._inside)]
                self._inside.clear()
                self._cell = None
            if node.tag == tag:
                break
        self._done = not self._open
