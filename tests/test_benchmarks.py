"""The benchmark scripts: their counting and measuring against hand values, and that each of them runs."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import contact_sheet, large, optimisation, presets, record, runs, speed
from benchmarks.checkerboard import checkerboard
from benchmarks.cost import macs_per_pixel
from benchmarks.plain_johnson import PlainJohnson, features_before_tanh, plain_twin
from benchmarks.sheet import GAP, sheet
from stylize.config import TransformerConfig, preset
from stylize.errors import InputError, StylizeError
from stylize.losses import LossTerms
from stylize.transformer import TransformerNet
from tests.helpers import ROOT, run_python, save_photo

SCRIPTS = (
    "speed",
    "large",
    "optimisation",
    "presets",
    "contact_sheet",
    "weights_table",
    "gallery",
    "paintings",
    "adapting_time",
    "bulk",
)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_answers_without_torch(script):
    code = f"""
import runpy, sys
sys.argv = ["{script}.py", "--help"]
try:
    runpy.run_path(r"{ROOT / "benchmarks" / script}.py", run_name="__main__")
finally:
    print("TORCH" if "torch" in sys.modules else "LIGHT")
"""
    result = run_python("-c", code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("usage:")
    assert result.stdout.rstrip().endswith("LIGHT")


# ---------------------------------------------------------------------------------------------------------- the cost


def test_the_plain_network_has_the_cost_known_in_the_field():
    assert macs_per_pixel(PlainJohnson()) == 153_792
    assert sum(parameter.numel() for parameter in PlainJohnson().parameters()) == 1_679_235


def test_upsampling_takes_16_instead_of_36_multiplications():
    # 64 x 128 at 1/16 of the positions and 32 x 64 at 1/4: by 20 less each.
    saved = 20 * (128 * 64 / 16 + 64 * 32 / 4)
    assert macs_per_pixel(TransformerNet(preset("johnson"))) == 153_792 - saved == 133_312


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_the_cost_of_fast_by_hand(norm):
    first, trunk = 9 * 48 * 64 / 16, 10 * 9 * 64 * 64 / 16
    up, last = 16 * 64 * 32 / 16, 16 * 32 * 3 / 4
    assert macs_per_pixel(TransformerNet(preset("fast", norm))) == first + trunk + up + last


@pytest.mark.parametrize("name", presets.CANDIDATES)
def test_the_cost_agrees_with_the_counter_of_torch(name):
    network = TransformerNet(presets.CANDIDATES[name]).to("meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 3, 256, 256, device="meta"))
    convolutions = sum(v for op, v in counter.get_flop_counts()["Global"].items() if "conv" in str(op))
    # Torch counts a multiplication and an addition, and the row and column that UpsampleConv throws away.
    assert macs_per_pixel(network) == pytest.approx(convolutions / 2 / 256**2, rel=0.01)


def test_counting_leaves_the_network_as_it_was():
    network = TransformerNet(TransformerConfig(channels=(4, 8), residual_blocks=1)).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    macs_per_pixel(network, 32)
    assert network.training and not any(module._forward_hooks for module in network.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


# --------------------------------------------------------------------------------------------------------- the speed


def test_the_plain_network_is_the_same_network():
    ours = TransformerNet(preset("johnson")).eval()
    picture = speed.photo(32)
    with torch.no_grad():
        expected = plain_twin(ours)(picture * 255)
        found = features_before_tanh(ours, picture)
        assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))
        assert torch.allclose(ours(picture), 0.5 + 150 / 255 * torch.tanh(expected), atol=1e-3)


def test_networks_that_differ_are_not_compared(monkeypatch):
    assert speed.agreement(32) < speed.AGREEMENT
    monkeypatch.setattr(speed, "AGREEMENT", 0.0)
    with pytest.raises(StylizeError, match="not comparable"):
        speed.agreement(32)


def test_ratios_are_taken_within_each_round():
    times = {speed.REFERENCE: [10.0, 100.0, 30.0], "other": [5.0, 25.0, 10.0]}
    summary = speed.summarise(times)
    assert summary["other"] == {"median_ms": 10, "min_ms": 5, "max_ms": 25, "times_faster": 3}
    assert summary[speed.REFERENCE]["times_faster"] == 1


def test_speed_runs_and_writes_both_files(tmp_path, capsys):
    threads = torch.get_num_threads()
    try:
        speed.main(["--quick", "--threads", "1", "--no-memory", "--output", str(tmp_path)])
    finally:
        torch.set_num_threads(threads)
    results = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    rows = results["sizes"]["64"]
    assert list(rows) == list(speed.VARIANTS)
    assert all(len(row["all_ms"]) == 2 and row["min_ms"] > 0 for row in rows.values())
    assert rows[speed.REFERENCE]["macs_per_pixel"] == 153_792
    assert results["facts"]["threads"] == 1 and results["facts"]["torch"] == torch.__version__
    page = (tmp_path / "speed.md").read_text(encoding="utf-8")
    assert "| fast instance | 27,200 |" in page
    assert "round 2/2" in capsys.readouterr().out


def test_memory_is_that_of_a_process_of_its_own():
    spent = speed.memory("fast instance", 64, 1)
    assert 50e6 < spent["before"] <= spent["peak"] < 20e9


def test_large_runs_and_writes_both_files(tmp_path):
    large.main(["--sizes", "64", "--runs", "1", "--huge", "0", "--output", str(tmp_path)])
    ways = json.loads((tmp_path / "large.json").read_text(encoding="utf-8"))["sizes"]["64"]["instance"]
    assert list(ways) == ["whole", *large.WAYS]
    assert ways["strips"]["largest"] < 0.05
    assert ways["strips, int16 in a scratch file"]["largest"] < 0.5
    assert "| 64 x 64 | instance | strips |" in (tmp_path / "large.md").read_text(encoding="utf-8")


def test_speed_refuses_sizes_that_the_plain_network_cannot_take(capsys):
    with pytest.raises(SystemExit) as stopped:
        speed.main(["--sizes", "510"])
    assert stopped.value.code == 2
    assert "multiples of 4" in capsys.readouterr().err


# -------------------------------------------------------------------------------------------------- the checkerboard


def patterned(kind: str, amplitude: float, size: int = 64) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    sign = (-1.0) ** {"checkerboard": x + y, "columns": x, "rows": y}[kind]
    return (0.5 + amplitude * sign).expand(1, 3, size, size)


@pytest.mark.parametrize("kind", ["checkerboard", "columns", "rows"])
def test_a_pattern_of_two_pixels_is_seen_at_its_size(kind):
    found = checkerboard(patterned(kind, 4 / 255))
    assert found.levels == pytest.approx(4, rel=1e-3)
    assert found.ratio > 1e6


@pytest.mark.parametrize("kind", ["checkerboard", "columns", "rows"])
def test_a_pattern_is_seen_under_noise(kind):
    noise = 0.02 * torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    clean, found = checkerboard(0.5 + noise), checkerboard(patterned(kind, 3 / 255, 256) + noise)
    assert 0.8 < clean.ratio < 1.25 and clean.levels < 0.5
    assert found.ratio > 5 * clean.ratio
    assert found.levels == pytest.approx(3, abs=0.5)


def test_gradients_blocks_and_broad_stripes_are_no_checkerboard():
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    assert checkerboard(ramp).levels < 0.05
    assert checkerboard(torch.full((1, 3, 64, 64), 0.3)).levels == 0
    # Nearest upsampling has nothing at all at the highest frequency.
    blocks = F.interpolate(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)), scale_factor=2)
    assert checkerboard(blocks).ratio < 0.1
    period_four = (0.5 + 0.2 * torch.sin(torch.arange(64) * math.pi / 2 + 0.4)).expand(1, 3, 64, 64)
    assert checkerboard(period_four).levels < 0.05


# -------------------------------------------------------------------------------------------------- the optimisation


class Distance:
    """A loss whose minimum is known: the mean squared distance to a colour."""

    def __init__(self, colour: float) -> None:
        self.colour = colour

    def content_targets(self, photos: torch.Tensor) -> torch.Tensor:
        return photos

    def __call__(self, images: torch.Tensor, content: torch.Tensor, style: dict[str, torch.Tensor]) -> LossTerms:
        distance = (images - self.colour).square().flatten(1).mean(1)
        return LossTerms(distance * 0, distance, distance * 0, distance)


@pytest.mark.parametrize(("method", "iterations"), [("lbfgs", 12), ("adam", 80)])
def test_optimisation_ends_at_the_nearest_picture(method, iterations):
    photos = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    # 1.5 lies beyond white; the clipped optimum is white, 0.5 away.
    problem = optimisation.Problem("test", Distance(1.5), {}, photos)
    trajectory = optimisation.optimise_all(problem, iterations, method, lambda line: None)
    assert trajectory.losses.shape == (iterations + 1, 2, 4)
    first = (photos - 1.5).square().flatten(1).mean(1)
    assert trajectory.losses[0, :, 3].tolist() == pytest.approx(first.tolist())
    assert trajectory.losses[-1, :, 3].tolist() == pytest.approx([0.25, 0.25], rel=1e-3)


def test_a_loss_that_is_not_finite_is_an_error():
    problem = optimisation.Problem("test", Distance(float("nan")), {}, torch.rand(1, 3, 8, 8))
    with pytest.raises(StylizeError, match="not finite"):
        optimisation.optimise_all(problem, 3, "lbfgs", lambda line: None)


@pytest.mark.parametrize(("loss", "iterations"), [(5.0, 0), (2.0, 2), (1.5, 4), (0.5, None)])
def test_a_network_equals_the_first_iteration_as_good_as_it(loss, iterations):
    assert optimisation.reached([4.0, 3.0, 2.0, 2.5, 1.0], loss) == iterations


# ------------------------------------------------------------------------------------------------- runs, all together

TINY = TransformerConfig(channels=(4, 8), residual_blocks=1, first_kernel=3, last_kernel=3)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark") / "photos"
    for seed in range(4):
        save_photo(folder / f"{seed}.png", 48, 40, seed)
    return folder


@pytest.fixture(scope="module")
def preset_run(photos):
    """Options of a finished run of presets.py, and its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(presets, "CANDIDATES", {"tiny": TINY})
        folder = photos.parent
        options = ["--candidates", "tiny", "--style", save_photo(folder / "test-painting.png", 64, 48, 9)]
        options += ["--photos", photos, "--runs", folder / "runs", "--output", folder / "results"]
        options += ["--pictures", photos / "1.png", "--picture-size", "48", "--timed-size", "32"]
        options += ["--steps", "2", "--batch-size", "1", "--image-size", "32", "--style-size", "32"]
        options = [str(option) for option in options]
        presets.main(options)
        yield options, folder


