"""The processor's old call, sample by sample and in batches, against the goldens."""

import numpy as np
import pytest
import torch
from golden import CASES, EXACT_TILES, VARIANTS, checkpoint, load_case, load_tensors, messages

from vl2.dropin.batch import BatchCollateOutput, VLChatProcessorOutput, tiles_of_all
from vl2.dropin.io import load_pil_images
from vl2.dropin.processing import DeepseekVLV2Processor
from vl2.errors import ContextError, ConversationError, InputError

everywhere = pytest.mark.parametrize("variant", VARIANTS)


def processor(variant="small", **changes):
    made = DeepseekVLV2Processor.from_pretrained(checkpoint(variant))
    for name, value in changes.items():
        setattr(made, name, value)
    return made


@everywhere
@pytest.mark.parametrize("name", CASES)
def test_a_conversation_equals_the_original(variant, name):
    case = load_case(variant, name)
    made = processor(variant)(
        conversations=case.messages,
        images=load_pil_images(case.messages),
        force_batchify=False,
        system_prompt="",
    )
    assert isinstance(made, VLChatProcessorOutput)
    assert len(made) == case.info["n_tokens"]
    assert made.num_image_tokens == case.info["num_image_tokens"]
    for key in ("input_ids", "images_seq_mask", "images_spatial_crop"):
        assert made[key].tolist() == case.tensors[key].tolist()
    tiles = case.tensors["tiles_every_32nd_pixel"]
    assert made.images.shape == (case.info["n_tiles"], 3, 384, 384)
    if EXACT_TILES and case.info["num_image_tokens"]:
        np.testing.assert_array_equal(made.images[:, :, ::32, ::32].numpy(), tiles)
    if name != "system_message":  # the original prints that one wrongly
        assert made.sft_format == case.info["sft_format"]


@everywhere
@pytest.mark.parametrize("masked", [True, False])
def test_labels_for_training(variant, masked):
    said = messages("train_pair", training=True)
    made = processor(variant, mask_prompt=masked).process_one(
        conversations=said, inference_mode=False
    )
    stored = load_tensors(variant)
    prefix = f"train_pair.mask_{str(masked).lower()}"
    assert made.input_ids.tolist() == stored[f"{prefix}.input_ids"].tolist()
    assert made.target_ids.tolist() == stored[f"{prefix}.labels"].tolist()


def test_rows_of_unequal_length_and_without_pictures_make_a_batch():
    made = processor()
    names = ["vqa_one_image", "text_only", "two_images"]
    rows = [made(conversations=messages(name), force_batchify=False) for name in names]
    batch = made.batchify(rows)
    assert isinstance(batch, BatchCollateOutput)
    assert batch.images_seq_mask.dtype == batch.attention_mask.dtype == torch.bool
    assert batch.seq_lens == [len(row) for row in rows]
    assert batch.images.shape == (3, 7, 3, 384, 384)
    assert batch.images_spatial_crop.tolist() == [[[2, 2], [0, 0]], [[0, 0]] * 2, [[1, 1], [2, 2]]]
    for index, row in enumerate(rows):
        kept = batch.attention_mask[index]
        assert kept.sum() == len(row)
        assert kept[-1]
        assert torch.equal(batch.input_ids[index][kept], row.input_ids)
        assert torch.equal(batch.images_seq_mask[index][kept], row.images_seq_mask)
        assert (batch.input_ids[index][~kept] == made.pad_id).all()
        assert (batch.labels[index][~kept] == made.ignore_id).all()
        assert not batch.images_seq_mask[index][~kept].any()
    tiles, crops = tiles_of_all(batch.images, batch.images_spatial_crop)
    assert torch.equal(tiles, torch.cat([rows[0].images, rows[2].images]))
    assert crops.tolist() == [[2, 2], [1, 1], [2, 2]]
    right = made.batchify(rows, padding="right")
    assert right.attention_mask[1].tolist() == sorted(
        right.attention_mask[1].tolist(), reverse=True
    )


@everywhere
def test_the_golden_batch(variant):
    made, stored = processor(variant), load_tensors(variant)
    rows = [
        made(conversations=messages(n), force_batchify=False)
        for n in ("vqa_one_image", "text_only")
    ]
    batch = made.batchify(rows)
    assert batch.input_ids.tolist() == stored["batch.input_ids"].tolist()
    assert batch.attention_mask.tolist() == stored["batch.attention_mask"].astype(bool).tolist()


