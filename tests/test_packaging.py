"""The project as it reaches a user: wheel, bare checkout, examples and their sources, README's commands, change log."""

from __future__ import annotations

import ast
import configparser
import email
import fnmatch
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open

from benchmarks import lock

ROOT = Path(__file__).resolve().parent.parent


def git_files(root: Path) -> list[str] | None:
    """Return the files of a checkout that git tracks or would add, or None where ``root`` is no checkout."""
    if shutil.which("git") is None:
        return None
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    top = subprocess.run(
        ["git", "rev-parse", "--show-toplevel"], cwd=root, env=environment, capture_output=True, text=True
    )
    if top.returncode != 0 or Path(top.stdout.strip()).resolve() != root.resolve():
        return None
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, env=environment, capture_output=True, check=True).stdout
    return os.fsdecode(listed).split("\0")[:-1]


def unpacked_files(root: Path) -> list[str]:
    """Return the files of a source tree without git, less those that .gitignore names (plain patterns only)."""
    lines = (root / ".gitignore").read_text(encoding="utf-8").splitlines()
    patterns = [line.rstrip("/") for line in lines if line.strip() and not line.startswith("#")]
    found = []
    for folder, folders, files in os.walk(root):
        here = Path(folder).relative_to(root)

        def ignored(name: str, here: Path = here) -> bool:
            path = (here / name).as_posix()
            return name == ".git" or any(fnmatch.fnmatch(path if "/" in p else name, p) for p in patterns)

        folders[:] = [name for name in folders if not ignored(name)]
        found += [(here / name).as_posix() for name in files if not ignored(name)]
    return found


def source_files(root: Path = ROOT) -> list[str]:
    """Return the files that belong to the project, relative to ``root``, sorted; no build outputs, no results."""
    files = git_files(root)
    if files is None:
        files = unpacked_files(root)
    return sorted(file for file in set(files) if (root / file).is_file())


def below(folder: str, pattern: str = "*") -> list[str]:
    """Return the names of the project's files directly in ``folder`` that match ``pattern``."""
    files = (Path(file) for file in source_files() if Path(file).parent == Path(folder))
    return [file.name for file in files if fnmatch.fnmatch(file.name, pattern)]


