"""VGG19, the frozen loss network, with its layers by name (``relu3_1``).

The weights in the box are the original ones of Oxford (Simonyan and Zisserman 2015, arXiv 1409.1556, configuration E),
which the field prefers for stylization to torchvision's retraining, stored with one byte per weight: an index into a
table of 256 values per layer (``weights/convert_vgg19.py``).

Pictures go in as everywhere in this package, RGB in [0, 1]; what the weights expect is made in here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylize.errors import InputError, StylizeError, WeightsError, unknown_name
from stylize.resources import weights_directory

CONVOLUTIONS: dict[str, tuple[int, int]] = {
    "1_1": (3, 64),
    "1_2": (64, 64),
    "2_1": (64, 128),
    "2_2": (128, 128),
    "3_1": (128, 256),
    "3_2": (256, 256),
    "3_3": (256, 256),
    "3_4": (256, 256),
    "4_1": (256, 512),
    "4_2": (512, 512),
    "4_3": (512, 512),
    "4_4": (512, 512),
    "5_1": (512, 512),
}
"""Input and output channels of each convolution, in order; a pooling of 2 stands before every ``N_1`` but the first."""

LAYERS = tuple(f"{kind}{name}" for name in CONVOLUTIONS for kind in ("conv", "relu"))
"""The layers whose features can be asked for."""

POOLINGS = ("max", "average")

INPUTS = ("bgr255", "imagenet")
"""What the weights expect: ``bgr255``: BGR, 0..255, minus a mean colour; ``imagenet``: RGB, [0, 1], standardised."""

# Mean colours of the training set, in RGB order. Caffe's VGG: BGR 103.939, 116.779, 123.68.
_MEAN = {"bgr255": (123.68, 116.779, 103.939), "imagenet": (0.485, 0.456, 0.406)}
_STD = {"bgr255": (1.0, 1.0, 1.0), "imagenet": (0.229, 0.224, 0.225)}


class VGG19(nn.Module):
    """The convolutional part of VGG19 up to ``conv5_1``, frozen, always in evaluation mode.

    Args:
        pooling: ``max`` as trained, or ``average`` (Gatys et al. 2016, section 2).
        expects: What the weights were trained on, one of :data:`INPUTS`.
        last: Deepest layer to build, e.g. ``relu4_1``.
    """

    def __init__(self, pooling: str = "max", expects: str = "bgr255", last: str = "relu5_1") -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise InputError(unknown_name("pooling", pooling, POOLINGS))
        if expects not in INPUTS:
            raise InputError(unknown_name("loss network input", expects, INPUTS))
        check_layers([last])
        self.pooling = pooling
        self.expects = expects
        for name in list(CONVOLUTIONS)[: LAYERS.index(last) // 2 + 1]:
            self.add_module(f"conv{name}", nn.Conv2d(*CONVOLUTIONS[name], 3, padding=1))
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> VGG19:
        """Stay in evaluation mode; the loss network never learns."""
        return super().train(False)

    def forward(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the features of ``layers``.

        Args:
            images: (B, 3, H, W) RGB in [0, 1].
            layers: Names from :data:`LAYERS`; computing stops at the deepest.

        Returns:
            Layer name to features (B, C, H', W') in the dtype of the weights, H' = H / 1, 2, 4, 8, 16 by block.

        Raises:
            InputError: An unknown layer, one deeper than this network was built, or a picture too small for it.
        """
        check_layers(layers)
        wanted = set(layers)
        collected: dict[str, Tensor] = {}
        if not wanted:
            return collected
        deepest = max(LAYERS.index(name) for name in wanted)
        smallest = 2 ** (int(LAYERS[deepest].split("_")[0][-1]) - 1)
        if min(images.shape[-2:]) < smallest:
            raise InputError(
                f"a picture of {images.shape[-1]}x{images.shape[-2]} px is too small for {LAYERS[deepest]}; at least "
                f"{smallest} px are needed"
            )
        features = self._prepare(images)
        for position, name in enumerate(CONVOLUTIONS):
            conv = getattr(self, f"conv{name}", None)
            if conv is None:
                raise InputError(f"layer '{LAYERS[deepest]}' asked for, but this loss network ends before conv{name}")
            if name.endswith("_1") and position:
                pool = F.max_pool2d if self.pooling == "max" else F.avg_pool2d
                features = pool(features, 2)
            features = conv(features)
            if f"conv{name}" in wanted:
                collected[f"conv{name}"] = features
                features = F.relu(features)
            else:
                features = F.relu_(features)
            if f"relu{name}" in wanted:
                collected[f"relu{name}"] = features
            if 2 * position + 1 >= deepest:
                break
        return collected

    def _prepare(self, images: Tensor) -> Tensor:
        # Constants and not buffers: those would be rounded with the weights, and a mean colour of 123.5 instead of
        # 123.68 is an error that all pixels share.
        mean = torch.tensor(_MEAN[self.expects], device=images.device).view(1, 3, 1, 1)
        std = torch.tensor(_STD[self.expects], device=images.device).view(1, 3, 1, 1)
        features = images.float() * 255 if self.expects == "bgr255" else images.float()
        features = (features - mean) / std
        if self.expects == "bgr255":
            features = features.flip(1)
        weight = self.conv1_1.weight
        keep = torch.channels_last if weight.is_contiguous(memory_format=torch.channels_last) else None
        return features.to(weight.dtype, memory_format=keep or torch.contiguous_format)


def check_layers(layers: Sequence[str]) -> None:
    """Raise InputError with a suggestion for a name that is no layer of VGG19."""
    for name in layers:
        if name not in LAYERS:
            raise InputError(unknown_name("layer", name, LAYERS))


