"""What a run draws: every quantity of its log, and the load of every expert."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure

from vl2.train.curves import draw_curves, draw_experts


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved, with what stands on them."""
    figures, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **kw: figures.append(self) or save(self, *a, **kw)
    )
    return figures


def write(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_every_quantity_of_the_log_has_its_panel(tmp_path, drawn):
    names = ("loss", "aux_loss", "busiest_expert", "idle_experts", "loss_rows", "loss_text")
    rows = [
        {
            "step": step,
            "learning_rate": 1e-3,
            **{name: step + place for place, name in enumerate(names)},
        }
        for step in (1, 2, 3)
    ]
    # A run that went on wrote step 2 again; the later line holds.
    log = write(tmp_path / "log.jsonl", [rows[0], {**rows[1], "loss": 99.0}, *rows[1:]])
    with log.open("a", encoding="utf-8") as file:
        file.write('\n{"step": 4, "lo')  # the disk was full
    draw_curves(log, tmp_path / "curves.png")
    panels = {axis.get_title(): axis for axis in drawn[0].axes}
    assert list(panels) == [name.replace("_", " ") for name in names]
    for place, axis in enumerate(panels.values()):
        (line,) = axis.get_lines()
        assert line.get_xydata().tolist() == [[step, step + place] for step in (1, 2, 3)]


def test_the_load_of_every_expert_is_drawn_over_the_steps(tmp_path, drawn):
    load = [[[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]], [[0.4, 0.4, 0.2], [1.0, 0.0, 0.0]]]
    log = write(
        tmp_path / "experts.jsonl",
        [{"step": step, "load": part} for step, part in zip((5, 10), load, strict=True)],
    )
    draw_experts(log, tmp_path / "experts.png")
    first, second = (axis for axis in drawn[0].axes if axis.get_title())
    assert first.get_title() == "mixture layer 1"
    for layer, axis in enumerate((first, second)):
        (image,) = axis.get_images()
        expected = 3 * np.array([load[0][layer], load[1][layer]]).T
        np.testing.assert_allclose(image.get_array(), expected)
