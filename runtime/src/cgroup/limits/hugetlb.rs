//! linux.resources.hugepageLimits: hugetlb.SIZE.max and hugetlb.SIZE.rsvd.max.

use super::setting::{Missing, Setting};
use crate::error::{Error, Result};
use crate::spec::LinuxHugepageLimit;

/// Bytes in huge pages, by the size of the pages as the kernel names it (`2MB`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hugetlb {
    pub(crate) limits: Vec<(String, u64)>,
}

impl Hugetlb {
    pub(super) fn plan(limits: Option<&[LinuxHugepageLimit]>) -> Result<Hugetlb> {
        let mut planned = Vec::new();
        for (n, limit) in limits.unwrap_or_default().iter().enumerate() {
            let size = limit.page_size();
            // It becomes part of a file's name.
            if size.is_empty() || !size.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(Error::config(format!(
                    "linux.resources.hugepageLimits[{n}].pageSize: {size:?} is no size like 2MB"
                )));
            }
            // The specification has it unsigned, and the type does not.
            planned.push((size.clone(), limit.limit().cast_unsigned()));
        }
        Ok(Hugetlb { limits: planned })
    }

    pub(super) fn settings(&self, all: &mut Vec<Setting>) {
        for (size, limit) in &self.limits {
            let property = format!("linux.resources.hugepageLimits of {size}");
            let used = format!("hugetlb.{size}.max");
            let reserved = format!("hugetlb.{size}.rsvd.max");
            all.push(Setting::new(property.clone(), used, limit));
            // Linux 5.7. It stops a mapping, while the other stops the use of it with SIGBUS.
            all.push(Setting::new(property, reserved, limit).missing(Missing::Skip));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn files() {
        check(&[
            (
                r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304},{"pageSize":"1GB","limit":0}]}"#,
                &[
                    "hugetlb.2MB.max=4194304",
                    "hugetlb.2MB.rsvd.max=4194304",
                    "hugetlb.1GB.max=0",
                    "hugetlb.1GB.rsvd.max=0",
                ],
            ),
            (
                r#"{"hugepageLimits":[{"pageSize":"2MB","limit":18446744073709551615}]}"#,
                &[
                    "hugetlb.2MB.max=18446744073709551615",
                    "hugetlb.2MB.rsvd.max=18446744073709551615",
                ],
            ),
            (
                r#"{"hugepageLimits":[{"pageSize":"../x","limit":1}]}"#,
                &[r#"linux.resources.hugepageLimits[0].pageSize: "../x" is no size like 2MB"#],
            ),
        ]);
    }
}
