//! linux.intelRdt: cache and memory bandwidth, through the resctrl file system.
//!
//! A group of resctrl is a directory. One that the container shares with others, by a closID that was there already, is
//! left alone; what vzrun has made it removes again.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::spec;
use crate::sys::fs::{self, OFlags};

/// Where resctrl is mounted on a host that uses it.
pub(crate) const ROOT: &str = "/sys/fs/resctrl";

/// The group of a container and what to write into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IntelRdt {
    group: String,
    /// The group is named in the spec. Then, with no schema to write, it must be there already.
    named: bool,
    /// Lines for `schemata`.
    schemata: Vec<String>,
    needs_cache: bool,
    needs_bandwidth: bool,
    /// The name of a monitoring group in the group.
    monitoring: Option<String>,
}

/// Facts about a container's group, for the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    /// The directory of the group.
    pub(crate) path: PathBuf,
    /// It was made for this container.
    pub(crate) created: bool,
    /// The directory of the monitoring group that was made for this container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) monitoring: Option<PathBuf>,
}

impl IntelRdt {
    /// `None` without linux.intelRdt. Without closID the group has the container's id for its name.
    pub(crate) fn plan(rdt: Option<&spec::LinuxIntelRdt>, id: &str) -> Result<Option<IntelRdt>> {
        let Some(rdt) = rdt else {
            return Ok(None);
        };
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let clos_id = given(rdt.clos_id());
        if let Some(wrong) = clos_id.as_deref().filter(|name| !is_name(name)) {
            return Err(Error::config(format!("invalid intelRdt.ClosID {wrong:?}")));
        }
        let (cache, bandwidth) = (given(rdt.l3_cache_schema()), given(rdt.mem_bw_schema()));
        let lines = |text: &Option<String>| -> Vec<String> {
            text.iter()
                .flat_map(|text| text.lines())
                .map(str::to_owned)
                .collect()
        };
        let (needs_cache, needs_bandwidth) = (cache.is_some(), bandwidth.is_some());
        let mut schemata = lines(&cache);
        if needs_bandwidth {
            // The specification: then memBwSchema is what says it for memory bandwidth.
            schemata.retain(|line| !line.trim_start().starts_with("MB:"));
        }
        schemata.extend(lines(&bandwidth));
        // Last, so that it wins, as the specification has it.
        schemata.extend(rdt.schemata().iter().flatten().cloned());
        Ok(Some(IntelRdt {
            named: clos_id.is_some(),
            group: clos_id.unwrap_or_else(|| id.to_owned()),
            schemata,
            needs_cache,
            needs_bandwidth,
            monitoring: rdt
                .enable_monitoring()
                .unwrap_or(false)
                .then(|| id.to_owned()),
        }))
    }

    /// Whether the host has what the spec asks for; asked early, before anything is made.
    pub(crate) fn check(&self, root: &Path) -> Result<()> {
        let has = |path: &str| fs::stat(root.join(path)).is_ok();
        if !has("schemata") {
            return Err(Error::unsupported(
                "intelRdt is specified in config, but Intel RDT is not supported or enabled",
            ));
        }
        if self.needs_cache && !has("info/L3") {
            return Err(Error::unsupported(
                "intelRdt.l3CacheSchema is specified in config, but Intel RDT/CAT is not enabled",
            ));
        }
        if self.needs_bandwidth && !has("info/MB") {
            return Err(Error::unsupported(
                "intelRdt.memBwSchema is specified in config, but Intel RDT/MBA is not enabled",
            ));
        }
        if self.monitoring.is_some() && !has("mon_groups") {
            return Err(Error::unsupported(
                "intelRdt.enableMonitoring is specified in config, but Intel RDT monitoring is not enabled",
            ));
        }
        Ok(())
    }

    /// Makes the group where it is missing, writes its schemata and moves the process into it. On failure what was made
    /// is gone again.
    pub(crate) fn apply(&self, root: &Path, pid: Pid) -> Result<Group> {
        let at = fs::open(root, OFlags::PATH | OFlags::DIRECTORY)?;
        let mut group = Group {
            path: root.join(&self.group),
            created: false,
            monitoring: None,
        };
        if self.named && self.schemata.is_empty() {
            open_directory(&at, &self.group).context(|| {
                "intelRdt: clos dir not accessible (must be pre-created when no schema is given)"
            })?;
        } else {
            group.created = make(&at, &self.group)?;
        }
        match self.fill(&at, pid, &mut group) {
            Ok(()) => Ok(group),
            Err(error) => {
                // The first failure is the one to tell. The process, which may be in the group, does not live on.
                if group.created {
                    let _ = remove(&group.path);
                } else {
                    let _ = group.remove();
                }
                Err(error.wrap("linux.intelRdt"))
            }
        }
    }

