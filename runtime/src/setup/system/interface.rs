//! What an init finds out about its container, by the rules of systemd's container interface
//! (<https://systemd.io/CONTAINER_INTERFACE>): variables, and file systems. What is in /run/host makes `run_host`.

use std::path::Path;

use super::run_host::{self, CREDENTIALS, NOTIFY, RUN_HOST};
use crate::error::{Error, Result};
use crate::spec;
use crate::sys::fs;

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

/// What init is told of the host by os-release(5): variable, and field.
const HOST: [(&str, &str); 4] = [
    ("container_host_id", "ID"),
    ("container_host_version_id", "VERSION_ID"),
    ("container_host_build_id", "BUILD_ID"),
    ("container_host_variant_id", "VARIANT_ID"),
];

/// Adds what is missing of all that.
pub(super) fn complete(spec: &mut spec::Spec, id: &str) -> Result<()> {
    let is_ours = !has_mount(spec, RUN_HOST);
    let has_credentials = has_mount(spec, CREDENTIALS);
    if let Some(process) = spec.process_mut() {
        let env = process.env_mut().get_or_insert_default();
        set(env, "container", || Ok(Some("vzrun".to_owned())))?;
        set(env, "container_uuid", || uuid(id).map(Some))?;
        set(env, "NOTIFY_SOCKET", || {
            Ok(is_ours.then(|| NOTIFY.to_owned()))
        })?;
        // Whoever mounts a directory there means systemd to find it.
        set(env, "CREDENTIALS_DIRECTORY", || {
            Ok(has_credentials.then(|| CREDENTIALS.to_owned()))
        })?;
        let release = run_host::os_release()?.unwrap_or_default();
        for (name, key) in HOST {
            set(env, name, || Ok(field(&release, key)))?;
        }
    }
    let mut mounts = MOUNTS.into_iter();
    mounts.try_for_each(|(path, kind, options)| mount(spec, path, kind, options))
}

/// Sets a variable that is not there.
fn set(
    env: &mut Vec<String>,
    name: &str,
    text: impl FnOnce() -> Result<Option<String>>,
) -> Result<()> {
    if value(env, name).is_none() {
        env.extend(text()?.map(|text| format!("{name}={text}")));
    }
    Ok(())
}

/// A field of os-release(5), out of its quotes. Not one with characters that its writer has to escape: identifiers have none.
fn field(release: &str, key: &str) -> Option<String> {
    let mut lines = release.lines();
    let text = lines.find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))?;
    let text = text.trim_matches(['"', '\'']);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-+~".contains(c);
    (!text.is_empty() && text.chars().all(is_plain)).then(|| text.to_owned())
}

pub(super) fn has_mount(spec: &spec::Spec, path: &str) -> bool {
    let is_it = |mount: &spec::Mount| mount.destination() == Path::new(path);
    spec.mounts().iter().flatten().any(is_it)
}

/// Adds a mount where the config has none.
pub(super) fn mount(spec: &mut spec::Spec, path: &str, kind: &str, options: &[&str]) -> Result<()> {
    if has_mount(spec, path) {
        return Ok(());
    }
    let mounts = spec.mounts_mut().get_or_insert_default();
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

/// A variable's value.
pub(super) fn value<'a>(env: &'a [String], name: &str) -> Option<&'a str> {
    env.iter()
        .rev()
        .find_map(|variable| variable.strip_prefix(name)?.strip_prefix('='))
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
        let env = process.env().as_deref().unwrap();
        let (env, of_host) = env.split_at(3);
        let is_of_host = |variable: &String| variable.starts_with("container_host_");
        assert!(of_host.iter().all(is_of_host), "{of_host:?}");
        assert_eq!(
            Some(env),
            Some(
                &["container=podman", uuid, "NOTIFY_SOCKET=/run/host/notify"].map(str::to_owned)[..]
            )
        );
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

    #[test]
    fn what_is_mounted_says_more() {
        let json = r#"{"process":{"cwd":"/","user":{"uid":0,"gid":0}},
            "mounts":[{"destination":"/run/host"},{"destination":"/run/host/credentials"}]}"#;
        let mut spec: spec::Spec = serde_json::from_str(json).unwrap();
        complete(&mut spec, "web").unwrap();
        let env = spec.process().as_ref().unwrap().env().clone().unwrap();
        assert_eq!(value(&env, "NOTIFY_SOCKET"), None);
        assert_eq!(
            value(&env, "CREDENTIALS_DIRECTORY"),
            Some("/run/host/credentials")
        );
    }

    #[test]
    fn fields_of_os_release() {
        let text = "PRETTY_NAME=\"Some ID=x\"\nID=debian\nVERSION_ID=\"13\"\nVARIANT_ID='a b'\nBUILD_ID=\n";
        for (key, value) in [
            ("ID", Some("debian")),
            ("VERSION_ID", Some("13")),
            ("VARIANT_ID", None),
            ("BUILD_ID", None),
            ("NAME", None),
        ] {
            assert_eq!(field(text, key).as_deref(), value, "{key}");
        }
    }
}
