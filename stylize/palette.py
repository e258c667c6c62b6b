"""A collection that is loaded once, from which any number of styles and mixtures are taken out."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping

from torch import Tensor

from stylize.config import PHOTO_STYLE
from stylize.errors import InputError, unknown_name
from stylize.style_choice import ChosenStyle
from stylize.style_collections import Collection, StyleFile, check_fitting, load_collection, load_style_vectors
from stylize.style_vectors import take_mixture
from stylize.transformer import TransformerNet


class Palette:
    """The styles of a collection, and style files that belong to its network.

    Args:
        collection: The collection; its file is read once, here.
        additions: Style files. A name that the collection has too means the addition.

    Attributes:
        collection: The collection.
        additions: The style files by the names of their styles.

    Raises:
        InputError: A style file of another network.
        WeightsError: A file is damaged.
    """

    def __init__(self, collection: Collection, additions: Iterable[StyleFile] = ()) -> None:
        self.collection = collection
        self._network = load_collection(collection)
        self._add(tuple(additions))

    def _add(self, additions: tuple[StyleFile, ...]) -> None:
        check_fitting(self.collection, additions)
        self.additions = {one.name: one for one in additions}
        self._vectors: dict[str, dict[str, Tensor]] = {
            name: load_style_vectors(one, self._network) for name, one in self.additions.items()
        }

    def with_additions(self, additions: Iterable[StyleFile]) -> Palette:
        """Return the same collection, which is not read again, with these style files and no others.

        Raises:
            InputError: A style file of another network.
            WeightsError: A file is damaged.
        """
        other = copy.copy(self)
        other._add(tuple(additions))
        return other

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the styles that are paintings, those of the collection first."""
        return tuple(dict.fromkeys([*self.collection.painted_names, *self.additions]))

    def choose(self, shares: Mapping[str, float]) -> ChosenStyle:
        """Return the mixture of styles with these shares, which are divided by their sum.

        Raises:
            InputError: No style, one that is not here, a share that is negative or no number, or a sum of zero.
        """
        known = tuple(dict.fromkeys([*self.collection.names, *self.additions]))
        for name, share in shares.items():
            if name not in known:
                raise InputError(unknown_name(f"style of {self.collection.weights.path.name}", name, known))
            if not isinstance(share, int | float) or isinstance(share, bool) or not 0 <= share < math.inf:
                raise InputError(
                    f"a share of {share!r} given for style '{name}'; a finite number, 0 or more, is accepted"
                )
        total = sum(shares.values())
        if not 0 < total < math.inf:
            given = "none is given" if not shares else f"they sum to {total:g}"
            raise InputError(f"the shares of the styles in a mixture must sum to more than zero, and {given}")
        kept = {name: share / total for name, share in shares.items() if share}
        additions = tuple(self.additions[name] for name in kept if name in self.additions)
        return ChosenStyle(self.collection.weights, kept, self.collection, additions)

    def movable(self, strength: float) -> float:
        """Return how far the numbers of a style are moved for a strength: not at all where there is no photo style."""
        return strength if self.collection.has_photo_style else 1.0

    def take(self, shares: Mapping[str, float], strength: float = 1.0) -> TransformerNet:
        """Return the network of a style or of a mixture of styles.

        Args:
            shares: How much of each style, by name; they sum to 1.
            strength: How far the network is moved from the photo style towards that: 0 is the photo style, 1 the
                mixture, above 1 beyond it. Without a photo style it must be 1.

        Returns:
            A network of one style, in evaluation mode, on the CPU.
        """
        moved = {name: strength * share for name, share in shares.items()}
        if strength != 1:
            moved[PHOTO_STYLE] = moved.get(PHOTO_STYLE, 0.0) + 1 - strength
        return take_mixture(self._network, self.collection.names, moved, self._vectors)
