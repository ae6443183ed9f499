"""CutMix, manifold mixup, and two mixtures of one run that take turns."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms import v2
from trainings import assembled, greatest_difference, stack, step, trained, trainer, weights

from regplug.errors import CompositionError
from regplug_regularizers.mixing.cutmix import CutMix, box
from regplug_regularizers.mixing.manifold_mixup import blended_at

IMAGES = (torch.randn(60, 2, 8, 6, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3)


def images(**fields):
    return {"dataset": IMAGES, "dtype": "float64", "batch_size": 16, "epochs": 2, **fields}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.81, 1.0])
@pytest.mark.parametrize("centre", [(0.0, 0.0), (0.5, 0.5), (0.97, 0.3)])
def test_cutmix_is_torchvisions_with_the_same_box(monkeypatch, share, centre):
    x = torch.randn(5, 3, 12, 10, dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 1, 0])
    theirs = v2.CutMix(num_classes=3)
    drawn = iter([torch.tensor(int(centre[1] * 10)), torch.tensor(int(centre[0] * 12))])
    monkeypatch.setattr(theirs._dist, "sample", lambda shape: torch.tensor(share))
    monkeypatch.setattr(torch, "randint", lambda *args, **kwargs: next(drawn))
    expected_x, expected_y = theirs(x, y)
    noise = {
        "share": torch.tensor(share, dtype=torch.float64),
        "centre": torch.tensor(centre, dtype=torch.float64),
        "partner": torch.arange(5).roll(1),
    }
    made_x, made_y = CutMix().batch(step({"alpha": 1.0}, noise), x, F.one_hot(y, 3).double())
    assert torch.equal(made_x, expected_x)
    torch.testing.assert_close(made_y, expected_y.double(), rtol=1e-6, atol=1e-6)


def test_the_share_of_a_target_is_the_area_that_was_not_pasted():
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        share, *centre = torch.rand(3, generator=generator, dtype=torch.float64)
        noise = {"share": share, "centre": torch.stack(centre), "partner": torch.tensor([1, 0])}
        x = torch.stack([torch.zeros(1, 9, 7), torch.ones(1, 9, 7)]).double()
        made_x, made_y = CutMix().batch(step({"alpha": 1.0}, noise), x, torch.eye(2).double())
        assert float(made_y[0, 1]) == pytest.approx(float(made_x[0].mean()))
        assert box(share, torch.stack(centre), 9, 7).sum() <= (1 - share) * 63 + 1e-9


def test_cutmix_refuses_rows():
    with pytest.raises(CompositionError, match="cutmix is for image inputs, but the dataset has rows"):
        assembled(reg=["cutmix"])


def test_manifold_mixup_blends_at_exactly_one_place():
    values = torch.arange(4.0).view(4, 1)
    noise = {"share": torch.tensor(0.25), "partner": torch.tensor([3, 2, 1, 0])}
    for drawn in (0.0, 0.4, 0.99):
        at = step({"alpha": 1.0}, {**noise, "place": torch.tensor(drawn)})
        made = [blended_at(at, values, place, 3) for place in range(3)]
        changed = [not torch.equal(one, values) for one in made]
        assert changed == [int(3 * drawn) == place for place in range(3)]
        torch.testing.assert_close(made[int(3 * drawn)], 0.25 * values + 0.75 * values.flip(0))


def test_manifold_mixup_refuses_a_second_mixture():
    with pytest.raises(CompositionError, match="manifold_mixup refuses mixing, and mixup is one"):
        assembled(reg=["manifold_mixup", "mixup"])


# Two mixtures: one of them for each batch.


def mixed_batches(reg, epochs=4):
    """What the data phase makes of each batch."""
    made = trainer(**images(reg=reg))
    program, seen = made._program, []
    for epoch in range(epochs):
        for batch in made._feed.epoch(epoch):
            now = step()
            now.settings, now.noise = made._settings.at(0), batch.noise
            seen.append(program.regularizer.batch(now, batch.x, batch.y)[0])
    return seen


def test_of_two_mixtures_one_acts_on_each_batch_and_each_gets_its_turn():
    both, mixup, cutmix = (mixed_batches(reg) for reg in (["mixup", "cutmix"], ["mixup"], ["cutmix"]))
    chosen = []
    for together, blended, pasted in zip(both, mixup, cutmix, strict=True):
        matches = [torch.equal(together, blended), torch.equal(together, pasted)]
        assert sum(matches) == 1
        chosen.append(matches.index(True))
    assert 4 <= sum(chosen) <= len(chosen) - 4


def test_whose_turn_it_is_differs_between_the_runs_of_a_stack():
    common = images(reg=["mixup", "cutmix", "label_smoothing"])
    together, _ = trained(stack(*({"seed": seed} for seed in range(2)), **common))
    for seed in range(2):
        alone, _ = trained(trainer(**common, seed=seed))
        assert greatest_difference(weights(together, seed), weights(alone), relative=True) < 1e-9


def test_the_plan_says_who_takes_turns_and_that_smoothing_comes_after_both():
    order = assembled(**images(reg=["label_smoothing", "mixup", "cutmix"])).network.order
    assert [placed.key for placed in order] == ["cutmix", "mixup", "label_smoothing"]
    assert "takes turns with mixup: for each batch, one of them is drawn at random" in order[0].why
    assert "takes turns with cutmix" in order[1].why
