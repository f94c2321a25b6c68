//! Methods as data: where the teacher stands, what is shared and blended, and which weighted terms are summed.
//!
//! The step interprets a [`Method`] and never asks for its name. A new method is one entry in [`presets`]; a new kind of
//! term is one variant of [`TermKind`], one arm in [`crate::terms`] and one function in `nb-loss`.

use anyhow::{Result, bail};
use nb_loss::SoftScaling;
use nb_momentum::Beta;
use nb_share::Sharing;

use crate::config::{BlendChoice, MethodConfig, ShareChoice, TeacherRoleChoice, WeightsConfig};

/// Where the teacher stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TeacherRole {
    /// There is none.
    Absent,
    /// It is trained along with the student, or alone.
    Joint,
}

/// What the student learns from, and whom each term trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TermKind {
    /// The teacher's cross entropy with the label: L^t.
    Teacher,
    /// MSE of the embedding outputs, over real tokens and hidden units.
    Embedding,
    /// Sum over the student's layers of the MSE between H^s_i and H^t_{iK}.
    Hidden,
    /// MSE of the pooled vectors.
    Pooled,
    /// Cross entropy between the softened outputs of teacher and student.
    Soft,
    /// The student's cross entropy with the label.
    Hard,
}

impl TermKind {
    /// Every kind, in the order of reports.
    pub const ALL: [Self; 6] = [Self::Teacher, Self::Embedding, Self::Hidden, Self::Pooled, Self::Soft, Self::Hard];

    /// The name in configurations, logs and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Teacher => "teacher",
            Self::Embedding => "embedding",
            Self::Hidden => "hidden",
            Self::Pooled => "pooled",
            Self::Soft => "soft",
            Self::Hard => "hard",
        }
    }

    /// Whether the term needs the teacher's outputs.
    pub fn needs_teacher(self) -> bool {
        self != Self::Hard
    }

    /// Whether the term needs the student's outputs.
    pub fn needs_student(self) -> bool {
        self != Self::Teacher
    }

    /// Whether the term compares states inside the encoders.
    pub fn needs_layers(self) -> bool {
        matches!(self, Self::Embedding | Self::Hidden)
    }
}

/// A term and its weight in the total.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Term {
    /// Which loss.
    pub kind: TermKind,
    /// Its factor.
    pub weight: f64,
}

/// Which top layers teacher and student have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Attentive pooling.
    pub pooling: Sharing,
    /// The dense layer.
    pub dense: Sharing,
}

impl Share {
    const NOTHING: Self = Self { pooling: Sharing::Each, dense: Sharing::Each };
    const TOP: Self = Self { pooling: Sharing::One, dense: Sharing::One };

    fn is_any(self) -> bool {
        self != Self::NOTHING
    }
}

/// Which of the student's gradients take in the teacher's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blend {
    /// Those of the encoder layers, as in the paper.
    Layers,
    /// Those of the embedding layer too.
    LayersAndEmbeddings,
}

/// One way for a student (or a teacher) to learn.
#[derive(Debug, Clone, PartialEq)]
pub struct Method {
    /// For reports; nothing depends on it.
    pub name: String,
    /// Where the teacher stands.
    pub teacher: TeacherRole,
    /// Temperature T of the soft term.
    pub temperature: f64,
    /// Whether the soft term is multiplied by T².
    pub scaling: SoftScaling,
    /// Share β of the teacher's gradients in the student's.
    pub beta: Beta,
    /// What β applies to.
    pub blend: Blend,
    /// Which top layers are shared.
    pub share: Share,
    /// The terms of the total loss; none has weight 0.
    pub terms: Vec<Term>,
}

fn method(name: &str, teacher: TeacherRole, beta: Beta, share: Share, kinds: &[TermKind]) -> Method {
    Method {
        name: name.to_owned(),
        teacher,
        temperature: 1.0,
        scaling: SoftScaling::Plain,
        beta,
        blend: Blend::Layers,
        share,
        terms: kinds.iter().map(|&kind| Term { kind, weight: 1.0 }).collect(),
    }
}

/// The methods that have a name.
///
/// | name | source |
/// | --- | --- |
/// | `newsbert` | Wu et al., NewsBERT, Findings of EMNLP 2021, sections 3.2 and 3.3: joint training, shared top, all terms of L^s, momentum distillation; β = 0.15 and T = 1 are this project's defaults |
/// | `finetune` | the student alone on the labels |
/// | `teacher` | the teacher alone on the labels |
pub fn presets() -> Vec<Method> {
    let newsbert = Beta::new(0.15).unwrap_or(Beta::OFF); // 0.15 lies between 0 and 1
    vec![
        method("newsbert", TeacherRole::Joint, newsbert, Share::TOP, &TermKind::ALL),
        method("finetune", TeacherRole::Absent, Beta::OFF, Share::NOTHING, &[TermKind::Hard]),
        method("teacher", TeacherRole::Joint, Beta::OFF, Share::NOTHING, &[TermKind::Teacher]),
    ]
}

