//! A Debian with engines in it as the root of a container: that of this machine, as it is on the disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An overlay of it, on a disk on which engines can make theirs. It goes with the value.
#[derive(Debug)]
pub struct Debian(PathBuf);

impl Debian {
    /// A new one, with a name that no other has.
    pub fn new(name: &str) -> Debian {
        let debian = Debian(Path::new("/var/tmp").join(name));
        for dir in ["upper", "work", "root", "store"] {
            fs::create_dir_all(debian.path(dir)).unwrap();
        }
        let options = format!(
            "index=off,lowerdir={},upperdir={},workdir={}",
            lower().display(),
            debian.path("upper").display(),
            debian.path("work").display()
        );
        let words = ["-t", "overlay", "overlay", "-o", &options];
        let status = Command::new("mount")
            .args(words)
            .arg(debian.root())
            .status();
        assert!(status.unwrap().success(), "mount {words:?}");
        debian
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Its root.
    pub fn root(&self) -> PathBuf {
        self.path("root")
    }

    /// A directory on the disk, for an engine inside.
    pub fn store(&self) -> PathBuf {
        self.path("store")
    }
}

/// In the test environment the root of a run is an overlay itself, and the directory below it is here; in the VM it is a disk.
fn lower() -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/env");
    let roots = fs::read_dir(&target).into_iter().flatten().flatten();
    let mut roots: Vec<PathBuf> = roots
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with("root-trixie-")
        })
        .map(|entry| entry.path())
        .filter(|path| path.join("usr/bin/podman").exists())
        .collect();
    roots.sort_by_key(|path| fs::metadata(path).unwrap().modified().unwrap());
    roots.pop().unwrap_or_else(|| PathBuf::from("/"))
}

impl Drop for Debian {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(self.root()).status();
        let removed = fs::remove_dir_all(&self.0);
        if !std::thread::panicking() {
            assert!(status.unwrap().success());
            removed.unwrap();
        }
    }
}
