//! run and exec in the foreground without a terminal: streams, exit status, signals, orphans.

use integration::{Bundle, differs, json, until};
use rustix::process::Signal;
use std::fs;

const NO_FLAGS: &[&str] = &[];

fn sh(text: &str) -> Bundle {
    let bundle = Bundle::new();
    bundle.args(&["/bin/sh", "-c", text]);
    bundle
}

#[test]
fn stdin_stdout_and_stderr_are_the_callers() {
    let bundle = sh("read word; echo \"out $word\"; echo \"err $word\" >&2");
    // Newer versions of runc have a word to say about those.
    bundle.remove("/process/capabilities/ambient");
    let output = bundle
        .container()
        .call("run", NO_FLAGS)
        .stdin("typed\n")
        .run()
        .ok();
    assert_eq!(output.stdout, "out typed\n");
    assert_eq!(output.stderr, "err typed\n");
}

#[test]
fn a_lot_of_output_comes_whole() {
    let bundle = sh("seq 1 100000");
    let output = bundle.container().run().ok();
    assert_eq!(output.stdout.lines().count(), 100_000);
    assert!(output.stdout.ends_with("\n100000\n"));
}

#[test]
fn the_end_of_stdin_reaches_the_process() {
    let bundle = sh("cat | wc -c");
    let c = bundle.container();
    let output = c
        .call("run", NO_FLAGS)
        .stdin(vec![b'x'; 300_000])
        .run()
        .ok();
    assert_eq!(output.stdout.trim(), "300000");
}

#[test]
fn the_exit_status_is_the_processes() {
    for code in [0, 1, 42, 255] {
        let bundle = sh(&format!("exit {code}"));
        bundle.container().run().exits(code);
    }
}

#[test]
fn a_process_killed_by_a_signal_gives_128_and_its_number() {
    for (signal, code) in [("KILL", 137), ("TERM", 143)] {
        let bundle = Bundle::new();
        bundle.args(&["/probe", "pause"]);
        bundle.without_namespace("pid");
        let c = bundle.container();
        let run = c.spawn_run();
        until("a running container", || {
            (c.exists() && c.status() == "running").then_some(())
        });
        c.kill(signal).ok();
        run.wait().exits(code);
    }
}

#[test]
fn signals_to_run_are_passed_on() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "trap"]);
    let c = bundle.container();
    let mut run = c.spawn_run();
    run.wait_line("ready");
    for (signal, name) in [
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
        (Signal::ALARM, "ALRM"),
        (Signal::CONT, "CONT"),
        (Signal::TSTP, "TSTP"),
        (Signal::IO, "IO"),
    ] {
        run.kill(signal);
        until(name, || {
            run.stdout()
                .lines()
                .any(|l| l.trim_start_matches("SIG") == name)
                .then_some(())
        });
    }
    run.kill(Signal::TERM);
    run.wait().ok();
}

#[test]
fn sigterm_ends_the_container_and_removes_it() {
    let bundle = Bundle::new();
    let c = bundle.container();
    let mut run = c.spawn_run();
    run.wait_line("ready");
    run.kill(Signal::TERM);
    run.wait().ok();
    assert!(!c.exists());
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn signals_to_a_foreground_exec_are_passed_on() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let mut exec = c.exec_call(NO_FLAGS, &["/probe", "trap"]).spawn();
    exec.wait_line("ready");
    exec.kill(Signal::USR1);
    until("USR1", || exec.stdout().contains("USR1").then_some(()));
    exec.kill(Signal::INT);
    exec.wait().ok();
    assert_eq!(c.status(), "running");
}

#[test]
fn sigwinch_and_sigchld_stay_with_run() {
    differs!(Crun, "SIGWINCH is passed on");
    let bundle = Bundle::new();
    bundle.args(&["/probe", "trap"]);
    let c = bundle.container();
    let mut run = c.spawn_run();
    run.wait_line("ready");
    for signal in [Signal::WINCH, Signal::CHILD, Signal::URG, Signal::USR1] {
        run.kill(signal);
    }
    until("USR1", || run.stdout().contains("USR1").then_some(()));
    run.kill(Signal::TERM);
    let stdout = run.wait().ok().stdout;
    assert!(
        !stdout.contains("WINCH") && !stdout.contains("CHLD"),
        "{stdout}"
    );
}

#[test]
fn the_process_has_no_signal_blocked() {
    differs!(Runc, "what the caller blocks stays blocked");
    let bundle = Bundle::new();
    bundle.args(&["/probe", "report"]);
    let report = bundle.container().run().ok().json();
    assert_eq!(report["signals_blocked"], json!([]));
}

#[test]
fn an_exec_process_has_no_signal_blocked() {
    differs!(Runc, "what the caller blocks stays blocked");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let report = c.exec(&["/probe", "report"]).ok().json();
    assert_eq!(report["signals_blocked"], json!([]));
}

#[test]
fn an_orphan_of_the_container_is_reaped_by_run() {
    differs!(Runc < (1, 2), "now and then it leaves the cgroup behind");
    // Without a pid namespace orphans go to the nearest subreaper, which run is.
    let bundle = Bundle::new();
    bundle.without_namespace("pid");
    bundle.args(&["/bin/sh", "-c", "/probe orphan; exec /probe sleep-forever"]);
    let c = bundle.container();
    let mut run = c.spawn_run();
    run.wait_line("ready");
    let children = format!("/proc/{0}/task/{0}/children", run.pid());
    until("only one child", || {
        let children = fs::read_to_string(&children).unwrap();
        (children.split_whitespace().count() == 1).then_some(())
    });
    run.kill(Signal::TERM);
    run.wait().ok();
}

#[test]
fn run_is_a_subreaper_unless_told_not_to() {
    differs!(Crun, "it never is one");
    for (flags, is_reaper) in [(NO_FLAGS, true), (&["--no-subreaper"], false)] {
        let bundle = Bundle::new();
        bundle.without_namespace("pid");
        // The grandchild says who its parent is, once that is not the shell any more.
        let script = "(sh -c 'until p=$(sed -n s/^PPid:.//p /proc/$$/status) && test $p != '$$' \
                      ; do :; done; sleep 0.2; echo parent $(sed -n s/^PPid:.//p /proc/$$/status)' &) \
                      ; exec /probe sleep-forever";
        bundle.args(&["/bin/sh", "-c", script]);
        let c = bundle.container();
        let mut run = c.call("run", flags).spawn();
        run.wait_line("ready");
        let parent = until("the parent's pid", || {
            let stdout = run.stdout();
            let line = stdout.lines().find_map(|l| l.strip_prefix("parent "))?;
            line.trim().parse::<i32>().ok()
        });
        assert_eq!(parent == run.pid(), is_reaper, "{flags:?}");
        run.kill(Signal::TERM);
        run.wait().ok();
    }
}

#[test]
fn run_goes_on_when_nobody_reads_its_output() {
    let bundle = sh("trap '' PIPE; seq 1 100000; touch /tmp/done; exit 4");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let c = bundle.container();
    let code = c.call("run", NO_FLAGS).stdout_fd(writer).run().code();
    assert!(bundle.rootfs("/tmp/done").exists());
    assert!(code.is_some());
}