impl Method {
    /// The method that a configuration describes: its preset with the parts that are spelled out replaced, or, without a
    /// name, those parts on nothing. Without a name and without weights it is `newsbert` with the parts given.
    ///
    /// # Errors
    /// If a value is out of its range, or if the parts do not go together; the message names the key.
    pub fn from_config(config: &MethodConfig) -> Result<Self> {
        let base = match &config.name {
            Some(name) => preset(name)?,
            None if !has_weights(&config.weights) => preset("newsbert")?,
            None => method("custom", TeacherRole::Absent, Beta::OFF, Share::NOTHING, &[]),
        };
        let beta = match config.beta {
            None => base.beta,
            Some(beta) => match Beta::new(beta) {
                Some(beta) => beta,
                None => bail!("method.beta is {beta}, expected a number from 0 (no momentum) to 1"),
            },
        };
        let method = Self {
            teacher: config.teacher.map_or(base.teacher, |role| match role {
                TeacherRoleChoice::None => TeacherRole::Absent,
                TeacherRoleChoice::Joint => TeacherRole::Joint,
            }),
            temperature: config.temperature.unwrap_or(base.temperature),
            scaling: config
                .t2
                .map_or(base.scaling, |on| if on { SoftScaling::TemperatureSquared } else { SoftScaling::Plain }),
            beta,
            blend: config.blend.as_ref().map_or(Ok(base.blend), |parts| blend(parts))?,
            share: config.share.as_ref().map_or(base.share, |parts| share(parts)),
            terms: terms(&base.terms, &config.weights)?,
            name: base.name,
        };
        method.check()?;
        Ok(method)
    }

    /// The configuration with every part spelled out; it describes this method again.
    pub fn to_config(&self) -> MethodConfig {
        let weight = |kind| Some(self.weight(kind));
        let shared = [(self.share.pooling, ShareChoice::Pooling), (self.share.dense, ShareChoice::Dense)];
        MethodConfig {
            name: presets().iter().any(|preset| preset.name == self.name).then(|| self.name.clone()),
            teacher: Some(match self.teacher {
                TeacherRole::Absent => TeacherRoleChoice::None,
                TeacherRole::Joint => TeacherRoleChoice::Joint,
            }),
            temperature: Some(self.temperature),
            t2: Some(self.scaling == SoftScaling::TemperatureSquared),
            beta: Some(self.beta.get()),
            blend: Some(match self.blend {
                Blend::Layers => vec![BlendChoice::Layers],
                Blend::LayersAndEmbeddings => vec![BlendChoice::Layers, BlendChoice::Embeddings],
            }),
            share: Some(shared.into_iter().filter(|(s, _)| *s == Sharing::One).map(|(_, part)| part).collect()),
            weights: WeightsConfig {
                embedding: weight(TermKind::Embedding),
                hidden: weight(TermKind::Hidden),
                pooled: weight(TermKind::Pooled),
                soft: weight(TermKind::Soft),
                hard: weight(TermKind::Hard),
                teacher: weight(TermKind::Teacher),
            },
        }
    }

    /// The weight of a term; 0 if it takes no part.
    pub fn weight(&self, kind: TermKind) -> f64 {
        self.terms.iter().find(|t| t.kind == kind).map_or(0.0, |t| t.weight)
    }

    /// Whether a student is trained.
    pub fn has_student(&self) -> bool {
        self.terms.iter().any(|t| t.kind.needs_student())
    }

    /// Whether a teacher is trained.
    pub fn has_teacher(&self) -> bool {
        self.teacher == TeacherRole::Joint
    }

    /// Whether the layers of teacher and student are set against each other.
    pub fn needs_layer_map(&self) -> bool {
        self.beta != Beta::OFF || self.terms.iter().any(|t| t.kind.needs_layers())
    }

    fn check(&self) -> Result<()> {
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            bail!("method.temperature is {}, expected a number above 0", self.temperature);
        }
        if self.terms.is_empty() {
            bail!("method.weights leaves no term: at least one weight must be above 0");
        }
        if !self.has_teacher() {
            if let Some(term) = self.terms.iter().find(|t| t.kind.needs_teacher()) {
                bail!("method.weights.{} needs a teacher, but method.teacher is none", term.kind.name());
            }
            if self.beta != Beta::OFF {
                bail!("method.beta is {}, but without a teacher there is no gradient to blend", self.beta.get());
            }
            if self.share.is_any() {
                bail!("method.share names top layers, but without a teacher there is nobody to share with");
            }
        }
        if !self.has_student() && (self.beta != Beta::OFF || self.share.is_any()) {
            bail!("method.beta and method.share are for a student, but no term of method.weights trains one");
        }
        if self.has_teacher() && self.weight(TermKind::Teacher) == 0.0 {
            bail!("method.teacher is joint, but method.weights.teacher is 0: the teacher would learn nothing");
        }
        Ok(())
    }
}

