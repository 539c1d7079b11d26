//! mounts: the kinds of file systems, sources and destinations, and the order of the list.

use integration::{
    Bundle, HostMount, Value, differs, has_attribute, has_option, json, mount_at, needs,
    probe_report,
};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

/// Runs the probe's words and gives what it printed.
fn printed(bundle: &Bundle, words: &[&str]) -> String {
    let args: Vec<&str> = std::iter::once("/probe")
        .chain(words.iter().copied())
        .collect();
    bundle.args(&args);
    bundle.container().run().ok().stdout.trim_end().to_string()
}

/// A directory `source` beside the bundle, with a file in it.
fn source(bundle: &Bundle) -> String {
    let dir = bundle.home().join("source");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("file"), "of the host").unwrap();
    dir.to_str().unwrap().to_string()
}

fn bind(source: &str, destination: &str) -> Value {
    json!({"destination": destination, "type": "bind", "source": source, "options": ["bind"]})
}

#[test]
fn a_directory_is_bound() {
    let bundle = Bundle::new();
    bundle.mount(bind(&source(&bundle), "/mnt"));
    assert_eq!(printed(&bundle, &["read", "/mnt/file"]), "of the host");
}

#[test]
fn a_bound_directory_is_writable_and_the_host_sees_it() {
    let bundle = Bundle::new();
    let dir = source(&bundle);
    bundle.mount(bind(&dir, "/mnt"));
    printed(&bundle, &["write", "/mnt/new", "of the container"]);
    let text = fs::read_to_string(format!("{dir}/new")).unwrap();
    assert_eq!(text, "of the container");
}

#[test]
fn a_file_is_bound_on_a_file() {
    let bundle = Bundle::new();
    let file = format!("{}/file", source(&bundle));
    bundle.mount(bind(&file, "/etc/passwd"));
    assert_eq!(printed(&bundle, &["read", "/etc/passwd"]), "of the host");
}

#[test]
fn the_type_bind_is_not_enough_for_a_bind_mount() {
    let bundle = Bundle::new();
    let dir = source(&bundle);
    bundle.mount(json!({"destination": "/mnt", "type": "bind", "source": dir}));
    bundle.container().run().fails().says("no such device");
}

#[test]
fn the_option_bind_is_enough_for_a_bind_mount() {
    let bundle = Bundle::new();
    let dir = source(&bundle);
    bundle.mount(json!({"destination": "/mnt", "source": dir, "options": ["bind"]}));
    assert_eq!(printed(&bundle, &["read", "/mnt/file"]), "of the host");
}

#[test]
fn the_type_of_a_bind_mount_does_not_matter() {
    let bundle = Bundle::new();
    let dir = source(&bundle);
    bundle
        .mount(json!({"destination": "/mnt", "type": "none", "source": dir, "options": ["rbind"]}));
    assert_eq!(printed(&bundle, &["read", "/mnt/file"]), "of the host");
}

#[test]
fn bind_leaves_out_the_mounts_below_the_source() {
    let bundle = Bundle::new();
    let dir = source(&bundle);
    let below = HostMount::tmpfs(&bundle.home().join("source/below"));
    fs::write(below.path().join("deep"), "deep").unwrap();
    bundle.mount(bind(&dir, "/mnt"));
    assert_eq!(
        printed(&bundle, &["try", "open", "r", "/mnt/below/deep"]),
        "ENOENT"
    );
}

#[test]
fn rbind_brings_the_mounts_below_the_source() {
    let bundle = Bundle::new();
    let dir = source(&bundle);
    let below = HostMount::tmpfs(&bundle.home().join("source/below"));
    fs::write(below.path().join("deep"), "deep").unwrap();
    bundle
        .mount(json!({"destination": "/mnt", "type": "bind", "source": dir, "options": ["rbind"]}));
    assert_eq!(printed(&bundle, &["read", "/mnt/below/deep"]), "deep");
}