def load_loss_network(source: str = "vgg19", *, pooling: str = "max", last: str = "relu5_1") -> VGG19:
    """Load a loss network in float32 on the CPU.

    Args:
        source: ``vgg19`` for the network in the box, ``torchvision`` for torchvision's ``IMAGENET1K_V1`` (downloaded
            once), or a path: a safetensors file made by ``weights/convert_vgg19.py``, or a ``.pth`` state dict in
            torchvision's layout.
        pooling: ``max`` or ``average``.
        last: Deepest layer that will be asked for.

    Raises:
        WeightsError: The file is missing, damaged or of another kind.
        StylizeError: torchvision's weights cannot be had (no torchvision, no network).
    """
    if source == "torchvision":
        return _from_torchvision_layout(_download_torchvision(), "torchvision's VGG19", pooling, last)
    if source == "vgg19":
        return _from_safetensors(weights_directory() / "vgg19.safetensors", pooling, last)
    path = Path(source)
    if not path.suffix and path.name == source:
        raise InputError(unknown_name("loss network", source, ("vgg19", "torchvision", "a path to a file")))
    if not path.is_file():
        raise WeightsError(f"loss network {path} not found; give vgg19, torchvision or an existing file")
    if path.suffix in (".pth", ".pt"):
        return _from_torchvision_layout(_read_pth(path), str(path), pooling, last)
    return _from_safetensors(path, pooling, last)


def _from_safetensors(path: Path, pooling: str, last: str) -> VGG19:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            if (file.metadata() or {}).get("format") != "stylize-loss-network":
                raise WeightsError(f"{path} is not a loss network; make one with weights/convert_vgg19.py")
            network = VGG19(pooling, "bgr255", last)
            for name in CONVOLUTIONS:
                conv = getattr(network, f"conv{name}", None)
                if conv is None:
                    break
                # Before the tensors are read: a file may be of any size.
                shapes = [
                    tuple(file.get_slice(f"conv{name}.{kind}").get_shape()) for kind in ("index", "bias", "codebook")
                ]
                if shapes != [tuple(conv.weight.shape), tuple(conv.bias.shape), (256,)]:
                    raise WeightsError(f"{path}: conv{name} has another shape than VGG19's")
                codebook = file.get_tensor(f"conv{name}.codebook").float()
                index = file.get_tensor(f"conv{name}.index")
                bias = file.get_tensor(f"conv{name}.bias")
                if index.dtype != torch.uint8:
                    raise WeightsError(f"{path}: the indices of conv{name} are {index.dtype}, not bytes (torch.uint8)")
                if not (torch.isfinite(codebook).all() and torch.isfinite(bias).all()):
                    raise WeightsError(f"{path}: conv{name} holds numbers that are not finite")
                conv.weight.copy_(codebook[index.long()])
                conv.bias.copy_(bias)
            return network
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"loss network {path} cannot be read ({error}); it is missing or damaged") from error


def _from_torchvision_layout(state: dict[str, Tensor], name: str, pooling: str, last: str) -> VGG19:
    network = VGG19(pooling, "imagenet", last)
    # torchvision numbers convolutions, ReLUs and poolings of `features` in one row.
    number = 0
    for position, conv_name in enumerate(CONVOLUTIONS):
        if conv_name.endswith("_1") and position:
            number += 1
        conv = getattr(network, f"conv{conv_name}", None)
        if conv is None:
            break
        for kind in ("weight", "bias"):
            tensor = state.get(f"features.{number}.{kind}")
            parameter = getattr(conv, kind)
            if not isinstance(tensor, Tensor) or tensor.shape != parameter.shape:
                raise WeightsError(f"{name} is not a VGG19 in torchvision's layout: features.{number}.{kind} differs")
            parameter.copy_(tensor)
        number += 2
    return network


MAXIMUM_PTH_BYTES = 2**30
"""Bytes of a ``.pth`` file, and of what is in it; VGG19 with its classifier has 575 million."""


def _read_pth(path: Path) -> dict[str, Tensor]:
    import pickle
    import struct
    import warnings
    import zipfile

    try:
        size = path.stat().st_size
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as parts:  # which may be compressed, and become any size
                size = max(size, sum(part.file_size for part in parts.infolist()))
        if size > MAXIMUM_PTH_BYTES:
            raise WeightsError(f"loss network {path} holds {size:,} bytes; a VGG19 has less than {MAXIMUM_PTH_BYTES:,}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:  # a ValueError itself
        raise
    # What torch's restricted reader raises on files that are something else is not documented; these were seen.
    except (
        zipfile.BadZipFile,
        pickle.UnpicklingError,
        RuntimeError,
        OSError,
        EOFError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        struct.error,
    ) as error:
        raise WeightsError(
            f"loss network {path} cannot be read as a plain state dict ({type(error).__name__}); it is damaged, or "
            "holds objects, which could execute code and are never loaded"
        ) from error
    if not isinstance(state, dict):
        raise WeightsError(f"loss network {path} holds a {type(state).__name__}; a state dict is accepted")
    return state


def _download_torchvision() -> dict[str, Tensor]:
    try:
        from torchvision.models import VGG19_Weights
    except (ImportError, RuntimeError) as error:
        raise StylizeError(
            f"torchvision does not import beside torch {torch.__version__} ({error}); install the matching pair, or "
            "use --loss-network vgg19, which needs no torchvision"
        ) from error
    try:
        return VGG19_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise StylizeError(
            f"torchvision's VGG19 could not be downloaded ({error}); connect once, or use --loss-network vgg19, which "
            "is in the box"
        ) from error
