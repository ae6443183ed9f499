"""Torchvision's classifiers take the road of every model: adapted, trained, exported, proven."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torchvision import models
from trainings import assembled

import regplug
from regplug.api import ModelContext, Task
from regplug.bundles.layout import read_manifest
from regplug.errors import ModelError, ParameterError, RegplugError
from regplug_models import TorchvisionParams
from regplug_models.torchvision_branches import mark_branches
from regplug_models.torchvision_models import classifiers, torchvision_classifier

FIVE = Task(kind="classification", num_outputs=5)


def context(*input_shape):
    return ModelContext(input_shape=input_shape, task=FIVE)


def build(name, *input_shape, side=0):
    return torchvision_classifier(TorchvisionParams(name=name, side=side), context(*input_shape))


def pictures(side, channels=3, count=60):
    """Bytes of noise in which a bright half tells the class."""
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 128, (count, channels, side, side), np.uint8), np.arange(count) % 2
    x[y == 1, :, : side // 2] += 127
    return x, y


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_and_classes_are_adapted(channels):
    network = build("squeezenet1_1", channels, 32, 32)
    assert network.features[0].in_channels == channels
    assert network(torch.zeros(2, channels, 32, 32)).shape == (2, 5)
    assert network.training


def test_an_unknown_name_is_told_with_near_names():
    with pytest.raises(ParameterError, match="resnet18"):
        build("resnet81", 3, 32, 32)
    assert {"resnet18", "mobilenet_v3_small", "vit_b_16"} <= set(classifiers())
    assert not {"fasterrcnn_resnet50_fpn", "raft_small", "r3d_18", "deeplabv3_resnet50"} & set(classifiers())


def test_rows_are_no_images():
    with pytest.raises(ModelError, match="needs images"):
        build("resnet18", 8)


def test_images_that_are_too_small_are_refused_with_a_side_that_is_taken():
    with pytest.raises(ModelError) as caught:
        build("alexnet", 1, 8, 8)
    assert "cannot take images of 8x8" in caught.value.message
    assert "torchvision:name=alexnet,side=64" in caught.value.hint
    network = build("alexnet", 1, 8, 8, side=64)
    assert network.eval()(torch.zeros(2, 1, 8, 8)).shape == (2, 5)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3", "maxvit_t", "vit_b_32", "swin_t", "densenet121"])
def test_architectures_with_wishes_of_their_own_are_built(name):
    side = {"inception_v3": 96, "maxvit_t": 224}.get(name, 32)
    with torch.device("meta"):
        network = build(name, 2, side, side)
        assert network(torch.zeros(2, 2, side, side)).shape == (2, 5)


def test_the_stem_is_the_first_convolution_of_three_channels():
    network = build("densenet121", 1, 32, 32)
    stems = [part for part in network.modules() if isinstance(part, nn.Conv2d) and part.in_channels == 1]
    assert stems == [network.features.conv0]


def test_a_misspelt_name_starts_no_run(place):
    with pytest.raises(RegplugError, match="Did you mean resnet18"):
        place.run(dataset=pictures(32), model="torchvision:name=resnet_18")
    assert place.leftovers() == []


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("resnet18", marks=pytest.mark.full),
        pytest.param("mobilenet_v3_small", marks=pytest.mark.slow),
        pytest.param("vit_b_16", marks=pytest.mark.full),  # a file of 330 MB
    ],
)
def test_a_torchvision_model_is_trained_exported_and_proven(name, place, tell):
    formats = ["onnx"] if name == "vit_b_16" else ["onnx", "torchscript"]
    model = f"torchvision:name={name}"
    result = place.run(dataset=pictures(32), model=model, epochs=1, batch_size=18, lr=0.01, export=True, format=formats)
    assert result.verification.passed
    assert read_manifest(result.bundle_path)["input"]["shape"] == ["batch", 3, 32, 32]
    assert not any(isinstance(part, nn.modules.dropout._DropoutNd) and part.p for part in result.model.modules())
    assert regplug.verify(result.bundle_path).passed
    size = (result.bundle_path / "model.onnx").stat().st_size / 2**20
    export_s = result.seconds["exporting and verifying"]
    tell(
        f"torchvision's {name}: {len(result.verification.checks)} checks, {size:.1f} MiB, exported in {export_s:.1f} s"
    )


def blocks():
    norm, relu, side = nn.BatchNorm2d, nn.ReLU, 6
    x = torch.randn(2, 4, side, side)
    last = x.permute(0, 2, 3, 1)
    return {
        "resnet18": (models.resnet.BasicBlock(4, 4), x.relu()),
        "resnet50": (models.resnet.Bottleneck(4, 1), x.relu()),
        "regnet": (models.regnet.ResBottleneckBlock(4, 4, 1, norm, relu, 2), x.relu()),
        "convnext": (models.convnext.CNBlock(4, 1.0, 0.0), x),
        "swin": (models.swin_transformer.SwinTransformerBlock(4, 2, [3, 3], [0, 0]), last),
        "vit": (models.vision_transformer.EncoderBlock(2, 4, 8, 0.0, 0.0), x.flatten(2).transpose(1, 2)),
        "mobilenet_v2": (models.mobilenetv2.InvertedResidual(4, 4, 1, 2), x),
        "mnasnet": (models.mnasnet._InvertedResidual(4, 4, 3, 1, 2), x),
    }


@pytest.mark.parametrize("name", blocks())
def test_a_block_of_torchvision_whose_branches_give_zero_is_its_shortcut(name):
    block, x = blocks()[name]
    mark_branches(block)
    found = [module for module in block.modules() if getattr(module, "is_branch", False)]
    assert found
    for module in found:
        module.register_forward_hook(lambda module, args, output: torch.zeros_like(output))
    block.eval()
    torch.testing.assert_close(block(x), x)


def test_blocks_without_a_shortcut_declare_no_branch():
    block = models.mobilenetv2.InvertedResidual(4, 6, 1, 2)
    mark_branches(block)
    assert not any(getattr(module, "is_branch", False) for module in block.modules())


def test_stochastic_depth_finds_the_eight_branches_of_a_resnet18():
    images = torch.randn(24, 1, 16, 16), torch.arange(24) % 3
    made = assembled(
        model="torchvision:name=resnet18", dataset=images, reg=["stochastic_depth"], batch_size=12, epochs=1
    )
    keys = [place.key for place in made.network.places["stochastic_depth"]]
    assert len(keys) == 8
    assert keys[0] == "layer1.0.bn2#0"


NAME = "squeezenet1_1"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A file of weights for a thousand classes of colour images."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = torchvision.models.get_model(NAME, weights=None)
    path = tmp_path_factory.mktemp("weights") / "squeezenet.pth"
    torch.save(network.state_dict(), path)
    return network, path


def fine_tuned(path, channels=3, **params):
    given = TorchvisionParams(name=NAME, weights=str(path), **params)
    return torchvision_classifier(given, context(channels, 32, 32))


def test_given_weights_are_taken_but_for_the_classes(trained):
    network, path = trained
    ours, theirs = fine_tuned(path).state_dict(), network.state_dict()
    assert {name for name in ours if not torch.equal(ours[name], theirs[name])} == {
        "classifier.1.weight",
        "classifier.1.bias",
    }


def test_a_grey_image_gives_what_it_gives_as_three_equal_channels(trained):
    network, path = trained
    x = torch.randn(2, 1, 32, 32)
    assert torch.allclose(fine_tuned(path, 1).features(x), network.features(x.expand(-1, 3, -1, -1)), atol=1e-5)


def test_frozen_parameters_are_named_by_globs(trained):
    network = fine_tuned(trained[1], freeze="features*")
    assert {name for name, one in network.named_parameters() if one.requires_grad} == {
        "classifier.1.weight",
        "classifier.1.bias",
    }


def test_what_is_wrong_with_weights_and_freeze_is_told(trained, tmp_path):
    (tmp_path / "text.pth").write_text("no weights")
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(ParameterError, match="no such file") as caught:
        fine_tuned("IMAGENET1K_V")
    assert "IMAGENET1K_V1" in caught.value.hint
    with pytest.raises(ModelError, match="cannot be read as weights"):
        fine_tuned(tmp_path / "text.pth")
    with pytest.raises(ModelError, match="holds no state_dict"):
        fine_tuned(tmp_path / "list.pth")
    with pytest.raises(ModelError, match="freeze=layer1 names no parameter") as caught:
        fine_tuned(trained[1], freeze="layer1")
    assert "features, classifier" in caught.value.hint
    with pytest.raises(ModelError, match="leaves nothing to train"):
        fine_tuned(trained[1], freeze="*")
    with pytest.raises(ModelError, match="are not those of torchvision's resnet18"):
        torchvision_classifier(TorchvisionParams(weights=str(trained[1])), context(3, 32, 32))


def test_a_download_that_fails_names_the_file_to_get(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(ModelError, match="could not be downloaded: no route to host") as caught:
        fine_tuned("default")
    assert "https://download.pytorch.org/models/squeezenet1_1" in caught.value.hint


def test_frozen_parameters_stay_as_they_are_while_the_others_train(trained, place):
    model = f"torchvision:name={NAME},weights={trained[1]},freeze=features*"
    result = place.run(dataset=pictures(32), model=model, epochs=1, batch_size=18, lr=0.01)
    ours, theirs = result.model.state_dict(), trained[0].state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items() if name.startswith("features"))
