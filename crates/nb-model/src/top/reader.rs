//! The reader model: from the vectors of clicked news to a vector of the reader, and from both to scores.

use nb_torch::send;
use tch::{Device, Kind, Tensor};

use super::{AttentivePooling, POOLING_QUERY, SelfAttention};
use crate::arena::{Arena, Layout};
use crate::packed::Padding;
use crate::runs::Runs;

/// Which rows of a table of news each reader clicked.
#[derive(Debug)]
pub struct Clicks {
    /// \[n\] rows of the table, one reader after the other.
    rows: Tensor,
    /// Where a reader clicked nothing: the order that puts the learned vector, which stands behind the n rows, in place.
    order: Option<Tensor>,
    /// All readers; one without a click has one row, the learned vector.
    runs: Runs,
    /// The readers with a click, as a padded table.
    warm: Option<(i64, Padding)>,
}

impl Clicks {
    /// Readers with `lengths` clicks each, 0 for none; `rows` holds the clicked rows of the table one reader after the
    /// other.
    ///
    /// # Panics
    /// If the lengths do not add up to the number of rows, or if there is no reader.
    pub fn new(rows: &[i64], lengths: &[i64], device: Device) -> Self {
        let clicked = rows.len() as i64;
        assert_eq!(lengths.iter().sum::<i64>(), clicked, "clicked rows against the sum of the lengths");
        let warm: Vec<i64> = lengths.iter().copied().filter(|&length| length > 0).collect();
        let order = (warm.len() < lengths.len()).then(|| send(&Tensor::from_slice(&with_cold(lengths)), device));
        let filled: Vec<i64> = lengths.iter().map(|&length| length.max(1)).collect();
        let width = warm.iter().copied().max().unwrap_or(0);
        let padding = (!warm.is_empty()).then(|| (warm.len() as i64, Padding::new(&warm, width, device)));
        Self { rows: send(&Tensor::from_slice(rows), device), order, runs: Runs::new(&filled, device), warm: padding }
    }

    /// Number of readers.
    pub fn readers(&self) -> i64 {
        self.runs.lengths().len() as i64
    }
}

/// The order of all readers' rows when the learned vector stands behind the clicked ones.
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

/// A reader as the attentive pooling of the vectors of clicked news (with parameters of its own), after multi-head
/// self-attention among them if that is asked for (NRMS, Wu et al., EMNLP 2019); a learned vector for a reader who
/// clicked nothing.
///
/// ```
/// use nb_model::{Clicks, Reader, score};
/// use tch::{Device, Kind, Tensor};
/// let mut reader = Reader::zeros(4, None, Device::Cpu);
/// reader.randomise(0);
/// let news = Tensor::ones([3, 4], (Kind::Float, Device::Cpu));
/// // Two readers: one clicked the news 0 and 2, one nothing yet.
/// let readers = reader.forward(&news, &Clicks::new(&[0, 2], &[2, 0], Device::Cpu));
/// let scores = score(&readers, &news, &Tensor::from_slice(&[1i64, 2, 0, 1]).view([2, 2]));
/// assert_eq!(Vec::<f32>::try_from(scores.view(-1)).unwrap(), [4.0, 4.0, 0.0, 0.0]);
/// ```
#[derive(Debug)]
pub struct Reader {
    attention: Option<SelfAttention>,
    pooling: AttentivePooling,
    cold: Tensor,
    cold_arena: Arena,
}

impl Reader {
    /// A reader model for news vectors of `hidden` units, with self-attention of `heads` heads if given; all zeros.
    ///
    /// # Panics
    /// If `heads` does not divide `hidden`.
    pub fn zeros(hidden: i64, heads: Option<i64>, device: Device) -> Self {
        Self::with_query(hidden, POOLING_QUERY, heads, device)
    }

    /// As [`Reader::zeros`], with a pooling query of `query` units.
    ///
    /// # Panics
    /// If `heads` does not divide `hidden`.
    pub fn with_query(hidden: i64, query: i64, heads: Option<i64>, device: Device) -> Self {
        const COLD: &str = "reader.cold";
        let mut layout = Layout::default();
        layout.push(COLD, &[hidden]);
        let cold_arena = Arena::zeros(layout, device);
        Self {
            attention: heads.map(|heads| SelfAttention::named("reader.attention", hidden, heads, device)),
            pooling: AttentivePooling::named("reader", hidden, query, device),
            cold: cold_arena.leaf(COLD),
            cold_arena,
        }
    }

