//! A batch as packed tokens: the real tokens of all sequences in one row, and the length of each sequence.
//!
//! Linear layers, LayerNorm, GELU and every loss run over the row; only attention and pooling distinguish sequences. Without a
//! fused kernel, attention works on *groups*: neighbouring sequences of nearly equal length, padded to the longest of them. A
//! batch sorted by length pads almost nothing.

use std::cell::OnceCell;
use std::rc::Rc;

use nb_torch::{Sequences, send};
use tch::{Device, Tensor};

use crate::segments::Segments;

/// A group is closed before its shortest sequence falls below this share of its longest one.
const GROUP_FILL: f64 = 0.75;

/// Packed token ids on a device. `n` is the number of real tokens, `B` the number of sequences, `R` the number of texts: B
/// unless texts were cut into windows.
#[derive(Debug)]
pub struct Packed {
    pub(crate) ids: Tensor,
    pub(crate) token_types: Tensor,
    pub(crate) positions: Tensor,
    groups: OnceCell<Vec<Group>>,
    /// The sequences in the form that fused attention on GPUs takes.
    for_flash: OnceCell<Rc<Sequences>>,
    segments: Segments,
    /// The sequences of each text; `None` if every text is one sequence.
    windows: Option<Segments>,
}

/// Neighbouring sequences that attention handles as one padded batch.
#[derive(Debug)]
pub(crate) struct Group {
    /// First row of the group in the packed tokens, and its number of rows.
    pub(crate) start: i64,
    pub(crate) rows: i64,
    /// Number of sequences, and the length they are padded to.
    pub(crate) sequences: i64,
    pub(crate) width: i64,
    /// `None` if all lengths are equal.
    pub(crate) padding: Option<Padding>,
}

/// Index tensors that map between the group's rows and its padded [sequences × width] rows.
#[derive(Debug)]
pub(crate) struct Padding {
    /// [sequences·width]: the row to read; padding reads the sequence's first row and is masked later.
    pub(crate) gather: Tensor,
    /// \[rows\]: the index of each real row among the padded ones.
    pub(crate) scatter: Tensor,
    /// [sequences, 1, 1, width]: 0 at real keys, −∞ at padding, added to the attention scores.
    pub(crate) key_bias: Tensor,
    /// [sequences·width, 1]: 1 at real rows, 0 at padding.
    pub(crate) real: Tensor,
}

impl Packed {
    /// Packs `ids` and `token_types`, which each hold the sequences of the given `lengths` one after the other.
    ///
    /// # Panics
    ///
    /// If the three disagree on the number of tokens, if there is no sequence, or if a sequence is empty.
    ///
    /// ```
    /// use nb_model::Packed;
    /// let packed = Packed::new(&[2, 7, 3, 2, 9, 8, 3], &[0; 7], &[3, 4], tch::Device::Cpu);
    /// assert_eq!((packed.sequences(), packed.tokens()), (2, 7));
    /// ```
    pub fn new(ids: &[i64], token_types: &[i64], lengths: &[i64], device: Device) -> Self {
        let total: i64 = lengths.iter().sum();
        let segments = Segments::new(lengths, device);
        assert_eq!(ids.len() as i64, total, "token ids against the sum of the lengths");
        assert_eq!(token_types.len(), ids.len(), "token types against token ids");

        let positions: Vec<i64> = lengths.iter().flat_map(|&l| 0..l).collect();
        let send = |values: &[i64]| send(&Tensor::from_slice(values), device);
        Self {
            ids: send(ids),
            token_types: send(token_types),
            positions: send(&positions),
            groups: OnceCell::new(),
            for_flash: OnceCell::new(),
            segments,
            windows: None,
        }
    }

    /// Returns the same tokens as texts of several sequences each: `windows` has the number of sequences of each text, or is
    /// empty if every text is one sequence.
    ///
    /// # Panics
    ///
    /// If the numbers do not add up to the number of sequences, or if one is 0.
    ///
    /// ```
    /// use nb_model::{Packed, Pooling};
    /// use tch::{Device, Tensor};
    /// let packed = Packed::new(&[0; 4], &[0; 4], &[2, 1, 1], Device::Cpu).with_windows(&[2, 1]);
    /// assert_eq!((packed.sequences(), packed.texts()), (3, 2));
    /// let states = Tensor::from_slice(&[1f32, 3.0, 4.0, 5.0]).view([4, 1]);
    /// let vectors = Pooling::Mean.texts(&states, &packed); // the mean of 2 and 4, and 5
    /// assert_eq!(Vec::<f32>::try_from(vectors.view(-1)).unwrap(), [3.0, 5.0]);
    /// ```
    #[must_use]
    pub fn with_windows(mut self, windows: &[i64]) -> Self {
        if windows.iter().any(|&count| count != 1) {
            assert_eq!(windows.iter().sum::<i64>(), self.sequences(), "windows of the texts against sequences");
            self.windows = Some(Segments::new(windows, self.device()));
        } else {
            self.windows = None;
        }
        self
    }

    /// Returns the number of texts R.
    pub fn texts(&self) -> i64 {
        self.windows.as_ref().map_or(self.sequences(), |windows| windows.lengths().len() as i64)
    }

