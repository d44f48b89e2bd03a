"""TRL's supervised trainer takes model and processor as they are."""

import pytest
import torch
from golden import checkpoint
from PIL import Image

from vl2.model.loading import load_model
from vl2.model.registration import register
from vl2.processing.processor import DeepseekVLV2Processor

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.mark.parametrize("answers_only", [True, False])
def test_sft_trainer_brings_the_loss_down(tmp_path, monkeypatch, answers_only):
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    register()
    rows = [
        {
            "images": [Image.new("RGB", (60, 40), colour)],
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image"}, {"type": "text", "text": "Which colour?"}],
                },
                {"role": "assistant", "content": [{"type": "text", "text": colour}]},
            ],
        }
        for colour in ("red", "blue") * 4
    ]
    arguments = trl.SFTConfig(
        output_dir=str(tmp_path),
        per_device_train_batch_size=2,
        max_steps=3,
        learning_rate=3e-3,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        bf16=False,
        max_length=None,
        gradient_checkpointing=False,
        dataset_num_proc=None,
        assistant_only_loss=answers_only,
    )
    model = load_model(checkpoint("small"), dtype=torch.float32).train()
    processor, seen = DeepseekVLV2Processor.from_pretrained(checkpoint("small")), []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda **given: seen.append(given) or forward(**given))
    trainer = trl.SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=processor,
    )
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    for given in seen:
        # Two pictures, each whole and as one tile; the answer and its end, or all that is written.
        assert given["pixel_values"].shape == (4, 3, 384, 384)
        assert given["images_spatial_crop"].tolist() == [[1, 1], [1, 1]]
        learnt = given["labels"] != -100
        if not answers_only:
            assert torch.equal(learnt, given["attention_mask"].bool())
            continue
        for ids, chosen in zip(given["input_ids"], learnt, strict=True):
            said = processor.tokenizer.decode(ids[chosen]).strip()
            assert said.removesuffix(processor.tokenizer.eos_token).strip() in ("red", "blue")
            assert said.endswith(processor.tokenizer.eos_token)
