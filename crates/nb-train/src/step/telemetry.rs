//! Measurements of a step: the terms and the gradient's norm in every step, and statistics of the gradients in logged steps.
//!
//! All of them stay on the device until they are read, so logging does not make a step wait for the device.

use nb_checkpoint::LabelKind;
use nb_report::record::{Agreement, Named, StepLine};
use tch::{Device, Kind, Tensor};

use crate::method::{Method, TeacherRole, TermKind};
use crate::model::{Models, Role};
use crate::step::context::{StepContext, Telemetry};
use crate::step::momentum::{self, LayerGrads};
use crate::step::terms::{Counts, TermInputs};

/// Statistics of the gradients, and the agreement of the models, on the device.
#[derive(Debug)]
pub(crate) struct GradientStats {
    norms: Vec<(Role, Tensor)>,
    cosines: Option<Tensor>,
    agreement: Option<Tensor>,
}

impl Telemetry {
    /// Computes the agreement of teacher and student on a micro-batch, summed over its rows.
    pub(crate) fn agreement(self, inputs: &TermInputs<'_>) -> Option<Tensor> {
        let (Self::Models, Some(teacher), Some(student)) = (self, inputs.teacher, inputs.student) else { return None };
        let (v, z) = (&teacher.outputs.as_ref()?.logits, &student.outputs.as_ref()?.logits);
        let rows = v.size()[0] as f64;
        let agreement = || match inputs.label_kind {
            LabelKind::Single => nb_loss::agreement(v, z),
            LabelKind::Multi => nb_loss::binary_agreement(v, z),
        };
        (rows > 0.0).then(|| agreement().to_kind(Kind::Double) * rows)
    }
}

