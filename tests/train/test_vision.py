import math

import numpy as np
import pytest
import torch

from vl2.train.vision import (
    EDGE_BINS,
    DenseNames,
    DensePicture,
    DenseTargets,
    VisionPretraining,
    class_loss,
    collate_dense,
    edge_loss,
)


def test_class_loss_weighs_empty_places_down_and_leaves_out_what_does_not_count():
    logits = torch.zeros(4, 3)
    target = torch.tensor([0, 1, 2, -1])
    loss, right = class_loss(logits, target)
    assert float(loss) == pytest.approx(math.log(3))
    assert float(right) == 0  # all scores are equal, and the first class is "none"
    logits[0, 0] = 100.0  # the empty place is now certain: its share of the weight is 0.2 of 2.2
    assert float(class_loss(logits, target)[0]) == pytest.approx(math.log(3) * 2 / 2.2)


def test_edge_loss_is_least_at_the_true_edge():
    box = torch.full((1, 2, 4), math.nan)
    box[0, 1] = torch.tensor([0.0, 0.5, 1.0, 0.25])
    place = box[0, 1] * (EDGE_BINS - 1)
    bins = torch.arange(EDGE_BINS)
    sharp = -40 * (bins - place[:, None]).abs()
    logits = torch.zeros(2, 4, EDGE_BINS)
    logits[1] = sharp
    loss, error = edge_loss(logits, box)
    blurred, far = edge_loss(torch.zeros(2, 4, EDGE_BINS), box)
    assert float(error) < 0.01 < float(far)
    # An edge between two bins cannot be told by one: what is left is the choice between them.
    assert float(loss) < float(blurred)


def test_a_picture_with_nothing_in_it_has_no_edge_loss():
    loss, error = edge_loss(torch.zeros(3, 4, EDGE_BINS), torch.full((1, 3, 4), math.nan))
    assert (float(loss), float(error)) == (0, 0)


class _Flat(torch.nn.Module):
    def forward(self, pixel_values):
        return pixel_values.mean(dim=1).flatten(1)[:, :, None].expand(-1, -1, 6)


def picture(tiles):
    targets = DenseTargets(
        characters=np.ones((tiles, 4, 4), np.int16),
        shape=np.ones((tiles, 4), np.int8),
        colour=np.ones((tiles, 4), np.int8),
        box=np.full((tiles, 4, 4), 0.5, np.float32),
    )
    return DensePicture(np.zeros((tiles, 3, 2, 2), np.float32), targets)


def test_pictures_of_different_grids_make_one_batch():
    batch = collate_dense([picture(2), picture(5)])
    assert batch["pixel_values"].shape == (7, 3, 2, 2)
    outputs = VisionPretraining(_Flat(), 6, DenseNames("ab", ("x",), ("red", "blue")))(**batch)
    assert outputs["loss"].ndim == 0
    assert 0 <= float(outputs["shapes_right"]) <= 1
