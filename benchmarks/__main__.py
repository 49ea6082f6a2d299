"""Run every benchmark and print its figures: ``make bench``, or some of them by name."""

import importlib
import sys

BENCHMARKS = (
    "load",
    "story",
    "rubric",
    "moderation",
    "grounding",
    "truth",
    "originality",
    "imports",
    "backup",
    "site",
    "scale",
)

if __name__ == "__main__":
    for name in sys.argv[1:] or BENCHMARKS:
        importlib.import_module(f"benchmarks.{name}").main()
