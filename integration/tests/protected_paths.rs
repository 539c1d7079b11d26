//! linux.maskedPaths and linux.readonlyPaths.

use integration::{
    Bundle, HostMount, Value, differs, find_mount, has_attribute, json, mount_at, probe_report,
};
use std::fs;
use std::os::unix::fs::symlink;

fn masked(paths: &[&str]) -> Bundle {
    let bundle = Bundle::new();
    bundle.set("/linux/maskedPaths", json!(paths));
    bundle
}

fn readonly(paths: &[&str]) -> Bundle {
    let bundle = Bundle::new();
    bundle.set("/linux/readonlyPaths", json!(paths));
    bundle
}

fn printed(bundle: &Bundle, words: &[&str]) -> String {
    let mut args = vec!["/probe"];
    args.extend(words);
    bundle.args(&args);
    bundle.container().run().ok().stdout.trim_end().to_string()
}

fn stat(bundle: &Bundle, path: &str) -> Value {
    let text = printed(bundle, &["stat", path]);
    serde_json::from_str::<Value>(&text).unwrap()[path].clone()
}

#[test]
fn a_masked_file_is_the_null_device() {
    let bundle = masked(&["/etc/secret"]);
    bundle.write("/etc/secret", "secret");
    assert_eq!(printed(&bundle, &["read", "/etc/secret"]), "");
    let stat = stat(&bundle, "/etc/secret");
    assert_eq!(
        (&stat["type"], &stat["major"], &stat["minor"]),
        (&json!("char"), &json!(1), &json!(3))
    );
}

#[test]
fn a_masked_directory_is_empty_and_read_only() {
    let bundle = masked(&["/secrets"]);
    bundle.write("/secrets/file", "secret");
    assert_eq!(
        printed(&bundle, &["list", "/secrets"]),
        r#"{"/secrets":[]}"#
    );
    assert_eq!(printed(&bundle, &["try", "mkdir", "/secrets/new"]), "EROFS");
    let report = probe_report(&bundle);
    let mount = mount_at(&report, "/secrets");
    assert_eq!(mount["fstype"], "tmpfs");
    assert!(has_attribute(mount, "ro"));
}

#[test]
fn a_masked_path_that_is_missing_is_no_error() {
    let bundle = masked(&["/not/there"]);
    assert_eq!(
        printed(&bundle, &["try", "open", "r", "/not/there"]),
        "ENOENT"
    );
}

#[test]
fn masks_of_the_default_config_hold() {
    let bundle = Bundle::new();
    for path in ["/proc/keys", "/proc/timer_list"] {
        if fs::exists(path).unwrap() {
            assert_eq!(printed(&bundle, &["read", path]), "", "{path}");
        }
    }
    if fs::exists("/sys/firmware").unwrap() {
        assert_eq!(
            printed(&bundle, &["list", "/sys/firmware"]),
            r#"{"/sys/firmware":[]}"#
        );
    }
}

#[test]
fn a_masked_symlink_masks_its_target_inside() {
    let bundle = masked(&["/etc/link"]);
    bundle.write("/etc/target", "secret");
    symlink("/etc/target", bundle.rootfs("/etc/link")).unwrap();
    assert_eq!(printed(&bundle, &["read", "/etc/link"]), "");
}

