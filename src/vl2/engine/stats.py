"""What an engine tells about itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Stats:
    """What an engine has to do and has done.

    Attributes:
        running: answers that are worked on.
        waiting: requests that wait.
        pages: pages of the cache.
        pages_held: pages that belong to answers.
        pages_idle: pages that are kept in case a conversation begins alike.
        steps: steps done.
        prompt_tokens: tokens of prompts that were taken on.
        reused_tokens: those of them that were in the cache already.
        answer_tokens: tokens written.
        finished: answers that came to their end.
        failed: answers that ended in an error.
        cancelled: answers that nobody wanted any more.
        preempted: how often an answer had to give its pages back and begin again.
        pictures_encoded: pictures that went through the vision encoder.
        pictures_reused: pictures that were known.
    """

    running: int = 0
    waiting: int = 0
    pages: int = 0
    pages_held: int = 0
    pages_idle: int = 0
    steps: int = 0
    prompt_tokens: int = 0
    reused_tokens: int = 0
    answer_tokens: int = 0
    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    preempted: int = 0
    pictures_encoded: int = 0
    pictures_reused: int = 0
