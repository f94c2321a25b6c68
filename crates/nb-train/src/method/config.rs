//! Methods from configurations and back.

use anyhow::{Result, bail};
use nb_loss::SoftScaling;
use nb_share::Sharing;

use super::presets::{method, presets};
use super::{Blend, Course, Ensemble, Method, Patience, Share, Stage, TeacherRole, Temperature, Term, TermKind};
use crate::config::{
    BlendChoice, EnsembleChoice, MethodConfig, PatienceChoice, ShareChoice, StageConfig, TeacherRoleChoice,
    WeightsConfig,
};

impl Method {
    /// The method that a configuration describes: its preset with the parts that are spelled out replaced, or, without a
    /// name, those parts on nothing. Without a name and without weights it is `newsbert` with the parts given.
    ///
    /// A teacher weight above 0 trains the teacher along unless something else is said; a teacher that is said to be
    /// frozen takes the preset's teacher weight out.
    ///
    /// # Errors
    /// If a value is out of its range, or if the parts do not go together; the message names the key.
    pub fn from_config(config: &MethodConfig) -> Result<Self> {
        let spelled_out = !config.weights.is_empty() || config.stages.is_some();
        let base = match &config.name {
            Some(name) => preset(name)?,
            None if !spelled_out => preset("newsbert")?,
            None => Self { teacher: TeacherRole::Absent, ..method("custom", &[&[]]) },
        };
        let mut stages = stages(&base, config)?;
        let own = config.stages.iter().flatten().map(|stage| &stage.weights);
        let mut weights = own.chain([&config.weights]).filter_map(|weights| weights.get(&TermKind::Teacher));
        let trains_teacher = weights.any(|weight| *weight != 0.0.into());
        let teacher = match config.teacher {
            Some(TeacherRoleChoice::None) => TeacherRole::Absent,
            Some(TeacherRoleChoice::Frozen) => TeacherRole::Frozen,
            Some(TeacherRoleChoice::Joint) => TeacherRole::Joint,
            None if trains_teacher => TeacherRole::Joint,
            None => base.teacher,
        };
        if teacher == TeacherRole::Frozen && !trains_teacher && config.stages.is_none() {
            stages.iter_mut().for_each(|stage| stage.terms.retain(|term| term.kind != TermKind::Teacher));
        }
        let share_of_gradients = |beta| Course::new("method.beta", beta, |b| (0.0..=1.0).contains(&b), BETA);
        let method = Self {
            teacher,
            temperature: config.temperature.map_or(Ok(base.temperature), Temperature::new)?,
            scaling: match config.t2 {
                None => base.scaling,
                Some(true) => SoftScaling::TemperatureSquared,
                Some(false) => SoftScaling::Plain,
            },
            beta: config.beta.map_or(Ok(base.beta), share_of_gradients)?,
            blend: config.blend.as_ref().map_or(Ok(base.blend), |parts| blend(parts))?,
            share: config.share.as_ref().map_or(base.share, |parts| share(parts)),
            patience: config.patience.map_or(base.patience, |choice| match choice {
                PatienceChoice::Skip => Patience::Skip,
                PatienceChoice::Last => Patience::Last,
            }),
            ensemble: config.ensemble.map_or(base.ensemble, |choice| match choice {
                EnsembleChoice::Mean => Ensemble::Mean,
                EnsembleChoice::Loss => Ensemble::Loss,
            }),
            stages,
            name: base.name,
        };
        method.check()?;
        Ok(method)
    }

    /// The configuration with every part spelled out; it describes this method again.
    pub fn to_config(&self) -> MethodConfig {
        let weights = |stage: &Stage| -> WeightsConfig {
            stage.terms.iter().map(|term| (term.kind, term.weight.to_config())).collect()
        };
        let shared = [(self.share.pooling, ShareChoice::Pooling), (self.share.dense, ShareChoice::Dense)];
        let (own, stages) = match self.stages.as_slice() {
            [only] => (all(weights(only)), None),
            several => {
                let stage = |stage: &Stage| StageConfig { share: stage.share, weights: weights(stage) };
                (WeightsConfig::new(), Some(several.iter().map(stage).collect()))
            }
        };
        MethodConfig {
            name: presets().iter().any(|preset| preset.name == self.name).then(|| self.name.clone()),
            teacher: Some(match self.teacher {
                TeacherRole::Absent => TeacherRoleChoice::None,
                TeacherRole::Frozen => TeacherRoleChoice::Frozen,
                TeacherRole::Joint => TeacherRoleChoice::Joint,
            }),
            temperature: Some(self.temperature.to_config()),
            t2: Some(self.scaling == SoftScaling::TemperatureSquared),
            beta: Some(self.beta.to_config()),
            blend: Some(match self.blend {
                Blend::Layers => vec![BlendChoice::Layers],
                Blend::LayersAndEmbeddings => vec![BlendChoice::Layers, BlendChoice::Embeddings],
            }),
            share: Some(shared.into_iter().filter(|(s, _)| *s == Sharing::Shared).map(|(_, part)| part).collect()),
            patience: Some(match self.patience {
                Patience::Skip => PatienceChoice::Skip,
                Patience::Last => PatienceChoice::Last,
            }),
            ensemble: Some(match self.ensemble {
                Ensemble::Mean => EnsembleChoice::Mean,
                Ensemble::Loss => EnsembleChoice::Loss,
            }),
            weights: own,
            stages,
        }
    }
}

