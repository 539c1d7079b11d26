//! The faults that runc, crun and youki have had, tried on the runtime under test: one attack a row of the table in
//! docs/security.md. Each is tried on a runtime (or a stand-in) that is open to it first, so that it is known to work.
//! What has a file of its own in tests/ is not repeated here; the table names those tests as well.
//!
//! `VZRUN_TEST_ROUNDS=20000` makes the races last for about a minute each.

mod ambush;
mod audit;
mod binary;
mod cgroups;
mod console;
mod descriptors;
mod dev;
mod inputs;
mod masks;
mod null;
mod procfs;
mod swaps;
mod users;

use integration::{Bundle, tree};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

const NO_FLAGS: &[&str] = &[];

/// For tests that look at what all of the machine shares, or change it.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory of the host that nothing of a container may come to or change, with a file `secret` in it.
fn host_side(bundle: &Bundle) -> PathBuf {
    let dir = bundle.home().join("host");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("secret"), "secret of the host\n").unwrap();
    dir
}

/// What there is at a path in `after` and was not in `before`, or the other way round, in words.
fn change(before: &[PathBuf], after: &[PathBuf]) -> Option<String> {
    let new = after.iter().filter(|path| !before.contains(path));
    let gone = before.iter().filter(|path| !after.contains(path));
    let changed: Vec<_> = new.chain(gone).collect();
    (!changed.is_empty()).then(|| format!("made or gone on the host: {changed:?}"))
}

/// Takes all mounts at or below a path out of the config.
fn without_mounts(bundle: &Bundle, path: &str) {
    let mut config = bundle.config();
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !Path::new(mount["destination"].as_str().unwrap()).starts_with(path));
    bundle.set_config(config);
}
