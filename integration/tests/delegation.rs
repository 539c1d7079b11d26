//! A container that may write to its cgroup mount gets its cgroup: the directory and the files that the kernel calls safe to
//! give away, and nothing else.

use integration::{Bundle, Cgroup, CgroupDriver, Container, differs, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

const ROOT: u32 = 100_000;

fn writable_mount(bundle: &Bundle) {
    let options = json!(["nosuid", "noexec", "nodev", "relatime", "rw"]);
    bundle.set("/mounts/6/options", options);
}

/// Its root is user 100000 of the host, and the cgroup mount is writable.
fn system_container() -> Bundle {
    let bundle = Bundle::new();
    bundle.namespace(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": ROOT, "size": 65_536}]);
    bundle.set("/linux/uidMappings", map.clone());
    bundle.set("/linux/gidMappings", map);
    bundle.chown_rootfs(ROOT, ROOT);
    writable_mount(&bundle);
    bundle
}

fn owner(cgroup: &Cgroup, file: &str) -> u32 {
    fs::symlink_metadata(cgroup.dir().join(file)).unwrap().uid()
}

/// The files in a cgroup that belong to this user.
fn files_of(cgroup: &Cgroup, uid: u32) -> BTreeSet<String> {
    let entries = fs::read_dir(cgroup.dir()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| owner(cgroup, name) == uid).collect()
}

/// Those of the kernel's list that this cgroup has.
fn delegable(cgroup: &Cgroup) -> BTreeSet<String> {
    let list = fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap();
    let there = list.lines().filter(|name| cgroup.dir().join(name).exists());
    there.map(str::to_string).collect()
}

fn says(c: &Container<'_>, script: &str) -> String {
    let output = c.exec(&["/bin/sh", "-c", script]).ok();
    output.stdout.trim_end().to_string()
}

#[test]
fn the_containers_user_gets_the_directory_and_exactly_the_kernels_list() {
    if CgroupDriver::get() == CgroupDriver::Cgroupfs {
        differs!(Runc, "with its cgroupfs driver it gives nothing away");
    }
    let bundle = system_container();
    let c = bundle.container();
    c.create();
    let cgroup = c.cgroup();
    assert_eq!(owner(&cgroup, "."), ROOT);
    assert_eq!(files_of(&cgroup, ROOT), delegable(&cgroup));
    assert!(delegable(&cgroup).len() >= 3);
}

#[test]
fn from_inside_cgroups_are_made_and_processes_moved() {
    if CgroupDriver::get() == CgroupDriver::Cgroupfs {
        differs!(Runc, "with its cgroupfs driver it gives nothing away");
    }
    let bundle = system_container();
    let c = bundle.container();
    c.run_detached();
    let moved = "cd /sys/fs/cgroup && mkdir a a/b && echo 1 > a/b/cgroup.procs && sed -n s/^0:://p /proc/1/cgroup";
    assert_eq!(says(&c, moved), "/a/b");
    let empty = "cd /sys/fs/cgroup && echo 1 > cgroup.procs && rmdir a/b a && sed -n s/^0:://p /proc/1/cgroup";
    assert_eq!(says(&c, empty), "/");
}

#[test]
fn exec_is_not_in_the_way_of_a_service_manager() {
    differs!(
        Runc | Crun,
        "the process is in the container's own cgroup, and keeps systemd from handing controllers down"
    );
    let bundle = system_container();
    let c = bundle.container();
    c.run_detached();
    assert_eq!(says(&c, "grep ^0: /proc/self/cgroup"), "0::/");
    // What systemd does first, before it switches controllers on.
    says(
        &c,
        "cd /sys/fs/cgroup && mkdir init.scope && echo 1 > init.scope/cgroup.procs",
    );
    assert_eq!(says(&c, "grep ^0: /proc/self/cgroup"), "0::/init.scope");
    let chosen = c.exec_with(
        &["--cgroup", "/"],
        &["/bin/grep", "^0:", "/proc/self/cgroup"],
    );
    assert_eq!(chosen.ok().stdout, "0::/\n");
}

#[test]
fn the_limits_stay_the_hosts() {
    let bundle = system_container();
    let c = bundle.container();
    c.run_detached();
    for (file, value) in [
        ("cgroup.max.descendants", "1"),
        ("cgroup.max.depth", "1"),
        ("cgroup.freeze", "0"),
        ("cgroup.kill", "0"),
    ] {
        let before = owner(&c.cgroup(), file);
        assert_ne!(before, ROOT, "{file}");
        let script = format!("echo {value} > /sys/fs/cgroup/{file} || echo refused");
        assert_eq!(says(&c, &script), "refused", "{file}");
    }
}

#[test]
fn what_the_container_makes_goes_with_it() {
    if CgroupDriver::get() == CgroupDriver::Cgroupfs {
        differs!(Runc, "with its cgroupfs driver it gives nothing away");
    }
    let bundle = system_container();
    let c = bundle.container();
    c.run_detached();
    let cgroup = c.cgroup();
    says(
        &c,
        "cd /sys/fs/cgroup && mkdir -p a/b/c d && echo 1 > a/b/c/cgroup.procs",
    );
    assert_eq!(c.cgroup(), cgroup.child("a").child("b").child("c"));
    c.delete_force().ok();
    assert!(!cgroup.exists());
}

#[test]
fn exec_is_in_the_containers_cgroup_while_that_takes_processes() {
    if CgroupDriver::get() == CgroupDriver::Cgroupfs {
        differs!(Runc, "with its cgroupfs driver it gives nothing away");
    }
    let bundle = system_container();
    let c = bundle.container();
    c.run_detached();
    says(
        &c,
        "cd /sys/fs/cgroup && mkdir leaf && echo 1 > leaf/cgroup.procs",
    );
    assert_eq!(says(&c, "sed -n s/^0:://p /proc/self/cgroup"), "/");
    assert_eq!(says(&c, "sed -n s/^0:://p /proc/1/cgroup"), "/leaf");
    let chosen = c.exec_with(
        &["--cgroup", "/leaf"],
        &["/bin/sed", "-n", "s/^0:://p", "/proc/self/cgroup"],
    );
    assert_eq!(chosen.ok().stdout, "/leaf\n");
}

#[test]
fn a_read_only_mount_gives_nothing_away() {
    differs!(Crun, "it gives the cgroup to every user namespace");
    let bundle = system_container();
    bundle.set("/mounts/6/options", json!(["nosuid", "ro"]));
    let c = bundle.container();
    c.create();
    assert_eq!(owner(&c.cgroup(), "."), 0);
    assert!(files_of(&c.cgroup(), ROOT).is_empty());
}

#[test]
fn neither_does_the_hosts_cgroup_namespace() {
    differs!(Crun, "it gives the cgroup to every user namespace");
    let bundle = system_container();
    bundle.without_namespace("cgroup");
    let c = bundle.container();
    c.create();
    assert!(files_of(&c.cgroup(), ROOT).is_empty());
}

#[test]
fn it_goes_to_the_user_of_the_process() {
    if CgroupDriver::get() == CgroupDriver::Cgroupfs {
        differs!(Runc, "with its cgroupfs driver it gives nothing away");
    }
    differs!(Crun, "it gives it to the container's root");
    let bundle = system_container();
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let c = bundle.container();
    c.create();
    assert_eq!(files_of(&c.cgroup(), ROOT + 1000), delegable(&c.cgroup()));
}

#[test]
fn without_a_user_namespace_too() {
    if CgroupDriver::get() == CgroupDriver::Cgroupfs {
        differs!(Runc, "with its cgroupfs driver it gives nothing away");
    }
    differs!(Crun, "without a user namespace it gives nothing away");
    let bundle = Bundle::new();
    writable_mount(&bundle);
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let c = bundle.container();
    c.create();
    assert_eq!(owner(&c.cgroup(), "."), 1000);
    assert_eq!(files_of(&c.cgroup(), 1000), delegable(&c.cgroup()));
}

#[test]
fn the_group_stays() {
    differs!(Crun, "it gives the group away, too");
    let bundle = system_container();
    let c = bundle.container();
    c.create();
    let group = |file: &str| {
        let path = c.cgroup().dir().join(file);
        fs::symlink_metadata(path).unwrap().gid()
    };
    assert_eq!((group("."), group("cgroup.procs")), (0, 0));
}
