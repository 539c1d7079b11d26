//! Races for a path: somebody swaps a directory and a link to the host while containers are made.

use crate::{change, host_side, tree};
use integration::{Bundle, RUNC_12, Runtime, Value, attack, json, rounds};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many containers are made while paths are swapped, unless the attack works before.
pub(crate) fn tries(runtime: &Runtime) -> usize {
    // An old one is to be caught once.
    if runtime.path() == Runtime::get().path() {
        rounds(20, 1.0)
    } else {
        // Within ten when the machine is idle.
        1000
    }
}

/// Ends the swapping when it is dropped, also by a failed test.
struct Swapper<'s> {
    stop: &'s AtomicBool,
}

impl Drop for Swapper<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Exchanges two paths, over and over.
fn swap(one: &Path, two: &Path, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        renameat_with(CWD, one, CWD, two, RenameFlags::EXCHANGE).unwrap();
    }
}

/// Does something while two paths are exchanged all the time.
pub(crate) fn while_swapped<T>(one: &Path, two: &Path, what: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| swap(one, two, &stop));
        let _swapper = Swapper { stop: &stop };
        what()
    })
}

/// A volume with `dir`, a directory, and `link`, a link to the host's side, which are swapped while a container with
/// these mounts is run again and again. Gives what came to be on the host's side, or was seen of it from inside.
fn race(runtime: &'static Runtime, mounts: &[Value], command: &[&str]) -> Option<String> {
    let bundle = Bundle::new().by(runtime);
    let host = host_side(&bundle);
    fs::create_dir_all(host.join("below")).unwrap();
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
    while_swapped(&volume.join("dir"), &volume.join("link"), || {
        (0..tries(runtime)).find_map(|_| {
            let output = bundle.container().run();
            let mounts = integration::mounts_under(bundle.home());
            assert!(mounts.is_empty(), "{mounts:?}");
            let seen = output.stdout.contains("secret of the host");
            change(&before, &tree(&host))
                .or_else(|| seen.then(|| "a file of the host was read".to_string()))
        })
    })
}

/// CVE-2021-30465, CVE-2024-45310
#[test]
fn places_are_never_made_on_the_host() {
    let mounts = [
        json!({"destination": "/vol/dir/new", "type": "tmpfs", "source": "t"}),
        json!({"destination": "/vol/link/other/deep", "type": "tmpfs", "source": "t"}),
    ];
    attack(&[RUNC_12], |runtime| race(runtime, &mounts, &["/bin/true"]));
}

/// CVE-2024-45310
#[test]
fn files_are_never_made_on_the_host() {
    let mounts = [
        json!({"destination": "/vol/dir/file", "type": "bind", "source": "/etc/passwd", "options": ["bind"]}),
        json!({"destination": "/vol/link/file", "type": "bind", "source": "/etc/passwd", "options": ["bind", "ro"]}),
    ];
    attack(&[RUNC_12], |runtime| race(runtime, &mounts, &["/bin/true"]));
}

/// CVE-2021-30465: none that is left to be tried on is open to it; the swapping is that of the tests above.
#[test]
fn file_systems_of_mount_2_are_never_mounted_on_the_host() {
    let mounts = [
        json!({"destination": "/vol/dir/below", "type": "ramfs", "source": "r",
        "options": ["nosuid", "noexec"]}),
    ];
    attack(&[], |runtime| race(runtime, &mounts, &["/bin/true"]));
}

/// CVE-2021-30465: what tmpcopyup reads.
#[test]
fn tmpcopyup_never_copies_from_the_host() {
    let mounts = [
        json!({"destination": "/vol/dir", "type": "tmpfs", "source": "t", "options": ["tmpcopyup"]}),
    ];
    let read = ["/bin/sh", "-c", "cat /vol/*/secret /vol/dir/secret"];
    attack(&[], |runtime| race(runtime, &mounts, &read));
}
