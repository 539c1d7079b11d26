//! Mounts of a container in a user namespace: what the kernel locks there, and what must be asked of the host.

use integration::{
    Bundle, Call, HostMount, Runtime, Value, differs, has_attribute, json, mount_at, probe_report,
};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// A bundle in a user namespace in which id 0 is 100000 outside.
fn bundle() -> Bundle {
    let bundle = Bundle::new();
    bundle.namespace(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    bundle.set("/linux/uidMappings", map.clone());
    bundle.set("/linux/gidMappings", map);
    bundle.chown_rootfs(100_000, 100_000);
    bundle
}

fn bind(bundle: &Bundle, source: &std::path::Path, options: &[&str]) {
    bundle.mount(
        json!({"destination": "/mnt", "type": "bind", "source": source, "options": options}),
    );
}

fn mnt(bundle: &Bundle) -> Value {
    mount_at(&probe_report(bundle), "/mnt").clone()
}

fn printed(bundle: &Bundle, words: &[&str]) -> String {
    let mut args = vec!["/probe"];
    args.extend(words);
    bundle.args(&args);
    bundle.container().run().ok().stdout.trim_end().to_string()
}

#[test]
fn the_default_mounts_are_all_there() {
    let report = probe_report(&bundle());
    for (path, kind) in [
        ("/proc", "proc"),
        ("/dev", "tmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/shm", "tmpfs"),
        ("/dev/mqueue", "mqueue"),
        ("/sys", "sysfs"),
        ("/sys/fs/cgroup", "cgroup2"),
    ] {
        assert_eq!(mount_at(&report, path)["fstype"], kind, "{path}");
    }
}

#[test]
fn a_bound_directory_of_the_hosts_root_is_read() {
    differs!(
        Runc < (1, 2),
        "it drops flags that are locked, which the kernel refuses"
    );
    let bundle = bundle();
    let dir = bundle.home().join("source");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("file"), "of the host").unwrap();
    bind(&bundle, &dir, &["rbind", "ro"]);
    assert_eq!(printed(&bundle, &["read", "/mnt/file"]), "of the host");
    assert_eq!(printed(&bundle, &["try", "mkdir", "/mnt/new"]), "EROFS");
}

#[test]
fn a_source_behind_a_directory_of_roots_own_is_bound() {
    let bundle = bundle();
    let closed = bundle.home().join("closed");
    fs::create_dir_all(closed.join("source")).unwrap();
    fs::write(closed.join("source/file"), "of the host").unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    bind(&bundle, &closed.join("source"), &["rbind"]);
    assert_eq!(printed(&bundle, &["read", "/mnt/file"]), "of the host");
}

/// As root of a user namespace of its own, with its mounts: what an engine of an ordinary user is.
fn run_in_a_user_namespace(bundle: &Bundle) -> Call {
    let outer = ["--map-users=0:0:1", "--map-users=1:100000:65536"];
    let groups = ["--map-groups=0:0:1", "--map-groups=1:100000:65536"];
    Call::of("unshare", &bundle.home().join("io"))
        .args(["--user", "--mount"])
        .args(outer.iter().chain(&groups))
        .args(["--setuid=0", "--setgid=0", "--"])
        .arg(Runtime::get().path())
        .arg("--root")
        .arg(bundle.root())
        .args(["run", "--bundle"])
        .arg(bundle.dir())
        .arg(bundle.id())
}

#[test]
fn a_source_that_only_the_root_of_the_outer_user_namespace_reaches_is_bound() {
    let bundle = bundle();
    // Podman's --userns=auto and nomap: the id that owns the source is not mapped again.
    let map = json!([{"containerID": 0, "hostID": 1, "size": 1000}]);
    bundle.set("/linux/uidMappings", map.clone());
    bundle.set("/linux/gidMappings", map);
    bundle.chown_rootfs(100_000, 100_000);
    let closed = bundle.home().join("closed");
    fs::create_dir_all(closed.join("source")).unwrap();
    fs::write(closed.join("source/file"), "of the host").unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    bind(&bundle, &closed.join("source"), &["rbind"]);
    bundle.args(&["/probe", "read", "/mnt/file"]);
    let output = run_in_a_user_namespace(&bundle).run().ok();
    assert_eq!(output.stdout.trim_end(), "of the host");
}

