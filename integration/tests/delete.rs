//! delete: what may be deleted, and that nothing is left then.

use integration::{Bundle, differs, json, until, wait_exit};
use std::fs;
use std::process::Command;
use std::time::Duration;

const NO_FLAGS: &[&str] = &[];

#[test]
fn a_stopped_container_is_deleted() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    c.kill("KILL").ok();
    c.wait_stopped();
    assert_eq!(c.delete().ok().stdout, "");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_created_container_is_killed_and_deleted() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    let pid = c.pid();
    c.delete().ok();
    assert!(wait_exit(pid, integration::DEADLINE));
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_running_container_is_refused() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let output = c.delete().exits(1);
    let text = format!(
        "cannot delete container {} that is not stopped: running",
        c.id()
    );
    output.says_or_crun(&text, "is not in `created` or `stopped` state");
    assert_eq!(c.status(), "running");
}

#[test]
fn a_paused_container_is_refused() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    c.pause().ok();
    c.delete().exits(1).fails();
    assert_eq!(c.status(), "paused");
}

#[test]
fn force_kills_a_running_container() {
    let bundle = Bundle::new();
    // PID 1 that takes no signal but KILL.
    bundle.args(&["/probe", "pause"]);
    let c = bundle.container();
    c.run_detached();
    let pid = c.pid();
    c.delete_force().ok();
    assert!(wait_exit(pid, integration::DEADLINE));
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn force_kills_a_paused_container() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    c.pause().ok();
    c.delete_force().ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn the_short_flag_is_the_same() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    c.call("delete", &["-f"]).run().ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn force_of_an_unknown_container_is_a_success() {
    let bundle = Bundle::new();
    bundle.call(["delete", "--force", "unknown"]).run().ok();
    bundle.call(["delete", "-f", "unknown"]).run().ok();
}

#[test]
fn without_force_an_unknown_container_does_not_exist() {
    let bundle = Bundle::new();
    let output = bundle.call(["delete", "unknown"]).run().exits(1);
    output.says_or_crun("container does not exist", "no such file");
}

#[test]
fn a_second_delete_is_an_error() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    c.delete().ok();
    c.delete().exits(1).fails();
}

#[test]
fn the_cgroup_goes_with_the_groups_made_in_it() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    fs::create_dir_all(c.cgroup_dir().join("one/two")).unwrap();
    fs::create_dir(c.cgroup_dir().join("three")).unwrap();
    c.kill("KILL").ok();
    c.wait_stopped();
    c.delete().ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_process_in_a_group_below_goes_too() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let sub = c.cgroup_dir().join("sub");
    fs::create_dir(&sub).unwrap();
    c.exec_with(&["-d", "--cgroup", "sub"], &["/probe", "pause"])
        .ok();
    assert_eq!(
        fs::read_to_string(sub.join("cgroup.procs"))
            .unwrap()
            .lines()
            .count(),
        1
    );
    c.delete_force().ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn many_and_deep_groups_go_too() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let mut dir = c.cgroup_dir();
    for level in 0..60 {
        dir.push(format!("level-{level}-{}", "x".repeat(40)));
        fs::create_dir(&dir).unwrap();
    }
    for n in 0..200 {
        fs::create_dir(c.cgroup_dir().join(format!("sibling-{n}"))).unwrap();
    }
    let output = c.delete_force().ok();
    assert!(
        output.elapsed < Duration::from_secs(10),
        "{:?}",
        output.elapsed
    );
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn frozen_groups_go_too() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let sub = c.cgroup_dir().join("one/two");
    fs::create_dir_all(&sub).unwrap();
    c.exec_with(&["-d", "--cgroup", "one/two"], &["/probe", "pause"])
        .ok();
    fs::write(sub.join("cgroup.freeze"), "1").unwrap();
    c.delete_force().ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

/// With init all of a pid namespace has ended: what is in the cgroup then is somebody else's.
#[test]
fn a_process_of_somebody_else_in_the_cgroup_does_not_make_it_hang() {
    differs!(Crun, "kills it");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let sub = c.cgroup_dir().join("sub");
    fs::create_dir(&sub).unwrap();
    c.kill("KILL").ok();
    c.wait_stopped();
    let mut other = Command::new("sleep").arg("1000").spawn().unwrap();
    fs::write(sub.join("cgroup.procs"), other.id().to_string()).unwrap();
    let output = c.delete();
    let alive = other.try_wait().unwrap().is_none();
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(
        output.elapsed < Duration::from_secs(20),
        "{}",
        output.describe()
    );
    assert!(alive, "it was killed: {}", output.describe());
    for dir in [sub.as_path(), sub.parent().unwrap()] {
        // The kernel calls it busy for a moment longer.
        until("the cgroup to go", || match fs::remove_dir(dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => None,
            _ => Some(()),
        });
    }
}

