//! Elements of a file that are not in the order of their tensor, such as those of a transposed matrix.

use std::ops::Range;

/// A view whose elements are inside the file, but not row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    /// The position of the first element in the file.
    start: usize,
    /// The bytes of an element.
    width: usize,
    /// The number of elements.
    numel: usize,
    /// The dimensions of 2 or more. There are at most 63, because their product is a number of bytes.
    axes: Vec<Axis>,
}

/// A dimension of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Axis {
    pub(crate) size: usize,
    /// The distance of its entries, in elements.
    pub(crate) stride: usize,
}

/// A view, or the range of bytes that it is equal to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Region {
    Contiguous(Range<usize>),
    Strided(View),
}

/// Returns the region of a tensor whose first element has index `start` in a storage. The storage is a range of the
/// file; an element has `width` bytes.
///
/// # Errors
/// A message, if an element is outside the storage, or if the number of bytes overflows.
pub(crate) fn region(storage: Range<usize>, width: usize, start: usize, axes: &[Axis]) -> Result<Region, String> {
    if axes.iter().any(|axis| axis.size == 0) {
        return Ok(Region::Contiguous(storage.start..storage.start));
    }
    let bounds = bounds(width, start, axes).ok_or("has more elements than a file can hold")?;
    if bounds.end > storage.len() {
        return Err(format!("needs {} bytes of its storage, which has {}", bounds.end, storage.len()));
    }
    let axes: Vec<Axis> = axes.iter().copied().filter(|axis| axis.size > 1).collect();
    let start = storage.start + bounds.start;
    if is_contiguous(&axes) {
        return Ok(Region::Contiguous(start..start + bounds.numel * width));
    }
    Ok(Region::Strided(View { start, width, numel: bounds.numel, axes }))
}

/// The number of elements of a view, and the bytes of its storage from the first to the last of them.
struct Bounds {
    numel: usize,
    start: usize,
    end: usize,
}

/// Returns the bounds; `None` if they overflow.
fn bounds(width: usize, start: usize, axes: &[Axis]) -> Option<Bounds> {
    let (mut numel, mut last) = (1_usize, start);
    for axis in axes {
        numel = numel.checked_mul(axis.size)?;
        last = last.checked_add((axis.size - 1).checked_mul(axis.stride)?)?;
    }
    numel.checked_mul(width).filter(|bytes| i64::try_from(*bytes).is_ok())?;
    Some(Bounds { numel, start: start.checked_mul(width)?, end: last.checked_add(1)?.checked_mul(width)? })
}

fn is_contiguous(axes: &[Axis]) -> bool {
    let mut expected = 1;
    axes.iter().rev().all(|axis| {
        let fits = axis.stride == expected;
        expected *= axis.size; // at most the number of elements
        fits
    })
}

impl View {
    /// Returns the number of bytes of a copy.
    pub(crate) fn bytes(&self) -> usize {
        self.numel * self.width
    }

    /// Returns the elements of a file in the order of the tensor. The file must be the one of the view.
    pub(crate) fn copy(&self, file: &[u8]) -> Vec<u8> {
        let elements = &file[self.start..];
        match self.width {
            1 => self.gather::<1>(elements),
            2 => self.gather::<2>(elements),
            4 => self.gather::<4>(elements),
            _ => self.gather::<8>(elements),
        }
    }

