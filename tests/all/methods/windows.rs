//! Texts in several windows: the terms and gradients of a step, compared with a computation by hand.

use std::collections::BTreeMap;

use nb_model::{Capture, Packed, Pass, Precision};
use nb_share::Sharing;
use nb_train::method::TermKind;
use nb_train::model::{Model, Models};
use nb_train::task::{TopicBatch, TopicHead};
use tch::{Device, Kind, Tensor};

use crate::support::{
    TOPIC, assert_close, gradients, model_pair, plain_newsbert, preset, sentences, small_bert, step_terms, stepper,
    zero_gradients,
};

/// The lengths of the windows of three texts, and the number of windows of each.
const LENGTHS: [i64; 6] = [8, 8, 5, 6, 7, 3];
const WINDOWS: [i64; 3] = [3, 1, 2];

/// Returns a batch of texts whose sequences are those of `batch`.
fn cut(mut batch: TopicBatch, windows: &[i64]) -> TopicBatch {
    batch.tokens.rows.truncate(windows.len());
    batch.tokens.windows = windows.to_vec();
    batch.texts.truncate(windows.len());
    batch.labels.truncate(windows.len());
    batch
}

/// The outputs of a model, with a text's vector as the mean of the pooled vectors of its windows.
struct ByHand {
    states: Vec<Tensor>,
    pooled: Tensor,
    logits: Tensor,
}

fn by_hand(model: &Model<TopicHead>, batch: &TopicBatch) -> ByHand {
    let tokens = &batch.tokens;
    let packed = Packed::new(&tokens.ids, &tokens.segments, &tokens.lengths, Device::Cpu);
    tch::no_grad(|| {
        let encoded = model.bert.encode(&packed, Pass::Inference, Capture::States);
        let each = model.head.pooling.forward(encoded.last(), packed.segments());
        let of_texts = each.split_with_sizes(&tokens.windows[..], 0);
        let means: Vec<Tensor> = of_texts.iter().map(|windows| windows.mean_dim(0, false, None)).collect();
        let pooled = Tensor::stack(&means, 0);
        let logits = model.head.dense.forward(&pooled);
        ByHand { states: encoded.states().iter().map(Tensor::shallow_clone).collect(), pooled, logits }
    })
}

/// The mean of the squared differences.
fn mse(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).square().mean(Kind::Double).double_value(&[])
}

fn cross_entropy(logits: &Tensor, labels: &Tensor) -> f64 {
    logits.cross_entropy_for_logits(labels).double_value(&[])
}

#[test]
fn the_terms_of_texts_in_windows_match_their_definition() {
    let method = plain_newsbert();
    let kinds: Vec<TermKind> = method.stages[0].terms.iter().map(|term| term.kind).collect();
    let models: Models<TopicHead> = model_pair(&small_bert(8, 4), Precision::F32, Sharing::Separate);
    let batch = cut(sentences(&LENGTHS, 3), &WINDOWS);
    let found: BTreeMap<TermKind, f64> =
        kinds.into_iter().zip(step_terms(&stepper(method), &TOPIC, &models, &batch)).collect();

    let teacher = by_hand(models.teacher.as_ref().unwrap(), &batch);
    let student = by_hand(models.student.as_ref().unwrap(), &batch);
    let labels = Tensor::from_slice(&batch.labels);
    let soft = -(teacher.logits.softmax(-1, Kind::Float) * student.logits.log_softmax(-1, Kind::Float))
        .sum(Kind::Double)
        / WINDOWS.len() as f64;
    let expected = BTreeMap::from([
        (TermKind::Teacher, cross_entropy(&teacher.logits, &labels)),
        (TermKind::Hard, cross_entropy(&student.logits, &labels)),
        (TermKind::Soft, soft.double_value(&[])),
        (TermKind::Pooled, mse(&teacher.pooled, &student.pooled)),
        (TermKind::Embedding, mse(&teacher.states[0], &student.states[0])),
        (TermKind::Hidden, (1..=2).map(|i| mse(&teacher.states[2 * i], &student.states[i])).sum()),
    ]);
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (kind, expected) in expected {
        assert!((found[&kind] - expected).abs() <= 1e-5 * expected, "{kind:?}: {}, expected {expected}", found[&kind]);
    }
}

/// A text of equal windows has the vector and, in total, the gradients of one of them.
#[test]
fn equal_windows_count_as_one() {
    let models = || model_pair(&small_bert(8, 4), Precision::F32, Sharing::Separate);
    let whole = sentences(&[7, 5, 6], 4);
    let mut repeated = whole.clone();
    repeated.tokens = nb_data::TokenBatch::default();
    for (row, part) in whole.tokens.each_row().enumerate() {
        let times = row + 1;
        repeated.tokens.append(nb_data::TokenBatch {
            rows: part.rows,
            ids: part.ids.repeat(times),
            segments: part.segments.repeat(times),
            lengths: part.lengths.repeat(times),
            windows: vec![times as i64],
        });
    }
    assert_eq!(repeated.tokens.windows, [1, 2, 3]);
    let run = |batch: &TopicBatch| {
        let models = models();
        zero_gradients(&models);
        let terms = step_terms(&stepper(preset("finetune")), &TOPIC, &models, batch);
        (terms, gradients(&models))
    };
    let ((terms, grads), (expected_terms, expected)) = (run(&repeated), run(&whole));
    assert!((terms[0] - expected_terms[0]).abs() <= 1e-6 * expected_terms[0], "{terms:?} {expected_terms:?}");
    assert_close(&grads, &expected, 1e-5);
}
