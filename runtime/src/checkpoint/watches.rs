//! Where watched files are, for CRIU.
//!
//! The kernel tells of a watch (inotify, fanotify) which inode of which device it is on. CRIU opens that by its handle and
//! asks for its path, which overlay filesystems do not allow. Then it looks for the inode in places that it has been told
//! (its option irmap-scan-path), with the processes standing still. So the places are found here, beforehand.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::preflight::below;
use crate::error::Result;
use crate::sys::fs::{self, FileType, OFlags};
use crate::sys::mountinfo;
use crate::sys::procfs::Procfs;

/// Filesystems without handles that can be opened.
const WITHOUT_HANDLES: &str = "overlay";
/// Directories that are looked into at most. Beyond them CRIU looks by itself, and tells what it has not found.
const MOST_DIRECTORIES: usize = 200_000;

/// The paths of what is watched on the root filesystem of the container of `init`, where that is one without handles.
///
/// # Errors
/// The container has ended.
pub(crate) fn places(init: i32, procfs: &Procfs) -> Result<Vec<PathBuf>> {
    let mounts = procfs.read_list(&format!("{init}/mountinfo"))?;
    let mut mounts = mountinfo::lines(mounts.as_bytes());
    let Some(device) =
        mounts.find(|line| line.place == Path::new("/") && line.kind == WITHOUT_HANDLES)
    else {
        return Ok(Vec::new());
    };
    let Some(device) = number(&device.device) else {
        return Ok(Vec::new());
    };
    let mut wanted = HashSet::new();
    for pid in below(init, procfs) {
        wanted.extend(watched(pid, device, procfs));
    }
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let root = format!("{init}/root");
    let root = fs::openat(procfs, root, OFlags::PATH | OFlags::DIRECTORY, 0)?;
    search(&root, wanted)
}

/// The inodes of this device that a process watches. One that ends meanwhile watches none.
fn watched(pid: i32, device: u64, procfs: &Procfs) -> BTreeSet<u64> {
    let numbers = procfs.names(&format!("{pid}/fd")).unwrap_or_default();
    let watches = numbers.into_iter().filter(|number| {
        let target = procfs.link(&format!("{pid}/fd/{number}"));
        target.is_ok_and(|target| {
            matches!(
                target.as_str(),
                "anon_inode:inotify" | "anon_inode:[fanotify]"
            )
        })
    });
    let info = |number: String| {
        procfs
            .read_list(&format!("{pid}/fdinfo/{number}"))
            .unwrap_or_default()
    };
    let lines: String = watches.map(info).collect();
    lines
        .lines()
        .filter_map(watch)
        .filter(|watch| watch.0 == device)
        .map(|watch| watch.1)
        .collect()
}

/// Device and inode of a watch, in proc_pid_fdinfo(5) hexadecimal.
fn watch(line: &str) -> Option<(u64, u64)> {
    if !line.starts_with("inotify ") && !line.starts_with("fanotify ") {
        return None;
    }
    let value = |name: &str| {
        let word = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix(name))?;
        u64::from_str_radix(word, 16).ok()
    };
    Some((value("sdev:")?, value("ino:")?))
}

/// `0:35` as the kernel has it in a `dev_t` of its own: 20 bits for the minor number.
fn number(device: &str) -> Option<u64> {
    let (major, minor) = device.split_once(':')?;
    Some(major.parse::<u64>().ok()? << 20 | minor.parse::<u64>().ok()?)
}

/// Looks for inodes below `root`, near ones first, without leaving its filesystem.
fn search(root: &OwnedFd, mut wanted: HashSet<u64>) -> Result<Vec<PathBuf>> {
    let own = fs::fstat(root)?;
    wanted.remove(&own.st_ino);
    let mut found = Vec::new();
    let mut rest = VecDeque::from([PathBuf::from("/")]);
    let mut looked = 0;
    while let Some(path) = rest.pop_front() {
        if wanted.is_empty() || looked == MOST_DIRECTORIES {
            break;
        }
        looked += 1;
        let below_root = path.strip_prefix("/").unwrap_or(&path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        // It may be gone by now, or be nobody's business.
        let Ok(directory) = fs::open_beneath(root, Path::new(".").join(below_root), flags) else {
            continue;
        };
        for name in fs::names(&directory).unwrap_or_default() {
            let name = OsStr::from_bytes(name.to_bytes());
            let Ok(stat) = fs::lstatat(&directory, name) else {
                continue;
            };
            let at = path.join(name);
            if stat.st_dev == own.st_dev && wanted.remove(&stat.st_ino) {
                found.push(at.clone());
            }
            if fs::file_type(&stat) == FileType::Directory && stat.st_dev == own.st_dev {
                rest.push_back(at);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn watches_in_fdinfo() {
        let line = "inotify wd:1c2 ino:275e sdev:1a mask:2 ignored_mask:0 fhandle-bytes:8 fhandle-type:fe f_handle:5e27";
        assert_eq!(watch(line), Some((0x1a, 0x275e)));
        let line = "fanotify ino:5 sdev:800013 mflags:0 mask:1b ignored_mask:0";
        assert_eq!(watch(line), Some((0x80_0013, 5)));
        assert_eq!(watch("fanotify mnt_id:12 mflags:0 mask:3b"), None);
        assert_eq!(watch("pos:\t0"), None);
        assert_eq!(number("0:35"), Some(35));
        assert_eq!(number("8:19"), Some(0x80_0013));
        assert_eq!(number("8"), None);
    }

    #[test]
    fn what_is_found_below_a_directory() {
        let place = std::env::temp_dir().join(format!("vzrun-watches-{}", std::process::id()));
        std::fs::create_dir_all(place.join("a/b/c")).unwrap();
        std::fs::write(place.join("a/b/file"), "").unwrap();
        let inode = |path: &str| std::fs::metadata(place.join(path)).unwrap().ino();
        let root = fs::open(&place, OFlags::PATH | OFlags::DIRECTORY).unwrap();
        let wanted = HashSet::from([inode("a/b/file"), inode("a"), inode(""), u64::MAX]);
        let mut found = search(&root, wanted).unwrap();
        found.sort();
        std::fs::remove_dir_all(&place).unwrap();
        assert_eq!(found, [Path::new("/a"), Path::new("/a/b/file")]);
    }
}
