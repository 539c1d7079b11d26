//! linux.resources: what a container may use, one file per controller.
//!
//! [`Limits::plan`] turns the spec into values of cgroup v2 and refuses what makes no sense. The values are typed, so
//! that a driver can hand them to systemd as properties of a unit; [`Limits::apply`] and [`Limits::update`] write them
//! to the files of a cgroup. Devices are not here: on cgroup v2 no file says them.

mod cpu;
mod cpuset;
mod hugetlb;
mod io;
mod memory;
mod missing;
mod pids;
mod rdma;
mod setting;
mod unified;

use std::collections::VecDeque;
use std::fmt;

use rustix::io::Errno;

use super::Cgroup;
use crate::error::Result;
use crate::log;
use crate::spec;

pub(crate) use cpu::{Cpu, CpuMax};
pub(crate) use cpuset::Cpuset;
pub(crate) use hugetlb::Hugetlb;
pub(crate) use io::{Io, io_weight};
pub(crate) use memory::Memory;
pub(crate) use pids::Pids;
pub(crate) use rdma::Rdma;
pub(crate) use setting::Replaced;
use setting::Setting;
pub(crate) use unified::Unified;

/// A limit as cgroup v2 takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amount {
    /// No limit.
    Max,
    /// So many, in the unit of the file.
    Of(u64),
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Amount::Max => f.write_str("max"),
            Amount::Of(count) => write!(f, "{count}"),
        }
    }
}

/// All limits of a container but for devices. What is `None` or empty is left as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) pids: Pids,
    pub(crate) memory: Memory,
    pub(crate) io: Io,
    pub(crate) cpu: Cpu,
    pub(crate) cpuset: Cpuset,
    pub(crate) hugetlb: Hugetlb,
    pub(crate) rdma: Rdma,
    /// Files by name, after all others, so that they win.
    pub(crate) unified: Unified,
}

impl Limits {
    /// The limits of a new container.
    pub(crate) fn plan(resources: Option<&spec::LinuxResources>) -> Result<Limits> {
        match resources {
            Some(resources) => Limits::plan_change(resources, None),
            None => Ok(Limits::default()),
        }
    }

    /// The limits that change with `new`, for a container that has `old`: half of a pair (quota and period, memory and
    /// memory with swap) is completed from there.
    pub(crate) fn plan_change(
        new: &spec::LinuxResources,
        old: Option<&spec::LinuxResources>,
    ) -> Result<Limits> {
        for name in of_v1_only(new) {
            log::warn(format_args!(
                "linux.resources.{name} has no counterpart in cgroup v2: ignored"
            ));
        }
        let old_memory = old.and_then(|old| old.memory().as_ref());
        let old_cpu = old.and_then(|old| old.cpu().as_ref());
        Ok(Limits {
            pids: Pids::plan(new.pids().as_ref())?,
            memory: Memory::plan(new.memory().as_ref(), old_memory)?,
            io: Io::plan(new.block_io().as_ref())?,
            cpu: Cpu::plan(new.cpu().as_ref(), old_cpu)?,
            cpuset: Cpuset::plan(new.cpu().as_ref())?,
            hugetlb: Hugetlb::plan(new.hugepage_limits().as_deref())?,
            rdma: Rdma::plan(new.rdma().as_ref())?,
            unified: Unified::plan(new.unified().as_ref())?,
        })
    }

    /// There is nothing to set.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Limits::default()
    }

    /// Some need a controller that works on processes as a whole, which a threaded cgroup has not.
    pub(crate) fn need_domain(&self) -> bool {
        let of_domain = |setting: &Setting| {
            !["cpu", "cpuset", "pids", "perf_event", "cgroup"].contains(&setting.controller())
        };
        self.settings().iter().any(of_domain)
    }

    /// Sets the limits of a new cgroup.
    ///
    /// # Errors
    /// Name of the property, file, value, reason and, where there is one, a way out.
    pub(crate) fn apply(&self, cgroup: &Cgroup) -> Result<()> {
        self.memory.check(cgroup)?;
        in_turn(self.settings(), |setting| setting.write(cgroup))
    }

    /// Changes the limits of a cgroup in use: all of them or, on failure, none. What comes back can undo it.
    ///
    /// # Errors
    /// As [`Limits::apply`].
    pub(crate) fn update(&self, cgroup: &Cgroup) -> Result<Replaced> {
        self.memory.check(cgroup)?;
        let mut replaced = Replaced::default();
        let done = in_turn(self.settings(), |setting| replaced.write(cgroup, setting));
        match done {
            Ok(()) => Ok(replaced),
            Err(error) => {
                replaced.put_back(cgroup);
                Err(error)
            }
        }
    }

    /// Files, and what is written to them.
    #[cfg(feature = "fuzz")]
    pub(crate) fn written(&self) -> Vec<(String, String)> {
        let settings = self.settings().into_iter();
        settings
            .map(|setting| (setting.file.into_owned(), setting.value))
            .collect()
    }

    fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        self.pids.settings(&mut settings);
        self.memory.settings(&mut settings);
        self.io.settings(&mut settings);
        self.cpu.settings(&mut settings);
        self.cpuset.settings(&mut settings);
        self.hugetlb.settings(&mut settings);
        self.rdma.settings(&mut settings);
        self.unified.settings(&mut settings);
        settings
    }
}

