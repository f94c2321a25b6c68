//! The tensors in files of `torch.save`, such as `pytorch_model.bin`, found without running the code that pickles may
//! call.

mod archive;
mod legacy;
mod pickle;
mod state;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod zip;

use crate::contents::Contents;

/// Returns the tensors of a file.
///
/// # Errors
/// A message, if the file is truncated, malformed or of another format, or if it contains more than tensors and
/// containers.
pub(crate) fn read(bytes: &[u8]) -> Result<Contents, String> {
    match bytes {
        [b'P', b'K', 3, 4, ..] => archive::read(bytes),
        [0x80, ..] => legacy::read(bytes),
        _ if bytes.get(257..262) == Some(b"ustar") => {
            Err("it is a tar archive, a format of PyTorch 0.1; load it in Python with \
                 `torch.load(path, weights_only=False)`, which may run code, and save it with `torch.save`"
                .to_owned())
        }
        _ if zip::is_archive(bytes) => archive::read(bytes),
        _ if bytes.starts_with(b"version https://git-lfs") => {
            Err("it is a pointer of Git LFS; fetch the file itself with `git lfs pull`".to_owned())
        }
        [_, _, _, _, _, _, _, _, b'{', b'"', ..] => {
            Err("it has the format safetensors; rename it to model.safetensors".to_owned())
        }
        [] => Err("it is empty".to_owned()),
        _ => Err("it is neither an archive nor a pickle of torch.save".to_owned()),
    }
}
