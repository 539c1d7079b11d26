//! Which controllers a cgroup has: those that all cgroups above it hand down (cgroup.subtree_control).

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::limits::Limits;
use super::{Cgroup, Hierarchy};
use crate::error::{Error, Result};
use crate::sys::fs::{self, OFlags};

/// Where in a hierarchy a controller ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Above {
    /// The hierarchy does not have it.
    Root,
    /// It ends at this cgroup.
    Cgroup(PathBuf),
}

/// The controllers that a cgroup has, separated by spaces.
pub(super) fn available(cgroup: &Cgroup) -> Result<String> {
    fs::read_at(cgroup, "cgroup.controllers")
}

impl Hierarchy {
    /// Sees to it that a new cgroup has every controller that there is, as runc does: limits come later, too, and a
    /// container that is given its cgroup may want to use them. That this does not work out is no error here: it is one
    /// of the limit that needs the controller.
    ///
    /// Before there is a process in it, since switching on a controller for processes is slow.
    ///
    /// # Errors
    /// As runc for limits that a threaded cgroup cannot have.
    pub(crate) fn equip(&self, cgroup: &Cgroup, limits: &Limits) -> Result<()> {
        let all = fs::read_at(&self.root, "cgroup.controllers")?;
        let have = available(cgroup)?;
        let mut lacking: Vec<_> = words(&all).filter(|name| !has(&have, name)).collect();
        // A threaded cgroup has none of these.
        let domain = ["memory", "io", "hugetlb"];
        if lacking.is_empty() && domain.iter().any(|name| has(&have, name)) {
            return Ok(());
        }
        check_type(cgroup, limits)?;
        for path in above(&cgroup.path) {
            let Ok(directory) =
                fs::open_beneath(&self.root, path, OFlags::PATH | OFlags::DIRECTORY)
            else {
                break;
            };
            let on = fs::read_at(&directory, "cgroup.subtree_control")?;
            let wanted: Vec<_> = lacking
                .iter()
                .filter(|name| !has(&on, name))
                .map(|name| format!("+{name}"))
                .collect();
            let write = |text: &str| fs::write_at(&directory, "cgroup.subtree_control", text);
            if !wanted.is_empty() && write(&wanted.join(" ")).is_err() {
                // One bad one spoils all: what this cgroup does not hand down need not be tried below.
                for name in wanted.iter().filter(|name| write(name).is_err()) {
                    lacking.retain(|lacking| Some(*lacking) != name.strip_prefix('+'));
                }
            }
        }
        Ok(())
    }

    /// Where a controller that the cgroup at `path` does not have ends on the way down, and why it does not get on.
    /// Answers by trying to hand it down.
    pub(super) fn find_refusal(&self, path: &Path, controller: &str) -> Option<(Above, Errno)> {
        let at_root = fs::read_at(&self.root, "cgroup.controllers").ok()?;
        if !has(&at_root, controller) {
            return Some((Above::Root, Errno::NOENT));
        }
        for path in above(path) {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let directory = fs::open_beneath(&self.root, path, flags).ok()?;
            let text = format!("+{controller}");
            if let Err(error) = fs::write_at(&directory, "cgroup.subtree_control", text) {
                let path = Path::new("/").join(path.strip_prefix(".").unwrap_or(path));
                return Some((Above::Cgroup(path), error.errno()?));
            }
        }
        None
    }
}

/// The cgroups above the one at `path`, from the root (`.`) on down, each relative to the root.
fn above(path: &Path) -> Vec<&Path> {
    let below = path.strip_prefix("/").unwrap_or(path);
    let mut all: Vec<_> = below.ancestors().skip(1).collect();
    all.reverse();
    for path in &mut all {
        if path.as_os_str().is_empty() {
            *path = Path::new(".");
        }
    }
    all
}

/// Below a threaded cgroup a new one is of no use until it is threaded itself; and then it is without most controllers.
fn check_type(cgroup: &Cgroup, limits: &Limits) -> Result<()> {
    // Before Linux 4.14 there was no such thing.
    let Ok(kind) = fs::read_at(cgroup, "cgroup.type") else {
        return Ok(());
    };
    let state = match kind.trim() {
        "domain invalid" => "an invalid state",
        "domain threaded" => "domain threaded mode",
        "threaded" => "threaded mode",
        _ => return Ok(()),
    };
    if limits.need_domain() {
        let path = &cgroup.path;
        return Err(Error::unsupported(format!(
            "cannot enter cgroupv2 {path:?} with domain controllers -- it is in {state}"
        )));
    }
    match kind.trim() {
        "domain invalid" => fs::write_at(cgroup, "cgroup.type", "threaded"),
        _ => Ok(()),
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace()
}

fn has(all: &str, name: &str) -> bool {
    words(all).any(|have| have == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_down() {
        for (path, expected) in [
            ("/a/b/c", &[".", "a", "a/b"][..]),
            ("/a", &["."]),
            ("/", &[]),
        ] {
            let expected: Vec<_> = expected.iter().map(Path::new).collect();
            assert_eq!(above(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn names_are_whole_words() {
        assert!(has("cpuset cpu io\n", "cpu"));
        assert!(!has("cpuset io\n", "cpu"));
        assert!(!has("", "cpu"));
    }
}
