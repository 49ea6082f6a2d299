"""What loading the code location costs, against ``import dagster`` alone, in fresh processes, in turn."""

import resource
import statistics
import subprocess
import sys

ROUNDS = 9
CASES = {
    "import dagster": "import dagster",
    "load definitions": "from threadjuice_dagster.definitions import newsroom; newsroom()",
}


def cpu_seconds(code: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    for code in CASES.values():
        cpu_seconds(code)
    rounds = [[cpu_seconds(code) for code in CASES.values()] for _ in range(ROUNDS)]
    for name, figures in zip(CASES, zip(*rounds, strict=True), strict=True):
        print(f"load: {name:<18} {statistics.median(figures):.3f} s CPU (median of {ROUNDS})")
    ratio = statistics.median(definitions / alone for alone, definitions in rounds)
    print(f"load: ratio              {ratio:.2f} (goal at most 1.30)")
