"""Training: it learns, repeats itself to the bit, survives interruption at any moment, and says what went wrong."""

from __future__ import annotations

import errno
import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from stylize import training
from stylize.checkpoints import load_network, read_training_state, read_weights_file
from stylize.config import IMAGE_SIZE_MINIMUM, LossConfig, TrainConfig
from stylize.data import find_photos, hold_out, load_square
from stylize.errors import (
    ImageError,
    InputError,
    OutputError,
    StylizeError,
    TrainingError,
    TrainingInterrupted,
    WeightsError,
)
from stylize.evaluation import Validator
from stylize.losses import PerceptualLoss
from stylize.run_folder import output_path, run_folder
from stylize.training import TrainProgress, learning_rate, train
from stylize.transformer import TransformerNet
from stylize.vgg import load_loss_network
from tests.helpers import run_python, save_photo, tiny_config
from tests.training_helpers import PHOTOS, TINY_LOSS, logged_steps, make_material, read_log, tiny_run


class Killed(BaseException):
    """Stands for the end of the process: nothing in the library may handle it."""


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return make_material(tmp_path_factory.mktemp("material"))


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out.safetensors"


@pytest.fixture(scope="module")
def finished(material, tmp_path_factory):
    """Uninterrupted runs by norm: the result, and every progress that was reported."""
    runs = {}
    for norm in ("instance", "batch"):
        path = tmp_path_factory.mktemp("finished") / f"{norm}.safetensors"
        reported: list[TrainProgress] = []
        config = tiny_run(material, path, norm=norm, validation_interval=3)
        runs[norm] = train(config, reported.append), reported
    return runs


def assert_same_weights(first: Path, second: Path) -> None:
    expected, found = load_file(str(first)), load_file(str(second))
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name


def stop_at(step: int, error: type[BaseException]):
    def on_step(progress: TrainProgress) -> None:
        if progress.step == step:
            raise error

    return on_step


def interrupted(config: TrainConfig, step: int) -> Path:
    """Run until ``step`` and return the folder of the unfinished run."""
    with pytest.raises(TrainingInterrupted):
        train(config, stop_at(step, KeyboardInterrupt))
    return run_folder(output_path(config))


# ------------------------------------------------------------------------------------------------------------- learning


def test_the_loss_falls(material, output):
    totals = []
    config = tiny_run(material, output, steps=30, learning_rate=0.01, weights_dtype="float16")
    result = train(config, lambda progress: totals.append(progress.losses["total"]))
    assert sum(totals[-5:]) < 0.5 * sum(totals[:5])
    assert result.validation.evaluation_mode.style < result.validation.photo.style
    assert all(math.isfinite(total) for total in totals)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(material, finished, output, tmp_path):
    reference = finished["instance"][0].path
    train(tiny_run(material, output))
    assert_same_weights(reference, output)
    train(tiny_run(material, tmp_path / "other.safetensors", seed=1))
    with pytest.raises(AssertionError):
        assert_same_weights(reference, tmp_path / "other.safetensors")


def test_learning_rate_by_hand():
    config = TrainConfig(style="", steps=10, warmup=1, learning_rate=0.004)
    # Step 0 has half of the warm-up; then 0.004 (1 + cos(pi step / 10)) / 2.
    by_hand = {0: 0.002, 1: 0.0039021130325903, 5: 0.002, 9: 0.0000978869674097}
    for step, expected in by_hand.items():
        assert learning_rate(config, step) == pytest.approx(expected, rel=1e-9), step
    without = replace(config, warmup=0)
    assert learning_rate(without, 0) == 0.004
    longer = replace(config, warmup=3)
    assert [learning_rate(longer, step) / learning_rate(without, step) for step in range(5)] == pytest.approx(
        [0.25, 0.5, 0.75, 1, 1]
    )


def test_the_learning_rate_is_the_one_that_adam_uses(material, output, monkeypatch):
    used = []
    step = torch.optim.Adam.step

    def spy(self, *arguments, **options):
        used.append(self.param_groups[0]["lr"])
        return step(self, *arguments, **options)

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    config = tiny_run(material, output, steps=3)
    train(config)
    assert used == [learning_rate(config, step) for step in range(3)]


