//! linux.resources.cpu.cpus and .mems: cpuset.cpus, cpuset.mems.

use super::setting::Setting;
use crate::error::{Error, Result};
use crate::spec::LinuxCpu;

/// Lists of CPUs and memory nodes, as the kernel takes them (`0-3,7`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cpuset {
    pub(crate) cpus: Option<String>,
    pub(crate) mems: Option<String>,
}

impl Cpuset {
    pub(super) fn plan(cpu: Option<&LinuxCpu>) -> Result<Cpuset> {
        let Some(cpu) = cpu else {
            return Ok(Cpuset::default());
        };
        Ok(Cpuset {
            cpus: list("cpus", cpu.cpus().as_deref())?,
            mems: list("mems", cpu.mems().as_deref())?,
        })
    }

    pub(super) fn settings(&self, all: &mut Vec<Setting>) {
        if let Some(cpus) = &self.cpus {
            all.push(Setting::new(
                "linux.resources.cpu.cpus",
                "cpuset.cpus",
                cpus,
            ));
        }
        if let Some(mems) = &self.mems {
            all.push(Setting::new(
                "linux.resources.cpu.mems",
                "cpuset.mems",
                mems,
            ));
        }
    }
}

/// The kernel judges the list; but what is no list at all shall not get that far.
fn list(name: &str, text: Option<&str>) -> Result<Option<String>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let fits = |byte: u8| byte.is_ascii_digit() || matches!(byte, b',' | b'-' | b'/' | b':' | b' ');
    match text.bytes().all(fits) {
        true => Ok(Some(text.to_owned())),
        false => Err(Error::config(format!(
            "linux.resources.cpu.{name}: {text:?} is no list like 0-3,7"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn files() {
        check(&[
            (r#"{"cpu":{"cpus":"","mems":""}}"#, &[]),
            (
                r#"{"cpu":{"cpus":"0-1,3","mems":"0"}}"#,
                &["cpuset.cpus=0-1,3", "cpuset.mems=0"],
            ),
            (
                r#"{"cpu":{"cpus":"all"}}"#,
                &[r#"linux.resources.cpu.cpus: "all" is no list like 0-3,7"#],
            ),
            (
                r#"{"cpu":{"mems":"0\n"}}"#,
                &[r#"linux.resources.cpu.mems: "0\n" is no list like 0-3,7"#],
            ),
        ]);
    }
}
