//! Slices over the memory of CPU tensors, for kernels written in Rust.
//!
//! [`with_slices`] takes a list of [`read`] and [`write()`] views and calls a closure with their memory: shared slices of the
//! tensors that are read, exclusive slices of those that are written. The list is an array or a tuple, and the closure takes
//! its slices in the same shape. There is no function that returns a slice: every handle of a tensor can write, so a borrow of
//! one handle does not keep other handles of the same memory from writing to it.
//!
//! # Safety
//!
//! This file is the only one of the crate, besides `shim.rs` and `cuda.rs`, with `unsafe` code. A slice is valid because
//!
//! 1. its tensor is a contiguous CPU tensor of the slice's element type, for which every bit pattern is a value ([`read`] and
//!    [`write()`] check this), and a kernel writes the entries of a new tensor before it reads them;
//! 2. the borrow of the handle keeps the memory alive during the call, and nothing can replace it: that needs a handle;
//! 3. no slice that is written overlaps another slice of the call (`check_overlaps`);
//! 4. nothing else writes to the memory while the slices live. They do not outlive the call: the closure must work for slices
//!    of any lifetime. Tensors are not `Sync` and the closure must be, so it cannot capture a tensor; nor can another thread
//!    hold a reference to one.
//!
//! The types do not exclude a handle that the closure takes out of a `Mutex` or of a thread-local variable, or one that was
//! sent to another thread before. No code of this workspace does either; in libtorch, too, that would be a data race.
#![expect(unsafe_code, reason = "reads and writes tensor memory through raw pointers; the safety argument is above")]

use std::marker::PhantomData;
use std::ops::Range;

use half::bf16;
use tch::{Device, Kind, Tensor};

/// An element type of both tensors and slices: f32 or bf16. (The corresponding trait in tch gives bf16 the kind `Half`.)
pub trait TensorElement: Copy + Send + Sync + sealed::Sealed + 'static {
    /// The kind of tensor whose memory is a sequence of `Self`.
    const KIND: Kind;
}

impl TensorElement for f32 {
    const KIND: Kind = Kind::Float;
}

impl TensorElement for bf16 {
    const KIND: Kind = Kind::BFloat16;
}

/// The memory of a tensor that is read.
#[derive(Debug)]
pub struct Read<'a, T> {
    range: Range<usize>,
    tensor: PhantomData<&'a [T]>,
}

/// The memory of a tensor that is written.
#[derive(Debug)]
pub struct Write<'a, T> {
    range: Range<usize>,
    tensor: PhantomData<&'a mut [T]>,
}

/// Returns the memory of `tensor` for reading.
///
/// # Panics
///
/// If the tensor is not on the CPU, not contiguous, or of another element type.
pub fn read<T: TensorElement>(tensor: &Tensor) -> Read<'_, T> {
    Read { range: checked_range::<T>(tensor), tensor: PhantomData }
}

/// Returns the memory of `tensor` for writing.
///
/// # Panics
///
/// As [`read`].
pub fn write<T: TensorElement>(tensor: &mut Tensor) -> Write<'_, T> {
    Write { range: checked_range::<T>(tensor), tensor: PhantomData }
}

/// A view of tensors' memory, or a list of such views.
pub trait Views: sealed::Lend {}

impl<V: sealed::Lend> Views for V {}

/// Calls `f` with the slices of `views`. `f` captures no tensor: it is `Sync`. Slices do not leave it:
///
/// ```compile_fail
/// # use nb_torch::cpu_slices::{read, with_slices};
/// let x = tch::Tensor::from_slice(&[1f32, 2.0, 3.0]);
/// let slice: &[f32] = with_slices(read(&x), |x| x);
/// ```
///
/// # Panics
///
/// If a tensor that is written overlaps another tensor of the list.
///
/// ```
/// use nb_torch::cpu_slices::{read, with_slices, write};
/// use tch::{Kind, Tensor};
/// let x = Tensor::from_slice(&[1f32, 2.0, 3.0]);
/// let mut y = x.zeros_like();
/// with_slices((read::<f32>(&x), write::<f32>(&mut y)), |(x, y)| {
///     y.iter_mut().zip(x).for_each(|(y, x)| *y = 2.0 * x);
/// });
/// assert_eq!(Vec::<f32>::try_from(y).unwrap(), [2.0, 4.0, 6.0]);
/// ```
pub fn with_slices<V: Views, R>(views: V, f: impl for<'s> FnOnce(V::Slices<'s>) -> R + Sync) -> R {
    let mut accesses = Vec::new();
    views.accesses(&mut accesses);
    check_overlaps(&accesses);
    // SAFETY: the overlaps are checked; the module's documentation has the rest of the argument.
    f(unsafe { views.slices() })
}

