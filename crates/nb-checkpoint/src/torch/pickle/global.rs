//! The Python names that a state dict needs. Every other name is refused.

use safetensors::Dtype;

/// A class, function or constant of Python, by its meaning. None of them is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    /// `collections.OrderedDict`.
    OrderedDict,
    /// A class or function whose results no tensor depends on, such as `set`.
    Plain(&'static str),
    /// `torch.Size`, which becomes a tuple.
    Size,
    /// A class of storages, with the type of their elements unless they are untyped.
    Storage(Option<Dtype>),
    /// A type of elements, such as `torch.float32`.
    Dtype(Dtype),
    /// `torch.Tensor` or `torch.nn.Parameter`.
    TensorClass,
    /// A function that makes a tensor from a storage.
    Rebuild(Rebuild),
    /// A function that makes a parameter from a tensor.
    Parameter,
    /// `torch._tensor._rebuild_from_type_v2`, which makes a tensor with attributes.
    FromType,
}

/// The functions that make a tensor, by their arguments after storage, offset, size and strides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rebuild {
    /// None.
    Plain,
    /// `requires_grad`, hooks and optional metadata.
    Metadata,
    /// `requires_grad`, hooks, the type of the elements and optional metadata.
    DtypeAndMetadata,
}

impl Global {
    /// Returns the meaning of a name; `None` if no state dict needs it.
    pub(super) fn find(module: &str, name: &str) -> Option<Self> {
        match (module, name) {
            ("collections", "OrderedDict") => Some(Self::OrderedDict),
            // Protocol 2 uses the module names of Python 2.
            ("builtins" | "__builtin__", "set") => Some(Self::Plain("a set")),
            ("builtins" | "__builtin__", "frozenset") => Some(Self::Plain("a frozen set")),
            ("builtins" | "__builtin__", "bytearray") => Some(Self::Plain("a byte array")),
            // Protocol 2 writes bytes as a string to be encoded.
            ("_codecs", "encode") => Some(Self::Plain("bytes")),
            ("torch", "device") => Some(Self::Plain("a device")),
            ("torch", "Size") => Some(Self::Size),
            ("torch", "Tensor") | ("torch.nn.parameter", "Parameter") => Some(Self::TensorClass),
            ("torch._tensor" | "torch.tensor", "_rebuild_from_type_v2") => Some(Self::FromType),
            ("torch._utils", "_rebuild_tensor") => Some(Self::Rebuild(Rebuild::Plain)),
            ("torch._utils", "_rebuild_tensor_v2") => Some(Self::Rebuild(Rebuild::Metadata)),
            ("torch._utils", "_rebuild_tensor_v3") => Some(Self::Rebuild(Rebuild::DtypeAndMetadata)),
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Some(Self::Parameter),
            ("torch.storage", "UntypedStorage" | "TypedStorage") => Some(Self::Storage(None)),
            ("torch", "UntypedStorage") => Some(Self::Storage(None)),
            ("torch", name) => match name.strip_suffix("Storage") {
                Some(kind) => stored(kind).map(|dtype| Self::Storage(Some(dtype))),
                None => dtype(name).map(Self::Dtype),
            },
            _ => None,
        }
    }
}

/// Returns the type of the elements of `torch.{kind}Storage`.
fn stored(kind: &str) -> Option<Dtype> {
    Some(match kind {
        "Float" => Dtype::F32,
        "Half" => Dtype::F16,
        "BFloat16" => Dtype::BF16,
        "Double" => Dtype::F64,
        "Long" => Dtype::I64,
        "Int" => Dtype::I32,
        "Short" => Dtype::I16,
        "Char" => Dtype::I8,
        "Byte" => Dtype::U8,
        "Bool" => Dtype::BOOL,
        "ComplexFloat" => Dtype::C64,
        _ => return None,
    })
}

/// Returns the type of elements that `torch` calls `name`.
fn dtype(name: &str) -> Option<Dtype> {
    Some(match name {
        "float32" => Dtype::F32,
        "float16" => Dtype::F16,
        "bfloat16" => Dtype::BF16,
        "float64" => Dtype::F64,
        "int64" => Dtype::I64,
        "int32" => Dtype::I32,
        "int16" => Dtype::I16,
        "int8" => Dtype::I8,
        "uint8" => Dtype::U8,
        "uint16" => Dtype::U16,
        "uint32" => Dtype::U32,
        "uint64" => Dtype::U64,
        "bool" => Dtype::BOOL,
        "complex64" => Dtype::C64,
        "float8_e4m3fn" => Dtype::F8_E4M3,
        "float8_e5m2" => Dtype::F8_E5M2,
        _ => return None,
    })
}
