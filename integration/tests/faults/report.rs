//! Whether a process sees what it would have seen without a fault.

use crate::walk::How;
use integration::Value;

/// What `/probe report` says, but for what differs from run to run.
pub(crate) struct Reference(Value);

impl Reference {
    /// Of two reports of the same.
    pub(crate) fn of(one: &Value, other: &Value) -> Reference {
        Reference(same(one, other))
    }

    /// Fails unless this report says the same.
    #[track_caller]
    pub(crate) fn is(&self, report: &Value, how: How) {
        let mut differences = Vec::new();
        compare("", &self.0, report, &mut differences);
        if how == How::Otherwise {
            differences.retain(|text| !OTHERWISE.iter().any(|part| text.starts_with(part)));
        }
        assert!(
            differences.is_empty(),
            "another container: {}",
            differences.join(", ")
        );
    }
}

/// Where [`How::Otherwise`] may show.
const OTHERWISE: [&str; 3] = ["/mounts", "/dev", "/keyring"];

/// What is in the reference and is another in the report, with its place.
fn compare(place: &str, reference: &Value, report: &Value, differences: &mut Vec<String>) {
    match (reference, report) {
        (Value::Null, _) => {}
        (Value::Object(parts), _) => {
            for (key, part) in parts
                .iter()
                .filter(|(key, _)| !CHANGING.contains(&key.as_str()))
            {
                compare(&format!("{place}/{key}"), part, &report[key], differences);
            }
        }
        (Value::Array(parts), Value::Array(others)) if parts.len() == others.len() => {
            for (at, (part, other)) in parts.iter().zip(others).enumerate() {
                compare(&format!("{place}/{at}"), part, other, differences);
            }
        }
        (Value::String(one), Value::String(other))
            if peers(one).is_some_and(|kind| Some(kind) == peers(other)) => {}
        (one, other) if one == other => {}
        (one, other) => differences.push(format!("{place} is {other}, not {one}")),
    }
}

/// What a mount is in a group of peers (`shared:68`), whose number is another one in each container.
fn peers(propagation: &str) -> Option<&str> {
    let (kind, _) = propagation.split_once(':')?;
    Some(kind).filter(|kind| ["shared", "master"].contains(kind))
}

/// The time, and numbers that the kernel gives out again, sooner or later.
const CHANGING: [&str; 9] = [
    "start_time",
    "timens_offsets",
    "clock_boottime",
    "clock_monotonic",
    "namespaces",
    "id",
    "parent",
    "dev",
    // Of the keyring: it has the container's id.
    "description",
];

/// The first value, with null for each part that is another one in the second.
fn same(one: &Value, other: &Value) -> Value {
    match (one, other) {
        (Value::Object(ones), Value::Object(others)) if ones.len() == others.len() => {
            let null = Value::Null;
            let parts = ones.iter().map(|(key, one)| {
                let other = others.get(key).unwrap_or(&null);
                (key.clone(), same(one, other))
            });
            Value::Object(parts.collect())
        }
        (Value::Array(ones), Value::Array(others)) if ones.len() == others.len() => {
            let pairs = ones.iter().zip(others);
            Value::Array(pairs.map(|(one, other)| same(one, other)).collect())
        }
        (one, other) if one == other => one.clone(),
        _ => Value::Null,
    }
}
