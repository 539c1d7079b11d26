//! linux.resources.memory: memory.max, memory.swap.max, memory.low.

use super::setting::{Missing, Setting};
use super::{Amount, Cgroup};
use crate::error::{Error, ErrorKind, Result};
use crate::spec::LinuxMemory;
use crate::sys::fs;

/// Memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// More than this is not to be had: memory.max.
    pub(crate) max: Option<Amount>,
    /// Swap alone (memory.swap.max); in the spec it is memory and swap together.
    pub(crate) swap: Option<Amount>,
    /// What is not taken away as long as others have some (memory.low).
    pub(crate) low: Option<Amount>,
    /// checkBeforeUpdate: limits of memory, and of memory with swap, that must not be below what is in use.
    above_usage: Option<(Option<u64>, Option<u64>)>,
}

impl Memory {
    pub(super) fn plan(new: Option<&LinuxMemory>, old: Option<&LinuxMemory>) -> Result<Memory> {
        let Some(new) = new else {
            return Ok(Memory::default());
        };
        // 0 is as good as absent, as in runc.
        let given = |value: Option<i64>| value.filter(|value| *value != 0);
        let limit = given(new.limit());
        let total = given(new.swap());
        let all_limit = limit.or(old.and_then(|old| given(old.limit())));
        let all_total = match (limit, total) {
            // Without a limit of memory there is none of swap either, as it was with cgroup v1.
            (Some(-1), None) => Some(-1),
            _ => total.or(old.and_then(|old| given(old.swap()))),
        };
        let memory = Memory {
            max: amount("limit", limit)?,
            swap: match (limit, total) {
                (None, None) => None,
                _ => swap_alone(all_limit, all_total)?,
            },
            low: amount("reservation", given(new.reservation()))?,
            above_usage: None,
        };
        let above = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        Ok(Memory {
            above_usage: (new.check_before_update() == Some(true))
                .then(|| (above(limit), above(total)))
                .filter(|bounds| *bounds != (None, None)),
            ..memory
        })
    }

    pub(super) fn settings(&self, all: &mut Vec<Setting>) {
        let property = |name| format!("linux.resources.memory.{name}");
        if let Some(swap) = self.swap {
            let setting = Setting::new(property("swap"), "memory.swap.max", swap);
            all.push(match swap {
                // Without accounting of swap there is nothing to switch off or to set free.
                Amount::Max | Amount::Of(0) => setting.missing(Missing::Skip),
                Amount::Of(_) => setting,
            });
        }
        if let Some(max) = self.max {
            let setting = Setting::new(property("limit"), "memory.max", max);
            all.push(setting.unless_unlimited(max));
        }
        if let Some(low) = self.low {
            all.push(Setting::new(property("reservation"), "memory.low", low));
        }
    }

    /// checkBeforeUpdate: a limit below what is in use would kill processes.
    pub(super) fn check(&self, cgroup: &Cgroup) -> Result<()> {
        let Some((limit, total)) = self.above_usage else {
            return Ok(());
        };
        // Where that cannot be told there is nothing to compare with; writing the limit will tell why.
        let Some(usage) = fs::read_at(cgroup, "memory.current")
            .ok()
            .and_then(|text| text.trim().parse::<u64>().ok())
        else {
            return Ok(());
        };
        let words = [("memory+swap limit", total), ("memory limit", limit)];
        for (what, value) in words {
            if let Some(value) = value.filter(|value| *value <= usage) {
                let text = format!("rejecting {what} {value} <= usage {usage}");
                return Err(Error::new(ErrorKind::InvalidArgument, text));
            }
        }
        Ok(())
    }
}

impl Cgroup {
    /// Whether a process in it or below it has been killed for want of memory.
    pub(crate) fn has_been_out_of_memory(&self) -> bool {
        let events = fs::read_at(self, "memory.events").unwrap_or_default();
        let count = events
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill "));
        count.is_some_and(|count| count != "0")
    }
}

fn amount(name: &str, value: Option<i64>) -> Result<Option<Amount>> {
    match value {
        None => Ok(None),
        Some(-1) => Ok(Some(Amount::Max)),
        Some(value) => match u64::try_from(value) {
            Ok(value) => Ok(Some(Amount::Of(value))),
            Err(_) => Err(Error::config(format!(
                "linux.resources.memory.{name}: {value} is neither a number of bytes nor -1"
            ))),
        },
    }
}

