//! The student's initial weights.

use nb_model::Bert;
use tch::Tensor;

/// The teacher layers from which a student starts. The embeddings come from the teacher in both cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Init {
    /// The teacher's first N layers, as in the paper.
    #[default]
    First,
    /// Every K-th layer of the teacher (layers K, 2K, …, NK), where K = L/N rounded down.
    Spaced,
}

/// Copies the teacher's embeddings and N of its layers into the student.
///
/// # Panics
/// If the student has more layers than the teacher, or if their widths or vocabularies differ.
pub fn initialise(student: &mut Bert, teacher: &Bert, init: Init) {
    let (n, l) = (student.depth(), teacher.depth());
    assert!(n <= l, "a student of {n} layers cannot start from a teacher of {l}");
    let embeddings = [student, teacher].map(|model| model.embedding_values().size());
    assert_eq!(embeddings[0], embeddings[1], "sizes of the student's embeddings and the teacher's");
    let layers = [student, teacher].map(|model| model.layer_values().get(0).size());
    assert_eq!(layers[0], layers[1], "sizes of the student's layers and the teacher's");
    let chosen: Vec<i64> = match init {
        Init::First => (0..n as i64).collect(),
        Init::Spaced => (1..=n as i64).map(|i| i * (l / n) as i64 - 1).collect(),
    };
    tch::no_grad(|| {
        student.embedding_values().copy_(&teacher.embedding_values());
        let index = Tensor::from_slice(&chosen).to_device(teacher.device());
        student.layer_values().copy_(&teacher.layer_values().index_select(0, &index));
    });
    student.parameters_changed();
}

#[cfg(test)]
mod tests {
    use super::*;
    use nb_model::{BertConfig, Precision};
    use tch::Device;

    fn model(layers: i64, seed: u64) -> Bert {
        let mut bert = Bert::zeros(BertConfig::new(11, 8, layers, 2), Device::Cpu, Precision::F32).unwrap();
        bert.randomise(seed);
        bert
    }

    #[test]
    fn the_chosen_layers_equal_the_teachers() {
        let teacher = model(6, 1);
        for (init, expected) in [(Init::First, [0, 1]), (Init::Spaced, [2, 5])] {
            let mut student = model(2, 2);
            initialise(&mut student, &teacher, init);
            assert!(student.embedding_values().equal(&teacher.embedding_values()));
            for (k, &layer) in expected.iter().enumerate() {
                assert!(student.layer_values().get(k as i64).equal(&teacher.layer_values().get(layer)), "{init:?} {k}");
            }
        }
    }

    #[test]
    fn the_copy_is_not_an_alias() {
        let teacher = model(2, 1);
        let mut student = model(2, 2);
        initialise(&mut student, &teacher, Init::First);
        let _ = student.arena().values().zero_();
        assert!(teacher.layer_values().abs().max().double_value(&[]) > 0.0);
    }
}
