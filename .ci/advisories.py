"""Fails when a pinned version has a published vulnerability; passes with a notice when nobody can be asked.

    python .ci/advisories.py [REQUIREMENTS]

Runs pip-audit over constraints.txt, or over the named file of pinned versions. Returns 0 if nothing is known, 1 if
something is, and 0 with a notice on standard error if the advisory database cannot be reached within five minutes.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 300
ACCEPTED: dict[str, str] = {}
"""Identifier of an advisory -> why it does not concern suprem; it is looked at again with every release."""


def ask(path: Path) -> dict[str, Any] | None:
    """The report of pip-audit, ``None`` without one."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(path), "--disable-pip", "--no-deps"]
    command += ["--progress-spinner", "off", "--format", "json", "--timeout", "30"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        sys.stderr.write(f"pip-audit has no answer after {LIMIT_S} s.\n")
        return None
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        sys.stderr.write(done.stderr[-1000:])
        return None
    return report


def findings(report: dict[str, Any]) -> list[str]:
    """One line per advisory that is not accepted."""
    return [
        f"{package['name']} {package['version']}: {found['id']}, fixed in {', '.join(found['fix_versions']) or 'none'}"
        for package in report["dependencies"]
        for found in package.get("vulns", ())
        if not {found["id"], *found["aliases"]} & set(ACCEPTED)
    ]


def main(words: list[str]) -> int:
    """Prints what is known."""
    report = ask(Path(words[0]) if words else ROOT / "constraints.txt")
    packages = report["dependencies"] if report else []
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if len(skipped) == len(packages):  # an index that serves packages alone answers so for every one of them
        sys.stderr.write("NOTICE: the advisory database cannot be reached; vulnerabilities were not checked.\n")
        return 0
    problems = findings({"dependencies": packages})
    print("\n".join([*problems, f"{len(packages) - len(skipped)} packages, {len(problems)} advisories"]))
    if skipped:
        print(f"unknown to the database, so not checked: {', '.join(skipped)}")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
