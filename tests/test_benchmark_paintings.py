"""What the styles of a collection are worth: derived numbers by hand, what is kept and what is measured again."""

from __future__ import annotations

import argparse
import json

import pytest
import torch

from benchmarks import optimisation, paintings, readme
from stylize.errors import InputError
from stylize.style_collections import load_mixture, read_collection
from stylize.zoo import sha256
from tests.helpers import save_photo, tiny_collection, tiny_config, tiny_weights

NAMES = ("first", "second", "photo")


@pytest.mark.parametrize(
    ("ratio", "words"),
    [(1.0, "equal to"), (1.004, "equal to"), (0.997, "equal to"), (1.12, "12 % above"), (0.9, "10 % below")],
)
def test_a_ratio_in_words(ratio, words):
    assert paintings.beside(ratio) == words


def results(**parts):
    return {"styles": ["a", "b"], "settings": {"steps": 9}, "parts": parts}


def losses(total, **more):
    return {"date": "-", "total": total, "content": 0.5, "style": 0.1, "totals": [total, total], **more}


def test_derived_numbers_by_hand():
    own = losses(2.0, photo={"total": 8.0}, photo_totals=[8.0, 8.0]) | {"totals": [1.0, 3.0]}
    rows = paintings.style_rows(
        results(
            **{
                "a collection": own,
                "a single": losses(1.6, same_loss=True),
                # One photo was optimised, the first: there the collection has 1 and the photo 8.
                "a optimised": losses(0.5, mean_totals=[8.0, 2.0, 0.9, 0.5]) | {"totals": [0.5]},
            }
        )
    )
    assert list(rows) == ["a"]
    assert rows["a"]["single"]["ratio"] == pytest.approx(1.25)
    optimised = rows["a"]["optimised"]
    assert optimised["ratio"] == pytest.approx(2) and optimised["equal_to"] == 2
    assert optimised["way"] == pytest.approx(7 / 7.5)


@pytest.mark.parametrize(("ratio", "said"), [(1.3, "30 % above"), (0.8, "20 % below"), (1.0, "equal to")])
def test_what_is_said_follows_from_the_numbers(ratio, said):
    own = losses(ratio, photo={"total": 8.0}, photo_totals=[8.0, 8.0])
    found = paintings.findings(results(**{"a collection": own, "a single": losses(1.0, same_loss=ratio < 1)}))
    (line,) = [one for one in found if one.startswith("Beside")]
    assert said in line and f"a {ratio:.2f}" in line
    assert any("another loss" in one for one in found) == (ratio >= 1)


@pytest.mark.parametrize(("ratio", "said"), [(1.05, "; reached."), (1.11, "; not reached.")])
def test_the_wanted_time_is_reached_or_not(ratio, said):
    times = {"date": "-", "sizes": {"512": {"ratio": ratio, "median_ms": {"collection": 2.0, "single": 1.9}}}}
    (line,) = paintings.findings(results(times=times))
    assert line.endswith(said) and f"{ratio:.3f}" in line


def test_passes_take_turns_and_ratios_are_taken_within_a_round(monkeypatch):
    order, clock = [], [0.0]
    seconds = {"collection": 0.003, "single": 0.002}

    def run(name):
        def one(picture):
            assert picture.shape == (1, 3, 16, 16)
            order.append(name)
            # The machine becomes ten times as slow on the way.
            clock[0] += seconds[name] * (10 if len(order) > 4 else 1)

        return one

    monkeypatch.setattr(paintings.time, "perf_counter", lambda: clock[0])
    found = paintings.measure_times({name: run(name) for name in seconds}, 16, 3, lambda line: None)
    assert found["ratio"] == pytest.approx(1.5)
    assert sorted(order[:2]) == sorted(order[2:4]) == sorted(seconds) and order[2:4] != order[4:6]
    assert [len(values) for values in found["all_ms"].values()] == [3, 3]


@pytest.mark.parametrize("text", ["first", "=a.safetensors", "first=", ""])
def test_a_single_network_is_written_with_its_style(text):
    with pytest.raises(argparse.ArgumentTypeError, match="NAME=FILE"):
        paintings.read_single(text)


# ------------------------------------------------------------------------------------------------------ a whole run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paintings")
    for seed in range(3):
        save_photo(folder / "photos" / f"{seed}.png", 44, 40, seed)
    styles = []
    for seed, name in enumerate(NAMES[:2]):
        path = save_photo(folder / "styles" / f"{name}.png", 60, 48, 20 + seed)
        styles.append({"name": name, "painting": {"file": path.name, "sha256": sha256(path)}})
    styles.append({"name": "photo", "painting": None})
    tiny_collection(folder / "tiny.safetensors", NAMES, styles=styles, style_size=32)
    tiny_weights(folder / "one.safetensors", "first", painting=styles[0]["painting"], style_size=32)
    return folder


def options(folder, output, *more):
    given = ["--collection", folder / "tiny.safetensors", "--photos", folder / "photos", "--photos-count", "3"]
    given += ["--size", "32", "--paintings", folder / "styles", "--single", f"first={folder / 'one.safetensors'}"]
    given += ["--steps", "2", "--optimised-count", "1", "--time-sizes", "32", "--runs", "2", "--output", output, *more]
    return [str(one) for one in given]


@pytest.fixture(scope="module")
def measured(folder):
    paintings.main(options(folder, folder / "results"))
    return json.loads((folder / "results" / "paintings.json").read_text(encoding="utf-8"))


