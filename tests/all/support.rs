//! Shared set-up: batches of sentences, models whose weights depend only on a seed, and comparisons
//! of tensors.

use std::rc::Rc;

use nb_data::behaviors::{BehaviorSource, Behaviors, ClickRule};
use nb_data::random::Stream;
use nb_data::{IdIndex, TokenBatch};
use nb_dist::ProcessGroup;
use nb_model::{Arena, AttentivePooling, Bert, BertConfig, Dense, Pooling, Precision};
use nb_share::{Shared, Sharing};
use nb_train::method::{Method, Ramp, Share, presets};
use nb_train::model::{Model, Models};
use nb_train::optim::AdamW;
use nb_train::step::{Counts, MicroBatch, StepContext, StepPosition, Stepper, Telemetry};
use nb_train::task::{HeadPair, Objective, TaskHead, TextRef, TopicBatch, TopicHead, TopicObjective};
use tch::{Device, Tensor};

/// The objective of topic classification on the CPU.
pub(crate) const TOPIC: TopicObjective = TopicObjective::new(Device::Cpu);

/// Returns random labelled sentences of the given lengths. The second half of each is in segment 1.
pub(crate) fn random_sentences(lengths: &[i64], vocabulary: u64, classes: u64, seed: u64) -> TopicBatch {
    let mut stream = Stream::new(seed);
    let mut batch = TopicBatch::default();
    for (row, &length) in (0..).zip(lengths) {
        batch.tokens.rows.push(row);
        batch.tokens.ids.extend((0..length).map(|_| stream.below(vocabulary) as i64));
        batch.tokens.segments.extend((0..length).map(|t| i64::from(2 * t >= length)));
        batch.tokens.lengths.push(length);
        batch.texts.push(TextRef { store: 0, row });
        batch.labels.push(stream.below(classes) as i64);
    }
    batch
}

/// Returns the sentences with these indices, in this order.
pub(crate) fn select(batch: &TopicBatch, sentences: &[usize]) -> TopicBatch {
    TopicBatch {
        tokens: select_texts(&batch.tokens, sentences),
        texts: sentences.iter().map(|&i| batch.texts[i]).collect(),
        labels: sentences.iter().map(|&i| batch.labels[i]).collect(),
    }
}

/// Returns the texts with these indices, in this order.
pub(crate) fn select_texts(tokens: &TokenBatch, indices: &[usize]) -> TokenBatch {
    let mut selected = TokenBatch::default();
    for &i in indices {
        let start = tokens.lengths[..i].iter().sum::<i64>() as usize;
        let range = start..start + tokens.lengths[i] as usize;
        selected.append(TokenBatch {
            rows: vec![tokens.rows[i]],
            ids: tokens.ids[range.clone()].to_vec(),
            segments: tokens.segments[range].to_vec(),
            lengths: vec![tokens.lengths[i]],
            windows: Vec::new(),
        });
    }
    selected
}

/// Returns top layers with weights from `seed`. Layers that are not shared start equal.
fn heads(hidden: i64, classes: i64, share: Share, seed: u64) -> HeadPair<TopicHead> {
    const QUERY: i64 = 12;
    let pooling = Shared::new(share.pooling, || {
        let pooling = AttentivePooling::zeros(hidden, QUERY, Device::Cpu);
        randomise(pooling.arena(), seed);
        pooling.into()
    });
    let dense = Shared::new(share.dense, || {
        let dense = Dense::zeros(hidden, classes, Device::Cpu);
        randomise(dense.arena(), seed + 1);
        dense
    });
    tops_of(pooling, dense)
}

/// Assembles the top layers of both models.
pub(crate) fn tops_of(pooling: Shared<Pooling>, dense: Shared<Dense>) -> HeadPair<TopicHead> {
    HeadPair {
        teacher: TopicHead { pooling: pooling.teacher, transform: None, dense: dense.teacher },
        student: TopicHead { pooling: pooling.student, transform: None, dense: dense.student },
    }
}

/// Fills an arena from U(−0.3, 0.3), with LayerNorm weights around 1. It uses its own random stream because libtorch's
/// generator is shared with tests that run at the same time.
pub(crate) fn randomise(arena: &Arena, seed: u64) {
    let mut stream = Stream::new(seed);
    for slot in arena.layout().slots() {
        let centre = if slot.name.ends_with("LayerNorm.weight") { 1.0 } else { 0.0 };
        let values: Vec<f32> = (0..slot.numel()).map(|_| (centre + 0.6 * (stream.unit() - 0.5)) as f32).collect();
        arena.value(&slot.name).copy_(&Tensor::from_slice(&values).view(slot.shape.as_slice()));
    }
}

