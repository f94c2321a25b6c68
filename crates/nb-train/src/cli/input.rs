//! Texts to work on: a file or standard input, as lines, CSV, TSV or MIND news, read as a stream.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use nb_data::read::{Article, Articles, Column, CsvLayout, Field, Format, Header, LabelRule, Row, Skipped, articles};

#[derive(Debug, Args)]
pub(super) struct Input {
    /// The file, or - for standard input
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Its format [default: by the name's ending: .csv, .tsv as MIND news, else one text per line]
    #[arg(long)]
    format: Option<InputFormat>,
    /// Columns of the text, one or two, by number from 0 or by name (csv, tsv)
    #[arg(long, value_delimiter = ',', value_name = "COLUMN")]
    columns: Vec<String>,
    /// Whether the first row names the columns (csv, tsv)
    #[arg(long, value_enum, default_value = "absent")]
    header: HeaderChoice,
    /// Parts of the news (mind)
    #[arg(long, value_delimiter = ',', default_value = "title,abstract")]
    fields: Vec<FieldChoice>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum InputFormat {
    Lines,
    Csv,
    Tsv,
    Mind,
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
    /// Windows of up to `size` articles, in input order; `label` is the column of the label (csv, tsv).
    pub(super) fn windows(&self, size: usize, label: Option<&str>) -> Result<Windows> {
        let (reader, name): (Box<dyn BufRead>, _) = if self.input.as_os_str() == "-" {
            (Box::new(std::io::stdin().lock()), "standard input".to_owned())
        } else {
            let name = self.input.display().to_string();
            let file = std::fs::File::open(&self.input).with_context(|| format!("cannot read {name}"))?;
            (Box::new(BufReader::new(file)), name)
        };
        let articles = articles(reader, &name, &self.format(label)?, LabelRule::Optional)?;
        Ok(Windows { articles, size, skipped: Skipped::default(), name })
    }

    fn format(&self, label: Option<&str>) -> Result<Format> {
        let ending = self.input.extension().and_then(|e| e.to_str());
        let format = self.format.unwrap_or(match ending {
            Some("csv") => InputFormat::Csv,
            Some("tsv") => InputFormat::Mind,
            _ => InputFormat::Lines,
        });
        if (!self.columns.is_empty() || label.is_some()) && matches!(format, InputFormat::Lines | InputFormat::Mind) {
            bail!("--columns and --label are for csv and tsv");
        }
        Ok(match format {
            InputFormat::Lines => Format::Lines,
            InputFormat::Mind => Format::MindNews {
                fields: self
                    .fields
                    .iter()
                    .map(|f| match f {
                        FieldChoice::Title => Field::Title,
                        FieldChoice::Abstract => Field::Abstract,
                    })
                    .collect(),
            },
            InputFormat::Csv | InputFormat::Tsv => {
                if self.columns.is_empty() {
                    bail!("--columns is missing: which columns hold the text, e.g. --columns 1,2");
                }
                Format::Csv(CsvLayout {
                    label: label.map(str::parse::<Column>).transpose()?,
                    text: self.columns.iter().map(|c| c.parse::<Column>()).collect::<Result<_, _>>()?,
                    header: if self.header == HeaderChoice::Present { Header::Present } else { Header::Absent },
                    delimiter: if format == InputFormat::Csv { b',' } else { b'\t' },
                })
            }
        })
    }
}

/// The input in windows.
pub(super) struct Windows {
    articles: Articles<Box<dyn BufRead>>,
    size: usize,
    skipped: Skipped,
    name: String,
}

impl Windows {
    /// What messages call the input.
    pub(super) fn name(&self) -> &Path {
        Path::new(&self.name)
    }

    /// The next window; empty at the end, where rows that were left out are told of.
    pub(super) fn next(&mut self) -> Result<Vec<Article>> {
        let mut window = Vec::new();
        for row in self.articles.by_ref() {
            match row? {
                Row::Article(article) => window.push(article),
                Row::Skipped(row) => self.skipped.add(row),
            }
            if window.len() == self.size {
                return Ok(window);
            }
        }
        if window.is_empty() && self.skipped.count() > 0 {
            tracing::warn!("{}: left out {}", self.name, self.skipped);
        }
        Ok(window)
    }
}
