//! kill: which signal goes to whom, and when it may not.

use integration::{Bundle, Container, differs, until, wait_exit};
use std::fs;

const NO_FLAGS: &[&str] = &[];

/// Starts a container that prints each signal that it gets.
fn trapping(bundle: &Bundle) -> Container<'_> {
    bundle.args(&["/probe", "trap"]);
    let c = bundle.container();
    c.run_detached();
    c.wait_line("ready");
    c
}

#[test]
fn the_default_is_term() {
    let bundle = Bundle::new();
    let c = trapping(&bundle);
    c.call("kill", NO_FLAGS).run().ok();
    c.wait_stopped();
    assert_eq!(c.stdout(), "ready\nTERM\n");
}

#[test]
fn it_prints_nothing() {
    let bundle = Bundle::new();
    let output = trapping(&bundle).kill("KILL").ok();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
}

#[test]
fn a_signal_may_be_a_number_or_a_name_with_or_without_sig() {
    let bundle = Bundle::new();
    let c = trapping(&bundle);
    let mut expected = "ready\n".to_string();
    for (given, line) in [
        ("10", "USR1"),
        ("USR2", "USR2"),
        ("SIGUSR1", "USR1"),
        ("SIGWINCH", "WINCH"),
        ("CONT", "CONT"),
    ] {
        c.kill(given).ok();
        expected += &format!("{line}\n");
        until(line, || (c.stdout() == expected).then_some(()));
    }
}

#[test]
fn a_name_may_be_in_lower_case() {
    differs!(Crun, "wants it in upper case");
    let bundle = Bundle::new();
    let c = trapping(&bundle);
    for given in ["usr1", "sigusr1", "SigUsr1"] {
        let before = c.stdout();
        c.kill(given).ok();
        until(given, || {
            (c.stdout() == format!("{before}USR1\n")).then_some(())
        });
    }
}

#[test]
fn an_unknown_signal_is_an_error() {
    let bundle = Bundle::new();
    let c = trapping(&bundle);
    for given in ["XYZ", "SIG", "TERMX"] {
        c.kill(given)
            .exits(1)
            .says_or_crun("unknown signal", "signal");
    }
    assert_eq!(c.stdout(), "ready\n");
}

#[test]
fn the_text_for_an_unknown_signal_names_it() {
    differs!(Crun, "quotes it with backticks");
    let bundle = Bundle::new();
    trapping(&bundle).kill("XYZ").says("unknown signal \"XYZ\"");
}

#[test]
fn a_number_that_is_no_signal_is_an_error() {
    let bundle = Bundle::new();
    trapping(&bundle)
        .kill("999")
        .exits(1)
        .says("invalid argument");
}

#[test]
fn signal_0_only_looks() {
    let bundle = Bundle::new();
    let c = trapping(&bundle);
    c.kill("0").ok();
    assert_eq!(
        (c.status().as_str(), c.stdout().as_str()),
        ("running", "ready\n")
    );
}

#[test]
fn a_created_container_can_be_killed() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    c.kill("KILL").ok();
    c.wait_stopped();
}

#[test]
fn a_stopped_container_is_not_running() {
    let bundle = Bundle::new();
    let c = trapping(&bundle);
    c.kill("KILL").ok();
    c.wait_stopped();
    for signal in ["TERM", "KILL", "0"] {
        c.kill(signal)
            .exits(1)
            .says_or_crun("container not running", "no such process");
    }
}

#[test]
fn all_makes_that_a_success() {
    let bundle = Bundle::new();
    let c = trapping(&bundle);
    c.kill("KILL").ok();
    c.wait_stopped();
    c.call("kill", &["--all"]).arg("KILL").run().ok();
    c.call("kill", &["-a"]).run().ok();
}

#[test]
fn an_unknown_container_does_not_exist() {
    let bundle = Bundle::new();
    let output = bundle.call(["kill", "unknown", "TERM"]).run().exits(1);
    output.says_or_crun("container does not exist", "no such file");
}

#[test]
fn kill_ends_all_processes_of_a_pid_namespace() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "spawn", "3"]);
    let c = bundle.container();
    c.run_detached();
    c.wait_line("ready");
    let pids = cgroup_pids(&c);
    assert_eq!(pids.len(), 4);
    c.kill("KILL").ok();
    for pid in pids {
        assert!(wait_exit(pid, integration::DEADLINE));
    }
}

