//! checkpoint: what a container's processes hold is there again after a restore, and nothing is lost by a failure.

use integration::{Bundle, Container, Output, differs, json, needs, until};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

const NO_FLAGS: &[&str] = &[];

/// Where a test keeps its images.
fn images(bundle: &Bundle) -> PathBuf {
    bundle.home().join("images")
}

fn call(c: &Container<'_>, verb: &str, flags: &[&str]) -> Output {
    let images = images(c.bundle()).display().to_string();
    let all = [&["--image-path", &images], flags].concat();
    c.call(verb, &all).run()
}

fn checkpoint(c: &Container<'_>, flags: &[&str]) -> Output {
    call(c, "checkpoint", flags)
}

#[track_caller]
fn restore(c: &Container<'_>, flags: &[&str]) {
    call(c, "restore", &[&["--detach"], flags].concat()).ok();
}

/// A script whose streams are in the container: the originals cannot save others but pipes.
fn script(bundle: &Bundle, script: &str) {
    let script = format!("exec >/tmp/out 2>&1 </dev/null; {script}");
    bundle.args(&["/bin/sh", "-c", &script]);
}

fn said(bundle: &Bundle) -> String {
    fs::read_to_string(bundle.rootfs("tmp/out")).unwrap_or_default()
}

fn wait_said(bundle: &Bundle, line: &str, times: usize) {
    until(&format!("{line:?} for the {times}. time"), || {
        let said = said(bundle);
        assert!(!said.contains("lost:"), "{said}");
        (said.lines().filter(|l| *l == line).count() >= times).then_some(())
    });
}

const COUNTER: &str = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done";

/// Waits until the counter has gone on, and checks that it has left nothing out.
fn counts_on(bundle: &Bundle) {
    let before = said(bundle).lines().count();
    until("more numbers", || {
        (said(bundle).lines().count() > before + 5).then_some(())
    });
    let said = said(bundle);
    let whole = &said[..=said.rfind('\n').unwrap()];
    for (expected, line) in whole.lines().enumerate() {
        assert_eq!(line, expected.to_string());
    }
}

/// What a process holds is there after a checkpoint that it goes on after, and after one and a restore.
fn holds(kind: &str, flags: &[&str]) {
    let bundle = Bundle::new();
    script(&bundle, &format!("exec /probe hold {kind}"));
    let c = bundle.container();
    c.run_detached();
    wait_said(&bundle, "ready", 1);
    checkpoint(&c, &[&["--leave-running"], flags].concat()).ok();
    assert_eq!(c.status(), "running");
    c.kill("USR1").ok();
    wait_said(&bundle, "held", 1);
    fs::remove_dir_all(images(&bundle)).unwrap();
    checkpoint(&c, flags).ok();
    restore(&c, flags);
    c.kill("USR1").ok();
    wait_said(&bundle, "held", 2);
}

#[test]
fn a_counter_goes_on_where_it_was() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    let bundle = Bundle::new();
    script(&bundle, COUNTER);
    let c = bundle.container();
    c.run_detached();
    counts_on(&bundle);
    checkpoint(&c, NO_FLAGS).ok();
    // It is gone, as if it were deleted.
    assert!(!c.exists());
    assert_eq!(c.leftovers(), [""; 0]);
    let stands = said(&bundle);
    restore(&c, NO_FLAGS);
    assert_eq!(c.status(), "running");
    counts_on(&bundle);
    assert!(said(&bundle).starts_with(&stands));
    c.exec(&["/probe", "exit", "7"]).exits(7);
}

#[test]
fn threads() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    holds("threads", NO_FLAGS);
}

#[test]
fn pipes_between_processes() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    holds("pipe", NO_FLAGS);
}

#[test]
fn unix_sockets() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    holds("unix", NO_FLAGS);
}

#[test]
fn file_locks() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    holds("locks", &["--file-locks"]);
}

#[test]
fn shared_memory() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    holds("shared", NO_FLAGS);
}

#[test]
fn timers_and_clocks() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    holds("timer", NO_FLAGS);
}

