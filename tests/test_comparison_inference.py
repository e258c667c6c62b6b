"""Everything that `stylize compare PHOTO…` measures, once for real and small, and every sentence that is made of it."""

from __future__ import annotations

import csv
import html
import itertools
import json
import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from stylize.checkpoints import load_network, read_weights_file
from stylize.comparison import inference
from stylize.comparison.inference import PROBES, Comparison, compare
from stylize.comparison.inference_sections import (
    fairness,
    inference_sections,
    inference_verdict,
)
from stylize.comparison.inference_tables import inference_tables
from stylize.comparison.networks import choose_networks
from stylize.comparison.photo_changes import VISIBLE
from stylize.comparison.report_folder import write_comparison
from stylize.comparison.subject import Subject
from stylize.comparison.tables import number_text
from stylize.comparison.wording import in_words, lead
from stylize.data import load_square
from stylize.errors import InputError, WeightsError
from tests.comparison_helpers import (
    EDGE,
    SWAPPED,
    numbers_in,
    planted_comparison,
    renamed,
    sentences,
    small_comparisons,
    small_networks,
    texts,
    unswayed,
    without_charts,
)
from tests.helpers import save_photo, tiny_weights
from tests.training_helpers import TINY_LOSS, make_material

STRANGE = '<b>&"x.jpg'
STYLE = 'quo"te <i>&amp; $x_1$'


@dataclass(frozen=True)
class Whole:
    """A comparison that was carried out once, and its report."""

    root: Path
    found: Comparison
    steps: list[str]
    networks: list[Path]
    document: dict[str, Any]
    page: str


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Iterator[Whole]:
    root = make_material(tmp_path_factory.mktemp("whole"), photos=1)
    photos = [
        save_photo(root / STRANGE, 80, 50, seed=1),
        save_photo(root / "least.png", 32, 33, seed=2),
        save_photo(root / "wide.png", 5000, 40, seed=3),
        save_photo(root / "tall.png", 40, 300, seed=4),
    ]
    networks = small_networks(root, "instance", "batch", style=STYLE)
    networks[1] = networks[1].rename(root / "odd <name>&$x$.safetensors")
    steps: list[str] = []
    with small_comparisons(root / "examples"):
        found = compare(photos, style=networks, painting=root / "painting.png", size=64, on_probe=steps.append)
    page = write_comparison(root / "report", found, {"command": "stylize compare", "device": "cpu"})
    document = json.loads((root / "report" / "results.json").read_text(encoding="utf-8"))
    yield Whole(root, found, steps, networks, document, page.read_text(encoding="utf-8"))


# ---------------------------------------------------------------------------------------------------------- a whole run


def test_the_steps_are_told_and_timed(whole):
    assert whole.steps == list(PROBES)
    assert list(whole.found.seconds) == list(PROBES)
    assert all(0 <= seconds < 600 for seconds in whole.found.seconds.values())


def test_what_was_compared(whole):
    assert whole.found.labels == ["instance", "batch"]
    assert whole.found.style == STYLE
    assert [one["file"] for one in whole.found.networks] == [path.name for path in whole.networks]
    assert whole.found.photos == (STRANGE, "least.png", "wide.png")  # the first three are measured,
    assert whole.found.companions == 4 + 5  # all of them and the examples serve as company,
    assert [one.photo for one in whole.found.pictures] == ['<b>&"x', "least", "wide", "tall"]  # and all are painted


def test_pictures_keep_their_shape(whole):
    sizes = [one.original.size for one in whole.found.pictures]
    assert sizes == [(64, 40), (32, 33), (64, 1), (9, 64)]
    for one in whole.found.pictures:
        assert {image.size for image in one.by_label.values()} == {one.original.size}
        assert list(one.by_label) == ["instance", "batch"]


