//! Races for a mount's destination: somebody swaps a directory and a link to the host while containers are made.

use integration::{Bundle, Value, json};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Exchanges two paths, over and over, until it is dropped.
struct Swapper<'s> {
    stop: &'s AtomicBool,
}

impl Drop for Swapper<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn swap(one: &Path, two: &Path, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        renameat_with(CWD, one, CWD, two, RenameFlags::EXCHANGE).unwrap();
    }
}

/// A volume with `dir`, a directory, and `link`, a link to the host's side, which are swapped while a container with
/// these mounts is run again and again. Nothing may come to be on the host's side, nor be seen there from inside.
fn race(mounts: &[Value], command: &[&str]) -> Vec<String> {
    let bundle = Bundle::new();
    let host = bundle.home().join("host");
    fs::create_dir_all(host.join("below")).unwrap();
    fs::write(host.join("secret"), "secret of the host").unwrap();
    let volume = bundle.home().join("volume");
    fs::create_dir_all(volume.join("dir/below")).unwrap();
    // From the host it is the host's directory; from the container, where all of it is resolved in the root, it is not.
    symlink(&host, volume.join("link")).unwrap();
    let before = tree(&host);

    bundle.mount(
        json!({"destination": "/vol", "type": "bind", "source": volume, "options": ["rbind"]}),
    );
    for mount in mounts {
        bundle.mount(mount.clone());
    }
    bundle.push("/linux/maskedPaths", json!("/vol/dir/masked"));
    bundle.push("/linux/readonlyPaths", json!("/vol/link/below"));
    bundle.args(command);
    let stop = AtomicBool::new(false);
    let (one, two) = (volume.join("dir"), volume.join("link"));
    std::thread::scope(|scope| {
        scope.spawn(|| swap(&one, &two, &stop));
        let _swapper = Swapper { stop: &stop };
        let runs = (0..20).map(|_| {
            let output = bundle.container().run();
            assert_eq!(tree(&host), before, "{}", output.describe());
            let mounts = integration::mounts_under(bundle.home());
            assert!(mounts.is_empty(), "{mounts:?}");
            output.stdout
        });
        runs.collect()
    })
}

fn tree(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

#[test]
fn places_are_never_made_on_the_host() {
    let mounts = [
        json!({"destination": "/vol/dir/new", "type": "tmpfs", "source": "t"}),
        json!({"destination": "/vol/link/other/deep", "type": "tmpfs", "source": "t"}),
    ];
    race(&mounts, &["/bin/true"]);
}

#[test]
fn files_are_never_made_on_the_host() {
    let mounts = [
        json!({"destination": "/vol/dir/file", "type": "bind", "source": "/etc/passwd", "options": ["bind"]}),
        json!({"destination": "/vol/link/file", "type": "bind", "source": "/etc/passwd", "options": ["bind", "ro"]}),
    ];
    race(&mounts, &["/bin/true"]);
}

#[test]
fn file_systems_of_mount_2_are_never_mounted_on_the_host() {
    let mounts = [
        json!({"destination": "/vol/dir/below", "type": "ramfs", "source": "r",
        "options": ["nosuid", "noexec"]}),
    ];
    race(&mounts, &["/bin/true"]);
}

#[test]
fn tmpcopyup_never_copies_from_the_host() {
    let mounts = [
        json!({"destination": "/vol/dir", "type": "tmpfs", "source": "t", "options": ["tmpcopyup"]}),
    ];
    for seen in race(
        &mounts,
        &["/bin/sh", "-c", "cat /vol/*/secret /vol/dir/secret"],
    ) {
        assert_eq!(seen, "");
    }
}
