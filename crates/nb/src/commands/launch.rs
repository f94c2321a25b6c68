//! Further processes of a run on this machine. The one that starts them is the first; they are started as this one was, with
//! the variables of a launcher.

use std::ffi::OsString;
use std::net::TcpListener;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nb_dist::World;

const HERE: &str = "127.0.0.1";
/// How long the others may take to end after the run has: they have nothing left to do.
const ENDING: Duration = Duration::from_secs(10);

/// The other processes of a run.
#[derive(Debug)]
pub(crate) struct Others(Vec<(usize, Child)>);

impl Others {
    /// Starts processes 1 to `size` − 1; returns them, and the place of this process among them.
    ///
    /// # Errors
    /// If one cannot be started.
    pub(crate) fn start(size: usize) -> Result<(World, Self)> {
        // Free now, and for the moment until process 0 listens there.
        let port =
            TcpListener::bind((HERE, 0)).and_then(|socket| socket.local_addr()).context("no port is free")?.port();
        let program = std::env::current_exe().context("cannot tell which program this is")?;
        let mut others = Self(Vec::new());
        for rank in 1..size {
            let mut command = Command::new(&program);
            command.args(arguments()).env("MASTER_ADDR", HERE);
            for (name, value) in [
                ("RANK", rank),
                ("LOCAL_RANK", rank),
                ("WORLD_SIZE", size),
                ("LOCAL_WORLD_SIZE", size),
                ("MASTER_PORT", usize::from(port)),
            ] {
                command.env(name, value.to_string());
            }
            let child = command.spawn().with_context(|| format!("cannot start process {rank}"))?;
            others.0.push((rank, child));
        }
        let host = HERE.to_owned();
        let first = World {
            rank: 0,
            size,
            local_rank: 0,
            local_size: size,
            host,
            port,
            launcher_hosts_store: false,
            attempt: 0,
        };
        Ok((first, others))
    }

    /// Passes others that live.
    ///
    /// # Errors
    /// If one has ended.
    pub(crate) fn all_live(&mut self) -> Result<(), String> {
        for (rank, child) in &mut self.0 {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!(
                    "process {rank}, which this one started, has ended before the run began ({status})"
                ));
            }
        }
        Ok(())
    }

    /// Waits for the others, whose work is done.
    ///
    /// # Errors
    /// If one has failed, or does not end.
    pub(crate) fn end(mut self) -> Result<()> {
        let since = Instant::now();
        for (rank, child) in &mut self.0 {
            let status = loop {
                match child.try_wait().with_context(|| format!("cannot wait for process {rank}"))? {
                    Some(status) => break status,
                    None if since.elapsed() < ENDING => std::thread::sleep(Duration::from_millis(10)),
                    None => bail!("the run has ended, but process {rank} does not"),
                }
            };
            // One that was interrupted as this one was is none that failed.
            if !status.success() && !matches!(status.code(), Some(130 | 143)) {
                bail!("the run has ended, but process {rank} with {status}");
            }
        }
        self.0.clear();
        Ok(())
    }
}

/// This process's arguments without `--processes`.
fn arguments() -> Vec<OsString> {
    const OPTION: &str = "--processes";
    let mut out = Vec::new();
    let mut all = std::env::args_os().skip(1);
    while let Some(argument) = all.next() {
        match argument.to_str() {
            Some(OPTION) => drop(all.next()),
            Some(text) if text.starts_with("--processes=") => {}
            _ => out.push(argument),
        }
    }
    out
}

impl Drop for Others {
    /// After a failure: the others learn of it by themselves, and one that does not is ended.
    fn drop(&mut self) {
        let since = Instant::now();
        for (_, child) in &mut self.0 {
            while since.elapsed() < ENDING && matches!(child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(10));
            }
            if matches!(child.try_wait(), Ok(None)) {
                let _ = child.kill(); // it may have ended just now
                let _ = child.wait();
            }
        }
    }
}