#[test]
fn a_relative_source_is_below_the_bundle() {
    let bundle = Bundle::new();
    fs::create_dir(bundle.dir().join("data")).unwrap();
    fs::write(bundle.dir().join("data/file"), "of the bundle").unwrap();
    bundle.mount(bind("data", "/mnt"));
    assert_eq!(printed(&bundle, &["read", "/mnt/file"]), "of the bundle");
}

#[test]
fn a_source_through_a_symlink_is_its_target() {
    let bundle = Bundle::new();
    let dir = source(&bundle);
    let link = bundle.home().join("link");
    symlink(&dir, &link).unwrap();
    bundle.mount(bind(link.to_str().unwrap(), "/mnt"));
    assert_eq!(printed(&bundle, &["read", "/mnt/file"]), "of the host");
}

#[test]
fn a_source_that_is_missing_is_an_error() {
    let bundle = Bundle::new();
    bundle.mount(bind("/not/there", "/mnt"));
    let output = bundle.container().run().fails();
    output.says("/not/there").says("no such file or directory");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_missing_directory_is_made_with_those_above_it() {
    let bundle = Bundle::new();
    bundle.mount(bind(&source(&bundle), "/a/b/c"));
    assert_eq!(printed(&bundle, &["read", "/a/b/c/file"]), "of the host");
    for made in ["/a", "/a/b", "/a/b/c"] {
        let meta = fs::metadata(bundle.rootfs(made)).unwrap();
        // crun adds the sticky bit.
        assert_eq!(meta.mode() & 0o777, 0o755, "{made}");
        assert_eq!((meta.uid(), meta.gid()), (0, 0), "{made}");
    }
}

#[test]
fn a_missing_file_is_made_with_the_directories_above_it() {
    let bundle = Bundle::new();
    let file = format!("{}/file", source(&bundle));
    bundle.mount(bind(&file, "/a/b/file"));
    assert_eq!(printed(&bundle, &["read", "/a/b/file"]), "of the host");
    let meta = fs::metadata(bundle.rootfs("/a/b/file")).unwrap();
    assert!(meta.is_file());
    assert_eq!(meta.len(), 0);
}

#[test]
fn a_file_that_is_made_is_no_program() {
    differs!(Crun, "it makes files with mode 0700");
    let bundle = Bundle::new();
    let file = format!("{}/file", source(&bundle));
    bundle.mount(bind(&file, "/etc/new"));
    printed(&bundle, &["read", "/etc/new"]);
    let mode = fs::metadata(bundle.rootfs("/etc/new")).unwrap().mode();
    assert_eq!(mode & 0o7111, 0, "{mode:o}");
}

#[test]
fn a_mount_goes_through_a_symlink_of_the_image() {
    let bundle = Bundle::new();
    symlink("/run", bundle.rootfs("/var/run")).unwrap();
    bundle.mount(bind(&source(&bundle), "/var/run/data"));
    assert_eq!(printed(&bundle, &["read", "/run/data/file"]), "of the host");
}

#[test]
fn a_mount_on_a_symlink_lands_on_its_target() {
    let bundle = Bundle::new();
    bundle.write("/etc/real", "of the image");
    symlink("real", bundle.rootfs("/etc/link")).unwrap();
    let file = format!("{}/file", source(&bundle));
    bundle.mount(bind(&file, "/etc/link"));
    assert_eq!(printed(&bundle, &["read", "/etc/real"]), "of the host");
}

#[test]
fn the_target_of_a_dangling_symlink_is_made() {
    let bundle = Bundle::new();
    symlink(
        "../run/resolve/stub.conf",
        bundle.rootfs("/etc/resolv.conf"),
    )
    .unwrap();
    let file = format!("{}/file", source(&bundle));
    bundle.mount(bind(&file, "/etc/resolv.conf"));
    assert_eq!(
        printed(&bundle, &["read", "/run/resolve/stub.conf"]),
        "of the host"
    );
    let link = fs::read_link(bundle.rootfs("/etc/resolv.conf")).unwrap();
    assert_eq!(link.to_str(), Some("../run/resolve/stub.conf"));
}

#[test]
fn the_target_of_an_absolute_dangling_symlink_is_made_inside() {
    differs!(Crun, "it makes no directories behind such a link");
    let bundle = Bundle::new();
    let target = format!("/run/{}/x", bundle.id());
    symlink(&target, bundle.rootfs("/etc/link")).unwrap();
    bundle.mount(bind(&source(&bundle), "/etc/link"));
    let inside = format!("{target}/file");
    assert_eq!(printed(&bundle, &["read", &inside]), "of the host");
    assert!(!fs::exists(&target).unwrap());
}

#[test]
fn a_link_to_a_name_that_is_no_text_is_followed() {
    differs!(Crun, "it cannot follow a dangling link of that kind");
    let bundle = Bundle::new();
    let odd = OsStr::from_bytes(b"odd-\xff\xfe");
    symlink(odd, bundle.rootfs("/etc/link")).unwrap();
    let file = format!("{}/file", source(&bundle));
    bundle.mount(bind(&file, "/etc/link"));
    assert_eq!(printed(&bundle, &["read", "/etc/link"]), "of the host");
    assert!(bundle.rootfs("/etc").join(odd).is_file());
}

#[test]
fn a_destination_is_cleaned_of_dots() {
    let bundle = Bundle::new();
    bundle.mount(bind(&source(&bundle), "/a/../mnt/./x"));
    assert_eq!(printed(&bundle, &["read", "/mnt/x/file"]), "of the host");
}

#[test]
fn a_relative_destination_is_below_the_root() {
    let bundle = Bundle::new();
    bundle.mount(bind(&source(&bundle), "mnt"));
    assert_eq!(printed(&bundle, &["read", "/mnt/file"]), "of the host");
}

#[test]
fn a_directory_on_a_file_is_an_error() {
    let bundle = Bundle::new();
    bundle.mount(bind(&source(&bundle), "/etc/passwd"));
    bundle.container().run().fails().says("not a directory");
}

#[test]
fn a_file_on_a_directory_is_an_error() {
    let bundle = Bundle::new();
    let file = format!("{}/file", source(&bundle));
    bundle.mount(bind(&file, "/mnt"));
    bundle
        .container()
        .run()
        .fails()
        .says_any(&["not a directory", "is a directory"]);
}

#[test]
fn a_tmpfs_has_its_options() {
    let bundle = Bundle::new();
    bundle.mount(
        json!({"destination": "/mnt", "type": "tmpfs", "source": "name",
        "options": ["nosuid", "size=1m", "mode=1770", "nr_inodes=64", "uid=1000", "gid=2000"]}),
    );
    let report = probe_report(&bundle);
    let mount = mount_at(&report, "/mnt");
    assert_eq!(mount["fstype"], "tmpfs");
    assert_eq!(mount["source"], "name");
    for option in [
        "nosuid",
        "size=1024k",
        "mode=1770",
        "nr_inodes=64",
        "uid=1000",
        "gid=2000",
    ] {
        assert!(has_option(mount, option), "{option}: {mount}");
    }
    assert!(!has_option(mount, "nodev"));
}

#[test]
fn a_tmpfs_is_empty_and_writable() {
    let bundle = Bundle::new();
    bundle.write("/mnt/below", "covered");
    bundle.mount(json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"}));
    let list = "cd /mnt && ls && echo text > new && cat new";
    bundle.args(&["/bin/sh", "-c", list]);
    assert_eq!(bundle.container().run().ok().stdout, "text\n");
    assert!(!bundle.rootfs("/mnt/new").exists());
}

#[test]
fn a_tmpfs_with_a_read_only_flag_still_takes_a_mount_inside() {
    let bundle = Bundle::new();
    let tmpfs =
        json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["ro"]});
    bundle.mount(tmpfs);
    bundle.mount(bind(&source(&bundle), "/mnt/inside"));
    let report = probe_report(&bundle);
    assert!(has_option(mount_at(&report, "/mnt"), "ro"));
    assert!(has_attribute(mount_at(&report, "/mnt/inside"), "rw"));
}

