//! One value for one file of a cgroup: writing it, and putting back what was there.

use std::borrow::Cow;

use rustix::io::Errno;

use super::{Amount, Cgroup, Limits, Unified, missing};
use crate::error::{Error, ErrorKind, Result, errno_text};
use crate::log;
use crate::sys::fs;

/// What to do where the file is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Missing {
    Refuse,
    /// The setting changes nothing that would then be otherwise.
    Skip,
    /// Another file takes its place.
    Instead(Box<Setting>),
}

/// A value for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// The property as the spec names it, for errors.
    property: Cow<'static, str>,
    pub(super) file: Cow<'static, str>,
    pub(super) value: String,
    missing: Missing,
    /// The line of a file with many that this is about, and what to write if there was none.
    key: Option<(String, String)>,
    /// Another file that changes with this one.
    also: Option<&'static str>,
    /// Where the kernel says EINVAL it may depend on a setting that comes later.
    pub(super) again: bool,
}

impl Setting {
    pub(super) fn new(
        property: impl Into<Cow<'static, str>>,
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
    ) -> Setting {
        Setting {
            property: property.into(),
            file: file.into(),
            value: value.to_string(),
            missing: Missing::Refuse,
            key: None,
            also: None,
            again: false,
        }
    }

    pub(super) fn missing(self, missing: Missing) -> Setting {
        Setting { missing, ..self }
    }

    /// Without the controller there is no limit either, so that no limit is nothing to be refused: Docker asks for it.
    pub(super) fn unless_unlimited(self, amount: Amount) -> Setting {
        match amount {
            Amount::Max => self.missing(Missing::Skip),
            Amount::Of(_) => self,
        }
    }

    pub(super) fn keyed(self, name: String, reset: String) -> Setting {
        let key = Some((name, reset));
        Setting { key, ..self }
    }

    pub(super) fn also_changes(self, file: &'static str) -> Setting {
        let also = Some(file);
        Setting { also, ..self }
    }

    pub(super) fn tried_again(self) -> Setting {
        Setting {
            again: true,
            ..self
        }
    }

    /// The controller whose file it is.
    pub(super) fn controller(&self) -> &str {
        let (controller, _) = self.file.split_once('.').unwrap_or((&self.file, ""));
        controller
    }

    /// Writes the value.
    pub(super) fn write(&self, cgroup: &Cgroup) -> Result<()> {
        let Err(error) = fs::write_at(cgroup, &*self.file, &self.value) else {
            return Ok(());
        };
        match (&self.missing, fs::is_missing(&error)) {
            (Missing::Skip, true) => Ok(()),
            (Missing::Instead(other), true) => other.write(cgroup),
            (Missing::Refuse, true) => Err(self.explain(cgroup, &missing::why(cgroup, self))),
            (_, false) => Err(match error.errno() {
                Some(errno) => self.failure(cgroup, errno),
                None => error.wrap(&self.property),
            }),
        }
    }

    /// What was attempted and why it did not work.
    fn explain(&self, cgroup: &Cgroup, reason: &str) -> Error {
        Error::unsupported(self.text(cgroup, reason))
    }

    fn text(&self, cgroup: &Cgroup, reason: &str) -> String {
        let Setting {
            property,
            file,
            value,
            ..
        } = self;
        // runc's words, which tell the property apart from the others.
        let unified = property.starts_with("unified");
        let verb = if unified { " can't be set" } else { "" };
        let path = cgroup.path.display();
        format!("{property}{verb}: writing {value:?} to {file} of the cgroup {path}: {reason}")
    }

    fn failure(&self, cgroup: &Cgroup, errno: Errno) -> Error {
        let advice = match (errno, self.file.as_ref()) {
            (Errno::ACCESS | Errno::PERM | Errno::ROFS, _) => {
                " (the cgroup is not delegated to the caller)"
            }
            (Errno::INVAL, "cpu.weight") => " (an idle cgroup has no weight: see cpu.idle)",
            (Errno::INVAL, "cpu.max" | "cpu.max.burst") => {
                " (the quota and the period are at least 1 ms, the period is at most 1 s, and the burst not above the quota)"
            }
            (Errno::INVAL | Errno::RANGE | Errno::NODEV, "cpuset.cpus" | "cpuset.mems") => {
                " (the machine does not have all of these)"
            }
            (Errno::NODEV | Errno::NXIO, "io.max" | "io.weight" | "io.bfq.weight") => {
                " (there is no such disk; a partition has no limits of its own)"
            }
            (Errno::OPNOTSUPP, "io.weight" | "io.bfq.weight") => {
                " (the device's I/O scheduler has no weights)"
            }
            _ => "",
        };
        let reason = format!("{}{advice}", errno_text(errno));
        Error::new(ErrorKind::System(errno), self.text(cgroup, &reason))
    }

