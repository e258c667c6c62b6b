"""No file makes stylize run code: the package has nothing that could, and planted code stays asleep in every kind."""

from __future__ import annotations

import ast
import io
import json
import pickle
import struct
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from stylize.checkpoints import load_network, read_training_state, read_weights_file
from stylize.cli import main
from stylize.errors import InputError, StylizeError
from stylize.images import read_picture
from stylize.run_log import RunLog
from stylize.style_choice import choose_style
from stylize.style_collections import read_collection, read_style_file
from stylize.vgg import load_loss_network
from stylize.video.sources import look_at
from stylize.video.work_folder import WorkFolder
from tests.helpers import ROOT, tiny_collection, tiny_style_file, tiny_weights
from tests.hostile_files import with_texts

PACKAGE = ROOT / "stylize"
SOURCES = sorted(PACKAGE.rglob("*.py"))

MODULES = frozenset(
    (
        "pickle",
        "cPickle",
        "_pickle",
        "dill",
        "cloudpickle",
        "joblib",
        "shelve",
        "marshal",
        "yaml",
        "code",
        "codeop",
        "runpy",
        "xmlrpc",
    )
)
"""Modules that make objects or code of what is in a file."""

CALLS = frozenset(("eval", "exec", "compile", "__import__", "input", "breakpoint"))
ATTRIBUTES = frozenset(
    (
        "os.system", "os.popen", "os.execv", "os.execvp", "os.spawnv", "os.spawnl", "os.startfile", "torch.jit.load",
        "torch.hub.load", "torch.compile_package", "torch.package.PackageImporter", "torch.ops.load_library",
        "ctypes.cdll.LoadLibrary", "subprocess.getoutput", "subprocess.getstatusoutput", "torch.serialization.load",
    )
)  # fmt: skip

ALLOWED = {
    # Names the errors of torch's restricted reader; nothing is unpickled with it.
    ("vgg.py", "import pickle"),
    # What a run hands to its own workers, over Ray, which pickles whatever it carries; nothing of a file is in it.
    ("bulk/ray_cluster.py", "import pickle"),
    # Names of packages, from tables in the code.
    ("__init__.py", "importlib.import_module(_HOMES[name])"),
    ("cli/__init__.py", "importlib.import_module(f'stylize.cli.{cmd_name}')"),
    ("image_reading.py", "importlib.import_module('pillow_heif')"),
    ("video/camera.py", "importlib.import_module('cv2')"),
    ("video/flow.py", "importlib.import_module('cv2')"),
    ("video/pyav.py", "importlib.import_module('av')"),
    # The C library, for one setting of its allocator.
    ("cli/allocator.py", "ctypes.CDLL(None)"),
}
"""What looks like the forbidden and is not; every entry must still be there."""

PROCESSES = {"engines/quantisation.py", "comparison/shared_runs.py"}
"""Modules that start another process: this Python, with a file of the package."""