    /// Returns the sequences of each text as segments; `None` if every text is one sequence.
    pub fn windows(&self) -> Option<&Segments> {
        self.windows.as_ref()
    }

    /// Returns the number of sequences B.
    pub fn sequences(&self) -> i64 {
        self.lengths().len() as i64
    }

    /// Returns the number of real tokens n.
    pub fn tokens(&self) -> i64 {
        self.ids.numel() as i64
    }

    /// Returns the length of each sequence.
    pub fn lengths(&self) -> &[i64] {
        self.segments.lengths()
    }

    /// Returns the number of pairs of a query and a key in the same sequence: Σ length².
    pub fn pairs(&self) -> i64 {
        self.lengths().iter().map(|length| length * length).sum()
    }

    /// Returns the token ids that occur, in ascending order, each once.
    pub fn distinct_ids(&self) -> Vec<u32> {
        // Cannot fail: the tensor was made from a slice of that type.
        let ids = Vec::<i64>::try_from(&self.ids).unwrap_or_default();
        let mut ids: Vec<u32> = ids.into_iter().filter_map(|id| u32::try_from(id).ok()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Returns the tokens of each sequence as a segment of the row.
    pub fn segments(&self) -> &Segments {
        &self.segments
    }

    /// Returns the groups for attention without a fused kernel.
    pub(crate) fn groups(&self) -> &[Group] {
        self.groups.get_or_init(|| groups(self.lengths(), self.device()))
    }

    /// Returns the sequences for the fused kernel of a GPU.
    pub(crate) fn for_flash(&self) -> &Rc<Sequences> {
        let create = || Sequences::new(self.lengths(), self.device()).map(Rc::new);
        self.for_flash.get_or_init(|| create().unwrap_or_else(|e| panic!("a batch for a GPU's kernel: {e}")))
    }

    /// Returns the device of the tensors.
    pub fn device(&self) -> Device {
        self.ids.device()
    }
}

/// Splits the sequences into groups whose shortest sequence is at least [`GROUP_FILL`] of their longest.
fn groups(lengths: &[i64], device: Device) -> Vec<Group> {
    let mut out = Vec::new();
    let (mut first, mut start) = (0, 0);
    while first < lengths.len() {
        let (mut low, mut high) = (lengths[first], lengths[first]);
        let members = lengths[first..].iter().take_while(|&&l| {
            (low, high) = (low.min(l), high.max(l));
            low as f64 >= GROUP_FILL * high as f64
        });
        let end = first + members.count();
        let group = Group::new(start, &lengths[first..end], device);
        start += group.rows;
        first = end;
        out.push(group);
    }
    out
}

impl Group {
    fn new(start: i64, lengths: &[i64], device: Device) -> Self {
        let rows = lengths.iter().sum();
        let width = lengths.iter().copied().max().unwrap_or(0);
        let sequences = lengths.len() as i64;
        let padding = (sequences * width != rows).then(|| Padding::new(lengths, width, device));
        Self { start, rows, sequences, width, padding }
    }
}

impl Padding {
    pub(crate) fn new(lengths: &[i64], width: i64, device: Device) -> Self {
        let (mut gather, mut scatter, mut bias, mut real) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut first = 0;
        for (&length, sequence) in lengths.iter().zip(0_i64..) {
            for t in 0..width {
                let is_real = t < length;
                gather.push(if is_real { first + t } else { first });
                bias.push(if is_real { 0.0 } else { f32::NEG_INFINITY });
                real.push(f32::from(is_real));
            }
            scatter.extend((0..length).map(|t| sequence * width + t));
            first += length;
        }
        let n = lengths.len() as i64;
        Self {
            gather: send(&Tensor::from_slice(&gather), device),
            scatter: send(&Tensor::from_slice(&scatter), device),
            key_bias: send(&Tensor::from_slice(&bias), device).view([n, 1, 1, width]),
            real: send(&Tensor::from_slice(&real), device).view([n * width, 1]),
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    #[test]
    fn neighbours_of_nearly_equal_length_form_a_group() {
        let found: Vec<(i64, i64, i64)> =
            groups(&[16, 15, 12, 11, 8, 8], Device::Cpu).iter().map(|g| (g.start, g.rows, g.width)).collect();
        assert_eq!(found, [(0, 43, 16), (43, 11, 11), (54, 16, 8)]);
        assert!(groups(&[8, 8], Device::Cpu)[0].padding.is_none());
    }

    #[test]
    fn gather_then_scatter_restores_the_rows() {
        let padding = Padding::new(&[4, 3], 4, Device::Cpu);
        let rows = Tensor::arange(7, (Kind::Float, Device::Cpu)).view([7, 1]);
        let back = rows.index_select(0, &padding.gather).index_select(0, &padding.scatter);
        assert!(back.equal(&rows));
    }

    #[test]
    #[should_panic(expected = "none may be empty")]
    fn an_empty_sequence_is_refused() {
        let _ = Packed::new(&[1], &[0], &[1, 0], Device::Cpu);
    }
}
