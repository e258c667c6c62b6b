"""Collections of styles in one network, and style files that add to them.

A collection is a weights file (:mod:`stylize.checkpoints`) of a network with conditional norms. Its metadata also has::

    styles    a list, in the order of the network: name, painting, metrics, ... of each style
    network   sha256 of everything in the network that its styles share (stylize.style_vectors.network_digest)

A style file holds the numbers of one style for such a network, in a few kilobytes: a safetensors file with
``format`` = ``stylize-style``, ``format_version``, ``architecture`` (that of the network for one style), ``network``
(the same digest) and ``metadata``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylize.checkpoints import (
    FORMAT,
    LONGEST_KIND,
    WeightsFile,
    load_network,
    read_architecture,
    read_weights_file,
    save_network,
    shown_kind,
    weights_path,
    write_safetensors,
)
from stylize.config import PHOTO_STYLE, TransformerConfig
from stylize.errors import InputError, OutputError, WeightsError, unknown_name
from stylize.plain_json import read_table
from stylize.weights_header import read_header, read_whole_header

if TYPE_CHECKING:
    from torch import Tensor

    from stylize.transformer import TransformerNet

STYLE_FORMAT = "stylize-style"
STYLE_FORMAT_VERSION = "1"
WEIGHTS_SUFFIX = ".safetensors"
MAXIMUM_STYLE_NAME = 100
"""Characters of the longest name of a style."""


@dataclass(frozen=True)
class Collection:
    """A network of several styles, without its tensors.

    Attributes:
        weights: The file.
        names: Names of the styles, in the order of the network.
        digest: Of what the styles share; a style file with the same fits.
    """

    weights: WeightsFile
    names: tuple[str, ...]
    digest: str

    @property
    def has_photo_style(self) -> bool:
        """Whether one of the styles leaves photos as they are."""
        return PHOTO_STYLE in self.names

    @property
    def painted_names(self) -> tuple[str, ...]:
        """Names of the styles that are paintings."""
        return tuple(name for name in self.names if name != PHOTO_STYLE)

    def facts(self, name: str) -> dict[str, Any]:
        """Return what is known of a style: ``painting``, ``metrics``, ...

        Raises:
            InputError: No such style.
        """
        if name not in self.names:
            raise InputError(unknown_name("style", name, self.names))
        return dict(self.weights.metadata["styles"][self.names.index(name)])


@dataclass(frozen=True)
class StyleFile:
    """A style file, without its tensors.

    Attributes:
        path: The file.
        name: Name of the style.
        digest: Of the network it belongs to.
        architecture: Of that network, for one style.
        metadata: What training wrote down, plain JSON values.
    """

    path: Path
    name: str
    digest: str
    architecture: TransformerConfig
    metadata: dict[str, Any]


def read_collection(path: Path | str) -> Collection:
    """Read the header of a collection, without its tensors and without torch.

    Raises:
        WeightsError: As :func:`stylize.checkpoints.read_weights_file`, or the file holds a network of one style, or
            what it says of its styles does not fit its network.
    """
    weights = read_weights_file(path)
    if not weights.architecture.conditional:
        raise WeightsError(
            f"{path} holds a network of one style with {weights.architecture.norm} norm; a collection, made by "
            "`stylize train PAINTING... PHOTOS --multi`, is needed"
        )
    styles = weights.metadata.get("styles")
    digest = weights.metadata.get("network")
    named = isinstance(styles, list) and all(isinstance(one, dict) and is_style_name(one.get("name")) for one in styles)
    if not named or not isinstance(digest, str):
        raise WeightsError(f"{path}: its metadata does not name its styles")
    names = tuple(tidy_name(one["name"]) for one in styles)
    if len(names) != weights.architecture.styles or len(set(names)) != len(names):
        raise WeightsError(
            f"{path}: its metadata names {len(set(names))} styles, and its network has {weights.architecture.styles}"
        )
    return Collection(weights, names, digest)


def is_style_name(value: object) -> bool:
    """Return whether something that a file says can be the name of a style: one short line that prints.

    A backslash is the mark of what did not print (:func:`stylize.plain_json.read_table`), and leads to other folders.
    """
    short = isinstance(value, str) and 0 < len(value) <= MAXIMUM_STYLE_NAME
    return short and value.isprintable() and "\\" not in value


def tidy_name(name: str) -> str:
    """Return the name of a style as a part of file names: nothing in it leads to another folder."""
    return name.replace("/", "-").replace("\\", "-")


def is_style_file(path: Path | str) -> bool:
    """Say whether a file is a style file, by its header.

    Raises:
        WeightsError: The file is missing, or is no safetensors file.
    """
    return read_header(weights_path(path)).get("format") == STYLE_FORMAT


def read_style_file(path: Path | str) -> StyleFile:
    """Read the header of a style file, without its tensors and without torch.

    Raises:
        WeightsError: The file is missing, truncated, of another kind or of an unknown architecture.
    """
    path = weights_path(path)
    header = read_header(path)
    kind = header.get("format")
    if kind != STYLE_FORMAT:
        what = (
            "a whole network"
            if kind == FORMAT
            else f"a '{shown_kind(header)}' file"
            if kind
            else "a safetensors file of something else"
        )
        raise WeightsError(f"{path} is {what}; a style file made by `stylize train PAINTING --adapt` is accepted")
    if header.get("format_version") != STYLE_FORMAT_VERSION:
        version = header.get("format_version")
        given = None if version is None else version[:LONGEST_KIND]
        raise WeightsError(f"{path} has format version {given!r}, not {STYLE_FORMAT_VERSION}: update stylize")
    architecture = read_architecture(header.get("architecture", ""), path)
    try:
        metadata = read_table(header.get("metadata", ""))
    except ValueError as error:
        raise WeightsError(f"{path}: its header cannot be used ({error})") from error
    name = metadata.get("style")
    if not is_style_name(name) or "network" not in header:
        raise WeightsError(f"{path}: its metadata does not name its style and its network")
    return StyleFile(path, tidy_name(name), header["network"], architecture, metadata)


def save_style_file(
    path: Path | str,
    vectors: Mapping[str, Tensor],
    architecture: TransformerConfig,
    digest: str,
    metadata: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> None:
    """Write a style file, atomically.

    Args:
        path: The file to write.
        vectors: The numbers of the style by their names in the network (:func:`stylize.style_vectors.vector_names`).
        architecture: Of the network the style belongs to.
        digest: Of that network.
        metadata: What to write down about the style, ``style`` (its name) among it; plain JSON values.
        overwrite: Replace an existing file.

    Raises:
        OutputError: The file exists, or cannot be written.
    """
    import torch

    header = {
        "format": STYLE_FORMAT,
        "format_version": STYLE_FORMAT_VERSION,
        "architecture": json.dumps(asdict(architecture.of_one_style)),
        "network": digest,
        "metadata": json.dumps(dict(metadata), sort_keys=True),
    }
    tensors = {name: vector.detach().cpu().to(torch.float16).contiguous() for name, vector in vectors.items()}
    write_safetensors(path, tensors, header, overwrite=overwrite)


def load_collection(collection: Collection, device: str = "cpu") -> TransformerNet:
    """Load the network of a collection, with all its styles.

    Raises:
        WeightsError: The tensors do not fit the header.
    """
    from stylize.style_vectors import network_digest

    network, _ = load_network(collection.weights.path, device)
    if network_digest(network) != collection.digest:
        raise WeightsError(f"{collection.weights.path} is damaged: its weights are not those that its header names")
    return network


def load_style_vectors(style: StyleFile, network: TransformerNet) -> dict[str, Tensor]:
    """Return the numbers of a style file, in float32, checked against the network they belong to.

    Raises:
        WeightsError: They do not fit the network, or are not finite.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from stylize.style_vectors import style_vectors

    blank = style_vectors(network, [0.0] * network.config.styles)
    expected = {name: numbers.shape for name, numbers in blank.items()}
    another = f"{style.path} holds the numbers of another architecture than its header says"
    header = read_whole_header(style.path)
    if {name: shape for name, (_, shape) in header.tensors.items()} != expected:  # before anything is allocated
        raise WeightsError(another)
    try:
        tensors = load_file(str(style.path))
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{style.path} cannot be read ({error})") from error
    if {name: tensor.shape for name, tensor in tensors.items()} != expected:
        raise WeightsError(another)
    vectors = {name: tensor.to(torch.float32, copy=True) for name, tensor in tensors.items()}
    if not all(bool(torch.isfinite(vector).all()) for vector in vectors.values()):
        raise WeightsError(f"{style.path} holds numbers that are not finite; make it again")
    return vectors


