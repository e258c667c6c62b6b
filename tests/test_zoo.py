"""What is shipped, and how it is found by name."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from stylize import zoo
from stylize.checkpoints import read_weights_file
from stylize.errors import InputError, StylizeError, WeightsError
from stylize.style_collections import read_collection
from tests.helpers import save_photo, tiny_collection, tiny_weights


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A folder of shipped networks: two styles, two norms, two presets, a file of another kind and a damaged one."""
    weights, examples = tmp_path / "weights", tmp_path / "examples"
    weights.mkdir()
    tiny_weights(weights / "starry-night-instance.safetensors", "starry-night")
    tiny_weights(weights / "starry-night-batch.safetensors", "starry-night", "batch")
    tiny_weights(weights / "starry-night-instance-johnson.safetensors", "starry-night", preset="johnson")
    tiny_weights(weights / "great-wave-instance.safetensors", "great-wave")
    from safetensors.numpy import save_file

    save_file({}, weights / "vgg19.safetensors", metadata={"format": "vgg"})
    whole = (weights / "great-wave-instance.safetensors").read_bytes()
    (weights / "broken-instance.safetensors").write_bytes(whole[:-7])
    save_photo(examples / "paintings" / "starry-night.jpg")
    for name in ("b.jpg", "a.png"):
        save_photo(examples / "photos" / name)
    (examples / "photos" / "SOURCES.md").write_text("sources")
    monkeypatch.setattr(zoo, "weights_directory", lambda: weights)
    monkeypatch.setattr(zoo, "examples_directory", lambda: examples)
    return weights


def test_list(shipped):
    listed = [(one.style, one.norm, one.preset) for one in zoo.list_weights()]
    assert listed == [
        ("great-wave", "instance", "fast"),
        ("starry-night", "instance", "fast"),
        ("starry-night", "instance", "johnson"),
        ("starry-night", "batch", "fast"),
    ]
    assert zoo.list_styles() == ["great-wave", "starry-night"]
    one = zoo.list_weights()[0]
    assert one.metadata["steps"] == 100
    assert one.file_size == one.path.stat().st_size > 1000


def test_the_header_decides_not_the_name(shipped):
    (shipped / "starry-night-batch.safetensors").rename(shipped / "anything.safetensors")
    assert zoo.find_weights("starry-night", "batch").name == "anything.safetensors"


@pytest.mark.parametrize(
    ("norm", "preset", "name"),
    [
        ("instance", None, "starry-night-instance"),
        ("instance", "fast", "starry-night-instance"),
        ("instance", "johnson", "starry-night-instance-johnson"),
        ("batch", None, "starry-night-batch"),
    ],
)
def test_find(shipped, norm, preset, name):
    assert zoo.find_weights("starry-night", norm, preset) == shipped / f"{name}.safetensors"


def test_find_takes_another_preset_when_there_is_no_fast_one(shipped):
    (shipped / "starry-night-instance.safetensors").unlink()
    assert zoo.find_weights("starry-night").name == "starry-night-instance-johnson.safetensors"


def test_unknown_style_has_a_suggestion_and_the_list(shipped):
    with pytest.raises(InputError) as caught:
        zoo.find_weights("stary-nigth")
    assert str(caught.value) == (
        "unknown style 'stary-nigth'; did you mean 'starry-night'? (known: great-wave, starry-night)"
    )


def test_name_of_a_file_of_another_kind_gets_a_hint(shipped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.pth").write_bytes(b"x")
    with pytest.raises(InputError, match="a file needs the suffix"):
        zoo.find_weights("net.pth")


def test_missing_norm_names_the_norms_and_the_command(shipped):
    with pytest.raises(
        InputError, match=r"not shipped with batch norm, only with instance.*stylize train .*--norm batch"
    ):
        zoo.find_weights("great-wave", "batch")


def test_missing_preset_names_the_presets(shipped):
    with pytest.raises(InputError, match=r"preset 'johnson', only fast.*--preset johnson"):
        zoo.find_weights("great-wave", preset="johnson")


def test_unknown_norm(shipped):
    with pytest.raises(InputError, match="unknown normalisation 'instnce'; did you mean 'instance'"):
        zoo.find_weights("great-wave", "instnce")


def test_damaged_shipped_file_says_so(shipped):
    assert "broken" not in zoo.list_styles()
    with pytest.raises(WeightsError, match="truncated"):
        zoo.find_weights("broken")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("starry-night", False),
        ("net.pth", False),
        ("net.safetensors", True),
        ("NET.SAFETENSORS", True),
        ("./net", True),
        ("folder/net.pth", True),
        (Path("net"), True),
    ],
)
def test_name_or_path(text, expected):
    assert zoo.is_path(text) is expected


