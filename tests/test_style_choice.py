"""A style may be a name, a file or a mixture; what is chosen is what paints."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from stylize import zoo
from stylize.checkpoints import load_network
from stylize.cli import main
from stylize.comparison.networks import choose_networks
from stylize.errors import InputError, WeightsError
from stylize.style_choice import choose_collection, choose_style, fitting_collections, is_onnx, load_style
from stylize.style_collections import collect, load_mixture, read_collection, read_style_file
from stylize.stylizer import Stylizer, load
from tests.helpers import run_python, run_stylize, save_photo, tiny_collection, tiny_style_file, tiny_weights

INSIDE = ("great-wave", "the-scream", "mosaic", "photo")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Shipped networks in ``weights``, and in ``own`` a collection and style files for both; never changed."""
    folder = tmp_path_factory.mktemp("made")
    shipped, own = folder / "weights", folder / "own"
    shipped.mkdir()
    own.mkdir()
    tiny_collection(shipped / "paintings-conditional-instance.safetensors", INSIDE)
    tiny_weights(shipped / "great-wave-instance.safetensors", "great-wave", seed=3)
    tiny_weights(shipped / "starry-night-instance.safetensors", "starry-night", seed=4)
    tiny_weights(shipped / "starry-night-batch.safetensors", "starry-night", "batch", seed=5)
    tiny_style_file(folder / "mine.safetensors", shipped / "paintings-conditional-instance.safetensors")
    tiny_collection(own / "base.safetensors", ("one", "two, or 2:1"), seed=6)
    tiny_style_file(own / "other.safetensors", own / "base.safetensors")
    return folder


@pytest.fixture
def shipped(made, monkeypatch):
    monkeypatch.setattr(zoo, "weights_directory", lambda: made / "weights")
    return made / "weights"


@pytest.fixture
def own(shipped, made):
    return made / "own"


def images() -> torch.Tensor:
    return torch.rand(1, 3, 11, 14, generator=torch.Generator().manual_seed(2))


def painted(network) -> torch.Tensor:
    with torch.no_grad():
        return network(images())


# ---- names


@pytest.mark.parametrize(
    ("style", "norm", "file"),
    [
        ("starry-night", None, "starry-night-instance"),
        ("starry-night", "batch", "starry-night-batch"),
        ("great-wave", None, "great-wave-instance"),
        ("great-wave", "instance", "great-wave-instance"),
        ("great-wave", "conditional-instance", "paintings-conditional-instance"),
        ("the-scream", None, "paintings-conditional-instance"),
        ("the-scream", "instance", "paintings-conditional-instance"),
        ("photo", None, "paintings-conditional-instance"),
    ],
)
def test_where_a_name_leads(shipped, style, norm, file):
    chosen = choose_style(style, norm)
    assert chosen.weights.path == shipped / f"{file}.safetensors"
    assert chosen.name == style
    assert chosen.norm == ("batch" if norm == "batch" else "instance")
    assert dict(chosen.shares) == ({style: 1.0} if "paintings" in file else {})
    assert (chosen.collection is not None) == chosen.has_photo_style == ("paintings" in file)
    assert not chosen.is_mixture and chosen.preset == "fast"


def test_the_collection_comes_first_when_it_is_said_to(shipped, monkeypatch):
    monkeypatch.setattr(zoo, "COLLECTION_FIRST", True)
    assert choose_style("great-wave").collection is not None
    assert choose_style("great-wave", "instance").collection is None
    assert choose_style("starry-night").collection is None


def test_a_given_collection_is_where_names_are_looked_up(shipped, own):
    assert choose_style("great-wave", collection="paintings").collection.names == INSIDE
    assert choose_style("one", collection=own / "base.safetensors").name == "one"
    assert choose_style("one", collection=str(own / "base.safetensors")).name == "one"
    assert choose_style("one", collection=read_collection(own / "base.safetensors")).name == "one"
    assert choose_style("two, or 2:1", collection=own / "base.safetensors").name == "two, or 2:1"
    with pytest.raises(InputError, match=r"unknown style of paintings 'starry-night' \(known: great-wave, the-scream"):
        choose_style("starry-night", collection="paintings")
    with pytest.raises(InputError, match=r"unknown style of .*base\.safetensors 'on'; did you mean 'one'\?"):
        choose_style("on", collection=own / "base.safetensors")