#[test]
fn kill_without_a_pid_namespace_ends_the_whole_cgroup() {
    differs!(Runc < (1, 2), "only with --all");
    differs!(Crun, "only with --all");
    let bundle = Bundle::new();
    let c = spawning_on_the_hosts_pid_namespace(&bundle);
    let pids = cgroup_pids(&c);
    c.kill("KILL").ok();
    for pid in pids {
        assert!(wait_exit(pid, integration::DEADLINE));
    }
}

#[test]
fn kill_all_without_a_pid_namespace_ends_the_whole_cgroup() {
    let bundle = Bundle::new();
    let c = spawning_on_the_hosts_pid_namespace(&bundle);
    let pids = cgroup_pids(&c);
    c.call("kill", &["--all"]).arg("KILL").run().ok();
    for pid in pids {
        assert!(wait_exit(pid, integration::DEADLINE));
    }
}

#[test]
fn another_signal_without_a_pid_namespace_goes_to_the_init_only() {
    let bundle = Bundle::new();
    let c = spawning_on_the_hosts_pid_namespace(&bundle);
    let before = cgroup_pids(&c);
    c.kill("USR1").ok();
    // The children have USR1 at its default, which would end them; the init takes every signal.
    assert_eq!(cgroup_pids(&c), before);
    c.call("kill", &["--all"]).arg("KILL").run().ok();
    c.wait_stopped();
}

#[test]
fn kill_thaws_a_paused_container() {
    let bundle = Bundle::new();
    let c = trapping(&bundle);
    c.pause().ok();
    c.kill("KILL").ok();
    c.wait_stopped();
}

#[test]
fn kill_ends_what_is_frozen_in_groups_below() {
    for own_pid_namespace in [true, false] {
        if !own_pid_namespace {
            differs!(Runc < (1, 2), "only with --all");
            differs!(Crun, "only with --all");
        }
        let bundle = Bundle::new();
        if !own_pid_namespace {
            bundle.without_namespace("pid");
        }
        let c = bundle.container();
        c.run_detached();
        let sub = c.cgroup_dir().join("one/two/three");
        fs::create_dir_all(&sub).unwrap();
        c.exec_with(&["-d", "--cgroup", "one/two/three"], &["/probe", "pause"])
            .ok();
        let pid = fs::read_to_string(sub.join("cgroup.procs")).unwrap();
        fs::write(sub.parent().unwrap().join("cgroup.freeze"), "1").unwrap();
        c.kill("KILL").ok();
        assert!(wait_exit(
            pid.trim().parse().unwrap(),
            integration::DEADLINE
        ));
        c.wait_stopped();
    }
}

#[test]
fn kill_of_a_paused_container_ends_the_groups_below_too() {
    differs!(Runc < (1, 2), "only with --all");
    differs!(Crun, "only with --all");
    let bundle = Bundle::new();
    let c = spawning_on_the_hosts_pid_namespace(&bundle);
    let sub = c.cgroup_dir().join("sub");
    fs::create_dir(&sub).unwrap();
    c.exec_with(&["-d", "--cgroup", "sub"], &["/probe", "pause"])
        .ok();
    let mut pids = cgroup_pids(&c);
    let below = fs::read_to_string(sub.join("cgroup.procs")).unwrap();
    pids.push(below.trim().parse().unwrap());
    c.pause().ok();
    c.kill("KILL").ok();
    for pid in pids {
        assert!(wait_exit(pid, integration::DEADLINE));
    }
}

#[test]
fn another_signal_waits_till_a_paused_container_is_resumed() {
    let bundle = Bundle::new();
    let c = trapping(&bundle);
    c.pause().ok();
    c.kill("USR1").ok();
    assert_eq!(c.stdout(), "ready\n");
    c.resume().ok();
    c.wait_line("USR1");
}

#[test]
fn a_signal_that_init_has_no_handler_for_is_dropped() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "pause"]);
    let c = bundle.container();
    c.run_detached();
    c.kill("USR1").ok();
    c.exec(&["/probe", "exit", "0"]).ok();
    assert_eq!(c.status(), "running");
}

fn spawning_on_the_hosts_pid_namespace(bundle: &Bundle) -> Container<'_> {
    bundle.without_namespace("pid");
    bundle.args(&["/probe", "spawn", "2"]);
    let c = bundle.container();
    c.run_detached();
    c.wait_line("ready");
    assert_eq!(cgroup_pids(&c).len(), 3);
    c
}

fn cgroup_pids(c: &Container) -> Vec<i32> {
    let text = fs::read_to_string(c.cgroup_dir().join("cgroup.procs")).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}
