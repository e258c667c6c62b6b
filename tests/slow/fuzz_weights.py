"""Fuzz the readers of weights, collections, style files and training states, guided by which lines are reached.

    python -m tests.slow.fuzz_weights --seconds 600

The files are those of tiny networks and the shipped headers with small tensors. See :mod:`tests.slow.guided` for what
comes out.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.slow.guided import arguments, fuzz, instrumented

LONGEST = 24_576


def seeds() -> dict[str, bytes]:
    """Return a small file of every kind, by its name."""
    import torch
    from safetensors.torch import save

    from stylize.checkpoints import write_training_state
    from stylize.transformer import TransformerNet
    from tests.helpers import ROOT, tiny_collection, tiny_style_file
    from tests.hostile_files import split_weights

    folder = Path(tempfile.mkdtemp(prefix="stylize-fuzz-"))
    collection = tiny_collection(folder / "collection.safetensors")
    write_training_state(folder / "state.safetensors", {"a": torch.zeros(3)}, {"step": 1, "config": {}})
    tiny_style_file(folder / "style.safetensors", collection)
    smallest(folder / "smallest.safetensors", TransformerNet)
    found = {path.stem: path.read_bytes() for path in folder.iterdir()}
    for path in sorted((ROOT / "weights").glob("*-*.safetensors")):
        header, _ = split_weights(path.read_bytes())
        found[path.stem] = save({"a": torch.zeros(2)}, metadata=header["__metadata__"])
    return {name: content for name, content in found.items() if len(content) <= LONGEST}


def smallest(path: Path, network: type) -> None:
    """Write the smallest network there can be, all of which a fuzzer can change."""
    from stylize.checkpoints import save_network
    from stylize.config import TransformerConfig

    config = TransformerConfig(channels=(1,), residual_blocks=0, first_kernel=1, last_kernel=1)
    save_network(path, network(config), {"style": "smallest", "steps": 1})


def main() -> None:
    """Fuzz."""
    asked = arguments(__doc__ or "")
    import torch  # not instrumented, which would take minutes  # noqa: F401

    instrumented(("safetensors.torch", "stylize.checkpoints", "stylize.style_collections", "stylize.zoo"))
    from tests.fuzzing import try_weights

    fuzz("weights", try_weights, seeds(), asked, LONGEST)


if __name__ == "__main__":
    main()
