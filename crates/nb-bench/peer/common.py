"""What the peers have in common: the job, the protocol over standard input and output, memory, devices.

The bench sends a line `round` for every round and ends the input when it is done. The peer answers with one line of JSON each:
first {"ready": true} or {"unavailable": "why"}, then what it did in each round.
"""

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

# Libraries may print: what the bench reads goes to a copy of standard output, everything else to standard error.
_ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

Job = dict[str, Any]
Round = dict[str, Any]


def arguments() -> tuple[Job, str]:
    """The job, and the mode to do it in."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", required=True, help="what to do, as JSON")
    parser.add_argument("--mode", required=True, help="how to do it")
    args = parser.parse_args()
    with open(args.job, encoding="utf8") as file:
        return json.load(file), args.mode


def answer(value: dict[str, Any]) -> None:
    print(json.dumps(value), file=_ANSWERS, flush=True)


def unavailable(error: BaseException) -> None:
    """Says that the mode does not work here, and ends."""
    traceback.print_exception(error)
    lines = str(error).strip().splitlines() or [""]
    answer({"unavailable": f"{type(error).__name__}: {lines[0]}"})
    sys.exit(0)


def serve(work: Callable[[], Round]) -> None:
    """Does a round for each line of the input. To be called when everything is warm."""
    reset_peak()
    answer({"ready": True})
    for line in sys.stdin:
        if line.strip() != "round":
            sys.exit(f"expected `round`, found {line!r}")
        answer(work() | {"peak_bytes": peak_bytes()})


def reset_peak() -> None:
    """Lets the peak begin anew at what is held now, as the bench does for itself."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        pass  # then it is the peak of the whole process


def peak_bytes() -> int | None:
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            lines = [line for line in file if line.startswith("VmHWM:")]
    except OSError:
        return None
    return int(lines[0].split()[1]) * 1024 if lines else None