#[test]
fn inotify_watches() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    holds("inotify", NO_FLAGS);
}

#[test]
fn epoll_and_eventfd() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    holds("epoll", NO_FLAGS);
}

#[test]
fn terminals_of_its_own() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    holds("pty", NO_FLAGS);
}

#[test]
fn the_default_place_is_below_the_working_directory() {
    let bundle = Bundle::new();
    script(&bundle, COUNTER);
    let c = bundle.container();
    c.run_detached();
    counts_on(&bundle);
    let output = c.call("checkpoint", &["--leave-running"]);
    output.cwd(bundle.home()).run().ok();
    for file in ["inventory.img", "descriptors.json", "dump.log"] {
        assert!(
            bundle.home().join("checkpoint").join(file).is_file(),
            "{file}"
        );
    }
    counts_on(&bundle);
}

#[test]
fn the_log_is_in_the_work_path() {
    let bundle = Bundle::new();
    script(&bundle, COUNTER);
    let c = bundle.container();
    c.run_detached();
    counts_on(&bundle);
    let work = bundle.home().join("work");
    checkpoint(&c, &["--work-path", work.to_str().unwrap()]).ok();
    assert!(work.join("dump.log").is_file());
    assert!(!images(&bundle).join("dump.log").exists());
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(images(&bundle)).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}

#[test]
fn only_a_running_container_is_saved() {
    differs!(Crun, "other words");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    checkpoint(&c, NO_FLAGS)
        .exits(1)
        .says("Container cannot be checkpointed in created state");
    c.start();
    c.kill("KILL").ok();
    c.wait_stopped();
    checkpoint(&c, NO_FLAGS)
        .exits(1)
        .says("Container cannot be checkpointed in stopped state");
    let unknown = bundle.call(["checkpoint", "unknown"]).run().exits(1);
    unknown.says("container does not exist");
}

#[test]
fn a_failure_tells_the_reason_and_leaves_it_running() {
    differs!(Runc | Crun, "the reason is in the log alone");
    let bundle = Bundle::new();
    script(&bundle, "exec /probe hold locks");
    let c = bundle.container();
    c.run_detached();
    wait_said(&bundle, "ready", 1);
    let output = checkpoint(&c, NO_FLAGS).exits(1);
    let pid = c.pid();
    for words in ["criu failed: type ", "--file-locks", "images/dump.log"] {
        assert!(output.stderr.contains(words), "{}", output.describe());
    }
    assert_eq!((c.status().as_str(), c.pid()), ("running", pid));
    let frozen = fs::read_to_string(c.cgroup_dir().join("cgroup.freeze")).unwrap();
    assert_eq!(frozen, "0\n");
    c.kill("USR1").ok();
    wait_said(&bundle, "held", 1);
}

#[test]
fn wrong_words() {
    differs!(Crun, "other words");
    let bundle = Bundle::new();
    script(&bundle, COUNTER);
    let c = bundle.container();
    c.run_detached();
    for (flags, says) in [
        // runc 1.1 has its words, 1.3 others.
        (
            &["--manage-cgroups-mode", "x"][..],
            &["anage-cgroups-mode value", "nvalid manage"][..],
        ),
        (&["--page-server", "x"], &["se --page-server ADDRESS:PORT"]),
        (&["--empty-ns", "pid"], &["\"pid\" is not supported"]),
        (
            &["--parent-path", "/x"],
            &["must be relative", "--parent-path"],
        ),
        (
            &["--parent-path", "none"],
            &["invalid --parent-path", "no such file"],
        ),
    ] {
        checkpoint(&c, flags).exits(1).says_any(says);
    }
    assert_eq!(c.status(), "running");
}

#[test]
fn a_pre_dump_needs_a_kernel_that_tracks_memory() {
    let bundle = Bundle::new();
    script(&bundle, COUNTER);
    let c = bundle.container();
    c.run_detached();
    counts_on(&bundle);
    let output = checkpoint(&c, &["--pre-dump"]);
    // The VM's kernel does.
    if output.code() != Some(0) {
        let output = output.exits(1);
        if integration::Runtime::get().kind() != integration::Kind::Crun {
            output.says("CRIU is missing features");
        }
    }
    counts_on(&bundle);
}

