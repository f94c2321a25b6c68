//! The wait until all processes have started. Gloo connects every pair of processes and waits silently for missing
//! ones. The processes therefore announce themselves in the store first, so that the error after too long a wait can
//! name the missing ones.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::World;
use crate::shim::Store;

/// Time between two reads of the store.
const POLL: Duration = Duration::from_millis(50);
/// The key that process 0 sets when all processes have arrived.
const ALL: &str = "all are here";
/// The key under which process 0 writes the reason for giving up.
const END: &str = "not all are here";
/// The maximum number of missing processes that an error names.
const NAMED: usize = 8;

/// Waits until all processes have called it. `check` is called during the wait, and its error ends the wait.
pub(crate) fn meet(
    store: &Store,
    world: &World,
    timeout: Duration,
    check: &mut dyn FnMut() -> Result<(), String>,
) -> Result<(), String> {
    store.set(&key(world.rank), b"1")?;
    let mut missing: Vec<usize> = (0..world.size).collect();
    let since = Instant::now();
    loop {
        if world.rank == 0 {
            missing = still_missing(store, missing)?;
            if missing.is_empty() {
                return store.set(ALL, b"1");
            }
        } else if store.get(ALL)?.is_some() {
            return Ok(());
        } else if let Some(reason) = store.get(END)? {
            return Err(String::from_utf8_lossy(&reason).into_owned());
        }
        let waited = since.elapsed();
        if let Err(reason) = check().and_then(|()| check_timeout(world, &missing, waited, timeout)) {
            if world.rank == 0 {
                store.set(END, reason.as_bytes())?;
                std::thread::sleep(4 * POLL); // the store ends with this process; the others must read it first
            }
            return Err(reason);
        }
        std::thread::sleep(POLL);
    }
}

fn key(rank: usize) -> String {
    format!("here/{rank}")
}

/// Returns the `missing` processes that have still not announced themselves.
fn still_missing(store: &Store, missing: Vec<usize>) -> Result<Vec<usize>, String> {
    let mut still = Vec::new();
    for rank in missing {
        if store.get(&key(rank))?.is_none() {
            still.push(rank);
        }
    }
    Ok(still)
}

/// Fails once the wait has exceeded `timeout`. In process 0, the error names the missing processes.
fn check_timeout(world: &World, missing: &[usize], waited: Duration, timeout: Duration) -> Result<(), String> {
    if waited <= timeout {
        return Ok(());
    }
    let seconds = waited.as_secs();
    Err(match world.rank {
        0 => format!("{} after {seconds} s", absent(missing)),
        _ => format!("process 0 has not reported that all have arrived after {seconds} s"),
    })
}

/// Names the processes that have not arrived.
fn absent(missing: &[usize]) -> String {
    let (named, more) = missing.split_at(missing.len().min(NAMED));
    let mut text = if missing.len() == 1 { "process" } else { "processes" }.to_owned();
    for (i, rank) in named.iter().enumerate() {
        let _ = write!(text, "{} {rank}", if i == 0 { "" } else { "," }); // writing to a String cannot fail
    }
    if !more.is_empty() {
        let _ = write!(text, " and {} more", more.len());
    }
    text + if missing.len() == 1 { " has not arrived" } else { " have not arrived" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_only_some_of_many_missing_processes() {
        assert_eq!(absent(&[3]), "process 3 has not arrived");
        assert_eq!(absent(&[1, 2]), "processes 1, 2 have not arrived");
        assert_eq!(
            absent(&(1..1024).collect::<Vec<_>>()),
            "processes 1, 2, 3, 4, 5, 6, 7, 8 and 1015 more have not arrived"
        );
    }
}
