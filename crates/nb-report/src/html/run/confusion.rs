//! The confusion matrix, and precision, recall and F1 of each class.

use maud::{Markup, html};
use nb_eval::{Confusion, ConfusionCell};

use crate::RunRecord;
use crate::format::{NONE, count, integer, percent, score};
use crate::html::page::{folded, table};
use crate::record::{Classes, OutcomesFile};

/// With more classes than this, the page shows the most frequent errors instead of a matrix.
const MATRIX: usize = 24;

/// The confusion matrix of a model, and the names of the classes.
struct Model<'a> {
    name: &'a str,
    confusion: Confusion,
    classes: Vec<usize>,
    labels: &'a [String],
}

/// Returns the student's confusion matrix, and the teacher's in a collapsible section; `None` if the run has no
/// classes.
pub(super) fn matrices(record: &RunRecord) -> Option<Markup> {
    let models = models(record.outcomes.as_ref()?);
    (!models.is_empty()).then(|| {
        html! {
            @for (i, model) in models.iter().enumerate() {
                @let content = html! { div.tables.single[model.classes.len() > 6] { (model.matrix()) (model.classes()) } };
                @let title = format!("Confusion matrix and classes of the {}", model.name);
                @if i == 0 { (content) } @else { (folded(&title, &content)) }
            }
        }
    })
}

/// Returns the models that predict classes, the student first.
fn models(outcomes: &OutcomesFile) -> Vec<Model<'_>> {
    let student = outcomes.student.as_ref().and_then(|outcomes| Model::new("student", outcomes.classes.as_ref()?));
    let teacher = outcomes.teacher.as_ref().and_then(|outcomes| Model::new("teacher", outcomes.classes.as_ref()?));
    student.into_iter().chain(teacher).collect()
}

impl<'a> Model<'a> {
    fn new(name: &'a str, outcomes: &'a Classes) -> Option<Self> {
        let numbers = |classes: &[u32]| classes.iter().map(|class| *class as usize).collect::<Vec<_>>();
        let confusion = Confusion::new(&numbers(&outcomes.truth), &numbers(&outcomes.predicted)).ok()?;
        let labels = &outcomes.names;
        let mut classes: Vec<usize> = confusion.per_class().iter().map(|counts| counts.class).collect();
        // Known classes without rows are also shown, if all classes fit.
        if labels.len() <= MATRIX {
            classes.extend(0..labels.len());
            classes.sort_unstable();
            classes.dedup();
        }
        Some(Self { name, confusion, classes, labels })
    }

    fn label(&self, class: usize) -> String {
        self.labels.get(class).cloned().unwrap_or_else(|| format!("class {class}"))
    }

    /// Returns a heat map as a table. The shades repeat the numbers.
    fn matrix(&self) -> Markup {
        if self.classes.len() > MATRIX {
            return self.frequent_errors();
        }
        let caption = format!("Confusion matrix of the {}: rows are true, columns predicted", self.name);
        let small = self.classes.len() > 8;
        html! {
            div.scroll tabindex="0" role="region" aria-label=(caption) {
                table.heat.small[small] {
                    caption { span { (caption) } }
                    thead { tr { th scope="col" { "true ╲ predicted" } @for class in &self.classes { th scope="col" { span { (self.label(*class)) } } } } }
                    tbody {
                        @for truth in &self.classes {
                            @let all: u64 = self.classes.iter().map(|class| self.confusion.count(*truth, *class)).sum();
                            tr {
                                th scope="row" { (self.label(*truth)) }
                                @for predicted in &self.classes { (self.cell(*truth, *predicted, all)) }
                            }
                        }
                    }
                }
            }
        }
    }

    fn cell(&self, truth: usize, predicted: usize, all: u64) -> Markup {
        let n = self.confusion.count(truth, predicted);
        let share = if all == 0 { 0.0 } else { n as f64 / all as f64 };
        // Errors have another colour and stronger shades, because most of a good row is on the diagonal.
        let (class, shade) = if truth == predicted { ("right", share) } else { ("wrong", (2.5 * share).min(1.0)) };
        let title =
            format!("{} predicted as {}: {n}, {} of its row", self.label(truth), self.label(predicted), percent(share));
        html! {
            td class=(class) data-strong[shade > 0.55] style=(format!("--v:{:.0}%", 100.0 * shade)) title=(title) {
                @if n == 0 { span.zero { "·" } } @else { (integer(n)) }
            }
        }
    }

    /// Returns a table of the most frequent errors, for more classes than a matrix can show.
    fn frequent_errors(&self) -> Markup {
        let mut wrong: Vec<ConfusionCell> =
            self.confusion.cells().filter(|cell| cell.truth != cell.predicted).collect();
        wrong.sort_by_key(|cell| std::cmp::Reverse(cell.count));
        let row = |cell: &ConfusionCell| {
            let labels = [self.label(cell.truth), self.label(cell.predicted), integer(cell.count)];
            labels.map(|text| html! { (text) }).to_vec()
        };
        let rows: Vec<Vec<Markup>> = wrong.iter().take(20).map(row).collect();
        let caption = format!("The 20 most frequent errors of the {} among {} classes", self.name, self.classes.len());
        table(&caption, &["true", "predicted", "rows"].map(str::to_owned), &rows)
    }

    /// Returns a table of precision, recall and F1 of each class, the weakest first.
    fn classes(&self) -> Markup {
        let share = |value: Option<f64>| value.map_or_else(|| NONE.to_owned(), score);
        let mut per_class = self.confusion.per_class();
        per_class.sort_by(|a, b| a.f1().total_cmp(&b.f1()));
        let row = |counts: &nb_eval::ClassCounts| {
            vec![
                html! { (self.label(counts.class)) },
                html! { (count(counts.support() as f64)) },
                html! { (share(counts.precision())) },
                html! { (share(counts.recall())) },
                html! { (score(counts.f1())) },
            ]
        };
        let rows: Vec<Vec<Markup>> = per_class.iter().take(50).map(row).collect();
        let more = if per_class.len() > 50 { ", the 50 weakest" } else { ", weakest first" };
        let caption = format!("Classes of the {}{more}", self.name);
        table(&caption, &["class", "rows", "precision", "recall", "F1"].map(str::to_owned), &rows)
    }
}