# -------------------------------------------------------------------------------------------------- progress and result


def test_progress(finished):
    _, reported = finished["instance"]
    assert [progress.step for progress in reported] == [1, 2, 3, 4, 5, 6]
    assert {progress.steps for progress in reported} == {6}
    for progress in reported:
        losses = progress.losses
        weighted = losses["content"] + 5 * losses["style"] + 0.2 * losses["total_variation"]
        assert losses["total"] == pytest.approx(weighted, rel=1e-5)
        assert progress.photos_per_second > 0
    assert [progress.validation is not None for progress in reported] == [False, False, True, False, False, False]
    assert [progress.sample is not None for progress in reported] == [False, False, True, False, False, False]
    assert reported[-1].seconds_left == 0
    assert reported[0].seconds_left > 0


def test_result(finished):
    result, _ = finished["instance"]
    assert result.path.exists()
    assert result.unreadable == {}
    assert result.resumed_at == 0
    assert result.seconds > 0
    assert result.validation.photos == 1  # an eighth of ten photos
    network, weights = load_network(result.path)
    assert network(torch.rand(1, 3, 20, 24)).shape == (1, 3, 20, 24)
    assert weights.architecture == tiny_config()
    assert read_weights_file(result.path).metadata["metrics"] == json.loads(json.dumps(result.validation.to_json()))


def test_metadata_is_complete(finished):
    import hashlib

    result, _ = finished["batch"]
    metadata = read_weights_file(result.path).metadata
    fixed = {
        "style": "painting",
        "norm": "batch",
        "preset": "custom",
        "steps": 6,
        "batch_size": 2,
        "photo_steps": 12,
        "image_size": 32,
        "style_size": 32,
        "learning_rate": 0.001,
        "seed": 0,
        "device": "cpu",
        "precision": "float32",
        "torch": torch.__version__,
        "training_photos": PHOTOS - 1,
        "licence": None,
    }
    assert {name: metadata.get(name) for name in fixed} == fixed
    assert metadata["parameters"] == TransformerNet(tiny_config("batch")).parameter_count
    assert LossConfig(**metadata["loss"]) == TINY_LOSS
    painting = result.path.parent.parent / "material0" / "painting.png"
    assert metadata["painting"]["file"] == "painting.png"
    assert metadata["painting"]["sha256"] == hashlib.sha256(painting.read_bytes()).hexdigest()
    assert metadata["seconds"] >= 0
    assert set(metadata["metrics"]) == {"evaluation_mode", "training_mode", "photo", "contrast_change", "photos"}


def test_what_is_known_of_the_painting_is_written_down(material, tmp_path):
    painting = tmp_path / "painting.png"
    painting.write_bytes((material / "painting.png").read_bytes())
    plain = training.painting_facts(painting)
    assert set(plain) == {"file", "sha256"}
    entry = {"title": "A", "artist": "B", "sha256": plain["sha256"]}
    sources = tmp_path / "SOURCES.json"
    sources.write_text(json.dumps({"painting": entry}))
    assert training.painting_facts(painting) == entry | {"file": "painting.png"}
    for text in (json.dumps({"painting": entry | {"sha256": "0"}}), json.dumps({"painting": 5}), "[]", "{"):
        sources.write_text(text)
        assert training.painting_facts(painting) == plain


def test_log_and_samples_stay_and_the_checkpoint_goes(finished):
    for norm in ("instance", "batch"):
        result, reported = finished[norm]
        folder = run_folder(result.path)
        assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
            ".lock",
            "log.jsonl",
            "samples/step-000003.png",
            "samples/step-000006.png",
        ]
        assert reported[2].sample == folder / "samples" / "step-000003.png"
        with Image.open(folder / "samples" / "step-000006.png") as sample:
            sample.load()
            assert sample.size == (32, 32)  # one held-out photo
        rows = read_log(result.path)
        assert TrainConfig.from_json(rows[0]["config"]).architecture == tiny_config()
        assert logged_steps(result.path) == [1, 2, 3, 4, 5, 6]
        assert [row["step"] for row in rows if "validation" in row] == [3]
        assert rows[-1]["final"] == json.loads(json.dumps(result.validation.to_json()))
        for row, progress in zip(rows[1:-1], reported, strict=True):
            assert {name: row[name] for name in progress.losses} == progress.losses


