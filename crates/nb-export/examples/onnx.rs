//! Writes a model folder as ONNX: `f32`, `int8-weights`, `int8` with a file of calibrated ranges, or the `reader` model.
//!
//! ```sh
//! cargo run --release -p nb-export --example onnx -- runs/quickstart/student student.onnx f32
//! ```
//!
//! The ranges are a JSON list with a list of four ranges, [least, largest], for each layer, in the order of the fields of
//! `LayerInputs`. `int8-symmetric` makes them symmetric.

use std::error::Error;
use std::fs;
use std::path::Path;

use nb_export::{Calibration, InputRange, LayerInputs, OnnxPrecision, onnx, onnx_reader};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (model, output, precision) = match arguments[..] {
        [model, output, "reader"] => return Ok(onnx_reader(Path::new(model), Path::new(output))?),
        [model, output, "f32"] => (model, output, OnnxPrecision::F32),
        [model, output, "int8-weights"] => (model, output, OnnxPrecision::Int8Weights),
        [model, output, "int8", ranges] => (model, output, OnnxPrecision::Int8(calibration(ranges)?)),
        [model, output, "int8-symmetric", ranges] => {
            (model, output, OnnxPrecision::Int8(calibration(ranges)?.symmetric()))
        }
        _ => return Err("expected a model folder, an output and f32, int8-weights, int8 RANGES or reader".into()),
    };
    Ok(onnx(Path::new(model), Path::new(output), &precision)?)
}

/// Reads the ranges of a model.
fn calibration(path: &str) -> Result<Calibration, Box<dyn Error>> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let layers: Vec<[[f32; 2]; 4]> = serde_json::from_str(&text).map_err(|error| format!("{path}: {error}"))?;
    let inputs = |layer: [[f32; 2]; 4]| {
        let [attention, attention_output, intermediate, output] =
            layer.map(|[least, largest]| InputRange { least, largest });
        LayerInputs { attention, attention_output, intermediate, output }
    };
    Ok(Calibration { layers: layers.into_iter().map(inputs).collect() })
}
