"""When, on what and with which versions a figure was made."""

from __future__ import annotations

import os
import platform
import re
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path


def cpu_model() -> str:
    """Return the name of the processor, as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def shown_path(path: str) -> str:
    """Return a path as a report shows it, which others read: of an absolute one the last two parts."""
    whole = Path(path)
    return "/".join(part for part in whole.parts[-2:] if part != whole.anchor) if whole.is_absolute() else path


def shown_command(arguments: Sequence[str] | None = None) -> str:
    """Return the command line, as a shell takes it; of absolute paths the last two parts, because reports are shared.

    Args:
        arguments: What comes after ``stylize``; None = those of this process.
    """

    def shown(argument: str) -> str:
        option = re.match(r"--[a-z-]+=|-[a-z](?=/)", argument)
        name = option[0] if option else ""
        return shlex.quote(name + shown_path(argument[len(name) :]))

    given = sys.argv[1:] if arguments is None else arguments
    return " ".join(["stylize", *(shown(argument) for argument in given)])


def machine_facts(device: str = "cpu") -> dict[str, str]:
    """Return date, hardware and versions, as text.

    Args:
        device: Where the networks compute, as torch names it.
    """
    import numpy
    import torch

    from stylize import __version__

    gpu = torch.cuda.get_device_name(torch.device(device)) if device.startswith("cuda") else None
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{cpu_model()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "device": gpu or device,
        "system": f"{platform.system()}, Python {platform.python_version()}",
        "versions": f"stylize {__version__}, torch {torch.__version__}, numpy {numpy.__version__}",
    }
