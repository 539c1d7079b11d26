//! What Podman does with a runtime: conmon makes the containers and the exec sessions, libpod does the rest by itself.
//!
//! The words are those of conmon's `runtime_args.c` and of libpod's `oci_conmon_common.go`. None of the calls has `--root`: all of
//! them must find the same default. The same of conmon-rs, which names the root, twice, and has forms of its own.

use integration::{
    Bundle, Call, CgroupDriver, EngineLog, FdSocket, Runtime, Terminal, become_subreaper, differs,
    json, needs, parent_of, pid_in, reap, until,
};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

/// A container of Podman's, in the default root.
struct Conmon {
    bundle: Bundle,
    log: EngineLog,
    /// XDG_RUNTIME_DIR, which is empty for root.
    runtime_dir: String,
}

impl Conmon {
    fn new() -> Conmon {
        Conmon::with(Bundle::new(), String::new())
    }

    /// An ordinary user's, whose default root is in the session's directory.
    fn rootless() -> Conmon {
        let bundle = Bundle::rootless(1000, 1000);
        let dir = bundle.home().join("xdg");
        fs::create_dir(&dir).unwrap();
        std::os::unix::fs::chown(&dir, Some(1000), Some(1000)).unwrap();
        let dir = dir.to_str().unwrap().to_string();
        Conmon::with(bundle, dir)
    }

    fn with(bundle: Bundle, runtime_dir: String) -> Conmon {
        become_subreaper();
        // A warning about these would be in the log.
        bundle.remove("/process/capabilities/ambient");
        let log = EngineLog::at(&bundle.dir(), "oci-log");
        Conmon {
            bundle,
            log,
            runtime_dir,
        }
    }

    fn id(&self) -> &str {
        self.bundle.id()
    }

    fn pid_file(&self) -> PathBuf {
        self.bundle.dir().join("pidfile")
    }

    #[track_caller]
    fn pid(&self) -> i32 {
        pid_in(&self.pid_file())
    }

    /// A call of conmon's: with the environment that Podman gave it, and its own pipes in that.
    fn conmon<S: AsRef<str>>(&self, global: &[&str], words: &[S]) -> Call {
        let words = words.iter().map(AsRef::as_ref);
        self.bundle
            .bare_call()
            .args(global)
            .args(["--log-format=json", "--log", self.log.path()])
            .args(words)
            .env("XDG_RUNTIME_DIR", &self.runtime_dir)
            .env("_OCI_SYNCPIPE", "3")
            .env("_OCI_STARTPIPE", "4")
            .env("_OCI_ATTACHPIPE", "5")
            .cwd(self.bundle.dir())
    }

    fn create_call(&self, flags: &[&str]) -> Call {
        // For create alone.
        let global: Vec<&str> = CgroupDriver::get().flag().into_iter().collect();
        let words = self.bundle.create_words(&self.pid_file(), flags);
        self.conmon(&global, &words)
    }

    #[track_caller]
    fn create(&self) -> i32 {
        let output = self.create_call(&[]).run().ok();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
        self.pid()
    }

    /// A call of libpod's: nothing in the environment but XDG_RUNTIME_DIR.
    fn libpod(&self, words: &[&str]) -> Call {
        let call = self.bundle.bare_call().bare_env().args(words);
        call.env("XDG_RUNTIME_DIR", &self.runtime_dir)
    }

    #[track_caller]
    fn quiet(&self, words: &[&str]) {
        let output = self.libpod(words).both_streams().run().ok();
        assert_eq!(output.stdout, "", "{words:?}");
    }

    fn exec_call(&self, process: &str, flags: &[&str]) -> Call {
        let pid_file = self.exec_pid_file();
        let mut words = vec![
            "exec",
            "--pid-file",
            pid_file.to_str().unwrap(),
            "--process",
            process,
            "--detach",
        ];
        words.extend(flags);
        words.push(self.id());
        self.conmon(&[], &words)
    }

    fn exec_pid_file(&self) -> PathBuf {
        self.bundle.dir().join("exec_pid")
    }

    #[track_caller]
    fn exec_pid(&self) -> i32 {
        pid_in(&self.exec_pid_file())
    }

    #[track_caller]
    fn end(&self, pid: i32) {
        self.quiet(&["kill", self.id(), "9"]);
        assert_eq!(reap(pid), 137);
        self.quiet(&["delete", "--force", self.id()]);
        assert_eq!(self.bundle.leftovers(), Vec::<String>::new());
    }
}

impl Drop for Conmon {
    fn drop(&mut self) {
        // The bundle looks into its own root only.
        self.libpod(&["delete", "--force", self.id()]).run();
    }
}

