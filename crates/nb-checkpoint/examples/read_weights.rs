//! Reads the tensors of a file of weights and prints their number, size and a sum of their bytes, with the time.
//!
//! ```sh
//! cargo run --release -p nb-checkpoint --example read_weights -- read pytorch_model.bin
//! cargo run --release -p nb-checkpoint --example read_weights -- map pytorch_model.bin
//! ```
//!
//! `read` reads the file into memory. `map` maps it, so that only the bytes that are used are read: the index, and here
//! the first byte of every tensor.

use std::error::Error;
use std::time::Instant;

use nb_checkpoint::TensorFile;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [opening, path] = &arguments[..] else {
        return Err("usage: read_weights read|map FILE".into());
    };
    let start = Instant::now();
    let file = match opening.as_str() {
        "read" => TensorFile::read(path.as_ref())?,
        "map" => TensorFile::map(path.as_ref())?,
        other => return Err(format!("`{other}` found, expected read or map").into()),
    };
    let tensors = file.tensors()?;
    let bytes: usize = tensors.iter().map(|tensor| tensor.bytes.len()).sum();
    let sum: u64 = tensors.iter().filter_map(|tensor| tensor.bytes.first()).map(|&byte| u64::from(byte)).sum();
    let seconds = start.elapsed().as_secs_f64();
    println!("{seconds:.4} s, {} tensors, {bytes} bytes, sum of first bytes {sum}", tensors.len());
    Ok(())
}
