//! Documents that are nearly valid: changes drawn by chance, in the structure and in the bytes.

use crate::{Dice, Value, json};

fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let mut each = |key: &str, value: &Value| {
        let place = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        found.push(place.clone());
        places(value, &place, found);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(key, value)| each(key, value)),
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.for_each(|(at, value)| each(&at.to_string(), value));
        }
        _ => {}
    }
}

/// All places in a document, as JSON pointers.
pub fn places_of(config: &Value) -> Vec<String> {
    let mut found = Vec::new();
    places(config, "", &mut found);
    found
}

/// Strings that have a meaning somewhere, or ought not to.
const WORDS: &[&str] = &[
    "",
    " ",
    "/",
    ".",
    "..",
    "../..",
    "/..",
    "/../../../../tmp/x",
    "rootfs/../../..",
    "a/b/../../c",
    "/proc",
    "/proc/self/exe",
    "/proc/self/fd/3",
    "/proc/1/ns/net",
    "/dev/null",
    "/etc/passwd",
    "/sys/fs/cgroup",
    "//",
    "/\u{0}",
    "a\u{0}b",
    "\u{0}",
    "\n",
    "=",
    "A=\u{0}",
    "%s%n",
    "-1",
    "0",
    "4294967296",
    "0-99999",
    "0-",
    "1,,2",
    "\u{fffd}",
    "\u{10ffff}",
    "\u{202e}x",
    "null",
    "true",
    "bind",
    "rbind",
    "ro",
    "tmpfs",
    "proc",
    "sysfs",
    "cgroup",
    "mqueue",
    "overlay",
    "nosuch",
    "pid",
    "user",
    "mount",
    "CAP_SYS_ADMIN",
    "CAP_NOSUCH",
    "RLIMIT_NOFILE",
    "RLIMIT_NOSUCH",
    "tmpcopyup",
    "size=1%",
    "size=-1",
    "mode=99999",
    "uid=-1",
    "idmap",
    "rro",
    "net.ipv4.ip_forward",
    "kernel.core_pattern",
    "/bin/true",
    "1.0.2",
    "99.99.99",
    "1.0.2-dev",
    "SCHED_DEADLINE",
    "IOPRIO_CLASS_RT",
];

fn wild_value(dice: &mut Dice, depth: u32) -> Value {
    match dice.below(if depth > 2 { 10 } else { 13 }) {
        0 => Value::Null,
        1 => json!(dice.below(2) == 0),
        2 => json!(-1),
        3 => json!(dice.number()),
        4 => json!(dice.below(70_000)),
        5 => json!(*dice.one_of(&[
            i64::MIN,
            i64::MAX,
            -2,
            0,
            1,
            1 << 31,
            1 << 32,
            65_535,
            4_294_967_295
        ])),
        6 => json!(*dice.one_of(&[0.5, -0.0, 1e308, 1e-9, 2e10])),
        7 => {
            let letter = *dice.one_of(&["a", "/", "../", "\u{e9}", "\"", "\u{1}"]);
            Value::String(letter.repeat(dice.below(5000)))
        }
        8 | 9 => json!(*dice.one_of(WORDS)),
        10 => Value::Array(
            (0..dice.below(4))
                .map(|_| wild_value(dice, depth + 1))
                .collect(),
        ),
        11 => {
            let count = dice.below(3);
            let member =
                |dice: &mut Dice| (dice.one_of(WORDS).to_string(), wild_value(dice, depth + 1));
            Value::Object((0..count).map(|_| member(dice)).collect())
        }
        _ => (0..dice.below(40)).fold(json!(0), |inner, _| json!([inner])),
    }
}

/// Changes one place of a document.
fn mutate(dice: &mut Dice, config: &mut Value) {
    let all = places_of(config);
    if all.is_empty() {
        return;
    }
    let place = dice.one_of(&all).clone();
    let other: &String = dice.one_of(&all);
    let other = config.pointer(other).cloned();
    let (parent, key) = place.rsplit_once('/').unwrap();
    match dice.below(10) {
        0..=4 => *config.pointer_mut(&place).unwrap() = wild_value(dice, 0),
        5 => *config.pointer_mut(&place).unwrap() = other.unwrap_or_default(),
        6 => match config.pointer_mut(parent) {
            Some(Value::Object(members)) => drop(members.remove(&key.replace("~1", "/"))),
            Some(Value::Array(items)) => drop(items.remove(key.parse().unwrap())),
            _ => {}
        },
        7 => match config.pointer_mut(parent) {
            Some(Value::Object(members)) => {
                members.insert(dice.one_of(WORDS).to_string(), other.unwrap_or_default());
            }
            Some(Value::Array(items)) => {
                let again = items[key.parse::<usize>().unwrap()].clone();
                let count = *dice.one_of(&[1, 2, 30]);
                items.extend(std::iter::repeat_n(again, count));
            }
            _ => {}
        },
        8 => {
            let value = config.pointer_mut(&place).unwrap();
            *value = match dice.below(2) {
                0 => json!([value.clone()]),
                _ => json!({ "x": value.clone() }),
            };
        }
        _ => {
            if let Some(Value::String(text)) = config.pointer_mut(&place) {
                let word = *dice.one_of(WORDS);
                *text = if dice.below(2) == 0 {
                    format!("{text}{word}")
                } else {
                    format!("{word}{text}")
                };
            }
        }
    }
}

/// Changes a few bytes.
fn damage(dice: &mut Dice, text: &mut Vec<u8>) {
    let at = dice
        .below(text.len().max(1))
        .min(text.len().saturating_sub(1));
    match dice.below(6) {
        0 => text.truncate(at),
        1 => text[at] = dice.number() as u8,
        2 => text.insert(at, *dice.one_of(b"\0\xff\x80{}[],:\"\\0-e. \n")),
        3 => drop(text.remove(at)),
        4 => {
            let end = (at + dice.below(40)).min(text.len());
            let piece = text[at..end].to_vec();
            text.splice(at..at, piece);
        }
        _ => {
            let numbers = [
                &b"-0"[..],
                b"1e400",
                b"18446744073709551616",
                b"-9223372036854775809",
                b"1.5",
                b"00",
            ];
            let digit = text.iter().skip(at).position(u8::is_ascii_digit);
            if let Some(digit) = digit {
                text.splice(
                    at + digit..=at + digit,
                    dice.one_of(&numbers).iter().copied(),
                );
            }
        }
    }
}

/// A document of another shape or with other values than the given one, or no document at all.
pub fn mutation(dice: &mut Dice, config: &Value) -> Vec<u8> {
    let mut config = config.clone();
    for _ in 0..*dice.one_of(&[1, 1, 1, 2, 3]) {
        mutate(dice, &mut config);
    }
    let mut text = serde_json::to_vec(&config).unwrap();
    if dice.below(5) == 0 {
        damage(dice, &mut text);
    }
    text
}
