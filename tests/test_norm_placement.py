"""Normalisations in a network: where each stands, the same beginning for all, their way through files and copies."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from stylize import zoo
from stylize.checkpoints import load_network, read_weights_file, save_network
from stylize.config import NORM_NAMES, PLACEMENTS, PRESETS, TransformerConfig, preset
from stylize.errors import InputError, WeightsError
from stylize.network_norms import initialise_from_data
from stylize.norms import NORMS, FollowsConvolution, InstanceNorm, make_norm
from stylize.resources import weights_directory
from stylize.stylizer import load
from stylize.transformer import TransformerNet, norm_parts, norm_plan
from tests.helpers import save_photo, tiny_config, tiny_metadata, tiny_weights

PLACED = ("instance@first", "batch@encoder", "weight@decoder+none", "ibn@residual+batch-instance", "none@deep")
SPECIFICATIONS = (*NORM_NAMES, *PLACED)
EVERY = pytest.mark.parametrize("norm", SPECIFICATIONS)

configurations = st.builds(
    TransformerConfig,
    norm=st.one_of(
        st.sampled_from(NORM_NAMES),
        st.builds("{}@{}+{}".format, *map(st.sampled_from, (NORM_NAMES, PLACEMENTS, NORM_NAMES))),
    ),
    space_to_depth=st.sampled_from((1, 2, 4)),
    channels=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    residual_blocks=st.integers(0, 3),
    first_kernel=st.just(3),
    last_kernel=st.just(3),
)
configurations |= st.builds(
    lambda config, block: TransformerConfig(**{**vars(config), "space_to_depth": block, "output": "shuffle"}),
    configurations,
    st.sampled_from((2, 4)),
)


def pictures(batch: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, 3, 20, 18, generator=torch.Generator().manual_seed(seed))


def lived(norm: str, seed: int = 1) -> TransformerNet:
    """A network whose every value, running averages and gates among them, is other than at its beginning."""
    network = TransformerNet(tiny_config(norm), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        initialise_from_data(network, pictures(4))
        for _ in range(3):
            network.train()(pictures(4) * torch.rand(1, generator=generator))
        for value in network.parameters():
            value.mul_(0.5 + 0.4 * torch.rand(value.shape, generator=generator))
    return network.eval()


def painted(network: nn.Module, seed: int = 5) -> torch.Tensor:
    with torch.no_grad():
        return network(pictures(seed=seed))


# ---------------------------------------------------------------------------------------------------------------- plan


@pytest.mark.parametrize(
    ("placement", "johnson", "fast"),
    [  # i where instance norm stands, a point elsewhere: encoder, residual part, decoder
        ("everywhere", "iii iiiiiiiiii ii", "i iiiiiiiiii i"),
        ("first", "i.. .......... ..", "i .......... ."),
        ("encoder", "iii .......... ..", "i .......... ."),
        ("residual", "... iiiiiiiiii ..", ". iiiiiiiiii ."),
        ("decoder", "... .......... ii", ". .......... i"),
        ("shallow", "iii iiiii..... ..", "i iiiii..... ."),
        ("deep", "... .....iiiii ii", ". .....iiiii i"),
    ],
)
def test_the_plan_of_both_presets(placement, johnson, fast):
    letters = {"i": "instance", ".": "none"}
    for name, picture in (("johnson", johnson), ("fast", fast)):
        config = preset(name, f"instance@{placement}+none")
        assert norm_plan(config) == [letters[letter] for letter in picture.replace(" ", "")]
        encoder, residual, decoder = (len(part) for part in picture.split())
        assert norm_parts(config) == ["encoder"] * encoder + ["residual"] * residual + ["decoder"] * decoder


def test_every_placement_is_in_the_test_above():
    (mark,) = test_the_plan_of_both_presets.pytestmark
    assert [row[0] for row in mark.args[1]] == list(PLACEMENTS)


def test_batch_norm_stands_elsewhere_and_instance_norm_beside_batch_norm():
    assert norm_plan(tiny_config("group@first")) == ["group"] + ["batch"] * 4
    assert norm_plan(tiny_config("batch@first")) == ["batch"] + ["instance"] * 4


@settings(max_examples=40, deadline=None)
@given(configurations)
def test_the_network_has_what_the_plan_says_in_order_of_depth(config):
    network = TransformerNet(config)
    places, plan, order = network.norm_places(), norm_plan(config), list(network.modules())
    assert [type(place.norm) for place in places] == [NORMS[name] for name in plan]
    assert [place.part for place in places] == norm_parts(config)
    assert len({place.name for place in places}) == len(places)
    for place in places:
        assert order.index(place.convolution) < order.index(place.norm)
        if isinstance(place.norm, FollowsConvolution):
            assert place.norm.convolution is place.convolution
    # Every convolution but the last is followed by a normalisation, and none by two.
    convolutions = [module for module in order if isinstance(module, nn.Conv2d)]
    assert [place.convolution for place in places] == convolutions[:-1]
    with torch.no_grad():
        assert torch.isfinite(network.eval()(torch.rand(1, 3, 5, 4))).all()


@settings(max_examples=60, deadline=None)
@given(configurations)
def test_shallow_and_deep_share_the_network_out(config):
    halves = [
        norm_plan(preset_)
        for preset_ in (
            TransformerConfig(**{**vars(config), "norm": f"instance@{half}+none"}) for half in ("shallow", "deep")
        )
    ]
    assert all({first, second} == {"instance", "none"} for first, second in zip(*halves, strict=True))
    shallow = halves[0].count("instance")
    assert halves[0] == ["instance"] * shallow + ["none"] * (len(halves[0]) - shallow)
    assert 0 <= 2 * shallow - len(halves[0]) <= 1


# -------------------------------------------------------------------------------------------------------------- places


def test_names_of_the_places():
    names = [place.name for place in TransformerNet(tiny_config(residual_blocks=2)).norm_places()]
    residual = ["residual 1.1", "residual 1.2", "residual 2.1", "residual 2.2"]
    assert names == ["encoder 1", "encoder 2", *residual, "decoder 1"]


@pytest.mark.parametrize("position", range(5))
def test_another_layer_can_be_put_in_every_place(position):
    network = TransformerNet(tiny_config("instance"), seed=1)
    before, count, keys = painted(network), len(list(network.modules())), list(network.state_dict())
    place = network.norm_places()[position]
    old, seen = place.norm, []
    new = nn.Sequential(nn.Identity())
    new.register_forward_hook(lambda module, given, result: seen.append(given[0].shape[1]))
    place.put(new)
    # The place says what stands in it now, and so does a list made after the exchange.
    assert place.norm is new is network.norm_places()[position].norm
    assert len(list(network.modules())) == count + 1
    assert (painted(network) - before).abs().max() > 1e-3
    assert seen == [place.convolution.out_channels]
    place.put(old)
    assert list(network.state_dict()) == keys
    assert torch.equal(painted(network), before)


def test_a_network_of_one_norm_becomes_one_of_another_by_exchanging_its_layers():
    network = TransformerNet(tiny_config("weight"), seed=1)
    for place in network.norm_places():
        place.put(make_norm("group", place.convolution.out_channels, 1e-5, place.convolution))
    assert torch.equal(painted(network), painted(TransformerNet(tiny_config("group"), seed=1)))


# --------------------------------------------------------------------------------------------------- the same beginning


def convolutions(network: nn.Module) -> list[torch.Tensor]:
    return [value for module in network.modules() if isinstance(module, nn.Conv2d) for value in module.parameters()]


@pytest.mark.parametrize("name", PRESETS)
def test_every_norm_begins_from_the_same_convolutions(name):
    first = convolutions(TransformerNet(preset(name), seed=7))
    for norm in SPECIFICATIONS[1:]:
        other = convolutions(TransformerNet(preset(name, norm), seed=7))
        assert all(torch.equal(mine, others) for mine, others in zip(first, other, strict=True))


def test_on_the_first_batch_every_placement_of_what_begins_as_batch_norm_is_batch_norm():
    photos = pictures(4).double()
    expected = TransformerNet(tiny_config("batch"), seed=2).double().train()(photos)
    for norm in ("batch-instance", "weight@first", "none@residual+batch-instance", "weight@shallow+none"):
        network = TransformerNet(tiny_config(norm), seed=2).double().train()
        initialise_from_data(network, photos)
        assert torch.allclose(network(photos), expected, atol=1e-5)


@pytest.mark.parametrize("norm", [norm for norm in SPECIFICATIONS if norm not in ("instance", "instance@first")])
def test_contrast_and_brightness_reach_every_network_that_does_not_begin_with_instance_norm(norm):
    def change(norm: str) -> float:
        # Widths that 8 does not divide and is not divided by: else group norm has a channel in each group.
        network = TransformerNet(tiny_config(norm, channels=(6, 12), norm_epsilon=1e-13), seed=1).double().eval()
        initialise_from_data(network, pictures().double())
        photos = pictures(seed=5).double()
        looks = (0.5 * photos, photos + torch.tensor([0.3, 0.0, -0.3]).double().view(3, 1, 1))
        with torch.no_grad():
            return max(float((network(photos) - network(look)).abs().max()) for look in looks)

    assert change("instance") < 1e-6
    assert change(norm) > 1e-3


@pytest.mark.parametrize("norm", ["instance@first", "instance@encoder+none", "instance@shallow+layer"])
def test_instance_norm_after_the_first_convolution_alone_takes_contrast_and_brightness_away(norm):
    network = TransformerNet(tiny_config(norm, norm_epsilon=1e-13), seed=1).double().eval()
    photos = pictures(seed=5).double()
    look = 0.3 * photos + torch.tensor([0.3, 0.0, -0.3]).double().view(3, 1, 1)
    assert torch.allclose(network(photos), network(look), atol=1e-6)


# --------------------------------------------------------------------------------------------------------------- files


@EVERY
def test_a_network_comes_out_of_its_file_as_it_went_in(norm, tmp_path):
    network, path = lived(norm), tmp_path / "network.safetensors"
    save_network(path, network, tiny_metadata(norm=norm), dtype="float32")
    # Whatever is not in the file would be left to chance, because a network is loaded into memory as it was found.
    held = {name for name, _ in [*network.named_parameters(), *network.named_buffers()]}
    assert held == set(network.state_dict())
    loaded, weights = load_network(path)
    assert weights.architecture == network.config
    assert norm_plan(loaded.config) == norm_plan(tiny_config(norm))
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in network.state_dict().items())
    assert torch.equal(painted(loaded), painted(network))
    assert torch.equal(painted(loaded.train(), seed=6), painted(network.train(), seed=6))


@EVERY
def test_half_precision_is_enough_for_a_file(norm, tmp_path):
    network, path = lived(norm), tmp_path / "network.safetensors"
    save_network(path, network, tiny_metadata(norm=norm))
    assert (painted(load_network(path)[0]) - painted(network)).abs().max() < 2 / 255


@EVERY
def test_a_loaded_network_trains_on(norm, tmp_path):
    network, path = lived(norm), tmp_path / "network.safetensors"
    save_network(path, network, tiny_metadata(norm=norm), dtype="float32")
    loaded = load_network(path)[0].train()
    (loaded(pictures()) - 0.2).square().mean().backward()
    assert all(value.grad is not None and torch.isfinite(value.grad).all() for value in loaded.parameters())


def test_a_file_with_a_norm_of_a_later_version_says_so(tmp_path):
    path = tiny_weights(tmp_path / "a.safetensors", norm="batch")
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b'\\"norm\\": \\"batch\\"', b'\\"norm\\": \\"batsh\\"'))
    with pytest.raises(WeightsError, match="unknown normalisation 'batsh'; did you mean 'batch'"):
        read_weights_file(path)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_shipped_network_from_before_there_were_placements_loads(norm):
    network, weights = load_network(weights_directory() / f"starry-night-{norm}.safetensors")
    assert weights.architecture == preset("fast", norm)
    assert {type(place.norm) for place in network.norm_places()} == {NORMS[norm]}
    assert torch.isfinite(painted(network)).all()


@EVERY
def test_the_stylizer_says_its_norm_and_paints_as_the_network(norm, tmp_path):
    path = tiny_weights(tmp_path / "a.safetensors", norm=norm)
    stylizer = load(path, device="cpu", precision="float32")
    assert stylizer.norm == norm
    assert f"norm='{norm}'" in repr(stylizer)
    expected = painted(load_network(path)[0]).clamp(0, 1)
    assert torch.allclose(stylizer(pictures(seed=5)), expected, atol=1e-4)


# -------------------------------------------------------------------------------------------------------- found by name


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for norm in ("none@deep", "instance@first", "layer", "instance"):
        tiny_weights(tmp_path / "weights" / f"wave-{norm}.safetensors", "wave", norm)
    save_photo(tmp_path / "examples" / "paintings" / "wave.jpg")
    monkeypatch.setattr(zoo, "weights_directory", lambda: tmp_path / "weights")
    monkeypatch.setattr(zoo, "examples_directory", lambda: tmp_path / "examples")
    return tmp_path / "weights"


def test_networks_with_a_placement_are_listed_after_the_plain_ones(shipped):
    assert [one.norm for one in zoo.list_weights()] == ["instance", "layer", "instance@first", "none@deep"]


@pytest.mark.parametrize("norm", ["instance@first", "instance@first+batch", "layer", "none@deep+batch"])
def test_networks_are_found_by_their_norm_however_it_is_written(norm, shipped):
    plain = norm.replace("+batch", "")
    assert zoo.find_weights("wave", norm).name == f"wave-{plain}.safetensors"
    assert zoo.resolve_weights("wave", norm).architecture.norm == plain
    assert zoo.resolve_weights(shipped / f"wave-{plain}.safetensors", norm).architecture.norm == plain


def test_a_placement_that_is_not_shipped_names_those_that_are_and_the_command(shipped):
    with pytest.raises(InputError) as raised:
        zoo.find_weights("wave", "batch@encoder")
    message = str(raised.value)
    assert "not shipped with batch@encoder norm, only with instance, layer, instance@first, none@deep" in message
    assert message.endswith("--norm batch@encoder")
    with pytest.raises(InputError, match="unknown placement 'encodr'; did you mean 'encoder'"):
        zoo.find_weights("wave", "batch@encodr")


def test_a_file_with_another_placement_than_asked_for_is_refused(shipped):
    with pytest.raises(InputError, match="holds a network with instance@first norm, not with instance norm"):
        zoo.resolve_weights(shipped / "wave-instance@first.safetensors", "instance")


# -------------------------------------------------------------------------------------------------------------- copies


@EVERY
def test_a_copy_is_a_network_of_its_own(norm):
    network = lived(norm)
    before = painted(network)
    twin = copy.deepcopy(network)
    for mine, its in zip(network.norm_places(), twin.norm_places(), strict=True):
        assert its.norm is not mine.norm
        if isinstance(its.norm, FollowsConvolution):
            assert its.norm.convolution is its.convolution is not mine.convolution
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.normal_(generator=torch.Generator().manual_seed(0))
    assert torch.equal(painted(twin), before)
    assert (painted(network) - before).abs().max() > 1e-3


def test_a_copy_can_be_initialised_without_its_original():
    network = TransformerNet(tiny_config("none"), seed=1)
    before = painted(network)
    twin = copy.deepcopy(network)
    initialise_from_data(twin, pictures())
    assert torch.equal(painted(network), before)
    assert (painted(twin) - before).abs().max() > 1e-3


def test_the_instance_norms_of_a_mixed_network_remember_nothing():
    network = lived("instance@encoder")
    instance = [place for place in network.norm_places() if isinstance(place.norm, InstanceNorm)]
    assert [place.part for place in instance] == ["encoder"] * 2
    assert all(list(place.norm.buffers()) == [] for place in instance)
