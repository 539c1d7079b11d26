//! linux.cgroupsPath: where in the hierarchy the container's cgroup is.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::spec;
use crate::sys::procfs::Procfs;

/// The absolute path in the hierarchy, as runc chooses it with its cgroupfs driver: an absolute cgroupsPath as it is; a
/// relative one, or the id where none is given, beside the caller's own cgroup, whose processes would stand in the way
/// of controllers below it.
pub(crate) fn resolve(given: Option<&Path>, id: &str, procfs: &Procfs) -> Result<PathBuf> {
    let given = given.filter(|path| !path.as_os_str().is_empty());
    let path = match given {
        Some(path) if path.is_absolute() => spec::clean_path(path),
        other => {
            let own = of_process(&procfs.read_self("cgroup")?);
            let beside = own.parent().map(Path::to_path_buf).unwrap_or(own);
            // A relative path is cleaned on its own, so that `..` does not lead above.
            let below = spec::clean_path(
                Path::new("/")
                    .join(other.unwrap_or(Path::new(id)))
                    .as_path(),
            );
            beside.join(below.strip_prefix("/").unwrap_or(&below))
        }
    };
    if path.file_name().is_none() {
        return Err(Error::config(format!(
            "linux.cgroupsPath {:?} is the root of the cgroup hierarchy",
            given.unwrap_or(Path::new(""))
        )));
    }
    if path.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(Error::config("linux.cgroupsPath has a NUL byte"));
    }
    Ok(path)
}

/// The cgroup2 line of /proc/PID/cgroup: `0::/path`.
pub(crate) fn of_process(text: &str) -> PathBuf {
    text.lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap_or("/")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let procfs = Procfs::open().unwrap();
        let resolve = |given: &str| resolve(Some(Path::new(given)), "id", &procfs);
        assert_eq!(resolve("/a/b").unwrap(), Path::new("/a/b"));
        assert_eq!(resolve("/a/../../b/./c").unwrap(), Path::new("/b/c"));
        assert!(resolve("/").is_err());
        assert!(resolve("/a/..").is_err());
        assert!(resolve("").unwrap().ends_with("id"));
        assert!(resolve("../../x").unwrap().ends_with("x"));
    }

    #[test]
    fn own() {
        assert_eq!(
            of_process("12:pids:/x\n0::/user.slice/a\n"),
            Path::new("/user.slice/a")
        );
        assert_eq!(of_process(""), Path::new("/"));
    }
}
