//! The session keyring of the container: without one of its own, root in it would hold the keys of whoever called vzrun.

use std::ffi::CString;

use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::sys::keyring;

/// What a new session keyring allows by default (all to its possessor; to its user to see it, to read it and to link
/// it), and besides KEY_USR_SEARCH: so that also a process that only has the same user finds the keys in it.
const PERMISSIONS: u32 = 0x3f1b_0000;

/// The session keyring to join, if any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keyring(Option<CString>);

impl Keyring {
    /// Named after the container, so that `exec` joins the same. `wanted`: without `--no-new-keyring`.
    pub(crate) fn plan(id: &str, wanted: bool) -> Result<Keyring> {
        if !wanted {
            return Ok(Keyring(None));
        }
        CString::new(format!("_ses.{id}"))
            .map(|name| Keyring(Some(name)))
            .map_err(|_| Error::config("NUL in the container's id"))
    }

    /// Joins it. Where the kernel was built without keyrings there is nothing to keep apart.
    pub(crate) fn apply(&self) -> Result<()> {
        let Some(name) = &self.0 else {
            return Ok(());
        };
        match keyring::join_session_keyring(name) {
            Ok(key) => keyring::set_permissions(key, PERMISSIONS),
            Err(error) if error.errno() == Some(Errno::NOSYS) => Ok(()),
            Err(error) => Err(error),
        }
        .context(|| "unable to join session keyring")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let planned = Keyring::plan("a.b", true).unwrap();
        assert_eq!(planned, Keyring(Some(c"_ses.a.b".to_owned())));
        assert_eq!(Keyring::plan("a", false).unwrap(), Keyring(None));
        assert!(Keyring::plan("\0", true).is_err());
    }
}