def load_mixture(
    collection: Collection,
    shares: Mapping[str, float],
    additions: Sequence[StyleFile] = (),
    device: str = "cpu",
) -> tuple[TransformerNet, WeightsFile]:
    """Load the network that paints a mixture of styles.

    Args:
        collection: The network.
        shares: How much of each style, by the names of the collection and of the additions; need not sum to 1.
        additions: Style files that belong to the same network. A name that both have means the addition.
        device: Where to put the network.

    Returns:
        A network of one style, in evaluation mode, and its description: the path of the collection, the architecture
        of one style, and as metadata those of the style, or of the collection for a mixture.

    Raises:
        InputError: A style that neither has, or a style file of another network.
        WeightsError: A file is damaged.
    """
    from stylize.style_vectors import take_mixture

    added = {one.name: one for one in additions}
    for name in shares:
        if name not in added and name not in collection.names:
            raise InputError(unknown_name("style", name, [*collection.names, *added]))
    check_fitting(collection, additions)
    network = load_collection(collection)
    vectors = {name: load_style_vectors(style, network) for name, style in added.items()}
    mixed = take_mixture(network, collection.names, shares, vectors).to(device)
    return mixed, describe_mixture(collection, shares, additions)


def describe_mixture(
    collection: Collection, shares: Mapping[str, float], additions: Sequence[StyleFile] = ()
) -> WeightsFile:
    """Return what is known of the network of a mixture, without making it and without torch.

    Args:
        collection: The network.
        shares: How much of each style, by name.
        additions: Style files that belong to the same network.
    """
    added = {one.name: one for one in additions}
    weights = collection.weights
    facts = {key: value for key, value in weights.metadata.items() if key not in ("styles", "metrics", "painting")}
    names = [name for name, share in shares.items() if share]
    if len(names) == 1:
        style = added.get(names[0])
        facts |= {**style.metadata, "style_file": style.path.name} if style else collection.facts(names[0])
    one = replace(weights.architecture.of_one_style)
    facts |= {"style": "-".join(names), "norm": one.norm}
    return WeightsFile(weights.path, one, facts)


