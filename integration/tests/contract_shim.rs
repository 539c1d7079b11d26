//! What containerd's shim does with a runtime, through go-runc; Docker, nerdctl and BuildKit do it that way, too.
//!
//! The words of each call and what is read of the answer are those of go-runc 1.2 and of `cmd/containerd-shim-runc-v2`.

use integration::{
    Bundle, Call, Cgroup, CgroupDriver, EngineLog, FdSocket, Runtime, Terminal, become_subreaper,
    differs, json, parent_of, pid_in, reap, until,
};
use std::fs::{self, File};
use std::path::PathBuf;

/// The shim of one task.
struct Shim {
    bundle: Bundle,
    log: EngineLog,
}

impl Shim {
    fn new() -> Shim {
        become_subreaper();
        let bundle = Bundle::new();
        // A warning about these would be in the log.
        bundle.remove("/process/capabilities/ambient");
        let log = EngineLog::at(&bundle.dir(), "log.json");
        Shim { bundle, log }
    }

    fn id(&self) -> &str {
        self.bundle.id()
    }

    /// `RUNTIME --root ROOT --log FILE --log-format json WORDS`, with the shim's own environment.
    fn call<S: AsRef<str>>(&self, words: &[S]) -> Call {
        self.dress(self.bundle.bare_call(), words)
    }

    fn dress<S: AsRef<str>>(&self, call: Call, words: &[S]) -> Call {
        let words = words.iter().map(AsRef::as_ref);
        call.arg("--root")
            .arg(self.bundle.root())
            .args(["--log", self.log.path(), "--log-format", "json"])
            .args(CgroupDriver::get().flag())
            .args(words)
            .env("MAX_SHIM_VERSION", "2")
            .env("TTRPC_ADDRESS", "/run/containerd/containerd.sock.ttrpc")
            .env("GRPC_ADDRESS", "/run/containerd/containerd.sock")
            .env("NAMESPACE", "moby")
            .cwd(self.bundle.dir())
    }

    /// A call that says nothing and ends well.
    #[track_caller]
    fn quiet(&self, words: &[&str]) {
        let output = self.call(words).both_streams().run().ok();
        assert_eq!(output.stdout, "", "{words:?}");
    }

    fn pid_file(&self) -> PathBuf {
        self.bundle.dir().join("init.pid")
    }

    fn create_call(&self, flags: &[&str]) -> Call {
        self.call(&self.bundle.create_words(&self.pid_file(), flags))
    }

    /// `exec --process FILE FLAGS --detach --pid-file FILE ID`
    fn exec_words(&self, process: &str, flags: &[&str]) -> Vec<String> {
        let pid_file = self.exec_pid_file();
        let pid_file = pid_file.to_str().unwrap();
        let begin = ["exec", "--process", process];
        let end = ["--detach", "--pid-file", pid_file, self.id()];
        let words = begin.iter().chain(flags).chain(&end);
        words.map(ToString::to_string).collect()
    }

    fn exec_pid_file(&self) -> PathBuf {
        self.bundle.dir().join("exec.pid")
    }

    /// Creates the container, and gives the pid that the file has.
    #[track_caller]
    fn create(&self) -> i32 {
        let output = self.create_call(&[]).run().ok();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
        pid_in(&self.pid_file())
    }

    #[track_caller]
    fn create_and_start(&self) -> i32 {
        let pid = self.create();
        self.quiet(&["start", self.id()]);
        pid
    }

    /// `state`, read as go-runc does: stdout and stderr are one.
    #[track_caller]
    fn state(&self) -> integration::Value {
        let output = self.call(&["state", self.id()]).both_streams();
        output.run().ok().json()
    }

    /// Kills the init, reaps it and deletes the container, as the shim does at the end of a task.
    #[track_caller]
    fn end(&self, pid: i32) {
        self.quiet(&["kill", self.id(), "9"]);
        assert_eq!(reap(pid), 137);
        self.quiet(&["delete", self.id()]);
        assert_eq!(self.bundle.leftovers(), Vec::<String>::new());
    }

