//! The cgroups that a container has made below its own, as a checkpoint saves them: names, owners, controllers and limits. (CRIU
//! knows where processes were, and of cgroup v2 no limits.)
//!
//! What is made again comes out of an image, which anybody may have written: only names of directories, of controllers and of
//! the files listed here are taken from it, and all of it ends up below the container's own cgroup.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::Cgroup;
use crate::error::{Context, Error, Result};
use crate::sys::fs::{self, OFlags};

/// Files of a cgroup that hold what somebody has set. The controllers of hugetlb have files with sizes in their names.
const SETTINGS: [&str; 28] = [
    "cgroup.max.depth",
    "cgroup.max.descendants",
    "cpu.idle",
    "cpu.max",
    "cpu.max.burst",
    "cpu.uclamp.max",
    "cpu.uclamp.min",
    "cpu.weight",
    "cpuset.cpus",
    "cpuset.cpus.partition",
    "cpuset.mems",
    "io.bfq.weight",
    "io.latency",
    "io.max",
    "io.prio.class",
    "io.weight",
    "memory.high",
    "memory.low",
    "memory.max",
    "memory.min",
    "memory.oom.group",
    "memory.swap.high",
    "memory.swap.max",
    "memory.zswap.max",
    "memory.zswap.writeback",
    "misc.max",
    "pids.max",
    "rdma.max",
];
/// What goes to somebody whom a cgroup is given to.
const GIVEN: [&str; 4] = [
    ".",
    "cgroup.procs",
    "cgroup.subtree_control",
    "cgroup.threads",
];
/// Cgroups of one container that are saved and made again at most, and how deep.
const MOST: usize = 20_000;
const DEEPEST: usize = 64;
/// Where CRIU waits while processes come back below the container's own cgroup.
const WAITING: &str = "vzrun.criu";

/// All of them, each behind the one that it is in. The first is the container's own. None that is read has anything else in it
/// than names of directories, of controllers and of [`SETTINGS`].
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Cell>")]
pub(crate) struct Tree(Vec<Cell>);

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Cell {
    /// Names from the container's own on; empty for that one.
    path: Vec<String>,
    /// What is handed down from it: `cpu memory`.
    controllers: String,
    /// Who may make cgroups in it and move processes between them: user and group within the container; `None`: nobody there.
    owner: Option<(u32, u32)>,
    /// Whose its limits are.
    limiter: Option<(u32, u32)>,
    settings: BTreeMap<String, String>,
}

impl TryFrom<Vec<Cell>> for Tree {
    type Error = Error;

    fn try_from(cells: Vec<Cell>) -> Result<Tree> {
        if cells.len() > MOST {
            return Err(Error::config(format!("more than {MOST} cgroups")));
        }
        for cell in &cells {
            cell.check()
                .context(|| format!("the cgroup {:?}", cell.path.join("/")))?;
        }
        Ok(Tree(cells))
    }
}

impl Tree {
    /// Nothing is in the container's own cgroup but other cgroups.
    pub(crate) fn hands_down(&self) -> bool {
        self.0
            .first()
            .is_some_and(|own| !own.controllers.is_empty())
    }
}

#[cfg(feature = "fuzz")]
impl Tree {
    /// The directories that are made, and the files in them that are written to.
    pub(super) fn places(&self) -> Vec<(std::path::PathBuf, Vec<String>)> {
        let cells = self.0.iter();
        cells
            .map(|cell| {
                (
                    cell.path.iter().collect(),
                    cell.settings.keys().cloned().collect(),
                )
            })
            .collect()
    }
}

