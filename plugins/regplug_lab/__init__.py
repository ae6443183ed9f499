"""First-party studies: the experiments of a textbook's chapter on regularization, in its order."""

from __future__ import annotations

from collections.abc import Iterator

from regplug.api import Study, hookimpl

DECAY, DROPOUT = "Weight decay", "Dropout"


@hookimpl
def regplug_studies() -> Iterator[Study]:
    """Yields the first-party studies."""
    yield Study(
        name="weight_decay",
        target="regplug_lab.decay:weight_decay",
        summary="Linear regression with 200 features and 20 rows, with and without decay, in two conventions.",
        question="What does weight decay do to a linear regression with far more features than rows?",
        section=DECAY,
        source="Zhang et al., Dive into Deep Learning, section 3.7",
        seconds=(20, 10),
        rows=("A1", "A2", "A3", "A4"),
    )
    yield Study(
        name="dropout_scaling",
        target="regplug_lab.dropout:dropout_scaling",
        summary="Dropout of 10,000 ones, in training and in evaluation.",
        question="Does inverted dropout keep the sum of a layer in expectation, and is it the identity in evaluation?",
        section=DROPOUT,
        source="Srivastava et al. 2014, Dropout",
        seconds=(2, 2),
        rows=("C4",),
    )
    yield Study(
        name="dropout_mlp",
        target="regplug_lab.dropout:dropout_mlp",
        summary="A 784-256-256-10 network on Fashion-MNIST, with and without dropout, from four starts.",
        question="What does dropout do to a small network on Fashion-MNIST within ten epochs?",
        section=DROPOUT,
        source="Zhang et al., Dive into Deep Learning, section 5.6",
        seconds=(1500, 30),
        rows=("D1", "D2", "D3", "D4"),
    )
