//! Docker: a dockerd whose default runtime is the one under test.

use integration::{
    Call, Output, Runtime, Terminal, engine_call, engine_dir, image_tar, open_to_all, test_name,
    until, wait_nothing_left,
};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// The name of the image in Docker.
const IMAGE: &str = "bb";

/// The daemon, ended with this process.
static DAEMON: AtomicI32 = AtomicI32::new(0);

extern "C" fn end_daemon() {
    // SAFETY: plain system calls on the pid of a child that nobody else waits for.
    unsafe {
        libc::kill(DAEMON.load(Ordering::Relaxed), libc::SIGTERM);
        libc::waitpid(DAEMON.load(Ordering::Relaxed), std::ptr::null_mut(), 0);
    }
}

fn bare<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> Call {
    let socket = format!("unix://{}/docker.sock", engine_dir().display());
    let call = engine_call("docker").env("DOCKER_HOST", socket);
    // BuildKit needs a client that Debian has not got.
    let call = call.env("DOCKER_BUILDKIT", "0");
    words
        .into_iter()
        .fold(call, |call, word| call.arg(word.as_ref()))
}

/// A call of docker, with a daemon that has the image.
// It is waited for by end_daemon.
#[allow(clippy::zombie_processes)]
fn docker<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> Call {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        let dir = engine_dir();
        let at = dir.display();
        let config = format!(
            r#"{{"runtimes": {{"under-test": {{"path": "{}"}}}}, "default-runtime": "under-test",
            "data-root": "{at}/data", "exec-root": "{at}/exec", "pidfile": "{at}/pid",
            "hosts": ["unix://{at}/docker.sock"], "storage-driver": "vfs"}}"#,
            Runtime::get().path().display()
        );
        fs::write(dir.join("daemon.json"), config).unwrap();
        let log = fs::File::create(dir.join("dockerd.log")).unwrap();
        let daemon = Command::new("dockerd")
            .arg("--config-file")
            .arg(dir.join("daemon.json"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        DAEMON.store(daemon.id() as i32, Ordering::Relaxed);
        // SAFETY: the function stays, and does nothing but system calls.
        unsafe { libc::atexit(end_daemon) };
        until("dockerd", || {
            (bare(["version"]).run().code() == Some(0)).then_some(())
        });
        bare(["import", image_tar().to_str().unwrap(), IMAGE])
            .run()
            .ok();
    });
    bare(words)
}

/// A path that no other call has.
fn fresh(name: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    engine_dir().join(format!("{name}-{count}"))
}

fn run_call(flags: &[&str], command: &[&str], set: impl Fn(Call) -> Call) -> Output {
    let cidfile = fresh("cid");
    let words = ["run", "--rm", "--cidfile", cidfile.to_str().unwrap()];
    let words = words.iter().chain(flags).chain(&[IMAGE]).chain(command);
    let output = set(docker(words)).run();
    if let Ok(id) = fs::read_to_string(cidfile) {
        nothing_left(id.trim());
    }
    output
}

/// Docker keeps the state of its runtimes below its exec-root.
fn nothing_left(id: &str) {
    wait_nothing_left(id);
    let state = engine_dir().join("exec/runtime-under-test/moby").join(id);
    until("the state to be gone", || (!state.exists()).then_some(()));
}

/// `docker run --rm`, and nothing is left of it.
fn run(flags: &[&str], command: &[&str]) -> Output {
    run_call(flags, command, |call| call)
}

/// What a container prints. Docker loses the output of one in some hundred that end at once (here 1
/// of 180 with runc, when the machine is busy; its log has nothing, either): such a one is run again.
fn printed(flags: &[&str], command: &[&str]) -> String {
    let once = || run(flags, command).ok().stdout.trim_end().to_string();
    let first = once();
    if first.is_empty() { once() } else { first }
}

/// A container with this test's name, removed when dropped.
struct Started {
    name: String,
    id: String,
}

impl Started {
    fn new(flags: &[&str], command: &[&str]) -> Started {
        Started::by(&["run", "--detach"], flags, command)
    }

    fn by(verb: &[&str], flags: &[&str], command: &[&str]) -> Started {
        let name = test_name();
        let words = verb.iter().copied().chain(["--name", &name]);
        let words = words.chain(flags.iter().copied()).chain([IMAGE]);
        let id = docker(words.chain(command.iter().copied()))
            .run()
            .ok()
            .stdout;
        let id = id.trim().to_string();
        Started { name, id }
    }

    /// One that sleeps until it is ended, and ends with 6 at a SIGTERM.
    fn sleeping() -> Started {
        let script = "trap 'echo bye; exit 6' TERM; echo up; while :; do sleep 0.05; done";
        let started = Started::new(&[], &["sh", "-c", script]);
        until("the trap", || started.logs().contains("up").then_some(()));
        started
    }

