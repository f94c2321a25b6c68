//! `nb export`: a trained model in the form of another program.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use nb_checkpoint::{Description, Truncation};
use nb_export::{Calibration, ClassifierClass, InputRange, LayerInputs, OnnxPrecision};
use nb_infer::{Model, Options, Precision};

use super::input::{Layout, WINDOW};
use crate::model::texts;

#[derive(Debug, Args)]
#[command(after_help = "Example: nb export --model runs/quickstart/student --to onnx --output student.onnx\n         \
    nb export --model runs/quickstart/student --to onnx --precision int8 --input titles.txt --output student.onnx\n         \
    nb export --model runs/quickstart/student --to sentence-transformers --output news-vectors\n         \
    nb export --model runs/quickstart/student --to hf --output news-classifier\n         \
    nb export --model runs/quickstart/student --to int8 --output news-int8")]
pub(crate) struct Export {
    /// Model folder of a run; for onnx and int8, any Hugging Face BERT folder that says how to pool
    #[arg(long, value_name = "FOLDER")]
    model: PathBuf,
    /// Form of the model
    #[arg(long, value_enum)]
    to: Form,
    /// File (onnx) or folder to write; a folder must not exist, or be empty
    #[arg(long, value_name = "PATH")]
    output: PathBuf,
    /// Numbers of an ONNX file [default: f32]
    #[arg(long, value_enum)]
    precision: Option<OnnxChoice>,
    /// Texts that set the ranges of rounded inputs (onnx, int8), or - for standard input: a few hundred, like those that the model
    /// will read
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    #[command(flatten)]
    layout: Layout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// One file with encoder, pooling and head; for recommendation, also NAME.reader.onnx with the reader model
    Onnx,
    /// A folder for sentence-transformers
    SentenceTransformers,
    /// A folder for the text-classification pipeline of transformers (topics)
    Hf,
    /// A folder a quarter the size, for `nb` and nb-infer
    Int8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnnxChoice {
    /// 32-bit floats
    F32,
    /// 8-bit weights; with --input, products in 8 bits too, which is fast
    Int8,
    /// The same, without zero points, which TensorRT does not have; less accurate
    Int8Symmetric,
}

impl Export {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        if !self.model.is_dir() {
            bail!("--model is {}, but there is no such folder", self.model.display());
        }
        if self.to != Form::Onnx && (self.precision.is_some() || self.input.is_some()) {
            bail!("--precision or --input is given, but --to is not onnx");
        }
        if self.input.is_none() && self.layout.is_given() {
            bail!("--format, --columns, --fields or --quoting is given, but --input is not");
        }
        match self.to {
            Form::Onnx => self.onnx()?,
            Form::SentenceTransformers => nb_export::sentence_transformers(&self.model, &self.output)?,
            Form::Hf => self.hugging_face()?,
            Form::Int8 => nb_export::int8(&self.model, &self.output)?,
        }
        if self.to != Form::Int8 {
            self.warn_of_truncation()?;
        }
        tracing::info!("wrote {}", self.output.display());
        Ok(ExitCode::SUCCESS)
    }

    /// Warns of a model whose tokens other programs do not compute by themselves.
    fn warn_of_truncation(&self) -> Result<()> {
        let description = Description::read(&self.model)?;
        let trained_on = match &description {
            Some(Description { windows: Some(_), .. }) => "the mean of their windows",
            Some(Description { truncate: Truncation::HeadTail, .. }) => "their beginning and end",
            _ => return Ok(()),
        };
        let most = description.map_or(0, |description| description.longest_sequence());
        tracing::warn!(
            "other programs keep the beginning of texts of more than {most} tokens, and this model was trained on {trained_on}; \
             the Python code in its README.md computes the same"
        );
        Ok(())
    }

    fn onnx(&self) -> Result<()> {
        let precision = match (self.precision.unwrap_or(OnnxChoice::F32), &self.input) {
            (OnnxChoice::F32, None) => OnnxPrecision::F32,
            (OnnxChoice::F32, Some(_)) => bail!("--input is given, but --precision is f32, which needs no texts"),
            (OnnxChoice::Int8, None) => OnnxPrecision::Int8Weights,
            (OnnxChoice::Int8, Some(input)) => OnnxPrecision::Int8(self.calibrate(input)?),
            (OnnxChoice::Int8Symmetric, None) => {
                bail!("--input is missing, expected texts for --precision int8-symmetric")
            }
            (OnnxChoice::Int8Symmetric, Some(input)) => OnnxPrecision::Int8(self.calibrate(input)?.symmetric()),
        };
        let recommends = Description::read(&self.model)?.is_some_and(|it| it.task == "recommend");
        if !recommends {
            return Ok(nb_export::onnx(&self.model, &self.output, &precision)?);
        }
        // The reader model is checked and written first: without it, there is no half of an export.
        let stem = self.output.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let stem = stem.strip_suffix(".onnx").unwrap_or(&stem);
        let reader = self.output.with_file_name(format!("{stem}.reader.onnx"));
        nb_export::onnx_reader(&self.model, &reader)?;
        nb_export::onnx(&self.model, &self.output, &precision)?;
        tracing::info!("wrote the reader model to {}", reader.display());
        Ok(())
    }

    fn hugging_face(&self) -> Result<()> {
        if nb_export::hugging_face(&self.model, &self.output)? == ClassifierClass::Folder {
            tracing::info!(
                "no class of transformers has this model's pooling, so the folder contains one: load it with \
                 trust_remote_code=True"
            );
        }
        Ok(())
    }

    /// Runs the model on texts, and returns the ranges of the inputs of its layers.
    fn calibrate(&self, input: &Path) -> Result<Calibration> {
        let model = Model::open(&self.model, &Options { precision: Precision::F32, ..Options::default() })?;
        let mut windows = self.layout.windows(input, WINDOW, None, &model.fields())?;
        let articles = windows.next()?;
        if articles.is_empty() {
            windows.check()?;
        }
        if articles.len() == WINDOW {
            tracing::info!("calibrated on the first {WINDOW} texts of {}", windows.name().display());
        }
        let range = |nb_infer::InputRange { least, largest }| InputRange { least, largest };
        let layers = model.input_ranges(&texts(&articles))?.into_iter().map(|layer| LayerInputs {
            attention: range(layer.attention),
            attention_output: range(layer.attention_output),
            intermediate: range(layer.intermediate),
            output: range(layer.output),
        });
        Ok(Calibration { layers: layers.collect() })
    }
}
