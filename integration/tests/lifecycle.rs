//! create, start, run, state, kill, delete: the way of a container through its states.

use integration::{Bundle, json, probe_report};

#[test]
fn a_container_goes_through_its_states() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    assert_eq!(c.status(), "created");
    c.start();
    assert_eq!(c.status(), "running");
    c.kill("KILL").ok();
    c.wait_stopped();
    c.delete().ok();
    assert!(!c.exists());
    assert_eq!(c.leftovers(), [""; 0]);
}

#[test]
fn run_gives_the_exit_code_of_the_process() {
    let bundle = Bundle::new();
    for code in [0, 1, 7, 255] {
        bundle.args(&["/probe", "exit", &code.to_string()]);
        bundle.container().run().exits(code);
    }
}

#[test]
fn the_probe_reports() {
    let bundle = Bundle::new();
    let report = probe_report(&bundle);
    assert_eq!(report["hostname"], "integration");
    assert_eq!(report["pid"], 1);
    assert_eq!(report["uid"], 0);
    assert_eq!(report["args"], json!(["/probe", "report"]));
}
