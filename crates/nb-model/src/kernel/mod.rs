//! The operations that the encoder is made of, each with its forward and its backward.
//!
//! Where a fused kernel of this crate runs on the CPU, the same file holds the plain libtorch form, which other devices
//! use and which the kernel is tested against.

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod dropout;
pub(crate) mod linear;
pub(crate) mod norm;
