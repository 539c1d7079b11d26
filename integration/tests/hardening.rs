//! A caller in disorder, or with bad intent for those who call vzrun for him (a service, sudo): standard streams closed,
//! umask, environment, very many words, names that are not UTF-8. Nothing of it gets into a container, into the state
//! directory, or makes vzrun run another program.
//!
//! What a container gets of descriptors is in `descriptors`, words that are not UTF-8 are in `starved`.

use integration::{Bundle, Call, Container, Output, Runtime, Value, differs, json, probe_path};
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const NO_FLAGS: &[&str] = &[];

/// All ways to have some of the standard streams, as a shell says it.
const CLOSED: [&str; 8] = [
    "",
    "0<&-",
    "1>&-",
    "2>&-",
    "0<&- 1>&-",
    "0<&- 2>&-",
    "1>&- 2>&-",
    "0<&- 1>&- 2>&-",
];

/// `VERB WORDS...` on the container by a shell that first does something to itself.
fn after(c: &Container<'_>, first: &str, verb: &str, words: &[&str]) -> Output {
    let script = format!("{first}; exec \"$@\"");
    let call = Call::of("sh", &c.bundle().home().join("io"))
        .args(["-c", &script, "sh"])
        .arg(Runtime::get().path())
        .arg("--root")
        .arg(c.bundle().root())
        .arg(verb);
    let call = match verb {
        "create" | "run" => call.arg("--bundle").arg(c.bundle().dir()),
        _ => call,
    };
    let call = match verb {
        "list" | "features" => call,
        _ => call.arg(c.id()),
    };
    call.args(words).run()
}

fn report_at(bundle: &Bundle, path: &str) -> Value {
    let report = serde_json::from_slice(&fs::read(bundle.rootfs(path)).unwrap()).unwrap();
    fs::remove_file(bundle.rootfs(path)).unwrap();
    report
}

fn fds(report: &Value) -> Vec<i64> {
    let list = report["fds"].as_array().unwrap();
    list.iter().map(|fd| fd["fd"].as_i64().unwrap()).collect()
}

#[test]
fn any_of_the_standard_streams_may_be_closed() {
    differs!(
        Runc | Crun,
        "the container gets what has come to these numbers, or they fail"
    );
    for closed in CLOSED {
        let first = format!("exec {closed}");
        let bundle = Bundle::new();
        let c = bundle.container();
        let ok = |verb: &str, words: &[&str]| after(&c, &first, verb, words).ok();
        // Where the shell's own words are no output of a closed stream.
        let printed = |output: &Output| closed.contains("1>&-") || !output.stdout.is_empty();
        bundle.args(&["/probe", "report", "/tmp/run"]);
        ok("run", &[]);
        assert_eq!(fds(&report_at(&bundle, "/tmp/run")), [0, 1, 2], "{closed}");
        bundle.args(&["/probe", "sleep-forever"]);
        ok("create", &[]);
        ok("start", &[]);
        ok("exec", &["/probe", "report", "/tmp/exec"]);
        assert_eq!(fds(&report_at(&bundle, "/tmp/exec")), [0, 1, 2], "{closed}");
        for verb in ["state", "list", "features", "ps"] {
            assert!(printed(&ok(verb, &[])), "{verb} with {closed}");
        }
        ok("pause", &[]);
        ok("resume", &[]);
        ok("kill", &["KILL"]);
        c.wait_stopped();
        ok("delete", &[]);
        assert_eq!(bundle.leftovers(), [""; 0], "{closed}");
    }
}

/// All files below a directory with what is in them.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = integration::tree(dir).into_iter();
    let files = files.filter(|path| path.symlink_metadata().is_ok_and(|meta| meta.is_file()));
    files
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect()
}

