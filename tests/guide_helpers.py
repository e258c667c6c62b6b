"""The blocks of the guides, taken apart, and a folder with the files that they name."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.helpers import ROOT, save_photo, synthetic_image, tiny_collection, tiny_metadata, tiny_style_file
from tests.training_helpers import TINY_LOSS, make_material

README = ROOT / "README.md"
GUIDES = sorted((ROOT / "docs").glob("*.md"))

MISTAKES = "## Common mistakes"

CI_BLOCK = re.compile(r"<!-- ci:\w+ -->")
"""What stands over a block that .ci/run executes."""

PROMISE = re.compile(r"#.*?->\s+([^\s,;]+)")
"""``# -> FILE``: what a comment says that a line leaves behind."""


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        file: Where it stands.
        line: Number of its first line in the file.
        language: What stands behind the fence.
        text: What is in it.
    """

    file: Path
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        """What a test is called after it."""
        return f"{self.file.stem}-{self.line}"

    @property
    def promises(self) -> list[str]:
        """The files that its comments promise."""
        return PROMISE.findall(self.text)


@dataclass(frozen=True)
class Step:
    """A command of a shell block.

    Attributes:
        words: The command and its arguments.
        source: File for standard input.
        target: File for standard output.
        promises: Files that the comment of its line promises.
    """

    words: tuple[str, ...]
    source: str | None = None
    target: str | None = None
    promises: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mistake:
    """A row of a table of mistakes.

    Attributes:
        file: The guide.
        typed: What was typed.
        said: Parts of what is said, in their order.
    """

    file: Path
    typed: str
    said: tuple[str, ...]


def read_blocks(file: Path) -> list[Block]:
    """Return the fenced blocks of a file, but for those that .ci/run executes."""
    found, language, begun, lines, above = [], None, 0, [], ""
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        assert not line.lstrip().startswith("~~~") and not re.match(r"\s+```", line), f"{file}:{number}: another fence"
        if language is None and line.startswith("```"):
            language, begun, lines = line[3:].strip(), number + 1, []
        elif language is None:
            above = line if line.strip() else above
        elif line.startswith("```"):
            if not CI_BLOCK.fullmatch(above.strip()):
                found.append(Block(file, begun, language, "\n".join(lines)))
            language, above = None, ""
        else:
            lines.append(line)
    assert language is None, f"{file}: the block at line {begun} does not end"
    return found


def read_steps(text: str) -> list[Step]:
    """Return the commands of a shell block.

    Raises:
        ValueError: There is something in it that the tests cannot run.
    """
    steps = []
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="<>|&;()$`")
        lexer.whitespace_split = True
        commands: list[list[str]] = [[]]
        for word in lexer:
            if word == "&&":
                commands.append([])
            else:
                commands[-1].append(word)
        promises = tuple(PROMISE.findall(line))
        for number, words in enumerate(commands):
            if words or len(commands) > 1:
                steps.append(_step(words, promises if number == len(commands) - 1 else (), line))
    return steps


def _step(words: list[str], promises: tuple[str, ...], line: str) -> Step:
    files = {}
    while len(words) > 2 and words[-2] in "<>":
        files[words[-2]] = words[-1]
        words = words[:-2]
    if not words or any(re.fullmatch(r"[<>|&;()$`]+", word) for word in words):
        raise ValueError(f"the tests do not know how to run: {line}")
    return Step(tuple(words), files.get("<"), files.get(">"), promises)


def read_mistakes(file: Path) -> list[Mistake]:
    """Return the rows of the table of mistakes of a guide."""
    _, found, rest = file.read_text(encoding="utf-8").partition(f"\n{MISTAKES}\n")
    rows = [line for line in rest.splitlines() if line.startswith("|")]
    assert not found or rows[:2] == ["| you typed | stylize says | do this |", "|---|---|---|"], file
    mistakes = []
    for row in rows[2:]:
        match = re.fullmatch(r"\| `([^`]+)` \| ([^|]+) \| [^|]+ \|", row)
        assert match, f"{file}: {row}"
        mistakes.append(Mistake(file, match[1], tuple(part.strip() for part in match[2].split("…"))))
    return mistakes


def links(file: Path) -> Iterator[tuple[Path, str]]:
    """Yield where the links of a file lead, those elsewhere left out: a path, and what stands behind the #."""
    for target in re.findall(r"\]\(([^)]+)\)", file.read_text(encoding="utf-8")):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            yield (file.parent / path).resolve() if path else file, anchor


def anchors(file: Path) -> set[str]:
    """Return the anchors of the headings of a file, as they are made from them where Markdown is shown."""
    headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def make_named_files(folder: Path) -> Path:
    """Write everything that the guides name into a folder, each as small as it can be, and return the folder."""
    import torch

    from stylize import zoo
    from stylize.checkpoints import save_network
    from stylize.config import preset
    from stylize.transformer import TransformerNet

    make_material(folder)
    for name in ("photo", "other", "my", "wave", "scream", "night", "painting", "existing"):
        save_photo(folder / f"{name}.jpg", 48, 36, seed=len(name))
    for name in ("holiday/beach.jpg", "holiday/day-2/harbour.jpg", "mask.png", "poster.tif", "frames/1.png"):
        save_photo(folder / name, 48, 36, seed=len(name))
    for index in range(2):
        save_photo(folder / f"few/{index}.png", seed=index)
        save_photo(folder / f"held-out/{index}.png", seed=20 + index)
    save_photo(folder / "frames/2.png", 48, 36, seed=2)
    save_photo(folder / "bucket/photos/one.jpg", 48, 36, seed=3)
    save_photo(folder / "existing/1.png", 48, 36)
    save_photo(folder / "wide.png", 96, 12)
    save_photo(folder / "tiny.png", 16, 16)
    cat = [synthetic_image(32, 24, seed) for seed in range(3)]
    cat[0].save(folder / "cat.gif", save_all=True, append_images=cat[1:], duration=80)
    (folder / "great-wave-folder").mkdir()

    paintings = zoo.find_collection().weights.path
    for number, name in enumerate(("my", "yours")):
        tiny_style_file(folder / f"{name}.safetensors", paintings, seed=number)
    elsewhere = folder.with_name(f"{folder.name}-elsewhere")
    elsewhere.mkdir()
    tiny_style_file(folder / "foreign.safetensors", tiny_collection(elsewhere / "other.safetensors"))
    tiny_collection(folder / "mine.safetensors", ("wave", "scream", "photo"), seed=5)
    facts = tiny_metadata("my", loss=asdict(TINY_LOSS), style_size=40)
    for norm, name in (
        ("instance", "painting-instance"),
        ("instance", "finished"),
        ("instance", "mine-instance"),
        ("group", "mine-group"),
    ):
        network = TransformerNet(preset("fast", norm), seed=3)
        with torch.no_grad():
            save_network(folder / f"{name}.safetensors", network, facts | {"norm": norm})
    return folder
