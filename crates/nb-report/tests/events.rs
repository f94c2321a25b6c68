//! Event files, read by a decoder that shares no code with the writer: it computes checksums bit by bit and decodes
//! fields by hand.
//!
//! `read_events.py` in this folder reads an event file with TensorBoard.

#![allow(clippy::unwrap_used)] // allowed in test helpers, as in tests

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use nb_report::EventWriter;

/// CRC-32C (Castagnoli), one bit at a time.
fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    !bytes.iter().fold(!0, byte)
}

fn masked(bytes: &[u8]) -> u32 {
    let crc = crc(bytes);
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Returns the bytes of each record. Panics if a checksum is wrong or bytes are left over.
fn records(mut file: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    while !file.is_empty() {
        let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        let checksum = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        assert_eq!(checksum(8), masked(&file[..8]), "checksum of the length of record {}", records.len());
        let record = &file[12..12 + length];
        assert_eq!(checksum(12 + length), masked(record), "checksum of record {}", records.len());
        records.push(record);
        file = &file[16 + length..];
    }
    records
}

/// A field of a message: its number, and its value as bits or as bytes.
#[derive(Debug, PartialEq)]
enum Field<'a> {
    Bits(u64, u64),
    Bytes(u64, &'a [u8]),
}

fn fields(mut message: &[u8]) -> Vec<Field<'_>> {
    fn read_varint(message: &mut &[u8]) -> u64 {
        let len = message.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        let (number, rest) = message.split_at(len);
        *message = rest;
        number.iter().rev().fold(0, |value, byte| (value << 7) | u64::from(byte & 0x7f))
    }
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = read_varint(&mut message);
        let len = match key & 7 {
            0 => {
                fields.push(Field::Bits(key >> 3, read_varint(&mut message)));
                continue;
            }
            1 => 8,
            2 => read_varint(&mut message) as usize,
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (value, rest) = message.split_at(len);
        message = rest;
        let bits = |value: &[u8]| value.iter().rev().fold(0, |bits, byte| (bits << 8) | u64::from(*byte));
        fields.push(if key & 7 == 2 { Field::Bytes(key >> 3, value) } else { Field::Bits(key >> 3, bits(value)) });
    }
    fields
}

/// A `SessionLog` with status START, as the field of an event.
const START: Field<'_> = Field::Bytes(7, &[8, 1]);

/// Returns (wall time, step, tag, value) of each scalar. The first two records must be the version and the start of a
/// session.
fn scalars(path: &Path) -> Vec<(f64, u64, String, f32)> {
    let file = std::fs::read(path).unwrap();
    let records = records(&file);
    assert_eq!(fields(records[0])[1..], [Field::Bytes(3, b"brain.Event:2")]);
    assert_eq!(fields(records[1])[1..], [Field::Bits(2, 0), START]);
    let scalar = |record: &&[u8]| match fields(record)[..] {
        [Field::Bits(1, time), Field::Bits(2, step), Field::Bytes(5, summary)] => {
            let [Field::Bytes(1, value)] = fields(summary)[..] else { panic!("{summary:?}") };
            let [Field::Bytes(1, tag), Field::Bits(2, bits)] = fields(value)[..] else { panic!("{value:?}") };
            let tag = String::from_utf8(tag.to_vec()).unwrap();
            (f64::from_bits(time), step, tag, f32::from_bits(bits as u32))
        }
        ref other => panic!("{other:?}"),
    };
    records[2..].iter().map(scalar).collect()
}

#[test]
fn the_checksum_of_this_test_is_crc_32c() {
    // RFC 3720, B.4, and the usual check value.
    assert_eq!(crc(&[0; 32]), 0x8a91_36aa);
    assert_eq!(crc(b"123456789"), 0xe306_9283);
}