/// Calls `f` with the memory of f32 tensors, as bytes in the machine's order. `f` captures no tensor: it is `Sync`.
///
/// # Panics
///
/// If a tensor is not on the CPU, not contiguous or not f32.
pub fn with_bytes<R>(tensors: &[Tensor], f: impl FnOnce(Vec<&[u8]>) -> R + Sync) -> R {
    let ranges = tensors.iter().map(checked_range::<f32>);
    // SAFETY: as for `with_slices`, without writes. A byte may have any value, and its address any alignment.
    f(ranges.map(|range| unsafe { shared(&range) }).collect())
}

/// One access of a call to a range of addresses.
#[derive(Debug)]
pub struct Access {
    range: Range<usize>,
    writes: bool,
}

/// Refuses a written range that overlaps another range.
fn check_overlaps(accesses: &[Access]) {
    for (i, one) in accesses.iter().enumerate() {
        for (j, other) in accesses.iter().enumerate().take(i) {
            let overlap = one.range.start < other.range.end && other.range.start < one.range.end;
            let writes = one.writes || other.writes;
            assert!(
                !(overlap && writes),
                "tensor {i} shares memory with tensor {j} of the call, and one of them is written"
            );
        }
    }
}

/// Returns the address range of a tensor's memory, after the checks that make it a slice of `T`.
fn checked_range<T: TensorElement>(tensor: &Tensor) -> Range<usize> {
    assert_eq!(tensor.device(), Device::Cpu, "slices exist for CPU tensors");
    assert_eq!(tensor.kind(), T::KIND, "element type of the tensor against that of the slice");
    assert!(tensor.is_contiguous(), "a tensor of shape {:?} is not contiguous", tensor.size());
    let start = match tensor.numel() {
        0 => align_of::<T>(), // libtorch may hold a null pointer for an empty tensor; a slice may not
        _ => tensor.data_ptr() as usize,
    };
    start..start + tensor.numel() * size_of::<T>()
}

/// # Safety
///
/// The range is memory of entries of `T` that nothing writes to while the slice lives.
unsafe fn shared<'a, T>(range: &Range<usize>) -> &'a [T] {
    // SAFETY: the caller guarantees it.
    unsafe { std::slice::from_raw_parts(range.start as *const T, len::<T>(range)) }
}

/// # Safety
///
/// The range is memory of entries of `T` that nothing else reads or writes while the slice lives.
unsafe fn exclusive<'a, T>(range: &Range<usize>) -> &'a mut [T] {
    // SAFETY: the caller guarantees it.
    unsafe { std::slice::from_raw_parts_mut(range.start as *mut T, len::<T>(range)) }
}

fn len<T>(range: &Range<usize>) -> usize {
    (range.end - range.start) / size_of::<T>()
}

mod sealed {
    use super::{Access, Read, TensorElement, Write, exclusive, shared};

    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for half::bf16 {}

    /// The part of [`super::Views`] that other crates neither call nor implement.
    pub trait Lend {
        /// The slices, in the shape of the list.
        type Slices<'s>;

        /// Appends every access.
        fn accesses(&self, all: &mut Vec<Access>);

        /// Makes the slices.
        ///
        /// # Safety
        ///
        /// No slice of the call overlaps one that is written, and for the lifetime `'s` the memory exists and nothing else
        /// writes to it.
        unsafe fn slices<'s>(self) -> Self::Slices<'s>;
    }

    impl<T: TensorElement> Lend for Read<'_, T> {
        type Slices<'s> = &'s [T];

        fn accesses(&self, all: &mut Vec<Access>) {
            all.push(Access { range: self.range.clone(), writes: false });
        }

