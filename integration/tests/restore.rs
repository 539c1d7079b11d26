//! restore: another id, bundle, root and terminal; hooks, the pid file, the exit status.

use integration::{Bundle, Call, Container, FdSocket, Terminal, differs, json, probe_path, until};
use std::fs;
use std::path::{Path, PathBuf};

const NO_FLAGS: &[&str] = &[];

fn images(bundle: &Bundle) -> PathBuf {
    bundle.home().join("images")
}

fn call(c: &Container<'_>, verb: &str, images: &Path, flags: &[&str]) -> Call {
    let images = images.display().to_string();
    c.call(verb, &[&["--image-path", &images], flags].concat())
}

/// A bundle whose container tells what it does, with its streams in the container, and was checkpointed.
fn checkpointed(script: &str) -> Bundle {
    let bundle = Bundle::new();
    prepare(&bundle, script);
    bundle
}

fn prepare(bundle: &Bundle, script: &str) {
    prepare_after(bundle, "", script);
}

/// It is checkpointed when it has done what comes `first`.
fn prepare_after(bundle: &Bundle, first: &str, script: &str) {
    let script = format!("exec >/tmp/out 2>&1 </dev/null; {first} echo begins; {script}");
    bundle.args(&["/bin/sh", "-c", &script]);
    let c = bundle.container();
    c.run_detached();
    wait_said(bundle, "begins");
    let output = call(&c, "checkpoint", &images(bundle), NO_FLAGS).run();
    assert!(
        output.code() == Some(0),
        "{}\n{}",
        output.describe(),
        log(bundle, "dump.log")
    );
}

fn log(bundle: &Bundle, name: &str) -> String {
    let text = fs::read_to_string(images(bundle).join(name)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("Error")).collect();
    lines.join("\n")
}

fn said(bundle: &Bundle) -> String {
    fs::read_to_string(bundle.rootfs("tmp/out")).unwrap_or_default()
}

fn wait_said(bundle: &Bundle, line: &str) {
    until(&format!("{line:?}"), || {
        said(bundle).lines().any(|l| l == line).then_some(())
    });
}

/// Goes on when there is a file `go` in its /tmp.
const WAITS: &str = "while [ ! -e /tmp/go ]; do sleep 0.01; done; echo ends; exit 7";

fn let_go(bundle: &Bundle) {
    bundle.write("tmp/go", "");
}

#[test]
fn in_the_foreground_the_status_is_that_of_the_container() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    let bundle = checkpointed(WAITS);
    let c = bundle.container();
    let running = call(&c, "restore", &images(&bundle), NO_FLAGS).spawn();
    until("the container", || c.exists().then_some(()));
    c.wait_status("running");
    let_go(&bundle);
    running.wait().exits(7);
    assert_eq!(said(&bundle), "begins\nends\n");
    assert!(!c.exists());
    assert_eq!(c.leftovers(), [""; 0]);
}

#[test]
fn under_another_id_with_a_pid_file() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    differs!(Runc, "goes back to the cgroup of the checkpoint");
    let bundle = checkpointed(WAITS);
    let other = bundle.container_named("other");
    let pid_file = bundle.home().join("pid");
    let flags = ["--detach", "--pid-file", pid_file.to_str().unwrap()];
    call(&other, "restore", &images(&bundle), &flags).run().ok();
    let pid = fs::read_to_string(&pid_file).unwrap();
    assert_eq!(pid, other.pid().to_string());
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(cgroup.contains(other.id()), "{cgroup}");
    let ids = bundle.state_ids();
    assert_eq!(ids, [other.id()]);
    // All that can be done to a container can be done to it.
    other.pause().ok();
    assert_eq!(other.status(), "paused");
    other.resume().ok();
    other.exec(&["/probe", "exit", "3"]).exits(3);
    let_go(&bundle);
    other.wait_stopped();
    other.delete().ok();
    assert_eq!(said(&bundle), "begins\nends\n");
}

#[test]
fn one_image_becomes_a_container_again_and_again() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    let bundle = checkpointed(WAITS);
    for _ in 0..3 {
        let c = bundle.container();
        call(&c, "restore", &images(&bundle), &["-d"]).run().ok();
        assert_eq!(c.status(), "running");
        call(&c, "restore", &images(&bundle), &["-d"])
            .run()
            .exits(1)
            .says("container with given ID already exists");
        assert_eq!(c.status(), "running");
        c.delete_force().ok();
    }
}

