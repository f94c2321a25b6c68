//! Every parameter of the models by name and shape.

use anyhow::Result;
use nb_checkpoint::{BertConfig, Slot, parameter_count, parameter_layout};
use nb_model::{Arena, TrainedParts};
use nb_train::method::{TeacherRole, TermKind};
use nb_train::model::{self, needs_projection, trained_head};
use nb_train::plan::{Plan, check_trained};
use nb_train::task::{HeadPair, Task, TaskHead, Widths};
use tch::Device;

use super::page::{Page, count, millions};

/// Prefix of the embeddings' parameters.
const EMBEDDINGS: &str = "embeddings.";
/// Prefix of the first layer's parameters.
const LAYER: &str = "encoder.layer.0.";

/// A selection of models.
#[derive(Debug, Clone, Copy)]
struct TakePart {
    teacher: bool,
    student: bool,
}

/// Shows every parameter by name and shape, and returns the number of those in heads and projection, each counted once.
pub(super) fn parameters<K: Task>(page: &mut Page, plan: &Plan, task: &K) -> Result<u64> {
    let method = &plan.method;
    let parts = TakePart { teacher: method.has_teacher(), student: method.has_student() };
    let trained = TakePart { teacher: method.teacher == TeacherRole::Joint, ..parts };
    page.heading("Parameters");
    let encoders: Vec<Encoder<'_>> = encoders(plan, parts).collect();
    show_encoders(page, &encoders);
    let widths = model::widths(plan);
    let heads = task.heads(widths, method.share, 0, Device::Cpu); // only their shapes are used
    show_heads(page, &heads, parts);
    let projection = show_projection(page, plan, widths);
    let in_encoders: i64 = self::encoders(plan, trained).map(|encoder| encoder.trained()).sum();
    let all = in_encoders + trained_head_parameters(plan, &heads, trained) + projection;
    for encoder in self::encoders(plan, trained).filter(|encoder| encoder.trained() < parameter_count(encoder.config)) {
        let depth = encoder.config.num_hidden_layers as usize;
        page.line("trained", format!("of the {}: {}", encoder.name, names_of(encoder.parts, depth)));
    }
    page.line("trained", format!("{} in total", millions(all)));
    check_trained(all as u64, method.has_student())?;
    Ok((head_parameters(&heads, parts) + projection) as u64)
}

struct Encoder<'a> {
    name: &'static str,
    config: &'a BertConfig,
    parts: TrainedParts,
}

impl Encoder<'_> {
    /// Returns the number of parameters that are trained if the model learns.
    fn trained(&self) -> i64 {
        let of = |part: &str| slots(self.config, part).iter().map(Slot::numel).sum::<i64>();
        let layers = self.parts.layers(self.config.num_hidden_layers as usize).len() as i64;
        layers * of(LAYER) + if self.parts.embeddings { of(EMBEDDINGS) } else { 0 }
    }
}

/// Names parts of an encoder of `depth` layers.
pub(super) fn names_of(parts: TrainedParts, depth: usize) -> String {
    let layers = parts.layers(depth);
    let layers = match layers.len() {
        0 => String::new(),
        1 => format!("encoder.layer.{}", layers.start),
        _ => format!("encoder.layer.{} to {}", layers.start, layers.end - 1),
    };
    match (parts.embeddings, layers.as_str()) {
        (false, "") => "nothing but the head".to_owned(),
        (false, layers) => layers.to_owned(),
        (true, "") => "embeddings".to_owned(),
        (true, layers) => format!("embeddings and {layers}"),
    }
}

/// Returns the encoders of the selected models.
fn encoders(plan: &Plan, parts: TakePart) -> impl Iterator<Item = Encoder<'_>> {
    let encoder = |name, config, parts| Encoder { name, config, parts };
    let teacher = parts.teacher.then_some(encoder("teacher", &plan.teacher_config, plan.parts.teacher));
    let student = parts.student.then_some(encoder("student", &plan.student_config, plan.parts.student));
    teacher.into_iter().chain(student)
}