/// Writes each setting. One that the kernel refuses for what another still says gets a second chance at the end.
fn in_turn(settings: Vec<Setting>, mut write: impl FnMut(&Setting) -> Result<()>) -> Result<()> {
    let mut queue = VecDeque::from(settings);
    while let Some(mut setting) = queue.pop_front() {
        match write(&setting) {
            Err(error) if setting.again && error.errno() == Some(Errno::INVAL) => {
                setting.again = false;
                queue.push_back(setting);
            }
            other => other?,
        }
    }
    Ok(())
}

/// The properties that only cgroup v1 had. runc passes over them on cgroup v2.
fn of_v1_only(resources: &spec::LinuxResources) -> Vec<&'static str> {
    let memory = resources.memory().unwrap_or_default();
    let none = (spec::LinuxCpu::default(), spec::LinuxBlockIo::default());
    let cpu = resources.cpu().as_ref().unwrap_or(&none.0);
    let io = resources.block_io().as_ref().unwrap_or(&none.1);
    let leaf = |device: &spec::LinuxWeightDevice| device.leaf_weight().unwrap_or(0) != 0;
    let network = resources.network().as_ref();
    let found = [
        ("memory.kernel", memory.kernel().unwrap_or(0) != 0),
        ("memory.kernelTCP", memory.kernel_tcp().unwrap_or(0) != 0),
        ("memory.swappiness", memory.swappiness().is_some()),
        (
            "memory.disableOOMKiller",
            memory.disable_oom_killer() == Some(true),
        ),
        (
            "cpu.realtimeRuntime",
            cpu.realtime_runtime().unwrap_or(0) != 0,
        ),
        (
            "cpu.realtimePeriod",
            cpu.realtime_period().unwrap_or(0) != 0,
        ),
        ("blockIO.leafWeight", io.leaf_weight().unwrap_or(0) != 0),
        (
            "blockIO.weightDevice[].leafWeight",
            io.weight_device().iter().flatten().any(leaf),
        ),
        (
            "network.classID",
            network.is_some_and(|network| network.class_id().unwrap_or(0) != 0),
        ),
        (
            "network.priorities",
            network.is_some_and(|network| network.priorities().iter().flatten().next().is_some()),
        ),
    ];
    let set = found.into_iter().filter(|(_, set)| *set);
    set.map(|(name, _)| name).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The files and values that resources come to, as `file=value`.
    pub(in crate::cgroup) fn written(new: &str, old: Option<&str>) -> Result<Vec<String>> {
        let parse = |text: &str| spec::parse_resources(text.as_bytes());
        let old = old.map(parse).transpose()?;
        let limits = Limits::plan_change(&parse(new)?, old.as_ref())?;
        let line = |setting: Setting| format!("{}={}", setting.file, setting.value);
        Ok(limits.settings().into_iter().map(line).collect())
    }

    /// A table of (resources, files or the error).
    pub(in crate::cgroup) fn check(table: &[(&str, &[&str])]) {
        for (json, expected) in table {
            match written(json, None) {
                Ok(lines) => assert_eq!(lines, *expected, "{json}"),
                Err(error) => assert_eq!([error.to_string()], *expected, "{json}"),
            }
        }
    }

    #[test]
    fn what_asks_for_nothing_sets_nothing() {
        assert!(Limits::plan(None).unwrap().is_empty());
        check(&[
            ("{}", &[]),
            (
                r#"{"memory":{},"cpu":{},"pids":{},"blockIO":{},"hugepageLimits":[],"rdma":{},"unified":{},"network":{}}"#,
                &[],
            ),
            // What Docker sends when nothing is asked for.
            (
                r#"{"devices":[{"allow":false,"access":"rwm"}],"memory":{"disableOOMKiller":false},"cpu":{"shares":0},
                    "pids":{"limit":-1},"blockIO":{"weight":0}}"#,
                &["pids.max=max"],
            ),
        ]);
    }

    #[test]
    fn properties_of_v1() {
        let json = r#"{"memory":{"kernel":1,"kernelTCP":-1,"swappiness":0,"disableOOMKiller":true},
            "cpu":{"realtimeRuntime":1,"realtimePeriod":2},"blockIO":{"leafWeight":10,"weightDevice":[{"leafWeight":10}]},
            "network":{"classID":7,"priorities":[{"name":"lo","priority":1}]}}"#;
        let resources = spec::parse_resources(json.as_bytes()).unwrap();
        assert_eq!(of_v1_only(&resources).len(), 10);
        let json =
            r#"{"memory":{"kernel":0,"disableOOMKiller":false},"network":{"priorities":[]}}"#;
        let resources = spec::parse_resources(json.as_bytes()).unwrap();
        assert!(of_v1_only(&resources).is_empty());
    }

    #[test]
    fn some_need_a_domain() {
        for (json, domain) in [
            (
                r#"{"pids":{"limit":1},"cpu":{"shares":2,"cpus":"0"}}"#,
                false,
            ),
            (r#"{"unified":{"cgroup.max.depth":"3"}}"#, false),
            (r#"{"memory":{"limit":4096}}"#, true),
            (r#"{"unified":{"io.max":"8:0 rbps=1"}}"#, true),
        ] {
            let resources = spec::parse_resources(json.as_bytes()).unwrap();
            let limits = Limits::plan(Some(&resources)).unwrap();
            assert_eq!(limits.need_domain(), domain, "{json}");
        }
    }
}
