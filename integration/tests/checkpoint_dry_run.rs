//! checkpoint --dry-run: what CRIU would refuse is named beforehand, and CRIU does refuse it; what is not named, it saves.

use integration::{Bundle, Container, Output, Terminal, Value, differs, json, needs, until};
use std::fs;
use std::os::unix::net::UnixListener;

/// All of the tests are of something that the originals do not have.
macro_rules! ours {
    () => {
        differs!(Runc | Crun, "has no --dry-run")
    };
}

fn call(c: &Container<'_>, flags: &[&str]) -> Output {
    let images = c.bundle().home().join("images").display().to_string();
    c.call("checkpoint", &[&["--image-path", &images], flags].concat())
        .run()
}

/// One that carries this, with its streams inside.
fn carrying<'b>(bundle: &'b Bundle, what: &str) -> Container<'b> {
    let c = bundle.container();
    prepare(bundle, what);
    c.run_detached();
    wait_ready(bundle);
    c
}

fn prepare(bundle: &Bundle, what: &str) {
    let script = format!("exec >/tmp/out 2>&1 </dev/null; exec /probe carry {what}");
    bundle.args(&["/bin/sh", "-c", &script]);
    // unshare(2) of namespaces, and all that a process of root has otherwise.
    bundle.capabilities(&[
        "CAP_SYS_ADMIN",
        "CAP_SYS_PTRACE",
        "CAP_DAC_OVERRIDE",
        "CAP_NET_RAW",
    ]);
}

fn said(bundle: &Bundle) -> String {
    fs::read_to_string(bundle.rootfs("tmp/out")).unwrap_or_default()
}

#[track_caller]
fn wait_ready(bundle: &Bundle) {
    until("ready", || {
        let said = said(bundle);
        assert!(said.is_empty() || said.starts_with("ready"), "{said}");
        (!said.is_empty()).then_some(())
    });
}

/// The names of processes, words of the reason, and of the remedy, each on the line that there is of it.
#[track_caller]
fn named(output: &Output, words: &[&str]) {
    assert_eq!(output.code(), Some(1), "{}", output.describe());
    let lines: Vec<&str> = output.stdout.lines().collect();
    let found = lines
        .iter()
        .any(|line| words.iter().all(|word| line.contains(word)));
    assert!(found, "{words:?} in {}", output.describe());
    assert_eq!(output.stderr, "");
}

#[track_caller]
fn nothing(output: &Output) {
    assert_eq!(
        (output.stdout.as_str(), output.code()),
        ("", Some(0)),
        "{}",
        output.describe()
    );
}

/// It is named, CRIU refuses it, and the container goes on.
#[track_caller]
fn refused(what: &str, words: &[&str]) {
    let bundle = Bundle::new();
    let c = carrying(&bundle, what);
    let line = [&["(probe)"], words].concat();
    named(&call(&c, &["--dry-run"]), &line);
    assert!(!bundle.home().join("images").exists());
    call(&c, &["--leave-running"]).exits(1);
    assert_eq!(c.status(), "running");
}

/// It is named and refused, but for this flag.
#[track_caller]
fn refused_without(flag: &str, what: &str, words: &[&str]) {
    let bundle = Bundle::new();
    let c = carrying(&bundle, what);
    named(
        &call(&c, &["--dry-run"]),
        &[&["(probe)", flag], words].concat(),
    );
    call(&c, &["--leave-running"]).exits(1);
    nothing(&call(&c, &["--dry-run", flag]));
    call(&c, &["--leave-running", flag]).ok();
}

#[test]
fn what_criu_saves_is_not_named() {
    ours!();
    for what in [
        "threads", "pipe", "unix", "shared", "timer", "inotify", "epoll", "pty",
    ] {
        let bundle = Bundle::new();
        bundle.args(&[
            "/bin/sh",
            "-c",
            &format!("exec >/tmp/out 2>&1 </dev/null; exec /probe hold {what}"),
        ]);
        let c = bundle.container();
        c.run_detached();
        wait_ready(&bundle);
        nothing(&call(&c, &["--dry-run"]));
        call(&c, &["--leave-running"]).ok();
    }
}

#[test]
fn streams_binds_and_masks_are_not_named() {
    ours!();
    let bundle = Bundle::new();
    let etc = bundle.home().join("io").display().to_string();
    bundle.mount(
        json!({"destination": "/mnt", "type": "bind", "source": etc, "options": ["rbind", "ro"]}),
    );
    bundle.mount(json!({"destination": "/run", "type": "tmpfs", "source": "tmpfs"}));
    let c = bundle.container();
    c.run_detached();
    nothing(&call(&c, &["--dry-run"]));
    assert_eq!(c.status(), "running");
}

