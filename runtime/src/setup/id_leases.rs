//! Ranges of the host's ids that belong to one container each: a lease is a symbolic link `FIRST-SIZE` to the container's
//! state directory. A link is made with all that it says in one step, so a creator that is killed leaves a whole lease or
//! none; one whose container is gone is nobody's, and is taken away by the next who looks.
//!
//! All of a machine's leases are in one directory, whatever `--root` is. It is on the tmpfs where the containers are, too:
//! ids on disk are the container's own (id-mapped mounts), so the next boot of the host may deal the ranges out anew.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::sys::fs::{self, OFlags};
use crate::sys::{flock, process};

const DIRECTORY: &str = "/run/vzrun-ids";
/// Ranges begin at multiples of this, and are multiples of it in size: the ids that a system of its own has.
pub(crate) const BLOCK: u32 = 65_536;
/// Who has an entry of this name in /etc/subuid and /etc/subgid has set ids apart for vzrun.
const NAME: &str = "vzrun";
/// Without such an entry: what systemd's table of ids leaves unused above its own containers', and useradd(8) does not deal
/// out; 4,094 blocks.
const USUAL: Ids = Ids {
    first: 0x7000_0000,
    size: 0x0FFE_0000,
};

/// A range of the host's user ids, and the same of its group ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ids {
    /// The host's id of the container's root.
    pub(crate) first: u32,
    pub(crate) size: u32,
}

impl Ids {
    /// Some range of this size, for a plan of which the range is not yet known.
    pub(crate) fn any(size: u32) -> Ids {
        Ids {
            first: USUAL.first,
            size,
        }
    }

    fn end(self) -> u64 {
        u64::from(self.first) + u64::from(self.size)
    }

    fn overlaps(self, other: Ids) -> bool {
        u64::from(self.first) < other.end() && u64::from(other.first) < self.end()
    }

    fn common(self, other: Ids) -> Option<Ids> {
        let first = self.first.max(other.first);
        let size = self.end().min(other.end()).checked_sub(first.into())?;
        let size = u32::try_from(size).ok().filter(|size| *size > 0)?;
        Some(Ids { first, size })
    }

    fn name(self) -> String {
        format!("{}-{}", self.first, self.size)
    }

    fn parse(name: &[u8]) -> Option<Ids> {
        let (first, size) = std::str::from_utf8(name).ok()?.split_once('-')?;
        let ids = Ids {
            first: first.parse().ok()?,
            size: size.parse().ok()?,
        };
        (ids.size > 0).then_some(ids)
    }
}

/// A range of this size that nobody has, for the container of this state directory, which the caller holds. One that it has
/// already is the one.
///
/// # Errors
/// There is none left, or the entries in /etc/subuid and /etc/subgid are of no use.
pub(crate) fn take(container: &Path, size: u32) -> Result<Ids> {
    let area = Area::of_host()?;
    let leases = Leases::open()?;
    leases
        .take(container, size, &area)
        .context(|| "taking ids for a user namespace of the system container's own (io.vzrun.userns=false: none)")
}

/// The container of this state directory, which the caller holds, has ended.
pub(crate) fn release(container: &Path, ids: Ids) -> Result<()> {
    match Leases::open()?.release(container, ids) {
        Err(error) if !fs::is_missing(&error) => Err(error),
        _ => Ok(()),
    }
}

/// The directory, locked: what is seen in it stays until the end of this value.
struct Leases(OwnedFd);

impl Leases {
    fn open() -> Result<Leases> {
        Leases::open_at(Path::new(DIRECTORY))
    }

    fn open_at(path: &Path) -> Result<Leases> {
        let words = || format!("opening the leases of ids in {}", path.display());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let directory = match fs::open(path, flags) {
            Err(error) if fs::is_missing(&error) => {
                let old = process::umask(0o077);
                let made = fs::mkdirat(fs::CWD, path, 0o700);
                process::umask(old);
                match made {
                    Err(error) if error.errno() != Some(rustix::io::Errno::EXIST) => Err(error),
                    _ => fs::open(path, flags),
                }
            }
            other => other,
        };
        let directory = directory.context(words)?;
        flock::exclusive(&directory).context(words)?;
        Ok(Leases(directory))
    }

