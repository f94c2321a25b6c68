//! Where the texts come from: the checked form of the configuration's `data`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use nb_data::batch::MIN_TOKENS;
use nb_data::read::{CsvLayout, Format, Header, LabelRule, Source};

use crate::config::{DataConfig, DataFormat, NewsField};

/// Where the texts come from.
#[derive(Debug, Clone)]
pub struct DataPlan {
    /// Training texts.
    pub train: Source,
    /// Development texts.
    pub dev: DevSource,
    /// Longest sequence in tokens.
    pub max_tokens: usize,
    /// How many texts a row has: 1 or 2.
    pub texts: usize,
    /// Folder of the token stores.
    pub cache: PathBuf,
}

/// Where the development texts come from.
#[derive(Debug, Clone)]
pub enum DevSource {
    /// A file.
    File(Source),
    /// This share of the training file.
    Fraction(f64),
}

/// Checks the configuration's `data`.
///
/// # Errors
/// With the key, what stands there and what was expected.
pub(super) fn data(config: &DataConfig) -> Result<DataPlan> {
    let format = format(config)?;
    if config.max_tokens < MIN_TOKENS {
        bail!("data.max_tokens is {}, expected at least {MIN_TOKENS}: [CLS], a token and [SEP]", config.max_tokens);
    }
    if !(0.0..=1.0).contains(&config.allow_unusable) {
        bail!("data.allow_unusable is {}, expected a share from 0 to 1", config.allow_unusable);
    }
    let source = |path: &Path| Source {
        path: path.to_owned(),
        format: format.clone(),
        labels: LabelRule::Required,
        allowed_unusable: config.allow_unusable,
    };
    let dev = match (&config.dev, config.dev_fraction) {
        (Some(path), None) => DevSource::File(source(path)),
        (None, fraction) => {
            let fraction = fraction.unwrap_or(0.1);
            if !(fraction > 0.0 && fraction < 1.0) {
                bail!("data.dev_fraction is {fraction}, expected a share between 0 and 1");
            }
            DevSource::Fraction(fraction)
        }
        (Some(_), Some(_)) => {
            bail!("data.dev and data.dev_fraction are both given, expected one of them")
        }
    };
    for (key, path) in [("data.train", Some(&config.train)), ("data.dev", config.dev.as_ref())] {
        if let Some(path) = path.filter(|p| !p.is_file()) {
            bail!("{key} is {}, but there is no such file", path.display());
        }
    }
    let texts = match &format {
        Format::Csv(layout) => layout.text.len(),
        Format::MindNews { fields } => fields.len(),
        Format::Lines => 1,
    };
    let cache = config.cache.clone().unwrap_or_else(|| cache_folder().join("tokens"));
    Ok(DataPlan { train: source(&config.train), dev, max_tokens: config.max_tokens, texts, cache })
}

/// The project's folder in the user's cache: `$XDG_CACHE_HOME/newsbert`, else `~/.cache/newsbert`, else below the
/// folder for temporary files.
fn cache_folder() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    cache.unwrap_or_else(std::env::temp_dir).join("newsbert")
}

fn format(config: &DataConfig) -> Result<Format> {
    let given = |key: &str, is: bool| {
        if is { Some(format!("data.{key}")) } else { None }
    };
    match config.format {
        DataFormat::Mind => {
            let stray = given("columns", config.columns.is_some()).or(given("header", config.header.is_some()));
            if let Some(key) = stray {
                bail!("{key} is given, but MIND's news.tsv has fixed columns and no header");
            }
            Ok(Format::MindNews { fields: fields(config).into_iter().map(Into::into).collect() })
        }
        DataFormat::Csv | DataFormat::Tsv => {
            if config.fields.is_some() {
                bail!("data.fields is given, but it is for MIND; csv and tsv take data.columns");
            }
            let Some(columns) = &config.columns else {
                bail!("data.columns is missing, expected e.g. {{label: 0, text: [1, 2]}}")
            };
            if !(1..=2).contains(&columns.text.len()) {
                bail!("data.columns.text names {} columns, expected one or two", columns.text.len());
            }
            Ok(Format::Csv(CsvLayout {
                label: Some((&columns.label).into()),
                text: columns.text.iter().map(Into::into).collect(),
                header: if config.header.unwrap_or(false) { Header::Present } else { Header::Absent },
                delimiter: if config.format == DataFormat::Csv { b',' } else { b'\t' },
            }))
        }
    }
}

/// Writes the defaults that were taken back into the configuration.
pub(super) fn fill_in(config: &mut DataConfig, plan: &DataPlan) {
    if let DevSource::Fraction(fraction) = plan.dev {
        config.dev_fraction = Some(fraction);
    }
    config.cache = Some(plan.cache.clone());
    match config.format {
        DataFormat::Mind => config.fields = Some(fields(config)),
        DataFormat::Csv | DataFormat::Tsv => config.header = Some(config.header.unwrap_or(false)),
    }
}

/// The parts of MIND's news that are read.
fn fields(config: &DataConfig) -> Vec<NewsField> {
    config.fields.clone().unwrap_or_else(|| vec![NewsField::Title, NewsField::Abstract])
}