#[test]
fn io_uring() {
    ours!();
    refused("io_uring", &["uses io_uring", "io.vzrun.migratable=true"]);
}

#[test]
fn userfaultfd() {
    ours!();
    refused(
        "userfaultfd",
        &["uses userfaultfd", "io.vzrun.migratable=true"],
    );
}

#[test]
fn a_listener_of_seccomp() {
    ours!();
    refused("listener", &["uses seccomp notify"]);
}

#[test]
fn namespaces_within() {
    ours!();
    for (name, bits) in [
        ("uts", libc::CLONE_NEWUTS),
        ("ipc", libc::CLONE_NEWIPC),
        ("pid", libc::CLONE_NEWPID),
        ("user", libc::CLONE_NEWUSER),
        ("cgroup", libc::CLONE_NEWCGROUP),
    ] {
        let what = format!("namespace {bits}");
        refused(
            &what,
            &[
                &format!("has a {name} namespace of its own"),
                "io.vzrun.migratable=true",
            ],
        );
    }
}

#[test]
fn a_process_that_is_traced() {
    ours!();
    refused("traced", &["is traced by process "]);
}

#[test]
fn locks() {
    ours!();
    refused_without("--file-locks", "lock", &["holds a lock on /tmp/locked"]);
}

#[test]
fn a_file_that_has_another_name() {
    ours!();
    refused_without("--link-remap", "renamed", &["/tmp/one (deleted)"]);
}

#[test]
fn a_large_deleted_file() {
    ours!();
    refused(
        "deleted 60000000",
        &[
            "a deleted file of 60000000 bytes: /tmp/large",
            "ghost-limit",
        ],
    );
    // One that is small enough.
    let bundle = Bundle::new();
    let c = carrying(&bundle, "deleted 1000");
    nothing(&call(&c, &["--dry-run"]));
    call(&c, &["--leave-running"]).ok();
}

#[test]
fn files_of_huge_pages() {
    ours!();
    let with_mount = |what: &str, words: &[&str], at_the_dump: &str| {
        let bundle = Bundle::new();
        bundle.mount(json!({"destination": "/huge", "type": "hugetlbfs", "source": "hugetlbfs"}));
        let c = carrying(&bundle, what);
        let output = call(&c, &["--dry-run"]);
        match words {
            [] => nothing(&output),
            words => named(&output, words),
        }
        let output = call(&c, &["--leave-running"]);
        match at_the_dump {
            "" => _ = output.ok(),
            text => _ = output.exits(1).says(text),
        }
        assert_eq!(c.status(), "running");
    };
    // What a service manager mounts wherever it may.
    with_mount("nothing", &[], "");
    // CRIU would save these without a word, and fail to restore the second.
    let holds = "the mount on /huge holds files of huge pages";
    with_mount(
        "created /huge/file",
        &["the mount on /huge", "holds files", "remove them first"],
        holds,
    );
    let used = [
        "(probe)",
        "uses a file of huge pages: /huge/file",
        "MAP_HUGETLB",
    ];
    with_mount("huge /huge/file", &used, holds);
    with_mount(
        "huge-deleted /huge/file",
        &used,
        "Can't send ghost to image",
    );
}

#[test]
fn the_annotations_file_counts() {
    ours!();
    let bundle = Bundle::new();
    let config = bundle.home().join("criu.conf");
    fs::write(&config, "file-locks\n").unwrap();
    bundle.set("/annotations/org.criu.config", json!(config));
    let c = carrying(&bundle, "lock");
    nothing(&call(&c, &["--dry-run"]));
}

