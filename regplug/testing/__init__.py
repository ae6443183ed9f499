"""The conformance kit: checks that a component fulfils the contract of its kind.

    import pytest
    from regplug.testing import conformance

    @pytest.mark.parametrize("check", conformance("my-regs"), ids=str)
    def test_conformance(check):
        check()

From Python, `check_regularizer("my_reg").lines()`; from a shell, `regplug plugins check my-regs`. What applies follows
from the descriptor: its phases, its tags and its `Stackable(off=...)`. A check that does not apply to a component is
skipped with the reason. A check that applies but cannot run is a failure, and so is an expected failure that passes. No
check depends on the text of a message. Regularizers are checked on small networks: on rows and images, with batch
normalization, residual branches, modules that are called twice and torch's weight normalization; with
`networks={"mine": Network(make=Net, input_shape=(64,), num_outputs=10)}` on yours as well. `regplug.testing.fixtures`
has two pytest fixtures, `make_plugin` and `host`.
"""

from __future__ import annotations

from functools import partial

from regplug.testing.bench import Network
from regplug.testing.checking import CheckFailed, CouldNotRun, NotApplicable
from regplug.testing.report import KitReport, Result
from regplug.testing.running import (
    LEVEL,
    Bound,
    check_component,
    check_distribution,
    check_subject,
    conformance,
)
from regplug.testing.selection import checks_for
from regplug.testing.subject import Subject

check_regularizer = partial(check_component, "regularizer")
"""`check_regularizer(descriptor_or_name, *, level=1, expected_failures={check: reason}, values={}, networks={},
only=[])`.

Returns a `KitReport`."""

check_activation = partial(check_component, "activation")
"""As `check_regularizer`, of an activation."""

check_model = partial(check_component, "model")
"""As `check_regularizer`, of a model."""

check_dataset = partial(check_component, "dataset")
"""As `check_regularizer`, of a dataset."""

check_initializer = partial(check_component, "initializer")
"""As `check_regularizer`, of an initializer."""

check_loss = partial(check_component, "loss")
"""As `check_regularizer`, of a loss."""

check_optimizer = partial(check_component, "optimizer")
"""As `check_regularizer`, of an optimizer."""

check_schedule = partial(check_component, "schedule")
"""As `check_regularizer`, of a schedule of the learning rate."""

check_probe = partial(check_component, "probe")
"""As `check_regularizer`, of a probe."""

check_format = partial(check_component, "format")
"""As `check_regularizer`, of an export format."""

__all__ = [
    "LEVEL",
    "Bound",
    "CheckFailed",
    "CouldNotRun",
    "KitReport",
    "Network",
    "NotApplicable",
    "Result",
    "Subject",
    "check_activation",
    "check_component",
    "check_dataset",
    "check_distribution",
    "check_format",
    "check_initializer",
    "check_loss",
    "check_model",
    "check_optimizer",
    "check_probe",
    "check_regularizer",
    "check_schedule",
    "check_subject",
    "checks_for",
    "conformance",
]
