//! The peers of a number format: what each library runs, and why it does not.

use std::collections::BTreeMap;

use tch::Device;

use crate::options::{NumberFormat, PeerLibrary};

/// A peer of inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// A mode of `infer.py`.
    Program(&'static str),
    /// This project's inference with libtorch, in this process.
    Libtorch,
}

impl Mode {
    /// Returns the mode of `infer.py`, unless the peer is in this process.
    pub(super) fn program(self) -> Option<&'static str> {
        match self {
            Self::Program(mode) => Some(mode),
            Self::Libtorch => None,
        }
    }
}

/// The peers of a case.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    /// The peers that take part, each once.
    pub(super) modes: Vec<Mode>,
    /// The libraries that do not take part, each with the reason.
    pub(super) skipped: BTreeMap<String, String>,
}

/// Selects the peers of the libraries `against` in a number format.
pub(super) fn select(against: &[PeerLibrary], format: NumberFormat, device: Device) -> Selection {
    let mut selection = Selection::default();
    for &library in against {
        match modes(library, format, device) {
            Ok(modes) => modes.iter().for_each(|mode| {
                if !selection.modes.contains(mode) {
                    selection.modes.push(*mode);
                }
            }),
            Err(reason) => {
                let reason = format!("{reason}; this is {} on {}", format.name(), crate::device::name(device));
                selection.skipped.insert(library.name().to_owned(), reason);
            }
        }
    }
    selection
}

/// Returns the peers of a library, or the reason why it has none.
fn modes(library: PeerLibrary, format: NumberFormat, device: Device) -> Result<&'static [Mode], &'static str> {
    use {NumberFormat as Format, PeerLibrary as Library};
    match (library, format) {
        (Library::Openvino | Library::OpenvinoInt8, _) if device != Device::Cpu => {
            Err("OpenVINO is measured on the CPU")
        }
        (Library::Libtorch, _) if device != Device::Cpu => Err("on a GPU, ours is libtorch"),
        (Library::Torch, Format::F32 | Format::Bf16) => {
            Ok(&[Mode::Program("torch-eager"), Mode::Program("torch-compile")])
        }
        (Library::Onnx, Format::F32) => Ok(&[Mode::Program("onnx-f32")]),
        (Library::Onnx | Library::OnnxInt8, Format::Int8) => Ok(&[Mode::Program("onnx-int8")]),
        (Library::Openvino, Format::F32) => Ok(&[Mode::Program("openvino-f32")]),
        (Library::Openvino, Format::Bf16) => Ok(&[Mode::Program("openvino-bf16")]),
        (Library::Openvino | Library::OpenvinoInt8, Format::Int8) => Ok(&[Mode::Program("openvino-int8")]),
        (Library::Libtorch, Format::F32 | Format::Bf16) => Ok(&[Mode::Libtorch]),
        (Library::Torch | Library::Libtorch, Format::Int8) => Err("it is measured in f32 and bf16"),
        (Library::Onnx, Format::Bf16) => Err("it is measured in f32 and int8"),
        (Library::OnnxInt8 | Library::OpenvinoInt8, Format::F32 | Format::Bf16) => Err("it is measured in int8"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select_names(against: &[PeerLibrary], format: NumberFormat, device: Device) -> [Vec<String>; 2] {
        let Selection { modes, skipped } = select(against, format, device);
        let modes = modes.iter().map(|mode| mode.program().unwrap_or("libtorch").to_owned()).collect();
        [modes, skipped.into_iter().map(|(library, reason)| format!("{library}: {reason}")).collect()]
    }

    #[test]
    fn each_format_has_the_peers_that_know_it() {
        use PeerLibrary::*;
        let all = [Torch, Onnx, OnnxInt8, Openvino, OpenvinoInt8, Libtorch];
        let found = |format| select_names(&all, format, Device::Cpu);
        let [modes, skipped] = found(NumberFormat::F32);
        assert_eq!(modes, ["torch-eager", "torch-compile", "onnx-f32", "openvino-f32", "libtorch"]);
        let reason = "it is measured in int8; this is f32 on cpu";
        assert_eq!(skipped, [format!("onnx-int8: {reason}"), format!("openvino-int8: {reason}")]);
        let [modes, skipped] = found(NumberFormat::Bf16);
        assert_eq!(modes, ["torch-eager", "torch-compile", "openvino-bf16", "libtorch"]);
        assert_eq!(skipped.len(), 3);
        let [modes, skipped] = found(NumberFormat::Int8);
        assert_eq!(modes, ["onnx-int8", "openvino-int8"], "each mode once");
        let reason = "it is measured in f32 and bf16; this is int8 on cpu";
        assert_eq!(skipped, [format!("libtorch: {reason}"), format!("torch: {reason}")]);
    }

    #[test]
    fn peers_of_the_cpu_are_skipped_on_a_gpu() {
        use PeerLibrary::*;
        let [modes, skipped] = select_names(&[Onnx, Openvino, Libtorch], NumberFormat::F32, Device::Cuda(0));
        assert_eq!(modes, ["onnx-f32"]);
        let expected = [
            "libtorch: on a GPU, ours is libtorch; this is f32 on cuda:0",
            "openvino: OpenVINO is measured on the CPU; this is f32 on cuda:0",
        ];
        assert_eq!(skipped, expected);
    }
}