/// memory.swap.max from the limits of memory and of memory with swap, with the errors of runc.
fn swap_alone(limit: Option<i64>, total: Option<i64>) -> Result<Option<Amount>> {
    let total = match amount("swap", total)? {
        Some(Amount::Of(total)) => total,
        other => return Ok(other),
    };
    match amount("limit", limit)? {
        Some(Amount::Max) => Ok(Some(Amount::Of(total))),
        None => Err(Error::config(
            "unable to set swap limit without memory limit",
        )),
        Some(Amount::Of(limit)) => match total.checked_sub(limit) {
            Some(swap) => Ok(Some(Amount::Of(swap))),
            None => Err(Error::config("memory+swap limit should be >= memory limit")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, written};
    use super::*;

    #[test]
    fn files() {
        check(&[
            (r#"{"memory":{"limit":1048576}}"#, &["memory.max=1048576"]),
            (r#"{"memory":{"limit":0,"swap":0,"reservation":0}}"#, &[]),
            (
                r#"{"memory":{"limit":-1}}"#,
                &["memory.swap.max=max", "memory.max=max"],
            ),
            (
                r#"{"memory":{"limit":-1,"swap":4096}}"#,
                &["memory.swap.max=4096", "memory.max=max"],
            ),
            (
                r#"{"memory":{"limit":100,"swap":100}}"#,
                &["memory.swap.max=0", "memory.max=100"],
            ),
            (
                r#"{"memory":{"limit":100,"swap":150,"reservation":50}}"#,
                &["memory.swap.max=50", "memory.max=100", "memory.low=50"],
            ),
            (
                r#"{"memory":{"limit":100,"swap":-1,"reservation":-1}}"#,
                &["memory.swap.max=max", "memory.max=100", "memory.low=max"],
            ),
            (r#"{"memory":{"swap":-1}}"#, &["memory.swap.max=max"]),
            (
                r#"{"memory":{"swap":100}}"#,
                &["unable to set swap limit without memory limit"],
            ),
            (
                r#"{"memory":{"limit":100,"swap":99}}"#,
                &["memory+swap limit should be >= memory limit"],
            ),
            (
                r#"{"memory":{"limit":-2}}"#,
                &["linux.resources.memory.limit: -2 is neither a number of bytes nor -1"],
            ),
            (
                r#"{"memory":{"reservation":-9223372036854775808}}"#,
                &[
                    "linux.resources.memory.reservation: -9223372036854775808 is neither a number of bytes nor -1",
                ],
            ),
        ]);
    }

    #[test]
    fn a_change_is_completed_from_what_was() {
        for (new, old, expected) in [
            (
                r#"{"limit":100}"#,
                r#"{"limit":50,"swap":150}"#,
                Ok(&["memory.swap.max=50", "memory.max=100"][..]),
            ),
            (
                r#"{"limit":200}"#,
                r#"{"limit":50,"swap":150}"#,
                Err("memory+swap limit should be >= memory limit"),
            ),
            (
                r#"{"swap":90}"#,
                r#"{"limit":50}"#,
                Ok(&["memory.swap.max=40"]),
            ),
            (r#"{"limit":70}"#, r#"{"limit":50}"#, Ok(&["memory.max=70"])),
            (
                r#"{"limit":-1}"#,
                r#"{"limit":50,"swap":60}"#,
                Ok(&["memory.swap.max=max", "memory.max=max"]),
            ),
            (
                r#"{"reservation":1}"#,
                r#"{"limit":50,"swap":60}"#,
                Ok(&["memory.low=1"]),
            ),
            ("{}", r#"{"limit":50,"swap":60}"#, Ok(&[])),
        ] {
            let wrap = |memory: &str| format!(r#"{{"memory":{memory}}}"#);
            let got = written(&wrap(new), Some(&wrap(old))).map_err(|error| error.to_string());
            let expected = expected
                .map(|lines| lines.iter().map(|line| (*line).to_owned()).collect())
                .map_err(str::to_owned);
            assert_eq!(got, expected, "{new} after {old}");
        }
    }

    #[test]
    fn what_is_checked_against_the_usage() {
        for (json, expected) in [
            (
                r#"{"limit":100,"checkBeforeUpdate":true}"#,
                Some((Some(100), None)),
            ),
            (
                r#"{"limit":100,"swap":200,"checkBeforeUpdate":true}"#,
                Some((Some(100), Some(200))),
            ),
            (r#"{"limit":-1,"checkBeforeUpdate":true}"#, None),
            (r#"{"limit":100,"checkBeforeUpdate":false}"#, None),
            (r#"{"checkBeforeUpdate":true}"#, None),
        ] {
            let memory: LinuxMemory = serde_json::from_str(json).unwrap();
            let memory = Memory::plan(Some(&memory), None).unwrap();
            assert_eq!(memory.above_usage, expected, "{json}");
        }
    }
}
