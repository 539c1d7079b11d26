//! root: where it is, read-only or not, and that nothing of the host's is behind it.

use integration::{Bundle, HostMount, differs, has_attribute, json, mount_at, probe_report};
use std::fs;
use std::os::unix::fs::symlink;

fn printed(bundle: &Bundle, words: &[&str]) -> String {
    let mut args = vec!["/probe"];
    args.extend(words);
    bundle.args(&args);
    bundle.container().run().ok().stdout.trim_end().to_string()
}

#[test]
fn a_root_is_writable_unless_it_says_otherwise() {
    let bundle = Bundle::new();
    assert_eq!(printed(&bundle, &["try", "mkdir", "/new"]), "ok");
    assert!(bundle.rootfs("/new").is_dir());
}

#[test]
fn a_read_only_root_cannot_be_written() {
    let bundle = Bundle::new();
    bundle.set("/root/readonly", json!(true));
    assert_eq!(printed(&bundle, &["try", "mkdir", "/new"]), "EROFS");
    let report = probe_report(&bundle);
    assert!(has_attribute(mount_at(&report, "/"), "ro"));
}

#[test]
fn a_read_only_root_leaves_its_mounts_writable() {
    let bundle = Bundle::new();
    bundle.set("/root/readonly", json!(true));
    bundle.mount(json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}));
    assert_eq!(printed(&bundle, &["try", "mkdir", "/tmp/new"]), "ok");
    assert_eq!(
        printed(&bundle, &["try", "open", "w+creat", "/dev/shm/new"]),
        "ok"
    );
}

#[test]
fn places_for_mounts_are_made_in_a_read_only_root() {
    let bundle = Bundle::new();
    bundle.set("/root/readonly", json!(true));
    bundle.mount(json!({"destination": "/not/there/yet", "type": "tmpfs", "source": "tmpfs"}));
    assert_eq!(
        printed(&bundle, &["try", "mkdir", "/not/there/yet/new"]),
        "ok"
    );
}

#[test]
fn readonly_null_is_false() {
    let bundle = Bundle::new();
    bundle.set("/root/readonly", json!(null));
    assert_eq!(printed(&bundle, &["try", "mkdir", "/new"]), "ok");
}

#[test]
fn the_path_may_be_absolute() {
    let bundle = Bundle::new();
    bundle.set("/root/path", json!(bundle.dir().join("rootfs")));
    assert_eq!(printed(&bundle, &["try", "mkdir", "/new"]), "ok");
}

#[test]
fn the_path_may_have_dots_and_slashes() {
    let bundle = Bundle::new();
    bundle.set("/root/path", json!("./x/..//rootfs/"));
    fs::create_dir(bundle.dir().join("x")).unwrap();
    assert_eq!(printed(&bundle, &["try", "mkdir", "/new"]), "ok");
}

#[test]
fn the_path_may_lead_through_a_symlink_above_it() {
    differs!(Runc, "it refuses a rootfs that is reached through a link");
    let bundle = Bundle::new();
    let link = bundle.home().join("link");
    symlink(bundle.dir(), &link).unwrap();
    bundle.set("/root/path", json!(link.join("rootfs")));
    assert_eq!(printed(&bundle, &["try", "mkdir", "/new"]), "ok");
}

#[test]
fn a_path_that_is_a_symlink() {
    differs!(Runc, "it refuses a rootfs that is a link");
    let bundle = Bundle::new();
    symlink("rootfs", bundle.dir().join("link")).unwrap();
    bundle.set("/root/path", json!("link"));
    assert_eq!(printed(&bundle, &["try", "mkdir", "/new"]), "ok");
}

