"""LoRA through peft, on linear maps and on the merged experts."""

import pytest
import torch
from model_inputs import mini_model, mini_prompt

from vl2.model.loading import load_model

peft = pytest.importorskip("peft")

# peft still asks by the old name whether activations are checkpointed.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_activation_checkpointing:FutureWarning")


def batch():
    prompt = mini_prompt([(1, 2)], words=9)
    labels = prompt["input_ids"].clone()
    labels[:, :-5] = -100
    return {**prompt, "labels": labels}


@pytest.mark.parametrize("variant", ["tiny", "base"])
def test_adapters_train_reload_and_merge(variant, tmp_path):
    config = peft.LoraConfig(
        r=4,
        target_modules=["q_proj", "o_proj", "up_proj", "down_proj"],
        target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
    )
    model = peft.get_peft_model(mini_model(variant), config).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    losses = []
    for _ in range(8):
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(**batch()).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    with torch.no_grad():
        logits = model.eval()(**batch()).logits
        model.save_pretrained(tmp_path / "adapter")
        again = peft.PeftModel.from_pretrained(mini_model(variant), tmp_path / "adapter").eval()
        torch.testing.assert_close(again(**batch()).logits, logits)
        model.merge_and_unload().save_pretrained(tmp_path / "merged")
        merged = load_model(tmp_path / "merged")(**batch()).logits
    torch.testing.assert_close(merged, logits, atol=1e-4, rtol=1e-4)
