//! io.stat and io.pressure.

use serde::Serialize;

use super::{Cgroup, Pressure, is_zero, malformed};
use crate::error::Result;

/// Block devices, under the names of cgroup v1; the others that it had are nothing in v2.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blkio {
    /// Bytes moved (`rbytes`, `wbytes`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    /// Operations (`rios`, `wios`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    /// Waiting for block devices; `None` where the kernel does not account for it.
    #[serde(rename = "psi", skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
}

/// A number of one device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct BlkioEntry {
    /// Major number of the device.
    #[serde(skip_serializing_if = "is_zero")]
    pub major: u64,
    /// Minor number of the device.
    #[serde(skip_serializing_if = "is_zero")]
    pub minor: u64,
    /// `Read` or `Write`.
    pub op: &'static str,
    /// Bytes or operations.
    #[serde(skip_serializing_if = "is_zero")]
    pub value: u64,
}

impl Blkio {
    pub(super) fn read(cgroup: &Cgroup) -> Result<Blkio> {
        let text = cgroup.read("io.stat")?.unwrap_or_default();
        Ok(Blkio {
            pressure: Pressure::read(cgroup, "io.pressure")?,
            ..parse(&text)?
        })
    }
}

fn parse(text: &str) -> Result<Blkio> {
    let mut blkio = Blkio::default();
    for line in text.lines() {
        let wrong = || malformed("io.stat", line);
        let mut words = line.split_whitespace();
        // A device that has gone is not named.
        let Some((major, minor)) = words.next().and_then(|name| name.split_once(':')) else {
            continue;
        };
        let major = major.parse().map_err(|_| wrong())?;
        let minor = minor.parse().map_err(|_| wrong())?;
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let (list, op) = match key {
                "rbytes" => (&mut blkio.io_service_bytes_recursive, "Read"),
                "wbytes" => (&mut blkio.io_service_bytes_recursive, "Write"),
                "rios" => (&mut blkio.io_serviced_recursive, "Read"),
                "wios" => (&mut blkio.io_serviced_recursive, "Write"),
                _ => continue,
            };
            list.push(BlkioEntry {
                major,
                minor,
                op,
                value: value.parse().map_err(|_| wrong())?,
            });
        }
    }
    Ok(blkio)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_kernel_writes_it() {
        let text = "259:0 rbytes=4194304 wbytes=0 rios=33 wios=0 dbytes=0 dios=0\n\
                    8:0 \n7:2 rbytes=0 wbytes=8192 rios=0 wios=2 dbytes=0 dios=0 cost.usage=12\n(unknown)\n";
        assert_eq!(
            serde_json::to_string(&parse(text).unwrap()).unwrap(),
            r#"{"ioServiceBytesRecursive":[{"major":259,"op":"Read","value":4194304},{"major":259,"op":"Write"},{"major":7,"minor":2,"op":"Read"},{"major":7,"minor":2,"op":"Write","value":8192}],"ioServicedRecursive":[{"major":259,"op":"Read","value":33},{"major":259,"op":"Write"},{"major":7,"minor":2,"op":"Read"},{"major":7,"minor":2,"op":"Write","value":2}]}"#
        );
        assert_eq!(parse("").unwrap(), Blkio::default());
        for wrong in ["a:0 rbytes=1", "8:x rbytes=1", "8:0 rbytes=-1", "8:0 wios="] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
