//! Writes `report.html` into the folder of a run or of a comparison:
//! `cargo run -p nb-report --example report -- runs/quickstart`

use std::path::PathBuf;
use std::{env, error, fs};

use nb_report::{Comparison, RunRecord, comparison_report, run_report};

fn main() -> Result<(), Box<dyn error::Error>> {
    let folder = PathBuf::from(env::args_os().nth(1).ok_or("usage: report FOLDER")?);
    let page = match fs::read_to_string(folder.join("compare.json")) {
        Err(_) => run_report(&RunRecord::read(&folder)?)?,
        Ok(json) => {
            let comparison: Comparison = serde_json::from_str(&json)?;
            let folders = comparison.rows.iter().flat_map(|row| &row.runs).map(|run| folder.join(run));
            let runs =
                folders.filter(|run| run.is_dir()).map(|run| RunRecord::read(&run)).collect::<Result<Vec<_>, _>>()?;
            comparison_report(&comparison, &runs)?
        }
    };
    let path = folder.join("report.html");
    fs::write(&path, &page)?;
    println!("{}: {} kB", path.display(), page.len() / 1000);
    Ok(())
}
