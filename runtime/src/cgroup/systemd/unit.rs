//! linux.cgroupsPath in the words of systemd: `slice:prefix:name`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::bus::Bus;
use crate::error::{Error, Result};

/// A transient scope: what a container's processes are in, in the terms of systemd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Unit {
    /// `prefix-name.scope`
    pub(crate) name: String,
    /// Below which slice it is.
    pub(crate) slice: String,
    /// Whose systemd it belongs to.
    #[serde(default)]
    pub(crate) bus: Bus,
}

impl Unit {
    /// As runc names it: without a cgroupsPath the prefix is `runc` (which tools look for) and the name the id; an empty
    /// slice is system.slice, or user.slice for systemd of a user.
    pub(crate) fn plan(given: Option<&Path>, id: &str, bus: Bus) -> Result<Unit> {
        let given = given.unwrap_or(Path::new("")).to_str();
        let given = given.ok_or_else(|| Error::config("linux.cgroupsPath is not UTF-8"))?;
        let parts: Vec<&str> = given.split(':').collect();
        let (slice, prefix, name) = match parts[..] {
            [""] => ("", "runc", id),
            [slice, prefix, name] => (slice, prefix, name),
            _ => {
                return Err(Error::config(format!(
                    "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {given:?} instead"
                )));
            }
        };
        if name.ends_with(".slice") {
            return Err(Error::unsupported(format!(
                "linux.cgroupsPath {given:?}: systemd lets no process into a slice it has just made, so a container needs a scope"
            )));
        }
        let slice = match (slice, bus) {
            ("", Bus::System) => "system.slice",
            ("", Bus::User) => "user.slice",
            (slice, _) => slice,
        };
        check_slice(slice)?;
        let name = format!("{prefix}-{name}.scope");
        // As unit_name_is_valid() of systemd.
        let bad = |c: char| !(c.is_ascii_alphanumeric() || ":_.\\-".contains(c));
        if name.len() > 255 || name.contains(bad) {
            return Err(Error::config(format!(
                "linux.cgroupsPath {given:?}: {name:?} cannot be the name of a systemd unit"
            )));
        }
        Ok(Unit {
            name,
            slice: slice.to_owned(),
            bus,
        })
    }
}

impl Unit {
    /// Where its cgroup is, below that of its systemd: `a-b.slice` is in `a.slice`.
    pub(crate) fn usual_path(&self, systemd: &Path) -> Option<PathBuf> {
        let name = self.slice.strip_suffix(".slice")?;
        let mut path = systemd.to_owned();
        let ends = name.match_indices('-').map(|(end, _)| end);
        if name != "-" {
            for end in ends.chain([name.len()]) {
                path.push(format!("{}.slice", &name[..end]));
            }
        }
        path.push(&self.name);
        Some(path)
    }
}

/// A slice's name says which slices it is in: `a-b.slice` is in `a.slice`. `-.slice` is the root.
fn check_slice(slice: &str) -> Result<()> {
    let valid = slice.strip_suffix(".slice").is_some_and(|name| {
        name == "-" || !name.contains('/') && name.split('-').all(|part| !part.is_empty())
    });
    match valid {
        true => Ok(()),
        false => Err(Error::config(format!("invalid slice name: {slice}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        use Bus::{System, User};
        for (given, bus, slice, name) in [
            ("", System, "system.slice", "runc-id.scope"),
            ("", User, "user.slice", "runc-id.scope"),
            (
                "a-b.slice:docker:1234",
                System,
                "a-b.slice",
                "docker-1234.scope",
            ),
            (":libpod:1", System, "system.slice", "libpod-1.scope"),
            (":libpod:1", User, "user.slice", "libpod-1.scope"),
            ("-.slice:p:n", System, "-.slice", "p-n.scope"),
            ("a.slice::n", System, "a.slice", "-n.scope"),
            ("a.slice:p:", System, "a.slice", "p-.scope"),
        ] {
            let unit = Unit::plan(Some(Path::new(given)), "id", bus).unwrap();
            assert_eq!(
                (unit.slice.as_str(), unit.name.as_str()),
                (slice, name),
                "{given}"
            );
        }
        assert_eq!(Unit::plan(None, "x", System).unwrap().name, "runc-x.scope");
    }

    #[test]
    fn usual_paths() {
        for (given, expected) in [
            ("", "/system.slice/runc-x.scope"),
            (
                "a-b-c.slice:p:n",
                "/a.slice/a-b.slice/a-b-c.slice/p-n.scope",
            ),
            ("-.slice:p:n", "/p-n.scope"),
        ] {
            let unit = Unit::plan(Some(Path::new(given)), "x", Bus::System).unwrap();
            let root = Path::new("/");
            assert_eq!(unit.usual_path(root).unwrap(), Path::new(expected));
        }
    }

    #[test]
    fn no_names() {
        for (given, text) in [
            (
                "/a/b",
                "expected cgroupsPath to be of format \"slice:prefix:name\"",
            ),
            ("a.slice:b", "expected cgroupsPath to be of format"),
            ("a:b:c:d", "expected cgroupsPath to be of format"),
            ("a:b:c", "invalid slice name: a"),
            (".slice:b:c", "invalid slice name: .slice"),
            ("a--b.slice:b:c", "invalid slice name: a--b.slice"),
            ("-a.slice:b:c", "invalid slice name: -a.slice"),
            ("/a.slice:b:c", "invalid slice name: /a.slice"),
            (
                "a.slice:b:../c",
                "linux.cgroupsPath \"a.slice:b:../c\": \"b-../c.scope\" cannot be",
            ),
            ("a.slice:b:c d", "linux.cgroupsPath"),
            ("a.slice:b:c.slice", "linux.cgroupsPath"),
        ] {
            let error = Unit::plan(Some(Path::new(given)), "id", Bus::System).unwrap_err();
            assert!(error.to_string().starts_with(text), "{given}: {error}");
        }
    }
}
