//! Terminals: the console socket, a terminal in the foreground, its size, its owner, /dev/console.

use integration::{Bundle, Container, FdSocket, Terminal, differs, json, until};
use rustix::process::Signal;
use std::fs;

const NO_FLAGS: &[&str] = &[];

/// A bundle whose process has a terminal.
fn bundle(args: &[&str]) -> Bundle {
    let bundle = Bundle::new();
    bundle.set("/process/terminal", json!(true));
    bundle.args(args);
    bundle
}

/// The shell script as the process.
fn sh(text: &str) -> Bundle {
    bundle(&["/bin/sh", "-c", text])
}

/// Creates the container with a console socket, and gives its terminal and the text that came with it.
fn create(c: &Container) -> (Terminal, String) {
    let socket = FdSocket::bind(c.bundle().home().join("io/console.sock"));
    let flags = ["--console-socket", socket.path().to_str().unwrap()];
    let call = c.call("create", &flags).spawn();
    let (master, text) = socket.receive();
    call.wait().ok();
    (Terminal::from(master), text)
}

/// Creates and starts it.
fn start(c: &Container) -> Terminal {
    let (terminal, _) = create(c);
    c.start();
    terminal
}

#[test]
fn a_console_socket_gets_one_descriptor_with_a_name() {
    differs!(Crun, "the name is a space");
    let bundle = sh("echo here");
    let c = bundle.container();
    let (mut terminal, name) = create(&c);
    assert!(name.contains("ptmx"), "{name:?}");
    c.start();
    terminal.read_until("here");
}

#[test]
fn all_three_streams_are_the_terminal() {
    let bundle = sh("for n in 0 1 2; do test -t $n && echo is$n; done; echo end");
    let c = bundle.container();
    let text = start(&c).read_until("end");
    assert!(
        text.contains("is0") && text.contains("is1") && text.contains("is2"),
        "{text}"
    );
}

#[test]
fn the_terminal_is_the_controlling_one_of_a_new_session() {
    let bundle = sh("echo yes > /dev/tty; tty; cut -d' ' -f1,5,6,7 /proc/self/stat; echo end");
    bundle.args(&[
        "/bin/sh",
        "-c",
        "echo yes > /dev/tty; tty; sed 's/.*) . //' /proc/1/stat; echo end",
    ]);
    let c = bundle.container();
    let text = start(&c).read_until("end");
    assert!(
        text.contains("yes") && text.contains("/dev/pts/0"),
        "{text}"
    );
    // ppid, process group, session
    assert!(text.contains("0 1 1 "), "{text}");
}

#[test]
fn the_terminal_belongs_to_the_containers_own_devpts() {
    let bundle = sh("ls /dev/pts; echo end");
    let c = bundle.container();
    let text = start(&c).read_until("end");
    let names: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(names, ["0", "ptmx", "end"]);
}

#[test]
fn bytes_go_both_ways() {
    let bundle = sh("read word; echo \"<$word>\"");
    let c = bundle.container();
    let mut terminal = start(&c);
    terminal.write("typed\n");
    terminal.read_until("<typed>");
    c.wait_stopped();
}

#[test]
fn console_size_is_that_of_the_config() {
    let bundle = bundle(&["/probe", "winsize"]);
    bundle.set("/process/consoleSize", json!({"height": 33, "width": 111}));
    let c = bundle.container();
    let mut terminal = start(&c);
    terminal.read_until("33 111");
    assert_eq!(terminal.size(), (33, 111));
}

#[test]
fn a_resize_reaches_the_process() {
    let bundle = bundle(&["/probe", "winsize"]);
    let c = bundle.container();
    let mut terminal = start(&c);
    terminal.read_until("ready");
    terminal.resize(12, 34);
    terminal.read_until("12 34");
}

#[test]
fn dev_console_is_the_terminal() {
    differs!(Crun, "in 1.28 it is no device");
    let bundle = sh("echo through > /dev/console; stat -c %t:%T /dev/console /dev/pts/0; echo end");
    let c = bundle.container();
    let text = start(&c).read_until("end");
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words, ["through", "88:0", "88:0", "end"]);
}

#[test]
fn dev_console_is_left_alone_without_a_terminal() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "try", "open", "r", "/dev/console"]);
    let output = bundle.container().run().ok();
    assert_eq!(output.stdout, "ENOENT\n");
}

