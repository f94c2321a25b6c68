//! A group of processes that train together.

mod exchange;

use std::cell::{Cell, OnceCell};
use std::mem::ManuallyDrop;
use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use exchange::Begun;
use tch::{Device, Kind, Tensor};

use crate::peers::Peers;
use crate::rendezvous;
use crate::shim::{Backend, Keeper, Reduce, Store, StoreAt};
use crate::{Error, World};

/// For finding each other at the start: the others may still be loading, or waiting for their machine.
const RENDEZVOUS: Duration = Duration::from_secs(300);
/// For connecting each with each when all are there.
const CONNECTING: Duration = Duration::from_secs(60);
/// The backends' own limit for an exchange. Whether somebody is still to come is [`Peers`]' to say, so this one is out of the way.
const UNLIMITED: Duration = Duration::from_secs(30 * 24 * 3600);
/// Names the network interface by which the others reach this process, where the usual one is not it; as in PyTorch.
const INTERFACE: &str = "GLOO_SOCKET_IFNAME";

/// Processes that train together, or this one alone. Exchanges are collective: all processes make the same ones in the same
/// order, and each ends when all have come. A process is in one group at a time: libtorch's record of exchanges, which is one per
/// process, takes no two at once.
#[derive(Debug)]
pub struct ProcessGroup(Option<Joined>);

#[derive(Debug)]
struct Joined {
    world: World,
    store: Store,
    /// Not dropped where an exchange has failed: a thread of Gloo's may still wait in it, and to drop is to wait for that.
    gloo: ManuallyDrop<Backend>,
    /// For tensors on a GPU, from the first of them on; none where this build or machine has no NCCL.
    nccl: OnceCell<ManuallyDrop<Option<Backend>>>,
    peers: Peers,
    /// Sums that were begun and are not finished.
    open: Cell<usize>,
}

/// A sum over the processes under way ([`ProcessGroup::begin_sum`]).
#[derive(Debug)]
#[must_use = "the sum is there when it is finished"]
pub struct Sum(Option<Begun>);

/// Work of one process that takes its time, while the others wait: as long as this lives, they do so without complaint.
#[derive(Debug)]
#[must_use = "the others wait patiently only as long as it lives"]
pub struct AtWork<'a>(Option<&'a Peers>);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        if let Some(peers) = self.0 {
            peers.set_at_work(false);
        }
    }
}

impl ProcessGroup {
    /// A group of one: every exchange returns at once and changes nothing.
    pub fn alone() -> Self {
        Self(None)
    }

    /// Joins the other processes of `world`; a world of one is [`ProcessGroup::alone`].
    ///
    /// # Errors
    /// If this build has no process groups ([`Error::Unavailable`]), or if the others do not come within five minutes: process
    /// 0 names those that have not.
    pub fn join(world: World) -> Result<Self, Error> {
        Self::join_while(world, || Ok(()))
    }

