//! Conversion between methods and configurations.

use nb_loss::SoftScaling;
use nb_share::Sharing;

use super::check::no_term;
use super::definition::{Method, Stage, Term};
use super::parts::{Blend, Ensemble, PkdLayers, Share, TeacherRole};
use super::presets::{method, presets};
use super::ramp::Ramp;
use super::temperature::Temperature;
use crate::config::{
    BlendChoice, ConfigError, MethodConfig, RampConfig, ShareChoice, StageConfig, TermKind, WeightsConfig,
};

impl Method {
    /// Returns the method that a configuration describes: its preset, with the given parts in place of the preset's.
    /// Without a name, the given parts are the whole method; without a name and without weights, they modify `newsbert`.
    ///
    /// Unless `teacher` is given, a teacher weight above 0 makes the teacher joint. If `teacher` is frozen, the preset's
    /// teacher weight, β and shared layers are dropped: only a joint teacher has gradients and layers in training.
    ///
    /// # Errors
    /// If a value is out of its range, or if the parts are incompatible.
    pub fn from_config(config: &MethodConfig) -> Result<Self, ConfigError> {
        let base = base(config)?;
        let trains_teacher = trains_teacher(config);
        let teacher = match config.teacher {
            Some(role) => role.into(),
            None if trains_teacher => TeacherRole::Joint,
            None => base.teacher,
        };
        let mut stages = stages(&base, config)?;
        if teacher == TeacherRole::Frozen && !trains_teacher && config.stages.is_none() {
            stages.iter_mut().for_each(|stage| stage.terms.retain(|term| term.kind != TermKind::Teacher));
        }
        let is_joint = teacher == TeacherRole::Joint;
        let method = Self {
            teacher,
            temperature: config.temperature.map_or(Ok(base.temperature), Temperature::new)?,
            scaling: config.t2.map_or(base.scaling, scaling),
            similarity_scale: similarity_scale(config.similarity_scale.unwrap_or(base.similarity_scale))?,
            beta: config.beta.map_or(Ok(if is_joint { base.beta } else { Ramp::Constant(0.0) }), beta)?,
            blend: config.blend.as_ref().map_or(Ok(base.blend), |parts| blend(parts))?,
            share: config.share.as_ref().map_or(if is_joint { base.share } else { Share::NONE }, |parts| share(parts)),
            layers: config.layers.clone().or(base.layers),
            pkd_layers: config.patience.map_or(base.pkd_layers, PkdLayers::from),
            ensemble: config.ensemble.map_or(base.ensemble, Ensemble::from),
            stages,
            name: base.name,
        };
        method.check()?;
        Ok(method)
    }

    /// Returns the configuration of this method, with every part given; [`Method::from_config`] restores the method from it.
    pub(crate) fn to_config(&self) -> MethodConfig {
        let shared = [(self.share.pooling, ShareChoice::Pooling), (self.share.dense, ShareChoice::Dense)];
        let (weights, stages) = match self.stages.as_slice() {
            [only] => (with_zeros(weights(only)), None),
            several => {
                let stage = |stage: &Stage| StageConfig { share: stage.share, weights: weights(stage) };
                (WeightsConfig::new(), Some(several.iter().map(stage).collect()))
            }
        };
        MethodConfig {
            name: presets().iter().any(|preset| preset.name == self.name).then(|| self.name.clone()),
            preset: None,
            teacher: Some(self.teacher.into()),
            temperature: Some(self.temperature.to_config()),
            t2: Some(self.scaling == SoftScaling::TemperatureSquared),
            similarity_scale: Some(self.similarity_scale),
            beta: Some(self.beta.to_config()),
            blend: Some(match self.blend {
                Blend::Layers => vec![BlendChoice::Layers],
                Blend::LayersAndEmbeddings => vec![BlendChoice::Layers, BlendChoice::Embeddings],
            }),
            share: Some(shared.into_iter().filter(|(s, _)| *s == Sharing::Shared).map(|(_, part)| part).collect()),
            layers: self.layers.clone(),
            patience: Some(self.pkd_layers.into()),
            ensemble: Some(self.ensemble.into()),
            weights,
            stages,
        }
    }
}

/// Returns the method that supplies the parts missing from the configuration.
fn base(config: &MethodConfig) -> Result<Method, ConfigError> {
    let has_terms = !config.weights.is_empty() || config.stages.is_some();
    match &config.name {
        Some(name) => preset(name),
        None if has_terms => Ok(Method { teacher: TeacherRole::Absent, ..method("custom", &[&[]]) }),
        None => preset("newsbert"),
    }
}

/// Returns whether the configuration gives the teacher's term a weight other than 0.
fn trains_teacher(config: &MethodConfig) -> bool {
    let stage_weights = config.stages.iter().flatten().map(|stage| &stage.weights);
    let mut given = stage_weights.chain([&config.weights]).filter_map(|weights| weights.get(&TermKind::Teacher));
    given.any(|weight| *weight != 0.0.into())
}

fn scaling(t2: bool) -> SoftScaling {
    if t2 { SoftScaling::TemperatureSquared } else { SoftScaling::Plain }
}