def test_resolve_path_takes_the_norm_of_the_file(shipped, tmp_path):
    path = tiny_weights(tmp_path / "own.safetensors", "own", "batch")
    assert zoo.resolve_weights(str(path)).architecture.norm == "batch"
    assert zoo.resolve_weights(path, "batch").path == path
    with pytest.raises(InputError, match="with batch norm, not with instance norm"):
        zoo.resolve_weights(path, "instance")
    with pytest.raises(InputError, match="the file holds its architecture"):
        zoo.resolve_weights(path, preset="fast")
    with pytest.raises(WeightsError):
        zoo.resolve_weights(tmp_path / "absent.safetensors")


def test_resolve_name_defaults_to_instance(shipped):
    assert zoo.resolve_weights("starry-night").path.name == "starry-night-instance.safetensors"
    assert zoo.resolve_weights("starry-night", "batch").architecture.norm == "batch"


def test_preset_of_weights_that_do_not_name_one(tmp_path):
    path = tiny_weights(tmp_path / "x.safetensors", preset=None)
    assert zoo.preset_name(read_weights_file(path)) == "custom"


def test_style_name_falls_back_to_the_file_name(tmp_path):
    path = tiny_weights(tmp_path / "my-net.safetensors", style="")
    assert zoo.style_name(read_weights_file(path)) == "my-net"


def test_paintings_and_photos(shipped):
    assert zoo.painting_path("starry-night").name == "starry-night.jpg"
    assert zoo.painting_path("great-wave") is None
    assert zoo.painting_path("../photos/b") is None
    (zoo.examples_directory() / "SOURCES.md").write_text("| `a.png` | `b.jpg` |")
    (zoo.examples_directory() / "photos" / "b-starry-night.jpg").write_bytes(b"a result of stylize apply")
    assert [path.name for path in zoo.example_photos()] == ["a.png", "b.jpg"]


def test_painting_of_foreign_weights_needs_its_hash(shipped, tmp_path):
    painting = zoo.painting_path("starry-night")
    assert zoo.painting_of(read_weights_file(shipped / "starry-night-instance.safetensors")) == painting
    other = tiny_weights(tmp_path / "mine.safetensors", "starry-night")
    assert zoo.painting_of(read_weights_file(other)) is None
    tiny_weights(other, "starry-night", painting={"sha256": zoo.sha256(painting)})
    assert zoo.painting_of(read_weights_file(other)) == painting


def test_sha256(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 700_000)
    assert zoo.sha256(path) == hashlib.sha256(b"abc" * 700_000).hexdigest()
    with pytest.raises(InputError, match="cannot read"):
        zoo.sha256(tmp_path / "absent")


def test_missing_installation_is_said(monkeypatch):
    def missing():
        raise StylizeError("the folder 'weights' that is shipped with stylize is missing; install stylize again")

    monkeypatch.setattr(zoo, "weights_directory", missing)
    with pytest.raises(StylizeError, match="install stylize again"):
        zoo.list_styles()


# ---- collections


@pytest.fixture
def collected(shipped):
    """The same folder with a collection that has one of the shipped styles too."""
    tiny_collection(shipped / "paintings-conditional-instance.safetensors", ("great-wave", "the-scream", "photo"))
    return shipped


def test_collections_are_listed_apart(collected):
    before = [(one.style, one.norm, one.preset) for one in zoo.list_weights()]
    assert len(before) == 4 and "conditional-instance" not in {norm for _, norm, _ in before}
    (collection,) = zoo.list_collections()
    assert (zoo.collection_name(collection), zoo.preset_name(collection.weights)) == ("paintings", "fast")
    assert collection.names == ("great-wave", "the-scream", "photo")
    assert zoo.list_styles() == ["great-wave", "starry-night", "the-scream"]


