"""What the server counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
_SPEEDS = (1, 3, 10, 30, 100, 300, 1000, 3000)


class Metrics:
    """The counters of one server; nothing is shared between two of them."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = self._counter(
            "vl2_requests", "Requests by address and status.", ("path", "status")
        )
        self.prompt_tokens = self._counter(
            "vl2_prompt_tokens", "Tokens of prompts, places of pictures included."
        )
        self.image_tokens = self._counter("vl2_image_tokens", "Tokens that are places of pictures.")
        self.completion_tokens = self._counter(
            "vl2_completion_tokens", "Tokens of finished answers."
        )
        self.abandoned = self._counter(
            "vl2_abandoned_answers", "Answers that nobody waited for any longer, or that failed."
        )
        self.first_token = self._histogram(
            "vl2_time_to_first_token_seconds",
            "From the engine's taking a request to the first piece of its answer.",
            _SECONDS,
        )
        self.duration = self._histogram(
            "vl2_answer_seconds",
            "From the engine's taking a request to the end of its answer.",
            _SECONDS,
        )
        self.speed = self._histogram(
            "vl2_answer_tokens_per_second",
            "Tokens of an answer over the time from its first piece to its end.",
            _SPEEDS,
        )

    def _counter(self, name: str, what: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(name, what, labels, registry=self._registry)

    def _histogram(self, name: str, what: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(name, what, buckets=buckets, registry=self._registry)

    def watch(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Show a number that something else keeps.

        Args:
            name: the metric's name.
            what: one sentence about it.
            value: asked for each time that the metrics are read.
        """
        Gauge(name, what, registry=self._registry).set_function(value)

    def text(self) -> bytes:
        """All of it in Prometheus's text format."""
        return generate_latest(self._registry)