#[test]
fn a_missing_path_is_an_error() {
    let bundle = Bundle::new();
    bundle.set("/root/path", json!("nowhere"));
    let output = bundle.container().run().fails();
    output
        .says("nowhere")
        .says_any(&["no such file or directory", "does not exist"]);
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_path_that_is_a_file_is_an_error() {
    let bundle = Bundle::new();
    fs::write(bundle.dir().join("file"), "").unwrap();
    bundle.set("/root/path", json!("file"));
    bundle
        .container()
        .run()
        .fails()
        .says_or_crun("not a directory", "permission denied");
}

#[test]
fn no_root_is_an_error() {
    let bundle = Bundle::new();
    bundle.remove("/root");
    bundle.container().run().fails().says("root");
}

#[test]
fn an_empty_path_is_an_error() {
    differs!(Runc | Crun, "it takes the bundle itself");
    let bundle = Bundle::new();
    bundle.set("/root/path", json!(""));
    bundle.container().run().fails().says("root");
}

#[test]
fn a_root_that_is_a_mount_point() {
    let bundle = Bundle::new();
    let _mount = HostMount::of(&bundle.rootfs("/"));
    assert_eq!(printed(&bundle, &["try", "mkdir", "/new"]), "ok");
}

#[test]
fn mounts_below_the_root_come_along() {
    let bundle = Bundle::new();
    let below = HostMount::tmpfs(&bundle.rootfs("/data"));
    fs::write(below.path().join("file"), "of a mount").unwrap();
    assert_eq!(printed(&bundle, &["read", "/data/file"]), "of a mount");
}

#[test]
fn a_root_on_a_read_only_mount() {
    differs!(Crun, "its own mount of the root is writable");
    let bundle = Bundle::new();
    let mount = HostMount::of(&bundle.rootfs("/"));
    mount.attributes(&["ro"]);
    assert_eq!(printed(&bundle, &["try", "mkdir", "/new"]), "EROFS");
}

#[test]
fn the_attributes_of_the_roots_mount_are_kept_when_it_becomes_read_only() {
    differs!(Runc | Crun, "it loses nosuid and nodev");
    let bundle = Bundle::new();
    let mount = HostMount::of(&bundle.rootfs("/"));
    mount.attributes(&["nosuid", "nodev", "noatime"]);
    bundle.set("/root/readonly", json!(true));
    let report = probe_report(&bundle);
    let root = mount_at(&report, "/");
    for word in ["ro", "nosuid", "nodev", "noatime"] {
        assert!(has_attribute(root, word), "{word}: {root}");
    }
}

#[test]
fn an_overlay_as_root() {
    let bundle = Bundle::new();
    let home = bundle.home();
    for dir in ["upper", "work", "merged"] {
        fs::create_dir(home.join(dir)).unwrap();
    }
    let data = format!(
        "lowerdir={},upperdir={},workdir={}",
        bundle.rootfs("/").display(),
        home.join("upper").display(),
        home.join("work").display()
    );
    let merged = HostMount::new("overlay", &home.join("merged"), "overlay", &data);
    bundle.set("/root/path", json!(merged.path()));
    assert_eq!(printed(&bundle, &["try", "mkdir", "/new"]), "ok");
    assert!(home.join("upper/new").is_dir());
}

#[test]
fn nothing_of_the_host_is_mounted_inside() {
    let bundle = Bundle::new();
    let report = probe_report(&bundle);
    let home = bundle.home().to_str().unwrap();
    for mount in report["mounts"].as_array().unwrap() {
        let point = mount["mountpoint"].as_str().unwrap();
        assert!(
            !point.starts_with(home) && !point.starts_with("/work"),
            "{mount}"
        );
    }
    assert_eq!(mount_at(&report, "/")["mountpoint"], "/");
    assert_eq!(
        report["mounts"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|m| m["mountpoint"] == "/")
            .count(),
        1
    );
}

#[test]
fn dot_dot_at_the_root_stays() {
    let bundle = Bundle::new();
    let inside = printed(&bundle, &["list", "/../../.."]);
    assert!(inside.contains("probe"), "{inside}");
}

#[test]
fn without_pivot_root_a_container_works_too() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "list", "/"]);
    let output = bundle.container().call("run", &["--no-pivot"]).run().ok();
    assert!(output.stdout.contains("probe"), "{}", output.stdout);
}

#[test]
fn without_pivot_root_the_read_only_root_and_the_masks_hold() {
    let bundle = Bundle::new();
    bundle.set("/root/readonly", json!(true));
    bundle.args(&["/probe", "try", "mkdir", "/new"]);
    let output = bundle.container().call("run", &["--no-pivot"]).run();
    assert_eq!(output.ok().stdout, "EROFS\n");
    bundle.args(&["/probe", "stat", "/proc/keys"]);
    let output = bundle.container().call("run", &["--no-pivot"]).run();
    assert_eq!(output.ok().json()["/proc/keys"]["type"], "char");
}

#[test]
fn an_exec_is_in_the_same_root() {
    let bundle = Bundle::new();
    bundle.set("/root/readonly", json!(true));
    let c = bundle.container();
    c.run_detached();
    assert_eq!(
        c.exec(&["/probe", "try", "mkdir", "/new"]).ok().stdout,
        "EROFS\n"
    );
}

#[test]
fn the_state_tells_the_roots_path() {
    differs!(Crun, "its state has no path of the root but the bundle's");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    assert_eq!(
        c.state()["rootfs"],
        json!(bundle.rootfs("/").to_str().unwrap().trim_end_matches('/'))
    );
}

#[test]
fn the_hosts_root_is_a_root_like_others() {
    differs!(Runc | Crun, "it cannot pivot to the root that it is in");
    let bundle = Bundle::new();
    bundle.set("/root", json!({"path": "/", "readonly": true}));
    bundle.args(&["/bin/echo", "of the host"]);
    let output = bundle.container().run().ok();
    assert_eq!(output.stdout, "of the host\n");
    bundle.args(&["/bin/sh", "-c", "echo $$; ls /dev/pts"]);
    assert_eq!(bundle.container().run().ok().stdout, "1\nptmx\n");
    assert_eq!(bundle.leftovers(), [""; 0]);
}
