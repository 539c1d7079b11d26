//! Images and configs that try to get mounts, nodes and files made outside of the root filesystem, or to put something
//! else where /proc and /sys should be.

use integration::{Bundle, HostMount, Value, differs, json, probe_report, tree};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A directory of the host that must stay as it is, with all that is in it.
fn host_side(bundle: &Bundle) -> PathBuf {
    let dir = bundle.home().join("host");
    for sub in ["", "pts", "shm", "mqueue", "sub"] {
        fs::create_dir_all(dir.join(sub)).unwrap();
    }
    dir
}

/// Replaces a directory of the image by a link.
fn link(bundle: &Bundle, path: &str, target: impl AsRef<Path>) {
    fs::remove_dir(bundle.rootfs(path)).unwrap();
    symlink(target, bundle.rootfs(path)).unwrap();
}

/// Runs it, to whatever end, and checks that nothing was made on the host's side.
fn harmless(bundle: &Bundle) -> integration::Output {
    let host = host_side(bundle);
    let before = tree(&host);
    bundle.args(&["/probe", "exit", "0"]);
    let output = bundle.container().run();
    assert_eq!(tree(&host), before, "{}", output.describe());
    assert_eq!(bundle.leftovers(), [""; 0]);
    output
}

fn source(bundle: &Bundle) -> String {
    let dir = bundle.home().join("source");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("file"), "of the source").unwrap();
    dir.to_str().unwrap().to_string()
}

fn bind(source: &str, destination: &str) -> Value {
    json!({"destination": destination, "type": "bind", "source": source, "options": ["bind"]})
}

#[test]
fn proc_that_is_a_symlink_is_refused() {
    let bundle = Bundle::new();
    link(&bundle, "/proc", "tmp");
    let output = harmless(&bundle).fails();
    output.says_or_crun("must be mounted on ordinary directory", "");
}

#[test]
fn sys_that_is_a_symlink_is_refused() {
    let bundle = Bundle::new();
    link(&bundle, "/sys", "tmp");
    let output = harmless(&bundle).fails();
    output.says_or_crun("must be mounted on ordinary directory", "");
}

#[test]
fn proc_that_leads_to_the_host_is_refused() {
    let bundle = Bundle::new();
    let host = host_side(&bundle);
    link(&bundle, "/proc", &host);
    harmless(&bundle).fails();
}

#[test]
fn proc_that_is_a_file_is_refused() {
    let bundle = Bundle::new();
    fs::remove_dir(bundle.rootfs("/proc")).unwrap();
    bundle.write("/proc", "a file");
    harmless(&bundle).fails();
}

#[test]
fn a_directory_on_the_way_that_leads_to_the_host_is_harmless() {
    let bundle = Bundle::new();
    let host = host_side(&bundle);
    link(&bundle, "/mnt", &host);
    bundle.mount(bind(&source(&bundle), "/mnt/new/dir"));
    bundle.mount(json!({"destination": "/mnt/sub/tmp", "type": "tmpfs", "source": "tmpfs"}));
    harmless(&bundle);
}

#[test]
fn a_dangling_link_to_the_host_makes_no_file_there() {
    let bundle = Bundle::new();
    let host = host_side(&bundle);
    symlink(host.join("new-file"), bundle.rootfs("/etc/link")).unwrap();
    symlink("../../../../host/new-too", bundle.rootfs("/etc/up")).unwrap();
    let file = format!("{}/file", source(&bundle));
    bundle.mount(bind(&file, "/etc/link"));
    bundle.mount(bind(&file, "/etc/up"));
    harmless(&bundle);
}

#[test]
fn dots_in_a_destination_do_not_leave_the_root() {
    let bundle = Bundle::new();
    host_side(&bundle);
    let source = source(&bundle);
    bundle.mount(bind(&source, "/../../host/new"));
    bundle.mount(bind(&source, "../../host/other"));
    bundle.mount(bind(&source, "/mnt/../../../host/third"));
    harmless(&bundle).ok();
    assert!(bundle.rootfs("/host/new").is_dir());
    assert!(bundle.rootfs("/host/other").is_dir());
    assert!(bundle.rootfs("/host/third").is_dir());
}

#[test]
fn dots_behind_a_link_do_not_leave_the_root() {
    let bundle = Bundle::new();
    host_side(&bundle);
    symlink("/tmp/../../../../..", bundle.rootfs("/up")).unwrap();
    bundle.mount(bind(&source(&bundle), "/up/host/new"));
    harmless(&bundle);
}