#[test]
fn on_another_host() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    let bundle = checkpointed(WAITS);
    // Another bundle with another root, and places for mounts that are yet to be made.
    let there = Bundle::new();
    there.set_config(bundle.config());
    fs::copy(bundle.rootfs("tmp/out"), there.rootfs("tmp/out")).unwrap();
    for place in ["proc", "sys", "dev"] {
        fs::remove_dir(there.rootfs(place)).unwrap();
    }
    let c = there.container();
    call(&c, "restore", &images(&bundle), &["-d"]).run().ok();
    assert_eq!(c.state()["bundle"], there.dir().display().to_string());
    let_go(&there);
    c.wait_stopped();
    assert_eq!(said(&there), "begins\nends\n");
    assert_eq!(said(&bundle), "begins\n");
}

#[test]
fn hooks_run() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    differs!(Runc, "no poststart hooks");
    let bundle = Bundle::new();
    let file = bundle.home().join("hooks").display().to_string();
    for point in ["prestart", "createRuntime", "poststart", "poststop"] {
        let hook = json!([{
            "path": probe_path(), "args": ["probe", "hook", format!("{file}-{point}")]
        }]);
        bundle.set(&format!("/hooks/{point}"), hook);
    }
    prepare(&bundle, WAITS);
    let lines = |point: &str| {
        let text = fs::read_to_string(format!("{file}-{point}")).unwrap_or_default();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    // The checkpoint has ended the container.
    assert_eq!(lines("poststop").len(), 1);
    let c = bundle.container();
    call(&c, "restore", &images(&bundle), &["-d"]).run().ok();
    for point in ["prestart", "createRuntime", "poststart"] {
        let lines = lines(point);
        assert_eq!(lines.len(), 2, "{point}");
        let pid = format!("\\\"pid\\\":{}", c.pid());
        assert!(lines[1].contains(&pid), "{point}: {}", lines[1]);
    }
}

#[test]
fn a_hook_that_fails_leaves_nothing() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    let bundle = checkpointed(WAITS);
    let hook = json!([{"path": "/bin/false"}]);
    for point in ["createRuntime", "poststart"] {
        differs!(Runc, "no poststart hooks");
        bundle.set("/hooks", json!({}));
        bundle.set(&format!("/hooks/{point}"), hook.clone());
        let c = bundle.container();
        let output = call(&c, "restore", &images(&bundle), &["-d"])
            .run()
            .exits(1);
        output.says("hook #0");
        assert!(!c.exists());
        assert_eq!(c.leftovers(), [""; 0]);
    }
}

#[test]
fn the_terminal_comes_through_the_socket() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    let bundle = Bundle::new();
    bundle.set("/process/terminal", json!(true));
    bundle.args(&[
        "/bin/sh",
        "-c",
        "echo up; read line; echo got $line; read line",
    ]);
    let socket = FdSocket::bind(bundle.home().join("console"));
    let path = socket.path().to_str().unwrap();
    let c = bundle.container();
    c.call("run", &["-d", "--console-socket", path]).run().ok();
    let mut terminal = Terminal::from(socket.receive().0);
    terminal.read_until("up");
    let output = call(&c, "checkpoint", &images(&bundle), NO_FLAGS).run();
    assert!(
        output.code() == Some(0),
        "{}\n{}",
        output.describe(),
        log(&bundle, "dump.log")
    );
    let flags = ["-d", "--console-socket", path];
    let output = call(&c, "restore", &images(&bundle), &flags).run();
    assert!(
        output.code() == Some(0),
        "{}\n{}",
        output.describe(),
        log(&bundle, "restore.log")
    );
    let mut terminal = Terminal::from(socket.receive().0);
    terminal.write("hello\n");
    terminal.read_until("got hello");
    c.exec(&["/probe", "exit", "0"]).ok();
}