def test_a_batch_is_read_by_attribute_and_by_key_and_moves_in_place():
    batch = processor()(conversations=messages("vqa_one_image"))
    assert dict(batch.items()) == vars(batch)
    assert set(batch.keys()) == set(dict(**batch)) >= {"input_ids", "images", "seq_lens", "labels"}
    batch["seq_lens"] = [7]
    assert batch.seq_lens == [7]
    assert "images" in batch
    assert batch.to("cpu") is batch
    assert batch.images.dtype == torch.float32
    assert batch.to("cpu", dtype=torch.bfloat16).images.dtype == torch.bfloat16
    assert batch.input_ids.dtype == torch.long


def test_a_system_prompt_reaches_the_tokens():
    made, said = processor(), messages("system_message")
    by_message = made(conversations=said)
    by_argument = made(conversations=said[1:], system_prompt=said[0]["content"])
    assert torch.equal(by_message.input_ids, by_argument.input_ids)
    assert by_message.sft_format == by_argument.sft_format
    assert by_message.sft_format[0].startswith("You are a careful reader.\n\n<|User|>: <image>")
    without = made(conversations=said[1:])
    assert without.input_ids.shape[1] < by_argument.input_ids.shape[1]


def test_names_of_the_first_model():
    made, said = processor(), messages("multi_turn")
    names = {"<|User|>": "User", "<|Assistant|>": "Assistant"}
    old = [
        {
            **message,
            "role": names[message["role"]],
            "content": message["content"].replace("<image>", "<image_placeholder>"),
        }
        for message in said
    ]
    expected, given = made(conversations=said), made(conversations=old)
    assert torch.equal(given.input_ids, expected.input_ids)
    assert given.sft_format == expected.sft_format


def test_an_answer_that_has_begun_is_left_open():
    made = processor()
    said = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": "One, two,"}]
    open_, closed = (made(conversations=said, inference_mode=mode) for mode in (True, False))
    assert closed.input_ids[0, -1] == made.eos_id
    assert torch.equal(open_.input_ids[0], closed.input_ids[0, :-1])
    assert torch.equal(
        made(conversations=said[:1]).input_ids,
        made(conversations=[said[0], {"role": "assistant", "content": None}]).input_ids,
    )
    empty = made(
        conversations=[said[0], {"role": "assistant", "content": ""}], inference_mode=False
    )
    assert empty.input_ids[0, -1] == made.eos_id


def test_a_prompt_instead_of_a_conversation():
    made = processor()
    said = messages("vqa_one_image")
    pictures = load_pil_images(said)
    expected = made(conversations=said)
    asked = made(prompt=said[0]["content"], images=pictures, apply_sft_format=True)
    laid_out = made(prompt=expected.sft_format[0], images=pictures)
    for batch in (asked, laid_out):
        assert batch.input_ids.tolist() == expected.input_ids.tolist()
        assert torch.equal(batch.images, expected.images)
    closed = made(prompt="Hello", inference_mode=False, images=[])
    assert closed.input_ids[0].tolist() == made.encode("Hello", bos=True, eos=True)
    assert made.decode(made.encode("Hello", bos=False)) == "Hello"


def test_tokenising_a_text_with_pictures():
    made = processor()
    pictures = load_pil_images(messages("two_images"))
    ids, tiles, mask, crops, counts = made.tokenize_with_images("<image>" * 2, pictures)
    assert ids == [made.bos_id, *[made.image_token_id] * sum(counts), made.eos_id]
    assert (crops, counts) == ([[1, 1], [2, 2]], [421, 1023])
    assert len(tiles) == 7
    assert sum(mask) == sum(counts)
    _, tiles, _, crops, _ = made.tokenize_with_images("<image>" * 2, pictures, cropping=False)
    assert crops == [[1, 1], [1, 1]]
    assert len(tiles) == 4


def test_what_cannot_be_meant_is_told():
    made = processor()
    with pytest.raises(InputError, match="either prompt or conversations"):
        made()
    with pytest.raises(ConversationError, match="Unknown role"):
        made(conversations=[{"role": "narrator", "content": "Once"}])
    with pytest.raises(ConversationError, match="<image>"):
        made(conversations=[{"role": "User", "content": "no place"}], images=[b"x"])
    with pytest.raises(InputError, match="needs samples"):
        made.batchify([])
    made.max_position_embeddings = 100
    with pytest.raises(ContextError, match="the context holds 100"):
        made(conversations=messages("vqa_one_image"))


def test_it_is_saved_and_loaded(tmp_path):
    processor().save_pretrained(tmp_path)
    again = DeepseekVLV2Processor.from_pretrained(tmp_path)
    assert again.image_size == 384
    assert again.candidate_resolutions == processor().candidate_resolutions
    assert (again.bos_id, again.eos_id, again.pad_id) == (422, 423, 424)
