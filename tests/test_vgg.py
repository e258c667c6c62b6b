"""The loss network: its files, its layers, what it expects of a picture, and the weights in the box."""

from __future__ import annotations

import pickle
import sys
import urllib.error
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from stylize.data import load_square
from stylize.errors import InputError, StylizeError, WeightsError
from stylize.vgg import CONVOLUTIONS, INPUTS, LAYERS, VGG19, check_layers, load_loss_network
from tests.helpers import ROOT

SHALLOW = ("1_1", "1_2", "2_1")
METADATA = {"format": "stylize-loss-network"}


def pictures(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def shallow_tensors() -> dict[str, torch.Tensor]:
    """Indices, tables and biases of the first three convolutions."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name in SHALLOW:
        narrow, wide = CONVOLUTIONS[name]
        index = torch.randint(0, 256, (wide, narrow, 3, 3), generator=generator, dtype=torch.uint8)
        tensors[f"conv{name}.index"] = index
        tensors[f"conv{name}.codebook"] = torch.randn(256, generator=generator) * (2 / (9 * narrow)) ** 0.5
        tensors[f"conv{name}.bias"] = torch.randn(wide, generator=generator)
    return tensors


@pytest.fixture
def shallow_file(tmp_path) -> Callable[..., Path]:
    """Write a loss network of three convolutions, with some tensors replaced (None: left out)."""

    def write(metadata: dict[str, str] | None = METADATA, **changes: torch.Tensor | None) -> Path:
        tensors = {**shallow_tensors(), **{name.replace("__", "."): value for name, value in changes.items()}}
        path = tmp_path / "network.safetensors"
        save_file({name: value for name, value in tensors.items() if value is not None}, path, metadata=metadata)
        return path

    return write


@pytest.fixture
def shallow(shallow_file) -> VGG19:
    return load_loss_network(str(shallow_file()), last="relu2_1")


def plain_network(network: VGG19, names: tuple[str, ...], pool: nn.Module) -> nn.Sequential:
    """The same layers, written down the usual way."""
    layers: list[nn.Module] = []
    for position, name in enumerate(names):
        if name.endswith("_1") and position:
            layers.append(pool)
        conv = nn.Conv2d(*CONVOLUTIONS[name], 3, padding=1)
        conv.load_state_dict(getattr(network, f"conv{name}").state_dict())
        layers += [conv, nn.ReLU()]
    return nn.Sequential(*layers)


def caffe_input(images: torch.Tensor) -> torch.Tensor:
    """BGR, 0..255, minus the mean colour of the Oxford networks."""
    return images[:, [2, 1, 0]] * 255 - torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)


# -------------------------------------------------------------------------------------------------------------- layers


def test_the_layers_are_those_of_configuration_e_up_to_conv5_1():
    per_block = {block: [n for n in CONVOLUTIONS if n.startswith(block)] for block in "12345"}
    assert [len(names) for names in per_block.values()] == [2, 2, 4, 4, 1]
    assert LAYERS[:4] == ("conv1_1", "relu1_1", "conv1_2", "relu1_2")
    assert LAYERS[-1] == "relu5_1"
    pairs = list(CONVOLUTIONS.values())
    assert all(before[1] == after[0] for before, after in zip(pairs, pairs[1:], strict=False))


@pytest.mark.parametrize("name", ["relu31", "relu_3_1", "Relu3_1"])
def test_an_unknown_layer_gets_a_suggestion_and_the_list(shallow, name):
    for call in (
        lambda: check_layers(["conv1_1", name]),
        lambda: shallow(pictures(1, 3, 8, 8), [name]),
        lambda: VGG19(last=name),
    ):
        with pytest.raises(InputError, match=rf"unknown layer '{name}'; did you mean 'relu3_1'\?.*known: .*relu5_1"):
            call()


def test_a_layer_of_the_part_that_is_not_there_is_unknown():
    with pytest.raises(InputError, match="unknown layer 'relu5_4'"):
        check_layers(["relu5_4"])


def test_other_poolings_and_inputs_are_refused():
    with pytest.raises(InputError, match="unknown pooling 'avarage'; did you mean 'average'"):
        VGG19("avarage", last="relu1_1")
    with pytest.raises(InputError, match="unknown loss network input 'rgb'.*bgr255"):
        VGG19(expects="rgb", last="relu1_1")


@pytest.mark.parametrize(("pooling", "pool"), [("max", nn.MaxPool2d(2)), ("average", nn.AvgPool2d(2))])
def test_features_are_those_of_a_plain_network(shallow_file, pooling, pool):
    network = load_loss_network(str(shallow_file()), pooling=pooling, last="relu2_1")
    images = pictures(2, 3, 13, 10)  # odd sizes lose their last row in a pooling
    given_images = images.clone()
    found = network(images, [f"{kind}{name}" for name in SHALLOW for kind in ("relu", "conv")])
    features, expected = caffe_input(images), {}
    steps = iter(plain_network(network, SHALLOW, pool))
    for position, name in enumerate(SHALLOW):
        if name.endswith("_1") and position:
            features = next(steps)(features)
        expected[f"conv{name}"] = features = next(steps)(features)
        expected[f"relu{name}"] = features = next(steps)(features)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=1e-4, atol=1e-3), name
    assert found["relu2_1"].shape == (2, 128, 6, 5)
    assert torch.equal(images, given_images)
    # Each layer asked for alone is the same: nothing that was collected is changed in place later.
    for name, value in found.items():
        assert torch.equal(network(images, [name])[name], value)


def test_gradients_reach_the_picture_and_are_those_of_a_plain_network(shallow):
    images = pictures(1, 3, 8, 8).requires_grad_()
    names = ["conv1_1", "relu1_2", "relu2_1"]
    sum(value.square().sum() for value in shallow(images, names).values()).backward()
    twin = images.detach().clone().requires_grad_()
    layers = plain_network(shallow, SHALLOW, nn.MaxPool2d(2)).requires_grad_(False)
    first = layers[0](caffe_input(twin))
    middle = layers[3](layers[2](layers[1](first)))
    last = layers[4:](middle)
    (first.square().sum() + middle.square().sum() + last.square().sum()).backward()
    assert torch.allclose(images.grad, twin.grad, rtol=1e-3, atol=1e-3 * twin.grad.abs().max().item())


def test_computing_stops_at_the_deepest_layer(shallow):
    def fail(*_: object) -> None:
        raise AssertionError("computed more than was asked for")

    shallow.conv2_1.register_forward_hook(fail)
    found = shallow(pictures(1, 3, 8, 8), ["relu1_2", "conv1_1", "relu1_2"])
    assert set(found) == {"relu1_2", "conv1_1"}
    assert shallow(pictures(1, 3, 8, 8), []) == {}


def test_a_layer_deeper_than_was_built(shallow):
    assert not hasattr(shallow, "conv2_2")
    with pytest.raises(InputError, match="layer 'relu2_2' asked for, but this loss network ends before conv2_2"):
        shallow(pictures(1, 3, 8, 8), ["relu1_1", "relu2_2"])


@pytest.mark.parametrize("expects", INPUTS)
def test_the_prepared_picture_by_hand(expects):
    colour = torch.tensor([1.0, 0.5, 0.0]).view(1, 3, 1, 1)
    expected = {
        "bgr255": [0 - 103.939, 127.5 - 116.779, 255 - 123.68],
        "imagenet": [(1 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (0 - 0.406) / 0.225],
    }
    network = VGG19(expects=expects, last="conv1_1")
    with torch.no_grad():  # a convolution that hands its input through
        network.conv1_1.weight.zero_()
        network.conv1_1.bias.zero_()
        for channel in range(3):
            network.conv1_1.weight[channel, channel, 1, 1] = 1
    found = network(colour, ["conv1_1"])["conv1_1"].flatten()[:3]
    assert found.tolist() == pytest.approx(expected[expects], rel=1e-5)


def test_it_never_learns_and_stays_in_evaluation_mode(shallow):
    assert not any(parameter.requires_grad for parameter in shallow.parameters())
    parent = nn.Sequential(shallow).train()
    assert not shallow.training
    assert not any(module.training for module in shallow.modules())
    assert parent.training


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_bfloat16_and_channels_last_change_the_layout_and_not_the_features(shallow, memory):
    images = pictures(1, 3, 12, 12)
    expected = shallow(images, ["relu2_1"])["relu2_1"]
    shallow.to(torch.bfloat16, memory_format=memory)
    found = shallow(images, ["relu2_1"])["relu2_1"]
    assert found.dtype == torch.bfloat16
    assert found.is_contiguous(memory_format=memory)
    assert ((found.float() - expected).norm() / expected.norm()).item() < 0.02


@pytest.mark.parametrize("expects", INPUTS)
def test_a_bfloat16_network_subtracts_the_mean_colour_before_it_rounds(expects):
    # Rounded to bfloat16 the mean colour would be 104, 117, 123.5: an error that all pixels share.
    network = VGG19(expects=expects, last="conv1_1")
    with torch.no_grad():
        network.conv1_1.weight.zero_()
        network.conv1_1.bias.zero_()
        for channel in range(3):
            network.conv1_1.weight[channel, channel, 1, 1] = 1
    images = pictures(1, 3, 40, 40)
    expected = network(images, ["conv1_1"])["conv1_1"][:, :3]
    found = network.to(torch.bfloat16)(images, ["conv1_1"])["conv1_1"][:, :3].float()
    assert torch.equal(found, expected.bfloat16().float())


# --------------------------------------------------------------------------------------------------------------- files


def test_weights_are_looked_up_in_the_codebook(shallow_file):
    index = torch.zeros(64, 3, 3, 3, dtype=torch.uint8)
    index[5, 2, 0, 1] = 255
    index[6, 1, 2, 2] = 128
    codebook = torch.arange(256) / 256
    bias = torch.arange(64) / 8
    path = shallow_file(conv1_1__index=index, conv1_1__codebook=codebook, conv1_1__bias=bias)
    network = load_loss_network(str(path), last="conv1_1")
    weight = torch.zeros(64, 3, 3, 3)
    weight[5, 2, 0, 1] = 255 / 256
    weight[6, 1, 2, 2] = 0.5
    assert torch.equal(network.conv1_1.weight, weight)
    assert torch.equal(network.conv1_1.bias, bias)
    assert network.conv1_1.weight.dtype == torch.float32
    assert network.expects == "bgr255"
    assert not hasattr(network, "conv1_2")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vgg16", r"unknown loss network 'vgg16'; did you mean 'vgg19'\? \(known: vgg19, torchvision, a path"),
        ("torchvison", "did you mean 'torchvision'"),
        ("missing.safetensors", "missing.safetensors not found; give vgg19, torchvision or an existing file"),
        ("folder/missing", "not found"),
    ],
)
def test_a_loss_network_that_is_not_there(name, words):
    with pytest.raises(InputError, match=words):
        load_loss_network(name)


def test_a_folder_is_no_loss_network(tmp_path):
    with pytest.raises(WeightsError, match="not found"):
        load_loss_network(str(tmp_path))


@pytest.mark.parametrize("metadata", [None, {"format": "stylize"}, {"format": "pt"}])
def test_another_safetensors_file(shallow_file, metadata):
    with pytest.raises(WeightsError, match="is not a loss network; make one with weights/convert_vgg19.py"):
        load_loss_network(str(shallow_file(metadata)))


@pytest.mark.parametrize(
    "changes",
    [
        {"conv1_2__index": torch.zeros(64, 3, 3, 3, dtype=torch.uint8)},
        {"conv1_2__bias": torch.zeros(63)},
        {"conv1_2__codebook": torch.zeros(255)},
        {"conv1_2__codebook": torch.zeros(256, 1)},
    ],
)
def test_another_shape(shallow_file, changes):
    with pytest.raises(WeightsError, match="conv1_2 has another shape than VGG19's"):
        load_loss_network(str(shallow_file(**changes)), last="relu2_1")


@pytest.mark.parametrize("kind", ["index", "codebook", "bias"])
def test_a_missing_tensor(shallow_file, kind):
    path = shallow_file(**{f"conv1_2__{kind}": None})
    with pytest.raises(WeightsError, match=f"cannot be read .*conv1_2.{kind}"):
        load_loss_network(str(path), last="relu2_1")
    assert load_loss_network(str(path), last="relu1_1").conv1_1.weight.any()  # not needed so far


def test_a_file_that_ends_before_the_layers_asked_for(shallow_file):
    with pytest.raises(WeightsError, match="conv2_2"):
        load_loss_network(str(shallow_file()), last="relu3_1")


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
@pytest.mark.parametrize("value", [300, -3])
def test_indices_that_are_no_bytes_are_refused(shallow_file, dtype, value):
    path = shallow_file(conv1_1__index=torch.full((64, 3, 3, 3), value, dtype=dtype))
    with pytest.raises(WeightsError):
        load_loss_network(str(path), last="relu1_1")


@pytest.mark.parametrize("keep", [0, 5, 500, -1])
def test_a_truncated_file(shallow_file, keep):
    path = shallow_file()
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(WeightsError, match="cannot be read .*it is missing or damaged"):
        load_loss_network(str(path))


class Hostile:
    """Unpickling it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".bin"])
