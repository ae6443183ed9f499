"""No regularization."""

from __future__ import annotations

from typing import final

from regplug.regularizer import RegularizerFunctions


@final
class NoRegularizer(RegularizerFunctions):
    """Changes nothing, in training and in evaluation."""
