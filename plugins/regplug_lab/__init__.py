"""First-party studies: the experiments of a textbook's chapter on regularization, in its order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from annotated_types import Ge

from regplug.api import Parameters, Study, hookimpl

FITTING, SELECTION = "Underfitting and overfitting", "Model selection"
DECAY, DROPOUT = "Weight decay", "Dropout"
GRADIENTS, STARTS, NORMALIZATION = "Activations and gradients", "Initialization", "Normalization"
EQUIVALENCES = "What is like weight decay"


class WidthParams(Parameters):
    """Parameters of the random features of `double_descent`."""

    width: Annotated[int, Ge(1)] = 100
    "Number of features."


@hookimpl
def regplug_studies() -> Iterator[Study]:
    """Yields the first-party studies."""
    yield Study(
        name="mlp_scratch",
        target="regplug_lab.images:mlp_scratch",
        summary="One hidden layer of 256 units on Fashion-MNIST, against a training loop written by hand.",
        question="Does a run agree with the training loop of a textbook, and how accurate is one hidden layer?",
        section=FITTING,
        source="Zhang et al., Dive into Deep Learning, section 5.2",
        seconds=(300, 20),
        rows=("D5",),
    )
    yield Study(
        name="polynomial",
        target="regplug_lab.polynomial:polynomial",
        summary="A cubic fitted with 4, 2 and 20 features, by gradient descent and by least squares.",
        question="Which number of features underfits a cubic, and does gradient descent with too many overfit?",
        section=FITTING,
        source="Zhang et al., Dive into Deep Learning, section 3.6",
        seconds=(60, 20),
        rows=("B1", "B2", "B3"),
    )
    yield Study(
        name="capacity",
        target="regplug_lab.capacity:capacity",
        summary="One hidden layer of 1 to 128 units on noisy half moons.",
        question="How do training and test error depend on the number of parameters?",
        section=FITTING,
        source="Goodfellow, Bengio and Courville 2016, section 5.2",
        seconds=(120, 15),
        seeds=40,
    )
    yield Study(
        name="bias_variance",
        target="regplug_lab.decomposition:bias_variance",
        summary="Polynomials with L2 of four strengths, on forty training sets.",
        question="What is the test error made of, and what does regularization trade?",
        section=FITTING,
        source="Geman, Bienenstock and Doursat 1992, Neural Networks and the Bias/Variance Dilemma",
        seconds=(120, 15),
        seeds=40,
    )
    yield Study(
        name="double_descent",
        target="regplug_lab.double_descent:double_descent",
        summary="Random-feature networks of growing width on digits with wrong labels, with and without L2.",
        question="Does the test error fall again beyond the width that fits the training data, and what does L2 do?",
        section=FITTING,
        source="Belkin et al. 2019, Reconciling Modern Machine Learning and the Bias-Variance Trade-Off",
        seconds=(120, 25),
    )
    yield Study(
        name="k_fold",
        target="regplug_lab.model_selection:k_fold",
        summary="The strength of a ridge regression, chosen by cross-validation, against the optimum on the test rows.",
        question="Does cross-validation choose a strength of l2 that is nearly the best on new rows?",
        section=SELECTION,
        source="Hastie, Tibshirani and Friedman 2009, section 7.10",
        seconds=(60, 15),
    )
    yield Study(
        name="weight_decay",
        target="regplug_lab.decay:weight_decay",
        summary="Linear regression with 200 features and 20 rows, with and without decay, in two conventions.",
        question="What does weight decay do to a linear regression with far more features than rows?",
        section=DECAY,
        source="Zhang et al., Dive into Deep Learning, section 3.7",
        seconds=(20, 10),
        rows=("A1", "A2", "A3", "A4"),
        seeds=40,
    )
    yield Study(
        name="weight_decay_small_batch",
        target="regplug_lab.decay:weight_decay_small_batch",
        summary="The same regression with batches of one row, and in the plain form without bias.",
        question="What does weight decay do with batches of one row, and is it the same as torch's weight_decay?",
        section=DECAY,
        source="Zhang et al., Dive into Deep Learning, section 3.7",
        seconds=(30, 15),
        rows=("A5", "A6", "A7", "A8"),
        seeds=40,
    )
    yield Study(
        name="noisy_line_weight_decay",
        target="regplug_lab.noisy_line:noisy_line_weight_decay",
        summary="A network of 200-200-200 units on ten noisy points of a line, with and without decay.",
        question="What does weight decay do to a network that can fit ten noisy points exactly?",
        section=DECAY,
        source="Lecture notes; Bishop 2006, section 5.5",
        seconds=(60, 15),
        rows=("C1", "C2"),
    )
    yield Study(
        name="noisy_line_dropout",
        target="regplug_lab.noisy_line:noisy_line_dropout",
        summary="The same network and points, with and without dropout.",
        question="Does dropout concentrate the weights of a network around zero, as weight decay does?",
        section=DROPOUT,
        source="Lecture notes; Srivastava et al. 2014",
        seconds=(300, 15),
        rows=("C1", "C3"),
        seeds=240,
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
        seeds=1,
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
        name="dropout_cnn",
        target="regplug_lab.images:dropout_cnn",
        summary="Two convolutions and dropout before the last layers, on MNIST; and D2's network on the same digits.",
        question="How accurate are small networks with dropout on handwritten digits?",
        section=DROPOUT,
        source="Zhang et al., Dive into Deep Learning, section 5.6",
        seconds=(3000, 30),
        rows=("D6", "D7"),
    )
    yield Study(
        name="mc_dropout",
        target="regplug_lab.images:mc_dropout",
        summary="A hundred passes with dropout on: entropy and mutual information, in and out of distribution.",
        question="Does dropout at test time tell how uncertain a network is?",
        section=DROPOUT,
        source="Gal and Ghahramani 2016, Dropout as a Bayesian Approximation",
        seconds=(300, 25),
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
        seeds=1,
    )
    yield Study(
        name="vanishing_gradients",
        target="regplug_lab.vanishing:vanishing_gradients",
        summary="Gradients by layer for three activations, three depths and three initializers, and training on MNIST.",
        question="How much of the gradient reaches the first layer, by activation, depth and initializer?",
        section=GRADIENTS,
        source="Glorot & Bengio 2010; He et al. 2015",
        seconds=(300, 30),
        rows=("E",),
    )
    yield Study(
        name="dead_relu",
        target="regplug_lab.dead_units:dead_relu",
        summary="Exact zeros and dead units of a network on MNIST, by learning rate, activation and initializer.",
        question="When do ReLU units die, and what helps?",
        section=GRADIENTS,
        source="Lu et al. 2019, Dying ReLU and Initialization",
        seconds=(300, 25),
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
        seeds=1,
    )
    yield Study(
        name="early_stopping_is_l2",
        target="regplug_lab.equivalences:early_stopping_is_l2",
        summary="Gradient descent on least squares that is stopped after k steps, and ridges of strength 1/(lr k).",
        question="Is stopping early the same as weight decay?",
        section=EQUIVALENCES,
        source="Ali, Kolter and Tibshirani 2019, A Continuous-Time View of Early Stopping for Least Squares Regression",
        seconds=(60, 20),
    )
    yield Study(
        name="noise_is_tikhonov",
        target="regplug_lab.equivalences:noise_is_tikhonov",
        summary="Least squares on noisy inputs and on dropped inputs, against two ridges in closed form.",
        question="Which noise on the inputs is Tikhonov regularization?",
        section=EQUIVALENCES,
        source="Bishop 1995, Training with Noise is Equivalent to Tikhonov Regularization",
        seconds=(60, 20),
        rows=("F",),
    )
