//! process.ioPriority.

use crate::error::{Context, Error, Result};
use crate::spec::{self, IOPriorityClass};
use crate::sys::sched;

/// Class and level, if asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IoPriority(Option<(u16, u16)>);

impl IoPriority {
    /// Without a class it is best effort.
    pub(crate) fn plan(priority: Option<&spec::LinuxIOPriority>) -> Result<IoPriority> {
        let Some(priority) = priority else {
            return Ok(IoPriority(None));
        };
        let level = u16::try_from(priority.priority())
            .ok()
            .filter(|level| *level <= 7)
            .ok_or_else(|| {
                Error::config(format!(
                    "process.ioPriority: invalid ioPriority.Priority: {}",
                    priority.priority()
                ))
            })?;
        // IOPRIO_CLASS_* of linux/ioprio.h.
        Ok(IoPriority(Some(match priority.class() {
            IOPriorityClass::IoprioClassRt => (1, level),
            IOPriorityClass::IoprioClassBe => (2, level),
            IOPriorityClass::IoprioClassIdle => (3, level),
        })))
    }

    /// Sets it for this process.
    pub(crate) fn apply(&self) -> Result<()> {
        self.0.map_or(Ok(()), |(class, level)| {
            sched::ioprio_set(class, level).context(|| "failed to set io priority")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_levels() {
        for (json, expected) in [
            (r#"{}"#, Some((2, 0))),
            (r#"{"class":"IOPRIO_CLASS_RT","priority":7}"#, Some((1, 7))),
            (r#"{"class":"IOPRIO_CLASS_BE","priority":4}"#, Some((2, 4))),
            (r#"{"class":"IOPRIO_CLASS_IDLE"}"#, Some((3, 0))),
            (r#"{"priority":8}"#, None),
            (r#"{"priority":-1}"#, None),
            (r#"{"priority":65536}"#, None),
        ] {
            let priority = serde_json::from_str(json).unwrap();
            let planned = IoPriority::plan(Some(&priority)).ok();
            assert_eq!(planned, expected.map(|e| IoPriority(Some(e))), "{json}");
        }
        assert_eq!(IoPriority::plan(None).unwrap(), IoPriority(None));
    }
}
