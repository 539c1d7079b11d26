//! run: in the foreground and detached.

use integration::{Bundle, differs};
use rustix::process::Signal;

const NO_FLAGS: &[&str] = &[];

#[test]
fn run_gives_the_exit_code_of_the_process() {
    let bundle = Bundle::new();
    for code in [0, 1, 7, 255] {
        bundle.args(&["/probe", "exit", &code.to_string()]);
        bundle.container().run().exits(code);
    }
}

#[test]
fn run_gives_128_and_the_signal_that_ended_the_process() {
    let bundle = Bundle::new();
    bundle.without_namespace("pid");
    for (signal, code) in [("KILL", 137), ("USR1", 138), ("TERM", 143)] {
        bundle.args(&["/probe", "kill-self", signal]);
        bundle.container().run().exits(code);
    }
}

#[test]
fn run_passes_stdin_stdout_and_stderr_through() {
    let bundle = Bundle::new();
    bundle.args(&["/bin/sh", "-c", "cat; echo problem >&2"]);
    let c = bundle.container();
    let output = c.call("run", NO_FLAGS).stdin("some text").run().ok();
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("some text", "problem\n")
    );
}

#[test]
fn run_deletes_the_container_at_its_end() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "3"]);
    bundle.container().run().exits(3);
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn run_keep_leaves_the_stopped_container() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "3"]);
    let c = bundle.container();
    c.call("run", &["--keep"]).run().exits(3);
    assert_eq!(c.status(), "stopped");
    c.delete().ok();
}

#[test]
fn run_in_the_foreground_forwards_signals() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "trap"]);
    let c = bundle.container();
    let mut running = c.spawn_run();
    running.wait_line("ready");
    for (signal, line) in [
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
        (Signal::HUP, "HUP"),
    ] {
        running.kill(signal);
        running.wait_line(line);
    }
    running.wait().ok();
}

#[test]
fn run_waits_while_the_container_runs() {
    let bundle = Bundle::new();
    let c = bundle.container();
    let mut running = c.spawn_run();
    running.wait_line("ready");
    assert_eq!(c.status(), "running");
    c.kill("KILL").ok();
    running.wait().exits(137);
    assert!(!c.exists());
}

#[test]
fn run_detached_returns_while_the_container_runs() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "trap"]);
    let c = bundle.container();
    c.run_detached();
    assert_eq!(c.status(), "running");
    c.wait_line("ready");
    c.kill("TERM").ok();
    c.wait_stopped();
    assert_eq!(c.stdout(), "ready\nTERM\n");
}

#[test]
fn a_detached_container_stays_known_when_it_has_ended() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "0"]);
    let c = bundle.container();
    c.run_detached();
    c.wait_stopped();
    assert_eq!(c.state()["pid"], 0);
    c.delete().ok();
}

#[test]
fn run_of_an_orphan_maker_ends_with_the_main_process() {
    let bundle = Bundle::new();
    bundle.args(&["/bin/sh", "-c", "/probe pause & exit 4"]);
    bundle.container().run().exits(4);
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_foreground_run_killed_leaves_a_container_that_can_be_deleted() {
    differs!(Crun, "run saves its state after the process has begun");
    let bundle = Bundle::new();
    let c = bundle.container();
    let mut running = c.spawn_run();
    running.wait_line("ready");
    running.kill(Signal::KILL);
    assert_eq!(running.wait().signal(), Some(9));
    assert!(c.exists());
    c.delete_force().ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}
