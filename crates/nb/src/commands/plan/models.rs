//! The models: where they come from, which layers stand behind which, and every parameter.

use anyhow::Result;
use nb_checkpoint::{BertConfig, Slot, parameter_count, parameter_layout};
use nb_model::Arena;
use nb_share::{Init, LayerMap};
use nb_train::method::{TeacherRole, TermKind};
use nb_train::plan::{ModelSource, Plan, StudentStart};
use nb_train::run::teacher::{finished, teacher_plan};
use nb_train::task::{HeadPair, Task, TaskHead, Widths};
use tch::Device;

use super::page::{Page, count, millions};

/// Teacher and student; `steps` counts those of a run that trains a frozen teacher first.
pub(super) fn origins(page: &mut Page, plan: &Plan, steps: impl Fn(&Plan) -> Result<u64>) -> Result<()> {
    page.layers("Teacher");
    let from = match &plan.teacher {
        ModelSource::Folder(folder) => folder.display().to_string(),
        ModelSource::Random { tokenizer } => format!("random weights; tokenizer of {}", tokenizer.display()),
    };
    page.line("role", role(plan));
    match (plan.method.teacher, plan.trained.as_slice()) {
        (TeacherRole::Frozen, []) => {
            let teacher = teacher_plan(plan)?;
            match finished(&teacher)? {
                Some(folder) => page.line("trained", format!("before, just so: {}", folder.display())),
                None => {
                    let (folder, steps) = (teacher.output.display(), count(steps(&teacher)?, "step"));
                    page.line("trained", format!("will be trained first in {folder} with {steps} from {from}"));
                }
            }
        }
        (TeacherRole::Frozen, folders) => folders.iter().for_each(|folder| page.line("trained", folder.display())),
        _ => page.line("weights", from),
    }
    page.line("shape", shape(&plan.teacher_config));
    if plan.method.has_student() {
        page.layers("Student");
        page.line("weights", start(plan));
        page.line("shape", shape(&plan.student_config));
    }
    Ok(())
}

fn role(plan: &Plan) -> &'static str {
    match (plan.method.teacher, plan.method.has_student(), &plan.student_start) {
        (TeacherRole::Joint, true, _) => "trained along with the student",
        (TeacherRole::Joint, false, _) => "trained alone",
        (TeacherRole::Frozen, ..) => "frozen: trained for the task before the student, does not change any more",
        (TeacherRole::Absent, _, StudentStart::Teacher(_)) => "none; it gives the student its first weights",
        (TeacherRole::Absent, ..) => "none; it gives the student its tokenizer",
    }
}

fn shape(config: &BertConfig) -> String {
    format!(
        "{} of {} units, {}, {} feed-forward units; {} tokens, {} positions",
        count(config.num_hidden_layers as u64, "layer"),
        config.hidden_size,
        count(config.num_attention_heads as u64, "head"),
        config.intermediate_size,
        config.vocab_size,
        config.max_position_embeddings
    )
}

fn start(plan: &Plan) -> String {
    let (l, n) = (plan.source_config.num_hidden_layers as usize, plan.student_layers);
    match &plan.student_start {
        StudentStart::Teacher(init) => {
            let layers = match init {
                Init::First if n == 1 => "its first layer".to_owned(),
                Init::First => format!("its first {n} layers"),
                Init::Spaced => {
                    let every: Vec<String> = (1..=n).map(|i| (i * (l / n)).to_string()).collect();
                    format!("its layers {}", every.join(", "))
                }
            };
            format!("the teacher's embeddings and {layers}")
        }
        StudentStart::Random => "random".to_owned(),
        StudentStart::Checkpoint(folder) => folder.display().to_string(),
    }
}

