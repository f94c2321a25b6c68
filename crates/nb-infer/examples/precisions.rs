//! The precisions of a model on the lines of a file: the distance from f32, texts per second, and the latency of one text.
//!
//! ```sh
//! cargo run --release -p nb-infer --example precisions -- runs/quickstart/student headlines.txt
//! ```

use std::error::Error;
use std::fs;
use std::time::Instant;

use nb_infer::{Model, Options, Precision, Text};

/// Texts per call.
const AT_ONCE: usize = 1024;
/// Rounds, in which the precisions take turns.
const ROUNDS: usize = 5;
/// Single calls in a round.
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
        models.push((precision, model));
    }
    for (precision, model) in &models[1..] {
        compare(*precision, model, &models[0].1, &texts)?;
    }
    for round in 1..=ROUNDS {
        for (precision, model) in &models {
            let [speed, median, late] = measure(model, &texts)?;
            println!("{round} {precision:?}: {speed:.0} texts/s, one text {median:.2} ms, 99 % {late:.2} ms");
        }
    }
    Ok(())
}

/// Prints the distance of a model from the same model in f32.
fn compare(precision: Precision, model: &Model, exact: &Model, texts: &[Text<'_>]) -> Result<(), Box<dyn Error>> {
    let pairs = exact.vectors(texts)?.into_iter().zip(model.vectors(texts)?);
    let cosines: Vec<f64> = pairs.map(|(a, b)| cosine(&a, &b)).collect();
    let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
    let worst = cosines.iter().copied().fold(1.0, f64::min);
    println!("{precision:?}: cosine of vectors {mean:.5} on average, {worst:.5} at worst");
    if !model.labels().is_empty() {
        let equal = best(exact, texts)?.into_iter().zip(best(model, texts)?).filter(|(a, b)| a == b).count();
        println!("{precision:?}: {equal} of {} labels agree", texts.len());
    }
    Ok(())
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Returns the most probable class of each text.
fn best(model: &Model, texts: &[Text<'_>]) -> Result<Vec<usize>, Box<dyn Error>> {
    let best = |row: Vec<f32>| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0);
    Ok(model.probabilities(texts)?.into_iter().map(best).collect())
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
