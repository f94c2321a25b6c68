//! Templates: the special tokens and segment ids around one text or two.

use tokenizers::tokenizer::{Encoding, Token};

use super::side::Side;
use super::truncation::Kept;
use crate::batch::Tokens;

/// Placeholder ids of the texts while a template is read from a tokenizer. No vocabulary has that many tokens.
const TEXTS: [u32; 2] = [u32::MAX, u32::MAX - 1];

/// The largest number of special tokens in a template, more than any real template has.
const MOST_SPECIAL: usize = 64;

/// The templates of a tokenizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Templates {
    pub(super) single: Template,
    pub(super) pair: Template,
    pub(super) side: Side,
}

/// The order of special tokens and texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    parts: Vec<Part>,
    /// The first part with segment 1; the number of parts if there is none.
    ones_from: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Special(u32),
    First,
    Second,
}

impl Templates {
    /// Reads the templates of a tokenizer by running its post-processor on one text and on two.
    ///
    /// # Errors
    /// If a template drops, repeats or swaps texts, has no special token, or has segment ids other than 0s followed by
    /// 1s.
    pub(super) fn of(tokenizer: &tokenizers::Tokenizer, side: Side) -> tokenizers::Result<Self> {
        let text =
            |place: usize| Encoding::from_tokens(vec![Token::new(TEXTS[place], "x".into(), (0, 1))], place as u32);
        let single = Template::of(&tokenizer.post_process(text(0), None, true)?, &[Part::First])?;
        let both = tokenizer.post_process(text(0), Some(text(1)), true)?;
        let pair = Template::of(&both, &[Part::First, Part::Second])?;
        Ok(Self { single, pair, side })
    }

    /// Returns the largest id that a template itself adds.
    pub(super) fn largest_id(&self) -> Option<u32> {
        [&self.single, &self.pair].iter().filter_map(|template| template.largest_id()).max()
    }

    /// Returns the smallest valid maximum length: the special tokens and one token of the text.
    pub(super) fn fewest(&self) -> usize {
        self.single.special() + 1
    }

    /// Sets the segment of every token to 0.
    pub(super) fn without_segments(&mut self) {
        for template in [&mut self.single, &mut self.pair] {
            template.ones_from = template.parts.len();
        }
    }

    /// Returns true if a template gives a token segment 1.
    pub(super) fn has_segments(&self) -> bool {
        [&self.single, &self.pair].iter().any(|template| template.ones_from < template.parts.len())
    }

    /// Returns the smallest size of windows: the special tokens of a pair and a token of each text.
    pub(super) fn smallest_window(&self) -> usize {
        self.pair.special().max(self.single.special()) + 2
    }
}

impl Template {
    fn of(processed: &Encoding, texts: &[Part]) -> tokenizers::Result<Self> {
        let part = |&id: &u32| match TEXTS.iter().position(|&text| text == id) {
            Some(0) => Part::First,
            Some(_) => Part::Second,
            None => Part::Special(id),
        };
        let parts: Vec<Part> = processed.get_ids().iter().map(part).collect();
        let found: Vec<Part> = parts.iter().copied().filter(|part| !matches!(part, Part::Special(_))).collect();
        if found != texts {
            return Err("its post_processor does not take each text once, in order".into());
        }
        let segments = processed.get_type_ids();
        let ones_from = segments.iter().position(|&segment| segment != 0).unwrap_or(parts.len());
        if segments[ones_from..].iter().any(|&segment| segment != 1) {
            return Err(format!("its post_processor gives segment ids {segments:?}, expected 0s, then 1s").into());
        }
        let template = Self { parts, ones_from };
        if !(1..=MOST_SPECIAL).contains(&template.special()) {
            let found = template.special();
            return Err(format!("its post_processor adds {found} special tokens, expected 1 to {MOST_SPECIAL}").into());
        }
        Ok(template)
    }

    /// The largest id that the template itself adds.
    fn largest_id(&self) -> Option<u32> {
        let id = |part: &Part| if let Part::Special(id) = part { Some(*id) } else { None };
        self.parts.iter().filter_map(id).max()
    }

    pub(super) fn special(&self) -> usize {
        self.parts.iter().filter(|part| matches!(part, Part::Special(_))).count()
    }

    pub(super) fn fill(&self, first: Kept<'_>, second: Kept<'_>) -> Tokens {
        let mut ids = Vec::with_capacity(self.parts.len() + first.len() + second.len());
        let mut second_starts = None;
        for (place, part) in self.parts.iter().enumerate() {
            if place == self.ones_from {
                second_starts = Some(ids.len());
            }
            match part {
                Part::Special(id) => ids.push(*id),
                Part::First => ids.extend(first.start.iter().chain(first.end)),
                Part::Second => ids.extend(second.start.iter().chain(second.end)),
            }
        }
        Tokens { second_starts: second_starts.unwrap_or(ids.len()), ids, window: 0 }
    }
}