fn preset(name: &str) -> Result<Method> {
    let presets = presets();
    let names: Vec<String> = presets.iter().map(|m| m.name.clone()).collect();
    match presets.into_iter().find(|m| m.name == name) {
        Some(method) => Ok(method),
        None => bail!("method.name is `{name}`, expected one of: {}", names.join(", ")),
    }
}

/// Without a name and without weights the terms are NewsBERT's, so that one part of it can be changed alone.
fn has_weights(weights: &WeightsConfig) -> bool {
    let WeightsConfig { embedding, hidden, pooled, soft, hard, teacher } = weights;
    [embedding, hidden, pooled, soft, hard, teacher].iter().any(|weight| weight.is_some())
}

fn share(parts: &[ShareChoice]) -> Share {
    let of = |part| {
        if parts.contains(&part) { Sharing::One } else { Sharing::Each }
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

/// The terms of `base` with the weights of the configuration; a weight of 0 takes the term out.
fn terms(base: &[Term], weights: &WeightsConfig) -> Result<Vec<Term>> {
    let given = |kind| match kind {
        TermKind::Teacher => weights.teacher,
        TermKind::Embedding => weights.embedding,
        TermKind::Hidden => weights.hidden,
        TermKind::Pooled => weights.pooled,
        TermKind::Soft => weights.soft,
        TermKind::Hard => weights.hard,
    };
    let mut out = Vec::new();
    for kind in TermKind::ALL {
        let own = base.iter().find(|t| t.kind == kind).map_or(0.0, |t| t.weight);
        let weight = given(kind).unwrap_or(own);
        if !(weight >= 0.0 && weight.is_finite()) {
            bail!("method.weights.{} is {weight}, expected a number of at least 0", kind.name());
        }
        if weight > 0.0 {
            out.push(Term { kind, weight });
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(yaml: &str) -> Result<Method, String> {
        Method::from_config(&serde_yaml::from_str(yaml).unwrap()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_method_spelled_out_equals_its_preset() {
        let spelled = "{teacher: joint, beta: 0.15, share: [pooling, dense], \
                       weights: {embedding: 1, hidden: 1, pooled: 1, soft: 1, hard: 1, teacher: 1}}";
        let named = parse("{name: newsbert}").unwrap();
        assert_eq!(Method { name: "newsbert".into(), ..parse(spelled).unwrap() }, named);
        assert_eq!(parse("{}").unwrap(), named);
        assert_eq!(parse("{beta: 0}").unwrap(), Method { beta: Beta::OFF, ..named });
    }

    #[test]
    fn every_preset_passes_its_own_checks() {
        for preset in presets() {
            preset.check().unwrap();
            assert_eq!(parse(&format!("{{name: {}}}", preset.name)).unwrap(), preset);
            assert_eq!(Method::from_config(&preset.to_config()).unwrap(), preset, "spelled out");
        }
    }

    #[test]
    fn parts_that_do_not_go_together_are_refused_by_name() {
        for (yaml, says) in [
            ("{name: newsbert, beta: 1.5}", "method.beta is 1.5, expected a number from 0"),
            ("{name: bertnews}", "expected one of: newsbert, finetune, teacher"),
            ("{name: finetune, beta: 0.1}", "no gradient to blend"),
            ("{name: finetune, share: [dense]}", "nobody to share with"),
            ("{name: finetune, weights: {soft: 1}}", "method.weights.soft needs a teacher"),
            ("{name: newsbert, temperature: 0}", "method.temperature is 0"),
            ("{name: newsbert, weights: {hidden: -1}}", "method.weights.hidden is -1"),
            ("{name: finetune, weights: {hard: 0}}", "leaves no term"),
            ("{name: newsbert, weights: {teacher: 0}}", "learn nothing"),
            ("{name: teacher, beta: 0.5}", "no term of method.weights trains one"),
            ("{name: newsbert, blend: [embeddings]}", "must hold `layers`"),
        ] {
            let error = parse(yaml).unwrap_err();
            assert!(error.contains(says), "{yaml}: {error}");
        }
    }

    #[test]
    fn a_weight_of_zero_takes_the_term_out() {
        let method = parse("{name: newsbert, weights: {soft: 0, hidden: 0.1}}").unwrap();
        assert_eq!(method.weight(TermKind::Hidden), 0.1);
        assert!(method.terms.iter().all(|t| t.kind != TermKind::Soft));
    }
}