def setup_cfg() -> configparser.ConfigParser:
    """Return the parsed setup.cfg."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def lines_of(value: str) -> list[str]:
    """Return the entries of a list in setup.cfg, written one a line or separated by commas."""
    return [entry.strip() for entry in re.split(r"[\n,]", value) if entry.strip() and not entry.startswith("#")]


def literal_version() -> str:
    """Return ``__version__`` of stylize/__init__.py without importing it."""
    for node in ast.parse((ROOT / "stylize/__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__version__"]:
            return ast.literal_eval(node.value)
    pytest.fail("stylize/__init__.py has no __version__ that setuptools can read without importing it")


def run(command: list[str], cwd: Path, pythonpath: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command that must succeed, without network and without a user's Python settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GIT_"))}
    environment.update(PIP_NO_INDEX="1", PIP_DISABLE_PIP_VERSION_CHECK="1", PYTHONUTF8="1", OMP_NUM_THREADS="1")
    if pythonpath is not None:
        environment["PYTHONPATH"] = str(pythonpath)
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built without a network from a copy of the tree, in which a result lies beside the example photos."""
    folder = tmp_path_factory.mktemp("wheel")
    for file in source_files():
        target = folder / "source" / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / file, target)
    shutil.copyfile(ROOT / "examples/photos/coffee.jpg", folder / "source/examples/photos/coffee-starry-night.jpg")
    options = ["--no-deps", "--no-build-isolation", "--no-cache-dir", "--wheel-dir", str(folder)]
    run([sys.executable, "-m", "pip", "wheel", *options, str(folder / "source")], cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the wheel is installed into, apart from the checkout."""
    target = tmp_path_factory.mktemp("installed")
    options = ["--no-deps", "--no-compile", "--target", str(target)]
    run([sys.executable, "-m", "pip", "install", *options, str(wheel)], cwd=target)
    return target


class TestWheel:
    def test_holds_the_networks_examples_and_type_marker(self, wheel: Path) -> None:
        packed = set(zipfile.ZipFile(wheel).namelist())
        networks = below("weights", "*.safetensors")
        assert networks, "no network lies in weights/"
        wanted = {f"stylize/weights/{name}" for name in networks + below("weights", "README.md")}
        wanted |= {f"stylize/examples/photos/{name}" for name in below("examples/photos")}
        wanted |= {f"stylize/examples/paintings/{name}" for name in below("examples/paintings")}
        wanted |= {"stylize/examples/SOURCES.md", "stylize/py.typed"}
        wanted |= {f"stylize/web/{name}" for kind in ("*.css", "*.js") for name in below("stylize/web", kind)}
        data = {name for name in packed if name.startswith("stylize/") and not name.endswith(".py")}
        assert data == wanted

    def test_holds_every_module_and_nothing_else_of_the_checkout(self, wheel: Path) -> None:
        packed = set(zipfile.ZipFile(wheel).namelist())
        modules = {file for file in source_files() if file.startswith("stylize/") and file.endswith(".py")}
        modules |= {f"stylize/{folder}/{name}" for folder in ("weights", "examples") for name in below(folder, "*.py")}
        assert {name for name in packed if name.endswith(".py")} == modules
        (information,) = {name.split("/")[0] for name in packed if ".dist-info/" in name}
        assert {name.split("/")[0] for name in packed} == {"stylize", information}

    def test_files_are_those_of_the_checkout(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith(("stylize/weights/", "stylize/examples/")):
                    assert archive.read(name) == (ROOT / name.removeprefix("stylize/")).read_bytes(), name

    def test_metadata(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            (information,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
            entry_points = archive.read(f"{information}/entry_points.txt").decode()
            metadata = email.message_from_bytes(archive.read(f"{information}/METADATA"))
            licence = archive.read(f"{information}/licenses/LICENSE").decode()
        assert "stylize = stylize.cli:main" in entry_points.splitlines()
        assert licence == (ROOT / "LICENSE").read_text(encoding="utf-8")
        assert (metadata["Name"], metadata["Version"]) == ("stylize", literal_version())
        assert metadata["Requires-Python"] == ">=3.10"
        assert metadata["Description-Content-Type"] == "text/markdown"
        torch = [line for line in metadata.get_all("Requires-Dist", []) if line.startswith("torch")]
        assert torch and not [line for line in torch if "<" in line or "==" in line], torch

    def test_runs_from_elsewhere(self, installed: Path, tmp_path: Path) -> None:
        where = run([sys.executable, "-c", "import stylize; print(stylize.__file__)"], tmp_path, installed).stdout
        assert Path(where.strip()).resolve().is_relative_to(installed.resolve())
        assert literal_version() in run([sys.executable, "-m", "stylize", "--version"], tmp_path, installed).stdout
        listed = run([sys.executable, "-m", "stylize", "styles", "--json"], tmp_path, installed).stdout
        styles = json.loads(listed)["styles"]
        assert {("starry-night", "instance"), ("starry-night", "batch")} <= {(s["style"], s["norm"]) for s in styles}
        assert {s["file"] for s in styles} <= set(below("weights", "*.safetensors"))

    def test_repaints_a_photo_from_elsewhere(self, installed: Path, tmp_path: Path) -> None:
        with Image.open(ROOT / "examples/photos/coffee.jpg") as photo:
            photo.resize((120, 80)).save(tmp_path / "coffee.png")
        run([sys.executable, "-m", "stylize", "apply", "coffee.png", "-o", "painted.png"], tmp_path, installed)
        with Image.open(tmp_path / "painted.png") as painted:
            assert painted.size == (120, 80)

    def test_installs_the_command(self, installed: Path) -> None:
        assert [path.stem for path in (installed / "bin").iterdir()] == ["stylize"]


class TestCheckout:
    def test_runs_without_installation(self, tmp_path: Path) -> None:
        shown = run([sys.executable, "-m", "stylize", "--help"], tmp_path, ROOT).stdout
        for command in ("apply", "train", "styles"):
            assert re.search(rf"^\s+{command}\b", shown, re.MULTILINE), shown

    def test_setup_cfg_lists_every_package(self) -> None:
        packages = {Path(file).parent.as_posix() for file in source_files() if Path(file).name == "__init__.py"}
        expected = {name.replace("/", ".") for name in packages if name.split("/")[0] == "stylize"}
        expected |= {"stylize.weights", "stylize.examples"}
        assert set(lines_of(setup_cfg()["options"]["packages"])) == expected

    def test_dev_extra_has_all_that_the_tests_need(self) -> None:
        extras = setup_cfg()["options.extras_require"]
        assert set(lines_of(extras["test"])) < set(lines_of(extras["dev"]))

    def test_version_agrees_with_change_log(self) -> None:
        text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
        headings = re.findall(r"^## \[(.+?)\](?: - \d{4}-\d{2}-\d{2})?$", text, re.MULTILINE)
        assert len(headings) == len(re.findall(r"^## ", text, re.MULTILINE)), "a heading of another form"
        assert setup_cfg()["metadata"]["version"] == "attr: stylize.__version__"
        current = tuple(map(int, literal_version().split(".")))
        released = [tuple(map(int, heading.split("."))) for heading in headings if heading != "Unreleased"]
        assert released == sorted(released, reverse=True)
        if headings[0] == "Unreleased":
            assert all(version <= current for version in released)
        else:
            assert released[0] == current


class TestExamples:
    def test_facts_of_every_painting(self) -> None:
        facts = json.loads((ROOT / "examples/paintings/SOURCES.json").read_text(encoding="utf-8"))
        assert sorted(fact["file"] for fact in facts.values()) == below("examples/paintings", "*.jpg")
        for name, fact in facts.items():
            assert set(fact) == {"file", "title", "artist", "year", "source", "licence", "sha256"}
            assert all(isinstance(value, str) and value for value in fact.values()), name
            assert fact["file"] == f"{name}.jpg"
            content = (ROOT / "examples/paintings" / fact["file"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == fact["sha256"], name

    def test_table_names_every_picture_once(self) -> None:
        text = (ROOT / "examples/SOURCES.md").read_text(encoding="utf-8")
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "`" in line]
        rows = [row for row in rows if re.fullmatch(r"`.+\.jpg`", row[0])]
        assert all(all(row) for row in rows), "an empty cell"
        listed = [row[0].strip("`") for row in rows]
        assert sorted(listed) == sorted(below("examples/photos") + below("examples/paintings", "*.jpg"))

    def test_table_agrees_with_facts(self) -> None:
        text = (ROOT / "examples/SOURCES.md").read_text(encoding="utf-8")
        facts = json.loads((ROOT / "examples/paintings/SOURCES.json").read_text(encoding="utf-8"))
        for fact in facts.values():
            cells = [f"`{fact['file']}`", *(fact[key] for key in ("title", "artist", "year", "licence", "source"))]
            assert f"| {' | '.join(cells)} |" in text

    @pytest.mark.parametrize("folder", ["photos", "paintings"])
    def test_pictures_are_small_plain_jpegs(self, folder: str) -> None:
        names = below(f"examples/{folder}", "*.jpg")
        assert len(names) >= 8
        for name in names:
            path = ROOT / "examples" / folder / name
            assert path.stat().st_size < 500_000, name
            with Image.open(path) as picture:
                picture.load()
                assert (picture.format, picture.mode, len(picture.getexif())) == ("JPEG", "RGB", 0), name

    @pytest.mark.parametrize("name", below("examples", "*.py"))
    def test_scripts_do_nothing_when_imported(self, name: str) -> None:
        # They travel with the wheel, as modules of stylize.examples.
        for node in ast.parse((ROOT / "examples" / name).read_text(encoding="utf-8")).body:
            guarded = isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"
            text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            definition = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
            assert guarded or text or isinstance(node, definition), f"{name}, line {node.lineno}"

    def test_apply_script(self, tmp_path: Path) -> None:
        with Image.open(ROOT / "examples/photos/coffee.jpg") as photo:
            photo.resize((120, 80)).save(tmp_path / "coffee.png")
        script = str(ROOT / "examples/apply_from_python.py")
        run([sys.executable, script, "coffee.png", "painted.png"], tmp_path, ROOT)
        with Image.open(tmp_path / "painted.png") as painted:
            assert painted.size == (120, 80)

    @pytest.mark.slow
    def test_train_script(self, tmp_path: Path) -> None:
        script, painting = ROOT / "examples/train_from_python.py", ROOT / "examples/paintings/cafe-terrace.jpg"
        done = run([sys.executable, str(script), str(painting), str(ROOT / "examples/photos"), "1"], tmp_path, ROOT)
        assert re.search(r"^step 1 of 1: .*style \d", done.stdout, re.MULTILINE), done.stdout
        weights = done.stdout.split()[-1]
        with safe_open(tmp_path / weights, framework="numpy") as file:
            assert json.loads(file.metadata()["architecture"])["norm"] == "batch"


needs_bash = pytest.mark.skipif(os.name != "posix" or shutil.which("bash") is None, reason="needs bash")


class TestReadme:
    """README's marked blocks, read here with an expression of its own and by .ci/run with awk."""

    def show(self, root: Path, block: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", str(root / ".ci/run"), "--show", block]
        return subprocess.run(command, cwd=root, capture_output=True, text=True)

    @pytest.mark.parametrize(
        ("block", "command"),
        [("install", r"pip install \. && stylize apply examples/\S+"), ("test", r'pip install "\.\[test\]" && pytest')],
    )
    @needs_bash
    def test_blocks_are_what_ci_runs(self, block: str, command: str) -> None:
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        found = re.findall(rf"^<!-- ci:{block} -->\n+```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        assert len(found) == 1
        assert re.fullmatch(command + "\n", found[0]), "one command line, so that && decides about the exit code"
        shown = self.show(ROOT, block)
        assert (shown.returncode, shown.stdout) == (0, found[0])

    def test_photo_of_the_install_block_is_there(self) -> None:
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        (photo,) = re.findall(r"stylize apply (examples/\S+)$", text.split("<!-- ci:install -->")[1], re.MULTILINE)[:1]
        assert photo in source_files()

    @pytest.mark.parametrize(
        "readme",
        [
            "# no block\n",
            "<!-- ci:test -->\n",
            "<!-- ci:test -->\n```sh\npytest\n",
            "<!-- ci:test -->\n```sh\n\n```\n",
            "<!-- ci:test -->\nwords between\n```sh\npytest\n```\n",
            "<!-- ci:test -->\n```sh\npytest\n```\n\n<!-- ci:test -->\n```sh\npytest -x\n```\n",
        ],
        ids=["missing", "no fence", "not closed", "empty", "words between", "twice"],
    )
    @needs_bash
    def test_ci_refuses_a_readme_without_the_block(self, readme: str, tmp_path: Path) -> None:
        (tmp_path / ".ci").mkdir()
        shutil.copyfile(ROOT / ".ci/run", tmp_path / ".ci/run")
        (tmp_path / "README.md").write_text(readme, encoding="utf-8")
        shown = self.show(tmp_path, "test")
        assert shown.returncode == 1
        assert shown.stdout == ""
        assert "<!-- ci:test -->" in shown.stderr

    @needs_bash
    def test_ci_reads_a_block_between_other_blocks(self, tmp_path: Path) -> None:
        (tmp_path / ".ci").mkdir()
        shutil.copyfile(ROOT / ".ci/run", tmp_path / ".ci/run")
        text = "```sh\nother\n```\n<!-- ci:test -->\n\n```sh\none && two\n```\n```sh\nlast\n```\n"
        (tmp_path / "README.md").write_bytes(text.replace("\n", "\r\n").encode())
        assert self.show(tmp_path, "test").stdout == "one && two\n"

    @pytest.mark.parametrize(
        ("versions", "system", "used"),
        [("", "", True), ("newest", "", False), ("", "Python 2.7 and Multics (he645)", False)],
        ids=["tested", "newest", "another system"],
    )
    @needs_bash
    def test_ci_takes_the_versions_that_were_tested_here(
        self, versions: str, system: str, used: bool, tmp_path: Path
    ) -> None:
        (tmp_path / ".ci").mkdir()
        shutil.copyfile(ROOT / ".ci/run", tmp_path / ".ci/run")
        commands = {"install": 'cat "${PIP_CONSTRAINT:-/dev/null}"', "test": "python --version"}
        text = "".join(f"<!-- ci:{name} -->\n```sh\n{command}\n```\n" for name, command in commands.items())
        (tmp_path / "README.md").write_text(text, encoding="utf-8")
        here = lock.text(["pytest"]) if not system else f"# On {system}; another\npytest==1\n"
        (tmp_path / "requirements-tested.txt").write_text(here, encoding="utf-8")
        environment = os.environ | {"PYTHON": sys.executable} | ({"VERSIONS": versions} if versions else {})
        for name in ("PIP_CONSTRAINT", *(() if versions else ("VERSIONS",))):
            environment.pop(name, None)
        done = subprocess.run(
            ["bash", str(tmp_path / ".ci/run")], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert ("\npytest==" in done.stdout) == used


def test_tree_without_git_gives_the_same_files(tmp_path: Path) -> None:
    for file in (".gitignore", "stylize/a.py", "examples/photos/great-wall.jpg", "weights/x.safetensors"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    expected = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    shutil.copyfile(ROOT / ".gitignore", tmp_path / ".gitignore")
    left_out = ["build/lib/b.py", "stylize.egg-info/PKG-INFO", "stylize/__pycache__/a.pyc", "mine.run/state.pt"]
    left_out += ["examples/photos/great-wall-starry-night.jpg", ".venv/bin/python", ".git/config"]
    for file in left_out:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert sorted(unpacked_files(tmp_path)) == expected
