//! $NOTIFY_SOCKET: the container's readiness goes on to the service manager, and nothing else does.

use integration::{Bundle, Container, Running, differs, json, until};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const NO_FLAGS: &[&str] = &[];

/// A service manager: it notes what comes to its socket, and answers barriers by closing their descriptors.
struct Manager {
    path: PathBuf,
    seen: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Manager {
    fn new(bundle: &Bundle) -> Manager {
        let path = bundle.home().join("io/manager.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&seen);
        let thread = std::thread::spawn(move || {
            loop {
                let message = next(&socket);
                if message == "end of the test" {
                    break;
                }
                list.lock().unwrap().push(message);
            }
        });
        let thread = Some(thread);
        Manager { path, seen, thread }
    }

    /// All messages so far, as soon as there is one that begins so.
    fn until(&self, start: &str) -> Vec<String> {
        until(start, || {
            let seen = self.seen.lock().unwrap().clone();
            seen.iter()
                .any(|message| message.starts_with(start))
                .then_some(seen)
        })
    }

    /// The verb on a container, with the variable set.
    fn call(&self, c: &Container, verb: &str, flags: &[&str]) -> Running {
        c.call(verb, flags).env("NOTIFY_SOCKET", &self.path).spawn()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let socket = UnixDatagram::unbound().unwrap();
        socket.send_to(b"end of the test", &self.path).unwrap();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn next(socket: &UnixDatagram) -> String {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut text = [0; 4096];
    let mut slices = [IoSliceMut::new(&mut text)];
    let message = recvmsg(socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            drop(rights.collect::<Vec<_>>());
        }
    }
    String::from_utf8_lossy(&text[..message.bytes])
        .trim()
        .to_string()
}

/// A container that says these things and lives on.
fn saying(texts: &str) -> Bundle {
    let bundle = Bundle::new();
    bundle.args(&[
        "/bin/sh",
        "-c",
        &format!("/probe notify {texts}; exec /probe sleep-forever"),
    ]);
    bundle
}

#[test]
fn start_passes_ready_on() {
    let bundle = saying("READY=1");
    let manager = Manager::new(&bundle);
    let c = bundle.container();
    manager.call(&c, "create", NO_FLAGS).wait().ok();
    let start = manager.call(&c, "start", NO_FLAGS);
    manager.until("READY=1");
    start.wait().ok();
}

#[track_caller]
fn start_names_the_init(manager: &Manager, c: &Container<'_>) {
    manager.call(c, "create", NO_FLAGS).wait().ok();
    let start = manager.call(c, "start", NO_FLAGS);
    let seen = manager.until("MAINPID=");
    start.wait().ok();
    assert_eq!(
        seen[..2],
        ["READY=1".to_string(), format!("MAINPID={}", c.pid())]
    );
}

#[test]
fn start_names_the_init_as_the_main_process() {
    differs!(Crun, "it does not");
    let bundle = saying("READY=1");
    let manager = Manager::new(&bundle);
    let c = bundle.container();
    start_names_the_init(&manager, &c);
}

#[test]
fn a_barrier_comes_last() {
    differs!(Runc < (1, 2), "it sends none");
    let bundle = saying("READY=1");
    let manager = Manager::new(&bundle);
    let c = bundle.container();
    let run = manager.call(&c, "run", &["--detach"]);
    let seen = manager.until("BARRIER=1");
    let output = run.wait().ok();
    assert_eq!(seen.last().unwrap(), "BARRIER=1");
    assert!(
        output.elapsed < Duration::from_secs(20),
        "{:?}",
        output.elapsed
    );
}

#[test]
fn a_detached_run_waits_until_the_container_is_ready() {
    let bundle = Bundle::new();
    let script = "while ! test -e /tmp/go; do sleep 0.01; done; /probe notify READY=1; exec /probe sleep-forever";
    bundle.args(&["/bin/sh", "-c", script]);
    let manager = Manager::new(&bundle);
    let c = bundle.container();
    let run = manager.call(&c, "run", &["--detach"]);
    until("running", || {
        (c.exists() && c.status() == "running").then_some(())
    });
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", run.pid())).unwrap();
    assert!(
        !stat.contains(") Z "),
        "run is gone before the container is ready"
    );
    bundle.write("/tmp/go", "");
    manager.until("READY=1");
    run.wait().ok();
}

#[test]
fn a_run_in_the_foreground_is_the_main_process_itself() {
    differs!(Crun, "it names no main process");
    let bundle = saying("READY=1");
    let manager = Manager::new(&bundle);
    let c = bundle.container();
    let run = manager.call(&c, "run", NO_FLAGS);
    let seen = manager.until("MAINPID=");
    assert_eq!(
        seen[..2],
        ["READY=1".to_string(), format!("MAINPID={}", run.pid())]
    );
    c.kill("KILL").ok();
    run.wait().exits(137);
}

#[test]
fn what_else_the_container_says_stays_in_it() {
    let bundle = saying("STATUS=secret MAINPID=1 WATCHDOG=1 STOPPING=1 READY=1");
    let manager = Manager::new(&bundle);
    let c = bundle.container();
    let run = manager.call(&c, "run", &["--detach"]);
    manager.until("READY=1");
    run.wait().ok();
    let seen = manager.seen.lock().unwrap().clone();
    let known = [
        "READY=1".to_string(),
        format!("MAINPID={}", c.pid()),
        "BARRIER=1".to_string(),
    ];
    assert!(
        seen.iter().all(|message| known.contains(message)),
        "{seen:?}"
    );
}

#[test]
fn start_does_not_wait_for_a_container_that_has_ended() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "0"]);
    let manager = Manager::new(&bundle);
    let c = bundle.container();
    manager.call(&c, "create", NO_FLAGS).wait().ok();
    let output = manager.call(&c, "start", NO_FLAGS).wait().ok();
    assert!(
        output.elapsed < Duration::from_secs(20),
        "{:?}",
        output.elapsed
    );
}

