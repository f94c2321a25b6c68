//! Command-line choices for types of the library, which does not depend on the command line.

use clap::ValueEnum;
use nb_checkpoint::PoolingKind;

/// Meaning of a `"` in csv and tsv.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum QuotingChoice {
    /// Same as csv; for a tsv file whose quotes do not pair up, same as none
    Auto,
    /// Quotes enclose a field, which may contain delimiters and line breaks
    Csv,
    /// Quotes are ordinary text, and each line is a row
    None,
}

impl From<QuotingChoice> for nb_data::read::Quoting {
    fn from(choice: QuotingChoice) -> Self {
        match choice {
            QuotingChoice::Auto => Self::Auto,
            QuotingChoice::Csv => Self::Csv,
            QuotingChoice::None => Self::None,
        }
    }
}

/// Treatment of rows whose label the model was not trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UnknownLabelsChoice {
    /// Skip and count them among the unusable rows
    Skip,
    /// Fail on the first one
    Error,
    /// Count every prediction for them as wrong
    Wrong,
}

/// Pooling of a text's token states into one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PoolingChoice {
    /// The model's own, as it was trained, or as the `modules.json` of a sentence-transformers folder says
    #[value(alias = "attention")]
    Head,
    /// Mean of the token states
    Mean,
    /// State of the first token
    Cls,
}

impl PoolingChoice {
    /// Returns a pooling without parameters in place of the model's own; `None` for its own.
    pub(crate) fn untrained(self) -> Option<PoolingKind> {
        match self {
            Self::Head => None,
            Self::Mean => Some(PoolingKind::Mean),
            Self::Cls => Some(PoolingKind::Cls),
        }
    }
}
