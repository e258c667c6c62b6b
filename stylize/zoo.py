"""What is shipped with the package: networks, paintings and example photos, found by name.

Everything about a network comes from the header of its file (:func:`stylize.checkpoints.read_weights_file`), which
is read without torch; the file's name only makes it easy to find by eye.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stylize.checkpoints import WeightsFile, read_weights_file
from stylize.config import NORM_NAMES, PRESETS, parse_norm
from stylize.errors import InputError, StylizeError, WeightsError, unknown_name
from stylize.resources import examples_directory, weights_directory

DEFAULT_STYLE = "starry-night"
DEFAULT_NORM = "instance"
DEFAULT_PRESET = "fast"

WEIGHTS_SUFFIX = ".safetensors"
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class ShippedWeights:
    """One shipped network.

    Attributes:
        style: Name of the style, kebab-case.
        norm: Normalisation the network is built with.
        preset: Name of its architecture; ``custom`` when it is none of the presets.
        weights: The file with its header.
    """

    style: str
    norm: str
    preset: str
    weights: WeightsFile

    @property
    def path(self) -> Path:
        """The weights file."""
        return self.weights.path

    @property
    def metadata(self) -> dict[str, Any]:
        """What the training wrote down about the network."""
        return self.weights.metadata

    @property
    def file_size(self) -> int:
        """Size of the file in bytes."""
        return self.path.stat().st_size


def style_name(weights: WeightsFile) -> str:
    """Return the style that a weights file says it holds, or the stem of its name if it does not say."""
    return str(weights.metadata.get("style") or weights.path.stem)


def preset_name(weights: WeightsFile) -> str:
    """Return the preset of a weights file: the one it names, else the one with its architecture, else ``custom``."""
    if weights.metadata.get("preset"):
        return str(weights.metadata["preset"])
    for name, config in PRESETS.items():
        if replace(config, norm=weights.architecture.norm) == weights.architecture:
            return name
    return "custom"


def list_weights() -> list[ShippedWeights]:
    """Return every shipped network, by style, norm and preset (``fast`` first).

    Raises:
        StylizeError: The installation is incomplete.
    """
    found = []
    for path in sorted(weights_directory().glob(f"*{WEIGHTS_SUFFIX}")):
        try:
            weights = read_weights_file(path)
        except WeightsError:
            continue  # The loss network lies in the same folder; a damaged network is reported by find_weights.
        found.append(ShippedWeights(style_name(weights), weights.architecture.norm, preset_name(weights), weights))
    order = {name: position for position, name in enumerate(NORM_NAMES)}
    last = len(order)  # Norms with a placement come after the plain ones.
    return sorted(
        found,
        key=lambda one: (one.style, order.get(one.norm, last), one.norm, one.preset != DEFAULT_PRESET, one.preset),
    )


def list_styles() -> list[str]:
    """Return the names of the shipped styles, sorted.

    Raises:
        StylizeError: The installation is incomplete.
    """
    return sorted({shipped.style for shipped in list_weights()})


def is_path(style: str | os.PathLike[str]) -> bool:
    """Return whether ``style`` names a file (suffix .safetensors, or a path separator in it) and not a style."""
    if not isinstance(style, str):
        return True
    separators = [separator for separator in (os.sep, os.altsep) if separator]
    return style.lower().endswith(WEIGHTS_SUFFIX) or any(separator in style for separator in separators)


def find_weights(style: str, norm: str = DEFAULT_NORM, preset: str | None = None) -> Path:
    """Return the shipped weights file of a style.

    Args:
        style: Name of a shipped style.
        norm: Normalisation the network is built with.
        preset: Name of its architecture; None takes ``fast`` where there is one.

    Raises:
        InputError: No such style, or it is not shipped with that norm or preset.
        WeightsError: The file is there but damaged.
        StylizeError: The installation is incomplete.
    """
    norm = str(parse_norm(norm))
    shipped = list_weights()
    candidates = [one for one in shipped if one.style == style]
    matching = [one for one in candidates if one.norm == norm and preset in (None, one.preset)]
    if matching:
        return matching[0].path
    usual = "-".join([style, norm] + ([preset] if preset not in (None, DEFAULT_PRESET) else []))
    damaged = weights_directory() / f"{usual}{WEIGHTS_SUFFIX}"
    if damaged.is_file():
        read_weights_file(damaged)  # It exists but was not listed: let its own error say why.
    if not candidates:
        hint = f" (a weights file needs the suffix {WEIGHTS_SUFFIX} or a folder before its name)"
        known = dict.fromkeys(one.style for one in shipped)
        raise InputError(unknown_name("style", style, known) + (hint if Path(style).is_file() else ""))
    command = _train_command(style, norm, preset)
    norms = list(dict.fromkeys(one.norm for one in candidates))
    if norm not in norms:
        raise InputError(f"style '{style}' is not shipped with {norm} norm, only with {', '.join(norms)}; {command}")
    presets = [one.preset for one in candidates if one.norm == norm]
    raise InputError(
        f"style '{style}' with {norm} norm is not shipped with preset '{preset}', only {', '.join(presets)}; {command}"
    )


def _train_command(style: str, norm: str, preset: str | None) -> str:
    """Return the words that say how to train the network that is not shipped."""
    painting = painting_path(style)
    extra = f" --preset {preset}" if preset not in (None, DEFAULT_PRESET) else ""
    return f"to make it: stylize train {painting or 'PAINTING.jpg'} PHOTOS --norm {norm}{extra}"


def resolve_weights(
    style: str | os.PathLike[str] = DEFAULT_STYLE, norm: str | None = None, preset: str | None = None
) -> WeightsFile:
    """Return the weights file that a style name or a path stands for, with its header.

    Args:
        style: Name of a shipped style, or a path: a string with the suffix .safetensors or with a path separator,
            or any path object. Never a guess between the two.
        norm: Normalisation. None means ``instance`` for a name and whatever the file holds for a path.
        preset: Architecture of a shipped style; not accepted with a path, because the file decides.

    Raises:
        InputError: No such style; or the file holds another normalisation than the one asked for.
        WeightsError: The file is missing, damaged or of another kind.
    """
    if not is_path(style):
        return read_weights_file(find_weights(str(style), norm or DEFAULT_NORM, preset))
    return read_style_file(style, norm, preset, read_weights_file)


def read_style_file(
    path: str | os.PathLike[str], norm: str | None, preset: str | None, read: Callable[[Path], WeightsFile]
) -> WeightsFile:
    """Return what ``read`` finds in a file of a style, if that is what was asked for.

    Args:
        path: The file.
        norm: Normalisation it must hold; None accepts any.
        preset: Must be None, because the file decides.
        read: Reads the header of such a file.

    Raises:
        InputError: A preset was given, or the file holds another normalisation.
        WeightsError: The file is missing, damaged or of another kind.
    """
    if preset is not None:
        raise InputError(f"preset '{preset}' given with the file '{path}'; the file holds its architecture")
    weights = read(Path(path))
    if norm is not None and weights.architecture.norm != str(parse_norm(norm)):
        raise InputError(f"'{path}' holds a network with {weights.architecture.norm} norm, not with {norm} norm")
    return weights


def painting_path(style: str) -> Path | None:
    """Return the shipped painting of a style, or None where there is none."""
    if not style or is_path(style):
        return None
    try:
        folder = examples_directory() / "paintings"
    except StylizeError:
        return None
    candidates = (folder / f"{style}{suffix}" for suffix in PICTURE_SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def painting_of(weights: WeightsFile) -> Path | None:
    """Return the painting that a network was trained on, or None where it is not shipped.

    A network from elsewhere may use the name of a shipped style for another picture, so its record must have the
    sha256 of the shipped painting.
    """
    path = painting_path(style_name(weights))
    if path is None or weights.path.resolve().parent == weights_directory().resolve():
        return path
    recorded = weights.metadata.get("painting")
    return path if isinstance(recorded, dict) and recorded.get("sha256") == sha256(path) else None


def example_photos() -> list[Path]:
    """Return the shipped example photos, sorted by name: those that ``SOURCES.md`` lists.

    Results that `stylize apply` left beside them in a checkout are not among them.

    Raises:
        StylizeError: The installation is incomplete.
    """
    folder = examples_directory()
    sources = folder / "SOURCES.md"
    try:
        listed = sources.read_text(encoding="utf-8")
    except OSError as error:
        raise StylizeError(f"{sources}, which is shipped with stylize, is missing; install stylize again") from error
    photos = sorted((folder / "photos").glob("*"))
    return [path for path in photos if path.suffix.lower() in PICTURE_SUFFIXES and f"`{path.name}`" in listed]


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits.

    Raises:
        InputError: The file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise InputError(f"cannot read '{path}': {error.strerror or error}") from error
    return digest.hexdigest()
