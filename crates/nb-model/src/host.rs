//! Slices over the memory of CPU tensors, for kernels written in Rust.
//!
//! With [`crate::pool`], `kernel/dots` (`tile.rs`, `number.rs`, `pairs.rs`) and `kernel/simd/memory.rs` the only `unsafe` code
//! of this crate. [`with_slices`] hands a closure shared slices of its inputs and exclusive slices of its outputs after
//! checking that each tensor is a contiguous CPU tensor of the element type and that no output overlaps another tensor of the
//! call. Another handle on the same memory could still be used meanwhile: tensors are not `Sync`, and the closure must be, so
//! it can capture none; nor can another thread hold a reference to one. What the types do not exclude is a handle that is taken
//! out of a `Mutex` or a thread-local inside the closure, or that was sent to another thread before: no code of this workspace
//! does either, and it would race in libtorch just the same.
#![expect(unsafe_code, reason = "reads and writes tensor memory through raw pointers; the argument stands above")]

use std::ops::Range;

use half::bf16;
use tch::{Device, Kind, Tensor};

/// An element type that tensors and slices have in common. (tch has such a trait, but calls bfloat16 `Half` there.)
pub trait Element: Copy + Send + Sync + sealed::Sealed {
    /// The tensor kind whose memory is a sequence of `Self`.
    const KIND: Kind;

    /// The same number with more digits.
    fn to_f32(self) -> f32;

    /// The nearest number of this type.
    fn from_f32(value: f32) -> Self;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for half::bf16 {}
}

impl Element for f32 {
    const KIND: Kind = Kind::Float;

    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }

    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        value
    }
}

impl Element for bf16 {
    const KIND: Kind = Kind::BFloat16;

    /// The library's own way asks first whether it is a number, which keeps vector registers out.
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    /// Rounded to even, as libtorch does; written out, since the library's own way is not inlined for every CPU.
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        Self::from_bits(if value.is_nan() { 0x7fc0 } else { rounded as u16 })
    }
}

/// Calls `f` with the memory of `inputs` (shared) and `outputs` (exclusive). `f` captures no tensor: it is `Sync`.
///
/// # Panics
/// If a tensor is not on the CPU, not contiguous or of another element type, or if an output overlaps another tensor.
///
/// ```
/// use tch::{Kind, Tensor};
/// let x = Tensor::from_slice(&[1f32, 2.0, 3.0]);
/// let mut y = x.zeros_like();
/// nb_model::host::with_slices::<f32, 1, 1, _>([&x], [&mut y], |[x], [y]| {
///     y.iter_mut().zip(x).for_each(|(y, x)| *y = 2.0 * x);
/// });
/// assert_eq!(Vec::<f32>::try_from(y).unwrap(), [2.0, 4.0, 6.0]);
/// ```
pub fn with_slices<T: Element, const I: usize, const O: usize, R>(
    inputs: [&Tensor; I],
    outputs: [&mut Tensor; O],
    f: impl FnOnce([&[T]; I], [&mut [T]; O]) -> R + Sync,
) -> R {
    with_slices_of::<T, T, I, O, R>(inputs, outputs, f)
}

/// As [`with_slices`], with another element type `U` of the outputs.
///
/// # Panics
/// As [`with_slices`].
pub fn with_slices_of<T: Element, U: Element, const I: usize, const O: usize, R>(
    inputs: [&Tensor; I],
    outputs: [&mut Tensor; O],
    f: impl FnOnce([&[T]; I], [&mut [U]; O]) -> R + Sync,
) -> R {
    with_slices_of_both::<T, U, I, 0, 0, O, R>((inputs, []), ([], outputs), |(inputs, _), (_, outputs)| {
        f(inputs, outputs)
    })
}

/// As [`with_slices`], with inputs and outputs of two element types.
///
/// # Panics
/// As [`with_slices`].
pub fn with_slices_of_both<
    T: Element,
    U: Element,
    const I: usize,
    const O: usize,
    const J: usize,
    const P: usize,
    R,
>(
    first: ([&Tensor; I], [&mut Tensor; O]),
    second: ([&Tensor; J], [&mut Tensor; P]),
    f: impl FnOnce(([&[T]; I], [&mut [T]; O]), ([&[U]; J], [&mut [U]; P])) -> R + Sync,
) -> R {
    let ins = (first.0.map(check::<T>), second.0.map(check::<U>));
    let outs = (first.1.map(|t| check::<T>(t)), second.1.map(|t| check::<U>(t)));
    let written: Vec<_> = outs.0.iter().chain(&outs.1).collect();
    for (i, out) in written.iter().enumerate() {
        let others = ins.0.iter().chain(&ins.1).chain(written[..i].iter().copied());
        assert!(
            !others.into_iter().any(|other| overlap(out, other)),
            "output {i} shares memory with another tensor of the call"
        );
    }
    // SAFETY: `check` made sure that each range is the tensor's own contiguous CPU memory of element type `T` or `U`, for which
    // every bit pattern is a value; a kernel writes the entries of a new tensor before it reads them. The borrows of the
    // handles keep the storages alive for the call. No output overlaps any other slice, so the exclusive ones are
    // exclusive within the call; the module's doc says why nothing else writes meanwhile.
    unsafe {
        f(
            (ins.0.map(|r| shared(&r)), outs.0.map(|r| exclusive(&r))),
            (ins.1.map(|r| shared(&r)), outs.1.map(|r| exclusive(&r))),
        )
    }
}

