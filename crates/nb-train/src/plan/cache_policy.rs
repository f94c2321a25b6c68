//! The decision whether to cache outputs that do not change during a run.

use tch::Kind;

use crate::config::OutputsChoice;

/// Caching of outputs that do not change during a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CachePolicy {
    /// Cache them if they are used more than once and are small enough: in 32 bits, or in 16 bits if 32 are too many.
    Auto,
    /// Never cache them.
    Never,
    /// Always cache them, with states in 32 bits.
    F32,
    /// Always cache them, with states in 16 bits.
    Bf16,
}

impl CachePolicy {
    /// Largest number of bytes that [`CachePolicy::Auto`] caches.
    const AUTO_LIMIT: u64 = 4 << 30;

    /// Least number of times that a run uses the outputs of a text, on average, for [`CachePolicy::Auto`] to cache them.
    pub const FEWEST_USES: f64 = 1.5;

    /// Does the same as [`CachePolicy::kind`] for states from which training starts, which [`CachePolicy::Auto`] does not round.
    pub fn for_inputs(self, uses: f64, bytes: impl Fn(Kind) -> u64) -> Option<Kind> {
        self.kind(uses, bytes).filter(|&kind| self != Self::Auto || kind == Kind::Float)
    }

    /// Returns the kind of the cached states, or `None` if outputs are not cached. `uses` is the number of times that the run uses
    /// the outputs of a text, on average; `bytes` returns the size for a kind.
    pub fn kind(self, uses: f64, bytes: impl Fn(Kind) -> u64) -> Option<Kind> {
        match self {
            Self::Never => None,
            Self::F32 => Some(Kind::Float),
            Self::Bf16 => Some(Kind::BFloat16),
            Self::Auto if uses < Self::FEWEST_USES => None,
            Self::Auto => [Kind::Float, Kind::BFloat16].into_iter().find(|&kind| bytes(kind) <= Self::AUTO_LIMIT),
        }
    }
}

impl From<OutputsChoice> for CachePolicy {
    fn from(choice: OutputsChoice) -> Self {
        match choice {
            OutputsChoice::Auto => Self::Auto,
            OutputsChoice::Compute => Self::Never,
            OutputsChoice::F32 => Self::F32,
            OutputsChoice::Bf16 => Self::Bf16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_cached_if_they_are_used_again_and_not_too_large() {
        let size = |states: u64| move |kind: Kind| states * kind.elt_size_in_bytes() as u64;
        let limit = CachePolicy::AUTO_LIMIT;
        let (small, middle, large) = (1 << 20, limit / 4 + 1, limit / 2 + 1);
        let auto = |uses, states| CachePolicy::Auto.kind(uses, size(states));
        assert_eq!((auto(1.4, small), auto(1.5, small)), (None, Some(Kind::Float)));
        assert_eq!((auto(2.0, middle), auto(2.0, large)), (Some(Kind::BFloat16), None));
        let inputs = |policy: CachePolicy| policy.for_inputs(2.0, size(middle));
        assert_eq!([CachePolicy::Auto, CachePolicy::Bf16].map(inputs), [None, Some(Kind::BFloat16)]);
        for (policy, kind) in [
            (CachePolicy::Never, None),
            (CachePolicy::F32, Some(Kind::Float)),
            (CachePolicy::Bf16, Some(Kind::BFloat16)),
        ] {
            assert_eq!((policy.kind(1.0, size(large)), policy.kind(9.0, size(small))), (kind, kind), "{policy:?}");
        }
    }
}
