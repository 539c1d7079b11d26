//! Little memory for the container, from next to nothing up: it runs, or the error says why not.

use integration::{Bundle, differs, json};

const NO_FLAGS: &[&str] = &[];
/// MiB.
const LIMITS: [u64; 8] = [1, 2, 3, 4, 6, 8, 12, 16];

/// What a runtime says that has been told of an OOM kill, or has seen its child die.
const REASONS: [&str; 4] = [
    "OOM-killed",
    "container init was OOM-killed",
    "possibly OOM-killed",
    "cannot allocate memory",
];

fn limited(mebibytes: u64) -> Bundle {
    let bundle = Bundle::new();
    let bytes = mebibytes << 20;
    bundle.set(
        "/linux/resources",
        json!({"memory": {"limit": bytes, "swap": bytes}}),
    );
    bundle
}

#[test]
fn run_with_little_memory() {
    differs!(
        Runc | Crun,
        "runc needs more than this, crun says only that a process died"
    );
    let mut succeeded = 0;
    for limit in LIMITS {
        let bundle = limited(limit);
        bundle.args(&["/probe", "exit", "7"]);
        let output = bundle.container().call("run", NO_FLAGS).run();
        match output.code() {
            Some(7) => succeeded += 1,
            // The program itself was killed.
            Some(137) => {}
            _ => drop(output.fails().says_any(&REASONS)),
        }
        assert_eq!(bundle.leftovers(), [""; 0], "{limit} MiB");
    }
    assert!(succeeded >= 2, "with 16 MiB this program runs");
}

#[test]
fn exec_into_a_container_that_has_little_memory_left() {
    differs!(
        Runc | Crun,
        "their exec needs more, and their words are others"
    );
    let bundle = limited(16);
    let c = bundle.container();
    c.run_detached();
    let cgroup = c.cgroup();
    for limit in LIMITS.iter().rev() {
        // What its processes have is little; it may all the same be more than this, and then nothing changes.
        let bytes = (limit << 20).to_string();
        let _ = c
            .call("update", &["--memory", &bytes, "--memory-swap", &bytes])
            .run();
        let output = c.exec(&["/probe", "exit", "3"]);
        match output.code() {
            Some(3 | 137) => {}
            // Init may be the victim.
            _ if c.status() == "stopped" => break,
            _ => drop(
                output
                    .fails()
                    .says_any(&["OOM-killed", "died", "cannot allocate memory"]),
            ),
        }
        println!("{limit} MiB: {}", cgroup.read("memory.max").trim());
    }
    c.delete_force().ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}