    /// What the call fails with: the exit code, stderr (without the newline) and the log have one text.
    #[track_caller]
    fn error(&self, code: i32, words: &[&str]) -> String {
        self.error_of(code, self.call(words))
    }

    #[track_caller]
    fn error_of(&self, code: i32, call: Call) -> String {
        let output = call.run().exits(code);
        assert_eq!(output.stdout, "", "{}", output.describe());
        let text = self.log.last_error();
        assert_eq!(output.stderr.trim(), text, "{}", output.describe());
        text
    }
}

/// runc's text with the name of the runtime in runc's place.
fn named(text: &str) -> String {
    text.replace("runc", Runtime::get().name())
}

#[test]
fn a_task_from_create_to_delete() {
    let shim = Shim::new();
    let pid = shim.create();
    // The shim is the subreaper; it looks for the cgroup as soon as create is done.
    assert_eq!(parent_of(pid), std::process::id() as i32);
    let cgroup = Cgroup::of_process(pid);
    assert!(cgroup.exists());
    assert_eq!(shim.state()["status"], "created");
    assert_eq!(shim.state()["pid"], pid);
    shim.quiet(&["start", shim.id()]);
    assert_eq!(shim.state()["status"], "running");
    // The probe ends by itself at a TERM, which is 15 here: go-runc sends numbers.
    until("the program", || {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        (comm == "probe\n").then_some(())
    });
    shim.quiet(&["kill", shim.id(), "9"]);
    assert_eq!(reap(pid), 137);
    assert_eq!(shim.state()["status"], "stopped");
    assert_eq!(shim.state()["pid"], 0);
    shim.quiet(&["delete", shim.id()]);
    assert!(!cgroup.exists());
    assert_eq!(shim.log.text(), "");
}

#[test]
fn the_runtimes_streams_are_the_containers() {
    let shim = Shim::new();
    shim.bundle
        .args(&["/bin/sh", "-c", "cat; echo out; echo err >&2; exit 7"]);
    let create = shim.create_call(&[]).stdin("in\n").spawn();
    let pid = until("the pid file", || {
        fs::read_to_string(shim.pid_file()).ok()?.parse().ok()
    });
    // The files stay the container's after the runtime has gone.
    let output = create.wait().ok();
    shim.quiet(&["start", shim.id()]);
    assert_eq!(reap(pid), 7);
    assert_eq!(fs::read_to_string(&output.out_path).unwrap(), "in\nout\n");
    assert_eq!(
        fs::read_to_string(output.out_path.with_extension("err")).unwrap(),
        "err\n"
    );
    shim.quiet(&["delete", shim.id()]);
}

#[test]
fn a_terminal_comes_by_the_console_socket() {
    let shim = Shim::new();
    shim.bundle.set("/process/terminal", json!(true));
    shim.bundle.args(&["/bin/sh", "-c", "tty; exit 3"]);
    // go-runc's own place for it: a directory made for it in XDG_RUNTIME_DIR or in TMPDIR.
    let socket = FdSocket::bind(shim.bundle.home().join("pty.sock"));
    let flags = ["--console-socket", socket.path().to_str().unwrap()];
    let create = shim.create_call(&flags).spawn();
    let (master, _) = socket.receive();
    create.wait().ok();
    let pid = pid_in(&shim.pid_file());
    let mut terminal = Terminal::from(master);
    shim.quiet(&["start", shim.id()]);
    terminal.read_until("/dev/pts/0");
    assert_eq!(reap(pid), 3);
    shim.quiet(&["delete", shim.id()]);
}

#[test]
fn the_flags_of_create_in_their_order() {
    let shim = Shim::new();
    let create = shim.create_call(&["--no-pivot", "--no-new-keyring"]);
    assert_eq!(create.both_streams().run().ok().stdout, "");
    shim.end(pid_in(&shim.pid_file()));
}

