//! Id-mapped mounts: idmap, ridmap, and uidMappings and gidMappings of a mount.

use integration::{Bundle, HostMount, Kind, Runtime, Value, differs, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

/// A directory of the host with a file of owner 1000:2000 and, below it, a mount with another such file.
fn source(bundle: &Bundle) -> (String, HostMount) {
    let dir = bundle.home().join("source");
    fs::create_dir(&dir).unwrap();
    file(&dir);
    let below = HostMount::tmpfs(&dir.join("below"));
    file(below.path());
    (dir.to_str().unwrap().to_string(), below)
}

fn file(dir: &Path) {
    fs::write(dir.join("file"), "x").unwrap();
    chown(dir.join("file"), Some(1000), Some(2000)).unwrap();
    fs::set_permissions(dir.join("file"), fs::Permissions::from_mode(0o666)).unwrap();
}

fn map(container: u32, host: u32, size: u32) -> Value {
    json!([{"containerID": container, "hostID": host, "size": size}])
}

/// An rbind of the source at /mnt.
fn mount(bundle: &Bundle, source: &str, options: &[&str], maps: Option<(Value, Value)>) {
    let mut mount =
        json!({"destination": "/mnt", "type": "bind", "source": source, "options": options});
    if let Some((uids, gids)) = maps {
        mount["uidMappings"] = uids;
        mount["gidMappings"] = gids;
    }
    bundle.mount(mount);
}

/// The owners that the container sees at /mnt/file and /mnt/below/file.
fn owners(bundle: &Bundle) -> [(i64, i64); 2] {
    bundle.args(&["/probe", "stat", "/mnt/file", "/mnt/below/file"]);
    let stat = bundle.container().run().ok().json();
    ["/mnt/file", "/mnt/below/file"].map(|path| {
        let id = |key: &str| stat[path][key].as_i64().unwrap();
        (id("uid"), id("gid"))
    })
}

/// In a user namespace in which 0 is 100000 outside.
fn in_user_namespace() -> Bundle {
    let bundle = Bundle::new();
    bundle.namespace(json!({"type": "user"}));
    bundle.set("/linux/uidMappings", map(0, 100_000, 65_536));
    bundle.set("/linux/gidMappings", map(0, 100_000, 65_536));
    bundle.chown_rootfs(100_000, 100_000);
    bundle
}

#[test]
fn mappings_on_the_mount_without_a_user_namespace() {
    differs!(Runc < (1, 2), "it maps mounts only in a user namespace");
    let bundle = Bundle::new();
    let (dir, _below) = source(&bundle);
    let maps = (map(1000, 0, 10), map(2000, 5, 10));
    // A map of a mount goes from the file system's ids (containerID) to those that are seen (hostID).
    mount(&bundle, &dir, &["rbind", "idmap"], Some(maps));
    assert_eq!(owners(&bundle), [(0, 5), (1000, 2000)]);
}

#[test]
fn ridmap_reaches_the_mounts_below() {
    differs!(Runc < (1, 2), "it maps mounts only in a user namespace");
    let bundle = Bundle::new();
    let (dir, _below) = source(&bundle);
    let maps = (map(1000, 0, 10), map(2000, 5, 10));
    mount(&bundle, &dir, &["rbind", "ridmap"], Some(maps));
    assert_eq!(owners(&bundle), [(0, 5), (0, 5)]);
}

#[test]
fn mappings_alone_map_the_mount() {
    differs!(Runc < (1, 2), "it maps mounts only in a user namespace");
    let bundle = Bundle::new();
    let (dir, _below) = source(&bundle);
    let maps = (map(1000, 1, 10), map(2000, 2, 10));
    mount(&bundle, &dir, &["rbind"], Some(maps));
    assert_eq!(owners(&bundle)[0], (1, 2));
}

#[test]
fn ids_that_are_not_mapped_are_the_overflow_ids() {
    differs!(Runc < (1, 2), "it maps mounts only in a user namespace");
    let bundle = Bundle::new();
    let (dir, _below) = source(&bundle);
    let maps = (map(0, 0, 10), map(0, 0, 10));
    mount(&bundle, &dir, &["rbind", "ridmap"], Some(maps));
    assert_eq!(owners(&bundle), [(65_534, 65_534); 2]);
}

#[test]
fn idmap_in_a_user_namespace_takes_the_containers_maps() {
    differs!(Runc < (1, 2), "it wants the maps on the mount");
    let bundle = in_user_namespace();
    let (dir, _below) = source(&bundle);
    mount(&bundle, &dir, &["rbind", "idmap"], None);
    assert_eq!(owners(&bundle), [(1000, 2000), (65_534, 65_534)]);
}

#[test]
fn ridmap_in_a_user_namespace_takes_the_containers_maps() {
    differs!(Runc < (1, 2), "it wants the maps on the mount");
    let bundle = in_user_namespace();
    let (dir, _below) = source(&bundle);
    mount(&bundle, &dir, &["rbind", "ridmap"], None);
    assert_eq!(owners(&bundle), [(1000, 2000); 2]);
}

#[test]
fn mappings_on_the_mount_in_a_user_namespace() {
    differs!(Runc < (1, 2), "the mount's maps must be the container's");
    let bundle = in_user_namespace();
    let (dir, _below) = source(&bundle);
    let maps = (map(1000, 100_007, 1), map(2000, 100_008, 1));
    mount(&bundle, &dir, &["rbind", "ridmap"], Some(maps));
    assert_eq!(owners(&bundle), [(7, 8); 2]);
}

#[test]
fn a_bind_mount_in_a_user_namespace_is_not_mapped_unasked() {
    let bundle = in_user_namespace();
    let (dir, _below) = source(&bundle);
    mount(&bundle, &dir, &["rbind"], None);
    assert_eq!(owners(&bundle), [(65_534, 65_534); 2]);
}

#[test]
fn what_is_written_through_a_mapped_mount_has_the_mapped_owner() {
    differs!(Runc < (1, 2), "it wants the maps on the mount");
    let bundle = in_user_namespace();
    let (dir, _below) = source(&bundle);
    mount(&bundle, &dir, &["rbind", "idmap"], None);
    bundle.args(&["/probe", "write", "/mnt/new", "by the container's root"]);
    bundle.container().run().ok();
    let meta = fs::metadata(Path::new(&dir).join("new")).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (0, 0));
}

