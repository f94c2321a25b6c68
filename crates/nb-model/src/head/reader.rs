//! The reader model: from the vectors of clicked articles to a vector of the reader, and from both to scores.

use nb_checkpoint::{POOLING_QUERY, PoolingKind};
use nb_torch::send;
use tch::{Device, Kind, Tensor};

use super::attention::SelfAttention;
use super::attentive::AttentivePooling;
use super::pooling::Pooling;
use crate::arena::{Arena, Layout};
use crate::packed::Padding;
use crate::segments::Segments;

/// The articles that each reader clicked, as rows of a table.
#[derive(Debug)]
pub struct Clicks {
    /// \[n\] rows of the table, one reader after the other.
    rows: Tensor,
    /// The order of rows that inserts the learned vector, row n, for readers without a click; `None` if all readers have
    /// clicks.
    order: Option<Tensor>,
    /// All readers; one without a click has one row, the learned vector.
    segments: Segments,
    /// The readers with clicks; `None` if there are none.
    warm: Option<WarmReaders>,
    /// True for readers with clicks, [R, 1]; `None` if all have clicks.
    has_clicks: Option<Tensor>,
}

/// Readers with clicks, as a padded table.
#[derive(Debug)]
struct WarmReaders {
    count: i64,
    padding: Padding,
}

impl Clicks {
    /// Collects the clicks of readers with `lengths` clicks each, which may be 0. `rows` holds the clicked rows of the table,
    /// one reader after the other.
    ///
    /// # Panics
    ///
    /// If the lengths do not add up to the number of rows, or if there is no reader.
    pub fn new(rows: &[i64], lengths: &[i64], device: Device) -> Self {
        let clicked = rows.len() as i64;
        assert_eq!(lengths.iter().sum::<i64>(), clicked, "clicked rows against the sum of the lengths");
        let warm: Vec<i64> = lengths.iter().copied().filter(|&length| length > 0).collect();
        let is_any_cold = warm.len() < lengths.len();
        let order = is_any_cold.then(|| send(&Tensor::from_slice(&with_cold(lengths)), device));
        let has_clicks = is_any_cold.then(|| {
            let clicks: Vec<bool> = lengths.iter().map(|&length| length > 0).collect();
            send(&Tensor::from_slice(&clicks), device).unsqueeze(1)
        });
        let filled: Vec<i64> = lengths.iter().map(|&length| length.max(1)).collect();
        let width = warm.iter().copied().max().unwrap_or(0);
        let segments = Segments::new(&filled, device);
        let warm = (!warm.is_empty())
            .then(|| WarmReaders { count: warm.len() as i64, padding: Padding::new(&warm, width, device) });
        Self { rows: send(&Tensor::from_slice(rows), device), order, segments, warm, has_clicks }
    }

    /// Returns a mask [R, 1] that is true for readers with clicks; `None` if all readers have clicks.
    pub fn has_clicks(&self) -> Option<&Tensor> {
        self.has_clicks.as_ref()
    }

    /// Returns the number of readers.
    pub fn readers(&self) -> i64 {
        self.segments.lengths().len() as i64
    }
}

/// Returns the order of all readers' rows in a table in which the learned vector follows the clicked rows.
fn with_cold(lengths: &[i64]) -> Vec<i64> {
    let cold: i64 = lengths.iter().sum();
    let mut next = 0;
    let mut order = Vec::new();
    for &length in lengths {
        if length == 0 {
            order.push(cold);
        }
        order.extend(next..next + length);
        next += length;
    }
    order
}

/// The reader model (in the literature, the user encoder): attentive pooling of the vectors of clicked articles, with separate
/// parameters, or their mean; optionally after multi-head self-attention among them (NRMS, Wu et al., EMNLP 2019). A reader without clicks has
/// a learned vector.
///
/// ```
/// use nb_model::{Clicks, Reader, score};
/// use tch::{Device, Kind, Tensor};
/// let mut reader = Reader::zeros(4, None, Device::Cpu);
/// reader.randomise(0);
/// let articles = Tensor::ones([3, 4], (Kind::Float, Device::Cpu));
/// // Two readers: one clicked articles 0 and 2, one has clicked nothing yet.
/// let readers = reader.forward(&articles, &Clicks::new(&[0, 2], &[2, 0], Device::Cpu));
/// let scores = score(&readers, &articles, &Tensor::from_slice(&[1i64, 2, 0, 1]).view([2, 2]));
/// assert_eq!(Vec::<f32>::try_from(scores.view(-1)).unwrap(), [4.0, 4.0, 0.0, 0.0]);
/// ```
#[derive(Debug)]
pub struct Reader {
    attention: Option<SelfAttention>,
    pooling: Pooling,
    cold: Tensor,
    cold_arena: Arena,
}