    fn fill(&self, root: &OwnedFd, pid: Pid, group: &mut Group) -> Result<()> {
        let directory = open_directory(root, &self.group)?;
        if !self.schemata.is_empty() {
            let text = self.schemata.join("\n") + "\n";
            fs::write_at(&directory, "schemata", text)?;
        }
        fs::write_at(&directory, "tasks", pid.to_string())?;
        if let Some(name) = &self.monitoring {
            let monitors = open_directory(&directory, "mon_groups")?;
            if make(&monitors, name)? {
                group.monitoring = Some(group.path.join("mon_groups").join(name));
            }
            fs::write_at(open_directory(&monitors, name)?, "tasks", pid.to_string())?;
        }
        Ok(())
    }
}

impl Group {
    /// Removes what was made for the container. What is gone already is fine, and a group that has come to be shared
    /// stays for those who are in it.
    pub(crate) fn remove(&self) -> Result<()> {
        if let Some(monitoring) = &self.monitoring {
            remove(monitoring)?;
        }
        if !self.created || has_tasks(&self.path) {
            return Ok(());
        }
        remove(&self.path)
    }
}

/// Other lines for the schemata of a container's group (`update`), with the errors of runc.
#[derive(Debug)]
pub(crate) struct Schemata {
    group: PathBuf,
    text: String,
}

impl Schemata {
    /// `None`: there is nothing to change.
    pub(crate) fn plan(
        cache: Option<&str>,
        bandwidth: Option<&str>,
        group: Option<&Group>,
    ) -> Result<Option<Schemata>> {
        let has = |path: &str| fs::stat(Path::new(ROOT).join(path)).is_ok();
        if cache.is_some() && !has("info/L3") {
            return Err(Error::unsupported(
                "Intel RDT/CAT: l3 cache schema is not enabled",
            ));
        }
        if bandwidth.is_some() && !has("info/MB") {
            return Err(Error::unsupported(
                "Intel RDT/MBA: memory bandwidth schema is not enabled",
            ));
        }
        let lines: Vec<_> = [cache, bandwidth].into_iter().flatten().collect();
        if lines.is_empty() {
            return Ok(None);
        }
        let group = group.ok_or_else(|| {
            Error::config("Intel RDT: the container was created without linux.intelRdt")
        })?;
        Ok(Some(Schemata {
            group: group.path.clone(),
            text: lines.join("\n") + "\n",
        }))
    }

    /// Writes them; what comes back are those that were there.
    pub(crate) fn write(self) -> Result<Schemata> {
        let write = || {
            let directory = fs::open(&self.group, OFlags::PATH | OFlags::DIRECTORY)?;
            let former = fs::read_at(&directory, "schemata")?;
            fs::write_at(&directory, "schemata", &self.text)?;
            Ok(former)
        };
        let text = write().map_err(|error: Error| error.wrap("linux.intelRdt"))?;
        Ok(Schemata { text, ..self })
    }
}

fn is_name(name: &str) -> bool {
    !matches!(name, "." | "..") && !name.contains(['/', '\n', '\0'])
}

fn open_directory(at: &OwnedFd, name: &str) -> Result<OwnedFd> {
    fs::openat(
        at,
        name,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW,
        0,
    )
}

