//! The options of a mount: of two words about the same the last counts, mount_setattr(2) takes what comes of them, and
//! what nobody knows goes to the file system, in order.

#![cfg_attr(feature = "libfuzzer", no_main)]

use vzrun::fuzz::{mount_option_names, mount_options};
use vzrun_fuzz::{Bytes, target};

/// MOUNT_ATTR_* with the words that set and clear each.
const SWITCHES: [(u64, &str, &str); 6] = [
    (0x1, "ro", "rw"),
    (0x2, "nosuid", "suid"),
    (0x4, "nodev", "dev"),
    (0x8, "noexec", "exec"),
    (0x80, "nodiratime", "diratime"),
    (0x20_0000, "nosymfollow", "symfollow"),
];
/// MOUNT_ATTR__ATIME, and its values by word.
const ATIME: u64 = 0x70;
const TIMES: [(u64, &str); 6] = [
    (0, "relatime"),
    (0x10, "noatime"),
    (0x20, "strictatime"),
    (0, "atime"),
    (0x20, "norelatime"),
    (0, "nostrictatime"),
];
/// MS_* with the words that set and clear each, and fsconfig(2)'s name for it.
const FILESYSTEM: [(u64, &str, &str, Option<&str>); 6] = [
    (1 << 4, "sync", "async", Some("sync")),
    (1 << 6, "mand", "nomand", Some("mand")),
    (1 << 7, "dirsync", "", Some("dirsync")),
    (1 << 15, "silent", "loud", None),
    (1 << 23, "iversion", "noiversion", None),
    (1 << 25, "lazytime", "nolazytime", Some("lazytime")),
];

target!(|data| {
    let names = mount_option_names();
    let words: Vec<String> = match data.strip_prefix(b"=") {
        Some(text) => String::from_utf8_lossy(text)
            .split(',')
            .map(str::to_owned)
            .collect(),
        None => {
            let mut bytes = Bytes::new(data);
            let mut words = Vec::new();
            while !bytes.is_empty() && words.len() < 64 {
                words.push(match bytes.byte() {
                    255 => format!("size={}", bytes.number()),
                    254 => "\0".to_owned(),
                    _ => names[bytes.below(names.len())].clone(),
                });
            }
            words
        }
    };
    let Ok(options) = mount_options(&words) else {
        assert!(words.iter().any(|word| word.contains('\0')), "{words:?}");
        return;
    };
    kernel_takes(options.attributes, &words, "");
    kernel_takes(options.recursive, &words, "r");
    let (flags, known) = &options.filesystem;
    for (bit, on, off, name) in FILESYSTEM {
        // There is no word that clears dirsync, and the empty one is none.
        let mut words_said = words.iter().filter(|word| !word.is_empty());
        let last = words_said.rfind(|word| *word == on || *word == off);
        assert_eq!(
            flags & bit != 0,
            last.is_some_and(|word| word == on),
            "{on}: {words:?}"
        );
        if let Some(name) = name {
            assert_eq!(known.contains(&name), flags & bit != 0, "{on}: {words:?}");
        }
    }
    let rest = words
        .iter()
        .filter(|word| !word.is_empty() && !names.contains(word));
    assert!(
        rest.eq(options.data.iter()),
        "{words:?}: {:?}",
        options.data
    );
    let kinds = ["shared", "slave", "private", "unbindable"];
    let turns = words.iter().filter(|word| {
        kinds.contains(&word.as_str())
            || word
                .strip_prefix('r')
                .is_some_and(|word| kinds.contains(&word))
    });
    assert_eq!(options.propagation.len(), turns.count(), "{words:?}");
    // Said twice it is no other mount.
    let twice: Vec<String> = words.iter().chain(&words).cloned().collect();
    let twice = mount_options(&twice).expect("nothing new");
    assert_eq!(twice.attributes, options.attributes, "{words:?}");
    assert_eq!(twice.recursive, options.recursive, "{words:?}");
    assert_eq!(twice.filesystem.0, options.filesystem.0, "{words:?}");
});

/// The rules of build_mount_kattr() in fs/namespace.c, and the last word for each attribute.
fn kernel_takes((set, clear): (u64, u64), words: &[String], prefix: &str) {
    let last_of = |a: &str, b: &str| {
        let found = words.iter().rfind(|word| {
            word.strip_prefix(prefix)
                .is_some_and(|word| word == a || word == b)
        });
        found.map(|word| word[prefix.len()..] == *a)
    };
    let mut known = ATIME;
    for (bit, on, off) in SWITCHES {
        known |= bit;
        let expected = match last_of(on, off) {
            Some(true) => (bit, 0),
            Some(false) => (0, bit),
            None => (0, 0),
        };
        assert_eq!(
            (set & bit, clear & bit),
            expected,
            "{prefix}{on}: {words:?}"
        );
    }
    assert_eq!((set | clear) & !known, 0, "{words:?}");
    let times = words
        .iter()
        .rev()
        .filter_map(|word| word.strip_prefix(prefix));
    let time = times
        .filter_map(|word| TIMES.iter().find(|(_, name)| *name == word))
        .next();
    let expected = time.map_or((0, 0), |(value, _)| (*value, ATIME));
    assert_eq!((set & ATIME, clear & ATIME), expected, "{words:?}");
}
