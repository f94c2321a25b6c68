//! The head of a run's models: the configured values, or those of the teacher's folder.

use std::path::Path;

use anyhow::{Context, Result, bail};
use nb_checkpoint::{
    Description, HeadDescription, MODULES_FILE, PoolingKind, SavedClassifier, ScaleKind, ScoreKind, SentenceModules,
};

use super::models::ModelsPlan;
use super::{ModelSource, TaskKind};
use crate::config::{ConfigError, HeadConfig, KeyPath, ReaderConfig, ReaderPoolingChoice, RunConfig};

/// The scale of cosine scores: the usual constant of sentence-transformers.
const COSINE_SCALE: ScaleKind = ScaleKind::Fixed(20.0);

/// The parts of a head that a folder prescribes.
#[derive(Debug, Clone, Copy, Default)]
struct Prescribed {
    pooling: Option<PoolingKind>,
    score: Option<ScoreKind>,
    scale: Option<ScaleKind>,
    reader: Option<PoolingKind>,
}

/// Derives the head of the models.
///
/// # Errors
/// If a value does not fit the task, or if the teacher's folder has a pooling that this project does not compute.
pub(super) fn head(config: &RunConfig, kind: &dyn TaskKind, models: &ModelsPlan) -> Result<HeadDescription> {
    let HeadConfig { pooling, score, scale } = config.head;
    if !kind.ranks() {
        check_unused("head.score", score.is_some(), kind)?;
        check_unused("head.scale", scale.is_some(), kind)?;
    }
    let folder = match (models.trained.first(), &models.teacher) {
        (Some(folder), _) | (None, ModelSource::Folder(folder)) => Some(folder.as_path()),
        (None, ModelSource::Random { .. }) => None,
    };
    let needs_folder = pooling.kind().is_none() || kind.ranks() && score.is_none();
    let prescribed = match folder.filter(|_| needs_folder) {
        Some(folder) => match prescribed(folder, kind) {
            // A pooling that is given does not need the folder's.
            Err(_) if pooling.kind().is_some() => Prescribed::default(),
            found => found.with_context(|| KeyPath::from("head.pooling"))?,
        },
        None => Prescribed::default(),
    };
    let default = if kind.ranks() { PoolingKind::Mean } else { PoolingKind::Attentive };
    let pooling = pooling.kind().or(prescribed.pooling).unwrap_or(default);
    let head = match kind.ranks() {
        false => HeadDescription { pooling, ..HeadDescription::default() },
        true => ranking_head(config, kind, prescribed, pooling),
    };
    check_untouched(config, &head, kind, models)?;
    Ok(head)
}

/// Derives the head of a task that ranks.
fn ranking_head(
    config: &RunConfig,
    kind: &dyn TaskKind,
    prescribed: Prescribed,
    pooling: PoolingKind,
) -> HeadDescription {
    let HeadConfig { score, scale, .. } = config.head;
    let score = score.map(ScoreKind::from).or(prescribed.score).unwrap_or(ScoreKind::Cosine);
    let (usual_scale, usual_reader) = match score {
        ScoreKind::Cosine => (COSINE_SCALE, PoolingKind::Mean),
        ScoreKind::Dot => (ScaleKind::default(), PoolingKind::Attentive),
    };
    let prescribed_scale = prescribed.scale.filter(|_| prescribed.score == Some(score));
    let given_reader = config.reader.pooling.map(PoolingKind::from);
    let reader = given_reader.or(prescribed.reader).unwrap_or(usual_reader);
    HeadDescription {
        pooling,
        score,
        scale: scale.or(prescribed_scale).unwrap_or(usual_scale),
        // Other tasks have no reader model; a constant keeps their descriptions equal.
        reader: if kind.has_readers() { reader } else { PoolingKind::default() },
        projection: None,
    }
}

/// Returns the head with which models are measured before any training: the pooling that the checkpoint's folder prescribes,
/// else the mean, and cosines; a reader is the mean of the clicked articles. A pooling that this project does not compute
/// counts as none.
pub(super) fn untouched(models: &ModelsPlan, kind: &dyn TaskKind) -> HeadDescription {
    let prescribed = match &models.teacher {
        ModelSource::Folder(folder) if kind.ranks() => prescribed(folder, kind).ok().and_then(|found| found.pooling),
        _ => None,
    };
    let pooling = prescribed.filter(|pooling| *pooling != PoolingKind::Attentive).unwrap_or(PoolingKind::Mean);
    let score = ScoreKind::Cosine;
    HeadDescription { pooling, score, scale: COSINE_SCALE, reader: PoolingKind::Mean, projection: None }
}