    /// `docker VERB... NAME ARGS...`
    fn call(&self, verb: &[&str], args: &[&str]) -> Call {
        let words = verb.iter().copied().chain([self.name.as_str()]);
        docker(words.chain(args.iter().copied()))
    }

    fn exec(&self, flags: &[&str], command: &[&str]) -> Output {
        let words = ["exec"].iter().chain(flags);
        self.call(&words.copied().collect::<Vec<_>>(), command)
            .run()
    }

    fn says(&self, format: &str) -> String {
        let format = format!("--format={format}");
        let output = self.call(&["inspect", &format], &[]).run().ok();
        output.stdout.trim().to_string()
    }

    fn status(&self) -> String {
        self.says("{{.State.Status}}")
    }

    fn logs(&self) -> String {
        self.call(&["logs"], &[]).run().ok().stdout
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let output = self.call(&["rm", "--force"], &[]).run();
        if !std::thread::panicking() {
            output.ok();
            nothing_left(&self.id);
        }
    }
}

/// What a container prints: `name: [flags] [command] => text`.
macro_rules! prints {
    ($($name:ident: [$($flag:expr),*] [$($word:expr),+] => $text:expr;)+) => {
        $(#[test]
        fn $name() {
            assert_eq!(printed(&[$($flag),*], &[$($word),+]), $text);
        })+
    };
}

/// How a container ends: `name: [flags] [command] => status, text on stderr`.
macro_rules! ends {
    ($($name:ident: [$($flag:expr),*] [$($word:expr),+] => $status:expr, $text:expr;)+) => {
        $(#[test]
        fn $name() {
            run(&[$($flag),*], &[$($word),+]).exits($status).says($text);
        })+
    };
}

prints! {
    a_command_runs: [] ["echo", "hi"] => "hi";
    an_init: ["--init"] ["cat", "/proc/1/comm"] => "docker-init";
    the_hosts_pids: ["--pid=host"] ["sh", "-c", "test $$ -gt 5 && echo yes"] => "yes";
    the_hosts_ipc: ["--ipc=host"] ["echo", "yes"] => "yes";
    the_hosts_name: ["--uts=host"] ["hostname"] => "vzrun-env";
    no_network: ["--network=none"] ["sh", "-c", "ip -o link | wc -l"] => "1";
    the_hosts_network: ["--network=host"] ["sh", "-c", "test -e /sys/class/net/lo && echo yes"] => "yes";
    a_bridge: [] ["sh", "-c", "ip -o -4 addr show eth0 | wc -l"] => "1";
    a_user: ["--user=1000"] ["id", "-un"] => "tester";
    a_group_more: ["--group-add=5"] ["id", "-G"] => "0 5";
    read_only_but_a_tmpfs: ["--read-only", "--tmpfs=/t"]
        ["sh", "-c", "touch /x 2>/dev/null || echo no; touch /t/x && echo yes"] => "no\nyes";
    privileged: ["--privileged"] ["sh", "-c", "mkdir /m; mount -t tmpfs x /m && echo yes"] => "yes";
    default_capabilities: [] ["grep", "CapEff", "/proc/self/status"] => "CapEff:\t00000000a80425fb";
    capabilities_added_and_dropped: ["--cap-add=NET_ADMIN", "--cap-drop=CHOWN"]
        ["grep", "CapEff", "/proc/self/status"] => "CapEff:\t00000000a80435fa";
    no_new_privileges: ["--security-opt=no-new-privileges"]
        ["grep", "NoNewPrivs", "/proc/self/status"] => "NoNewPrivs:\t1";
    the_default_seccomp_profile: []
        ["sh", "-c", "grep Seccomp: /proc/self/status; unshare -U true 2>/dev/null || echo no"] => "Seccomp:\t2\nno";
    a_device: ["--device=/dev/fuse"] ["stat", "-c", "%t:%T", "/dev/fuse"] => "a:e5";
    an_ulimit: ["--ulimit=nofile=100:200"] ["sh", "-c", "ulimit -n; ulimit -Hn"] => "100\n200";
    a_sysctl: ["--sysctl=net.ipv4.ip_forward=0"] ["cat", "/proc/sys/net/ipv4/ip_forward"] => "0";
    a_hostname: ["--hostname=foo"] ["hostname"] => "foo";
    a_working_directory_is_made: ["--workdir=/a/b"] ["pwd"] => "/a/b";
    a_variable: ["--env=A=b c"] ["sh", "-c", "echo $A"] => "b c";
    an_oom_score: ["--oom-score-adj=100"] ["cat", "/proc/self/oom_score_adj"] => "100";
    a_cgroup_of_its_own: [] ["grep", "^0:", "/proc/self/cgroup"] => "0::/";
    shm_has_a_size: ["--shm-size=1m"] ["sh", "-c", "df -k /dev/shm | awk 'END { print $2 }'"] => "1024";
}