#[test]
fn pipes_are_those_of_whoever_restores() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    let bundle = Bundle::new();
    let script = "exec 2>&1; i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done";
    bundle.args(&["/bin/sh", "-c", script]);
    let c = bundle.container();
    let pipe = || rustix::pipe::pipe().unwrap();
    let ((stdin, _in), (out, stdout)) = (pipe(), pipe());
    let run = c
        .call("run", &["--detach"])
        .stdin_fd(stdin)
        .stdout_fd(stdout);
    run.run().ok();
    let mut numbers = Numbers::from(out);
    numbers.up_to(5);
    call(&c, "checkpoint", &images(&bundle), NO_FLAGS)
        .run()
        .ok();
    let last = numbers.rest();
    let ((stdin, _in), (out, stdout)) = (pipe(), pipe());
    let restore = call(&c, "restore", &images(&bundle), &["--detach"]);
    restore.stdin_fd(stdin).stdout_fd(stdout).run().ok();
    let mut numbers = Numbers::from(out);
    numbers.next = last;
    numbers.up_to(last + 5);
}

/// Counts along.
struct Numbers {
    from: std::io::BufReader<fs::File>,
    next: u32,
}

impl From<std::os::fd::OwnedFd> for Numbers {
    fn from(fd: std::os::fd::OwnedFd) -> Numbers {
        let from = std::io::BufReader::new(fs::File::from(fd));
        Numbers { from, next: 0 }
    }
}

impl Numbers {
    fn read(&mut self) -> Option<()> {
        let mut line = String::new();
        let length = std::io::BufRead::read_line(&mut self.from, &mut line).unwrap();
        if length == 0 {
            return None;
        }
        assert_eq!(line.trim().parse(), Ok(self.next));
        self.next += 1;
        Some(())
    }

    fn up_to(&mut self, number: u32) {
        while self.next <= number {
            self.read().unwrap();
        }
    }

    /// To the end; gives the number that would come next.
    fn rest(&mut self) -> u32 {
        while self.read().is_some() {}
        self.next
    }
}

#[test]
fn images_that_are_not_there_or_make_no_sense() {
    differs!(Crun, "other words");
    let bundle = checkpointed(WAITS);
    let c = bundle.container();
    let none = bundle.home().join("none");
    call(&c, "restore", &none, &["-d"])
        .run()
        .exits(1)
        .says("no such file or directory");
    assert!(!c.exists());
    let file = images(&bundle).join("descriptors.json");
    let sane = fs::read_to_string(&file).unwrap();
    fs::write(&file, "{").unwrap();
    call(&c, "restore", &images(&bundle), &["-d"])
        .run()
        .exits(1);
    fs::remove_file(&file).unwrap();
    call(&c, "restore", &images(&bundle), &["-d"])
        .run()
        .exits(1)
        .says("descriptors.json");
    assert_eq!(c.leftovers(), [""; 0]);
    fs::write(&file, sane).unwrap();
    fs::write(images(&bundle).join("inventory.img"), "nonsense").unwrap();
    call(&c, "restore", &images(&bundle), &["-d"])
        .run()
        .exits(1)
        .says("criu");
    assert!(!c.exists());
    assert_eq!(c.leftovers(), [""; 0]);
}

#[test]
fn a_list_of_descriptors_that_leads_elsewhere_is_not_followed() {
    differs!(Runc | Crun, "opens what is there");
    let bundle = checkpointed(WAITS);
    let file = images(&bundle).join("descriptors.json");
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
    let c = bundle.container();
    call(&c, "restore", &images(&bundle), &["-d"])
        .run()
        .exits(1)
        .says("descriptors.json");
    // Nor one that would never end.
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
    call(&c, "restore", &images(&bundle), &["-d"])
        .run()
        .exits(1);
    assert_eq!(c.leftovers(), [""; 0]);
}

#[test]
fn cgroups_below_are_there_again() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    differs!(Runc, "goes back to the cgroup of the checkpoint");
    let bundle = Bundle::new();
    bundle.set("/mounts/6/options", json!(["nosuid", "noexec", "nodev"]));
    let moves = "mkdir /sys/fs/cgroup/inner; echo $$ >/sys/fs/cgroup/inner/cgroup.procs;";
    prepare_after(&bundle, moves, WAITS);
    let c = bundle.container_named("elsewhere");
    call(&c, "restore", &images(&bundle), &["-d"]).run().ok();
    let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap();
    let own = cgroup.lines().find(|line| line.starts_with("0::")).unwrap();
    // With systemd it is a scope of that name.
    assert!(
        own.contains("elsewhere") && own.ends_with("/inner"),
        "{cgroup}"
    );
    let inside = c.exec(&["/bin/cat", "/proc/1/cgroup"]).stdout;
    assert!(inside.lines().any(|line| line == "0::/inner"), "{inside}");
    let_go(&bundle);
    c.wait_stopped();
}

