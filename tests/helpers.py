"""Makers of tiny networks, weights files and pictures for the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stylize.config import TransformerConfig

ROOT = Path(__file__).resolve().parent.parent

TINY_CHANNELS = (4, 8)


def tiny_config(norm: str = "instance", **changes: Any) -> TransformerConfig:
    """Return an architecture of a few thousand parameters."""
    settings = {"channels": TINY_CHANNELS, "residual_blocks": 1, "first_kernel": 3, "last_kernel": 3} | changes
    return TransformerConfig(norm=norm, **settings)


def tiny_metadata(style: str = "test-style", norm: str = "instance", **changes: Any) -> dict[str, Any]:
    """Return metadata as training writes them."""
    return {
        "style": style,
        "norm": norm,
        "preset": "fast",
        "steps": 100,
        "batch_size": 4,
        "image_size": 64,
        "photo_steps": 400,
        "seconds": 1.5,
        "device": "cpu",
        "seed": 0,
        "painting": {
            "title": "Test",
            "artist": "Nobody",
            "year": "1900",
            "licence": "public domain",
            "sha256": "0" * 64,
        },
        "metrics": {"evaluation_mode": {"style": 0.25, "content": 0.5, "total": 0.75}, "contrast_change": 0.01},
        "licence": "CC0-1.0",
    } | changes


def tiny_weights(path: Path, style: str = "test-style", norm: str = "instance", seed: int = 0, **metadata: Any) -> Path:
    """Write the weights file of a tiny network and return its path."""
    from stylize.checkpoints import save_network
    from stylize.transformer import TransformerNet

    network = TransformerNet(tiny_config(norm), seed=seed)
    save_network(path, network, tiny_metadata(style, norm, **metadata), dtype="float32", overwrite=True)
    return path


def synthetic_image(width: int = 40, height: int = 30, seed: int = 0, mode: str = "RGB") -> Image.Image:
    """Return a picture with a gradient, a disc and a little noise; the same for the same arguments."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    channels = [x / max(width - 1, 1), y / max(height - 1, 1), (x + y) / max(width + height - 2, 1)]
    pixels = np.stack(channels, axis=-1) * 200
    pixels[(x - width / 2) ** 2 + (y - height / 2) ** 2 < (min(width, height) / 4) ** 2] = (220, 40, 60)
    pixels += generator.uniform(0, 20, pixels.shape)
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    if mode in ("RGBA", "LA"):
        image = image.convert(mode.removesuffix("A") if mode == "LA" else "RGB")
        image.putalpha(Image.fromarray((x * 255 // max(width - 1, 1)).astype(np.uint8)))
        return image
    return image.convert(mode)


def save_photo(path: Path, width: int = 40, height: int = 30, seed: int = 0, mode: str = "RGB") -> Path:
    """Write a synthetic picture, making its folder, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    synthetic_image(width, height, seed, mode).save(path)
    return path


def run_python(*arguments: str, cwd: Path = ROOT, **options: Any) -> subprocess.CompletedProcess[Any]:
    """Run this Python on this checkout and return what it said."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    settings: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 120} | options
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, check=False, **settings)


def run_stylize(*arguments: str, cwd: Path = ROOT, **options: Any) -> subprocess.CompletedProcess[Any]:
    """Run ``python -m stylize`` and return what it said."""
    return run_python("-m", "stylize", *arguments, cwd=cwd, **options)


def tiny_collection(
    path: Path, names: tuple[str, ...] = ("first", "second", "photo"), seed: int = 0, **metadata: Any
) -> Path:
    """Write the weights file of a tiny collection whose styles differ, and return its path."""
    import torch

    from stylize.checkpoints import save_network
    from stylize.style_vectors import network_digest, stacked_names
    from stylize.transformer import TransformerNet

    own_output = bool(metadata.pop("own_output", False))
    config = tiny_config("conditional-instance", styles=len(names), own_output=own_output)
    network = TransformerNet(config, seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name in stacked_names(network):
            numbers = network.get_parameter(name)
            numbers += 0.3 * torch.randn(numbers.shape, generator=generator)
    facts = tiny_metadata()
    styles = [{"name": name, "painting": facts["painting"], "metrics": facts["metrics"]} for name in names]
    facts |= {"style": path.stem, "norm": "conditional-instance", "styles": styles, "network": network_digest(network)}
    save_network(path, network, facts | metadata, overwrite=True)
    return path


def tiny_style_file(path: Path, collection: Path, seed: int = 7, **metadata: Any) -> Path:
    """Write a style file for a tiny collection, with a style of random numbers, and return its path."""
    import torch

    from stylize.style_collections import load_collection, read_collection, save_style_file
    from stylize.style_vectors import style_vectors

    base = read_collection(collection)
    network = load_collection(base)
    generator = torch.Generator().manual_seed(seed)
    vectors = style_vectors(network, [1.0] + [0.0] * (len(base.names) - 1))
    vectors = {
        name: numbers + 0.1 * torch.randn(numbers.shape, generator=generator) for name, numbers in vectors.items()
    }
    facts = tiny_metadata(path.stem) | metadata
    save_style_file(path, vectors, network.config, base.digest, facts, overwrite=True)
    return path
