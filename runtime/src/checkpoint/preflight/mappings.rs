//! The memory of a process, and its program: files that have no name any more, and devices.

use std::collections::BTreeSet;

use super::files::{self, ghost};
use super::process::Process;
use super::{Finding, Surroundings, huge, is_gone};
use crate::error::Result;
use crate::sys::fs::{self, FileType};

/// What the kernel calls memory that it shares without a file.
const NO_FILES: [&str; 5] = ["/dev/zero", "/SYSV", "/memfd:", "/[aio]", "/anon_hugepage"];

pub(super) fn look(process: &Process, around: &Surroundings<'_>) -> Result<Vec<Finding>> {
    let pid = process.pid;
    let maps = around.procfs.read_list(&format!("{pid}/maps"))?;
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for line in maps.lines() {
        let Some(mapping) = Mapping::parse(line) else {
            continue;
        };
        // A library has several mappings.
        if !seen.insert((mapping.device, mapping.inode)) {
            continue;
        }
        if let Some(name) = mapping.path.strip_prefix("anon_inode:") {
            found.extend(files::anonymous(name));
            continue;
        }
        if mapping.path.starts_with("/secretmem") {
            found.push(files::secret());
            continue;
        }
        let no_file = NO_FILES.iter().any(|begin| mapping.path.starts_with(begin));
        if no_file || !mapping.path.starts_with('/') {
            continue;
        }
        let link = format!("{pid}/map_files/{}", mapping.range);
        let stat = around.procfs.stat_behind(&link);
        let stat = match stat {
            Err(error) if is_gone(&error) => continue,
            other => other?,
        };
        if let Some(finding) = huge::file(&link, mapping.path, around.procfs)? {
            found.push(finding);
            continue;
        }
        match fs::file_type(&stat) {
            FileType::RegularFile if mapping.path.ends_with(" (deleted)") => {
                found.extend(ghost(mapping.path, &stat, around.allowed));
            }
            FileType::CharacterDevice if fs::rdev(&stat).0 != files::MEMORY => {
                let reason = format!("has the device {} in its memory", mapping.path);
                found.push((reason, files::DEVICE));
            }
            _ => {}
        }
    }
    Ok(found)
}

/// A line of proc_pid_maps(5) with a name.
#[derive(Debug, PartialEq, Eq)]
struct Mapping<'m> {
    range: &'m str,
    device: &'m str,
    inode: &'m str,
    path: &'m str,
}

impl Mapping<'_> {
    fn parse(line: &str) -> Option<Mapping<'_>> {
        let mut rest = line;
        let mut next = || {
            let (field, behind) = rest.split_once(' ')?;
            rest = behind.trim_start();
            Some(field)
        };
        let range = next()?;
        let (_, _, device, inode) = (next()?, next()?, next()?, next()?);
        Some(Mapping {
            range,
            device,
            inode,
            path: rest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps() {
        let line = "7f10-7f20 r-xp 00001000 fe:00 123                        /a b (deleted)";
        let expected = Mapping {
            range: "7f10-7f20",
            device: "fe:00",
            inode: "123",
            path: "/a b (deleted)",
        };
        assert_eq!(Mapping::parse(line), Some(expected));
        let plain = Mapping::parse("7f10-7f20 rw-p 00000000 00:00 0 ");
        assert_eq!(plain.map(|mapping| mapping.path), Some(""));
        assert_eq!(Mapping::parse("7f10-7f20 rw-p"), None);
    }
}