# ----------------------------------------------------------------------------------------------------------- validation


def test_instance_norm_is_one_network_in_both_modes_and_blind_to_contrast(finished):
    result, reported = finished["instance"]
    for validation in (reported[2].validation, result.validation):
        assert validation.evaluation_mode == validation.training_mode
        assert 255 * validation.contrast_change < 0.25


def test_batch_norm_is_not(finished):
    result, reported = finished["batch"]
    blind = finished["instance"][0].validation.contrast_change
    for validation in (reported[2].validation, result.validation):
        assert validation.evaluation_mode.style != pytest.approx(validation.training_mode.style, rel=0.01)
        assert validation.contrast_change > 8 * blind


def test_validation_does_not_change_what_is_learned(material, finished, output):
    train(tiny_run(material, output, norm="batch", validation_interval=1, checkpoint_interval=100))
    assert_same_weights(finished["batch"][0].path, output)


def measured(path: Path, config: TrainConfig):
    """Measure a weights file on the held-out photos of a run, apart from the training loop."""
    loss_network = load_loss_network(last="relu2_1").to(memory_format=torch.channels_last)
    loss = PerceptualLoss(loss_network, config.loss)
    _, held_out = hold_out(find_photos(Path(config.photos), 1, ""), config.seed, config.validation_photos)
    batch = torch.cat([load_square(photo, config.image_size) for photo in held_out])
    style = loss.style_targets(training.load_painting(config.style, config.style_size))
    return Validator([batch], loss, style)(load_network(path)[0])


def test_metrics_describe_the_rounded_weights_of_the_file(material, finished, output):
    config = tiny_run(material, output, norm="batch", weights_dtype="float16")
    result = train(config)
    assert measured(output, config) == result.validation
    exact = load_file(str(finished["batch"][0].path))
    assert all(torch.equal(tensor, exact[name].to(tensor.dtype)) for name, tensor in load_file(str(output)).items())
    assert result.validation != finished["batch"][0].validation


def test_bfloat16_is_measured_in_float32(material, output):
    config = tiny_run(material, output, precision="bfloat16")
    result = train(config)
    assert read_weights_file(output).metadata["precision"] == "bfloat16"
    assert measured(output, config) == result.validation


def test_a_folder_of_held_out_photos(material, output, tmp_path):
    for index in range(5):
        save_photo(tmp_path / "held" / f"{index}.png", 50, 40, seed=100 + index)
    config = tiny_run(material, output, validation=tmp_path / "held", validation_photos=3, steps=1)
    result = train(config)
    assert result.validation.photos == 3
    assert read_weights_file(output).metadata["training_photos"] == PHOTOS
    with Image.open(run_folder(output) / "samples" / "step-000001.png") as sample:
        assert sample.size == (3 * 32, 32)


def test_unreadable_photos_are_counted_and_named(material, output, tmp_path):
    folder = make_material(tmp_path, photos=3)
    (tmp_path / "photos" / "empty.jpg").write_bytes(b"")
    (tmp_path / "photos" / "text.png").write_text("no picture")
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    save_photo(tmp_path / "held" / "good.png")
    config = tiny_run(folder, output, validation=tmp_path / "held", steps=4)
    interrupted(config, 3)
    result = train(config, resume=True)
    assert {path.name for path in result.unreadable} == {"empty.jpg", "text.png", "broken.png"}
    assert all(path.name in reason for path, reason in result.unreadable.items())
    assert result.validation.photos == 1


# ---------------------------------------------------------------------------------------------- interrupted and resumed


