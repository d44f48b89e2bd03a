import pytest
import torch

from vl2.ops import balance

GENERATOR = torch.Generator().manual_seed(3)
LOGITS = torch.randn(3, 10, 6, generator=GENERATOR)
INDICES = LOGITS.topk(2).indices
MASK = torch.ones(3, 10, dtype=torch.bool)
MASK[0, :4] = False
MASK[2] = False


@pytest.mark.parametrize("mask", [None, MASK], ids=["whole", "padded"])
@pytest.mark.parametrize("scoring", ["softmax", "sigmoid"])
def test_loss_equals_its_twin(scoring, mask):
    fast = balance.sequence_balance_loss(LOGITS, INDICES, mask, scoring)
    plain = balance.plain_sequence_balance_loss(LOGITS, INDICES, mask, scoring)
    torch.testing.assert_close(fast, plain)


def test_padding_does_not_count():
    changed = LOGITS.clone()
    changed[0, :4] = 100 * torch.randn(4, 6)
    loss = balance.sequence_balance_loss(changed, changed.topk(2).indices, MASK)
    torch.testing.assert_close(loss, balance.sequence_balance_loss(LOGITS, INDICES, MASK))


def test_even_use_gives_one_and_one_favourite_gives_more():
    even = torch.zeros(1, 6, 6)
    chosen = torch.arange(6)[None, :, None]
    assert balance.sequence_balance_loss(even, chosen).item() == pytest.approx(1.0)
    favourite = torch.zeros(1, 6, 6)
    favourite[..., 0] = 10
    assert balance.sequence_balance_loss(favourite, torch.zeros(1, 6, 1).long()).item() > 5.9


def test_gradient_pushes_the_favourite_down():
    logits = torch.zeros(1, 6, 6)
    logits[..., 0] = 1
    logits.requires_grad_()
    balance.sequence_balance_loss(logits, logits.topk(2).indices).backward()
    assert (logits.grad[..., 0] > 0).all()


def test_load_counts_real_tokens():
    load = balance.expert_load(INDICES, 6, MASK)
    assert load.sum(dim=1).tolist() == [12.0, 20.0, 0.0]
    for expert in range(6):
        assert load[1, expert] == (INDICES[1] == expert).sum()


def test_bias_moves_against_the_load():
    load = torch.tensor([4, 2, 0])
    bias = balance.corrected_bias(torch.tensor([0.5, 0.5, 0.5]), load, 0.001)
    torch.testing.assert_close(bias, torch.tensor([0.499, 0.5, 0.501]))
