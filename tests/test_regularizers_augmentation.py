"""Images cut, erased, moved and recoloured, against torchvision; noise on the columns of tables."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode, RandomErasing, TrivialAugmentWide, v2
from torchvision.transforms import functional as TF
from torchvision.transforms.autoaugment import _apply_op
from trainings import assembled, greatest_difference, stack, step, toy, trained, trainer, weights

from regplug.data import InputSpec
from regplug.errors import CompositionError
from regplug_regularizers.augmentation.boxes import boxes
from regplug_regularizers.augmentation.cutout import Cutout, cut_squares
from regplug_regularizers.augmentation.geometry import mirrored, moved, rotations, warped
from regplug_regularizers.augmentation.random_erasing import erased_boxes
from regplug_regularizers.augmentation.swap_noise import SwapNoise
from regplug_regularizers.augmentation.trivial import BINS, OPERATIONS, trivial_augment

IMAGE_METHODS = ("augment", "cutout", "random_erasing")


@pytest.mark.parametrize("reg", IMAGE_METHODS)
def test_what_is_for_images_refuses_rows(reg):
    with pytest.raises(CompositionError, match=f"{reg} is for image inputs, but the dataset has rows"):
        assembled(reg=[reg])


# Boxes.


def test_cutout_cuts_a_square_around_its_centre_less_what_is_outside():
    centres = torch.tensor([[0.5, 0.5], [0.0, 0.99]], dtype=torch.float64)
    cut = cut_squares(centres, torch.tensor(0.5), (8, 12))
    assert cut.shape == (2, 1, 8, 12)
    # The authors' code: centre +- length // 2, clipped to the image.
    assert cut[0, 0].nonzero().amin(0).tolist() == [2, 4]
    assert cut[0].sum() == 16
    assert cut[1, 0].nonzero().tolist() == [[0, 9], [0, 10], [0, 11], [1, 9], [1, 10], [1, 11]]
    x = torch.ones(2, 3, 8, 12).double()
    made, _ = Cutout().batch(step({"side": 0.5}, {"centre": centres}), x, torch.zeros(2))
    assert torch.equal(made, (~cut).double().expand(x.shape))


def torchvisions_box(monkeypatch, attempts, size):
    """What torchvision's RandomErasing erases where its uniform numbers are these, `(10, 4)`."""
    shapes, places = iter(attempts[:, :2].flatten().tolist()), iter((2, 3))
    taken = []

    def uniform_(self, low, high):
        taken.append(next(shapes))
        return torch.tensor([low + (high - low) * taken[-1]], dtype=torch.float64)

    def randint(low, high, size):
        return (attempts[len(taken) // 2 - 1, next(places)] * high).floor().long()[None]

    with monkeypatch.context() as patched:
        patched.setattr(torch.Tensor, "uniform_", uniform_)
        patched.setattr(torch, "randint", randint)
        image = torch.zeros(1, *size)
        top, left, height, width, _ = RandomErasing.get_params(image, (0.02, 0.4), (0.3, 1 / 0.3), [0.0])
    erased = torch.zeros(1, *size, dtype=torch.bool)
    if (height, width) != size:
        erased[:, top : top + height, left : left + width] = True
    return erased


def test_random_erasing_takes_torchvisions_box(monkeypatch):
    draws = torch.rand(30, 10, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    draws[0] = 0.999
    made = erased_boxes(draws, torch.tensor(0.4), (12, 5))
    assert made.any()
    for attempts, own in zip(draws, made, strict=True):
        assert torch.equal(own, torchvisions_box(monkeypatch, attempts, (12, 5)))


def test_where_no_box_fits_nothing_is_erased():
    draws = torch.full((1, 10, 4), 0.999)
    assert not erased_boxes(draws, torch.tensor(1.0), (2, 2)).any()


def test_boxes_reach_from_the_first_pixel_to_before_the_last():
    made = boxes(torch.tensor([1]), torch.tensor([0]), torch.tensor([3]), torch.tensor([2]), (4, 3))
    assert made[0, 0].int().tolist() == [[0, 0, 0], [1, 1, 0], [1, 1, 0], [0, 0, 0]]


# Geometry.


def test_images_move_as_a_crop_of_a_padded_image_does():
    x = torch.rand(3, 2, 5, 7)
    down, right = torch.tensor([-2.0, 0.0, 3.0]), torch.tensor([1.0, 0.0, -6.0])
    for row, own in enumerate(moved(x, down, right)):
        padded = TF.pad(x[row], 8)
        expected = TF.crop(padded, 8 - int(down[row]), 8 - int(right[row]), 5, 7)
        assert torch.equal(own, expected)
    assert torch.equal(mirrored(x, torch.tensor([True, False, True]))[0], v2.functional.horizontal_flip(x[0]))


@pytest.mark.parametrize("angle", [-90.0, 0.0, 30.0, 180.0])
def test_images_turn_as_torchvisions(angle):
    x = torch.rand(2, 3, 6, 9)
    own = warped(x, rotations(torch.tensor([angle, angle])), torch.zeros(2, 2))
    torch.testing.assert_close(own, TF.rotate(x, angle, InterpolationMode.BILINEAR), rtol=1e-4, atol=1e-4)


# The policy.


def test_the_operations_are_those_of_torchvisions_wide_policy():
    names = [name.lower() for name in TrivialAugmentWide()._augmentation_space(31)]
    assert names == [name.replace("_", "") for name in OPERATIONS]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("operation", range(len(OPERATIONS)), ids=OPERATIONS)
def test_an_operation_is_torchvisions(operation, channels):
    generator = torch.Generator().manual_seed(operation)
    image = torch.randint(20, 200, (channels, 40, 36), dtype=torch.uint8, generator=generator)
    name, (strengths, has_sign) = list(TrivialAugmentWide()._augmentation_space(BINS).items())[operation]
    for bin_number, sign in ((0, 1), (4, -1), (7, 1), (17, 1), (30, -1)):
        magnitude = float(strengths[bin_number]) if strengths.ndim else 0.0
        expected = _apply_op(image, name, magnitude * (sign if has_sign else 1), InterpolationMode.NEAREST, [0.0])
        own = trivial_augment(
            image[None].double() / 255,
            torch.tensor([operation]),
            torch.tensor([bin_number / (BINS - 1)], dtype=torch.float64),
            torch.tensor([float(sign)], dtype=torch.float64),
        )[0]
        gap = (own * 255 - expected.double()).abs()
        # torchvision rounds to a level on its way and at the end; at a half, it may read the pixel beside.
        assert float((gap <= 2.01).double().mean()) > 0.97, (name, bin_number)


def test_the_policy_refuses_data_of_unknown_range():
    images = (np.random.default_rng(0).standard_normal((40, 1, 8, 8)).astype("f"), np.arange(40) % 2)
    with pytest.raises(CompositionError, match="needs the range of the inputs, and the dataset does not declare it"):
        assembled(dataset=images, batch_size=8, reg=["augment:policy=trivial"])


def test_in_a_stack_each_image_of_each_run_is_augmented_as_alone():
    reg = ["augment:shift=1,rotation=20,policy=trivial", "cutout", "random_erasing:fill=noise", "mixup", "cutmix"]
    common = {"dataset": "digits", "dtype": "float64", "epochs": 1, "batch_size": 512, "reg": reg}
    together, _ = trained(stack({"seed": 0}, {"seed": 1}, **common))
    for seed in (0, 1):
        alone, _ = trained(trainer(**common, seed=seed))
        assert greatest_difference(weights(together, seed), weights(alone), relative=True) < 1e-9


def test_augmentation_comes_before_erasing_and_erasing_before_mixing():
    reg = ["mixup", "cutmix", "random_erasing", "cutout", "augment"]
    order = [placed.key for placed in assembled(dataset="digits", reg=reg).network.order]
    assert order == ["augment", "cutout", "random_erasing", "cutmix", "mixup"]


# Tables.


def test_swap_noise_takes_entries_from_the_same_column_of_another_row():
    x = torch.arange(12.0).view(4, 3).double()
    noise = {"coin": torch.full((4, 3), 0.5).double(), "row": torch.rand(4, 3).double()}
    kept, _ = SwapNoise().batch(step({"probability": 0.5}, noise), x, torch.zeros(4))
    assert torch.equal(kept, x)
    made, _ = SwapNoise().batch(step({"probability": 0.6}, noise), x, torch.zeros(4))
    for column in range(3):
        rows = (noise["row"][:, column] * 4).long()
        assert torch.equal(made[:, column], x[rows, column])


def test_swap_noise_swaps_its_share_and_keeps_the_values_of_a_column():
    raw = dataclasses.replace(toy(), inputs=InputSpec(layout="row", shape=(8,), dtype="float32"))
    made = trainer(dataset=raw, reg=["swap_noise:probability=0.3"], dtype="float64", batch_size=104)
    batch = next(made._feed.epoch(0))
    now = step({"probability": 0.3}, batch.noise["swap_noise"])
    noisy, _ = SwapNoise().batch(now, batch.x, batch.y)
    assert all(torch.isin(noisy[:, column], batch.x[:, column]).all() for column in range(8))
    expected = 0.3 * (1 - 1 / 104)
    assert float((noisy != batch.x).double().mean()) == pytest.approx(expected, abs=5 * (0.21 / noisy.numel()) ** 0.5)
