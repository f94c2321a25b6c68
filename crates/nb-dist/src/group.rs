//! A group of processes that train together.

mod exchange;
mod joined;

use std::cell::{Cell, OnceCell};
use std::mem::ManuallyDrop;
use std::net::{IpAddr, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use exchange::Pending;
use joined::{Joined, UNLIMITED};
use tch::{Device, Kind, Tensor};

use crate::peers::Peers;
use crate::rendezvous;
use crate::shim::{Backend, Reduce, Store, StoreAddress, StoreHost};
use crate::{Error, World};

/// Time limit for the start: other processes may still be loading, or waiting for their machine.
const RENDEZVOUS: Duration = Duration::from_secs(300);
/// Time limit for connecting every pair of processes once all have started.
const CONNECTING: Duration = Duration::from_secs(60);
/// The variable that names the network interface of this process if it is not the default one, as in PyTorch.
const INTERFACE: &str = "GLOO_SOCKET_IFNAME";

/// Processes that train together, or this one alone. Exchanges are collective: all processes must make the same
/// exchanges in the same order, and an exchange completes when all processes have entered it. A process can be in only
/// one group at a time, because libtorch's record of exchanges, one per process, does not support two groups.
#[derive(Debug)]
pub struct ProcessGroup(Option<Joined>);

/// A sum over the processes that has started ([`ProcessGroup::begin_sum`]).
#[derive(Debug)]
#[must_use = "the sum is complete only after `finish`"]
pub struct Sum(Option<Pending>);

/// A guard for slow work of one process: while it lives, the other processes wait without a time limit.
#[derive(Debug)]
#[must_use = "the others wait without a time limit only while it lives"]
pub struct Busy<'a>(Option<&'a Peers>);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if let Some(peers) = self.0 {
            peers.end_busy();
        }
    }
}

impl ProcessGroup {
    /// Returns a group of one, in which every exchange returns at once and changes nothing.
    pub fn alone() -> Self {
        Self(None)
    }

    /// Joins the other processes of `world`; a world of one is [`ProcessGroup::alone`].
    ///
    /// # Errors
    /// If this build has no process groups ([`Error::Unavailable`]), or if the others do not arrive within five
    /// minutes; the error in process 0 names the missing ones.
    pub fn join(world: World) -> Result<Self, Error> {
        Self::join_while(world, || Ok(()))
    }

    /// Like [`ProcessGroup::join`], for a process that has started the others and can observe them. `check` is called while it waits
    /// for them, and its error ends the wait.
    ///
    /// # Errors
    /// Those of [`ProcessGroup::join`], and the error of `check`.
    pub fn join_while(world: World, mut check: impl FnMut() -> Result<(), String>) -> Result<Self, Error> {
        if world.size == 1 {
            return Ok(Self::alone());
        }
        if !Store::AVAILABLE {
            return Err(Error::Unavailable);
        }
        let joined = Joined::new(&world, &mut check).map_err(|cause| Error::Rendezvous {
            rank: world.rank,
            size: world.size,
            address: format!("{}:{}", world.host, world.port),
            cause,
        })?;
        Ok(Self(Some(joined)))
    }

    /// The rank of this process, from 0.
    pub fn rank(&self) -> usize {
        self.0.as_ref().map_or(0, |joined| joined.world.rank)
    }

    /// The number of processes.
    pub fn size(&self) -> usize {
        self.0.as_ref().map_or(1, |joined| joined.world.size)
    }

    /// Returns true in the main process, process 0, which writes files.
    pub fn is_main(&self) -> bool {
        self.rank() == 0
    }

    /// Returns true in the first process of each machine.
    pub fn is_local_main(&self) -> bool {
        self.0.as_ref().is_none_or(|joined| joined.world.local_rank == 0)
    }

    /// Replaces each tensor with its sum over the processes, with the same bits in all of them. Tensors may be on any
    /// device and of any shape, but both must be equal in all processes. The exchanges run concurrently.
    ///
    /// # Errors
    /// If a process is lost.
    pub fn sum(&self, tensors: &mut [&mut Tensor]) -> Result<(), Error> {
        self.reduce(tensors, Reduce::Sum)
    }

    /// Starts a sum like that of [`ProcessGroup::sum`] and returns before it is complete. All processes start the same
    /// sums in the same order and [finish](ProcessGroup::finish) them before any other exchange. Until then, another
    /// thread writes to the tensor's memory, which must not be read or written through any handle.
    ///
    /// # Errors
    /// If a process is lost.
    pub fn begin_sum(&self, tensor: &Tensor) -> Result<Sum, Error> {
        let Some(joined) = &self.0 else { return Ok(Sum(None)) };
        joined.begin_sum(tensor).map(|pending| Sum(Some(pending)))
    }

    /// Waits for all sums that have started.
    ///
    /// # Errors
    /// If a process is lost, or if other sums are still open.
    pub fn finish(&self, sums: Vec<Sum>) -> Result<(), Error> {
        let Some(joined) = &self.0 else { return Ok(()) };
        joined.finish_sums(sums.into_iter().filter_map(|sum| sum.0).collect())
    }

    /// Like [`ProcessGroup::sum`], with the largest entry instead of the sum.
    ///
    /// # Errors
    /// If a process is lost.
    pub fn max(&self, tensors: &mut [&mut Tensor]) -> Result<(), Error> {
        self.reduce(tensors, Reduce::Max)
    }

