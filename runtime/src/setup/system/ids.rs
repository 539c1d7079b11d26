//! Whether a system container gets a user namespace of its own, and how many ids: the annotations io.vzrun.userns and
//! io.vzrun.ids.

use crate::error::{Error, Result};
use crate::host::Host;
use crate::spec::{self, LinuxNamespaceType as Type};

/// `true`: demanded; `false`: not wanted; without it, wherever it can be.
const USERNS: &str = "io.vzrun.userns";
/// How many ids.
const IDS: &str = "io.vzrun.ids";
/// What a system of its own has, and what a number is to be a multiple of.
const BLOCK: u32 = 65_536;

/// How many ids the container is to be given; `None`: its user namespace, or that it has none, is the config's business.
///
/// # Errors
/// What is asked for cannot be.
pub(crate) fn wanted(spec: &spec::Spec, host: &Host) -> Result<Option<u32>> {
    let annotations = spec.annotations().as_ref();
    let demanded = spec::switch(annotations, USERNS)?;
    let number = spec::annotation(annotations, IDS).map(count).transpose()?;
    if demanded == Some(false) {
        return match number {
            Some(_) => Err(Error::config(format!(
                "annotation {IDS}: there are none to be given with {USERNS}=false"
            ))),
            None => Ok(None),
        };
    }
    let why_not = match (has_own(spec), host.privileged()) {
        (true, _) => "the config has a user namespace or id mappings of its own",
        (false, false) => "only the host's root can give ids to a container",
        (false, true) => return Ok(Some(number.unwrap_or(BLOCK))),
    };
    let asked = [(demanded.is_some(), USERNS), (number.is_some(), IDS)];
    match asked.iter().find(|(asked, _)| *asked) {
        Some((_, name)) => Err(Error::config(format!("annotation {name}: {why_not}"))),
        None => Ok(None),
    }
}

fn count(text: &str) -> Result<u32> {
    let number = text.parse().ok();
    number
        .filter(|number| *number > 0 && number % BLOCK == 0)
        .ok_or_else(|| {
            Error::config(format!(
                "annotation {IDS}: {text:?} is not a multiple of {BLOCK}"
            ))
        })
}

fn has_own(spec: &spec::Spec) -> bool {
    let Some(linux) = spec.linux() else {
        return false;
    };
    let maps = [linux.uid_mappings(), linux.gid_mappings()];
    let namespaces = linux.namespaces().iter().flatten();
    maps.into_iter()
        .any(|maps| maps.as_ref().is_some_and(|maps| !maps.is_empty()))
        || namespaces
            .into_iter()
            .any(|entry| entry.typ() == Type::User)
}

/// Gives the container a new user namespace with `size` ids, which are those from `first` on of the host.
pub(crate) fn give(spec: &mut spec::Spec, first: u32, size: u32) -> Result<()> {
    let mapping = spec::LinuxIdMappingBuilder::default()
        .container_id(0u32)
        .host_id(first)
        .size(size)
        .build()
        .map_err(|error| Error::config(format!("linux.uidMappings: {error}")))?;
    let linux = spec.linux_mut().get_or_insert_default();
    linux.set_uid_mappings(Some(vec![mapping]));
    linux.set_gid_mappings(Some(vec![mapping]));
    let namespaces = linux.namespaces_mut().get_or_insert_default();
    if !namespaces.iter().any(|entry| entry.typ() == Type::User) {
        let mut entry = spec::LinuxNamespace::default();
        entry.set_typ(Type::User);
        namespaces.push(entry);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Host = Host {
        euid: 0,
        egid: 0,
        in_user_namespace: false,
        rootless: false,
    };

    fn with(annotations: &str, linux: &str) -> spec::Spec {
        let json = format!(r#"{{"annotations":{annotations},"linux":{linux}}}"#);
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn who_gets_ids() {
        let nested = Host {
            in_user_namespace: true,
            ..ROOT
        };
        let own = r#"{"namespaces":[{"type":"user"}]}"#;
        let maps = r#"{"uidMappings":[{"containerID":0,"hostID":5,"size":1}]}"#;
        for (annotations, linux, host, expected) in [
            ("{}", "{}", ROOT, Ok(Some(65_536))),
            ("{}", "{}", nested, Ok(None)),
            ("{}", own, ROOT, Ok(None)),
            ("{}", maps, ROOT, Ok(None)),
            (
                r#"{"io.vzrun.ids":"131072"}"#,
                "{}",
                ROOT,
                Ok(Some(131_072)),
            ),
            (
                r#"{"io.vzrun.ids":"65537"}"#,
                "{}",
                ROOT,
                Err("is not a multiple"),
            ),
            (
                r#"{"io.vzrun.ids":"0"}"#,
                "{}",
                ROOT,
                Err("is not a multiple"),
            ),
            (r#"{"io.vzrun.ids":"65536"}"#, own, ROOT, Err("of its own")),
            (
                r#"{"io.vzrun.userns":"true"}"#,
                own,
                ROOT,
                Err("of its own"),
            ),
            (
                r#"{"io.vzrun.userns":"true"}"#,
                "{}",
                nested,
                Err("only the host's root"),
            ),
            (
                r#"{"io.vzrun.userns":"true"}"#,
                "{}",
                ROOT,
                Ok(Some(65_536)),
            ),
            (r#"{"io.vzrun.userns":"false"}"#, "{}", ROOT, Ok(None)),
            (r#"{"io.vzrun.userns":"no"}"#, "{}", ROOT, Err("neither")),
            (
                r#"{"io.vzrun.userns":"false","io.vzrun.ids":"65536"}"#,
                "{}",
                ROOT,
                Err("none to be given"),
            ),
        ] {
            match (wanted(&with(annotations, linux), &host), expected) {
                (Ok(ids), Ok(expected)) => assert_eq!(ids, expected, "{annotations} {linux}"),
                (Err(error), Err(text)) => {
                    assert!(error.to_string().contains(text), "{annotations}: {error}");
                }
                (got, _) => panic!("{annotations} {linux}: {got:?}"),
            }
        }
    }

    #[test]
    fn what_is_given() {
        let mut spec = with("{}", r#"{"namespaces":[{"type":"pid"}]}"#);
        give(&mut spec, 1 << 30, 65_536).unwrap();
        give(&mut spec, 1 << 29, 65_536).unwrap();
        let linux = spec.linux().as_ref().unwrap();
        assert_eq!(linux.namespaces().as_ref().unwrap().len(), 2);
        let map = linux.uid_mappings().as_ref().unwrap();
        assert_eq!(
            (map.len(), map[0].host_id(), map[0].size()),
            (1, 1 << 29, 65_536)
        );
    }
}
