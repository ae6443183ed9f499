"""Studies on pictures of digits and clothes: accuracy, a loop written by hand, and dropout at test time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from regplug.lab import Drawing, Findings, Lab, curves, exact, greater, histograms, series, spreads, within
from regplug_lab.by_hand import MC_ENTROPY, MC_LIKELIHOOD, MC_PLAIN, Expected, as_by_hand, as_expected, in_facts
from regplug_lab.judging import SECOND_DIGIT, THIRD_DIGIT

Array = NDArray[np.float64]

CNN: dict[str, Any] = {
    "model": "cnn", "reg": ["dropout:drop_probability=0.3,at=flatten"], "batch_size": 256, "lr": 0.5,
    "pair_seeds": False, "probe": (),
}  # fmt: skip
MLP: dict[str, Any] = {
    "model": "mlp:hidden=[256,256]", "reg": ["dropout:drop_probability=[0.2,0.5]"], "batch_size": 256, "lr": 0.5,
    "pair_seeds": False, "probe": (),
}  # fmt: skip

CNN_TEXT = """
Digits are easier than clothes: the network of D2 reaches 98 % on MNIST, and two convolutions reach 98.5 to 99 % within
three epochs. A single epoch of a single run says little: one of four runs of the reference ended at 97.9 %.
"""


def dropout_cnn(lab: Lab) -> Findings:
    """Rows D6 and D7."""
    few = lab.pick("", "train_rows=1000")
    epochs = lab.pick((10, 3), (2, 1))
    runs = {
        "D6": lab.sweep("mlp", dataset=f"mnist:{few}" if few else "mnist", epochs=epochs[0], **MLP),
        "D7": lab.sweep(
            "cnn",
            dataset=",".join(filter(None, ["mnist:normalize=fixed", few])),
            epochs=epochs[1],
            seeds=lab.pick(lab.seeds, 1),
            **CNN,
        ),
    }
    too_short = lab.shortened("1,000 images, one or two epochs, and one seed of the convolutions")
    values = {f"test/{row}": each.values("test/accuracy") for row, each in runs.items()}
    ranges = {"test/D6": (0.976, 0.981), "test/D7": (0.979, 0.990)}
    names = {"test/D6": "fully connected", "test/D7": "convolutions"}
    return Findings(
        claims=[
            within(name.removeprefix("test/").lower(), f"The test accuracy ({names[name]}) is that of the reference.",
                   values[name], *limits, half_digit=THIRD_DIGIT, source=f"FACTS {name.removeprefix('test/')}",
                   undecided=too_short)
            for name, limits in ranges.items()
        ],
        values=values,
        text=CNN_TEXT,
        figures=[
            curves("learning", "Test accuracy on MNIST", "Mean of the seeds and one standard deviation.",
                   {f"test accuracy | {names[f'test/{row}']}": {"with dropout": each.curves("test/accuracy")}
                    for row, each in runs.items()}),
            spreads("test", "Test accuracy on MNIST", "Each seed, the mean, and the range of the reference.",
                    {names[name]: each for name, each in values.items()}, x_name="test accuracy",
                    references={names[name]: limits for name, limits in ranges.items()}),
        ],
    )  # fmt: skip


# A training loop written by hand.

SCRATCH: dict[str, Any] = {
    "model": "mlp:hidden=[256]", "init": "normal:std=0.01", "lr": 0.1, "batch_size": 256, "probe": (),
}  # fmt: skip
SCRATCH_ROWS = 2048

SCRATCH_TEXT = """
The textbook writes the network, the loss and the update by hand: two matrices, `max(0, z)`, the logarithm of a softmax,
and `w - lr * gradient`. A run of regplug with the same start and the same order of rows ends with the same weights, to
rounding. Its accuracy after ten epochs is that of the reference.
"""


def mlp_scratch(lab: Lab) -> Findings:
    """Row D5, and a run against a loop written by hand."""
    dataset = lab.pick("fashion_mnist", "fashion_mnist:train_rows=6000")
    runs = lab.sweep("d5", dataset=dataset, epochs=lab.pick(10, 2), pair_seeds=False, **SCRATCH)
    difference = _by_hand(lab)
    accuracy = runs.values("test/accuracy")
    return Findings(
        claims=[
            exact("by_hand", "A run ends with the weights of a loop written by hand (two epochs, double precision).",
                  difference, 0, 1e-10, source="Zhang et al., section 5.2"),
            within("d5", "The test accuracy of one hidden layer is that of the reference.", accuracy, 0.824, 0.851,
                   half_digit=THIRD_DIGIT, source="FACTS D5",
                   undecided=lab.shortened("two epochs on 6,000 images")),
        ],
        values={"test/accuracy": accuracy, "by_hand/difference": difference},
        text=SCRATCH_TEXT,
        figures=[
            curves("learning", "One hidden layer on Fashion-MNIST", "Mean of the seeds and one standard deviation.",
                   {"loss": {"training (running)": runs.curves("train/running_loss")},
                    "accuracy": {"training (running)": runs.curves("train/running_accuracy"),
                                 "test": runs.curves("test/accuracy")}}),
        ],
    )  # fmt: skip


def _by_hand(lab: Lab) -> float:
    """Greatest difference of a weight after two epochs, rows in their order."""
    dataset = f"fashion_mnist:train_rows={SCRATCH_ROWS}"
    fields = {**SCRATCH, "dataset": dataset, "shuffle": False, "dtype": "float64"}
    start = lab.run("start", epochs=0, **fields).model
    ended = lab.run("by hand", epochs=2, **fields).model
    train = lab.data(dataset).train
    x_BF = torch.tensor(np.asarray(train.x), dtype=torch.float64).flatten(1) / 255
    weights = trained_by_hand(list(start.parameters()), x_BF, torch.tensor(train.y), epochs=2, lr=0.1, batch=256)
    pairs = zip(weights, ended.parameters(), strict=True)
    return max(float((mine - theirs.detach()).abs().max()) for mine, theirs in pairs)


def trained_by_hand(
    initial: Sequence[Tensor], x_BF: Tensor, y_B: Tensor, *, epochs: int, lr: float, batch: int
) -> list[Tensor]:
    """Returns the weights and biases of a network with one hidden layer after plain gradient descent.

    Args:
        initial: Weight `(H, F)`, bias `(H,)`, weight `(K, H)`, bias `(K,)`.
        x_BF: Inputs.
        y_B: Classes.
        epochs: Passes over the rows, in their order.
        lr: Learning rate on the mean loss.
        batch: Rows of a step.
    """
    params = [tensor.detach().clone().double().requires_grad_() for tensor in initial]
    w_HF, b_H, w_KH, b_K = params
    for _ in range(epochs):
        for start in range(0, len(x_BF), batch):
            x, y = x_BF[start : start + batch], y_B[start : start + batch]
            logits_BK = torch.clamp(x @ w_HF.T + b_H, min=0) @ w_KH.T + b_K
            loss = (torch.logsumexp(logits_BK, 1) - logits_BK.gather(1, y[:, None])[:, 0]).mean()
            grads = torch.autograd.grad(loss, params)
            with torch.no_grad():
                for param, grad in zip(params, grads, strict=True):
                    param -= lr * grad
    return [param.detach() for param in params]


# Dropout at test time.

RATES = {"activation1": 0.2, "activation2": 0.5}

MC_TEXT = """
With dropout left on, each pass is another network; their mean is a slightly better prediction than the single pass
without dropout on average, though not in every seed, at the same accuracy. The mutual information between prediction
and mask, the part of the entropy on which the passes disagree, tells digits from clothes better than the entropy of the
mean, and that better than the entropy of the deterministic network.
FACTS has the mean of the passes "always better", and AUROC in ranges that are 0.03 to 0.05 wide. In plain torch the
mean of the passes is worse in 8 of 30 seeds, and 5 and 8 of them lie outside the ranges of the two entropies, so these
rows are judged by these seeds instead. All test rows are used, because the first half of MNIST's test set is easier
than the second.
"""


def mc_dropout(lab: Lab) -> Findings:
    """D2's network, 100 passes with dropout on, on clothes and on digits."""
    dataset = lab.pick("fashion_mnist", "fashion_mnist:train_rows=6000")
    runs = lab.sweep("d2", dataset=dataset, epochs=lab.pick(10, 2), keep_models=True, **MLP)
    rows, passes = lab.pick((None, 100), (500, 20))
    inside, outside = _test_rows(lab, "fashion_mnist", rows), _test_rows(lab, "mnist", rows)
    found = [_judge(model, inside, outside, passes, seed) for seed, model in enumerate(runs.models())]
    values = {name: [each[name] for each in found] for name in found[0] if not name.startswith("_")}
    too_short = lab.shortened("two epochs on 6,000 images and 20 passes")
    expected: dict[str, Expected] = {
        "auroc/mutual_information": (0.88, 0.93),
        "auroc/entropy": MC_ENTROPY,
        "auroc/plain": MC_PLAIN,
    }
    gains = [plain - mc for plain, mc in zip(values["nll/plain"], values["nll/mc"], strict=True)]
    return Findings(
        claims=[
            as_by_hand("nll", "The gain in negative log-likelihood by the mean of the passes", gains, MC_LIKELIHOOD,
                       too_short),
            greater("mutual_information", "Mutual information tells digits from clothes better than entropy.",
                    values["auroc/mutual_information"], values["auroc/entropy"], source="FACTS F, MC dropout",
                    undecided=too_short),
            greater("entropy", "The entropy of the mean tells them better than that of the deterministic network.",
                    values["auroc/entropy"], values["auroc/plain"], source="FACTS F, MC dropout",
                    undecided=too_short),
            *(as_expected(name.replace("/", "_"), f"The AUROC of {name.removeprefix('auroc/')}", values[name], one,
                          SECOND_DIGIT, source="FACTS F, MC dropout", undecided=too_short)
              for name, one in expected.items()),
        ],
        values=values,
        text=MC_TEXT,
        figures=_uncertainty_figures(found, values, {name: in_facts(one) for name, one in expected.items()}),
    )  # fmt: skip