#[test]
fn a_link_through_proc_does_not_leave_the_root() {
    let bundle = Bundle::new();
    host_side(&bundle);
    symlink("/proc/self/root/../../host", bundle.rootfs("/out")).unwrap();
    symlink("/proc/1/cwd", bundle.rootfs("/cwd")).unwrap();
    let source = source(&bundle);
    bundle.mount(bind(&source, "/out/new"));
    harmless(&bundle);
    bundle.remove("/mounts/7");
    bundle.mount(bind(&source, "/cwd/new"));
    harmless(&bundle);
    assert!(!bundle.dir().join("new").exists());
}

#[test]
fn devices_behind_a_link_to_the_host_are_made_inside() {
    let bundle = Bundle::new();
    let host = host_side(&bundle);
    symlink(&host, bundle.rootfs("/nodes")).unwrap();
    bundle.push(
        "/linux/devices",
        json!({"path": "/nodes/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}),
    );
    harmless(&bundle);
}

#[test]
fn devices_with_dots_stay_inside() {
    let bundle = Bundle::new();
    host_side(&bundle);
    bundle.push(
        "/linux/devices",
        json!({"path": "/dev/../../../host/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}),
    );
    harmless(&bundle);
}

#[test]
fn masks_on_a_link_to_the_host_cover_nothing_of_it() {
    let bundle = Bundle::new();
    let host = host_side(&bundle);
    fs::write(host.join("file"), "of the host").unwrap();
    symlink(host.join("file"), bundle.rootfs("/etc/link")).unwrap();
    bundle.set("/linux/maskedPaths", json!(["/etc/link"]));
    bundle.set("/linux/readonlyPaths", json!(["/etc/link"]));
    harmless(&bundle).ok();
    assert_eq!(
        fs::read_to_string(host.join("file")).unwrap(),
        "of the host"
    );
}

#[test]
fn a_null_device_of_the_image_is_not_what_masks() {
    let bundle = Bundle::new();
    let mut config = bundle.config();
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    bundle.set_config(config);
    bundle.write("/etc/secret", "secret");
    bundle.write("/etc/other", "another file");
    symlink("/etc/other", bundle.rootfs("/dev/null")).unwrap();
    bundle.set("/linux/maskedPaths", json!(["/etc/secret"]));
    bundle.args(&["/probe", "read", "/etc/secret"]);
    let output = bundle.container().run();
    // Either nothing runs, or what masks is the true null device.
    assert!(
        !output.stdout.contains("secret") && !output.stdout.contains("another"),
        "{}",
        output.describe()
    );
}

#[test]
fn only_a_procfs_may_be_mounted_on_proc() {
    differs!(Runc < (1, 2), "it sees what is bound there only");
    differs!(Crun, "it mounts it");
    for kind in ["tmpfs", "sysfs"] {
        let bundle = Bundle::new();
        bundle.set(
            "/mounts/0",
            json!({"destination": "/proc", "type": kind, "source": "x"}),
        );
        harmless(&bundle)
            .fails()
            .says("because it is not of type proc");
    }
}

#[test]
fn a_directory_bound_on_proc_is_refused() {
    differs!(Crun, "it mounts it");
    let bundle = Bundle::new();
    let source = source(&bundle);
    bundle.set("/mounts/0", bind(&source, "/proc"));
    harmless(&bundle)
        .fails()
        .says("because it is not of type proc");
}

#[test]
fn a_mount_inside_proc_is_refused() {
    differs!(Crun, "it mounts it");
    for place in [
        "/proc/self/attr",
        "/proc/sys/kernel",
        "/proc/../proc/1",
        "proc/bus",
    ] {
        let bundle = Bundle::new();
        let source = source(&bundle);
        bundle.mount(bind(&source, place));
        harmless(&bundle).fails().says("inside /proc");
    }
}

#[test]
fn files_of_proc_that_tools_replace_may_be_mounted_over() {
    let bundle = Bundle::new();
    let file = format!("{}/file", source(&bundle));
    for name in [
        "/proc/meminfo",
        "/proc/cpuinfo",
        "/proc/uptime",
        "/proc/stat",
        "/proc/loadavg",
    ] {
        bundle.mount(bind(&file, name));
    }
    bundle.args(&["/probe", "read", "/proc/meminfo", "/proc/uptime"]);
    assert_eq!(
        bundle.container().run().ok().stdout,
        "of the sourceof the source"
    );
}

#[test]
fn a_link_to_proc_does_not_hide_a_mount_inside_it() {
    differs!(Crun, "it mounts it");
    let bundle = Bundle::new();
    symlink("/proc", bundle.rootfs("/alias")).unwrap();
    let source = source(&bundle);
    bundle.mount(bind(&source, "/alias/sys/kernel"));
    harmless(&bundle).fails().says("proc");
}

#[test]
fn a_symlinked_shared_memory_directory_stays_inside() {
    let bundle = Bundle::new();
    let host = host_side(&bundle);
    bundle.remove("/mounts/3");
    symlink(&host, bundle.rootfs("/shm")).unwrap();
    bundle.mount(json!({"destination": "/shm/sub", "type": "tmpfs", "source": "shm", "options": ["tmpcopyup"]}));
    harmless(&bundle);
}

#[test]
fn tmpcopyup_copies_nothing_of_the_host() {
    let bundle = Bundle::new();
    let host = host_side(&bundle);
    fs::write(host.join("file"), "of the host").unwrap();
    symlink(&host, bundle.rootfs("/data")).unwrap();
    bundle.mount(
        json!({"destination": "/data", "type": "tmpfs", "source": "t", "options": ["tmpcopyup"]}),
    );
    bundle.args(&["/probe", "list", "/data/"]);
    let output = bundle.container().run();
    assert!(!output.stdout.contains("file"), "{}", output.describe());
}

#[test]
fn a_volume_with_links_is_not_followed_out() {
    let bundle = Bundle::new();
    let host = host_side(&bundle);
    let volume = source(&bundle);
    symlink(&host, format!("{volume}/out")).unwrap();
    symlink("../host", format!("{volume}/up")).unwrap();
    bundle.mount(bind(&volume, "/mnt"));
    bundle.mount(json!({"destination": "/mnt/out/new", "type": "tmpfs", "source": "t"}));
    bundle.mount(json!({"destination": "/mnt/up/new", "type": "tmpfs", "source": "t"}));
    harmless(&bundle);
}

#[test]
fn the_root_itself_cannot_be_mounted_over_by_a_file() {
    let bundle = Bundle::new();
    let file = format!("{}/file", source(&bundle));
    bundle.mount(bind(&file, "/"));
    harmless(&bundle).fails();
}

#[test]
fn a_label_on_a_kernel_without_selinux_is_an_error() {
    differs!(Crun, "it leaves the label out");
    integration::needs!(
        !Path::new("/sys/fs/selinux/enforce").exists(),
        "a kernel without SELinux"
    );
    let bundle = Bundle::new();
    bundle.set(
        "/linux/mountLabel",
        json!("system_u:object_r:container_file_t:s0:c1,c2"),
    );
    harmless(&bundle)
        .fails()
        .says("context")
        .says("invalid argument");
}

#[test]
fn strings_with_a_nul_byte_are_refused() {
    for mount in [
        json!({"destination": "/mnt\u{0}x", "type": "tmpfs", "source": "t"}),
        json!({"destination": "/mnt", "type": "tmpfs", "source": "t\u{0}x"}),
        json!({"destination": "/mnt", "type": "tmp\u{0}fs", "source": "t"}),
        json!({"destination": "/mnt", "type": "tmpfs", "source": "t", "options": ["size=1\u{0}m"]}),
    ] {
        differs!(Crun, "it reads up to the NUL byte");
        let bundle = Bundle::new();
        bundle.mount(mount);
        harmless(&bundle).fails();
    }
}

#[test]
fn a_very_long_path_is_an_error_or_works() {
    let bundle = Bundle::new();
    let source = source(&bundle);
    bundle.mount(bind(&source, &format!("/{}", "d/".repeat(5000))));
    harmless(&bundle).fails();
    bundle.set(
        "/mounts/7/destination",
        json!(format!("/{}", "n".repeat(300))),
    );
    harmless(&bundle).fails().says("name too long");
}

#[test]
fn a_fifo_as_source_or_in_the_place_does_not_block() {
    let bundle = Bundle::new();
    let fifo = bundle.home().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    bundle.mount(bind(fifo.to_str().unwrap(), "/run/fifo"));
    harmless(&bundle).ok();
}

#[test]
fn mounts_of_the_host_are_all_there_afterwards() {
    let bundle = Bundle::new();
    let host = HostMount::tmpfs(&bundle.home().join("mounted"));
    host.propagation("shared");
    bundle.mount(
        json!({"destination": "/mnt", "type": "bind", "source": host.path(), "options": ["rbind"]}),
    );
    bundle.mount(json!({"destination": "/mnt/inside", "type": "tmpfs", "source": "t"}));
    let before = integration::mounts_under(bundle.home());
    probe_report(&bundle);
    assert_eq!(integration::mounts_under(bundle.home()), before);
}
