import pytest
import torch

from vl2.ops.router import Routing, choose_experts, expert_scores, router_logits

LOGITS = torch.randn(50, 12, generator=torch.Generator().manual_seed(1)) * 2
BIAS = torch.randn(12, generator=torch.Generator().manual_seed(2)) * 0.2


def as_sets(indices):
    return [set(row) for row in indices.tolist()]


@pytest.mark.parametrize("scoring", ["softmax", "sigmoid"])
@pytest.mark.parametrize("normalise", [True, False])
def test_greedy_takes_the_highest_scores(scoring, normalise):
    routing = Routing(top_k=3, scoring=scoring, normalise=normalise, scale=2.5)
    indices, weights = choose_experts(LOGITS, routing)
    scores = expert_scores(LOGITS, scoring)
    for row in range(LOGITS.shape[0]):
        best = sorted(range(12), key=lambda e: -scores[row, e].item())[:3]
        assert set(indices[row].tolist()) == set(best)
        total = scores[row, best].sum() if normalise else 1.0
        for expert, weight in zip(indices[row], weights[row], strict=True):
            assert weight.item() == pytest.approx((2.5 * scores[row, expert] / total).item())


def test_correction_bias_changes_the_choice_and_not_the_weights():
    routing = Routing(top_k=3, scoring="sigmoid", method="noaux_tc")
    indices, weights = choose_experts(LOGITS, routing, BIAS)
    scores = LOGITS.sigmoid()
    assert as_sets(indices) == as_sets((scores + BIAS).topk(3).indices)
    assert as_sets(indices) != as_sets(scores.topk(3).indices)
    torch.testing.assert_close(weights, scores.gather(1, indices))


@pytest.mark.parametrize("method", ["group_limited_greedy", "noaux_tc"])
def test_only_the_best_groups_count(method):
    routing = Routing(top_k=3, method=method, groups=4, kept_groups=2)
    bias = BIAS if method == "noaux_tc" else None
    indices, _ = choose_experts(LOGITS, routing, bias)
    scores = LOGITS.softmax(-1) if bias is None else LOGITS.softmax(-1) + bias
    for row, chosen in zip(scores, as_sets(indices), strict=True):
        groups = row.view(4, 3).sort(dim=-1, descending=True).values
        worth = groups[:, :2].sum(-1) if method == "noaux_tc" else groups[:, 0]
        kept = set(worth.topk(2).indices.tolist())
        in_groups = {expert for expert in chosen if expert // 3 in kept}
        positive = [e for e in range(12) if e // 3 in kept and row[e] > 0]
        assert len(in_groups) >= min(3, len(positive))


def test_experts_outside_the_groups_compete_with_zero():
    """With negative biased scores the original leaves the groups; minus infinity would not."""
    routing = Routing(top_k=2, scoring="sigmoid", method="noaux_tc", groups=2, kept_groups=1)
    logits = torch.tensor([[3.0, 2.0, -3.0, -3.0]])
    bias = torch.tensor([-2.0, -2.0, -3.0, -3.0])
    indices, _ = choose_experts(logits, routing, bias)
    assert as_sets(indices) == [{2, 3}]


def test_logits_are_float32_under_autocast_and_in_half_precision():
    x, weight = torch.randn(4, 32), torch.randn(6, 32)
    exact = x @ weight.T
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(router_logits(x, weight), exact)
    half = router_logits(x.half(), weight.half())
    assert half.dtype == torch.float32
    assert torch.equal(half, x.half().float() @ weight.half().float().T)
