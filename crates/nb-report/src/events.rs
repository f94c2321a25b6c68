//! Scalars over steps for TensorBoard: [`EventWriter`] writes `events.out.tfevents.*`.
//!
//! **The file.** A sequence of records, each `length: u64, masked CRC-32C of length: u32, bytes, masked CRC-32C of
//! bytes: u32`, little-endian, with mask(c) = (c rotated right by 15) + 0xa282ead8 (TensorFlow,
//! `lib/io/record_writer.h`). The bytes of a record are one `Event` message (`tensorboard/compat/proto/event.proto`).
//! Only five of its fields are needed, and four of `Summary`, `Summary.Value` and `SessionLog`; all have simple wire
//! types. The first record names the version of the format, `brain.Event:2`; the second starts a session
//! (`SessionLog.START`) at the first step of the file.
//!
//! **Why the messages are encoded here.** No existing crate for event files is suitable: `tensorboard-rs` 0.5.9 is
//! unmaintained and panics in a background thread when the disk is full; `tfrecord` 0.15 depends on more than a hundred
//! crates, including a protobuf compiler and an HTTP client for its build; `syntaxdot-summary` 0.5 works, but depends
//! on a protobuf library from 2021 and flushes after every number. The only intricate part of the format is the
//! checksum, which comes from the `crc32c` crate.
//!
//! Histograms, images and text are not supported.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::ReportError;

/// The contents of the first record.
const VERSION: &str = "brain.Event:2";

/// Field numbers of `event.proto` and `summary.proto`.
mod field {
    pub(super) const WALL_TIME: u64 = 1;
    pub(super) const STEP: u64 = 2;
    pub(super) const FILE_VERSION: u64 = 3;
    pub(super) const SUMMARY: u64 = 5;
    pub(super) const SESSION_LOG: u64 = 7;
    /// `Summary.value`, `Summary.Value.tag`, `SessionLog.status`.
    pub(super) const FIRST: u64 = 1;
    pub(super) const SIMPLE_VALUE: u64 = 2;
}

/// `SessionLog.SessionStatus.START`.
const START: u64 = 1;

/// A TensorBoard event file being written.
///
/// Scalars are buffered until a few kilobytes have accumulated, [`flush`](Self::flush) is called or the writer is
/// dropped. Dropping cannot report an error, so flush at the end. If the process dies, TensorBoard reads the file up to
/// its last complete record.
///
/// ```
/// use nb_report::EventWriter;
///
/// let folder = tempfile::tempdir()?;
/// let mut events = EventWriter::create(folder.path())?;
/// for step in 0..10 {
///     events.scalar(step, "train/loss", 1.0 / (step + 1) as f64)?;
/// }
/// events.flush()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: BufWriter<File>,
}

impl EventWriter {
    /// Creates a file in `folder`, and the folder if it is missing. Existing files stay unchanged.
    ///
    /// # Errors
    /// If it cannot be created or written.
    pub fn create(folder: &Path) -> Result<Self, ReportError> {
        Self::session(folder, 0)
    }

    /// Creates a file in the folder of a run that resumes at `step`. TensorBoard then discards this step and all later
    /// steps of the earlier files.
    ///
    /// # Errors
    /// If it cannot be created or written.
    pub fn resume(folder: &Path, step: u64) -> Result<Self, ReportError> {
        Self::session(folder, step)
    }

    /// Creates a file that starts a session at `step`. The first file of a run also starts one, because the Python
    /// loader of TensorBoard 2.21 (`PluginEventAccumulator`, `--load_fast=false`) treats the first session it finds as
    /// the start of the run and discards nothing for it. Otherwise, a resumed run would show the repeated steps twice.
    fn session(folder: &Path, step: u64) -> Result<Self, ReportError> {
        let mut writer = Self::new_file(folder)?;
        let mut session = Vec::new();
        varint(&mut session, field::FIRST, START);
        let mut event = Vec::new();
        varint(&mut event, field::STEP, step);
        bytes(&mut event, field::SESSION_LOG, &session);
        writer.event(&event)?;
        writer.flush()?;
        Ok(writer)
    }