impl Cgroup {
    /// What there is of them now. `inner`: the id within the container for one of the host.
    pub(crate) fn tree(&self, inner: impl Fn(u32, u32) -> Option<(u32, u32)>) -> Result<Tree> {
        let words = || format!("saving the cgroups below {:?}", self.path);
        let own = fs::openat(&self.directory, ".", OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
        let mut tree = Tree::default();
        let mut rest = vec![(own, Vec::new())];
        while let Some((directory, path)) = rest.pop() {
            if tree.0.len() == MOST || path.len() > DEEPEST {
                let text = format!(
                    "more than {MOST} cgroups in the container, or more than {DEEPEST} within each other: CRIU is not asked to save so many"
                );
                return Err(Error::unsupported(text));
            }
            for name in fs::directories(&directory).context(words)? {
                // systemd escapes what is no plain text.
                let Ok(name) = name.into_string() else {
                    continue;
                };
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
                match fs::openat(&directory, &name, flags, 0) {
                    Err(error) if fs::is_missing(&error) => {}
                    child => rest.push((child.context(words)?, [&path[..], &[name]].concat())),
                }
            }
            tree.0
                .push(Cell::of(&directory, path, &inner).context(words)?);
        }
        Ok(tree)
    }

    /// Makes their directories again.
    pub(crate) fn lay_out(&self, tree: &Tree) -> Result<()> {
        for cell in &tree.0 {
            cell.make(self).context(|| cell.words())?;
        }
        Ok(())
    }

    /// Makes them what they were, when no process is left in the container's own. `outer`: the host's id for one within the container.
    pub(crate) fn plant(
        &self,
        tree: &Tree,
        outer: impl Fn(u32, u32) -> Option<(u32, u32)>,
    ) -> Result<()> {
        for cell in &tree.0 {
            cell.plant(self, &outer).context(|| cell.words())?;
        }
        Ok(())
    }

    /// Moves CRIU to a cgroup of its own, out of the way of those that are to be made, and gives what removes that again.
    pub(crate) fn set_aside(&self, pid: i32) -> Result<Aside> {
        let words = || format!("making a cgroup for criu below {:?}", self.path);
        match fs::mkdirat(&self.directory, WAITING, 0o755) {
            Err(error) if error.errno() != Some(Errno::EXIST) => return Err(error.wrap(words())),
            _ => {}
        }
        let file = format!("{WAITING}/cgroup.procs");
        fs::write_at(&self.directory, file, pid.to_string()).context(words)?;
        let own = fs::openat(&self.directory, ".", OFlags::PATH | OFlags::DIRECTORY, 0)?;
        Ok(Aside(own))
    }
}

/// The cgroup that CRIU waits in.
pub(crate) struct Aside(OwnedFd);

impl Aside {
    /// CRIU has ended. Where one of its helpers is still about to, the cgroup goes with the container.
    pub(crate) fn remove(self) {
        let _ = fs::rmdirat(&self.0, WAITING);
    }
}

impl Cell {
    fn of(
        directory: &OwnedFd,
        path: Vec<String>,
        inner: impl Fn(u32, u32) -> Option<(u32, u32)>,
    ) -> Result<Cell> {
        let read = |name: &str| match fs::read_at(directory, name) {
            // EOPNOTSUPP: a file for cgroups of another type; EINVAL and ENODEV: one without its hardware.
            Err(error)
                if matches!(
                    error.errno(),
                    Some(Errno::NOENT | Errno::OPNOTSUPP | Errno::INVAL | Errno::NODEV)
                ) =>
            {
                Ok(String::new())
            }
            other => other.map(|text| text.trim_end().to_owned()),
        };
        let controllers = read("cgroup.subtree_control")?;
        // The limits of the container's own are those of the config.
        if path.is_empty() {
            return Ok(Cell {
                path,
                controllers,
                ..Cell::default()
            });
        }
        let mut settings = BTreeMap::new();
        let names = fs::names(fs::openat(
            directory,
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY,
            0,
        )?)?;
        let names = names.into_iter().filter_map(|name| name.into_string().ok());
        for name in names.filter(|name| is_setting(name)) {
            let value = read(&name)?;
            if !value.is_empty() {
                settings.insert(name, value);
            }
        }
        let owner = |name| fs::lstatat(directory, name).map(|stat| inner(stat.st_uid, stat.st_gid));
        Ok(Cell {
            path,
            controllers,
            owner: owner("cgroup.procs")?,
            limiter: owner("cgroup.max.depth")?,
            settings,
        })
    }

    fn check(&self) -> Result<()> {
        if self.path.len() > DEEPEST {
            return Err(Error::config(format!(
                "more than {DEEPEST} within each other"
            )));
        }
        let none = |name: &str, what| Err(Error::config(format!("{name:?} is no {what}")));
        if let Some(name) = self.path.iter().find(|name| !is_name(name)) {
            return none(name, "name of a cgroup");
        }
        if let Some(name) = self.settings.keys().find(|name| !is_setting(name)) {
            return none(name, "limit of a cgroup");
        }
        let is_controller = |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase());
        match self
            .controllers
            .split_whitespace()
            .find(|name| !is_controller(name))
        {
            Some(name) => none(name, "controller"),
            None => Ok(()),
        }
    }

    fn words(&self) -> String {
        format!("making the cgroup {:?} again", self.path.join("/"))
    }

    fn plant(&self, own: &Cgroup, outer: impl Fn(u32, u32) -> Option<(u32, u32)>) -> Result<()> {
        let directory = self.make(own)?;
        for (name, value) in &self.settings {
            let now = match fs::read_at(&directory, name) {
                // The limit is for a controller that this host does not have.
                Err(error) => {
                    crate::log::warn(format_args!("{}: {name}: {error}", self.path.join("/")));
                    continue;
                }
                Ok(now) => now,
            };
            if now.trim_end() == value {
                continue;
            }
            for line in value.lines() {
                if let Err(error) = fs::write_at(&directory, name, line) {
                    crate::log::warn(format_args!("{}: {error}", self.path.join("/")));
                }
            }
        }
        if !self.path.is_empty() {
            self.give(&directory, outer)?;
        }
        self.hand_down(&directory)
    }

