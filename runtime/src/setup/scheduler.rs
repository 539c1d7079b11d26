//! process.scheduler.

use crate::error::{Context, Error, Result};
use crate::spec::{self, LinuxSchedulerFlag as Flag, LinuxSchedulerPolicy as Policy};
use crate::sys::sched::{self, SchedAttr};

/// The attributes to set, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scheduler(Option<SchedAttr>);

impl Scheduler {
    /// Refuses what does not go with the policy; 0 is as good as absent.
    pub(crate) fn plan(scheduler: Option<&spec::Scheduler>) -> Result<Scheduler> {
        let Some(scheduler) = scheduler else {
            return Ok(Scheduler(None));
        };
        let policy = *scheduler.policy();
        let nice = scheduler.nice().unwrap_or(0);
        if !(-20..=19).contains(&nice) {
            return Err(wrong(format!("invalid scheduler.nice: {nice}")));
        }
        let priority = scheduler.priority().unwrap_or(0);
        if priority != 0 && !matches!(policy, Policy::SchedFifo | Policy::SchedRr) {
            return Err(wrong(
                "scheduler.priority can only be specified for SchedFIFO or SchedRR policy",
            ));
        }
        let priority = u32::try_from(priority)
            .map_err(|_| wrong(format!("invalid scheduler.priority: {priority}")))?;
        let times = [
            scheduler.runtime(),
            scheduler.deadline(),
            scheduler.period(),
        ]
        .map(|time| time.unwrap_or(0));
        if policy != Policy::SchedDeadline && times != [0; 3] {
            return Err(wrong(
                "scheduler runtime/deadline/period can only be specified for SchedDeadline policy",
            ));
        }
        let [runtime, deadline, period] = times;
        Ok(Scheduler(Some(SchedAttr {
            policy: policy_number(policy),
            flags: scheduler
                .flags()
                .iter()
                .flatten()
                .fold(0, |flags, flag| flags | flag_bit(*flag)),
            nice,
            priority,
            runtime,
            deadline,
            period,
        })))
    }

    /// Sets them for this process. It must be in its cgroup by then: SCHED_DEADLINE looks at the CPUs it may run on.
    pub(crate) fn apply(&self) -> Result<()> {
        self.0.map_or(Ok(()), |attr| {
            sched::sched_setattr(&attr).context(|| "error setting scheduler")
        })
    }
}

fn wrong(text: impl AsRef<str>) -> Error {
    Error::config(format!("process.scheduler: {}", text.as_ref()))
}

/// SCHED_* of linux/sched.h.
fn policy_number(policy: Policy) -> u32 {
    match policy {
        Policy::SchedOther => 0,
        Policy::SchedFifo => 1,
        Policy::SchedRr => 2,
        Policy::SchedBatch => 3,
        Policy::SchedIso => 4,
        Policy::SchedIdle => 5,
        Policy::SchedDeadline => 6,
    }
}

/// SCHED_FLAG_* of linux/sched.h.
fn flag_bit(flag: Flag) -> u64 {
    match flag {
        Flag::SchedResetOnFork => 0x01,
        Flag::SchedFlagReclaim => 0x02,
        Flag::SchedFlagDLOverrun => 0x04,
        Flag::SchedFlagKeepPolicy => 0x08,
        Flag::SchedFlagKeepParams => 0x10,
        Flag::SchedFlagUtilClampMin => 0x20,
        Flag::SchedFlagUtilClampMax => 0x40,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: &str) -> Result<Scheduler> {
        Scheduler::plan(Some(&serde_json::from_str(json).unwrap()))
    }

    #[test]
    fn attributes() {
        let deadline = SchedAttr {
            policy: 6,
            flags: 0x0a,
            runtime: 1,
            deadline: 2,
            period: 3,
            ..SchedAttr::default()
        };
        let batch = SchedAttr {
            policy: 3,
            nice: -20,
            ..SchedAttr::default()
        };
        let fifo = SchedAttr {
            policy: 1,
            priority: 99,
            ..SchedAttr::default()
        };
        for (json, attr) in [
            (
                r#"{"policy":"SCHED_DEADLINE","runtime":1,"deadline":2,"period":3,
                    "flags":["SCHED_FLAG_RECLAIM","SCHED_FLAG_KEEP_POLICY"]}"#,
                deadline,
            ),
            (r#"{"policy":"SCHED_BATCH","nice":-20,"priority":0}"#, batch),
            (r#"{"policy":"SCHED_FIFO","priority":99}"#, fifo),
            (r#"{"policy":"SCHED_OTHER"}"#, SchedAttr::default()),
        ] {
            assert_eq!(plan(json).unwrap(), Scheduler(Some(attr)), "{json}");
        }
        assert_eq!(Scheduler::plan(None).unwrap(), Scheduler(None));
    }

    #[test]
    fn nonsense_is_refused() {
        for (json, text) in [
            (
                r#"{"policy":"SCHED_OTHER","nice":20}"#,
                "invalid scheduler.nice: 20",
            ),
            (
                r#"{"policy":"SCHED_OTHER","nice":-21}"#,
                "invalid scheduler.nice: -21",
            ),
            (
                r#"{"policy":"SCHED_OTHER","priority":1}"#,
                "scheduler.priority can only be specified for SchedFIFO or SchedRR policy",
            ),
            (
                r#"{"policy":"SCHED_RR","priority":-1}"#,
                "invalid scheduler.priority: -1",
            ),
            (
                r#"{"policy":"SCHED_FIFO","period":1}"#,
                "scheduler runtime/deadline/period can only be specified for SchedDeadline policy",
            ),
        ] {
            let error = plan(json).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
