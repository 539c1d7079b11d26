//! Mounts of type cgroup and cgroup2: what the container sees of the hierarchy.

use integration::{
    Bundle, Value, differs, has_attribute, has_option, json, mount_at, probe_report,
};

fn set_options(bundle: &Bundle, kind: &str, options: &[&str]) {
    let mount = json!({"destination": "/sys/fs/cgroup", "type": kind, "source": "cgroup", "options": options});
    bundle.set("/mounts/6", mount);
}

fn printed(bundle: &Bundle, words: &[&str]) -> String {
    let mut args = vec!["/probe"];
    args.extend(words);
    bundle.args(&args);
    bundle.container().run().ok().stdout.trim_end().to_string()
}

/// The pids in the cgroup that the container sees as the root of its mount.
fn procs(bundle: &Bundle) -> String {
    printed(bundle, &["read", "/sys/fs/cgroup/cgroup.procs"])
}

#[test]
fn with_a_cgroup_namespace_the_mount_shows_the_containers_cgroup() {
    let bundle = Bundle::new();
    let report = probe_report(&bundle);
    let mount = mount_at(&report, "/sys/fs/cgroup");
    assert_eq!(
        (&mount["fstype"], &mount["root"]),
        (&json!("cgroup2"), &json!("/"))
    );
    assert_eq!(report["cgroup"], "/");
    assert_eq!(procs(&bundle), "1");
}

#[test]
fn its_source_is_the_configs() {
    differs!(Crun, "it is named after the file system");
    let bundle = Bundle::new();
    for kind in ["cgroup", "cgroup2"] {
        let mount =
            json!({"destination": "/sys/fs/cgroup", "type": kind, "source": "by-this-name"});
        bundle.set("/mounts/6", mount);
        let report = probe_report(&bundle);
        assert_eq!(
            mount_at(&report, "/sys/fs/cgroup")["source"],
            "by-this-name"
        );
    }
}

#[test]
fn it_has_the_attributes_that_are_asked_for() {
    let report = probe_report(&Bundle::new());
    let mount = mount_at(&report, "/sys/fs/cgroup");
    for word in ["ro", "nosuid", "nodev", "noexec", "relatime"] {
        assert!(has_attribute(mount, word), "{word}: {mount}");
    }
}

#[test]
fn the_types_cgroup_and_cgroup2_are_the_same() {
    let bundle = Bundle::new();
    set_options(&bundle, "cgroup2", &["ro", "nosuid"]);
    let report = probe_report(&bundle);
    let mount = mount_at(&report, "/sys/fs/cgroup");
    assert_eq!(mount["fstype"], "cgroup2");
    assert!(has_attribute(mount, "ro") && has_attribute(mount, "nosuid"));
    assert_eq!(procs(&bundle), "1");
}

#[test]
fn read_only_it_cannot_be_changed() {
    let bundle = Bundle::new();
    assert_eq!(
        printed(&bundle, &["try", "mkdir", "/sys/fs/cgroup/new"]),
        "EROFS"
    );
}

#[test]
fn writable_it_can_be_changed() {
    let bundle = Bundle::new();
    set_options(&bundle, "cgroup", &["nosuid", "noexec", "nodev", "rw"]);
    bundle.args(&[
        "/bin/sh",
        "-c",
        "mkdir /sys/fs/cgroup/new && rmdir /sys/fs/cgroup/new && echo done",
    ]);
    assert_eq!(bundle.container().run().ok().stdout, "done\n");
}

#[test]
fn a_mount_elsewhere_works_too() {
    let bundle = Bundle::new();
    bundle.mount(json!({"destination": "/mnt/cgroup", "type": "cgroup2", "source": "cgroup", "options": ["ro"]}));
    assert_eq!(printed(&bundle, &["read", "/mnt/cgroup/cgroup.procs"]), "1");
}

#[test]
fn without_a_cgroup_namespace_it_is_bound() {
    let bundle = Bundle::new();
    bundle.without_namespace("cgroup");
    let report = probe_report(&bundle);
    let mount = mount_at(&report, "/sys/fs/cgroup");
    assert_eq!(mount["fstype"], "cgroup2");
    for word in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(has_attribute(mount, word), "{word}: {mount}");
    }
}

#[test]
fn without_a_cgroup_namespace_the_paths_of_proc_lead_to_it() {
    let bundle = Bundle::new();
    bundle.without_namespace("cgroup");
    bundle.args(&[
        "/bin/sh",
        "-c",
        "cat /sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)/cgroup.procs | head -n1",
    ]);
    // As the container's pid namespace counts them.
    assert_eq!(bundle.container().run().ok().stdout, "1\n");
}

#[test]
fn the_hosts_mount_options_stay_as_they_are() {
    let options = || {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let line = table.lines().find(|line| line.contains(" - cgroup2 "));
        line.map(str::to_string)
    };
    let before = options();
    let bundle = Bundle::new();
    bundle.without_namespace("cgroup");
    procs(&bundle);
    assert_eq!(before, options());
}

#[test]
fn in_a_user_namespace_it_is_the_containers_cgroup() {
    let bundle = Bundle::new();
    bundle.namespace(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    bundle.set("/linux/uidMappings", map.clone());
    bundle.set("/linux/gidMappings", map);
    bundle.chown_rootfs(100_000, 100_000);
    let report = probe_report(&bundle);
    assert_eq!(mount_at(&report, "/sys/fs/cgroup")["fstype"], "cgroup2");
    assert_eq!(procs(&bundle), "1");
}

#[test]
fn no_cgroup_mount_is_fine() {
    let bundle = Bundle::new();
    bundle.remove("/mounts/6");
    let list = printed(&bundle, &["list", "/sys/fs/cgroup"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["/sys/fs/cgroup"], json!([]));
}

#[test]
fn a_bind_mount_of_the_hosts_hierarchy_is_a_bind_mount() {
    let bundle = Bundle::new();
    bundle.set(
        "/mounts/6",
        json!({"destination": "/sys/fs/cgroup", "type": "bind",
        "source": "/sys/fs/cgroup", "options": ["rbind", "ro"]}),
    );
    let report = probe_report(&bundle);
    let mount = mount_at(&report, "/sys/fs/cgroup");
    assert_eq!(mount["fstype"], "cgroup2");
    assert!(has_option(mount, "ro"));
}