/// Podman's exit code for a text, by its regular expressions: what a user's shell gets.
fn podmans_code(text: &str) -> i32 {
    let text = text.to_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if any(&["permission denied", "operation not permitted"]) {
        126
    } else if any(&[
        "executable file not found in",
        "no such file or directory",
        "open executable",
    ]) {
        127
    } else {
        126
    }
}

#[test]
fn a_container_from_create_to_delete() {
    let podman = Conmon::new();
    let pid = podman.create();
    // The runtime has gone, and has not waited for the init.
    assert_eq!(parent_of(pid), std::process::id() as i32);
    podman.quiet(&["start", podman.id()]);
    let state = podman.libpod(&["state", podman.id()]).run().ok();
    assert_eq!(state.json()["status"], "running");
    podman.quiet(&["pause", podman.id()]);
    podman.quiet(&["resume", podman.id()]);
    podman.quiet(&["kill", podman.id(), "9"]);
    assert_eq!(reap(pid), 137);
    let state = podman.libpod(&["state", podman.id()]).run().ok();
    assert_eq!(state.json()["status"], "stopped");
    podman.quiet(&["delete", podman.id()]);
    podman.libpod(&["state", podman.id()]).run().fails();
    assert_eq!(podman.log.text(), "");
    assert_eq!(podman.bundle.leftovers(), Vec::<String>::new());
}

#[test]
fn the_default_root_of_root() {
    differs!(Crun, "takes XDG_RUNTIME_DIR also when root calls");
    let podman = Conmon::new();
    let pid = podman.create();
    let root = PathBuf::from("/run").join(Runtime::get().name());
    assert!(root.join(podman.id()).is_dir());
    // A session's directory does not change it: sudo may leave the variable in.
    let state = podman.bundle.bare_call().args(["state", podman.id()]);
    let state = state.env("XDG_RUNTIME_DIR", podman.bundle.home());
    assert_eq!(state.run().ok().json()["status"], "created");
    podman.end(pid);
}

#[test]
fn a_container_of_an_ordinary_user() {
    needs!(
        CgroupDriver::get() == CgroupDriver::Cgroupfs,
        "a cgroup driver that does not ask a session's systemd"
    );
    let podman = Conmon::rootless();
    let pid = podman.create();
    let root = PathBuf::from(&podman.runtime_dir).join(Runtime::get().name());
    assert!(root.join(podman.id()).is_dir());
    podman.quiet(&["start", podman.id()]);
    let process = podman.bundle.process_file(&["/bin/true"], false);
    podman.exec_call(&process, &[]).run().ok();
    assert_eq!(reap(podman.exec_pid()), 0);
    podman.quiet(&["kill", podman.id(), "9"]);
    assert_eq!(reap(pid), 137);
    podman.quiet(&["delete", podman.id()]);
}

#[test]
fn the_flags_of_create_and_the_console_socket_behind_them() {
    let podman = Conmon::new();
    podman.bundle.set("/process/terminal", json!(true));
    podman.bundle.args(&["/bin/sh", "-c", "tty; exit 3"]);
    let socket = FdSocket::bind(podman.bundle.home().join("console.sock"));
    let flags = [
        "--no-pivot",
        "--no-new-keyring",
        "--console-socket",
        socket.path().to_str().unwrap(),
    ];
    let create = podman.create_call(&flags).spawn();
    // conmon takes one message with one descriptor; the text beside it fits into a path.
    let (master, name) = socket.receive();
    create.wait().ok();
    assert!(!name.is_empty() && name.len() < 4096, "{name:?}");
    let mut terminal = Terminal::from(master);
    podman.quiet(&["start", podman.id()]);
    terminal.read_until("/dev/pts/0");
    assert_eq!(reap(podman.pid()), 3);
    podman.quiet(&["delete", podman.id()]);
}

#[test]
fn descriptors_are_passed_on() {
    let podman = Conmon::new();
    podman
        .bundle
        .args(&["/probe", "fd-write", "3", "from inside"]);
    let path = podman.bundle.home().join("io/passed");
    let create = podman.create_call(&["--preserve-fds", "1"]);
    create.fd(3, File::create(&path).unwrap()).run().ok();
    podman.quiet(&["start", podman.id()]);
    assert_eq!(reap(podman.pid()), 0);
    assert_eq!(fs::read_to_string(&path).unwrap(), "from inside");
    podman.quiet(&["delete", podman.id()]);
}

