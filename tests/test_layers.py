"""The promises of the architecture: layers, light imports, and what the library never does."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

import stylize
from stylize.cli import COMMANDS
from tests.helpers import ROOT, run_python, save_photo, tiny_weights

PACKAGE = ROOT / "stylize"

IMAGE_MODULES = (
    "image_errors", "image_directories", "image_limits", "image_exif", "image_colour", "image_folders", "image_reading",
    "image_writing",
)  # fmt: skip
"""What stands behind the door ``stylize.images``."""

TILE_MODULES = (
    "rows", "passes", "pixel_blocks", "encoding", "store", "features", "stages", "sources", "chain", "plan", "painting",
    "__init__",
)  # fmt: skip
"""What stands behind the door ``stylize.tiles``, from the bottom: each may import those before it."""

LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "config", "architectures", "train_config", "network_size", "plain_json"),
    (
        "images",
        *IMAGE_MODULES,
        "controls",
        "devices",
        "norms",
        "network_norms",
        "overlap",
        "resources",
        "provenance",
        "reduction",
        "guided_filter",
        "launch",
        "weights_header",
    ),
    (
        "transformer",
        "conditional_norms",
        "applied_norms",
        "vgg",
        "losses",
        "data",
        "preparation",
        "owned_folder",
        "distributed",
    ),
    (
        "checkpoints",
        "zoo",
        "style_vectors",
        "style_collections",
        "colour_preservation",
        "masks",
        "evaluation",
        "paintings",
        "run_log",
        "run_folder",
        "program",
        "strips",
        "synchronised_norms",
    ),
    (
        "engines",
        "tiles",
        "training",
        "training_photos",
        "training_results",
        "training_state",
        "training_progress",
        "learned_styles",
        "initial_weights",
        "panels",
        "style_sheet",
        "stroke_size",
        "style_mixtures",
        "finishing",
        "scaled_painting",
        "lightness_matching",
        "model_cards",
    ),
    (
        "stylizer",
        "repainting",
        "palette",
        "default_styles",
        "style_choice",
        "speed_turns",
        "speed_ceilings",
        "speed_plan",
        "speed_test",
        "exporting",
        "model_folders",
        "large_pictures",
    ),
    ("bulk", "comparison", "video", "web"),
    ("cli",),
    ("__init__", "__main__"),
)
"""The modules of each layer, from the bottom; a module imports only from the layers below its own."""

BESIDE = {
    ("config", "architectures"),
    ("config", "train_config"),
    ("architectures", "errors"),
    ("architectures", "network_size"),
    ("train_config", "architectures"),
    ("train_config", "errors"),
    ("network_norms", "norms"),
    ("plain_json", "errors"),
    ("losses", "vgg"),
    ("transformer", "conditional_norms"),
    ("style_collections", "checkpoints"),
    ("style_collections", "style_vectors"),
    ("zoo", "checkpoints"),
    ("zoo", "style_collections"),
    ("run_log", "checkpoints"),
    ("run_folder", "checkpoints"),
    ("run_folder", "run_log"),
    ("training", "training_photos"),
    ("training", "training_results"),
    ("training", "training_state"),
    ("training", "training_progress"),
    ("training_progress", "learned_styles"),
    ("training", "learned_styles"),
    ("training", "initial_weights"),
    ("training_results", "learned_styles"),
    ("stylizer", "style_choice"),
    ("exporting", "style_choice"),
    ("speed_ceilings", "speed_turns"),
    ("speed_test", "speed_turns"),
    ("speed_test", "speed_ceilings"),
    ("speed_test", "speed_plan"),
    ("model_folders", "style_choice"),
    ("speed_test", "style_choice"),
    ("large_pictures", "stylizer"),
    ("style_sheet", "panels"),
    ("scaled_painting", "stroke_size"),
    ("lightness_matching", "stroke_size"),
    ("palette", "style_choice"),
    ("default_styles", "style_choice"),
    ("repainting", "palette"),
    ("repainting", "style_choice"),
    ("stylizer", "repainting"),
    ("stylizer", "palette"),
    ("stylizer", "default_styles"),
}
BESIDE |= {(name, "image_errors") for name in IMAGE_MODULES[1:]}
BESIDE |= {("image_limits", "image_directories"), ("image_exif", "image_directories")}
BESIDE |= {("image_colour", "image_limits"), ("image_reading", "image_limits")}
BESIDE |= {("image_reading", "image_colour"), ("image_reading", "image_exif"), ("image_writing", "image_colour")}
BESIDE |= {
    ("images", name)
    for name in ("image_colour", "image_errors", "image_folders", "image_limits", "image_reading", "image_writing")
}
BESIDE |= {("tiles", "engines"), ("web", "comparison")}
"""The few imports within one layer: (who, what)."""

SOURCES = sorted(path for path in PACKAGE.rglob("*.py"))
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def module_name(path: Path) -> str:
    """Return the name below ``stylize`` of the module or subpackage that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(tree: ast.AST) -> set[str]:
    """Return what is imported from ``stylize`` at run time anywhere in a module, as names below ``stylize``."""
    found: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if for_type_checkers(node):
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used"
            # "from stylize import x" may name a module or something that __init__ defines.
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    parts = (name.split(".") for name in found)
    return {part[1] if len(part) > 1 else "__init__" for part in parts if part[0] == "stylize"}


