//! create, start, run: the way of a container through its states, and what stops it on that way.

use integration::{Bundle, Runtime, json, wait_exit};
use rustix::process::Signal;
use std::fs;
use std::time::Duration;

const NO_FLAGS: &[&str] = &[];

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
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn create_and_start_print_nothing() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "pause"]);
    let c = bundle.container();
    for output in [c.create(), c.start()] {
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
    }
}

#[test]
fn nothing_of_the_container_runs_before_start() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "write", "/tmp/here", "yes"]);
    let c = bundle.container();
    c.create();
    assert!(!bundle.rootfs("/tmp/here").exists());
    c.start();
    c.wait_stopped();
    assert_eq!(
        fs::read_to_string(bundle.rootfs("/tmp/here")).unwrap(),
        "yes"
    );
}

#[test]
fn the_init_lives_on_when_the_runtime_is_gone() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    let stat = fs::read_to_string(format!("/proc/{}/stat", c.pid())).unwrap();
    let parent: i32 = stat
        .rsplit_once(") ")
        .unwrap()
        .1
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let parent_exe = fs::read_link(format!("/proc/{parent}/exe")).unwrap_or_default();
    assert_ne!(parent_exe, Runtime::get().path());
}

#[test]
fn a_config_changed_after_create_changes_nothing() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "write", "/tmp/who", "first"]);
    let c = bundle.container();
    c.create();
    bundle.args(&["/probe", "write", "/tmp/who", "second"]);
    c.start();
    c.wait_stopped();
    assert_eq!(
        fs::read_to_string(bundle.rootfs("/tmp/who")).unwrap(),
        "first"
    );
}

#[test]
fn a_config_removed_after_create_is_not_missed() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    fs::remove_file(bundle.dir().join("config.json")).unwrap();
    c.start();
    assert_eq!(c.status(), "running");
    c.kill("KILL").ok();
    c.wait_stopped();
    c.delete().ok();
}

#[test]
fn an_id_can_be_used_again_after_delete() {
    let bundle = Bundle::new();
    for _ in 0..2 {
        let c = bundle.container();
        c.run_detached();
        c.delete_force().ok();
    }
}

#[test]
fn two_containers_share_a_bundle() {
    let bundle = Bundle::new();
    let (one, two) = (bundle.container_named("one"), bundle.container_named("two"));
    one.run_detached();
    two.run_detached();
    assert_ne!(one.pid(), two.pid());
    one.delete_force().ok();
    assert_eq!(two.status(), "running");
}

#[test]
fn the_same_id_in_another_root_is_another_container() {
    let bundle = Bundle::new();
    bundle.set("/linux/cgroupsPath", json!(format!("/{}-a", bundle.id())));
    let c = bundle.container();
    c.run_detached();
    bundle.set("/linux/cgroupsPath", json!(format!("/{}-b", bundle.id())));
    let other = bundle.home().join("other-root");
    let call = |verb: &[&str]| bundle.bare_call().arg("--root").arg(&other).args(verb);
    call(&["run", "-d", "--bundle"])
        .arg(bundle.dir())
        .arg(c.id())
        .run()
        .ok();
    let theirs = call(&["state", c.id()]).run().ok().json();
    call(&["delete", "--force", c.id()]).run().ok();
    assert_ne!(theirs["pid"], c.pid());
    assert_eq!(c.status(), "running");
}

#[test]
fn the_root_directory_is_made() {
    let bundle = Bundle::new();
    let root = bundle.home().join("a/b/c");
    let call = |verb: &[&str]| bundle.bare_call().arg("--root").arg(&root).args(verb);
    call(&["create", "--bundle"])
        .arg(bundle.dir())
        .arg(bundle.id())
        .run()
        .ok();
    assert!(root.join(bundle.id()).is_dir());
    call(&["delete", "--force", bundle.id()]).run().ok();
    assert!(!root.join(bundle.id()).exists());
}

#[test]
fn an_unknown_container_does_not_exist() {
    let bundle = Bundle::new();
    for verb in ["start", "state", "kill", "delete", "pause", "resume"] {
        let output = bundle.call([verb, "unknown"]).run().exits(1);
        output.says_or_crun("container does not exist", "no such file or directory");
    }
}

#[test]
fn a_running_container_is_not_started_again() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let output = c.call("start", NO_FLAGS).run().exits(1);
    output.says_or_crun("cannot start an already running container", "exec.fifo");
    assert_eq!(c.status(), "running");
}

#[test]
fn a_stopped_container_is_not_started_again() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "0"]);
    let c = bundle.container();
    c.run_detached();
    c.wait_stopped();
    let output = c.call("start", NO_FLAGS).run().exits(1);
    output.says_or_crun(
        "cannot start a container that has stopped",
        "is not running",
    );
}

#[test]
fn a_container_killed_before_start_is_not_started() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    c.kill("KILL").ok();
    c.wait_stopped();
    let output = c.call("start", NO_FLAGS).run().exits(1);
    output.says_or_crun(
        "cannot start a container that has stopped",
        "is not running",
    );
}

#[test]
fn an_init_killed_before_start_is_seen_as_stopped() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    let pid = c.pid();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), Signal::KILL)
        .unwrap();
    assert!(wait_exit(pid, Duration::from_secs(10)));
    c.wait_status("stopped");
    c.delete().ok();
}