fn show_encoders(page: &mut Page, encoders: &[Encoder<'_>]) {
    for encoder in encoders {
        page.line(encoder.name, summary(encoder.config));
    }
    for (i, Encoder { name, config, .. }) in encoders.iter().enumerate() {
        let same = |other: &Encoder<'_>| slots(other.config, LAYER) == slots(config, LAYER);
        if encoders[..i].iter().any(same) {
            continue;
        }
        let whose = if encoders.iter().all(same) { String::new() } else { format!("{name}'s: ") };
        page.line("embeddings", format!("{whose}{}", groups(&slots(config, EMBEDDINGS))));
        page.line("each layer", format!("{whose}{}", groups(&slots(config, LAYER))));
    }
}

/// Shows the projection from the student's width to the teacher's, if a term needs it, and returns its parameters.
fn show_projection(page: &mut Page, plan: &Plan, widths: Widths) -> i64 {
    let Widths { teacher, student, .. } = widths;
    let kinds = plan.method.terms().map(|term| term.kind);
    let terms: Vec<&str> = kinds.filter(|&kind| needs_projection(kind, widths)).map(TermKind::name).collect();
    if terms.is_empty() {
        return 0;
    }
    page.line(
        "projection",
        format!(
            "projection.weight [{teacher}, {student}], projection.bias [{teacher}]: from the student's width to the \
             teacher's for {}",
            terms.join(", ")
        ),
    );
    teacher * student + teacher
}

fn summary(config: &BertConfig) -> String {
    let of = |part: &str| slots(config, part).iter().map(Slot::numel).sum::<i64>();
    let (all, layers) = (parameter_count(config), config.num_hidden_layers);
    format!(
        "{}: embeddings {} + {} of {}",
        millions(all),
        millions(of(EMBEDDINGS)),
        count(layers as u64, "layer"),
        millions(of(LAYER))
    )
}

/// Returns the parameters whose names begin with `part`, and removes it from their names.
fn slots(config: &BertConfig, part: &str) -> Vec<Slot> {
    let layout = parameter_layout(config);
    let slots = layout
        .slots()
        .iter()
        .filter_map(|slot| Some(Slot { name: slot.name.strip_prefix(part)?.to_owned(), offset: 0, ..slot.clone() }));
    slots.collect()
}

/// Lists matrices by shape, and counts vectors.
fn groups(slots: &[Slot]) -> String {
    let mut groups: Vec<(Vec<&str>, &[i64])> = Vec::new();
    for slot in slots.iter().filter(|slot| slot.decays()) {
        let name = slot.name.trim_end_matches(".weight");
        match groups.iter_mut().find(|(_, shape)| *shape == slot.shape) {
            Some((names, _)) => names.push(name),
            None => groups.push((vec![name], &slot.shape)),
        }
    }
    let mut list: Vec<String> = groups.iter().map(|(names, shape)| format!("{} {shape:?}", names.join(", "))).collect();
    let vectors: Vec<&Slot> = slots.iter().filter(|slot| !slot.decays()).collect();
    let entries: i64 = vectors.iter().map(|slot| slot.numel()).sum();
    list.push(format!("{} with {entries} numbers", count(vectors.len() as u64, "vector")));
    list.join("; ")
}

/// Shows each parameter of the heads of the selected models.
fn show_heads<T: TaskHead>(page: &mut Page, heads: &HeadPair<T>, parts: TakePart) {
    let teachers = if parts.teacher { heads.teacher.arenas() } else { Vec::new() };
    if !parts.student {
        for slot in teachers.iter().flat_map(|arena| arena.layout().slots()) {
            page.line("head", format!("{} {:?}", slot.name, slot.shape));
        }
        return;
    }
    for student in heads.student.arenas() {
        for slot in student.layout().slots() {
            let other = teachers.iter().find_map(|arena| Some((arena, arena.layout().slot(&slot.name)?)));
            let whose = match other {
                Some((arena, _)) if is_shared(arena, student) => ": shared".to_owned(),
                Some((_, other)) if other.shape != slot.shape => {
                    format!(": one per model, the teacher's {:?}", other.shape)
                }
                Some(_) => ": one per model".to_owned(),
                None if parts.teacher => ": the student's alone".to_owned(),
                None => String::new(),
            };
            page.line("head", format!("{} {:?}{whose}", slot.name, slot.shape));
        }
    }
}

/// Counts the parameters in the heads of the selected models; shared ones count once.
fn head_parameters<T: TaskHead>(heads: &HeadPair<T>, parts: TakePart) -> i64 {
    let teachers = if parts.teacher { heads.teacher.arenas() } else { Vec::new() };
    let mut students = if parts.student { heads.student.arenas() } else { Vec::new() };
    students.retain(|student| !teachers.iter().any(|teacher| is_shared(teacher, student)));
    teachers.iter().chain(&students).map(|arena| arena.layout().numel()).sum()
}

/// Counts the parameters that are trained in the heads of the selected models; shared ones count once.
fn trained_head_parameters<T: TaskHead>(plan: &Plan, heads: &HeadPair<T>, parts: TakePart) -> i64 {
    let of = |takes_part: bool, head| if takes_part { trained_head(plan, head) } else { Vec::new() };
    let teachers = of(parts.teacher, &heads.teacher);
    let mut students = of(parts.student, &heads.student);
    students.retain(|student| !teachers.iter().any(|teacher| is_shared(teacher, student)));
    teachers.iter().chain(&students).map(|arena| arena.layout().numel()).sum()
}

fn is_shared(a: &Arena, b: &Arena) -> bool {
    a.values().data_ptr() == b.values().data_ptr()
}
