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

/// Directives of a log filter (as `tracing_subscriber::EnvFilter` parses them) that limit the HTTP client to warnings. At `trace` the
/// client logs requests byte by byte, with the hub's token among them. A program that logs adds them to its filter.
pub const QUIET_CLIENT: [&str; 3] = ["ureq=warn", "ureq_proto=warn", "ureq_proto::util=warn"];