@pytest.mark.parametrize(("norm", "step"), [("instance", 1), ("batch", 3), ("batch", 6)])
def test_ctrl_c_saves_and_the_resumed_run_ends_in_the_same_weights(material, finished, output, norm, step):
    config = tiny_run(material, output, norm=norm, checkpoint_interval=100, validation_interval=3)
    with pytest.raises(TrainingInterrupted, match=f"stopped after step {step} of 6 and saved; .* --resume"):
        train(config, stop_at(step, KeyboardInterrupt))
    assert not output.exists()
    result = train(config, resume=True)
    assert result.resumed_at == step
    assert_same_weights(finished[norm][0].path, output)
    assert result.validation == finished[norm][0].validation
    assert logged_steps(output) == [1, 2, 3, 4, 5, 6]
    assert not (run_folder(output) / "checkpoint.safetensors").exists()


@pytest.mark.parametrize(("interval", "step", "at"), [(1, 4, 3), (2, 4, 2), (2, 5, 4), (100, 5, 0)])
def test_killed_between_steps(material, finished, output, interval, step, at):
    """A step is logged before it can be saved, so the process may die between the two, or in a line of the log."""
    config = tiny_run(material, output, norm="batch", checkpoint_interval=interval)
    with pytest.raises(Killed):
        train(config, stop_at(step, Killed))
    with open(run_folder(output) / "log.jsonl", "a", encoding="utf-8") as log:
        log.write('{"step": 6, "cont')
    result = train(config, resume=True)
    assert result.resumed_at == at
    assert_same_weights(finished["batch"][0].path, output)
    assert logged_steps(output) == [1, 2, 3, 4, 5, 6]


def test_killed_after_the_weights_were_written(material, finished, output, monkeypatch):
    config = tiny_run(material, output)
    append = training._Run._append_log

    def killed(self, row):
        append(self, row)
        if "final" in row:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(training._Run, "_append_log", killed)
        with pytest.raises(Killed):
            train(config)
    assert output.exists()
    result = train(config, resume=True)
    assert result.resumed_at == 6
    assert_same_weights(finished["instance"][0].path, output)
    rows = read_log(output)
    assert [row["step"] for row in rows if "final" in row] == [6]
    assert logged_steps(output) == [1, 2, 3, 4, 5, 6]


def test_interrupted_twice(material, finished, output):
    config = tiny_run(material, output, norm="batch", checkpoint_interval=100)
    interrupted(config, 2)
    with pytest.raises(TrainingInterrupted):
        train(config, stop_at(5, KeyboardInterrupt), resume=True)
    seconds = read_training_state(run_folder(output) / "checkpoint.safetensors")[1]["seconds"]
    result = train(config, resume=True)
    assert result.resumed_at == 5
    assert result.seconds > seconds
    assert_same_weights(finished["batch"][0].path, output)


