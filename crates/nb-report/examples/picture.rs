//! Draws the picture of a comparison from its results:
//! `cargo run -p nb-report --example picture -- runs/compare-clicks/compare.json docs/compare.svg`

use std::path::PathBuf;
use std::{env, error, fs};

use nb_report::{Comparison, comparison_picture};

fn main() -> Result<(), Box<dyn error::Error>> {
    let mut paths = env::args_os().skip(1).map(PathBuf::from);
    let (Some(results), Some(picture)) = (paths.next(), paths.next()) else {
        return Err("usage: picture COMPARE.JSON PICTURE.SVG".into());
    };
    fs::write(picture, comparison_picture(&Comparison::read(&results)?)?)?;
    Ok(())
}
