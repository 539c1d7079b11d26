//! `update`: other limits for a container that is there.

use serde_json::{Map, Value};

use super::record::{Driver, Record};
use super::status::Lock;
use super::{Container, Status};
use crate::cgroup::limits::Memory;
use crate::cgroup::systemd::{self, Systemd};
use crate::cgroup::{Cgroup, Limits};
use crate::error::{Error, ErrorKind, Result};
use crate::log;
use crate::setup::intel_rdt::Schemata;
use crate::spec;
use crate::sys::fs::{self, OFlags};

/// The limits that change; what is `None` stays. For memory -1 is no limit.
#[derive(Debug, Clone, Default)]
pub struct UpdateOptions {
    /// A LinuxResources document. All below but the schemata are passed over then.
    pub resources: Option<Vec<u8>>,
    /// Memory, in bytes.
    pub memory: Option<i64>,
    /// Memory that is not taken away as long as others have some, in bytes.
    pub memory_reservation: Option<i64>,
    /// Memory and swap together, in bytes.
    pub memory_swap: Option<i64>,
    /// The period of the quota, in microseconds.
    pub cpu_period: Option<u64>,
    /// Time on CPUs in each period, in microseconds; -1 is no limit.
    pub cpu_quota: Option<i64>,
    /// Time that may be saved up, in microseconds.
    pub cpu_burst: Option<u64>,
    /// The weight against others, 2 to 262,144; 1024 is everybody's.
    pub cpu_shares: Option<u64>,
    /// 1: only when nobody else wants the CPU.
    pub cpu_idle: Option<i64>,
    /// Of cgroup v1: passed over with a warning.
    pub cpu_realtime_period: Option<u64>,
    /// Of cgroup v1: passed over with a warning.
    pub cpu_realtime_runtime: Option<i64>,
    /// A list of CPUs (`0-3,7`).
    pub cpuset_cpus: Option<String>,
    /// A list of memory nodes.
    pub cpuset_mems: Option<String>,
    /// The weight for input and output, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// Processes and threads; -1 is no limit.
    pub pids_limit: Option<i64>,
    /// Of cgroup v1: passed over with a warning.
    pub kernel_memory: Option<i64>,
    /// Of cgroup v1: passed over with a warning.
    pub kernel_memory_tcp: Option<i64>,
    /// Lines for resctrl's schemata, of the third-level cache.
    pub l3_cache_schema: Option<String>,
    /// Lines for resctrl's schemata, of memory bandwidth.
    pub mem_bw_schema: Option<String>,
}

impl UpdateOptions {
    /// The LinuxResources document that says it.
    fn document(&self) -> Vec<u8> {
        if let Some(resources) = &self.resources {
            return resources.clone();
        }
        let object = |members: &[(&str, Option<Value>)]| {
            let given = members
                .iter()
                .filter_map(|(name, value)| Some(((*name).to_owned(), value.clone()?)));
            Value::Object(given.collect::<Map<_, _>>())
        };
        let document = object(&[
            (
                "memory",
                Some(object(&[
                    ("limit", self.memory.map(Value::from)),
                    ("reservation", self.memory_reservation.map(Value::from)),
                    ("swap", self.memory_swap.map(Value::from)),
                    ("kernel", self.kernel_memory.map(Value::from)),
                    ("kernelTCP", self.kernel_memory_tcp.map(Value::from)),
                ])),
            ),
            (
                "cpu",
                Some(object(&[
                    ("period", self.cpu_period.map(Value::from)),
                    ("quota", self.cpu_quota.map(Value::from)),
                    ("burst", self.cpu_burst.map(Value::from)),
                    ("shares", self.cpu_shares.map(Value::from)),
                    ("idle", self.cpu_idle.map(Value::from)),
                    ("realtimePeriod", self.cpu_realtime_period.map(Value::from)),
                    (
                        "realtimeRuntime",
                        self.cpu_realtime_runtime.map(Value::from),
                    ),
                    ("cpus", self.cpuset_cpus.clone().map(Value::from)),
                    ("mems", self.cpuset_mems.clone().map(Value::from)),
                ])),
            ),
            (
                "blockIO",
                Some(object(&[("weight", self.blkio_weight.map(Value::from))])),
            ),
            (
                "pids",
                Some(object(&[("limit", self.pids_limit.map(Value::from))])),
            ),
        ]);
        document.to_string().into_bytes()
    }
}

