//! The places for mounts in a root filesystem that somebody else will mount in.

use super::Mounts;
use crate::error::{Context, Result};
use crate::setup::rootfs::Rootfs;
use crate::sys::fs::{self, FileType};

impl Mounts {
    /// Makes a file or directory for each mount where none is there, but for those on other mounts of the list: what is
    /// missing there is missing in what is mounted.
    pub(crate) fn make_places(&self, rootfs: &Rootfs) -> Result<()> {
        for (index, m) in self.list.iter().enumerate() {
            let on_another = self.list[..index].iter().any(|other| {
                m.destination != other.destination && m.destination.starts_with(&other.destination)
            });
            if on_another || m.options.remount {
                continue;
            }
            let is_file = m.options.bind
                && fs::file_type(&fs::stat(&m.source).context(|| m.title())?)
                    != FileType::Directory;
            let made = match is_file {
                true => rootfs.file(&m.destination),
                false => rootfs.directory(&m.destination),
            };
            made.context(|| m.title())?;
        }
        Ok(())
    }
}
