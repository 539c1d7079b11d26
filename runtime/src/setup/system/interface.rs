//! What an init finds out about its container, by the rules of systemd's container interface
//! (<https://systemd.io/CONTAINER_INTERFACE>): variables, file systems, files in /run/host.

use std::os::fd::OwnedFd;
use std::path::Path;

use crate::error::{Error, Result};
use crate::setup::rootfs::Rootfs;
use crate::spec;
use crate::sys::fs::{self, OFlags};
use crate::sys::mount;

/// File systems where the config has none: path, type, options. What the image has in a directory is copied there.
const MOUNTS: [(&str, &str, &[&str]); 3] = [
    (
        "/run",
        "tmpfs",
        &["nosuid", "nodev", "mode=755", "tmpcopyup"],
    ),
    (
        "/run/lock",
        "tmpfs",
        &["nosuid", "nodev", "noexec", "mode=1777", "size=5m"],
    ),
    (
        "/tmp",
        "tmpfs",
        &["nosuid", "nodev", "mode=1777", "tmpcopyup"],
    ),
];

const RUN_HOST: &str = "/run/host";

/// Where init says that it is ready, unless somebody else wants to know: a socket of the keeper's.
const NOTIFY: &str = "/run/host/notify";

/// What is in /run/host.
#[derive(Debug)]
pub(crate) struct RunHost {
    /// Name and content.
    files: [(&'static str, String); 2],
    notifies: bool,
}

/// Adds what is missing of all that.
pub(super) fn complete(spec: &mut spec::Spec, id: &str) -> Result<()> {
    if let Some(process) = spec.process_mut() {
        let env = process.env_mut().get_or_insert_default();
        if value(env, "container").is_none() {
            env.push("container=vzrun".to_owned());
        }
        if value(env, "container_uuid").is_none() {
            env.push(format!("container_uuid={}", uuid(id)?));
        }
        if value(env, "NOTIFY_SOCKET").is_none() {
            env.push(format!("NOTIFY_SOCKET={NOTIFY}"));
        }
    }
    let mut mounts = MOUNTS.into_iter();
    mounts.try_for_each(|(path, kind, options)| mount(spec, path, kind, options))
}

/// Adds a mount where the config has none.
pub(super) fn mount(spec: &mut spec::Spec, path: &str, kind: &str, options: &[&str]) -> Result<()> {
    let mounts = spec.mounts_mut().get_or_insert_default();
    let is_it = |mount: &spec::Mount| mount.destination() == Path::new(path);
    if mounts.iter().any(is_it) {
        return Ok(());
    }
    let options = options.iter().map(|option| (*option).to_owned());
    let mount = spec::MountBuilder::default()
        .destination(path)
        .typ(kind)
        .source(kind)
        .options(options.collect::<Vec<_>>())
        .build()
        .map_err(|error| Error::config(format!("{path}: {error}")))?;
    // Not on top of what the config has below it.
    let is_below = |mount: &spec::Mount| mount.destination().starts_with(path);
    let place = mounts.iter().position(is_below).unwrap_or(mounts.len());
    mounts.insert(place, mount);
    Ok(())
}

/// The same over all boots; for an engine's id, the same as that.
fn uuid(id: &str) -> Result<String> {
    let digits = id.get(..32).unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(digits.to_ascii_lowercase());
    }
    let text = fs::read_at(fs::CWD, "/proc/sys/kernel/random/uuid")?;
    Ok(text.trim().to_owned())
}

fn value<'a>(env: &'a [String], name: &str) -> Option<&'a str> {
    env.iter()
        .rev()
        .find_map(|variable| variable.strip_prefix(name)?.strip_prefix('='))
}

impl RunHost {
    /// `None`: the container's process has no environment, and is none that asks.
    pub(crate) fn plan(process: &spec::Process) -> Option<RunHost> {
        let env = process.env().as_deref()?;
        let line = |name| value(env, name).map(|value| format!("{value}\n"));
        Some(RunHost {
            files: [
                ("container-manager", line("container")?),
                ("container-uuid", line("container_uuid")?),
            ],
            notifies: value(env, "NOTIFY_SOCKET") == Some(NOTIFY),
        })
    }

    /// Init tells the keeper that it is ready.
    pub(crate) fn notifies(&self) -> bool {
        self.notifies
    }

    /// Makes it, once all is mounted, with the tree of the keeper's socket.
    pub(crate) fn apply(&self, rootfs: &Rootfs, notify: Option<OwnedFd>) -> Result<()> {
        if let Some(socket) = notify {
            mount::move_mount(socket, rootfs.file(Path::new(NOTIFY))?)?;
        }
        let directory = rootfs.directory(Path::new(RUN_HOST))?;
        for (name, text) in &self.files {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW;
            let file = fs::openat(&directory, name, flags, 0o444)?;
            fs::write_once(file, text.as_bytes())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays() {
        let json = r#"{"process":{"cwd":"/","user":{"uid":0,"gid":0},"env":["container=podman"]},
            "mounts":[{"destination":"/proc"},{"destination":"/run/x"},{"destination":"/tmp"},{"destination":"/sys"}]}"#;
        let mut spec: spec::Spec = serde_json::from_str(json).unwrap();
        let id = "0123456789ABCDEF0123456789abcdef0123";
        complete(&mut spec, id).unwrap();
        complete(&mut spec, "another").unwrap();
        let paths: Vec<_> = spec
            .mounts()
            .iter()
            .flatten()
            .map(|m| m.destination().clone())
            .collect();
        let expected = ["/proc", "/run", "/run/x", "/tmp", "/sys", "/run/lock"];
        assert_eq!(paths, expected.map(std::path::PathBuf::from));
        let process = spec.process().as_ref().unwrap();
        let uuid = "container_uuid=0123456789abcdef0123456789abcdef";
        assert_eq!(
            process.env().as_deref(),
            Some(
                &["container=podman", uuid, "NOTIFY_SOCKET=/run/host/notify"].map(str::to_owned)[..]
            )
        );
        let made = RunHost::plan(process).unwrap();
        let manager = ("container-manager", "podman\n".to_owned());
        assert_eq!((&made.files[0], made.notifies()), (&manager, true));
    }

    #[test]
    fn ids_that_are_no_number() {
        for id in [
            "web",
            "0123456789abcdef0123456789abcdeg",
            "zürich-und-noch-sehr-viel-mehr-davon",
        ] {
            assert_eq!(uuid(id).unwrap().len(), 36, "{id}");
        }
    }
}
