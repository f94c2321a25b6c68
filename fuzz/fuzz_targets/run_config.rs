//! The configuration of a run and of a comparison: keys set on the command line, one per line, then the file. Also
//! locates the keys of error messages.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nb_fuzz::{folder, parts};
use nb_train::compare::CompareConfig;
use nb_train::config::{self, ConfigError, Override};

fuzz_target!(|data: &[u8]| {
    let [sets, yaml] = parts(data);
    let sets = String::from_utf8_lossy(sets);
    let sets: Vec<Override> = sets.lines().filter_map(|set| set.parse().ok()).collect();
    let folder = folder(&[("run.yaml", yaml)]);
    let path = folder.path().join("run.yaml");
    if let Ok(config) = config::read(&path, &sets) {
        let text = format!("{config:?}");
        let resolved = serde_yaml::to_string(&config).expect("what was read can be written");
        nb_fuzz::write(folder.path(), "again.yaml", resolved.as_bytes());
        let again =
            config::read(&folder.path().join("again.yaml"), &[]).unwrap_or_else(|e| panic!("{e:#}\n{resolved}"));
        assert_eq!(format!("{again:?}"), text, "\n{resolved}");
    }
    let _ = CompareConfig::read(&path, &sets);
    for error in [
        ConfigError::expected("method.stages[1].weights.soft", -1, "0"),
        ConfigError::conflict("data.columns.text", "odd", "train.lr is 1").and("train.lr"),
        ConfigError::expected("device", "x", "y"),
    ] {
        let prefixes = ["methods[1].set", "run"];
        let message = error.to_string();
        for located in nb_train::fuzzing::located_messages(&error, &path, &sets, &prefixes) {
            assert!(located.ends_with(&message), "{located}");
        }
    }
});