def dangers(tree: ast.AST) -> Iterator[str]:
    """Yield what in a module could run code from a file, as source text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for name in names:
                if name.split(".")[0] in MODULES:
                    yield f"import {name}"
        if not isinstance(node, ast.Call):
            continue
        called, text = ast.unparse(node.func), ast.unparse(node)
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if called in CALLS or called in ATTRIBUTES:
            yield text
        if called.endswith("torch.load") and given.get("weights_only") != "True":
            yield text
        if called.endswith(("np.load", "numpy.load")) and given.get("allow_pickle", "False") != "False":
            yield text
        if called.endswith(("fromfile", "ndarray.load")) or called in ("ctypes.CDLL", "CDLL"):
            yield text
        if given.get("shell", "False") != "False":
            yield text
        if called.endswith("import_module"):
            yield text


DANGEROUS = """
import pickle
from yaml import load
eval(text)
torch.load(path)
torch.load(path, weights_only=False)
np.load(path, allow_pickle=True)
subprocess.run(command, shell=True)
importlib.import_module(header["module"])
os.system(name)
"""


def test_the_walk_sees_what_is_dangerous():
    assert len(list(dangers(ast.parse(DANGEROUS)))) == 9
    assert not list(dangers(ast.parse("torch.load(a, weights_only=True)\nnp.load(b)\nmodel.eval()\nre.compile(c)")))


def test_the_package_has_nothing_that_runs_code_from_a_file():
    found = {
        (path.relative_to(PACKAGE).as_posix(), danger)
        for path in SOURCES
        for danger in dangers(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == ALLOWED


def test_only_these_modules_start_a_process_and_never_through_a_shell():
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        and "subprocess" in (*(alias.name for alias in node.names), getattr(node, "module", None))
    }
    assert found == PROCESSES


# ----------------------------------------------------------------------------------------------------- planted payloads


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.write_text, (self.witness, "run")


@pytest.fixture
def witness(tmp_path, monkeypatch):
    """The file that the payload writes; processes are not started either."""
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    path = tmp_path / "witness"
    yield path
    assert not path.exists(), "the payload was run"


def pickled(witness: Path) -> list[bytes]:
    """Return the payload in every form in which a pickle can lie in a file."""
    plain = [pickle.dumps(Payload(witness), protocol) for protocol in range(6)]
    zipped = io.BytesIO()
    torch.save({"weights": Payload(witness)}, zipped)
    old = io.BytesIO()
    torch.save({"weights": Payload(witness)}, old, _use_new_zipfile_serialization=False)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as parts:
        parts.writestr("a.npy", b"\x93NUMPY\x01\0" + struct.pack("<H", 60) + b"{'descr': '|O', }".ljust(60) + plain[2])
    return [*plain, zipped.getvalue(), old.getvalue(), archive.getvalue()]


def test_the_payload_works(tmp_path):
    for number, content in enumerate(pickled(tmp_path / "seen")[:6]):
        pickle.loads(content)
        assert (tmp_path / "seen").exists(), number
        (tmp_path / "seen").unlink()


READERS: dict[str, Callable[[Path], object]] = {
    "picture.jpg": read_picture,
    "picture.tif": read_picture,
    "weights.safetensors": load_network,
    "collection.safetensors": read_collection,
    "style.safetensors": read_style_file,
    "state.safetensors": read_training_state,
    "network.onnx": choose_style,
    "loss.safetensors": lambda path: load_loss_network(str(path)),
    "loss.pth": lambda path: load_loss_network(str(path)),
    "loss.pt": lambda path: load_loss_network(str(path)),
    "clip.mp4": look_at,
    "clip.gif": look_at,
}


@pytest.mark.parametrize("name", READERS)
def test_a_pickle_under_any_name_is_refused_and_not_run(tmp_path, witness, name):
    for content in pickled(witness):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError):
            READERS[name](tmp_path / name)


def test_a_pickle_in_a_run_folder_is_nothing(tmp_path, witness):
    work = WorkFolder(tmp_path / "clip.mp4")
    work.path.mkdir()
    for content in pickled(witness):
        for name in ("work.json", "joined.json", "segment-00000.json"):
            (work.path / name).write_bytes(content)
        assert work.settings is None and work.segments() == [] and work.joined_facts() == {}
        log = tmp_path / "log.jsonl"
        log.write_bytes(content)
        assert RunLog(log).read() == []


CODE = "__import__('pathlib').Path({path!r}).write_text('run')"


@pytest.mark.parametrize("key", ["style", "preset", "licence", "painting", "metrics", "loss"])
@pytest.mark.parametrize(
    "form", ["{code}", "$({code})", "{{{{{code}}}}}", "!!python/object/apply:eval ['{code}']", "`{code}`"]
)
def test_code_in_metadata_is_text(tmp_path, witness, key, form):
    code = form.format(code=CODE.format(path=str(witness)))
    path = tiny_weights(tmp_path / "a.safetensors", **({key: code} if key != "style" else {"preset": code}))
    if key == "style":
        metadata = json.dumps(read_weights_file(path).metadata | {"style": code})
        with_texts(path, metadata=metadata)
    load_network(path)
    result = CliRunner().invoke(main, ["styles", str(path)])
    assert result.exit_code == 0, result.output


def test_code_in_a_collection_and_in_a_style_file_is_text(tmp_path, witness):
    code = CODE.format(path=str(witness))[:100]
    collection = tiny_collection(tmp_path / "a.safetensors", names=("first", code))
    style = tiny_style_file(tmp_path / "b.safetensors", collection, style="{first.__class__}")
    for path in (collection, style):
        result = CliRunner().invoke(main, ["styles", str(path)])
        assert result.exit_code == 0, result.output


def test_modules_named_in_an_architecture_are_not_imported(tmp_path, witness):
    path = tiny_weights(tmp_path / "a.safetensors")
    (tmp_path / "evil.py").write_text(CODE.format(path=str(witness)))
    for text in (
        '{"norm": "evil"}',
        '{"norm": "tests.evil:Norm"}',
        '{"_target_": "os.system"}',
        '{"__class__": "evil"}',
    ):
        with_texts(path, architecture=text)
        with pytest.raises(StylizeError):
            load_network(path)
