//! Length limits of texts: the run's limit for a trained model, the limit of a plain BERT folder, or `--max-tokens`.

use serde_json::{Value, json};

use super::place::{Ended, FINETUNE, Place, STUDENT, tensors};

const MODEL: &str = STUDENT;
const POSITIONS: usize = 40;

/// Returns a folder with a student, and a copy in `plain` that has few positions and no top layers.
fn place() -> Place {
    let place = Place::new();
    place.train(&[FINETUNE]).done();
    for file in place.names(MODEL).into_iter().filter(|name| place.path(MODEL).join(name).is_file()) {
        place.write(&format!("plain/{file}"), place.read(&format!("{MODEL}/{file}")));
    }
    for file in ["head.safetensors", "newsbert.json", "modules.json", "README.md"] {
        std::fs::remove_file(place.path("plain").join(file)).unwrap();
    }
    let mut config = place.json("plain/config.json");
    config["max_position_embeddings"] = POSITIONS.into();
    place.write("plain/config.json", config.to_string());
    let mut weights = tensors(&place.path("plain/model.safetensors"));
    for (name, tensor) in &mut weights {
        if name == "embeddings.position_embeddings.weight" {
            *tensor = tensor.narrow(0, 0, POSITIONS as i64).contiguous();
        }
    }
    nb_model::write_tensors(&place.path("plain/model.safetensors"), &weights).unwrap();
    place
}

fn embed(place: &Place, model: &str, rest: &[&str]) -> Ended {
    let embed = ["embed", "--model", model, "--input", "texts.txt", "--output", "v.safetensors", "--pooling", "mean"];
    place.nb(&[&embed[..], rest].concat())
}

/// Writes texts with these numbers of words. Each word is one token.
fn write_texts(place: &Place, lengths: &[usize]) {
    let text = |&length: &usize| vec!["rain"; length].join(" ") + "\n";
    place.write("texts.txt", lengths.iter().map(text).collect::<String>());
}

/// Fails unless texts are truncated to `limit` tokens, two of which are special, and the truncated texts are counted.
#[track_caller]
fn assert_limit(place: &Place, model: &str, rest: &[&str], limit: usize) {
    write_texts(place, &[limit - 2, limit - 1, limit - 3, 500]);
    let ended = embed(place, model, rest).done();
    assert!(ended.err.contains(&format!("2 of 4 texts were truncated to {limit} tokens")), "{limit}: {}", ended.err);
    let vectors = &tensors(&place.path("v.safetensors"))[1].1;
    let row = |i: i64| vectors.get(i);
    // A truncated text equals the one that just fits; a shorter one differs.
    for i in [1, 3] {
        assert!((row(0) - row(i)).abs().max().double_value(&[]) < 1e-6, "{limit}: text {i}");
    }
    assert!((row(0) - row(2)).abs().max().double_value(&[]) > 1e-5, "{limit}");
}

#[test]
fn a_plain_folder_has_its_own_length_limit() {
    let place = place();
    let tokenizer = place.json("plain/tokenizer_config.json");
    // A missing length, the value of `transformers` for "no limit", and lengths beyond the positions have no effect.
    for (key, value, limit) in [
        ("model_max_length", json!(12), 12),
        ("model_max_length", json!(12.0), 12),
        ("max_len", json!(12), 12),
        ("model_max_length", Value::Null, POSITIONS),
        ("model_max_length", json!(1e30), POSITIONS),
        ("model_max_length", json!(512), POSITIONS),
        ("model_max_length", json!(0), POSITIONS),
        ("model_max_length", json!(-1), POSITIONS),
        ("model_max_length", json!(2), POSITIONS),
    ] {
        let mut config = tokenizer.clone();
        config.as_object_mut().unwrap().remove("model_max_length");
        config[key] = value;
        place.write("plain/tokenizer_config.json", config.to_string());
        assert_limit(&place, "plain", &[], limit);
    }
    assert_limit(&place, "plain", &["--max-tokens", "7"], 7);
    embed(&place, "plain", &["--max-tokens", "41"]).failed(&["--max-tokens is 41", "3 to the model's 40 positions"]);
    embed(&place, "plain", &["--max-tokens", "2"]).failed(&["--max-tokens is 2"]);
    // Without truncation there is no message.
    write_texts(&place, &[POSITIONS - 2, 3]);
    let ended = embed(&place, "plain", &[]).done();
    assert!(!ended.err.contains("cut"), "{}", ended.err);
}

#[test]
fn a_trained_model_has_the_length_limit_of_its_run() {
    let place = place();
    assert_limit(&place, MODEL, &[], 16);
    assert_limit(&place, MODEL, &["--max-tokens", "30"], 30);
    write_texts(&place, &[15, 14]);
    let ended = place.nb(&["predict", "--model", MODEL, "--input", "texts.txt"]).done();
    assert!(ended.err.contains("1 of 2 texts were truncated to 16 tokens"), "{}", ended.err);
}

/// A second text without room is dropped entirely, so the sequence is shorter than the limit.
#[test]
fn a_second_text_without_room_counts_as_truncated() {
    let place = place();
    let pairs = [(13, 1), (12, 1), (11, 1), (14, 0)];
    let rows =
        pairs.map(|(first, second)| format!("{},{}\n", vec!["rain"; first].join(" "), vec!["storm"; second].join(" ")));
    place.write("pairs.csv", rows.concat());
    let predict = ["predict", "--model", MODEL, "--input", "pairs.csv", "--columns", "0,1"];
    let ended = place.nb(&predict).done();
    // Three of the 16 tokens of a pair are special: 12 and 1 words just fit.
    assert!(ended.err.contains("1 of 4 texts were truncated to 16 tokens"), "{}", ended.err);
}
