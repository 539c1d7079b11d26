//! process.execCPUAffinity: where the process of an `exec` runs before and after it joins the container's cgroup.

use rustix::process::Pid;

use crate::error::{Context, Error, Result};
use crate::spec;
use crate::sys::sched;

/// The two sets of CPUs; `None` leaves the process where it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CpuAffinity {
    initial: Option<Vec<usize>>,
    last: Option<Vec<usize>>,
}

impl CpuAffinity {
    /// Reads the lists; an empty one is as good as none.
    pub(crate) fn plan(affinity: Option<&spec::ExecCPUAffinity>) -> Result<CpuAffinity> {
        let Some(affinity) = affinity else {
            return Ok(CpuAffinity::default());
        };
        Ok(CpuAffinity {
            initial: list(affinity.initial().as_deref())
                .context(|| "process.execCPUAffinity.initial")?,
            last: list(affinity.cpu_affinity_final().as_deref())
                .context(|| "process.execCPUAffinity.final")?,
        })
    }

    /// Before the process (or this one) joins its cgroup.
    pub(crate) fn apply_initial(&self, pid: Option<Pid>) -> Result<()> {
        apply(self.initial.as_deref(), pid, "initial")
    }

    /// After the process (or this one) has joined its cgroup.
    pub(crate) fn apply_final(&self, pid: Option<Pid>) -> Result<()> {
        apply(self.last.as_deref(), pid, "final")
    }
}

fn apply(cpus: Option<&[usize]>, pid: Option<Pid>, which: &str) -> Result<()> {
    let Some(cpus) = cpus else {
        return Ok(());
    };
    sched::sched_setaffinity(pid, cpus)
        .context(|| format!("setting process.execCPUAffinity.{which}"))
}

fn list(text: Option<&str>) -> Result<Option<Vec<usize>>> {
    match text {
        None | Some("") => Ok(None),
        Some(text) => parse(text).map(Some),
    }
}

/// `0-3,7`: numbers and ranges, in any order.
fn parse(text: &str) -> Result<Vec<usize>> {
    let wrong = |why: &str| Error::config(format!("{why} in the list of CPUs {text:?}"));
    let number = |digits: &str| -> Result<usize> {
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong(&format!("{digits:?} is not a number")));
        }
        digits
            .parse()
            .ok()
            .filter(|cpu| *cpu < sched::CPUS)
            .ok_or_else(|| wrong(&format!("{digits} is too large")))
    };
    let mut cpus = Vec::new();
    for part in text.split(',').map(str::trim) {
        match part.split_once('-') {
            None => cpus.push(number(part)?),
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last)?);
                if first > last {
                    return Err(wrong(&format!("the range {part:?} runs backwards")));
                }
                cpus.extend(first..=last);
            }
        }
    }
    cpus.sort_unstable();
    cpus.dedup();
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        for (text, cpus) in [
            ("0", Some(vec![0])),
            ("0-3,7", Some(vec![0, 1, 2, 3, 7])),
            ("7,0-1,1", Some(vec![0, 1, 7])),
            ("0, 2", Some(vec![0, 2])),
            ("1023", Some(vec![1023])),
            ("1024", None),
            ("0-99999999999999999999", None),
            ("3-1", None),
            ("", None),
            ("1,", None),
            ("-1", None),
            ("1-", None),
            ("+1", None),
            ("a", None),
            ("0-1-2", None),
        ] {
            assert_eq!(parse(text).ok(), cpus, "{text:?}");
        }
    }

    #[test]
    fn absent_and_empty_lists() {
        let plan = |json: &str| CpuAffinity::plan(Some(&serde_json::from_str(json).unwrap()));
        assert_eq!(CpuAffinity::plan(None).unwrap(), CpuAffinity::default());
        assert_eq!(plan("{}").unwrap(), CpuAffinity::default());
        let planned = plan(r#"{"initial":"0","final":"0-1"}"#).unwrap();
        assert_eq!(planned.initial, Some(vec![0]));
        assert_eq!(planned.last, Some(vec![0, 1]));
        let error = plan(r#"{"final":"1-0"}"#).unwrap_err().to_string();
        assert!(
            error.starts_with("process.execCPUAffinity.final: the range"),
            "{error}"
        );
    }
}
