"""What a network's one pass is worth, measured in iterations of optimising the picture itself.

    python benchmarks/optimisation.py [--photos FOLDER] [--iterations 500] [--method lbfgs]

This is the yardstick of Johnson et al. 2016 (arXiv 1603.08155, section 4.1 and figure 5): for a few photos that no
network was trained on, the loss of each shipped network beside the loss of the untouched photo and beside that of the
picture that Gatys et al. find by optimisation, under exactly the loss the network was trained with (its weights file
says which), computed in float32.

As in the paper the picture is optimised with L-BFGS and clipped to the range of pictures after every iteration.
Clipping spoils what L-BFGS remembers, and after a few hundred iterations the loss may rise again, so the picture that
counts is the best one on the way; the whole course is in the JSON file. It starts from the photo. L-BFGS takes the
photos one by one, because one problem over all of them would share a step length; Adam treats every pixel on its own,
so the photos go together. One iteration is one evaluation of loss and gradient; the first of L-BFGS hardly moves,
because torch gives it a step of length one over all pixels together. All losses are those of pictures in [0, 1].
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from stylize.checkpoints import read_weights_file
from stylize.config import LossConfig
from stylize.errors import InputError, StylizeError
from stylize.zoo import list_weights, painting_of, preset_name, sha256, style_name

if TYPE_CHECKING:
    from torch import Tensor

    from stylize.checkpoints import WeightsFile
    from stylize.losses import PerceptualLoss

METHODS = ("lbfgs", "adam")
ADAM_RATE = 0.02
"""Learning rate of Adam on pixels in [0, 1]."""

HISTORY = 100
"""Steps that L-BFGS remembers; torch's own default."""

MARKS = (0, 1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 400, 500, 750, 1000)
"""Iterations after which all terms are shown."""

TERMS = ("content", "style", "total_variation", "total")


@dataclass(frozen=True)
class Trajectory:
    """Losses of an optimisation: (iterations + 1, photos, 4) in the order of :data:`TERMS`, and its seconds."""

    losses: Tensor
    seconds: float


@dataclass(frozen=True)
class Problem:
    """What is optimised: the loss of pictures for one painting. Networks trained alike share one.

    Attributes:
        style: Name of the style.
        loss: The loss.
        painting: Its Gram matrices.
        photos: (B, 3, H, W) in [0, 1].
    """

    style: str
    loss: PerceptualLoss
    painting: Mapping[str, Tensor]
    photos: Tensor

    def terms(self, images: Tensor, photos: Tensor) -> Tensor:
        """Return the losses (B, 4), in the order of :data:`TERMS`, of pictures made from photos."""
        import torch

        terms = self.loss(images, self.loss.content_targets(photos), self.painting)
        return torch.stack([getattr(terms, name).float() for name in TERMS], dim=1)


