//! The processor: its name, its instructions for matrix products, and how many processors this process may use.
//!
//! | item | answers |
//! | --- | --- |
//! | [`name`] | which processor is it? |
//! | [`Processors`] | how many threads can compute at the same time? |
//! | [`Products`] | which kernels multiply matrices? |
//! | [`has_avx2`], [`has_avx512f`], [`has_avx512bf16`], [`has_avx512vnni`], [`has_avxvnni`], [`has_amx_bf16`] | does it have these instructions? |

mod instructions;
mod processors;

pub use instructions::{Products, has_amx_bf16, has_avx2, has_avx512bf16, has_avx512f, has_avx512vnni, has_avxvnni};
pub use processors::Processors;

/// Returns the processor's name, or its architecture if the system does not report the name.
///
/// ```
/// assert!(!nb_cpu::name().is_empty());
/// ```
pub fn name() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    model_name(&cpuinfo).unwrap_or(std::env::consts::ARCH).to_owned()
}

/// Returns the processor's name in the text of Linux's `/proc/cpuinfo`.
fn model_name(cpuinfo: &str) -> Option<&str> {
    let (_, name) = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'))?;
    Some(name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_name_is_read_from_proc_cpuinfo() {
        assert_eq!(model_name("processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz\n"), Some("Some CPU @ 2.0GHz"));
        assert_eq!(model_name(""), None);
    }
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