impl GradientStats {
    /// Measures the gradients before they are blended, if `context` requests it; `agreement` is summed over all rows.
    pub(crate) fn measure<T>(
        method: &Method,
        models: &Models<T>,
        agreement: Option<Tensor>,
        context: &StepContext,
    ) -> Option<Self> {
        if context.telemetry == Telemetry::Terms {
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

/// The cosine between each student layer's gradient and the one that is blended into it: \[N\], NaN where there is none. `None`
/// if nothing can be blended.
fn cosines<T>(models: &Models<T>) -> Option<Tensor> {
    let (teacher, student, map) = (models.teacher.as_ref()?, models.student.as_ref()?, models.map?);
    let nan = Tensor::from(f64::NAN).to_device(student.bert.device());
    let mut cosines: Vec<Tensor> = (0..student.bert.depth()).map(|_| nan.shallow_clone()).collect();
    let pairs = momentum::layer_grads(teacher, student, map);
    if pairs.is_empty() {
        return None;
    }
    for LayerGrads { layer, teacher, student } in pairs {
        let blended = teacher.mean_dim(0, true, Kind::Float);
        let norms = (student.norm() * blended.norm()).clamp_min(f64::from(f32::MIN_POSITIVE));
        cosines[layer] = ((student * blended).sum(Kind::Float) / norms).to_kind(Kind::Double);
    }
    Some(Tensor::stack(&cosines, 0))
}

/// The output of a step, on the device.
#[derive(Debug)]
pub struct StepOutput {
    terms: Vec<(TermKind, f64)>,
    values: Tensor,
    norm: Tensor,
    stats: Option<GradientStats>,
    /// 1 if the update was skipped because it is not finite, else 0: a scalar.
    pub(crate) skipped: Tensor,
    temperature: f64,
    beta: f64,
    /// Units in the batch.
    pub counts: Counts,
}

impl StepOutput {
    pub(crate) fn new(
        method: &Method,
        context: &StepContext,
        values: Tensor,
        norm: Tensor,
        stats: Option<GradientStats>,
        skipped: Tensor,
    ) -> Self {
        let StepContext { position, counts, .. } = *context;
        let stage = &method.stages[position.stage];
        let terms = stage.terms.iter().map(|term| (term.kind, term.weight.at(position.progress))).collect();
        let temperature = method.temperature.at(position.progress);
        let beta = method.beta.at(position.progress);
        Self { terms, values, norm, stats, skipped, temperature, beta, counts }
    }

    /// Copies the output to the host. On a GPU this waits for the device.
    pub fn read(&self) -> StepReport {
        let host = |t: &Tensor| -> Vec<f64> {
            let flat = t.to_kind(Kind::Double).to_device(Device::Cpu).contiguous().view(-1);
            Vec::try_from(flat).expect("a row of doubles")
        };
        let values = host(&self.values);
        let stats = self.stats.as_ref();
        StepReport {
            total: self.terms.iter().zip(&values).map(|((_, weight), value)| weight * value).sum(),
            terms: self.terms.iter().zip(values).map(|(&(kind, _), value)| (kind, value)).collect(),
            weights: self.terms.clone(),
            temperature: self.temperature,
            beta: self.beta,
            gradient_norm: self.norm.double_value(&[]),
            norms: stats.map_or_else(Vec::new, |stats| {
                stats.norms.iter().map(|(role, t)| (*role, t.double_value(&[]))).collect()
            }),
            cosines: stats
                .and_then(|stats| stats.cosines.as_ref())
                .map(|cosines| host(cosines).into_iter().map(|cosine| Some(cosine).filter(|c| !c.is_nan())).collect()),
            agreement: stats
                .and_then(|stats| stats.agreement.as_ref())
                .map(host)
                .map(|values| Agreement { equal: Some(values[0]), kl: Some(values[1]) }),
            counts: self.counts,
        }
    }
}

/// The output of a step on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// Each term of the stage, unweighted, in the method's order.
    pub terms: Vec<(TermKind, f64)>,
    /// The weight of each term.
    pub weights: Vec<(TermKind, f64)>,
    /// The weighted sum of the terms.
    pub total: f64,
    /// Temperature of the soft terms.
    pub temperature: f64,
    /// Share of the teacher's gradients in the student's.
    pub beta: f64,
    /// Norm of the whole gradient after blending, before clipping.
    pub gradient_norm: f64,
    /// Norm of each encoder's gradient before blending, if measured.
    pub norms: Vec<(Role, f64)>,
    /// The cosine between each student layer's gradient and the gradient blended into it, if measured; `None` for a layer into
    /// which nothing is blended.
    pub cosines: Option<Vec<Option<f64>>>,
    /// Agreement of teacher and student over the rows of the step, if measured.
    pub agreement: Option<Agreement>,
    /// Units in the batch.
    pub counts: Counts,
}

impl StepReport {
    /// Describes the first number of the report that is not finite.
    pub fn not_finite(&self) -> Option<String> {
        let term = self.terms.iter().find(|(_, value)| !value.is_finite());
        let term = term.map(|(kind, value)| format!("the term `{}` is {value}", kind.name()));
        term.or_else(|| {
            (!self.gradient_norm.is_finite()).then(|| format!("the gradient norm is {}", self.gradient_norm))
        })
    }

    /// Returns the report's part of a line of `metrics.jsonl`.
    pub fn record(&self, method: &Method) -> StepLine {
        let is_soft = method.any(|kind| matches!(kind, TermKind::Soft | TermKind::Divergence));
        StepLine {
            loss: Some(self.total),
            terms: by_term(&self.terms),
            weights: by_term(&self.weights),
            temperature: is_soft.then_some(self.temperature),
            beta: method.blends().then_some(self.beta),
            gradient_norm: Some(self.gradient_norm),
            gradient_norms: self.norms.iter().map(|(role, norm)| (role.name(), *norm)).collect(),
            momentum_cosine: self.cosines.clone(),
            agreement: self.agreement,
            samples: Some(self.counts.rows),
            ..StepLine::default()
        }
    }
}

/// Returns one number per term, by the term's name.
fn by_term(numbers: &[(TermKind, f64)]) -> Named<f64> {
    numbers.iter().map(|(kind, value)| (kind.name(), *value)).collect()
}