/// Returns an encoder with weights from `seed`.
pub(crate) fn encoder(config: &BertConfig, precision: Precision, seed: u64) -> Bert {
    let mut bert = Bert::zeros(config.clone(), Device::Cpu, precision).unwrap();
    randomise(bert.arena(), seed);
    bert.parameters_changed();
    bert
}

/// Returns the configuration of a small BERT without dropout: 2 heads, 30 words, 24 positions.
pub(crate) fn small_bert(hidden: i64, layers: i64) -> BertConfig {
    let mut config = BertConfig::new(30, hidden, layers, 2);
    config.intermediate_size = 2 * hidden;
    config.max_position_embeddings = 24;
    config.hidden_dropout_prob = 0.0;
    config.attention_probs_dropout_prob = 0.0;
    config
}

/// Returns a configuration with dropout at BERT's default rate.
pub(crate) fn with_dropout(mut config: BertConfig) -> BertConfig {
    (config.hidden_dropout_prob, config.attention_probs_dropout_prob) = (0.1, 0.1);
    config
}

/// Returns the preset with this name.
pub(crate) fn preset(name: &str) -> Method {
    presets().into_iter().find(|m| m.name == name).unwrap()
}

/// Returns NewsBERT as in the paper: the unweighted sum of all terms.
pub(crate) fn plain_newsbert() -> Method {
    let mut method = preset("newsbert");
    method.stages[0].terms.iter_mut().for_each(|term| term.weight = Ramp::Constant(1.0));
    method
}

/// Returns the same sharing for both top layers.
pub(crate) fn share(sharing: Sharing) -> Share {
    Share { pooling: sharing, dense: sharing }
}

/// Returns a teacher of the given shape, a student with half as many layers and different random weights, and their top
/// layers.
pub(crate) fn model_pair(config: &BertConfig, precision: Precision, sharing: Sharing) -> Models<TopicHead> {
    model_pair_with(config, precision, heads(config.hidden_size, CLASSES, share(sharing), 7))
}

/// Like [`model_pair`], with the given top layers.
pub(crate) fn model_pair_with<T>(config: &BertConfig, precision: Precision, heads: HeadPair<T>) -> Models<T> {
    let half = config.num_hidden_layers / 2;
    Models::pair(
        Model { bert: encoder(config, precision, 5), head: heads.teacher },
        Model { bert: encoder(&config.with_layers(half), precision, 6), head: heads.student },
    )
}

/// Number of classes in the batches of [`sentences`].
const CLASSES: i64 = 3;

/// Returns random sentences for the models of [`small_bert`].
pub(crate) fn sentences(lengths: &[i64], seed: u64) -> TopicBatch {
    random_sentences(lengths, 30, CLASSES as u64, seed)
}

/// Returns the step of a method, without clipping.
pub(crate) fn stepper(method: Method) -> Stepper {
    let processes = Rc::new(ProcessGroup::alone());
    Stepper { method, optimiser: AdamW::new(0.01), clip: 0.0, seed: 9, processes }
}

/// The first step of the first stage, at the peak rates.
pub(crate) const FIRST: StepPosition =
    StepPosition { step: 0, stage: 0, step_in_stage: 0, progress: 0.0, lr_factor: 1.0 };

/// Returns the context of the first step, whose micro-batches have `counts` in total.
pub(crate) fn context(counts: Counts) -> StepContext {
    StepContext { position: FIRST, counts, telemetry: Telemetry::Terms }
}

/// Runs forward and backward of a step with a single micro-batch and returns its terms. Gradients accumulate in the
/// models.
pub(crate) fn step_terms<K: Objective>(
    stepper: &Stepper,
    task: &K,
    models: &Models<K::Head>,
    batch: &K::Batch,
) -> Vec<f64> {
    micro_batch_terms(stepper, task, models, batch, task.counts(batch))
}

/// Like [`step_terms`], for one micro-batch of a step with `counts` in total.
pub(crate) fn micro_batch_terms<K: Objective>(
    stepper: &Stepper,
    task: &K,
    models: &Models<K::Head>,
    batch: &K::Batch,
    counts: Counts,
) -> Vec<f64> {
    let micro_batch = MicroBatch { batch, texts: &task.packed(batch), number: 0 };
    numbers(&stepper.forward_backward(task, models, &micro_batch, &context(counts)).terms)
}

/// The terms and the gradients of a step, summed over its micro-batches.
pub(crate) struct StepSums {
    pub(crate) terms: Vec<f64>,
    pub(crate) gradients: Vec<(String, Tensor)>,
}

