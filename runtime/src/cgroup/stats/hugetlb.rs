//! hugetlb.SIZE.rsvd.current (before Linux 5.7: hugetlb.SIZE.current) and hugetlb.SIZE.events.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Cgroup, is_zero, value_of};
use crate::error::Result;
use crate::sys::fs::{self, OFlags};

/// Huge pages of one size.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Hugetlb {
    /// Bytes that are reserved, used or not.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// How often the limit has stood in the way.
    pub failcnt: u64,
}

pub(super) fn read(cgroup: &Cgroup) -> Result<BTreeMap<String, Hugetlb>> {
    let mut pages = BTreeMap::new();
    let listing = fs::openat(cgroup, ".", OFlags::RDONLY | OFlags::DIRECTORY, 0);
    let names = match listing.and_then(fs::names) {
        Ok(names) => names,
        Err(error) if fs::is_missing(&error) => return Ok(pages),
        Err(error) => return Err(error.wrap("looking for hugetlb files in the cgroup")),
    };
    for name in names {
        let Some(size) = name.to_str().ok().and_then(size_of_page) else {
            continue;
        };
        let reserved = cgroup.read_number(&format!("hugetlb.{size}.rsvd.current"))?;
        let usage = match reserved {
            None => cgroup.read_number(&format!("hugetlb.{size}.current"))?,
            some => some,
        };
        let events = format!("hugetlb.{size}.events");
        let text = cgroup.read(&events)?.unwrap_or_default();
        let page = Hugetlb {
            usage: usage.unwrap_or(0),
            failcnt: value_of(&events, &text, "max")?,
        };
        pages.insert(size.to_owned(), page);
    }
    Ok(pages)
}

/// `2MB` of `hugetlb.2MB.current`.
fn size_of_page(file: &str) -> Option<&str> {
    let size = file.strip_prefix("hugetlb.")?.strip_suffix(".current")?;
    (!size.contains('.')).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_files() {
        for (file, size) in [
            ("hugetlb.2MB.current", Some("2MB")),
            ("hugetlb.1GB.current", Some("1GB")),
            ("hugetlb.64KB.current", Some("64KB")),
            ("hugetlb.2MB.rsvd.current", None),
            ("hugetlb.2MB.events", None),
            ("memory.current", None),
        ] {
            assert_eq!(size_of_page(file), size, "{file}");
        }
    }

    #[test]
    fn as_runc_prints_it() {
        let page = |usage| Hugetlb { usage, failcnt: 3 };
        let pages = BTreeMap::from([("2MB", page(4 << 20)), ("1GB", page(0))]);
        assert_eq!(
            serde_json::to_string(&pages).unwrap(),
            r#"{"1GB":{"failcnt":3},"2MB":{"usage":4194304,"failcnt":3}}"#
        );
    }
}
