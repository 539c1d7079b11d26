//! /etc/passwd of a container, and `exec --user`: the home directory is that of the first line of that user, whatever
//! stands around it.

#![cfg_attr(feature = "libfuzzer", no_main)]

use vzrun::fuzz::{home, user};
use vzrun_fuzz::{Bytes, target};

target!(|data| {
    if let Ok(text) = std::str::from_utf8(data) {
        exec_user(text);
    }
    let text = match data.first() {
        Some(0..32) => lines(&mut Bytes::new(data)),
        _ => data.to_vec(),
    };
    for uid in [0, 1, 7, 1000, 65534, u32::MAX - 1] {
        let found = home(&text, uid).expect("a memfd");
        assert_eq!(
            found,
            plainly(&text, uid),
            "{uid}: {}",
            String::from_utf8_lossy(&text)
        );
        assert!(found.is_none_or(|home| !home.is_empty() && !home.contains([':', '\n'])));
    }
});

fn plainly(text: &[u8], uid: u32) -> Option<String> {
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if line.len() > 64 << 10 {
            return None;
        }
        let Ok(line) = std::str::from_utf8(line) else {
            continue;
        };
        let fields: Vec<&str> = line.trim().split(':').collect();
        let of_user = fields.get(2).is_some_and(|field| {
            field.bytes().all(|byte| byte.is_ascii_digit()) && field.parse() == Ok(uid)
        });
        if of_user {
            return fields
                .get(5)
                .filter(|home| !home.is_empty())
                .map(|home| (*home).to_owned());
        }
    }
    None
}

/// Something like an /etc/passwd.
fn lines(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    while !bytes.is_empty() {
        let part: &[u8] = match bytes.byte() {
            0..100 => b":",
            100..130 => b"\n",
            130..150 => b"0",
            150..165 => b"1000",
            165..175 => b"7",
            175..180 => b"+7",
            180..190 => b"/root",
            190..195 => b"x",
            195..200 => b"\r\n",
            200..205 => b"4294967295",
            205..210 => b"\xff",
            210..212 => &[b'y'; 33 << 10],
            212..230 => b"root:x:0:0::/root:/bin/sh\n",
            _ => b"u:x:1000:",
        };
        text.extend_from_slice(part);
        if text.len() > 1 << 20 {
            break;
        }
    }
    text
}

fn exec_user(text: &str) {
    let id = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits {
            text.parse::<u128>().unwrap_or(u128::MAX)
        } else {
            u128::MAX
        };
        u32::try_from(number).ok().filter(|id| *id != u32::MAX)
    };
    let mut parts = text.splitn(2, ':');
    let uid = parts.next().and_then(id);
    let expected = match (uid, parts.next()) {
        (Some(uid), None) => Some((uid, None)),
        (Some(uid), Some(gid)) => id(gid).map(|gid| (uid, Some(gid))),
        (None, _) => None,
    };
    assert_eq!(user(text).ok(), expected, "{text:?}");
}
