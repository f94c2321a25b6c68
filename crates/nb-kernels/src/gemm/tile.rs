//! A result split into tiles, one per task.

use std::ops::Range;

use super::operands::{MR, NR};

/// Number of rows whose products take as long as packing the panels.
const PACK_ROWS: usize = 16;
/// Number of columns whose products take as long as reading the left matrix for a tile.
const READ_COLUMNS: usize = 4;
/// Largest number of tiles for each thread.
const TILES_PER_THREAD: usize = 8;
/// Largest number of tiles, unless there are more threads.
const MOST_TILES: usize = 64;
/// The part of a tile's time by which the last thread is late. It favours small tiles where they cost next to nothing.
const LATE: f64 = 0.03;

/// A position in a result.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    pub(super) row: usize,
    pub(super) column: usize,
}

/// The rows and columns of one tile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

/// A result [rows, columns] split into tiles of equal size, except for the last ones. Each thread packs the panels of its tile
/// itself: fetching what another thread has just written takes longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    rows: usize,
    columns: usize,
    /// Rows of a tile, in complete micro-tiles.
    tile_rows: usize,
    /// Columns of a tile, in complete panels.
    tile_columns: usize,
}

impl Grid {
    /// Splits a result for `threads` threads to finish it as early as possible.
    pub(super) fn new(rows: usize, columns: usize, threads: usize) -> Self {
        let (micro_tiles, panels) = (rows.div_ceil(MR).max(1), columns.div_ceil(NR).max(1));
        let with = |(across, down): (usize, usize)| Self {
            rows,
            columns,
            tile_rows: micro_tiles.div_ceil(down) * MR,
            tile_columns: panels.div_ceil(across) * NR,
        };
        let most = if threads == 1 { 1 } else { (threads * TILES_PER_THREAD).min(MOST_TILES).max(threads) };
        let all = (1..=most.min(panels)).flat_map(|across| (1..=most / across).map(move |down| (across, down)));
        let timed = all.map(with).map(|grid| (grid.time(threads), grid));
        let earliest = timed.min_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, grid)| grid);
        earliest.unwrap_or_else(|| with((1, 1))) // never empty: there is at least one thread and one panel
    }

    /// Estimates the time until `threads` threads have finished, in arbitrary units.
    fn time(&self, threads: usize) -> f64 {
        let tile = self.tile_columns * (self.tile_rows + PACK_ROWS) + self.tile_rows * READ_COLUMNS;
        let turns = self.count().div_ceil(threads);
        (turns as f64 + LATE) * tile as f64
    }

    /// Returns the number of tiles side by side.
    fn across(&self) -> usize {
        self.columns.div_ceil(self.tile_columns)
    }

    fn count(&self) -> usize {
        self.rows.div_ceil(self.tile_rows) * self.across()
    }

    /// Returns all tiles, row by row.
    pub(super) fn tiles(&self) -> impl ExactSizeIterator<Item = Tile> + use<> {
        let (grid, across) = (*self, self.across());
        (0..self.count()).map(move |index| {
            let (row, column) = (index / across * grid.tile_rows, index % across * grid.tile_columns);
            Tile {
                rows: row..grid.rows.min(row + grid.tile_rows),
                columns: column..grid.columns.min(column + grid.tile_columns),
            }
        })
    }

    /// Returns the parts of the result's `entries` that the tiles cover, in the order of [`Grid::tiles`].
    pub(super) fn split_mut<'a, U>(&self, entries: &'a mut [U]) -> Vec<TileMut<'a, U>> {
        let empty = |tile: Tile| TileMut {
            first: Position { row: tile.rows.start, column: tile.columns.start },
            rows: Vec::with_capacity(tile.rows.len()),
        };
        let mut tiles: Vec<_> = self.tiles().map(empty).collect();
        let across = self.across();
        for (i, row) in entries.chunks_mut(self.columns).enumerate() {
            let first = i / self.tile_rows * across;
            for (j, part) in row.chunks_mut(self.tile_columns).enumerate() {
                tiles[first + j].rows.push(part);
            }
        }
        tiles
    }
}

/// The part of a result that one tile covers.
#[derive(Debug)]
pub(super) struct TileMut<'a, U> {
    first: Position,
    /// A part of each row of the result.
    rows: Vec<&'a mut [U]>,
}

impl<'a, U> TileMut<'a, U> {
    /// Covers a complete matrix with rows of `columns` entries.
    pub(super) fn whole(entries: &'a mut [U], columns: usize) -> Self {
        Self { first: Position { row: 0, column: 0 }, rows: entries.chunks_mut(columns).collect() }
    }

    /// Returns the entries that a row of a micro-tile covers: up to [`NR`].
    #[inline(always)]
    pub(super) fn row(&self, at: Position) -> &[U] {
        let row = &*self.rows[at.row - self.first.row];
        let first = at.column - self.first.column;
        &row[first..row.len().min(first + NR)]
    }

    /// Returns the same entries for writing.
    #[inline(always)]
    pub(super) fn row_mut(&mut self, at: Position) -> &mut [U] {
        let row = &mut *self.rows[at.row - self.first.row];
        let first = at.column - self.first.column;
        let end = row.len().min(first + NR);
        &mut row[first..end]
    }

    /// Returns the entries that `count` rows of a micro-tile cover; `None` beyond the last row, and where a row covers fewer than
    /// [`NR`].
    #[inline(always)]
    pub(super) fn panel_rows(&mut self, at: Position, count: usize) -> [Option<&mut [U; NR]>; MR] {
        let (row, first) = (at.row - self.first.row, at.column - self.first.column);
        let mut rows = self.rows[row..row + count].iter_mut();
        std::array::from_fn(|_| rows.next()?.get_mut(first..)?.first_chunk_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_finish_at_the_same_time() {
        let grid = |rows, columns, threads| {
            let grid = Grid::new(rows, columns, threads);
            (grid.tile_rows, grid.tile_columns)
        };
        assert_eq!(grid(370, 384, 1), (372, 384));
        assert_eq!(grid(370, 384, 2), (372, 192));
        assert_eq!(grid(1646, 1536, 2), (1650, 384)); // a late thread has less to catch up with
        assert_eq!(grid(600, 384, 4), (300, 192)); // 6 panels do not split into 4 equal parts
        assert_eq!(grid(600, 512, 4), (600, 128));
        assert_eq!(grid(600, 64, 3), (204, 64));
        assert_eq!(grid(1, 1, 8), (6, 64));
    }

    #[test]
    fn tiles_cover_each_entry_once() {
        for (rows, columns, threads) in [(13, 200, 3), (100, 64, 4), (7, 65, 8), (0, 10, 2)] {
            let grid = Grid::new(rows, columns, threads);
            let mut entries: Vec<usize> = vec![0; rows * columns];
            let mut tiles: Vec<_> = grid.tiles().zip(grid.split_mut(&mut entries)).collect();
            for (tile, part) in &mut tiles {
                for row in tile.rows.clone() {
                    for column in tile.columns.clone().step_by(NR) {
                        let covered = part.row_mut(Position { row, column });
                        let expected = row * columns + column + 1;
                        covered.iter_mut().enumerate().for_each(|(i, entry)| *entry += expected + i);
                    }
                }
            }
            assert!(entries.iter().enumerate().all(|(i, entry)| *entry == i + 1), "{rows} {columns} {threads}");
        }
    }
}
