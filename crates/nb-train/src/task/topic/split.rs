//! Labelled rows of a token store.

use std::rc::Rc;

use nb_data::TokenStore;

/// Rows of a token store with their labels.
#[derive(Debug)]
pub struct TopicSplit {
    /// The texts.
    pub store: Rc<TokenStore>,
    /// The rows of the store that belong to the split.
    pub rows: Vec<u32>,
    /// The class of each row of the store, where it has a label.
    pub labels: Vec<Option<usize>>,
    /// Labels that no training row has, whose classes follow those of the training rows.
    pub unknown: Vec<String>,
}
