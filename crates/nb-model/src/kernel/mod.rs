//! The operations of the encoder on tensors, each with its forward and its backward pass.
//!
//! On the CPU they call the kernels of `nb-kernels` on the tensors' memory. The same file (for products: [`linear`]) holds the
//! plain form in libtorch's operations. Other devices use it, and the tests compare the kernels with it.

mod accumulate;
pub(crate) mod activation;
pub mod attention;
pub(crate) mod dropout;
mod gemm;
pub(crate) mod grads;
pub(crate) mod layer_norm;
pub mod linear;
mod onednn;
mod pieces;

/// Minimum number of rows for which packing the weights before a product pays off.
const FEWEST_ROWS: i64 = 48;
