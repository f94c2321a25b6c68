//! Texts from a file or standard input, as lines, CSV, TSV, JSON lines, Parquet, MIND or BEIR articles, read as a stream.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use nb_data::DataError;
use nb_data::read::{
    Article, Column, Compression, CsvLayout, Delimiter, Encoding, Field, Format, Header, KeyLayout, KeyPath,
    LabelLayout, LabelRule, Row, Skipped, SkippedRow, Source, articles, unquoted_warning,
};

use super::choices::QuotingChoice;

/// Number of texts that a command reads and sorts by length at a time.
pub(crate) const WINDOW: usize = 1024;

#[derive(Debug, Args)]
pub(crate) struct Input {
    /// Input file, or - for standard input
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    #[command(flatten)]
    layout: Layout,
}

/// The layout of an input.
#[derive(Debug, Args)]
pub(crate) struct Layout {
    /// Format of the input [default: by the extension: .csv, .tsv as MIND news, .parquet, .jsonl as JSON lines if --columns is
    /// given, else as BEIR; else one text per line]
    #[arg(long)]
    format: Option<InputFormat>,
    /// Columns of text, of which the second to the last are joined by spaces: by number from 0 or by name (csv, tsv), or by key,
    /// with dots for nested keys (jsonl, parquet)
    #[arg(long, value_delimiter = ',', value_name = "COLUMN")]
    columns: Vec<String>,
    /// Header row with the column names: present or absent (csv, tsv)
    #[arg(long, value_enum, default_value = "absent")]
    header: HeaderChoice,
    /// Text between columns, such as ; or _!_ (csv, tsv) [default: a comma or a tab]
    #[arg(long, value_name = "TEXT")]
    delimiter: Option<Delimiter>,
    /// Encoding of a text file, such as gbk or windows-1252 [default: UTF-8, or UTF-16 after a byte-order mark]
    #[arg(long, value_name = "NAME")]
    encoding: Option<Encoding>,
    /// Meaning of quotes (csv, tsv) [default: auto, which reads a tsv file twice and keeps standard input in memory]
    #[arg(long, value_enum)]
    quoting: Option<QuotingChoice>,
    /// Parts of an article to read (mind, beir) [default: those the model was trained on, or title,abstract]
    #[arg(long, value_delimiter = ',')]
    fields: Vec<FieldChoice>,
    /// Largest accepted share of unusable rows
    #[arg(long, default_value_t = Source::ALLOWED_UNUSABLE, value_name = "SHARE", value_parser = share)]
    allow_unusable: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormat {
    Lines,
    Csv,
    Tsv,
    Jsonl,
    Parquet,
    Mind,
    Beir,
}

impl InputFormat {
    /// Returns the name on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
            Self::Mind => "mind",
            Self::Beir => "beir",
        }
    }
}

/// Parses a share.
///
/// # Errors
/// If it is not a number from 0 to 1.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum HeaderChoice {
    Present,
    Absent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FieldChoice {
    Title,
    Abstract,
}

impl Input {
    /// Opens the input as windows; see [`Layout::windows`].
    pub(crate) fn windows(
        &self,
        size: usize,
        label: Option<&LabelLayout<String>>,
        trained_on: &[Field],
    ) -> Result<Windows> {
        self.layout.windows(&self.input, size, label, trained_on)
    }

    /// Returns the path of data whose layout is fixed; refuses options that describe a layout.
    pub(crate) fn path(&self, task: &str) -> Result<&Path> {
        if self.layout.is_given() {
            bail!(
                "--format, --columns, --fields, --delimiter, --encoding and --quoting are for topic models; this one was trained \
                 for {task}"
            );
        }
        Ok(&self.input)
    }

    /// Returns whether the input is this file, under any name.
    pub(crate) fn is_file(&self, path: &Path) -> bool {
        matches!((self.input.canonicalize(), path.canonicalize()), (Ok(input), Ok(path)) if input == path)
    }

    /// Returns the largest share of unusable rows that is not an error.
    pub(crate) fn allowed(&self) -> f64 {
        self.layout.allow_unusable
    }
}

