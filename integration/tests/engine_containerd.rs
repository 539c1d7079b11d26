//! containerd and its shim io.containerd.runc.v2, with the runtime under test as its BinaryName.

use integration::{
    Call, IMAGE, Output, Runtime, Terminal, containers_conf, differs, engine_call, engine_daemon,
    engine_dir, fresh_path, image_tar, test_name, until, wait_nothing_left,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

fn socket() -> PathBuf {
    engine_dir().join("containerd.sock")
}

fn bare<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> Call {
    let call = engine_call("ctr").arg("--address").arg(socket());
    words
        .into_iter()
        .fold(call, |call, word| call.arg(word.as_ref()))
}

/// A call of ctr, with a daemon that has the image.
fn ctr<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> Call {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        let dir = engine_dir();
        let at = dir.display();
        let config = format!(
            "version = 2\nroot = \"{at}/root\"\nstate = \"{at}/state\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{at}/containerd.sock\"\n"
        );
        fs::write(dir.join("config.toml"), config).unwrap();
        let config = dir.join("config.toml");
        engine_daemon("containerd", &["--config", config.to_str().unwrap()], &[], || bare(["version"]));
        // Podman makes an archive that containerd can read out of a plain tar.
        let podman = || engine_call("podman").env("CONTAINERS_CONF_OVERRIDE", containers_conf());
        podman().args(["import", "-q"]).arg(image_tar()).arg(IMAGE).run().ok();
        let archive = dir.join("archive.tar");
        podman().args(["save", "-q", "-o"]).arg(&archive).arg(IMAGE).run().ok();
        // By ctr itself: the daemon of containerd 2 unpacks for the snapshotters of its configuration alone.
        let import = ["image", "import", "--local", "--snapshotter=native"];
        bare(import).arg(archive).run().ok();
    });
    bare(words)
}

/// `ctr run`, without the cpu shares that it asks for by default: there is no controller for them.
fn run_call(flags: &[&str], name: &str, command: &[&str]) -> Call {
    let binary = Runtime::get().path().to_str().unwrap();
    let image = format!("{IMAGE}:latest");
    let words = [
        "run",
        "--snapshotter=native",
        "--cpu-shares=0",
        "--runc-binary",
        binary,
    ];
    let words = words.iter().chain(flags).copied();
    ctr(words
        .chain([image.as_str(), name])
        .chain(command.iter().copied()))
}

/// Runs one to its end, and nothing is left of it.
fn run(flags: &[&str], command: &[&str]) -> Output {
    let name = test_name();
    let flags: Vec<&str> = flags.iter().copied().chain(["--rm"]).collect();
    let output = run_call(&flags, &name, command).run();
    // ctr goes without tidying up when the start fails.
    ctr(["container", "rm", &name]).run();
    wait_nothing_left(&name);
    output
}

fn printed(flags: &[&str], command: &[&str]) -> String {
    run(flags, command).ok().stdout.trim_end().to_string()
}

/// A container with this test's name, removed when dropped.
struct Started(String);

impl Started {
    /// One that sleeps until it is ended, and ends with 6 at a SIGTERM.
    fn sleeping() -> Started {
        Started::with("trap 'exit 6' TERM; touch /tmp/up; while :; do sleep 0.05; done")
    }

    /// One that does nothing any more. (A shell that is paused in the middle of a vfork(2) is none that CRIU can save, and containerd
    /// pauses first.)
    fn still() -> Started {
        Started::with("touch /tmp/up; exec tail -f /dev/null")
    }

    fn with(script: &str) -> Started {
        let started = Started(test_name());
        run_call(
            &["--detach", "--null-io"],
            &started.0,
            &["sh", "-c", script],
        )
        .run()
        .ok();
        until("the file", || {
            (started.exec("wait", &[], &["ls", "/tmp/up"]).code() == Some(0)).then_some(())
        });
        started
    }

    fn exec(&self, id: &str, flags: &[&str], command: &[&str]) -> Output {
        self.exec_call(id, flags, command).run()
    }

    fn exec_call(&self, id: &str, flags: &[&str], command: &[&str]) -> Call {
        let exec = ["task", "exec", "--exec-id", id];
        let words = exec.iter().chain(flags).copied();
        ctr(words
            .chain([self.0.as_str()])
            .chain(command.iter().copied()))
    }

    fn task(&self, words: &[&str]) -> Output {
        ctr(["task"]
            .iter()
            .chain(words)
            .copied()
            .chain([self.0.as_str()]))
        .run()
    }

    fn status(&self) -> String {
        let list = ctr(["task", "ls"]).run().ok().stdout;
        let line = list
            .lines()
            .find(|line| line.split_whitespace().next() == Some(&self.0));
        line.and_then(|line| line.split_whitespace().nth(2))
            .unwrap_or_default()
            .to_string()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.task(&["rm", "--force"]);
        let output = ctr(["container", "rm", &self.0]).run();
        if !std::thread::panicking() {
            output.ok();
            wait_nothing_left(&self.0);
        }
    }
}

