//! The command-line options that all benches share.

use std::num::NonZeroU16;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use nb_train::config::{DeviceChoice, PrecisionChoice};

use crate::random::ModelShape;

/// The teacher of `configs/ag-news.yaml`.
const TEACHER: &str = "hf:sentence-transformers/all-MiniLM-L6-v2";

/// A number format of weights and matrix products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberFormat {
    /// 32-bit floats.
    F32,
    /// bfloat16.
    Bf16,
    /// 8-bit integers with scales; for inference.
    Int8,
}

impl NumberFormat {
    /// Returns its name in options and results.
    ///
    /// ```
    /// use nb_bench::options::NumberFormat;
    /// assert_eq!(NumberFormat::Int8.name(), "int8");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }

    /// Returns the format as configurations of runs name it; `None` if models are not trained in it.
    pub(crate) fn of_training(self) -> Option<PrecisionChoice> {
        match self {
            Self::F32 => Some(PrecisionChoice::F32),
            Self::Bf16 => Some(PrecisionChoice::Bf16),
            Self::Int8 => None,
        }
    }
}

/// Number formats to measure in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Precisions {
    /// 32-bit floats
    F32,
    /// bfloat16 matrix products
    Bf16,
    /// 8-bit matrix products (`infer` only)
    Int8,
    /// f32 and bf16, one after the other
    Both,
    /// f32, bf16 and int8, one after the other (`infer` only)
    All,
}

impl Precisions {
    /// Returns the formats in the order in which they are measured.
    pub(crate) fn formats(self) -> Vec<NumberFormat> {
        match self {
            Self::F32 => vec![NumberFormat::F32],
            Self::Bf16 => vec![NumberFormat::Bf16],
            Self::Int8 => vec![NumberFormat::Int8],
            Self::Both => vec![NumberFormat::F32, NumberFormat::Bf16],
            Self::All => vec![NumberFormat::F32, NumberFormat::Bf16, NumberFormat::Int8],
        }
    }
}

/// A library to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PeerLibrary {
    /// PyTorch with Hugging Face models, eager and compiled; for `data`, Python's csv and `tokenizers`
    Torch,
    /// onnxruntime in f32 and, with dynamic quantisation, in int8 (`infer` only)
    Onnx,
    /// onnxruntime in int8 (`infer` only)
    OnnxInt8,
    /// OpenVINO in f32, bf16 and, with NNCF's quantisation after training, in int8 (`infer` only)
    Openvino,
    /// OpenVINO in int8 (`infer` only)
    OpenvinoInt8,
    /// This project's inference with libtorch (`infer` only)
    Libtorch,
}

impl PeerLibrary {
    /// Returns its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Torch => "torch",
            Self::Onnx => "onnx",
            Self::OnnxInt8 => "onnx-int8",
            Self::Openvino => "openvino",
            Self::OpenvinoInt8 => "openvino-int8",
            Self::Libtorch => "libtorch",
        }
    }
}

/// The options that all benches share.
#[derive(Debug, Args)]
pub struct Options {
    /// Case to measure (may be repeated) [default: all]
    #[arg(long = "case", value_name = "NAME")]
    pub(crate) cases: Vec<String>,
    /// Number format of the matrix products
    #[arg(long, value_enum, default_value = "both")]
    pub(crate) precision: Precisions,
    /// CPU threads [default: one per processor that the process may use]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroU16>,
    /// Number of rounds; each side runs once per round
    #[arg(long, value_name = "N", default_value = "5")]
    pub(crate) rounds: NonZeroU16,
    /// Number of busy threads beside all rounds of all sides, as on a shared machine
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) beside_load: u8,
    /// Teacher: a Hugging Face folder, or hf:owner/name
    #[arg(long, value_name = "PATH", default_value = TEACHER)]
    pub(crate) teacher: String,
    /// Shape of a teacher with random weights (layers x hidden units, such as 12x768); its tokenizer is that of
    /// --teacher
    #[arg(long, value_name = "LxH")]
    pub(crate) random: Option<ModelShape>,
    /// Number of student layers
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) layers: usize,
    /// Folder that contains ag_news/ and clicks/; the sample corpus replaces a missing one
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub(crate) data: PathBuf,
    /// Device: auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto", value_parser = |s: &str| s.parse::<DeviceChoice>().map_err(|()| "expected auto, cpu, cuda or cuda:N"))]
    pub(crate) device: DeviceChoice,
    /// Libraries to compare with, in interleaved rounds (comma-separated, may be repeated)
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PEER")]
    pub(crate) against: Vec<PeerLibrary>,
    /// Python interpreter for --against
    #[arg(long, value_name = "PATH")]
    pub(crate) python: Option<PathBuf>,
    /// File to write the results to
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Results of an earlier run; exit with code 1 if a case became slower by more than the noise
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,
}

impl Options {
    /// Returns the name of the teacher in reports: its checkpoint, or its shape if its weights are random.
    pub(crate) fn teacher_name(&self) -> String {
        match self.random {
            Some(ModelShape { layers, hidden }) => format!("{layers}x{hidden}, random"),
            None => self.teacher.clone(),
        }
    }

    /// Returns the number of CPU threads for every side.
    pub(crate) fn thread_count(&self) -> usize {
        match self.threads {
            Some(threads) => usize::from(threads.get()),
            None => nb_cpu::Processors::detect().usable(),
        }
    }
}
