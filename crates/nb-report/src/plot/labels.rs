//! Placement of point labels: beside the point if there is room, otherwise as near as possible.

use super::UNIT;

/// A rectangle of the canvas, in canvas units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) left: i32,
    pub(super) top: i32,
    pub(super) right: i32,
    pub(super) bottom: i32,
}

/// A label of a point at (`x`, `y`), in canvas units.
#[derive(Debug, Clone, Copy)]
pub(super) struct Label {
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) width: i32,
}

/// Half the height of a label.
const HALF: i32 = 8 * UNIT;
/// Distance of a label from its point.
const GAP: i32 = 11 * UNIT;
/// Half the size of a mark.
const MARK: i32 = 7 * UNIT;
/// Number of positions tried above and below the point, and the distance between them.
const TRIES: i32 = 60;
const STEP: i32 = 3 * UNIT;

/// Returns the position of each label, in the order of the labels. As far as there is room, a label covers no mark, no
/// other label and no `taken` block.
pub(super) fn place_labels(labels: &[Label], inside: Block, taken: &[Block]) -> Vec<Block> {
    let mut occupied: Vec<Block> = labels.iter().map(|label| label.mark()).chain(taken.iter().copied()).collect();
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by_key(|i| labels[*i].y);
    let mut places = vec![inside; labels.len()];
    for i in order {
        let label = labels[i];
        let is_free = |place: &Block| place.is_within(inside) && !occupied.iter().any(|other| place.overlaps(*other));
        let place = label.candidates().find(is_free).unwrap_or_else(|| label.right_of_point(0));
        occupied.push(place);
        places[i] = place;
    }
    places
}

impl Label {
    fn mark(self) -> Block {
        Block { left: self.x - MARK, top: self.y - MARK, right: self.x + MARK, bottom: self.y + MARK }
    }

    /// Returns the candidate positions of the label, the nearest first.
    fn candidates(self) -> impl Iterator<Item = Block> {
        let shifts = (0..TRIES).flat_map(|n| [n * STEP, -n * STEP]);
        shifts.flat_map(move |shift| [self.right_of_point(shift), self.left_of_point(shift)])
    }

    fn right_of_point(self, shift: i32) -> Block {
        self.at(self.x + GAP, shift)
    }

    fn left_of_point(self, shift: i32) -> Block {
        self.at(self.x - GAP - self.width, shift)
    }

    fn at(self, left: i32, shift: i32) -> Block {
        let y = self.y + shift;
        Block { left, top: y - HALF, right: left + self.width, bottom: y + HALF }
    }
}

impl Block {
    /// Returns true if the block is inside `outer`. At the top, it may protrude by half the height of a label.
    fn is_within(self, outer: Self) -> bool {
        self.left >= outer.left
            && self.top >= outer.top - HALF
            && self.right <= outer.right
            && self.bottom <= outer.bottom
    }

    fn overlaps(self, other: Self) -> bool {
        self.left < other.right && other.left < self.right && self.top < other.bottom && other.top < self.bottom
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_coincident_points_do_not_overlap() {
        let labels = [Label { x: 1200, y: 800, width: 240 }; 12];
        let inside = Block { left: 0, top: 0, right: 2800, bottom: 1600 };
        let line = Block { top: 699, bottom: 701, ..inside };
        let places = place_labels(&labels, inside, &[line]);
        for (i, place) in places.iter().enumerate() {
            assert!(place.is_within(inside) && !place.overlaps(line));
            assert!(places.iter().skip(i + 1).all(|other| !place.overlaps(*other)), "{places:?}");
        }
    }
}