#[test]
fn a_failed_create_is_one_record_and_a_short_text() {
    differs!(
        Runc,
        "without the memory controller there is a warning more"
    );
    let cases: [(&str, &[&str], i32); 4] = [
        ("missing", &["nosuch"], 127),
        ("missing-path", &["/nosuch"], 127),
        ("no-program", &["/file"], 126),
        ("directory", &["/etc"], 126),
    ];
    for (name, args, code) in cases {
        let podman = Conmon::new();
        podman.bundle.write("file", "no program");
        podman.bundle.args(args);
        let output = podman.create_call(&[]).run().exits(1);
        assert_eq!(output.stdout, "", "{name}");
        let error = podman.log.only_error();
        assert_eq!(podmans_code(&error), code, "{name}: {error}");
        // conmon reads at most 8191 bytes of it.
        assert!(!output.stderr.is_empty() && output.stderr.len() < 8192);
        assert_eq!(podmans_code(&output.stderr), code, "{name}");
        assert!(!podman.pid_file().exists(), "{name}");
        assert_eq!(podman.bundle.leftovers(), Vec::<String>::new());
    }
}

#[test]
fn a_working_directory_that_is_not_there() {
    differs!(
        Runc,
        "without the memory controller there is a warning more"
    );
    let podman = Conmon::new();
    podman.bundle.set("/process/cwd", json!("/file/below"));
    podman.bundle.write("file", "no directory");
    podman.create_call(&[]).run().exits(1);
    podman.log.only_error();
    assert!(!podman.pid_file().exists());
}

#[test]
fn exec_with_its_streams_and_its_exit_code() {
    let podman = Conmon::new();
    let pid = podman.create();
    podman.quiet(&["start", podman.id()]);
    let process = podman
        .bundle
        .process_file(&["/bin/sh", "-c", "cat; echo err >&2; exit 9"], false);
    let output = podman.exec_call(&process, &[]).stdin("in\n").run().ok();
    assert_eq!(reap(podman.exec_pid()), 9);
    assert_eq!(fs::read_to_string(&output.out_path).unwrap(), "in\n");
    let err = output.out_path.with_extension("err");
    assert_eq!(fs::read_to_string(err).unwrap(), "err\n");
    podman.end(pid);
}

#[test]
fn exec_with_descriptors_and_a_terminal() {
    let podman = Conmon::new();
    let pid = podman.create();
    podman.quiet(&["start", podman.id()]);
    let path = podman.bundle.home().join("io/passed");
    let process = podman
        .bundle
        .process_file(&["/probe", "fd-write", "3", "from exec"], false);
    let exec = podman.exec_call(&process, &["--preserve-fds", "1"]);
    exec.fd(3, File::create(&path).unwrap()).run().ok();
    assert_eq!(reap(podman.exec_pid()), 0);
    assert_eq!(fs::read_to_string(&path).unwrap(), "from exec");

    let process = podman
        .bundle
        .process_file(&["/bin/sh", "-c", "tty; exit 4"], true);
    let socket = FdSocket::bind(podman.bundle.home().join("console.sock"));
    let flags = ["--console-socket", socket.path().to_str().unwrap()];
    let exec = podman.exec_call(&process, &flags).spawn();
    let (master, _) = socket.receive();
    exec.wait().ok();
    let mut terminal = Terminal::from(master);
    terminal.read_until("/dev/pts/");
    assert_eq!(reap(podman.exec_pid()), 4);
    podman.end(pid);
}

#[test]
fn a_failed_exec_is_one_record_and_no_pid_file() {
    differs!(
        Crun,
        "leaves the process to the subreaper, and the container cannot end before that has reaped it"
    );
    let podman = Conmon::new();
    let pid = podman.create();
    podman.quiet(&["start", podman.id()]);
    podman.bundle.write("file", "no program");
    for (program, code) in [("nosuch", 127), ("/file", 126)] {
        let process = podman.bundle.process_file(&[program], false);
        let _ = fs::remove_file(podman.log.path());
        let output = podman.exec_call(&process, &[]).run().fails();
        assert_eq!(output.stdout, "");
        assert_eq!(podmans_code(&podman.log.only_error()), code);
        assert_eq!(podmans_code(&output.stderr), code);
        assert!(!podman.exec_pid_file().exists());
    }
    podman.end(pid);
}

#[test]
fn what_libpod_looks_for_in_errors() {
    differs!(
        Crun,
        "says of an unknown container that a directory is not there"
    );
    let podman = Conmon::new();
    let pid = podman.create();
    podman.quiet(&["start", podman.id()]);
    podman.quiet(&["kill", podman.id(), "9"]);
    assert_eq!(reap(pid), 137);
    // A signal for what has ended: libpod asks for the state then, and goes on.
    podman.libpod(&["kill", podman.id(), "15"]).run().fails();
    let state = podman.libpod(&["state", podman.id()]).run().ok();
    assert_eq!(state.json()["status"], "stopped");
    podman.quiet(&["delete", podman.id()]);
    let again = podman.libpod(&["delete", podman.id()]).run().fails();
    assert!(again.stderr.contains("does not exist"), "{}", again.stderr);
}