#[test]
fn every_command_on_an_unknown_container() {
    differs!(Crun, "has words of its own");
    let shim = Shim::new();
    let process = shim.bundle.process_file(&["/bin/true"], false);
    for words in [
        &["state", "x"][..],
        &["start", "x"],
        &["kill", "x", "9"],
        &["kill", "--all", "x", "9"],
        &["delete", "x"],
        &["pause", "x"],
        &["resume", "x"],
        &["ps", "--format", "json", "x"],
        &["events", "--stats", "x"],
    ] {
        assert_eq!(
            shim.error(1, words),
            "container does not exist",
            "{words:?}"
        );
    }
    let update = shim.call(&["update", "--resources=-", "x"]).stdin("{}");
    assert_eq!(shim.error_of(1, update), "container does not exist");
    let exec = ["exec", "--process", process.as_str(), "--detach", "x"];
    assert_eq!(
        shim.error(255, &exec),
        "exec failed: container does not exist"
    );
    // Each call has added its own record.
    assert_eq!(shim.log.records().len(), 11);
}

#[test]
fn a_call_that_is_not_understood_is_told_in_the_log() {
    differs!(Crun, "says it on stderr alone");
    let shim = Shim::new();
    // As an engine that is newer than the runtime would.
    let output = shim.call(&["frobnicate", "x"]).run().exits(3);
    assert_eq!(output.stderr, "No help topic for 'frobnicate'\n");
    assert_eq!(shim.log.last_error(), output.stderr.trim());
    let output = shim.call(&["create", "--frobnicate", "x"]).run().exits(1);
    assert_eq!(
        output.stderr,
        "flag provided but not defined: -frobnicate\n"
    );
    assert_eq!(shim.log.last_error(), output.stderr.trim());
    shim.call(&["delete"]).run().exits(1);
    let text = shim.log.last_error();
    assert!(
        text.ends_with(": \"delete\" requires exactly 1 argument(s)"),
        "{text}"
    );
}

#[test]
fn cleaning_up_what_is_not_there() {
    let shim = Shim::new();
    shim.quiet(&["delete", "--force", "x"]);
    let list = shim.call(&["list", "--format=json"]).run().ok();
    assert!(["null", "[]"].contains(&list.stdout.trim()));
    assert_eq!(shim.log.text(), "");
}

#[test]
fn errors_of_create_are_told_and_leave_nothing() {
    differs!(Crun, "has words of its own");
    let shim = Shim::new();
    shim.bundle.write("file", "no program");
    for (args, text) in [
        (
            "nosuch",
            "exec: \"nosuch\": executable file not found in $PATH",
        ),
        (
            "/nosuch",
            "exec: \"/nosuch\": stat /nosuch: no such file or directory",
        ),
        ("/file", "exec: \"/file\": permission denied"),
        ("/etc", "exec: \"/etc\": is a directory"),
    ] {
        shim.bundle.args(&[args]);
        let error = shim.error_of(1, shim.create_call(&[]));
        let prefix = named("runc create failed: unable to start container process: ");
        // Some versions say where it was, some leave "stat" out.
        let error = error.replace("error during container init: ", "");
        let short = text.replace("stat /nosuch: ", "");
        assert!(
            error == format!("{prefix}{text}") || error == format!("{prefix}{short}"),
            "{error:?}, wanted {text:?}"
        );
        assert!(!shim.pid_file().exists());
        assert_eq!(shim.bundle.leftovers(), Vec::<String>::new());
    }
}

#[test]
fn errors_of_create_before_anything_is_made() {
    differs!(Crun, "has words of its own");
    let shim = Shim::new();
    let create = |dir: &str, id: &str| {
        let text = shim.error(1, &["create", "--bundle", dir, id]);
        text.strip_prefix(&named("runc create failed: "))
            .map(str::to_string)
            .unwrap_or(text)
    };
    assert_eq!(
        create("/", "x"),
        "JSON specification file config.json not found"
    );
    assert_eq!(
        create("/nosuch", "x"),
        "chdir /nosuch: no such file or directory"
    );
    let dir = shim.bundle.dir();
    let dir = dir.to_str().unwrap();
    assert!(create(dir, "a/b").starts_with("invalid container ID format"));
    let pid = shim.create();
    assert_eq!(
        create(dir, shim.id()),
        "container with given ID already exists"
    );
    shim.end(pid);
}

