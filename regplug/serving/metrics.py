"""What the server measures of itself, in the format of Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """The metrics of one server.

    Args:
        digest: The SHA-256 of the bundle's `SHA256SUMS`.
        task: Its task.
    """

    def __init__(self, digest: str, task: str) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter("regplug_requests", "Answered requests.", ["path", "status"], registry=self._registry)
        self._seconds = Histogram(
            "regplug_request_seconds", "Time to answer.", ["path"], buckets=_SECONDS, registry=self._registry
        )
        self._rows = Counter("regplug_rows", "Predicted rows.", registry=self._registry)
        self._batches = Histogram("regplug_batch_rows", "Rows of a batch.", buckets=_ROWS, registry=self._registry)
        self.waiting = Gauge("regplug_waiting_rows", "Rows that wait for the model.", registry=self._registry)
        # Looking up a label takes longer than counting.
        self._known: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        Info("regplug_bundle", "The served bundle.", registry=self._registry).info({"digest": digest, "task": task})

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Counts an answered request."""
        if (path, status) not in self._known:
            self._known[path, status] = self._requests.labels(path, str(status)), self._seconds.labels(path)
        requests, times = self._known[path, status]
        requests.inc()
        times.observe(seconds)

    def computed(self, rows: int) -> None:
        """Counts a batch."""
        self._rows.inc(rows)
        self._batches.observe(rows)

    def text(self) -> bytes:
        """Returns all metrics."""
        return generate_latest(self._registry)
