//! What resctrl says of a container's group: cache and memory bandwidth, allotted and used.

use std::path::Path;

use serde::Serialize;

use super::{is_zero, number};
use crate::error::{Context, Result};
use crate::sys::fs::{self, CWD, OFlags};

/// The resctrl group of a container, and what the machine has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct IntelRdt {
    /// The machine's L3 cache.
    #[serde(rename = "l3_cache_info", skip_serializing_if = "Option::is_none")]
    pub cache_info: Option<CacheInfo>,
    /// The `L3` line of the root group's schemata.
    #[serde(
        rename = "l3_cache_schema_root",
        skip_serializing_if = "String::is_empty"
    )]
    pub cache_schema_root: String,
    /// The `L3` line of the container's group.
    #[serde(rename = "l3_cache_schema", skip_serializing_if = "String::is_empty")]
    pub cache_schema: String,
    /// The machine's memory bandwidth.
    #[serde(rename = "mem_bw_info", skip_serializing_if = "Option::is_none")]
    pub bandwidth_info: Option<BandwidthInfo>,
    /// The `MB` line of the root group's schemata.
    #[serde(
        rename = "mem_bw_schema_root",
        skip_serializing_if = "String::is_empty"
    )]
    pub bandwidth_schema_root: String,
    /// The `MB` line of the container's group.
    #[serde(rename = "mem_bw_schema", skip_serializing_if = "String::is_empty")]
    pub bandwidth_schema: String,
    /// Memory bandwidth used, per domain; `None` where the machine does not monitor it.
    #[serde(rename = "mbm_stats", skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Vec<BandwidthMonitor>>,
    /// Cache used, per domain; `None` where the machine does not monitor it.
    #[serde(rename = "cmt_stats", skip_serializing_if = "Option::is_none")]
    pub cache: Option<Vec<CacheMonitor>>,
}

/// `info/L3`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CacheInfo {
    /// All bits that a mask may have, in hexadecimal.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cbm_mask: String,
    /// The fewest bits that a mask must have.
    #[serde(skip_serializing_if = "is_zero")]
    pub min_cbm_bits: u64,
    /// How many groups there may be.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_closids: u64,
}

/// `info/MB`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct BandwidthInfo {
    /// Steps of the limit, in percent.
    #[serde(skip_serializing_if = "is_zero")]
    pub bandwidth_gran: u64,
    /// 1 where the limit works linearly.
    #[serde(skip_serializing_if = "is_zero")]
    pub delay_linear: u64,
    /// The smallest limit, in percent.
    #[serde(skip_serializing_if = "is_zero")]
    pub min_bandwidth: u64,
    /// How many groups there may be.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_closids: u64,
}

/// Bytes that have gone to and from memory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct BandwidthMonitor {
    /// All.
    pub mbm_total_bytes: u64,
    /// Those of the domain's own memory.
    pub mbm_local_bytes: u64,
}

/// Bytes of cache in use.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CacheMonitor {
    /// Bytes.
    pub llc_occupancy: u64,
}

impl IntelRdt {
    pub(super) fn read(root: &Path, group: &Path, monitored: &Path) -> Result<IntelRdt> {
        let features = text(&root.join("info/L3_MON/mon_features"))?.unwrap_or_default();
        let (of_root, own) = (schemata(root)?, schemata(group)?);
        let mut rdt = IntelRdt::default();
        let info = root.join("info/L3");
        if let Some(mask) = text(&info.join("cbm_mask"))? {
            rdt.cache_info = Some(CacheInfo {
                cbm_mask: mask.trim().to_owned(),
                min_cbm_bits: value(&info.join("min_cbm_bits"))?,
                num_closids: value(&info.join("num_closids"))?,
            });
            rdt.cache_schema_root = line_of(&of_root, "L3");
            rdt.cache_schema = line_of(&own, "L3");
        }
        let info = root.join("info/MB");
        if let Some(step) = text(&info.join("bandwidth_gran"))? {
            rdt.bandwidth_info = Some(BandwidthInfo {
                bandwidth_gran: number("bandwidth_gran", &step)?,
                delay_linear: value(&info.join("delay_linear"))?,
                min_bandwidth: value(&info.join("min_bandwidth"))?,
                num_closids: value(&info.join("num_closids"))?,
            });
            rdt.bandwidth_schema_root = line_of(&of_root, "MB");
            rdt.bandwidth_schema = line_of(&own, "MB");
        }
        rdt.read_monitors(&monitored.join("mon_data"), &features)?;
        Ok(rdt)
    }

