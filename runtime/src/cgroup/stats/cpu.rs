//! cpu.stat, which is there without the cpu controller, too, and cpu.pressure.

use serde::Serialize;

use super::{Cgroup, Pressure, is_zero, keyed};
use crate::error::Result;

/// Time on CPUs.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Cpu {
    /// How much was used.
    pub usage: CpuUsage,
    /// How often the limit was met.
    pub throttling: Throttling,
    /// Waiting for a CPU; `None` where the kernel does not account for it.
    #[serde(rename = "psi", skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
}

/// Processor time in nanoseconds (the kernel counts microseconds). The kernel tells nothing per CPU.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CpuUsage {
    /// All of it.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    /// In the kernel.
    pub kernel: u64,
    /// In programs.
    pub user: u64,
}

/// What cpu.max has done. All is 0 without the cpu controller.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// Periods that have passed while there was something to run.
    #[serde(skip_serializing_if = "is_zero")]
    pub periods: u64,
    /// Of these, the ones in which the quota was used up.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_periods: u64,
    /// How long processes have stood still for it, in nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_time: u64,
}

impl Cpu {
    pub(super) fn read(cgroup: &Cgroup) -> Result<Cpu> {
        let text = cgroup.read("cpu.stat")?.unwrap_or_default();
        Ok(Cpu {
            pressure: Pressure::read(cgroup, "cpu.pressure")?,
            ..parse(&text)?
        })
    }
}

fn parse(text: &str) -> Result<Cpu> {
    let mut cpu = Cpu::default();
    for line in keyed("cpu.stat", text) {
        let (key, value) = line?;
        let nanoseconds = value.saturating_mul(1000);
        match key {
            "usage_usec" => cpu.usage.total = nanoseconds,
            "user_usec" => cpu.usage.user = nanoseconds,
            "system_usec" => cpu.usage.kernel = nanoseconds,
            "nr_periods" => cpu.throttling.periods = value,
            "nr_throttled" => cpu.throttling.throttled_periods = value,
            "throttled_usec" => cpu.throttling.throttled_time = nanoseconds,
            _ => {}
        }
    }
    Ok(cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_kernel_writes_it() {
        let with_controller = "usage_usec 2318743\nuser_usec 1590134\nsystem_usec 728608\nnice_usec 0\n\
             core_sched.force_idle_usec 0\nnr_periods 47\nnr_throttled 41\nthrottled_usec 4128390\nnr_bursts 0\nburst_usec 0\n";
        let without = "usage_usec 10581\nuser_usec 0\nsystem_usec 10581\nnice_usec 0\ncore_sched.force_idle_usec 0\n";
        for (text, json) in [
            (
                with_controller,
                r#"{"usage":{"total":2318743000,"kernel":728608000,"user":1590134000},"throttling":{"periods":47,"throttledPeriods":41,"throttledTime":4128390000}}"#,
            ),
            (
                without,
                r#"{"usage":{"total":10581000,"kernel":10581000,"user":0},"throttling":{}}"#,
            ),
            ("", r#"{"usage":{"kernel":0,"user":0},"throttling":{}}"#),
        ] {
            assert_eq!(serde_json::to_string(&parse(text).unwrap()).unwrap(), json);
        }
        assert!(parse("usage_usec x\n").is_err());
    }
}
