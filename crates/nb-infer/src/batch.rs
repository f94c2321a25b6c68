//! Texts split into groups of similar length, which threads take one by one.

use nb_data::Tokens;

/// The largest number of tokens in a group of several texts: enough rows for fast products, few enough that a group's states stay in
/// the caches of a core.
const MOST_TOKENS: usize = 128;
/// The number of tokens below which products of more rows are faster than more groups.
const FEWEST_TOKENS: usize = 32;

/// Returns the indices of all texts in groups for `threads` threads: the longest texts first, so that threads finish together.
pub(crate) fn groups(texts: &[Tokens], threads: usize) -> Vec<Vec<usize>> {
    let length = |text: usize| texts[text].ids.len();
    let all: usize = (0..texts.len()).map(length).sum();
    let limit = all.div_ceil(threads).clamp(FEWEST_TOKENS, MOST_TOKENS);
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|&text| std::cmp::Reverse(length(text)));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut room = 0;
    for text in order {
        match groups.last_mut() {
            Some(group) if length(text) <= room => group.push(text),
            _ => {
                groups.push(vec![text]);
                room = limit;
            }
        }
        room = room.saturating_sub(length(text));
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_in_one_group() {
        let lengths = [3, 200, 64, 64, 60, 5, 9];
        let texts = lengths.map(|length| Tokens { ids: vec![0; length], second_starts: length, window: 0 });
        assert_eq!(groups(&texts, 1), [vec![1], vec![2, 3], vec![4, 6, 5, 0]]);
        let of_three_threads = groups(&texts[2..], 3); // 202 tokens: 68 in a group
        assert_eq!(of_three_threads, [vec![0], vec![1], vec![2], vec![4, 3]]);
        assert!(groups(&[], 4).is_empty());
    }
}
