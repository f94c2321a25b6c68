//! CPU kernels of a BERT, forward and backward, on plain slices of f32 and bf16.
//!
//! | module | operation |
//! | --- | --- |
//! | [`gemm`] | dense layers: products with weights, with bias, activation and gradients in the same pass |
//! | [`attention`] | multi-head self-attention over sequences of any length, without padding |
//! | [`layer_norm`] | LayerNorm of a sum, together with dropout |
//! | [`dropout`] | dropout as a pure function of a key |
//! | [`pooling`] | attentive pooling: from the rows of a sequence to one vector |
//! | [`accumulate`] | bf16 results added to f32 sums |
//! | [`Activation`] | GELU, ReLU and SiLU |
//! | [`dot`](dot()) | the dot product of two vectors, the same wherever they are |
//! | [`threads`] | the threads that all kernels run on |
//!
//! Matrices are slices in row-major order. All sums are f32, even if the numbers are bf16. A result does not depend on the
//! number of threads: work is split into pieces of fixed sizes, and every sum has one order.
//!
//! The kernels run on the best vector instructions of the processor, which are detected at run time; no compiler flag is
//! needed. The crate reads no files and does not depend on libtorch. `nb-model` calls these kernels on the memory of tensors.
//!
//! # Unsafe code
//!
//! `unsafe` is confined to twelve files, each of which states why it is safe: `threads/pool.rs` lends a closure to other threads;
//! `simd/memory.rs`, six files in `gemm/` and four in `gemm/int8/` use instructions that not every processor has.

pub mod accumulate;
mod activation;
pub mod attention;
mod dot;
pub mod dropout;
mod float;
pub mod gemm;
pub mod layer_norm;
pub mod pooling;
mod simd;
mod softmax;
pub mod threads;

pub use activation::Activation;
pub use dot::dot;
pub use float::Float;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
