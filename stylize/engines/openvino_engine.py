"""The engine that runs a program with OpenVINO on the CPU, in float32, bfloat16 or 8-bit whole numbers.

Pictures of all sizes go through one compiled model. Compiling for each size was measured and is not faster by more
than measurements vary, while it takes longer than painting a picture of 1024 px.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import io
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from stylize import __version__
from stylize.engines import compiled_models, onnx_graph, quantisation
from stylize.errors import DeviceError, InputError, StylizeError, unknown_name
from stylize.program import Program

EXTRA = quantisation.EXTRA

HINTS = {"float32": "f32", "bfloat16": "bf16"}
"""OpenVINO's names of what it computes in; int8 is in the model itself."""

PRECISIONS = ("auto", *HINTS, "int8")

TELEMETRY = "openvino_telemetry"


class OpenVinoEngine:
    """Run a program with OpenVINO.

    The first engine of a network in ``int8`` quantises it, which takes seconds (:mod:`stylize.engines.quantisation`);
    compiled and quantised models are kept on disk for the next.

    Args:
        program: The program.
        precision: ``float32``, ``bfloat16``, ``int8``, or ``auto``: bfloat16 where the CPU multiplies it natively, else
            float32. With ``int8``, what stays in float is computed in what ``auto`` would take.
        threads: Threads of one picture; None means as many as torch uses.
        cache: Folder for compiled models; None takes that of the user
            (:func:`stylize.engines.compiled_models.user_cache`). One that cannot be written is no error.
        on_wait: Called with a line of text before a network is quantised.

    Attributes:
        name: ``openvino``.
        precision: ``float32``, ``bfloat16`` or ``int8``.
        device: The CPU.
        from_cache: Whether the compiled model was found on disk.
        difference: With ``int8``, the mean difference from float32 on the photos it was calibrated with, in grey
            levels; None otherwise.

    Raises:
        InputError: An unknown precision, or a package is not installed.
        DeviceError: OpenVINO does not start on this machine, or the CPU has no such precision.
        StylizeError: The quantisation failed.
    """

    name = "openvino"

    def __init__(
        self,
        program: Program,
        precision: str = "auto",
        threads: int | None = None,
        cache: Path | None = None,
        on_wait: Callable[[str], None] | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            raise InputError(unknown_name("precision of the engine openvino", precision, PRECISIONS))
        self._openvino = import_openvino()
        self.device = torch.device("cpu")
        try:
            core = self._openvino.Core()
            native = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        except RuntimeError as error:
            raise _does_not_start(error) from error
        best = "bfloat16" if native else "float32"
        self.precision = best if precision == "auto" else precision
        if self.precision == "bfloat16" and not native:
            raise DeviceError("this CPU does not multiply bfloat16; choose float32 or auto")
        self._hint = HINTS.get(self.precision, HINTS[best])
        self._threads = torch.get_num_threads() if threads is None else threads
        folder = compiled_models.user_cache() if cache is None else Path(cache)
        self.from_cache = True
        self.difference: float | None = None
        key = self._key(program, core)
        model = self._kept(core, folder, key)
        if model is None:
            self.from_cache = False
            if self.precision == "int8" and on_wait is not None:
                on_wait(f"quantising to int8, which takes seconds; done once for each network, and kept in {folder}")
            model = self._compile(program, core)
            facts = {"precision": self.precision, "difference": self.difference}
            compiled_models.write(folder, key, facts, model.export_model().getvalue())
        self._request = model.create_infer_request()
        self._busy = threading.Lock()

    def paint(self, images: Tensor) -> Tensor:
        """See :meth:`stylize.engines.engine.Engine.paint`.

        Raises:
            StylizeError: OpenVINO failed, or memory ran out.
        """
        photos = images.detach().contiguous()
        painted = torch.empty_like(photos)
        wrap = self._openvino.Tensor
        try:
            # OpenVINO reads and writes the memory of the tensors themselves. One request does one thing at a time.
            with self._busy:
                self._request.set_input_tensor(wrap(photos.numpy(), shared_memory=True))
                self._request.set_output_tensor(wrap(painted.numpy(), shared_memory=True))
                self._request.infer()
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, MemoryError) or "alloc" in str(error).lower():
                batch, _, height, width = photos.shape
                many = f"{batch} pictures" if batch > 1 else "a picture"
                raise StylizeError(
                    f"not enough memory for {many} of {width}x{height} px with OpenVINO; "
                    f"make it smaller, such as with --size {max(1, max(height, width) // 2)}"
                ) from error
            raise StylizeError(f"OpenVINO failed: {_last_line(error)}") from error
        return painted

    def _settings(self) -> dict[str, Any]:
        return {
            # Stated always: by itself OpenVINO computes in bfloat16 on some CPUs.
            "INFERENCE_PRECISION_HINT": self._hint,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self._threads,
            # Pinned threads wait for their core while another is free, and the calling thread stays pinned.
            "ENABLE_CPU_PINNING": False,
        }

    def _compile(self, program: Program, core: Any) -> Any:
        content = onnx_graph.onnx_model(program).SerializeToString()
        small = None
        if self.precision == "int8":
            small = quantisation.quantise(content, threads=self._threads, rest=self._hint)
            self.difference = small.difference
        try:
            model = core.read_model(small.structure, small.weights) if small else core.read_model(content)
            return core.compile_model(model, "CPU", self._settings())
        except RuntimeError as error:
            raise _does_not_start(error) from error

    def _kept(self, core: Any, folder: Path, key: str) -> Any | None:
        """Return the model compiled before; None where there is none that still works."""
        found = compiled_models.read(folder, key)
        if found is None:
            return None
        facts, content = found
        try:
            model = core.import_model(io.BytesIO(content), "CPU", self._settings())
        except RuntimeError:
            return None
        self.difference = facts.get("difference")
        return model

    def _key(self, program: Program, core: Any) -> str:
        """Return a name for the compiled model: everything that it depends on, hashed."""
        versions = [f"{package} {_version(package)}" for package in ("openvino", "nncf")]
        about = [__version__, self.precision, self._hint, core.get_property("CPU", "FULL_DEVICE_NAME"), *versions]
        digest = hashlib.sha256("\n".join(about).encode())
        # What makes the model is part of what it depends on, so that no stale one outlives a change.
        sources = [onnx_graph.__file__]
        if self.precision == "int8":
            sources += [quantisation.__file__, str(quantisation.PROCESS)]
        for source in sources:
            digest.update(Path(source).read_bytes() if Path(source).is_file() else b"-")
        _add_program(digest, program)
        return f"openvino-{self.precision}-{digest.hexdigest()[:32]}"