#[test]
fn the_hosts_files_keep_their_owners() {
    let bundle = in_user_namespace();
    let (dir, _below) = source(&bundle);
    mount(&bundle, &dir, &["rbind", "idmap"], None);
    bundle.args(&["/probe", "list", "/mnt"]);
    bundle.container().run().ok();
    let meta = fs::metadata(Path::new(&dir).join("file")).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (1000, 2000));
}

#[test]
fn a_mapped_file_can_be_read_only() {
    differs!(Runc < (1, 2), "it wants the maps on the mount");
    let bundle = in_user_namespace();
    let (dir, _below) = source(&bundle);
    mount(
        &bundle,
        &format!("{dir}/file"),
        &["bind", "idmap", "ro"],
        None,
    );
    bundle.set("/mounts/7/destination", json!("/etc/mapped"));
    bundle.args(&["/probe", "stat", "/etc/mapped"]);
    let stat = bundle.container().run().ok().json();
    assert_eq!(stat["/etc/mapped"]["uid"], 1000);
    bundle.args(&["/probe", "try", "open", "w", "/etc/mapped"]);
    assert_eq!(bundle.container().run().ok().stdout, "EROFS\n");
}

#[test]
fn a_missing_half_of_the_mappings_is_an_error() {
    differs!(Runc < (1, 2), "it ignores what it cannot do");
    let bundle = Bundle::new();
    let (dir, _below) = source(&bundle);
    bundle.mount(json!({"destination": "/mnt", "type": "bind", "source": dir,
        "options": ["bind"], "uidMappings": map(0, 0, 10)}));
    bundle.container().run().fails().says("mapping");
}

#[test]
fn idmap_without_any_mappings_is_an_error() {
    differs!(Runc < (1, 2), "it ignores what it cannot do");
    let bundle = Bundle::new();
    let (dir, _below) = source(&bundle);
    mount(&bundle, &dir, &["bind", "idmap"], None);
    bundle.container().run().fails();
}

#[test]
fn a_mapping_on_a_mount_that_is_no_bind_mount_is_an_error() {
    differs!(Runc < (1, 2), "it ignores what it cannot do");
    differs!(Crun, "it ignores it");
    let bundle = Bundle::new();
    bundle.mount(
        json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs",
        "uidMappings": map(0, 0, 10), "gidMappings": map(0, 0, 10)}),
    );
    bundle.container().run().fails().says("bind");
}

#[test]
fn several_lines_of_mappings() {
    differs!(Runc < (1, 2), "it maps mounts only in a user namespace");
    let bundle = Bundle::new();
    let (dir, _below) = source(&bundle);
    let lines = |id: u32| {
        json!([
            {"containerID": 0, "hostID": 0, "size": 5},
            {"containerID": id, "hostID": id + 7, "size": 1}
        ])
    };
    mount(
        &bundle,
        &dir,
        &["rbind", "ridmap"],
        Some((lines(1000), lines(2000))),
    );
    assert_eq!(owners(&bundle), [(1007, 2007); 2]);
}

#[test]
fn a_file_system_that_cannot_be_mapped_is_an_error() {
    differs!(Runc < (1, 2), "it maps mounts only in a user namespace");
    let bundle = Bundle::new();
    mount(
        &bundle,
        "/proc",
        &["bind", "idmap"],
        Some((map(0, 1, 1), map(0, 1, 1))),
    );
    let output = bundle.container().run().fails();
    // runc and crun say which call failed.
    output.says_any(&["invalid argument", "operation not permitted"]);
    if Runtime::get().kind() == Kind::Vzrun {
        assert_eq!(bundle.leftovers(), [""; 0]);
    }
}
