//! A report as a list of places and values, without what is another one each time.

use integration::{Bundle, Value};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

pub(crate) type Facts = BTreeMap<String, String>;

/// Numbers that the kernel gives out, the time, and what the test itself has chosen.
const CHANGING: [&str; 14] = [
    "args",
    "clock_boottime",
    "clock_monotonic",
    "dev",
    "id",
    "ino",
    "nlink",
    "ns_pid",
    "parent",
    "pid",
    "ppid",
    "size",
    "start_time",
    "timens_offsets",
];

/// The facts of a report, each place with `who` in front.
pub(crate) fn facts(who: &str, text: &str, bundle: &Bundle) -> Facts {
    let mut report: Value =
        serde_json::from_str(text).unwrap_or_else(|e| panic!("no report ({e}): {text}"));
    let pid = report["pid"].clone();
    for name in ["pgid", "sid"] {
        let own = report[name] == pid;
        report[name] = Value::from(if own { "its own" } else { "another's" });
    }
    namespaces(&mut report["namespaces"]);
    for fd in report["fds"].as_array_mut().unwrap() {
        let target = fd["target"].as_str().unwrap_or_default();
        let io = target.starts_with(bundle.home().join("io").to_str().unwrap());
        let kind = target.split(":[").next().unwrap_or_default();
        fd["target"] = Value::from(if io { "the caller's" } else { kind });
    }
    // Two signals are glibc's own: its posix_spawn(3) has them ignored, and they are the caller's, then.
    let ignored = report["signals_ignored"].as_array_mut().unwrap();
    ignored.retain(|signal| !["32", "33"].contains(&signal.to_string().trim_matches('"')));
    // A terminal's size comes when it comes.
    for size in report["tty"].as_array_mut().unwrap() {
        *size = Value::from(if size.is_null() { "none" } else { "a terminal" });
    }
    // crun makes it also where it leads to nothing.
    if !Path::new("/proc/kcore").exists() {
        let dev = report["dev"].as_object_mut().unwrap();
        dev.remove("/dev/core");
    }
    keyed(&mut report["fds"], |fd| fd["fd"].to_string());
    let mut mounts = report["mounts"].take();
    for mount in mounts.as_array_mut().unwrap() {
        let propagation = mount["propagation"].as_array_mut().unwrap();
        for word in propagation {
            let text = word.as_str().unwrap_or_default();
            *word = Value::from(text.split(':').next().unwrap_or_default());
        }
        for list in ["options", "super"] {
            let words = mount[list].as_array_mut().unwrap();
            words.sort_by_key(|word| word.to_string());
        }
    }
    keyed(&mut mounts, |mount| {
        mount["mountpoint"].as_str().unwrap().to_string()
    });
    report["mounts"] = mounts;
    keyed(&mut report["env"], |variable| {
        let text = variable.as_str().unwrap_or_default();
        text.split('=').next().unwrap_or_default().to_string()
    });

    let mut facts = Facts::new();
    flatten(who, &report, &mut facts);
    let home = bundle.home().display().to_string();
    for value in facts.values_mut() {
        *value = value.replace(&home, "HOME").replace(bundle.id(), "ID");
    }
    facts
}

/// Whose each namespace is.
fn namespaces(all: &mut Value) {
    for (kind, inode) in all.as_object_mut().unwrap() {
        let host = fs::metadata(format!("/proc/self/ns/{kind}")).unwrap().ino();
        let own = inode.as_u64() != Some(host);
        *inode = Value::from(if own { "its own" } else { "the host's" });
    }
}

/// Makes an object of a list; of those with the same key the later ones are numbered.
fn keyed(list: &mut Value, key: impl Fn(&Value) -> String) {
    let mut object = serde_json::Map::new();
    for item in list.as_array().unwrap() {
        let first = key(item);
        let mut name = first.clone();
        for number in 2.. {
            if !object.contains_key(&name) {
                break;
            }
            name = format!("{first} ({number})");
        }
        object.insert(name, item.clone());
    }
    *list = Value::Object(object);
}

fn flatten(place: &str, value: &Value, facts: &mut Facts) {
    match value {
        Value::Object(parts) => {
            for (name, part) in parts {
                // In /dev, and wherever it is a name of a number.
                if !CHANGING.contains(&name.as_str()) || part.is_object() {
                    let slash = if name.starts_with('/') { "" } else { "/" };
                    flatten(&format!("{place}{slash}{name}"), part, facts);
                }
            }
        }
        Value::String(text) => {
            facts.insert(place.to_string(), text.clone());
        }
        Value::Array(list) if list.iter().all(Value::is_string) => {
            let words: Vec<_> = list.iter().filter_map(Value::as_str).collect();
            facts.insert(place.to_string(), words.join(","));
        }
        other => {
            facts.insert(place.to_string(), other.to_string());
        }
    }
}
