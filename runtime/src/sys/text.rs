//! The program's own code in memory.

use std::ffi::c_void;

/// madvise(2) MADV_DONTNEED for the code of this program: what of it is needed again comes back from the page cache. For a process that
/// has done a lot once, and from now on sleeps: it is counted with what it uses. `maps` is /proc/self/maps.
///
/// Where it fails nothing is lost but the room.
pub(crate) fn forget(maps: &str) {
    for (start, length) in maps.lines().filter_map(code) {
        let start = std::ptr::with_exposed_provenance_mut::<c_void>(start);
        // SAFETY: a mapping of a file that this process can execute and not write has the file's content, whenever it is read.
        unsafe { libc::madvise(start, length, libc::MADV_DONTNEED) };
    }
}

/// Start and length of a mapping of code: `START-END r-xp OFFSET DEVICE INODE PATH` (proc_pid_maps(5)). Read-only data is left out:
/// part of it has been written when the program began.
fn code(line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let is_code = words.next() == Some("r-xp");
    let inode = words.nth(2)?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    let (start, end) = (number(start)?, number(end)?);
    (is_code && inode != "0").then_some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_of_code() {
        for (line, found) in [
            (
                "00201000-00203000 r-xp 00001000 fe:00 77 /usr/bin/vzrun",
                Some((0x20_1000, 0x2000)),
            ),
            (
                "00200000-00201000 r--p 00000000 fe:00 77 /usr/bin/vzrun",
                None,
            ),
            (
                "00203000-00204000 rw-p 00003000 fe:00 77 /usr/bin/vzrun",
                None,
            ),
            (
                "7ffe85ec8000-7ffe85eca000 r-xp 00000000 00:00 0    [vdso]",
                None,
            ),
            ("", None),
        ] {
            assert_eq!(code(line), found, "{line}");
        }
    }

    #[test]
    fn code_comes_back() {
        forget(&std::fs::read_to_string("/proc/self/maps").unwrap());
        assert_eq!(code("1-3 r-xp 0 fe:00 7 /x"), Some((1, 2)));
    }
}
