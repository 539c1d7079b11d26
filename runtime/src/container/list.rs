//! `list`.

use super::owner::Owners;
use super::{Container, Root, State, id};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::fs;

/// The state of every container below `root`, by id, each found out when it is asked for. One that cannot be read is left
/// out with a warning; what is not a container's directory is passed over.
///
/// # Errors
/// A state directory that is not there, unless it is the default one.
pub fn list(root: &Root) -> Result<impl Iterator<Item = State> + use<'_>> {
    let mut names = match root.open()? {
        Some(directory) => fs::names(&directory).context(|| "listing the state directory")?,
        None if root.path() == Root::default_path() => Vec::new(),
        None => {
            let text = format!("open {}: no such file or directory", root.path().display());
            return Err(Error::new(
                ErrorKind::System(rustix::io::Errno::NOENT),
                text,
            ));
        }
    };
    names.sort_unstable();
    let mut owners = Owners::default();
    Ok(names.into_iter().filter_map(move |name| {
        let name = name.to_str().ok().filter(|name| id::check(name).is_ok())?;
        match Container::load(root, name).and_then(|c| c.state_with(&mut owners)) {
            Ok(state) => Some(state),
            // Deleted while we looked, or half made.
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) if error.errno() == Some(rustix::io::Errno::NOTDIR) => None,
            Err(error) => {
                crate::log::warn(format_args!("load container {name}: {error}"));
                None
            }
        }
    }))
}
