//! For the fuzz targets (feature `fuzz`): the record of a container.

use std::path::PathBuf;

use super::record::Record;
use crate::error::Result;

/// What state.json says, written anew.
///
/// # Errors
/// It is damaged.
pub fn read_and_write(text: &[u8]) -> Result<Vec<u8>> {
    Record::parse(text)?.text()
}

/// What a deletion takes from a state.json.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept {
    /// The container's init, and when it was started.
    pub process: (i32, u64),
    /// Its cgroup.
    pub cgroup: Option<PathBuf>,
    /// Who has made that.
    pub driver: String,
}

/// What a deletion knows of a container by its state.json: what that says or, if it is damaged, what can be made out.
pub fn for_deletion(text: &[u8]) -> Kept {
    let record = Record::parse(text).unwrap_or_else(|_| Record::salvage_from(text, "id"));
    Kept::of(&record)
}

/// What can be made out of a damaged state.json.
pub fn salvage(text: &[u8]) -> Kept {
    Kept::of(&Record::salvage_from(text, "id"))
}

impl Kept {
    fn of(record: &Record) -> Kept {
        Kept {
            process: (record.pid, record.start_time),
            cgroup: record.cgroup.clone(),
            driver: format!("{:?}", record.cgroup_driver),
        }
    }
}
