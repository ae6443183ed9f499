"""First-party studies: the experiments of a textbook's chapter on regularization, in its order."""

from __future__ import annotations

from collections.abc import Iterator

from regplug.api import Study, hookimpl

DECAY, DROPOUT = "Weight decay", "Dropout"
GRADIENTS, STARTS, NORMALIZATION = "Activations and gradients", "Initialization", "Normalization"


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
    yield Study(
        name="activations",
        target="regplug_lab.activations:activations",
        summary="Values and slopes of activations, hand-written ones against torch's, and a tanh that overflows.",
        question="What do activation functions compute, and how steep are they?",
        section=GRADIENTS,
        source="Zhang et al., Dive into Deep Learning, section 5.1",
        seconds=(5, 5),
        rows=("E",),
    )
    yield Study(
        name="exploding_product",
        target="regplug_lab.products:exploding_product",
        summary="The product of a 4x4 matrix of N(0, 1) with 100 more, and at other standard deviations.",
        question="When does a product of many random matrices explode, and when does it vanish?",
        section=GRADIENTS,
        source="Zhang et al., Dive into Deep Learning, section 5.4",
        seconds=(15, 5),
        rows=("E",),
    )
    yield Study(
        name="symmetry_breaking",
        target="regplug_lab.starts:symmetry_breaking",
        summary="Four hidden units with equal weights, trained alone, with L2, with L1 and with dropout.",
        question="Do hidden units that start equal ever become different, and does regularization help?",
        section=STARTS,
        source="Zhang et al., Dive into Deep Learning, section 5.4",
        seconds=(15, 8),
        rows=("E",),
    )
    yield Study(
        name="xavier",
        target="regplug_lab.starts:xavier",
        summary="Mean square of the activations through ten layers, by activation and initializer.",
        question="Which initializers keep the size of the signal through ten layers?",
        section=STARTS,
        source="Glorot & Bengio 2010; He et al. 2015",
        seconds=(20, 20),
        rows=("E",),
    )
    yield Study(
        name="batchnorm_lenet",
        target="regplug_lab.normalization:batchnorm_lenet",
        summary="LeNet on photographs of airplanes and automobiles, from three starts, with and without batch norm.",
        question="Does batch norm make a network trainable from any start?",
        section=NORMALIZATION,
        source="Zhang et al., Dive into Deep Learning, section 8.5",
        seconds=(600, 30),
        rows=("F",),
    )
    yield Study(
        name="normalizations",
        target="regplug_lab.normalization:normalizations",
        summary="Batch, layer, group and instance norm: equivalences, shapes and running statistics.",
        question="What do the normalization layers compute in training and in evaluation?",
        section=NORMALIZATION,
        source="Ioffe & Szegedy 2015; Wu & He 2018",
        seconds=(5, 5),
        rows=("F",),
    )
