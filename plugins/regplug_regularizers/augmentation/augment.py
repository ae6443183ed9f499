"""Augmentation of images.

Shape letters: B rows of the batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

import torch
from torch import Tensor

from regplug.noise import Draw, uniform
from regplug.regularizer import Notice, RegularizerFunctions, RunContext, Shapes, Step, Tensors
from regplug_regularizers.augmentation.geometry import mirrored, moved, rotations, warped
from regplug_regularizers.augmentation.trivial import drawn, trivial_augment


@final
class Augment(RegularizerFunctions):
    """Mirrors, moves and turns each image by numbers of its own, then applies the policy.

    What comes in at the edge is zero. The policy's operations are defined on [0, 1]: the range that the dataset
    declares is mapped there and back. Source: Krizhevsky et al. 2012, section 4.1; Mueller and Hutter 2021.
    """

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Refuses the policy where the range of the inputs is not known."""
        if self.params.policy != "none" and not context.has_range:
            yield Notice(
                "refuse",
                f"augment: policy={self.params.policy} changes brightness and colours, for which it needs the range of "
                "the inputs, and the dataset does not declare it.",
                "Leave the policy out, or declare low and high in the dataset's InputSpec.",
            )

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """What is done to each image."""
        rows = shapes.x[0]
        draws = {"coin": uniform((rows,)), "place": uniform((rows, 2))}
        if self.params.rotation:
            draws["angle"] = uniform((rows,))
        if self.params.policy != "none":
            draws["policy"] = uniform((rows, 3))
        return draws

    def init(self, shapes: Shapes, params: Tensors, buffers: Tensors) -> dict[str, Tensor]:
        """The range of the inputs, where the policy needs it."""
        if self.params.policy == "none" or shapes.low is None or shapes.high is None:
            return {}
        return {"low": shapes.low.clone(), "high": shapes.high.clone()}

    def batch(self, step: Step, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Images `(B, C, H, W)`, augmented, and the targets as they are."""
        noise, settings = step.noise, step.settings
        x = mirrored(x, noise["coin"] < settings["flip_probability"])
        down, right = ((2 * settings["shift"] + 1) * noise["place"]).floor().unbind(-1)
        x = moved(x, down - settings["shift"], right - settings["shift"])
        if self.params.rotation:
            angles = self.params.rotation * (2 * noise["angle"] - 1)
            x = warped(x, rotations(angles), torch.zeros_like(noise["place"]))
        if "low" in step.state:
            low, width = step.state["low"], step.state["high"] - step.state["low"]
            x = low + width * trivial_augment(((x - low) / width).clamp(0, 1), *drawn(noise["policy"]))
        return x, y