def _test_rows(lab: Lab, dataset: str, rows: int | None) -> tuple[Tensor, Array]:
    test = lab.data(dataset).test
    x = torch.tensor(np.asarray(test.x[:rows]), dtype=torch.float32) / 255
    return x, np.asarray(test.y[:rows])


def _judge(
    model: nn.Module, inside: tuple[Tensor, Array], outside: tuple[Tensor, Array], passes: int, seed: int
) -> dict[str, Any]:
    from sklearn.metrics import roc_auc_score

    (x, y), (other, _) = inside, outside
    with torch.no_grad():
        plain, plain_other = (F.softmax(model(each), 1).double().numpy() for each in (x, other))
        mean, information = mc_predict(model, x, passes, seed)
        mean_other, information_other = mc_predict(model, other, passes, seed + 1000)
    is_other = np.repeat([0, 1], [len(x), len(other)])

    def auroc(first: Array, second: Array) -> float:
        return float(roc_auc_score(is_other, np.concatenate([first, second])))

    return {
        "nll/plain": float(-np.log(plain[np.arange(len(y)), y]).mean()),
        "nll/mc": float(-np.log(mean[np.arange(len(y)), y]).mean()),
        "accuracy/plain": float((plain.argmax(1) == y).mean()),
        "accuracy/mc": float((mean.argmax(1) == y).mean()),
        "ece/plain": calibration_error(plain, y),
        "ece/mc": calibration_error(mean, y),
        "auroc/plain": auroc(entropy(plain), entropy(plain_other)),
        "auroc/entropy": auroc(entropy(mean), entropy(mean_other)),
        "auroc/mutual_information": auroc(information, information_other),
        "_entropy": (entropy(mean), entropy(mean_other)),
        "_reliability": (reliability(plain, y), reliability(mean, y)),
    }


