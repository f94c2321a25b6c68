//! What becomes of the sums of a product while they are in the first cache.

use half::bf16;
use pulp::Simd;

use super::tile::{COLUMNS, Dots};
use crate::config::Activation;
use crate::host::Element;
use crate::kernel::simd::{activate, value_and_slope};

/// What becomes of a row of a tile.
pub(super) trait Finish: Sync {
    /// What there is of the result for some of its rows.
    type Rows<'a>: Send;

    /// Hears which columns of which row come next, before their sums are made.
    #[inline(always)]
    fn soon(&self, dots: Dots, rows: &Self::Rows<'_>, row: usize, column: usize) {
        let _ = (dots, rows, row, column);
    }

    /// Takes the sums of the columns `column`, … of row `row`; as many as the result has there.
    fn row<S: Simd>(&self, simd: S, rows: &mut Self::Rows<'_>, row: usize, column: usize, sums: &mut [f32; COLUMNS]);
}

/// Where the columns from `column` on of row `row` are in rows of `width`.
#[inline(always)]
fn place(width: usize, row: usize, column: usize) -> std::ops::Range<usize> {
    let begin = row * width;
    begin + column..begin + width.min(column + COLUMNS)
}

/// In bf16, with a bias on top where there is one.
pub(super) struct Rounded<'a> {
    pub(super) width: usize,
    pub(super) bias: Option<&'a [bf16]>,
}

impl Finish for Rounded<'_> {
    type Rows<'a> = &'a mut [bf16];

    #[inline(always)]
    fn row<S: Simd>(&self, _: S, out: &mut &mut [bf16], row: usize, column: usize, sums: &mut [f32; COLUMNS]) {
        if let Some(bias) = self.bias {
            add_bias(sums, &bias[column..]);
        }
        round(&mut out[place(self.width, row, column)], sums);
    }
}

/// In bf16 with the bias and the activation.
pub(super) struct Activated<'a> {
    pub(super) bias: &'a [bf16],
    pub(super) activation: Activation,
}

impl Finish for Activated<'_> {
    type Rows<'a> = &'a mut [bf16];

    #[inline(always)]
    fn row<S: Simd>(&self, simd: S, out: &mut &mut [bf16], row: usize, column: usize, sums: &mut [f32; COLUMNS]) {
        add_bias(sums, &self.bias[column..]);
        for sums in S::as_mut_simd_f32s(sums).0 {
            *sums = activate(simd, self.activation, *sums);
        }
        round(&mut out[place(self.bias.len(), row, column)], sums);
    }
}

/// In bf16: the activation of the sum with the bias, and its slope there.
pub(super) struct WithSlope<'a> {
    pub(super) bias: &'a [bf16],
    pub(super) activation: Activation,
}

impl Finish for WithSlope<'_> {
    type Rows<'a> = (&'a mut [bf16], &'a mut [bf16]);

    #[inline(always)]
    fn row<S: Simd>(
        &self,
        simd: S,
        (values, slopes): &mut (&mut [bf16], &mut [bf16]),
        row: usize,
        column: usize,
        sums: &mut [f32; COLUMNS],
    ) {
        let place = place(self.bias.len(), row, column);
        add_bias(sums, &self.bias[column..]);
        let mut own = [0.0; COLUMNS];
        for (sum, slope) in S::as_mut_simd_f32s(sums).0.iter_mut().zip(S::as_mut_simd_f32s(&mut own).0) {
            (*sum, *slope) = value_and_slope(simd, self.activation, *sum);
        }
        round(&mut values[place.clone()], sums);
        round(&mut slopes[place], &own);
    }
}

/// In bf16, times other numbers.
pub(super) struct Times {
    pub(super) width: usize,
}

impl Finish for Times {
    /// The other numbers, and the result.
    type Rows<'a> = (&'a [bf16], &'a mut [bf16]);

    #[inline(always)]
    fn row<S: Simd>(
        &self,
        _: S,
        (others, out): &mut (&[bf16], &mut [bf16]),
        row: usize,
        column: usize,
        sums: &mut [f32; COLUMNS],
    ) {
        let place = place(self.width, row, column);
        sums.iter_mut().zip(&others[place.clone()]).for_each(|(sum, other)| *sum *= Element::to_f32(*other));
        round(&mut out[place], sums);
    }
}

/// Added to what is there, in f32.
pub(super) struct Added {
    pub(super) width: usize,
}

impl Finish for Added {
    type Rows<'a> = &'a mut [f32];

    /// Gradients of weights are more than caches hold.
    #[inline(always)]
    fn soon(&self, dots: Dots, out: &&mut [f32], row: usize, column: usize) {
        dots.fetch(&out[place(self.width, row, column)]);
    }

    #[inline(always)]
    fn row<S: Simd>(&self, _: S, out: &mut &mut [f32], row: usize, column: usize, sums: &mut [f32; COLUMNS]) {
        out[place(self.width, row, column)].iter_mut().zip(sums).for_each(|(out, sum)| *out += *sum);
    }
}

#[inline(always)]
fn add_bias(sums: &mut [f32; COLUMNS], bias: &[bf16]) {
    sums.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += Element::to_f32(*bias));
}

#[inline(always)]
fn round(out: &mut [bf16], sums: &[f32; COLUMNS]) {
    out.iter_mut().zip(sums).for_each(|(out, sum)| *out = Element::from_f32(*sum));
}
