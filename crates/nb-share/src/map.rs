//! The layer map of NewsBERT (Wu et al. 2021, section 3.2): each of N student layers stands for a group of K = L/N of the
//! L teacher layers.

use std::ops::Range;

/// The teacher layers that each student layer stands for.
///
/// Layers are numbered from 0. The hidden states of layers are numbered from 1, since state 0 is the embedding output.
///
/// ```
/// use nb_share::LayerMap;
/// let map = LayerMap::uniform(6, 2).unwrap();
/// assert_eq!(map.group_size(), 3);
/// assert_eq!(map.group(1), 3..6);          // student layer 1 stands for teacher layers 3, 4 and 5
/// assert_eq!(map.teacher_state(1), 3);     // H₁ of the student against H₃ of the teacher
/// assert_eq!(LayerMap::uniform(6, 4).unwrap_err().possible, [1, 2, 3, 6]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerMap {
    student_layers: usize,
    group: usize,
}

/// A student depth that does not divide the teacher's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a student of {student} layers cannot map onto a teacher of {teacher}: possible depths are {possible:?}")]
pub struct DepthError {
    /// The number of teacher layers L.
    pub teacher: usize,
    /// The requested number of student layers N.
    pub student: usize,
    /// All depths that divide L.
    pub possible: Vec<usize>,
}

impl LayerMap {
    /// Maps each student layer to a group of K = L/N neighbouring teacher layers.
    ///
    /// # Errors
    /// If N is 0 or does not divide L.
    pub fn uniform(teacher_layers: usize, student_layers: usize) -> Result<Self, DepthError> {
        if student_layers == 0 || teacher_layers == 0 || !teacher_layers.is_multiple_of(student_layers) {
            let possible = (1..=teacher_layers).filter(|n| teacher_layers.is_multiple_of(*n)).collect();
            return Err(DepthError { teacher: teacher_layers, student: student_layers, possible });
        }
        Ok(Self { student_layers, group: teacher_layers / student_layers })
    }

    /// The number of student layers N.
    pub fn student_layers(&self) -> usize {
        self.student_layers
    }

    /// The number of teacher layers L.
    pub fn teacher_layers(&self) -> usize {
        self.student_layers * self.group
    }

    /// The number of teacher layers per student layer, K.
    pub fn group_size(&self) -> usize {
        self.group
    }

    /// Returns the teacher layers that student layer `k` stands for, both counted from 0.
    ///
    /// # Panics
    /// If the student has no layer `k`.
    pub fn group(&self, k: usize) -> Range<usize> {
        assert!(k < self.student_layers, "layer {k} of a student of {} layers", self.student_layers);
        k * self.group..(k + 1) * self.group
    }

    /// Returns the teacher's hidden state that student state `i` learns from: iK. State 0, the embedding output, maps to 0.
    ///
    /// # Panics
    /// If the student has no state `i`.
    pub fn teacher_state(&self, i: usize) -> usize {
        assert!(i <= self.student_layers, "state {i} of a student of {} layers", self.student_layers);
        i * self.group
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_cover_the_teacher_once() {
        for (teacher, student) in [(12, 1), (12, 4), (6, 6), (1, 1)] {
            let map = LayerMap::uniform(teacher, student).unwrap();
            let covered: Vec<usize> = (0..student).flat_map(|k| map.group(k)).collect();
            assert_eq!(covered, (0..teacher).collect::<Vec<_>>());
            assert_eq!(map.teacher_state(student), teacher);
        }
    }

    #[test]
    fn the_error_for_an_impossible_depth_lists_the_possible_ones() {
        let error = LayerMap::uniform(6, 4).unwrap_err().to_string();
        assert_eq!(error, "a student of 4 layers cannot map onto a teacher of 6: possible depths are [1, 2, 3, 6]");
        assert!(LayerMap::uniform(6, 0).is_err() && LayerMap::uniform(2, 4).is_err());
    }
}