def test_the_known_properties_of_the_two_norms_are_found(whole):
    found = whole.found
    # Exact in the limit of a small epsilon; a tiny network of random weights has features about as small as it.
    moved = {
        label: max(row.output_change for row in found.sweeps if row.label == label and row.change == "brightness")
        for label in found.labels
    }
    assert moved["instance"] < VISIBLE < moved["batch"]
    mates = {row.label: row.change for row in found.batch_mates.rows}
    assert mates["instance"] < 1e-3 and mates["batch"] > VISIBLE
    modes = {row.label: row for row in found.modes.rows}
    assert modes["instance"].change == 0 and modes["batch"].change > VISIBLE
    assert modes["instance"].identity is None and modes["batch"].identity.largest_before_clamp < VISIBLE
    assert (found.frozen.label, found.frozen.photos, found.frozen.population) == ("instance", 3, 6)
    for network in found.survival.networks:
        share = max(layer.after.between_share for layer in network.layers)
        assert (share < 1e-6) == (network.label == "instance")
    exact = {row.label: row.largest < 0.5 for row in found.cost.halves if row.enough}
    assert not exact or exact == {"instance": False, "batch": True}
    assert found.cost.fold_error < 0.5


def test_the_distance_of_unchanged_photos_is_that_of_the_loss(whole):
    """Measured once more with the loss of the training itself."""
    from stylize.evaluation import Validator
    from stylize.losses import PerceptualLoss
    from stylize.paintings import load_painting
    from stylize.vgg import load_loss_network

    loss = PerceptualLoss(load_loss_network("vgg19", last="relu2_1"), TINY_LOSS)
    targets = loss.style_targets(load_painting(whole.root / "painting.png", 40))
    squares = torch.cat([load_square(whole.root / name, EDGE) for name in whole.found.photos])
    validator = Validator([squares], loss, targets)
    for label, path in zip(whole.found.labels, whole.networks, strict=True):
        network, _ = load_network(path)
        expected = validator(network).evaluation_mode.style
        rows = [row for row in whole.found.sweeps if row.label == label and row.unchanged]
        assert len(rows) == 4
        assert {row.style for row in rows} == {rows[0].style}
        assert rows[0].style == pytest.approx(expected, rel=1e-4)
        assert Subject(label, network).paint(squares).shape == squares.shape


