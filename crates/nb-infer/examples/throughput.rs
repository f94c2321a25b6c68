//! Texts per second, and the latency of one text, of a model on the lines of a file:
//!
//! ```sh
//! cargo run --release -p nb-infer --example throughput -- runs/quickstart/student headlines.txt
//! ```

use std::error::Error;
use std::fs;
use std::time::Instant;

use nb_infer::{Model, Options, Precision, Text};

/// Texts per call.
const AT_ONCE: usize = 1024;
/// Rounds in turns, and single texts in each.
const ROUNDS: usize = 5;
const SINGLE: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, file] = arguments.as_slice() else {
        return Err("expected a model folder and a file of texts, one per line".into());
    };
    let lines = fs::read_to_string(file).map_err(|e| format!("cannot read {file}: {e}"))?;
    let texts: Vec<Text<'_>> = lines.lines().map(Text::from).collect();
    let mut models = Vec::new();
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        let began = Instant::now();
        let model = Model::open(folder, &Options { precision, ..Options::default() })?;
        println!("{precision:?}: opened in {:.0} ms", 1e3 * began.elapsed().as_secs_f64());
        measure(&model, &texts[..texts.len().min(64)])?; // the first calls allocate
        models.push((precision, model));
    }
    for round in 1..=ROUNDS {
        for (precision, model) in &models {
            let [speed, median, late] = measure(model, &texts)?;
            println!("{round} {precision:?}: {speed:.0} texts/s, one text {median:.2} ms, 99 % {late:.2} ms");
        }
    }
    Ok(())
}

/// Returns texts per second, and the median and the 99th percentile of single texts in milliseconds.
fn measure(model: &Model, texts: &[Text<'_>]) -> Result<[f64; 3], Box<dyn Error>> {
    let began = Instant::now();
    for texts in texts.chunks(AT_ONCE) {
        model.vectors(texts)?;
    }
    let speed = texts.len() as f64 / began.elapsed().as_secs_f64();
    let mut times = Vec::new();
    for text in texts.iter().take(SINGLE) {
        let began = Instant::now();
        model.vectors(std::slice::from_ref(text))?;
        times.push(1e3 * began.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    Ok([speed, at(0.5), at(0.99)])
}