/// Makes a directory; `false` when it was there.
fn make(at: &OwnedFd, name: &str) -> Result<bool> {
    match fs::mkdirat(at, name, 0o755) {
        Ok(()) => Ok(true),
        Err(error) if error.errno() == Some(Errno::EXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::rmdirat(fs::CWD, path) {
        Err(error) if fs::is_missing(&error) => Ok(()),
        other => other.context(|| "removing the resctrl group"),
    }
}

/// Removing a group of resctrl moves its processes to the root group without asking.
fn has_tasks(group: &Path) -> bool {
    fs::read_at(fs::CWD, group.join("tasks")).is_ok_and(|tasks| !tasks.trim().is_empty())
}

#[cfg(test)]
mod tests {
    // The files of the tests are nobody else's.
    #![allow(clippy::disallowed_methods)]

    use super::*;

    fn plan(json: &str) -> Result<IntelRdt> {
        let rdt = serde_json::from_str(json).unwrap();
        IntelRdt::plan(Some(&rdt), "c1").map(Option::unwrap)
    }

    /// A directory that looks like resctrl, with a group `shared` in it.
    fn root(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("vzrun-rdt-{name}-{}", std::process::id()));
        for directory in ["info/L3", "info/MB", "mon_groups", "shared/mon_groups"] {
            std::fs::create_dir_all(root.join(directory)).unwrap();
        }
        for file in ["schemata", "tasks", "shared/schemata", "shared/tasks"] {
            std::fs::write(root.join(file), "").unwrap();
        }
        root
    }

    fn pid() -> Pid {
        Pid::from_raw(4242).unwrap()
    }

    #[test]
    fn names_and_schemata() {
        for (json, group, schemata) in [
            ("{}", "c1", vec![]),
            (r#"{"closID":"","l3CacheSchema":""}"#, "c1", vec![]),
            (
                r#"{"closID":"x","l3CacheSchema":"L3:0=f\nMB:0=1","memBwSchema":"MB:0=9"}"#,
                "x",
                vec!["L3:0=f", "MB:0=9"],
            ),
            (
                r#"{"l3CacheSchema":"L3:0=f\nMB:0=1","schemata":["L2:0=3","L3:0=1"]}"#,
                "c1",
                vec!["L3:0=f", "MB:0=1", "L2:0=3", "L3:0=1"],
            ),
        ] {
            let planned = plan(json).unwrap();
            assert_eq!(
                (planned.group.as_str(), planned.schemata.len()),
                (group, schemata.len())
            );
            assert_eq!(planned.schemata, schemata, "{json}");
        }
        for name in ["..", ".", "a/b", "a\\n"] {
            let error = plan(&format!(r#"{{"closID":"{name}"}}"#)).unwrap_err();
            assert!(
                error.to_string().contains("invalid intelRdt.ClosID"),
                "{error}"
            );
        }
        assert_eq!(IntelRdt::plan(None, "c1").unwrap(), None);
    }

    #[test]
    fn the_host_must_have_it() {
        let root = root("check");
        let cache = plan(r#"{"l3CacheSchema":"L3:0=f"}"#).unwrap();
        let bandwidth = plan(r#"{"memBwSchema":"MB:0=9"}"#).unwrap();
        cache.check(&root).unwrap();
        std::fs::remove_dir(root.join("info/L3")).unwrap();
        std::fs::remove_dir(root.join("info/MB")).unwrap();
        for (rdt, text) in [(cache, "l3CacheSchema"), (bandwidth, "memBwSchema")] {
            let error = rdt.check(&root).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
        plan("{}").unwrap().check(&root).unwrap();
        std::fs::remove_dir_all(&root).unwrap();
        let error = plan("{}").unwrap().check(&root).unwrap_err().to_string();
        assert!(
            error.contains("Intel RDT is not supported or enabled"),
            "{error}"
        );
    }

    #[test]
    fn shared_groups_are_used_and_left() {
        let root = root("shared");
        let rdt = plan(r#"{"closID":"shared","schemata":["L3:0=f"]}"#).unwrap();
        let group = rdt.apply(&root, pid()).unwrap();
        assert_eq!(
            (group.path.clone(), group.created),
            (root.join("shared"), false)
        );
        let read = |file: &str| std::fs::read_to_string(root.join("shared").join(file)).unwrap();
        assert_eq!(
            (read("schemata").as_str(), read("tasks").as_str()),
            ("L3:0=f\n", "4242")
        );
        group.remove().unwrap();
        assert!(group.path.exists());
        let missing = plan(r#"{"closID":"missing"}"#).unwrap();
        let error = missing.apply(&root, pid()).unwrap_err().to_string();
        assert!(error.contains("must be pre-created"), "{error}");
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn what_was_made_is_removed() {
        let root = root("made");
        // A plain directory has no `tasks` of its own, as one in resctrl would: the group is made, then filling fails.
        assert!(plan("{}").unwrap().apply(&root, pid()).is_err());
        assert!(!root.join("c1").exists());
        std::fs::create_dir(root.join("c1")).unwrap();
        let group = Group {
            path: root.join("c1"),
            created: true,
            monitoring: None,
        };
        group.remove().unwrap();
        assert!(!group.path.exists());
        group.remove().unwrap();
        // Others are in it.
        let shared = Group {
            path: root.join("shared"),
            created: true,
            monitoring: None,
        };
        std::fs::write(root.join("shared/tasks"), "7\n").unwrap();
        shared.remove().unwrap();
        assert!(shared.path.exists());
        std::fs::remove_dir_all(&root).unwrap();
    }
}