#[test]
fn resources_come_in_a_file() {
    let podman = Conmon::new();
    let pid = podman.create();
    podman.quiet(&["start", podman.id()]);
    let path = podman.bundle.home().join("io/resources");
    fs::write(&path, "{}").unwrap();
    let flag = format!("--resources={}", path.display());
    podman.quiet(&["update", &flag, podman.id()]);
    podman.end(pid);
}

#[test]
fn without_cgroups() {
    differs!(Runc, "has no such flag, and Podman does not ask it");
    let podman = Conmon::new();
    let words = podman.bundle.create_words(&podman.pid_file(), &[]);
    podman
        .conmon(&["--cgroup-manager", "disabled"], &words)
        .run()
        .ok();
    podman.quiet(&["start", podman.id()]);
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let pid = podman.pid();
    assert_eq!(
        fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap(),
        own
    );
    // Without the flag, as everything that is stored comes from the state.
    podman.end(pid);
}

#[test]
fn probes_before_the_first_container() {
    let podman = Conmon::new();
    let version = podman.bundle.bare_call().bare_env().arg("--version");
    let version = version.both_streams().run().ok().stdout;
    let first = version.lines().next().unwrap();
    assert!(
        first.starts_with(&format!("{} version ", Runtime::get().name())),
        "{version}"
    );
    // Exit code 0 says that checkpoint is there, anything else that it is not.
    let checkpoint = podman.bundle.bare_call().args(["checkpoint", "--help"]);
    let there = checkpoint.run().code() == Some(0);
    // The value of the last flag is left out on purpose: only a parser that knows the flag asks for it.
    let restore = podman.bundle.bare_call();
    let restore = restore
        .args(["restore", "--lsm-mount-context"])
        .run()
        .fails();
    let text = format!("{}{}", restore.stdout, restore.stderr);
    let knows = text.contains("flag needs an argument") || text.contains("requires an argument");
    assert_eq!(there, knows, "{text}");
}

/// conmon-rs: a server that lives longer than a container, with the root in each call, more than once.
struct Rs {
    bundle: Bundle,
    root: String,
}

impl Rs {
    fn new() -> Rs {
        become_subreaper();
        let bundle = Bundle::new();
        let root = format!("--root={}", bundle.root().display());
        Rs { bundle, root }
    }

    fn call(&self, words: &[&str]) -> Call {
        let driver = CgroupDriver::get().flag();
        let call = self.bundle.bare_call().arg(&self.root).args(driver);
        call.arg(&self.root).args(driver).args(words)
    }

    /// Creates and starts a container, and gives its pid.
    #[track_caller]
    fn running(&self) -> i32 {
        let pid_file = self.bundle.dir().join("pidfile");
        let words = self.bundle.create_words(&pid_file, &[]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.call(&words).run().ok();
        self.call(&["start", self.bundle.id()]).run().ok();
        pid_in(&pid_file)
    }

    #[track_caller]
    fn end(&self, pid: i32) {
        self.call(&["kill", self.bundle.id(), "KILL"]).run().ok();
        assert_eq!(reap(pid), 137);
        self.call(&["delete", "--force", self.bundle.id()])
            .run()
            .ok();
    }
}

#[test]
fn conmon_rs_gives_the_command_itself_to_exec() {
    let rs = Rs::new();
    let pid = rs.running();
    let file = rs.bundle.dir().join("exec_pid");
    let pid_file = format!("--pid-file={}", file.display());
    let exec = rs.call(&[
        "exec",
        "-d",
        &pid_file,
        rs.bundle.id(),
        "/bin/sh",
        "-c",
        "echo -d --tty; exit 8",
    ]);
    let output = exec.run().ok();
    let exec_pid = pid_in(&file);
    assert_eq!(reap(exec_pid), 8);
    assert_eq!(fs::read_to_string(&output.out_path).unwrap(), "-d --tty\n");
    rs.end(pid);
}

#[test]
fn conmon_rs_gives_a_console_socket_and_tty_to_exec() {
    let rs = Rs::new();
    let pid = rs.running();
    let file = rs.bundle.dir().join("exec_pid");
    let pid_file = format!("--pid-file={}", file.display());
    let socket = FdSocket::bind(rs.bundle.home().join("console.sock"));
    let console = format!("--console-socket={}", socket.path().display());
    let exec = rs.call(&[
        "exec",
        "-d",
        &console,
        "--tty",
        &pid_file,
        rs.bundle.id(),
        "/bin/sh",
        "-c",
        "read x; echo got-$x; exit 2",
    ]);
    let exec = exec.spawn();
    let (master, _) = socket.receive();
    exec.wait().ok();
    let mut terminal = Terminal::from(master);
    terminal.master().write_all(b"word\n").unwrap();
    terminal.read_until("got-word");
    let exec_pid = until("the pid file", || {
        fs::read_to_string(&file).ok()?.parse().ok()
    });
    assert_eq!(reap(exec_pid), 2);
    rs.end(pid);
}
