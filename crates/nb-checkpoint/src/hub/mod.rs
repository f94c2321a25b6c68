//! Downloads from the Hugging Face hub into the cache that its Python library uses.
//!
//! [`settings`] reads the environment, [`cache`] defines the cache's layout, [`client`] sends requests, [`verify`]
//! checks hashes, and [`download`](download::download) combines them.

mod cache;
mod client;
mod download;
mod settings;
#[cfg(test)]
mod tests;
mod verify;

pub(crate) use download::{cached, download};

/// Log filter directives, in the syntax of `tracing_subscriber::EnvFilter`, that limit the HTTP client to warnings. At
/// `trace`, the client logs requests byte by byte, including the hub's token. A program that logs adds these directives
/// to its filter.
pub const QUIET_CLIENT: [&str; 3] = ["ureq=warn", "ureq_proto=warn", "ureq_proto::util=warn"];
