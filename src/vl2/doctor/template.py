"""The chat template of a checkpoint, which other programs lay conversations out with."""

from __future__ import annotations

import queue
import threading

import jinja2

from vl2.doctor.findings import AGAIN, Finding
from vl2.processing.chat_template import CHAT_TEMPLATE
from vl2.processing.processor import DeepseekVLV2Processor

SECONDS = 10.0
"""How long a template may take for a question; a hostile one would take for ever."""

_QUESTIONS = (
    [{"role": "user", "content": "Is it?"}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Is it?"}]},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Is it?"},
    ],
)
_ADVICE = (
    "vl2 asks without it; other programs do not. Take the folder's chat_template.jinja away, and "
    "vl2's own is used, or save the processor again."
)


def check_template(processor: DeepseekVLV2Processor) -> Finding:
    """Does the chat template write what the models were trained with?"""
    template = processor.chat_template
    if template == CHAT_TEMPLATE:
        return Finding("template", "fine", "The chat template is the one that vl2 saves.")
    told: queue.SimpleQueue[Finding] = queue.SimpleQueue()
    # A thread that does not end is left behind, and ends with the program
    trial = threading.Thread(target=lambda: told.put(_tried(processor)), daemon=True)
    trial.start()
    try:
        return told.get(timeout=SECONDS)
    except queue.Empty:
        late = f"The chat template takes more than {SECONDS:g} seconds for a question."
        return Finding("template", "wrong", late, _ADVICE)


def _tried(processor: DeepseekVLV2Processor) -> Finding:
    """What a template writes, beside what is right."""
    for question in _QUESTIONS:
        right = processor.apply_chat_template(
            question, chat_template=CHAT_TEMPLATE, add_generation_prompt=True
        )
        try:
            written = processor.apply_chat_template(question, add_generation_prompt=True)
        except (
            jinja2.TemplateError,
            *(ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError),
            ValueError,
        ) as error:
            told = f"The chat template is broken: {' '.join(str(error).split())[:300]}"
            return Finding("template", "wrong", told, AGAIN)
        if written != right:
            told = f"The chat template writes {str(written)[:100]!r} instead of {right!r}."
            return Finding("template", "odd", told, _ADVICE)
    return Finding(
        "template", "fine", "The chat template writes what the models were trained with."
    )
