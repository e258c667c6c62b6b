"""The folder of a run: one process at a time owns it, and nothing is left of a start that failed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from stylize.checkpoints import read_training_state
from stylize.errors import InputError, OutputError, RunInUse, StylizeError, TrainingInterrupted
from stylize.run_folder import LOCK, RunFolder, output_path, run_folder
from stylize.training import train
from tests.helpers import ROOT, save_photo
from tests.training_helpers import logged_steps, make_material, tiny_run

HOLD = """
import sys, time
from stylize.config import TrainConfig
from stylize.run_folder import RunFolder

with RunFolder(TrainConfig(style="a.png", output=sys.argv[1]), resume=False, overwrite=True).owned():
    print("owned", flush=True)
    time.sleep(120)
"""


@contextmanager
def another_process(output: Path):
    """Let another process own the run of ``output``; yield the process."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(output)], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "owned\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return make_material(tmp_path_factory.mktemp("material"))


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out.safetensors"


def stop_at(step: int):
    def on_step(progress):
        if progress.step == step:
            raise KeyboardInterrupt

    return on_step


def interrupted(config, step: int = 3) -> Path:
    with pytest.raises(TrainingInterrupted):
        train(config, stop_at(step))
    return run_folder(output_path(config))


# ------------------------------------------------------------------------------------------------------------- the lock


def test_two_processes_cannot_train_one_output_and_a_kill_frees_it(material, output):
    config = tiny_run(material, output, steps=2)
    with another_process(output) as process:
        before = sorted(path.name for path in run_folder(output).iterdir())
        for overwrite in (False, True):
            with pytest.raises(RunInUse) as caught:
                train(config, overwrite=overwrite)
        message = str(caught.value)
        assert message == f"another process is training {output}; wait for it, stop it, or give another -o"
        assert isinstance(caught.value, OutputError) and not isinstance(caught.value, InputError)  # exit status 1
        assert sorted(path.name for path in run_folder(output).iterdir()) == before == [LOCK]
        assert not output.exists()
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (run_folder(output) / LOCK).exists()  # left behind, and of no consequence
        train(config)
    assert output.exists()


def test_other_outputs_are_free(material, output, tmp_path):
    with FileLock(run_folder_made(output) / LOCK):
        train(tiny_run(material, tmp_path / "other.safetensors", steps=1))


def run_folder_made(output: Path) -> Path:
    run_folder(output).mkdir(parents=True)
    return run_folder(output)


def test_an_unfinished_run_in_use_stays_as_it_is(material, output):
    config = tiny_run(material, output)
    folder = interrupted(config)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with FileLock(folder / LOCK):
        for how in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(RunInUse):
                train(config, **how)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    assert train(config, resume=True).resumed_at == 3


def test_the_lock_is_free_after_every_end(material, output):
    config = tiny_run(material, output, steps=2)
    interrupted(config, 1)
    with FileLock(run_folder(output) / LOCK, blocking=False):
        pass
    train(config, resume=True)
    with FileLock(run_folder(output) / LOCK, blocking=False):
        pass


def test_what_another_process_did_meanwhile_is_seen(material, output):
    """The run was free when it was first looked at; once it is owned, another has finished it."""
    config = tiny_run(material, output, steps=1)
    late = RunFolder(config, resume=False, overwrite=False)
    late.check()
    train(config)
    with pytest.raises(OutputError, match="exists already; pass --overwrite"), late.owned():
        pytest.fail("owned a finished run")
    resuming = RunFolder(config, resume=True, overwrite=False)
    with pytest.raises(InputError, match="nothing to resume: the run of .* is finished"), resuming.owned():
        pytest.fail("owned a finished run")
    assert run_folder(output).exists()


# ----------------------------------------------------------------------------------------------- starts that went wrong


def broken_photos(folder: Path) -> dict[str, Path]:
    for index in range(3):
        (folder / "bad").mkdir(exist_ok=True)
        (folder / "bad" / f"{index}.png").write_bytes(b"")
    return {"photos": folder / "bad", "validation": save_photo(folder / "held" / "good.png").parent}


def test_a_start_that_failed_leaves_no_folder(material, output, tmp_path):
    config = tiny_run(material, output, **broken_photos(tmp_path))
    with pytest.raises(InputError, match="none of the 3 training photos can be read"):
        train(config)
    assert not run_folder(output).exists() and not output.exists()