    fn read_monitors(&mut self, monitors: &Path, features: &str) -> Result<()> {
        let has = |name: &str| features.lines().any(|line| line == name);
        let (all, local) = (has("mbm_total_bytes"), has("mbm_local_bytes"));
        let measured = |there: bool, path: &Path, name: &str| match there {
            true => value(&path.join(name)),
            false => Ok(0),
        };
        if all || local {
            self.bandwidth = Some(Vec::new());
        }
        if has("llc_occupancy") {
            self.cache = Some(Vec::new());
        }
        if self.bandwidth.is_none() && self.cache.is_none() {
            return Ok(());
        }
        let listing = fs::open(monitors, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut domains = fs::directories(listing).context(|| monitors.display())?;
        domains.sort_unstable();
        for domain in domains {
            let path = monitors.join(domain);
            if let Some(bandwidth) = &mut self.bandwidth {
                bandwidth.push(BandwidthMonitor {
                    mbm_total_bytes: measured(all, &path, "mbm_total_bytes")?,
                    mbm_local_bytes: measured(local, &path, "mbm_local_bytes")?,
                });
            }
            if let Some(cache) = &mut self.cache {
                cache.push(CacheMonitor {
                    llc_occupancy: value(&path.join("llc_occupancy"))?,
                });
            }
        }
        Ok(())
    }
}

fn schemata(group: &Path) -> Result<String> {
    Ok(text(&group.join("schemata"))?.unwrap_or_default())
}

/// The line of this resource.
fn line_of(schemata: &str, resource: &str) -> String {
    let line = schemata.lines().find(|line| line.contains(resource));
    line.unwrap_or_default().trim().to_owned()
}

fn text(path: &Path) -> Result<Option<String>> {
    match fs::read_at(CWD, path) {
        Err(error) if fs::is_missing(&error) => Ok(None),
        other => other.map(Some),
    }
}

fn value(path: &Path) -> Result<u64> {
    number(&path.display().to_string(), &fs::read_at(CWD, path)?)
}

#[cfg(test)]
mod tests {
    // The files of the tests are nobody else's.
    #![allow(clippy::disallowed_methods)]

    use super::*;

    #[test]
    fn a_machine_with_all_of_it() {
        let root = std::env::temp_dir().join(format!("vzrun-rdt-stats-{}", std::process::id()));
        for (file, text) in [
            ("info/L3/cbm_mask", "fffff\n"),
            ("info/L3/min_cbm_bits", "1\n"),
            ("info/L3/num_closids", "16\n"),
            ("info/MB/bandwidth_gran", "10\n"),
            ("info/MB/delay_linear", "1\n"),
            ("info/MB/min_bandwidth", "10\n"),
            ("info/MB/num_closids", "8\n"),
            (
                "info/L3_MON/mon_features",
                "llc_occupancy\nmbm_total_bytes\n",
            ),
            ("schemata", "    MB:0=100;1=100\n    L3:0=fffff;1=fffff\n"),
            ("c1/schemata", "    MB:0= 20;1= 70\n    L3:0=ffff0;1=3ff\n"),
            ("c1/mon_data/mon_L3_00/llc_occupancy", "65536\n"),
            ("c1/mon_data/mon_L3_00/mbm_total_bytes", "123\n"),
            ("c1/mon_data/mon_L3_01/llc_occupancy", "0\n"),
            ("c1/mon_data/mon_L3_01/mbm_total_bytes", "4\n"),
        ] {
            let path = root.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let rdt = IntelRdt::read(&root, &root.join("c1"), &root.join("c1")).unwrap();
        assert_eq!(
            serde_json::to_string(&rdt).unwrap(),
            r#"{"l3_cache_info":{"cbm_mask":"fffff","min_cbm_bits":1,"num_closids":16},"l3_cache_schema_root":"L3:0=fffff;1=fffff","l3_cache_schema":"L3:0=ffff0;1=3ff","mem_bw_info":{"bandwidth_gran":10,"delay_linear":1,"min_bandwidth":10,"num_closids":8},"mem_bw_schema_root":"MB:0=100;1=100","mem_bw_schema":"MB:0= 20;1= 70","mbm_stats":[{"mbm_total_bytes":123,"mbm_local_bytes":0},{"mbm_total_bytes":4,"mbm_local_bytes":0}],"cmt_stats":[{"llc_occupancy":65536},{"llc_occupancy":0}]}"#
        );
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(
            IntelRdt::read(&root, &root.join("c1"), &root.join("c1")).unwrap(),
            IntelRdt::default()
        );
    }
}