/// The words of an error do not end up in a file that has come to the number of a closed stream.
#[test]
fn an_error_is_written_into_no_file_where_stderr_is_closed() {
    differs!(Runc | Crun, "no claim is made for them");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let state = contents(&bundle.root());
    let config = fs::read(bundle.dir().join("config.json")).unwrap();
    for closed in CLOSED {
        let first = format!("exec {closed}");
        for (verb, words) in [
            ("run", &[][..]),
            ("create", &[]),
            ("start", &[]),
            ("delete", &[]),
            ("exec", &["/nowhere"]),
            ("kill", &["NOSIGNAL"]),
            ("update", &["--nosuchflag"]),
        ] {
            let output = after(&c, &first, verb, words);
            assert!(
                !matches!(output.code(), None | Some(0)),
                "{closed}: {}",
                output.describe()
            );
            assert!(contents(&bundle.root()) == state, "{verb} with {closed}");
        }
    }
    assert!(fs::read(bundle.dir().join("config.json")).unwrap() == config);
    c.exec(&["/probe", "exit", "3"]).exits(3);
}

/// With no umask at all nothing that vzrun makes is for others to write; with one that takes everything it still works.
#[test]
fn an_odd_umask_opens_and_breaks_nothing() {
    differs!(Runc | Crun, "no claim is made for them");
    for umask in ["umask 0", "umask 0777"] {
        let bundle = Bundle::new();
        bundle.set("/annotations", json!({"a": "b"}));
        let c = bundle.container();
        let pid_file = bundle.home().join("pid");
        let root = bundle.home().join("a/new/root");
        let call = |verb: &str, words: &[&str]| {
            let script = format!("{umask}; exec \"$@\"");
            let call = Call::of("sh", &bundle.home().join("io")).args(["-c", &script, "sh"]);
            let call = call.arg(Runtime::get().path()).arg("--root").arg(&root);
            call.arg(verb).args(words).arg(c.id()).run().ok()
        };
        let dir = bundle.dir();
        let words = [
            "--pid-file",
            pid_file.to_str().unwrap(),
            "--bundle",
            dir.to_str().unwrap(),
        ];
        call("create", &words);
        let made = integration::tree(&root);
        assert!(made.iter().any(|path| path.ends_with("exec.fifo")));
        for path in made.iter().chain([&root, &pid_file]) {
            let meta = path.symlink_metadata().unwrap();
            // The program of the container, of whatever user, opens its fifo; nobody else gets into the directory.
            let fifo = path.ends_with("exec.fifo");
            let open = meta.mode() & 0o022 != 0 && !fifo;
            assert!(!open, "{umask}: {} {:o}", path.display(), meta.mode());
        }
        let inside = root.join(c.id());
        let mode = inside.metadata().unwrap().mode();
        assert!(mode & 0o066 == 0, "{umask}: {mode:o}");
        call("start", &[]);
        call("state", &[]);
        call("delete", &["--force"]);
        assert_eq!(bundle.leftovers(), [""; 0]);
    }
}

/// Variables that programs, loaders, C libraries, languages, init systems and other runtimes act on. Not NOTIFY_SOCKET: who
/// gives that to `create` has `start` wait until the container is ready.
const ENVIRONMENT: [(&str, &str); 25] = [
    ("LD_PRELOAD", "/nonexistent.so"),
    ("LD_LIBRARY_PATH", "/nonexistent"),
    ("LD_AUDIT", "/nonexistent.so"),
    ("LD_DEBUG", "all"),
    ("GLIBC_TUNABLES", "glibc.malloc.check=3"),
    ("MALLOC_PERTURB_", "170"),
    ("LC_ALL", "/../../nonexistent"),
    ("TZ", "/nonexistent"),
    ("TMPDIR", "/nonexistent"),
    ("IFS", "/"),
    ("BASH_ENV", "/nonexistent"),
    ("ENV", "/nonexistent"),
    ("SHELL", "/nonexistent"),
    ("LISTEN_FDS", "99999999999999999999"),
    ("LISTEN_PID", "-1"),
    ("LISTEN_FDNAMES", "a:b:c"),
    ("XDG_RUNTIME_DIR", "/nonexistent"),
    ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent"),
    ("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent"),
    ("HOME", "/nonexistent"),
    ("RUST_BACKTRACE", "full"),
    ("RUST_LOG", "trace"),
    ("GODEBUG", "x=1"),
    ("_LIBCONTAINER_INITPIPE", "3"),
    ("_LIBCONTAINER_STATEDIR", "/nonexistent"),
];

