//! Weights in a file of `torch.save`: the input as a file, as the pickle in a file of the older format, and as a pickle of
//! protocol 2 without its first two bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nb_checkpoint::TensorFile;

/// The magic number, the version and the saving machine, which come before the pickle in the older format.
const START: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\
    \x80\x02}X\x0d\x00\x00\x00little_endian\x88s.";
/// The list of storages and the numbers of the storage `0`, which come after the pickle.
const END: &[u8] = b"\x80\x02]X\x01\x00\x00\x000a.\x04\x00\x00\x00\x00\x00\x00\x00\
    \x00\x00\x80\x3f\x00\x00\x00\x40\x00\x00\x40\x40\x00\x00\x80\x40";

fuzz_target!(|data: &[u8]| {
    check(data.to_vec());
    check([START, data, END].concat());
    check([START, b"\x80\x02", data, END].concat());
});

/// Reads a file. Its tensors have the length that their shapes call for, and those that are too long to be a part of the
/// file, which are copies, together take at most four times its length.
fn check(bytes: Vec<u8>) {
    let length = bytes.len();
    let file = TensorFile::new("pytorch_model.bin".as_ref(), bytes);
    let Ok(tensors) = file.tensors() else { return };
    let huge = tensors.iter().map(|tensor| tensor.bytes.len()).filter(|bytes| *bytes > length);
    assert!(huge.sum::<usize>() <= 4 * length, "copies of more than four times {length} bytes");
    for tensor in &tensors {
        // A dimension of 0 beside huge ones would overflow.
        let entries = if tensor.shape.contains(&0) { 0 } else { tensor.shape.iter().product() };
        assert_eq!(tensor.bytes.len(), entries * tensor.dtype.bitsize() / 8, "{tensor:?}");
    }
}
