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
from stylize.config import CONDITIONAL_NORMS, NORM_NAMES, PRESETS, parse_norm
from stylize.errors import InputError, StylizeError, WeightsError, printable, unknown_name
from stylize.resources import examples_directory, weights_directory
from stylize.style_collections import WEIGHTS_SUFFIX, Collection, is_style_name, read_collection, tidy_name

DEFAULT_COLLECTION = "paintings"
"""Name of the shipped collection in which names of styles are looked up."""

COLLECTION_FIRST = False
"""Whether a style that is shipped both in a collection and as a network of its own is taken from the collection."""

DEFAULT_STYLE = "starry-night"
DEFAULT_NORM = "instance"
DEFAULT_PRESET = "fast"

NAMED_STYLES = 4
"""Styles of a collection that a message names."""

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class ShippedWeights:
    """One shipped network of one style.

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
    """Return the style that a weights file says it holds, or the stem of its name where it says none that is a name."""
    name = weights.metadata.get("style")
    return tidy_name(name if is_style_name(name) else printable(weights.path.stem))


def preset_name(weights: WeightsFile) -> str:
    """Return the preset of a weights file: the one it names, else the one with its architecture, else ``custom``."""
    if is_style_name(weights.metadata.get("preset")):
        return weights.metadata["preset"]
    one = weights.architecture.of_one_style
    for name, config in PRESETS.items():
        if replace(config, norm=one.norm) == one:
            return name
    return "custom"


def collection_name(collection: Collection) -> str:
    """Return the name of a collection: what its file says, without the norm at its end."""
    return style_name(collection.weights).removesuffix(f"-{collection.weights.architecture.norm}")


def is_shipped(weights: WeightsFile) -> bool:
    """Say whether a file is one of those that are shipped."""
    return weights.path.resolve().parent == weights_directory().resolve()


def collection_label(collection: Collection) -> str:
    """Return what a message calls a collection: the name of a shipped one, else its file."""
    return collection_name(collection) if is_shipped(collection.weights) else str(collection.weights.path)


def _shipped_files() -> list[WeightsFile]:
    """Return the header of every shipped network, by the names of the files."""
    found = []
    for path in sorted(weights_directory().glob(f"*{WEIGHTS_SUFFIX}")):
        try:
            found.append(read_weights_file(path))
        except WeightsError:
            continue  # The loss network lies in the same folder; a damaged network is reported where it is asked for.
    return found


def list_weights() -> list[ShippedWeights]:
    """Return every shipped network of one style, by style, norm and preset (``fast`` first).

    Networks of several styles are in :func:`list_collections`.

    Raises:
        StylizeError: The installation is incomplete.
    """
    found = [
        ShippedWeights(style_name(weights), weights.architecture.norm, preset_name(weights), weights)
        for weights in _shipped_files()
        if not weights.architecture.conditional
    ]
    order = {name: position for position, name in enumerate(NORM_NAMES)}
    last = len(order)  # Norms with a placement come after the plain ones.
    return sorted(
        found,
        key=lambda one: (one.style, order.get(one.norm, last), one.norm, one.preset != DEFAULT_PRESET, one.preset),
    )


def list_collections() -> list[Collection]:
    """Return every shipped network of several styles, the default one first, then by name and norm.

    Raises:
        StylizeError: The installation is incomplete.
    """
    found = []
    for weights in _shipped_files():
        if weights.architecture.conditional:
            try:
                found.append(read_collection(weights.path))
            except WeightsError:
                continue  # Reported by find_collection.
    order = {name: position for position, name in enumerate(CONDITIONAL_NORMS)}

    def place(one: Collection) -> tuple[bool, str, int]:
        name = collection_name(one)
        return name != DEFAULT_COLLECTION, name, order[one.weights.architecture.norm]

    return sorted(found, key=place)


def list_styles() -> list[str]:
    """Return the names of the shipped styles, those in collections among them, sorted.

    Raises:
        StylizeError: The installation is incomplete.
    """
    names = {shipped.style for shipped in list_weights()}
    return sorted(names.union(*(collection.painted_names for collection in list_collections())))


def find_collection(name: str = DEFAULT_COLLECTION) -> Collection:
    """Return a shipped collection.

    Raises:
        InputError: No such collection, or none is shipped.
        WeightsError: The file is there but damaged.
        StylizeError: The installation is incomplete.
    """
    shipped = list_collections()
    matching = [one for one in shipped if collection_name(one) == name]
    if matching:
        return matching[0]
    for norm in CONDITIONAL_NORMS:
        damaged = weights_directory() / f"{name}-{norm}{WEIGHTS_SUFFIX}"
        if damaged.is_file():
            return read_collection(damaged)  # It exists but was not listed: let its own error say why.
    hint = _path_hint(name)
    if not shipped:
        raise InputError(
            f"collection '{name}' given, and no collection of styles is shipped with this installation; give a file, "
            f"such as --collection mine{WEIGHTS_SUFFIX}{hint}"
        )
    raise InputError(unknown_name("collection", name, map(collection_name, shipped)) + hint)


def style_needed(collection: Collection) -> str:
    """Return the line that says that a collection was given where one of its styles is needed."""
    names = ", ".join(collection.painted_names[:NAMED_STYLES])
    more = ", ..." if len(collection.painted_names) > NAMED_STYLES else ""
    shipped = is_shipped(collection.weights)
    option = "" if shipped else f"--collection {collection.weights.path} "
    end = "; `stylize styles` lists all" if shipped else ""
    count = len(collection.painted_names)
    what = f"a collection of {count} style{'s' * (count != 1)}"
    return (
        f"'{collection_label(collection)}' is {what}; choose one of them: {option}--style NAME, such as "
        f"{names or collection.names[0]}{more}{end}"
    )


def is_path(style: str | os.PathLike[str]) -> bool:
    """Return whether ``style`` names a file (suffix .safetensors, or a path separator in it) and not a style."""
    if not isinstance(style, str):
        return True
    separators = [separator for separator in (os.sep, os.altsep) if separator]
    return style.lower().endswith(WEIGHTS_SUFFIX) or any(separator in style for separator in separators)


def _path_hint(name: str) -> str:
    """Return what to write instead where a name is that of a file or a folder here."""
    if os.path.isdir(name):
        return f" (a folder needs a {os.sep} at its end)"
    if os.path.isfile(f"{name}{WEIGHTS_SUFFIX}"):
        return f" (for the file here: .{os.sep}{name}{WEIGHTS_SUFFIX})"
    return f" (a file needs the suffix {WEIGHTS_SUFFIX} or a folder before its name)" if os.path.isfile(name) else ""


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
        _refuse_collected(style, _train_command(style, norm, preset))
        raise InputError(unknown_name("style", style, list_styles()) + _path_hint(style))
    command = _train_command(style, norm, preset)
    norms = list(dict.fromkeys(one.norm for one in candidates))
    if norm not in norms:
        raise InputError(f"style '{style}' is not shipped with {norm} norm, only with {', '.join(norms)}; {command}")
    presets = [one.preset for one in candidates if one.norm == norm]
    raise InputError(
        f"style '{style}' with {norm} norm is not shipped with preset '{preset}', only {', '.join(presets)}; {command}"
    )


def _refuse_collected(style: str, command: str) -> None:
    """Raise InputError where a style has no network of its own because it is a collection or is in one."""
    for collection in list_collections():
        if collection_name(collection) == style:
            raise InputError(style_needed(collection))
        if style in collection.names:
            norm = collection.weights.architecture.of_one_style.norm
            raise InputError(
                f"style '{style}' is shipped in the collection {collection_name(collection)}, with {norm} norm, and "
                f"not as the network that was asked for; {command}"
            )


def _train_command(style: str, norm: str, preset: str | None) -> str:
    """Return the words that say how to train the network that is not shipped."""
    painting = painting_path(style)
    extra = f" --preset {preset}" if preset not in (None, DEFAULT_PRESET) else ""
    return f"to make it: stylize train {painting or 'PAINTING.jpg'} PHOTOS --norm {norm}{extra}"


def resolve_weights(
    style: str | os.PathLike[str] = DEFAULT_STYLE, norm: str | None = None, preset: str | None = None
) -> WeightsFile:
    """Return the weights file of a network of one style that a name or a path stands for, with its header.

    Styles of collections have none; :func:`stylize.style_choice.choose_style` finds them too.

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
    return read_network_file(style, norm, preset, read_weights_file)


def read_network_file(
    path: str | os.PathLike[str], norm: str | None, preset: str | None, read: Callable[[Path], WeightsFile]
) -> WeightsFile:
    """Return what ``read`` finds in the file of a network of one style, if that is what was asked for.

    Args:
        path: The file.
        norm: Normalisation it must hold; None accepts any.
        preset: Must be None, because the file decides.
        read: Reads the header of such a file.

    Raises:
        InputError: A preset was given, or the file holds another normalisation.
        WeightsError: The file is missing, damaged or of another kind, a collection among them.
    """
    if preset is not None:
        raise InputError(f"preset '{preset}' given with the file '{path}'; the file holds its architecture")
    weights = read(Path(path))
    if weights.architecture.conditional:
        raise WeightsError(style_needed(read_collection(path)))
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

    A network from elsewhere, or a style file used with a shipped collection, may use the name of a shipped style for
    another picture, so its record must have the sha256 of the shipped painting.
    """
    path = painting_path(style_name(weights))
    ours = is_shipped(weights) and "style_file" not in weights.metadata
    if path is None or ours:
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
