"""``hubconf.py``: torch.hub takes a checkout as it lies, whatever else is installed or in the current folder."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.helpers import ROOT, save_photo
from tests.test_packaging import lines_of, setup_cfg

LOAD = """
import sys
import torch

ROOT = sys.argv[1]
for name in ("click", "filelock", "tqdm", "matplotlib", "torchvision", "onnx"):
    sys.modules[name] = None  # painting needs none of them
stylizer = torch.hub.load(ROOT, "stylize", source="local", style="starry-night", norm="instance")
from PIL import Image
with Image.open("photo.png") as photo:
    painted = stylizer(photo)
assert painted.size == photo.size == (23, 17)
print(stylizer.style, stylizer.norm, stylizer.weights.path)

pictures = torch.rand(2, 3, 17, 23, generator=torch.Generator().manual_seed(0))
network = torch.hub.load(ROOT, "transformer", source="local", style="great-wave", norm="batch")
assert isinstance(network, torch.nn.Module) and not network.training
assert network(pictures).shape == pictures.shape
assert network.config.norm == "batch"
mixed = torch.hub.load(ROOT, "stylize", "great-wave:0.5,udnie:0.5", source="local", strength=0.5)
assert mixed.strength == 0.5 and mixed.style == "great-wave-50-udnie-50"

import importlib.util
specification = importlib.util.spec_from_file_location("hubconf", ROOT + "/hubconf.py")
hubconf = importlib.util.module_from_spec(specification)
specification.loader.exec_module(hubconf)
# As torch.hub.list finds them, which only looks on GitHub.
assert [n for n in dir(hubconf) if callable(getattr(hubconf, n)) and n[0] != "_"] == ["stylize", "transformer"]
for entry in (hubconf.stylize, hubconf.transformer):
    assert "Args:" in entry.__doc__ and "Returns:" in entry.__doc__ and "style:" in entry.__doc__
import stylize
print(stylize.__file__)
for wrong in ({"style": "stary-night"}, {"norm": "layer"}):
    try:
        torch.hub.load(ROOT, "transformer", source="local", **wrong)
    except ValueError as error:
        assert type(error).__name__ == "InputError"
        print(error)
"""

IMPORTED_BEFORE = """
import sys
import torch
import stylize
try:
    torch.hub.load(sys.argv[1], "stylize", source="local")
except ImportError as error:
    print(error)
"""


def run(code: str, cwd: Path, *, installed: Path | None = None) -> list[str]:
    """Run code in a process of its own that knows of no stylize but the one that is given; return its lines."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    if installed is not None:
        environment["PYTHONPATH"] = str(installed)
    command = [sys.executable, "-c", code, str(ROOT)]
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_a_bare_checkout_from_elsewhere(tmp_path: Path) -> None:
    save_photo(tmp_path / "photo.png", 23, 17)
    loaded, package, wrong_style, wrong_norm = run(LOAD, tmp_path)
    assert loaded == f"starry-night instance {ROOT / 'weights' / 'starry-night-instance.safetensors'}"
    assert Path(package) == ROOT / "stylize" / "__init__.py"
    assert wrong_style.startswith("unknown style 'stary-night'; did you mean 'starry-night'? (known: ")
    assert wrong_norm.startswith("style 'starry-night' is not shipped with layer norm, only with instance, batch")


def test_another_stylize_is_installed(tmp_path: Path) -> None:
    """One that is not imported yet is not in the way; one that is, is refused in one line."""
    save_photo(tmp_path / "here" / "photo.png", 23, 17)
    other = tmp_path / "site"
    shutil.copytree(ROOT / "stylize", other / "stylize", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "weights", other / "stylize" / "weights")
    assert run(LOAD, tmp_path / "here", installed=other)[1] == str(ROOT / "stylize" / "__init__.py")
    (line,) = run(IMPORTED_BEFORE, tmp_path / "here", installed=other)
    assert line.startswith(f"another package 'stylize' ({other / 'stylize'}) was imported before the one in {ROOT}; ")


def test_dependencies_are_among_those_of_the_package() -> None:
    tree = ast.parse((ROOT / "hubconf.py").read_text(encoding="utf-8"))
    (named,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "dependencies"
    )
    required = {line.split(">")[0] for line in lines_of(setup_cfg()["options"]["install_requires"])}
    assert {{"PIL": "pillow"}.get(name, name) for name in named} < required
