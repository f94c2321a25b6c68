//! The activations of the feed-forward layer.

/// An activation function, applied entry by entry.
///
/// ```
/// use nb_kernels::Activation;
/// let mut x = [-1.0, 0.0, 2.0];
/// Activation::Relu.apply(&mut x);
/// assert_eq!(x, [0.0, 0.0, 2.0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x·Φ(x), with the error function.
    Gelu,
    /// The tanh approximation of GELU, x·σ(2·√(2/π)·(x + 0.044715·x³)).
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// x·σ(x).
    Silu,
}