def test_the_walk_sees_imports_everywhere():
    code = """
import stylize.images
from stylize.zoo import list_styles
if TYPE_CHECKING:
    from stylize.training import train
def f():
    from stylize import losses
    import torch
"""
    assert imports(ast.parse(code)) == {"images", "zoo", "losses"}


def test_every_module_has_a_layer():
    assert {module_name(path) for path in SOURCES} <= set(LEVEL)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_import_only_from_layers_below(path):
    name = module_name(path)
    for imported in imports(ast.parse(path.read_text(encoding="utf-8"))) - {name, "__version__"}:
        below = LEVEL[imported] < LEVEL[name] or (name, imported) in BESIDE
        assert below, f"{name} (layer {LEVEL[name]}) imports {imported} (layer {LEVEL[imported]})"


def test_tiles_are_in_layers_too():
    folder = PACKAGE / "tiles"
    assert {path.stem for path in folder.glob("*.py")} == set(TILE_MODULES)
    for position, name in enumerate(TILE_MODULES):
        tree = ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))
        modules = (node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
        inside = {module.split(".")[2] for module in modules if module.startswith("stylize.tiles.")}
        assert inside <= set(TILE_MODULES[:position]), name


OF_THE_COMMAND_LINE = PACKAGE / "cli" / "determinism.py"
"""The one module that sets switches of the whole process: of that of the command, and for its time."""


def calls(tree: ast.AST) -> set[str]:
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_library_does_not_print_exit_assert_or_catch_everything(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    forbidden = {"print", "exit", "quit", "sys.exit", "os._exit", "torch.manual_seed", "torch.set_num_threads"}
    if path != OF_THE_COMMAND_LINE:
        forbidden.add("torch.use_deterministic_algorithms")
    assert not calls(tree) & forbidden
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Assert), f"assert in line {node.lineno}"
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else "everything"
            reraised = any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
            assert reraised or caught not in ("everything", "Exception", "BaseException"), f"line {node.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_process_wide_switch_is_assigned(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        targets = node.targets if isinstance(node, ast.Assign) else []
        for target in map(ast.unparse, targets):
            switch = target.startswith(("torch.", "os.environ", "Image.", "ImageFile.", "sys.std"))
            assert not switch or path == OF_THE_COMMAND_LINE, target


LIGHT = ("torch", "torchvision", "matplotlib", "safetensors", "PIL", "numpy")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_nothing_heavy(command):
    arguments = [command, "--help"] if command else ["--help"]
    code = f"""
import json, sys
from stylize.cli import main
main({arguments!r}, prog_name="stylize", standalone_mode=False)
print("LOADED", json.dumps([name for name in {LIGHT!r} if name in sys.modules]))
"""
    result = run_python("-c", code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"Usage: stylize {command}".rstrip())
    loaded = json.loads(result.stdout.rpartition("LOADED")[2])
    assert "torch" not in loaded
    if command in ("", "apply", "styles"):
        assert not loaded


def test_styles_and_import_need_no_torch():
    code = """
import sys, stylize
stylize.list_styles(), stylize.TrainConfig, dir(stylize)
from stylize.cli import main
main(["styles"], prog_name="stylize", standalone_mode=False)
assert "torch" not in sys.modules
"""
    result = run_python("-c", code)
    assert result.returncode == 0, result.stderr


def test_apply_needs_neither_torchvision_nor_the_learn_walk(tmp_path):
    weights = tiny_weights(tmp_path / "tiny.safetensors")
    photo = save_photo(tmp_path / "photo.jpg")
    code = f"""
import sys
blocked = ("torchvision", "matplotlib", "stylize.vgg", "stylize.losses", "stylize.data", "stylize.training")
for name in blocked:
    sys.modules[name] = None  # an import of it fails, as with a build that does not match torch's
from stylize.cli import main
main(["apply", {str(photo)!r}, "--style", {str(weights)!r}, "--device", "cpu"], standalone_mode=False)
"""
    result = run_python("-c", code)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "photo-test-style.jpg").is_file()


def test_version_is_a_literal_that_setup_cfg_can_read():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    values = [node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "__version__"]
    assert [value.value for value in values] == [stylize.__version__]


def test_public_names():
    for name in stylize.__all__:
        # At the second access too: a module of the same name would have taken the place of the function.
        assert getattr(stylize, name) is getattr(stylize, name)
        assert name in dir(stylize)
        assert not isinstance(getattr(stylize, name), type(ast))
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        stylize.lod  # noqa: B018
