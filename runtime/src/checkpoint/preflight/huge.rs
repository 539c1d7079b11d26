//! Files of huge pages (hugetlbfs). CRIU does not know the file system: vzrun has it mounted anew, and what was in it is gone, so that a
//! restore fails where a process uses it. Such memory without a file (mmap(2) with MAP_HUGETLB, memfd_create(2)) CRIU does save.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::Finding;
use crate::checkpoint::external;
use crate::error::{Error, ErrorKind, Result};
use crate::spec::Spec;
use crate::sys::fs::{self, OFlags};
use crate::sys::mountinfo::{self, Line};
use crate::sys::procfs::Procfs;

/// The file system's name.
pub(super) const NAME: &str = "hugetlbfs";
/// HUGETLBFS_MAGIC of linux/magic.h.
const MAGIC: i64 = 0x9584_58f6;
/// What the kernel calls the files of memory that has none.
const NO_FILES: [&str; 3] = ["/anon_hugepage", "/memfd:", "/SYSV"];

const HOLDS: &str = "holds files of huge pages, which CRIU does not save";
const REMOVE: &str = "remove them first";

/// The mounts of the container itself, and not of the host, with files in them.
fn filled(spec: &Spec, init: i32, procfs: &Procfs) -> Result<Vec<PathBuf>> {
    let text = procfs.read_list(&format!("{init}/mountinfo"))?;
    let huge: Vec<Line> = mountinfo::lines(text.as_bytes())
        .filter(|line| line.kind == NAME)
        .collect();
    if huge.is_empty() {
        return Ok(Vec::new());
    }
    let map = external::mounts_of(spec, init, procfs, &[])?;
    let external: HashSet<&Path> = map.iter().map(|entry| Path::new(&entry.key)).collect();
    let root = format!("{init}/root");
    let root = fs::openat(procfs, root, OFlags::PATH | OFlags::DIRECTORY, 0)?;
    let own = huge.into_iter().map(|line| line.place);
    let own = own.filter(|place| !external.contains(place.as_path()));
    let has_files = |place: &PathBuf| {
        // One that another mount covers is nobody's.
        let there = fs::open_in_root(&root, place, OFlags::RDONLY | OFlags::DIRECTORY);
        there
            .and_then(fs::names)
            .is_ok_and(|names| !names.is_empty())
    };
    Ok(own.filter(has_files).collect())
}

/// What `--dry-run` says of them.
pub(super) fn mounts(spec: &Spec, init: i32, procfs: &Procfs) -> Result<Vec<Finding>> {
    let places = filled(spec, init, procfs)?.into_iter();
    Ok(places
        .map(|place| {
            (
                format!("the mount on {}: it {HOLDS}", place.display()),
                REMOVE,
            )
        })
        .collect())
}

/// Looks at a container that stands still.
///
/// # Errors
/// CRIU would save it, and could not restore it.
pub(crate) fn check(spec: &Spec, init: i32, procfs: &Procfs) -> Result<()> {
    match filled(spec, init, procfs)?.first() {
        Some(place) => {
            let text = format!("the mount on {} {HOLDS} ({REMOVE})", place.display());
            Err(Error::new(ErrorKind::InvalidState, text))
        }
        None => Ok(()),
    }
}

/// Whether it is such a file that a process has, by a link of /proc that leads to it.
pub(super) fn file(link: &str, path: &str, procfs: &Procfs) -> Result<Option<Finding>> {
    if NO_FILES.iter().any(|begin| path.starts_with(begin)) {
        return Ok(None);
    }
    let kind = fs::file_system(fs::openat(procfs, link, OFlags::PATH, 0)?)?;
    Ok((kind == MAGIC).then(|| {
        (
            format!("uses a file of huge pages: {path}"),
            "have the program use huge pages without a file (MAP_HUGETLB, memfd_create)",
        )
    }))
}
