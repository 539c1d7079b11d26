//! checkpoint and restore on a host with every controller, and with a kernel that tells which memory has changed.

use integration::{Bundle, Call, CgroupDriver, Container, Output, json, needs, until};
use std::fs;
use std::io::Read;
use std::path::PathBuf;

/// Where a test keeps its images.
fn images(bundle: &Bundle, name: &str) -> PathBuf {
    bundle.home().join(name)
}

fn call(c: &Container<'_>, verb: &str, name: &str, flags: &[&str]) -> Call {
    let images = images(c.bundle(), name).display().to_string();
    c.call(verb, &[&["--image-path", &images], flags].concat())
}

/// Expected to succeed; else with what CRIU's logs say.
#[track_caller]
fn done(c: &Container<'_>, verb: &str, name: &str, flags: &[&str]) -> Output {
    let output = call(c, verb, name, flags).run();
    let log = ["dump.log", "restore.log"].map(|log| {
        let text = fs::read_to_string(images(c.bundle(), name).join(log)).unwrap_or_default();
        let errors: Vec<&str> = text.lines().filter(|line| line.contains("Error")).collect();
        errors.join("\n")
    });
    assert!(
        output.code() == Some(0),
        "{}\n{}",
        output.describe(),
        log.join("\n")
    );
    output
}

fn checkpoint(c: &Container<'_>, flags: &[&str]) {
    done(c, "checkpoint", "images", flags);
}

fn restore(c: &Container<'_>, flags: &[&str]) {
    done(c, "restore", "images", &[&["--detach"], flags].concat());
}

/// A script whose streams are in the container: the originals cannot save others but pipes.
fn script(bundle: &Bundle, script: &str) {
    let script = format!("exec >/tmp/out 2>&1 </dev/null; {script}");
    bundle.args(&["/bin/sh", "-c", &script]);
}

/// Some MiB of memory that stay as they are, and a little that does not.
const COUNTER: &str = "x=$(head -c 3000000 /dev/urandom | od -x); \
                       i=0; while :; do echo $i; i=$((i+1)); sleep 0.1; done";

fn said(bundle: &Bundle) -> String {
    fs::read_to_string(bundle.rootfs("tmp/out")).unwrap_or_default()
}

/// Waits until the counter has gone on, and checks that it has left nothing out.
#[track_caller]
fn counts_on(bundle: &Bundle) {
    let before = said(bundle).lines().count();
    until("more numbers", || {
        (said(bundle).lines().count() > before + 2).then_some(())
    });
    let said = said(bundle);
    let whole = &said[..=said.rfind('\n').unwrap()];
    for (expected, line) in whole.lines().enumerate() {
        assert_eq!(line, expected.to_string());
    }
}

fn counting(bundle: &Bundle) -> Container<'_> {
    script(bundle, COUNTER);
    let c = bundle.container();
    c.run_detached();
    counts_on(bundle);
    c
}

/// The bytes of memory in these images.
fn pages(bundle: &Bundle, name: &str) -> u64 {
    let files = fs::read_dir(images(bundle, name)).unwrap();
    let files = files.map(|file| file.unwrap());
    let pages = files.filter(|file| file.file_name().to_string_lossy().starts_with("pages-"));
    pages.map(|file| file.metadata().unwrap().len()).sum()
}

#[test]
fn limits_hold_after_a_restore() {
    let bundle = Bundle::new();
    bundle.set(
        "/linux/resources",
        json!({
            "memory": {"limit": 96 << 20, "swap": 96 << 20, "reservation": 32 << 20},
            "cpu": {"shares": 512, "quota": 150_000, "period": 100_000, "cpus": "1"},
            "pids": {"limit": 40},
            "unified": {"memory.high": "209715200"},
        }),
    );
    let c = counting(&bundle);
    let limits = |c: &Container<'_>| {
        let cgroup = c.cgroup();
        let files = [
            "memory.max",
            "memory.swap.max",
            "memory.low",
            "memory.high",
            "cpu.weight",
            "cpu.max",
            "cpuset.cpus",
            "pids.max",
        ];
        files.map(|file| (file, cgroup.read(file)))
    };
    let before = limits(&c);
    let path = c.cgroup().path();
    checkpoint(&c, &[]);
    assert_eq!(c.leftovers(), [""; 0]);
    restore(&c, &[]);
    counts_on(&bundle);
    assert_eq!(limits(&c), before);
    assert_eq!(c.cgroup().path(), path);
    // They bind, are told of, and can be changed.
    c.exec(&["/probe", "allocate", "128"]).exits(137);
    assert!(c.cgroup().field("memory.events", "oom_kill") > 0);
    let events = c.call("events", &["--stats"]).run().ok().json();
    assert_eq!(events["data"]["pids"]["limit"], 40);
    c.call("update", &["--pids-limit", "50"]).run().ok();
    assert_eq!(c.cgroup().read("pids.max"), "50");
    if CgroupDriver::get() == CgroupDriver::Systemd {
        Call::of("systemctl", &bundle.home().join("io"))
            .arg("daemon-reload")
            .run()
            .ok();
        assert_eq!(c.cgroup().read("pids.max"), "50");
        assert_eq!(c.cgroup().read("memory.max"), (96 << 20).to_string());
    }
    counts_on(&bundle);
    c.delete_force().ok();
    assert_eq!(c.leftovers(), [""; 0]);
}

