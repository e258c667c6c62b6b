"""The styles that the page offers, and the networks that paint them."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from stylize import zoo
from stylize.config import PHOTO_STYLE
from stylize.errors import ImageError, InputError
from stylize.images import read_image, resize_long_edge
from stylize.style_choice import choose_collection
from stylize.style_collections import Collection, StyleFile
from stylize.stylizer import Stylizer, load
from stylize.web.own_styles import OwnStyle
from stylize.web.settings import Settings
from stylize.web.thumbnails import square

NORMS = ("instance", "batch")
"""The normalisations that the page offers."""

KEPT_NETWORKS = 12
"""Loaded networks, of a style or a mixture, that are kept in memory."""

EXAMPLE_PHOTO = "neuschwanstein"
"""Name of the example photo that the page begins with, and that stands in for paintings that are not shipped."""

EXAMPLE_EDGE = 448
"""Long edge in pixels at which it is painted for a thumbnail, which shows the middle of it."""

EXAMPLE_PART = 0.72
"""Side of that middle as a part of the short side."""


def style_title(name: str) -> str:
    """Return the name of a style as people write it: ``composition-vii`` is Composition VII."""
    words = name.split("-")
    return " ".join(word.upper() if re.fullmatch("[ivx]+", word) else word[:1].upper() + word[1:] for word in words)


@dataclass(frozen=True)
class Offer:
    """A style that can be chosen.

    Attributes:
        name: Its name.
        norms: With which normalisations there is a network.
        mixable: Whether it can be mixed with others.
        painting: Title, artist and year of the painting, where they are known.
    """

    name: str
    norms: tuple[str, ...]
    mixable: bool
    painting: str = ""

    @property
    def title(self) -> str:
        """Its name as people write it."""
        return style_title(self.name)


class Offers:
    """What is offered; loads networks when they are needed and keeps the last ones.

    Args:
        settings: How the page paints.

    Raises:
        InputError: No such collection, or nothing is there to paint with.
        WeightsError: The collection is damaged.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.collection = self._find_collection()
        alone: dict[str, list[str]] = {}
        for shipped in zoo.list_weights():
            if shipped.norm in NORMS and shipped.norm not in alone.setdefault(shipped.style, []):
                alone[shipped.style].append(shipped.norm)
        self._alone = alone
        mixable = () if self.collection is None else self.collection.painted_names
        offers = []
        for name in dict.fromkeys([*mixable, *alone]):
            found = {*alone.get(name, ()), *((self.mixed_norm,) if name in mixable else ())}
            norms = tuple(norm for norm in NORMS if norm in found)
            if norms:
                offers.append(Offer(name, norms, name in mixable, self._described(name)))
        self.all = tuple(offers)
        if not self.all:
            raise InputError("no network is shipped with this installation; give one, with --collection FILE")
        self._kept: OrderedDict[tuple[object, ...], Stylizer] = OrderedDict()
        self._whole: Stylizer | None = None
        self._lock = threading.Lock()

    def _find_collection(self) -> Collection | None:
        if self.settings.collection is not None:
            return choose_collection(self.settings.collection)
        shipped = zoo.list_collections()
        return shipped[0] if shipped else None

    @property
    def mixed_norm(self) -> str:
        """Normalisation of the networks of mixtures; that of single ones where nothing can be mixed."""
        return NORMS[0] if self.collection is None else self.collection.weights.architecture.of_one_style.norm

    def _described(self, name: str) -> str:
        """Return title, artist and year of a painting of the collection."""
        if self.collection is None or name not in self.collection.names:
            return ""
        facts = self.collection.facts(name).get("painting")
        if not isinstance(facts, dict):
            return ""
        known = (facts.get(key) for key in ("title", "artist", "year"))
        return ", ".join(text for text in known if isinstance(text, str) and text)

    @property
    def can_mix(self) -> bool:
        """Whether there are two styles that can be mixed."""
        return sum(offer.mixable for offer in self.all) > 1

    def with_norm(self, norm: str, own: Sequence[OwnStyle] = ()) -> tuple[Offer, ...]:
        """Return the styles that there are with a normalisation, those of a session's own among them."""
        return tuple(offer for offer in (*map(self.of_own, own), *self.all) if norm in offer.norms)

    def of_own(self, style: OwnStyle) -> Offer:
        """Return the offer of a style of a session's own."""
        return Offer(style.name, (self.mixed_norm,), True)

    @property
    def taken_names(self) -> set[str]:
        """Names that a style of a session's own cannot have."""
        names = () if self.collection is None else self.collection.names
        return {*names, *(offer.name for offer in self.all), PHOTO_STYLE}

    def with_both_norms(self) -> tuple[str, ...]:
        """Return the names of the styles that have a network of their own with instance and with batch norm."""
        return tuple(name for name, norms in self._alone.items() if set(NORMS) <= set(norms))

    def named(self, name: str, own: Sequence[OwnStyle] = ()) -> Offer:
        """Return the offer of a name.

        Args:
            name: The name.
            own: The styles of the session's own.

        Raises:
            InputError: It is not offered.
        """
        offers = (*map(self.of_own, own), *self.all)
        found = next((offer for offer in offers if offer.name == name), None)
        if found is None:
            raise InputError(f"there is no style '{name}' here")
        return found

    @property
    def first(self) -> str:
        """Name of the style that the page begins with."""
        names = [offer.name for offer in self.all]
        return zoo.DEFAULT_STYLE if zoo.DEFAULT_STYLE in names else names[0]

    def alone(self, name: str, norm: str) -> Stylizer:
        """Return the network of its own that a style has with a normalisation.

        Raises:
            InputError: There is none.
            WeightsError: Its file is damaged.
        """
        with self._lock:
            return self._keep(("alone", name, norm), lambda: self._load(name, norm))

    def stylizer(
        self,
        shares: Mapping[str, float],
        norm: str = "instance",
        strength: float = 1.0,
        own: Sequence[OwnStyle] = (),
    ) -> Stylizer:
        """Return what paints a style or a mixture.

        Args:
            shares: How much of each style, by name.
            norm: Normalisation of the network.
            strength: From 0, the photo, over 1, the style, to 1.5.
            own: The styles of the session's own.

        Raises:
            InputError: A style that is not offered, not with that norm, or that cannot be mixed; no share above 0.
            WeightsError: A file is damaged.
        """
        shares = {name: float(share) for name, share in shares.items() if share}
        offers = {name: self.named(name, own) for name in shares}
        for name, offer in offers.items():
            if norm not in offer.norms:
                raise InputError(f"style '{name}' has no network with {norm} norm; choose another style or norm")
        if not shares:
            raise InputError("no style chosen; choose a painting, and of a mixture give one more than nothing")
        files = tuple(style.file for style in own if style.name in shares)
        with self._lock:
            if len(shares) == 1 and not files and not self._from_collection(next(iter(shares)), norm):
                name = next(iter(shares))
                base = self._keep(("alone", name, norm), lambda: self._load(name, norm))
                return base if strength == 1 else base.with_strength(strength)
            for name, offer in offers.items():
                if not offer.mixable or norm != self.mixed_norm:
                    raise InputError(
                        f"style '{name}' with {norm} norm is a network of its own, which cannot be mixed; choose one "
                        f"style, or {self.mixed_norm} norm"
                    )
            total = sum(shares.values())
            parts = tuple(sorted((name, round(share / total, 4)) for name, share in shares.items()))
            # The path, too: sessions may have given one name to different styles.
            key = ("mixed", parts, strength, tuple(str(file.path) for file in files))
            return self._keep(key, lambda: self._mix(shares, strength, files))

    def _from_collection(self, name: str, norm: str) -> bool:
        offer = self.named(name)
        mixable = offer.mixable and norm == self.mixed_norm
        return mixable and (
            self.settings.collection is not None or norm not in self._alone.get(name, ()) or zoo.COLLECTION_FIRST
        )

    def _load(self, name: str, norm: str) -> Stylizer:
        if norm not in self._alone.get(name, ()):
            raise InputError(f"style '{name}' has no network of its own with {norm} norm")
        own = zoo.find_weights(name, norm)
        settings = self.settings
        return load(own, device=settings.device, engine=settings.engine, precision=settings.precision)

    def _mix(self, shares: Mapping[str, float], strength: float, files: Sequence[StyleFile] = ()) -> Stylizer:
        if self._whole is None:
            settings, collection = self.settings, self.collection
            first = (*collection.painted_names, *collection.names)[0]
            self._whole = load(
                first,
                collection=collection,
                device=settings.device,
                engine=settings.engine,
                precision=settings.precision,
            )
        base = self._whole.with_style_files(files) if files else self._whole
        return base.mix(shares, strength=strength)

    def _keep(self, key: tuple[object, ...], make: Callable[[], Stylizer]) -> Stylizer:
        if key not in self._kept:
            self._kept[key] = make()
            while len(self._kept) > KEPT_NETWORKS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def thumbnails(self) -> dict[str, tuple[Image.Image, bool]]:
        """Return for each style a square picture, and whether the network painted it.

        It is the painting where that is shipped, else a part of an example photo in that style.
        """
        return {offer.name: self._thumbnail(offer) for offer in self.all}

    def _thumbnail(self, offer: Offer) -> tuple[Image.Image, bool]:
        path = self._painting(offer.name)
        if path is not None:
            try:
                return square(read_image(path)), False
            except ImageError:
                pass
        return self.painted_example(self.stylizer({offer.name: 1.0}, offer.norms[0])), True

    def painted_example(self, stylizer: Stylizer) -> Image.Image:
        """Return the middle of an example photo, painted, as a square thumbnail."""
        photos = zoo.example_photos()
        path = next((one for one in photos if one.stem == EXAMPLE_PHOTO), photos[0] if photos else None)
        photo = Image.new("RGB", (64, 64), "grey") if path is None else read_image(path)
        painted = stylizer(resize_long_edge(photo, EXAMPLE_EDGE) if max(photo.size) > EXAMPLE_EDGE else photo)
        side = round(EXAMPLE_PART * min(painted.size))
        left, top = (painted.width - side) // 2, (painted.height - side) // 2
        return square(painted.crop((left, top, left + side, top + side)))

    def _painting(self, name: str) -> Path | None:
        """Return the shipped painting of a style, if the style was learned from that very picture."""
        path = zoo.painting_path(name)
        if path is None or self.collection is None or name not in self.collection.names:
            return path
        recorded = self.collection.facts(name).get("painting")
        known = recorded.get("sha256") if isinstance(recorded, dict) else None
        return path if known in (None, zoo.sha256(path)) else None


def example_thumbnails() -> list[tuple[Path, Image.Image]]:
    """Return the shipped example photos, with a square thumbnail each."""
    return [(path, square(read_image(path))) for path in zoo.example_photos()]