/// # Safety
/// The range is memory of entries of `T` that nothing writes to while the slice lives.
unsafe fn shared<'a, T>(range: &Range<usize>) -> &'a [T] {
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts(range.start as *const T, len::<T>(range)) }
}

/// # Safety
/// The range is memory of entries of `T` that nothing else reads or writes while the slice lives.
unsafe fn exclusive<'a, T>(range: &Range<usize>) -> &'a mut [T] {
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts_mut(range.start as *mut T, len::<T>(range)) }
}

/// Calls `f` with the memory of f32 tensors, as bytes in the machine's order. `f` captures no tensor: it is `Sync`.
///
/// # Panics
/// If a tensor is not on the CPU, not contiguous or not of f32.
pub(crate) fn with_bytes<R>(tensors: &[Tensor], f: impl FnOnce(Vec<&[u8]>) -> R + Sync) -> R {
    let ranges = tensors.iter().map(check::<f32>);
    // SAFETY: as above, without outputs; a byte may have any value, and an address any alignment.
    f(ranges.map(|r| unsafe { shared(&r) }).collect())
}

/// The address range of a tensor's memory, after the checks that make it a slice of `T`.
fn check<T: Element>(tensor: &Tensor) -> Range<usize> {
    assert_eq!(tensor.device(), Device::Cpu, "host slices exist for CPU tensors");
    assert_eq!(tensor.kind(), T::KIND, "element type of the tensor against that of the slice");
    assert!(tensor.is_contiguous(), "a tensor of shape {:?} is not contiguous", tensor.size());
    let start = match tensor.numel() {
        0 => std::mem::align_of::<T>(), // libtorch may hold a null pointer for an empty tensor; a slice may not
        _ => tensor.data_ptr() as usize,
    };
    start..start + tensor.numel() * std::mem::size_of::<T>()
}

fn len<T>(range: &Range<usize>) -> usize {
    (range.end - range.start) / std::mem::size_of::<T>()
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    #[should_panic(expected = "shares memory")]
    fn an_output_that_overlaps_an_input_is_refused() {
        let x = Tensor::zeros([8], (Kind::Float, Device::Cpu));
        let mut tail = x.narrow(0, 4, 4);
        with_slices::<f32, 1, 1, _>([&x], [&mut tail], |_, _| ());
    }

    #[test]
    #[should_panic(expected = "not contiguous")]
    fn a_transposed_view_is_refused() {
        let x = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu)).tr();
        with_slices::<f32, 1, 0, _>([&x], [], |_, _| ());
    }

    #[test]
    #[should_panic(expected = "element type")]
    fn another_element_type_is_refused() {
        with_slices::<bf16, 1, 0, _>([&Tensor::from_slice(&[1f32])], [], |_, _| ());
    }

    #[test]
    fn bf16_rounds_as_libtorch_does() {
        let values = [0.0, -0.0, 1.0, 1.003_906_3, 1.011_718_8, -2.468_013_6, 1e-40, f32::MAX, f32::INFINITY, f32::NAN];
        let expected = Vec::<f32>::try_from(Tensor::from_slice(&values).to_kind(Kind::BFloat16).to_kind(Kind::Float));
        for (value, expected) in values.into_iter().zip(expected.unwrap()) {
            let found = <bf16 as Element>::from_f32(value).to_f32();
            assert!(found == expected || found.is_nan() && expected.is_nan(), "{value}: {found}, expected {expected}");
        }
    }

    #[test]
    fn bytes_are_those_of_the_numbers() {
        let tensors = [Tensor::from_slice(&[1f32, -2.5]), Tensor::zeros([0], (Kind::Float, Device::Cpu))];
        let expected = [1f32.to_ne_bytes(), (-2.5f32).to_ne_bytes()].concat();
        assert!(with_bytes(&tensors, |bytes| bytes == [&expected[..], &[]]));
    }

    #[test]
    fn an_empty_tensor_is_an_empty_slice() {
        let x = Tensor::zeros([0], (Kind::Float, Device::Cpu));
        assert_eq!(with_slices::<f32, 1, 0, _>([&x], [], |[x], _| x.len()), 0);
    }
}
