//! The student's initial weights.

use nb_model::Bert;
use tch::Tensor;

/// The first `n` layers of a teacher, as in NewsBERT (Wu et al. 2021, section 3.2).
///
/// ```
/// assert_eq!(nb_share::first_layers(2), [0, 1]);
/// ```
pub fn first_layers(n: usize) -> Vec<usize> {
    (0..n).collect()
}

/// The last layer of each of `n` equal groups of a teacher's `l` layers, as in PKD's strategy "skip" and TinyBERT.
/// Groups have ⌊l/n⌋ layers; if n does not divide l, the topmost layers are in no group.
///
/// ```
/// assert_eq!(nb_share::spaced_layers(2, 6), [2, 5]);
/// ```
///
/// # Panics
/// If `n` is 0 or greater than `l`.
pub fn spaced_layers(n: usize, l: usize) -> Vec<usize> {
    assert!((1..=l).contains(&n), "{n} of {l} layers");
    (1..=n).map(|i| i * (l / n) - 1).collect()
}

/// The lowest ⌊n/2⌋ and the topmost ⌈n/2⌉ of a teacher's `l` layers: the ones next to its input and its output. One layer
/// is the topmost.
///
/// ```
/// assert_eq!(nb_share::end_layers(1, 6), [5]);
/// assert_eq!(nb_share::end_layers(2, 6), [0, 5]);
/// assert_eq!(nb_share::end_layers(3, 6), [0, 4, 5]);
/// ```
///
/// # Panics
/// If `n` is greater than `l`.
pub fn end_layers(n: usize, l: usize) -> Vec<usize> {
    assert!(n <= l, "{n} of {l} layers");
    let low = n / 2;
    (0..low).chain(l - (n - low)..l).collect()
}

/// Copies the teacher's embeddings into the student, and one layer of the teacher into each layer of the student:
/// `layers[k]`, counted from 0, into layer k.
///
/// # Panics
/// If `layers` does not name one teacher layer for each student layer, or if their widths or vocabularies differ.
pub fn initialise(student: &mut Bert, teacher: &Bert, layers: &[usize]) {
    assert_eq!(layers.len(), student.depth(), "teacher layers {layers:?} for the student's layers");
    assert!(layers.iter().all(|&layer| layer < teacher.depth()), "layers {layers:?} of {}", teacher.depth());
    let embeddings = [student, teacher].map(|model| model.embedding_values().size());
    assert_eq!(embeddings[0], embeddings[1], "sizes of the student's embeddings and the teacher's");
    let sizes = [student, teacher].map(|model| model.layer_values().get(0).size());
    assert_eq!(sizes[0], sizes[1], "sizes of the student's layers and the teacher's");
    let chosen: Vec<i64> = layers.iter().map(|&layer| layer as i64).collect();
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
        for layers in [[0, 1], [2, 5], [0, 5], [4, 1]] {
            let mut student = model(2, 2);
            initialise(&mut student, &teacher, &layers);
            assert!(student.embedding_values().equal(&teacher.embedding_values()));
            for (k, &layer) in layers.iter().enumerate() {
                let expected = teacher.layer_values().get(layer as i64);
                assert!(student.layer_values().get(k as i64).equal(&expected), "{layers:?} {k}");
            }
        }
    }

    #[test]
    fn all_choices_of_all_layers_are_the_teacher() {
        for l in 1..13 {
            let all = first_layers(l);
            assert_eq!((spaced_layers(l, l), end_layers(l, l)), (all.clone(), all), "{l}");
        }
    }

    #[test]
    fn the_copy_is_not_an_alias() {
        let teacher = model(2, 1);
        let mut student = model(2, 2);
        initialise(&mut student, &teacher, &first_layers(2));
        let _ = student.arena().values().zero_();
        assert!(teacher.layer_values().abs().max().double_value(&[]) > 0.0);
    }
}
