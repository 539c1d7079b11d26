//! linux.resources.pids: pids.max.

use super::Amount;
use super::setting::Setting;
use crate::error::{Error, Result};
use crate::spec::LinuxPids;

/// How many processes and threads there may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pids {
    pub(crate) max: Option<Amount>,
}

impl Pids {
    /// 0 is a limit (the container's init and no more) and -1 is none. A limit that is absent never gets here: see
    /// `spec`.
    pub(super) fn plan(pids: Option<&LinuxPids>) -> Result<Pids> {
        let max = match pids.map(|pids| pids.limit()) {
            None => None,
            Some(-1) => Some(Amount::Max),
            Some(limit) => match u64::try_from(limit) {
                Ok(limit) => Some(Amount::Of(limit)),
                Err(_) => {
                    return Err(Error::config(format!(
                        "linux.resources.pids.limit: {limit} is neither a number of processes nor -1"
                    )));
                }
            },
        };
        Ok(Pids { max })
    }

    pub(super) fn settings(&self, all: &mut Vec<Setting>) {
        if let Some(max) = self.max {
            let setting = Setting::new("linux.resources.pids.limit", "pids.max", max);
            all.push(setting.unless_unlimited(max));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn files() {
        check(&[
            (r#"{"pids":{"limit":10}}"#, &["pids.max=10"]),
            (r#"{"pids":{"limit":0}}"#, &["pids.max=0"]),
            (r#"{"pids":{"limit":-1}}"#, &["pids.max=max"]),
            (r#"{"pids":{}}"#, &[]),
            (r#"{"pids":{"limit":null}}"#, &[]),
            (r#"{"pids":null}"#, &[]),
            (
                r#"{"pids":{"limit":-2}}"#,
                &["linux.resources.pids.limit: -2 is neither a number of processes nor -1"],
            ),
        ]);
    }
}
