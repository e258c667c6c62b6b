"""Hyperparameters: what is accepted, what is refused and with which words, and their way through JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stylize.config import (
    CONDITIONAL_NORMS,
    NORM_NAMES,
    PLACEMENTS,
    PREPARATIONS,
    PRESETS,
    LossConfig,
    NormPlacement,
    TrainConfig,
    TransformerConfig,
    parse_norm,
    preset,
)
from stylize.errors import InputError

NAN, INFINITY = float("nan"), float("inf")

norm_texts = st.sampled_from(NORM_NAMES) | st.builds(
    "{}@{}{}".format,
    st.sampled_from(NORM_NAMES),
    st.sampled_from(PLACEMENTS),
    st.sampled_from(("", *(f"+{name}" for name in NORM_NAMES))),
)


# ------------------------------------------------------------------------------------------------------ normalisations


@pytest.mark.parametrize(
    ("text", "norm", "placement", "other", "shortest"),
    [
        ("instance", "instance", "everywhere", "batch", "instance"),
        ("batch", "batch", "everywhere", "instance", "batch"),
        ("instance@encoder", "instance", "encoder", "batch", "instance@encoder"),
        ("instance@encoder+batch", "instance", "encoder", "batch", "instance@encoder"),
        ("instance@first+none", "instance", "first", "none", "instance@first+none"),
        ("batch@deep", "batch", "deep", "instance", "batch@deep"),
        ("batch@deep+instance", "batch", "deep", "instance", "batch@deep"),
        ("batch-instance@shallow+weight", "batch-instance", "shallow", "weight", "batch-instance@shallow+weight"),
    ],
)
def test_a_normalisation_is_taken_apart(text, norm, placement, other, shortest):
    parsed = parse_norm(text)
    assert (parsed.norm, parsed.placement, parsed.other) == (norm, placement, other)
    assert parsed == NormPlacement(norm, placement, other)
    assert str(parsed) == shortest == TransformerConfig(norm=text).norm == TrainConfig("a.jpg", norm=text).norm


@pytest.mark.parametrize("norm", NORM_NAMES)
def test_everywhere_is_the_norm_alone(norm):
    assert str(parse_norm(f"{norm}@everywhere")) == norm
    assert TransformerConfig(norm=f"{norm}@everywhere") == TransformerConfig(norm=norm)


@given(norm_texts)
def test_the_shortest_form_of_a_normalisation_is_stable_and_no_longer(text):
    shortest = str(parse_norm(text))
    assert str(parse_norm(shortest)) == shortest
    assert len(shortest) <= len(text)
    assert parse_norm(shortest).norm == parse_norm(text).norm


@given(st.builds(NormPlacement, *map(st.sampled_from, (NORM_NAMES, PLACEMENTS[1:], NORM_NAMES))))
def test_placements_survive_being_written(placement):
    if placement.norm != placement.other:  # else it is the norm alone
        assert parse_norm(str(placement)) == placement


@pytest.mark.parametrize("norm", NORM_NAMES)
def test_the_same_norm_everywhere_by_two_names_is_the_norm_alone(norm):
    assert TransformerConfig(norm=f"{norm}@first+{norm}") == TransformerConfig(norm=norm)


BAD_NORMS = [
    ("", "unknown normalisation ''"),
    ("instnce@first", "unknown normalisation 'instnce'; did you mean 'instance'"),
    ("Instance", "unknown normalisation 'Instance'; did you mean 'instance'"),
    ("instance@frist", "unknown placement 'frist'; did you mean 'first'.*known: everywhere, first, encoder"),
    ("instance@", "unknown placement ''"),
    ("@first", "unknown normalisation ''"),
    ("@", "unknown normalisation ''"),
    ("instance@first+", "unknown normalisation ''"),
    ("instance@first+nne", "unknown normalisation 'nne'; did you mean 'none'"),
    ("instance@first+none+batch", "unknown normalisation 'none\\+batch'"),
    ("instance@first@deep", "unknown placement 'first@deep'"),
    ("instance+batch", "unknown normalisation 'instance\\+batch'"),
    (" instance", "unknown normalisation ' instance'; did you mean 'instance'"),
    ("instance@@first", "unknown placement '@first'; did you mean 'first'"),
    (None, "unknown normalisation"),
    (3, "unknown normalisation '3'"),
    (["instance"], "unknown normalisation"),
    (b"instance", "unknown normalisation"),
]


@pytest.mark.parametrize(("given_norm", "words"), BAD_NORMS, ids=[repr(norm) for norm, _ in BAD_NORMS])
def test_bad_normalisation(given_norm, words):
    for make in (parse_norm, lambda norm: TransformerConfig(norm=norm), lambda norm: TrainConfig("a.jpg", norm=norm)):
        with pytest.raises(InputError, match=words) as raised:
            make(given_norm)
        assert "\n" not in str(raised.value)


@example("instance@first+")
@given(st.text() | st.builds("{}@{}".format, st.sampled_from(NORM_NAMES), st.text()))
def test_no_other_text_is_a_normalisation(text):
    try:
        parsed = parse_norm(text)
    except InputError as error:
        assert "unknown normalisation" in str(error) or "unknown placement" in str(error)
    else:
        assert parsed.norm in NORM_NAMES
        assert parsed.placement in PLACEMENTS
        assert parsed.other in NORM_NAMES


# ------------------------------------------------------------------------------------------------------- architecture


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"norm": "instnce"}, "unknown normalisation 'instnce'; did you mean 'instance'.*batch"),
        ({"space_to_depth": 3}, "space_to_depth is 3; it must be 1, 2 or 4"),
        ({"space_to_depth": 0}, "1, 2 or 4"),
        ({"channels": ()}, r"channels is \(\).*1 to 4 whole numbers"),
        ({"channels": (8,) * 5}, "1 to 4 whole numbers"),
        ({"channels": (8, 0)}, "from 1 to 1024"),
        ({"channels": (8, 1025)}, "from 1 to 1024"),
        ({"channels": (8.0,)}, "whole numbers"),
        ({"channels": (True,)}, "whole numbers"),
        ({"channels": "abc"}, "whole numbers"),
        ({"residual_blocks": -1}, "residual_blocks is -1; it must be 0 to 64"),
        ({"residual_blocks": 65}, "0 to 64"),
        ({"residual_blocks": 1.0}, "0 to 64"),
        ({"first_kernel": 4}, "first_kernel is 4; it must be an odd number from 1 to 15"),
        ({"last_kernel": 17}, "last_kernel is 17; it must be an odd number from 1 to 15"),
        ({"last_kernel": -3}, "odd number"),
        ({"first_kernel": "9"}, "odd number"),
        ({"output": "shufle", "space_to_depth": 2}, "unknown output 'shufle'; did you mean 'shuffle'"),
        ({"output": "shuffle"}, "'shuffle' needs space_to_depth 2 or 4"),
        ({"norm_epsilon": 0}, "norm_epsilon is 0; it must lie between 0 and 1"),
        ({"norm_epsilon": 1.0}, "between 0 and 1"),
        ({"norm_epsilon": NAN}, "between 0 and 1"),
        ({"styles": 2}, "2 styles given with instance norm"),
        ({"own_output": True}, "own_output is True with instance norm; it needs a collection of styles"),
        ({"own_output": True, "norm": "batch"}, "own_output is True with batch norm"),
    ],
)
def test_bad_architecture(settings, words):
    with pytest.raises(InputError, match=words):
        TransformerConfig(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"norm": None},
        {"norm": ["instance"]},
        {"space_to_depth": "2"},
        {"space_to_depth": 2.0},
        {"space_to_depth": True},
        {"channels": 32},
        {"channels": None},
        {"output": None},
        {"norm_epsilon": "small"},
        {"norm_epsilon": None},
        {"own_output": 1},
        {"own_output": "yes"},
        {"own_output": None},
        {"own_output": 0},
    ],
    ids=str,
)
def test_architecture_values_of_another_type_are_input_errors(settings):
    # They come from the JSON in the header of a weights file that somebody else made, too.
    name = "normalisation" if "norm" in settings else next(iter(settings))
    with pytest.raises(InputError, match=name):
        TransformerConfig(**settings)


@pytest.mark.parametrize("norm", CONDITIONAL_NORMS)
@pytest.mark.parametrize("own_output", [False, True])
def test_the_architecture_of_one_style_has_nothing_of_several(norm, own_output):
    several = TransformerConfig(norm=norm, styles=5, own_output=own_output, channels=(4, 8))
    plain = TransformerConfig(norm=CONDITIONAL_NORMS[norm], channels=(4, 8))
    assert several.conditional and not plain.conditional
    assert several.of_one_style == plain == plain.of_one_style
    for value in (1, "yes", None):
        with pytest.raises(InputError, match="own_output is"):
            dataclasses.replace(several, own_output=value)


@pytest.mark.parametrize("own_output", [False, True])
def test_a_collection_has_the_last_convolutions_that_the_training_asks_for(own_output):
    config = TrainConfig(("a.jpg", "b.jpg"), norm="conditional-instance", own_output=own_output)
    assert (config.transformer.styles, config.transformer.own_output) == (3, own_output)
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    old = config.to_json()
    del old["own_output"]
    assert TrainConfig.from_json(old).transformer.own_output is TrainConfig("a.jpg").own_output


def test_a_list_of_channels_becomes_a_tuple():
    assert TransformerConfig(channels=[8, 16]) == TransformerConfig(channels=(8, 16))
    assert hash(TransformerConfig(channels=[8, 16])) == hash(TransformerConfig(channels=(8, 16)))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"channels": (8,)}, 1),
        ({"channels": (8, 8, 8)}, 4),
        ({"channels": (8, 8), "space_to_depth": 2}, 4),
        ({"channels": (8, 8, 8, 8), "space_to_depth": 4}, 32),
    ],
)
def test_reduction(settings, expected):
    assert TransformerConfig(**settings).reduction == expected


@pytest.mark.parametrize("norm", [*NORM_NAMES, "instance@encoder", "batch@first+none"])
@pytest.mark.parametrize("name", PRESETS)
def test_preset_differs_from_its_entry_by_the_norm_alone(name, norm):
    assert preset(name, norm) == dataclasses.replace(PRESETS[name], norm=norm)
    assert preset(name, norm).norm == norm


def test_unknown_preset_or_norm_of_a_preset():
    with pytest.raises(InputError, match=r"unknown preset 'jonson'; did you mean 'johnson'\?.*known: .*fast"):
        preset("jonson")
    with pytest.raises(InputError, match="unknown normalisation 'btch'; did you mean 'batch'"):
        preset("fast", "btch")


def test_the_default_preset_exists():
    config = TrainConfig("a.jpg")
    assert config.preset in PRESETS
    assert config.transformer == preset(config.preset, config.norm)


# --------------------------------------------------------------------------------------------------------------- loss


@pytest.mark.parametrize("name", ["content_weight", "style_weight", "tv_weight", "style_strength"])
@pytest.mark.parametrize("value", [-1e-9, NAN, INFINITY, -INFINITY, "1", None])
def test_bad_weight_of_the_loss(name, value):
    with pytest.raises(InputError, match=f"{name} is .*; it must be a finite number, 0 or more"):
        LossConfig(**{name: value})


@pytest.mark.parametrize("name", ["content_weight", "style_weight", "tv_weight", "style_strength"])
@pytest.mark.parametrize("value", [0, 3, 1e9])
def test_good_weight_of_the_loss(name, value):
    assert getattr(LossConfig(**{name: value}), name) == value


def test_no_style_layers():
    with pytest.raises(InputError, match="no style layers given; at least one is needed"):
        LossConfig(style_layers=(), style_layer_weights=())


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ((1.0,), "1 style layer weights given for 2 style layers; give one for each"),
        ((1.0, -1.0), "style_layer_weights is .*; finite numbers, 0 or more"),
        ((1.0, NAN), "finite numbers"),
        ((1.0, INFINITY), "finite numbers"),
        ((1.0, "1"), "finite numbers"),
        ((1.0, True), "finite numbers"),
        ((0.0, 0), "all style layer weights are 0; at least one must be above 0"),
    ],
)
def test_bad_shares_of_the_style_layers(shares, words):
    with pytest.raises(InputError, match=words):
        LossConfig(style_layers=("relu1_1", "relu2_1"), style_layer_weights=shares)


def test_one_style_layer_given_as_a_plain_string_is_not_cut_into_letters():
    try:
        layers = LossConfig(style_layers="relu3_1", style_layer_weights=(1.0,) * 7).style_layers
    except InputError as error:
        assert "style_layers" in str(error) or "style layers" in str(error)
    else:
        assert layers == ("relu3_1",)


# ----------------------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"norm": "bacth"}, "unknown normalisation 'bacth'; did you mean 'batch'"),
        ({"preset": "fats"}, "unknown preset 'fats'; did you mean 'fast'"),
        ({"precision": "float23"}, "unknown precision 'float23'; did you mean 'float32'"),
        ({"weights_dtype": "float61"}, "unknown weights dtype 'float61'; did you mean 'float16'"),
        ({"weights_dtype": "bfloat16"}, "known: float16, float32"),
        ({"steps": 0}, "steps is 0; it must be a whole number, 1 or more"),
        ({"steps": -5}, "steps is -5"),
        ({"steps": 1.5}, "whole number"),
        ({"steps": True}, "whole number"),
        ({"steps": "10"}, "steps is '10'; it must be a whole number"),
        ({"batch_size": 0}, "batch_size is 0; .* 1 or more"),
        ({"warmup": -1}, "warmup is -1; .* 0 or more"),
        ({"image_size": 31}, "image_size is 31; .* 32 or more"),
        ({"style_size": 31}, "style_size is 31; .* 32 or more"),
        ({"validation_photos": 0}, "validation_photos is 0"),
        ({"validation_interval": 0}, "validation_interval is 0"),
        ({"checkpoint_interval": 0}, "checkpoint_interval is 0"),
        ({"learning_rate": 0}, "learning_rate is 0; it must lie between 0 and 1"),
        ({"learning_rate": 1}, "learning_rate is 1"),
        ({"learning_rate": NAN}, "learning_rate is nan"),
        ({"crop_scale": 0}, "crop_scale is 0; it must lie above 0 and at most at 1"),
        ({"crop_scale": 1.01}, "crop_scale is 1.01"),
        ({"crop_scale": NAN}, "crop_scale is nan"),
        ({"seed": -1}, "seed is -1; it must be a whole number, 0 or more"),
        ({"seed": 2**63}, "seed is 9223372036854775808"),
        ({"seed": 0.0}, "seed is 0.0"),
        ({"photo_limit": 0}, "photo_limit is 0; it must be a whole number, 4 .a batch. or more"),
        ({"photo_limit": 7, "batch_size": 8}, "photo_limit is 7; it must be a whole number, 8 .a batch. or more"),
        ({"photo_limit": -1}, "photo_limit is -1"),
        ({"photo_limit": 8.0}, "photo_limit is 8.0"),
        ({"photo_limit": True, "batch_size": 1}, "photo_limit is True"),
        ({"photo_limit": "all"}, "photo_limit is 'all'"),
        ({"preparation": "equalize"}, "unknown preparation 'equalize'; did you mean 'equalise'"),
        ({"preparation": "stylize"}, "'stylize' and preparation_weights, a weights file, belong together"),
        ({"preparation_weights": "a.safetensors"}, "belong together"),
        ({"preparation": "equalise", "preparation_weights": "a.safetensors"}, "belong together"),
    ],
)
def test_bad_setting_of_a_training(settings, words):
    with pytest.raises(InputError, match=words):
        TrainConfig("a.jpg", **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"norm": None},
        {"preset": None},
        {"preset": ["fast"]},
        {"precision": None},
        {"weights_dtype": None},
        {"learning_rate": "1e-3"},
        {"learning_rate": None},
        {"crop_scale": None},
        {"preparation": None},
        {"preparation": ["none"]},
        {"photo_limit": [8]},
    ],
    ids=str,
)
def test_training_settings_of_another_type_are_input_errors(settings):
    with pytest.raises(InputError):
        TrainConfig("a.jpg", **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 1, "batch_size": 1, "warmup": 0},
        {"image_size": 32, "style_size": 32},
        {"crop_scale": 1},
        {"seed": 2**63 - 1},
        {"photo_limit": 4, "batch_size": 4},
        {"photo_limit": None},
        {"preparation": "standardise"},
        {"preparation": "stylize", "preparation_weights": "a.safetensors"},
    ],
)
def test_settings_at_their_limits_are_accepted(settings):
    config = TrainConfig("a.jpg", **settings)
    assert all(getattr(config, name) == value for name, value in settings.items())


def test_an_architecture_of_ones_own_takes_the_norm_of_the_training():
    own = TransformerConfig(norm="instance", channels=(4, 8))
    config = TrainConfig("a.jpg", architecture=own, norm="batch", preset="johnson")
    assert config.transformer == dataclasses.replace(own, norm="batch")


def test_settings_are_frozen():
    for config, name in ((TrainConfig("a.jpg"), "steps"), (LossConfig(), "tv_weight"), (TransformerConfig(), "norm")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config, name, 1)


# --------------------------------------------------------------------------------------------------------------- JSON

positive = st.floats(0, 1e6, allow_nan=False)
architectures = st.builds(
    TransformerConfig,
    norm=norm_texts,
    space_to_depth=st.sampled_from((2, 4)),
    # The largest of all together would be more than is accepted.
    channels=st.lists(st.integers(1, 300), min_size=1, max_size=4),
    residual_blocks=st.integers(0, 64),
    first_kernel=st.sampled_from((1, 3, 15)),
    last_kernel=st.sampled_from((1, 5, 9)),
    output=st.sampled_from(("convolution", "shuffle")),
    norm_epsilon=st.floats(1e-12, 0.5),
)
layer_shares = st.lists(st.tuples(st.sampled_from(("relu1_1", "relu2_1", "conv3_1")), st.floats(0.1, 10)), min_size=1)
losses = st.builds(
    lambda shares, **settings: LossConfig(
        style_layers=[name for name, _ in shares], style_layer_weights=[share for _, share in shares], **settings
    ),
    shares=layer_shares,
    content_weight=positive,
    style_weight=positive,
    tv_weight=positive,
    style_strength=positive,
    loss_network=st.text(),
    pooling=st.sampled_from(("max", "average")),
)
preparations = st.sampled_from([{"preparation": name} for name in PREPARATIONS if name != "stylize"]) | st.builds(
    lambda path: {"preparation": "stylize", "preparation_weights": path}, st.text(min_size=1)
)
trainings = st.builds(
    lambda preparation, **settings: TrainConfig(**preparation, **settings),
    preparation=preparations,
    style=st.text(min_size=1),
    photos=st.none() | st.text(min_size=1),
    output=st.none() | st.text(min_size=1),
    norm=norm_texts,
    preset=st.sampled_from(tuple(PRESETS)),
    architecture=st.none() | architectures,
    steps=st.integers(1),
    batch_size=st.integers(1, 64),
    image_size=st.integers(32, 4096),
    learning_rate=st.floats(1e-12, 0.9),
    warmup=st.integers(0, 100),
    crop_scale=st.floats(0.01, 1),
    seed=st.integers(0, 2**63 - 1),
    compile=st.booleans(),
    photo_limit=st.none() | st.integers(64),
    validation=st.none() | st.text(min_size=1),
    weights_dtype=st.sampled_from(("float16", "float32")),
    loss=losses,
)


@given(trainings)
def test_settings_survive_json(config):
    through = TrainConfig.from_json(json.loads(json.dumps(config.to_json(), allow_nan=False)))
    assert through == config


def test_paths_become_strings_in_json():
    given_paths = {
        "style": "a.jpg",
        "photos": "photos",
        "output": "o.safetensors",
        "validation": "v",
        "preparation_weights": "p.safetensors",
    }
    config = TrainConfig(**{name: Path(path) for name, path in given_paths.items()}, preparation="stylize")
    values = config.to_json()
    assert {name: values[name] for name in given_paths} == given_paths
    assert TrainConfig.from_json(values).to_json() == values


def test_from_json_leaves_its_argument_alone():
    values = json.loads(json.dumps(TrainConfig("a.jpg", architecture=TransformerConfig()).to_json()))
    before = json.dumps(values)
    TrainConfig.from_json(values)
    assert json.dumps(values) == before


def test_settings_from_before_photos_could_be_chosen_or_prepared_are_read():
    values = TrainConfig("a.jpg", norm="batch").to_json()
    for name in ("photo_limit", "preparation", "preparation_weights"):
        del values[name]
    assert TrainConfig.from_json(values) == TrainConfig("a.jpg", norm="batch")


def test_settings_from_json_are_checked_as_well():
    values = TrainConfig("a.jpg").to_json() | {"steps": 0}
    with pytest.raises(InputError, match="steps is 0"):
        TrainConfig.from_json(values)