def test_a_start_that_failed_leaves_what_was_there(material, output, tmp_path):
    folder = interrupted(tiny_run(material, output))
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(InputError):
        train(tiny_run(material, output, **broken_photos(tmp_path)), overwrite=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_an_error_inside_an_owned_fresh_folder_removes_it_only_while_it_is_empty(output):
    config = tiny_run(Path("nowhere"), output)
    files = RunFolder(config, resume=False, overwrite=False)
    with pytest.raises(StylizeError), files.owned():
        raise StylizeError("early")
    assert not files.path.exists()
    with pytest.raises(StylizeError), files.owned():
        files.begin({"config": {}})
        raise StylizeError("late")
    assert sorted(path.name for path in files.path.iterdir()) == [LOCK, "log.jsonl"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(material, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="cannot write to .*out.run: Permission denied"):
        train(tiny_run(material, tmp_path / "locked" / "out.safetensors"))


def test_a_file_where_the_folder_should_be(material, output):
    run_folder(output).write_text("in the way")
    with pytest.raises(OutputError, match="cannot write to .*out.run"):
        train(tiny_run(material, output))
    assert run_folder(output).read_text() == "in the way"


# ------------------------------------------------------------------------------------------------ overwriting, resuming


def test_overwrite_clears_all_but_the_lock(material, output):
    folder = interrupted(tiny_run(material, output, validation_interval=1))
    (folder / "samples" / "deeper").mkdir()
    (folder / "notes.txt").write_text("old")
    assert (folder / "samples" / "step-000001.png").exists()
    inode = (folder / LOCK).stat().st_ino
    train(tiny_run(material, output, steps=2), overwrite=True)
    left = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert left == [LOCK, "log.jsonl", "samples/step-000002.png"]
    # Another process that waits for the lock waits for this very file.
    assert (folder / LOCK).stat().st_ino == inode
    assert logged_steps(output) == [1, 2]


def test_a_run_from_before_there_were_locks_is_resumed(material, output, tmp_path):
    config = tiny_run(material, output)
    folder = interrupted(config)
    (folder / LOCK).unlink()
    # Such a run knew no preparations and no limits either.
    state = folder / "checkpoint.safetensors"
    tensors, facts = read_training_state(state)
    for name in ("preparation", "preparation_weights", "photo_limit"):
        del facts["config"][name]
    from stylize.checkpoints import write_training_state

    write_training_state(state, tensors, facts)
    assert train(config, resume=True).resumed_at == 3
    whole = tmp_path / "whole.safetensors"
    train(tiny_run(material, whole))
    from safetensors.torch import load_file

    expected, found = load_file(str(whole)), load_file(str(output))
    assert all(bool((found[name] == tensor).all()) for name, tensor in expected.items())


def test_a_resumed_run_keeps_its_photo_limit(material, output):
    config = tiny_run(material, output, photo_limit=4)
    interrupted(config)
    with pytest.raises(InputError, match="has photo_limit 4, not 5; resume it as it is, or start anew"):
        train(tiny_run(material, output, photo_limit=5), resume=True)
    assert train(config, resume=True).resumed_at == 3


def test_a_folder_that_was_removed_by_hand(material, output):
    config = tiny_run(material, output)
    shutil.rmtree(interrupted(config))
    with pytest.raises(InputError, match="was never started, or stopped before its first checkpoint"):
        train(config, resume=True)
    assert not run_folder(output).exists()


def test_what_a_killed_process_left_half_written_is_removed(material, output):
    config = tiny_run(material, output, steps=2)
    interrupted(config, 1)
    folder = run_folder(output)
    (folder / "samples").mkdir(exist_ok=True)
    left = [
        folder / ".checkpoint.safetensors.0123abcd.tmp",
        folder / "samples" / ".stylize-0123456789abcdef.tmp",
        output.with_name(f".{output.name}.0123abcd.tmp"),
    ]
    others = [output.with_name(".mine.tmp"), output.with_name(f".x{output.name}.0123abcd.tmp"), folder / "notes.tmp"]
    for path in (*left, *others):
        path.write_bytes(b"half")
    train(config, resume=True)
    assert not [path for path in left if path.exists()]
    assert all(path.exists() for path in others)
