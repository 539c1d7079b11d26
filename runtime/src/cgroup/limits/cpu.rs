//! linux.resources.cpu without cpus and mems: cpu.weight, cpu.max, cpu.max.burst, cpu.idle.

use super::Amount;
use super::setting::Setting;
use crate::error::{Error, Result};
use crate::spec::LinuxCpu;

/// The kernel's period of cpu.max, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;

/// Time on CPUs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cpu {
    /// cpu.weight, 1 to 10,000; 100 is everybody's.
    pub(crate) weight: Option<u64>,
    /// SCHED_IDLE for all (cpu.idle, Linux 5.15).
    pub(crate) idle: Option<bool>,
    pub(crate) max: Option<CpuMax>,
    /// Unused time that may be used later, in microseconds (cpu.max.burst, Linux 5.14).
    pub(crate) burst: Option<u64>,
}

/// cpu.max, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CpuMax {
    /// So much in each period.
    pub(crate) quota: Amount,
    pub(crate) period: u64,
}

impl Cpu {
    pub(super) fn plan(new: Option<&LinuxCpu>, old: Option<&LinuxCpu>) -> Result<Cpu> {
        let Some(new) = new else {
            return Ok(Cpu::default());
        };
        Ok(Cpu {
            weight: weight(new.shares().unwrap_or(0)),
            idle: match new.idle() {
                None => None,
                Some(0) => Some(false),
                Some(1) => Some(true),
                Some(other) => {
                    return Err(Error::config(format!(
                        "linux.resources.cpu.idle: {other} is neither 0 nor 1"
                    )));
                }
            },
            max: CpuMax::plan(new, old),
            burst: new.burst(),
        })
    }

    pub(super) fn settings(&self, all: &mut Vec<Setting>) {
        let property = |name| format!("linux.resources.cpu.{name}");
        let weight = self
            .weight
            .map(|weight| Setting::new(property("shares"), "cpu.weight", weight));
        // An idle cgroup has no weight to set; becoming idle or not sets the weight.
        let idle = self.idle.map(|idle| {
            let idle = u8::from(idle);
            Setting::new(property("idle"), "cpu.idle", idle).also_changes("cpu.weight")
        });
        match self.idle {
            Some(true) => all.extend(weight.into_iter().chain(idle)),
            _ => all.extend(idle.into_iter().chain(weight)),
        }
        // A burst above the quota is refused, and so is a quota below the burst: which may come first depends on what
        // was there before.
        if let Some(CpuMax { quota, period }) = self.max {
            let value = format!("{quota} {period}");
            all.push(Setting::new(property("quota"), "cpu.max", value).tried_again());
        }
        if let Some(burst) = self.burst {
            all.push(Setting::new(property("burst"), "cpu.max.burst", burst));
        }
    }
}

impl CpuMax {
    /// One without the other is completed from what was.
    fn plan(new: &LinuxCpu, old: Option<&LinuxCpu>) -> Option<CpuMax> {
        let quota_of = |cpu: &LinuxCpu| cpu.quota().filter(|quota| *quota != 0);
        let period_of = |cpu: &LinuxCpu| cpu.period().filter(|period| *period != 0);
        let (quota, period) = (quota_of(new), period_of(new));
        if quota.is_none() && period.is_none() {
            return None;
        }
        let quota = quota.or(old.and_then(quota_of));
        Some(CpuMax {
            // A negative one is none, as in runc.
            quota: quota
                .and_then(|quota| u64::try_from(quota).ok())
                .map_or(Amount::Max, Amount::Of),
            period: period.or(old.and_then(period_of)).unwrap_or(DEFAULT_PERIOD),
        })
    }
}

/// cpu.weight for shares of cgroup v1: the curve of runc (since 1.3.2) and crun through (2, 1), (1024, 100) and
/// (262144, 10000). 0: not said.
fn weight(shares: u64) -> Option<u64> {
    match shares {
        0 => None,
        1..=2 => Some(1),
        262_144.. => Some(10_000),
        _ => {
            #[allow(clippy::cast_precision_loss, reason = "below 2^18")]
            let l = (shares as f64).log2();
            let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
            // At 1024 it is 100 exactly; the last bit of the logarithm must not make that 101.
            let weight = (10f64.powf(exponent) - 1e-9).ceil();
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "1 to 10,000"
            )]
            Some(weight as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, written};
    use super::*;

    #[test]
    fn weights() {
        for (shares, expected) in [
            (0, None),
            (1, Some(1)),
            (2, Some(1)),
            (3, Some(2)),
            (10, Some(4)),
            (100, Some(17)),
            (512, Some(59)),
            (1023, Some(100)),
            (1024, Some(100)),
            (1025, Some(101)),
            (2048, Some(174)),
            (3000, Some(236)),
            (262_143, Some(10_000)),
            (262_144, Some(10_000)),
            (u64::MAX, Some(10_000)),
        ] {
            assert_eq!(weight(shares), expected, "{shares}");
        }
        let all: Vec<_> = (1..262_144).map(|shares| weight(shares).unwrap()).collect();
        assert!(all.is_sorted());
    }

    #[test]
    fn files() {
        check(&[
            (r#"{"cpu":{"shares":1024}}"#, &["cpu.weight=100"]),
            (r#"{"cpu":{"shares":0,"quota":0,"period":0}}"#, &[]),
            (r#"{"cpu":{"quota":5000}}"#, &["cpu.max=5000 100000"]),
            (r#"{"cpu":{"quota":-1}}"#, &["cpu.max=max 100000"]),
            (r#"{"cpu":{"period":20000}}"#, &["cpu.max=max 20000"]),
            (
                r#"{"cpu":{"quota":5000,"period":20000,"burst":0}}"#,
                &["cpu.max=5000 20000", "cpu.max.burst=0"],
            ),
            (r#"{"cpu":{"idle":0}}"#, &["cpu.idle=0"]),
            (
                r#"{"cpu":{"idle":1,"shares":2}}"#,
                &["cpu.weight=1", "cpu.idle=1"],
            ),
            (
                r#"{"cpu":{"idle":0,"shares":2}}"#,
                &["cpu.idle=0", "cpu.weight=1"],
            ),
            (
                r#"{"cpu":{"idle":2}}"#,
                &["linux.resources.cpu.idle: 2 is neither 0 nor 1"],
            ),
            (
                r#"{"cpu":{"realtimePeriod":1000000,"realtimeRuntime":950000}}"#,
                &[],
            ),
        ]);
    }

    #[test]
    fn a_change_is_completed_from_what_was() {
        for (new, old, expected) in [
            (
                r#"{"quota":5000}"#,
                r#"{"quota":1,"period":20000}"#,
                &["cpu.max=5000 20000"][..],
            ),
            (
                r#"{"period":20000}"#,
                r#"{"quota":5000}"#,
                &["cpu.max=5000 20000"],
            ),
            (
                r#"{"quota":-1}"#,
                r#"{"quota":5000,"period":20000}"#,
                &["cpu.max=max 20000"],
            ),
            (r#"{"quota":0}"#, r#"{"quota":5000}"#, &[]),
            (r#"{"period":9}"#, r#"{"quota":-1}"#, &["cpu.max=max 9"]),
            (r#"{"idle":1}"#, r#"{"shares":1024}"#, &["cpu.idle=1"]),
        ] {
            let wrap = |cpu: &str| format!(r#"{{"cpu":{cpu}}}"#);
            let got = written(&wrap(new), Some(&wrap(old))).unwrap();
            assert_eq!(got, expected, "{new} after {old}");
        }
    }
}
