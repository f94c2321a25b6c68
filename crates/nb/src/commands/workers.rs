//! The other processes of a run on this machine. The main process starts them with its own arguments and with the variables
//! of a launcher.

use std::ffi::OsString;
use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nb_dist::World;

const HOST: &str = "127.0.0.1";
/// Time limit for the workers to end after the run, when they have no work left.
const GRACE: Duration = Duration::from_secs(10);
/// Interval between checks whether a worker has ended.
const PAUSE: Duration = Duration::from_millis(10);

/// The processes of a run other than the main one.
#[derive(Debug)]
pub(crate) struct Workers {
    /// Number of all processes, the main one included.
    size: usize,
    /// The port on which the main process listens.
    port: u16,
    running: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    rank: usize,
    process: Child,
}

impl Workers {
    /// Starts processes 1 to `size` − 1.
    ///
    /// # Errors
    /// If one cannot be started.
    pub(crate) fn start(size: usize) -> Result<Self> {
        // The port is free now; the main process will listen on it soon.
        let port = TcpListener::bind((HOST, 0))
            .and_then(|socket| socket.local_addr())
            .context("cannot find a free port")?
            .port();
        let program = std::env::current_exe().context("cannot find the path of this program")?;
        let mut workers = Self { size, port, running: Vec::new() };
        for rank in 1..size {
            let mut command = Command::new(&program);
            command.args(arguments()).env("MASTER_ADDR", HOST);
            for (name, value) in [
                ("RANK", rank),
                ("LOCAL_RANK", rank),
                ("WORLD_SIZE", size),
                ("LOCAL_WORLD_SIZE", size),
                ("MASTER_PORT", usize::from(port)),
            ] {
                command.env(name, value.to_string());
            }
            let process = command.spawn().with_context(|| format!("cannot start process {rank}"))?;
            workers.running.push(Worker { rank, process });
        }
        Ok(workers)
    }

    /// Returns the place of the main process, which starts the workers.
    pub(crate) fn main_process(&self) -> World {
        World {
            rank: 0,
            size: self.size,
            local_rank: 0,
            local_size: self.size,
            host: HOST.to_owned(),
            port: self.port,
            launcher_hosts_store: false,
            attempt: 0,
        }
    }

    /// Checks that all workers are running.
    ///
    /// # Errors
    /// If one has ended.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        for Worker { rank, process } in &mut self.running {
            if let Ok(Some(status)) = process.try_wait() {
                return Err(format!("process {rank} exited before the run started ({status})"));
            }
        }
        Ok(())
    }

    /// Waits for the workers after the run.
    ///
    /// # Errors
    /// If one has failed, or does not end.
    pub(crate) fn wait(mut self) -> Result<()> {
        let since = Instant::now();
        for worker in &mut self.running {
            let rank = worker.rank;
            let status = worker.wait(since).with_context(|| format!("cannot wait for process {rank}"))?;
            match status {
                None => bail!("the run has ended, but process {rank} is still running"),
                // A worker that was interrupted like this process has not failed.
                Some(status) if !status.success() && !matches!(status.code(), Some(130 | 143)) => {
                    bail!("the run has ended, but process {rank} failed with {status}")
                }
                Some(_) => {}
            }
        }
        self.running.clear();
        Ok(())
    }
}

impl Worker {
    /// Waits for the worker until the grace period that began at `since` is over; returns `None` if it is still running then.
    fn wait(&mut self, since: Instant) -> std::io::Result<Option<ExitStatus>> {
        loop {
            match self.process.try_wait()? {
                None if since.elapsed() < GRACE => std::thread::sleep(PAUSE),
                status => return Ok(status),
            }
        }
    }
}

impl Drop for Workers {
    /// Waits for the workers after a failure. They notice it by themselves; those that do not are killed.
    fn drop(&mut self) {
        let since = Instant::now();
        for worker in &mut self.running {
            if matches!(worker.wait(since), Ok(None)) {
                let _ = worker.process.kill(); // it may have ended just now
                let _ = worker.process.wait();
            }
        }
    }
}

/// Returns the arguments of this process without `--processes`.
fn arguments() -> Vec<OsString> {
    const OPTION: &str = "--processes";
    let mut arguments = Vec::new();
    let mut given = std::env::args_os().skip(1);
    while let Some(argument) = given.next() {
        match argument.to_str() {
            Some(OPTION) => drop(given.next()),
            Some(text) if text.starts_with("--processes=") => {}
            _ => arguments.push(argument),
        }
    }
    arguments
}
