"""What the server counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vl2.engine import Stats
from vl2.server.gate import Gate

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

    def watch(self, gate: Gate, stats: Callable[[], Stats]) -> None:
        """Show what others count, each time that the metrics are read.

        Args:
            gate: knows what is unfinished.
            stats: what the engine tells about itself.
        """
        self._registry.register(_Elsewhere(gate, stats))

    def text(self) -> bytes:
        """All of it in Prometheus's text format."""
        return generate_latest(self._registry)


class _Elsewhere(Collector):
    """Numbers that the gate and the engine keep."""

    def __init__(self, gate: Gate, stats: Callable[[], Stats]) -> None:
        self._gate = gate
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        """All of them, as they are now."""
        stats = self._stats()
        pages = max(stats.pages, 1)
        gauges = {
            "vl2_unfinished_answers": ("Waiting ones included.", self._gate.inside),
            "vl2_picture_bytes": (
                "Memory that the pictures of unfinished answers take.",
                self._gate.picture_bytes,
            ),
            "vl2_running_answers": ("Answers that the engine works on.", stats.running),
            "vl2_waiting_answers": ("Answers that wait for the engine.", stats.waiting),
            "vl2_cache_used_ratio": ("Share of the cache in use.", stats.pages_held / pages),
            "vl2_cache_kept_ratio": (
                "Share of the cache kept for conversations that begin alike.",
                stats.pages_idle / pages,
            ),
        }
        counters = {
            "vl2_generated_tokens": (
                "Tokens written, also of unfinished answers.",
                "answer_tokens",
            ),
            "vl2_reused_tokens": ("Tokens of prompts found in the cache.", "reused_tokens"),
            "vl2_encoded_pictures": ("Pictures that were encoded.", "pictures_encoded"),
            "vl2_reused_pictures": ("Pictures that were known already.", "pictures_reused"),
            "vl2_preempted_answers": ("Answers that had to begin again.", "preempted"),
        }
        for name, (what, value) in gauges.items():
            yield GaugeMetricFamily(name, what, value=value)
        for name, (what, field) in counters.items():
            yield CounterMetricFamily(name, what, value=getattr(stats, field))
