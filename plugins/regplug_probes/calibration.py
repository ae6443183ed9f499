"""Calibration of predicted probabilities.

Shape letters: H held-out rows, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regplug.errors import CompositionError
from regplug.probes import Probe, ProbeView
from regplug_probes import CalibrationParams
from regplug_probes.layers import finite


def calibration_error(probability_HK: Tensor, labels_H: Tensor, bins: int) -> float:
    """Returns the expected calibration error: sum_bins rows / H * |accuracy - mean confidence|.

    The confidence is the probability of the predicted class. Bins have equal width and include their upper end.

    >>> round(calibration_error(torch.tensor([[0.9, 0.1], [0.8, 0.2]]), torch.tensor([0, 1]), 15), 3)
    0.45

    Source: Guo et al. 2017, section 2.
    """
    confidence_H, predicted_H = probability_HK.double().max(dim=1)
    bin_H = ((confidence_H * bins).ceil().long() - 1).clamp(0, bins - 1)
    excess = torch.zeros(bins, dtype=torch.float64, device=confidence_H.device)
    excess.index_add_(0, bin_H, (predicted_H == labels_H).double() - confidence_H)
    return float(excess.abs().sum()) / len(labels_H)


class Calibration(Probe):
    """`calibration/ece`, `calibration/confidence` and `calibration/overconfidence`, on held-out rows.

    The confidence is the mean probability of the predicted class; the overconfidence is that minus the accuracy.
    """

    def __init__(self, params: CalibrationParams) -> None:
        self.params = params

    def measure(self, view: ProbeView) -> dict[str, float]:
        """Returns the three numbers.

        Raises:
            CompositionError: The task is a regression.
        """
        logits_HK, y = view.held_out
        if y.is_floating_point():
            raise CompositionError(
                "calibration needs the probabilities of a classification, but the targets are values.",
                hint="Leave --probe calibration out, or choose a dataset with classes.",
            )
        probability_HK = logits_HK.double().softmax(dim=1)
        confidence_H, predicted_H = probability_HK.max(dim=1)
        found: dict[str, float | Tensor] = {
            "calibration/ece": calibration_error(probability_HK, y, self.params.bins),
            "calibration/confidence": confidence_H.mean(),
            "calibration/overconfidence": confidence_H.mean() - (predicted_H == y).double().mean(),
        }
        return finite(found)