    fn gather<const WIDTH: usize>(&self, elements: &[u8]) -> Vec<u8> {
        let elements = elements.as_chunks::<WIDTH>().0;
        let mut out: Vec<[u8; WIDTH]> = Vec::with_capacity(self.numel);
        let (outer, inner) = match self.axes.split_last() {
            Some((inner, outer)) => (outer, *inner),
            None => (&[][..], Axis { size: 1, stride: 1 }),
        };
        let mut index = vec![0; outer.len()];
        while out.len() < self.numel {
            let row: usize = index.iter().zip(outer).map(|(index, axis)| index * axis.stride).sum();
            out.extend((0..inner.size).map(|i| elements[row + i * inner.stride]));
            // The next row: the last index counts up first.
            for (index, axis) in index.iter_mut().zip(outer).rev() {
                *index += 1;
                if *index < axis.size {
                    break;
                }
                *index = 0;
            }
        }
        out.into_flattened()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn axes(sizes: &[usize], strides: &[usize]) -> Vec<Axis> {
        sizes.iter().zip(strides).map(|(&size, &stride)| Axis { size, stride }).collect()
    }

    fn of(numel: usize, start: usize, sizes: &[usize], strides: &[usize]) -> Result<Region, String> {
        region(10..10 + 2 * numel, 2, start, &axes(sizes, strides))
    }

    #[test]
    fn rows_in_order_are_a_range_of_the_file() {
        for (start, sizes, strides, range) in [
            (0, &[2, 3][..], &[3, 1][..], 10..22),
            (1, &[1, 2, 1, 2], &[99, 2, 7, 1], 12..20), // the stride of a dimension of 1 is not used
            (5, &[], &[], 20..22),
            (0, &[0, 1 << 62], &[1, 1], 10..10),
            (3, &[1], &[1 << 62], 16..18),
        ] {
            assert_eq!(of(6, start, sizes, strides), Ok(Region::Contiguous(range)), "{sizes:?}");
        }
    }

    #[test]
    fn elements_outside_the_storage_are_refused() {
        for (start, sizes, strides) in [
            (0, &[2, 3][..], &[4, 1][..]),
            (1, &[6], &[1]),
            (6, &[], &[]),
            (usize::MAX, &[], &[]),
            (0, &[2], &[usize::MAX]),
            (0, &[1 << 40, 1 << 40], &[0, 0]),
            (0, &[1 << 62], &[0]),
            (0, &[7, 1], &[1, 0]),
        ] {
            assert!(of(6, start, sizes, strides).is_err(), "{start} {sizes:?} {strides:?}");
        }
        assert_eq!(of(6, 1, &[6], &[1]), Err("needs 14 bytes of its storage, which has 12".to_owned()));
    }

    #[test]
    fn transposed_and_expanded_views_are_copied_in_order() {
        let file: Vec<u8> = (0..22).collect();
        let copy = |start, sizes: &[usize], strides: &[usize]| match of(6, start, sizes, strides).unwrap() {
            Region::Strided(view) => {
                assert_eq!(view.bytes(), view.copy(&file).len());
                view.copy(&file)
            }
            Region::Contiguous(range) => panic!("{range:?}"),
        };
        assert_eq!(copy(0, &[3, 2], &[1, 3]), [10, 11, 16, 17, 12, 13, 18, 19, 14, 15, 20, 21]);
        assert_eq!(copy(1, &[2, 2], &[0, 2]), [12, 13, 16, 17, 12, 13, 16, 17]);
        assert_eq!(copy(5, &[3], &[0]), [20, 21, 20, 21, 20, 21]);
        // An expanded view of a huge size is described without memory for it.
        let Region::Strided(view) = of(6, 0, &[1 << 30, 1 << 30], &[0, 0]).unwrap() else { panic!("not a view") };
        assert_eq!(view.bytes(), 1 << 61);
    }

    proptest! {
        /// Against the definition: element (i, j, k) is at start + i·s0 + j·s1 + k·s2.
        #[test]
        fn elements_are_where_strides_say(
            sizes in prop::array::uniform3(1_usize..4),
            strides in prop::array::uniform3(0_usize..9),
            width in prop::sample::select(vec![1_usize, 2, 4, 8]),
        ) {
            let file: Vec<u8> = (0..8 * 60).map(|byte| (byte * 7 % 251) as u8).collect();
            let found = match region(8..file.len(), width, 3, &axes(&sizes, &strides)).unwrap() {
                Region::Contiguous(range) => file[range].to_vec(),
                Region::Strided(view) => view.copy(&file),
            };
            let mut expected = Vec::new();
            for i in 0..sizes[0] {
                for j in 0..sizes[1] {
                    for k in 0..sizes[2] {
                        let at = 8 + width * (3 + i * strides[0] + j * strides[1] + k * strides[2]);
                        expected.extend_from_slice(&file[at..at + width]);
                    }
                }
            }
            prop_assert_eq!(found, expected);
        }
    }
}