const BETA: &str = "a number from 0 (no momentum) to 1";

/// Weights with those left out as 0, so that no preset's comes back.
fn all(mut weights: WeightsConfig) -> WeightsConfig {
    for kind in TermKind::ALL {
        weights.entry(kind).or_insert_with(|| 0.0.into());
    }
    weights
}

fn preset(name: &str) -> Result<Method> {
    let presets = presets();
    let names: Vec<String> = presets.iter().map(|m| m.name.clone()).collect();
    match presets.into_iter().find(|m| m.name == name) {
        Some(method) => Ok(method),
        None => bail!("method.name is `{name}`, expected one of: {}", names.join(", ")),
    }
}

fn share(parts: &[ShareChoice]) -> Share {
    let of = |part| {
        if parts.contains(&part) { Sharing::Shared } else { Sharing::Separate }
    };
    Share { pooling: of(ShareChoice::Pooling), dense: of(ShareChoice::Dense) }
}

fn blend(parts: &[BlendChoice]) -> Result<Blend> {
    match (parts.contains(&BlendChoice::Layers), parts.contains(&BlendChoice::Embeddings)) {
        (true, false) => Ok(Blend::Layers),
        (true, true) => Ok(Blend::LayersAndEmbeddings),
        (false, _) => {
            bail!("method.blend must hold `layers`; to blend nothing, set method.beta to 0")
        }
    }
}

/// The stages of `base` with the weights of the configuration, or the configuration's own.
fn stages(base: &Method, config: &MethodConfig) -> Result<Vec<Stage>> {
    if let Some(stages) = &config.stages {
        if !config.weights.is_empty() {
            bail!("method.weights and method.stages are both given, expected one of them");
        }
        if stages.is_empty() {
            bail!("method.stages is empty, expected at least one stage");
        }
        return stages.iter().enumerate().map(|(i, stage)| own_stage(i, stage)).collect();
    }
    if let [only] = base.stages.as_slice() {
        let terms = terms(&only.terms, &config.weights, "method.weights")?;
        return Ok(vec![Stage { share: only.share, terms }]);
    }
    // Of several stages a weight changes the one that has the term.
    if let Some(kind) = config.weights.keys().find(|kind| !base.any(|own| own == **kind)) {
        bail!(
            "method.weights.{} is given, but {} has no such term and several stages; expected method.stages, which says \
             where it belongs",
            kind.name(),
            base.name
        );
    }
    let own = |stage: &Stage| {
        let here = config.weights.iter().filter(|(kind, _)| stage.any(|own| own == **kind));
        let terms = terms(&stage.terms, &here.map(|(kind, weight)| (*kind, *weight)).collect(), "method.weights")?;
        Ok(Stage { share: stage.share, terms })
    };
    base.stages.iter().map(own).collect()
}

fn own_stage(i: usize, config: &StageConfig) -> Result<Stage> {
    if !(config.share > 0.0 && config.share.is_finite()) {
        bail!("method.stages[{i}].share is {}, expected a number above 0", config.share);
    }
    let key = format!("method.stages[{i}].weights");
    let terms = terms(&[], &config.weights, &key)?;
    if terms.is_empty() {
        bail!("{key} leaves no term: at least one weight must be above 0");
    }
    Ok(Stage { share: config.share, terms })
}

/// The terms of `base` with the weights of the configuration; a weight of 0 takes the term out.
fn terms(base: &[Term], weights: &WeightsConfig, key: &str) -> Result<Vec<Term>> {
    let mut out = Vec::new();
    for kind in TermKind::ALL {
        let own = base.iter().find(|t| t.kind == kind).map(|t| t.weight);
        let given = weights.get(&kind).map(|&weight| {
            let key = format!("{key}.{}", kind.name());
            Course::new(&key, weight, |w| w >= 0.0, "a number of at least 0")
        });
        if let Some(weight) = given.transpose()?.or(own)
            && weight.most() > 0.0
        {
            out.push(Term { kind, weight });
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
