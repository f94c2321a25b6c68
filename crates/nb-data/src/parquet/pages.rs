//! Checks the sizes that the pages of a row group claim, before anything of this size is allocated.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use super::guard::Cause;
use super::thrift::PageHeader;

/// The largest page after decompression. Writers make pages of about 1 MiB; some make one page per row group.
const LARGEST_PAGE: u64 = 1 << 30;

/// A page of this size needs no explanation by its compressed size.
const PLAUSIBLE_PAGE: u64 = 64 << 20;

/// The largest header of a page; it may contain the smallest and the largest value.
const LARGEST_HEADER: u64 = 16 << 20;

/// The largest number of entries of a list column in a row group: one row may hold all of them, and so may one batch.
const MOST_ENTRIES: i64 = 1 << 28;

/// Checks the pages of some leaves.
pub(super) fn check(file: &File, group: &RowGroupMetaData, leaves: &[usize]) -> Result<(), Cause> {
    let mut reader = BufReader::new(file.try_clone()?);
    for &leaf in leaves {
        let column = group.columns().get(leaf).ok_or_else(|| format!("a row group without column {leaf}"))?;
        check_column(&mut reader, column)?;
    }
    Ok(())
}

fn check_column(reader: &mut (impl Read + Seek), column: &ColumnChunkMetaData) -> Result<(), Cause> {
    let (start, length) = column.byte_range();
    let (mut at, end) = (start, start + length);
    let is_list = column.column_descr().max_rep_level() > 0;
    let mut entries = 0;
    while at < end {
        reader.seek(SeekFrom::Start(at))?;
        let mut header = reader.take(LARGEST_HEADER.min(end - at));
        let limit = header.limit();
        let PageHeader { uncompressed, compressed, values } =
            PageHeader::read(&mut header).map_err(|error| format!("no page header at byte {at}: {error}"))?;
        let rest = end - at - (limit - header.limit());
        let size = |size: i32| u64::try_from(size).ok();
        let (Some(uncompressed), Some(compressed)) = (size(uncompressed), size(compressed).filter(|&it| it <= rest))
        else {
            return Err(format!("a page of {compressed} bytes at byte {at}, expected at most {rest}").into());
        };
        let largest = compressed.saturating_mul(growth(column.compression())).clamp(PLAUSIBLE_PAGE, LARGEST_PAGE);
        if uncompressed > largest {
            let found = format!("a page at byte {at} of {compressed} bytes, {uncompressed} after decompression");
            return Err(format!("{found}, expected at most {largest}").into());
        }
        entries += i64::from(values);
        if values < 0 || (is_list && entries > MOST_ENTRIES) {
            let found = format!("{entries} entries in the lists of {:?} in a row group", column.column_path().string());
            return Err(format!("{found}, expected at most {MOST_ENTRIES}; write smaller row groups").into());
        }
        at = end - rest + compressed;
    }
    Ok(())
}

/// Returns the largest factor by which decompression can lengthen a page.
fn growth(compression: Compression) -> u64 {
    match compression {
        Compression::UNCOMPRESSED => 1,
        Compression::SNAPPY => 64,
        Compression::LZ4 | Compression::LZ4_RAW | Compression::LZO => 256,
        Compression::GZIP(_) => 1100,
        _ => 1 << 16,
    }
}
