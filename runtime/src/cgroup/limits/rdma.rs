//! linux.resources.rdma: rdma.max.

use std::collections::HashMap;

use super::setting::Setting;
use crate::error::{Error, Result};
use crate::spec::LinuxRdma;

/// Lines of rdma.max: the device and its limits, in the order of the names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rdma {
    pub(crate) devices: Vec<(String, String)>,
}

impl Rdma {
    pub(super) fn plan(rdma: Option<&HashMap<String, LinuxRdma>>) -> Result<Rdma> {
        let mut devices = Vec::new();
        for (name, limits) in rdma.into_iter().flatten() {
            if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
                return Err(Error::config(format!(
                    "linux.resources.rdma: {name:?} is no name of a device"
                )));
            }
            let words = [
                ("hca_handle", limits.hca_handles()),
                ("hca_object", limits.hca_objects()),
            ];
            let words: Vec<_> = words
                .iter()
                .filter_map(|(word, count)| count.map(|count| format!("{word}={count}")))
                .collect();
            if !words.is_empty() {
                devices.push((name.clone(), words.join(" ")));
            }
        }
        devices.sort();
        Ok(Rdma { devices })
    }

    pub(super) fn settings(&self, all: &mut Vec<Setting>) {
        for (name, limits) in &self.devices {
            let property = format!("linux.resources.rdma.{name}");
            let unlimited = format!("{name} hca_handle=max hca_object=max");
            let setting = Setting::new(property, "rdma.max", format!("{name} {limits}"));
            all.push(setting.keyed(name.clone(), unlimited));
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
                r#"{"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000},"mlx4_0":{"hcaObjects":5},"rxe3":{}}}"#,
                &[
                    "rdma.max=mlx4_0 hca_object=5",
                    "rdma.max=mlx5_1 hca_handle=3 hca_object=10000",
                ],
            ),
            (
                r#"{"rdma":{"a b":{"hcaHandles":3}}}"#,
                &[r#"linux.resources.rdma: "a b" is no name of a device"#],
            ),
        ]);
    }
}