#[test]
fn a_symbolic_link_at_dev_console_is_not_followed() {
    differs!(Runc < (1, 3), "CVE-2025-52565: it follows the link");
    differs!(Crun, "it follows the link inside the root");
    let bundle = sh("echo here");
    // Without the tmpfs on /dev, so that the image decides what is there.
    let mounts = bundle.config()["mounts"].clone();
    let kept = mounts
        .as_array()
        .unwrap()
        .iter()
        .filter(|m| m["destination"] != "/dev");
    bundle.set("/mounts", json!(kept.collect::<Vec<_>>()));
    let target = bundle.write("/etc/target", "unchanged");
    std::os::unix::fs::symlink("/etc/target", bundle.rootfs("/dev/console")).unwrap();
    let socket = FdSocket::bind(bundle.home().join("io/console.sock"));
    let c = bundle.container();
    c.call(
        "create",
        &["--console-socket", socket.path().to_str().unwrap()],
    )
    .run()
    .fails()
    // runc does not get that far without the devices of the tmpfs.
    .says_any(&["/dev/console", "reopening /dev/null"]);
    assert_eq!(fs::read_to_string(target).unwrap(), "unchanged");
}

#[test]
fn the_terminal_belongs_to_the_containers_user() {
    let bundle = sh("stat -c '%u:%g' /dev/pts/0; echo again > /dev/pts/0; echo end");
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let c = bundle.container();
    let text = start(&c).read_until("end");
    let words: Vec<&str> = text.split_whitespace().collect();
    // The group is the one that the devpts mount chooses.
    assert_eq!(words, ["1000:5", "again", "end"]);
}

#[test]
fn the_master_ends_with_the_container() {
    let bundle = sh("echo last words");
    let c = bundle.container();
    let mut terminal = start(&c);
    c.wait_stopped();
    assert!(terminal.read_to_end().contains("last words"));
}

#[test]
fn a_console_socket_with_a_long_path_works() {
    differs!(Runc | Crun, "the path must fit into a socket address");
    let bundle = sh("echo here");
    let dir = bundle.home().join("io").join("d".repeat(120));
    fs::create_dir(&dir).unwrap();
    // bind(2) itself has the limit, so the socket moves there.
    let socket = FdSocket::bind(bundle.home().join("io/s"));
    let path = dir.join("s");
    fs::rename(socket.path(), &path).unwrap();
    let c = bundle.container();
    let call = c
        .call("create", &["--console-socket", path.to_str().unwrap()])
        .spawn();
    let (master, _) = socket.receive();
    call.wait().ok();
    c.start();
    Terminal::from(master).read_until("here");
}

#[test]
fn a_terminal_without_a_console_socket_is_refused_when_detached() {
    let bundle = sh("true");
    let c = bundle.container();
    for verb in ["create", "run"] {
        let flags: &[&str] = if verb == "run" {
            &["--detach"]
        } else {
            NO_FLAGS
        };
        c.call(verb, flags).run().fails().says_or_crun(
            "will detach without setting console socket",
            "use --console-socket with",
        );
    }
}

#[test]
fn a_console_socket_without_a_terminal_is_refused() {
    differs!(Crun, "it is not used");
    let bundle = Bundle::new();
    let socket = FdSocket::bind(bundle.home().join("io/console.sock"));
    let c = bundle.container();
    c.call(
        "create",
        &["--console-socket", socket.path().to_str().unwrap()],
    )
    .run()
    .fails()
    .says("will not detach or allocate tty");
}

