//! linux.resources.unified: files of the cgroup by name.

use std::collections::HashMap;

use super::setting::Setting;
use crate::error::{Error, Result};

/// Files and what to write to them, in the order of the names; several lines are several writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Unified {
    pub(crate) files: Vec<(String, String)>,
}

impl Unified {
    pub(super) fn plan(unified: Option<&HashMap<String, String>>) -> Result<Unified> {
        let mut files: Vec<_> = unified
            .into_iter()
            .flatten()
            .map(|(file, value)| (file.clone(), value.clone()))
            .collect();
        files.sort();
        for (file, value) in &files {
            let wrong = if file.contains('/') {
                "must be a file name (no slashes)"
            } else if !matches!(file.split_once('.'), Some((controller, name)) if !controller.is_empty() && !name.is_empty())
            {
                "must be in the form CONTROLLER.PARAMETER"
            } else if file.contains('\0') || value.contains('\0') {
                "has a NUL byte"
            } else {
                continue;
            };
            return Err(Error::config(format!("unified resource {file:?} {wrong}")));
        }
        Ok(Unified { files })
    }

    pub(super) fn settings(&self, all: &mut Vec<Setting>) {
        for (file, value) in &self.files {
            let property = format!("unified resource {file:?}");
            for line in value.lines() {
                let setting = Setting::new(property.clone(), file.clone(), line);
                all.push(match (file.as_str(), line.split_once(' ')) {
                    ("io.max", Some((device, _))) => setting.keyed(
                        device.to_owned(),
                        format!("{device} rbps=max wbps=max riops=max wiops=max"),
                    ),
                    ("io.weight" | "io.bfq.weight", Some((device, _))) if device != "default" => {
                        setting.keyed(device.to_owned(), format!("{device} default"))
                    }
                    _ => setting,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn files() {
        check(&[
            (
                r#"{"unified":{"memory.high":"50","cpu.weight":"7","io.max":"8:0 rbps=1\n8:16 wbps=2"}}"#,
                &[
                    "cpu.weight=7",
                    "io.max=8:0 rbps=1",
                    "io.max=8:16 wbps=2",
                    "memory.high=50",
                ],
            ),
            // They win over the typed ones.
            (
                r#"{"pids":{"limit":3},"unified":{"pids.max":"9"}}"#,
                &["pids.max=3", "pids.max=9"],
            ),
            (
                r#"{"unified":{"../cgroup.procs":"1"}}"#,
                &[r#"unified resource "../cgroup.procs" must be a file name (no slashes)"#],
            ),
            (
                r#"{"unified":{"memory":"1"}}"#,
                &[r#"unified resource "memory" must be in the form CONTROLLER.PARAMETER"#],
            ),
            (
                r#"{"unified":{"..":"1"}}"#,
                &[r#"unified resource ".." must be in the form CONTROLLER.PARAMETER"#],
            ),
            (
                r#"{"unified":{"memory.max\u0000":"1"}}"#,
                &[r#"unified resource "memory.max\0" has a NUL byte"#],
            ),
        ]);
    }
}
