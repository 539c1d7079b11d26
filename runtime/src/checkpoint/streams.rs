//! The standard streams of a container's init: a dump names those that are the host's, and a restore connects the caller's.

use std::os::fd::RawFd;

use super::external::{NULL, Table};
use super::rpc::InheritFd;
use crate::error::{Error, Result};
use crate::sys::fs::{self, FileType, Stat};
use crate::sys::procfs::Procfs;

/// What [`NULL`] is.
const NULL_DEVICE: (u32, u32) = (1, 3);

/// At a dump: names for init's standard streams, and those of them that are `external`.
///
/// A pipe has its name anyway, and CRIU connects its end. A file or terminal of the host is named after its mount and
/// inode; what is the container's own keeps its path.
pub(crate) fn of(pid: i32, procfs: &Procfs) -> Result<(Vec<String>, Vec<String>)> {
    let table = Table::of(pid, procfs)?;
    let mut names = Vec::new();
    let mut external = Vec::new();
    for number in 0..3 {
        let link = format!("/proc/{pid}/fd/{number}");
        let Ok(target) = fs::readlinkat(fs::CWD, &link) else {
            // It has closed that one.
            names.push(String::new());
            continue;
        };
        let target = target.to_string_lossy().into_owned();
        let id = procfs.read(&format!("{pid}/fdinfo/{number}"))?;
        let outside = mount_of(&id).filter(|id| !table.has(*id));
        let name = match outside {
            Some(id) if target.starts_with('/') => {
                let stat = fs::stat(&link)?;
                let is_device = fs::file_type(&stat) == FileType::CharacterDevice;
                let device = is_device.then(|| fs::rdev(&stat));
                let name = outside_name(id, &stat);
                external.push(name.clone());
                match device {
                    Some(NULL_DEVICE) => name + NULL,
                    _ => name,
                }
            }
            _ => target,
        };
        names.push(name);
    }
    external.sort_unstable();
    external.dedup();
    Ok((names, external))
}

/// The mount that a descriptor's file is on, by its proc_pid_fdinfo(5).
pub(super) fn mount_of(info: &str) -> Option<u64> {
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
    id.trim().parse().ok()
}

/// CRIU's name for a file on a mount that is not the container's.
pub(super) fn outside_name(mount: u64, stat: &Stat) -> String {
    match fs::file_type(stat) {
        FileType::CharacterDevice if is_terminal(fs::rdev(stat).0) => {
            format!("tty[{:x}:{:x}]", stat.st_rdev, stat.st_dev)
        }
        _ => format!("file[{mount:x}:{:x}]", stat.st_ino),
    }
}

/// Majors of consoles, /dev/tty and pseudo-terminals.
pub(super) fn is_terminal(major: u32) -> bool {
    matches!(major, 4 | 5 | 136..=143)
}

/// At a restore: our own standard streams take the places of those that were external. `null`: the descriptor of /dev/null
/// in CRIU, which stays what it was where ours is no file. `is_file`: whether this descriptor of ours has a position.
///
/// # Errors
/// A stream was a file, and is none here: CRIU sets its position.
pub(crate) fn inherited(
    names: &[String],
    null: RawFd,
    is_file: impl Fn(RawFd) -> bool,
) -> Result<Vec<InheritFd>> {
    let mut inherited: Vec<InheritFd> = Vec::new();
    for (fd, name) in (0..3).zip(names) {
        let key = name.strip_suffix(NULL).unwrap_or(name);
        let known = ["pipe:[", "file[", "tty["].iter().any(|form| {
            let rest = key.strip_prefix(form);
            rest.and_then(|rest| rest.strip_suffix(']'))
                .is_some_and(|number| number.bytes().all(|b| b.is_ascii_hexdigit() || b == b':'))
        });
        if !known || inherited.iter().any(|other| other.key == *key) {
            continue;
        }
        let fd = match key.starts_with("file[") && !is_file(fd) {
            false => fd,
            true if key != name => null,
            true => {
                return Err(Error::unsupported(format!(
                    "standard stream {fd} of the container was a file, and cannot become a pipe or a terminal: restore it with one (or with /dev/null)"
                )));
            }
        };
        inherited.push(InheritFd {
            key: key.to_owned(),
            fd,
        });
    }
    Ok(inherited)
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_names_of_streams_are_taken_from_images() {
        let names = ["pipe:[12]", "/etc/shadow", "pipe:[12]"].map(str::to_owned);
        let inherited = super::inherited(&names, 4, |_| true).unwrap();
        assert_eq!(inherited.len(), 1);
        assert_eq!(
            (inherited[0].key.as_str(), inherited[0].fd),
            ("pipe:[12]", 0)
        );
        let hostile = ["file[1:2]x", "extRootNetNS", "tty[88:1a]", "pipe:[1]"].map(str::to_owned);
        let inherited = super::inherited(&hostile, 4, |_| true).unwrap();
        assert_eq!(inherited.len(), 1);
        assert_eq!(
            (inherited[0].key.as_str(), inherited[0].fd),
            ("tty[88:1a]", 2)
        );
    }

    #[test]
    fn what_has_no_position_takes_no_files_place() {
        let names = ["file[1:2]/dev/null", "pipe:[1]", "file[1:3]"].map(str::to_owned);
        let inherited = super::inherited(&names, 7, |fd| fd == 2).unwrap();
        let inherited: Vec<_> = inherited
            .iter()
            .map(|it| (it.key.as_str(), it.fd))
            .collect();
        assert_eq!(
            inherited,
            [("file[1:2]", 7), ("pipe:[1]", 1), ("file[1:3]", 2)]
        );
        assert_eq!(super::inherited(&names, 7, |_| true).unwrap()[0].fd, 0);
        assert!(super::inherited(&names, 7, |_| false).is_err());
    }
}
