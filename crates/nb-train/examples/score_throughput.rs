//! How fast impressions are scored and measured, once the news are encoded.
//!
//! ```text
//! cargo run --release -p nb-train --example score_throughput -- MODEL NEWS BEHAVIORS FOLDER
//! python crates/nb-train/benches/score_against_numpy.py --vectors FOLDER/vectors.safetensors --ids FOLDER/ids.txt \
//!     --behaviors BEHAVIORS
//! ```
//!
//! Writes what the Python peer needs into FOLDER, then prints a JSON line per round.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};
use nb_data::IdIndex;
use nb_data::behaviors::{BehaviorSource, Behaviors, ClickRule, UNKNOWN};
use nb_data::read::{Format, LabelRule, Source, read};
use nb_eval::{Impression, ranking};
use nb_model::{Precision, write_tensors};
use nb_train::inference::{Pooling, Trained, WINDOW};
use nb_train::task::{NewsVectors, score_clicks};
use serde_json::json;
use tch::{Device, Tensor};

const ROUNDS: u64 = 5;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, news, behaviors, folder] = arguments.as_slice() else { bail!("usage: MODEL NEWS BEHAVIORS FOLDER") };
    let model = Trained::load(Path::new(model), Device::Cpu, Precision::F32)?;
    let (reader, description) = model.reader()?;
    let source = Source {
        labels: LabelRule::Optional,
        ..Source::labelled(news, Format::MindNews { fields: model.read_fields() })
    };
    let articles = read(&source)?.articles;
    let mut vectors = Vec::new();
    for window in articles.chunks(WINDOW) {
        vectors.extend(model.vectors(window, Pooling::Attention)?.into_iter().flatten());
    }
    let ids: Vec<&str> = articles.iter().filter_map(|article| article.id.as_deref()).collect();
    std::fs::write(Path::new(folder).join("ids.txt"), ids.join("\n"))?;
    let table = Tensor::from_slice(&vectors).view([articles.len() as i64, -1]);
    let mut tensors = vec![("vectors".to_owned(), table)];
    tensors.extend(reader.arenas().iter().flat_map(|arena| nb_model::named_values(arena)));
    write_tensors(&Path::new(folder).join("vectors.safetensors"), &tensors)?;

    let source = BehaviorSource {
        path: behaviors.into(),
        history: description.history.unwrap_or(50),
        clicks: ClickRule::Required,
        allowed_unusable: Source::ALLOWED_UNUSABLE,
    };
    let behaviors = Behaviors::read(&source, &IdIndex::new(articles.iter().map(|article| article.id.as_deref())))?;
    let unknown = (0..behaviors.len()).any(|i| behaviors.candidates(i).contains(&UNKNOWN));
    anyhow::ensure!(!unknown, "a candidate is not in the news; the comparison wants all of them there");
    let news = NewsVectors::new(vectors, model.hidden());
    let which: Vec<u32> = (0..behaviors.len() as u32).collect();
    for round in 0..ROUNDS {
        let begin = Instant::now();
        let scores = score_clicks(&news, reader, &behaviors, &which)?;
        let scoring = begin.elapsed().as_secs_f64();
        let listed: Vec<Impression<'_>> = which
            .iter()
            .enumerate()
            .map(|(n, &i)| Impression { labels: behaviors.clicked(i as usize), scores: scores.of(n) })
            .collect();
        let result = ranking(&listed)?;
        let seconds = begin.elapsed().as_secs_f64();
        let line = json!({
            "round": round, "impressions": listed.len(), "auc": result.auc, "mrr": result.mrr, "ndcg@5": result.ndcg5,
            "ndcg@10": result.ndcg10, "scoring_seconds": scoring, "seconds": seconds,
            "impressions_per_second": listed.len() as f64 / seconds,
        });
        println!("{line}");
    }
    Ok(())
}