        unsafe fn slices<'s>(self) -> &'s [T] {
            // SAFETY: the caller guarantees it; the range was checked when the view was made.
            unsafe { shared(&self.range) }
        }
    }

    impl<T: TensorElement> Lend for Write<'_, T> {
        type Slices<'s> = &'s mut [T];

        fn accesses(&self, all: &mut Vec<Access>) {
            all.push(Access { range: self.range.clone(), writes: true });
        }

        unsafe fn slices<'s>(self) -> &'s mut [T] {
            // SAFETY: as above.
            unsafe { exclusive(&self.range) }
        }
    }

    impl<V: Lend, const N: usize> Lend for [V; N] {
        type Slices<'s> = [V::Slices<'s>; N];

        fn accesses(&self, all: &mut Vec<Access>) {
            self.iter().for_each(|views| views.accesses(all));
        }

        unsafe fn slices<'s>(self) -> Self::Slices<'s> {
            // SAFETY: the caller guarantees all of them.
            self.map(|views| unsafe { views.slices() })
        }
    }

    impl<A: Lend, B: Lend> Lend for (A, B) {
        type Slices<'s> = (A::Slices<'s>, B::Slices<'s>);

        fn accesses(&self, all: &mut Vec<Access>) {
            self.0.accesses(all);
            self.1.accesses(all);
        }

        unsafe fn slices<'s>(self) -> Self::Slices<'s> {
            // SAFETY: the caller guarantees both.
            unsafe { (self.0.slices(), self.1.slices()) }
        }
    }

    impl<A: Lend, B: Lend, C: Lend> Lend for (A, B, C) {
        type Slices<'s> = (A::Slices<'s>, B::Slices<'s>, C::Slices<'s>);

        fn accesses(&self, all: &mut Vec<Access>) {
            self.0.accesses(all);
            self.1.accesses(all);
            self.2.accesses(all);
        }

        unsafe fn slices<'s>(self) -> Self::Slices<'s> {
            // SAFETY: the caller guarantees all three.
            unsafe { (self.0.slices(), self.1.slices(), self.2.slices()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zeros(size: &[i64]) -> Tensor {
        Tensor::zeros(size, (Kind::Float, Device::Cpu))
    }

    #[test]
    #[should_panic(expected = "tensor 1 shares memory with tensor 0")]
    fn a_written_tensor_that_overlaps_a_read_one_is_refused() {
        let x = zeros(&[8]);
        let mut tail = x.narrow(0, 4, 4);
        with_slices((read::<f32>(&x), write::<f32>(&mut tail)), |_| ());
    }

    #[test]
    #[should_panic(expected = "tensor 2 shares memory with tensor 0")]
    fn two_written_tensors_that_overlap_are_refused() {
        let mut x = zeros(&[8]);
        let (mut y, mut head) = (zeros(&[2]), x.narrow(0, 0, 1));
        with_slices([&mut x, &mut y, &mut head].map(write::<f32>), |_| ());
    }

    #[test]
    fn neighbours_and_read_tensors_that_overlap_are_fine() {
        let x = zeros(&[8]);
        let (mut tail, head) = (x.narrow(0, 4, 4), x.narrow(0, 0, 4));
        let sum = with_slices(([&head, &head].map(read::<f32>), write::<f32>(&mut tail)), |([a, b], tail)| {
            tail.fill(1.0);
            a.len() + b.len() + tail.len()
        });
        assert_eq!((sum, x.sum(Kind::Float).double_value(&[])), (12, 4.0));
    }

    #[test]
    #[should_panic(expected = "not contiguous")]
    fn a_transposed_view_is_refused() {
        with_slices(read::<f32>(&zeros(&[2, 3]).tr()), |_| ());
    }

    #[test]
    #[should_panic(expected = "element type")]
    fn another_element_type_is_refused() {
        with_slices(read::<bf16>(&zeros(&[1])), |_| ());
    }

    #[test]
    fn bytes_match_the_numbers() {
        let tensors = [Tensor::from_slice(&[1f32, -2.5]), zeros(&[0])];
        let expected = [1f32.to_ne_bytes(), (-2.5f32).to_ne_bytes()].concat();
        assert!(with_bytes(&tensors, |bytes| bytes == [&expected[..], &[]]));
    }

    #[test]
    fn an_empty_tensor_is_an_empty_slice() {
        assert_eq!(with_slices(read::<f32>(&zeros(&[0])), <[f32]>::len), 0);
    }
}