def test_a_pickle_is_refused_and_not_executed(tmp_path, suffix):
    trap, path = tmp_path / "trap", tmp_path / f"network{suffix}"
    path.write_bytes(pickle.dumps({"features.0.weight": Hostile(trap)}, protocol=2))
    with pytest.raises(WeightsError, match="cannot be read"):
        load_loss_network(str(path))
    assert not trap.exists()


# ------------------------------------------------------------------------------------------------- torchvision's layout


@pytest.fixture(scope="module")
def torchvision_features() -> nn.Sequential:
    from torchvision.models.vgg import make_layers

    torch.manual_seed(0)
    return make_layers([64, 64, "M", 128, 128, "M", 256])  # the beginning of configuration E


def torchvision_state(features: nn.Sequential) -> dict[str, torch.Tensor]:
    return {f"features.{name}": value for name, value in features.state_dict().items()}


def test_a_state_dict_in_torchvisions_layout_gives_torchvisions_features(tmp_path, torchvision_features):
    path = tmp_path / "vgg19.pth"
    torch.save(torchvision_state(torchvision_features), path)
    network = load_loss_network(str(path), last="relu3_1")
    images = pictures(2, 3, 20, 17)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    features = (images - mean) / std
    positions = {"relu1_1": 1, "relu1_2": 3, "relu2_1": 6, "relu2_2": 8, "relu3_1": 11}
    found = network(images, list(positions))
    with torch.no_grad():
        for name, last in positions.items():
            assert torch.allclose(found[name], torchvision_features[: last + 1](features), atol=1e-5), name