def test_every_style_is_measured(measured, folder):
    parts = measured["parts"]
    kinds = {"first": ("collection", "single", "optimised"), "second": ("collection", "optimised")}
    assert set(parts) == {"times", *(f"{name} {kind}" for name, found in kinds.items() for kind in found)}
    own = parts["first collection"]
    # The same numbers, taken another way.
    collection = read_collection(folder / "tiny.safetensors")
    network, described = load_mixture(collection, {"first": 1.0})
    _, photos = optimisation.load_photos(folder / "photos", 3, 32)
    problem = optimisation.make_problem(described, folder / "styles" / "first.png", photos)
    with torch.no_grad():
        expected = problem.terms(network(photos).clamp(0, 1), photos)[:, 3]
    assert own["totals"] == pytest.approx(expected.tolist(), rel=1e-4)
    assert own["photo"]["content"] == 0 and len(own["photo_totals"]) == 3
    assert len(parts["first optimised"]["totals"]) == 1 and len(parts["first optimised"]["mean_totals"]) == 3
    assert parts["first optimised"]["total"] <= own["photo_totals"][0]
    assert measured["photos_are_examples"] is False
    page = (folder / "results" / "paintings.md").read_text(encoding="utf-8")
    assert "| first | " in page and "| second | " in page and str(folder) not in page + json.dumps(measured)


def test_the_bytes_of_a_style_are_those_of_its_numbers(measured, folder):
    sizes = measured["sizes"]
    assert sizes["bytes"] == (folder / "tiny.safetensors").stat().st_size
    # A scale and a shift in two bytes each, for every channel that is normalised.
    one = load_mixture(read_collection(folder / "tiny.safetensors"), {"first": 1.0})[0]
    channels = sum(module.weight.numel() for module in one.modules() if type(module).__name__.endswith("Norm"))
    channels = channels or sum(
        parameter.numel() for name, parameter in one.named_parameters() if "norm" in name and name.endswith("weight")
    )
    assert channels and sizes["numbers_per_style"] == 4 * channels


def test_what_is_done_is_kept_and_what_has_changed_is_measured_again(measured, folder, tmp_path, monkeypatch):
    output = tmp_path / "results"
    output.mkdir()
    (output / "paintings.json").write_text(json.dumps(measured), encoding="utf-8")
    measures = []
    for kind in ("collection", "single", "optimised"):
        real = getattr(paintings.Subject, f"measure_{kind}")

        def counted(self, *given, kind=kind, real=real):
            measures.append(f"{self.name} {kind}")
            return real(self, *given)

        monkeypatch.setattr(paintings.Subject, f"measure_{kind}", counted)
    paintings.main(options(folder, output, "--no-times"))
    assert measures == []
    assert json.loads((output / "paintings.json").read_text(encoding="utf-8"))["parts"] == measured["parts"]
    # Other weights under the same names: only what they decide.
    styles = read_collection(folder / "tiny.safetensors").weights.metadata["styles"]
    other = tiny_collection(tmp_path / "tiny.safetensors", NAMES, seed=3, styles=styles, style_size=32)
    paintings.main(options(folder, output, "--no-times", "--collection", other))
    assert measures == ["first collection", "second collection"]
    # Other settings are another table, and the old one is not lost by mistake.
    with pytest.raises(InputError, match="another steps"):
        paintings.main(options(folder, output, "--no-times", "--steps", "0"))
    measures.clear()
    paintings.main(options(folder, output, "--no-times", "--steps", "0", "--overwrite", "--styles", "second"))
    assert measures == ["second collection"]


def test_what_cannot_be_compared_is_refused_before_anything_is_measured(folder, tmp_path):
    def refused(match, *more):
        with pytest.raises(InputError, match=match):
            paintings.main(options(folder, tmp_path / "out", *more))
        assert not (tmp_path / "out").exists()

    refused("unknown style|no style", "--single", f"frist={folder / 'one.safetensors'}")
    refused("unknown painting|no painting", "--styles", "photo")
    other = tiny_weights(tmp_path / "other.safetensors", "first")
    refused("another picture", "--single", f"first={other}")
    batch = tiny_weights(tmp_path / "batch.safetensors", "first", norm="batch")
    assert tiny_config("batch") != tiny_config()
    refused("another architecture", "--single", f"first={batch}")
    save_photo(tmp_path / "styles" / "first.png", 60, 48, 1)
    refused("sha256 differs", "--paintings", tmp_path / "styles")
    (tmp_path / "paintings.json").write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match="is not a result"):
        paintings.main(options(folder, tmp_path))


def test_readme_shows_the_tables_where_it_has_a_place_for_them(monkeypatch):
    text = readme.README.read_text(encoding="utf-8")
    for name in readme.PARTS:
        place = f"<!-- {name}:begin -->\nold\n<!-- {name}:end -->"
        before, _, rest = text.partition(f"<!-- {name}:begin -->")
        text = f"{before}{place}{rest.partition(f'<!-- {name}:end -->')[2]}" if rest else f"{text}\n{place}\n"
    monkeypatch.setattr(readme, "part", lambda name: f"table of {name}")
    filled = readme.filled(text)
    for name in readme.PARTS:
        assert f"<!-- {name}:begin -->\n\ntable of {name}\n\n<!-- {name}:end -->" in filled
    with pytest.raises(InputError, match="once each"):
        readme.filled(text + "<!-- adapting:begin -->\n<!-- adapting:end -->")