def test_presets_measures_every_candidate(preset_run):
    _, folder = preset_run
    results = json.loads((folder / "results" / "presets.json").read_text(encoding="utf-8"))
    row = results["candidates"]["tiny"]
    assert row["macs_per_pixel"] == macs_per_pixel(TransformerNet(TINY))
    assert row["parameters"] == TransformerNet(TINY).parameter_count
    assert row["ms"] > 0 and row["style"] > 0 and row["checkerboard_ratio"] > 0
    assert results["photo"]["content"] == 0
    assert results["settings"]["training_photos"] == 3 and results["held_out_photos"] == 1
    assert str(folder) not in json.dumps(results)
    with Image.open(folder / "results" / "presets.png") as picture:
        assert picture.width > 2 * 48 and picture.height > 2 * 48


def test_finished_runs_are_skipped_and_never_mixed(preset_run, capsys):
    options, folder = preset_run
    before = (folder / "runs" / "tiny.safetensors").read_bytes()
    presets.main(options)
    assert "tiny: finished before" in capsys.readouterr().out
    for changed in (["--steps", "3"], ["--seed", "1"], ["--style", str(save_photo(folder / "other.png", 64, 48, 3))]):
        with pytest.raises(InputError, match="was trained with another"):
            presets.main([*options, *changed])
    assert (folder / "runs" / "tiny.safetensors").read_bytes() == before


