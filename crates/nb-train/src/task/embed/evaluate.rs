//! Metrics of embeddings: how well a student's vectors stand in for its teacher's.

use anyhow::{Result, bail};
use nb_data::Repeated;
use nb_kernels::dot;
use nb_rank::{CorpusIndex, Hit, Measurements, Metric, QueryVectors, RankError, TopKSearch};
use nb_report::record::Outcomes;

/// Number of nearest neighbours that are compared.
const NEIGHBOURS: usize = 10;
/// The name of the primary metric.
pub(super) const OVERLAP: &str = "overlap@10";
const COSINE: &str = "cosine";

/// The vectors of some texts, one after the other.
#[derive(Debug)]
pub(super) struct TextVectors {
    pub(super) values: Vec<f32>,
    pub(super) width: usize,
}

impl TextVectors {
    fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.width)
    }

    /// Returns the nearest other texts of each text by dot product, the most similar first.
    fn neighbours(&self) -> Result<Vec<Vec<Hit>>, RankError> {
        let count = self.values.len() / self.width;
        let queries = QueryVectors {
            vectors: self.values.clone(),
            hidden: self.width,
            same_id: (0..count as u32).map(Some).collect(), // a text is not its own neighbour
        };
        let index = CorpusIndex::new(Repeated::First, &vec![None; count]);
        let mut search = TopKSearch::new(queries, index.into(), NEIGHBOURS);
        search.add(&(0..count as u32).collect::<Vec<_>>(), &self.values)?;
        Ok(search.finish())
    }
}

/// Compares the vectors of a student with those of its teacher, text by text: the share of the teacher's ten nearest
/// neighbours that are among the student's, and the cosine if their widths are equal. Neighbours are other texts of the same
/// split; with fewer than eleven texts, all of them.
///
/// # Errors
/// If there are fewer than two texts.
pub(super) fn evaluate_vectors(teacher: &TextVectors, student: &TextVectors) -> Result<Measurements> {
    let count = student.values.len() / student.width;
    if count < 2 {
        bail!("{count} texts to measure on, expected at least two; set data.dev_fraction to hold out more");
    }
    let compared = NEIGHBOURS.min(count - 1);
    let (expected, found) = (teacher.neighbours()?, student.neighbours()?);
    let overlap = |(expected, found): (&Vec<Hit>, &Vec<Hit>)| {
        let common = found.iter().filter(|hit| expected.iter().any(|other| other.row == hit.row)).count();
        common as f64 / compared as f64
    };
    let mut values: Vec<(&'static str, Vec<f64>)> = vec![(OVERLAP, expected.iter().zip(&found).map(overlap).collect())];
    if teacher.width == student.width {
        values.push((COSINE, teacher.rows().zip(student.rows()).map(|(a, b)| cosine(a, b)).collect()));
    }
    Ok(Measurements {
        rows: count,
        unit: "texts".into(),
        metrics: values.iter().map(|(name, values)| Metric::mean(name, values)).collect::<Result<_, RankError>>()?,
        outcomes: Outcomes {
            rows: (0..count as u32).collect(),
            values: values.into_iter().map(|(name, values)| (name.into(), values)).collect(),
            classes: None,
        },
        ..Measurements::default()
    })
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let lengths = f64::from(dot(a, a)).sqrt() * f64::from(dot(b, b)).sqrt();
    if lengths > 0.0 { f64::from(dot(a, b)) / lengths } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors(values: &[[f32; 2]]) -> TextVectors {
        TextVectors { values: values.concat(), width: 2 }
    }

    #[test]
    fn equal_vectors_have_all_neighbours_in_common() {
        let texts = vectors(&[[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]);
        let found = evaluate_vectors(&texts, &texts).unwrap();
        assert_eq!((found.rows, found.get(OVERLAP), found.get(COSINE)), (3, Some(1.0), Some(1.0)));
    }

    /// 13 texts on a circle; the student's are in another order. By hand: each text has ten of twelve neighbours.
    #[test]
    fn overlap_and_cosine_match_their_definitions() {
        let on_circle = |i: usize| {
            let angle = i as f32 * 0.2;
            [angle.cos(), angle.sin()]
        };
        let teacher: Vec<[f32; 2]> = (0..13).map(on_circle).collect();
        let student: Vec<[f32; 2]> = (0..13).map(|i| on_circle(i * 5 % 13)).collect();
        let nearest = |texts: &[[f32; 2]], i: usize| -> Vec<usize> {
            let product = |j: usize| texts[i][0] * texts[j][0] + texts[i][1] * texts[j][1];
            let mut others: Vec<usize> = (0..13).filter(|&j| j != i).collect();
            others.sort_by(|&a, &b| product(b).total_cmp(&product(a)));
            others.truncate(10);
            others
        };
        let common = |i: usize| {
            let (a, b) = (nearest(&teacher, i), nearest(&student, i));
            a.iter().filter(|j| b.contains(j)).count() as f64 / 10.0
        };
        let expected: Vec<f64> = (0..13).map(common).collect();
        let found = evaluate_vectors(&vectors(&teacher), &vectors(&student)).unwrap();
        assert_eq!(found.outcomes.values[0].1, expected);
        let angle = |i: usize| (0.2 * (i as f64 - (i * 5 % 13) as f64)).cos();
        for (i, cosine) in found.outcomes.values[1].1.iter().enumerate() {
            assert!((cosine - angle(i)).abs() < 1e-6, "text {i}: {cosine}, expected {}", angle(i));
        }
    }

    #[test]
    fn vectors_of_different_widths_have_no_cosine() {
        let wide = TextVectors { values: vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0], width: 3 };
        let found = evaluate_vectors(&wide, &vectors(&[[1.0, 0.0], [0.0, 1.0]])).unwrap();
        assert_eq!((found.get(OVERLAP), found.get(COSINE)), (Some(1.0), None));
        assert!(evaluate_vectors(&vectors(&[[1.0, 0.0]]), &vectors(&[[1.0, 0.0]])).is_err());
    }
}
