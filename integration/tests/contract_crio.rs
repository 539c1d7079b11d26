//! What CRI-O does with a runtime beside conmon: everything but create and synchronous exec, with `--root` in front and nothing but
//! XDG_RUNTIME_DIR in the environment. The words are those of `internal/oci/runtime_oci.go`.

use integration::{
    Bundle, Call, CgroupDriver, Terminal, become_subreaper, differs, json, parent_of, pid_in, reap,
    until,
};
use std::fs;

struct Crio {
    bundle: Bundle,
}

impl Crio {
    /// A container that conmon has made for CRI-O: `--root=DIR` among the arguments that it hands on.
    fn new() -> (Crio, i32) {
        become_subreaper();
        let crio = Crio {
            bundle: Bundle::new(),
        };
        // A warning about these would be on stderr.
        crio.bundle.remove("/process/capabilities/ambient");
        let pid_file = crio.bundle.dir().join("pidfile");
        let root = format!("--root={}", crio.bundle.root().display());
        let create = crio.bundle.bare_call().bare_env();
        // conmon's own flag comes before what it hands on.
        let create = create.args(CgroupDriver::get().flag()).arg(root);
        let words = crio.bundle.create_words(&pid_file, &[]);
        create.args(words).run().ok();
        let pid = pid_in(&pid_file);
        assert_eq!(parent_of(pid), std::process::id() as i32);
        (crio, pid)
    }

    fn started() -> (Crio, i32) {
        let (crio, pid) = Crio::new();
        crio.quiet(&["start", crio.id()]);
        (crio, pid)
    }

    fn id(&self) -> &str {
        self.bundle.id()
    }

    fn call(&self, words: &[&str]) -> Call {
        let call = self.bundle.bare_call().bare_env().arg("--root");
        let call = call.arg(self.bundle.root());
        call.args(CgroupDriver::get().flag()).args(words)
    }

    #[track_caller]
    fn quiet(&self, words: &[&str]) {
        let output = self.call(words).both_streams().run().ok();
        assert_eq!(output.stdout, "", "{words:?}");
    }

    #[track_caller]
    fn end(&self, pid: i32) {
        self.quiet(&["kill", self.id(), "KILL"]);
        assert_eq!(reap(pid), 137);
        self.quiet(&["delete", "--force", self.id()]);
        assert_eq!(self.bundle.leftovers(), Vec::<String>::new());
    }
}

#[test]
fn a_container_is_looked_at_until_it_has_ended() {
    let (crio, pid) = Crio::new();
    let status = || crio.call(&["state", crio.id()]).run().ok().json()["status"].clone();
    assert_eq!(status(), "created");
    crio.quiet(&["start", crio.id()]);
    assert_eq!(status(), "running");
    crio.quiet(&["pause", crio.id()]);
    assert_eq!(status(), "paused");
    crio.quiet(&["resume", crio.id()]);
    // The stop signal by its number, and the last one by its name.
    until("the program", || {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        (comm == "probe\n").then_some(())
    });
    crio.quiet(&["kill", crio.id(), "28"]);
    assert_eq!(status(), "running");
    crio.quiet(&["kill", crio.id(), "KILL"]);
    assert_eq!(reap(pid), 137);
    assert_eq!(status(), "stopped");
    crio.quiet(&["delete", "--force", crio.id()]);
    // A state that fails is taken for a container that has stopped.
    crio.call(&["state", crio.id()]).run().fails();
}

#[test]
fn a_signal_for_what_has_ended() {
    differs!(Crun, "has words of its own");
    let (crio, pid) = Crio::started();
    crio.quiet(&["kill", crio.id(), "KILL"]);
    assert_eq!(reap(pid), 137);
    for words in [&["kill", crio.id(), "15"][..], &["kill", crio.id(), "KILL"]] {
        // One of these, in this case of letters, or the pod is not stopped.
        let stderr = crio.call(words).run().fails().stderr;
        let found = [
            "no such process",
            "container not running",
            "invalid process",
        ];
        assert!(found.iter().any(|text| stderr.contains(text)), "{stderr}");
    }
    // For a container without a pid namespace; nothing to be killed is no error.
    crio.quiet(&["kill", "-a", crio.id(), "9"]);
    crio.quiet(&["delete", "--force", crio.id()]);
    crio.quiet(&["delete", "--force", crio.id()]);
}

#[test]
fn a_streamed_exec_is_in_the_foreground() {
    let (crio, pid) = Crio::started();
    let process = crio
        .bundle
        .process_file(&["/bin/sh", "-c", "cat; echo err >&2; exit 9"], false);
    let exec = crio.call(&["exec", "--process", &process, crio.id()]);
    let output = exec.stdin("in\n").run().exits(9);
    assert_eq!(output.stdout, "in\n");
    assert!(output.stderr.ends_with("err\n"), "{}", output.stderr);
    let process = crio
        .bundle
        .process_file(&["/bin/sh", "-c", "kill -TERM $$"], false);
    let exec = crio.call(&["exec", "--process", &process, crio.id()]);
    exec.run().exits(143);
    crio.end(pid);
}

#[test]
fn a_streamed_exec_with_a_terminal_is_given_one() {
    let (crio, pid) = Crio::started();
    let script = "tty; read x; echo got-$x; exit 5";
    let process = crio.bundle.process_file(&["/bin/sh", "-c", script], true);
    let mut terminal = Terminal::open();
    let exec = crio.call(&["exec", "--process", &process, crio.id()]);
    let exec = exec
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .terminal(&terminal)
        .spawn();
    terminal.read_until("/dev/pts/");
    terminal.write("word\n");
    terminal.read_until("got-word");
    exec.wait().exits(5);
    crio.end(pid);
}

#[test]
fn an_exec_that_is_called_off_takes_nothing_along() {
    let (crio, pid) = Crio::started();
    let process = crio
        .bundle
        .process_file(&["/probe", "sleep-forever"], false);
    let mut exec = crio
        .call(&["exec", "--process", &process, crio.id()])
        .spawn();
    exec.wait_line("ready");
    // CRI-O ends the runtime when the time of a probe is over.
    exec.kill(rustix::process::Signal::KILL);
    drop(exec);
    let state = crio.call(&["state", crio.id()]).run().ok().json();
    assert_eq!(state["status"], "running");
    let pids = crio.call(&["ps", "--format", "json", crio.id()]).run().ok();
    // What it left is ours, the subreaper's.
    for left in pids.json().as_array().unwrap() {
        let left = left.as_i64().unwrap() as i32;
        if left != pid {
            let raw = rustix::process::Pid::from_raw(left).unwrap();
            rustix::process::kill_process(raw, rustix::process::Signal::KILL).unwrap();
            assert_eq!(reap(left), 137);
        }
    }
    crio.end(pid);
}

#[test]
fn resources_come_on_stdin() {
    let (crio, pid) = Crio::started();
    let update = crio.call(&["update", "--resources", "-", crio.id()]);
    let update = update.stdin("{\"memory\":{}}").both_streams().run().ok();
    assert_eq!(update.stdout, "");
    crio.end(pid);
}

#[test]
fn features_are_read_with_stderr() {
    let (crio, pid) = Crio::started();
    let features = crio.bundle.bare_call().bare_env().arg("features");
    let features = features.both_streams().run().ok().json();
    // What CRI-O asks them for: recursive read-only mounts, and mounts with id mappings.
    let options = features["mountOptions"].as_array().unwrap();
    assert!(options.contains(&json!("rro")), "{features}");
    assert!(features["ociVersionMin"].is_string() && features["ociVersionMax"].is_string());
    crio.end(pid);
}