#[test]
fn force_ends_every_process_without_a_pid_namespace() {
    differs!(
        Runc < (1, 2),
        "without a pid namespace only the init is killed"
    );
    let bundle = Bundle::new();
    bundle.without_namespace("pid");
    bundle.args(&["/probe", "spawn", "3"]);
    let c = bundle.container();
    c.run_detached();
    c.wait_line("ready");
    c.delete_force().ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn processes_left_by_a_dead_init_go_too() {
    differs!(
        Runc < (1, 2),
        "without a pid namespace only the init is killed"
    );
    let bundle = Bundle::new();
    bundle.without_namespace("pid");
    bundle.args(&["/probe", "spawn", "2"]);
    let c = bundle.container();
    c.run_detached();
    c.wait_line("ready");
    let init = rustix::process::Pid::from_raw(c.pid()).unwrap();
    rustix::process::kill_process(init, rustix::process::Signal::KILL).unwrap();
    c.wait_status("stopped");
    c.delete_force().ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn an_empty_state_directory_is_removed_by_force() {
    let bundle = Bundle::new();
    let c = bundle.container();
    fs::create_dir(c.state_dir()).unwrap();
    c.delete_force().ok();
    assert_eq!(bundle.state_ids(), [""; 0]);
}

#[test]
fn a_state_directory_with_broken_files_is_removed_by_force() {
    differs!(
        Runc,
        "delete --force says that it cannot read state.json and exits 1"
    );
    let bundle = Bundle::new();
    let c = bundle.container();
    fs::create_dir(c.state_dir()).unwrap();
    for name in ["state.json", "status"] {
        fs::write(c.state_dir().join(name), "{\"id\":").unwrap();
    }
    c.delete_force().ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn the_bundle_is_not_needed() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    fs::rename(bundle.dir(), bundle.home().join("moved")).unwrap();
    c.delete_force().ok();
    fs::rename(bundle.home().join("moved"), bundle.dir()).unwrap();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn other_containers_are_left_alone() {
    let bundle = Bundle::new();
    let (one, two) = (bundle.container_named("one"), bundle.container_named("two"));
    one.run_detached();
    two.run_detached();
    one.delete_force().ok();
    assert_eq!(two.status(), "running");
    two.exec(&["/probe", "exit", "0"]).ok();
    assert_eq!(bundle.state_ids(), [two.id()]);
}

#[test]
fn a_cgroup_below_another_path_goes_too() {
    let bundle = Bundle::new();
    let c = bundle.container();
    bundle.set(
        "/linux/cgroupsPath",
        json!(format!("/{0}-parent/{0}", bundle.id())),
    );
    c.run_detached();
    let dir = c.cgroup_dir();
    assert!(
        dir.parent()
            .unwrap()
            .ends_with(format!("{}-parent", bundle.id()))
    );
    c.delete_force().ok();
    assert!(!dir.exists());
    // The runtimes leave the directories on the way to it.
    let _ = fs::remove_dir(dir.parent().unwrap());
}

#[test]
fn two_at_once_leave_nothing_and_at_least_one_succeeds() {
    let bundle = Bundle::new();
    for _ in 0..5 {
        let c = bundle.container();
        c.run_detached();
        let calls = [
            c.call("delete", &["--force"]).spawn(),
            c.call("delete", &["--force"]).spawn(),
        ];
        let codes = calls.map(|call| call.wait().code());
        assert!(codes.contains(&Some(0)), "{codes:?}");
        c.call("delete", &["--force"]).run().ok();
        assert_eq!(bundle.leftovers(), [""; 0]);
    }
}

#[test]
fn delete_has_no_more_than_one_id() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    bundle.call(["delete", c.id(), "another"]).run().exits(1);
    assert_eq!(c.status(), "created");
    c.call("delete", NO_FLAGS).run().ok();
}
