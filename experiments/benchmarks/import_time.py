"""Milliseconds that ``import suprem`` adds to a bare interpreter, and what the quick commands take.

    python experiments/benchmarks/import_time.py

Each figure is the median of 15 fresh interpreters, alternating with the bare one so that both see the same machine.
Writes results_import_time.csv beside this file.
"""

import csv
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPEATS = 15
STATEMENTS = {
    "bare interpreter": "pass",
    "import suprem": "import suprem",
    "suprem --version": "from suprem.cli import main; main(['--version'])",
    "suprem --help": "from suprem.cli import main; main(['--help'])",
    "suprem zoo list": "from suprem.cli import main; main(['zoo', 'list'])",
}


def milliseconds(statement: str) -> float:
    """Wall-clock time of one fresh interpreter that runs ``statement``."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, stdout=subprocess.DEVNULL)
    return 1000 * (time.perf_counter() - begin)


def main() -> None:
    """Measures, prints and writes the table."""
    for statement in STATEMENTS.values():
        milliseconds(statement)  # the first run reads from disk and compiles
    times = {name: [] for name in STATEMENTS}
    for _ in range(REPEATS):
        for name, statement in STATEMENTS.items():
            times[name].append(milliseconds(statement))
    bare = statistics.median(times["bare interpreter"])
    with (Path(__file__).parent / "results_import_time.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["what", "median_ms", "over_bare_ms", "repeats"])
        for name, values in times.items():
            median = statistics.median(values)
            table.writerow([name, f"{median:.0f}", f"{median - bare:.0f}", REPEATS])
            print(f"{name:20s} {median:6.0f} ms   {median - bare:+6.0f} ms over a bare interpreter")


if __name__ == "__main__":
    main()