/// With a hostile environment each command does and says what it does and says without; what is in $PATH is not run
/// (but by `ps`, `checkpoint` and `restore`, and for an ordinary user newuidmap: those are looked for there).
#[test]
fn no_command_trusts_its_environment() {
    differs!(
        Runc | Crun,
        "runc takes its own variables from anybody, crun gives up over a LISTEN_FDS that is too large"
    );
    let bundle = Bundle::new();
    let trap = bundle.home().join("trap");
    fs::create_dir(&trap).unwrap();
    let names = [
        "vzrun",
        "runc",
        "init",
        "sh",
        "mount",
        "modprobe",
        "newuidmap",
        "newgidmap",
        "systemctl",
        "true",
        "criu",
    ];
    for name in names {
        let path = trap.join(name);
        fs::write(&path, "#!/bin/sh\n: >$0.was-run\n").unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    let hostile = |call: Call| {
        let call = ENVIRONMENT
            .iter()
            .fold(call, |call, (name, value)| call.env(name, value));
        call.env("PATH", &trap)
    };
    // What is printed, without times and numbers of processes.
    let said = |output: Output, c: &Container<'_>| {
        let text = output.stdout.replace(c.id(), "ID");
        let keep = |line: &&str| !line.contains("pid") && !line.contains("created");
        let lines = text.lines().filter(keep).map(str::to_string);
        (
            output.code(),
            lines.collect::<Vec<_>>(),
            output.stderr.replace(c.id(), "ID"),
        )
    };
    // One container by usual calls, one by hostile ones.
    let run = |name: &str, change: &dyn Fn(Call) -> Call| {
        let c = bundle.container_named(name);
        bundle.args(&["/probe", "sleep-forever"]);
        let mut all = Vec::new();
        let mut step = |call: Call| all.push(said(change(call).run(), &c));
        step(c.call("create", NO_FLAGS));
        step(c.call("state", NO_FLAGS));
        step(c.call("start", NO_FLAGS));
        step(c.exec_call(NO_FLAGS, &["/bin/env"]));
        step(c.exec_call(NO_FLAGS, &["nowhere"]));
        step(c.call("pause", NO_FLAGS));
        step(c.call("resume", NO_FLAGS));
        step(c.call("update", &["--resources", "-"]).stdin("{}"));
        step(c.call("kill", NO_FLAGS).arg("KILL"));
        c.wait_stopped();
        step(c.call("start", NO_FLAGS));
        step(c.call("delete", NO_FLAGS));
        step(bundle.call(["features"]));
        step(bundle.call(["--version"]));
        step(bundle.call(["list"]));
        all
    };
    let usual = run("usual", &|call| call);
    assert!(
        usual.iter().filter(|(code, ..)| *code == Some(0)).count() > 10,
        "{usual:?}"
    );
    assert_eq!(usual, run("hostile", &hostile));
    assert_eq!(fs::read_dir(&trap).unwrap().count(), names.len());
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_hundred_thousand_arguments() {
    let bundle = Bundle::new();
    let count = |output: Output| output.ok().stdout.trim().parse::<usize>().unwrap();
    let words = |length: usize| {
        let script = ["/bin/sh", "-c", "echo $#", "sh"].map(str::to_string);
        let many = (0..100_000).map(|n| format!("{n:0length$}"));
        script.into_iter().chain(many).collect::<Vec<_>>()
    };
    bundle.args(&words(5));
    let c = bundle.container();
    assert_eq!(count(c.run()), 100_000);
    c.delete_force();
    bundle.args(&["/probe", "sleep-forever"]);
    c.run_detached();
    // With the pointers to them 1.5 MiB; the kernel takes a quarter of the limit of the stack, 2 MiB as a rule.
    assert_eq!(count(c.exec(&words(5))), 100_000);
    let process =
        json!({"cwd": "/", "args": words(5), "user": {"uid": 0, "gid": 0}, "env": ["A=1"]});
    let file = bundle.home().join("process.json");
    fs::write(&file, process.to_string()).unwrap();
    let flags = ["--process", file.to_str().unwrap()];
    assert_eq!(count(c.call("exec", &flags).run()), 100_000);
    assert_eq!(c.status(), "running");
}

/// More than execve(2) takes is an error in words, of create as of exec.
#[test]
fn more_arguments_than_the_kernel_takes() {
    differs!(Runc | Crun, "their words are others");
    let bundle = Bundle::new();
    let long: Vec<_> = (0..3000).map(|_| "x".repeat(1000)).collect();
    let words: Vec<_> = ["/bin/true".to_string()].into_iter().chain(long).collect();
    let c = bundle.container();
    bundle.args(&words);
    c.run().exits(1).says("argument list too long");
    assert_eq!(bundle.leftovers(), [""; 0]);
    bundle.args(&["/probe", "sleep-forever"]);
    c.run_detached();
    let process = json!({"cwd": "/", "args": words, "user": {"uid": 0, "gid": 0}});
    let file = bundle.home().join("process.json");
    fs::write(&file, process.to_string()).unwrap();
    let output = c.call("exec", &["--process", file.to_str().unwrap()]).run();
    output.fails().says("argument list too long");
    c.exec(&["/probe", "exit", "3"]).exits(3);
}

/// Names in an image may be any bytes: links with them are followed, in it as on the host.
#[test]
fn links_to_names_that_are_no_utf8() {
    let bundle = Bundle::new();
    let odd = |text: &[u8]| OsString::from_vec(text.to_vec());
    let name = odd(b"caf\xe9");
    let inside = bundle.rootfs("/").join(&name);
    fs::create_dir_all(inside.join("below")).unwrap();
    symlink(&name, bundle.rootfs("/way")).unwrap();
    symlink(odd(b"/caf\xe9/probe"), bundle.rootfs("/program")).unwrap();
    fs::copy(probe_path(), inside.join("probe")).unwrap();
    let source = bundle.home().join(odd(b"qu\xe9lle"));
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "seen").unwrap();
    symlink(&source, bundle.home().join("source")).unwrap();
    bundle.mount(json!({"destination": "/way/below", "type": "bind",
        "source": bundle.home().join("source"), "options": ["bind", "ro"]}));
    bundle.mount(json!({"destination": "/way/new/deep", "type": "tmpfs", "source": "tmpfs"}));
    bundle.set("/process/cwd", json!("/way/below"));
    bundle.set("/linux/maskedPaths", json!(["/way/masked"]));
    bundle.set("/linux/readonlyPaths", json!(["/way/new"]));
    fs::write(inside.join("masked"), "secret").unwrap();
    bundle.args(&["/program", "read", "file", "/way/masked"]);
    let c = bundle.container();
    let output = c.run().ok();
    assert_eq!(output.stdout, "seen");
    c.delete_force();
    assert!(inside.join("new/deep").is_dir());
    bundle.args(&["/program", "sleep-forever"]);
    c.run_detached();
    let output = c.exec_with(&["--cwd", "/way/below"], &["/bin/cat", "file"]);
    assert_eq!(output.ok().stdout, "seen");
}

/// The waiting init of an ordinary user's container, which has the config and descriptors of the host, is closed to the
/// user's other processes and leaves no core; its program is open again.
#[test]
fn an_init_that_waits_is_undumpable() {
    differs!(Runc | Crun, "its init is dumpable");
    let bundle = Bundle::rootless(1000, 1000);
    let c = bundle.container();
    c.create();
    // What is in /proc/PID of a process that is undumpable belongs to root.
    let owner = || {
        fs::metadata(format!("/proc/{}/environ", c.pid()))
            .unwrap()
            .uid()
    };
    assert_eq!(owner(), 0);
    let peek = |name: &str| {
        let path = format!("/proc/{}/{name}", c.pid());
        let call = Call::of("cat", &bundle.home().join("io")).as_user(1000, 1000);
        call.arg(path).run()
    };
    for name in ["environ", "maps", "auxv"] {
        peek(name).fails().says("permission denied");
    }
    c.start();
    c.wait_line("ready");
    assert_eq!(owner(), 1000);
    peek("environ").ok();
}