/// What a container prints: `name: [flags] [command] => text`.
macro_rules! prints {
    ($($name:ident: [$($flag:expr),*] [$($word:expr),+] => $text:expr;)+) => {
        $(#[test]
        fn $name() {
            let print = || printed(&[$($flag),*], &[$($word),+]);
            let mut text = print();
            // ctr lets go of a task's streams when it deletes the task, read to their end or not: on a busy machine the last
            // line can be missing. What a runtime does wrong it does twice.
            if $text.starts_with(&text) && text != $text {
                println!("once more, after {text:?}");
                text = print();
            }
            assert_eq!(text, $text);
        })+
    };
}

prints! {
    ctr_a_command_runs: [] ["echo", "hi"] => "hi";
    ctr_a_user: ["--user=1000:1000"] ["id", "-u"] => "1000";
    ctr_a_read_only_root: ["--read-only"] ["sh", "-c", "touch /x 2>/dev/null || echo no"] => "no";
    ctr_a_hostname: ["--hostname=foo"] ["hostname"] => "foo";
    ctr_a_working_directory: ["--cwd=/tmp"] ["pwd"] => "/tmp";
    ctr_a_variable: ["--env=A=b"] ["sh", "-c", "echo $A"] => "b";
    ctr_privileged: ["--privileged"] ["sh", "-c", "mkdir /m; mount -t tmpfs x /m && echo yes"] => "yes";
    ctr_capabilities: ["--cap-add=CAP_NET_ADMIN", "--cap-drop=CAP_CHOWN"]
        ["grep", "CapEff", "/proc/self/status"] => "CapEff:\t00000000a80435fa";
    ctr_the_default_seccomp_profile: ["--seccomp"] ["grep", "Seccomp:", "/proc/self/status"] => "Seccomp:\t2";
    ctr_a_device: ["--device=/dev/fuse"] ["stat", "-c", "%t:%T", "/dev/fuse"] => "a:e5";
    ctr_a_mount: ["--mount=type=bind,src=/etc,dst=/mnt,options=rbind:ro"]
        ["sh", "-c", "ls /mnt/debian_version; touch /mnt/x 2>/dev/null || echo no"] => "/mnt/debian_version\nno";
    ctr_a_tmpfs: ["--mount=type=tmpfs,src=tmpfs,dst=/mnt,options=size=1m"]
        ["sh", "-c", "df -k /mnt | awk 'END { print $2 }'"] => "1024";
    ctr_no_new_privileges: [] ["grep", "NoNewPrivs", "/proc/self/status"] => "NoNewPrivs:\t1";
    ctr_new_privileges: ["--allow-new-privs"] ["grep", "NoNewPrivs", "/proc/self/status"] => "NoNewPrivs:\t0";
    ctr_no_pivot: ["--no-pivot"] ["echo", "yes"] => "yes";
    ctr_a_namespace_that_is_there: ["--with-ns=uts:/proc/1/ns/uts"] ["hostname"] => "vzrun-env";
    ctr_a_cgroup_by_its_path: ["--cgroup=/elsewhere"] ["grep", "^0:", "/proc/self/cgroup"] => "0::/elsewhere";
    ctr_the_hosts_network: ["--net-host"] ["echo", "yes"] => "yes";
    ctr_a_user_namespace: ["--uidmap=0:100000:5000", "--gidmap=0:100000:5000"]
        ["sh", "-c", "xargs </proc/self/uid_map"] => "0 100000 5000";
    ctr_a_cgroup_in_its_namespaces: [] ["grep", "^0:", "/proc/self/cgroup"] => "0::/default/ctr_a_cgroup_in_its_namespaces";
}

#[test]
fn ctr_an_exit_status() {
    run(&[], &["sh", "-c", "exit 5"]).exits(5);
}

#[test]
fn ctr_a_missing_command() {
    run(&[], &["nosuch"])
        .exits(1)
        .says("OCI runtime create failed");
}

#[test]
fn ctr_a_pid_file() {
    let path = engine_dir().join("pidfile");
    let flag = format!("--pid-file={}", path.display());
    printed(&[&flag], &["true"]);
    assert!(fs::read_to_string(path).unwrap().parse::<i32>().unwrap() > 1);
}

#[test]
fn ctr_a_terminal() {
    let mut terminal = Terminal::open();
    let command = ["sh", "-c", "tty; read x; echo got $x"];
    let running = run_call(&["--rm", "--tty"], &test_name(), &command)
        .terminal(&terminal)
        .spawn();
    terminal.read_until("/dev/pts/0");
    terminal.write("word\n");
    terminal.read_until("got word");
    running.wait().ok();
    wait_nothing_left(&test_name());
}

