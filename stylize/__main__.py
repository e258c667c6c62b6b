"""``python -m stylize`` is the command ``stylize``."""

from __future__ import annotations

from stylize.cli import main

if __name__ == "__main__":
    main(prog_name="stylize")
