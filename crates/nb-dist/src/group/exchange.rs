//! Exchanges: begun, waited for while somebody looks whether the others still come, and brought to where they belong.

use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

use tch::{Device, Tensor};

use super::{Joined, UNLIMITED};
use crate::peers::GONE;
use crate::shim::{Backend, Pending, Reduce};
use crate::{Error, World};

/// Waiting goes in slices: after each is a look at the others.
pub(super) const SLICE: Duration = Duration::from_millis(500);

/// An exchange under way.
#[derive(Debug)]
pub(super) struct Begun {
    /// Where the result belongs.
    place: Tensor,
    /// What is exchanged; the same memory where that can be.
    own: Tensor,
    pending: Pending,
}

impl Joined {
    /// Begins the exchange of each tensor, and waits for all.
    pub(super) fn exchange(
        &self,
        tensors: &mut [&mut Tensor],
        begin: impl Fn(&Backend, &Tensor) -> Result<Pending, String>,
    ) -> Result<(), Error> {
        self.check_open(0)?;
        self.peers.enter();
        let begun = tensors.iter().map(|tensor| self.begin(tensor, &begin)).collect::<Result<_, _>>()?;
        self.finish(begun)
    }

    /// Begins a sum that goes on by itself.
    pub(super) fn begin_sum(&self, tensor: &Tensor) -> Result<Begun, Error> {
        let begun = self.begin(tensor, |backend, own| backend.all_reduce(own, Reduce::Sum))?;
        self.open.set(self.open.get() + 1);
        Ok(begun)
    }

    /// Waits for sums, which are all that are open.
    pub(super) fn finish_sums(&self, begun: Vec<Begun>) -> Result<(), Error> {
        self.check_open(begun.len())?;
        self.peers.enter();
        self.finish(begun)?;
        self.open.set(0);
        Ok(())
    }

    /// Processes pair their exchanges by the order in which they begin: one between others would be taken for one of them.
    fn check_open(&self, expected: usize) -> Result<(), Error> {
        match self.open.get() {
            open if open == expected => Ok(()),
            open => Err(Error::Exchange(format!("{open} sums are open, expected {expected}: they are finished first"))),
        }
    }

    /// Begins the exchange of a tensor. Those on a GPU go through NCCL if there is one, else through the host.
    fn begin(
        &self,
        tensor: &Tensor,
        begin: impl Fn(&Backend, &Tensor) -> Result<Pending, String>,
    ) -> Result<Begun, Error> {
        let (backend, device) = self.backend(tensor.device());
        let own = tensor.detach().to_device(device).contiguous();
        let pending = begin(backend, &own).map_err(|cause| self.explain(cause))?;
        Ok(Begun { place: tensor.shallow_clone(), own, pending })
    }

    /// Waits for exchanges, of which the last one has been entered, and brings what came back to where it belongs.
    fn finish(&self, begun: Vec<Begun>) -> Result<(), Error> {
        for Begun { mut place, own, pending } in begun {
            self.wait(pending)?;
            if place.data_ptr() != own.data_ptr() {
                tch::no_grad(|| place.copy_(&own));
            }
        }
        self.peers.left();
        Ok(())
    }

    /// What exchanges tensors of a device, and where it wants them.
    fn backend(&self, device: Device) -> (&Backend, Device) {
        let nccl = || {
            let opened = self.nccl.get_or_init(|| {
                let World { rank, size, .. } = self.world;
                let opened = Backend::nccl(&self.store, (rank, size), UNLIMITED);
                let opened = opened.inspect_err(|e| tracing::warn!("sums go through the host's memory: {e}"));
                ManuallyDrop::new(opened.ok())
            });
            opened.as_ref()
        };
        match device {
            Device::Cuda(_) => nccl().map_or((&*self.gloo, Device::Cpu), |nccl| (nccl, device)),
            _ => (&*self.gloo, Device::Cpu),
        }
    }

    fn wait(&self, pending: Pending) -> Result<(), Error> {
        let since = Instant::now();
        loop {
            match pending.wait(SLICE) {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    if let Some(trouble) = self.peers.trouble(since) {
                        return Err(self.lost(trouble)); // the backend holds what it still works on
                    }
                }
                Err(cause) => return Err(self.explain(cause)),
            }
        }
    }

    /// Why an exchange has failed: a connection ends at once with the process behind it, a missing sign tells which it was.
    fn explain(&self, cause: String) -> Error {
        const LOOK: Duration = Duration::from_millis(200);
        let since = Instant::now();
        while since.elapsed() < GONE + GONE / 4 {
            if let Some(trouble) = self.peers.trouble(since) {
                return self.lost(trouble);
            }
            std::thread::sleep(LOOK);
        }
        let error = Error::Exchange(cause);
        self.peers.tell_end(&format!("process {}: {error}", self.world.rank), self.world.keeps_store());
        error
    }

    fn lost(&self, trouble: String) -> Error {
        self.peers.tell_end(&trouble, self.world.keeps_store());
        Error::Lost(trouble)
    }
}
