//! How much encoding each distinct news of a batch once saves: training steps with and without it, in turns.
//!
//! ```text
//! cargo run --release -p nb-train --example distinct_news -- CONFIG STEPS [KEY=VALUE…]
//! ```
//!
//! Prints a JSON line per round. Both sides train the same models on the same readers; only what is encoded differs.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nb_train::adamw::{AdamW, Group};
use nb_train::config::{self, Override};
use nb_train::models::Models;
use nb_train::plan::{Plan, TaskPlan};
use nb_train::run::{groups, set_threads};
use nb_train::schedule::Moment;
use nb_train::step::Stepper;
use nb_train::task::{RankBatch, Recommend, RecommendTop, Task};
use nb_train::watch::Watch;
use serde_json::json;

const ROUNDS: u64 = 3;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, steps, overrides @ ..] = arguments.as_slice() else { bail!("usage: CONFIG STEPS [KEY=VALUE…]") };
    let overrides = overrides.iter().map(|text| text.parse::<Override>()).collect::<Result<Vec<_>, _>>();
    let plan = Plan::new(config::read(Path::new(config), &overrides.map_err(anyhow::Error::msg)?)?)?;
    set_threads(plan.threads)?;
    let TaskPlan::Recommend(files) = &plan.data.task else { bail!("{config} is not for task: recommend") };
    let task = Recommend::open(&plan, files)?;
    let mut bench = Bench::new(&plan, &task)?;
    let steps: usize = steps.parse().context("STEPS is a number")?;
    let rows: Vec<Vec<u32>> = task.epoch(0).into_iter().take(steps).collect();
    let once: Vec<RankBatch> = rows.iter().map(|rows| task.batch(0, rows)).collect();
    let each: Vec<RankBatch> = once.iter().map(|batch| task.repeated(batch)).collect();
    let texts = |batches: &[RankBatch]| batches.iter().map(|batch| batch.tokens.lengths.len()).sum::<usize>() as f64;
    let saved = 1.0 - texts(&once) / texts(&each);
    let samples: usize = rows.iter().map(Vec::len).sum();
    bench.run(&task, &once[..once.len().min(3)]); // first touches of memory
    for round in 0..ROUNDS {
        let (fast, slow) = (bench.run(&task, &once), bench.run(&task, &each));
        let rate = |took: Duration| samples as f64 / took.as_secs_f64();
        let line = json!({
            "round": round, "samples": samples, "encodings_saved": saved, "samples_per_second": rate(fast),
            "samples_per_second_without": rate(slow), "ratio": slow.as_secs_f64() / fast.as_secs_f64(),
        });
        println!("{line}");
    }
    Ok(())
}

struct Bench {
    models: Models<RecommendTop>,
    groups: Vec<Group>,
    stepper: Stepper,
    step: u64,
}

impl Bench {
    fn new(plan: &Plan, task: &Recommend) -> Result<Self> {
        let models = Models::build(plan, task)?;
        let optimiser = AdamW::new(plan.train.weight_decay);
        let stepper = Stepper { method: plan.method.clone(), optimiser, clip: plan.train.clip, seed: plan.seed };
        Ok(Self { groups: groups(plan, &models), models, stepper, step: 0 })
    }

    /// One update per batch, at a rate so low that nothing moves far.
    fn run(&mut self, task: &Recommend, batches: &[RankBatch]) -> Duration {
        const RATE: f64 = 1e-3;
        let begin = Instant::now();
        for batch in batches {
            let batch = std::slice::from_ref(batch);
            let at = (Moment { step: self.step, stage: 0, own: self.step, progress: 0.0, rate: RATE }, Watch::Terms);
            let report = self.stepper.step((task, &mut self.models), &mut self.groups, batch, at).read();
            assert!(report.not_finite().is_none(), "{report:?}");
            self.step += 1;
        }
        begin.elapsed()
    }
}
