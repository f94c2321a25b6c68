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

/// So many entries need no explanation by their compressed size.
const PLAUSIBLE_ENTRIES: i64 = 1 << 24;

/// The largest number of entries per byte, beyond [`PLAUSIBLE_ENTRIES`]. Ids take a byte or more each.
const ENTRIES_PER_BYTE: i64 = 8;

/// The largest number of pages without values in a column of a row group: its dictionary, and a few empty ones.
const MOST_EMPTY_PAGES: u32 = 1000;

/// Checks the pages of some leaves.
pub(super) fn check(file: &File, group: &RowGroupMetaData, leaves: &[usize]) -> Result<(), Cause> {
    let mut reader = BufReader::new(file.try_clone()?);
    for &leaf in leaves {
        let column = group.columns().get(leaf).ok_or_else(|| format!("a row group without column {leaf}"))?;
        check_column(&mut reader, column)?;
    }
    Ok(())
}

fn check_column<R: Read + Seek>(reader: &mut BufReader<R>, column: &ColumnChunkMetaData) -> Result<(), Cause> {
    let (start, length) = column.byte_range();
    let (mut at, end) = (start, start + length);
    let (mut values, mut empty_pages) = (0, 0);
    reader.seek(SeekFrom::Start(at))?;
    while at < end {
        let mut input = reader.take(LARGEST_HEADER.min(end - at));
        let limit = input.limit();
        let header = PageHeader::read(&mut input).map_err(|error| format!("no page header at byte {at}: {error}"))?;
        let body = at + (limit - input.limit());
        let compressed = check_page(&header, at, end - body, column)?;
        values += i64::from(header.values);
        empty_pages += u32::from(header.values == 0);
        if header.values < 0 || values > column.num_values() || empty_pages > MOST_EMPTY_PAGES {
            let found = format!("{values} values up to byte {at}, with {empty_pages} pages without values");
            return Err(format!("{found}, expected {} values", column.num_values()).into());
        }
        at = body + compressed;
        // Stays within the buffer if it can: a seek would read it anew for every page.
        reader.seek_relative(i64::try_from(compressed)?)?;
    }
    check_entries(values, column)
}

/// Checks the sizes of a page, of which `rest` bytes can be left, and returns its compressed size.
fn check_page(header: &PageHeader, at: u64, rest: u64, column: &ColumnChunkMetaData) -> Result<u64, Cause> {
    let size = |size: Option<i32>| u64::try_from(size?).ok();
    let (Some(uncompressed), Some(compressed)) =
        (size(header.uncompressed), size(header.compressed).filter(|&it| it <= rest))
    else {
        let found = format!("a page of {:?} bytes, {:?} after decompression", header.compressed, header.uncompressed);
        return Err(format!("{found}, at byte {at}, expected at most {rest} bytes").into());
    };
    let largest = compressed.saturating_mul(growth(column.compression())).clamp(PLAUSIBLE_PAGE, LARGEST_PAGE);
    if uncompressed > largest {
        let found = format!("a page at byte {at} of {compressed} bytes, {uncompressed} after decompression");
        return Err(format!("{found}, expected at most {largest}").into());
    }
    Ok(compressed)
}

/// Checks the number of entries of a list column, each of which takes memory in a batch.
fn check_entries(entries: i64, column: &ColumnChunkMetaData) -> Result<(), Cause> {
    let is_list = column.column_descr().max_rep_level() > 0;
    let most = most_entries(column.compressed_size());
    if is_list && entries > most {
        let found = format!("{entries} entries in the lists of {:?} in a row group", column.column_path().string());
        return Err(format!("{found}, expected at most {most}; write smaller row groups").into());
    }
    Ok(())
}

fn most_entries(bytes: i64) -> i64 {
    bytes.saturating_mul(ENTRIES_PER_BYTE).clamp(PLAUSIBLE_ENTRIES, MOST_ENTRIES)
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

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::basic::Type;
    use parquet::schema::types::{ColumnDescriptor, ColumnPath, Type as SchemaType};
    use std::io::Cursor;
    use std::sync::Arc;

    /// Checks the pages of a column of `values` numbers.
    fn check_bytes(bytes: Vec<u8>, values: i64) -> Result<(), String> {
        let column = SchemaType::primitive_type_builder("a", Type::INT32).build().unwrap();
        let descriptor = ColumnDescriptor::new(Arc::new(column), 0, 0, ColumnPath::from("a"));
        let column = ColumnChunkMetaData::builder(Arc::new(descriptor))
            .set_num_values(values)
            .set_data_page_offset(0)
            .set_total_compressed_size(bytes.len() as i64)
            .build()
            .unwrap();
        check_column(&mut BufReader::new(Cursor::new(bytes)), &column).map_err(|error| error.to_string())
    }

    #[test]
    fn pages_without_sizes_or_with_too_many_values_are_errors() {
        // Sizes 4 and 4, header of a data page with one value; then the value.
        let page = [&[0x25, 8, 0x15, 8, 0x2C, 0x15, 2, 0, 0][..], &[7; 4]].concat();
        assert_eq!(check_bytes(page.repeat(3), 3), Ok(()));
        let error = check_bytes(page.repeat(3), 2).unwrap_err();
        assert_eq!(error, "3 values up to byte 26, with 0 pages without values, expected 2 values");
        let error = check_bytes(vec![0; 1 << 20], 3).unwrap_err();
        assert_eq!(error, "a page of None bytes, None after decompression, at byte 0, expected at most 1048575 bytes");
        let empty = [0x25, 0, 0x15, 0, 0];
        assert_eq!(check_bytes(empty.repeat(1000), 0), Ok(()));
        let error = check_bytes(empty.repeat(100_000), 0).unwrap_err();
        assert_eq!(error, "0 values up to byte 5000, with 1001 pages without values, expected 0 values");
    }

    #[test]
    fn many_entries_need_many_bytes() {
        assert_eq!(most_entries(0), 1 << 24);
        assert_eq!(most_entries(100 << 20), 1 << 28);
        assert_eq!(most_entries(4 << 20), 1 << 25);
    }
}