#[test]
fn scalars_read_back_with_the_time_of_writing() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let (folder, before) = (tempfile::tempdir().unwrap(), now());
    let mut events = EventWriter::create(&folder.path().join("new")).unwrap();
    let written =
        [(0, "train/loss", 3.25), (300, "train/loss", 0.1), (70_000_000_000, "Güte", -0.0), (1, "", f64::INFINITY)];
    for (step, tag, value) in written {
        events.scalar(step, tag, value).unwrap();
    }
    events.scalar(2, "nan", f64::NAN).unwrap();
    events.flush().unwrap();

    let found = scalars(events.path());
    assert!(found.iter().all(|(time, ..)| (before..=now()).contains(time)));
    assert!(found.is_sorted_by(|a, b| a.0 <= b.0));
    let (last, rest) = found.split_last().unwrap();
    assert!(last.3.is_nan());
    let rest: Vec<(u64, &str, f32)> = rest.iter().map(|(_, step, tag, value)| (*step, tag.as_str(), *value)).collect();
    assert_eq!(rest, written.map(|(step, tag, value)| (step, tag, value as f32)));
}

#[test]
fn dropping_a_writer_writes_its_buffer() {
    let folder = tempfile::tempdir().unwrap();
    let mut events = EventWriter::create(folder.path()).unwrap();
    let path = events.path().to_owned();
    assert!(scalars(&path).is_empty());
    (0..5000).for_each(|step| events.scalar(step, "train/loss", 0.5).unwrap());
    drop(events);
    assert_eq!(scalars(&path).len(), 5000);
}

#[test]
fn every_writer_creates_a_new_file_that_tensorboard_finds() {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<EventWriter> = (0..3).map(|_| EventWriter::create(folder.path()).unwrap()).collect();
    assert!(files.windows(2).all(|pair| pair[0].path() < pair[1].path()));
    let name = files[0].path().file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("events.out.tfevents."), "{name}");
}

/// TensorBoard's Python loader discards nothing at the first session of a run, so the first file of a run must start
/// one.
#[test]
fn every_file_starts_one_session_at_its_step() {
    let folder = tempfile::tempdir().unwrap();
    let started = EventWriter::create(folder.path()).unwrap();
    let resumed = EventWriter::resume(folder.path(), 120).unwrap();
    for (events, step) in [(started, 0), (resumed, 120)] {
        let file = std::fs::read(events.path()).unwrap();
        let records = records(&file);
        assert_eq!(records.len(), 2);
        assert_eq!(fields(records[0])[1..], [Field::Bytes(3, b"brain.Event:2")]);
        assert_eq!(fields(records[1])[1..], [Field::Bits(2, step), START]);
        // The record after the wall time (key 9, 8 bytes), as the protobuf classes of TensorBoard 2.21 serialise it:
        // `Event(step=…, session_log=SessionLog(status=SessionLog.START))`. `read_events.py` compares the two.
        let step = if step == 0 { 0 } else { 0x78 };
        assert_eq!((records[1][0], &records[1][9..]), (9, &[0x10, step, 0x3a, 2, 8, 1][..]));
    }
}

#[test]
fn the_error_names_a_folder_that_cannot_be_created() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = EventWriter::create(&file).unwrap_err().to_string();
    assert!(error.starts_with(file.to_str().unwrap()), "{error}");
}

/// Writes an event folder for `read_events.py`.
#[test]
#[ignore = "writes to NB_EVENTS_DIR for read_events.py"]
fn write_events_for_tensorboard() {
    let folder = std::env::var_os("NB_EVENTS_DIR").expect("NB_EVENTS_DIR names a folder");
    let mut events = EventWriter::create(Path::new(&folder)).unwrap();
    for step in 0..100u64 {
        events.scalar(step, "train/loss", 1.0 / (step + 1) as f64).unwrap();
        events.scalar(step, "student/accuracy", step as f64 / 128.0).unwrap();
    }
    events.flush().unwrap();
    // A later file resumes at step 90 with other values, so the values of the first file from step 90 on are discarded.
    let mut events = EventWriter::resume(Path::new(&folder), 90).unwrap();
    (90..110u64).for_each(|step| events.scalar(step, "train/loss", 2.0).unwrap());
    events.flush().unwrap();
}
