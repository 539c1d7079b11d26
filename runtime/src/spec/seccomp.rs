//! linux.seccomp as Go reads it: what is absent is empty, and what is unknown has runc's words.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Arch, LinuxSeccompAction, LinuxSeccompFilterFlag, LinuxSeccompOperator};
use crate::error::{Error, Result};

/// Whether a profile says nothing and so is none, as for runc: no default action and no system calls.
pub(super) fn says_nothing(profile: &Value) -> bool {
    let empty = |member: &str| match profile.get(member) {
        None => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) => false,
    };
    profile.is_object() && empty("defaultAction") && empty("syscalls")
}

/// Completes a profile, which is at `place` in its document.
///
/// # Errors
/// A name that is not known. (A wrong type is left to the types.)
pub(super) fn complete(profile: &mut Value, place: &str) -> Result<()> {
    let Some(profile) = profile.as_object_mut() else {
        return Ok(());
    };
    name::<LinuxSeccompAction>(profile, "defaultAction", "action", place)?;
    for (at, arch) in list(profile, "architectures").iter().enumerate() {
        known::<Arch>(arch, "arch", || format!("{place}architectures[{at}]"))?;
    }
    for (at, flag) in list(profile, "flags").iter().enumerate() {
        if let Some(text) = unknown::<LinuxSeccompFilterFlag>(flag) {
            return Err(Error::config(format!(
                "{place}flags[{at}]: seccomp flag {text} is not known to vzrun"
            )));
        }
    }
    for (at, rule) in list(profile, "syscalls").iter_mut().enumerate() {
        let Some(rule) = rule.as_object_mut() else {
            continue;
        };
        let place = format!("{place}syscalls[{at}].");
        rule.entry("names").or_insert_with(|| Value::Array(vec![]));
        name::<LinuxSeccompAction>(rule, "action", "action", &place)?;
        for (at, argument) in list(rule, "args").iter_mut().enumerate() {
            let Some(argument) = argument.as_object_mut() else {
                continue;
            };
            let place = format!("{place}args[{at}].");
            for number in ["index", "value"] {
                argument.entry(number).or_insert_with(|| 0.into());
            }
            name::<LinuxSeccompOperator>(argument, "op", "operator", &place)?;
        }
    }
    Ok(())
}

/// The members of a list that is there.
fn list<'a>(object: &'a mut Map<String, Value>, member: &str) -> &'a mut [Value] {
    match object.get_mut(member) {
        Some(Value::Array(items)) => items,
        _ => &mut [],
    }
}

/// A member that must name one of T.
fn name<T: DeserializeOwned>(
    object: &mut Map<String, Value>,
    member: &str,
    what: &str,
    place: &str,
) -> Result<()> {
    let value = object.entry(member).or_insert_with(|| "".into());
    known::<T>(value, what, || format!("{place}{member}"))
}

fn known<T: DeserializeOwned>(
    value: &Value,
    what: &str,
    place: impl FnOnce() -> String,
) -> Result<()> {
    match unknown::<T>(value) {
        Some(text) => Err(Error::config(format!(
            "{}: string {text} is not a valid {what} for seccomp",
            place()
        ))),
        None => Ok(()),
    }
}

/// A text that the type does not know.
fn unknown<T: DeserializeOwned>(value: &Value) -> Option<&str> {
    let text = value.as_str()?;
    T::deserialize(value).is_err().then_some(text)
}

#[cfg(test)]
mod tests {
    use super::super::parse_seccomp;

    #[test]
    fn what_is_absent_is_empty() {
        let json = br#"{"defaultAction":"SCMP_ACT_ALLOW","flags":null,"syscalls":[{"action":"SCMP_ACT_LOG"},
            {"names":["read"],"action":"SCMP_ACT_LOG","args":[{"op":"SCMP_CMP_EQ"}]}]}"#;
        let profile = parse_seccomp(json).unwrap();
        let rules = profile.syscalls().as_ref().unwrap();
        assert!(rules[0].names().is_empty());
        let arguments = rules[1].args().as_ref().unwrap();
        assert_eq!((arguments[0].index(), arguments[0].value()), (0, 0));
        assert_eq!(profile.flags(), &None);
    }

    #[test]
    fn what_is_unknown_has_runcs_words() {
        for (members, words) in [
            (
                r#""defaultAction":"X""#,
                "defaultAction: string X is not a valid action for seccomp",
            ),
            (
                r#""syscalls":[{"names":["read"]}]"#,
                "defaultAction: string  is not a valid action for seccomp",
            ),
            (
                r#""defaultAction":"SCMP_ACT_LOG","syscalls":[{"names":["read"],"action":"X"}]"#,
                "syscalls[0].action: string X is not a valid action for seccomp",
            ),
            (
                r#""defaultAction":"SCMP_ACT_LOG","syscalls":[{"action":"SCMP_ACT_LOG","args":[{"op":"X"}]}]"#,
                "syscalls[0].args[0].op: string X is not a valid operator for seccomp",
            ),
            (
                r#""defaultAction":"SCMP_ACT_LOG","architectures":["SCMP_ARCH_X86","X"]"#,
                "architectures[1]: string X is not a valid arch for seccomp",
            ),
            (
                r#""defaultAction":"SCMP_ACT_LOG","flags":["X"]"#,
                "flags[0]: seccomp flag X is not known to vzrun",
            ),
        ] {
            let error = parse_seccomp(format!("{{{members}}}").as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), words);
            let json = format!(r#"{{"ociVersion":"1.0.0","linux":{{"seccomp":{{{members}}}}}}}"#);
            let error = super::super::parse(json.into_bytes()).unwrap_err();
            assert_eq!(error.to_string(), format!("linux.seccomp.{words}"));
        }
        let error = parse_seccomp(br#"{"defaultAction":7}"#).unwrap_err();
        assert!(error.to_string().starts_with("defaultAction: "), "{error}");
    }
}
