//! What the processes of a run tell each other: in a step the units and words of all and the gradients; before it and
//! after it what the first process finds, since that alone looks at the run folder.
//!
//! An update consists of micro-batches, and process r of P computes numbers r, r + P, r + 2P, …: the cut into micro-batches,
//! their random numbers and what each divides by do not depend on P. So the sum over processes is the sum that one process
//! accumulates, in another order.

mod sums;

use anyhow::{Context, Result, bail};
use nb_dist::ProcessGroup;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tch::{Device, Kind, Tensor};

use crate::optim::ParamGroup;
use crate::plan::Plan;
use crate::run_folder::checkpoint::Identity;
use crate::step::MicroBatchOutput;
use crate::step::terms::Counts;
pub(crate) use sums::GradientSums;

/// What a process would like to happen after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vote {
    /// The run is to stop: a signal came. Of any process.
    pub stops: bool,
    /// A checkpoint is due. Of the first process, which has the clock.
    pub saves: bool,
}

/// Passes a plan that gives every process something to do.
///
/// # Errors
/// If an update has fewer micro-batches than there are processes.
pub(crate) fn check(plan: &Plan, processes: &ProcessGroup) -> Result<()> {
    let (size, accumulate) = (processes.size(), plan.train.accumulate);
    if accumulate < size {
        bail!(
            "train.accumulate is {accumulate}, expected at least one micro-batch for each of the {size} processes; \
             --set train.accumulate={size} with train.batch divided by {size} keeps the rows of an update"
        );
    }
    if !accumulate.is_multiple_of(size) && processes.is_first() {
        tracing::warn!(
            "train.accumulate is {accumulate}, no multiple of the {size} processes: some wait for the others"
        );
    }
    Ok(())
}

/// Passes processes of one configuration, each on a device of its own. What they do next depends on the configuration, so this
/// comes first.
///
/// # Errors
/// If another process has another configuration, if some are on a GPU and some are not, or if two share a GPU.
pub(crate) fn check_plans(processes: &ProcessGroup, plan: &Plan) -> Result<()> {
    if processes.size() == 1 {
        return Ok(());
    }
    let configuration = Identity::new(&plan.resolved, &serde_json::Map::new())?.text();
    let host = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    // Of GPUs that a launcher has shut off from each other, each is number 0.
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_default();
    let gpu = match plan.device {
        Device::Cuda(index) => index as i64,
        _ => -1,
    };
    let all = processes.gather(&[number(&configuration), number(&format!("{host}{visible}")), gpu])?;
    if let Some(rank) = all.iter().position(|numbers| numbers[0] != all[0][0]) {
        bail!("process {rank} has another configuration than process 0, expected the same");
    }
    let is_on_gpu = |numbers: &Vec<i64>| numbers[2] >= 0;
    if let Some(rank) = all.iter().position(|numbers| is_on_gpu(numbers) != is_on_gpu(&all[0])) {
        let where_is = |rank: usize| if is_on_gpu(&all[rank]) { "a GPU" } else { "the CPU" };
        bail!(
            "process 0 is on {}, process {rank} on {}, expected one kind of device for all",
            where_is(0),
            where_is(rank)
        );
    }
    for (rank, own) in all.iter().enumerate().filter(|(_, own)| is_on_gpu(own)) {
        if let Some(other) = all[..rank].iter().position(|other| other[1..] == own[1..]) {
            bail!("processes {other} and {rank} are both on cuda:{} of one machine, expected a GPU for each", own[2]);
        }
    }
    Ok(())
}

/// Passes processes that have the same data, checkpoints and versions.
///
/// # Errors
/// If another process has others.
pub(crate) fn check_sources(processes: &ProcessGroup, identity: &Identity) -> Result<()> {
    let all = processes.gather(&[number(&identity.text())])?;
    if let Some(rank) = all.iter().position(|numbers| *numbers != all[0]) {
        bail!("process {rank} has other data, other checkpoints or another version than process 0, expected the same");
    }
    Ok(())
}

/// Equal for equal texts, and hardly ever for others.
fn number(text: &str) -> i64 {
    let hash = blake3::hash(text.as_bytes());
    hash.as_bytes()[..8].iter().fold(0, |number, &byte| number << 8 | i64::from(byte))
}

/// What the first process finds out, in all of them: it alone looks.
///
/// # Errors
/// What it returns, and if a process is lost.
pub(crate) fn broadcast_from_main<T: Serialize + DeserializeOwned>(
    processes: &ProcessGroup,
    find: impl FnOnce() -> Result<T>,
) -> Result<T> {
    if processes.size() == 1 {
        return find();
    }
    let mut bytes = Vec::new();
    if processes.is_first() {
        let _work = processes.at_work();
        bytes = serde_json::to_vec(&find()?)?;
    }
    serde_json::from_slice(&processes.broadcast_bytes(bytes)?).context("what the first process found")
}

