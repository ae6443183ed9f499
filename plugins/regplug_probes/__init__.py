"""First-party probes: descriptors."""

from __future__ import annotations

from collections.abc import Iterator

from regplug.api import Probe, hookimpl


@hookimpl
def regplug_probes() -> Iterator[Probe]:
    """Yields the first-party probes."""
    yield Probe(
        name="weight_norm",
        target="regplug_probes.norms:WeightNorm",
        summary="Euclidean norm of all weights together; biases and normalization parameters left out.",
    )
