"""Reads the event files of a resumed run, which nb-report has written, with TensorBoard itself: with its two loaders
and with the accumulator that scripts use. Run this by hand after a change to src/events.rs:

    pip install tensorboard==2.21.0 tensorboard-data-server==0.7.2
    NB_EVENTS_DIR=target/events cargo test -p nb-report --test events -- --ignored
    python crates/nb-report/tests/read_events.py target/events

The folder must be new. Prints how many points of each tag each loader finds, and fails if a step appears twice. Last
passed with tensorboard 2.21.0 and tensorboard-data-server 0.7.2.
"""

import os
import struct
import sys
import time

from tensorboard import context
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.backend.event_processing.io_wrapper import ListDirectoryAbsolute
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.data.server_ingester import SubprocessServerDataIngester, get_server_binary
from tensorboard.util.grpc_util import ChannelCredsType

MAX_POINTS = 1_000_000


def f32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


# `write_events_for_tensorboard` writes steps 0 to 99, then a second file that resumes at step 90 and writes one of the
# two tags up to step 109. The first file's points from step 90 on are void for every tag, whether rewritten or not.
RESUMED = 90
EXPECTED = {
    "train/loss": [(step, f32(1 / (step + 1))) for step in range(RESUMED)] + [(step, 2.0) for step in range(90, 110)],
    "student/accuracy": [(step, step / 128) for step in range(RESUMED)],
}
# The data server does not know sessions. It drops a tag's later points once a lower step of that tag arrives, so it
# keeps those of a tag that the second file does not contain.
EXPECTED_OF_SERVER = EXPECTED | {"student/accuracy": [(step, step / 128) for step in range(100)]}


def with_accumulator(folder):
    """`EventAccumulator`, which notebooks and scripts use."""
    events = EventAccumulator(folder, size_guidance={"scalars": 0}).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def from_provider(provider):
    series = provider.read_scalars(
        context.RequestContext(), experiment_id="", plugin_name="scalars", downsample=MAX_POINTS
    )
    return {tag: [(p.step, p.value) for p in points] for run in series.values() for tag, points in run.items()}


def with_python_loader(folder):
    """`tensorboard --load_fast=false`: the plugin accumulator behind a multiplexer."""
    multiplexer = EventMultiplexer(tensor_size_guidance={"scalars": 0})
    multiplexer.AddRunsFromDirectory(folder)
    multiplexer.Reload()
    return from_provider(MultiplexerDataProvider(multiplexer, folder))


def with_data_server(folder):
    """`tensorboard --load_fast=true`: the data server, a separate process."""
    ingester = SubprocessServerDataIngester(
        server_binary=get_server_binary(),
        logdir=folder,
        reload_interval=0,
        channel_creds_type=ChannelCredsType.LOCAL,
        samples_per_plugin={"scalars": MAX_POINTS},
    )
    ingester.start()
    # The server answers before it has read the files.
    for _ in range(100):
        found = from_provider(ingester.data_provider)
        if found and max(step for points in found.values() for step, _ in points) == 109:
            break
        time.sleep(0.1)
    return found


def counts(found):
    return ", ".join(f"{tag} {len(points)}" for tag, points in sorted(found.items()))


def check_loaders(folder):
    wrong = []
    loaders = {with_accumulator: EXPECTED, with_python_loader: EXPECTED, with_data_server: EXPECTED_OF_SERVER}
    for loader, expected in loaders.items():
        found = loader(folder)
        print(f"{loader.__name__:20} {counts(found)}; expected {counts(expected)}")
        if found != expected:
            wrong.append(loader.__name__)
    if wrong:
        sys.exit(f"not as expected: {', '.join(wrong)}")


def check_records(files):
    """Checks that TensorBoard's own protobuf classes give the same first records of each file."""
    for file, step in zip(files, (0, RESUMED)):
        records = [Event.FromString(record) for record in RawEventFileLoader(file).Load()]
        assert all(abs(event.wall_time - time.time()) < 3600 for event in records)
        assert records[0].file_version == "brain.Event:2", records[0]
        start = Event(wall_time=records[1].wall_time, step=step, session_log=SessionLog(status=SessionLog.START))
        assert records[1] == start, records[1]


def check_checksums(file):
    """Checks that a flipped bit stops the reader, which verifies every checksum."""
    with open(file, "rb") as whole:
        content = whole.read()
    read = len(list(RawEventFileLoader(file).Load()))
    broken = file + ".broken"
    with open(broken, "wb") as out:
        out.write(content[:-1] + bytes([content[-1] ^ 1]))
    assert read == 202 and len(list(RawEventFileLoader(broken).Load())) < read, read
    os.remove(broken)


if __name__ == "__main__":
    folder = sys.argv[1]
    files = sorted(ListDirectoryAbsolute(folder))
    assert len(files) == 2, files
    check_loaders(folder)
    check_records(files)
    check_checksums(files[0])
    print("ok")
