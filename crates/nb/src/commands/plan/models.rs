//! The models: the sources of their weights, and their shapes.

use anyhow::Result;
use nb_checkpoint::{BertConfig, SavedClassifier};
use nb_train::method::TeacherRole;
use nb_train::model::format_bytes;
use nb_train::plan::{ModelSource, Plan, StudentStart};
use nb_train::run::{finished, teacher_plan};

use super::page::{Page, count};
use super::parameters::names_of;
use super::preview::Preview;

/// Shows teacher and student, with steps and memory of training a frozen teacher first.
pub(super) fn origins(page: &mut Page, plan: &Plan) -> Result<()> {
    page.heading("Teacher");
    let from = match &plan.teacher {
        ModelSource::Folder(folder) => folder.display().to_string(),
        ModelSource::Random { tokenizer } => format!("random weights; tokenizer of {}", tokenizer.display()),
    };
    page.line("role", role(plan));
    match (plan.method.teacher, plan.trained.as_slice()) {
        (TeacherRole::Frozen, []) => {
            let teacher = teacher_plan(plan)?;
            match finished(&teacher)? {
                Some(folder) => page.line("trained", format!("already, with this configuration: {}", folder.display())),
                None => {
                    let Preview { steps, memory } = Preview::of(&teacher)?;
                    let (folder, steps) = (teacher.output.display(), count(steps, "step"));
                    page.line("trained", format!("will be trained first, for {steps} from {from}, in {folder}"));
                    page.line("", format!("with about {} at peak", format_bytes(memory)));
                    let (parts, depth) = (teacher.parts.teacher, teacher.teacher_config.num_hidden_layers as usize);
                    if !parts.embeddings || parts.layers(depth).len() < depth {
                        page.line("", format!("trained parts: {}", names_of(parts, depth)));
                    }
                }
            }
        }
        (TeacherRole::Frozen, folders) => {
            for folder in folders {
                page.line("trained", folder.display());
                // The model of a run has no class of transformers for its head.
                if !plan.ranks
                    && let Some(classifier) = SavedClassifier::read(folder)?
                {
                    page.line("head", classifier_line(&classifier));
                }
            }
        }
        _ => page.line("weights", from),
    }
    page.line("shape", shape(&plan.teacher_config));
    if plan.method.has_student() {
        page.heading("Student");
        page.line("weights", start(plan));
        page.line("shape", shape(&plan.student_config));
    }
    Ok(())
}

fn role(plan: &Plan) -> &'static str {
    match (plan.method.teacher, plan.method.has_student(), &plan.student_start) {
        (TeacherRole::Joint, true, _) => "trained along with the student",
        (TeacherRole::Joint, false, _) => "trained alone",
        (TeacherRole::Frozen, ..) if plan.trained.is_empty() => {
            "frozen: trained on the task before the student, then fixed"
        }
        (TeacherRole::Frozen, ..) => "frozen: used as it is",
        (TeacherRole::Absent, _, StudentStart::Teacher(_)) => {
            "none; the checkpoint provides the initial weights of the student"
        }
        (TeacherRole::Absent, ..) => "none; the checkpoint provides the tokenizer of the student",
    }
}

fn classifier_line(classifier: &SavedClassifier) -> String {
    const MOST_SHOWN: usize = 8;
    let labels = classifier.labels();
    let shown = labels.iter().take(MOST_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if labels.len() > MOST_SHOWN { ", …" } else { "" };
    let (class, count) = (classifier.form().class, count(labels.len() as u64, "label"));
    format!("its own, of {class}; {count}: {shown}{more}")
}

fn shape(config: &BertConfig) -> String {
    format!(
        "{} of {} units, {}, {} feed-forward units; {} tokens, {} positions",
        count(config.num_hidden_layers as u64, "layer"),
        config.hidden_size,
        count(config.num_attention_heads as u64, "head"),
        config.intermediate_size,
        config.vocab_size,
        config.max_tokens()
    )
}

fn start(plan: &Plan) -> String {
    match &plan.student_start {
        StudentStart::Teacher(layers) => {
            let numbers: Vec<String> = layers.iter().map(usize::to_string).collect();
            let layers = if layers.len() == 1 { "layer" } else { "layers" };
            format!("the teacher's embeddings and encoder {layers} {} (counted from 0)", numbers.join(", "))
        }
        StudentStart::Random => "random".to_owned(),
        StudentStart::Checkpoint(folder) => folder.display().to_string(),
    }
}
