//! `checkpoint --dry-run`: what CRIU would refuse, found while the container runs on.

use super::{CheckpointOptions, Container, Root};
use crate::checkpoint::preflight::{self, Allowed, Subject};
use crate::checkpoint::{self, Obstacle};
use crate::error::Result;
use crate::seccomp;

/// Looks for what a checkpoint with these options would fail on. Nothing is stopped, and nothing is changed.
///
/// # Errors
/// As [`checkpoint`](super::checkpoint()) for a container that is not running.
pub fn preflight(root: &Root, name: &str, options: &CheckpointOptions) -> Result<Vec<Obstacle>> {
    let container = Container::load(root, name)?;
    container.check_savable(container.status()?)?;
    container.init()?;
    let record = &container.record;
    let spec = record.spec()?;
    let cgroup = record.cgroup.as_ref();
    let subject = Subject {
        spec: &spec,
        init: record.pid,
        members: match cgroup {
            Some(_) => container.processes()?,
            None => Vec::new(),
        },
        cgroup: cgroup
            .map(|path| path.to_string_lossy().into_owned())
            .unwrap_or_default(),
        procfs: &container.procfs,
    };
    let mut allowed = Allowed::by(
        &options.criu,
        options.tcp_skip_in_flight,
        options.link_remap,
    );
    if seccomp::is_migratable(spec.annotations().as_ref())? {
        allowed = allowed.migratable();
    }
    let annotation = record
        .annotations
        .get("org.criu.config")
        .map(String::as_str);
    let allowed = match checkpoint::config_text(annotation)? {
        Some(text) => allowed.and_file(&text),
        None => allowed,
    };
    preflight::look(&subject, &allowed)
}
