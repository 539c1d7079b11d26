//! What there is on the machine before a fault, and must be again after it.

use integration::{Bundle, Snapshot};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long what has been killed may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// The tests compare the whole machine before and after, so each has it to itself.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Processes, mounts, cgroups, and the files where a runtime may have made some.
pub(crate) struct Before<'b> {
    bundle: &'b Bundle,
    machine: Snapshot,
    files: BTreeSet<PathBuf>,
}

impl<'b> Before<'b> {
    pub(crate) fn take(bundle: &'b Bundle) -> Before<'b> {
        Before {
            bundle,
            machine: Snapshot::take(),
            files: files(bundle),
        }
    }

    /// A process that was killed may take a moment to be gone, nothing else may.
    #[track_caller]
    pub(crate) fn is_now(&self) {
        let lasting = |left: &String| !left.starts_with("process ");
        let left = self.machine.added_in(&Snapshot::take());
        let left: Vec<_> = left.into_iter().filter(lasting).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        let files = files(self.bundle);
        let left: Vec<_> = files.difference(&self.files).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        let end = Instant::now() + PATIENCE;
        loop {
            let left = self.machine.added_in(&Snapshot::take());
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "left behind: {left:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn files(bundle: &Bundle) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut look = |dir: &Path| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        found.extend(entries.map(|entry| entry.path()));
    };
    let root = bundle.root();
    look(bundle.home());
    look(&bundle.dir());
    look(&root);
    for id in bundle.state_ids() {
        look(&root.join(id));
    }
    for dir in ["/tmp", "/run", "/dev/shm"] {
        look(Path::new(dir));
    }
    found
}