fn similarity_scale(scale: f64) -> Result<f64, ConfigError> {
    match scale > 0.0 && scale.is_finite() {
        true => Ok(scale),
        false => Err(ConfigError::expected("method.similarity_scale", scale, "a number above 0")),
    }
}

fn beta(config: RampConfig) -> Result<Ramp, ConfigError> {
    Ramp::new("method.beta", config, |beta| (0.0..=1.0).contains(&beta), "a number from 0 (no blending) to 1")
}

/// The weights of a stage's terms.
fn weights(stage: &Stage) -> WeightsConfig {
    stage.terms.iter().map(|term| (term.kind, term.weight.to_config())).collect()
}

/// Adds a weight of 0 for every missing term; otherwise the preset would add its terms again.
fn with_zeros(mut weights: WeightsConfig) -> WeightsConfig {
    for kind in TermKind::ALL {
        weights.entry(kind).or_insert_with(|| 0.0.into());
    }
    weights
}

fn preset(name: &str) -> Result<Method, ConfigError> {
    let presets = presets();
    let names: Vec<String> = presets.iter().map(|m| m.name.clone()).collect();
    presets.into_iter().find(|m| m.name == name).ok_or_else(|| {
        ConfigError::expected("method.name", format_args!("`{name}`"), format!("one of {}", names.join(", ")))
    })
}

fn share(parts: &[ShareChoice]) -> Share {
    let sharing = |part| if parts.contains(&part) { Sharing::Shared } else { Sharing::Separate };
    Share { pooling: sharing(ShareChoice::Pooling), dense: sharing(ShareChoice::Dense) }
}

fn blend(parts: &[BlendChoice]) -> Result<Blend, ConfigError> {
    match (parts.contains(&BlendChoice::Layers), parts.contains(&BlendChoice::Embeddings)) {
        (true, false) => Ok(Blend::Layers),
        (true, true) => Ok(Blend::LayersAndEmbeddings),
        (false, _) => {
            let expected = "`layers` among its parts; to blend nothing, set method.beta to 0";
            Err(ConfigError::expected("method.blend", "without `layers`", expected))
        }
    }
}

/// Returns the configured stages, or else the stages of `base` with the configured weights.
fn stages(base: &Method, config: &MethodConfig) -> Result<Vec<Stage>, ConfigError> {
    match &config.stages {
        Some(_) if !config.weights.is_empty() => {
            let why = "method.stages is given too; remove one of them";
            Err(ConfigError::conflict("method.weights", "given", why).and("method.stages"))
        }
        Some(stages) if stages.is_empty() => Err(ConfigError::expected("method.stages", "empty", "at least one stage")),
        Some(stages) => stages.iter().enumerate().map(|(i, stage)| given_stage(i, stage)).collect(),
        None => reweighted(base, &config.weights),
    }
}

fn given_stage(i: usize, config: &StageConfig) -> Result<Stage, ConfigError> {
    if !(config.share > 0.0 && config.share.is_finite()) {
        let key = format!("method.stages[{i}].share");
        return Err(ConfigError::expected(key, config.share, "a number above 0"));
    }
    let key = format!("method.stages[{i}].weights");
    let terms = terms(&[], &config.weights, &key)?;
    if terms.is_empty() {
        return Err(no_term(key));
    }
    Ok(Stage { share: config.share, terms })
}

/// Returns the stages of `base` with the configured weights. Among several stages, a weight changes the one with the term.
fn reweighted(base: &Method, weights: &WeightsConfig) -> Result<Vec<Stage>, ConfigError> {
    let is_single = base.stages.len() == 1;
    if let Some(kind) = weights.keys().find(|kind| !is_single && !base.any(|other| other == **kind)) {
        let why = format!("{} has several stages and none with this term; set method.stages instead", base.name);
        return Err(ConfigError::conflict(format!("method.weights.{}", kind.name()), "given", why).and("method.name"));
    }
    let mut stages = base.stages.clone();
    for stage in &mut stages {
        let mut weights = weights.clone();
        weights.retain(|kind, _| is_single || stage.any(|other| other == *kind));
        stage.terms = terms(&stage.terms, &weights, "method.weights")?;
    }
    Ok(stages)
}

/// Returns the terms of `base` with the configured weights; a weight of 0 removes the term.
fn terms(base: &[Term], weights: &WeightsConfig, key: &str) -> Result<Vec<Term>, ConfigError> {
    let mut terms = Vec::new();
    for kind in TermKind::ALL {
        let weight = match weights.get(&kind) {
            Some(&weight) => {
                let key = format!("{key}.{}", kind.name());
                Some(Ramp::new(&key, weight, |weight| weight >= 0.0, "a number of at least 0")?)
            }
            None => base.iter().find(|term| term.kind == kind).map(|term| term.weight),
        };
        terms.extend(weight.filter(|weight| weight.max() > 0.0).map(|weight| Term { kind, weight }));
    }
    Ok(terms)
}

#[cfg(test)]
mod tests;