    /// What the file says now, in the form in which it can be written again.
    fn former(&self, cgroup: &Cgroup) -> Vec<Former> {
        if let Missing::Instead(other) = &self.missing
            && fs::lstatat(cgroup, &*self.file).is_err()
        {
            return other.former(cgroup);
        }
        let lines = former_lines(cgroup, &self.file, self.key.as_ref());
        let mut former = vec![Former {
            file: self.file.clone(),
            lines,
        }];
        if let Some(also) = self.also {
            former.push(Former {
                file: also.into(),
                // An idle cgroup says 0, which cannot be written.
                lines: former_lines(cgroup, also, None)
                    .into_iter()
                    .filter(|line| line != "0")
                    .collect(),
            });
        }
        former
    }
}

fn former_lines(cgroup: &Cgroup, file: &str, key: Option<&(String, String)>) -> Vec<String> {
    // These are no limits: what can be read in them is not what can be written to them.
    let no_limit = file.starts_with("cgroup.") && !file.starts_with("cgroup.max.");
    if no_limit {
        return Vec::new();
    }
    // What can only be written has nothing to put back.
    let Ok(text) = fs::read_at(cgroup, file) else {
        return Vec::new();
    };
    match key {
        Some((name, reset)) => {
            let of_key = |line: &&str| line.split(' ').next() == Some(name);
            vec![text.lines().find(of_key).unwrap_or(reset).to_owned()]
        }
        // An empty list is written as an empty line.
        None if text.trim().is_empty() => vec!["\n".to_owned()],
        None => text.lines().map(str::to_owned).collect(),
    }
}

fn put_back(cgroup: &Cgroup, file: &str, line: &str) -> Result<()> {
    match fs::write_at(cgroup, file, line) {
        // Linux (6.12) lets nobody take the list away from a cgroup with processes. All that there is comes to the same.
        Err(error) if error.errno() == Some(Errno::NOSPC) && file.starts_with("cpuset.") => {
            let all = fs::read_at(cgroup, format!("../{file}.effective"))?;
            fs::write_at(cgroup, file, &all)
        }
        other => other,
    }
}

/// What a file said before.
#[derive(Debug)]
struct Former {
    file: Cow<'static, str>,
    lines: Vec<String>,
}

/// What files of a cgroup said before they were changed.
#[derive(Debug, Default)]
pub(crate) struct Replaced(Vec<Former>);

impl Replaced {
    /// Writes the setting and remembers what it replaces.
    pub(super) fn write(&mut self, cgroup: &Cgroup, setting: &Setting) -> Result<()> {
        let former = setting.former(cgroup);
        setting.write(cgroup)?;
        // In front: they are put back from the last to the first.
        self.0.splice(0..0, former);
        Ok(())
    }

    /// What was, as limits that name the files.
    pub(crate) fn limits(&self) -> Limits {
        let lines = |former: &Former| {
            let file = former.file.to_string();
            let named = move |line: &String| (file.clone(), line.clone());
            former.lines.iter().map(named).collect::<Vec<_>>()
        };
        Limits {
            unified: Unified {
                files: self.0.iter().flat_map(lines).collect(),
            },
            ..Limits::default()
        }
    }

    /// Puts all of it back. Each value was in force before, so that a failure is nobody's fault here; it is told, and
    /// the others are put back all the same.
    pub(crate) fn put_back(self, cgroup: &Cgroup) {
        for Former { file, lines } in self.0 {
            for line in lines {
                if let Err(error) = put_back(cgroup, &file, &line) {
                    log::warn(format_args!("putting back {line:?} in {file}: {error}"));
                }
            }
        }
    }
}