def optimise(problem: Problem, photos: Tensor, iterations: int, method: str, say: Callable[[str], None]) -> Trajectory:
    """Optimise pictures from ``photos`` (B, 3, H, W); B must be 1 for L-BFGS.

    Raises:
        StylizeError: The loss is no longer finite.
    """
    import torch

    content = problem.loss.content_targets(photos)
    images = photos.clone().requires_grad_()
    # The relative losses are means, so their gradient by one pixel is tiny; the optimisers' thresholds are not made
    # for that. The factor changes nothing else.
    factor = photos[0].numel()
    rows: list[Tensor] = []

    def closure() -> Tensor:
        images.grad = None
        terms = problem.loss(images, content, problem.painting)
        rows.append(torch.stack([getattr(terms, name).detach().float() for name in TERMS], dim=1).cpu())
        objective = factor * terms.total.sum()
        objective.backward()
        return objective

    if method == "lbfgs":
        # One iteration per call and no line search: each call evaluates the loss once, and its history is kept.
        optimiser: torch.optim.Optimizer = torch.optim.LBFGS(
            [images], lr=1, max_iter=1, history_size=HISTORY, tolerance_grad=0, tolerance_change=0
        )
    else:
        optimiser = torch.optim.Adam([images], lr=ADAM_RATE)
    began = time.perf_counter()
    for iteration in range(iterations):
        optimiser.step(closure)
        with torch.no_grad():
            images.clamp_(0, 1)
        if not torch.isfinite(rows[-1]).all():
            raise StylizeError(f"{method}: the loss is not finite any more at iteration {iteration}")
        if iteration and iteration % max(1, iterations // 10) == 0:
            left = (time.perf_counter() - began) / iteration * (iterations - iteration)
            say(f"iteration {iteration}/{iterations}, total {float(rows[-1][:, 3].mean()):.4f}, {left:.0f} s left")
    seconds = time.perf_counter() - began
    with torch.no_grad():
        rows.append(problem.terms(images, photos).cpu())
    return Trajectory(torch.stack(rows), seconds)


def optimise_all(problem: Problem, iterations: int, method: str, say: Callable[[str], None]) -> Trajectory:
    """Optimise all the photos of a problem: L-BFGS one by one, Adam together."""
    import torch

    if method == "adam":
        return optimise(problem, problem.photos, iterations, method, say)
    parts = []
    for number, photo in enumerate(problem.photos.split(1)):
        name = f"photo {number + 1}/{len(problem.photos)}"
        parts.append(optimise(problem, photo, iterations, method, lambda line, name=name: say(f"{name}, {line}")))
    return Trajectory(torch.cat([part.losses for part in parts], 1), sum(part.seconds for part in parts))


def reached(totals: Sequence[float], loss: float) -> int | None:
    """Return after how many iterations the total is as low as ``loss`` for the first time; None = never."""
    return next((iteration for iteration, total in enumerate(totals) if total <= loss), None)


def network_losses(weights: WeightsFile, problem: Problem) -> tuple[Tensor, float]:
    """Return the losses (B, 4) of a network's pictures, clamped to [0, 1], and its seconds per photo."""
    import torch

    from stylize.checkpoints import load_network

    network, _ = load_network(weights.path, str(problem.photos.device))
    with torch.inference_mode():
        network(problem.photos[:1])
        began = time.perf_counter()
        painted = network(problem.photos).clamp(0, 1)
        painted.cpu()  # waits for a GPU
        seconds = time.perf_counter() - began
        terms = problem.terms(painted, problem.photos).cpu()
    return terms, seconds / len(problem.photos)


def find_painting(weights: WeightsFile, folder: Path | None) -> Path:
    """Return the painting a network was trained on: in ``folder``, or the shipped one.

    Raises:
        InputError: It is not there, or is another picture than the network was trained on.
    """
    style = style_name(weights)
    recorded = weights.metadata.get("painting") or {}
    if folder is None:
        path = painting_of(weights)
    else:
        paths = sorted(folder.glob("*"))
        path = next((one for one in paths if one.name == recorded.get("file") or one.stem == style), None)
    if path is None:
        raise InputError(f"the painting of {weights.path.name} ({style}) is not at hand; give its folder: --paintings")
    if recorded.get("sha256") not in (None, sha256(path)):
        raise InputError(f"{path} is not the picture that {weights.path.name} was trained on (its sha256 differs)")
    return path


def load_photos(folder: Path, count: int, size: int) -> tuple[list[str], Tensor]:
    """Return the names and the central squares of the first photos of a folder, (count, 3, size, size)."""
    import torch

    from stylize.data import find_photos, load_square

    paths = find_photos(folder, 1, "the comparison")[:count]
    return [path.stem for path in paths], torch.cat([load_square(path, size) for path in paths])


def make_problem(weights: WeightsFile, painting: Path, photos: Tensor) -> Problem:
    """Return the problem that a network was trained on, with the loss network in float32."""
    import torch

    from stylize.evaluation import painting_size
    from stylize.losses import PerceptualLoss
    from stylize.paintings import load_painting
    from stylize.vgg import LAYERS, load_loss_network

    config = LossConfig(**weights.metadata.get("loss", {}))
    deepest = max([*config.style_layers, config.content_layer], key=LAYERS.index)
    network = load_loss_network(config.loss_network, pooling=config.pooling, last=deepest)
    network = network.to(photos.device, torch.float32, memory_format=torch.channels_last)
    loss = PerceptualLoss(network, config)
    image = load_painting(painting, painting_size(weights.metadata)).to(photos.device)
    return Problem(style_name(weights), loss, loss.style_targets(image), photos)


def as_row(losses: Tensor) -> dict[str, float]:
    """Return the mean over photos of losses (B, 4), by name."""
    return {name: round(value, 6) for name, value in zip(TERMS, losses.mean(0).tolist(), strict=True)}


def summarise(trajectory: Trajectory, networks: dict[str, tuple[WeightsFile, Tensor, float]]) -> dict[str, Any]:
    """Return everything there is to know about one problem as plain values."""
    import torch

    totals = trajectory.losses[..., TERMS.index("total")]
    means = totals.mean(1).tolist()
    iterations = len(means) - 1
    best = totals.argmin(0)
    lowest = trajectory.losses[best, torch.arange(len(best))]
    marks = sorted({mark for mark in (*MARKS, iterations) if mark <= iterations})
    rows = {}
    for name, (weights, losses, seconds) in networks.items():
        single = losses[:, TERMS.index("total")].tolist()
        rows[name] = {
            "norm": weights.architecture.norm,
            "preset": preset_name(weights),
            **as_row(losses),
            "totals": [round(total, 6) for total in single],
            "equal_to_iterations": reached(means, sum(single) / len(single)),
            "equal_to_iterations_per_photo": [
                reached(totals[:, photo].tolist(), total) for photo, total in enumerate(single)
            ],
            "seconds_per_photo": round(seconds, 4),
            "of_training": weights.metadata.get("metrics", {}).get("evaluation_mode"),
        }
    return {
        "photo": as_row(trajectory.losses[0]),
        "optimised": {
            **as_row(lowest),
            "totals": [round(total, 6) for total in lowest[:, TERMS.index("total")].tolist()],
            "iterations": best.tolist(),
        },
        "last": as_row(trajectory.losses[-1]),
        "trajectory": {str(mark): as_row(trajectory.losses[mark]) for mark in marks},
        "mean_totals": [round(total, 5) for total in means],
        "seconds_per_photo": round(trajectory.seconds / totals.shape[1], 2),
        "networks": rows,
    }


def markdown(results: dict[str, Any]) -> str:
    """Return the results as a Markdown page."""
    iterations, method = results["iterations"], {"lbfgs": "L-BFGS", "adam": "Adam"}[results["method"]]
    parts = [
        "# A network's one pass beside optimisation of the picture itself",
        f"Made by {record.facts_line(results['facts'])}",
        f"Means over {len(results['photos'])} photos ({', '.join(results['photos'])}), central squares of "
        f"{results['size']} px, under the loss each network was trained with, float32. {method} starts from the photo, "
        'is clipped to [0, 1] after every iteration and evaluates loss and gradient once per iteration. "Equal to" '
        "is the first iteration whose mean total is as low as the network's. The optimised picture is the one with the "
        "lowest total on the way; in the column per photo stands its iteration.",
    ]
    if results["photos_are_examples"]:
        parts.append("The photos are examples of this package; a network that was trained on them has seen them.")
    for problem in results["problems"]:
        name = f"{problem['style']} (style weight {problem['style_weight']:g})"
        header = ["picture", "content", "style", "total variation", "total", "equal to", "per photo", "s per photo"]

        def losses(row: dict[str, Any]) -> list[str]:
            return [f"{row[key]:.4f}" for key in TERMS]

        def count(value: int | None) -> str:
            return f"more than {iterations}" if value is None else str(value)

        rows = [["photo, untouched", *losses(problem["photo"]), "0", "", ""]]
        for network, row in problem["networks"].items():
            each = ", ".join(count(value) for value in row["equal_to_iterations_per_photo"])
            equal = count(row["equal_to_iterations"])
            rows.append([network, *losses(row), equal, each, f"{row['seconds_per_photo']:.3f}"])
        seconds = f"{problem['seconds_per_photo']:.0f}"
        reached_at = ", ".join(str(iteration) for iteration in problem["optimised"]["iterations"])
        rows.append(
            [f"{method}, lowest of {iterations} iterations", *losses(problem["optimised"]), "", reached_at, seconds]
        )
        parts += [f"## {name}", record.table(header, rows, range(1, len(header)))]
    return "\n\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Loss of each shipped network beside optimisation of the picture.")
    parser.add_argument("--photos", type=Path, help="folder of held-out photos (default: the example photos)")
    parser.add_argument("--count", type=record.whole, default=3, help="how many of them (default 3)")
    parser.add_argument("--size", type=record.whole, default=256, help="side of their central squares (default 256)")
    parser.add_argument("--paintings", type=Path, help="folder of the paintings (default: the shipped ones)")
    parser.add_argument("--weights", type=Path, nargs="+", help="weights files (default: all shipped networks)")
    parser.add_argument("--iterations", type=record.whole, default=500)
    parser.add_argument("--method", choices=METHODS, default="lbfgs")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps or auto (default cpu)")
    parser.add_argument("--threads", type=record.whole, help="threads of torch")
    parser.add_argument("--output", type=Path, default=record.RESULTS, help="folder of the results")
    options = parser.parse_args(arguments)

    import json

    import torch

    from stylize.devices import choose_device
    from stylize.resources import examples_directory

    if options.threads:
        torch.set_num_threads(options.threads)
    if options.weights:
        files = [read_weights_file(path) for path in options.weights]
    else:
        files = [shipped.weights for shipped in list_weights()]
    if not files:
        raise InputError("no network is shipped yet; give some: --weights FILE ...")
    device = choose_device(options.device)
    folder = options.photos or examples_directory() / "photos"
    names, photos = load_photos(folder, options.count, options.size)
    photos = photos.to(device)

    groups: dict[str, list[WeightsFile]] = {}
    for weights in files:
        painting = find_painting(weights, options.paintings)
        wanted = (sha256(painting), weights.metadata.get("style_size"), weights.metadata.get("loss"))
        groups.setdefault(json.dumps(wanted, sort_keys=True), []).append(weights)
    results: dict[str, Any] = {
        "facts": record.facts(str(device)),
        "photos": names,
        "photos_are_examples": folder.resolve() == (examples_directory() / "photos").resolve(),
        "size": options.size,
        "iterations": options.iterations,
        "method": options.method,
        "problems": [],
    }
    for alike in groups.values():
        problem = make_problem(alike[0], find_painting(alike[0], options.paintings), photos)
        networks = {}
        for weights in alike:
            networks[weights.path.stem] = (weights, *network_losses(weights, problem))
            print(f"{weights.path.stem}: total {float(networks[weights.path.stem][1][:, 3].mean()):.4f}", flush=True)
        label = f"{problem.style}, {options.method}"
        trajectory = optimise_all(
            problem, options.iterations, options.method, lambda line, label=label: print(f"{label}, {line}", flush=True)
        )
        found = summarise(trajectory, networks)
        weight = problem.loss.config.style_weight * problem.loss.config.style_strength
        results["problems"].append({"style": problem.style, "style_weight": weight, **found})
        name = "optimisation" if options.method == "lbfgs" else f"optimisation_{options.method}"
        record.save(options.output, name, results, markdown(results))
        for network, row in found["networks"].items():
            print(f"{network}: as good as {row['equal_to_iterations']} iterations (None: more than were done)")
    print(f"written: {options.output / name}.md")


if __name__ == "__main__":
    record.run(main)
