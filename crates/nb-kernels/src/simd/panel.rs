//! Products of few rows with a panel of weights. The panel is read from memory once for as many rows as have their sums in
//! registers.
//!
//! Two bf16 weights share a word of 32 bits, which halves the memory traffic that limits a product of few rows. They are
//! widened in registers, so the sums equal those of f32 weights bit for bit.

use pulp::Simd;

/// Outputs per panel. Each input has this many f32 weights, or half as many words.
pub(crate) const WIDTH: usize = 2 * WORDS;
const WORDS: usize = 16;
/// Rows of the largest tile with 32 registers, half as many with 16. Each row takes two registers: 24 of 32, or 12 of 16.
const MOST_ROWS: usize = 12;

/// An entry of a panel: one weight in f32, or two in bf16.
pub(crate) trait PanelEntry: Copy {
    /// Entries per input.
    const PER_ROW: usize;

    /// Returns the first output of each register in pair `index` of a row's registers.
    fn offsets<S: Simd>(index: usize) -> [usize; 2];

    /// Returns the weights of that pair of registers.
    fn load<S: Simd>(simd: S, row: &[Self], index: usize) -> [S::f32s; 2];
}

impl PanelEntry for f32 {
    const PER_ROW: usize = WIDTH;

    #[inline(always)]
    fn offsets<S: Simd>(index: usize) -> [usize; 2] {
        [2 * index * S::F32_LANES, (2 * index + 1) * S::F32_LANES]
    }

    #[inline(always)]
    fn load<S: Simd>(_: S, row: &[Self], index: usize) -> [S::f32s; 2] {
        let [first, second] = Self::offsets::<S>(index);
        let both = S::as_simd_f32s(&row[first..second + S::F32_LANES]).0;
        [both[0], both[1]]
    }
}

/// Word i of a row holds weight i in its low half and weight i + 16 in its high half.
impl PanelEntry for u32 {
    const PER_ROW: usize = WORDS;

    #[inline(always)]
    fn offsets<S: Simd>(index: usize) -> [usize; 2] {
        [index * S::U32_LANES, WORDS + index * S::U32_LANES]
    }

    #[inline(always)]
    fn load<S: Simd>(simd: S, row: &[Self], index: usize) -> [S::f32s; 2] {
        let [first, _] = Self::offsets::<S>(index);
        let words = S::as_simd_u32s(&row[first..first + S::U32_LANES]).0[0];
        let low = simd.wrapping_dyn_shl_u32s(words, simd.splat_u32s(16));
        let high = simd.and_u32s(words, simd.splat_u32s(0xffff_0000));
        [simd.transmute_f32s_u32s(low), simd.transmute_f32s_u32s(high)]
    }
}

/// Returns rows of [`WIDTH`] weights as words; the lower 16 bits of each f32 are cut off.
pub(crate) fn pair_up(weights: &[f32]) -> Vec<u32> {
    let row = |row: &[f32]| -> [u32; WORDS] {
        std::array::from_fn(|i| row[i].to_bits() >> 16 | row[i + WORDS].to_bits() & 0xffff_0000)
    };
    weights.chunks_exact(WIDTH).flat_map(row).collect()
}

/// Computes `out` [m, WIDTH] = `left` [m, k] · the panel [k, WIDTH].
#[inline(always)]
pub(crate) fn multiply_panel<S: Simd, W: PanelEntry>(simd: S, left: &[f32], panel: &[W], k: usize, out: &mut [f32]) {
    let most = MOST_ROWS.min(S::REGISTER_COUNT * MOST_ROWS / 32);
    let count = left.len() / k;
    // Equal shares: three passes for thirteen rows would take half as long again as two.
    let rows = count.div_ceil(count.div_ceil(most).max(1)).max(1);
    for (left, out) in left.chunks(rows * k).zip(out.chunks_mut(rows * WIDTH)) {
        match left.len() / k {
            1 => strip::<S, W, 1>(simd, left, panel, k, out),
            2 => strip::<S, W, 2>(simd, left, panel, k, out),
            3 => strip::<S, W, 3>(simd, left, panel, k, out),
            4 => strip::<S, W, 4>(simd, left, panel, k, out),
            5 => strip::<S, W, 5>(simd, left, panel, k, out),
            6 => strip::<S, W, 6>(simd, left, panel, k, out),
            7 => strip::<S, W, 7>(simd, left, panel, k, out),
            8 => strip::<S, W, 8>(simd, left, panel, k, out),
            9 => strip::<S, W, 9>(simd, left, panel, k, out),
            10 => strip::<S, W, 10>(simd, left, panel, k, out),
            11 => strip::<S, W, 11>(simd, left, panel, k, out),
            _ => strip::<S, W, MOST_ROWS>(simd, left, panel, k, out),
        }
    }
}

/// Computes `R` rows of the result, two registers of outputs at a time.
#[inline(always)]
fn strip<S: Simd, W: PanelEntry, const R: usize>(simd: S, left: &[f32], panel: &[W], k: usize, out: &mut [f32]) {
    let rows: [&[f32]; R] = std::array::from_fn(|i| &left[i * k..(i + 1) * k]);
    for index in 0..WIDTH / (2 * S::F32_LANES) {
        let mut sums = [[simd.splat_f32s(0.0); 2]; R];
        for (j, row) in panel.chunks_exact(W::PER_ROW).take(k).enumerate() {
            let [low, high] = W::load(simd, row, index);
            for (sums, left) in sums.iter_mut().zip(rows) {
                let left = simd.splat_f32s(left[j]);
                sums[0] = simd.mul_add_e_f32s(left, low, sums[0]);
                sums[1] = simd.mul_add_e_f32s(left, high, sums[1]);
            }
        }
        for (out, sums) in out.chunks_exact_mut(WIDTH).zip(sums) {
            for (first, sum) in W::offsets::<S>(index).into_iter().zip(sums) {
                S::as_mut_simd_f32s(&mut out[first..first + S::F32_LANES]).0[0] = sum;
            }
        }
    }
}