def available() -> bool:
    """Return whether the packages this engine needs are installed; int8 needs ``nncf`` as well."""
    return all(importlib.util.find_spec(name) is not None for name in ("onnx", "openvino"))


def import_openvino() -> ModuleType:
    """Import OpenVINO without its reports: by itself, its import tells a server of its makers that it happened.

    Raises:
        InputError: It is not installed.
        DeviceError: It does not load on this machine.
    """
    try:
        with _without_telemetry():
            import openvino
    except ImportError as error:
        if importlib.util.find_spec("openvino") is None:
            raise InputError(f"the engine openvino needs the package openvino; {EXTRA}") from error
        raise _does_not_start(error) from error
    return openvino


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Let the import of the reporting package fail meanwhile; OpenVINO has a stand-in for where it is not installed."""
    if "openvino" in sys.modules:
        yield
        return
    before = sys.modules.get(TELEMETRY)
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if before is None:
            del sys.modules[TELEMETRY]
        else:
            sys.modules[TELEMETRY] = before


def _add_program(digest: Any, program: Program) -> None:
    digest.update(repr((program.config, program.unshuffle, program.shuffle)).encode())
    for layer in program.layers:
        digest.update(repr((tuple(layer.weight.shape), layer.stride, layer.upsampling, layer.relu)).encode())
        parts = [layer.weight, layer.bias]
        if layer.norm is not None:
            parts += [layer.norm.fixed, layer.norm.scale, layer.norm.shift]
            digest.update(repr((layer.norm.groups, layer.norm.epsilon)).encode())
        for part in parts:
            digest.update(part.contiguous().numpy().tobytes())


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "-"


def _does_not_start(error: Exception) -> DeviceError:
    return DeviceError(
        f"the engine openvino does not start on this machine: {_last_line(error)}; choose the engine torch"
    )


def _last_line(error: Exception) -> str:
    """Return the line that says what happened; those before name places in OpenVINO's sources."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:300]
