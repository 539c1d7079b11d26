//! A process as a whole: who it is, whose it is, and which namespaces it is in.

use std::collections::BTreeSet;

use super::{Finding, Subject, Surroundings};
use crate::error::Result;
use crate::sys::procfs::Procfs;

/// Kinds that CRIU knows one of for the whole container, with what makes more of them.
const SINGLE: [(&str, &str); 6] = [
    (
        "user",
        "switch PrivateUsers= of the unit off, or run the container with io.vzrun.migratable=true",
    ),
    (
        "pid",
        "switch PrivatePIDs= of the unit off, or run the container with io.vzrun.migratable=true",
    ),
    (
        "ipc",
        "switch PrivateIPC= of the unit off, or run the container with io.vzrun.migratable=true",
    ),
    (
        "uts",
        "switch ProtectHostname= of the unit off, or run the container with io.vzrun.migratable=true",
    ),
    (
        "cgroup",
        "switch ProtectControlGroups= of the unit off, or run the container with io.vzrun.migratable=true",
    ),
    ("time", "run the container with io.vzrun.migratable=true"),
];

/// A process of the container.
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) name: String,
    pub(super) unit: Option<String>,
    /// proc_pid_status(5).
    status: String,
}

impl Process {
    /// `cgroup`: that of the container.
    pub(super) fn look(pid: i32, cgroup: &str, procfs: &Procfs) -> Result<Process> {
        let status = procfs.read(&format!("{pid}/status"))?;
        let name = field(&status, "Name").unwrap_or_default().to_owned();
        let unit = unit(&procfs.read(&format!("{pid}/cgroup"))?, cgroup);
        Ok(Process {
            pid,
            name,
            unit,
            status,
        })
    }

    pub(super) fn is_dead(&self) -> bool {
        matches!(field(&self.status, "State"), Some(state) if state.starts_with(['Z', 'X']))
    }

    pub(super) fn look_at_itself(
        &self,
        subject: &Subject<'_>,
        around: &Surroundings<'_>,
    ) -> Result<Vec<Finding>> {
        if !around.tree.contains(&self.pid) {
            let reason =
                "was put into the container by exec, and is lost: it belongs to nobody there";
            return Ok(vec![(reason.into(), "wait for its end, or end it")]);
        }
        let mut found = Vec::new();
        if let Some(tracer) = field(&self.status, "TracerPid").filter(|pid| *pid != "0") {
            let reason = format!("is traced by process {tracer}");
            found.push((reason, "end the debugger first"));
        }
        for (kind, remedy) in SINGLE {
            let namespace = |pid| around.procfs.link(&format!("{pid}/ns/{kind}"));
            // A kernel without time namespaces has no such link.
            let (Ok(own), Ok(inits)) = (namespace(self.pid), namespace(subject.init)) else {
                continue;
            };
            if own != inits {
                found.push((format!("has a {kind} namespace of its own"), remedy));
            }
        }
        if !around.allowed.shell_job && self.is_led_from_outside(&around.tree) {
            let reason = "is in a session that is led from outside of the container".into();
            let remedy = "--shell-job allows it; or have the first process begin a session";
            found.push((reason, remedy));
        }
        Ok(found)
    }

    /// The leader of its session is seen neither from its pid namespace nor among the processes.
    fn is_led_from_outside(&self, tree: &BTreeSet<i32>) -> bool {
        let mut numbers = field(&self.status, "NSsid").into_iter();
        let mut numbers = numbers.by_ref().flat_map(str::split_whitespace);
        let host: Option<i32> = numbers.next().and_then(|number| number.parse().ok());
        match numbers.next_back() {
            // 0: not to be seen from there.
            Some(inner) => inner == "0",
            None => host.is_some_and(|sid| !tree.contains(&sid)),
        }
    }
}

/// The value of a line `Name:\tvalue`.
fn field<'s>(status: &'s str, name: &str) -> Option<&'s str> {
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.map(str::trim)
}

/// Of the cgroups below the container's, the innermost one that is called as units are.
fn unit(proc_cgroup: &str, container: &str) -> Option<String> {
    let path = proc_cgroup
        .lines()
        .find_map(|line| line.strip_prefix("0::"))?;
    let below = path.strip_prefix(container)?;
    let is_unit = |name: &&str| {
        [".service", ".scope", ".socket", ".mount", ".slice"]
            .iter()
            .any(|kind| name.ends_with(kind))
    };
    below.rsplit('/').find(is_unit).map(str::to_owned)
}

/// `init` and all that come from it, as /proc has it.
pub(in crate::checkpoint) fn below(init: i32, procfs: &Procfs) -> BTreeSet<i32> {
    let mut tree = BTreeSet::new();
    let mut rest = vec![init];
    while let Some(pid) = rest.pop() {
        if !tree.insert(pid) {
            continue;
        }
        let threads = procfs.names(&format!("{pid}/task")).unwrap_or_default();
        for thread in threads {
            let children = procfs.read(&format!("{pid}/task/{thread}/children"));
            let children = children.unwrap_or_default();
            rest.extend(
                children
                    .split_whitespace()
                    .filter_map(|child| child.parse::<i32>().ok()),
            );
        }
    }
    tree
}

/// Its namespaces, as `uts:[4026531838]`.
pub(super) fn namespaces(pid: i32, procfs: &Procfs) -> Vec<String> {
    let names = procfs.names(&format!("{pid}/ns")).unwrap_or_default();
    let link = |name: String| procfs.link(&format!("{pid}/ns/{name}")).ok();
    names.into_iter().filter_map(link).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_unit() {
        for (path, expected) in [
            ("0::/ct/system.slice/cron.service", Some("cron.service")),
            (
                "0::/ct/user.slice/user@0.service/app.slice/x",
                Some("app.slice"),
            ),
            (
                "1:name=systemd:/x.service\n0::/ct/a.scope/b\n",
                Some("a.scope"),
            ),
            ("0::/ct", None),
            ("0::/other.scope", None),
        ] {
            assert_eq!(unit(path, "/ct").as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn sessions() {
        let led = |sids: &str| {
            let process = Process {
                pid: 70,
                name: String::new(),
                unit: None,
                status: format!("Name:\tx\nNSsid:\t{sids}\nState:\tS (sleeping)\n"),
            };
            process.is_led_from_outside(&BTreeSet::from([70, 71]))
        };
        assert!(!led("70\t1") && led("12\t0") && !led("71") && led("12"));
    }
}