#[test]
fn several_options_in_one_word_are_each_read() {
    let bundle = Bundle::new();
    bundle.mount(
        json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs",
        "options": ["size=1m,mode=700"]}),
    );
    let report = probe_report(&bundle);
    let mount = mount_at(&report, "/mnt");
    assert!(
        has_option(mount, "size=1024k") && has_option(mount, "mode=700"),
        "{mount}"
    );
}

#[test]
fn an_option_that_the_file_system_does_not_know_is_an_error() {
    let bundle = Bundle::new();
    bundle.mount(
        json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs",
        "options": ["rubbish=1"]}),
    );
    bundle
        .container()
        .run()
        .fails()
        .says("mnt")
        .says("invalid argument");
}

#[test]
fn a_type_that_the_kernel_does_not_know_is_an_error() {
    let bundle = Bundle::new();
    bundle.mount(json!({"destination": "/mnt", "type": "nosuchfs", "source": "x"}));
    bundle
        .container()
        .run()
        .fails()
        .says("mnt")
        .says("no such device");
}

#[test]
fn proc_shows_the_containers_processes() {
    let bundle = Bundle::new();
    let report = probe_report(&bundle);
    assert_eq!(mount_at(&report, "/proc")["fstype"], "proc");
    assert_eq!(printed(&bundle, &["read", "/proc/self/comm"]), "probe");
    assert_eq!(printed(&bundle, &["try", "open", "path", "/proc/1"]), "ok");
    assert_eq!(
        printed(&bundle, &["try", "open", "path", "/proc/2"]),
        "ENOENT"
    );
}