def check_fitting(collection: Collection, additions: Sequence[StyleFile]) -> None:
    """Check that style files belong to the network of a collection.

    Raises:
        InputError: One does not, or has the name that is kept for the photo itself.
    """
    for style in additions:
        if style.name == PHOTO_STYLE:
            raise InputError(
                f"{style.path} holds a style called '{PHOTO_STYLE}', which is kept for the photo itself; adapt the "
                "painting again under another file name"
            )
        if style.digest != collection.digest:
            raise InputError(
                f"{style.path} was made for another network than {collection.weights.path}; adapt the painting to that "
                "collection, or give the one it was made for"
            )


def collect(
    collection: Collection, additions: Sequence[StyleFile], output: Path | str, *, overwrite: bool = False
) -> Path:
    """Write a collection with more styles.

    Args:
        collection: The network with the styles it has.
        additions: Style files that belong to the same network.
        output: The file to write.
        overwrite: Replace an existing file.

    Raises:
        InputError: Two styles of one name, a style file of another network, nothing to add, or an output that is no
            name of a weights file.
        OutputError: The file exists, or cannot be written.
        WeightsError: A file is damaged.
    """
    output = Path(output)
    if not additions:
        raise InputError("no style file given to add to the collection")
    check_fitting(collection, additions)
    names = [*collection.names, *(style.name for style in additions)]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two styles are called '{name}'; train one again under another file name")
    if output.is_dir():
        raise InputError(f"the output {output} is a folder; give a file, such as {output / 'mine.safetensors'}")
    if output.suffix.lower() != WEIGHTS_SUFFIX:
        raise InputError(f"the output {output} has another suffix than {WEIGHTS_SUFFIX}; give it that")
    if output.exists() and not overwrite:  # Before the work; looked at again when it is written.
        raise OutputError(f"{output} exists already; pass --overwrite or another name")
    import torch

    from stylize.style_vectors import all_style_vectors
    from stylize.transformer import TransformerNet

    network = load_collection(collection)
    rows = [*all_style_vectors(network), *(load_style_vectors(style, network) for style in additions)]
    # A style file has a last convolution of its own, so from now on all of them have.
    larger = TransformerNet(replace(network.config, styles=len(names), own_output=True))
    stacked = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    larger.load_state_dict(network.state_dict() | stacked)
    entries = [*collection.weights.metadata["styles"], *(_entry(style) for style in additions)]
    # The losses in the header are means over the styles that were trained together: no longer those of all.
    metadata = {key: value for key, value in collection.weights.metadata.items() if key != "metrics"}
    metadata |= {
        "style": output.stem.removesuffix(f"-{network.config.norm}"),
        "styles": entries,
        "parameters": larger.parameter_count,
    }
    save_network(output, larger, metadata, overwrite=overwrite)
    return output


def _entry(style: StyleFile) -> dict[str, Any]:
    """Return what a collection writes down about a style that was added to it."""
    return {**{key: value for key, value in style.metadata.items() if key != "style"}, "name": style.name}
