//! pause and resume.

use integration::{Bundle, Container, differs, json, needs, until};
use std::fs;

#[test]
fn pause_freezes_and_resume_thaws() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let frozen = || fs::read_to_string(c.cgroup_dir().join("cgroup.freeze")).unwrap();
    c.pause().ok();
    assert_eq!((c.status().as_str(), frozen().as_str()), ("paused", "1\n"));
    c.resume().ok();
    assert_eq!((c.status().as_str(), frozen().as_str()), ("running", "0\n"));
}

#[test]
fn pause_waits_until_all_is_frozen() {
    differs!(Crun, "pause returns while processes are still being frozen");
    let bundle = Bundle::new();
    bundle.args(&["/probe", "spawn", "5"]);
    let c = bundle.container();
    c.run_detached();
    c.wait_line("ready");
    c.pause().ok();
    let events = fs::read_to_string(c.cgroup_dir().join("cgroup.events")).unwrap();
    assert!(events.contains("frozen 1"), "{events}");
}

#[test]
fn they_print_nothing() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    for output in [c.pause().ok(), c.resume().ok()] {
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
    }
}

#[test]
fn a_paused_process_does_nothing() {
    let bundle = Bundle::new();
    bundle.args(&["/bin/sh", "-c", "while echo x; do sleep 0.001; done"]);
    let c = bundle.container();
    c.run_detached();
    c.wait_line("x");
    c.pause().ok();
    let before = c.stdout().len();
    // Each look takes longer than the process would need for a line.
    for _ in 0..10 {
        assert_eq!(c.status(), "paused");
    }
    assert_eq!(c.stdout().len(), before);
    c.resume().ok();
    until("more output", || (c.stdout().len() > before).then_some(()));
}

#[test]
fn a_created_container_can_be_paused() {
    differs!(Crun, "shows it as created all the time");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    c.pause().ok();
    assert_eq!(c.status(), "paused");
    c.resume().ok();
    c.start();
    assert_eq!(c.status(), "running");
}

#[test]
fn a_paused_container_is_not_paused_again() {
    differs!(Crun, "it is a success");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    c.pause().ok();
    c.pause().exits(1).says("container not running");
    assert_eq!(c.status(), "paused");
}

#[test]
fn a_running_container_is_not_resumed() {
    differs!(Crun, "it is a success");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    c.resume().exits(1).says("container not paused");
    assert_eq!(c.status(), "running");
}

#[test]
fn a_stopped_container_is_neither_paused_nor_resumed() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    c.kill("KILL").ok();
    c.wait_stopped();
    c.pause()
        .exits(1)
        .says_or_crun("container not running", "is not running");
    c.resume()
        .exits(1)
        .says_or_crun("container not paused", "is not running");
}

#[test]
fn an_unknown_container_does_not_exist() {
    let bundle = Bundle::new();
    for verb in ["pause", "resume"] {
        let output = bundle.call([verb, "unknown"]).run().exits(1);
        output.says_or_crun("container does not exist", "no such file");
    }
}

#[test]
fn processes_of_exec_are_paused_too() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let mut call = c.exec_call(&[""; 0], &["/probe", "trap"]).spawn();
    call.wait_line("ready");
    c.pause().ok();
    call.kill(rustix::process::Signal::USR1);
    assert!(!call.stdout().contains("USR1"), "{}", call.stdout());
    c.resume().ok();
    call.wait_line("USR1");
    call.kill(rustix::process::Signal::TERM);
    call.wait().ok();
}

#[test]
fn groups_below_are_paused_too() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let sub = c.cgroup_dir().join("sub");
    fs::create_dir(&sub).unwrap();
    c.exec_with(&["-d", "--cgroup", "sub"], &["/probe", "pause"])
        .ok();
    c.pause().ok();
    until("the group to be frozen", || {
        fs::read_to_string(sub.join("cgroup.events"))
            .unwrap()
            .contains("frozen 1")
            .then_some(())
    });
}

#[test]
fn a_group_below_that_is_frozen_does_not_make_the_container_paused() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let sub = c.cgroup_dir().join("sub");
    fs::create_dir(&sub).unwrap();
    fs::write(sub.join("cgroup.freeze"), "1").unwrap();
    assert_eq!(c.status(), "running");
}

#[test]
fn pause_and_resume_can_be_repeated() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    for _ in 0..10 {
        c.pause().ok();
        c.resume().ok();
    }
    c.exec(&["/probe", "exit", "0"]).ok();
}

#[test]
fn a_group_below_that_was_frozen_stays_so() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let sub = c.cgroup_dir().join("sub");
    fs::create_dir(&sub).unwrap();
    c.exec_with(&["-d", "--cgroup", "sub"], &["/probe", "pause"])
        .ok();
    fs::write(sub.join("cgroup.freeze"), "1").unwrap();
    c.pause().ok();
    c.resume().ok();
    assert_eq!(c.status(), "running");
    let frozen = |dir: &std::path::Path| {
        let events = fs::read_to_string(dir.join("cgroup.events")).unwrap();
        events.contains("frozen 1")
    };
    until("the container to go on", || {
        (!frozen(&c.cgroup_dir())).then_some(())
    });
    assert!(frozen(&sub));
}

/// A container with a process that cannot be frozen.
fn stuck(bundle: &Bundle) -> Container<'_> {
    bundle.args(&["/probe", "stuck"]);
    bundle.capabilities(&["CAP_SYS_ADMIN"]);
    let fuse =
        json!({"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229, "fileMode": 0o666});
    bundle.set("/linux/devices", json!([fuse]));
    bundle.set(
        "/linux/resources",
        json!({"devices": [{"allow": true, "access": "rwm"}]}),
    );
    let c = bundle.container();
    c.run_detached();
    c.wait_line("ready");
    let dir = c.cgroup_dir();
    until("a process that stands still", || {
        let pids = fs::read_to_string(dir.join("cgroup.procs")).unwrap();
        let mut states = pids.lines().filter_map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some(stat.rsplit_once(") ")?.1.starts_with('D'))
        });
        states.any(|stands| stands).then_some(())
    });
    c
}

#[test]
fn pause_gives_up_on_a_process_that_cannot_be_frozen() {
    differs!(Crun, "does not wait");
    differs!(
        Runc,
        "leaves it frozen; each later command waits ten seconds and fails"
    );
    needs!(fs::exists("/dev/fuse").unwrap(), "FUSE");
    let bundle = Bundle::new();
    let c = stuck(&bundle);
    let output = c.pause().exits(1);
    let seconds = output.elapsed.as_secs();
    assert!((1..20).contains(&seconds), "{seconds} s");
    // And all is as before.
    assert_eq!(c.status(), "running");
    c.exec(&["/probe", "exit", "0"]).ok();
    c.resume().exits(1).says("container not paused");
}

#[test]
fn a_container_that_cannot_be_frozen_is_killed_and_deleted() {
    differs!(
        Runc,
        "each command waits ten seconds for the freezer and fails"
    );
    needs!(fs::exists("/dev/fuse").unwrap(), "FUSE");
    let bundle = Bundle::new();
    let c = stuck(&bundle);
    // As a pause that still waits would have it.
    fs::write(c.cgroup_dir().join("cgroup.freeze"), "1").unwrap();
    c.kill("KILL").ok();
    c.wait_stopped();
    c.delete().ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}