#[test]
fn proc_takes_options_of_its_own() {
    let bundle = Bundle::new();
    bundle.set(
        "/mounts/0/options",
        json!(["nosuid", "noexec", "nodev", "hidepid=2"]),
    );
    let report = probe_report(&bundle);
    let proc = mount_at(&report, "/proc");
    assert!(
        has_option(proc, "nosuid") && has_option(proc, "noexec"),
        "{proc}"
    );
    assert!(
        has_option(proc, "hidepid=invisible") || has_option(proc, "hidepid=2"),
        "{proc}"
    );
}

#[test]
fn the_default_mounts_are_what_they_say() {
    let report = probe_report(&Bundle::new());
    for (path, kind, options) in [
        ("/dev", "tmpfs", &["nosuid", "mode=755", "size=65536k"][..]),
        (
            "/dev/pts",
            "devpts",
            &["nosuid", "noexec", "gid=5", "mode=620", "ptmxmode=666"],
        ),
        (
            "/dev/shm",
            "tmpfs",
            &["nosuid", "noexec", "nodev", "size=65536k"],
        ),
        ("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        ("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ] {
        let mount = mount_at(&report, path);
        assert_eq!(mount["fstype"], kind);
        for option in options {
            assert!(has_option(mount, option), "{option}: {mount}");
        }
    }
    // strictatime is the absence of relatime and noatime.
    assert!(!has_attribute(mount_at(&report, "/dev"), "relatime"));
}

#[test]
fn a_devpts_is_an_instance_of_its_own() {
    let bundle = Bundle::new();
    assert_eq!(
        printed(&bundle, &["list", "/dev/pts"]),
        r#"{"/dev/pts":["ptmx"]}"#
    );
}

#[test]
fn a_message_queue_is_the_containers_own() {
    let bundle = Bundle::new();
    assert_eq!(
        printed(&bundle, &["try", "open", "w+creat", "/dev/mqueue/q"]),
        "ok"
    );
    assert!(!fs::exists("/dev/mqueue/q").unwrap());
}

#[test]
fn the_list_is_mounted_in_its_order() {
    let bundle = Bundle::new();
    let dir = source(&bundle);
    bundle.mount(json!({"destination": "/mnt", "type": "tmpfs", "source": "first"}));
    bundle.mount(bind(&dir, "/mnt/inside"));
    bundle.mount(json!({"destination": "/mnt/inside", "type": "tmpfs", "source": "second"}));
    let report = probe_report(&bundle);
    assert_eq!(mount_at(&report, "/mnt")["source"], "first");
    assert_eq!(mount_at(&report, "/mnt/inside")["source"], "second");
    let ids = |path: &str| mount_at(&report, path)["id"].clone();
    assert_ne!(mount_at(&report, "/mnt/inside")["parent"], ids("/mnt"));
}

#[test]
fn a_later_mount_covers_an_earlier_one_below_it() {
    let bundle = Bundle::new();
    let dir = source(&bundle);
    bundle.mount(bind(&dir, "/mnt/inside"));
    bundle.mount(json!({"destination": "/mnt", "type": "tmpfs", "source": "over"}));
    assert_eq!(printed(&bundle, &["list", "/mnt"]), r#"{"/mnt":[]}"#);
}

#[test]
fn an_empty_list_but_for_dev_is_fine() {
    differs!(Runc, "it needs the container's procfs");
    let bundle = Bundle::new();
    let dev = bundle.config()["mounts"][1].clone();
    bundle.set("/mounts", json!([dev]));
    bundle.set("/linux/maskedPaths", json!([]));
    bundle.set("/linux/readonlyPaths", json!([]));
    let stat = printed(&bundle, &["stat", "/dev/null", "/proc"]);
    let stat: Value = serde_json::from_str(&stat).unwrap();
    assert_eq!(stat["/dev/null"]["type"], "char");
    assert_eq!(stat["/proc"]["nlink"], 2);
}

#[test]
fn an_overlay_with_options_longer_than_a_page_of_words() {
    let bundle = Bundle::new();
    let mut lower = Vec::new();
    for n in 0..12 {
        let dir = bundle
            .home()
            .join(format!("layers/a-name-that-takes-some-room-{n}"));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("file{n}")), "x").unwrap();
        lower.push(dir.to_str().unwrap().to_string());
    }
    for dir in ["upper", "work"] {
        fs::create_dir(bundle.home().join(dir)).unwrap();
    }
    let home = bundle.home().display();
    let lower = format!("lowerdir={}", lower.join(":"));
    assert!(lower.len() > 256);
    bundle.mount(
        json!({"destination": "/mnt", "type": "overlay", "source": "overlay",
        "options": [lower, format!("upperdir={home}/upper"), format!("workdir={home}/work")]}),
    );
    let list = printed(&bundle, &["list", "/mnt"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["/mnt"].as_array().unwrap().len(), 12);
    printed(&bundle, &["write", "/mnt/new", "up"]);
    assert!(bundle.home().join("upper/new").exists());
}

/// A loop device with an empty ext4 on it; detached at the end.
struct Loop(String);

impl Loop {
    fn new(bundle: &Bundle) -> Option<Loop> {
        let image = bundle.home().join("image");
        fs::File::create(&image).unwrap().set_len(4 << 20).unwrap();
        let made = Command::new("mkfs.ext4")
            .args(["-q", "-F"])
            .arg(&image)
            .status();
        let attached = Command::new("losetup")
            .args(["--find", "--show"])
            .arg(&image)
            .output();
        if !made.is_ok_and(|status| status.success()) {
            return None;
        }
        let attached = attached.ok().filter(|output| output.status.success())?;
        let name = String::from_utf8_lossy(&attached.stdout).trim().to_string();
        Some(Loop(name))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        Command::new("losetup")
            .args(["-d", &self.0])
            .status()
            .unwrap();
    }
}

#[test]
fn a_file_system_of_a_device_is_mounted() {
    let bundle = Bundle::new();
    let device = Loop::new(&bundle);
    needs!(device.is_some(), "loop devices and mkfs.ext4");
    let name = &device.as_ref().unwrap().0;
    bundle.mount(
        json!({"destination": "/mnt", "type": "ext4", "source": name,
        "options": ["noatime", "data=ordered", "errors=remount-ro"]}),
    );
    let report = probe_report(&bundle);
    let mount = mount_at(&report, "/mnt");
    assert_eq!(
        (&mount["fstype"], &mount["source"]),
        (&json!("ext4"), &json!(name))
    );
    assert!(
        has_attribute(mount, "noatime") && has_option(mount, "errors=remount-ro"),
        "{mount}"
    );
    assert_eq!(
        printed(&bundle, &["list", "/mnt"]),
        r#"{"/mnt":["lost+found"]}"#
    );
}

#[test]
fn a_file_system_of_a_device_is_mounted_read_only() {
    let bundle = Bundle::new();
    let device = Loop::new(&bundle);
    needs!(device.is_some(), "loop devices and mkfs.ext4");
    let name = &device.as_ref().unwrap().0;
    bundle.mount(json!({"destination": "/mnt", "type": "ext4", "source": name, "options": ["ro"]}));
    assert_eq!(printed(&bundle, &["try", "mkdir", "/mnt/new"]), "EROFS");
}

#[test]
fn sysfs_in_the_hosts_network_shows_the_hosts_devices() {
    let bundle = Bundle::new();
    bundle.without_namespace("network");
    let report = probe_report(&bundle);
    assert_eq!(mount_at(&report, "/sys")["fstype"], "sysfs");
}

#[test]
fn a_place_in_a_read_only_source_that_is_missing_is_an_error() {
    differs!(Crun, "it tries again for ever");
    let bundle = Bundle::new();
    let outer = bundle.home().join("outer");
    let mount = HostMount::tmpfs(&outer);
    mount.attributes(&["ro"]);
    bundle.mount(bind(outer.to_str().unwrap(), "/mnt"));
    bundle.mount(bind(&source(&bundle), "/mnt/inside"));
    bundle
        .container()
        .run()
        .fails()
        .says("read-only file system");
}

#[test]
fn a_place_with_the_mode_of_the_image_keeps_it() {
    let bundle = Bundle::new();
    let place = bundle.rootfs("/mnt");
    fs::set_permissions(&place, fs::Permissions::from_mode(0o700)).unwrap();
    bundle.mount(bind(&source(&bundle), "/mnt"));
    printed(&bundle, &["read", "/mnt/file"]);
    assert_eq!(fs::metadata(&place).unwrap().mode() & 0o7777, 0o700);
}

#[test]
fn a_tmpfs_without_a_mode_takes_that_of_the_place() {
    let bundle = Bundle::new();
    let place = bundle.rootfs("/mnt");
    fs::set_permissions(&place, fs::Permissions::from_mode(0o750)).unwrap();
    bundle.mount(json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"}));
    let stat = printed(&bundle, &["stat", "/mnt"]);
    let stat: Value = serde_json::from_str(&stat).unwrap();
    assert_eq!(stat["/mnt"]["mode"], "0750");
}

#[test]
fn a_socket_and_a_fifo_are_bound_like_files() {
    let bundle = Bundle::new();
    let socket = bundle.home().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    bundle.mount(bind(socket.to_str().unwrap(), "/run/socket"));
    let stat = printed(&bundle, &["stat", "/run/socket"]);
    let stat: Value = serde_json::from_str(&stat).unwrap();
    assert_eq!(stat["/run/socket"]["type"], "socket");
}

#[test]
fn a_device_node_is_bound() {
    let bundle = Bundle::new();
    bundle.mount(bind("/dev/zero", "/dev/also-zero"));
    let stat = printed(&bundle, &["stat", "/dev/also-zero"]);
    let stat: Value = serde_json::from_str(&stat).unwrap();
    let node = &stat["/dev/also-zero"];
    assert_eq!((&node["type"], &node["minor"]), (&json!("char"), &json!(5)));
}
