//! Pressure stall information (Documentation/accounting/psi.rst): `cpu.pressure`, `memory.pressure`, `io.pressure`.

use rustix::io::Errno;
use serde::{Serialize, Serializer};

use super::{Cgroup, malformed};
use crate::error::Result;
use crate::sys::fs;

/// How long processes have waited for a resource.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Pressure {
    /// At least one of them waited.
    pub some: PressureData,
    /// All of them did, so that nothing was done meanwhile.
    pub full: PressureData,
}

/// The share of time that was spent waiting, in percent, over the last so many seconds, and all of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct PressureData {
    /// Of the last 10 seconds.
    #[serde(serialize_with = "as_go")]
    pub avg10: f64,
    /// Of the last 60 seconds.
    #[serde(serialize_with = "as_go")]
    pub avg60: f64,
    /// Of the last 300 seconds.
    #[serde(serialize_with = "as_go")]
    pub avg300: f64,
    /// Microseconds in all.
    pub total: u64,
}

/// Go writes a whole number without a fraction. The kernel has two digits behind the point.
// serde gives references.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn as_go<S: Serializer>(share: &f64, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    if share.fract() == 0.0 && (0.0..1e15).contains(share) {
        // In this range there is nothing to lose.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        return serializer.serialize_u64(*share as u64);
    }
    serializer.serialize_f64(*share)
}

impl Pressure {
    /// `None` where the kernel does not account for it: built without, or switched off, for the whole machine or in
    /// cgroup.pressure.
    pub(super) fn read(cgroup: &Cgroup, file: &str) -> Result<Option<Pressure>> {
        match fs::read_at(cgroup, file) {
            Ok(text) => parse(file, &text).map(Some),
            Err(error) if matches!(error.errno(), Some(Errno::NOENT | Errno::OPNOTSUPP)) => {
                Ok(None)
            }
            Err(error) => Err(error.wrap(file)),
        }
    }
}

fn parse(file: &str, text: &str) -> Result<Pressure> {
    let mut pressure = Pressure::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let data = match words.next() {
            Some("some") => &mut pressure.some,
            Some("full") => &mut pressure.full,
            _ => continue,
        };
        for word in words {
            let wrong = || malformed(file, word);
            let (key, value) = word.split_once('=').ok_or_else(wrong)?;
            let share = || value.parse().map_err(|_| wrong());
            match key {
                "avg10" => data.avg10 = share()?,
                "avg60" => data.avg60 = share()?,
                "avg300" => data.avg300 = share()?,
                "total" => data.total = value.parse().map_err(|_| wrong())?,
                _ => {}
            }
        }
    }
    Ok(pressure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_kernel_writes_it() {
        let text = "some avg10=71.60 avg60=23.00 avg300=0.03 total=12961402\n\
                    full avg10=0.00 avg60=0.00 avg300=100.00 total=0\n";
        assert_eq!(
            serde_json::to_string(&parse("cpu.pressure", text).unwrap()).unwrap(),
            r#"{"some":{"avg10":71.6,"avg60":23,"avg300":0.03,"total":12961402},"full":{"avg10":0,"avg60":0,"avg300":100,"total":0}}"#
        );
        // cpu.pressure had no second line before Linux 5.13.
        let one_line = parse(
            "cpu.pressure",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=7\n",
        );
        assert_eq!(one_line.unwrap().full, PressureData::default());
        for wrong in ["some avg10", "some avg10=x", "full total=1.5"] {
            assert!(parse("io.pressure", wrong).is_err(), "{wrong}");
        }
    }
}