#[test]
fn errors_by_the_containers_state() {
    differs!(Crun, "has words of its own");
    let shim = Shim::new();
    let id = shim.id();
    let process = shim.bundle.process_file(&["/bin/true"], false);
    let exec = ["exec", "--process", process.as_str(), "--detach", id];
    let pid = shim.create_and_start();
    assert_eq!(
        shim.error(1, &["start", id]),
        "cannot start an already running container"
    );
    assert_eq!(
        shim.error(1, &["delete", id]),
        format!("cannot delete container {id} that is not stopped: running")
    );
    assert_eq!(shim.error(1, &["resume", id]), "container not paused");
    shim.quiet(&["pause", id]);
    assert_eq!(shim.state()["status"], "paused");
    assert_eq!(shim.error(1, &["pause", id]), "container not running");
    assert_eq!(
        shim.error(255, &exec),
        "exec failed: cannot exec in a paused container (use --ignore-paused to override)"
    );
    shim.quiet(&["resume", id]);
    shim.quiet(&["kill", id, "9"]);
    assert_eq!(reap(pid), 137);
    assert_eq!(shim.error(1, &["kill", id, "15"]), "container not running");
    shim.quiet(&["kill", "--all", id, "9"]);
    assert_eq!(
        shim.error(1, &["start", id]),
        "cannot start a container that has stopped"
    );
    assert_eq!(
        shim.error(255, &exec),
        "exec failed: cannot exec in a stopped container"
    );
    assert_eq!(
        shim.error(1, &["events", "--stats", id]),
        format!("container with id {id} is not running")
    );
    shim.quiet(&["delete", id]);
    assert_eq!(shim.error(1, &["delete", id]), "container does not exist");
}

#[test]
fn a_zombie_is_a_stopped_container() {
    let shim = Shim::new();
    let pid = shim.create_and_start();
    shim.quiet(&["kill", shim.id(), "9"]);
    until("the end", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.contains(") Z ").then_some(())
    });
    // The shim deletes on the exit event, perhaps before it has reaped.
    assert_eq!(shim.state()["status"], "stopped");
    shim.quiet(&["delete", shim.id()]);
    assert_eq!(reap(pid), 137);
}

#[test]
fn exec_detached_with_a_pid_file() {
    let shim = Shim::new();
    let pid = shim.create_and_start();
    let process = shim
        .bundle
        .process_file(&["/bin/sh", "-c", "echo here; exit 5"], false);
    let output = shim.call(&shim.exec_words(&process, &[])).run().ok();
    // The process is the shim's child now.
    assert_eq!(reap(pid_in(&shim.exec_pid_file())), 5);
    assert_eq!(fs::read_to_string(&output.out_path).unwrap(), "here\n");
    shim.end(pid);
}

#[test]
fn exec_with_a_terminal() {
    let shim = Shim::new();
    let pid = shim.create_and_start();
    let process = shim
        .bundle
        .process_file(&["/bin/sh", "-c", "tty; exit 4"], true);
    let socket = FdSocket::bind(shim.bundle.home().join("pty.sock"));
    let flags = ["--console-socket", socket.path().to_str().unwrap()];
    let exec = shim.call(&shim.exec_words(&process, &flags)).spawn();
    let (master, _) = socket.receive();
    exec.wait().ok();
    let mut terminal = Terminal::from(master);
    terminal.read_until("/dev/pts/");
    assert_eq!(reap(pid_in(&shim.exec_pid_file())), 4);
    shim.end(pid);
}

#[test]
fn a_failed_exec_is_told_and_leaves_no_pid_file() {
    differs!(Crun, "has words of its own");
    let shim = Shim::new();
    let pid = shim.create_and_start();
    let process = shim.bundle.process_file(&["nosuch"], false);
    let exec = shim.call(&shim.exec_words(&process, &[]));
    assert_eq!(
        shim.error_of(255, exec),
        "exec failed: unable to start container process: exec: \"nosuch\": executable file not found in $PATH"
    );
    assert!(!shim.exec_pid_file().exists());
    shim.end(pid);
}