#[test]
fn huge_pages_without_a_file() {
    let bundle = Bundle::new();
    script(&bundle, "exec /probe carry huge");
    let c = bundle.container();
    c.run_detached();
    until("ready", || said(&bundle).starts_with("ready").then_some(()));
    checkpoint(&c, &[]);
    restore(&c, &[]);
    let maps = c.exec(&["/bin/cat", "/proc/1/maps"]).ok().stdout;
    assert!(maps.contains("/anon_hugepage"), "{maps}");
}

#[test]
fn what_was_saved_before_is_not_saved_again() {
    let bundle = Bundle::new();
    let c = counting(&bundle);
    done(&c, "checkpoint", "first", &["--pre-dump"]);
    counts_on(&bundle);
    let second = ["--pre-dump", "--parent-path", "../first"];
    done(&c, "checkpoint", "second", &second);
    counts_on(&bundle);
    checkpoint(&c, &["--parent-path", "../second"]);
    let (first, last) = (pages(&bundle, "first"), pages(&bundle, "images"));
    assert!(first > 4 << 20 && last < first / 4, "{last} of {first}");
    restore(&c, &[]);
    counts_on(&bundle);
}

/// CRIU as a program of its own, for the other side of a page server.
fn criu(bundle: &Bundle, args: &[&str]) -> integration::Running {
    let call = Call::of("criu", &bundle.home().join("io"));
    call.args(args)
        .arg("-D")
        .arg(images(bundle, "images"))
        .spawn()
}

fn listens(port: &str) {
    let hex = format!(":{:04X} ", port.parse::<u16>().unwrap());
    until("a server", || {
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let listening = |line: &str| line.contains(&hex) && line.contains(" 0A ");
        table.lines().any(listening).then_some(())
    });
}

#[test]
fn memory_goes_to_a_page_server() {
    needs!(
        CgroupDriver::get() == CgroupDriver::Cgroupfs,
        "the cgroupfs driver, as once is enough"
    );
    let bundle = Bundle::new();
    let c = counting(&bundle);
    let there = images(&bundle, "images");
    fs::create_dir(&there).unwrap();
    let port = "27001";
    let server = criu(&bundle, &["page-server", "--port", port]);
    listens(port);
    done(
        &c,
        "checkpoint",
        "here",
        &["--page-server", "127.0.0.1:27001"],
    );
    server.wait().ok();
    assert!(pages(&bundle, "images") > 4 << 20);
    assert_eq!(pages(&bundle, "here"), 0);
    // The pages are there, the rest is here.
    for file in fs::read_dir(images(&bundle, "here")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), there.join(file.file_name())).unwrap();
    }
    restore(&c, &[]);
    counts_on(&bundle);
}

#[test]
fn memory_comes_when_it_is_asked_for() {
    needs!(
        CgroupDriver::get() == CgroupDriver::Cgroupfs,
        "the cgroupfs driver, as once is enough"
    );
    let bundle = Bundle::new();
    let c = counting(&bundle);
    let stands = said(&bundle);
    let (ready, status) = rustix::pipe::pipe().unwrap();
    let flags = [
        "--lazy-pages",
        "--page-server",
        "127.0.0.1:27002",
        "--status-fd",
        "9",
    ];
    let dumping = call(&c, "checkpoint", "images", &flags)
        .fd(9, status)
        .spawn();
    let mut byte = [1];
    fs::File::from(ready).read_exact(&mut byte).unwrap();
    assert_eq!(byte, [0]);
    let flags = [
        "lazy-pages",
        "--page-server",
        "--address",
        "127.0.0.1",
        "--port",
        "27002",
    ];
    let server = criu(&bundle, &flags);
    let socket = images(&bundle, "images").join("lazy-pages.socket");
    until("the daemon", || socket.exists().then_some(()));
    let other = bundle.container_named("lazy");
    done(&other, "restore", "images", &["--detach", "--lazy-pages"]);
    dumping.wait().ok();
    server.wait().ok();
    assert!(said(&bundle).starts_with(&stands));
    counts_on(&bundle);
    assert!(!c.exists());
}
