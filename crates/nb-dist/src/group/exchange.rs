//! Exchanges between processes: starting them, waiting for them while watching the other processes, and writing the
//! results to the tensors.

use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

use tch::{Device, Tensor};

use super::joined::{Joined, UNLIMITED};
use crate::peers::LOST;
use crate::shim::{self, Backend, Reduce};
use crate::{Error, World};

/// The time between two checks of the other processes during a wait.
pub(super) const SLICE: Duration = Duration::from_millis(500);

/// An exchange that has started.
#[derive(Debug)]
pub(super) struct Pending {
    /// The tensor that receives the result.
    target: Tensor,
    /// The tensor that is exchanged; it shares the target's memory if possible.
    buffer: Tensor,
    work: shim::Pending,
}

impl Joined {
    /// Starts the exchange of each tensor, and waits for all.
    pub(super) fn exchange(
        &self,
        tensors: &mut [&mut Tensor],
        begin: impl Fn(&Backend, &Tensor) -> Result<shim::Pending, String>,
    ) -> Result<(), Error> {
        self.check_open_sums(0)?;
        self.peers.enter();
        let pending = tensors.iter().map(|tensor| self.begin(tensor, &begin)).collect::<Result<_, _>>()?;
        self.finish(pending)
    }

    /// Starts a sum without waiting for it.
    pub(super) fn begin_sum(&self, tensor: &Tensor) -> Result<Pending, Error> {
        let pending = self.begin(tensor, |backend, buffer| backend.all_reduce(buffer, Reduce::Sum))?;
        self.open_sums.set(self.open_sums.get() + 1);
        Ok(pending)
    }

    /// Waits for all open sums. `pending` must contain all of them.
    pub(super) fn finish_sums(&self, pending: Vec<Pending>) -> Result<(), Error> {
        self.check_open_sums(pending.len())?;
        self.peers.enter();
        self.finish(pending)?;
        self.open_sums.set(0);
        Ok(())
    }

    /// Fails unless the number of open sums is `expected`. Processes match their exchanges by the order in which they
    /// start, so another exchange in between would be mistaken for one of the sums.
    fn check_open_sums(&self, expected: usize) -> Result<(), Error> {
        match self.open_sums.get() {
            open if open == expected => Ok(()),
            open => Err(Error::Exchange(format!("{open} sums are open, expected {expected}; finish them first"))),
        }
    }

    /// Starts the exchange of a tensor. A tensor on a GPU goes through NCCL if available, otherwise through the host.
    fn begin(
        &self,
        tensor: &Tensor,
        begin: impl Fn(&Backend, &Tensor) -> Result<shim::Pending, String>,
    ) -> Result<Pending, Error> {
        let (backend, device) = self.backend(tensor.device());
        let buffer = tensor.detach().to_device(device).contiguous();
        let work = begin(backend, &buffer).map_err(|cause| self.explain(cause))?;
        Ok(Pending { target: tensor.shallow_clone(), buffer, work })
    }

    /// Waits for exchanges and writes the results to the tensors. `Peers::enter` must have been called for the last of
    /// them.
    fn finish(&self, pending: Vec<Pending>) -> Result<(), Error> {
        for Pending { mut target, buffer, work } in pending {
            self.wait(work)?;
            if target.data_ptr() != buffer.data_ptr() {
                tch::no_grad(|| target.copy_(&buffer));
            }
        }
        self.peers.exit();
        Ok(())
    }

    /// Returns the backend for tensors of a device, and the device on which it expects them.
    fn backend(&self, device: Device) -> (&Backend, Device) {
        match device {
            Device::Cuda(_) => self.nccl().map_or((&*self.gloo, Device::Cpu), |nccl| (nccl, device)),
            _ => (&*self.gloo, Device::Cpu),
        }
    }

    /// Returns NCCL's backend, which the first call opens, or `None` if it is not available.
    fn nccl(&self) -> Option<&Backend> {
        let opened = self.nccl.get_or_init(|| {
            let World { rank, size, .. } = self.world;
            let opened = Backend::nccl(&self.store, rank, size, UNLIMITED);
            ManuallyDrop::new(
                opened
                    .inspect_err(|e| tracing::warn!("NCCL is not available, so sums go through host memory: {e}"))
                    .ok(),
            )
        });
        opened.as_ref()
    }

    fn wait(&self, work: shim::Pending) -> Result<(), Error> {
        let since = Instant::now();
        loop {
            match work.wait(SLICE) {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    if let Some(trouble) = self.peers.trouble(since) {
                        return Err(self.lost(trouble)); // the backend holds references to tensors that it still uses
                    }
                }
                Err(cause) => return Err(self.explain(cause)),
            }
        }
    }

    /// Finds the process that made an exchange fail. A connection breaks as soon as a process ends, but only the
    /// missing signs of life show which process it was.
    fn explain(&self, cause: String) -> Error {
        const POLL: Duration = Duration::from_millis(200);
        let since = Instant::now();
        while since.elapsed() < LOST + LOST / 4 {
            if let Some(trouble) = self.peers.trouble(since) {
                return self.lost(trouble);
            }
            std::thread::sleep(POLL);
        }
        let error = Error::Exchange(cause);
        self.peers.abort(&format!("process {}: {error}", self.world.rank));
        error
    }

    fn lost(&self, trouble: String) -> Error {
        self.peers.abort(&trouble);
        Error::Lost(trouble)
    }
}
