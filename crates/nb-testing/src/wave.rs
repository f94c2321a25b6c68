//! Numbers that are the same in every test and on every machine.

/// The numbers sin(0.7 i + `shift`) for i = 0, 1, …, `count` − 1: irregular, between −1 and 1, and free of any random generator.
/// Another `shift` gives other numbers.
///
/// ```
/// let x = nb_testing::wave(3, 0.5);
/// assert_eq!(x[0], 0.5_f32.sin());
/// assert_eq!(x.len(), 3);
/// ```
pub fn wave(count: usize, shift: f32) -> Vec<f32> {
    (0..count).map(|i| (0.7 * i as f32 + shift).sin()).collect()
}

/// A tensor of the shape `size` on `device` in f32 whose i-th entry, row by row, is sin(0.7 i + `shift`): the numbers
/// of [`wave`] up to rounding.
#[cfg(feature = "tch")]
pub fn tensor_wave(size: &[i64], shift: f64, device: tch::Device) -> tch::Tensor {
    let count = size.iter().product::<i64>();
    (tch::Tensor::arange(count, (tch::Kind::Float, device)) * 0.7 + shift).sin().view(size)
}