/// What each layer of the student learns from.
pub(super) fn map(page: &mut Page, plan: &Plan) -> Result<()> {
    let method = &plan.method;
    let (l, n) = (plan.teacher_config.num_hidden_layers as usize, plan.student_layers);
    let states = |kind| kind == TermKind::Patience && n > 1 || kind == TermKind::Cosine || kind == TermKind::Embedding;
    if !method.has_student() || !(method.needs_layer_map() || method.any(states)) {
        return Ok(());
    }
    page.layers("Layer map");
    let has = |kind: TermKind| method.any(|own| own == kind);
    let (width, own) = (plan.teacher_config.hidden_size, plan.student_config.hidden_size);
    page.line(
        "states",
        format!("H_i [tokens, {width}] of the teacher, [tokens, {own}] of the student; H_0 is the embedding"),
    );
    if has(TermKind::Embedding) || method.blends() {
        let mut says = Vec::new();
        if has(TermKind::Embedding) {
            says.push("H_0 learns from H_0 of the teacher (embedding)".to_owned());
        }
        if method.blends() {
            says.push(match method.blend {
                nb_train::method::Blend::Layers => "gradients are its own".to_owned(),
                nb_train::method::Blend::LayersAndEmbeddings => {
                    format!("gradients take in β = {} of the teacher's", method.beta)
                }
            });
        }
        page.line("embeddings", says.join("; "));
    }
    let map = method.needs_layer_map().then(|| LayerMap::uniform(l, n)).transpose()?;
    for i in 1..=n {
        let mut says = Vec::new();
        if let Some(map) = map {
            let group = map.group(i - 1);
            let (first, last) = (group.start + 1, group.end);
            let behind = match map.group_size() {
                1 => format!("layer {last} of the teacher (encoder.layer.{})", group.start),
                _ => format!("layers {first} to {last} of the teacher (encoder.layer.{} to {})", group.start, last - 1),
            };
            says.push(format!("encoder.layer.{} stands for {behind}", i - 1));
            if has(TermKind::Hidden) {
                says.push(format!("H_{i} learns from H_{} of the teacher (hidden)", map.teacher_state(i)));
            }
            if has(TermKind::Attention) {
                says.push(format!(
                    "scores learn from those of layer {} of the teacher (attention)",
                    map.teacher_state(i)
                ));
            }
        }
        if has(TermKind::Patience) && i < n {
            let from = method.patience.teacher_state(i, l, n);
            says.push(format!("[CLS] of H_{i} learns from that of H_{from} of the teacher (patience)"));
        }
        if has(TermKind::Cosine) && i == n {
            says.push(format!("H_{n} learns from H_{l} of the teacher (cosine)"));
        }
        if let (true, Some(map)) = (method.blends(), map) {
            let mean = if map.group_size() == 1 { "that layer's" } else { "the mean of those layers'" };
            says.push(format!("gradients take in β = {} of {mean}", method.beta));
        }
        let name = format!("layer {i}");
        says.iter().enumerate().for_each(|(j, says)| page.line(if j == 0 { &name } else { "" }, says));
    }
    Ok(())
}

