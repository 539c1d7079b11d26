//! `list`.

use super::owner::Owners;
use super::{Container, Root, State, id};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::fs;

/// The state of every container below `root`, by id. One that cannot be read is left out with a warning; what is not a
/// container's directory is passed over.
///
/// # Errors
/// A state directory that is not there, unless it is the default one.
pub fn list(root: &Root) -> Result<Vec<State>> {
    let Some(directory) = root.open()? else {
        if root.path() == Root::default_path() {
            return Ok(Vec::new());
        }
        let text = format!("open {}: no such file or directory", root.path().display());
        return Err(Error::new(
            ErrorKind::System(rustix::io::Errno::NOENT),
            text,
        ));
    };
    let mut owners = Owners::default();
    let mut states = Vec::new();
    for name in fs::names(&directory).context(|| "listing the state directory")? {
        let Ok(name) = name.to_str() else { continue };
        if id::check(name).is_err() {
            continue;
        }
        match Container::load(root, name).and_then(|c| c.state_with(&mut owners)) {
            Ok(state) => states.push(state),
            // Deleted while we looked, or half made.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.errno() == Some(rustix::io::Errno::NOTDIR) => {}
            Err(error) => crate::log::warn(format_args!("load container {name}: {error}")),
        }
    }
    states.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(states)
}
