//! The layer map: what each layer of the student learns from.

use anyhow::Result;
use nb_share::LayerMap;
use nb_train::method::{Blend, Method, TermKind};
use nb_train::plan::{LearnedParts, Plan};

use super::page::Page;

/// Shows the layer map, if the method compares or blends layers.
pub(super) fn layer_map(page: &mut Page, plan: &Plan) -> Result<()> {
    let method = &plan.method;
    let layers = Layers::of(plan);
    if !method.has_student() || !(method.needs_layer_map() || layers.compare_states()) {
        return Ok(());
    }
    let map = method.needs_layer_map().then(|| LayerMap::uniform(layers.teacher, layers.student)).transpose()?;
    let layers = Layers { map, ..layers };
    page.heading("Layer map");
    let (teacher, student) = (plan.teacher_config.hidden_size, plan.student_config.hidden_size);
    page.line(
        "states",
        format!("H_i [tokens, {teacher}] of the teacher, [tokens, {student}] of the student; H_0 is the embedding"),
    );
    let embeddings = layers.embeddings();
    if !embeddings.is_empty() {
        page.line("embeddings", embeddings.join("; "));
    }
    for i in 1..=layers.student {
        let name = format!("layer {i}");
        let lines = layers.layer(i);
        lines.iter().enumerate().for_each(|(j, line)| page.line(if j == 0 { &name } else { "" }, line));
    }
    Ok(())
}

/// Returns a warning if the method blends gradients, but no layer has any to blend.
pub(super) fn warning(plan: &Plan) -> Option<String> {
    let layers = Layers::of(plan);
    let map = LayerMap::uniform(layers.teacher, layers.student).ok().filter(|_| layers.method.blends())?;
    let has_no_effect = (0..layers.student).all(|layer| plan.parts.blended_layers(map, layer).is_empty());
    has_no_effect.then(|| "method.beta has no effect: no layer and its teacher layers are both trained".to_owned())
}

/// The layers of both models.
struct Layers<'a> {
    method: &'a Method,
    teacher: usize,
    student: usize,
    map: Option<LayerMap>,
    parts: LearnedParts,
}

impl<'a> Layers<'a> {
    fn of(plan: &'a Plan) -> Self {
        Self {
            method: &plan.method,
            teacher: plan.teacher_config.num_hidden_layers as usize,
            student: plan.student_layers,
            map: None,
            parts: plan.parts,
        }
    }

    fn has(&self, kind: TermKind) -> bool {
        self.method.any(|other| other == kind)
    }

    fn compare_states(&self) -> bool {
        let by_layer = [TermKind::Hidden, TermKind::Attention, TermKind::Cosine, TermKind::Embedding];
        self.has(TermKind::Patience) && self.student > 1 || by_layer.into_iter().any(|kind| self.has(kind))
    }

    /// The verb for state `i` of the student, which is constant unless a part below it is trained.
    fn learns_from(&self, i: usize) -> &'static str {
        let parts = self.parts.student;
        let changes = parts.embeddings || i > parts.layers(self.student).start;
        if changes { "learns from" } else { "is constant, but compared with" }
    }

    fn embeddings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.has(TermKind::Embedding) {
            lines.push(format!("H_0 {} H_0 of the teacher (embedding)", self.learns_from(0)));
        }
        if self.method.blends() {
            lines.push(match self.method.blend {
                Blend::Layers => "gradients are not blended".to_owned(),
                Blend::LayersAndEmbeddings if self.parts.teacher.embeddings && self.parts.student.embeddings => {
                    format!("β = {} of the teacher's gradients is blended in", self.method.beta)
                }
                Blend::LayersAndEmbeddings => {
                    "no gradients are blended in: both models would have to train them".to_owned()
                }
            });
        }
        lines
    }

    /// The lines of student layer `i`, from 1.
    fn layer(&self, i: usize) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(map) = self.map {
            lines.push(format!("encoder.layer.{} corresponds to {}", i - 1, group(map, i)));
        }
        let state = || self.method.teacher_state(i, self.teacher, self.student);
        if self.has(TermKind::Hidden) {
            lines.push(format!("H_{i} {} H_{} of the teacher (hidden)", self.learns_from(i), state()));
        }
        if self.has(TermKind::Attention) {
            lines.push(format!("scores learn from those of layer {} of the teacher (attention)", state()));
        }
        if self.has(TermKind::Patience) && i < self.student {
            let state = self.method.pkd_layers.teacher_state(i, self.teacher, self.student);
            lines.push(format!("[CLS] of H_{i} {} that of H_{state} of the teacher (patience)", self.learns_from(i)));
        }
        if self.has(TermKind::Cosine) && i == self.student {
            lines.push(format!("H_{i} {} H_{} of the teacher (cosine)", self.learns_from(i), self.teacher));
        }
        if let (true, Some(map)) = (self.method.blends(), self.map) {
            lines.push(self.blended(map, i));
        }
        lines
    }

    /// The gradients that are blended into those of student layer `i`, from 1. Only layers that are trained have gradients.
    fn blended(&self, map: LayerMap, i: usize) -> String {
        if !self.parts.student.layers(self.student).contains(&(i - 1)) {
            return "it is not trained".to_owned();
        }
        let group = map.group(i - 1);
        let trained = self.parts.blended_layers(map, i - 1);
        let of = match trained.len() {
            0 => return "no gradients are blended in: that part of the teacher is not trained".to_owned(),
            1 if group.len() == 1 => "that layer's gradients".to_owned(),
            1 => format!("the gradients of encoder.layer.{}, the only one that is trained,", trained.start),
            n if n == group.len() => "the mean gradients of those layers".to_owned(),
            _ => format!(
                "the mean gradients of encoder.layer.{} to {}, the ones that are trained,",
                trained.start,
                trained.end - 1
            ),
        };
        format!("β = {} of {of} is blended in", self.method.beta)
    }
}

/// The teacher's layers that student layer `i` stands for.
fn group(map: LayerMap, i: usize) -> String {
    let group = map.group(i - 1);
    let (first, last) = (group.start + 1, group.end);
    match map.group_size() {
        1 => format!("layer {last} of the teacher (encoder.layer.{})", group.start),
        _ => format!("layers {first} to {last} of the teacher (encoder.layer.{} to {})", group.start, last - 1),
    }
}
