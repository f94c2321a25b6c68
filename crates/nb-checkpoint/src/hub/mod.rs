//! Downloads from the Hugging Face hub into the cache that its Python library uses.
//!
//! [`settings`] reads the environment, [`cache`] knows the cache's layout, [`client`] sends requests, [`verify`] checks
//! hashes, and [`download`](download::download) puts them together.

mod cache;
mod client;
mod download;
mod settings;
mod verify;

pub(crate) use download::{cached, download};
