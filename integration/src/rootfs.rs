//! The root filesystem of a bundle: the probe, busybox, a few users, the usual empty directories.
//!
//! Hundreds of them are made in a run, so the two programs are copied once into a template beside
//! the bundles and hard-linked from there.

use crate::runtime::built;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const DIRS: &[&str] = &[
    "bin",
    "dev",
    "etc",
    "home/alice",
    "mnt",
    "proc",
    "root",
    "run",
    "sbin",
    "sys",
    "tmp",
    "usr/bin",
    "var/tmp",
];

const APPLETS: &[&str] = &[
    "cat", "chmod", "chown", "cp", "dd", "df", "dmesg", "echo", "env", "false", "find", "grep",
    "head", "hostname", "id", "ip", "kill", "ln", "ls", "mkdir", "mknod", "mount", "mv", "nc",
    "ps", "pwd", "readlink", "rm", "rmdir", "sed", "seq", "sh", "sleep", "sort", "stat", "stty",
    "sync", "tail", "test", "top", "touch", "tr", "true", "tty", "umount", "uname", "vi", "wc",
    "whoami", "xargs",
];

const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/sh
alice:x:1000:1000:Alice:/home/alice:/bin/sh
bob:x:1001:1001:Bob:/home/bob:/bin/sh
";

const GROUP: &str = "\
root:x:0:
tty:x:5:
alice:x:1000:
bob:x:1001:
friends:x:2000:alice,bob
admins:x:2001:alice
";

/// The static probe program: `VZRUN_TEST_PROBE`, or the release build in `target/`. It also serves
/// as a program on the host, for hooks.
pub fn probe_path() -> PathBuf {
    let path = match std::env::var_os("VZRUN_TEST_PROBE") {
        Some(path) => PathBuf::from(path),
        None => built("probe"),
    };
    assert!(
        path.is_file(),
        "no probe at {}; VZRUN_TEST_PROBE names it",
        path.display()
    );
    path
}

/// The directory that all bundles of this machine's test runs are made in.
pub(crate) fn base_dir() -> &'static Path {
    static BASE: OnceLock<PathBuf> = OnceLock::new();
    BASE.get_or_init(|| {
        let base = std::env::temp_dir().join("vzrun-it");
        fs::create_dir_all(&base).unwrap();
        base
    })
}

/// Makes a root filesystem at `dir`, which must not exist.
pub(crate) fn make(dir: &Path) {
    let template = template();
    for sub in DIRS {
        fs::create_dir_all(dir.join(sub)).unwrap();
    }
    for sub in ["tmp", "var/tmp"] {
        fs::set_permissions(dir.join(sub), fs::Permissions::from_mode(0o1777)).unwrap();
    }
    link(&template.join("probe"), &dir.join("probe"));
    link(&template.join("busybox"), &dir.join("bin/busybox"));
    for applet in APPLETS {
        symlink("busybox", dir.join("bin").join(applet)).unwrap();
    }
    fs::write(dir.join("etc/passwd"), PASSWD).unwrap();
    fs::write(dir.join("etc/group"), GROUP).unwrap();
}

/// Gives the programs in a root filesystem inodes of their own, so that a test may change them or
/// their owner.
pub(crate) fn own_programs(dir: &Path) {
    for name in ["probe", "bin/busybox"] {
        let file = dir.join(name);
        let copy = dir.join("copy");
        fs::copy(&file, &copy).unwrap();
        fs::rename(&copy, &file).unwrap();
    }
}

fn link(from: &Path, to: &Path) {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).unwrap();
    }
}

/// The template's directory; its name tells the programs' versions, so a rebuilt probe gets a new
/// one. Several test processes may make it at once: each makes its own, the first to rename wins.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let probe = probe_path();
        let busybox = ["/bin/busybox", "/usr/bin/busybox", "/usr/local/bin/busybox"]
            .map(PathBuf::from)
            .into_iter()
            .find(|path| path.is_file())
            .expect("busybox: the package busybox-static is needed");
        let mut name = "template".to_string();
        for file in [&probe, &busybox] {
            let meta = fs::metadata(file).unwrap();
            name += &format!("-{:x}{:x}{:x}", meta.len(), meta.mtime(), meta.mtime_nsec());
        }
        let dir = base_dir().join(&name);
        if !dir.is_dir() {
            let new = base_dir().join(format!("{name}.new{}", std::process::id()));
            fs::create_dir_all(&new).unwrap();
            for (file, name) in [(&probe, "probe"), (&busybox, "busybox")] {
                fs::copy(file, new.join(name)).unwrap();
                fs::set_permissions(new.join(name), fs::Permissions::from_mode(0o755)).unwrap();
            }
            if fs::rename(&new, &dir).is_err() {
                fs::remove_dir_all(&new).unwrap();
                assert!(dir.is_dir(), "no template at {}", dir.display());
            }
        }
        dir
    })
}
