//! The communication between the processes of a run. Within a step they exchange unit counts, gradients and losses. Before and
//! after it, the main process, which alone accesses the run folder, sends its results to the others.
//!
//! An update consists of micro-batches, and process r of P computes numbers r, r + P, r + 2P and so on. The split into
//! micro-batches, their random numbers and their divisors do not depend on P, so the sum over processes equals the sum that one
//! process accumulates, up to the order of addition.

mod gradients;

use anyhow::{Context, Result, bail};
use nb_dist::ProcessGroup;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tch::{Device, Kind, Tensor};

use super::context::MicroBatchOutput;
use super::terms::Counts;
use crate::optim::ParamGroup;
use crate::plan::Plan;
use crate::run_folder::checkpoint::Identity;
pub(crate) use gradients::GradientSums;

/// A process's vote on what to do after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vote {
    /// Stop the run, because a signal was received. One vote is enough.
    pub stop: bool,
    /// Save a checkpoint. The main process's vote decides, because it keeps the time.
    pub save: bool,
}

/// Checks that an update has a micro-batch for every process.
///
/// # Errors
/// If an update has fewer micro-batches than there are processes.
pub(crate) fn check_accumulation(plan: &Plan, processes: &ProcessGroup) -> Result<()> {
    let (size, accumulate) = (processes.size(), plan.train.accumulate);
    if accumulate < size {
        bail!(
            "train.accumulate is {accumulate}, expected at least one micro-batch for each of the {size} processes; \
             set train.accumulate={size} and divide train.batch by {size} to keep the number of rows per update"
        );
    }
    if !accumulate.is_multiple_of(size) && processes.is_main() {
        tracing::warn!(
            "train.accumulate is {accumulate}, not a multiple of {size}, the number of processes: some will wait for others"
        );
    }
    Ok(())
}

/// Checks that all processes have the same configuration and the same kind of device, and that no two share a GPU.
///
/// The configuration decides which collective operations follow, so this check comes first.
///
/// # Errors
/// If configurations differ, if some processes are on a GPU and some are not, or if two share a GPU.
pub(crate) fn check_plans(processes: &ProcessGroup, plan: &Plan) -> Result<()> {
    if processes.size() == 1 {
        return Ok(());
    }
    let configuration = Identity::new(&plan.resolved, &nb_report::record::Sources::default())?.text();
    let host = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    // A launcher may show each process only its own GPU, which is then number 0 in all of them.
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_default();
    let gpu = match plan.device {
        Device::Cuda(index) => index as i64,
        _ => -1,
    };
    let all = processes.all_gather(&[digest(&configuration), digest(&format!("{host}{visible}")), gpu])?;
    if let Some(rank) = all.iter().position(|numbers| numbers[0] != all[0][0]) {
        bail!("process {rank} has a different configuration than the main process, expected the same");
    }
    check_devices(&all)
}

/// Checks the devices of all processes, each given as \[configuration, host, GPU or −1\].
fn check_devices(all: &[Vec<i64>]) -> Result<()> {
    let device = |rank: usize| if all[rank][2] >= 0 { "a GPU" } else { "the CPU" };
    for rank in 1..all.len() {
        if device(rank) != device(0) {
            bail!(
                "process 0 is on {}, process {rank} on {}, expected the same kind of device for all",
                device(0),
                device(rank)
            );
        }
        let host_and_gpu = &all[rank][1..];
        if host_and_gpu[1] >= 0
            && let Some(other) = all[..rank].iter().position(|other| other[1..] == *host_and_gpu)
        {
            let gpu = host_and_gpu[1];
            bail!(
                "processes {other} and {rank} are both on cuda:{gpu} of the same machine, expected one GPU per process"
            );
        }
    }
    Ok(())
}

/// Checks that all processes have the same data, checkpoints and versions.
///
/// # Errors
/// If they differ.
pub(crate) fn check_sources(processes: &ProcessGroup, identity: &Identity) -> Result<()> {
    let all = processes.all_gather(&[digest(&identity.text())])?;
    if let Some(rank) = all.iter().position(|numbers| *numbers != all[0]) {
        bail!("process {rank} has different data, checkpoints or versions than process 0, expected the same");
    }
    Ok(())
}

/// A hash of a text.
fn digest(text: &str) -> i64 {
    let hash = blake3::hash(text.as_bytes());
    hash.as_bytes()[..8].iter().fold(0, |number, &byte| number << 8 | i64::from(byte))
}

/// Calls `find` in the main process and returns its result in all processes.
///
/// # Errors
/// If `find` fails, or if a process is lost.
pub(crate) fn broadcast_from_main<T: Serialize + DeserializeOwned>(
    processes: &ProcessGroup,
    find: impl FnOnce() -> Result<T>,
) -> Result<T> {
    if processes.size() == 1 {
        return find();
    }
    let mut bytes = Vec::new();
    if processes.is_main() {
        let _work = processes.busy();
        bytes = serde_json::to_vec(&find()?)?;
    }
    serde_json::from_slice(&processes.broadcast_bytes(bytes)?).context("cannot parse a message from the main process")
}

/// Does the same work in all processes. On each machine one process works first, and the others find its results in the cache.
///
/// # Errors
/// If the work fails, or if a process is lost.
pub(crate) fn local_main_first<T>(processes: &ProcessGroup, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let _work = processes.busy();
    if processes.is_local_main() {
        let done = work()?;
        processes.barrier()?;
        Ok(done)
    } else {
        processes.barrier()?;
        work()
    }
}