    fn new_file(folder: &Path) -> Result<Self, ReportError> {
        std::fs::create_dir_all(folder).map_err(ReportError::io(folder))?;
        let seconds = now() as u64;
        // TensorBoard reads the files of a folder in the order of their names, so the time comes first.
        let name = |n: u32| format!("events.out.tfevents.{seconds:010}.{}.{n}", std::process::id());
        let mut n = 0;
        loop {
            let path = folder.join(name(n));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Self::begin(path, file),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => n += 1,
                Err(error) => return Err(ReportError::io(&path)(error)),
            }
        }
    }

    fn begin(path: PathBuf, file: File) -> Result<Self, ReportError> {
        let mut writer = Self { path, file: BufWriter::new(file) };
        let mut event = Vec::new();
        bytes(&mut event, field::FILE_VERSION, VERSION.as_bytes());
        writer.event(&event)?;
        writer.flush()?;
        Ok(writer)
    }

    /// Returns the path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds the value of `tag` at `step`, with the current time. The value is stored as f32; TensorBoard marks values
    /// that are not finite.
    ///
    /// # Errors
    /// If the buffer was full and the file cannot be written.
    pub fn scalar(&mut self, step: u64, tag: &str, value: f64) -> Result<(), ReportError> {
        let mut single = Vec::new();
        bytes(&mut single, field::FIRST, tag.as_bytes());
        float(&mut single, field::SIMPLE_VALUE, value as f32);
        let mut summary = Vec::new();
        bytes(&mut summary, field::FIRST, &single);
        let mut event = Vec::new();
        varint(&mut event, field::STEP, step);
        bytes(&mut event, field::SUMMARY, &summary);
        self.event(&event)
    }

    /// Writes the buffer to the file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn flush(&mut self) -> Result<(), ReportError> {
        self.file.flush().map_err(ReportError::io(&self.path))
    }

    /// Adds an event: the time, then `rest`, which is already encoded.
    fn event(&mut self, rest: &[u8]) -> Result<(), ReportError> {
        let mut event = Vec::with_capacity(rest.len() + 9);
        double(&mut event, field::WALL_TIME, now());
        event.extend_from_slice(rest);
        self.file.write_all(&record(&event)).map_err(ReportError::io(&self.path))
    }
}

/// Returns the seconds since the Unix epoch.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Encodes a record: length and bytes, each followed by its checksum.
fn record(event: &[u8]) -> Vec<u8> {
    let length = (event.len() as u64).to_le_bytes();
    let parts: [&[u8]; 4] = [&length, &masked(&length), event, &masked(event)];
    parts.concat()
}

/// Returns the masked CRC-32C. The mask is for bytes that may themselves contain checksums.
fn masked(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

// Protobuf wire types: 0 is a varint, 1 is eight bytes, 2 is a length followed by bytes, 5 is four bytes.

fn varint(out: &mut Vec<u8>, field: u64, value: u64) {
    push_varint(out, field << 3);
    push_varint(out, value);
}

fn double(out: &mut Vec<u8>, field: u64, value: f64) {
    push_varint(out, field << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    push_varint(out, field << 3 | 2);
    push_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn float(out: &mut Vec<u8>, field: u64, value: f32) {
    push_varint(out, field << 3 | 5);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Encodes a varint: seven bits per byte, the lowest first; the highest bit means "more follows".
fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_encoded_as_in_protobuf() {
        // The example in the protobuf documentation, and values at the limits of one, two and ten bytes.
        let encoded = |value| {
            let mut out = Vec::new();
            push_varint(&mut out, value);
            out
        };
        assert_eq!(encoded(150), [0x96, 0x01]);
        assert_eq!(encoded(0), [0]);
        assert_eq!(encoded(127), [127]);
        assert_eq!(encoded(16_384), [0x80, 0x80, 0x01]);
        assert_eq!(encoded(u64::MAX), [[0xff; 9].as_slice(), &[1]].concat());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_that_names_the_file() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = EventWriter::begin(PathBuf::from("runs/x/events"), full).unwrap_err();
        assert_eq!(error.to_string(), "runs/x/events");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.starts_with("No space left"), "{source}");
    }
}