def test_torchvisions_own_weights_are_read_in_its_layout(monkeypatch, torchvision_features):
    from torchvision.models import VGG19_Weights

    asked = []

    def state_dict(self: VGG19_Weights, **options: object) -> dict[str, torch.Tensor]:
        asked.append((self, options))
        return torchvision_state(torchvision_features)

    monkeypatch.setattr(VGG19_Weights, "get_state_dict", state_dict)
    network = load_loss_network("torchvision", last="relu2_2", pooling="average")
    assert network.expects == "imagenet"
    assert network.pooling == "average"
    assert torch.equal(network.conv2_2.weight, torchvision_features[7].weight)
    assert asked[0][0] is VGG19_Weights.IMAGENET1K_V1
    assert asked[0][1]["check_hash"]


def test_torchvisions_weights_without_a_network_connection(monkeypatch, tmp_path):
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(StylizeError, match="could not be downloaded .*no route to host.*use --loss-network") as caught:
        load_loss_network("torchvision")
    assert not isinstance(caught.value, InputError)  # nothing wrong with what was asked for


def test_torchvisions_weights_without_torchvision(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(StylizeError, match="install the matching pair, or use --loss-network vgg19"):
        load_loss_network("torchvision")


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"features.0.weight": torch.zeros(64, 3, 3, 3)},
        {"features.0.weight": torch.zeros(64, 1, 3, 3), "features.0.bias": torch.zeros(64)},
        {"state_dict": {"features.0.weight": torch.zeros(64, 3, 3, 3)}},
        {"features.0.weight": "text", "features.0.bias": None},
    ],
    ids=["empty", "no bias", "other shape", "nested", "no tensors"],
)
def test_a_state_dict_of_another_network(tmp_path, state):
    path = tmp_path / "other.pth"
    torch.save(state, path)
    with pytest.raises(WeightsError, match="not a VGG19 in torchvision's layout: features.0"):
        load_loss_network(str(path))