/// The same work in all processes, on each machine by one of them before the others: what it leaves in a cache they find.
///
/// # Errors
/// What the work returns, and if a process is lost.
pub(crate) fn local_main_first<T>(processes: &ProcessGroup, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let _work = processes.at_work();
    if processes.is_first_here() {
        let done = work()?;
        processes.meet()?;
        Ok(done)
    } else {
        processes.meet()?;
        work()
    }
}

/// What is to happen now, after the wishes of all.
///
/// # Errors
/// If a process is lost.
pub(crate) fn agree(processes: &ProcessGroup, own: Vote) -> Result<Vote> {
    if processes.size() == 1 {
        return Ok(own);
    }
    let all = processes.gather(&[own.stops.into(), own.saves.into()])?;
    Ok(Vote { stops: all.iter().any(|wishes| wishes[0] != 0), saves: all[0][1] != 0 })
}

/// Units in the micro-batches of all processes.
pub(crate) fn counts(processes: &ProcessGroup, own: Counts) -> Result<Counts> {
    if processes.size() == 1 {
        return Ok(own);
    }
    let Counts { tokens, pairs, pooled, rows, labelled } = own;
    let all = processes.gather(&[tokens, pairs, pooled, rows, labelled])?;
    let one = |n: &Vec<i64>| Counts { tokens: n[0], pairs: n[1], pooled: n[2], rows: n[3], labelled: n[4] };
    Ok(all.iter().map(one).fold(Counts::default(), std::ops::Add::add))
}

/// The rows of tables (ascending, each once) that any process looks up, which looks up `own`.
pub(crate) fn touched_rows(processes: &ProcessGroup, groups: &[ParamGroup], own: Vec<u32>) -> Result<Vec<u32>> {
    let rows = groups.iter().filter_map(ParamGroup::table_rows).max().unwrap_or(0);
    if processes.size() == 1 || rows == 0 {
        return Ok(own);
    }
    let mut marks = vec![0_u8; rows];
    for row in own {
        if let Some(mark) = marks.get_mut(row as usize) {
            *mark = 1;
        }
    }
    let mut marks = Tensor::from_slice(&marks);
    processes.max(&mut [&mut marks])?;
    let marks = Vec::<u8>::try_from(marks)?;
    Ok((0..).zip(marks).filter(|(_, mark)| *mark != 0).map(|(row, _)| row).collect())
}

/// The terms of all micro-batches of all processes added up, [terms], and so how far the models agree, where that was watched.
pub(crate) fn reduce_outputs(
    processes: &ProcessGroup,
    reduce_outputs: &[MicroBatchOutput],
    (terms, device): (usize, Device),
) -> Result<(Tensor, Option<Tensor>)> {
    let zeros = |n: usize| Tensor::zeros([n as i64], (Kind::Double, device));
    let values = reduce_outputs.iter().fold(zeros(terms), |sum, micro| sum + &micro.terms);
    let watched: Vec<&Tensor> = reduce_outputs.iter().filter_map(|micro| micro.agreement.as_ref()).collect();
    if processes.size() == 1 {
        let all = !watched.is_empty() && watched.len() == reduce_outputs.len();
        return Ok((values, all.then(|| watched.into_iter().sum())));
    }
    // A process may have no micro-batch of the last update of an epoch: a mark tells whether anybody has watched.
    let seen = Tensor::from_slice(&[watched.len() as f64]).to_device(device);
    let agreement = watched.into_iter().fold(zeros(2), |sum, one| sum + one);
    let mut all = Tensor::cat(&[values, agreement, seen], 0);
    processes.sum(&mut [&mut all])?;
    let parts = all.split_with_sizes([terms as i64, 2, 1], 0);
    let is_watched = parts[2].double_value(&[0]) > 0.0;
    Ok((parts[0].copy(), is_watched.then(|| parts[1].copy())))
}

/// Gives all processes the first one's parameters and moments.
pub(crate) fn broadcast_state(processes: &ProcessGroup, groups: &[ParamGroup]) -> Result<()> {
    if processes.size() == 1 {
        return Ok(());
    }
    for (_, mut tensor) in groups.iter().flat_map(ParamGroup::state) {
        processes.broadcast(&mut tensor)?;
    }
    Ok(())
}

/// Makes sure that all processes hold the same parameters. They do as long as their processors compute alike; where they do
/// not, what the first process has counts.
pub(crate) fn ensure_in_sync(processes: &ProcessGroup, groups: &[ParamGroup]) -> Result<bool> {
    if processes.size() == 1 {
        return Ok(true);
    }
    let digest = |tensor: &Tensor| tensor.detach().view_dtype(Kind::Int).sum(Kind::Int64).int64_value(&[]);
    let own: Vec<i64> = groups.iter().flat_map(ParamGroup::state).map(|(_, tensor)| digest(&tensor)).collect();
    let all = processes.gather(&own)?;
    let Some(rank) = all.iter().position(|digests| *digests != all[0]) else { return Ok(true) };
    if processes.is_first() {
        tracing::warn!("the parameters of process {rank} are not those of process 0: all take over the latter's");
    }
    broadcast_state(processes, groups)?;
    Ok(false)
}