    /// Draws pooling and attention from `seed`; the learned vector stays zero.
    pub fn randomise(&mut self, seed: u64) {
        self.pooling.randomise(seed);
        if let Some(attention) = &mut self.attention {
            attention.randomise(seed.wrapping_add(1)); // not the pooling's numbers again
        }
    }

    /// Parameters and gradients of the parts: pooling, learned vector, self-attention.
    pub fn arenas(&self) -> Vec<&Arena> {
        let attention = self.attention.iter().map(SelfAttention::arena);
        [self.pooling.arena(), &self.cold_arena].into_iter().chain(attention).collect()
    }

    /// Self-attention, where there is one.
    pub fn attention(&self) -> Option<&SelfAttention> {
        self.attention.as_ref()
    }

    /// The pooling over clicked news.
    pub fn pooling(&self) -> &AttentivePooling {
        &self.pooling
    }

    /// The learned vector of a reader who clicked nothing: \[H\].
    pub fn cold(&self) -> &Tensor {
        &self.cold
    }

    /// News vectors [U, H] → reader vectors [R, H].
    pub fn forward(&self, news: &Tensor, clicks: &Clicks) -> Tensor {
        let mut rows = news.index_select(0, &clicks.rows);
        if let (Some(attention), Some((readers, padding))) = (&self.attention, &clicks.warm) {
            rows = attention.forward(&rows, *readers, padding);
        }
        if let Some(order) = &clicks.order {
            rows = Tensor::cat(&[rows, self.cold.unsqueeze(0)], 0).index_select(0, order);
        }
        self.pooling.forward(&rows, &clicks.runs)
    }
}

/// Dot products of each reader (or query) [R, H] with its own candidates among `news` [U, H]; `candidates` [R, C] are
/// rows of `news`. → [R, C].
pub fn score(readers: &Tensor, news: &Tensor, candidates: &Tensor) -> Tensor {
    let (r, c) = candidates.size2().expect("candidates are a matrix by contract");
    let vectors = news.index_select(0, &candidates.view(-1)).view([r, c, -1]);
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

    fn news() -> Tensor {
        (Tensor::arange(30, (Kind::Float, Device::Cpu)).view([5, 6]) * 0.7).sin()
    }

    #[test]
    fn readers_do_not_touch_each_other_and_a_cold_one_is_the_learned_vector() {
        for heads in [None, Some(3)] {
            let (reader, news) = (reader(heads), news());
            let together = reader.forward(&news, &Clicks::new(&[1, 3, 3, 0, 4, 2], &[3, 0, 1, 2], Device::Cpu));
            for (i, (rows, lengths)) in
                [(&[1, 3, 3][..], [3]), (&[], [0]), (&[0], [1]), (&[4, 2], [2])].into_iter().enumerate()
            {
                let alone = reader.forward(&news, &Clicks::new(rows, &lengths, Device::Cpu));
                assert!(together.get(i as i64).allclose(&alone.get(0), 1e-6, 1e-6, false), "reader {i}, {heads:?}");
            }
            assert!(together.get(1).equal(reader.cold()));
        }
    }

    #[test]
    fn a_click_on_the_same_news_counts_each_time() {
        let (reader, news) = (reader(None), news());
        let once = reader.forward(&news, &Clicks::new(&[1, 3], &[2], Device::Cpu));
        let twice = reader.forward(&news, &Clicks::new(&[1, 3, 3], &[3], Device::Cpu));
        let a = reader.pooling.scores(&news).exp();
        let weight = |rows: &[i64]| rows.iter().map(|&row| a.double_value(&[row])).sum::<f64>();
        let (one, three) = (news.get(1) * a.get(1), news.get(3) * a.get(3));
        assert!(once.get(0).allclose(&((&one + &three) / weight(&[1, 3])), 1e-5, 1e-6, false));
        assert!(twice.get(0).allclose(&((&one + &three * 2.0) / weight(&[1, 3, 3])), 1e-5, 1e-6, false));
    }

    #[test]
    fn every_parameter_gets_a_gradient_and_the_same_one_each_time() {
        let gradients = || {
            let reader = reader(Some(2));
            let clicks = Clicks::new(&[1, 3, 3, 0], &[3, 0, 1], Device::Cpu);
            let candidates = Tensor::from_slice(&[0i64, 2, 1, 4, 2, 3]).view([3, 2]);
            let news = news();
            score(&reader.forward(&news, &clicks), &news, &candidates).square().sum(Kind::Float).backward();
            Tensor::cat(&reader.arenas().iter().map(|arena| arena.grads()).collect::<Vec<_>>(), 0)
        };
        let first = gradients();
        // A bias of the keys shifts all scores of a query alike: its gradient is zero but for rounding.
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
