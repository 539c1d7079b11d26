//! linux.resources on its own: as `update` reads it, and as it is kept.

use serde_json::Value;

use super::{LinuxResources, Spec, reader};
use crate::error::{Error, Result};

/// Reads a LinuxResources document.
pub(crate) fn parse_resources(bytes: &[u8]) -> Result<LinuxResources> {
    let mut resources: LinuxResources = reader::read(bytes)?;
    if is_ambiguous(&resources) && !says(bytes, "/pids/limit") {
        resources.set_pids(None);
    }
    Ok(resources)
}

/// The type gives a limit that is absent as 0. But 0 is a limit, and absent is none.
pub(super) fn settle_pids(spec: &mut Spec, bytes: &[u8]) {
    let resources = spec
        .linux_mut()
        .as_mut()
        .and_then(|linux| linux.resources_mut().as_mut());
    if let Some(resources) = resources
        && is_ambiguous(resources)
        && !says(bytes, "/linux/resources/pids/limit")
    {
        resources.set_pids(None);
    }
}

fn is_ambiguous(resources: &LinuxResources) -> bool {
    resources.pids().is_some_and(|pids| pids.limit() == 0)
}

fn says(bytes: &[u8], pointer: &str) -> bool {
    let document: Option<Value> = serde_json::from_slice(bytes).ok();
    document.is_some_and(|document| document.pointer(pointer).is_some_and(Value::is_number))
}

/// The config with these resources in place of what it said about the same. Devices stay as they are.
pub(crate) fn merge_resources(config: &str, resources: &[u8]) -> Result<Box<str>> {
    let wrong = |error: serde_json::Error| Error::config(format!("JSON: {error}"));
    let mut config: Value = serde_json::from_str(config).map_err(wrong)?;
    let mut resources: Value = serde_json::from_slice(resources).map_err(wrong)?;
    reader::strip_nulls(&mut resources);
    if let Some(members) = resources.as_object_mut() {
        members.remove("devices");
    }
    let wrapped = serde_json::json!({ "linux": { "resources": resources } });
    merge(&mut config, wrapped);
    Ok(config.to_string().into_boxed_str())
}

/// Objects are merged member by member, all else is replaced.
fn merge(old: &mut Value, new: Value) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in new {
                merge(old.entry(key).or_insert(Value::Null), value);
            }
        }
        (old, new) => *old = new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_pids_is_there_or_not() {
        for (pids, expected) in [
            (r#"{"limit":0}"#, Some(0)),
            (r#"{"limit":-1}"#, Some(-1)),
            (r#"{"limit":7}"#, Some(7)),
            ("{}", None),
            (r#"{"limit":null}"#, None),
            ("null", None),
        ] {
            let limit = |resources: &LinuxResources| resources.pids().map(|pids| pids.limit());
            let json = format!(r#"{{"pids":{pids}}}"#);
            let resources = parse_resources(json.as_bytes()).unwrap();
            assert_eq!(limit(&resources), expected, "{pids}");
            let json = format!(r#"{{"ociVersion":"1.0.0","linux":{{"resources":{json}}}}}"#);
            let config = super::super::parse(json.into_bytes()).unwrap();
            let linux = config.spec.linux().as_ref().unwrap();
            let resources = linux.resources().as_ref().unwrap();
            assert_eq!(limit(resources), expected, "{pids}");
        }
    }

    #[test]
    fn what_is_new_is_merged() {
        for (config, new, expected) in [
            (
                r#"{"linux":{"resources":{"cpu":{"quota":5,"period":6},"devices":[1]}}}"#,
                r#"{"cpu":{"quota":7,"shares":null},"devices":[],"unified":{"a.b":"c"}}"#,
                r#"{"linux":{"resources":{"cpu":{"period":6,"quota":7},"devices":[1],"unified":{"a.b":"c"}}}}"#,
            ),
            (
                "{}",
                r#"{"pids":{"limit":1}}"#,
                r#"{"linux":{"resources":{"pids":{"limit":1}}}}"#,
            ),
            (
                r#"{"linux":null}"#,
                r#"{"pids":{"limit":1}}"#,
                r#"{"linux":{"resources":{"pids":{"limit":1}}}}"#,
            ),
        ] {
            let merged = merge_resources(config, new.as_bytes()).unwrap();
            let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            assert_eq!(parse(&merged), parse(expected));
        }
    }
}