#[test]
fn a_console_socket_that_is_not_there_is_an_error() {
    let bundle = sh("true");
    let c = bundle.container();
    c.call("create", &["--console-socket", "/no/such/socket"])
        .run()
        .fails();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn run_in_the_foreground_copies_bytes_both_ways() {
    let bundle = sh("read word; echo \"<$word>\"; exit 7");
    let mut terminal = Terminal::open();
    let c = bundle.container();
    let run = c.call("run", NO_FLAGS).terminal(&terminal).spawn();
    terminal.write("typed\n");
    terminal.read_until("<typed>");
    run.wait().exits(7);
}

#[test]
fn no_output_is_lost_at_the_end() {
    differs!(Crun, "it may lose some");
    let bundle = sh("seq 1 50000; echo the end");
    let mut terminal = Terminal::open();
    let c = bundle.container();
    let run = c.call("run", NO_FLAGS).terminal(&terminal).spawn();
    let text = terminal.read_until("the end");
    run.wait().ok();
    let last = text.lines().filter(|line| line.trim() == "50000").count();
    assert_eq!((last, text.lines().count() >= 50_001), (1, true));
}

#[test]
fn the_first_size_is_that_of_the_users_terminal() {
    differs!(Crun, "the size comes with the first SIGWINCH");
    let bundle = bundle(&["/probe", "winsize"]);
    let mut terminal = Terminal::open();
    terminal.resize(17, 71);
    let c = bundle.container();
    let run = c.call("run", NO_FLAGS).terminal(&terminal).spawn();
    terminal.read_until("17 71");
    c.kill("TERM").ok();
    run.wait().ok();
}

#[test]
fn a_resize_of_the_users_terminal_goes_on() {
    let bundle = bundle(&["/probe", "winsize"]);
    let mut terminal = Terminal::open();
    let c = bundle.container();
    let run = c.call("run", NO_FLAGS).terminal(&terminal).spawn();
    terminal.read_until("ready");
    terminal.resize(50, 150);
    terminal.read_until("50 150");
    c.kill("TERM").ok();
    run.wait().ok();
}

#[test]
fn the_users_terminal_is_raw_and_then_as_before() {
    let bundle = sh("echo up; read word");
    let mut terminal = Terminal::open();
    let mode = || rustix::termios::tcgetattr(terminal.slave()).unwrap();
    let is_raw = || {
        !mode()
            .local_modes
            .contains(rustix::termios::LocalModes::ICANON)
    };
    assert!(!is_raw());
    let before = format!("{:?}", mode());
    let c = bundle.container();
    let run = c.call("run", NO_FLAGS).terminal(&terminal).spawn();
    until("raw mode", || is_raw().then_some(()));
    rustix::io::write(terminal.master(), b"x\n").unwrap();
    run.wait().ok();
    assert_eq!(format!("{:?}", mode()), before);
    terminal.read_until("up");
}

#[test]
fn a_control_character_reaches_the_container_and_not_the_runtime() {
    let bundle = sh("trap 'echo got INT; exit 9' INT; echo up; while true; do read x; done");
    let mut terminal = Terminal::open();
    let c = bundle.container();
    let run = c.call("run", NO_FLAGS).terminal(&terminal).spawn();
    terminal.read_until("up");
    terminal.write("\x03");
    terminal.read_until("got INT");
    run.wait().exits(9);
}

#[test]
fn newlines_are_not_changed_twice() {
    let bundle = sh("printf 'a\\nb\\n'; echo end");
    let mut terminal = Terminal::open();
    let c = bundle.container();
    let run = c.call("run", NO_FLAGS).terminal(&terminal).spawn();
    let text = terminal.read_until("end");
    run.wait().ok();
    assert!(!text.contains("\r\r"), "{text:?}");
}

#[test]
fn an_exec_in_the_foreground_has_a_terminal() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let mut terminal = Terminal::open();
    let script = "test -t 0 && echo tty0; read word; echo \"<$word>\"; exit 5";
    let exec = c
        .exec_call(&["--tty"], &["/bin/sh", "-c", script])
        .terminal(&terminal)
        .spawn();
    terminal.read_until("tty0");
    terminal.write("typed\n");
    terminal.read_until("<typed>");
    exec.wait().exits(5);
}

#[test]
fn an_exec_sends_its_terminal_to_a_console_socket() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let socket = FdSocket::bind(bundle.home().join("io/console.sock"));
    let flags = [
        "--tty",
        "--detach",
        "--console-socket",
        socket.path().to_str().unwrap(),
    ];
    let exec = c
        .exec_call(&flags, &["/bin/sh", "-c", "tty; echo end"])
        .spawn();
    let (master, _) = socket.receive();
    exec.wait().ok();
    let text = Terminal::from(master).read_until("end");
    assert!(text.contains("/dev/pts/"), "{text}");
}

#[test]
fn an_exec_gets_the_users_size_and_resizes() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let mut terminal = Terminal::open();
    terminal.resize(18, 81);
    let exec = c
        .exec_call(&["--tty"], &["/probe", "winsize"])
        .terminal(&terminal)
        .spawn();
    terminal.read_until("ready");
    terminal.resize(19, 91);
    terminal.read_until("19 91");
    exec.kill(Signal::TERM);
    exec.wait().ok();
}

#[test]
fn a_terminal_without_a_devpts_is_an_error() {
    let bundle = sh("true");
    let mounts = bundle.config()["mounts"].clone();
    let kept = mounts
        .as_array()
        .unwrap()
        .iter()
        .filter(|m| m["destination"] != "/dev/pts");
    bundle.set("/mounts", json!(kept.collect::<Vec<_>>()));
    let socket = FdSocket::bind(bundle.home().join("io/console.sock"));
    let c = bundle.container();
    c.call(
        "create",
        &["--console-socket", socket.path().to_str().unwrap()],
    )
    .run()
    .fails();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_container_that_closes_its_terminal_can_open_it_again() {
    differs!(Runc | Crun, "they stop to copy at the first end");
    let script = "exec 0<&- 1>&- 2>&-; sleep 0.3; echo again > /dev/console; sleep 0.1; exit 3";
    let bundle = sh(script);
    let mut terminal = Terminal::open();
    let c = bundle.container();
    let run = c.call("run", NO_FLAGS).terminal(&terminal).spawn();
    terminal.read_until("again");
    run.wait().exits(3);
}