#[test]
fn a_connection_survives() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    let bundle = Bundle::new();
    bundle.without_namespace("network");
    let port = free_port();
    script(&bundle, &format!("exec /probe echo-tcp {port}"));
    let c = bundle.container();
    c.run_detached();
    wait_said(&bundle, "ready", 1);
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client
        .set_read_timeout(Some(integration::DEADLINE))
        .unwrap();
    let mut echo = |text: &[u8]| {
        client.write_all(text).unwrap();
        let mut back = vec![0; text.len()];
        client.read_exact(&mut back).unwrap();
        assert_eq!(back, text);
    };
    echo(b"before");
    let refused = checkpoint(&c, NO_FLAGS).exits(1);
    let log = fs::read_to_string(images(&bundle).join("dump.log")).unwrap();
    // Linux 6.16 says no to an option that CRIU asks for before 4.2.
    needs!(
        !log.contains("Can't get 1:16 opt"),
        "a newer CRIU for this kernel"
    );
    if integration::Runtime::get().kind() == integration::Kind::Vzrun {
        refused.says("--tcp-established");
    }
    echo(b"still");
    checkpoint(&c, &["--tcp-established"]).ok();
    restore(&c, &["--tcp-established"]);
    echo(b"after");
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn streams_of_the_host_are_those_of_whoever_restores() {
    differs!(Runc | Crun, "saves no streams but pipes");
    let bundle = Bundle::new();
    bundle.args(&["/bin/sh", "-c", COUNTER]);
    let c = bundle.container();
    c.run_detached();
    c.wait_line("5");
    checkpoint(&c, NO_FLAGS).ok();
    let names = fs::read_to_string(images(&bundle).join("descriptors.json")).unwrap();
    // stdin is the container's own /dev/null.
    let outside = names.matches("file[").count();
    assert!(outside == 2 && names.contains("\"/dev/null\""), "{names}");
    let output = call(&c, "restore", &["--detach"]).ok();
    until("numbers in the new file", || {
        let text = fs::read_to_string(&output.out_path).unwrap();
        (text.lines().count() > 5).then_some(())
    });
    let text = fs::read_to_string(&output.out_path).unwrap();
    let first: u32 = text.lines().next().unwrap().parse().unwrap();
    assert!(first >= 5, "{text}");
}

#[test]
fn bind_mounts_and_masked_paths() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    let bundle = Bundle::new();
    fs::create_dir(bundle.home().join("shared")).unwrap();
    fs::write(bundle.home().join("shared/file"), "of the host").unwrap();
    fs::write(bundle.home().join("hosts"), "::1 here").unwrap();
    let at = |name: &str| bundle.home().join(name).display().to_string();
    bundle.mount(json!({"destination": "/mnt", "type": "bind", "source": at("shared"), "options": ["rbind", "ro"]}));
    bundle.mount(json!({"destination": "/etc/hosts", "type": "bind", "source": at("hosts"), "options": ["bind"]}));
    bundle.mount(json!({"destination": "/run", "type": "tmpfs", "source": "tmpfs"}));
    script(&bundle, &format!("echo kept >/run/file; {COUNTER}"));
    let c = bundle.container();
    c.run_detached();
    counts_on(&bundle);
    checkpoint(&c, NO_FLAGS).ok();
    restore(&c, NO_FLAGS);
    let read = |path: &str| c.exec(&["/bin/cat", path]).stdout;
    assert_eq!(read("/mnt/file"), "of the host");
    assert_eq!(read("/etc/hosts"), "::1 here");
    assert_eq!(read("/run/file"), "kept\n");
    assert_eq!(read("/proc/keys"), "");
    c.exec(&["/bin/touch", "/mnt/new"]).fails();
    c.exec(&["/bin/touch", "/proc/sys/kernel/x"]).fails();
    assert_eq!(c.exec(&["/bin/hostname"]).stdout, "integration\n");
}