KILLING = """
import json, os, signal, sys, time, warnings
from dataclasses import replace
from pathlib import Path

from stylize.run_folder import run_folder
from stylize.training import train
from tests.training_helpers import logged_steps, tiny_run

material, folder = Path(sys.argv[1]), Path(sys.argv[2])


def in_a_process(config, resume, pause):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of others do not matter before any training
        child = os.fork()
    if child == 0:
        status = 1
        try:
            result = train(config, lambda progress: time.sleep(pause), resume=resume)
            status = 10 + result.resumed_at
        finally:
            sys.stderr.flush()
            os._exit(status)
    return child


def lines(config):
    try:
        return len((run_folder(config.output) / "log.jsonl").read_bytes().splitlines())
    except FileNotFoundError:
        return 0


# The run that nobody kills is made here too: this program has one thread, and sums depend on the number of threads.
os.waitpid(in_a_process(tiny_run(material, folder / "whole.safetensors", norm="batch"), False, 0), 0)
for number, (interval, wanted, delay) in enumerate(json.loads(sys.argv[3])):
    config = tiny_run(
        material, folder / f"{number}.safetensors", norm="batch", checkpoint_interval=interval, validation_interval=3
    )
    child = in_a_process(config, False, 0.02)
    until = time.monotonic() + 60
    while lines(config) < wanted and time.monotonic() < until:
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status)
    _, status = os.waitpid(in_a_process(config, True, 0), 0)
    print(json.dumps([killed, os.waitstatus_to_exitcode(status) - 10, logged_steps(config.output)]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes that it forked")
def test_sigkill_at_several_moments(material, tmp_path):
    """Real processes, killed when the log has so many lines (the first is the settings) and some milliseconds more."""
    moments = [(1, 2, 0), (1, 4, 0.004), (1, 5, 0.013), (2, 6, 0.001)]
    result = run_python("-c", KILLING, str(material), str(tmp_path), json.dumps(moments), timeout=400)
    assert result.stderr == ""
    outcomes = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(outcomes) == len(moments)
    for number, ((interval, lines, _), (killed, resumed_at, steps)) in enumerate(zip(moments, outcomes, strict=True)):
        assert killed
        assert 0 <= resumed_at < 6
        assert resumed_at % interval == 0
        assert resumed_at >= lines - 1 - interval
        assert steps == [1, 2, 3, 4, 5, 6]
        assert_same_weights(tmp_path / "whole.safetensors", tmp_path / f"{number}.safetensors")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": 7}, "has steps 6, not 7"),
        ({"learning_rate": 0.002}, "has learning_rate 0.001, not 0.002"),
        ({"norm": "batch"}, "has norm 'instance', not 'batch'"),
        ({"seed": 5}, "has seed 0, not 5"),
        ({"batch_size": 3}, "has batch_size 2, not 3"),
        ({"loss": replace(TINY_LOSS, style_strength=2)}, "has style_strength 1.0, not 2"),
        ({"loss": replace(TINY_LOSS, style_layers=("relu1_1", "relu1_2"))}, "has style_layers "),
        ({"architecture": tiny_config(residual_blocks=2)}, "has architecture "),
    ],
    ids=str,
)
def test_resume_with_other_settings(stopped, changes, said):
    config, folder = stopped
    before = (folder / "checkpoint.safetensors").read_bytes()
    with pytest.raises(InputError, match=f"the unfinished run of .* {re.escape(said)}"):
        train(replace(config, **changes), resume=True)
    assert (folder / "checkpoint.safetensors").read_bytes() == before


@pytest.fixture(scope="module")
def stopped(material, tmp_path_factory):
    """An unfinished run that no test may change: its settings and its folder."""
    config = tiny_run(material, tmp_path_factory.mktemp("stopped") / "out.safetensors")
    return config, interrupted(config, 1)


def test_resume_with_settings_that_do_not_matter(material, finished, output):
    config = tiny_run(material, output, norm="batch")
    interrupted(config, 1)
    changed = replace(config, checkpoint_interval=1, validation_interval=2, weights_dtype="float16", licence="CC0-1.0")
    train(changed, resume=True)
    assert read_weights_file(output).metadata["licence"] == "CC0-1.0"
    exact = load_file(str(finished["batch"][0].path))
    assert all(torch.equal(tensor, exact[name].to(tensor.dtype)) for name, tensor in load_file(str(output)).items())


def test_resume_after_the_photos_or_the_painting_changed(output, tmp_path):
    material = make_material(tmp_path)
    config = tiny_run(material, output)
    interrupted(config, 1)
    extra = save_photo(tmp_path / "photos" / "new.png")
    with pytest.raises(InputError, match="the training photos are not those"):
        train(config, resume=True)
    extra.unlink()
    save_photo(tmp_path / "painting.png", 48, 40, seed=1)
    with pytest.raises(InputError, match="the painting .* was changed after the run"):
        train(config, resume=True)


def test_nothing_to_resume(material, finished, output):
    with pytest.raises(InputError, match="nothing to resume: the run of .* was never started"):
        train(tiny_run(material, output), resume=True)
    assert not list(output.parent.iterdir())
    with pytest.raises(InputError, match="nothing to resume: the run of .* is finished"):
        train(tiny_run(material, finished["instance"][0].path), resume=True)


@pytest.mark.parametrize("damage", ["empty", "truncated", "pickle", "facts", "tensors"])
def test_resume_from_a_damaged_checkpoint(stopped, tmp_path, damage):
    import shutil

    from stylize.checkpoints import write_training_state

    config, folder = stopped
    config = replace(config, output=tmp_path / "out.safetensors")
    shutil.copytree(folder, tmp_path / "out.run")
    checkpoint = tmp_path / "out.run" / "checkpoint.safetensors"
    tensors, facts = read_training_state(checkpoint)
    content = checkpoint.read_bytes()
    if damage == "facts":
        write_training_state(checkpoint, tensors, facts | {"config": facts["config"] | {"new setting": 1}})
    elif damage == "tensors":
        write_training_state(checkpoint, {name: t for name, t in tensors.items() if "conv2" not in name}, facts)
    else:
        checkpoint.write_bytes({"empty": b"", "truncated": content[:-9], "pickle": b"PK\3\4" + bytes(40)}[damage])
    before = checkpoint.read_bytes()
    with pytest.raises(WeightsError, match="checkpoint.safetensors"):
        train(config, resume=True)
    assert checkpoint.read_bytes() == before


def test_samples_beside_the_photos_are_no_photos(tmp_path):
    """PHOTOS is the folder that the run is written to: its samples must not join in when it is resumed."""
    material = make_material(tmp_path)
    config = tiny_run(material, tmp_path / "photos" / "out.safetensors", validation_interval=1, steps=3)
    folder = interrupted(config, 2)
    assert list((folder / "samples").iterdir())
    assert train(config, resume=True).resumed_at == 2
    assert read_weights_file(config.output).metadata["training_photos"] == PHOTOS - 1


def test_file_names_that_are_no_unicode(tmp_path, output):
    material = make_material(tmp_path, photos=2)
    name = os.fsdecode(b"caf\xe9-")
    try:
        for index in range(2):
            save_photo(tmp_path / "photos" / f"{name}{index}.png", seed=index)
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    config = tiny_run(material, output, steps=2)
    interrupted(config, 1)
    assert train(config, resume=True).path == output


# ----------------------------------------------------------------------------------------------- existing and overwrite


def test_an_unfinished_run_is_not_lost(stopped):
    config, folder = stopped
    before = (folder / "checkpoint.safetensors").read_bytes()
    with pytest.raises(OutputError, match="unfinished run in .*; pass --resume to continue it, --overwrite to start"):
        train(config)
    assert (folder / "checkpoint.safetensors").read_bytes() == before


def test_a_finished_network_is_not_lost(material, finished):
    path = finished["instance"][0].path
    before = path.read_bytes()
    with pytest.raises(OutputError, match="exists already; pass --overwrite or another -o"):
        train(tiny_run(material, path))
    assert path.read_bytes() == before


def test_overwrite_keeps_the_old_network_until_the_new_one_is_finished(material, output):
    train(tiny_run(material, output, steps=1))
    before = output.read_bytes()
    config = tiny_run(material, output, steps=2, seed=1)
    with pytest.raises(TrainingInterrupted):
        train(config, stop_at(1, KeyboardInterrupt), overwrite=True)
    assert output.read_bytes() == before
    train(config, resume=True)
    assert read_weights_file(output).metadata["seed"] == 1
    assert output.read_bytes() != before
    assert logged_steps(output) == [1, 2]


@pytest.mark.parametrize(
    "change",
    [
        {"loss": replace(TINY_LOSS, loss_network="missing.safetensors")},
        {"loss": replace(TINY_LOSS, content_layer="relu9_9")},
        {"style": "missing.png"},
        {"photos": "missing"},
        {"device": "quantum"},
    ],
    ids=str,
)
def test_overwrite_with_a_mistake_loses_nothing(stopped, change):
    config, folder = stopped
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(InputError):
        train(replace(config, **change), overwrite=True)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_output_that_is_a_folder(material, output):
    output.mkdir()
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="is a folder; give a file name"):
            train(tiny_run(material, output), overwrite=overwrite)


def test_output_name():
    assert output_path(TrainConfig(style="art/night.v2.jpg", norm="batch")) == Path("night.v2-batch.safetensors")
    assert output_path(TrainConfig(style="a.jpg", output="x/y.safetensors")) == Path("x/y.safetensors")
    for name in ("x.pth", "x", "x.safetensors.gz", ".safetensors"):
        with pytest.raises(InputError, match="a name that ends in .safetensors is accepted"):
            output_path(TrainConfig(style="a.jpg", output=name))
    assert run_folder(Path("x/y.safetensors")) == Path("x/y.run")


# ------------------------------------------------------------------------------------------------------------- failures


def at_step(monkeypatch, step, change):
    """Call ``change(run, original, photos, rate)`` in place of the computation of one step."""
    original = training._Run._step

    def changed(self, photos, rate):
        if self.step + 1 == step:
            return change(self, original, photos, rate)
        return original(self, photos, rate)

    monkeypatch.setattr(training._Run, "_step", changed)


def test_a_loss_that_is_not_finite(material, finished, output):
    config = tiny_run(material, output, checkpoint_interval=2)
    with pytest.MonkeyPatch.context() as patched:
        at_step(patched, 4, lambda run, step, photos, rate: step(run, photos * math.nan, rate))
        with pytest.raises(TrainingError, match="the loss is nan at step 4; the checkpoint of step 2 is") as caught:
            train(config)
    assert "--learning-rate" in str(caught.value)
    assert not isinstance(caught.value, TrainingInterrupted)
    assert not output.exists()
    tensors, facts = read_training_state(run_folder(output) / "checkpoint.safetensors")
    assert facts["step"] == 2
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())
    assert train(config, resume=True).resumed_at == 2
    assert_same_weights(finished["instance"][0].path, output)


@pytest.mark.parametrize("step", [3, 6])
def test_weights_that_are_not_finite_are_never_saved(material, finished, output, step):
    """A gradient that is not finite spoils the weights while the loss of that step is still fine."""

    def spoil(run, original, photos, rate):
        losses = original(run, photos, rate)
        with torch.no_grad():
            run.network.trunk[0].conv1.conv.weight[0, 0, 0, 0] = math.inf
        return losses

    config = tiny_run(material, output, checkpoint_interval=1)
    with pytest.MonkeyPatch.context() as patched:
        at_step(patched, step, spoil)
        with pytest.raises(TrainingError, match=f"not finite after step {step}; the checkpoint of step {step - 1} is"):
            train(config)
    assert not output.exists()
    assert train(config, resume=True).resumed_at == step - 1
    assert_same_weights(finished["instance"][0].path, output)


def test_weights_beyond_float16_are_not_written_as_infinity(material, output):
    def enlarge(run, original, photos, rate):
        losses = original(run, photos, rate)
        with torch.no_grad():
            run.network.encoder[1].running_var[0] = 1e5
        return losses

    config = tiny_run(material, output, norm="batch", weights_dtype="float16")
    with pytest.MonkeyPatch.context() as patched:
        at_step(patched, 6, enlarge)
        with pytest.raises(TrainingError, match="do not fit into float16; add --resume --weights-dtype float32"):
            train(config)
    assert not output.exists()
    train(replace(config, weights_dtype="float32"), resume=True)
    assert load_network(output)[0].state_dict()["encoder.1.running_var"][0] == 1e5


@pytest.mark.parametrize(
    "error",
    [RuntimeError("DefaultCPUAllocator: can't allocate memory"), RuntimeError("CUDA out of memory."), MemoryError()],
    ids=["cpu", "cuda", "python"],
)
def test_out_of_memory(material, output, monkeypatch, error):
    def fail(*arguments):
        raise error

    at_step(monkeypatch, 1, fail)
    with pytest.raises(StylizeError, match="not enough memory on cpu for batches of 2 photos of 32 px; lower --batch"):
        train(tiny_run(material, output))


def test_other_errors_are_not_called_something_else(material, output, monkeypatch):
    def broken_pipe(progress):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        train(tiny_run(material, output), broken_pipe)

    def fail(*arguments):
        raise RuntimeError("a defect")

    at_step(monkeypatch, 1, fail)
    with pytest.raises(RuntimeError, match="a defect"):
        train(tiny_run(material, output), overwrite=True)


def full_disk_after(patched, writes):
    """Let so many files be written, then fill the disk."""
    left = [writes]
    original = os.fsync

    def fsync(descriptor):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(descriptor)

    patched.setattr(os, "fsync", fsync)


def test_a_full_disk_at_the_start_leaves_nothing(material, output):
    for writes in (0, 1):
        with pytest.MonkeyPatch.context() as patched:
            full_disk_after(patched, writes)
            with pytest.raises(OutputError, match="cannot write .*: the disk is full"):
                train(tiny_run(material, output))
        assert not list(output.parent.iterdir())


def test_a_full_disk_later_keeps_the_last_checkpoint(material, finished, output):
    config = tiny_run(material, output, checkpoint_interval=1)
    with pytest.MonkeyPatch.context() as patched:
        full_disk_after(patched, 5)  # the log, the checkpoints of steps 0 to 3
        with pytest.raises(OutputError, match="the disk is full; what was there is unchanged"):
            train(config)
    assert train(config, resume=True).resumed_at == 3
    assert_same_weights(finished["instance"][0].path, output)


def test_a_full_disk_at_the_very_end_keeps_the_run(material, finished, output):
    config = tiny_run(material, output, checkpoint_interval=100)
    with pytest.MonkeyPatch.context() as patched:
        full_disk_after(patched, 3)  # the log, the checkpoints of steps 0 and 6; then the weights
        with pytest.raises(OutputError, match="cannot write .*out.safetensors: the disk is full"):
            train(config)
    assert not output.exists()
    assert train(config, resume=True).resumed_at == 6
    assert_same_weights(finished["instance"][0].path, output)


def test_a_log_that_cannot_be_written(material, output, monkeypatch):
    def no_space(progress):
        log = run_folder(output) / "log.jsonl"
        log.unlink()
        log.mkdir()

    with pytest.raises(OutputError, match="cannot write to .*out.run: Is a directory"):
        train(tiny_run(material, output), no_space)


def test_an_output_below_a_file(material, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="cannot write to"):
        train(tiny_run(material, tmp_path / "file" / "out.safetensors"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


# ------------------------------------------------------------------------------------------------------------ bad input


def bad_painting(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.png"
    if kind == "zero-bytes":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is no picture")
    elif kind == "truncated":
        whole = save_photo(path, 200, 200).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind != "missing":
        save_photo(path, *{"1x1": (1, 1), "31x400": (31, 400), "700x40": (700, 40)}[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "no such file"),
        ("zero-bytes", "empty"),
        ("text", "no picture"),
        ("truncated", "truncated"),
        ("1x1", "is 1x1 pixels; at least 32 on the short side"),
        ("31x400", "is 31x400 pixels; at least 32 on the short side"),
        ("700x40", "crop it to at most 16:1"),
    ],
)
def test_bad_paintings(material, tmp_path, kind, said):
    path = bad_painting(tmp_path, kind)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=said) as caught:
        train(tiny_run(material, tmp_path / "out.safetensors", style=path))
    assert isinstance(caught.value, ImageError) == (kind in ("missing", "zero-bytes", "text", "truncated"))
    assert path.name in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_photos_of_which_none_can_be_read(material, tmp_path):
    for index in range(8):
        (tmp_path / "bad").mkdir(exist_ok=True)
        (tmp_path / "bad" / f"{index}.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(InputError, match="none of the 1 held-out photos can be read; the first: "):
        train(tiny_run(material, tmp_path / "out.safetensors", photos=tmp_path / "bad"))
    good = material / "photos"
    with pytest.raises(InputError, match="none of the 8 training photos can be read; the first: "):
        train(tiny_run(material, tmp_path / "out.safetensors", photos=tmp_path / "bad", validation=good))
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("size", [IMAGE_SIZE_MINIMUM - 1, 0, 32.0, True])
def test_sizes_below_the_minimum(size):
    with pytest.raises(InputError, match="image_size is .* whole number, 32 or more"):
        TrainConfig(style="a.jpg", image_size=size)


def test_the_smallest_crops_serve_the_default_layers(material, output):
    """relu4_1 has 4 positions of a crop of 32; the presets and default loss must not fail on it."""
    config = tiny_run(material, output, steps=1, loss=LossConfig(), architecture=None)
    assert math.isfinite(train(config).validation.evaluation_mode.total)
    assert read_weights_file(output).metadata["preset"] == "fast"