def test_an_unfinished_run_is_continued(preset_run, tmp_path, monkeypatch, capsys):
    options, _ = preset_run
    real, stopped = runs.train, []

    def interrupted(config, on_step, **settings):
        def stop(progress):
            on_step(progress)
            raise KeyboardInterrupt

        return real(config, on_step if stopped else stop, **settings)

    monkeypatch.setattr(runs, "train", interrupted)
    options = [*options, "--runs", str(tmp_path / "runs"), "--output", str(tmp_path)]
    with pytest.raises(StylizeError, match="resume"):
        presets.main(options)
    stopped.append(True)
    presets.main(options)
    assert "tiny: continues" in capsys.readouterr().out
    assert (tmp_path / "presets.md").exists()


def test_optimisation_measures_the_networks_it_is_given(preset_run, photos):
    _, folder = preset_run
    options = ["--weights", folder / "runs" / "tiny.safetensors", "--photos", photos, "--count", "2", "--size", "32"]
    options += ["--paintings", folder, "--iterations", "3", "--output", folder / "results"]
    optimisation.main([str(option) for option in options])
    results = json.loads((folder / "results" / "optimisation.json").read_text(encoding="utf-8"))
    (problem,) = results["problems"]
    assert problem["photo"]["content"] == 0
    assert problem["trajectory"]["0"] == problem["photo"]
    assert problem["optimised"]["total"] < problem["photo"]["total"]
    assert len(problem["mean_totals"]) == 4
    network = problem["networks"]["tiny"]
    assert network["total"] == pytest.approx(sum(network["totals"]) / 2, rel=1e-4)
    assert "3 iterations" in (folder / "results" / "optimisation.md").read_text(encoding="utf-8")


