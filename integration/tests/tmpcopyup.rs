//! tmpcopyup: a tmpfs that starts with what it covers.

use integration::{Bundle, Value, has_option, json, mount_at, probe_report};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

fn bundle() -> Bundle {
    let bundle = Bundle::new();
    bundle.write("/data/file", "of the image");
    tmpfs(&bundle, &["tmpcopyup"]);
    bundle
}

fn tmpfs(bundle: &Bundle, options: &[&str]) {
    bundle.mount(
        json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs",
        "options": options}),
    );
}

fn stat(bundle: &Bundle, files: &[&str]) -> Value {
    let mut args = vec!["/probe", "stat"];
    args.extend(files);
    bundle.args(&args);
    bundle.container().run().ok().json()
}

fn printed(bundle: &Bundle, words: &[&str]) -> String {
    let mut args = vec!["/probe"];
    args.extend(words);
    bundle.args(&args);
    bundle.container().run().ok().stdout
}

#[test]
fn the_content_is_there() {
    assert_eq!(printed(&bundle(), &["read", "/data/file"]), "of the image");
}

#[test]
fn it_is_a_copy() {
    let bundle = bundle();
    printed(&bundle, &["write", "/data/file", "changed"]);
    let text = fs::read_to_string(bundle.rootfs("/data/file")).unwrap();
    assert_eq!(text, "of the image");
    let report = probe_report(&bundle);
    assert_eq!(mount_at(&report, "/data")["fstype"], "tmpfs");
}

#[test]
fn no_mount_of_the_copying_is_left() {
    let report = probe_report(&bundle());
    let mounts = report["mounts"].as_array().unwrap();
    let of_tmpfs = mounts.iter().filter(|m| m["fstype"] == "tmpfs");
    let paths: Vec<&str> = of_tmpfs
        .map(|m| m["mountpoint"].as_str().unwrap())
        .collect();
    let known = |path: &&str| {
        path.starts_with("/dev") || path.starts_with("/sys/firmware") || path.starts_with("/proc/")
    };
    let others: Vec<&str> = paths
        .into_iter()
        .filter(|path| !known(path) && *path != "/")
        .collect();
    assert_eq!(others, ["/data"]);
}

#[test]
fn modes_are_kept() {
    let bundle = bundle();
    let dir = bundle.rootfs("/data/private");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o2750)).unwrap();
    let program = bundle.write("/data/program", "#!");
    fs::set_permissions(program, fs::Permissions::from_mode(0o4755)).unwrap();
    let stat = stat(&bundle, &["/data/private", "/data/program"]);
    assert_eq!(stat["/data/private"]["mode"], "2750");
    assert_eq!(stat["/data/program"]["mode"], "4755");
}

#[test]
fn owners_are_kept() {
    let bundle = bundle();
    chown(bundle.rootfs("/data/file"), Some(1000), Some(2000)).unwrap();
    fs::create_dir(bundle.rootfs("/data/dir")).unwrap();
    chown(bundle.rootfs("/data/dir"), Some(1001), Some(1001)).unwrap();
    let stat = stat(&bundle, &["/data/file", "/data/dir"]);
    let owner = |path: &str| (stat[path]["uid"].clone(), stat[path]["gid"].clone());
    assert_eq!(owner("/data/file"), (json!(1000), json!(2000)));
    assert_eq!(owner("/data/dir"), (json!(1001), json!(1001)));
}

#[test]
fn directories_are_copied_with_all_below() {
    let bundle = bundle();
    bundle.write("/data/a/b/c/deep", "deep");
    assert_eq!(printed(&bundle, &["read", "/data/a/b/c/deep"]), "deep");
}

#[test]
fn links_stay_links() {
    let bundle = bundle();
    symlink("file", bundle.rootfs("/data/link")).unwrap();
    symlink("/nowhere", bundle.rootfs("/data/dangling")).unwrap();
    let stat = stat(&bundle, &["/data/link", "/data/dangling"]);
    assert_eq!(stat["/data/link"]["target"], "file");
    assert_eq!(stat["/data/dangling"]["target"], "/nowhere");
}

#[test]
fn names_that_are_no_text_are_kept() {
    let bundle = bundle();
    let odd = OsStr::from_bytes(b"odd-\xff\xfe");
    fs::write(bundle.rootfs("/data").join(odd), "x").unwrap();
    symlink(odd, bundle.rootfs("/data/link")).unwrap();
    assert_eq!(printed(&bundle, &["read", "/data/link"]), "x");
}

#[test]
fn many_files_and_a_large_one_are_copied() {
    let bundle = bundle();
    for n in 0..300 {
        bundle.write(&format!("/data/many/{n}"), n.to_string());
    }
    bundle.write("/data/large", vec![b'x'; 3 << 20]);
    let script = "ls /data/many | wc -l; cat /data/many/299; wc -c < /data/large";
    bundle.args(&["/bin/sh", "-c", script]);
    assert_eq!(bundle.container().run().ok().stdout, "300\n2993145728\n");
}

#[test]
fn the_directory_itself_keeps_its_mode() {
    let bundle = bundle();
    let dir = bundle.rootfs("/data");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o750)).unwrap();
    assert_eq!(stat(&bundle, &["/data"])["/data"]["mode"], "0750");
}

#[test]
fn options_of_the_tmpfs_hold_beside_it() {
    let bundle = Bundle::new();
    bundle.write("/data/file", "of the image");
    tmpfs(&bundle, &["tmpcopyup", "size=1m", "noexec", "mode=700"]);
    let report = probe_report(&bundle);
    let mount = mount_at(&report, "/data");
    assert!(
        has_option(mount, "size=1024k") && has_option(mount, "noexec"),
        "{mount}"
    );
}

#[test]
fn a_read_only_tmpfs_has_the_content_too() {
    let bundle = Bundle::new();
    bundle.write("/data/file", "of the image");
    tmpfs(&bundle, &["tmpcopyup", "ro"]);
    assert_eq!(printed(&bundle, &["read", "/data/file"]), "of the image");
    assert_eq!(printed(&bundle, &["try", "mkdir", "/data/new"]), "EROFS\n");
}

#[test]
fn a_place_that_is_missing_makes_an_empty_one() {
    let bundle = Bundle::new();
    tmpfs(&bundle, &["tmpcopyup"]);
    assert_eq!(printed(&bundle, &["list", "/data"]), "{\"/data\":[]}\n");
}

#[test]
fn content_that_does_not_fit_is_an_error() {
    let bundle = Bundle::new();
    bundle.write("/data/file", vec![b'x'; 200_000]);
    tmpfs(&bundle, &["tmpcopyup", "size=64k"]);
    bundle
        .container()
        .run()
        .fails()
        .says("no space left on device");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn the_image_is_left_as_it_was() {
    let bundle = bundle();
    let before = fs::metadata(bundle.rootfs("/data/file")).unwrap();
    printed(&bundle, &["read", "/data/file"]);
    let after = fs::metadata(bundle.rootfs("/data/file")).unwrap();
    assert_eq!((before.mode(), before.ino()), (after.mode(), after.ino()));
    let names = fs::read_dir(bundle.rootfs("/data")).unwrap().count();
    assert_eq!(names, 1);
}
