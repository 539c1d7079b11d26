//! What Buildah does with a runtime for each RUN: the words are those of its `run_common.go`. It is the subreaper, passes all of its own
//! environment on, names no root, and asks for the state ten times a second.

use integration::{Bundle, Call, FdSocket, Terminal, become_subreaper, json, reap, until};
use std::fs;
use std::path::PathBuf;

struct Buildah {
    bundle: Bundle,
}

impl Buildah {
    fn new(args: &[&str]) -> Buildah {
        become_subreaper();
        let bundle = Bundle::new();
        bundle.args(args);
        Buildah { bundle }
    }

    /// `buildah-` and what Buildah makes of the image and a number.
    fn id(&self) -> &str {
        self.bundle.id()
    }

    fn call(&self, words: &[&str]) -> Call {
        let call = self.bundle.bare_call().args(words).cwd(self.bundle.dir());
        call.env("BUILDAH_ISOLATION", "oci").env("LANG", "C.UTF-8")
    }

    fn pid_file(&self) -> PathBuf {
        self.bundle.dir().join("pid")
    }

    fn create_call(&self, more: &[&str]) -> Call {
        let (dir, pid_file) = (self.bundle.dir(), self.pid_file());
        let mut words = vec![
            "create",
            "--bundle",
            dir.to_str().unwrap(),
            "--pid-file",
            pid_file.to_str().unwrap(),
        ];
        words.extend(more);
        words.push(self.id());
        self.call(&words)
    }

    #[track_caller]
    fn pid(&self) -> i32 {
        // Blanks around it are cut off.
        let text = fs::read_to_string(self.pid_file()).unwrap();
        text.trim().parse().unwrap()
    }

    /// The state, of which stdout alone is read. After start it is one of two.
    #[track_caller]
    fn has_stopped(&self) -> bool {
        let state = self.call(&["state", self.id()]).run().ok().json();
        match state["status"].as_str().unwrap() {
            "running" => false,
            "stopped" => true,
            other => panic!("container status unexpectedly changed to {other:?}"),
        }
    }
}

impl Drop for Buildah {
    fn drop(&mut self) {
        // The bundle looks into its own root only.
        self.call(&["delete", "--force", self.id()]).run();
    }
}

#[test]
fn a_run_from_create_to_delete() {
    let buildah = Buildah::new(&["/bin/sh", "-c", "cat; echo err >&2; exit 3"]);
    let output = buildah
        .create_call(&["--no-pivot"])
        .stdin("in\n")
        .run()
        .ok();
    let pid = buildah.pid();
    buildah.call(&["start", buildah.id()]).run().ok();
    until("the end", || buildah.has_stopped().then_some(()));
    assert_eq!(reap(pid), 3);
    assert_eq!(fs::read_to_string(&output.out_path).unwrap(), "in\n");
    let err = output.out_path.with_extension("err");
    assert!(fs::read_to_string(err).unwrap().ends_with("err\n"));
    buildah.call(&["delete", buildah.id()]).run().ok();
    assert_eq!(buildah.bundle.leftovers(), Vec::<String>::new());
}

#[test]
fn the_state_is_never_another_one_after_start() {
    // A command that ends at once: no answer may come from between start and the command.
    for _ in 0..20 {
        let buildah = Buildah::new(&["/bin/true"]);
        buildah.create_call(&[]).run().ok();
        let pid = buildah.pid();
        buildah.call(&["start", buildah.id()]).run().ok();
        until("the end", || buildah.has_stopped().then_some(()));
        assert_eq!(reap(pid), 0);
        buildah.call(&["delete", buildah.id()]).run().ok();
    }
}

#[test]
fn a_run_with_a_terminal() {
    let buildah = Buildah::new(&["/bin/sh", "-c", "tty; exit 2"]);
    buildah.bundle.set("/process/terminal", json!(true));
    let socket = FdSocket::bind(buildah.bundle.home().join("console.sock"));
    let more = ["--console-socket", socket.path().to_str().unwrap()];
    let create = buildah.create_call(&more).spawn();
    let (master, _) = socket.receive();
    create.wait().ok();
    let mut terminal = Terminal::from(master);
    buildah.call(&["start", buildah.id()]).run().ok();
    terminal.read_until("/dev/pts/0");
    assert_eq!(reap(buildah.pid()), 2);
    buildah.call(&["delete", buildah.id()]).run().ok();
}

#[test]
fn an_interrupted_run_is_killed_by_name() {
    let buildah = Buildah::new(&["/probe", "sleep-forever"]);
    buildah.create_call(&[]).run().ok();
    let pid = buildah.pid();
    buildah.call(&["start", buildah.id()]).run().ok();
    assert!(!buildah.has_stopped());
    buildah.call(&["kill", buildah.id(), "SIGKILL"]).run().ok();
    assert_eq!(reap(pid), 137);
    assert!(buildah.has_stopped());
    buildah.call(&["delete", buildah.id()]).run().ok();
}

#[test]
fn a_run_that_fails_to_start_is_killed_without_a_signal() {
    let buildah = Buildah::new(&["/probe", "pause"]);
    buildah.create_call(&[]).run().ok();
    let pid = buildah.pid();
    // Created, and never started: what its init does with TERM is the runtime's business, deleting is possible.
    buildah.call(&["kill", buildah.id()]).run().ok();
    buildah
        .call(&["delete", "--force", buildah.id()])
        .run()
        .ok();
    reap(pid);
    assert_eq!(buildah.bundle.leftovers(), Vec::<String>::new());
}

#[test]
fn a_command_that_is_not_there() {
    let buildah = Buildah::new(&["nosuch"]);
    let output = buildah.create_call(&[]).run().exits(1);
    assert_eq!(output.stdout, "");
    assert!(
        output.stderr.contains("executable file `nosuch` not found")
            || output
                .stderr
                .replace('\\', "")
                .contains("exec: \"nosuch\": executable file not found in $PATH"),
        "{}",
        output.stderr
    );
    assert!(!buildah.pid_file().exists());
    assert_eq!(buildah.bundle.leftovers(), Vec::<String>::new());
}
