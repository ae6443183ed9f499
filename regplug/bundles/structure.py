"""Checks before training whether a network can be exported.

Compares no outputs with a tolerance, because the outputs of an untrained network have no meaning.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from regplug.bundles.capture import EXAMPLE_ROWS, capture
from regplug.bundles.cases import BATCHES, REAL, Reference, make_cases
from regplug.bundles.isolate import Deployed, guard_input, isolate, largest_gap, remove_hooks
from regplug.bundles.outside_state import refuse_loose_modules
from regplug.bundles.preflight import (
    not_in_state,
    repeats_equal,
    running_statistics,
    state_unchanged,
    takes_every_batch,
)
from regplug.bundles.report import Check
from regplug.bundles.request import BundleRequest
from regplug.bundles.untrained import UntrainedGraph, structure

_TRAINING_ROWS = 16


FEW_BATCHES = BATCHES[:3]
"""Batch sizes to try with a network before training, and again after it: the capture and `rows_alone` cover others."""


def settle(request: BundleRequest, deployed: Deployed, raw: Tensor, sizes: Sequence[int]) -> list[Check]:
    """Prepares the copy for export: weights become plain parameters, hooks are removed, the input is not changed.

    Args:
        request: The bundle.
        deployed: The copy; changed in place.
        raw: Real raw rows.
        sizes: Batch sizes to try.

    Raises:
        ExportError: Its structure cannot be exported.
    """
    refuse_loose_modules(deployed, raw[:EXAMPLE_ROWS])
    guard_input(deployed, raw[:EXAMPLE_ROWS])
    return [
        running_statistics(deployed),
        takes_every_batch(deployed, raw, request.task, sizes),
        remove_hooks(deployed, raw),
    ]


def check_untrained(request: BundleRequest) -> UntrainedGraph:
    """Refuses an untrained network that cannot be exported, whatever it learns.

    Args:
        request: The bundle with the untrained network.

    Returns:
        The network's graph, which `write_bundle` takes for the trained network.

    Raises:
        RequestError: The request is inconsistent.
        ExportError: The network cannot be captured, is random, or keeps what it learns outside its state.
    """
    request.validate()
    with torch.random.fork_rng(devices=[]):
        deployed, _ = isolate(request.preprocess, request.module, request.ending)
        raw = torch.from_numpy(make_cases(request.samples)[REAL])
        settle(request, deployed, raw, FEW_BATCHES)
        few = raw[:EXAMPLE_ROWS]
        known = structure(deployed, few)
        program, _ = capture(deployed, few, is_trained=False)
        with torch.no_grad():
            outputs = deployed(few).numpy()
        repeats_equal(deployed, Reference(case=REAL, inputs=few.numpy(), outputs=outputs, tolerance=0.0))
        state_unchanged(deployed, few)
        _learns_into_state(deployed, raw[:_TRAINING_ROWS])
        return UntrainedGraph(known, program)


def _learns_into_state(deployed: Deployed, raw: Tensor) -> None:
    """Checks that a pass in training stores nothing outside the state that affects later outputs; changes buffers."""
    trained, fresh = copy.deepcopy(deployed), deployed
    try:
        with torch.no_grad():
            trained.train()(raw)
    except Exception:
        # A model may need something in training that only the training provides.
        return
    trained.eval()
    for learned, part in zip(trained.modules(), fresh.modules(), strict=True):
        kept = {n: value for n, value in learned._buffers.items() if n not in learned._non_persistent_buffers_set}
        part._buffers.update(copy.deepcopy(kept))
    with torch.no_grad():
        gap = largest_gap(trained(raw), fresh(raw))
    if gap > 0:
        raise not_in_state(trained, gap)
