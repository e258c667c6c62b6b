"""``stylize`` with a tiny network as the preset ``fast``, and reports without charts: a study takes seconds.

python -m tests.slow.small_study compare --train ...
"""

from __future__ import annotations

from stylize.cli import main


def shrink() -> None:
    """Make this process's studies small."""
    from stylize.comparison import study
    from stylize.config import PRESETS
    from tests.comparison_helpers import without_charts
    from tests.helpers import tiny_config

    PRESETS["fast"] = tiny_config()
    study.OPTIMUM_STEPS = 5
    study.conclude.__kwdefaults__.update(optimum_steps=5, picture_size=64)
    without_charts(setattr)


if __name__ == "__main__":
    shrink()
    main(prog_name="stylize")
