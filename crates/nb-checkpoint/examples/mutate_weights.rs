//! Reads changed copies of files of `torch.save`, and fails if one takes more memory or time than its length allows, or
//! panics. It needs no fuzzer, but follows no coverage either; `fuzz/fuzz_targets/bin_weights.rs` does.
//!
//! ```sh
//! cargo run --release -p nb-checkpoint --example mutate_weights -- 1000000 crates/nb-checkpoint/tests/data/*.bin
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use nb_checkpoint::TensorFile;

/// The largest time for a file of a few kilobytes.
const LIMIT: Duration = Duration::from_secs(1);

/// The generator SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments.next().ok_or("usage: mutate_weights COUNT FILE...")?.parse()?;
    let seeds = arguments.map(std::fs::read).collect::<Result<Vec<_>, _>>()?;
    let (mut random, mut outcomes, start) = (Random(1), BTreeMap::new(), Instant::now());
    for _ in 0..count {
        let bytes = mutated(&mut random, &seeds);
        let (length, before) = (bytes.len(), Instant::now());
        let file = TensorFile::new("pytorch_model.bin".as_ref(), bytes);
        let outcome = match file.tensors() {
            Ok(tensors) => {
                let huge = tensors.iter().map(|tensor| tensor.bytes.len()).filter(|bytes| *bytes > length);
                assert!(huge.sum::<usize>() <= 4 * length, "copies of more than four times {length} bytes");
                "read".to_owned()
            }
            // The message without what the file says.
            Err(error) => error
                .to_string()
                .split(": ")
                .nth(1)
                .unwrap_or_default()
                .split('`')
                .next()
                .unwrap_or_default()
                .to_owned(),
        };
        assert!(before.elapsed() < LIMIT, "{:?} for {length} bytes: {outcome}", before.elapsed());
        *outcomes.entry(outcome).or_insert(0_u64) += 1;
    }
    let mut outcomes: Vec<_> = outcomes.into_iter().collect();
    outcomes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    outcomes.iter().take(25).for_each(|(outcome, count)| println!("{count:9} {outcome}"));
    println!("{count} files in {:.0} s, {} outcomes", start.elapsed().as_secs_f64(), outcomes.len());
    Ok(())
}

/// Returns a seed with some bytes changed, removed, repeated, taken from another seed, or replaced by extreme numbers.
fn mutated(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    const OPCODES: &[u8] = b"().0123NRQbtlduesaq\x85\x86\x87\x88\x89\x8a\x81\x93\x94h}]XUKMJc";
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        let end = bytes.len().min(at + 1 + random.below(40));
        match random.below(8) {
            0 => bytes[at] = random.next() as u8,
            1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at] = OPCODES[random.below(OPCODES.len())],
            3 => bytes.insert(at, OPCODES[random.below(OPCODES.len())]),
            4 => drop(bytes.drain(at..end)),
            5 => {
                let part = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, part);
            }
            6 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len());
                let part = other[from..other.len().min(from + 40)].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                let number = [0, 1, u64::MAX, 1 << 63, 1 << 31, (1 << 32) - 1, 1 << 40][random.below(7)];
                let width = [1, 2, 4, 8][random.below(4)].min(bytes.len() - at);
                bytes[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}
