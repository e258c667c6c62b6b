"""The choice of the engine and of the precision it computes in."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import torch

from stylize.config import ENGINE_NAMES
from stylize.devices import choose_precision
from stylize.engines.engine import Engine
from stylize.errors import DeviceError, InputError, StylizeError, unknown_name
from stylize.program import lower
from stylize.transformer import TransformerNet

PACKAGES = {"onnxruntime": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino")}
"""What an engine needs beside torch."""

EXTRAS = {"onnxruntime": "onnx", "openvino": "openvino"}
"""The extra of this package that brings it."""


def installed_engines() -> list[str]:
    """Return the names of the engines whose packages are installed."""
    return [name for name in ENGINE_NAMES if not _missing(name)]


def _missing(name: str) -> list[str]:
    return [package for package in PACKAGES.get(name, ()) if importlib.util.find_spec(package) is None]


def precisions(name: str, device: torch.device | str = "cpu") -> list[str]:
    """Return what an engine can compute in on a device, float32 first.

    bfloat16 is left out where a CPU has to imitate it, which is slower than float32.

    Raises:
        InputError: No such engine.
    """
    if name not in ENGINE_NAMES:
        raise InputError(unknown_name("engine", name, ENGINE_NAMES))
    device = torch.device(device)
    if name == "onnxruntime":
        return ["float32"]
    native = ["bfloat16"] if choose_precision("auto", device) == torch.bfloat16 else []
    if name == "openvino":
        quantises = importlib.util.find_spec("nncf") is not None
        return ["float32", *native, *(["int8"] if quantises else [])]
    return ["float32", *native, *(["float16"] if device.type in ("cuda", "mps") else [])]


AGREEMENT = 2.0
"""An engine is taken by ``auto`` when its picture of a test pattern differs from float32 by no more grey levels on
average. It is the limit within which nobody sees a difference between two repaintings."""

HALF_DEVICES = ("cuda",)
"""Kinds of devices on which ``auto`` means float16 where that agrees with float32: within :data:`AGREEMENT`, too."""

PREFERENCE = ("openvino", "torch", "onnxruntime")
"""Engines from the fastest, as ``benchmarks/results/peer.md`` measured them."""


def make_engine(
    network: TransformerNet,
    name: str = "torch",
    precision: str = "auto",
    device: torch.device | str = "cpu",
    threads: int | None = None,
    on_fallback: Callable[[str], None] | None = None,
) -> Engine:
    """Return an engine that runs a network.

    Args:
        network: The network; the engine keeps a copy of what it needs.
        name: An engine, or ``auto``: the first of :data:`PREFERENCE` that is installed, starts on this machine and
            agrees with float32 within :data:`AGREEMENT`. On a GPU that is always ``torch``.
        precision: A name from :func:`precisions`, or ``auto``: bfloat16 where a CPU multiplies it natively and the
            engine can; on a CUDA GPU float16 where it agrees with float32 within :data:`AGREEMENT`; else float32.
        device: Where to compute.
        threads: Threads of an engine other than ``torch``; None leaves it to the engine. Torch has its own setting,
            of the whole process.
        on_fallback: Called with a line of text for each engine, or precision, that ``auto`` had to pass over, and
            before a network is quantised, which takes seconds.

    Raises:
        InputError: No such engine or precision, or its packages are not installed.
        DeviceError: The engine cannot compute on that device, or does not start on this machine.
    """
    device = torch.device(device)
    if name in ("auto", "torch") and precision == "auto" and device.type in HALF_DEVICES:
        return _half_or_float32(network, device, on_fallback)
    if name != "auto":
        return _make(network, name, precision, device, threads, on_fallback)
    reference = _make(network, "torch", "float32", device, threads)
    for candidate in PREFERENCE if device.type == "cpu" else ("torch",):
        if _missing(candidate) or precision not in ("auto", *precisions(candidate, device)):
            continue
        try:
            engine = _make(network, candidate, precision, device, threads, on_fallback)
            difference = disagreement(engine, reference)
        except StylizeError as error:
            reason = str(error)
        else:
            if difference <= AGREEMENT:
                return engine
            reason = f"its pictures differ from float32 by {difference:.1f} grey levels"
        if on_fallback is not None:
            on_fallback(f"the engine {candidate} is passed over: {reason}")
    return _make(network, "torch", "auto" if precision == "int8" else precision, device, threads)


def _half_or_float32(
    network: TransformerNet, device: torch.device, on_fallback: Callable[[str], None] | None
) -> Engine:
    """Return the engine of PyTorch in float16 where that agrees with float32, else in float32."""
    half, reference = (_make(network, "torch", precision, device) for precision in ("float16", "float32"))
    difference = disagreement(half, reference)
    if difference <= AGREEMENT:  # False for NaN, too.
        return half
    if on_fallback is not None:
        on_fallback(
            f"float16 is passed over for float32, from which its pictures differ by {difference:.1f} grey levels"
        )
    return reference


def disagreement(engine: Engine, reference: Engine) -> float:
    """Return the mean absolute difference of two engines' pictures of a test pattern, in grey levels of 255."""
    rows, columns = torch.arange(72.0)[:, None], torch.arange(88.0)[None, :]
    waves = [torch.sin(rows / period + columns / (11 - period)) for period in (2.0, 5.0, 9.0)]
    pattern = (0.5 + 0.4 * torch.stack(waves)).clamp(0, 1)[None].to(engine.device)
    return 255 * float((engine.paint(pattern) - reference.paint(pattern)).abs().mean())


def _make(
    network: TransformerNet,
    name: str,
    precision: str,
    device: torch.device,
    threads: int | None = None,
    say: Callable[[str], None] | None = None,
) -> Engine:
    """Return the engine called ``name``, in a precision that may be ``auto``."""
    known = precisions(name, device)
    if missing := _missing(name):
        raise InputError(
            f"the engine {name} needs {' and '.join(missing)}; pip install 'stylize[{EXTRAS[name]}]', or choose "
            f"another: {', '.join(installed_engines())}"
        )
    if name != "torch" and device.type != "cpu":
        raise DeviceError(f"the engine {name} computes on the CPU here, not on '{device}'; choose the engine torch")
    if precision == "auto":
        precision = "bfloat16" if "bfloat16" in known and device.type == "cpu" else "float32"
    elif precision not in (*known, *(("bfloat16", "float16") if name == "torch" else ())):
        # Torch computes both everywhere, if slowly; that is for its user to choose.
        raise InputError(f"the engine {name} does not compute in {precision} here; it has {', '.join(known)}")
    program = lower(network)
    if name == "torch":
        from stylize.engines.torch_engine import TorchEngine

        return TorchEngine(program, precision, device)
    if name == "onnxruntime":
        from stylize.engines.onnx_graph import onnx_model
        from stylize.engines.onnxruntime_engine import OnnxRuntimeEngine

        return OnnxRuntimeEngine(onnx_model(program).SerializeToString(), threads)
    from stylize.engines.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(program, precision, threads, on_wait=say)
