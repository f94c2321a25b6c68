//! Cached vectors of a corpus.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nb_fuzz::folder;
use nb_rank::{RankError, VectorFile};

fuzz_target!(|data: &[u8]| {
    let folder = folder(&[("v.safetensors", data)]);
    let Some(mut file) = VectorFile::open(&folder.path().join("v.safetensors"), "key") else { return };
    let (rows, mut seen) = (file.rows(), 0);
    let read = file.each_block(3, |rows, values| {
        assert!(rows.iter().map(|&row| row as usize).eq(seen..seen + rows.len()), "{rows:?}");
        assert!(values.len() <= data.len());
        seen += 3;
        Ok::<_, RankError>(())
    });
    assert!(read.is_ok() && seen >= rows, "{seen} of {rows} rows");
});
