//! Exports a model folder in the form of another program.
//!
//! ```sh
//! cargo run --release -p nb-export --example convert -- hugging-face runs/quickstart/student classifier
//! ```

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [form, model, output] = arguments.as_slice() else {
        return Err("expected a form, a model folder and an output folder".into());
    };
    let (model, output) = (Path::new(model), Path::new(output));
    match form.as_str() {
        "hugging-face" => println!("{:?}", nb_export::hugging_face(model, output)?),
        "sentence-transformers" => nb_export::sentence_transformers(model, output)?,
        other => return Err(format!("the form is {other}, expected hugging-face or sentence-transformers").into()),
    }
    Ok(())
}
