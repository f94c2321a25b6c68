#!/usr/bin/env bash
# tbparse shows steps of a resumed run twice that TensorBoard shows once.
#
# Expected behaviour: tbparse reads event files with TensorBoard's own accumulator, so its table too
#   contains each step once if a run was resumed with purge_step (a START record, the agreed marker).
# Actual behaviour: TensorBoard's accumulator over the folder drops the first file's steps from the
#   restart on. tbparse opens each file by itself and concatenates the rows, so these steps appear twice
#   with two values, sorted by step, and nothing distinguishes the old from the new.
# Versions: tbparse 0.0.9, tensorboard 2.21.0, tensorboardX 2.6.5, pandas 3.1.1 (tested on 2026-11-29
#   with Python 3.11). Neither torch nor TensorFlow is needed.
# Why it matters: tables and curves of distillation losses are often made with tbparse. The mean of a
#   metric over steps includes the abandoned steps of every interrupted run.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    tbparse==0.0.9 tensorboard==2.21.0 tensorboardX==2.6.5 pandas==3.1.1

cd "$work"
"$work/venv/bin/python" - 2>errors <<'PY' || { cat errors; exit 1; }
import logging
import time

from tbparse import SummaryReader
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboardX import SummaryWriter

def write(folder, steps, value, **options):
    writer = SummaryWriter(folder, **options)
    for step in steps:
        writer.add_scalar("loss", value, step)
    writer.close()
    time.sleep(1.1)  # The names of event files contain the time in seconds.

def read(folder):
    accumulator = EventAccumulator(folder)
    accumulator.Reload()
    board = [(e.step, e.value) for e in accumulator.Scalars("loss")]
    return board, [(row.step, row.value) for row in SummaryReader(folder).scalars.itertuples()]

write("resumed", range(6), 1.0)
write("resumed", range(3, 8), 2.0, purge_step=3)
board, table = read("resumed")
print("TensorBoard:", board)
print("tbparse:    ", table)
assert board == [(s, 1.0 if s < 3 else 2.0) for s in range(8)], board
assert len(table) == 11 and [s for s, _ in table].count(4) == 2, table
assert sorted(v for s, v in table if s == 4) == [1.0, 2.0], table

write("straight", range(8), 1.0)
board, table = read("straight")
assert board == table and len(table) == 8  # Control: both read a run in one file alike.
PY
