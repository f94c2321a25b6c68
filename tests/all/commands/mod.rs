//! `nb` from end to end.

mod bad_input;
mod bad_rankings;
mod bench;
mod cards;
mod classifier;
mod compare;
pub(crate) mod corpora;
mod embedding;
mod export;
mod formats;
mod heads;
mod hub;
mod infer;
mod inference;
mod label_sets;
mod lengths;
mod long_articles;
mod lost_processes;
mod methods;
mod parts;
mod permissions;
pub(crate) mod place;
mod processes;
mod read_only;
mod recommend;
mod resuming;
mod retrieve;
mod scores;
mod stopping;
mod tables;
mod train;
mod weights;

use place::Place;

#[test]
fn help_has_an_example_for_each_command() {
    let place = Place::new();
    for command in [
        "train",
        "compare",
        "plan",
        "eval",
        "predict",
        "embed",
        "rank",
        "search",
        "export",
        "fetch",
        "schema",
        "completions",
    ] {
        let help = place.nb(&[command, "--help"]).done();
        assert!(help.out.contains("Example") && help.out.contains(&format!(" nb {command} ")), "{}", help.out);
        assert!(place.nb(&["--help"]).done().out.contains(command));
    }
    assert!(place.nb(&["--version"]).done().out.starts_with("nb "));
}

#[test]
fn schemas_and_completions_are_printed() {
    let place = Place::new();
    for (kind, key) in [("run", "task"), ("compare", "methods")] {
        let schema: serde_json::Value = serde_json::from_str(&place.nb(&["schema", kind]).done().out).unwrap();
        assert!(schema["properties"][key].is_object(), "{kind}: {schema}");
    }
    for (shell, option) in [("bash", "--config"), ("zsh", "--config"), ("fish", "-l config")] {
        let script = place.nb(&["completions", shell]).done().out;
        assert!(script.contains("completions") && script.contains(option), "{shell}: {script}");
    }
    assert_eq!(place.nb(&["completions", "csh"]).code, Some(2));
}

/// `nb` allocates with jemalloc and its own settings, which a user can override.
#[cfg(target_os = "linux")]
#[test]
fn the_allocator_retains_freed_memory() {
    let place = Place::new();
    let printed = place.command().env("MALLOC_CONF", "confirm_conf:true").arg("--version").output().unwrap();
    let printed = String::from_utf8(printed.stderr).unwrap();
    assert!(
        printed.contains("Set conf value: oversize_threshold:0")
            && printed.contains("Set conf value: dirty_decay_ms:-1")
    );
}

#[test]
fn wrong_usage_exits_2() {
    let place = Place::new();
    let model = ["--model", "m", "--input", "i"];
    let wrong: [&[&str]; 13] = [
        &[],
        &["trian"],
        &["train"],
        &["train", "--config", "tiny.yaml", "--set", "train.lr"],
        &["train", "--config", "tiny.yaml", "--set", "=1"],
        &["train", "--config", "tiny.yaml", "--log-format", "xml"],
        &["predict", model[0], model[1], model[2], model[3], "--device", "gpu"],
        &["predict", model[0], model[1], model[2], model[3], "--precision", "f16"],
        &["embed", model[0], model[1], model[2], model[3], "--pooling", "max", "--output", "o"],
        &["eval", model[0], model[1], model[2], model[3], "--split", "all"],
        &["rank", model[0], model[1], "--news", "n", "--behaviors", "b"],
        &["search", model[0], model[1], "--corpus", "c"],
        &["search", model[0], model[1], "--corpus", "c", "--query", "q", "--top", "0"],
    ];
    for arguments in wrong {
        let ended = place.nb(arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.err);
        assert!(!ended.err.is_empty(), "{arguments:?}: no message");
    }
    assert!(!place.exists("runs"));
}
