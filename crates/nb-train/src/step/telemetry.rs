//! What is seen of a step: the terms and the gradient's norm always, and between two log lines nothing else.
//!
//! All of it stays on the device until somebody reads it, so that no step waits for the device because of its log.

use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor};

use crate::method::{Method, TeacherRole, TermKind};
use crate::model::{Models, Role};
use crate::step::Context;
use crate::step::terms::{Counts, ModelOutputs};

/// What is looked at beside the terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telemetry {
    /// Nothing.
    Terms,
    /// Norms of each model's gradient, the cosine between the student's own gradient and the teacher's by layer, and how
    /// far both agree.
    Models,
}

/// What was looked at, on the device.
#[derive(Debug)]
pub struct GradientStats {
    norms: Vec<(Role, Tensor)>,
    cosines: Option<Tensor>,
    agreement: Option<Tensor>,
}

impl Telemetry {
    /// How far teacher and student agree on a micro-batch, summed over its rows.
    pub(crate) fn agreement(self, teacher: Option<&ModelOutputs>, student: Option<&ModelOutputs>) -> Option<Tensor> {
        let (Self::Models, Some(teacher), Some(student)) = (self, teacher, student) else { return None };
        let (v, z) = (&teacher.outputs.as_ref()?.logits, &student.outputs.as_ref()?.logits);
        let rows = v.size()[0] as f64;
        Some(nb_loss::agreement(v, z).to_kind(Kind::Double) * rows)
    }
}

impl GradientStats {
    /// Looks at the gradients before they are blended; `agreement` is summed over all rows.
    pub(crate) fn look<T>(
        method: &Method,
        models: &Models<T>,
        agreement: Option<Tensor>,
        context: &Context,
    ) -> Option<Self> {
        if context.watch == Telemetry::Terms {
            return None;
        }
        let counts = context.counts;
        let joint = method.teacher == TeacherRole::Joint;
        let trained = models.named().filter(|(role, _)| joint || *role == Role::Student);
        Some(Self {
            norms: trained.map(|(role, model)| (role, model.arena().grads().norm())).collect(),
            cosines: if joint { cosines(models) } else { None },
            agreement: agreement.map(|sum| sum / counts.rows.max(1) as f64),
        })
    }
}

/// By student layer, the cosine between its own gradient and the mean of those of the teacher layers behind it: \[N\].
fn cosines<T>(models: &Models<T>) -> Option<Tensor> {
    let (teacher, student, map) = (models.teacher.as_ref()?, models.student.as_ref()?, models.map?);
    let own = student.bert.layer_grads();
    if teacher.bert.layer_grads().size()[1] != own.size()[1] {
        return None; // layers of another shape, of which nothing is blended
    }
    let groups = [map.student_layers() as i64, map.group_size() as i64, own.size()[1]];
    let injected = teacher.bert.layer_grads().view(groups).mean_dim(1, false, Kind::Float);
    let norm = |x: &Tensor| x.square().sum_dim_intlist(-1, false, Kind::Float).sqrt();
    let product = (&own * &injected).sum_dim_intlist(-1, false, Kind::Float);
    Some(product / (norm(&own) * norm(&injected)).clamp_min(f64::from(f32::MIN_POSITIVE)))
}

/// What a step did, on the device.
#[derive(Debug)]
pub struct StepOutput {
    terms: Vec<(TermKind, f64)>,
    values: Tensor,
    norm: Tensor,
    watched: Option<GradientStats>,
    /// Whether the update was left out because it is not finite: a scalar, 0 or 1.
    pub(crate) skipped: Tensor,
    temperature: f64,
    beta: f64,
    /// What the batch held.
    pub counts: Counts,
}

impl StepOutput {
    pub(crate) fn new(
        method: &Method,
        context: Context,
        (values, norm): (Tensor, Tensor),
        (watched, skipped): (Option<GradientStats>, Tensor),
    ) -> Self {
        let Context { moment, counts, .. } = context;
        let stage = &method.stages[moment.stage];
        let terms = stage.terms.iter().map(|term| (term.kind, term.weight.at(moment.progress))).collect();
        let (temperature, beta) = (method.temperature.at(moment.progress), method.beta.at(moment.progress));
        Self { terms, values, norm, watched, skipped, temperature, beta, counts }
    }

