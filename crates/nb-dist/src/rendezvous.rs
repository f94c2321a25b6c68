//! The time until all processes are there. Gloo connects each with each and waits for the missing without a word; so they call
//! out to each other in the store before, and who waits in vain can say for whom.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::shim::Store;

/// Between two looks into the store.
const LOOK: Duration = Duration::from_millis(50);
/// What process 0 writes when it has seen everybody.
const ALL: &str = "all are here";
/// Where process 0 writes why it gives up.
const END: &str = "not all are here";
/// Missing processes that an error names.
const NAMED: usize = 8;

/// Returns in every process when all have called it; `goes_on` is asked meanwhile, and its error ends the wait.
pub(crate) fn meet(
    store: &Store,
    (rank, size): (usize, usize),
    patience: Duration,
    goes_on: &mut dyn FnMut() -> Result<(), String>,
) -> Result<(), String> {
    let key = |rank: usize| format!("here/{rank}");
    store.set(&key(rank), b"1")?;
    let mut missing: Vec<usize> = (0..size).collect();
    let since = Instant::now();
    loop {
        if rank == 0 {
            let mut still = Vec::new();
            for rank in missing {
                if store.get(&key(rank))?.is_none() {
                    still.push(rank);
                }
            }
            missing = still;
            if missing.is_empty() {
                return store.set(ALL, b"1");
            }
        } else if store.get(ALL)?.is_some() {
            return Ok(());
        } else if let Some(why) = store.get(END)? {
            return Err(String::from_utf8_lossy(&why).into_owned());
        }
        let waited = since.elapsed();
        let end = goes_on().err().or_else(|| {
            let who =
                || if rank == 0 { absent(&missing) } else { "process 0 does not say that all are there".to_owned() };
            (waited > patience).then(|| format!("{} after {} s", who(), waited.as_secs()))
        });
        if let Some(end) = end {
            if rank == 0 {
                store.set(END, end.as_bytes())?;
                std::thread::sleep(4 * LOOK); // the store ends with this process; the others are to read it before
            }
            return Err(end);
        }
        std::thread::sleep(LOOK);
    }
}

/// Who has not come.
fn absent(missing: &[usize]) -> String {
    let (named, more) = missing.split_at(missing.len().min(NAMED));
    let mut text = if missing.len() == 1 { "process" } else { "processes" }.to_owned();
    for (i, rank) in named.iter().enumerate() {
        let _ = write!(text, "{} {rank}", if i == 0 { "" } else { "," }); // a String takes everything
    }
    if !more.is_empty() {
        let _ = write!(text, " and {} more", more.len());
    }
    text + if missing.len() == 1 { " has not come" } else { " have not come" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_missing_is_named_but_not_a_thousand() {
        assert_eq!(absent(&[3]), "process 3 has not come");
        assert_eq!(absent(&[1, 2]), "processes 1, 2 have not come");
        assert_eq!(
            absent(&(1..1024).collect::<Vec<_>>()),
            "processes 1, 2, 3, 4, 5, 6, 7, 8 and 1015 more have not come"
        );
    }
}