#[test]
fn many_directories_share_one_tmpfs() {
    differs!(Runc < (1, 3), "each has a tmpfs of its own");
    differs!(Crun < (1, 28), "each has a tmpfs of its own");
    let names: Vec<String> = (0..20).map(|n| format!("/secrets/{n}")).collect();
    let bundle = masked(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for name in &names {
        bundle.write(&format!("{name}/file"), "secret");
    }
    let report = probe_report(&bundle);
    let device = |name: &String| mount_at(&report, name)["dev"].clone();
    assert!(names.iter().all(|name| device(name) == device(&names[0])));
}

#[test]
fn many_masked_directories_are_each_empty() {
    let names: Vec<String> = (0..20).map(|n| format!("/secrets/{n}")).collect();
    let bundle = masked(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for name in &names {
        bundle.write(&format!("{name}/file"), "secret");
    }
    let mut words = vec!["list"];
    words.extend(names.iter().map(String::as_str));
    let lists: Value = serde_json::from_str(&printed(&bundle, &words)).unwrap();
    assert!(
        lists
            .as_object()
            .unwrap()
            .values()
            .all(|list| *list == json!([])),
        "{lists}"
    );
}

#[test]
fn a_path_below_a_masked_one_is_gone_with_it() {
    let bundle = masked(&["/secrets", "/secrets/below"]);
    bundle.write("/secrets/below/file", "secret");
    assert_eq!(
        printed(&bundle, &["list", "/secrets"]),
        r#"{"/secrets":[]}"#
    );
}

#[test]
fn a_mask_covers_a_mount() {
    let bundle = masked(&["/mnt"]);
    let host = HostMount::tmpfs(&bundle.home().join("source"));
    fs::write(host.path().join("file"), "secret").unwrap();
    bundle.mount(
        json!({"destination": "/mnt", "type": "bind", "source": host.path(), "options": ["bind"]}),
    );
    assert_eq!(printed(&bundle, &["list", "/mnt"]), r#"{"/mnt":[]}"#);
}

#[test]
fn a_masked_file_of_the_host_is_not_changed() {
    let bundle = masked(&["/etc/secret"]);
    let path = bundle.write("/etc/secret", "secret");
    printed(&bundle, &["write", "/etc/secret", "gone"]);
    assert_eq!(fs::read_to_string(path).unwrap(), "secret");
}

#[test]
fn a_read_only_path_cannot_be_written() {
    let bundle = readonly(&["/data"]);
    bundle.write("/data/file", "text");
    assert_eq!(
        printed(&bundle, &["try", "open", "w", "/data/file"]),
        "EROFS"
    );
    assert_eq!(printed(&bundle, &["read", "/data/file"]), "text");
}

#[test]
fn a_read_only_file_cannot_be_written() {
    let bundle = readonly(&["/data/file"]);
    bundle.write("/data/file", "text");
    assert_eq!(
        printed(&bundle, &["try", "open", "w", "/data/file"]),
        "EROFS"
    );
    assert_eq!(
        printed(&bundle, &["try", "open", "w+creat", "/data/other"]),
        "ok"
    );
}

#[test]
fn a_read_only_path_that_is_missing_is_no_error() {
    let bundle = readonly(&["/not/there"]);
    assert_eq!(
        printed(&bundle, &["try", "open", "r", "/not/there"]),
        "ENOENT"
    );
}

#[test]
fn read_only_paths_of_the_default_config_hold() {
    let bundle = Bundle::new();
    for path in [
        "/proc/sys/kernel/hostname",
        "/proc/sysrq-trigger",
        "/proc/irq/default_smp_affinity",
    ] {
        if fs::exists(path).unwrap() {
            assert_eq!(
                printed(&bundle, &["try", "open", "w", path]),
                "EROFS",
                "{path}"
            );
        }
    }
}

#[test]
fn a_read_only_path_keeps_the_other_attributes_of_its_mount() {
    let bundle = readonly(&["/mnt"]);
    bundle.mount(
        json!({"destination": "/mnt", "type": "tmpfs", "source": "t",
        "options": ["nosuid", "nodev", "noexec", "noatime"]}),
    );
    let report = probe_report(&bundle);
    let mount = mount_at(&report, "/mnt");
    for word in ["ro", "nosuid", "nodev", "noexec", "noatime"] {
        assert!(has_attribute(mount, word), "{word}: {mount}");
    }
}

#[test]
fn mounts_below_a_read_only_path_stay_visible() {
    let bundle = readonly(&["/mnt"]);
    bundle.mount(json!({"destination": "/mnt", "type": "tmpfs", "source": "outer"}));
    bundle.mount(json!({"destination": "/mnt/inner", "type": "tmpfs", "source": "inner"}));
    let report = probe_report(&bundle);
    let source = |path: &str| mount_at(&report, path)["source"].clone();
    assert_eq!(source("/mnt/inner"), "inner");
    assert_eq!(printed(&bundle, &["try", "mkdir", "/mnt/inner/new"]), "ok");
}

#[test]
fn a_path_in_both_lists_is_masked() {
    let bundle = masked(&["/data"]);
    bundle.set("/linux/readonlyPaths", json!(["/data"]));
    bundle.write("/data/file", "secret");
    assert_eq!(printed(&bundle, &["list", "/data"]), r#"{"/data":[]}"#);
}

#[test]
fn empty_lists_protect_nothing() {
    let bundle = masked(&[]);
    bundle.set("/linux/readonlyPaths", json!([]));
    let report = probe_report(&bundle);
    assert!(find_mount(&report, "/proc/sys").is_none());
    assert!(find_mount(&report, "/proc/keys").is_none());
}

#[test]
fn a_relative_path_is_below_the_root() {
    let bundle = masked(&["etc/secret"]);
    bundle.set("/linux/readonlyPaths", json!(["mnt"]));
    bundle.write("/etc/secret", "secret");
    assert_eq!(printed(&bundle, &["read", "/etc/secret"]), "");
    assert_eq!(printed(&bundle, &["try", "mkdir", "/mnt/new"]), "EROFS");
}

#[test]
fn they_hold_in_a_user_namespace() {
    let bundle = masked(&["/etc/secret", "/secrets"]);
    bundle.write("/etc/secret", "secret");
    bundle.write("/secrets/file", "secret");
    bundle.set("/linux/readonlyPaths", json!(["/proc/sys", "/mnt"]));
    bundle.namespace(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    bundle.set("/linux/uidMappings", map.clone());
    bundle.set("/linux/gidMappings", map);
    bundle.chown_rootfs(100_000, 100_000);
    assert_eq!(printed(&bundle, &["read", "/etc/secret"]), "");
    assert_eq!(
        printed(&bundle, &["list", "/secrets"]),
        r#"{"/secrets":[]}"#
    );
    assert_eq!(printed(&bundle, &["try", "mkdir", "/mnt/new"]), "EROFS");
}

#[test]
fn an_exec_sees_the_masks() {
    let bundle = masked(&["/etc/secret"]);
    bundle.write("/etc/secret", "secret");
    let c = bundle.container();
    c.run_detached();
    assert_eq!(c.exec(&["/probe", "read", "/etc/secret"]).ok().stdout, "");
}

#[test]
fn a_mask_cannot_be_unmounted_in_a_nested_namespace() {
    let bundle = masked(&["/etc/secret"]);
    bundle.write("/etc/secret", "secret");
    assert_eq!(printed(&bundle, &["try", "umount", "/etc/secret"]), "EPERM");
}