def test_nothing_is_shipped_as_a_collection(shipped):
    assert zoo.list_collections() == []
    with pytest.raises(InputError, match=r"no collection of styles is shipped .*give a file, such as --collection"):
        zoo.find_collection()


def test_the_default_collection_stands_first(collected):
    tiny_collection(collected / "another-conditional-instance.safetensors", ("a",))
    (collected / "paintings-conditional-instance.safetensors").rename(collected / "zzz.safetensors")
    names = [zoo.collection_name(one) for one in zoo.list_collections()]
    assert names[0] == zoo.DEFAULT_COLLECTION == "paintings" and "another" in names
    assert zoo.find_collection("another").names == ("a",)
    with pytest.raises(InputError, match=r"unknown collection 'anoter'; did you mean 'another'\?"):
        zoo.find_collection("anoter")


def test_a_file_without_a_suffix_is_hinted_at(collected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").write_bytes(b"x")
    with pytest.raises(InputError, match="a file needs the suffix .safetensors"):
        zoo.find_collection("mine")


@pytest.mark.parametrize("damage", ["truncated", "styles"])
def test_a_damaged_collection_says_so(collected, damage):
    path = collected / "paintings-conditional-instance.safetensors"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-3])
    else:
        tiny_collection(path, ("a", "b"), styles=[])
    assert zoo.list_collections() == [] and "the-scream" not in zoo.list_styles()
    with pytest.raises(WeightsError, match="truncated" if damage == "truncated" else "names 0 styles"):
        zoo.find_collection()


def test_a_style_in_a_collection_has_no_file_of_its_own(collected):
    with pytest.raises(InputError) as caught:
        zoo.find_weights("the-scream", "batch")
    assert str(caught.value) == (
        "style 'the-scream' is shipped in the collection paintings, with instance norm, and not as the network that "
        "was asked for; to make it: stylize train PAINTING.jpg PHOTOS --norm batch"
    )
    with pytest.raises(InputError, match="not shipped with batch norm, only with instance"):
        zoo.find_weights("great-wave", "batch")
    with pytest.raises(InputError, match="'paintings' is a collection of 2 styles; choose one of them: --style NAME"):
        zoo.find_weights("paintings")


def test_a_collection_is_no_network_of_one_style(collected, tmp_path):
    for path, option in (
        (collected / "paintings-conditional-instance.safetensors", ""),
        (tiny_collection(tmp_path / "own.safetensors"), f"--collection {tmp_path / 'own.safetensors'} "),
    ):
        with pytest.raises(WeightsError, match=f"choose one of them: {option}--style NAME, such as "):
            zoo.resolve_weights(path)


def test_a_message_names_few_styles(tmp_path):
    path = tiny_collection(tmp_path / "own.safetensors", tuple("abcdef"))
    assert zoo.style_needed(read_collection(path)).endswith("such as a, b, c, d, ...")
    assert "a collection of 6 styles;" in zoo.style_needed(read_collection(path))
    alone = read_collection(tiny_collection(tmp_path / "photo.safetensors", ("photo",)))
    assert zoo.style_needed(alone).endswith("such as photo")


def test_the_label_of_a_collection(collected, tmp_path):
    assert zoo.collection_label(zoo.find_collection()) == "paintings"
    path = tiny_collection(tmp_path / "own.safetensors")
    assert zoo.collection_label(read_collection(path)) == str(path)


def test_the_painting_of_a_style_of_the_shipped_collection(collected):
    from stylize.style_collections import describe_mixture

    tiny_collection(collected / "paintings-conditional-instance.safetensors", ("starry-night", "the-scream"))
    collection = zoo.find_collection()
    painting = zoo.painting_path("starry-night")
    assert zoo.painting_of(describe_mixture(collection, {"starry-night": 1.0})) == painting
    assert zoo.painting_of(describe_mixture(collection, {"the-scream": 1.0})) is None
    assert zoo.painting_of(describe_mixture(collection, {"starry-night": 0.5, "the-scream": 0.5})) is None