def test_the_choice_needs_no_torch(shipped, made):
    code = f"""
import pathlib, sys
from stylize import zoo
zoo.weights_directory = lambda: pathlib.Path({str(shipped)!r})
from stylize.style_choice import choose_style
choose_style("the-scream:0.5,{made / "mine.safetensors"}").described
assert "torch" not in sys.modules and "numpy" not in sys.modules
"""
    result = run_python("-c", code)
    assert result.returncode == 0, result.stderr


# ---- mixtures


def test_a_mixture(shipped):
    chosen = choose_style("great-wave:3,the-scream")
    assert dict(chosen.shares) == {"great-wave": 0.75, "the-scream": 0.25}
    assert (chosen.name, chosen.norm, chosen.is_mixture) == ("great-wave-75-the-scream-25", "instance", True)
    network, weights = load_style(chosen)
    expected, _ = load_mixture(chosen.collection, chosen.shares)
    assert torch.equal(painted(network), painted(expected))
    assert weights == chosen.described
    assert weights.metadata["style"] == chosen.name
    assert weights.metadata["mixture"] == {"great-wave": 0.75, "the-scream": 0.25}
    assert weights.architecture == network.config


def test_a_style_of_weight_zero_is_left_out_but_must_exist(shipped):
    chosen = choose_style("great-wave:0,the-scream:2")
    assert (chosen.name, dict(chosen.shares)) == ("the-scream", {"the-scream": 1.0})
    with pytest.raises(InputError, match="unknown style"):
        choose_style("grat-wave:0,the-scream:2")


def test_the_photo_can_be_a_part(shipped):
    assert choose_style("great-wave:0.6,photo:0.4").name == "great-wave-60-photo-40"


def test_long_mixtures_have_short_names(tmp_path):
    names = tuple(f"a-rather-long-name-{number}" for number in range(9))
    path = tiny_collection(tmp_path / "a.safetensors", names)
    assert choose_style(",".join(names), collection=path).name == "a-rather-long-name-0-11-and-8-more"


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 100), min_size=3, max_size=3).filter(lambda weights: sum(weights) > 1e-3))
def test_shares_sum_to_one_whatever_the_weights(made, weights):
    text = ",".join(f"{name}:{weight!r}" for name, weight in zip(INSIDE[:3], weights, strict=True))
    path = made / "weights" / "paintings-conditional-instance.safetensors"
    chosen = choose_style(text, collection=path)
    assert sum(chosen.shares.values()) == pytest.approx(1)
    assert all(share > 0 for share in chosen.shares.values())
    again = choose_style(
        ",".join(f"{name}:{8 * weight!r}" for name, weight in zip(INSIDE[:3], weights, strict=True)), collection=path
    )
    assert again.shares == pytest.approx(chosen.shares)


@pytest.mark.parametrize(
    ("style", "said"),
    [
        ("the-scrm:0.6,mosaic:0.4", r"unknown style of paintings 'the-scrm'; did you mean 'the-scream'\? \(known: "),
        ("the-scream:0,6,mosaic:0,4", "unknown style of paintings '6'.*weights are written with a point: 0.6"),
        ("starry-night,mosaic", "'starry-night' is shipped as a network of its own, which cannot be mixed; .*mosaic"),
        ("mosaic:0,the-scream:0", "sum to zero"),
        ("mosaic:-1,the-scream", "is negative"),
        ("mosaic:x,the-scream", "is no number"),
        ("mosaic,mosaic:0.5", "style 'mosaic' is given twice in a mixture"),
        ("mosaic,a.onnx:0.5", "'a.onnx' is an ONNX file, which cannot be mixed"),
        ("mosaic,none.safetensors", "none.safetensors not found"),
        ("mosaic:0.5", "--strength"),
    ],
)
def test_mixtures_that_cannot_be(shipped, style, said):
    with pytest.raises(InputError, match=said) as caught:
        choose_style(style)
    assert "\n" not in str(caught.value)


