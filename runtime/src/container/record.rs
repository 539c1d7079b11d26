//! state.json: the facts about a container that cannot be found out later. Its status is never among them.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::cgroup::systemd;
use crate::error::{Context, Error, Result};
use crate::setup::id_leases::Ids;
use crate::setup::intel_rdt;
use crate::spec;
use crate::sys::fs::{self, OFlags};

const NAME: &str = "state.json";
const NEW_NAME: &str = "state.json.new";
/// More than comes of the largest config.json that is accepted, with its annotations a second time.
const LIMIT: u64 = 80 << 20;

/// Who made a container's cgroup.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Driver {
    /// vzrun, in cgroupfs.
    #[default]
    Cgroupfs,
    /// systemd, as that of this unit.
    Systemd(systemd::Unit),
    /// Nobody: the container has none of its own.
    Disabled,
}

/// The facts.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub(super) id: String,
    /// The container's init; 0 while there is none yet.
    pub(super) pid: i32,
    /// Its start time (field 22 of proc_pid_stat(5)): with the pid, its name for ever.
    pub(super) start_time: u64,
    /// RFC 3339, UTC.
    pub(super) created: String,
    pub(super) bundle: PathBuf,
    pub(super) rootfs: PathBuf,
    pub(super) oci_version: String,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    /// Its cgroup below the root of the hierarchy.
    pub(super) cgroup: Option<PathBuf>,
    /// Who made the cgroup, and so who removes it.
    #[serde(default)]
    pub(super) cgroup_driver: Driver,
    /// CLONE_NEW* of the namespaces that it does not share with its creator.
    pub(super) namespaces: u64,
    /// It has a pid namespace of its own: with init, all of it ends.
    pub(super) own_pid_namespace: bool,
    /// It was made without a session keyring of its own.
    #[serde(default)]
    pub(super) no_new_keyring: bool,
    /// There are hooks for after its end.
    pub(super) poststop_hooks: bool,
    /// There are hooks for after its start.
    pub(super) poststart_hooks: bool,
    #[serde(default)]
    pub(super) intel_rdt: Option<intel_rdt::Group>,
    /// Its init lives below a keeper, whose pid this is.
    #[serde(default)]
    pub(super) system: bool,
    /// The host's ids that are this container's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ids: Option<Ids>,
    /// config.json as it was used: a JSON document, which stands last in the record, as it is.
    #[serde(skip_serializing, deserialize_with = "as_it_is")]
    pub(super) config: Box<str>,
}

impl Record {
    /// Reads the record in a container's directory.
    pub(super) fn load(directory: &OwnedFd) -> Result<Record> {
        let fd = fs::openat(
            directory,
            NAME,
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK,
            0,
        )?;
        Record::parse(&fs::read_to_end(fd, LIMIT).context(|| NAME)?)
    }

    pub(super) fn parse(text: &[u8]) -> Result<Record> {
        serde_json::from_slice(text).map_err(|error| Error::config(format!("{NAME}: {error}")))
    }

    /// What can be made out of a damaged record: enough to end the container's processes and remove its cgroup.
    pub(super) fn salvage(directory: &OwnedFd, id: &str) -> Record {
        let text = fs::openat(
            directory,
            NAME,
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK,
            0,
        )
        .and_then(|fd| fs::read_to_end(fd, LIMIT))
        .unwrap_or_default();
        Record::salvage_from(&text, id)
    }

    pub(super) fn salvage_from(text: &[u8], id: &str) -> Record {
        let mut found = Salvaged::default();
        // It ends with an error sooner or later; what was found till then is what counts.
        let _ = serde_json::Deserializer::from_slice(text).deserialize_map(&mut found);
        let known = found.pid > 0 && found.start_time > 0;
        Record {
            id: id.to_owned(),
            pid: if known { found.pid } else { 0 },
            start_time: found.start_time,
            created: String::new(),
            bundle: PathBuf::new(),
            rootfs: PathBuf::new(),
            oci_version: String::new(),
            annotations: BTreeMap::new(),
            cgroup: found.cgroup,
            cgroup_driver: found.cgroup_driver,
            namespaces: 0,
            own_pid_namespace: false,
            no_new_keyring: false,
            poststop_hooks: false,
            poststart_hooks: false,
            intel_rdt: None,
            system: false,
            ids: None,
            config: "null".into(),
        }
    }

    /// The JSON up to the config.
    fn head(&self) -> Result<String> {
        let mut head = serde_json::to_string(self)
            .map_err(|error| Error::config(format!("{NAME}: {error}")))?;
        head.truncate(head.len() - "}".len());
        head.push_str(",\"config\":");
        Ok(head)
    }