#[test]
fn exec_in_the_foreground_passes_the_exit_code_on() {
    let shim = Shim::new();
    let pid = shim.create_and_start();
    let process = shim
        .bundle
        .process_file(&["/bin/sh", "-c", "echo here; exit 6"], false);
    let output = shim.call(&["exec", "--process", &process, shim.id()]);
    let output = output.run().exits(6);
    assert_eq!(output.stdout, "here\n");
    assert_eq!(shim.log.text(), "");
    shim.end(pid);
}

#[test]
fn ps_gives_pids_and_a_table() {
    let shim = Shim::new();
    let pid = shim.create_and_start();
    let json = shim.call(&["ps", "--format", "json", shim.id()]);
    assert_eq!(json.both_streams().run().ok().json(), json!([pid]));
    if Runtime::get().name() != "crun" {
        // All options of ps(1) in one argument.
        let table = shim.call(&["ps", "--format", "table", shim.id(), "-ef"]);
        let table = table.run().ok().stdout;
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[0].contains("PID") && lines.len() == 2, "{table}");
        assert!(lines[1].contains(&pid.to_string()), "{table}");
    }
    shim.end(pid);
}

#[test]
fn stats_are_one_object() {
    differs!(Crun, "has no events");
    let shim = Shim::new();
    let pid = shim.create_and_start();
    let stats = shim.call(&["events", "--stats", shim.id()]);
    let stats = stats.run().ok().json();
    assert_eq!(stats["type"], "stats");
    assert_eq!(stats["id"], shim.id());
    assert!(
        stats["data"]["cpu"]["usage"]["total"].is_number(),
        "{stats}"
    );
    shim.end(pid);
}

#[test]
fn resources_come_on_stdin() {
    let shim = Shim::new();
    let pid = shim.create_and_start();
    // In both forms that go-runc has had.
    for words in [
        &["update", "--resources=-", shim.id()][..],
        &["update", "--resources", "-", shim.id()],
    ] {
        let update = shim.call(words).stdin("{\"memory\":{},\"cpu\":{}}\n");
        let update = update.both_streams().run().ok();
        assert_eq!(update.stdout, "");
    }
    shim.end(pid);
}

#[test]
fn features_are_json_and_nothing_else() {
    let shim = Shim::new();
    let output = shim.bundle.bare_call().arg("features").both_streams();
    let features = output.run().ok().json();
    assert!(features["ociVersionMin"].is_string() && features["ociVersionMax"].is_string());
}

#[test]
fn the_runtime_is_run_by_descriptor() {
    // Newer versions of go-runc open the binary once, and run /proc/self/fd/N.
    let shim = Shim::new();
    shim.bundle.args(&["/probe", "listen-fds"]);
    let by_fd = |words: &[String]| {
        let call = Call::of("/proc/self/fd/3", &shim.bundle.home().join("io"));
        let program = File::open(Runtime::get().path()).unwrap();
        shim.dress(call, words).fd(3, program)
    };
    let words = shim.bundle.create_words(&shim.pid_file(), &[]);
    let output = by_fd(&words).run().ok();
    let pid = pid_in(&shim.pid_file());
    let id = || shim.id().to_string();
    by_fd(&["start".into(), id()]).run().ok();
    assert_eq!(reap(pid), 0);
    // The descriptor of the binary does not get into the container.
    let seen = fs::read_to_string(&output.out_path).unwrap();
    let seen: integration::Value = serde_json::from_str(&seen).unwrap();
    let fds: Vec<i64> = match &seen["fds"] {
        integration::Value::Array(list) => list.iter().filter_map(|fd| fd.as_i64()).collect(),
        integration::Value::Object(map) => map.keys().map(|fd| fd.parse().unwrap()).collect(),
        other => panic!("{other}"),
    };
    assert!(fds.iter().all(|fd| *fd < 3), "{seen}");
    by_fd(&["delete".into(), id()]).run().ok();
}