def walk(value: Any) -> Iterator[Any]:
    """Yield every number and text in a document."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner)
    else:
        yield value


def test_the_json_is_finite_and_complete(whole):
    assert set(whole.document["inference"]) == {
        "style", "networks", "photos", "companions", "size", "seconds", "sweeps", "batch_mates", "modes", "survival",
        "cost", "limits", "frozen_statistics",
    }  # fmt: skip
    numbers = [value for value in walk(whole.document) if isinstance(value, float)]
    assert len(numbers) > 300
    assert all(math.isfinite(number) for number in numbers)


def test_every_number_of_the_verdict_is_in_the_json(whole):
    numbers = [value for value in walk(whole.document["inference"]) if isinstance(value, int | float)]
    distances = [row["style"] for row in whole.document["inference"]["sweeps"] if row["unchanged"]]
    ratios = [number_text(one / other) for one, other in itertools.permutations(distances, 2)]
    written = {number_text(number) for number in numbers} | {in_words(abs(number)) for number in numbers} | set(ratios)
    said = [number for line in inference_verdict(whole.found) for number in numbers_in(line.replace(STYLE, ""))]
    assert len(said) >= 8
    # "of 255" and "under 0.001" are no measurements.
    assert set(said) - {"255", "0.001"} <= written


def test_the_page_has_every_section_and_loads_nothing(whole):
    sections = inference_sections_of(whole.found)
    assert [one.anchor for one in sections] == [
        "axes", "pictures", "sweeps", "batch-mates", "modes", "frozen", "survival", "limits", "cost"
    ]  # fmt: skip
    for one in sections:
        assert whole.page.count(f'<section class="part" id="{one.anchor}">') == 1
        assert f'href="#{one.anchor}"' in whole.page
        for text in texts(one):
            assert html.escape(re.sub(r"[\x00-\x08]", "", text)) in whole.page, text
    for line in inference_verdict(whole.found):
        assert html.escape(line) in whole.page
    assert not re.findall(r'(?:src|href)="(?!data:|#|\./|https://arxiv)', whole.page)
    for name in whole.document["files"]:
        assert (whole.root / "report" / name).is_file()


def inference_sections_of(found: Comparison) -> list[Any]:
    """Return the sections with empty charts, which take no time."""
    with pytest.MonkeyPatch.context() as patched:
        without_charts(patched.setattr)
        return inference_sections(found)


def test_names_are_escaped_and_folders_not_told(whole):
    assert "<b>" not in whole.page and "<i>" not in whole.page
    assert html.escape('<b>&"x') in whole.page and html.escape(STYLE) in whole.page
    for path in (whole.root / "report").iterdir():
        assert str(whole.root).encode() not in path.read_bytes(), path.name


def test_the_tables_have_the_numbers(whole):
    tables = inference_tables(whole.found)
    assert {f"{name}.csv" for name in tables} | {"results.json"} == set(whole.document["files"])
    for name, (header, rows) in tables.items():
        with open(whole.root / "report" / f"{name}.csv", newline="", encoding="utf-8") as stream:
            read = list(csv.DictReader(stream))
        assert len(read) == len(rows) > 0 or name == "halves"
        for written, row in zip(read, rows, strict=True):
            for column, cell in zip(header, row, strict=True):
                if isinstance(cell, float):
                    assert float(written[column]) == cell


# --------------------------------------------------------------------------------------------------- sentences, planted


@pytest.fixture
def charts(monkeypatch):
    without_charts(monkeypatch.setattr)


def said(found: Comparison) -> list[str]:
    """Return every text of a report."""
    return [text for one in inference_sections(found) for text in texts(one)] + inference_verdict(found)


DEFINITIONS = {
    # Titles, questions and names of columns.
    "Batch mates",
    "In training mode, does it matter which photos share the batch?",
    "And what is batch norm with one photo?",
    "Where instance norm hurts",
    "What does instance norm cost in time, memory and tiles?",
    "one photo against instance norm, grey levels",
    "times batch norm",
    # What was done.
    "3 photos beside it, so a batch of 4;",
    "The networks have the same batch size.",
    "These weights were trained with the statistics of each photo;",
    "Share of the variance between photos for each layer of the network with instance norm.",
    "Share of the variance between photos for each layer of the network with batch norm.",
    # A number without a network.
    "Folding batch norm into the convolutions changes a result by at most 0.00300 grey levels.",
    # The names of networks at the head of what follows about each, and of pictures.
    "instance",
    "batch",
    "instance:",
    "batch:",
    "a, instance",
    "a, batch",
    "0 grey levels (instance).",
    "0 grey levels (batch).",
}
"""Sentences with the name of a norm that say nothing about which is better; everything else must follow the numbers."""


def test_every_sentence_follows_the_numbers(charts):
    found = planted_comparison()
    before, after = said(found), said(renamed(found, SWAPPED))
    assert unswayed(before, after) <= DEFINITIONS
    # Not only different: the same sentences about the other network.
    plain, swapped = inference_verdict(found)[:2], inference_verdict(renamed(found, SWAPPED))[:2]
    assert renamed(plain, SWAPPED) == swapped


def test_the_verdict_of_planted_numbers():
    first, second, third = inference_verdict(planted_comparison())
    assert first == (
        "On 3 photos as they are, the network with instance norm comes closest to the style of test-style: style "
        "distance 0.0400, against batch 0.0800 (2.00 times)."
    )
    assert second == (
        "Halving the contrast of the photo changes the result by this many grey levels of 255: 0.00200 (instance), "
        "15.5 (batch)."
    )
    assert "Batch paints another picture in each mode (17.5 grey levels apart)" in third
    assert "In its better mode, too, batch is further from the style than instance: 0.072 against 0.04." in third


def test_a_verdict_of_three_networks_and_one_photo():
    found = replace(planted_comparison(("group", "layer", "weight")), photos=("a.jpg",))
    first, second, _ = inference_verdict(found)
    assert first.startswith("On 1 photo as they are, the network with group norm comes closest")
    assert first.endswith("style distance 0.0400, against layer 0.0800 (2.00 times) and weight 0.160 (4.00 times).")
    assert second.endswith(" 0.00200 (group), 15.5 (layer), 15.5 (weight).")


def test_without_instance_norm_nothing_is_said_about_it(charts):
    found = planted_comparison(("group", "layer", "batch"))
    rows = tuple(replace(row, instance_first=False, output_change=20.0) for row in found.sweeps)
    found = replace(found, frozen=None, sweeps=rows)
    assert "frozen" not in [one.anchor for one in inference_sections(found)]
    assert "frozen-statistics" not in inference_tables(found)
    about = {text for text in sentences(said(found)) if re.search(r"\binstance\b", text, re.IGNORECASE)}
    assert about - DEFINITIONS == {"In training mode with one photo batch is instance norm with the same weights:"}


def test_no_property_of_the_architecture_is_claimed_that_the_numbers_deny(charts):
    """An instance-norm network that moves, as with a large epsilon."""
    found = planted_comparison()
    assert any("is a property of the architecture" in text for text in said(found))
    moving = replace(found, sweeps=tuple(replace(row, output_change=20.0) for row in found.sweeps))
    assert not any("cannot see" in text or "do not reach" in text for text in said(moving))
    assert any("was not expected to move" in text for text in said(moving))


@pytest.mark.parametrize("size", [None, 2, 4])
def test_the_batch_of_the_training_is_told_as_it_was(charts, size):
    found = planted_comparison()
    networks = tuple({**one, "batch_size": size} for one in found.networks)
    [section] = [one for one in inference_sections(replace(found, networks=networks)) if one.anchor == "batch-mates"]
    trained = f"; the networks were trained on batches of {size}" if size else ""
    assert section.caveats == (f"3 photos beside it, so a batch of 4{trained}.",)


def test_which_photos_were_measured(charts):
    found = planted_comparison()
    one = next(one for one in inference_sections(found) if one.anchor == "pictures")
    assert one.caveats[0] == (
        f"Style distances are measured on squares of {EDGE} px of a.jpg, b.jpg and c.jpg; b.jpg and c.jpg came with "
        "stylize, because a single photo says little."
    )
    three = replace(found, pictures=found.pictures * 3)
    one = next(one for one in inference_sections(three) if one.anchor == "pictures")
    assert one.caveats[0].endswith("px of a.jpg, b.jpg and c.jpg.")


def test_networks_that_differ_in_more_than_the_norm():
    found = planted_comparison()
    assert fairness(found) == (
        "The networks have the same batch size. Not recorded for all: preset, steps, image size, learning rate, seed, "
        "loss."
    )
    first, second = found.networks
    told = fairness(replace(found, networks=({**first, "steps": 1000}, {**second, "steps": 500, "batch_size": 8})))
    assert told.startswith("The networks differ in more than the norm: steps, batch_size; the comparison is not fair.")
    assert "the same" not in told


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One.", ("One.", [])),
        ("One. Two. Three!", ("One.", ["Two. Three!"])),
        ("At 0.5 it is 3. Two.", ("At 0.5 it is 3.", ["Two."])),
        (" One. ", ("One.", [])),
    ],
)
def test_the_first_sentence_leads(text, parts):
    assert lead(text) == parts


# -------------------------------------------------------------------------------------------------- choosing networks


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    small_networks(folder, "instance", "batch", "layer")
    tiny_weights(folder / "second.safetensors", norm="instance", seed=1)
    tiny_weights(folder / "other.safetensors", norm="batch", painting={"sha256": "1" * 64})
    tiny_weights(folder / "unknown.safetensors", norm="batch", painting=None)
    return folder


@pytest.mark.parametrize(
    ("styles", "norms", "chosen"),
    [
        (["starry-night"], (), ["starry-night-instance", "starry-night-batch"]),
        (["starry-night"], ("batch", "instance", "batch"), ["starry-night-batch", "starry-night-instance"]),
        (["{}/instance", "{}/batch"], (), ["instance", "batch"]),
        (["{}/instance", "{}/batch", "{}/layer"], ("layer", "instance"), ["instance", "layer"]),
        (["{}/instance", "{}/second"], (), ["instance", "second"]),
        (["{}/instance", "{}/batch", "{}/../files0/instance"], (), ["instance", "batch"]),
        (["{}/instance", "{}/unknown"], (), ["instance", "unknown"]),
    ],
)
def test_networks_that_can_be_compared(files, styles, norms, chosen):
    assert files.name == "files0"
    given = [one.format(files) + (".safetensors" if "/" in one else "") for one in styles]
    assert [one.path.stem for one in choose_networks(given, norms)] == chosen


@pytest.mark.parametrize(
    ("styles", "norms", "message"),
    [
        (["starry-night"], ("instance",), "only one with instance norm is given; give --norm twice"),
        (["starry-night", "starry-night"], (), "only one with instance norm is given"),
        (
            ["starry-night"],
            ("layer", "batch"),
            "is not shipped with layer norm, only with instance, batch; to make it: ",
        ),
        (["stary-night"], (), "unknown style 'stary-night'; did you mean 'starry-night'?"),
        (["starry-night", "great-wave"], (), "were trained on different paintings"),
        (["{}/instance"], (), "only one with instance norm is given"),
        (["{}/instance", "{}/../files0/instance"], (), "only one with instance norm is given"),
        (["{}/instance", "{}/batch"], ("batch",), "only one with batch norm is given"),
        (
            ["{}/instance", "{}/batch"],
            ("group", "layer"),
            "none of these networks has group or layer norm; they have inst",
        ),
        (["{}/instance", "{}/other"], (), "were trained on different paintings, which no norm can be blamed for: "),
        (["{}/instance", "{}/none"], (), "not found"),
    ],
)
def test_networks_that_cannot(files, styles, norms, message):
    given = [one.format(files) + (".safetensors" if "/" in one else "") for one in styles]
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        choose_networks(given, norms)
    assert "\n" not in str(caught.value)


def test_a_preset_is_not_for_files(files):
    given = [files / "instance.safetensors", files / "batch.safetensors"]
    with pytest.raises(InputError, match="the file holds its architecture"):
        choose_networks(given, (), "johnson")


def test_networks_of_one_norm_get_labels_of_their_own(files, tmp_path):
    twin = tiny_weights(tmp_path / "second.safetensors", norm="instance", seed=2)
    paths = [files / "instance.safetensors", files / "second.safetensors", twin, files / "batch.safetensors"]
    labels = [label for label, _ in inference._labelled([read_weights_file(path) for path in paths])]
    assert labels == ["instance (instance)", "instance (second) 1", "instance (second) 2", "batch"]


# ---------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "told",
    [
        {"loss": {"no such setting": 1}},
        {"loss": {**asdict(TINY_LOSS), "style_layers": ["relu9_9"], "style_layer_weights": [1.0]}},
        {"loss": {**asdict(TINY_LOSS), "content_layer": 7}},
        {"loss": {**asdict(TINY_LOSS), "style_weight": "much"}},
        {"loss": {**asdict(TINY_LOSS), "style_layers": []}},
        {"style_size": "large"},
        {"style_size": None},
        {"style_size": [384]},
        {"style_size": 0},
        {"style_size": -5},
        {"style_size": float("inf")},
    ],
    ids=str,
)
def test_weights_that_say_nonsense_of_their_training(tmp_path, told):
    material = make_material(tmp_path / "material", photos=1)
    paths = small_networks(tmp_path, "instance", "batch", **told)
    with pytest.raises(
        WeightsError, match=r"instance\.safetensors: what it says of its training cannot be used"
    ) as caught:
        compare(style=paths, painting=material / "painting.png")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("size", "name", "message"),
    [
        ((1, 1), "dot.png", "dot.png is 1x1 pixels; at least 32 on each side are needed"),
        ((31, 400), "narrow.png", "narrow.png is 31x400 pixels; at least 32 on each side are needed"),
        (None, "text.jpg", "text.jpg is no picture"),
        (None, "empty.jpg", "empty.jpg is empty (0 bytes)"),
        (None, "gone.jpg", "gone.jpg: there is no such file"),
    ],
)
def test_a_photo_that_cannot_be_used(tmp_path, files, size, name, message):
    material = make_material(tmp_path / "material", photos=1)
    if size is not None:
        save_photo(tmp_path / name, *size)
    elif name != "gone.jpg":
        (tmp_path / name).write_text("this is no picture" if name == "text.jpg" else "")
    given = [files / "instance.safetensors", files / "batch.safetensors"]
    with pytest.raises(InputError, match=re.escape(message)):
        compare(tmp_path / name, style=given, painting=material / "painting.png")


def test_a_painting_that_is_not_known(files, tmp_path):
    given = [files / "instance.safetensors", files / "batch.safetensors"]
    with pytest.raises(
        InputError, match=r"instance.safetensors was trained on is not known; give its picture with --pai"
    ):
        compare(style=given)
    with pytest.raises(InputError, match=r"none\.jpg: there is no such file"):
        compare(style=given, painting=tmp_path / "none.jpg")


# -------------------------------------------------------------------------------------------------------- which photos


@pytest.fixture
def cheap(monkeypatch, tmp_path) -> dict[str, Any]:
    """Put something in the place of every probe that remembers what it was given."""
    seen: dict[str, Any] = {}

    def remember(name: str, result: Any) -> Any:
        def probe(subjects: Any, *arguments: Any, **options: Any) -> Any:
            seen[name] = arguments
            return result

        return probe

    examples = [save_photo(tmp_path / "examples" / f"e{index}.png", 50, 50, seed=index) for index in range(5)]
    monkeypatch.setattr(inference, "example_photos", lambda: examples)
    monkeypatch.setattr(inference, "PROBE_SIZE", 32)
    monkeypatch.setattr(inference, "_ruler", lambda *arguments: None)
    monkeypatch.setattr(inference, "_freeze", lambda subjects, ruler, crowd, photos: (None, {}))
    monkeypatch.setattr(inference, "_paint", lambda path, *arguments: path.name)
    monkeypatch.setattr(inference.sweeps, "sweep", remember("sweeps", ()))
    monkeypatch.setattr(inference.batch_mates, "batch_mates", remember("mates", (None, ())))
    monkeypatch.setattr(inference.modes, "modes", remember("modes", None))
    monkeypatch.setattr(inference.survival, "measure_survival", remember("survival", None))
    monkeypatch.setattr(inference.limits, "limits", remember("limits", None))
    monkeypatch.setattr(inference.cost, "measure_cost", remember("cost", None))
    return seen


@pytest.mark.parametrize(
    ("given", "measured", "painted", "companions"),
    [
        ([], ["e0.png", "e1.png", "e2.png"], ["e0.png", "e1.png", "e2.png"], 5),
        (["a.png"], ["a.png", "e0.png", "e1.png"], ["a.png"], 6),
        (["a.png", "a.png", "b.png"], ["a.png", "b.png", "e0.png"], ["a.png", "b.png"], 7),
        (["examples/e1.png"], ["e1.png", "e0.png", "e2.png"], ["e1.png"], 5),
        (["a.png", "b.png", "c.png", "d.png"], ["a.png", "b.png", "c.png"], ["a.png", "b.png", "c.png", "d.png"], 9),
    ],
)
def test_which_photos_are_measured_and_painted(cheap, tmp_path, files, given, measured, painted, companions):
    for index, name in enumerate("abcd"):
        save_photo(tmp_path / f"{name}.png", 40, 60, seed=9 + index)
    networks = [files / "instance.safetensors", files / "batch.safetensors"]
    found = compare([tmp_path / name for name in given], style=networks, painting=tmp_path / "a.png")
    assert list(found.photos) == measured
    assert list(found.pictures) == painted
    assert found.companions == companions
    # The photo of the batch-mates probe is none of its own mates, and what is measured is what was said.
    photo, mates = cheap["mates"]
    assert len(photo) == 1 and len(mates) == companions - 1
    assert not any(torch.equal(photo[0], mate) for mate in mates)
    squares = cheap["sweeps"][0]
    assert squares.shape == (3, 3, 32, 32)
    assert torch.equal(squares[:1], photo)
    assert len(cheap["modes"][0]) == min(8, companions) == len(cheap["limits"][0])


def test_one_photo_as_text(cheap, tmp_path, files):
    save_photo(tmp_path / "a.png", 40, 60)
    networks = [str(files / "instance.safetensors"), str(files / "batch.safetensors")]
    found = compare(str(tmp_path / "a.png"), style=networks, painting=str(tmp_path / "a.png"))
    assert list(found.pictures) == ["a.png"]
