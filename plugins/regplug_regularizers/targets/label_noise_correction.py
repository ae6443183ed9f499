"""The forward correction for noisy labels.

Shape letters: B rows of the batch, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor

from regplug.regularizer import Notice, Outputs, RegularizerFunctions, RunContext, Step
from regplug_regularizers.targets.by_class import by_class, require_cross_entropy

_ROUNDING = 1e-4


def corrected_log_p(log_p: Tensor, transition: Tensor) -> Tensor:
    """Returns the log-probabilities of the noisy label, `log(sum_i p_i * T_ij)` for each j.

    Args:
        log_p: Log-probabilities of the true class, `(B, K)`.
        transition: `T_ij = P(label j | true class i)`, `(K, K)`, each row summing to 1.
    """
    return torch.logsumexp(log_p[:, :, None] + transition.log(), dim=1)


def corrected_for_flips(log_p: Tensor, flip_probability: Tensor) -> Tensor:
    """As `corrected_log_p`, where a label is one of the K - 1 wrong ones with chance r, each equally often.

    Args:
        log_p: Log-probabilities of the true class, `(B, K)`.
        flip_probability: r, scalar in [0, (K - 1) / K).
    """
    each = flip_probability / (log_p.shape[1] - 1)
    return torch.logaddexp(log_p + (1 - flip_probability - each).log(), each.log())


@final
class LabelNoiseCorrection(RegularizerFunctions):
    """Trains on `-log(sum_i p_i * T_iy)`: what the labels would be if the outputs went through the noise of the labels.

    Source: Patrini et al. 2017, theorem 2 (forward).
    """

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Refuses another loss, a matrix that is none for this task, and noise that leaves no information."""
        yield from require_cross_entropy("label_noise_correction", context)
        classes = context.task.num_outputs
        if self.params.matrix:
            yield from self._check_matrix(classes)
        elif self.params.flip_probability >= (classes - 1) / classes:
            yield Notice(
                "refuse",
                f"label_noise_correction: with flip_probability={self.params.flip_probability:g} a label of {classes} "
                "classes says nothing of the true class, or the wrong thing.",
                f"Choose a flip_probability below {(classes - 1) / classes:.3g}.",
            )

    def _check_matrix(self, classes: int) -> Iterator[Notice]:
        matrix = self.params.matrix
        sums = [sum(matrix[row * classes : (row + 1) * classes]) for row in range(classes)]
        if len(matrix) != classes**2 or any(not math.isclose(total, 1, abs_tol=_ROUNDING) for total in sums):
            yield Notice(
                "refuse",
                f"label_noise_correction: matrix has {len(matrix)} numbers, and {classes} classes need {classes} rows "
                f"of {classes} that each sum to 1.",
                "Write row by row how often a label of each class is given to the first true class, to the second, ...",
            )

    def sample_losses(self, step: Step, losses: Tensor, outputs: Outputs) -> Tensor:
        """Each row's loss with the corrected cross entropy in place of its cross entropy."""
        log_p = outputs.logits.log_softmax(1)
        if self.params.matrix:
            matrix = torch.tensor(self.params.matrix, dtype=log_p.dtype, device=log_p.device)
            corrected = corrected_log_p(log_p, matrix.view(log_p.shape[1], -1))
        else:
            corrected = corrected_for_flips(log_p, step.settings["flip_probability"])
        return losses + by_class(step.require_batch().y, log_p - corrected)