    fn take(&self, container: &Path, size: u32, area: &Area) -> Result<Ids> {
        let mut taken = Vec::new();
        for name in fs::names(&self.0)? {
            let Some(ids) = Ids::parse(name.to_bytes()) else {
                continue;
            };
            let name = OsStr::from_bytes(name.to_bytes());
            let holder = fs::readlinkat(&self.0, name)?;
            let holder = Path::new(OsStr::from_bytes(holder.to_bytes()));
            if holder == container && ids.size == size && area.has(ids) {
                return Ok(ids);
            }
            match fs::stat(holder) {
                // Deleted halfway, or never made.
                Err(error) if fs::is_missing(&error) => fs::unlinkat(&self.0, name)?,
                _ if holder == container => fs::unlinkat(&self.0, name)?,
                _ => taken.push(ids),
            }
        }
        let ids = area.free(size, &taken).ok_or_else(|| {
            Error::unsupported(format!(
                "no range of {size} ids is free beside those of {} containers; set more apart in /etc/subuid and \
                 /etc/subgid, as \"{NAME}:FIRST:COUNT\"",
                taken.len()
            ))
        })?;
        fs::symlinkat(container, &self.0, ids.name())?;
        Ok(ids)
    }

    fn release(&self, container: &Path, ids: Ids) -> Result<()> {
        let holder = fs::readlinkat(&self.0, ids.name())?;
        if holder.to_bytes() == container.as_os_str().as_bytes() {
            fs::unlinkat(&self.0, ids.name())?;
        }
        Ok(())
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        // A child that is forked meanwhile would keep it locked.
        flock::unlock(self.0.as_fd());
    }
}

/// The ids that vzrun deals out.
#[derive(Debug, PartialEq, Eq)]
struct Area {
    ranges: Vec<Ids>,
    /// Those of others in it.
    others: Vec<Ids>,
}

impl Area {
    fn of_host() -> Result<Area> {
        let read = |path: &str| match fs::read_at(fs::CWD, path) {
            Err(error) if fs::is_missing(&error) => Ok(String::new()),
            other => other,
        };
        Area::of(&read("/etc/subuid")?, &read("/etc/subgid")?)
    }

    fn of(subuid: &str, subgid: &str) -> Result<Area> {
        let (uids, gids) = (entries(subuid), entries(subgid));
        let own = |entries: &[(&str, Ids)]| -> Vec<Ids> {
            let own = entries.iter().filter(|(name, _)| *name == NAME);
            own.map(|(_, ids)| *ids).collect()
        };
        let (own_uids, own_gids) = (own(&uids), own(&gids));
        if own_uids.is_empty() && own_gids.is_empty() {
            return Ok(Area {
                ranges: vec![USUAL],
                others: uids.iter().chain(&gids).map(|(_, ids)| *ids).collect(),
            });
        }
        let mut ranges = Vec::new();
        for uids in &own_uids {
            ranges.extend(own_gids.iter().filter_map(|gids| uids.common(*gids)));
        }
        if !ranges.iter().any(|range| blocks(*range, BLOCK).count() > 0) {
            return Err(Error::config(format!(
                "/etc/subuid and /etc/subgid: the entries of {NAME:?} have no {BLOCK} ids in common that begin at a multiple \
                 of that"
            )));
        }
        Ok(Area {
            ranges,
            others: Vec::new(),
        })
    }

    fn has(&self, ids: Ids) -> bool {
        let inside = |range: &Ids| range.common(ids) == Some(ids);
        self.ranges.iter().any(inside) && !self.others.iter().any(|other| other.overlaps(ids))
    }

    /// The first range that is not among the `taken` ones.
    fn free(&self, size: u32, taken: &[Ids]) -> Option<Ids> {
        let all = self.ranges.iter().flat_map(|range| blocks(*range, size));
        let free = |ids: &Ids| {
            let mut used = taken.iter().chain(&self.others);
            !used.any(|other| other.overlaps(*ids))
        };
        all.into_iter().find(free)
    }
}

