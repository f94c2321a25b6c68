//! The provenance of a result: data, models, versions, machine.

use std::path::PathBuf;

use anyhow::Result;
use nb_report::record::{Data, DataFile, Machine, ModelDigests, Named, Sources};
use serde_json::Value;

use crate::model::saved_folder::{files_digest, weights_digest};
use crate::plan::{ModelSource, Plan, SplitFiles, StudentStart};

/// Returns everything besides the configuration that a result depends on: data files, checkpoints, versions. Record it before
/// the run, and compare it before reusing an earlier result.
///
/// # Errors
/// If a file cannot be read.
pub(crate) fn sources(plan: &Plan) -> Result<Sources> {
    Ok(Sources { data: Some(data(plan)?), models: Some(model_digests(plan)?), versions: Some(versions()) })
}

/// The digest of each checkpoint that the run starts from.
fn model_digests(plan: &Plan) -> Result<ModelDigests> {
    let teacher = match &plan.teacher {
        ModelSource::Folder(folder) => Some(weights_digest(folder)?),
        _ => None,
    };
    let student = match &plan.student_start {
        StudentStart::Checkpoint(folder) => Some(weights_digest(folder)?),
        _ => None,
    };
    let trained: Vec<String> = plan.trained.iter().map(|folder| weights_digest(folder)).collect::<Result<_>>()?;
    Ok(ModelDigests { checkpoint: teacher, student, trained: (!trained.is_empty()).then_some(trained) })
}

/// The paths of each split's files, and a digest of their content.
///
/// # Errors
/// If a file cannot be read.
fn data(plan: &Plan) -> Result<Named<Data>> {
    let mut out = Named::default();
    for SplitFiles { split, paths } in plan.data.task.split_files() {
        let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        let blake3 = Some(files_digest(&paths.iter().map(PathBuf::as_path).collect::<Vec<_>>())?);
        out.insert(split, Data::One(DataFile { path: Some(names.join(", ")), blake3, rows: None }));
    }
    Ok(out)
}

/// Versions of the programs that computed the result.
fn versions() -> Named<Value> {
    let versions = [("newsbert", env!("CARGO_PKG_VERSION")), ("libtorch", "2.11.0"), ("tch", "0.24.0")];
    versions.into_iter().map(|(program, version)| (program, Value::from(version))).collect()
}

/// Returns the machine, and the part of it that the plan uses.
pub(crate) fn machine(plan: &Plan) -> Machine {
    Machine {
        cpu: Some(nb_cpu::name()),
        cores: Some(nb_cpu::Processors::detect().usable() as u64),
        threads: Some(plan.threads as u64),
        device: Some(format!("{:?}", plan.device)),
        precision: Some(format!("{:?}", plan.precision).to_lowercase()),
        others: Named::default(),
    }
}
