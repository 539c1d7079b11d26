//! linux.resources.blockIO: io.bfq.weight or io.weight, io.max.

use super::setting::{Missing, Setting};
use crate::error::{Error, Result};
use crate::spec::{LinuxBlockIo, LinuxThrottleDevice};

/// Input and output of block devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Io {
    /// As in the spec and for BFQ: 10 to 1000.
    pub(crate) weight: Option<u16>,
    pub(crate) device_weights: Vec<(Device, u16)>,
    pub(crate) throttles: Vec<Throttle>,
}

/// A block device by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// A limit of io.max.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Throttle {
    pub(crate) device: Device,
    /// `rbps`, `wbps` (bytes per second), `riops`, `wiops` (operations per second).
    pub(crate) what: &'static str,
    pub(crate) rate: u64,
}

impl Io {
    pub(super) fn plan(io: Option<&LinuxBlockIo>) -> Result<Io> {
        let Some(io) = io else {
            return Ok(Io::default());
        };
        let mut device_weights = Vec::new();
        for (n, weight) in io.weight_device().iter().flatten().enumerate() {
            let place = format!("weightDevice[{n}]");
            let device = Device::plan(&place, weight.major(), weight.minor())?;
            if let Some(weight) = in_range(&format!("{place}.weight"), weight.weight())? {
                device_weights.push((device, weight));
            }
        }
        let mut throttles = Vec::new();
        for (name, what, list) in [
            (
                "throttleReadBpsDevice",
                "rbps",
                io.throttle_read_bps_device(),
            ),
            (
                "throttleWriteBpsDevice",
                "wbps",
                io.throttle_write_bps_device(),
            ),
            (
                "throttleReadIOPSDevice",
                "riops",
                io.throttle_read_iops_device(),
            ),
            (
                "throttleWriteIOPSDevice",
                "wiops",
                io.throttle_write_iops_device(),
            ),
        ] {
            for (n, limit) in list.iter().flatten().enumerate() {
                throttles.push(Throttle::plan(&format!("{name}[{n}]"), what, limit)?);
            }
        }
        Ok(Io {
            weight: in_range("weight", io.weight())?,
            device_weights,
            throttles,
        })
    }

    pub(super) fn settings(&self, all: &mut Vec<Setting>) {
        if let Some(weight) = self.weight {
            let property = "linux.resources.blockIO.weight";
            let value = |weight: u64| Setting::new(property, "io.weight", weight);
            let instead = value(io_weight(weight)).keyed("default".into(), "default 100".into());
            all.push(
                Setting::new(property, "io.bfq.weight", weight)
                    .keyed("default".into(), "default 100".into())
                    .missing(Missing::Instead(Box::new(instead))),
            );
        }
        for (device, weight) in &self.device_weights {
            let property = "linux.resources.blockIO.weightDevice";
            let keyed = |file: &'static str, weight: u64| {
                Setting::new(property, file, format!("{device} {weight}"))
                    .keyed(device.to_string(), format!("{device} default"))
            };
            let instead = keyed("io.weight", io_weight(*weight));
            let bfq = keyed("io.bfq.weight", u64::from(*weight));
            all.push(bfq.missing(Missing::Instead(Box::new(instead))));
        }
        for Throttle { device, what, rate } in &self.throttles {
            let property = format!("linux.resources.blockIO, {what} of the device {device}");
            // The kernel takes no 0; in cgroup v1 it meant no limit.
            let value = match rate {
                0 => format!("{device} {what}=max"),
                _ => format!("{device} {what}={rate}"),
            };
            let unlimited = format!("{device} rbps=max wbps=max riops=max wiops=max");
            all.push(Setting::new(property, "io.max", value).keyed(device.to_string(), unlimited));
        }
    }
}

impl Throttle {
    fn plan(place: &str, what: &'static str, limit: &LinuxThrottleDevice) -> Result<Throttle> {
        Ok(Throttle {
            device: Device::plan(place, limit.major(), limit.minor())?,
            what,
            rate: limit.rate(),
        })
    }
}

impl Device {
    fn plan(place: &str, major: i64, minor: i64) -> Result<Device> {
        match (u32::try_from(major), u32::try_from(minor)) {
            (Ok(major), Ok(minor)) => Ok(Device { major, minor }),
            _ => Err(Error::config(format!(
                "linux.resources.blockIO.{place}: {major}:{minor} is no number of a device"
            ))),
        }
    }
}

fn in_range(place: &str, weight: Option<u16>) -> Result<Option<u16>> {
    match weight {
        None | Some(0) => Ok(None),
        Some(10..=1000) => Ok(weight),
        Some(weight) => Err(Error::config(format!(
            "linux.resources.blockIO.{place}: {weight} is not between 10 and 1000"
        ))),
    }
}

/// io.weight (1 to 10,000) for a weight of 10 to 1000, on a straight line as runc has it.
pub(crate) fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight).saturating_sub(10)) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    #[test]
    fn weights() {
        for (weight, expected) in [(10, 1), (500, 4950), (750, 7475), (1000, 10_000)] {
            assert_eq!(io_weight(weight), expected);
        }
    }

    #[test]
    fn files() {
        check(&[
            (r#"{"blockIO":{"weight":0}}"#, &[]),
            (r#"{"blockIO":{"weight":750}}"#, &["io.bfq.weight=750"]),
            (
                r#"{"blockIO":{"weight":5}}"#,
                &["linux.resources.blockIO.weight: 5 is not between 10 and 1000"],
            ),
            (
                r#"{"blockIO":{"weightDevice":[{"major":8,"minor":16,"weight":500},{"major":8,"minor":0,"leafWeight":10}]}}"#,
                &["io.bfq.weight=8:16 500"],
            ),
            (
                r#"{"blockIO":{"weightDevice":[{"major":8,"minor":16,"weight":1001}]}}"#,
                &[
                    "linux.resources.blockIO.weightDevice[0].weight: 1001 is not between 10 and 1000",
                ],
            ),
            (
                r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1048576}],
                    "throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":2}],
                    "throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":3}],
                    "throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":0}]}}"#,
                &[
                    "io.max=8:0 rbps=1048576",
                    "io.max=8:0 wbps=2",
                    "io.max=8:0 riops=3",
                    "io.max=8:0 wiops=max",
                ],
            ),
            (
                r#"{"blockIO":{"throttleReadBpsDevice":[{"major":-8,"minor":0,"rate":1}]}}"#,
                &[
                    "linux.resources.blockIO.throttleReadBpsDevice[0]: -8:0 is no number of a device",
                ],
            ),
        ]);
    }
}