    /// As [`ProcessGroup::join`], of a process that knows more of the others, since it has started them: `goes_on` is asked
    /// while it waits for them to come, and an error of its ends the wait.
    ///
    /// # Errors
    /// Those of [`ProcessGroup::join`], and what `goes_on` returns.
    pub fn join_while(world: World, mut goes_on: impl FnMut() -> Result<(), String>) -> Result<Self, Error> {
        if world.size == 1 {
            return Ok(Self::alone());
        }
        if !Store::IS_THERE {
            return Err(Error::Unavailable);
        }
        let failed = |cause: String| Error::Rendezvous {
            rank: world.rank,
            size: world.size,
            address: format!("{}:{}", world.host, world.port),
            cause,
        };
        let prefix = format!("newsbert/{}", world.attempt);
        let store = |keeper| {
            let at = StoreAt { host: &world.host, port: world.port, keeper, prefix: &prefix };
            Store::open(&at, RENDEZVOUS).map_err(failed)
        };
        // What can fail in one process alone comes before the others count on it.
        let address = address_towards(&world).map_err(|e| failed(e.to_string()))?;
        let is_named = std::env::var_os(INTERFACE).is_some_and(|name| !name.is_empty());
        if address.is_loopback() && world.size > world.local_size && !is_named {
            return Err(failed(format!(
                "{} leads to {address}, which other machines do not reach; an address as MASTER_ADDR, or an interface's name as \
                 {INTERFACE}, helps",
                world.host
            )));
        }
        let is_here_alone = address.is_loopback() && world.size == world.local_size;
        let own = store(match (world.keeps_store(), is_here_alone) {
            (false, _) => Keeper::Another,
            (true, false) => Keeper::This,
            (true, true) => Keeper::ThisOnLoopback,
        })?;
        rendezvous::meet(&own, (world.rank, world.size), RENDEZVOUS, &mut goes_on).map_err(failed)?;
        let gloo = Backend::gloo(&own, (world.rank, world.size), &address.to_string(), CONNECTING).map_err(failed)?;
        gloo.set_timeout(UNLIMITED).map_err(failed)?;
        // A connection of its own: one that waits for an answer keeps no other from asking.
        let peers = Peers::watch(store(Keeper::Another)?, world.rank, world.size).map_err(|e| failed(e.to_string()))?;
        let (gloo, nccl) = (ManuallyDrop::new(gloo), OnceCell::new());
        Ok(Self(Some(Joined { world, store: own, gloo, nccl, peers, open: Cell::new(0) })))
    }

    /// This process, from 0.
    pub fn rank(&self) -> usize {
        self.0.as_ref().map_or(0, |joined| joined.world.rank)
    }

    /// How many there are.
    pub fn size(&self) -> usize {
        self.0.as_ref().map_or(1, |joined| joined.world.size)
    }

    /// Whether this is process 0, the one that writes.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// Whether this is the first process on its machine.
    pub fn is_first_here(&self) -> bool {
        self.0.as_ref().is_none_or(|joined| joined.world.local_rank == 0)
    }

    /// Replaces each tensor by the sum over the processes of what they hold there, the same bits in all of them. Tensors may
    /// lie on any device and be of any shape, equal in all processes; the exchanges run at the same time.
    ///
    /// # Errors
    /// If a process is lost.
    pub fn sum(&self, tensors: &mut [&mut Tensor]) -> Result<(), Error> {
        self.reduce(tensors, Reduce::Sum)
    }

    /// Begins a sum as [`ProcessGroup::sum`] makes it, and returns while it is under way: all processes begin the same sums in the
    /// same order, and [finish](ProcessGroup::finish) them before any other exchange. Until then another thread writes to the
    /// tensor's memory: nobody is to read or write it, through this handle or another one.
    ///
    /// # Errors
    /// If a process is lost.
    pub fn begin_sum(&self, tensor: &Tensor) -> Result<Sum, Error> {
        let Some(joined) = &self.0 else { return Ok(Sum(None)) };
        joined.begin_sum(tensor).map(|begun| Sum(Some(begun)))
    }

    /// Waits for all sums that were begun.
    ///
    /// # Errors
    /// If a process is lost, or if others are still open.
    pub fn finish(&self, sums: Vec<Sum>) -> Result<(), Error> {
        let Some(joined) = &self.0 else { return Ok(()) };
        joined.finish_sums(sums.into_iter().filter_map(|sum| sum.0).collect())
    }

    /// As [`ProcessGroup::sum`], with the largest entry in place of the sum.
    ///
    /// # Errors
    /// If a process is lost.
    pub fn max(&self, tensors: &mut [&mut Tensor]) -> Result<(), Error> {
        self.reduce(tensors, Reduce::Max)
    }

    /// Replaces a tensor by process 0's.
    ///
    /// # Errors
    /// If a process is lost.
    pub fn broadcast(&self, tensor: &mut Tensor) -> Result<(), Error> {
        let Some(joined) = &self.0 else { return Ok(()) };
        joined.exchange(&mut [tensor], Backend::broadcast)
    }

