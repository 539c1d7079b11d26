//! mountinfo: any text is read without a fault, and what the kernel writes of a mount is read as it was.

#![cfg_attr(feature = "libfuzzer", no_main)]

use vzrun::fuzz::mountinfo;
use vzrun_fuzz::{Bytes, target};

target!(|data| {
    let found = mountinfo(data);
    assert!(found.len() <= data.iter().filter(|byte| **byte == b'\n').count() + 1);
    assert!(found.iter().map(|(_, place, _)| place.len()).sum::<usize>() <= data.len());

    let mut bytes = Bytes::new(data);
    let mut text = Vec::new();
    let mut mounts = Vec::new();
    while !bytes.is_empty() && mounts.len() < 50 {
        let id = bytes.number() >> (bytes.byte() % 64);
        let path = |bytes: &mut Bytes<'_>| {
            let length = bytes.byte() % 40;
            let names = (0..length).map(|_| bytes.byte().max(1));
            [b'/'].into_iter().chain(names).collect::<Vec<u8>>()
        };
        let (root, place) = (path(&mut bytes), path(&mut bytes));
        let kind = ["proc", "sysfs", "tmpfs", "fuse.a-b"][usize::from(bytes.byte() % 4)];
        let tags =
            ["", " shared:5", " shared:5 master:6", " unbindable"][usize::from(bytes.byte() % 4)];
        text.extend(format!("{id} 1 0:61 ").bytes());
        mangle(&root, &mut text);
        text.push(b' ');
        mangle(&place, &mut text);
        text.extend(format!(" rw,relatime{tags} - {kind} a\\040- rw,x=-\n").bytes());
        mounts.push((id, place, kind.to_owned()));
    }
    assert_eq!(
        mountinfo(&text),
        mounts,
        "{}",
        String::from_utf8_lossy(&text)
    );
});

/// As the kernel writes paths (mangle_path() in fs/seq_file.c).
fn mangle(path: &[u8], text: &mut Vec<u8>) {
    for byte in path {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => text.extend(format!("\\{byte:03o}").bytes()),
            byte => text.push(*byte),
        }
    }
}
