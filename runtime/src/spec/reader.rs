//! JSON to `oci-spec` types, as tolerant as Go's encoding/json.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::seccomp;
use crate::error::{Error, Result};
use crate::log;

/// Reads a document. The straight way first: only what the derived readers refuse takes the tolerant one.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    read_with(bytes, |document| {
        drop_unknown_capabilities(document);
        translate(document)
    })
}

/// The same, with what is to be done to the document on the tolerant way.
pub(super) fn read_with<T: DeserializeOwned>(
    bytes: &[u8],
    translate: impl FnOnce(&mut Value) -> Result<()>,
) -> Result<T> {
    // The derived readers would take a list for an object, member by member.
    match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') | None => {}
        Some(_) => return Err(Error::config("JSON: the document is not an object")),
    }
    if let Ok(document) = serde_json::from_slice(bytes) {
        return Ok(document);
    }
    let mut value: Value =
        serde_json::from_slice(bytes).map_err(|error| Error::config(format!("JSON: {error}")))?;
    strip_nulls(&mut value);
    translate(&mut value)?;
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        match path.as_str() {
            "." => Error::config(error.into_inner().to_string()),
            _ => Error::config(format!("{path}: {}", error.inner())),
        }
    })
}

/// `null` is as good as absent. (A `null` in a list stays, and is an error of the list's type.)
pub(super) fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

/// Values that the types spell otherwise than the specification does, or do not take: two flags of the scheduler, an
/// empty list of CPUs, which is as good as none, a process without a user, which is root, limits of huge pages,
/// which have no sign, and a seccomp profile, which is none when it says nothing.
fn translate(document: &mut Value) -> Result<()> {
    if let Some(linux) = document.get_mut("linux").and_then(Value::as_object_mut) {
        if linux.get("seccomp").is_some_and(seccomp::says_nothing) {
            linux.remove("seccomp");
        } else if let Some(profile) = linux.get_mut("seccomp") {
            seccomp::complete(profile, "linux.seccomp.")?;
        }
    }
    let pages = "/linux/resources/hugepageLimits";
    let pages = match document.pointer(pages) {
        Some(_) => document.pointer_mut(pages),
        None => document.get_mut("hugepageLimits"),
    };
    for page in pages.and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(limit) = page.get_mut("limit")
            && let Some(number) = limit.as_u64()
        {
            *limit = number.cast_signed().into();
        }
    }
    let process = match document.get_mut("process") {
        Some(process) => process,
        None => document,
    };
    if let Some(process) = process.as_object_mut() {
        process.entry("user").or_insert_with(|| Map::new().into());
    }
    let flags = process
        .pointer_mut("/scheduler/flags")
        .and_then(Value::as_array_mut);
    for flag in flags.into_iter().flatten() {
        match flag.as_str() {
            Some("SCHED_FLAG_RESET_ON_FORK") => *flag = "SCHED_RESET_ON_FORK".into(),
            Some("SCHED_FLAG_DL_OVERRUN") => *flag = "SCHED_FLAG_D_L_OVERRUN".into(),
            _ => {}
        }
    }
    if let Some(lists) = process
        .get_mut("execCPUAffinity")
        .and_then(Value::as_object_mut)
    {
        lists.retain(|_, list| list != "");
    }
    Ok(())
}

/// Takes out capabilities that this version does not know, as runc does, with a warning: a newer kernel's capability in
/// an engine's default list must not make an older runtime useless.
fn drop_unknown_capabilities(document: &mut Value) {
    let process = match document.get_mut("process") {
        Some(process) => process,
        None => document,
    };
    let Some(sets) = process
        .get_mut("capabilities")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    let mut unknown = Vec::new();
    for_each_name(sets, |name| {
        let known = is_capability(name);
        if !known && !unknown.iter().any(|seen| seen == name) {
            unknown.push(name.to_owned());
        }
        known
    });
    if !unknown.is_empty() {
        log::warn(format_args!(
            "ignoring unknown or unavailable capabilities: {unknown:?}"
        ));
    }
}

/// Whether the types know it.
fn is_capability(name: &str) -> bool {
    serde_json::from_value::<super::Capability>(name.into()).is_ok()
}