/// The ranges of this size, at multiples of a block, in another one.
fn blocks(range: Ids, size: u32) -> impl Iterator<Item = Ids> {
    let first = range.first.checked_next_multiple_of(BLOCK);
    let last = range.end().checked_sub(size.into());
    let firsts = first
        .zip(last)
        .map(|(first, last)| (u64::from(first)..=last).step_by(BLOCK as usize));
    let ids = move |first: u64| u32::try_from(first).ok().map(|first| Ids { first, size });
    firsts.into_iter().flatten().filter_map(ids)
}

/// The lines of subuid(5); others are passed over.
fn entries(text: &str) -> Vec<(&str, Ids)> {
    let entry = |line| {
        let mut fields = str::split(line, ':');
        let (name, first, size) = (fields.next()?, fields.next()?, fields.next()?);
        let ids = Ids {
            first: first.trim().parse().ok()?,
            size: size.trim().parse().ok()?,
        };
        Some((name.trim(), ids))
    };
    text.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(first: u32, size: u32) -> Ids {
        Ids { first, size }
    }

    #[test]
    fn areas() {
        let usual = Area::of("", "").unwrap();
        assert_eq!(usual.free(BLOCK, &[]), Some(ids(0x7000_0000, BLOCK)));
        assert_eq!(blocks(USUAL, BLOCK).count(), 4094);
        let others = Area::of("me:1879048192:1\n#x\n", "you:1879113728:65537\n").unwrap();
        assert_eq!(others.free(BLOCK, &[]), Some(ids(0x7003_0000, BLOCK)));
        let own = Area::of("a:1:2\nvzrun:100000:200000\n", "vzrun:0:262144\n").unwrap();
        assert_eq!(own.ranges, [ids(100_000, 162_144)]);
        let first = ids(131_072, BLOCK);
        assert_eq!(own.free(BLOCK, &[]), Some(first));
        assert_eq!(own.free(2 * BLOCK, &[]), Some(ids(131_072, 2 * BLOCK)));
        assert_eq!(own.free(3 * BLOCK, &[]), None);
        assert_eq!(own.free(BLOCK, &[first]), Some(ids(196_608, BLOCK)));
        assert_eq!(own.free(2 * BLOCK, &[ids(196_608, 1)]), None);
        for (subuid, subgid) in [
            ("vzrun:1:65536\n", "vzrun:0:9999999\n"),
            ("vzrun:65536:65536\n", ""),
        ] {
            assert!(Area::of(subuid, subgid).is_err(), "{subuid}");
        }
        let last = Area::of("vzrun:4294901760:65536\n", "vzrun:4294901760:65536\n").unwrap();
        assert_eq!(last.free(BLOCK, &[]), Some(ids(4_294_901_760, BLOCK)));
    }

    #[test]
    fn a_range_is_one_containers_until_that_is_gone() {
        let home = std::env::temp_dir().join(format!("vzrun-ids-{}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        let container = |name: &str| {
            std::fs::create_dir_all(home.join(name)).unwrap();
            home.join(name)
        };
        let area = Area::of("", "").unwrap();
        let (a, b, c) = (container("a"), container("b"), container("c"));
        let leases = Leases::open_at(&home.join("ids")).unwrap();
        let take = |who: &Path, blocks: u32| leases.take(who, blocks * BLOCK, &area).unwrap();
        let of_a = take(&a, 1);
        assert_eq!(take(&a, 1), of_a);
        let of_b = take(&b, 2);
        assert!(!of_a.overlaps(of_b));
        // Another size is another range, and the old one is free.
        assert!(!take(&a, 3).overlaps(of_b));
        assert_eq!(take(&c, 1), of_a);
        // Not its own.
        leases.release(&a, of_b).unwrap();
        assert!(!take(&container("d"), 1).overlaps(of_b));
        std::fs::remove_dir(&b).unwrap();
        assert_eq!(take(&container("e"), 2), of_b);
        leases.release(&home.join("e"), of_b).unwrap();
        assert_eq!(take(&container("f"), 2), of_b);
        std::fs::remove_dir_all(home).unwrap();
    }
}
