//! The distance of a model in bf16 and int8 from the same model in f32, on the lines of a file:
//!
//! ```sh
//! cargo run --release -p nb-infer --example precisions -- runs/quickstart/student headlines.txt
//! ```

use std::error::Error;
use std::fs;

use nb_infer::{Model, Options, Precision, Text};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, file] = arguments.as_slice() else {
        return Err("expected a model folder and a file of texts, one per line".into());
    };
    let lines = fs::read_to_string(file).map_err(|e| format!("cannot read {file}: {e}"))?;
    let texts: Vec<Text<'_>> = lines.lines().map(Text::from).collect();
    let open = |precision| Model::open(folder, &Options { precision, ..Options::default() });
    let exact = open(Precision::F32)?;
    let vectors = exact.vectors(&texts)?;
    for precision in [Precision::Bf16, Precision::Int8] {
        let model = open(precision)?;
        let cosines: Vec<f64> = vectors.iter().zip(model.vectors(&texts)?).map(|(a, b)| cosine(a, &b)).collect();
        let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
        let worst = cosines.iter().copied().fold(1.0, f64::min);
        println!("{precision:?}: cosine of vectors {mean:.5} on average, {worst:.5} at worst");
        if !model.labels().is_empty() {
            let equal = best(&exact, &texts)?.into_iter().zip(best(&model, &texts)?).filter(|(a, b)| a == b).count();
            println!("{precision:?}: {equal} of {} labels agree", texts.len());
        }
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