#[test]
fn ctr_exec_in_a_container() {
    let c = Started::sleeping();
    assert_eq!(c.exec("e1", &[], &["echo", "hi"]).ok().stdout, "hi\n");
    c.exec("e2", &[], &["sh", "-c", "exit 8"]).exits(8);
    c.exec("e3", &[], &["nosuch"])
        .exits(1)
        .says("OCI runtime exec failed");
    assert_eq!(
        c.exec("e4", &["--cwd=/tmp"], &["pwd"]).ok().stdout,
        "/tmp\n"
    );
    assert_eq!(
        c.exec("e5", &["--user=1000"], &["id", "-u"]).ok().stdout,
        "1000\n"
    );
    let mut terminal = Terminal::open();
    let command = ["sh", "-c", "tty; read x"];
    let running = c
        .exec_call("e6", &["--tty"], &command)
        .terminal(&terminal)
        .spawn();
    terminal.read_until("/dev/pts/0");
    terminal.write("\n");
    running.wait().ok();
}

#[test]
fn ctr_a_rootfs_without_an_image() {
    let tree = image_tar().with_file_name("image");
    let binary = Runtime::get().path().to_str().unwrap();
    let words = [
        "run",
        "--rm",
        "--cpu-shares=0",
        "--runc-binary",
        binary,
        "--rootfs",
    ];
    let words = words.iter().copied().chain([tree.to_str().unwrap()]);
    let output = ctr(words.chain([test_name().as_str(), "/bin/echo", "hi"])).run();
    assert_eq!(output.ok().stdout, "hi\n");
    wait_nothing_left(&test_name());
}

#[test]
fn ctr_its_own_place_for_the_state() {
    let dir = engine_dir().join("state-of-the-runtime");
    let flag = format!("--runc-root={}", dir.display());
    assert_eq!(printed(&[&flag], &["echo", "hi"]), "hi");
    assert!(dir.exists());
}

#[test]
fn ctr_pause_and_resume() {
    let c = Started::sleeping();
    c.task(&["pause"]).ok();
    assert_eq!(c.status(), "PAUSED");
    c.task(&["resume"]).ok();
    assert_eq!(c.status(), "RUNNING");
}

#[test]
fn ctr_processes_and_metrics() {
    let c = Started::sleeping();
    assert!(c.task(&["ps"]).ok().stdout.lines().count() > 1);
    assert!(c.task(&["metrics"]).ok().stdout.contains(&c.0));
}

#[test]
fn ctr_kill_ends_it_with_its_own_status() {
    let c = Started::sleeping();
    c.task(&["kill", "--signal=SIGTERM"]).ok();
    until("its end", || (c.status() == "STOPPED").then_some(()));
    c.task(&["rm"]).ok().says("non-zero exit code 6");
}

#[test]
fn ctr_kill_of_all() {
    let c = Started::sleeping();
    c.task(&["kill", "--all", "--signal=SIGKILL"]).ok();
    until("its end", || (c.status() == "STOPPED").then_some(()));
}

#[test]
fn ctr_delete_by_force() {
    let c = Started::sleeping();
    c.task(&["rm", "--force"]);
    assert_eq!(c.status(), "");
}

#[test]
fn ctr_a_checkpoint_becomes_a_task_again() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    let saved = "localhost/saved:1";
    let alive = |c: &Started, id: &str| {
        let script = "echo $(stat -c %Y /tmp/up) $(cat /proc/1/cmdline | tr '\\0' ' ')";
        c.exec(id, &[], &["sh", "-c", script]).ok().stdout
    };
    let name;
    let before;
    {
        let c = Started::still();
        before = alive(&c, "before");
        let words = ["container", "checkpoint", "--task", "--image", "--rw"];
        let words = words.iter().copied().chain([c.0.as_str(), saved]);
        ctr(words).run().ok();
        // It goes on.
        assert_eq!(alive(&c, "meanwhile"), before);
        name = c.0.clone();
    }
    ctr(["container", "restore", "--live", "--rw", &name, saved])
        .run()
        .ok();
    let c = Started(name);
    assert_eq!(c.status(), "RUNNING");
    assert_eq!(alive(&c, "after"), before);
}

#[test]
fn ctr_a_task_is_saved_and_ends() {
    differs!(Crun, "does not make its work directory");
    let images = fresh_path("task").display().to_string();
    let c = Started::still();
    c.task(&["checkpoint", "--image-path", &images]).ok();
    assert_eq!(c.status(), "RUNNING");
    c.task(&["checkpoint", "--exit", "--image-path", &images])
        .ok();
    until("its end", || (c.status() == "STOPPED").then_some(()));
    assert!(Path::new(&images).join("inventory.img").exists());
}