impl Reader {
    /// Creates a reader model for article vectors of `hidden` units, with self-attention of `heads` heads if given; all zeros.
    ///
    /// # Panics
    ///
    /// If `heads` does not divide `hidden`.
    pub fn zeros(hidden: i64, heads: Option<i64>, device: Device) -> Self {
        Self::with_query(hidden, POOLING_QUERY, heads, device)
    }

    /// Does the same as [`Reader::zeros`], with a pooling query of `query` units.
    ///
    /// # Panics
    ///
    /// If `heads` does not divide `hidden`.
    pub fn with_query(hidden: i64, query: i64, heads: Option<i64>, device: Device) -> Self {
        let pooling = AttentivePooling::named("reader", hidden, query, device);
        Self::with_pooling(pooling.into(), hidden, heads, device)
    }

    /// Does the same as [`Reader::zeros`], with another pooling of the clicked articles.
    ///
    /// # Panics
    ///
    /// If `heads` does not divide `hidden`.
    pub fn of_kind(kind: PoolingKind, hidden: i64, heads: Option<i64>, device: Device) -> Self {
        Self::with_pooling(Pooling::named("reader", kind, hidden, device), hidden, heads, device)
    }

    fn with_pooling(pooling: Pooling, hidden: i64, heads: Option<i64>, device: Device) -> Self {
        const COLD: &str = "reader.cold";
        let mut layout = Layout::default();
        layout.push(COLD, &[hidden]);
        let cold_arena = Arena::zeros(layout, device);
        Self {
            attention: heads.map(|heads| SelfAttention::named("reader.attention", hidden, heads, device)),
            pooling,
            cold: cold_arena.leaf(COLD),
            cold_arena,
        }
    }

    /// Draws the parameters of pooling and attention from `seed`; the learned vector stays zero.
    pub fn randomise(&mut self, seed: u64) {
        self.pooling.randomise(seed);
        if let Some(attention) = &mut self.attention {
            attention.randomise(seed.wrapping_add(1)); // not the pooling's numbers
        }
    }

    /// Returns parameters and gradients of the parts: pooling, learned vector, self-attention.
    pub fn arenas(&self) -> Vec<&Arena> {
        let attention = self.attention.iter().map(SelfAttention::arena);
        self.pooling.arena().into_iter().chain([&self.cold_arena]).chain(attention).collect()
    }

    /// Returns the self-attention; `None` if the model has none.
    pub fn attention(&self) -> Option<&SelfAttention> {
        self.attention.as_ref()
    }

    /// Returns the pooling over clicked articles.
    pub fn pooling(&self) -> &Pooling {
        &self.pooling
    }

    /// Returns the learned vector of a reader without clicks: \[H\].
    pub fn cold(&self) -> &Tensor {
        &self.cold
    }

    /// Maps article vectors [U, H] to reader vectors [R, H].
    pub fn forward(&self, articles: &Tensor, clicks: &Clicks) -> Tensor {
        let mut rows = articles.index_select(0, &clicks.rows);
        if let (Some(attention), Some(warm)) = (&self.attention, &clicks.warm) {
            rows = attention.forward(&rows, warm.count, &warm.padding);
        }
        if let Some(order) = &clicks.order {
            rows = Tensor::cat(&[rows, self.cold.unsqueeze(0)], 0).index_select(0, order);
        }
        self.pooling.forward(&rows, &clicks.segments)
    }
}