#[test]
fn the_container_sees_a_socket_of_its_own() {
    differs!(Crun, "it mounts one where the host's is");
    let bundle = Bundle::new();
    bundle.env("NOTIFY_SOCKET=/from/the/config");
    let script =
        "echo $NOTIFY_SOCKET; test -S $NOTIFY_SOCKET && echo socket; exec /probe sleep-forever";
    bundle.args(&["/bin/sh", "-c", script]);
    let manager = Manager::new(&bundle);
    let c = bundle.container();
    let run = manager.call(&c, "run", NO_FLAGS);
    let text = until("two lines", || {
        let text = run.stdout();
        (text.lines().count() >= 2).then_some(text)
    });
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("/run/notify"), "{text}");
    assert_eq!(lines[1], "socket");
    assert_ne!(lines[0], manager.path.to_str().unwrap());
    c.kill("KILL").ok();
    // runc in the foreground waits for READY for ever.
    run.kill(rustix::process::Signal::KILL);
}

#[test]
fn the_directory_of_the_socket_is_read_only() {
    differs!(Crun, "it is the state directory's own");
    let bundle = Bundle::new();
    let script = "/probe try mkdir /run/notify/x; /probe notify READY=1; exec /probe sleep-forever";
    bundle.args(&["/bin/sh", "-c", script]);
    let manager = Manager::new(&bundle);
    let c = bundle.container();
    let run = manager.call(&c, "run", &["--detach"]);
    manager.until("READY=1");
    let stdout = run.wait().ok().stdout;
    assert!(stdout.starts_with("EROFS\n"), "{stdout}");
}

#[test]
fn an_ordinary_user_of_the_container_can_say_it() {
    differs!(Crun, "the socket is root's");
    let bundle = saying("READY=1");
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let manager = Manager::new(&bundle);
    let c = bundle.container();
    let run = manager.call(&c, "run", &["--detach"]);
    manager.until("READY=1");
    run.wait().ok();
}

#[test]
fn without_the_variable_there_is_no_socket() {
    let bundle = Bundle::new();
    bundle.args(&[
        "/bin/sh",
        "-c",
        "echo \"<$NOTIFY_SOCKET>\"; test -e /run/notify || echo none",
    ]);
    let output = bundle.container().run().ok();
    assert_eq!(output.stdout, "<>\nnone\n");
}

#[test]
fn the_socket_goes_with_the_container() {
    let bundle = saying("READY=1");
    let manager = Manager::new(&bundle);
    let c = bundle.container();
    let run = manager.call(&c, "run", &["--detach"]);
    manager.until("READY=1");
    run.wait().ok();
    c.delete_force().ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

/// A keeper has a notify socket of its own for init, which comes second.
#[test]
fn a_system_containers_readiness_is_the_managers() {
    differs!(Runc | Crun, "no system containers");
    let bundle = saying("READY=1");
    bundle.set("/annotations", json!({"io.vzrun.system": "true"}));
    let manager = Manager::new(&bundle);
    let c = bundle.container();
    start_names_the_init(&manager, &c);
    assert_eq!(c.state()["system"].get("ready"), None);
}