ends! {
    an_exit_status: [] ["sh", "-c", "exit 5"] => 5, "";
    a_missing_command: [] ["nosuch"] => 127, "OCI runtime create failed";
    a_file_that_is_no_program: [] ["/etc/passwd"] => 126, "permission denied";
    a_directory_is_no_program: [] ["/etc"] => 126, "";
    a_wrong_flag_of_dockers: ["--nosuch"] ["true"] => 125, "unknown flag";
}

#[test]
fn stdin_comes_in() {
    let output = run_call(&["-i"], &["cat"], |call| call.stdin("from outside"));
    assert_eq!(output.ok().stdout, "from outside");
}

#[test]
fn a_terminal() {
    let mut terminal = Terminal::open();
    let command = ["sh", "-c", "tty; read x; echo got $x"];
    let words = ["run", "--rm", "-it", IMAGE].iter().chain(&command);
    let running = docker(words).terminal(&terminal).spawn();
    terminal.read_until("/dev/pts/0");
    terminal.write("word\n");
    terminal.read_until("got word");
    running.wait().ok();
}

#[test]
fn volumes() {
    let dir = fresh("volume");
    fs::create_dir(&dir).unwrap();
    open_to_all(&dir);
    let volume = |options: &str| format!("--volume={}:/v{options}", dir.display());
    printed(&[&volume("")], &["touch", "/v/new"]);
    assert!(dir.join("new").exists());
    let command = ["sh", "-c", "ls /v; touch /v/other 2>/dev/null || echo no"];
    assert_eq!(printed(&[&volume(":ro")], &command), "new\nno");
}

#[test]
fn a_named_volume_stays() {
    let volume = format!("--volume={}:/v", test_name());
    printed(&[&volume], &["touch", "/v/file"]);
    assert_eq!(printed(&[&volume], &["ls", "/v"]), "file");
    docker(["volume", "rm", &test_name()]).run().ok();
}

#[test]
fn exec_in_a_container() {
    let c = Started::sleeping();
    assert_eq!(c.exec(&[], &["echo", "hi"]).ok().stdout, "hi\n");
    c.exec(&[], &["sh", "-c", "exit 8"]).exits(8);
    c.exec(&[], &["nosuch"]).exits(126);
    c.exec(&[], &["/etc"]).exits(126);
    let flags = ["--user=1000", "--workdir=/tmp", "--env=A=b"];
    let output = c.exec(&flags, &["sh", "-c", "id -u; pwd; echo $A"]).ok();
    assert_eq!(output.stdout, "1000\n/tmp\nb\n");
    let capabilities = ["grep", "CapEff", "/proc/self/status"];
    let usual = c.exec(&[], &capabilities).ok().stdout;
    assert_ne!(c.exec(&["--privileged"], &capabilities).ok().stdout, usual);
    c.exec(&["--detach"], &["touch", "/made"]).ok();
    until("the file", || {
        (c.exec(&[], &["ls", "/made"]).code() == Some(0)).then_some(())
    });
    let stdin = c
        .call(&["exec", "-i"], &["cat"])
        .stdin("from outside")
        .run();
    assert_eq!(stdin.ok().stdout, "from outside");
    let mut terminal = Terminal::open();
    let command = ["sh", "-c", "tty; read x"];
    let running = c
        .call(&["exec", "-it"], &command)
        .terminal(&terminal)
        .spawn();
    terminal.read_until("/dev/pts/");
    terminal.write("\n");
    running.wait().ok();
}

#[test]
fn pause_and_unpause() {
    let c = Started::sleeping();
    c.call(&["pause"], &[]).run().ok();
    assert_eq!(c.status(), "paused");
    c.exec(&[], &["true"]).fails();
    c.call(&["unpause"], &[]).run().ok();
    assert_eq!(c.status(), "running");
}

#[test]
fn stop_lets_it_end_by_itself() {
    let c = Started::sleeping();
    c.call(&["stop", "--time=20"], &[]).run().ok();
    assert_eq!(c.says("{{.State.Status}} {{.State.ExitCode}}"), "exited 6");
    assert_eq!(c.logs(), "up\nbye\n");
}

#[test]
fn stop_kills_what_does_not_end() {
    let c = Started::new(&[], &["sleep", "1000"]);
    c.call(&["stop", "--time=1"], &[]).run().ok();
    assert_eq!(c.says("{{.State.ExitCode}}"), "137");
}

