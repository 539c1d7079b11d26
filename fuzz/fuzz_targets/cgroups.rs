//! Cgroups: no path leads out of the hierarchy, a scope is where its slice's name says, and what resources come to are
//! lines for files of a cgroup, in ranges that the kernel takes, and a message that systemd can read.

#![cfg_attr(feature = "libfuzzer", no_main)]

use std::path::{Component, Path};

use serde_json::Value;
use vzrun::fuzz::cgroup;
use vzrun_fuzz::{Bytes, json, target};

const WHOLE: &str = include_str!("../templates/config.json");

target!(|data| {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    match (kind % 4, std::str::from_utf8(rest)) {
        (0, Ok(text)) => path(text),
        (1, Ok(text)) => scope(text),
        (2, Ok(text)) => {
            let (name, value) = text.split_once('=').unwrap_or(("TimeoutStopUSec", text));
            if let Ok(call) = cgroup::annotation(name, value) {
                is_a_message(&call);
            }
        }
        _ => values(rest),
    }
});

fn path(given: &str) {
    let own = cgroup::of_process(given);
    assert!(given.contains(own.to_str().unwrap_or_default()) || own == Path::new("/"));
    let Ok(path) = cgroup::place(Some(Path::new(given)), "id") else {
        return;
    };
    let mut components = path.components();
    assert_eq!(components.next(), Some(Component::RootDir), "{given:?}");
    assert!(
        components.all(|one| matches!(one, Component::Normal(_))),
        "{given:?}: {path:?}"
    );
    assert!(path.file_name().is_some() && !path.as_os_str().as_encoded_bytes().contains(&0));
    // By the text alone.
    let mut names: Vec<&str> = Vec::new();
    for name in given.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    match given.starts_with('/') {
        true => assert_eq!(path, Path::new("/").join(names.join("/"))),
        false if given.is_empty() => assert!(path.ends_with("id")),
        false => assert!(path.ends_with(names.join("/")), "{given:?}: {path:?}"),
    }
}

fn scope(given: &str) {
    for of_user in [false, true] {
        let Ok(scope) = cgroup::scope(given, "id", of_user) else {
            continue;
        };
        let name = scope.name.strip_suffix(".scope").expect("a scope");
        assert!(
            name.contains('-') && scope.name.len() <= 255 && !name.contains('/'),
            "{scope:?}"
        );
        let path = scope.path.as_ref().expect("a slice has a path");
        let names: Vec<&str> = path
            .iter()
            .skip(1)
            .map(|name| name.to_str().expect("UTF-8"))
            .collect();
        let Some((last, slices)) = names.split_last() else {
            panic!("{scope:?} has no path");
        };
        assert_eq!(*last, scope.name);
        // Each slice is in the one whose name it continues.
        let mut outer = String::new();
        for slice in slices {
            let stem = slice.strip_suffix(".slice").expect("a slice");
            let own = stem
                .strip_prefix(&outer)
                .expect("the outer one's name in front");
            assert!(
                !own.is_empty() && !own.contains(['-', '/']),
                "{}",
                scope.slice
            );
            outer = format!("{stem}-");
        }
        match slices.last() {
            Some(slice) => assert_eq!(*slice, scope.slice),
            None => assert_eq!(scope.slice, "-.slice"),
        }
    }
}

fn values(data: &[u8]) {
    let text = match data {
        [b'{', ..] => data.to_vec(),
        _ => {
            let mut config: Value = serde_json::from_str(WHOLE).expect("JSON");
            let mut resources = config
                .pointer_mut("/linux/resources")
                .expect("resources")
                .take();
            json::change(&mut resources, &mut Bytes::new(data));
            resources.to_string().into_bytes()
        }
    };
    let Ok(new) = cgroup::values(&text, None) else {
        return;
    };
    let all = new.files;
    is_a_message(&new.call);
    // The same once more changes nothing of what it says itself.
    let again = cgroup::values(&text, Some(&text)).expect("what was good stays good");
    assert_eq!(all, again.files, "{}", String::from_utf8_lossy(&text));
    // What systemd is told is limited, too: a number of a CPU is a bit.
    assert!(
        new.call.len() < (32 << 10) + 40 * text.len(),
        "{} bytes",
        new.call.len()
    );
    let count = new.properties.len();
    let mut names = new.properties;
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "a property twice: {names:?}");
    // Names that nobody asks for may be of any bytes.
    let unified: Option<Value> = serde_json::from_str(&String::from_utf8_lossy(&text)).ok();
    let unified = unified.and_then(|all| all.get("unified").cloned());
    for (file, value) in &all {
        let (controller, rest) = file.split_once('.').expect("CONTROLLER.PARAMETER");
        assert!(
            !controller.is_empty() && !rest.is_empty() && !file.contains('/'),
            "{file}"
        );
        assert!(!value.contains(['\n', '\0']), "{file}: {value:?}");
        // Whatever the config names itself is the kernel's to judge.
        if unified.as_ref().is_none_or(|all| all.get(file).is_none()) {
            judge(file, value);
        }
    }
}

/// What the kernel would say of a value, whatever the machine has.
fn judge(file: &str, value: &str) {
    let number = |text: &str| text.parse::<u64>().ok();
    let amount = |text: &str| text == "max" || number(text).is_some();
    let within =
        |text: &str, least, most| number(text).is_some_and(|n| (least..=most).contains(&n));
    let good = match file {
        "memory.max" | "memory.swap.max" | "memory.low" | "pids.max" => amount(value),
        "cpu.weight" => within(value, 1, 10_000),
        "cpu.idle" => within(value, 0, 1),
        "cpu.max" => value
            .split_once(' ')
            .is_some_and(|(quota, period)| amount(quota) && number(period).is_some()),
        "cpu.max.burst" => number(value).is_some(),
        "io.weight" => within(value, 1, 10_000),
        "io.bfq.weight" => within(value.rsplit(' ').next().unwrap_or_default(), 1, 1000),
        "io.max" => value
            .split_once('=')
            .is_some_and(|(_, rate)| rate == "max" || number(rate).is_some_and(|n| n > 0)),
        "cpuset.cpus" | "cpuset.mems" => !value.is_empty(),
        _ if file.starts_with("hugetlb.") => amount(value),
        "rdma.max" => value
            .split(' ')
            .skip(1)
            .all(|one| one.split_once('=').is_some_and(|(_, n)| amount(n))),
        _ => panic!("{file} is written, and nobody knows what: {value:?}"),
    };
    assert!(good, "{file}: {value:?}");
}

fn is_a_message(call: &[u8]) {
    let (length, body, texts) = cgroup::message(call).expect("systemd could not read it");
    assert!(length == call.len() && body < length);
    assert_eq!(texts[..2], ["a.scope", "replace"]);
}