/// Combines the votes of all processes.
///
/// # Errors
/// If a process is lost.
pub(crate) fn decide(processes: &ProcessGroup, vote: Vote) -> Result<Vote> {
    if processes.size() == 1 {
        return Ok(vote);
    }
    let all = processes.all_gather(&[vote.stop.into(), vote.save.into()])?;
    Ok(Vote { stop: all.iter().any(|vote| vote[0] != 0), save: all[0][1] != 0 })
}

/// Adds up the units in the micro-batches of all processes.
///
/// # Errors
/// If a process is lost.
pub(crate) fn sum_counts(processes: &ProcessGroup, counts: Counts) -> Result<Counts> {
    if processes.size() == 1 {
        return Ok(counts);
    }
    let mut sum = Counts::default();
    for counts in processes.all_gather(&counts.to_array())? {
        let counts = counts.try_into().ok().context("cannot parse the unit counts of another process")?;
        sum = sum + Counts::from_array(counts);
    }
    Ok(sum)
}

/// Returns the table rows (ascending, each once) that any process looks up; `rows` are this process's.
///
/// # Errors
/// If a process is lost.
pub(crate) fn touched_rows(processes: &ProcessGroup, groups: &[ParamGroup], rows: Vec<u32>) -> Result<Vec<u32>> {
    let table_rows = groups.iter().filter_map(ParamGroup::table_rows).max().unwrap_or(0);
    if processes.size() == 1 || table_rows == 0 {
        return Ok(rows);
    }
    let mut marks = vec![0_u8; table_rows];
    for row in rows {
        if let Some(mark) = marks.get_mut(row as usize) {
            *mark = 1;
        }
    }
    let mut marks = Tensor::from_slice(&marks);
    processes.max(&mut [&mut marks])?;
    let marks = Vec::<u8>::try_from(marks)?;
    Ok((0..).zip(marks).filter(|(_, mark)| *mark != 0).map(|(row, _)| row).collect())
}

/// The sums over all micro-batches of all processes.
#[derive(Debug)]
pub(crate) struct ReducedOutputs {
    /// The terms, unweighted: \[terms\].
    pub terms: Tensor,
    /// The agreement of the models, if measured: \[2\].
    pub agreement: Option<Tensor>,
}

/// Adds up the outputs of all micro-batches of all processes; `terms` is the number of terms.
///
/// # Errors
/// If a process is lost.
pub(crate) fn reduce_outputs(
    processes: &ProcessGroup,
    outputs: &[MicroBatchOutput],
    terms: usize,
    device: Device,
) -> Result<ReducedOutputs> {
    let zeros = |n: usize| Tensor::zeros([n as i64], (Kind::Double, device));
    let sums = outputs.iter().fold(zeros(terms), |sum, output| sum + &output.terms);
    let measured: Vec<&Tensor> = outputs.iter().filter_map(|output| output.agreement.as_ref()).collect();
    if processes.size() == 1 {
        let all = !measured.is_empty() && measured.len() == outputs.len();
        return Ok(ReducedOutputs { terms: sums, agreement: all.then(|| measured.into_iter().sum()) });
    }
    // A process may have no micro-batch in the last update of an epoch, so a count shows whether any process measured.
    let count = Tensor::from_slice(&[measured.len() as f64]).to_device(device);
    let agreement = measured.into_iter().fold(zeros(2), |sum, one| sum + one);
    let mut all = Tensor::cat(&[sums, agreement, count], 0);
    processes.sum(&mut [&mut all])?;
    let parts = all.split_with_sizes([terms as i64, 2, 1], 0);
    let is_measured = parts[2].double_value(&[0]) > 0.0;
    Ok(ReducedOutputs { terms: parts[0].copy(), agreement: is_measured.then(|| parts[1].copy()) })
}

/// Copies the main process's parameters and moments to all processes.
///
/// # Errors
/// If a process is lost.
pub(crate) fn broadcast_state(processes: &ProcessGroup, groups: &[ParamGroup]) -> Result<()> {
    if processes.size() == 1 {
        return Ok(());
    }
    for (_, mut tensor) in groups.iter().flat_map(ParamGroup::state) {
        processes.broadcast(&mut tensor)?;
    }
    Ok(())
}

/// Makes sure that all processes have the same parameters, and returns true if they already did. They do if their processors
/// round alike; otherwise all processes take the main process's parameters.
///
/// # Errors
/// If a process is lost.
pub(crate) fn ensure_in_sync(processes: &ProcessGroup, groups: &[ParamGroup]) -> Result<bool> {
    if processes.size() == 1 {
        return Ok(true);
    }
    let digest = |tensor: &Tensor| tensor.detach().view_dtype(Kind::Int).sum(Kind::Int64).int64_value(&[]);
    let digests: Vec<i64> = groups.iter().flat_map(ParamGroup::state).map(|(_, tensor)| digest(&tensor)).collect();
    let all = processes.all_gather(&digests)?;
    let Some(rank) = all.iter().position(|digests| *digests != all[0]) else { return Ok(true) };
    if processes.is_main() {
        tracing::warn!(
            "the parameters of process {rank} differ from those of process 0; all processes now use those of process 0"
        );
    }
    broadcast_state(processes, groups)?;
    Ok(false)
}
