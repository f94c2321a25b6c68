//! Compares with every loss of every `tests/golden/step_*.safetensors` in the workspace (made in Python, see the README
//! there), computed from the states and logits of the same file, to 1e-5, the precision of the stored values.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use nb_loss::{hard_cross_entropy, soft_cross_entropy, state_mse};
use tch::{Kind, Tensor};

const TOLERANCE: f64 = 1e-5;

struct Step {
    name: String,
    tensors: HashMap<String, Tensor>,
}

impl Step {
    fn read(path: &Path) -> Self {
        let tensors = Tensor::read_safetensors(path).expect("a safetensors file").into_iter().collect();
        Self { name: path.file_name().expect("a file").to_string_lossy().into_owned(), tensors }
    }

    #[track_caller]
    fn tensor(&self, name: &str) -> &Tensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("{}: no {name}", self.name))
    }

    fn n_layers(&self, model: &str) -> usize {
        (0..).take_while(|layer| self.tensors.contains_key(&format!("{model}.hidden.{}", layer + 1))).count()
    }

    /// Hidden states of only the real tokens, `[n, H]`.
    fn packed(&self, model: &str, layer: usize) -> Tensor {
        let states = self.tensor(&format!("{model}.hidden.{layer}")); // [B, T, H]
        let real = self.tensor("attention_mask").flatten(0, -1).nonzero().squeeze_dim(1); // [n]
        states.flatten(0, 1).index_select(0, &real)
    }

    /// Squared error of teacher layer `t` and student layer `s` over the real tokens.
    fn layer_mse(&self, t: usize, s: usize) -> f64 {
        let (teacher, student) = (self.packed("teacher", t), self.packed("student", s));
        state_mse(&teacher, &student, student.size()[0]).double_value(&[])
    }

    #[track_caller]
    fn check(&self, term: &str, found: f64) {
        let expected = self.tensor(&format!("loss.{term}")).double_value(&[]);
        let allowed = TOLERANCE * expected.abs().max(1e-3);
        assert!((found - expected).abs() <= allowed, "{}: {term} is {found}, expected {expected}", self.name);
    }
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let is_step = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("step_") && name.ends_with(".safetensors")
    };
    let mut files: Vec<_> = folder
        .read_dir()
        .expect("the folder of golden files")
        .map(|entry| entry.expect("an entry of the folder").path())
        .filter(is_step)
        .collect();
    files.sort();
    files
}

#[test]
fn losses_match_the_golden_steps() {
    let files = files();
    assert!(files.len() >= 4, "{files:?}");
    for step in files.iter().map(|path| Step::read(path)) {
        let (teacher, student, labels) =
            (step.tensor("teacher.logits"), step.tensor("student.logits"), step.tensor("labels"));
        let count = labels.size()[0];
        let texts = step.tensor("teacher.pooled").size()[0];
        let temperature = step.tensor("temperature").to_kind(Kind::Double).double_value(&[]);
        let hard = |logits| hard_cross_entropy(logits, labels, count).double_value(&[]);
        step.check("teacher_ce", hard(teacher));
        step.check("student_ce", hard(student));
        step.check("distill_ce", soft_cross_entropy(teacher, student, temperature, count).double_value(&[]));
        step.check(
            "pooled_mse",
            // The count of texts equals the count of labels only if each text has one.
            state_mse(step.tensor("teacher.pooled"), step.tensor("student.pooled"), texts).double_value(&[]),
        );

        let n_layers = step.n_layers("student");
        let stride = step.n_layers("teacher") / n_layers;
        step.check("embedding_mse", step.layer_mse(0, 0));
        step.check("hidden_mse", (1..=n_layers).map(|layer| step.layer_mse(stride * layer, layer)).sum());
    }
}
