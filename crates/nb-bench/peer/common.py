"""The code that all peers share: the job, the protocol over standard input and output, memory.

The bench sends a line `round` for every round and closes the input after the last one. The peer answers with lines of JSON:
first {"ready": true}, with facts about the peer, or {"unavailable": "reason"}, then one line per round.
"""

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

# Libraries may print, so answers go to a copy of standard output and everything else goes to standard error.
_ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

Job = dict[str, Any]
Round = dict[str, Any]


def arguments() -> tuple[Job, str]:
    """Returns the job and the mode from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", required=True, help="path of the job, a JSON file")
    parser.add_argument("--mode", required=True, help="name of the implementation to use")
    args = parser.parse_args()
    with open(args.job, encoding="utf8") as file:
        return json.load(file), args.mode


def answer(value: dict[str, Any]) -> None:
    """Sends one line of JSON to the bench."""
    print(json.dumps(value), file=_ANSWERS, flush=True)


def unavailable(error: BaseException) -> None:
    """Reports that the mode is unavailable here, and exits."""
    traceback.print_exception(error)
    lines = str(error).strip().splitlines() or [""]
    answer({"unavailable": f"{type(error).__name__}: {lines[0]}"})
    sys.exit(0)


def serve(run_round: Callable[[], Round], facts: dict[str, Any] | None = None) -> None:
    """Runs one round per line of the input. Call this after the warm-up, with facts about the peer: `settings`, `agreement`."""
    reset_peak()
    answer({"ready": True} | (facts or {}))
    for line in sys.stdin:
        if line.strip() != "round":
            sys.exit(f"expected `round`, found {line!r}")
        answer(run_round() | {"peak_bytes": peak_bytes()})


def reset_peak() -> None:
    """Resets the peak to the current memory, as the bench does for itself."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        pass  # the peak then covers the lifetime of the process


def peak_bytes() -> int | None:
    """Returns the peak memory of this process in bytes, on Linux."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            lines = [line for line in file if line.startswith("VmHWM:")]
    except OSError:
        return None
    return int(lines[0].split()[1]) * 1024 if lines else None