fn for_each_name(sets: &mut Map<String, Value>, mut keep: impl FnMut(&str) -> bool) {
    for set in sets.values_mut().filter_map(Value::as_array_mut) {
        set.retain(|name| name.as_str().is_none_or(&mut keep));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Process, Spec};
    use super::*;

    fn spec(json: &str) -> Result<Spec> {
        read(json.as_bytes())
    }

    #[test]
    fn nulls_unknown_keys_and_duplicates_are_tolerated() {
        let json = r#"{"ociVersion":"1.0.0","nonsense":[1],"root":null,"hostname":"a","hostname":"b",
            "mounts":null,"process":{"cwd":"/","user":{"uid":null,"gid":3},"args":null}}"#;
        let spec = spec(json).unwrap();
        assert_eq!(spec.hostname().as_deref(), Some("b"));
        assert!(spec.root().is_none());
        assert_eq!(spec.process().as_ref().unwrap().user().gid(), 3);
    }

    #[test]
    fn unknown_capabilities_are_left_out() {
        let json = r#"{"cwd":"/","user":{"uid":0,"gid":0},
            "capabilities":{"bounding":["CAP_CHOWN","CAP_FUTURE"]}}"#;
        let process: Process = read(json.as_bytes()).unwrap();
        let bounding = process
            .capabilities()
            .as_ref()
            .unwrap()
            .bounding()
            .clone()
            .unwrap();
        assert_eq!(bounding.len(), 1);
    }

    #[test]
    fn odd_spellings_of_the_types_are_not_the_users_business() {
        let json = r#"{"cwd":"/","user":{},"execCPUAffinity":{"initial":"","final":"0-1"},"scheduler":
            {"policy":"SCHED_OTHER","flags":["SCHED_FLAG_RESET_ON_FORK","SCHED_FLAG_DL_OVERRUN"]}}"#;
        let process: Process = read(json.as_bytes()).unwrap();
        let scheduler = process.scheduler().as_ref().unwrap();
        assert_eq!(scheduler.flags().as_ref().unwrap().len(), 2);
        let affinity = process.exec_cpu_affinity().as_ref().unwrap();
        assert_eq!(affinity.initial(), &None);
    }

    #[test]
    fn a_profile_that_says_nothing_is_none() {
        let profile = |text: &str| {
            let json = format!(r#"{{"ociVersion":"1.0.0","linux":{{"seccomp":{text}}}}}"#);
            spec(&json).map(|spec| spec.linux().as_ref().unwrap().seccomp().is_some())
        };
        for nothing in ["null", "{}", r#"{"defaultAction":"","syscalls":[]}"#] {
            assert!(!profile(nothing).unwrap(), "{nothing}");
        }
        assert!(profile(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#).unwrap());
        assert!(profile(r#"{"syscalls":[{"names":["x"],"action":"SCMP_ACT_KILL"}]}"#).is_err());
        assert!(profile("[]").is_err());
    }

    #[test]
    fn a_process_without_a_user_is_roots() {
        let process: Process = read(br#"{"cwd":"/","args":["x"]}"#).unwrap();
        assert_eq!((process.user().uid(), process.user().gid()), (0, 0));
        let spec = spec(r#"{"ociVersion":"1.0.0","process":{"cwd":"/"}}"#).unwrap();
        assert_eq!(spec.process().as_ref().unwrap().user().uid(), 0);
    }

    #[test]
    fn without_linux_there_is_nothing_of_linux() {
        let linux = super::super::empty_linux().unwrap();
        assert_eq!(linux.namespaces(), &None);
        assert_eq!(linux.masked_paths(), &None);
        assert_eq!(linux.resources(), &None);
    }

    #[test]
    fn errors_name_the_place() {
        for (json, place) in [
            (
                r#"{"process":{"cwd":"/","user":{"uid":"x","gid":0}}}"#,
                "process.user.uid",
            ),
            (
                r#"{"linux":{"namespaces":[{"type":"pid"},{"type":"nope"}]}}"#,
                "linux.namespaces[1].type",
            ),
            (r#"{"mounts":[{"destination":7}]}"#, "mounts[0].destination"),
            ("[]", "not an object"),
            ("{", "JSON: EOF"),
            ("", "JSON: EOF"),
        ] {
            let text = spec(json).unwrap_err().to_string();
            assert!(text.contains(place), "{json}: {text}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(spec(&format!("{{\"process\":{deep}}}")).is_err());
        // Below a key that nobody reads it is passed over, without recursion.
        assert!(spec(&format!("{{\"x\":{deep}}}")).is_ok());
    }
}