/// Checks that a frozen teacher that is not trained (`teacher.train.epochs: 0`) needs no training: that it has a classifier,
/// or that its head has no parameters other than the vector of a reader without clicks.
fn check_untouched(config: &RunConfig, head: &HeadDescription, kind: &dyn TaskKind, models: &ModelsPlan) -> Result<()> {
    if kind.trains_teacher() && config.teacher.train.unwrap_or_default().epochs != Some(0) {
        return Ok(());
    }
    let conflict = |why: String, key: &str| Err(ConfigError::conflict("teacher.train.epochs", 0, why).and(key).into());
    if !kind.ranks() {
        let folder = models.trained.first();
        let found = folder.map(|folder| SavedClassifier::read(folder)).transpose()?.flatten();
        let why = format!("task: {} needs a trained head, and the checkpoint has no classifier", kind.name());
        return if found.is_some() { Ok(()) } else { conflict(why, "task") };
    }
    if head.pooling == PoolingKind::Attentive && !kind.trains_teacher() {
        let why = format!(
            "task: {} uses the teacher as it comes, and attentive pooling has parameters to train",
            kind.name()
        );
        bail!(ConfigError::conflict("head.pooling", "attentive", why).and("task"));
    }
    if head.pooling == PoolingKind::Attentive {
        return conflict("attentive pooling has parameters to train".to_owned(), "head.pooling");
    }
    if kind.has_readers() && head.reader == PoolingKind::Attentive {
        return conflict("a reader model with attentive pooling has parameters to train".to_owned(), "reader.pooling");
    }
    if config.reader.self_attention.is_some() {
        return conflict("self-attention has parameters to train".to_owned(), "reader.self_attention");
    }
    Ok(())
}

/// Returns a configuration with the values of the head in place of `auto` and of missing keys.
pub(super) fn resolve(head: &HeadDescription, config: RunConfig, kind: &dyn TaskKind) -> RunConfig {
    let reader = match head.reader {
        PoolingKind::Mean => ReaderPoolingChoice::Mean,
        PoolingKind::Attentive | PoolingKind::Cls => ReaderPoolingChoice::Attentive,
    };
    RunConfig {
        head: HeadConfig {
            pooling: head.pooling.into(),
            score: kind.ranks().then(|| head.score.into()),
            scale: kind.ranks().then_some(head.scale),
        },
        reader: ReaderConfig { pooling: kind.has_readers().then_some(reader), ..config.reader },
        ..config
    }
}

fn check_unused(key: &str, is_given: bool, kind: &dyn TaskKind) -> Result<()> {
    if is_given {
        let why = format!("task: {} does not score pairs of vectors", kind.name());
        bail!(ConfigError::conflict(key, "given", why).and("task"));
    }
    Ok(())
}

/// Reads what a model folder says about its head. A model of this project says it in `newsbert.json`, a model of
/// sentence-transformers in `modules.json`.
///
/// # Errors
/// If a file cannot be used, or if its modules are ones that this project does not compute or train with, such as Dense.
fn prescribed(folder: &Path, kind: &dyn TaskKind) -> Result<Prescribed> {
    if let Some(Description { task, labels, head, .. }) = Description::read(folder)? {
        let is_same = task == kind.name();
        let ranks = labels.is_empty(); // a model with classes has no score
        let has_parameters = head.pooling == PoolingKind::Attentive; // which another task cannot use
        return Ok(Prescribed {
            pooling: (is_same || ranks && !has_parameters).then_some(head.pooling),
            score: ranks.then_some(head.score),
            scale: ranks.then_some(head.scale),
            reader: is_same.then_some(head.reader),
        });
    }
    let Some(SentenceModules { pooling, dense, normalize, .. }) = SentenceModules::read(folder)? else {
        return Ok(Prescribed::default());
    };
    if !dense.is_empty() {
        bail!(
            "{}: its modules have a Dense layer, which training does not use yet; set head.pooling to use the encoder alone",
            folder.join(MODULES_FILE).display()
        );
    }
    // Without a module that normalises, the vectors are still compared by their cosine in most uses.
    let score = normalize.then_some(ScoreKind::Cosine);
    Ok(Prescribed { pooling: Some(pooling), score, ..Prescribed::default() })
}