def test_a_pth_file_that_holds_no_state_dict(tmp_path):
    path = tmp_path / "list.pth"
    torch.save([1, 2], path)
    with pytest.raises(WeightsError, match="holds a list; a state dict is accepted"):
        load_loss_network(str(path))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"<html>404</html>\n",
        b"\x80\x04\x95.",
        b"PK\x03\x04 and no zip",
        bytes(range(256)),
        pickle.dumps({"a": 1}, protocol=4),
        pickle.dumps([], protocol=2)[:-1],
    ],
    ids=["empty", "text", "web page", "cut pickle", "no zip", "bytes", "new pickle", "unfinished pickle"],
)
def test_a_pth_file_of_anything_else(tmp_path, content):
    path = tmp_path / "other.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError):
        load_loss_network(str(path))


def test_a_truncated_pth_file(tmp_path):
    path = tmp_path / "cut.pth"
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="cannot be read"):
        load_loss_network(str(path))


def test_the_message_about_a_pickle_gives_no_advice_to_load_it_unsafely(tmp_path):
    path = tmp_path / "model.pth"
    torch.save(nn.Linear(1, 1), path)
    with pytest.raises(WeightsError) as caught:
        load_loss_network(str(path))
    message = str(caught.value)
    assert message.isprintable(), "a line break or terminal code is in the message"
    assert "can still be loaded" not in message
    assert "weights_only" not in message


