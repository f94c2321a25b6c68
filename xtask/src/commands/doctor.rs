//! `cargo xtask doctor`: checks this machine for everything that is needed, without changing it.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use nb_cpu::{Processors, Products};

use crate::commands::{data, setup};
use crate::install::{self, Python};
use crate::libtorch::{self, Found, Libtorch, Set, Source};
use crate::{compiler, progress, project, teacher};

/// Exits with 1 if something is missing that set-up cannot install.
pub(crate) fn run() -> Result<ExitCode> {
    let lines = [
        system(),
        processor(),
        rust(),
        cpp(),
        make(),
        python(),
        libtorch(),
        processes(),
        gpu(),
        cache(),
        quickstart_teacher(),
        sample_corpus(),
    ];
    for Line { state, name, text } in &lines {
        println!("{} {name:<14} {text}", state.sign());
    }
    let missing = lines.iter().filter(|line| line.state == State::Missing).count();
    if missing > 0 {
        println!("\n{missing} missing: install the items marked NO, then run this command again");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

struct Line {
    state: State,
    name: &'static str,
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is present.
    Ready,
    /// It is missing, and set-up or the first training installs it.
    Later,
    /// It is missing, and the user must install it.
    Missing,
}

impl State {
    fn sign(self) -> &'static str {
        match self {
            Self::Ready => "ok ",
            Self::Later => "-  ",
            Self::Missing => "NO ",
        }
    }
}

impl Line {
    fn new(state: State, name: &'static str, text: impl Into<String>) -> Self {
        Self { state, name, text: text.into() }
    }

    fn required<T>(name: &'static str, found: Result<T>, show: impl FnOnce(T) -> String) -> Self {
        match found {
            Ok(value) => Self::new(State::Ready, name, show(value)),
            Err(error) => Self::new(State::Missing, name, format!("{error:#}")),
        }
    }
}

fn system() -> Line {
    let processors = Processors::detect();
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_memory(&text));
    let memory = memory.map_or_else(|| "?".to_owned(), progress::size);
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    Line::new(State::Ready, "system", format!("{os} on {arch}, {processors}, {memory} of memory"))
}

/// The processor, and the instructions of the kernels that multiply matrices on it.
fn processor() -> Line {
    let products = format!("products in f32 by {}, in bf16 by {}", Products::of_f32(), Products::of_bf16());
    Line::new(State::Ready, "processor", format!("{}: {products}", nb_cpu::name()))
}

/// Returns the machine's memory in bytes, from `/proc/meminfo`.
fn total_memory(meminfo: &str) -> Option<u64> {
    let kilobytes = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.trim().strip_suffix("kB")?;
    Some(kilobytes.trim().parse::<u64>().ok()? * 1024)
}

fn rust() -> Line {
    let version = project::cargo().arg("--version").output().context("cannot start cargo");
    Line::required("rust", version, |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn cpp() -> Line {
    Line::required("C++ compiler", compiler::find(), |compiler| compiler.path.display().to_string())
}

fn make() -> Line {
    Line::required("make", compiler::find_make(), |make| make.display().to_string())
}

fn python() -> Line {
    match Python::find() {
        Ok(python) => Line::new(State::Ready, "Python and pip", python.to_string()),
        // Only the installation of libtorch needs it.
        Err(error) if matches!(libtorch::find(None), Ok(Found::Ready(_))) => {
            Line::new(State::Later, "Python and pip", format!("{error:#}; not needed, libtorch is installed"))
        }
        Err(error) => Line::new(State::Missing, "Python and pip", format!("{error:#}")),
    }
}

fn libtorch() -> Line {
    match libtorch::find(None) {
        Ok(Found::Ready(libtorch)) => Line::new(State::Ready, "libtorch", describe(&libtorch)),
        Ok(Found::Missing(set)) => {
            let text = format!("not installed; `cargo xtask setup` installs {} for {set}", libtorch::VERSION);
            Line::new(State::Later, "libtorch", text)
        }
        Err(error) => Line::new(State::Missing, "libtorch", format!("{error:#}")),
    }
}

fn describe(libtorch: &Libtorch) -> String {
    let source = match libtorch.source {
        Source::Environment => "from LIBTORCH",
        Source::Remembered => "in use",
        Source::Cache(_) => "in the cache, not in use yet",
    };
    let set = if libtorch::has_cuda(&libtorch.root) { "with CUDA" } else { "for the CPU" };
    format!("{} {set}, {source}: {}", libtorch::VERSION, libtorch.root.display())
}

/// Gloo's headers, which training on several processes needs.
fn processes() -> Line {
    match libtorch::gloo::found(setup::gloo_headers()) {
        Some(folder) => Line::new(State::Ready, "processes", format!("Gloo's headers in {}", folder.display())),
        None => Line::new(State::Later, "processes", "Gloo's headers not found; `cargo xtask setup` downloads them"),
    }
}

fn gpu() -> Line {
    let Some(driver) = libtorch::nvidia_driver() else {
        return Line::new(State::Later, "GPU", "no NVIDIA driver found; training runs on the CPU");
    };
    let names = Command::new("nvidia-smi").args(["--query-gpu=name,memory.total", "--format=csv,noheader"]).output();
    let names = names.ok().filter(|output| output.status.success());
    let gpus = names.map_or_else(
        || format!("NVIDIA driver ({})", driver.display()),
        |output| String::from_utf8_lossy(&output.stdout).trim().replace('\n', "; "),
    );
    let lacks_cuda = matches!(libtorch::find(None), Ok(Found::Ready(libtorch)) if !libtorch::has_cuda(&libtorch.root));
    let hint = if lacks_cuda { "; libtorch has no CUDA: run `cargo xtask setup --device cuda`" } else { "" };
    Line::new(State::Ready, "GPU", format!("{gpus}{hint}"))
}

fn cache() -> Line {
    let free = project::cache().and_then(|cache| {
        // The folder itself may not exist yet.
        let existing = cache.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/")).to_owned();
        Ok((cache, install::free_bytes(&existing)?))
    });
    Line::required("cache", free, |(cache, free)| {
        let sets = [Set::Cpu, Set::Cuda].into_iter();
        let installed: Vec<_> = sets
            .filter(|set| set.folder().is_ok_and(|folder| install::is_installed(&folder)))
            .map(|set| set.to_string())
            .collect();
        let installed = if installed.is_empty() {
            "no libtorch".to_owned()
        } else {
            format!("libtorch for {}", installed.join(", "))
        };
        format!("{}: {installed}; {} free", cache.display(), progress::size(free))
    })
}

fn quickstart_teacher() -> Line {
    match teacher::locate() {
        Ok(Some(folder)) => Line::new(State::Ready, "teacher", format!("{}: {}", teacher::NAME, folder.display())),
        Ok(None) => Line::new(State::Later, "teacher", format!("the first quickstart downloads {}", teacher::NAME)),
        Err(error) => Line::new(State::Missing, "teacher", format!("{error:#}")),
    }
}

fn sample_corpus() -> Line {
    let folder = project::root().join(data::SAMPLE);
    match folder.is_dir() {
        true => Line::new(State::Ready, "sample corpus", folder.display().to_string()),
        false => Line::new(State::Later, "sample corpus", "the first quickstart writes it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(total_memory("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16_777_216));
        assert_eq!(total_memory("nothing"), None);
    }
}
