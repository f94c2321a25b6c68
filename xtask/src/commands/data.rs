//! `cargo xtask data`: writes the sample corpus, and converts articles to a retrieval data set.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use nb_data::beir::{self, Conversion, Split, Written};
use nb_data::read::{self, Column, CsvLayout, Delimiter, Field, Format, LabelRule, Quoting, Source};
use nb_data::sample::{self, SampleSize};

use crate::progress::say;
use crate::project;

/// The folder of the sample corpus in the project.
pub(crate) const SAMPLE: &str = "data/sample";

const SAMPLE_EXAMPLES: &str = "\
Examples:
  cargo xtask data sample
  cargo xtask data sample --output data/other --seed 7";

const BEIR_EXAMPLES: &str = "\
Examples:
  cargo xtask data beir-from-news --input MINDsmall_train --input MINDsmall_dev --output data/mind-beir
  cargo xtask data beir-from-news --input articles.csv --columns headline,body --header present --output data/beir
  cargo xtask data beir-from-news --input train.csv --columns 1,2 --output data/beir --seed 7";

const EXAMPLES: &str = "\
Examples:
  cargo xtask data sample
  cargo xtask data beir-from-news --input MINDsmall_train --output data/mind-beir";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Write a generated corpus, for the quickstarts and for experiments
    ///
    /// It has articles with topics and articles with simulated readers, both in MIND's format, and a retrieval data set
    /// in BEIR's format.
    #[command(after_help = SAMPLE_EXAMPLES)]
    Sample(SampleArgs),

    /// Convert articles to a retrieval data set in BEIR's format, with titles as queries and abstracts as documents
    #[command(after_help = BEIR_EXAMPLES)]
    BeirFromNews(BeirArgs),
}

#[derive(Debug, clap::Args)]
struct SampleArgs {
    /// Output folder [default: data/sample in the project]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Seed of the corpus: the same seed gives the same files
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, clap::Args)]
struct BeirArgs {
    /// MIND's news.tsv or its folder, or a .csv or .tsv file with --columns (may be repeated)
    #[arg(long = "input", value_name = "FILE_OR_FOLDER", required = true)]
    inputs: Vec<PathBuf>,

    /// Columns of title and text, by name or by number from 0; reads the files as CSV, or as TSV if their names end in
    /// .tsv
    #[arg(long, value_name = "TITLE,ABSTRACT", value_delimiter = ',')]
    columns: Option<Vec<Column>>,

    /// Header row with the column names: present or absent
    #[arg(long, value_enum, default_value_t = Header::Absent, requires = "columns")]
    header: Header,

    /// Output folder
    #[arg(long, value_name = "DIR")]
    output: PathBuf,

    /// Largest share of unusable rows that is not an error
    #[arg(long, default_value_t = Source::ALLOWED_UNUSABLE, value_name = "SHARE")]
    allow_unusable: f64,

    /// Seed of the split into train, dev and test: the same seed gives the same split
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Header {
    Present,
    Absent,
}

impl From<Header> for read::Header {
    fn from(header: Header) -> Self {
        match header {
            Header::Present => Self::Present,
            Header::Absent => Self::Absent,
        }
    }
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Sample(args) => args.run()?,
            Command::BeirFromNews(args) => args.run()?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl SampleArgs {
    fn run(self) -> Result<()> {
        let folder = self.output.unwrap_or_else(|| project::root().join(SAMPLE));
        let size = SampleSize::default();
        let written = sample::write(&folder, self.seed, size)?;
        say(format!("wrote {} rows to {}", size.train, written.train.display()));
        say(format!("wrote {} rows to {}", size.dev, written.dev.display()));
        let [train, dev] = written.impressions;
        say(format!("wrote {train} impressions and their articles to {}", written.recommend_train.display()));
        say(format!("wrote {dev} impressions and their articles to {}", written.recommend_dev.display()));
        say_written(&written.beir);
        Ok(())
    }
}

impl BeirArgs {
    fn run(self) -> Result<()> {
        let sources = self.inputs.iter().map(|input| self.source(input)).collect::<Result<Vec<_>>>()?;
        let written = beir::from_news(&sources, &self.output, Conversion { seed: self.seed })?;
        say_written(&written);
        for source in &sources {
            if let Some(line) = source.unquoted_line()? {
                let path = source.path.display();
                say(format!("{path}: the quotes on line {line} do not pair up, so the file was read without quoting"));
            }
        }
        for (source, skipped) in sources.iter().zip(&written.skipped).filter(|(_, skipped)| skipped.count() > 0) {
            say(format!("{}: skipped rows {skipped}", source.path.display()));
        }
        if written.incomplete > 0 {
            say(format!("skipped {} articles without a title or without a text", written.incomplete));
        }
        if written.repeated > 0 {
            say(format!("{} articles repeat an earlier id or text and share its document", written.repeated));
        }
        for (split, _) in Split::ALL.iter().zip(written.queries).filter(|(_, queries)| *queries == 0) {
            say(format!("split {} has no queries, because there are too few articles", split.name()));
        }
        Ok(())
    }

