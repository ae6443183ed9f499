"""What an epoch has used is freed at once: on the command line the garbage collector runs only rarely."""

from __future__ import annotations

import gc

import pytest
import torch
from trainings import stack, trainer

COMPOSITIONS = (
    (),
    ("dropout", "batchnorm", "l2", "clip_norm"),
    ("mixup", "label_smoothing", "sam", "weight_decay", "max_norm"),
    ("batchnorm", "swa:start=0.1"),
)


def tensors_left_by(function):
    """Tensors that only the garbage collector frees after a call of the function."""
    gc.collect()
    kept = len(gc.garbage)
    gc.disable()
    try:
        function()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return [tuple(each.shape) for each in gc.garbage[kept:] if isinstance(each, torch.Tensor)]
    finally:
        gc.set_debug(0)
        del gc.garbage[kept:]
        gc.enable()


@pytest.mark.slow
@pytest.mark.parametrize("names", COMPOSITIONS, ids=lambda names: "+".join(names) or "none")
@pytest.mark.parametrize("is_stack", [False, True], ids=["one", "stack"])
def test_an_epoch_leaves_no_tensor_to_the_garbage_collector(names, is_stack):
    made = stack({"seed": 0}, {"seed": 1}, reg=names) if is_stack else trainer(reg=names)
    next(made.train())

    def epoch():
        next(made.train())
        made.evaluate("test")
        assert made.view_of(0).function_outputs

    assert tensors_left_by(epoch) == []