impl Layout {
    /// Opens a file, or `-` for standard input, as windows of up to `size` articles, in input order. `label` has the columns of
    /// the labels (csv, tsv, jsonl, parquet), `trained_on` the parts of an article that are read by default.
    pub(crate) fn windows(
        &self,
        input: &Path,
        size: usize,
        label: Option<&LabelLayout<String>>,
        trained_on: &[Field],
    ) -> Result<Windows> {
        let format = self.format(input, label, trained_on)?;
        // A text without a label counts where it may have any number of them, so its columns must be present.
        let labels = match label {
            Some(LabelLayout::Several { .. } | LabelLayout::Flags(_)) => LabelRule::AnyNumber,
            Some(LabelLayout::One(_)) | None => LabelRule::Optional,
        };
        let allowed = self.allow_unusable;
        if input.as_os_str() != "-" {
            let encoding = self.encoding;
            let source = Source { labels, encoding, allowed_unusable: allowed, ..Source::labelled(input, format) };
            return Windows::open(&source, size);
        }
        if self.encoding.is_some() {
            bail!("--encoding is for files, and --input is standard input; expected UTF-8 there");
        }
        let name = "standard input".to_owned();
        let reader: Box<dyn BufRead> = Box::new(std::io::stdin().lock());
        let articles = articles(reader, &name, &format, labels)?;
        let unquoted = articles.unquoted_line();
        Ok(Windows::of(articles, unquoted, name, size, allowed))
    }

    /// Returns true if an option describes the layout.
    pub(crate) fn is_given(&self) -> bool {
        let has_lists = !self.columns.is_empty() || !self.fields.is_empty();
        let describes_text = self.quoting.is_some() || self.delimiter.is_some() || self.encoding.is_some();
        self.format.is_some() || has_lists || describes_text
    }

    fn format(&self, input: &Path, label: Option<&LabelLayout<String>>, trained_on: &[Field]) -> Result<Format> {
        let extension = Compression::extension(input);
        let format = self.format.unwrap_or(match extension {
            Some("csv") => InputFormat::Csv,
            Some("tsv") => InputFormat::Mind,
            Some("parquet") => InputFormat::Parquet,
            Some("jsonl") if !self.columns.is_empty() => InputFormat::Jsonl,
            Some("jsonl") => InputFormat::Beir,
            _ => InputFormat::Lines,
        });
        self.check_options(input, format, label.is_some())?;
        Ok(match format {
            InputFormat::Jsonl => Format::JsonLines(self.keys(label)?),
            InputFormat::Parquet => Format::Parquet(self.keys(label)?),
            InputFormat::Lines => Format::Lines,
            InputFormat::Beir => Format::BeirCorpus { fields: self.news_fields(trained_on) },
            InputFormat::Mind => Format::MindNews { fields: self.news_fields(trained_on) },
            InputFormat::Csv | InputFormat::Tsv => Format::Csv(self.csv(format, label)?),
        })
    }

    /// Refuses options that a format does not use.
    fn check_options(&self, input: &Path, format: InputFormat, is_labelled: bool) -> Result<()> {
        let has_columns = matches!(format, InputFormat::Csv | InputFormat::Tsv);
        let has_keys = matches!(format, InputFormat::Jsonl | InputFormat::Parquet);
        if (!self.columns.is_empty() || is_labelled) && !has_columns && !has_keys {
            bail!(
                "--columns and --label are for csv, tsv, jsonl and parquet, but {} is read as {}; add --columns or another --format",
                input.display(),
                format.name()
            );
        }
        for (option, is_given) in [("--quoting", self.quoting.is_some()), ("--delimiter", self.delimiter.is_some())] {
            if is_given && !has_columns {
                bail!("{option} is for csv and tsv, but {} is read as {}", input.display(), format.name());
            }
        }
        if self.header == HeaderChoice::Present && !has_columns {
            bail!("--header is for csv and tsv, but {} is read as {}", input.display(), format.name());
        }
        Ok(())
    }

    /// Returns the keys of JSON lines or of a Parquet file.
    fn keys(&self, label: Option<&LabelLayout<String>>) -> Result<KeyLayout> {
        if self.columns.is_empty() {
            bail!("--columns is missing, expected one or more keys of text, e.g. --columns title,abstract");
        }
        Ok(KeyLayout {
            label: label.map(|label| label.try_map(|key| key.parse::<KeyPath>())).transpose()?,
            text: self.columns.iter().map(|c| c.parse::<KeyPath>()).collect::<Result<_, _>>()?,
            id: None,
        })
    }

