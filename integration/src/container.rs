//! One container of a bundle.

use crate::host::cgroups_left;
use crate::{Bundle, Call, Cgroup, Kind, Output, Running, cgroup_dirs_named, until, wait_exit};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

/// A container id of a bundle, and the verbs on it. When it is dropped, `delete --force` is called,
/// and the test fails if a state directory, cgroup or process is left behind.
#[derive(Debug)]
pub struct Container<'b> {
    bundle: &'b Bundle,
    id: String,
    out_path: Mutex<Option<PathBuf>>,
}

impl<'b> Container<'b> {
    pub(crate) fn new(bundle: &'b Bundle, id: &str) -> Container<'b> {
        Container {
            bundle,
            id: id.to_string(),
            out_path: Mutex::new(None),
        }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its bundle.
    pub fn bundle(&self) -> &'b Bundle {
        self.bundle
    }

    /// Where the runtime keeps its state: `<root>/<id>`.
    pub fn state_dir(&self) -> PathBuf {
        self.bundle.root().join(&self.id)
    }

    /// `VERB [FLAGS] ID`, with `--bundle` where the verb needs it.
    pub fn call<S: AsRef<str>>(&self, verb: &str, flags: &[S]) -> Call {
        let mut call = self.bundle.call([verb]);
        if matches!(verb, "create" | "run" | "restore") {
            self.bundle.move_default_cgroup(&self.id);
            call = call.arg("--bundle").arg(self.bundle.dir());
        }
        call.args(flags.iter().map(AsRef::as_ref)).arg(&self.id)
    }

    /// `create`, expected to succeed.
    #[track_caller]
    pub fn create(&self) -> Output {
        self.keep(self.call("create", &[""; 0]).run().ok())
    }

    /// `start`, expected to succeed.
    #[track_caller]
    pub fn start(&self) -> Output {
        self.call("start", &[""; 0]).run().ok()
    }

    /// `run` in the foreground, to its end.
    pub fn run(&self) -> Output {
        self.keep(self.call("run", &[""; 0]).run())
    }

    /// `run` in the foreground, coming back at once.
    pub fn spawn_run(&self) -> Running {
        self.call("run", &[""; 0]).spawn()
    }

    /// `run --detach`, expected to succeed.
    #[track_caller]
    pub fn run_detached(&self) -> Output {
        self.keep(self.call("run", &["--detach"]).run().ok())
    }

    /// `exec ID ARGS`, to its end.
    pub fn exec<S: AsRef<str>>(&self, args: &[S]) -> Output {
        self.exec_with(&[""; 0], args)
    }

    /// `exec FLAGS ID ARGS`, to its end.
    pub fn exec_with<F: AsRef<str>, S: AsRef<str>>(&self, flags: &[F], args: &[S]) -> Output {
        self.exec_call(flags, args).run()
    }

    /// `exec FLAGS ID ARGS`, to be changed before it is run.
    pub fn exec_call<F: AsRef<str>, S: AsRef<str>>(&self, flags: &[F], args: &[S]) -> Call {
        self.call("exec", flags)
            .args(args.iter().map(AsRef::as_ref))
    }

    /// `kill ID SIGNAL`.
    pub fn kill(&self, signal: &str) -> Output {
        self.call("kill", &[""; 0]).arg(signal).run()
    }

    /// `delete`.
    pub fn delete(&self) -> Output {
        self.call("delete", &[""; 0]).run()
    }

    /// `delete --force`.
    pub fn delete_force(&self) -> Output {
        self.call("delete", &["--force"]).run()
    }

    /// `pause`.
    pub fn pause(&self) -> Output {
        self.call("pause", &[""; 0]).run()
    }

    /// `resume`.
    pub fn resume(&self) -> Output {
        self.call("resume", &[""; 0]).run()
    }

    /// What `state` prints, expected to succeed.
    #[track_caller]
    pub fn state(&self) -> Value {
        self.call("state", &[""; 0]).run().ok().json()
    }

    /// The status in [`Container::state`].
    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"]
            .as_str()
            .unwrap_or_default()
            .to_string()
    }

    /// Whether the runtime knows of it.
    pub fn exists(&self) -> bool {
        self.call("state", &[""; 0]).run().code() == Some(0)
    }

    /// Its init's pid, from the state.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let pid = self.state()["pid"].as_i64().unwrap_or(0) as i32;
        assert!(pid > 0, "container {} has no pid", self.id);
        pid
    }

    /// Waits for a status.
    pub fn wait_status(&self, status: &str) {
        let what = format!("status {status} of container {}", self.id);
        until(&what, || (self.status() == status).then_some(()));
    }

    /// Waits for the end of its init, and for the status that follows.
    ///
    /// The originals stumble over an init that goes from zombie to nothing while they look, and over
    /// a cgroup that the kernel calls populated for a moment longer; they are spared that.
    pub fn wait_stopped(&self) {
        let state = self.state();
        if let Some(pid @ 1..) = state["pid"].as_i64() {
            let ended = wait_exit(pid as i32, crate::DEADLINE);
            assert!(ended, "container {} does not end", self.id);
            if self.bundle.runtime().kind() != Kind::Vzrun {
                let proc = PathBuf::from(format!("/proc/{pid}"));
                until("the init to be reaped", || (!proc.exists()).then_some(()));
                until("its cgroup to be empty", || {
                    (!self.has_processes()).then_some(())
                });
            }
        }
        self.wait_status("stopped");
    }

    /// What its processes have printed since `create` or `run`.
    pub fn stdout(&self) -> String {
        let path = self.out_path.lock().unwrap();
        let path = path
            .as_ref()
            .expect("neither create nor run was called through this guard");
        String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
    }

    /// Waits until its processes have printed a line.
    pub fn wait_line(&self, line: &str) {
        let what = format!("{line:?} from container {}", self.id);
        until(&what, || {
            self.stdout().lines().any(|l| l == line).then_some(())
        });
    }

    /// Its cgroup directory; none or several fail the test.
    #[track_caller]
    pub fn cgroup_dir(&self) -> PathBuf {
        let mut dirs = cgroup_dirs_named(&self.id);
        assert_eq!(dirs.len(), 1, "cgroups named {}: {dirs:?}", self.id);
        dirs.remove(0)
    }

    /// The cgroup that its init is in now, on the host: the container's own, unless the container
    /// has moved it further down.
    #[track_caller]
    pub fn cgroup(&self) -> Cgroup {
        Cgroup::of_process(self.pid())
    }

    fn has_processes(&self) -> bool {
        cgroup_dirs_named(&self.id).iter().any(|dir| {
            let events = std::fs::read_to_string(dir.join("cgroup.events"));
            events.is_ok_and(|events| events.contains("populated 1"))
        })
    }

    /// What is still there of it: its state directory, its cgroup, processes in that.
    pub fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        if self.state_dir().exists() {
            left.push(format!("state {}", self.state_dir().display()));
        }
        for dir in cgroups_left(&self.id, self.bundle.runtime().kind()) {
            let pids = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            left.push(format!("cgroup {} with processes {pids:?}", dir.display()));
        }
        left
    }

    fn keep(&self, output: Output) -> Output {
        *self.out_path.lock().unwrap() = Some(output.out_path.clone());
        output
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let output = self
            .call("delete", &["--force"])
            .limit(Duration::from_secs(30))
            .run();
        let left = self.leftovers();
        if left.is_empty() {
            return;
        }
        let said = format!(
            "left behind after {}\n{}",
            output.describe(),
            left.join("\n")
        );
        if std::thread::panicking() {
            eprintln!("{said}");
        } else {
            panic!("{said}");
        }
    }
}
