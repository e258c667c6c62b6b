"""The engine that runs an ONNX graph with ONNX Runtime on the CPU, in float32."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stylize.checkpoints import WeightsFile
from stylize.engines.onnx_files import EXTRA, INPUT, OUTPUT, check_content, read_checked, read_metadata
from stylize.engines.onnx_identity import check_graph
from stylize.errors import InputError, StylizeError, WeightsError

__all__ = ["OnnxRuntimeEngine", "available", "read_metadata"]

ERRORS_ONLY = 3
"""Severity from which ONNX Runtime writes to standard error; what it warns of tells a user nothing."""


def available() -> bool:
    """Return whether the packages this engine needs are installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("onnx", "onnxruntime"))


class OnnxRuntimeEngine:
    """Run an ONNX file made by stylize, or such a model in memory.

    Args:
        model: Path of the file, or its content (``onnx_model(program).SerializeToString()``).
        threads: Threads of one picture; None means as many as torch uses.

    Attributes:
        name: ``onnxruntime``.
        precision: ``float32``.
        device: The CPU.
        weights: What the file says about its network.

    Raises:
        InputError: The packages ``onnx`` and ``onnxruntime`` are not installed.
        WeightsError: The file is missing, damaged, or not made by `stylize export`. Files that point to other files,
            need operators that are not part of ONNX, or compute anything but their architecture are among those.
    """

    name = "onnxruntime"
    precision = "float32"

    def __init__(self, model: bytes | str | os.PathLike[str], threads: int | None = None) -> None:
        runtime = _require_onnxruntime()
        self.device = torch.device("cpu")
        self.weights: WeightsFile
        if isinstance(model, bytes):
            content, self.weights = model, check_content(model, Path("the ONNX model"))
        else:
            content, self.weights = read_checked(model)
            check_graph(content, self.weights)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads() if threads is None else threads
        options.inter_op_num_threads = 1  # The graph is one chain.
        options.log_severity_level = ERRORS_ONLY
        # A plan of memory belongs to one size of picture.
        options.enable_mem_pattern = False
        self._errors = _errors(runtime)
        try:
            self._session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except self._errors as error:
            raise WeightsError(f"ONNX Runtime cannot load {self.weights.path}: {_first_line(error)}") from error

    def paint(self, images: Tensor) -> Tensor:
        """See :meth:`stylize.engines.engine.Engine.paint`.

        Raises:
            StylizeError: ONNX Runtime failed, or memory ran out.
        """
        photo = images.detach().contiguous()
        painted = torch.empty_like(photo)
        binding: Any = self._session.io_binding()
        shape = tuple(photo.shape)
        try:
            # Bound by address, so that pictures are not copied on their way in and out.
            binding.bind_input(INPUT, "cpu", 0, np.float32, shape, photo.data_ptr())
            binding.bind_output(OUTPUT, "cpu", 0, np.float32, shape, painted.data_ptr())
            self._session.run_with_iobinding(binding)
        except self._errors as error:
            text = _first_line(error)
            if "alloc" in text.lower():
                batch, _, height, width = shape
                many = f"{batch} pictures" if batch > 1 else "a picture"
                raise StylizeError(
                    f"not enough memory for {many} of {width}x{height} px with ONNX Runtime; "
                    f"make it smaller, such as with --size {max(1, max(height, width) // 2)}"
                ) from error
            raise StylizeError(f"ONNX Runtime failed: {text}") from error
        return painted


def _require_onnxruntime() -> ModuleType:
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(
            f"the engine onnxruntime needs the package onnxruntime, which cannot be imported ({error}): {EXTRA}"
        ) from error
    return onnxruntime


def _errors(runtime: ModuleType) -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises: classes of its own that have nothing in common but Exception."""
    own = vars(runtime.capi.onnxruntime_pybind11_state).values()
    kinds = [one for one in own if isinstance(one, type) and issubclass(one, Exception)]
    return (*kinds, RuntimeError, ValueError, MemoryError)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