#[test]
fn a_root_behind_a_directory_of_roots_own_is_entered() {
    differs!(
        Runc | Crun,
        "the container's root must be able to get to the rootfs"
    );
    let bundle = bundle();
    fs::set_permissions(bundle.dir(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(printed(&bundle, &["try", "mkdir", "/new"]), "ok");
}

#[test]
fn flags_of_the_source_that_are_locked_stay() {
    differs!(
        Runc < (1, 2),
        "it drops flags that are locked, which the kernel refuses"
    );
    differs!(Crun < (1, 28), "it drops them");
    let bundle = bundle();
    let host = HostMount::tmpfs(&bundle.home().join("source"));
    host.attributes(&["nosuid", "nodev", "noexec"]);
    bind(&bundle, host.path(), &["rbind", "ro"]);
    let mount = mnt(&bundle);
    for word in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(has_attribute(&mount, word), "{word}: {mount}");
    }
}

#[test]
fn a_read_only_source_stays_read_only() {
    differs!(Crun, "it clears what is not asked for");
    let bundle = bundle();
    let host = HostMount::tmpfs(&bundle.home().join("source"));
    host.attributes(&["ro"]);
    bind(&bundle, host.path(), &["rbind"]);
    assert!(has_attribute(&mnt(&bundle), "ro"));
}

#[test]
fn mounts_below_the_source_come_along_and_cannot_be_taken_away() {
    differs!(Crun, "the container can unmount them");
    let bundle = bundle();
    let dir = bundle.home().join("source");
    let below = HostMount::tmpfs(&dir.join("below"));
    fs::write(below.path().join("file"), "deep").unwrap();
    bind(&bundle, &dir, &["rbind"]);
    assert_eq!(printed(&bundle, &["read", "/mnt/below/file"]), "deep");
    bundle.capabilities(&["CAP_SYS_ADMIN"]);
    assert_eq!(printed(&bundle, &["try", "umount", "/mnt/below"]), "EINVAL");
}

#[test]
fn rro_reaches_the_mounts_below() {
    let bundle = bundle();
    let dir = bundle.home().join("source");
    let _below = HostMount::tmpfs(&dir.join("below"));
    bind(&bundle, &dir, &["rbind", "rro"]);
    let report = probe_report(&bundle);
    for path in ["/mnt", "/mnt/below"] {
        assert!(has_attribute(mount_at(&report, path), "ro"), "{path}");
    }
}

#[test]
fn a_tmpfs_belongs_to_the_containers_root() {
    let bundle = bundle();
    bundle.mount(
        json!({"destination": "/mnt", "type": "tmpfs", "source": "t", "options": ["mode=700"]}),
    );
    bundle.args(&["/probe", "stat", "/mnt"]);
    let stat = bundle.container().run().ok().json();
    assert_eq!(
        (&stat["/mnt"]["uid"], &stat["/mnt"]["mode"]),
        (&json!(0), &json!("0700"))
    );
}

#[test]
fn tmpcopyup_keeps_owners_of_the_container() {
    let bundle = bundle();
    let file = bundle.write("/data/file", "of the image");
    std::os::unix::fs::chown(&file, Some(101_000), Some(102_000)).unwrap();
    std::os::unix::fs::chown(bundle.rootfs("/data"), Some(100_000), Some(100_000)).unwrap();
    bundle.mount(
        json!({"destination": "/data", "type": "tmpfs", "source": "t", "options": ["tmpcopyup"]}),
    );
    bundle.args(&["/probe", "stat", "/data/file"]);
    let stat = bundle.container().run().ok().json();
    let file = &stat["/data/file"];
    assert_eq!((&file["uid"], &file["gid"]), (&json!(1000), &json!(2000)));
}

#[test]
fn places_are_made_by_the_containers_root() {
    let bundle = bundle();
    bundle.mount(json!({"destination": "/a/b", "type": "tmpfs", "source": "t"}));
    printed(&bundle, &["list", "/a/b"]);
    use std::os::unix::fs::MetadataExt;
    for made in ["/a", "/a/b"] {
        assert_eq!(
            fs::metadata(bundle.rootfs(made)).unwrap().uid(),
            100_000,
            "{made}"
        );
    }
}

#[test]
fn sysfs_in_the_hosts_network_is_the_hosts() {
    differs!(Runc, "it fails");
    differs!(Crun, "it is writable");
    let bundle = bundle();
    bundle.without_namespace("network");
    bundle.set(
        "/mounts/6",
        json!({"destination": "/mnt", "type": "tmpfs", "source": "t"}),
    );
    let report = probe_report(&bundle);
    let sys = mount_at(&report, "/sys");
    assert_eq!(sys["fstype"], "sysfs");
    for word in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(has_attribute(sys, word), "{word}: {sys}");
    }
}

#[test]
fn a_read_only_root_is_read_only() {
    let bundle = bundle();
    bundle.set("/root/readonly", json!(true));
    assert_eq!(printed(&bundle, &["try", "mkdir", "/new"]), "EROFS");
}

#[test]
fn propagation_is_never_to_the_host() {
    differs!(Crun, "it is");
    let bundle = bundle();
    let host = HostMount::tmpfs(&bundle.home().join("source"));
    host.propagation("shared");
    fs::create_dir(host.path().join("inside")).unwrap();
    bind(&bundle, host.path(), &["rbind", "rshared"]);
    bundle.set("/linux/rootfsPropagation", json!("shared"));
    bundle.capabilities(&["CAP_SYS_ADMIN"]);
    let c = bundle.container();
    c.run_detached();
    c.exec(&[
        "/probe",
        "try",
        "mount",
        "t",
        "/mnt/inside",
        "tmpfs",
        "",
        "",
    ]);
    let mounts = integration::mounts_under(&host.path().join("inside"));
    assert!(mounts.is_empty(), "{mounts:?}");
}
