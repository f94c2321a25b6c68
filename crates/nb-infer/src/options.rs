//! The options of a model.

/// The options of a model.
///
/// ```
/// use nb_infer::{Options, Precision};
/// let options = Options { precision: Precision::Int8, ..Options::default() };
/// assert_eq!((options.threads, options.max_tokens), (None, None));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// The number format of weights and matrix products.
    pub precision: Precision,
    /// The number of threads that compute, 1 to [`Options::MAX_THREADS`]. It belongs to the process, not to the model: all models share
    /// one pool, and opening a model sets it for all of them. `None` leaves it as it is: by default, the number of processors that the
    /// process may use. Many texts are tokenised by the threads of rayon's global pool, unless the number is 1.
    pub threads: Option<usize>,
    /// The longest sequence in tokens, to which texts are truncated. `None`: as the model was trained.
    pub max_tokens: Option<usize>,
}

impl Options {
    /// The largest number of threads.
    pub const MAX_THREADS: usize = 1024;
}

/// The number format of weights and matrix products.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Precision {
    /// 8-bit integers if the folder has them, else 32-bit floats.
    #[default]
    AsSaved,
    /// 32-bit floats.
    F32,
    /// bfloat16 numbers, added up in f32.
    Bf16,
    /// 8-bit integers with scales. See [`nb_kernels::gemm::Int8Linear`].
    Int8,
}
