//! The directories that CRIU writes to and reads from, and what vzrun adds to the images: the list of
//! the container's standard streams, and that of its cgroups.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::fs::{self, OFlags};
use crate::sys::process;

/// runc's name for it.
const DESCRIPTORS: &str = "descriptors.json";
/// What a container has made below its cgroup.
const CGROUPS: &str = "vzrun-cgroups.json";
/// Some names; some thousand cgroups.
const LONGEST_LIST: u64 = 64 << 10;
const LONGEST_TREE: u64 = 64 << 20;

/// The directory of the images and that of the log, held open.
#[derive(Debug)]
pub(crate) struct Images {
    directory: OwnedFd,
    path: PathBuf,
    work: Option<(OwnedFd, PathBuf)>,
}

impl Images {
    /// Both for a checkpoint; made with this mode where they are not there: images hold all of a container's memory.
    pub(crate) fn create(path: &Path, work: Option<&Path>, mode: u32) -> Result<Images> {
        Images::open_both(path, work, Some(mode))
    }

    /// Both for a restore: the images must be there.
    pub(crate) fn open(path: &Path, work: Option<&Path>) -> Result<Images> {
        Images::open_both(path, work, None)
    }

    fn open_both(path: &Path, work: Option<&Path>, mode: Option<u32>) -> Result<Images> {
        let (directory, path) = open(path, mode).context(|| "--image-path")?;
        let work = work.map(|work| open(work, Some(0o700)).context(|| "--work-path"));
        Ok(Images {
            directory,
            path,
            work: work.transpose()?,
        })
    }

    /// The descriptor of the images, as CRIU is told.
    pub(crate) fn number(&self) -> i32 {
        self.directory.as_raw_fd()
    }

    /// The descriptor of the log's directory.
    pub(crate) fn work_number(&self) -> Option<i32> {
        self.work.as_ref().map(|(fd, _)| fd.as_raw_fd())
    }

    /// The directory of the images.
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Has CRIU read the images through another mount of their directory; the log stays where it was.
    pub(crate) fn read_through(&mut self, mount: OwnedFd) {
        let own = std::mem::replace(&mut self.directory, mount);
        let path = &self.path;
        self.work.get_or_insert_with(|| (own, path.clone()));
    }

    /// The log of this name, opened, and its path.
    pub(crate) fn log(&self, name: &str) -> (Result<OwnedFd>, PathBuf) {
        let (directory, path) = match &self.work {
            Some((fd, path)) => (fd, path),
            None => (&self.directory, &self.path),
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        (fs::openat(directory, name, flags, 0), path.join(name))
    }

    /// Checks that the directory of earlier images is there: `parent` is relative to that of the images.
    pub(crate) fn check_parent(&self, parent: &Path) -> Result<()> {
        let refuse = |text: String| Err(Error::new(ErrorKind::InvalidArgument, text));
        if parent.is_absolute() {
            return refuse("--parent-path must be relative".into());
        }
        match fs::openat(&self.directory, parent, OFlags::PATH | OFlags::DIRECTORY, 0) {
            Err(error) => refuse(format!("invalid --parent-path: {error}")),
            Ok(_) => Ok(()),
        }
    }

    /// Writes down what init's first descriptors are.
    pub(crate) fn write_descriptors(&self, names: &[String]) -> Result<()> {
        self.write(DESCRIPTORS, &names)
    }

    /// Writes down which cgroups there are below the container's own.
    pub(crate) fn write_cgroups(&self, tree: &impl Serialize) -> Result<()> {
        self.write(CGROUPS, tree)
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let words = || format!("writing {name}");
        let text = serde_json::to_vec(value)
            .map_err(|error| Error::new(ErrorKind::Process, error.to_string()))
            .context(words)?;
        match fs::unlinkat(&self.directory, name) {
            Err(error) if !fs::is_missing(&error) => return Err(error.wrap(words())),
            _ => {}
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        fs::openat(&self.directory, name, flags, 0o600)
            .and_then(|file| fs::write_once(file, &text))
            .context(words)
    }

    /// What init's first descriptors were.
    pub(crate) fn read_descriptors(&self) -> Result<Vec<String>> {
        self.read(DESCRIPTORS, LONGEST_LIST)
    }

    /// The cgroups below the container's own; `None`: whoever made the images has not written any down.
    pub(crate) fn read_cgroups<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        match self.read(CGROUPS, LONGEST_TREE) {
            Err(error) if fs::is_missing(&error) => Ok(None),
            other => other.map(Some),
        }
    }

    fn read<T: DeserializeOwned>(&self, name: &str, limit: u64) -> Result<T> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let words = || format!("reading {}", self.path.join(name).display());
        let bytes = fs::openat(&self.directory, name, flags, 0)
            .and_then(|file| fs::read_to_end(file, limit))
            .context(words)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::config(error.to_string()))
            .context(words)
    }
}

fn open(path: &Path, mode: Option<u32>) -> Result<(OwnedFd, PathBuf)> {
    if let Some(mode) = mode {
        let old = process::umask(!mode & 0o777);
        let made = std::fs::create_dir_all(path);
        process::umask(old);
        made.call(|| format!("mkdir({path:?})"))?;
    }
    let directory = fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    Ok((directory, path.to_owned()))
}
