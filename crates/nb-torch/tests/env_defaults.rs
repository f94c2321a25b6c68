//! Defaults are set where the user has set nothing. The process is started again with a variable that the user has set.

use std::env;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

const VARIABLES: [&str; 3] = ["TORCH_CPP_LOG_LEVEL", "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"];

fn main() {
    let second_thread = env::args().nth(1).filter(|argument| argument == "threaded").map(|_| {
        let (started, is_started) = mpsc::channel();
        let thread = thread::spawn(move || {
            let _ = started.send(());
            thread::park();
        });
        is_started.recv().expect("the thread starts");
        thread
    });
    if env::args().len() > 1 {
        nb_torch::env_defaults::silence_cpp_log();
        nb_torch::env_defaults::limit_primitive_cache();
        if let Some(thread) = second_thread {
            thread.thread().unpark();
        }
        println!("{}", VARIABLES.map(|name| env::var(name).unwrap_or_default()).join(" "));
        return;
    }
    assert_eq!(values("alone", None), "ERROR 64 64");
    assert_eq!(values("alone", Some("LRU_CACHE_CAPACITY")), "ERROR 64 by the user");
    assert_eq!(values("alone", Some("TORCH_CPP_LOG_LEVEL")), "by the user 64 64");
    assert_eq!(values("threaded", None), "", "nothing changes once another thread may read the environment");
}

/// Returns the values of the variables in a process, `alone` or `threaded`, whose environment has only `user` of them.
fn values(process: &str, user: Option<&str>) -> String {
    let mut child = Command::new(env::current_exe().expect("a test knows its own path"));
    child.arg(process);
    for name in VARIABLES {
        child.env_remove(name);
    }
    if let Some(name) = user {
        child.env(name, "by the user");
    }
    let output = child.output().expect("the test starts itself");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the values are text").trim().to_owned()
}