impl StepSums {
    /// Runs forward and backward of each micro-batch, starting from zero gradients.
    pub(crate) fn of<K: Objective>(method: Method, task: &K, models: &Models<K::Head>, batches: &[K::Batch]) -> Self {
        zero_gradients(models);
        let stepper = stepper(method);
        let counts = total_counts(task, batches);
        let mut terms = vec![0.0; stepper.method.terms().count()];
        for batch in batches {
            let values = micro_batch_terms(&stepper, task, models, batch, counts);
            terms.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
        Self { terms, gradients: gradients(models) }
    }

    /// Fails unless all terms are positive and close to `expected`, and the gradients are close, too.
    #[track_caller]
    pub(crate) fn assert_close_to(&self, expected: &Self) {
        assert_eq!(self.terms.len(), expected.terms.len(), "terms");
        for (i, (found, expected)) in self.terms.iter().zip(&expected.terms).enumerate() {
            assert!(*expected > 0.0 && (found - expected).abs() <= 1e-5 * expected, "term {i}: {found}, {expected}");
        }
        assert_close(&self.gradients, &expected.gradients, 1e-5);
    }
}

/// Returns the counts of all micro-batches of a step.
pub(crate) fn total_counts<K: Objective>(task: &K, batches: &[K::Batch]) -> Counts {
    batches.iter().map(|batch| task.counts(batch)).fold(Counts::default(), std::ops::Add::add)
}

/// Reads impressions from lines of MIND's `behaviors.tsv`, over articles with these ids.
pub(crate) fn read_behaviors(lines: &str, ids: &[String]) -> Behaviors {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines).unwrap();
    let index = IdIndex::new(ids.iter().map(|id| Some(id.as_str())));
    let path = file.path().to_owned();
    let source = BehaviorSource { path, history: 50, clicks: ClickRule::Required, allowed_unusable: 0.0 };
    Behaviors::read(&source, &index).unwrap()
}

/// Returns the entries of a tensor of doubles.
pub(crate) fn numbers(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.view(-1)).expect("doubles")
}

/// Returns the teacher of a pair.
pub(crate) fn teacher<T>(models: &Models<T>) -> &Model<T> {
    models.teacher.as_ref().expect("a pair has a teacher")
}

/// Returns the student of a pair.
pub(crate) fn student<T>(models: &Models<T>) -> &Model<T> {
    models.student.as_ref().expect("a pair has a student")
}

/// Returns copies of all gradients of a pair by name. The student's top layers have the prefix `head`.
pub(crate) fn gradients<T: TaskHead>(models: &Models<T>) -> Vec<(String, Tensor)> {
    let encoders = [("teacher", teacher(models).arena()), ("student", student(models).arena())];
    let arenas = encoders.into_iter().chain(student(models).head.arenas().into_iter().map(|arena| ("head", arena)));
    arenas.flat_map(|(role, arena)| gradients_of(role, arena)).collect()
}

/// Returns copies of the gradients of an arena, with the prefix `role` in their names. Parameters that are not trained have none.
pub(crate) fn gradients_of(role: &str, arena: &Arena) -> Vec<(String, Tensor)> {
    let slots = arena.layout().slots().iter();
    let grad = |name: &str| Some((format!("{role}.{name}"), arena.trained_grad(name)?.copy()));
    slots.filter_map(|slot| grad(&slot.name)).collect()
}

/// Sets every gradient to zero.
pub(crate) fn zero_gradients<T: TaskHead>(models: &Models<T>) {
    for (_, model) in models.named() {
        model.arena().zero_grad();
        model.head.arenas().iter().for_each(|arena| arena.zero_grad());
    }
    models.extra_arenas().iter().for_each(|arena| arena.zero_grad());
}

/// Returns the largest |a − b| over all entries; infinity if shapes differ or an entry is NaN.
pub(crate) fn max_difference(a: &Tensor, b: &Tensor) -> f64 {
    if a.size() != b.size() {
        return f64::INFINITY;
    }
    let worst = max_abs(&(a.to_kind(tch::Kind::Double) - b.to_kind(tch::Kind::Double)));
    if worst.is_nan() { f64::INFINITY } else { worst }
}

/// Returns the largest |a| over all entries; 0 for an empty tensor.
pub(crate) fn max_abs(a: &Tensor) -> f64 {
    match a.numel() {
        0 => 0.0,
        _ => a.abs().max().double_value(&[]),
    }
}

/// Fails unless each pair of tensors differs by at most `tolerance` times the largest entry of the expected one.
#[track_caller]
pub(crate) fn assert_close(found: &[(String, Tensor)], expected: &[(String, Tensor)], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "tensors");
    // The gradient of the key bias is zero up to rounding, which is relative to the other gradients.
    let largest = expected.iter().map(|(_, t)| max_abs(t)).fold(0.0, f64::max);
    for ((name, found), (expected_name, expected)) in found.iter().zip(expected) {
        assert_eq!(name, expected_name);
        let (worst, limit) = (max_difference(found, expected), tolerance * max_abs(expected) + 1e-6 * largest);
        assert!(worst <= limit, "{name}: {worst:e} apart, allowed {limit:e}");
    }
}
