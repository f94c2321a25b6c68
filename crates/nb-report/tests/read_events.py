"""Reads an event file of nb-report with TensorBoard itself. Run by hand, after a change of src/events.rs:

    pip install tensorboard
    NB_EVENTS_DIR=/tmp/events cargo test -p nb-report --test events -- --ignored
    python crates/nb-report/tests/read_events.py /tmp/events

The folder must be new. Last passed with tensorboard 2.21.0.
"""

import struct
import sys
import time

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.backend.event_processing.io_wrapper import ListDirectoryAbsolute


def f32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


folder = sys.argv[1]
files = sorted(ListDirectoryAbsolute(folder))
assert len(files) == 2, files
events = EventAccumulator(folder, size_guidance={"scalars": 0}).Reload()
assert sorted(events.Tags()["scalars"]) == ["student/accuracy", "train/loss"], events.Tags()

loss = events.Scalars("train/loss")
expected = [(step, f32(1 / (step + 1))) for step in range(90)] + [(step, 2.0) for step in range(90, 110)]
assert [(event.step, event.value) for event in loss] == expected
assert all(abs(event.wall_time - time.time()) < 3600 for event in loss)

# What came at step 90 and later is void for every tag, written again or not.
accuracy = events.Scalars("student/accuracy")
assert [(event.step, event.value) for event in accuracy] == [(step, step / 128) for step in range(90)]

# The reader checks every checksum: a flipped bit must stop it.
whole = open(files[0], "rb").read()
assert len(list(RawEventFileLoader(files[0]).Load())) == 201
with open(files[0] + ".broken", "wb") as broken:
    broken.write(whole[:-1] + bytes([whole[-1] ^ 1]))
assert len(list(RawEventFileLoader(files[0] + ".broken").Load())) < 201
print("ok:", len(loss), "and", len(accuracy), "values")