    /// Copies it to the host; on a GPU that waits for the device.
    pub fn read(&self) -> StepReport {
        let host = |t: &Tensor| -> Vec<f64> {
            let flat = t.to_kind(Kind::Double).to_device(Device::Cpu).contiguous().view(-1);
            Vec::try_from(flat).expect("a row of doubles")
        };
        let values = host(&self.values);
        let watched = self.watched.as_ref();
        StepReport {
            total: self.terms.iter().zip(&values).map(|((_, weight), value)| weight * value).sum(),
            terms: self.terms.iter().zip(values).map(|(&(kind, _), value)| (kind, value)).collect(),
            weights: self.terms.clone(),
            temperature: self.temperature,
            beta: self.beta,
            gradient_norm: self.norm.double_value(&[]),
            norms: watched
                .map_or_else(Vec::new, |w| w.norms.iter().map(|(role, t)| (*role, t.double_value(&[]))).collect()),
            cosines: watched.and_then(|w| w.cosines.as_ref()).map(host),
            agreement: watched.and_then(|w| w.agreement.as_ref()).map(host).map(|both| (both[0], both[1])),
            counts: self.counts,
        }
    }
}

/// What a step did.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// Each term of the stage, unweighted, in the method's order.
    pub terms: Vec<(TermKind, f64)>,
    /// The factor of each.
    pub weights: Vec<(TermKind, f64)>,
    /// The weighted sum of the terms.
    pub total: f64,
    /// Temperature of the soft terms.
    pub temperature: f64,
    /// Share of the teacher's gradients in the student's.
    pub beta: f64,
    /// Norm of the whole gradient after blending, before clipping.
    pub gradient_norm: f64,
    /// Norm of each encoder's gradient before blending, if that was watched.
    pub norms: Vec<(Role, f64)>,
    /// By student layer, the cosine between its own gradient and the one that is blended in, if that was watched.
    pub cosines: Option<Vec<f64>>,
    /// Share of rows that teacher and student predict alike, and mean KL divergence at T = 1, if that was watched.
    pub agreement: Option<(f64, f64)>,
    /// What the batch held.
    pub counts: Counts,
}

impl StepReport {
    /// The first number of the report that is not finite.
    pub fn not_finite(&self) -> Option<String> {
        let term = self.terms.iter().find(|(_, value)| !value.is_finite());
        let term = term.map(|(kind, value)| format!("the term `{}` is {value}", kind.name()));
        term.or_else(|| {
            (!self.gradient_norm.is_finite()).then(|| format!("the gradient's norm is {}", self.gradient_norm))
        })
    }

    /// What a line of `metrics.jsonl` says of it.
    pub fn to_json(&self, method: &Method) -> Map<String, Value> {
        let by_name = |all: &[(TermKind, f64)]| -> Map<String, Value> {
            all.iter().map(|(kind, value)| (kind.name().to_owned(), json!(value))).collect()
        };
        let mut line = Map::new();
        line.insert("loss".into(), json!(self.total));
        line.insert("terms".into(), by_name(&self.terms).into());
        line.insert("weights".into(), by_name(&self.weights).into());
        if method.any(|kind| matches!(kind, TermKind::Soft | TermKind::Divergence)) {
            line.insert("temperature".into(), json!(self.temperature));
        }
        if method.blends() {
            line.insert("beta".into(), json!(self.beta));
        }
        line.insert("gradient_norm".into(), json!(self.gradient_norm));
        let norms: Map<String, Value> = self.norms.iter().map(|(role, n)| (role.name().to_owned(), json!(n))).collect();
        line.insert("gradient_norms".into(), norms.into());
        if let Some(cosines) = &self.cosines {
            line.insert("momentum_cosine".into(), json!(cosines));
        }
        if let Some((equal, kl)) = self.agreement {
            line.insert("agreement".into(), json!({"equal": equal, "kl": kl}));
        }
        line
    }
}