    /// The JSON. In pieces, for the config is most of it, and would only be copied.
    fn pieces<'a>(&'a self, head: &'a str) -> [&'a str; 3] {
        [head, &self.config, "}"]
    }

    #[cfg(any(test, feature = "fuzz"))]
    pub(super) fn text(&self) -> Result<Vec<u8>> {
        Ok(self.pieces(&self.head()?).concat().into_bytes())
    }

    /// Writes the record beside the present one, not yet in its place.
    pub(super) fn write(&self, directory: &OwnedFd) -> Result<()> {
        let head = self.head()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW;
        let file = fs::openat(directory, NEW_NAME, flags, 0o600)?;
        fs::write_pieces(file, self.pieces(&head))
            .context(|| NEW_NAME)
            .inspect_err(|_| drop(fs::unlinkat(directory, NEW_NAME)))
    }

    /// Puts what [`Record::write`] has written into place; at every instant there is a whole record or none.
    pub(super) fn publish(directory: &OwnedFd) -> Result<()> {
        fs::renameat(directory, NEW_NAME, NAME)
            .inspect_err(|_| drop(fs::unlinkat(directory, NEW_NAME)))
    }

    /// The config that the container was made from.
    pub(super) fn spec(&self) -> Result<spec::Spec> {
        spec::parse_kept(&self.config)
    }

    /// What hooks are told.
    pub(super) fn hook_state(&self) -> spec::HookState {
        spec::HookState {
            oci_version: self.oci_version.clone(),
            id: self.id.clone(),
            status: "",
            pid: 0,
            bundle: self.bundle.display().to_string(),
            root: self.rootfs.display().to_string(),
            annotations: self.annotations.clone(),
        }
    }
}

/// A member as it stands in the text.
fn as_it_is<'de, D: Deserializer<'de>>(member: D) -> std::result::Result<Box<str>, D::Error> {
    Box::<RawValue>::deserialize(member).map(Into::into)
}

/// Whether the record is still there: else the container has been deleted by somebody else.
pub(super) fn is_there(directory: &OwnedFd) -> bool {
    // Only that says that it is gone: over any other trouble the container is still there to be deleted.
    !fs::lstatat(directory, NAME).is_err_and(|error| fs::is_missing(&error))
}

/// The members of a damaged record that a deletion needs.
#[derive(Debug, Default)]
struct Salvaged {
    pid: i32,
    start_time: u64,
    cgroup: Option<PathBuf>,
    cgroup_driver: Driver,
}

impl<'de> Visitor<'de> for &mut Salvaged {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> std::result::Result<(), A::Error> {
        while let Some(key) = members.next_key::<String>()? {
            let value = members.next_value::<serde_json::Value>()?;
            match key.as_str() {
                "pid" => {
                    let pid = value.as_i64().and_then(|pid| pid.try_into().ok());
                    self.pid = pid.unwrap_or(0);
                }
                "startTime" => self.start_time = value.as_u64().unwrap_or(0),
                "cgroupDriver" => {
                    self.cgroup_driver = serde_json::from_value(value).unwrap_or_default();
                }
                "cgroup" => self.cgroup = value.as_str().map(PathBuf::from),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Removes the container's files. The record goes last: as long as there is something left, there is a record of it.
pub(super) fn remove(directory: &OwnedFd) -> Result<()> {
    let listing = fs::openat(directory, ".", OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
    let mut names = fs::names(&listing).context(|| "emptying the container's directory")?;
    names.sort_by_key(|name| name.to_bytes() == NAME.as_bytes());
    for name in names {
        let name = name.to_string_lossy();
        let removed = match fs::unlinkat(directory, &*name) {
            Err(error) if error.errno() == Some(rustix::io::Errno::ISDIR) => {
                remove_directory(directory.as_fd(), &name)
            }
            other => other,
        };
        match removed {
            Err(error) if !fs::is_missing(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The notify socket's directory, with the socket in it.
fn remove_directory(parent: std::os::fd::BorrowedFd<'_>, name: &str) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let directory = fs::openat(parent, name, flags, 0)?;
    for inner in fs::names(&directory)? {
        fs::unlinkat(&directory, &*inner.to_string_lossy())?;
    }
    fs::rmdirat(parent, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_is_kept_as_it_is() {
        for config in ["null", "{}", "{\n  \"a\": [1, {}],\t\"b\":\"}\" }"] {
            let mut record = Record::salvage_from(b"", "x");
            record.rootfs = "/a \"quoted\" root".into();
            record.config = config.into();
            let read = Record::parse(&record.text().unwrap()).unwrap();
            assert_eq!(&*read.config, config);
            assert_eq!((read.id, read.rootfs), (record.id, record.rootfs));
        }
    }

    #[test]
    fn a_damaged_record_gives_what_it_has() {
        for (text, pid, start_time, cgroup) in [
            (
                r#"{"id":"x","pid":7,"startTime":8,"cgroup":"/a","conf"#,
                7,
                8,
                Some("/a"),
            ),
            (
                r#"{"pid":"seven","startTime":8,"cgroup":["/a"]}"#,
                0,
                8,
                None,
            ),
            (
                r#"{"pid":-7,"startTime":8,"cgroup":"/a","#,
                -7,
                8,
                Some("/a"),
            ),
            (r#"{"pid":99999999999,"startTime":-1}"#, 0, 0, None),
            ("[1,2]", 0, 0, None),
            ("", 0, 0, None),
        ] {
            let mut found = Salvaged::default();
            let _ =
                serde_json::Deserializer::from_slice(text.as_bytes()).deserialize_map(&mut found);
            assert_eq!((found.pid, found.start_time), (pid, start_time), "{text}");
            assert_eq!(
                found.cgroup.as_deref(),
                cgroup.map(std::path::Path::new),
                "{text}"
            );
        }
    }
}