#[test]
fn in_a_user_namespace() {
    differs!(Runc | Crun, "its root cannot read the images");
    let bundle = Bundle::new();
    bundle.chown_rootfs(100_000, 100_000);
    bundle.namespace(json!({"type": "user"}));
    let maps = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    for kind in ["uidMappings", "gidMappings"] {
        bundle.set(&format!("/linux/{kind}"), maps.clone());
    }
    prepare(&bundle, WAITS);
    use std::os::unix::fs::MetadataExt;
    let c = bundle.container();
    call(&c, "restore", &images(&bundle), &["-d"]).run().ok();
    let directory = fs::metadata(images(&bundle)).unwrap();
    let ids = (directory.uid(), directory.gid());
    assert_eq!((ids, directory.mode() & 0o777), ((0, 0), 0o750));
    let map = c.exec(&["/bin/cat", "/proc/1/uid_map"]).ok().stdout;
    assert_eq!(map.split_whitespace().nth(1), Some("100000"));
    let_go(&bundle);
    c.wait_stopped();
    assert_eq!(said(&bundle), "begins\nends\n");
}

#[test]
fn dev_null_stays_where_there_is_no_file_to_take_its_place() {
    differs!(Runc | Crun, "saves no streams but pipes");
    let bundle = Bundle::new();
    let script = format!("echo begins >/tmp/out; {WAITS} >/tmp/out2");
    bundle.args(&["/bin/sh", "-c", &script]);
    let c = bundle.container();
    let null = || {
        fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .unwrap()
    };
    let run = c
        .call("run", &["--detach"])
        .stdin_fd(null())
        .stdout_fd(null());
    run.run().ok();
    wait_said(&bundle, "begins");
    call(&c, "checkpoint", &images(&bundle), NO_FLAGS)
        .run()
        .ok();
    let pipe = || rustix::pipe::pipe().unwrap();
    let ((stdin, _in), (_out, stdout)) = (pipe(), pipe());
    let restore = call(&c, "restore", &images(&bundle), &["--detach"]);
    restore.stdin_fd(stdin).stdout_fd(stdout).run().ok();
    for fd in ["0", "1"] {
        let link = fs::read_link(format!("/proc/{}/fd/{fd}", c.pid())).unwrap();
        assert_eq!(link, Path::new("/dev/null"));
    }
    let_go(&bundle);
    c.wait_stopped();
}

#[test]
fn a_file_does_not_become_a_pipe() {
    differs!(Runc | Crun, "saves no streams but pipes");
    let bundle = Bundle::new();
    let script = format!("echo begins >/tmp/out; {WAITS}");
    bundle.args(&["/bin/sh", "-c", &script]);
    let c = bundle.container();
    c.run_detached();
    wait_said(&bundle, "begins");
    call(&c, "checkpoint", &images(&bundle), NO_FLAGS)
        .run()
        .ok();
    let (_out, stdout) = rustix::pipe::pipe().unwrap();
    let restore = call(&c, "restore", &images(&bundle), &["--detach"]);
    let output = restore.stdout_fd(stdout).run().exits(1);
    output.says("standard stream 1 of the container was a file");
    assert_eq!(c.leftovers(), [""; 0]);
}

/// What covers masked files is as read-only as before, and a stream that was the container's own /dev/null is so again.
#[test]
fn the_hosts_dev_null_stays_out_of_reach() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    differs!(
        Runc,
        "after a restore the host's covers masked files, and can be changed"
    );
    let bundle = checkpointed(WAITS);
    let c = bundle.container();
    call(&c, "restore", &images(&bundle), &["--detach"])
        .run()
        .ok();
    let mode = || fs::metadata("/dev/null").unwrap().permissions();
    let before = mode();
    for place in ["/proc/keys", "/proc/1/fd/0"] {
        // It may say no, or change a node of the container's.
        println!("{}", c.exec(&["/bin/chmod", "667", place]).describe());
        let after = mode();
        fs::set_permissions("/dev/null", before.clone()).unwrap();
        assert_eq!(after, before, "{place}");
    }
    let_go(&bundle);
    c.wait_stopped();
}
