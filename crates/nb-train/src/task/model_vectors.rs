//! The vectors of a model for the texts of a store.

use anyhow::{Result, bail};
use nb_data::TokenStore;
use nb_dist::ProcessGroup;

use super::TaskHead;
use super::encode::{NOT_FINITE, compute_rows, encode, pack};
use crate::model::Model;

/// Encodes rows of a store into the model's vectors, concatenated: [rows × H].
///
/// # Errors
/// If an entry is not finite, or if a process is lost.
pub(super) fn model_vectors<T: TaskHead>(
    model: &Model<T>,
    store: &TokenStore,
    rows: &[u32],
    processes: &ProcessGroup,
) -> Result<Vec<f32>> {
    let Model { bert, head } = model;
    let device = bert.device();
    compute_rows(store, rows, model.vector_width(), processes, |batch| {
        let vectors = Vec::<f32>::try_from(encode(bert, head, &pack(batch, device)).view(-1))?;
        if vectors.iter().any(|v| !v.is_finite()) {
            bail!("{NOT_FINITE}");
        }
        Ok(vectors)
    })
}
