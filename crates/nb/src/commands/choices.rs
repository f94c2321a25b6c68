//! Choices on the command line that stand for types of the library, which knows no command line.

use clap::ValueEnum;
use nb_train::inference;

/// The meaning of a `"` in csv and tsv.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum QuotingChoice {
    /// Quoting in csv; in tsv text if the file's quotes do not pair up, else quoting
    Auto,
    /// Quoting: a quoted field may hold delimiters and line breaks
    Csv,
    /// Text: a line is a row
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

/// The treatment of rows whose label the model was not trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UnknownLabelsChoice {
    /// Skip, count and show them; they count among the unusable rows
    Skip,
    /// Fail on the first one
    Error,
}

/// Pooling of a text's token states into one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PoolingChoice {
    /// The attention that was trained with the model
    Attention,
    /// The mean of the tokens' states
    Mean,
    /// The state of the first token
    Cls,
}

impl From<PoolingChoice> for inference::Pooling {
    fn from(choice: PoolingChoice) -> Self {
        match choice {
            PoolingChoice::Attention => Self::Attention,
            PoolingChoice::Mean => Self::Mean,
            PoolingChoice::Cls => Self::Cls,
        }
    }
}