#[test]
fn a_device() {
    ours!();
    let bundle = Bundle::new();
    let fuse =
        json!({"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666});
    bundle.push("/linux/devices", fuse);
    let rule = json!({"allow": true, "access": "rwm", "type": "c", "major": 10, "minor": 229});
    bundle.push("/linux/resources/devices", rule);
    let c = carrying(&bundle, "file /dev/fuse");
    named(
        &call(&c, &["--dry-run"]),
        &["(probe)", "has the device /dev/fuse open"],
    );
    call(&c, &["--leave-running"]).exits(1);
}

#[test]
fn files_and_terminals_of_the_outside() {
    ours!();
    let terminal = Terminal::open();
    let secret = fs::File::open("/etc/hostname").unwrap();
    for (fd, words) in [
        (
            std::os::fd::OwnedFd::from(secret),
            ["outside of the container open: ", "hostname"],
        ),
        (
            terminal.slave(),
            ["a terminal of the outside open: ", "--shell-job"],
        ),
    ] {
        let bundle = Bundle::new();
        prepare(&bundle, "nothing");
        let c = bundle.container();
        c.call("run", &["--detach", "--preserve-fds", "1"])
            .fd(3, fd)
            .run()
            .ok();
        wait_ready(&bundle);
        named(&call(&c, &["--dry-run"]), &words);
        call(&c, &["--leave-running"]).exits(1);
    }
}

#[test]
fn a_unix_socket_of_the_outside() {
    ours!();
    let bundle = Bundle::new();
    let place = bundle.home().join("shared");
    fs::create_dir(&place).unwrap();
    let listener = UnixListener::bind(place.join("socket")).unwrap();
    bundle.mount(
        json!({"destination": "/mnt", "type": "bind", "source": place, "options": ["bind"]}),
    );
    let c = carrying(&bundle, "unix /mnt/socket");
    let _other_end = listener.accept().unwrap();
    named(
        &call(&c, &["--dry-run"]),
        &["(probe)", "unix socket that is connected to one outside"],
    );
    call(&c, &["--leave-running", "--ext-unix-sk"]).exits(1);
}

#[test]
fn a_network_namespace_that_was_there_before_the_user_namespace() {
    ours!();
    let outside = Bundle::new();
    let holder = outside.container();
    holder.run_detached();
    let bundle = |network: Value| {
        let bundle = Bundle::new();
        prepare(&bundle, "nothing");
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
        bundle.set("/linux/uidMappings", map.clone());
        bundle.set("/linux/gidMappings", map);
        bundle.chown_rootfs(100_000, 100_000);
        bundle.namespace(json!({"type": "user"}));
        bundle.namespace(network);
        bundle
    };
    let path = format!("/proc/{}/ns/net", holder.pid());
    let of_the_host = bundle(json!({"type": "network", "path": path}));
    let c = of_the_host.container();
    c.run_detached();
    wait_ready(&of_the_host);
    let reason = "the network namespace was made outside";
    named(&call(&c, &["--dry-run"]), &[reason, "--network=none"]);
    let output = call(&c, &["--leave-running"]).exits(1);
    output.says("Can't setns").says("--network=none");
    // Nothing of the kind where the runtime makes it.
    let its_own = bundle(json!({"type": "network"}));
    let c = its_own.container();
    c.run_detached();
    let said = call(&c, &["--dry-run"]).stdout;
    assert!(!said.contains(reason), "{said}");
}

#[test]
fn a_process_that_was_put_there() {
    ours!();
    let bundle = Bundle::new();
    let c = carrying(&bundle, "nothing");
    c.exec_with(&["--detach"], &["/bin/sleep", "1000"]).ok();
    // CRIU passes it over.
    named(
        &call(&c, &["--dry-run"]),
        &["(sleep)", "by exec", "is lost"],
    );
}

#[test]
fn a_socket_that_nobody_knows() {
    ours!();
    let bundle = Bundle::new();
    bundle.without_namespace("network");
    // AF_VSOCK, SOCK_STREAM.
    prepare(&bundle, "socket 40 1");
    let c = bundle.container();
    c.run_detached();
    until("an answer", || (!said(&bundle).is_empty()).then_some(()));
    needs!(said(&bundle).starts_with("ready"), "AF_VSOCK");
    named(&call(&c, &["--dry-run"]), &["(probe)", "family 40"]);
    call(&c, &["--leave-running"]).exits(1);
}

#[test]
fn connections() {
    ours!();
    // On Linux 6.16 and later CRIU 4.1 saves no socket of the Internet, so what it does with the flag is for the VM (vm_checkpoint).
    for (what, flag, words) in [
        ("connected", "--tcp-established", "has a TCP connection"),
        ("unaccepted", "--tcp-skip-in-flight", "wait to be accepted"),
    ] {
        let bundle = Bundle::new();
        let c = carrying(&bundle, what);
        named(&call(&c, &["--dry-run"]), &["(probe)", flag, words]);
        call(&c, &["--leave-running"]).exits(1);
        nothing(&call(&c, &["--dry-run", "--tcp-established", flag]));
    }
}

#[test]
fn only_a_running_container_is_looked_at() {
    ours!();
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    call(&c, &["--dry-run"])
        .exits(1)
        .says("Container cannot be checkpointed in created state");
}
