//! Defaults are set where the user has set nothing. The process is started again with a variable that the user has set.

use std::env;
use std::process::Command;

const VARIABLES: [&str; 3] = ["TORCH_CPP_LOG_LEVEL", "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"];

fn main() {
    if env::args().nth(1).as_deref() == Some("child") {
        nb_torch::env_defaults::silence_cpp_log();
        nb_torch::env_defaults::limit_primitive_cache();
        println!("{}", VARIABLES.map(|name| env::var(name).unwrap_or_default()).join(" "));
        return;
    }
    assert_eq!(values(None), "ERROR 64 64");
    assert_eq!(values(Some(("LRU_CACHE_CAPACITY", "1024"))), "ERROR 64 1024");
    assert_eq!(values(Some(("TORCH_CPP_LOG_LEVEL", "INFO"))), "INFO 64 64");
}

/// Returns the values of the variables in a process whose environment has only `user` of them.
fn values(user: Option<(&str, &str)>) -> String {
    let mut child = Command::new(env::current_exe().expect("a test knows its own path"));
    child.arg("child").envs(user);
    for name in VARIABLES.into_iter().filter(|name| user.is_none_or(|(set, _)| set != *name)) {
        child.env_remove(name);
    }
    let output = child.output().expect("the test starts itself");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the values are text").trim().to_owned()
}