    /// Decides how to read an input.
    fn source(&self, input: &Path) -> Result<Source> {
        let extension = input.extension().and_then(|extension| extension.to_str());
        let (path, format) = match (&self.columns, extension) {
            _ if input.is_dir() => (input.join("news.tsv"), mind()),
            _ if !input.exists() => bail!("{}: no such file or folder", input.display()),
            (None, Some("tsv")) => (input.to_owned(), mind()),
            (None, _) => bail!(
                "{} is neither a folder nor a .tsv file in MIND's format; set --columns to the columns of its title and \
                 its text",
                input.display()
            ),
            (Some(columns), _) => {
                if columns.len() != 2 {
                    bail!("--columns names {} columns, expected two: the title's and the text's", columns.len());
                }
                let delimiter = if extension == Some("tsv") { Delimiter::TAB } else { Delimiter::COMMA };
                let (text, header) = (columns.clone(), self.header.into());
                (
                    input.to_owned(),
                    Format::Csv(CsvLayout { label: None, text, header, delimiter, quoting: Quoting::Auto }),
                )
            }
        };
        Ok(Source {
            labels: LabelRule::Optional,
            allowed_unusable: self.allow_unusable,
            ..Source::labelled(path, format)
        })
    }
}

fn mind() -> Format {
    Format::MindNews { fields: vec![Field::Title, Field::Abstract] }
}

fn say_written(Written { folder, documents, queries: [train, dev, test], .. }: &Written) {
    say(format!(
        "wrote {documents} documents and {} queries ({train} train, {dev} dev, {test} test) to {}",
        train + dev + test,
        folder.path().display()
    ));
}

/// Writes the sample corpus if a file of it is missing.
pub(crate) fn ensure_sample() -> Result<()> {
    let folder = project::root().join(SAMPLE);
    if sample::FILES.iter().all(|file| folder.join(file).is_file()) {
        return Ok(());
    }
    sample::write(&folder, 0, SampleSize::default())?;
    say(format!("wrote the sample corpus to {}", folder.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(columns: Option<&str>) -> BeirArgs {
        let column = |column: &str| column.parse().unwrap();
        BeirArgs {
            inputs: Vec::new(),
            columns: columns.map(|columns| columns.split(',').map(column).collect()),
            header: Header::Present,
            output: PathBuf::new(),
            allow_unusable: Source::ALLOWED_UNUSABLE,
            seed: 0,
        }
    }

    #[test]
    fn name_and_columns_decide_how_an_input_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, "").unwrap();
            path
        };
        let (csv, tsv) = (file("a.csv"), file("b.tsv"));
        let source = |columns, path: &Path| args(columns).source(path).map_err(|error| error.to_string());
        let delimiter = |columns, path: &Path| match source(columns, path).unwrap().format {
            Format::Csv(layout) => Some(layout.delimiter),
            _ => None,
        };
        assert_eq!(
            (delimiter(Some("a,1"), &csv), delimiter(Some("a,1"), &tsv)),
            (Some(Delimiter::COMMA), Some(Delimiter::TAB))
        );
        assert_eq!(source(None, &tsv).unwrap().format, mind());
        // In a folder, MIND's file is read.
        let from_folder = source(Some("a,1"), folder.path()).unwrap();
        assert_eq!((from_folder.path, from_folder.format), (folder.path().join("news.tsv"), mind()));
        assert!(source(None, &csv).unwrap_err().contains("set --columns"));
        assert!(source(Some("1"), &csv).unwrap_err().contains("expected two: the title's and the text's"));
        assert!(source(None, &folder.path().join("c.tsv")).unwrap_err().ends_with("c.tsv: no such file or folder"));
    }
}