#[test]
fn kill_and_wait() {
    let c = Started::sleeping();
    c.call(&["kill", "--signal=CONT"], &[]).run().ok();
    assert_eq!(c.status(), "running");
    c.call(&["kill"], &[]).run().ok();
    assert_eq!(c.call(&["wait"], &[]).run().ok().stdout, "137\n");
}

#[test]
fn restart_and_start_again() {
    let c = Started::sleeping();
    c.call(&["restart", "--time=20"], &[]).run().ok();
    assert_eq!(c.status(), "running");
    c.call(&["stop", "--time=0"], &[]).run().ok();
    c.call(&["start"], &[]).run().ok();
    assert_eq!(c.status(), "running");
}

#[test]
fn a_restart_policy() {
    let c = Started::new(&["--restart=on-failure:2"], &["sh", "-c", "echo x; exit 3"]);
    until("two restarts", || {
        let said = c.says("{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}");
        (said == "2 exited 3" && c.logs() == "x\nx\nx\n").then_some(())
    });
}

#[test]
fn attach() {
    let script = ["sh", "-c", "read a; echo got $a; exit 5"];
    let c = Started::by(&["create", "-i"], &[], &script);
    let output = c
        .call(&["start", "--attach", "-i"], &[])
        .stdin("word\n")
        .run();
    assert_eq!(output.exits(5).stdout, "got word\n");
}

#[test]
fn top_and_stats() {
    let c = Started::sleeping();
    assert!(c.call(&["top"], &[]).run().ok().stdout.lines().count() > 1);
    let stats = c
        .call(&["stats", "--no-stream", "--format={{.Name}}"], &[])
        .run()
        .ok();
    assert_eq!(stats.stdout.trim(), test_name());
}

#[test]
fn update_of_the_restart_policy() {
    let c = Started::sleeping();
    c.call(&["update", "--restart=on-failure:3"], &[])
        .run()
        .ok();
    assert_eq!(c.says("{{.HostConfig.RestartPolicy.Name}}"), "on-failure");
}

#[test]
fn cp_into_and_out_of_it() {
    let c = Started::sleeping();
    let (file, back) = (fresh("file"), fresh("back"));
    fs::write(&file, "of the host").unwrap();
    let inside = format!("{}:/copy", c.name);
    docker(["cp", file.to_str().unwrap(), &inside]).run().ok();
    assert_eq!(c.exec(&[], &["cat", "/copy"]).ok().stdout, "of the host");
    docker(["cp", &inside, back.to_str().unwrap()]).run().ok();
    assert_eq!(fs::read_to_string(back).unwrap(), "of the host");
}

#[test]
fn a_health_check() {
    let flags = [
        "--health-cmd=test -e /etc/passwd",
        "--health-interval=200ms",
    ];
    let c = Started::new(&flags, &["sleep", "1000"]);
    until("its health", || {
        (c.says("{{.State.Health.Status}}") == "healthy").then_some(())
    });
}

#[test]
fn the_namespaces_of_another_container() {
    let c = Started::sleeping();
    let of = |kind: &str| format!("--{kind}=container:{}", c.name);
    assert_eq!(printed(&[&of("pid")], &["cat", "/proc/1/comm"]), "sh");
    let address = ["ip", "-o", "-4", "addr", "show", "eth0"];
    let its = c.exec(&[], &address).ok().stdout;
    assert_eq!(printed(&[&of("network")], &address), its.trim_end());
}

#[test]
fn events_tell_of_its_life() {
    let c = Started::by(&["create"], &[], &["sh", "-c", "exit 3"]);
    c.call(&["start", "--attach"], &[]).run().exits(3);
    let filter = format!("container={}", c.name);
    let words = [
        "events",
        "--since=10m",
        "--until=0s",
        "--filter",
        &filter,
        "--format={{.Action}}",
    ];
    let events = until("its end among the events", || {
        let events = docker(words).run().ok().stdout;
        events.contains("die").then_some(events)
    });
    assert!(
        events.contains("create\n") && events.contains("start\n"),
        "{events}"
    );
}

#[test]
fn build() {
    let build = |text: &str| {
        let words = ["build", "--quiet", "--force-rm", "--tag", "built", "-"];
        docker(words).stdin(text).run()
    };
    build("FROM bb\nRUN echo made >/made && id\nRUN cat /made\n").ok();
    let output = docker(["run", "--rm", "built", "cat", "/made"]).run().ok();
    assert_eq!(output.stdout, "made\n");
    build("FROM bb\nRUN exit 4\n").exits(4);
    docker(["rmi", "built"]).run().ok();
}

#[test]
fn info_names_the_runtime() {
    let output = docker(["info", "--format={{.DefaultRuntime}} {{.CgroupVersion}}"])
        .run()
        .ok();
    assert_eq!(output.stdout, "under-test 2\n");
}