def mc_predict(model: nn.Module, x: Tensor, passes: int, seed: int) -> tuple[Array, Array]:
    """Returns the mean probabilities `(B, K)` of passes with dropout on, and the mutual information `(B,)` in nats.

    Args:
        model: A network of `mlp`, whose dropout was removed after training.
        x: Inputs `(B, ...)`.
        passes: Number of passes.
        seed: Seed of the masks.
    """
    generator = torch.Generator().manual_seed(seed)
    found: list[tuple[Array, Array]] = []
    for _ in range(passes):
        hidden = x
        for name, module in model.named_children():
            hidden = module(hidden)
            if name in RATES:
                keep = torch.rand(hidden.shape, generator=generator) >= RATES[name]
                hidden = hidden * keep / (1 - RATES[name])
        probabilities = F.softmax(hidden, 1).double().numpy()
        found.append((probabilities, entropy(probabilities)))
    mean = np.asarray(sum(probabilities for probabilities, _ in found) / passes)
    return mean, entropy(mean) - np.asarray(sum(each for _, each in found)) / passes


def entropy(p_BK: Array) -> Array:
    """Returns the entropy of each row of probabilities, in nats."""
    return np.asarray(-(p_BK * np.log(np.maximum(p_BK, 1e-300))).sum(1))


BINS = 10


def reliability(p_BK: Array, y_B: Array) -> Array:
    """Returns the accuracy in each of ten bins of confidence, NaN in an empty one."""
    confidence, right = p_BK.max(1), p_BK.argmax(1) == y_B
    at = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return np.array([right[at == part].mean() if (at == part).any() else np.nan for part in range(BINS)])


def calibration_error(p_BK: Array, y_B: Array) -> float:
    """Returns the expected calibration error over ten bins of confidence. Source: Guo et al. 2017."""
    confidence, right = p_BK.max(1), p_BK.argmax(1) == y_B
    at = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs(right[at == part].mean() - confidence[at == part].mean()) * (at == part).mean()
            for part in range(BINS) if (at == part).any()]  # fmt: skip
    return float(sum(gaps))


def _uncertainty_figures(
    found: Sequence[Mapping[str, Any]], values: Mapping[str, list[float]], ranges: Mapping[str, tuple[float, float]]
) -> list[Drawing]:
    clothes, digits = (np.concatenate([each["_entropy"][at] for each in found]) for at in (0, 1))
    plain, mean = (np.array([each["_reliability"][at] for each in found]) for at in (0, 1))
    centres = (np.arange(BINS) + 0.5) / BINS
    return [
        histograms("entropy", "Predictive entropy of the mean of the passes", "Test rows of all seeds.",
                   {"entropy in nats": {"clothes (in distribution)": clothes, "digits (outside)": digits}}, bins=40),
        series("reliability", "Accuracy by confidence", "Mean and range of the seeds; ten bins.", centres,
               {"accuracy": {"deterministic": plain, "mean of the passes": mean, "calibrated": centres}},
               x_name="confidence", y_limits=(-0.02, 1.02)),
        spreads("auroc", "Telling digits from clothes", "Each seed, the mean, and the range of the reference.",
                {name.removeprefix("auroc/").replace("_", " "): values[name] for name in ranges}, x_name="AUROC",
                references={name.removeprefix("auroc/").replace("_", " "): limits for name, limits in ranges.items()}),
    ]  # fmt: skip
