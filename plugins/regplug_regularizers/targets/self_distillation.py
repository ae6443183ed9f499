"""Self-distillation.

Shape letters: B rows of the batch, N training rows, K classes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

import regplug
from regplug.bundles.layout import read_manifest
from regplug.errors import RegplugError, RequestError, some_of
from regplug.regularizer import Notice, Outputs, RegularizerFunctions, RunContext, Shapes, Step, Tensors
from regplug.tracking import open_store


def bundle_of(teacher: str) -> Path:
    """Returns the bundle that a path names, or that a tracked run keeps.

    Args:
        teacher: A bundle's folder; else the id of a run, the beginning of it, or its name.

    Raises:
        RequestError: There is no such run, or it keeps no bundle.
    """
    folder = Path(teacher).expanduser()
    if folder.is_dir():
        return folder
    try:
        store = open_store(is_read=True)
        return store.read_artifact(store.find_run(teacher).run_id, "bundle")
    except RequestError as error:
        told = f"teacher={teacher} is neither the folder of a bundle nor a run that keeps one: {error.message}"
        raise RequestError(told, hint=error.hint) from error


def probabilities(bundle: Path, raw_rows: Any, class_names: Sequence[str]) -> Tensor:
    """Returns a bundle's class probabilities of raw rows, `(N, K)` float64, in the order of the class names.

    Args:
        bundle: Its folder.
        raw_rows: NumPy array `(N, ...)`, as the bundle takes it.
        class_names: Names of the K classes.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.npy"
        np.save(file, raw_rows)
        answers = [dict(row.top) for row in regplug.predict(bundle, file, top=len(class_names)).rows]
    return torch.tensor([[answer[name] for name in class_names] for answer in answers], dtype=torch.float64)


@final
class SelfDistillation(RegularizerFunctions):
    """Adds `strength * cross entropy(t, p)`, t the class probabilities of a finished network of the same kind.

    The teacher answers once to each training row as it comes, so it does not see what augmentation makes of it. With
    the student as the next teacher it is a born-again network. Source: Furlanello et al. 2018, equation 2.
    """

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Refuses a teacher that cannot be read, or that knows other classes."""
        try:
            manifest = read_manifest(bundle_of(self.params.teacher))
        except RegplugError as error:
            yield Notice("refuse", f"self_distillation: {error.message}", error.hint)
            return
        known, needed = manifest["class_names"], list(context.task.class_names)
        if known != needed:
            yield Notice(
                "refuse",
                f"self_distillation: the teacher knows the classes {some_of(known) if known else '(none)'}, and the "
                f"dataset has {some_of(needed)}: they must be the same, in the same order.",
                "Name a run or a bundle that was trained on this dataset.",
            )

    def init(self, shapes: Shapes, params: Tensors, buffers: Tensors) -> dict[str, Tensor]:
        """The teacher's probabilities of all training rows."""
        like = next(iter(params.values()))
        bundle = bundle_of(self.params.teacher)
        names = read_manifest(bundle)["class_names"]
        return {"teacher": probabilities(bundle, shapes.raw, names).to(like)}

    def penalty(self, step: Step, weights: Tensors, outputs: Outputs) -> Tensor:
        """The cross entropy with the teacher's probabilities."""
        taught = step.state["teacher"][step.require_batch().rows]
        strength: Tensor = step.settings["strength"]
        return -strength * (taught * outputs.logits.log_softmax(1)).sum(1).mean()
