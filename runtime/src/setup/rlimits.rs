//! process.rlimits.

use rustix::process::Pid;

use crate::error::{Context, Error, Result};
use crate::spec;
use crate::sys::rlimit::{self, Limit};

/// The limits to set, in the order of the spec.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rlimits(Vec<Rlimit>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rlimit {
    resource: usize,
    limit: Limit,
}

impl Rlimits {
    /// Refuses a limit that is named twice and a soft limit above the hard one.
    pub(crate) fn plan(process: &spec::Process) -> Result<Rlimits> {
        let mut planned: Vec<Rlimit> = Vec::new();
        for rlimit in process.rlimits().iter().flatten() {
            let name = rlimit.typ().to_string();
            let limit = Limit {
                soft: rlimit.soft(),
                hard: rlimit.hard(),
            };
            let resource = rlimit::NAMES
                .iter()
                .position(|known| *known == name)
                .ok_or_else(|| {
                    Error::unsupported(format!("process.rlimits: unknown limit {name}"))
                })?;
            if planned.iter().any(|other| other.resource == resource) {
                return Err(Error::config(format!(
                    "process.rlimits: duplicated rlimit {name}"
                )));
            }
            if limit.soft > limit.hard {
                return Err(Error::config(format!(
                    "process.rlimits: {name}: the soft limit {} is above the hard limit {}",
                    limit.soft, limit.hard
                )));
            }
            planned.push(Rlimit { resource, limit });
        }
        Ok(Rlimits(planned))
    }

    /// Raises the hard limits of a process (or of this one) that are below the wanted ones, while the privilege for it
    /// is still there. Nothing is lowered yet: that could hinder the setup.
    pub(crate) fn raise(&self, pid: Option<Pid>) -> Result<()> {
        for rlimit in &self.0 {
            let present = rlimit::get(pid, rlimit.resource)?;
            if present.hard < rlimit.limit.hard {
                let raised = Limit {
                    soft: present.soft,
                    hard: rlimit.limit.hard,
                };
                rlimit::set(pid, rlimit.resource, raised).context(|| rlimit.words())?;
            }
        }
        Ok(())
    }

    /// Sets the limits of this process.
    pub(crate) fn apply(&self) -> Result<()> {
        for rlimit in &self.0 {
            rlimit::set(None, rlimit.resource, rlimit.limit).context(|| rlimit.words())?;
        }
        Ok(())
    }
}

impl Rlimit {
    fn words(&self) -> String {
        let name = rlimit::NAMES.get(self.resource).unwrap_or(&"?");
        let Limit { soft, hard } = self.limit;
        format!("error setting rlimit {name} (soft {soft}, hard {hard})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(rlimits: &str) -> Result<Rlimits> {
        let json = format!(r#"{{"cwd":"/","user":{{"uid":0,"gid":0}},"rlimits":{rlimits}}}"#);
        Rlimits::plan(&serde_json::from_str(&json).unwrap())
    }

    #[test]
    fn every_name_has_its_number() {
        for (number, name) in rlimit::NAMES.iter().enumerate() {
            let json = format!(r#"[{{"type":"{name}","hard":2,"soft":1}}]"#);
            let limit = Limit { soft: 1, hard: 2 };
            let expected = Rlimit {
                resource: number,
                limit,
            };
            assert_eq!(plan(&json).unwrap(), Rlimits(vec![expected]));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for (json, text) in [
            (
                r#"[{"type":"RLIMIT_CPU"},{"type":"RLIMIT_AS"},{"type":"RLIMIT_CPU"}]"#,
                "duplicated rlimit RLIMIT_CPU",
            ),
            (
                r#"[{"type":"RLIMIT_NICE","soft":3,"hard":2}]"#,
                "RLIMIT_NICE: the soft limit 3 is above the hard limit 2",
            ),
        ] {
            let error = plan(json).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
        assert_eq!(plan("[]").unwrap(), Rlimits::default());
    }

    #[test]
    fn failures_tell_name_and_values() {
        // The number of files cannot be raised without end by anyone.
        let json = format!(
            r#"[{{"type":"RLIMIT_NOFILE","hard":{0},"soft":{0}}}]"#,
            u64::MAX
        );
        let error = plan(&json).unwrap().raise(None).unwrap_err().to_string();
        let text = format!(
            "error setting rlimit RLIMIT_NOFILE (soft {0}, hard {0})",
            u64::MAX
        );
        assert!(error.starts_with(&text), "{error}");
        assert!(error.ends_with("operation not permitted"), "{error}");
    }
}
