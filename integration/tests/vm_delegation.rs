//! A system container hands controllers down in its own cgroup, as systemd does, and lives on as PID 1 in a leaf of it.

use integration::{Bundle, Cgroup, CgroupDriver, Container, differs, json};
use std::os::unix::fs::MetadataExt;
use std::process::Command;

const ROOT: u32 = 100_000;

fn system_container() -> Bundle {
    let bundle = Bundle::new();
    bundle.namespace(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": ROOT, "size": 65_536}]);
    bundle.set("/linux/uidMappings", map.clone());
    bundle.set("/linux/gidMappings", map);
    bundle.chown_rootfs(ROOT, ROOT);
    bundle.set(
        "/mounts/6/options",
        json!(["nosuid", "noexec", "nodev", "rw"]),
    );
    bundle
}

fn shell(c: &Container<'_>, script: &str) -> String {
    let output = c.exec(&["/bin/sh", "-c", script]).ok();
    output.stdout.trim_end().to_string()
}

/// What an init does first: out of the cgroup that is to hand down controllers.
const SETTLE: &str = "cd /sys/fs/cgroup && mkdir init job && echo 1 > init/cgroup.procs && echo $$ > init/cgroup.procs && \
    echo '+memory +pids' > cgroup.subtree_control && cat cgroup.subtree_control";

#[test]
fn every_controller_reaches_the_container() {
    let bundle = system_container();
    let c = bundle.container();
    c.run_detached();
    let seen = shell(&c, "cat /sys/fs/cgroup/cgroup.controllers");
    for name in ["cpuset", "cpu", "io", "memory", "pids"] {
        assert!(seen.split(' ').any(|have| have == name), "{name}: {seen}");
    }
}

#[test]
fn the_container_limits_its_own_processes() {
    if CgroupDriver::get() == CgroupDriver::Cgroupfs {
        differs!(Runc, "with its cgroupfs driver it gives nothing away");
    }
    let bundle = system_container();
    let c = bundle.container();
    c.run_detached();
    assert_eq!(shell(&c, SETTLE), "memory pids");
    let fork_within = |limit: u32| {
        let script = format!(
            "cd /sys/fs/cgroup/job && echo {limit} > pids.max && echo $$ > cgroup.procs && /bin/true; echo $?"
        );
        c.exec(&["/bin/sh", "-c", &script])
    };
    assert_eq!(fork_within(2).ok().stdout, "0\n");
    fork_within(1).fails().says("can't fork");
    assert!(c.cgroup().parent().child("job").field("pids.events", "max") >= 1);
}

#[test]
fn exec_joins_pid_1_where_the_containers_cgroup_takes_no_processes() {
    if CgroupDriver::get() == CgroupDriver::Cgroupfs {
        differs!(Runc, "with its cgroupfs driver it gives nothing away");
    }
    let bundle = system_container();
    let c = bundle.container();
    c.run_detached();
    shell(&c, SETTLE);
    assert_eq!(shell(&c, "cat /proc/self/cgroup"), "0::/init");
    let chosen = c.exec_with(&["--cgroup", "job"], &["/bin/cat", "/proc/self/cgroup"]);
    assert_eq!(chosen.ok().stdout, "0::/job\n");
}

#[test]
fn a_chosen_cgroup_that_takes_no_processes_is_an_error() {
    differs!(Crun, "it puts the process into another cgroup");
    if CgroupDriver::get() == CgroupDriver::Cgroupfs {
        differs!(Runc, "with its cgroupfs driver it gives nothing away");
    }
    let bundle = system_container();
    let c = bundle.container();
    c.run_detached();
    shell(&c, SETTLE);
    let before = c.cgroup().processes();
    c.exec_with(&["--cgroup", "/"], &["/bin/true"]).fails();
    assert_eq!(c.cgroup().processes(), before);
}

#[test]
fn limits_and_ownership_outlive_a_reload_of_systemd() {
    if CgroupDriver::get() == CgroupDriver::Cgroupfs {
        differs!(Runc, "with its cgroupfs driver it gives nothing away");
    }
    let bundle = system_container();
    let c = bundle.container();
    c.run_detached();
    let own = c.cgroup();
    shell(&c, SETTLE);
    shell(&c, "echo 20 > /sys/fs/cgroup/job/pids.max");
    let reload = Command::new("systemctl").arg("daemon-reload").status();
    assert!(reload.unwrap().success());
    let owner =
        |cgroup: &Cgroup, file: &str| cgroup.dir().join(file).symlink_metadata().unwrap().uid();
    assert_eq!(own.read("cgroup.subtree_control"), "memory pids");
    assert_eq!(own.child("job").read("pids.max"), "20");
    assert_eq!(
        (owner(&own, "."), owner(&own, "cgroup.procs")),
        (ROOT, ROOT)
    );
    // It still has its right.
    shell(&c, "rmdir /sys/fs/cgroup/job && mkdir /sys/fs/cgroup/other");
}

#[test]
fn what_it_has_made_is_paused_counted_and_removed_with_it() {
    if CgroupDriver::get() == CgroupDriver::Cgroupfs {
        differs!(Runc, "with its cgroupfs driver it gives nothing away");
        differs!(Crun, "leaves the cgroup behind");
    }
    let bundle = system_container();
    let c = bundle.container();
    c.run_detached();
    let own = c.cgroup();
    shell(&c, SETTLE);
    c.pause().ok();
    assert_eq!(own.child("init").field("cgroup.events", "frozen"), 1);
    c.resume().ok();
    c.delete_force().ok();
    assert!(!own.exists());
}