def test_a_network_of_one_style_cannot_be_mixed(shipped):
    with pytest.raises(
        InputError, match=r"'.*great-wave-instance.safetensors' holds a network of one style, which can"
    ):
        choose_style(f"mosaic,{shipped / 'great-wave-instance.safetensors'}")
    with pytest.raises(WeightsError, match="'paintings' is a collection of 3 styles"):
        choose_style(f"mosaic,{shipped / 'paintings-conditional-instance.safetensors'}")


@pytest.mark.parametrize("style", ["the-scream", "the-scream,mosaic"])
def test_norm_and_preset_are_those_of_the_collection(shipped, style):
    assert choose_style(style, "instance", "fast").norm == "instance"
    assert choose_style(style, "conditional-instance", "fast").norm == "instance"
    for settings_given, said in (
        (("batch",), "instance norm, (and )?not"),
        (("conditional-batch",), "instance norm, (and )?not"),
        ((None, "johnson"), "not 'johnson'|--preset johnson"),
    ):
        for collection in ("paintings", None):
            with pytest.raises(InputError, match=said):
                choose_style(style, *settings_given, collection=collection)


# ---- a collection where a style is needed


@pytest.mark.parametrize("collection", [None, "paintings"])
def test_the_name_of_a_collection_is_no_style(shipped, collection):
    with pytest.raises(InputError) as caught:
        choose_style("paintings", collection=collection)
    assert str(caught.value) == (
        "'paintings' is a collection of 3 styles; choose one of them: --style NAME, such as great-wave, the-scream, "
        "mosaic; `stylize styles` lists all"
    )


def test_the_file_of_a_collection_is_no_style(own):
    path = own / "base.safetensors"
    with pytest.raises(WeightsError, match=rf"choose one of them: --collection {path} --style NAME, such as one, two"):
        choose_style(path)


@pytest.mark.parametrize(
    ("collection", "said"),
    [
        ("paintigs", r"unknown collection 'paintigs'; did you mean 'paintings'\? \(known: paintings\)"),
        ("none.safetensors", "none.safetensors not found"),
        ("WEIGHTS/great-wave-instance.safetensors", "holds a network of one style with instance norm"),
        ("WEIGHTS/../mine.safetensors", "is a style file, not a collection; paint with it: --style"),
    ],
)
def test_collections_that_are_none(shipped, collection, said):
    with pytest.raises(InputError, match=said):
        choose_collection(collection.replace("WEIGHTS", str(shipped)))


def test_nothing_is_shipped_as_a_collection(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "weights_directory", lambda: tmp_path)
    tiny_weights(tmp_path / "great-wave-instance.safetensors", "great-wave")
    assert choose_style("great-wave").collection is None
    said = "no collection of styles is shipped with this installation; give a file, such as --collection"
    for style, collection in (("great-wave,mosaic", None), ("great-wave", "paintings")):
        with pytest.raises(InputError, match=said):
            choose_style(style, collection=collection)
    with pytest.raises(InputError, match=r"unknown style 'paintings' \(known: great-wave\)"):
        choose_style("paintings")


# ---- files


def test_a_network_of_one_style(shipped):
    path = shipped / "starry-night-batch.safetensors"
    for style in (path, str(path)):
        chosen = choose_style(style)
        assert (chosen.name, chosen.norm, dict(chosen.shares)) == ("starry-night", "batch", {})
        assert chosen.described is chosen.weights
    network, weights = load_style(chosen, strength=0.3)
    assert torch.equal(painted(network), painted(load_network(path)[0]))  # no photo style to move it towards
    assert weights == chosen.weights
    with pytest.raises(InputError, match="holds a network of one style, which is in no collection"):
        choose_style(path, collection="paintings")


def test_a_style_file_finds_the_shipped_network(shipped, made):
    chosen = choose_style(made / "mine.safetensors")
    assert (chosen.name, dict(chosen.shares)) == ("mine", {"mine": 1.0})
    assert chosen.weights.path.parent == shipped
    assert [style.path for style in chosen.additions] == [made / "mine.safetensors"]
    network, weights = load_style(chosen)
    expected = load_mixture(chosen.collection, {"mine": 1.0}, [read_style_file(made / "mine.safetensors")])[0]
    assert torch.equal(painted(network), painted(expected))
    assert weights.metadata["style"] == "mine"


