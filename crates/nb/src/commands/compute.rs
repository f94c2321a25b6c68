//! Options of every command that loads a trained model.

use std::num::NonZeroU16;
use std::path::Path;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use nb_cpu::Processors;
use nb_model::Precision;
use nb_train::config::DeviceChoice;
use nb_train::inference::SavedModel;
use nb_train::plan::device;
use nb_train::run::set_threads;

/// The device and the number format that a command computes with.
#[derive(Debug, Args)]
pub(crate) struct Compute {
    /// Device: auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto", value_parser = parse_device)]
    device: DeviceChoice,
    /// Number format of the matrix products
    #[arg(long, value_enum, default_value = "f32")]
    precision: PrecisionChoice,
    /// Number of CPU threads [default: one per processor that the process may use]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroU16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PrecisionChoice {
    F32,
    Bf16,
}

impl Compute {
    /// Loads the model in the folder of `--model`, and sets the number of threads.
    ///
    /// # Errors
    /// If libtorch finds no such device, or if the model cannot be read.
    pub(crate) fn load(&self, folder: &Path) -> Result<SavedModel> {
        set_threads(self.threads.map_or_else(|| Processors::detect().usable(), |threads| threads.get().into()))?;
        self.load_option("--model", folder)
    }

    /// Loads another model in the folder of an option, after [`Compute::load`].
    ///
    /// # Errors
    /// As [`Compute::load`].
    pub(crate) fn load_option(&self, option: &str, folder: &Path) -> Result<SavedModel> {
        if !folder.is_dir() {
            bail!("{option} is {}, but there is no such folder", folder.display());
        }
        let precision = match self.precision {
            PrecisionChoice::F32 => Precision::F32,
            PrecisionChoice::Bf16 => Precision::Bf16,
        };
        SavedModel::load(folder, device(self.device)?, precision)
    }
}

fn parse_device(text: &str) -> Result<DeviceChoice, &'static str> {
    text.parse().map_err(|()| "expected auto, cpu, cuda or cuda:N")
}