    /// Process 0's bytes, in all processes; what the others give is not looked at.
    ///
    /// # Errors
    /// If a process is lost.
    pub fn broadcast_bytes(&self, bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
        if self.0.is_none() {
            return Ok(bytes);
        }
        let mut len = Tensor::from(bytes.len() as i64);
        self.broadcast(&mut len)?;
        let len = len.int64_value(&[]);
        let mut all =
            if self.is_first() { Tensor::from_slice(&bytes) } else { Tensor::zeros([len], (Kind::Uint8, Device::Cpu)) };
        if len > 0 {
            self.broadcast(&mut all)?;
        }
        Vec::<u8>::try_from(all).map_err(|e| Error::Exchange(e.to_string()))
    }

    /// Every process's numbers, by rank; as many from each.
    ///
    /// # Errors
    /// If a process is lost.
    pub fn gather(&self, own: &[i64]) -> Result<Vec<Vec<i64>>, Error> {
        let mut all = vec![0; self.size() * own.len()];
        all[self.rank() * own.len()..][..own.len()].copy_from_slice(own);
        let mut table = Tensor::from_slice(&all);
        self.sum(&mut [&mut table])?;
        let all = Vec::<i64>::try_from(table).map_err(|e| Error::Exchange(e.to_string()))?;
        Ok(all.chunks(own.len().max(1)).map(<[i64]>::to_vec).collect())
    }

    /// Waits until all processes are here.
    ///
    /// # Errors
    /// If a process is lost.
    pub fn meet(&self) -> Result<(), Error> {
        self.gather(&[0]).map(drop)
    }

    /// Something is achieved that takes seconds: this process does not hang.
    pub fn achieve(&self) {
        if let Some(joined) = &self.0 {
            joined.peers.achieve();
        }
    }

    /// Begins work that may take minutes, such as reading data or writing a checkpoint.
    pub fn at_work(&self) -> AtWork<'_> {
        let peers = self.0.as_ref().map(|joined| &joined.peers);
        if let Some(peers) = peers {
            peers.set_at_work(true);
        }
        AtWork(peers)
    }

    /// Tells the others that this process ends, and why; what they wait for then ends with this very message.
    pub fn tell_end(&self, why: &str) {
        if let Some(joined) = &self.0 {
            joined.peers.tell_end(&format!("process {}: {why}", joined.world.rank), joined.world.keeps_store());
        }
    }

    /// Parts in peace, when all are here.
    ///
    /// # Errors
    /// If a process is lost.
    pub fn leave(mut self) -> Result<(), Error> {
        self.meet()?;
        if let Some(joined) = self.0.take() {
            joined.peers.leave();
            drop(joined.nccl.into_inner().map(ManuallyDrop::into_inner));
            drop(ManuallyDrop::into_inner(joined.gloo));
        }
        Ok(())
    }

    fn reduce(&self, tensors: &mut [&mut Tensor], reduce: Reduce) -> Result<(), Error> {
        let Some(joined) = &self.0 else { return Ok(()) };
        joined.exchange(tensors, |backend, tensor| backend.all_reduce(tensor, reduce))
    }
}

impl World {
    /// Whether this process keeps what all tell each other.
    fn keeps_store(&self) -> bool {
        self.rank == 0 && !self.launcher_keeps_store
    }
}

/// The address of this machine on the way to process 0's, under which the others reach it too. Nothing is sent.
fn address_towards(world: &World) -> std::io::Result<IpAddr> {
    use std::net::ToSocketAddrs;
    let mut last = std::io::Error::other("the name has no address");
    for master in (world.host.as_str(), world.port).to_socket_addrs()? {
        let any = if master.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        match UdpSocket::bind(any).and_then(|socket| socket.connect(master).and_then(|()| socket.local_addr())) {
            Ok(own) => return Ok(own.ip()),
            Err(e) => last = e,
        }
    }
    Err(last)
}

#[cfg(all(test, nb_gloo))]
mod tests;

#[cfg(all(test, not(nb_gloo)))]
#[test]
fn groups_of_several_processes() {
    nb_testing::require("gloo", false);
}