def test_a_style_file_is_mixed(shipped, made):
    chosen = choose_style(f"{made / 'mine.safetensors'}:1,mosaic:3")
    assert (chosen.name, chosen.shares["mosaic"]) == ("mine-25-mosaic-75", 0.75)
    expected = load_mixture(chosen.collection, {"mine": 0.25, "mosaic": 0.75}, chosen.additions)[0]
    assert torch.equal(painted(load_style(chosen)[0]), painted(expected))


def test_a_style_file_finds_the_network_beside_it(own, monkeypatch):
    assert choose_style(own / "other.safetensors").weights.path == own / "base.safetensors"
    monkeypatch.chdir(own)
    assert choose_style("other.safetensors").weights.path.resolve() == own / "base.safetensors"


def test_a_style_file_alone_says_what_to_give(own, tmp_path):
    alone = shutil.copy(own / "other.safetensors", tmp_path / "alone.safetensors")
    with pytest.raises(
        InputError, match=r"alone\.safetensors was made for is neither shipped \(collections: paintings\)"
    ):
        choose_style(alone)
    chosen = choose_style(alone, collection=own / "base.safetensors")
    assert (chosen.name, chosen.weights.path) == ("other", own / "base.safetensors")
    with pytest.raises(InputError, match="was made for another network than .*paintings"):
        choose_style(alone, collection="paintings")


def test_of_two_networks_that_fit_the_one_with_the_names_is_taken(own, tmp_path):
    base = read_collection(own / "base.safetensors")
    alone = shutil.copy(own / "other.safetensors", tmp_path / "x.safetensors")
    shutil.copy(own / "base.safetensors", tmp_path / "a.safetensors")
    third = read_style_file(tiny_style_file(tmp_path / "third.safetensors", own / "base.safetensors", seed=30))
    collect(base, [third], tmp_path / "b.safetensors")
    fitting = fitting_collections([read_style_file(alone)])
    assert [one.weights.path.name for one in fitting] == ["a.safetensors", "b.safetensors"]
    assert choose_style(f"{alone},one").weights.path.name == "a.safetensors"
    assert choose_style(f"{alone},third").weights.path.name == "b.safetensors"
    with pytest.raises(InputError, match="given twice"):
        choose_style(f"{alone},third,{tmp_path / 'third.safetensors'}")


def test_style_files_of_different_networks(own, made):
    with pytest.raises(
        InputError, match=r"mine\.safetensors and .*other\.safetensors were made for different networks"
    ):
        choose_style(f"{made / 'mine.safetensors'},{own / 'other.safetensors'}")


def test_a_style_file_holds_its_norm_and_preset(shipped, made):
    assert choose_style(made / "mine.safetensors", "instance").norm == "instance"
    with pytest.raises(InputError, match="instance norm, not batch norm"):
        choose_style(made / "mine.safetensors", "batch")
    for style in (made / "mine.safetensors", f"{made / 'mine.safetensors'},mosaic"):
        with pytest.raises(InputError, match="the file holds its architecture"):
            choose_style(style, preset="fast")


def test_a_style_file_called_photo(shipped, tmp_path):
    path = tiny_style_file(tmp_path / "photo.safetensors", shipped / "paintings-conditional-instance.safetensors")
    with pytest.raises(InputError, match="a style called 'photo', which is kept for the photo itself"):
        choose_style(path)


def test_the_painting_of_a_style_file_is_not_the_shipped_one_of_its_name(shipped, tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "examples_directory", lambda: tmp_path)
    picture = save_photo(tmp_path / "paintings" / "mosaic.jpg")
    assert zoo.painting_of(choose_style("mosaic").described) == picture
    path = tiny_style_file(tmp_path / "mosaic.safetensors", shipped / "paintings-conditional-instance.safetensors")
    assert choose_style(path).name == "mosaic"
    assert zoo.painting_of(choose_style(path).described) is None
    assert zoo.painting_of(choose_style("mosaic,the-scream").described) is None


# ---- strength


@pytest.mark.parametrize("style", ["great-wave", "great-wave:0.5,mosaic:0.5", "great-wave:0.5,photo:0.5"])
def test_strength_moves_between_the_photo_style_and_the_style(shipped, style):
    chosen = choose_style(style, collection="paintings")
    photo = load_style(choose_style("photo"))[0]
    assert torch.equal(painted(load_style(chosen, strength=0)[0]), painted(photo))
    full, base = load_style(chosen)[0].state_dict(), photo.state_dict()
    for strength in (0.25, 1.5):
        network, weights = load_style(chosen, strength=strength)
        assert weights == chosen.described
        for name, tensor in network.state_dict().items():
            expected = strength * full[name] + (1 - strength) * base[name]
            torch.testing.assert_close(tensor, expected, atol=2e-6, rtol=1e-6)


