//! The training loop of a run.

use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use nb_report::record::{EvalLine, Line, StepLine};
use tch::Device;

use crate::config::{CheckpointEvery, NotFiniteChoice, OnCheckpointError};
use crate::model::{Model, Role};
use crate::optim::catch_up;
use crate::run::finish::finish;
use crate::run::outcome::Outcome;
use crate::run::progress::Progress;
use crate::run::setup::is_evaluation;
use crate::run::state::Run;
use crate::run_folder::best::Best;
use crate::run_folder::checkpoint::Saved;
use crate::run_folder::clock::Stopwatch;
use crate::step::sync::{self, Vote, broadcast_from_main};
use crate::step::{StepPosition, StepReport, Telemetry, Update};
use crate::task::{SplitName, Task};

impl<K: Task> Run<'_, K> {
    /// Trains from the state's step to the end of the run.
    pub(crate) fn train(mut self, stop: &AtomicBool) -> Result<Outcome> {
        let total = self.schedule.total();
        let mut progress = if self.folder.is_ours() { Progress::new(total) } else { Progress::of_another(total) };
        let mut epoch_rows: Option<(u64, Vec<Vec<u32>>)> = None;
        while self.state.step < total {
            let place = self.epochs.locate(self.state.step);
            let rows = match epoch_rows.take() {
                Some((epoch, rows)) if epoch == place.epoch => rows,
                _ => self.task.epoch(place.epoch),
            };
            let position = self.schedule.at(self.state.step);
            let is_logged = (position.step + 1).is_multiple_of(self.plan.train.log_every) || position.step + 1 == total;
            let update = Update {
                epoch: place.epoch,
                rows: place.micro_batches(&rows, self.plan.train.accumulate),
                position,
                telemetry: if is_logged { Telemetry::Models } else { Telemetry::Terms },
            };
            if let Some(report) = self.step(&update)? {
                progress.step(self.state.step, &report, self.state.clock.tokens_per_second());
                if is_logged {
                    self.log(&update, &report)?;
                }
            }
            if is_evaluation(self.plan, &self.schedule, position, place.is_last) {
                let without_gain = progress.aside(|| self.evaluate(place.epoch))?;
                if self.is_out_of_patience(position, without_gain) {
                    progress.aside(|| {
                        tracing::info!("no improvement in {without_gain} evaluations; stopping early");
                    });
                    break;
                }
            }
            if self.state.step < total && self.save_and_decide_to_stop(stop, &progress)? {
                progress.finish();
                return Ok(Outcome::Interrupted);
            }
            epoch_rows = Some((place.epoch, rows));
        }
        progress.finish();
        self.check_skipped(None)?;
        let processes = Rc::clone(&self.stepper.processes);
        let summary = finish(&self, &processes)?;
        // The other processes wait here for the main process.
        let folder = broadcast_from_main(&processes, || Ok(self.folder.path().to_owned()))?;
        Ok(summary.map_or(Outcome::FinishedByMain(folder), |summary| Outcome::Finished(Box::new(summary))))
    }

    /// Returns whether to stop early. Only the last stage can stop early, since earlier stages prepare later ones.
    fn is_out_of_patience(&self, position: StepPosition, without_gain: u64) -> bool {
        let is_last_stage = position.stage + 1 == self.plan.method.stages.len();
        is_last_stage && self.plan.train.patience.is_some_and(|patience| without_gain >= patience)
    }

    /// Saves a checkpoint if one is due or the run stops; returns whether the run stops.
    fn save_and_decide_to_stop(&mut self, stop: &AtomicBool, progress: &Progress) -> Result<bool> {
        let vote = Vote { stop: stop.load(Ordering::Relaxed), save: self.checkpoints.is_due(self.state.step) };
        let decision = sync::decide(&self.stepper.processes, vote)?;
        let saves_at_stop = self.plan.checkpoints.every != CheckpointEvery::Never;
        let mut is_saved = false;
        if decision.save || decision.stop && saves_at_stop {
            is_saved = progress.aside(|| self.checkpoint())?;
        }
        if decision.stop {
            progress.aside(|| self.warn_interrupted(is_saved));
        }
        Ok(decision.stop)
    }

    /// Saves a checkpoint; returns whether saving succeeded.
    fn checkpoint(&mut self) -> Result<bool> {
        catch_up(&mut self.groups);
        self.check_skipped(None)?;
        if !self.folder.is_ours() {
            return Ok(true); // the main process reports a failure, and ends all processes if it must
        }
        let processes = Rc::clone(&self.stepper.processes);
        let _work = processes.busy();
        let saved = self.folder.sync().and_then(|metrics| {
            let saved = Saved { state: self.state.clone(), metrics, identity: self.identity.clone() };
            self.checkpoints.save(&saved, &self.groups)
        });
        match (saved, self.plan.checkpoints.on_error) {
            (Err(e), OnCheckpointError::GoOn) => {
                tracing::warn!(
                    "cannot save a checkpoint at step {}; earlier checkpoints remain: {e:#}",
                    self.state.step
                );
                Ok(false)
            }
            (saved, _) => {
                saved.with_context(|| format!("step {}: {}", self.state.step, self.saved_models()))?;
                Ok(true)
            }
        }
    }

    /// Makes one update. Returns a report if a log line is due or if reading the report delays no step.
    fn step(&mut self, update: &Update<'_>) -> Result<Option<StepReport>> {
        let (begin, watch) = (Instant::now(), Stopwatch::start());
        let position = update.position;
        if position.step_in_stage == 0 {
            self.state.best.iter_mut().for_each(Best::begin_stage);
        }
        self.state.step += 1;
        let output = self.stepper.update(self.task, &mut self.models, &mut self.groups, update)?;
        let reads = update.telemetry == Telemetry::Models || self.plan.device == Device::Cpu;
        let report = reads.then(|| output.read());
        self.state.clock.add(position.step, begin.elapsed(), output.counts);
        self.state.clock.add_cost(watch);
        for term in &self.stepper.method.stages[position.stage].terms {
            if output.counts.units(term.kind) == 0 {
                *self.state.empty_terms.entry(term.kind).or_default() += 1;
            }
        }
        let _ = self.skipped.g_add_(&output.skipped); // on the device, without synchronisation
        if let Some(report) = &report {
            self.check_skipped(Some(report))?;
        }
        Ok(report)
    }

    /// Checks whether updates were skipped since the last check because they were not finite. Called only where the device is
    /// synchronised anyway.
    fn check_skipped(&mut self, report: Option<&StepReport>) -> Result<()> {
        let step = self.state.step;
        let now = self.skipped.int64_value(&[]) as u64;
        let new = now - std::mem::replace(&mut self.state.skipped, now);
        if new == 0 {
            return Ok(());
        }
        let what = report
            .and_then(StepReport::not_finite)
            .unwrap_or_else(|| format!("{new} updates since the last check were not finite"));
        match self.plan.train.not_finite {
            NotFiniteChoice::Stop => {
                bail!("step {step}: {what}; {}; lower train.lr", self.saved_models())
            }
            NotFiniteChoice::Skip => tracing::warn!("step {step}: {what}; skipped, {now} so far"),
        }
        Ok(())
    }

    /// Evaluates the models in training and saves each one that is the best so far. Returns the number of consecutive
    /// evaluations without an improvement: of the student, or of the teacher if there is no student.
    fn evaluate(&mut self, epoch: u64) -> Result<u64> {
        let processes = Rc::clone(&self.stepper.processes);
        catch_up(&mut self.groups);
        if !sync::ensure_in_sync(&processes, &self.groups)? {
            self.models.parameters_changed(self.plan.method.teacher);
        }
        let (saved_models, step) = (self.saved_models(), self.state.step);
        let cost = Some(self.state.clock.cost());
        let mut line = EvalLine { step: Some(step), epoch: Some(epoch), cost, ..EvalLine::default() };
        let mut without_gain = 0;
        for ((role, model), best) in self.models.trained(self.plan.method.teacher).zip(&mut self.state.best) {
            let evaluation = self.task.evaluate(model, SplitName::Dev, &[], &processes);
            let evaluation = evaluation.with_context(|| format!("step {step}: {}; {saved_models}", role.name()))?;
            tracing::info!("step {step}: {} {}", role.name(), evaluation.line());
            match role {
                Role::Teacher => line.teacher = Some(evaluation.record()),
                Role::Student => line.student = Some(evaluation.record()),
            }
            let _work = processes.busy();
            let (folder, thresholds) = (&self.folder, evaluation.thresholds.clone());
            without_gain = best.offer(step, evaluation, || match folder.is_ours() {
                true => Best::save(role, folder.path(), |folder| save(self.task, model, &thresholds, folder)),
                false => Ok(String::new()), // only the main process needs the hash, to compare when it resumes
            })?;
        }
        self.folder.log(&Line::Eval(Box::new(line)))?;
        broadcast_from_main(&processes, || Ok(without_gain))
    }

    fn log(&mut self, update: &Update<'_>, report: &StepReport) -> Result<()> {
        let position = update.position;
        let (train, clock) = (&self.plan.train, &self.state.clock);
        let line = StepLine {
            step: Some(position.step + 1),
            epoch: Some(update.epoch),
            stage: Some(position.stage as u64),
            lr: Some(train.lr * position.lr_factor),
            head_lr: Some(train.head_lr * position.lr_factor),
            teacher_lr: Some(train.teacher_lr * position.lr_factor),
            samples_per_second: Some(clock.samples_per_second()),
            sequences_per_second: Some(clock.sequences_per_second()),
            tokens_per_second: Some(clock.tokens_per_second()),
            ..report.record(&self.plan.method)
        };
        self.folder.log(&Line::Step(Box::new(line)))
    }

    fn warn_interrupted(&self, is_saved: bool) {
        let resume = if is_saved { "; --resume continues from here" } else { "" };
        let (step, total) = (self.state.step, self.schedule.total());
        tracing::warn!("stopped after step {step} of {total}; {}{resume}", self.saved_models());
    }

    /// A clause that describes the saved models of an unfinished run.
    fn saved_models(&self) -> String {
        let saved: Vec<_> = self.state.best.iter().filter(|b| b.is_saved()).map(|b| b.role().name()).collect();
        let folder = self.folder.path().display();
        match saved.as_slice() {
            [] => format!("no model has been saved yet in {folder}"),
            names => format!("the best {} so far is saved in {folder}", names.join(" and ")),
        }
    }
}

fn save<K: Task>(task: &K, model: &Model<K::Head>, thresholds: &[f64], folder: &Path) -> Result<()> {
    model.bert.save(folder)?;
    task.save(&model.head, thresholds, folder)
}