impl Container {
    /// Changes limits: all that are given or, where one of them cannot be had, none.
    ///
    /// # Errors
    /// `container not running` where it is neither created nor running nor paused.
    pub fn update(&mut self, options: &UpdateOptions) -> Result<()> {
        // One at a time: a limit may depend on another that was set before. What was is read under the lock.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = fs::openat(&self.directory, ".", flags, 0)?;
        let _lock = Lock::take(&directory)?;
        self.record = Record::load(&directory).map_err(|error| match fs::is_missing(&error) {
            true => super::not_found(),
            false => error,
        })?;
        self.creating = false;
        if self.status()? == Status::Stopped {
            return Err(Error::new(ErrorKind::NotRunning, "container not running"));
        }
        let document = options.document();
        let new = spec::parse_resources(&document)?;
        let spec = self.record.spec()?;
        let old = spec
            .linux()
            .as_ref()
            .and_then(|linux| linux.resources().as_ref());
        let limits = Limits::plan_change(&new, old)?;
        let schemata = Schemata::plan(
            options.l3_cache_schema.as_deref(),
            options.mem_bw_schema.as_deref(),
            self.record.intel_rdt.as_ref(),
        )?;
        if limits.is_empty() {
            return self.change_the_rest(schemata, &document);
        }
        let cgroup = self
            .cgroup()?
            .ok_or_else(|| super::pause::no_cgroup("changing its limits"))?;
        let replaced = limits.update(&cgroup)?;
        let done = self
            .tell_systemd(&limits, &cgroup)
            .and_then(|()| self.change_the_rest(schemata, &document));
        if done.is_err() {
            // By the files: they say more than the config, and systemd has defaults of its own.
            if let Err(error) = self.set_properties(&replaced.limits()) {
                log::warn(format_args!("putting the unit's properties back: {error}"));
            }
            replaced.put_back(&cgroup);
        }
        done
    }

    /// Has systemd change the properties of the container's scope, where it has one: it would come back to the former
    /// limits.
    fn tell_systemd(&self, limits: &Limits, cgroup: &Cgroup) -> Result<()> {
        if !self.set_properties(limits)? {
            return Ok(());
        }
        // It has written them in its own way, rounded. But for memory, where every byte counts for it, too.
        let exact = Limits {
            memory: Memory::default(),
            ..limits.clone()
        };
        exact.apply(cgroup)
    }

    /// Whether there is a scope, and a property to change.
    fn set_properties(&self, limits: &Limits) -> Result<bool> {
        let Driver::Systemd(unit) = &self.record.cgroup_driver else {
            return Ok(false);
        };
        let properties = systemd::limits::of_change(limits);
        if properties.is_empty() {
            return Ok(false);
        }
        Systemd::connect(unit)?.set(&properties).map(|()| true)
    }

    /// The schemata, and the record: its config has the new limits, for the next update and whoever else looks at it.
    fn change_the_rest(&mut self, schemata: Option<Schemata>, document: &[u8]) -> Result<()> {
        let config = spec::merge_resources(&self.record.config, document)?;
        let former = schemata.map(Schemata::write).transpose()?;
        let before = std::mem::replace(&mut self.record.config, config);
        let kept = self
            .record
            .write(&self.directory)
            .and_then(|()| Record::publish(&self.directory));
        kept.inspect_err(|_| {
            self.record.config = before;
            if let Some(Err(error)) = former.map(Schemata::write) {
                log::warn(format_args!("putting the schemata back: {error}"));
            }
        })
    }
}
