//! Options of every command that loads a trained model.

use std::num::NonZeroU16;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
#[cfg(feature = "train")]
use nb_checkpoint::{Description, INT8_WEIGHTS_FILE, SavedClassifier, SentenceModules, weight_files};
use nb_checkpoint::{PoolingKind, ScoreKind};
use nb_cpu::Processors;
use nb_infer::{InferError, Model, Options, Precision};

use crate::model::TextModel;

/// The device and the number format that a command computes with.
#[derive(Debug, Args)]
pub(crate) struct Compute {
    /// Device: auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto", value_parser = parse_device)]
    device: DeviceOption,
    /// Number format of the matrix products [default: f32, or int8 for a model that was saved in int8]
    #[arg(long, value_enum)]
    precision: Option<PrecisionChoice>,
    /// Number of CPU threads [default: one per processor that the process may use]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroU16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DeviceOption {
    Auto,
    Cpu,
    Cuda(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PrecisionChoice {
    F32,
    Bf16,
    /// 8-bit integers (CPU)
    Int8,
}

/// The ways in which a command uses a model differently from how it was trained.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Changes {
    /// Another pooling, one without parameters.
    pub(crate) pooling: Option<PoolingKind>,
    /// Another longest sequence.
    pub(crate) max_tokens: Option<usize>,
}

impl Compute {
    /// Loads the model in the folder of `--model`, and sets the number of threads.
    ///
    /// # Errors
    /// If there is no such device, or if the model cannot be read.
    pub(crate) fn load(&self, folder: &Path) -> Result<TextModel> {
        self.load_changed(folder, Changes::default())
    }

    /// Does the same as [`Compute::load`], with changes.
    ///
    /// # Errors
    /// As [`Compute::load`].
    pub(crate) fn load_changed(&self, folder: &Path, changes: Changes) -> Result<TextModel> {
        let threads = self.threads.map_or_else(|| Processors::detect().usable(), |threads| threads.get().into());
        set_threads(threads)?;
        self.load_option("--model", folder, changes)
    }

    /// Loads another model in the folder of an option, after [`Compute::load`].
    ///
    /// # Errors
    /// As [`Compute::load`].
    pub(crate) fn load_option(&self, option: &str, folder: &Path, changes: Changes) -> Result<TextModel> {
        if !folder.is_dir() {
            bail!("{option} is {}, but there is no such folder", folder.display());
        }
        if let Some(number) = self.gpu(folder)? {
            return self.load_on_gpu(folder, number, changes);
        }
        let precision = match self.precision {
            None => Precision::AsSaved,
            Some(PrecisionChoice::F32) => Precision::F32,
            Some(PrecisionChoice::Bf16) => Precision::Bf16,
            Some(PrecisionChoice::Int8) => Precision::Int8,
        };
        let options = Options { precision, max_tokens: changes.max_tokens, ..Options::default() };
        let mut model = Model::open(folder, &options).map_err(as_option)?;
        if let Some(pooling) = changes.pooling {
            model = model.with_pooling(pooling, ScoreKind::Dot)?;
        }
        model.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
        Ok(TextModel::Cpu(Box::new(model)))
    }
}

/// Returns true if a model has a head that only nb-infer computes.
#[cfg(feature = "train")]
fn is_for_cpu(folder: &Path) -> Result<bool> {
    if Description::read(folder)?.is_some() {
        return Ok(false);
    }
    // Files that cannot be used are reported when the model is opened.
    let has_classifier = matches!(SavedClassifier::read(folder), Ok(Some(_)));
    let has_dense = matches!(SentenceModules::read(folder), Ok(Some(modules)) if !modules.dense.is_empty());
    Ok(has_classifier || has_dense)
}

#[cfg(feature = "train")]
impl Compute {
    /// Returns the number of the GPU to use; `None` for the CPU.
    ///
    /// # Errors
    /// If libtorch finds no such device.
    fn gpu(&self, folder: &Path) -> Result<Option<usize>> {
        let is_int8 = weight_files(folder).first().is_some_and(|path| path.ends_with(INT8_WEIGHTS_FILE));
        let choice = match self.device {
            DeviceOption::Auto => nb_train::config::DeviceChoice::Auto,
            DeviceOption::Cpu => nb_train::config::DeviceChoice::Cpu,
            DeviceOption::Cuda(number) => nb_train::config::DeviceChoice::Cuda(number),
        };
        let device = nb_train::plan::device(choice)?;
        if matches!(device, tch::Device::Cuda(_)) && is_for_cpu(folder)? {
            if self.device != DeviceOption::Auto {
                bail!(
                    "{}: a classifier or Dense modules that no run made are computed on the CPU only; use --device cpu",
                    folder.display()
                );
            }
            tracing::info!("using the CPU, because the model has a classifier or Dense modules that no run made");
            return Ok(None);
        }
        match device {
            // A user who asks for int8, or has it, without naming a device gets it.
            tch::Device::Cuda(_)
                if self.device == DeviceOption::Auto && (is_int8 || self.precision == Some(PrecisionChoice::Int8)) =>
            {
                Ok(None)
            }
            tch::Device::Cuda(number) => Ok(Some(number)),
            _ => Ok(None),
        }
    }

    fn load_on_gpu(&self, folder: &Path, number: usize, changes: Changes) -> Result<TextModel> {
        let precision = match self.precision {
            None | Some(PrecisionChoice::F32) => nb_model::Precision::F32,
            Some(PrecisionChoice::Bf16) => nb_model::Precision::Bf16,
            Some(PrecisionChoice::Int8) => {
                bail!("--precision is int8, but --device is cuda:{number}; int8 runs on the CPU")
            }
        };
        let device = tch::Device::Cuda(number);
        let Changes { pooling, max_tokens } = changes;
        let model = crate::model::GpuModel::load(folder, device, precision, pooling, max_tokens)?;
        Ok(TextModel::Gpu(Box::new(model)))
    }
}

#[cfg(not(feature = "train"))]
impl Compute {
    fn gpu(&self, _folder: &Path) -> Result<Option<usize>> {
        match self.device {
            DeviceOption::Auto | DeviceOption::Cpu => Ok(None),
            DeviceOption::Cuda(number) => {
                bail!("--device is cuda:{number}, but this `nb` was built without libtorch; expected cpu or auto")
            }
        }
    }

    fn load_on_gpu(&self, _folder: &Path, number: usize, _changes: Changes) -> Result<TextModel> {
        bail!("--device is cuda:{number}, but this `nb` was built without libtorch")
    }
}

/// Sets the number of threads of the kernels and of rayon, before either computes.
fn set_threads(threads: usize) -> Result<()> {
    #[cfg(feature = "train")]
    tch::set_num_threads(1); // libtorch's own threads spin between operations
    nb_kernels::threads::set(threads);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("cannot set the number of threads")
}

/// Names the option of the command in place of the library's.
fn as_option(error: InferError) -> anyhow::Error {
    match error {
        InferError::Option { option: "max_tokens", found, least, most } => {
            anyhow::anyhow!("--max-tokens is {found}, expected {least} to the model's {most} positions")
        }
        error => error.into(),
    }
}

impl FromStr for DeviceOption {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => text.strip_prefix("cuda:").and_then(|n| n.parse().ok()).map(Self::Cuda).ok_or(()),
        }
    }
}

fn parse_device(text: &str) -> Result<DeviceOption, &'static str> {
    text.parse().map_err(|()| "expected auto, cpu, cuda or cuda:N")
}
