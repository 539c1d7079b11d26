//! JSON documents out of a fuzzer's bytes: a whole one, changed in places that matter.

use serde_json::{Value, json};

use crate::Bytes;

/// More changes than that make nothing new.
const MOST_CHANGES: usize = 48;

/// Bytes that begin with `{` are a document as they are; others are changes to `template`.
///
/// # Panics
/// The template is none.
pub fn document(data: &[u8], template: &str) -> Vec<u8> {
    if data.first() == Some(&b'{') {
        return data.to_vec();
    }
    let mut document: Value = serde_json::from_str(template).expect("a template is JSON");
    change(&mut document, &mut Bytes::new(data));
    document.to_string().into_bytes()
}

/// Changes a document as the bytes say.
pub fn change(document: &mut Value, bytes: &mut Bytes<'_>) {
    for _ in 0..MOST_CHANGES {
        let mut places = Vec::new();
        gather(document, String::new(), &mut places);
        if bytes.is_empty() || places.is_empty() {
            return;
        }
        let place = &places[bytes.below(places.len())];
        match bytes.byte() % 6 {
            0 => remove(document, place),
            1 => {
                let other = document
                    .pointer(&places[bytes.below(places.len())])
                    .cloned();
                set(document, place, other.unwrap_or_default());
            }
            2 => repeat(document, place),
            3 => {
                let number = json!(bytes.number().cast_signed() >> (bytes.byte() % 64));
                set(document, place, number);
            }
            4 => write_into(document, place, bytes),
            _ => set(document, place, odd(bytes)),
        }
    }
}

/// Values that parsers are wrong about.
fn odd(bytes: &mut Bytes<'_>) -> Value {
    const TEXTS: [&str; 24] = [
        "",
        "/",
        ".",
        "..",
        "/a/../..",
        "../b",
        "a\0b",
        "a\nb",
        " ",
        "max",
        "-1",
        "0",
        "0-3,7",
        "0-4294967295",
        "1:2",
        "a:b:c",
        "a-b.slice:c:d",
        "rw",
        "rbind",
        "ridmap",
        "SCMP_ACT_ERRNO",
        "CAP_SYS_ADMIN",
        "pid",
        "\u{fffd}é",
    ];
    match bytes.byte() % 13 {
        0 => Value::Null,
        1 => json!(true),
        2 => json!([]),
        3 => json!({}),
        4 => json!(0),
        5 => json!(-1),
        6 => json!(u32::MAX),
        7 => json!(i64::MIN),
        8 => json!(u64::MAX),
        9 => json!(1.5),
        10 => json!("x".repeat(bytes.below(5000))),
        _ => json!(bytes.one_of(&TEXTS)),
    }
}

/// The JSON pointers of all that is in a value.
fn gather(value: &Value, place: String, places: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                let key = key.replace('~', "~0").replace('/', "~1");
                gather(member, format!("{place}/{key}"), places);
            }
        }
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                gather(item, format!("{place}/{n}"), places);
            }
        }
        _ => {}
    }
    if !place.is_empty() {
        places.push(place);
    }
}

fn set(document: &mut Value, place: &str, value: Value) {
    // What is put into itself again and again would not end.
    if value.to_string().len() < 20_000
        && let Some(found) = document.pointer_mut(place)
    {
        *found = value;
    }
}

/// What contains it, and its name there.
fn parent<'d>(document: &'d mut Value, place: &str) -> Option<(&'d mut Value, String)> {
    let (parent, key) = place.rsplit_once('/')?;
    let key = key.replace("~1", "/").replace("~0", "~");
    Some((document.pointer_mut(parent)?, key))
}

fn remove(document: &mut Value, place: &str) {
    match parent(document, place) {
        Some((Value::Object(members), key)) => drop(members.remove(&key)),
        Some((Value::Array(items), key)) => {
            if let Ok(n) = key.parse::<usize>() {
                items.remove(n);
            }
        }
        _ => {}
    }
}

/// An item of a list once more; a member under another name.
fn repeat(document: &mut Value, place: &str) {
    match parent(document, place) {
        Some((Value::Object(members), key)) => {
            if let Some(member) = members.get(&key).cloned() {
                members.insert(format!("{key}x"), member);
            }
        }
        Some((Value::Array(items), key)) if items.len() < 200 => {
            if let Some(item) = key.parse().ok().and_then(|n: usize| items.get(n)).cloned() {
                items.push(item);
            }
        }
        _ => {}
    }
}

/// A character more in a text, or another key of an object.
fn write_into(document: &mut Value, place: &str, bytes: &mut Bytes<'_>) {
    let letter = match bytes.byte() {
        byte @ 0..128 => char::from(byte),
        other => *[':', '/', '.', '-', '=', '\0', ',', '\u{e9}']
            .get(usize::from(other % 8))
            .unwrap_or(&'x'),
    };
    let put = |text: &mut String, at: usize| {
        let mut at = at % (text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        text.insert(at, letter);
    };
    let at = bytes.below(1 << 16);
    if let Some(Value::String(text)) = document.pointer_mut(place) {
        put(text, at);
    } else if let Some((Value::Object(members), mut key)) = parent(document, place)
        && let Some(member) = members.remove(&key)
    {
        put(&mut key, at);
        members.insert(key, member);
    }
}