    /// Replaces a tensor with that of process 0.
    ///
    /// # Errors
    /// If a process is lost.
    pub fn broadcast(&self, tensor: &mut Tensor) -> Result<(), Error> {
        let Some(joined) = &self.0 else { return Ok(()) };
        joined.exchange(&mut [tensor], Backend::broadcast)
    }

    /// Returns process 0's bytes in all processes. The bytes of the others are ignored.
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
        let mut buffer =
            if self.is_main() { Tensor::from_slice(&bytes) } else { Tensor::zeros([len], (Kind::Uint8, Device::Cpu)) };
        if len > 0 {
            self.broadcast(&mut buffer)?;
        }
        Vec::<u8>::try_from(buffer).map_err(|e| Error::Exchange(e.to_string()))
    }

    /// Returns the numbers of every process in all processes, by rank. Each process must pass the same number of them.
    ///
    /// # Errors
    /// If a process is lost.
    pub fn all_gather(&self, numbers: &[i64]) -> Result<Vec<Vec<i64>>, Error> {
        let len = numbers.len();
        let mut table = vec![0; self.size() * len];
        table[self.rank() * len..][..len].copy_from_slice(numbers);
        let mut table = Tensor::from_slice(&table);
        self.sum(&mut [&mut table])?;
        let table = Vec::<i64>::try_from(table).map_err(|e| Error::Exchange(e.to_string()))?;
        Ok(table.chunks(len.max(1)).map(<[i64]>::to_vec).collect())
    }

    /// Waits until all processes have called it.
    ///
    /// # Errors
    /// If a process is lost.
    pub fn barrier(&self) -> Result<(), Error> {
        self.all_gather(&[0]).map(drop)
    }

    /// Reports progress: this process does not hang. Call it after work that takes seconds.
    pub fn heartbeat(&self) {
        if let Some(joined) = &self.0 {
            joined.peers.heartbeat();
        }
    }

    /// Announces work that may take minutes, such as reading data or writing a checkpoint. The work ends when the guard
    /// is dropped.
    pub fn busy(&self) -> Busy<'_> {
        let peers = self.0.as_ref().map(|joined| &joined.peers);
        if let Some(peers) = peers {
            peers.begin_busy();
        }
        Busy(peers)
    }

    /// Tells the others that this process is ending, and why. Their current or next exchange fails with this reason.
    pub fn abort(&self, reason: &str) {
        if let Some(joined) = &self.0 {
            joined.peers.abort(&format!("process {}: {reason}", joined.world.rank));
        }
    }

    /// Waits for all processes and leaves the group.
    ///
    /// # Errors
    /// If a process is lost.
    pub fn leave(mut self) -> Result<(), Error> {
        self.barrier()?;
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

impl Joined {
    /// Waits for the other processes and connects to each. Everything that can fail in a single process comes first,
    /// before the others rely on it.
    fn new(world: &World, check: &mut dyn FnMut() -> Result<(), String>) -> Result<Self, String> {
        let address = address_towards(world).map_err(|e| e.to_string())?;
        let names_interface = std::env::var_os(INTERFACE).is_some_and(|name| !name.is_empty());
        if address.is_loopback() && world.size > world.local_size && !names_interface {
            return Err(format!(
                "{} resolves to {address}, which other machines cannot reach; set MASTER_ADDR to an address, or {INTERFACE} \
                 to the name of an interface",
                world.host
            ));
        }
        let is_one_machine = address.is_loopback() && world.size == world.local_size;
        let host = match (world.hosts_store(), is_one_machine) {
            (false, _) => StoreHost::Other,
            (true, false) => StoreHost::This,
            (true, true) => StoreHost::ThisOnLoopback,
        };
        let store = open_store(world, host)?;
        rendezvous::meet(&store, world, RENDEZVOUS, check)?;
        let gloo = Backend::gloo(&store, world.rank, world.size, &address.to_string(), CONNECTING)?;
        gloo.set_timeout(UNLIMITED)?;
        // The peers use a second connection, because a connection that waits for an answer blocks other requests.
        let peers = Peers::watch(open_store(world, StoreHost::Other)?, world).map_err(|e| e.to_string())?;
        let (gloo, nccl) = (ManuallyDrop::new(gloo), OnceCell::new());
        Ok(Self { world: world.clone(), store, gloo, nccl, peers, open_sums: Cell::new(0) })
    }
}

impl World {
    /// Returns true if this process hosts the store of all processes.
    pub(crate) fn hosts_store(&self) -> bool {
        self.rank == 0 && !self.launcher_hosts_store
    }
}

fn open_store(world: &World, hosted_by: StoreHost) -> Result<Store, String> {
    let prefix = format!("newsbert/{}", world.attempt);
    let address = StoreAddress { host: &world.host, port: world.port, hosted_by, prefix: &prefix };
    Store::open(&address, RENDEZVOUS)
}

/// Returns this machine's address on the route to process 0, at which the others can reach it too. Sends nothing.
fn address_towards(world: &World) -> std::io::Result<IpAddr> {
    let mut last = std::io::Error::other("the name has no address");
    for main in (world.host.as_str(), world.port).to_socket_addrs()? {
        let any = if main.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        match UdpSocket::bind(any).and_then(|socket| socket.connect(main).and_then(|()| socket.local_addr())) {
            Ok(local) => return Ok(local.ip()),
            Err(e) => last = e,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests;

#[cfg(all(test, not(nb_gloo)))]
#[test]
fn groups_of_several_processes() {
    nb_testing::require("gloo", false);
}