/// Returns the dot products [R, C] of each reader (or query) [R, H] with its candidates among `articles` [U, H]; `candidates`
/// [R, C] are rows of `articles`.
pub fn score(readers: &Tensor, articles: &Tensor, candidates: &Tensor) -> Tensor {
    let (r, c) = candidates.size2().expect("candidates are a matrix by contract");
    let vectors = articles.index_select(0, &candidates.view(-1)).view([r, c, -1]);
    (vectors * readers.unsqueeze(1)).sum_dim_intlist(-1, false, None::<Kind>)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(heads: Option<i64>) -> Reader {
        let mut reader = Reader::zeros(6, heads, Device::Cpu);
        reader.randomise(3);
        let _ = reader.cold_arena.values().fill_(0.5);
        reader
    }

    fn articles() -> Tensor {
        (Tensor::arange(30, (Kind::Float, Device::Cpu)).view([5, 6]) * 0.7).sin()
    }

    #[test]
    fn readers_are_independent_and_a_cold_reader_is_the_learned_vector() {
        for heads in [None, Some(3)] {
            let (reader, articles) = (reader(heads), articles());
            let batched = reader.forward(&articles, &Clicks::new(&[1, 3, 3, 0, 4, 2], &[3, 0, 1, 2], Device::Cpu));
            for (i, (rows, lengths)) in
                [(&[1, 3, 3][..], [3]), (&[], [0]), (&[0], [1]), (&[4, 2], [2])].into_iter().enumerate()
            {
                let alone = reader.forward(&articles, &Clicks::new(rows, &lengths, Device::Cpu));
                assert!(batched.get(i as i64).allclose(&alone.get(0), 1e-6, 1e-6, false), "reader {i}, {heads:?}");
            }
            assert!(batched.get(1).equal(reader.cold()));
        }
    }

    #[test]
    fn repeated_clicks_on_an_article_count_each_time() {
        let (reader, articles) = (reader(None), articles());
        let once = reader.forward(&articles, &Clicks::new(&[1, 3], &[2], Device::Cpu));
        let twice = reader.forward(&articles, &Clicks::new(&[1, 3, 3], &[3], Device::Cpu));
        let Pooling::Attentive(pooling) = reader.pooling() else { panic!("a reader of zeros() pools by attention") };
        let a = pooling.scores(&articles).exp();
        let weight = |rows: &[i64]| rows.iter().map(|&row| a.double_value(&[row])).sum::<f64>();
        let (one, three) = (articles.get(1) * a.get(1), articles.get(3) * a.get(3));
        assert!(once.get(0).allclose(&((&one + &three) / weight(&[1, 3])), 1e-5, 1e-6, false));
        assert!(twice.get(0).allclose(&((&one + &three * 2.0) / weight(&[1, 3, 3])), 1e-5, 1e-6, false));
    }

    #[test]
    fn every_parameter_gets_a_reproducible_gradient() {
        let gradients = || {
            let reader = reader(Some(2));
            let clicks = Clicks::new(&[1, 3, 3, 0], &[3, 0, 1], Device::Cpu);
            let candidates = Tensor::from_slice(&[0i64, 2, 1, 4, 2, 3]).view([3, 2]);
            let articles = articles();
            score(&reader.forward(&articles, &clicks), &articles, &candidates).square().sum(Kind::Float).backward();
            Tensor::cat(&reader.arenas().iter().map(|arena| arena.grads()).collect::<Vec<_>>(), 0)
        };
        let first = gradients();
        // The bias of the keys shifts all scores of a query by the same amount, so its gradient is zero except for rounding.
        let reader = reader(Some(2));
        let slots: Vec<_> = reader.arenas().iter().flat_map(|arena| arena.layout().slots().to_vec()).collect();
        let mut offset = 0;
        for slot in slots {
            let largest = first.narrow(0, offset, slot.numel()).abs().max().double_value(&[]);
            assert!(largest > 1e-6 || slot.name == "reader.attention.key.bias", "{}: {largest}", slot.name);
            offset += slot.numel();
        }
        assert!(first.equal(&gradients()));
    }

    #[test]
    #[should_panic(expected = "clicked rows against the sum")]
    fn lengths_that_do_not_add_up_are_refused() {
        let _ = Clicks::new(&[0, 1], &[1], Device::Cpu);
    }
}