# --------------------------------------------------------------------------------------------------- the one in the box


@pytest.fixture(scope="module")
def boxed() -> VGG19:
    return load_loss_network()


def waves(size: int = 32) -> torch.Tensor:
    """A picture of three waves, (1, 3, size, size) in [0, 1]."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    phases = [x * 0.7 + y * 0.2, x * 0.3 - y * 0.9, (x * y) * 0.05]
    return torch.stack([0.5 + 0.5 * torch.sin(phase) for phase in phases])[None]


# Made with: for k, v in load_loss_network()(waves(), list(GOLDEN)).items(): print(k, v.mean(), v.std())
GOLDEN = {
    "conv1_1": (1.9731, 126.27),
    "relu1_1": (51.311, 74.634),
    "relu1_2": (226.07, 303.27),
    "relu2_2": (388.62, 722.93),
    "relu3_1": (477.29, 820.9),
    "relu3_3": (1316.3, 1444.9),
    "relu4_1": (1682.2, 2608.2),
    "relu5_1": (188.9, 378.23),
}


def test_the_bundled_network_gives_its_golden_features(boxed):
    found = boxed(waves(), list(GOLDEN))
    means = {name: (value.mean().item(), value.std().item()) for name, value in found.items()}
    for name, (mean, std) in GOLDEN.items():
        assert means[name] == (pytest.approx(mean, rel=1e-3, abs=1e-3 * std), pytest.approx(std, rel=1e-3)), name


def test_the_bundled_network_takes_blue_first(boxed):
    def answer(*rgb: float) -> torch.Tensor:
        return boxed(torch.tensor(rgb).view(1, 3, 1, 1).expand(1, 3, 9, 9), ["relu1_1"])["relu1_1"][0, :, 4, 4]

    red, green, blue = answer(1, 0, 0), answer(0, 1, 0), answer(0, 0, 1)
    # Filter 5 looks for blue and filter 29 for red; their weights summed over the kernel, in the order of the input.
    assert (red[5].item(), green[5].item(), blue[5].item()) == (0, 0, pytest.approx(542.97, rel=1e-3))
    assert (red[29].item(), green[29].item(), blue[29].item()) == (pytest.approx(416.28, rel=1e-3), 0, 0)
    weight = boxed.conv1_1.weight.sum((2, 3))
    assert weight[5].tolist() == pytest.approx([1.9227, -1.6341, -0.4943], abs=1e-3)
    assert weight[29].tolist() == pytest.approx([-1.6112, -0.5919, 1.3640], abs=1e-3)


def test_the_bundled_network_recognises_a_photo_best_as_it_is(boxed):
    # Independent of the literals above: deep layers answer most to what the network was trained on, which is
    # neither a blue panda nor one that stands on its head.
    photo = load_square(ROOT / "examples" / "photos" / "red-panda.jpg", 64)

    def strength(image: torch.Tensor) -> float:
        return boxed(image, ["relu5_1"])["relu5_1"].square().mean().sqrt().item()

    assert strength(photo) > 1.05 * strength(photo.flip(1))  # red and blue exchanged
    assert strength(photo) > 1.15 * strength(photo.flip(2))  # upside down
    assert strength(photo) == pytest.approx(strength(photo.flip(3)), rel=0.1)  # mirrored


def test_the_bundled_network_has_all_its_layers(boxed):
    found = boxed(waves(), LAYERS)
    assert tuple(found) == LAYERS
    for name, (_, wide) in CONVOLUTIONS.items():
        size = 32 // 2 ** (int(name[0]) - 1)
        assert found[f"relu{name}"].shape == (1, wide, size, size)
        assert torch.equal(found[f"relu{name}"], F.relu(found[f"conv{name}"]))
        assert torch.isfinite(getattr(boxed, f"conv{name}").weight).all()
    assert len(found["relu5_1"].unique()) > 100
