//! A small interpreter of Python's pickles, protocols 2 to 5, that runs no code. It knows the containers, the numbers
//! and the calls of a state dict, and refuses every other class or function by name.
//!
//! Its memory is bounded by the length of the pickle and by [`machine::MAX_VALUES`]. Strings are slices of the file.

mod call;
mod cursor;
mod global;
mod machine;
mod value;

pub(super) use machine::{Pickle, load};
pub(super) use value::{Id, Storage, Tensor, Value, Values};
