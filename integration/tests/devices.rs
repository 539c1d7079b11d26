//! linux.devices, and the nodes and links that every container has.

use integration::{Bundle, Value, differs, find_mount, json, mount_at, probe_report};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};

fn dev(bundle: &Bundle) -> Value {
    probe_report(bundle)["dev"].clone()
}

fn user_namespace(bundle: &Bundle) {
    bundle.namespace(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    bundle.set("/linux/uidMappings", map.clone());
    bundle.set("/linux/gidMappings", map);
    bundle.chown_rootfs(100_000, 100_000);
}

fn with_device(device: Value) -> Bundle {
    let bundle = Bundle::new();
    bundle.push("/linux/devices", device);
    bundle
}

fn printed(bundle: &Bundle, words: &[&str]) -> String {
    let mut args = vec!["/probe"];
    args.extend(words);
    bundle.args(&args);
    bundle.container().run().ok().stdout.trim_end().to_string()
}

const DEFAULT: [(&str, u64, u64); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

#[test]
fn the_default_devices_are_there() {
    let dev = dev(&Bundle::new());
    for (path, major, minor) in DEFAULT {
        let node = &dev[path];
        assert_eq!(node["type"], "char", "{path}");
        assert_eq!(
            (&node["major"], &node["minor"]),
            (&json!(major), &json!(minor)),
            "{path}"
        );
        assert_eq!(node["mode"], "0666", "{path}");
        assert_eq!(
            (&node["uid"], &node["gid"]),
            (&json!(0), &json!(0)),
            "{path}"
        );
    }
}

#[test]
fn the_default_links_are_there() {
    let dev = dev(&Bundle::new());
    for (path, target) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
        ("/dev/ptmx", "pts/ptmx"),
    ] {
        assert_eq!(dev[path]["target"], target, "{path}");
    }
}

#[test]
fn there_is_nothing_else_in_dev() {
    let dev = dev(&Bundle::new());
    let names: Vec<&String> = dev.as_object().unwrap().keys().collect();
    for name in names {
        let known = DEFAULT.iter().any(|(path, ..)| path == name)
            || [
                "/dev/fd",
                "/dev/stdin",
                "/dev/stdout",
                "/dev/stderr",
                "/dev/ptmx",
                "/dev/core",
            ]
            .contains(&name.as_str())
            || ["/dev/pts", "/dev/pts/ptmx", "/dev/shm", "/dev/mqueue"].contains(&name.as_str());
        assert!(known, "{name}: {}", dev[name]);
    }
}

#[test]
fn the_default_devices_work() {
    let bundle = Bundle::new();
    let script = "echo x > /dev/null && head -c 3 /dev/zero | wc -c && head -c 3 /dev/urandom | wc -c \
        && ! echo x > /dev/full 2>/dev/null && echo end >> /dev/stdout";
    bundle.args(&["/bin/sh", "-c", script]);
    assert_eq!(bundle.container().run().ok().stdout, "3\n3\nend\n");
}

#[test]
fn a_character_device_is_made() {
    let device = json!({"path": "/dev/extra", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640,
        "uid": 1000, "gid": 2000});
    let dev = dev(&with_device(device));
    let node = &dev["/dev/extra"];
    assert_eq!(
        (&node["type"], &node["major"], &node["minor"]),
        (&json!("char"), &json!(1), &json!(5))
    );
    assert_eq!(node["mode"], "0640");
    assert_eq!((&node["uid"], &node["gid"]), (&json!(1000), &json!(2000)));
}

#[test]
fn type_u_is_a_character_device() {
    let device =
        json!({"path": "/dev/extra", "type": "u", "major": 1, "minor": 5, "fileMode": 0o666});
    assert_eq!(dev(&with_device(device))["/dev/extra"]["type"], "char");
}

#[test]
fn a_block_device_is_made() {
    let device =
        json!({"path": "/dev/block", "type": "b", "major": 7, "minor": 3, "fileMode": 0o600});
    let dev = dev(&with_device(device));
    let node = &dev["/dev/block"];
    assert_eq!(
        (&node["type"], &node["major"], &node["minor"]),
        (&json!("block"), &json!(7), &json!(3))
    );
    assert_eq!(node["mode"], "0600");
}

#[test]
fn a_fifo_is_made() {
    let device = json!({"path": "/dev/fifo", "type": "p", "fileMode": 0o622, "uid": 0, "gid": 5});
    let dev = dev(&with_device(device));
    let node = &dev["/dev/fifo"];
    assert_eq!(
        (&node["type"], &node["mode"], &node["gid"]),
        (&json!("fifo"), &json!("0622"), &json!(5))
    );
}

#[test]
fn a_mode_with_a_special_bit_is_meant_literally() {
    let device =
        json!({"path": "/dev/extra", "type": "c", "major": 1, "minor": 5, "fileMode": 0o777});
    assert_eq!(dev(&with_device(device))["/dev/extra"]["mode"], "0777");
}

#[test]
fn a_device_in_a_directory_that_is_missing() {
    let device =
        json!({"path": "/dev/a/b/extra", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666});
    let bundle = with_device(device);
    let stat = printed(&bundle, &["stat", "/dev/a/b/extra", "/dev/a"]);
    let stat: Value = serde_json::from_str(&stat).unwrap();
    assert_eq!(stat["/dev/a/b/extra"]["minor"], 3);
    assert_eq!(stat["/dev/a"]["type"], "dir");
}

#[test]
fn a_device_outside_of_dev() {
    let device =
        json!({"path": "/srv/node", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666});
    let bundle = with_device(device);
    let stat = printed(&bundle, &["stat", "/srv/node"]);
    let stat: Value = serde_json::from_str(&stat).unwrap();
    assert_eq!(stat["/srv/node"]["type"], "char");
    assert!(
        fs::symlink_metadata(bundle.rootfs("/srv/node"))
            .unwrap()
            .file_type()
            .is_char_device()
    );
}

#[test]
fn a_device_below_a_symlink_of_the_image_stays_inside() {
    let device =
        json!({"path": "/link/node", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666});
    let bundle = with_device(device);
    let target = format!("/outside-{}", bundle.id());
    symlink(&target, bundle.rootfs("/link")).unwrap();
    fs::create_dir(bundle.rootfs(&target)).unwrap();
    bundle.args(&["/probe", "stat", &format!("{target}/node")]);
    let output = bundle.container().run().ok();
    assert_eq!(output.json()[format!("{target}/node")]["type"], "char");
    assert!(!fs::exists(&target).unwrap());
}

#[test]
fn a_listed_default_device_has_the_listed_mode() {
    let device = json!({"path": "/dev/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600, "uid": 7});
    let dev = dev(&with_device(device));
    assert_eq!(dev["/dev/zero"]["mode"], "0600");
    assert_eq!(dev["/dev/zero"]["uid"], 7);
}

#[test]
fn a_device_without_a_mode_has_the_default_one() {
    let device = json!({"path": "/dev/extra", "type": "c", "major": 1, "minor": 5});
    assert_eq!(dev(&with_device(device))["/dev/extra"]["mode"], "0666");
}

#[test]
fn a_type_that_is_no_node_is_an_error() {
    differs!(Crun, "it makes what it can of it");
    for kind in ["a", "x", ""] {
        let device =
            json!({"path": "/dev/extra", "type": kind, "major": 1, "minor": 5, "fileMode": 0o666});
        with_device(device).container().run().fails();
    }
}

#[test]
fn a_relative_device_path_is_an_error() {
    differs!(Runc | Crun, "it takes it as one below the root");
    let device =
        json!({"path": "dev/extra", "type": "c", "major": 1, "minor": 5, "fileMode": 0o666});
    with_device(device)
        .container()
        .run()
        .fails()
        .says("absolute");
}

#[test]
fn a_device_where_the_image_has_another_file_is_an_error() {
    differs!(Runc | Crun, "it leaves the file in the place of the device");
    let bundle = Bundle::new();
    bundle.write("/srv/node", "a file");
    bundle.push(
        "/linux/devices",
        json!({"path": "/srv/node", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}),
    );
    bundle.container().run().fails().says("/srv/node");
}

#[test]
fn a_device_that_is_there_already_is_taken() {
    let bundle = Bundle::new();
    bundle.push(
        "/linux/devices",
        json!({"path": "/srv/node", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}),
    );
    bundle.args(&["/probe", "stat", "/srv/node"]);
    for _ in 0..2 {
        assert_eq!(
            bundle.container().run().ok().json()["/srv/node"]["minor"],
            3
        );
    }
}

#[test]
fn devices_without_a_mount_on_dev_are_made_in_the_image() {
    let bundle = Bundle::new();
    let mut config = bundle.config();
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    bundle.set_config(config);
    bundle.args(&["/probe", "stat", "/dev/zero", "/dev/fd"]);
    // The temporary directory may be nodev: the runtimes differ in whether they mind.
    bundle.set("/process/noNewPrivileges", json!(false));
    let output = bundle.container().run();
    if output.code() == Some(0) {
        assert_eq!(output.json()["/dev/zero"]["type"], "char");
    }
    let meta = fs::symlink_metadata(bundle.rootfs("/dev/zero")).unwrap();
    assert_eq!(meta.mode() & 0o7777, 0o666);
}

#[test]
fn in_a_user_namespace_the_hosts_nodes_are_bound() {
    let bundle = Bundle::new();
    user_namespace(&bundle);
    let report = probe_report(&bundle);
    for (path, major, minor) in DEFAULT {
        let node = &report["dev"][path];
        assert_eq!(
            (&node["major"], &node["minor"]),
            (&json!(major), &json!(minor)),
            "{path}"
        );
        assert_eq!(mount_at(&report, path)["mountpoint"], path);
    }
}

#[test]
fn in_a_user_namespace_the_default_devices_work() {
    let bundle = Bundle::new();
    user_namespace(&bundle);
    let script =
        "echo x > /dev/null && head -c 3 /dev/zero | wc -c && head -c 3 /dev/urandom | wc -c";
    bundle.args(&["/bin/sh", "-c", script]);
    assert_eq!(bundle.container().run().ok().stdout, "3\n3\n");
}

#[test]
fn in_a_user_namespace_a_listed_device_is_the_hosts_too() {
    let device = json!({"path": "/dev/loop-control", "type": "c", "major": 10, "minor": 237, "fileMode": 0o666});
    integration::needs!(
        fs::exists("/dev/loop-control").unwrap(),
        "/dev/loop-control"
    );
    let bundle = with_device(device);
    user_namespace(&bundle);
    let node = dev(&bundle)["/dev/loop-control"].clone();
    assert_eq!(
        (&node["type"], &node["minor"]),
        (&json!("char"), &json!(237))
    );
}

#[test]
fn in_a_user_namespace_a_device_that_the_host_lacks_is_an_error() {
    differs!(Crun, "it leaves the device out");
    let device = json!({"path": "/dev/not-on-the-host", "type": "c", "major": 1, "minor": 5, "fileMode": 0o666});
    let bundle = with_device(device);
    user_namespace(&bundle);
    bundle
        .container()
        .run()
        .fails()
        .says("not-on-the-host")
        .says("no such file or directory");
}

#[test]
fn the_hosts_dev_bound_gets_no_nodes() {
    let bundle = Bundle::new();
    let dir = bundle.home().join("dev");
    fs::create_dir(&dir).unwrap();
    for name in ["null", "zero", "tty"] {
        fs::write(dir.join(name), "").unwrap();
    }
    for name in ["pts", "shm", "mqueue"] {
        fs::create_dir(dir.join(name)).unwrap();
    }
    bundle.set(
        "/mounts/1",
        json!({"destination": "/dev", "type": "bind", "source": dir, "options": ["rbind"]}),
    );
    bundle.set("/linux/maskedPaths", json!([]));
    bundle.args(&["/bin/true"]);
    bundle.container().run();
    let mut names: Vec<String> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["mqueue", "null", "pts", "shm", "tty", "zero"]);
}

#[test]
fn ptmx_opens_a_terminal_of_the_containers_own() {
    let bundle = Bundle::new();
    assert_eq!(printed(&bundle, &["try", "open", "rw", "/dev/ptmx"]), "ok");
    let report = probe_report(&bundle);
    assert_eq!(mount_at(&report, "/dev/pts")["fstype"], "devpts");
    assert!(find_mount(&report, "/dev/ptmx").is_none());
}
