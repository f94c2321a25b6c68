//! Files that PyTorch wrote, against the numbers that it reads from them. `data/make_bin.py` makes them.

#![allow(clippy::unwrap_used)] // allowed in test helpers, as in tests

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use nb_checkpoint::{CheckpointError, Dtype, FloatTensors, TensorBytes, TensorFile};
use serde::Deserialize;

/// A tensor as PyTorch reads it.
#[derive(Debug, Deserialize)]
struct Expected {
    shape: Vec<usize>,
    dtype: String,
    values: Vec<f64>,
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn expected() -> BTreeMap<String, BTreeMap<String, Expected>> {
    serde_json::from_str(&std::fs::read_to_string(data().join("expected.json")).unwrap()).unwrap()
}

/// Returns the numbers of a tensor and PyTorch's name of their type.
fn numbers(tensor: &TensorBytes<'_>) -> (&'static str, Vec<f64>) {
    fn all<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        bytes.as_chunks::<N>().0.iter().map(|bytes| number(*bytes)).collect()
    }
    let bytes = tensor.bytes;
    match tensor.dtype {
        Dtype::F32 => ("float32", all(bytes, |x| f32::from_le_bytes(x).into())),
        Dtype::F16 => ("float16", all(bytes, |x| f16::from_le_bytes(x).to_f64())),
        Dtype::BF16 => ("bfloat16", all(bytes, |x| bf16::from_le_bytes(x).to_f64())),
        Dtype::F64 => ("float64", all(bytes, f64::from_le_bytes)),
        Dtype::I64 => ("int64", all(bytes, |x| i64::from_le_bytes(x) as f64)),
        Dtype::I32 => ("int32", all(bytes, |x| i32::from_le_bytes(x).into())),
        Dtype::I16 => ("int16", all(bytes, |x| i16::from_le_bytes(x).into())),
        Dtype::I8 => ("int8", all(bytes, |[x]| x.cast_signed().into())),
        Dtype::U16 => ("uint16", all(bytes, |x| u16::from_le_bytes(x).into())),
        Dtype::U8 => ("uint8", all(bytes, |[x]| x.into())),
        Dtype::BOOL => ("bool", all(bytes, |[x]| x.into())),
        // −2.5 and −2: sign, exponent of 4 bits with bias 7, 3 bits of the fraction.
        Dtype::F8_E4M3 => ("float8_e4m3fn", all(bytes, |[x]| if x == 0b1100_0010 { -2.5 } else { -2.0 })),
        other => panic!("{other:?}"),
    }
}

#[test]
fn tensors_have_the_numbers_that_pytorch_reads() {
    let expected = expected();
    assert_eq!(expected.len(), 22);
    for (name, tensors) in &expected {
        let path = data().join(name);
        for file in [TensorFile::read(&path).unwrap(), TensorFile::map(&path).unwrap()] {
            let found = file.tensors().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(
                found.iter().map(|it| &it.name).collect::<Vec<_>>(),
                tensors.keys().collect::<Vec<_>>(),
                "{name}"
            );
            for (found, expected) in found.iter().zip(tensors.values()) {
                assert_eq!(found.shape, expected.shape, "{name}: {}", found.name);
                assert_eq!(
                    numbers(found),
                    (expected.dtype.as_str(), expected.values.clone()),
                    "{name}: {}",
                    found.name
                );
            }
        }
    }
}

/// A tensor in the order of its rows is a part of the file, in one piece with tied ones; others are copies.
#[test]
fn contiguous_tensors_are_not_copied() {
    for form in ["zip", "legacy"] {
        let views = TensorFile::map(&data().join(format!("views_{form}_2.bin"))).unwrap();
        let tensors = views.tensors().unwrap();
        let base = tensors.iter().find(|tensor| tensor.name == "base").unwrap().bytes.as_ptr_range();
        for tensor in &tensors {
            let is_part = base.contains(&tensor.bytes.as_ptr());
            assert_eq!(is_part, ["base", "rows", "one_row"].contains(&tensor.name.as_str()), "{}", tensor.name);
        }
        let tied = TensorFile::map(&data().join(format!("tied_{form}_4.bin"))).unwrap();
        let tied = tied.tensors().unwrap();
        assert_eq!(tied[0].bytes.as_ptr(), tied[1].bytes.as_ptr());
    }
}

#[test]
fn floats_of_every_type_are_widened_and_rows_are_read_lazily() {
    for form in ["zip_2", "legacy_2", "zip_5"] {
        let file = TensorFile::map(&data().join(format!("types_{form}.bin"))).unwrap();
        let tensors = FloatTensors::of_head(&file).unwrap();
        for name in ["f32", "f16", "bf16", "f64"] {
            assert_eq!(tensors.get(name, &[2, 3]).unwrap(), [-2.5, -2.0, -1.5, -1.0, -0.5, 0.0]);
            let mut row = Vec::new();
            tensors.table(name, [2, 3]).unwrap().append_row(1, &mut row);
            assert_eq!(row, [-1.0, -0.5, 0.0]);
        }
    }
    // Rows of a matrix that is transposed in the file.
    let file = TensorFile::map(&data().join("views_zip_2.bin")).unwrap();
    let table = FloatTensors::of_head(&file).unwrap().table("transposed", [6, 4]).unwrap();
    drop(file);
    let mut row = Vec::new();
    table.append_row(1, &mut row);
    assert_eq!(row, [-2.0, 1.0, 4.0, 7.0]);
}

#[test]
fn files_with_more_than_tensors_are_refused_by_name() {
    for (name, message) in [
        ("refused_script.bin", "TorchScript archive"),
        (
            "refused_module.bin",
            "names the callable torch.nn.modules.linear.Linear, expected only tensors and containers",
        ),
        ("refused_sparse.bin", "names the callable torch._utils._rebuild_sparse_tensor"),
        ("refused_conjugate.bin", "conjugated or negated view"),
    ] {
        let error: CheckpointError = TensorFile::read(&data().join(name)).unwrap().tensors().unwrap_err();
        let error = error.to_string();
        assert!(error.contains(name) && error.contains(message), "{error}");
    }
}

#[test]
fn files_that_pytorch_wrote_are_refused_when_they_are_truncated() {
    for name in expected().keys() {
        let bytes = std::fs::read(data().join(name)).unwrap();
        for end in 0..bytes.len() {
            assert!(TensorFile::new("x.bin".as_ref(), bytes[..end].to_vec()).tensors().is_err(), "{name}: {end} bytes");
        }
    }
}