def test_optimisation_wants_the_painting_of_the_training(preset_run, tmp_path):
    _, folder = preset_run
    weights = str(folder / "runs" / "tiny.safetensors")
    with pytest.raises(InputError, match="--paintings"):
        optimisation.main(["--weights", weights])
    save_photo(tmp_path / "test-painting.png", 64, 48, 2)
    with pytest.raises(InputError, match="sha256 differs"):
        optimisation.main(["--weights", weights, "--paintings", str(tmp_path)])


def test_contact_sheet_shows_only_paintings_that_may_be_shown(preset_run, photos, tmp_path):
    _, folder = preset_run
    options = [folder / "test-painting.png", "--photos", photos, "--pictures", photos / "0.png", photos / "1.png"]
    options += ["--runs", tmp_path / "runs", "--steps", "1", "--batch-size", "1", "--image-size", "32", "--size", "40"]
    options += ["--output", tmp_path, "--sheet", tmp_path / "sheet.jpg"]
    options = [str(option) for option in options]
    widths = []
    for extra in ([], ["--with-paintings"]):
        contact_sheet.main([*options, *extra])
        with Image.open(tmp_path / "sheet.jpg") as picture:
            widths.append(picture.width)
    assert widths[1] - widths[0] == 40 + GAP
    results = json.loads((tmp_path / "contact_sheet.json").read_text(encoding="utf-8"))
    assert results["paintings"]["test-painting"]["photo_style"] > 0
    assert "| test-painting |" in (tmp_path / "contact_sheet.md").read_text(encoding="utf-8")


def test_contact_sheet_refuses_two_runs_of_one_name():
    with pytest.raises(InputError, match="same name"):
        contact_sheet.main(["a/picture.jpg", "b/picture.jpg"])


# -------------------------------------------------------------------------------------------------------- the record


def test_a_sheet_has_a_place_for_every_picture():
    red, blue = Image.new("RGB", (20, 20), (255, 0, 0)), Image.new("RGB", (60, 30), (0, 0, 255))
    drawn = sheet([("", [red, None]), ("", [None, blue])], ["", ""], 20)
    assert drawn.size == (GAP + 2 * (20 + GAP), 2 * GAP + 2 * (20 + GAP))
    assert drawn.getpixel((GAP + 10, 2 * GAP + 10)) == (255, 0, 0)
    assert drawn.getpixel((GAP + 20 + GAP + 10, 2 * GAP + 20 + GAP + 5)) == (0, 0, 255)
    assert drawn.getpixel((GAP + 20 + GAP + 10, 2 * GAP + 10)) == (255, 255, 255)


def test_the_facts_name_no_folder():
    facts = record.facts()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", facts["date"])
    assert facts["commit"] is None or re.fullmatch(r"[0-9a-f]{40,64}(\+changes)?", facts["commit"])
    assert facts["cpu"] and facts["threads"] >= 1
    assert str(Path.home()) not in json.dumps(facts)
    assert facts["torch"] in record.facts_line(facts)


def test_a_markdown_table_keeps_its_columns():
    assert record.table(["a", "b"], [["x|y", 1]], [1]) == "| a | b |\n|---|---:|\n| x\\|y | 1 |"


def test_errors_are_one_line(capsys):
    def fail() -> None:
        raise InputError("no such thing")

    with pytest.raises(SystemExit) as stopped:
        record.run(fail)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: no such thing\n"


def test_a_published_command_names_no_folder_of_this_machine():
    outside = "/somewhere/else/net.safetensors"
    assert record.shown_argument(outside) == "net.safetensors"
    assert record.shown_argument(f"wave={outside}") == "wave=net.safetensors"
    assert record.shown_argument(f"wave={record.ROOT}/weights/net.safetensors") == "wave=weights/net.safetensors"
    assert record.shown_argument("wave=weights/net.safetensors") == "wave=weights/net.safetensors"
    assert record.shown_argument("--steps=3") == "--steps=3"
