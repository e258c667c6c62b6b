"""What a user means by a style: a shipped name; a weights, style or ONNX file; or a mixture of styles."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stylize import zoo
from stylize.checkpoints import WeightsFile, load_network, read_weights_file
from stylize.config import CONDITIONAL_NORMS, PHOTO_STYLE, parse_norm
from stylize.errors import InputError, WeightsError, unknown_name
from stylize.style_collections import (
    Collection,
    StyleFile,
    check_fitting,
    describe_mixture,
    is_style_file,
    load_mixture,
    read_collection,
    read_style_file,
)
from stylize.style_mixtures import ONNX_SUFFIX, Part, is_onnx, parse_styles
from stylize.zoo import (
    collection_label,
    collection_name,
    preset_name,
    read_network_file,
    resolve_weights,
    style_name,
    style_needed,
)

if TYPE_CHECKING:
    from stylize.transformer import TransformerNet

__all__ = [
    "ONNX_SUFFIX",
    "ChosenStyle",
    "choose_collection",
    "choose_style",
    "fitting_collections",
    "is_onnx",
    "load_style",
]

LONGEST_NAME = 80
"""Characters of the longest name of a mixture; it becomes part of the names of files."""


@dataclass(frozen=True)
class ChosenStyle:
    """A style that can be painted with, by the headers of its files.

    Attributes:
        weights: The file that paints: a network of one style, an ONNX file, or the collection.
        shares: How much of each style of the collection, by name, each above 0 and 1 together; empty for a network of
            one style.
        collection: The network of several styles; None for a network of one style.
        additions: Style files whose styles are among the shares.
    """

    weights: WeightsFile
    shares: Mapping[str, float] = field(default_factory=dict)
    collection: Collection | None = None
    additions: tuple[StyleFile, ...] = ()

    @property
    def name(self) -> str:
        """Name of the style; of a mixture like ``great-wave-60-starry-night-40``."""
        if not self.shares:
            return style_name(self.weights)
        if len(self.shares) == 1:
            return next(iter(self.shares))
        parts = [f"{name}-{100 * share:.0f}" for name, share in self.shares.items()]
        whole = "-".join(parts)
        return whole if len(whole) <= LONGEST_NAME else f"{parts[0]}-and-{len(parts) - 1}-more"

    @property
    def is_mixture(self) -> bool:
        """Whether it is more than one style."""
        return len(self.shares) > 1

    @property
    def norm(self) -> str:
        """Normalisation of the network that paints, which is of one style."""
        return self.weights.architecture.of_one_style.norm

    @property
    def preset(self) -> str:
        """Name of its architecture."""
        return preset_name(self.weights)

    @property
    def has_photo_style(self) -> bool:
        """Whether its network has a style that leaves photos as they are, from which the strength can be moved."""
        return self.collection is not None and self.collection.has_photo_style

    @property
    def described(self) -> WeightsFile:
        """What is known of the network that paints: the path of its file, its architecture for one style, metadata.

        The metadata are those of the style; a mixture has those of the collection, and its shares as ``mixture``.
        """
        if self.collection is None:
            return self.weights
        made = describe_mixture(self.collection, self.shares, self.additions)
        shares = {"mixture": dict(self.shares)} if self.is_mixture else {}
        return replace(made, metadata={**made.metadata, "style": self.name, **shares})


def choose_style(
    style: str | os.PathLike[str],
    norm: str | None = None,
    preset: str | None = None,
    collection: str | os.PathLike[str] | Collection | None = None,
) -> ChosenStyle:
    """Return what a user means by a style, by the headers of the files alone, without torch.

    Args:
        style: Name of a style, a path (a suffix .safetensors or .onnx, a path separator, or a path object) to a network
            of one style, a style file or an ONNX file, or a mixture of names and style files: ``NAME:0.6,FILE:0.4``. A
            part without a weight has the weight 1; weights are divided by their sum.
        norm: Normalisation of the network. None means ``instance`` for a name of a shipped style, and whatever the
            file holds for a path.
        preset: Architecture of a shipped style; not accepted with a file, because the file decides.
        collection: Where names are looked up: name of a shipped collection, or a file. None means the shipped networks
            of one style and the shipped collections.

    Raises:
        InputError: No such style, or not with that norm or preset; a mixture that cannot be; or the package ``onnx`` is
            needed and missing.
        WeightsError: A file is missing, damaged or of another kind.
    """
    given = None if collection is None else choose_collection(collection)
    if not isinstance(style, str):
        return _choose_file(Path(style), norm, preset, given)
    known = [*(given.names if given else ()), *zoo.list_styles()] if {",", ":"} & set(style) else ()
    parts = parse_styles(style, known)
    if len(parts) > 1:
        return _choose_mixture(parts, norm, preset, given)
    if parts[0].is_file:
        return _choose_file(Path(parts[0].style), norm, preset, given)
    return _choose_name(parts[0].style, norm, preset, given)


def choose_collection(collection: str | os.PathLike[str] | Collection = zoo.DEFAULT_COLLECTION) -> Collection:
    """Return the collection that a name or a path stands for.

    Raises:
        InputError: No such collection.
        WeightsError: The file is missing, damaged, or no collection.
    """
    if isinstance(collection, Collection):
        return collection
    if not zoo.is_path(collection):
        return zoo.find_collection(str(collection))
    if is_style_file(collection):
        raise WeightsError(
            f"{collection} is a style file, not a collection; paint with it: --style {collection}, or add it to a "
            "collection with `stylize collect`"
        )
    return read_collection(collection)


def load_style(chosen: ChosenStyle, device: str = "cpu", strength: float = 1.0) -> tuple[TransformerNet, WeightsFile]:
    """Load the network that paints a chosen style.

    Args:
        chosen: The style; no ONNX file, which only an engine can run.
        device: Where to put the network, as torch names it.
        strength: How far the network is moved from the photo style of its collection towards the style: 0 is the photo
            style, 1 the style, above 1 beyond it. Without a photo style (:attr:`ChosenStyle.has_photo_style`) it
            changes nothing.

    Returns:
        A network of one style in evaluation mode, and its description (:attr:`ChosenStyle.described`).

    Raises:
        WeightsError: A file is damaged.
    """
    if chosen.collection is None:
        return load_network(chosen.weights.path, device)
    shares = dict(chosen.shares)
    if chosen.has_photo_style and strength != 1:
        shares = {name: strength * share for name, share in shares.items()}
        shares[PHOTO_STYLE] = shares.get(PHOTO_STYLE, 0.0) + 1 - strength
    network, _ = load_mixture(chosen.collection, shares, chosen.additions, device)
    return network, chosen.described


def _choose_file(path: Path, norm: str | None, preset: str | None, given: Collection | None) -> ChosenStyle:
    """Return the style of a file."""
    if not is_onnx(path) and is_style_file(path):
        if preset is not None:
            raise InputError(f"preset '{preset}' given with the file '{path}'; the file holds its architecture")
        style = read_style_file(path)
        return _in_collection(_find_network([style], (), given), {style.name: 1.0}, norm, None, (style,))
    weights = _read_network(path, norm, preset)
    if given is not None:
        raise InputError(
            f"'{path}' holds a network of one style, which is in no collection; leave out --collection or give a "
            f"style of {given.weights.path}"
        )
    return ChosenStyle(weights)


def _read_network(path: Path, norm: str | None, preset: str | None) -> WeightsFile:
    """Return the header of a weights file or an ONNX file."""
    if not is_onnx(path):
        return read_network_file(path, norm, preset, read_weights_file)
    from stylize.engines.onnx_files import read_metadata

    return read_network_file(path, norm, preset, read_metadata)


def _choose_name(name: str, norm: str | None, preset: str | None, given: Collection | None) -> ChosenStyle:
    """Return the style of a name: from the given collection, else from what is shipped."""
    if given is not None:
        if name not in given.names:
            raise InputError(style_needed(given) if name == collection_name(given) else _unknown(name, given))
        return _in_collection(given, {name: 1.0}, norm, preset)
    holding = next(
        (one for one in zoo.list_collections() if name in one.names and _has(one, norm) and _preset(one, preset)), None
    )
    wanted = zoo.DEFAULT_NORM if norm is None else str(parse_norm(norm))
    alone = any(one.style == name and one.norm == wanted and preset in (None, one.preset) for one in zoo.list_weights())
    if holding is not None and (not alone or (norm is None and zoo.COLLECTION_FIRST)):
        return _in_collection(holding, {name: 1.0}, norm, preset)
    return ChosenStyle(resolve_weights(name, norm, preset))


def _choose_mixture(
    parts: Sequence[Part], norm: str | None, preset: str | None, given: Collection | None
) -> ChosenStyle:
    """Return a mixture of styles of one collection and of style files that belong to it."""
    files = [_mixable(Path(part.style)) if part.is_file else None for part in parts]
    additions = [style for style in files if style is not None]
    names = [part.style if style is None else style.name for part, style in zip(parts, files, strict=True)]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"style '{name}' is given twice in a mixture; give each style once, with its whole weight")
    if preset is not None and additions:
        raise InputError(
            f"preset '{preset}' given with the file '{additions[0].path}'; the file holds its architecture"
        )
    looked_up = [name for name, style in zip(names, files, strict=True) if style is None]
    collection = _find_network(additions, looked_up, given) if additions else _find_names(looked_up, given)
    for name in looked_up:
        if name not in collection.names:
            raise InputError(_not_there(name, collection))
    total = sum(part.weight for part in parts)
    # A weight may be so small beside the others that its share is 0.
    shares = {name: share for name, part in zip(names, parts, strict=True) if (share := part.weight / total)}
    return _in_collection(collection, shares, norm, preset, tuple(style for style in additions if style.name in shares))


def _not_there(name: str, collection: Collection) -> str:
    """Return the line that says that a name of a mixture is not in its collection."""
    if any(shipped.style == name for shipped in zoo.list_weights()):
        return (
            f"style '{name}' is shipped as a network of its own, which cannot be mixed; the styles of "
            f"{collection_label(collection)} can: {', '.join(collection.names)}"
        )
    point = "; weights are written with a point: 0.6" if name.isdigit() else ""
    return _unknown(name, collection) + point


def _unknown(name: str, collection: Collection) -> str:
    """Return the line that says that a collection has no such style."""
    return unknown_name(f"style of {collection_label(collection)}", name, collection.names)


def _mixable(path: Path) -> StyleFile:
    """Return the style file of a part of a mixture."""
    if is_onnx(path):
        raise InputError(f"'{path}' is an ONNX file, which cannot be mixed; style files and styles of a collection can")
    if is_style_file(path):
        return read_style_file(path)
    # Whatever else it is gets its own error, a collection too.
    _read_network(path, None, None)
    raise InputError(
        f"'{path}' holds a network of one style, which cannot be mixed; styles of a collection can, and style files "
        "made by `stylize train --adapt`"
    )


def _find_names(names: Sequence[str], given: Collection | None) -> Collection:
    """Return the collection for a mixture of names: the given one, else the shipped one that has the most of them."""
    if given is not None:
        return given
    shipped = zoo.list_collections() or [zoo.find_collection()]
    return max(shipped, key=lambda one: sum(name in one.names for name in names))  # the first among equals


def _find_network(styles: Sequence[StyleFile], names: Sequence[str], given: Collection | None) -> Collection:
    """Return the collection that style files belong to: the given one, else a shipped one, else one beside them.

    Args:
        styles: The style files, at least one.
        names: Other styles that it should have: one that has them all is taken before one that has not.
        given: The collection that the user gave.
    """
    other = next((style for style in styles if style.digest != styles[0].digest), None)
    if other is not None:
        raise InputError(
            f"{styles[0].path} and {other.path} were made for different networks, whose styles cannot be mixed; adapt "
            "both paintings to one collection"
        )
    if given is not None:
        check_fitting(given, styles)
        return given
    fitting = fitting_collections(styles)
    if not fitting:
        shipped = ", ".join(map(collection_name, zoo.list_collections())) or "none"
        raise InputError(
            f"the network that {styles[0].path} was made for is neither shipped (collections: {shipped}) nor in its "
            "folder; say where it is: --collection FILE"
        )
    return next((one for one in fitting if set(names) <= set(one.names)), fitting[0])


def fitting_collections(styles: Sequence[StyleFile]) -> list[Collection]:
    """Return the collections to which style files of one network belong: shipped ones, then those beside the files."""
    return [one for one in _candidates(styles) if one.digest == styles[0].digest]


def _candidates(styles: Sequence[StyleFile]) -> Iterator[Collection]:
    """Yield the shipped collections, and those in the folders of style files."""
    yield from zoo.list_collections()
    for folder in dict.fromkeys(style.path.absolute().parent for style in styles):
        for path in sorted(folder.glob(f"*{zoo.WEIGHTS_SUFFIX}")):
            try:
                yield read_collection(path)
            except WeightsError:
                continue  # Whatever else lies there.


def _has(collection: Collection, norm: str | None) -> bool:
    """Say whether the styles of a collection have a norm, by its name for one style or for several."""
    own = collection.weights.architecture.norm
    return norm is None or str(parse_norm(norm)) in (own, CONDITIONAL_NORMS[own])


def _preset(collection: Collection, preset: str | None) -> bool:
    """Say whether a collection is of a preset."""
    return preset in (None, preset_name(collection.weights))


def _in_collection(
    collection: Collection,
    shares: Mapping[str, float],
    norm: str | None,
    preset: str | None,
    additions: tuple[StyleFile, ...] = (),
) -> ChosenStyle:
    """Return styles of a collection, if its norm and preset are those that were asked for."""
    check_fitting(collection, additions)
    weights = collection.weights
    if not _has(collection, norm):
        raise InputError(
            f"the styles of {collection_label(collection)} have {weights.architecture.of_one_style.norm} norm, not "
            f"{norm} norm; leave out the norm, or train a network of one style"
        )
    if not _preset(collection, preset):
        raise InputError(
            f"the styles of {collection_label(collection)} have preset '{preset_name(weights)}', not '{preset}'; leave "
            "out the preset"
        )
    return ChosenStyle(weights, dict(shares), collection, additions)