def test_strength_of_a_style_file_without_a_photo_style(own):
    chosen = choose_style(own / "other.safetensors")
    assert not chosen.has_photo_style
    assert torch.equal(painted(load_style(chosen, strength=0.5)[0]), painted(load_style(chosen)[0]))


# ---- comparisons see no collections


def test_compare_takes_networks_of_one_style(shipped):
    assert len(choose_networks(["starry-night"], [])) == 2
    with pytest.raises(InputError, match="shipped in the collection paintings, with instance norm, and not as"):
        choose_networks(["the-scream"], [])
    with pytest.raises(InputError, match="'paintings' is a collection of 3 styles"):
        choose_networks(["paintings"], [])
    with pytest.raises(InputError, match="'paintings' is a collection of 3 styles"):
        choose_networks([shipped / "paintings-conditional-instance.safetensors"], [])


# ---- ONNX files


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A weights file and the ONNX file made from it."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from stylize.checkpoints import read_weights_file
    from stylize.exporting import export_onnx

    folder = tmp_path_factory.mktemp("files")
    weights = tiny_weights(folder / "tiny.safetensors", norm="batch", seed=2)
    export_onnx(read_weights_file(weights), folder / "tiny.onnx")
    return weights, folder / "tiny.onnx"


def test_the_suffix_says_what_it_is():
    assert is_onnx("a/b.ONNX") and not is_onnx("onnx") and not is_onnx("a.safetensors")


def test_an_onnx_file_paints_like_its_weights_file(files):
    images = torch.rand(2, 3, 19, 26, generator=torch.Generator().manual_seed(0))
    exact, exported = load(files[0], device="cpu", precision="float32"), load(files[1])
    assert (exported.style, exported.norm, exported.network) == ("test-style", "batch", None)
    assert (exported.engine.name, exported.engine.precision) == ("onnxruntime", "float32")
    torch.testing.assert_close(exported(images), exact(images), atol=1e-4, rtol=0)


def test_the_metadata_come_with_it(files):
    chosen = choose_style(files[1], norm="batch")
    assert (chosen.name, chosen.norm, chosen.shares, chosen.collection) == ("test-style", "batch", {}, None)
    assert chosen.weights.architecture == choose_style(files[0]).weights.architecture
    assert chosen.described.metadata["steps"] == 100


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"norm": "instance"}, "holds a network with batch norm, not with instance norm"),
        ({"preset": "fast"}, "the file holds its architecture"),
        ({"engine": "torch"}, r"engine 'torch' given with the ONNX file .*; 'auto' or 'onnxruntime' is accepted"),
        ({"precision": "int8"}, "precision 'int8' given with the ONNX file"),
        ({"device": "cuda"}, "device 'cuda' given with the ONNX file"),
    ],
)
def test_what_does_not_go_with_an_onnx_file(files, settings, said):
    with pytest.raises(InputError, match=said):
        load(files[1], **settings)


def test_apply_takes_an_onnx_file(files, tmp_path):
    save_photo(tmp_path / "a.png")
    done = run_stylize("apply", "a.png", "--style", str(files[1]), "-o", "b.png", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["engine"] == "onnxruntime"
    assert (tmp_path / "b.png").exists()


def test_apply_refuses_another_file_with_one_line(tmp_path):
    pytest.importorskip("onnx")
    photo = save_photo(tmp_path / "a.png")
    (tmp_path / "x.onnx").write_bytes(b"not a model")
    result = CliRunner().invoke(main, ["apply", str(photo), "--style", str(tmp_path / "x.onnx")])
    assert result.exit_code in (1, 2)
    assert len(result.stderr.strip().splitlines()) == 1 and "x.onnx" in result.stderr


def test_a_stylizer_needs_something_that_paints(files):
    with pytest.raises(InputError, match="neither a network nor an engine"):
        Stylizer(None, choose_style(files[0]).weights)
