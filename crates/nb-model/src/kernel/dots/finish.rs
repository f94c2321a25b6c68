//! What becomes of the sums of a product while they are in the first cache.

use pulp::Simd;

use super::number::Number;
use super::tile::{COLUMNS, Dots};
use crate::config::Activation;
use crate::kernel::simd::{activate, fetch, value_and_slope};

/// What becomes of a row of a tile.
pub(super) trait Finish<T>: Sync {
    /// What there is of the result for a row of it, or a piece of one.
    type Row<'a>: Piece;

    /// Takes the sums of the columns from `place` on; as many as the row has there.
    fn row<S: Simd>(&self, with: (S, Dots<T>), row: &mut Self::Row<'_>, place: Place, sums: &mut [f32; COLUMNS]);
}

/// Pieces of rows that are read or written, which are more than caches hold.
pub(super) trait Piece: Send {
    /// Hears which columns come next, before their sums are made.
    fn soon(&self, place: Place);
}

impl<U: Number> Piece for &mut [U] {
    #[inline(always)]
    fn soon(&self, place: Place) {
        fetch(&self[columns(place, self.len())]);
    }
}

impl<U: Number> Piece for &[U] {
    #[inline(always)]
    fn soon(&self, place: Place) {
        fetch(&self[columns(place, self.len())]);
    }
}

impl<A: Piece, B: Piece> Piece for (A, B) {
    #[inline(always)]
    fn soon(&self, place: Place) {
        self.0.soon(place);
        self.1.soon(place);
    }
}

/// A column: in the whole result, and in the piece of a row.
pub(super) type Place = (usize, usize);

/// The columns of a tile that there are in a piece of a row.
#[inline(always)]
fn columns((_, first): Place, len: usize) -> std::ops::Range<usize> {
    first..len.min(first + COLUMNS)
}

/// As they are.
pub(super) struct Plain;

impl<T: Number> Finish<T> for Plain {
    type Row<'a> = &'a mut [T];

    #[inline(always)]
    fn row<S: Simd>(&self, (_, dots): (S, Dots<T>), out: &mut &mut [T], place: Place, sums: &mut [f32; COLUMNS]) {
        let columns = columns(place, out.len());
        T::put(dots, sums, &mut out[columns]);
    }
}

/// With the bias, and then through the activation, where there is one.
pub(super) struct Biased<'a, T> {
    pub(super) bias: &'a [T],
    pub(super) activation: Option<Activation>,
}

impl<T: Number> Finish<T> for Biased<'_, T> {
    type Row<'a> = &'a mut [T];

    #[inline(always)]
    fn row<S: Simd>(&self, with: (S, Dots<T>), out: &mut &mut [T], place: Place, sums: &mut [f32; COLUMNS]) {
        add_bias(sums, &self.bias[place.0..]);
        if let Some(activation) = self.activation {
            for sums in S::as_mut_simd_f32s(sums).0 {
                *sums = activate(with.0, activation, *sums);
            }
        }
        Plain.row(with, out, place, sums);
    }
}

/// The activation of the sum with the bias, and its slope there.
pub(super) struct WithSlope<'a, T> {
    pub(super) bias: &'a [T],
    pub(super) activation: Activation,
}

impl<T: Number> Finish<T> for WithSlope<'_, T> {
    type Row<'a> = (&'a mut [T], &'a mut [T]);

    #[inline(always)]
    fn row<S: Simd>(
        &self,
        (simd, dots): (S, Dots<T>),
        (values, slopes): &mut Self::Row<'_>,
        place: Place,
        sums: &mut [f32; COLUMNS],
    ) {
        add_bias(sums, &self.bias[place.0..]);
        let mut own = [0.0; COLUMNS];
        for (sum, slope) in S::as_mut_simd_f32s(sums).0.iter_mut().zip(S::as_mut_simd_f32s(&mut own).0) {
            (*sum, *slope) = value_and_slope(simd, self.activation, *sum);
        }
        let columns = columns(place, values.len());
        T::put(dots, sums, &mut values[columns.clone()]);
        T::put(dots, &own, &mut slopes[columns]);
    }
}

/// Times other numbers.
pub(super) struct Times;

impl<T: Number> Finish<T> for Times {
    /// The other numbers, and the result.
    type Row<'a> = (&'a [T], &'a mut [T]);

    #[inline(always)]
    fn row<S: Simd>(
        &self,
        (_, dots): (S, Dots<T>),
        (others, out): &mut Self::Row<'_>,
        place: Place,
        sums: &mut [f32; COLUMNS],
    ) {
        let columns = columns(place, out.len());
        sums.iter_mut().zip(&others[columns.clone()]).for_each(|(sum, other)| *sum *= other.to_f32());
        T::put(dots, sums, &mut out[columns]);
    }
}

/// Added to what is there, in f32.
pub(super) struct Added;

impl<T: Number> Finish<T> for Added {
    type Row<'a> = &'a mut [f32];

    #[inline(always)]
    fn row<S: Simd>(&self, _: (S, Dots<T>), out: &mut &mut [f32], place: Place, sums: &mut [f32; COLUMNS]) {
        let columns = columns(place, out.len());
        out[columns].iter_mut().zip(sums).for_each(|(out, sum)| *out += *sum);
    }
}

#[inline(always)]
fn add_bias<T: Number>(sums: &mut [f32; COLUMNS], bias: &[T]) {
    sums.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += bias.to_f32());
}