/// Every parameter by name and shape; returns how many there are in top layers and projection, each counted once.
pub(super) fn parameters<K: Task>(page: &mut Page, plan: &Plan, task: &K) -> u64 {
    page.layers("Parameters");
    let method = &plan.method;
    let mut encoders = Vec::new();
    if method.has_teacher() {
        encoders.push(("teacher", &plan.teacher_config));
    }
    if method.has_student() {
        encoders.push(("student", &plan.student_config));
    }
    for (name, config) in &encoders {
        page.line(name, encoder(config));
    }
    for (i, (name, config)) in encoders.iter().enumerate() {
        let same = |other: &BertConfig| slots(other, "encoder.layer.0.") == slots(config, "encoder.layer.0.");
        if encoders[..i].iter().any(|(_, other)| same(other)) {
            continue;
        }
        let whose = if encoders.iter().all(|(_, other)| same(other)) { String::new() } else { format!("{name}'s: ") };
        page.line("embeddings", format!("{whose}{}", groups(&slots(config, "embeddings."))));
        page.line("each layer", format!("{whose}{}", groups(&slots(config, "encoder.layer.0."))));
    }
    let widths = Widths { teacher: plan.teacher_config.hidden_size, student: plan.student_config.hidden_size };
    let widths = if method.has_student() { widths } else { Widths { student: widths.teacher, ..widths } };
    let heads = task.heads(widths, method.share, 0, Device::Cpu); // their shapes; nothing of them is used
    let head = tops_of(page, &heads, [method.has_teacher(), method.has_student()]);
    let projection = match widths.student != widths.teacher && method.any(TermKind::compares_widths) {
        false => 0,
        true => {
            let terms: Vec<&str> =
                method.terms().map(|t| t.kind).filter(|kind| kind.compares_widths()).map(TermKind::name).collect();
            let Widths { teacher, student } = widths;
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
    };
    let trained = |name: &str| name == "student" || method.teacher == TeacherRole::Joint;
    let encoders = encoders.iter().filter(|(name, _)| trained(name)).map(|(_, c)| parameter_count(c)).sum::<i64>();
    let own = [method.teacher == TeacherRole::Joint, method.has_student()];
    page.line("trained", format!("{} in all", millions(encoders + distinct(&heads, own) + projection)));
    (head + projection) as u64
}

fn encoder(config: &BertConfig) -> String {
    let of = |part: &str| slots(config, part).iter().map(Slot::numel).sum::<i64>();
    let (all, layers) = (parameter_count(config), config.num_hidden_layers);
    format!(
        "{}: embeddings {} + {} of {}",
        millions(all),
        millions(of("embeddings.")),
        count(layers as u64, "layer"),
        millions(of("encoder.layer.0."))
    )
}

/// The parameters whose names begin with `part`, without it.
fn slots(config: &BertConfig, part: &str) -> Vec<Slot> {
    let layout = parameter_layout(config);
    let own = layout
        .slots()
        .iter()
        .filter_map(|slot| Some(Slot { name: slot.name.strip_prefix(part)?.to_owned(), offset: 0, ..slot.clone() }));
    own.collect()
}

/// Matrices by shape, vectors by their number.
fn groups(slots: &[Slot]) -> String {
    let mut groups: Vec<(Vec<&str>, &[i64])> = Vec::new();
    for slot in slots.iter().filter(|slot| slot.decays()) {
        let name = slot.name.trim_end_matches(".weight");
        match groups.iter_mut().find(|(_, shape)| *shape == slot.shape) {
            Some((names, _)) => names.push(name),
            None => groups.push((vec![name], &slot.shape)),
        }
    }
    let mut says: Vec<String> = groups.iter().map(|(names, shape)| format!("{} {shape:?}", names.join(", "))).collect();
    let vectors: Vec<&Slot> = slots.iter().filter(|slot| !slot.decays()).collect();
    let entries: i64 = vectors.iter().map(|slot| slot.numel()).sum();
    says.push(format!("{} with {entries} numbers", count(vectors.len() as u64, "vector")));
    says.join("; ")
}

/// A line for each parameter of the top layers; returns how many numbers they hold.
fn tops_of<T: TaskHead>(page: &mut Page, heads: &HeadPair<T>, shown: [bool; 2]) -> i64 {
    let (teacher, student) = (heads.teacher.arenas(), heads.student.arenas());
    for (teacher, student) in teacher.iter().zip(&student) {
        let whose = match shown {
            [true, true] if is_one(teacher, student) => ": one for both",
            [true, true] => ": one each",
            _ => "",
        };
        let arena = if shown[1] { student } else { teacher };
        for (slot, other) in arena.layout().slots().iter().zip(teacher.layout().slots()) {
            let other = (slot.shape != other.shape && shown[0]).then(|| format!(", the teacher's {:?}", other.shape));
            page.line("top", format!("{} {:?}{whose}{}", slot.name, slot.shape, other.unwrap_or_default()));
        }
    }
    distinct(heads, shown)
}

/// Numbers in the arenas of some of the two models, each arena once.
fn distinct<T: TaskHead>(heads: &HeadPair<T>, of: [bool; 2]) -> i64 {
    let (teacher, student) = (heads.teacher.arenas(), heads.student.arenas());
    let count = |(teacher, student): (&&Arena, &&Arena)| {
        let own = |arena: &Arena, counts: bool| if counts { arena.layout().numel() } else { 0 };
        let both = of[0] && of[1] && is_one(teacher, student);
        own(teacher, of[0]) + if both { 0 } else { own(student, of[1]) }
    };
    teacher.iter().zip(&student).map(count).sum()
}

fn is_one(a: &Arena, b: &Arena) -> bool {
    a.values().data_ptr() == b.values().data_ptr()
}