    /// What the container had made was its own, and what it had given away that of others.
    fn give(
        &self,
        directory: &OwnedFd,
        outer: impl Fn(u32, u32) -> Option<(u32, u32)>,
    ) -> Result<()> {
        let host = |ids: Option<(u32, u32)>| ids.and_then(|(uid, gid)| outer(uid, gid));
        let (owner, limiter) = (host(self.owner), host(self.limiter));
        let list = fs::openat(directory, ".", OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
        let names = fs::names(&list)?;
        let names = names.iter().map(|name| name.to_string_lossy());
        for name in names.chain([".".into()]) {
            let given = GIVEN.contains(&name.as_ref());
            // It was made by the host's root.
            if let Some((uid, gid)) =
                if given { owner } else { limiter }.filter(|ids| *ids != (0, 0))
            {
                fs::lchownat(directory, name.as_ref(), uid, gid)?;
            }
        }
        Ok(())
    }

    /// The directory, made anew where it is not there.
    fn make(&self, own: &Cgroup) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let mut directory = fs::openat(&own.directory, ".", flags, 0)?;
        for name in &self.path {
            match fs::mkdirat(&directory, name, 0o755) {
                Err(error) if error.errno() != Some(Errno::EXIST) => return Err(error),
                _ => {}
            }
            directory = fs::open_beneath(&directory, name, flags)?;
        }
        Ok(directory)
    }

    fn hand_down(&self, directory: &OwnedFd) -> Result<()> {
        for name in self.controllers.split_whitespace() {
            let written = fs::write_at(directory, "cgroup.subtree_control", format!("+{name}"));
            match written {
                Err(error) if fs::is_missing(&error) => {
                    crate::log::warn(format_args!(
                        "this host has no cgroup controller {name} for the container: what it limited is not limited"
                    ));
                }
                other => other?,
            }
        }
        Ok(())
    }
}

/// Of one directory in another.
fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\n', '\0'])
}

fn is_setting(name: &str) -> bool {
    let huge = name
        .strip_prefix("hugetlb.")
        .and_then(|rest| rest.strip_suffix(".max"));
    let huge =
        huge.is_some_and(|size| size.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.'));
    SETTINGS.contains(&name) || huge
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_written() {
        for name in [
            "memory.max",
            "hugetlb.2MB.max",
            "hugetlb.2MB.rsvd.max",
            "pids.max",
        ] {
            assert!(is_setting(name), "{name}");
        }
        for name in [
            "cgroup.procs",
            "cgroup.kill",
            "memory.current",
            "../memory.max",
            "hugetlb./x.max",
            "hugetlb.max",
        ] {
            assert!(!is_setting(name), "{name}");
        }
    }

    #[test]
    fn an_image_leads_nowhere_else() {
        let place = std::env::temp_dir().join(format!("vzrun-tree-{}", std::process::id()));
        std::fs::create_dir_all(place.join("own")).unwrap();
        let directory = fs::open(place.join("own"), OFlags::PATH | OFlags::DIRECTORY).unwrap();
        let own = Cgroup::of(directory, &place);
        let read = |json: &str| serde_json::from_str::<Tree>(json);
        for (json, words) in [
            (
                r#"[{"path":["a",".."],"controllers":"","owner":null,"limiter":null,"settings":{}}]"#,
                "no name",
            ),
            (
                r#"[{"path":["a/b"],"controllers":"","owner":null,"limiter":null,"settings":{}}]"#,
                "no name",
            ),
            (
                r#"[{"path":[],"controllers":"x/y","owner":null,"limiter":null,"settings":{}}]"#,
                "no controller",
            ),
            (
                r#"[{"path":["a"],"controllers":"","owner":null,"limiter":null,"settings":{"cgroup.procs":"1"}}]"#,
                "no limit",
            ),
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        // Not where a link leads.
        std::os::unix::fs::symlink("..", place.join("own/link")).unwrap();
        let json =
            r#"[{"path":["link","x"],"controllers":"","owner":null,"limiter":null,"settings":{}}]"#;
        assert!(own.lay_out(&read(json).unwrap()).is_err());
        assert!(own.plant(&read(json).unwrap(), |_, _| None).is_err());
        assert!(!place.join("x").exists());
        std::fs::remove_dir_all(&place).unwrap();
    }
}