    /// Returns the columns of a csv or tsv file.
    fn csv(&self, format: InputFormat, label: Option<&LabelLayout<String>>) -> Result<CsvLayout> {
        if self.columns.is_empty() {
            bail!("--columns is missing, expected one or more columns of text, e.g. --columns 1,2");
        }
        Ok(CsvLayout {
            label: label.map(|label| label.try_map(|column| column.parse::<Column>())).transpose()?,
            text: self.columns.iter().map(|c| c.parse::<Column>()).collect::<Result<_, _>>()?,
            header: if self.header == HeaderChoice::Present { Header::Present } else { Header::Absent },
            delimiter: self.delimiter.clone().unwrap_or(match format {
                InputFormat::Csv => Delimiter::COMMA,
                _ => Delimiter::TAB,
            }),
            quoting: self.quoting.unwrap_or(QuotingChoice::Auto).into(),
        })
    }

    fn news_fields(&self, trained_on: &[Field]) -> Vec<Field> {
        let field = |field: &FieldChoice| match field {
            FieldChoice::Title => Field::Title,
            FieldChoice::Abstract => Field::Abstract,
        };
        match (self.fields.is_empty(), trained_on.is_empty()) {
            (false, _) => self.fields.iter().map(field).collect(),
            (true, false) => trained_on.to_vec(),
            (true, true) => vec![Field::Title, Field::Abstract],
        }
    }
}

/// The input in windows.
pub(crate) struct Windows {
    articles: Box<dyn Iterator<Item = Result<Row, DataError>>>,
    size: usize,
    usable: u64,
    skipped: Skipped,
    allowed: f64,
    name: String,
}

impl Windows {
    /// Opens a file as windows of up to `size` articles.
    pub(crate) fn open(source: &Source, size: usize) -> Result<Self> {
        let name = source.path.display().to_string();
        let rows = source.open()?;
        let unquoted = rows.unquoted_line();
        Ok(Self::of(rows, unquoted, name, size, source.allowed_unusable))
    }

    fn of(
        articles: impl Iterator<Item = Result<Row, DataError>> + 'static,
        unquoted: Option<u64>,
        name: String,
        size: usize,
        allowed: f64,
    ) -> Self {
        if let Some(line) = unquoted {
            tracing::warn!("{}", unquoted_warning(&name, line));
        }
        Self { articles: Box::new(articles), size, usable: 0, skipped: Skipped::default(), allowed, name }
    }

    /// Calls `f` with each window, and checks the number of skipped rows at the end.
    pub(crate) fn each(mut self, mut f: impl FnMut(&[Article]) -> Result<()>) -> Result<()> {
        loop {
            let articles = self.next()?;
            if articles.is_empty() {
                return self.check();
            }
            f(&articles)?;
        }
    }

    /// Returns the name of the input in messages.
    pub(crate) fn name(&self) -> &Path {
        Path::new(&self.name)
    }

    /// Counts an article as unusable that was counted as usable when it was read.
    pub(crate) fn skip(&mut self, row: SkippedRow) {
        self.usable -= 1;
        self.skipped.add(row);
    }

    /// Checks at the end that there were usable texts, and not too many unusable rows.
    pub(crate) fn check(&self) -> Result<()> {
        let (name, rows) = (&self.name, self.usable + self.skipped.count());
        if self.usable == 0 {
            let skipped = if self.skipped.count() > 0 { format!(" (skipped {})", self.skipped) } else { String::new() };
            bail!("{name}: no usable text{skipped}");
        }
        if self.skipped.count() as f64 > self.allowed * rows as f64 {
            bail!(
                "{name}: {} of {rows} rows cannot be used ({}); raise --allow-unusable to accept them",
                self.skipped.count(),
                self.skipped
            );
        }
        Ok(())
    }

    /// Returns the next window. At the end it is empty, and skipped rows are reported.
    pub(crate) fn next(&mut self) -> Result<Vec<Article>> {
        let mut window = Vec::new();
        for row in self.articles.by_ref() {
            match row? {
                Row::Article(article) => {
                    self.usable += 1;
                    window.push(article);
                }
                Row::Skipped(row) => self.skipped.add(row),
            }
            if window.len() == self.size {
                return Ok(window);
            }
        }
        if window.is_empty() && self.skipped.count() > 0 {
            tracing::warn!("{}: skipped {}", self.name, self.skipped);
        }
        Ok(window)
    }
}
