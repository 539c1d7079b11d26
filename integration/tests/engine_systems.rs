//! System containers: unmodified Debians that boot by their own init, under Podman, Docker and
//! containerd with the runtime under test. The images are made by `hack/images`.

#[path = "engine_systems/distributions.rs"]
mod distributions;

use integration::{
    Bundle, Call, Engine, IMAGE, Output, Running, Runtime, Terminal, differs, distribution,
    engine_call, engine_daemon, engine_dir, fresh_path, image_tar, json, rounds, test_name, until,
    wait_nothing_left,
};
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

/// Where a system boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Podman as root.
    Podman,
    /// Podman as the user tester.
    Rootless,
    /// Docker.
    Docker,
    /// Docker with `userns-remap`.
    Remapped,
    /// containerd.
    Ctr,
}
use Place::{Ctr, Docker, Podman, Remapped, Rootless};

/// Longer than any of them takes to shut down, and shorter than what an engine waits before it kills.
const SHUTDOWN: Duration = Duration::from_secs(15);
const PATIENCE: &str = "--time=30";

impl Place {
    /// A call of its command, which has a daemon where it needs one.
    fn bare(self) -> Call {
        static STARTED: [OnceLock<()>; 5] = [const { OnceLock::new() }; 5];
        match self {
            Podman => return integration::Podman::Root.call([""; 0]),
            Rootless => return integration::Podman::Tester.call([""; 0]),
            Docker | Remapped => STARTED[self as usize].get_or_init(|| self.start_docker()),
            Ctr => STARTED[self as usize].get_or_init(start_containerd),
        };
        self.client()
    }

    fn socket(self) -> String {
        format!("{}/{self:?}.sock", engine_dir().display())
    }

    /// A call of a daemon's client.
    fn client(self) -> Call {
        let socket = self.socket();
        match self {
            Ctr => engine_call("ctr").args(["--address", &socket]),
            _ => engine_call("docker").env("DOCKER_HOST", format!("unix://{socket}")),
        }
    }

    fn start_docker(self) {
        let (at, socket) = (engine_dir().join(format!("{self:?}")), self.socket());
        let at = at.display();
        let runtime = Runtime::get().path().display();
        let remap = if self == Remapped { "tester" } else { "" };
        // Of two daemons one would take away the other's bridge.
        let system = by_its_name().display();
        let config = format!(
            r#"{{"runtimes": {{"under-test": {{"path": "{runtime}"}}, "vzrun-system": {{"path": "{system}"}}}},
            "default-runtime": "under-test",
            "data-root": "/var/lib/docker/{self:?}", "exec-root": "{at}", "pidfile": "{at}.pid",
            "userns-remap": "{remap}", "hosts": ["unix://{socket}"],
            "bridge": "none", "iptables": false, "ip6tables": false}}"#
        );
        let file = format!("{at}.json");
        fs::write(&file, config).unwrap();
        let asks = || self.client().arg("version");
        engine_daemon("dockerd", &["--config-file", &file], &[], asks);
    }

    /// The image of a distribution (or of busybox), imported when it is wanted first.
    fn image(self, name: &str) -> String {
        static KNOWN: Mutex<Vec<(Place, String)>> = Mutex::new(Vec::new());
        let image = format!("localhost/{name}:latest");
        let mut known = KNOWN.lock().unwrap();
        if known.contains(&(self, image.clone())) {
            return image;
        }
        let tar = if image == format!("{IMAGE}:latest") {
            image_tar().to_path_buf()
        } else {
            distribution(name)
        };
        match self {
            Podman | Rootless => {
                let call = self.bare().args(["import", "--quiet"]);
                call.arg(tar).arg(&image).run().ok();
            }
            Docker | Remapped => {
                self.bare().arg("import").arg(tar).arg(&image).run().ok();
            }
            Ctr => {
                // Podman makes an archive that containerd can read out of a plain tar.
                let archive = fresh_path("archive");
                let podman = || Podman.bare();
                let call = podman().args(["import", "--quiet"]).arg(tar);
                call.arg(&image).run().ok();
                let call = podman().args(["save", "--quiet", "--output"]);
                call.arg(&archive).arg(&image).run().ok();
                let call = self.bare().args(["image", "import"]);
                call.arg(archive).run().ok();
            }
        }
        known.push((self, image.clone()));
        image
    }

    /// What systemd needs there beside an image and a console.
    fn systemd_flags(self) -> Vec<&'static str> {
        match self {
            Podman | Rootless => vec!["--systemd=always"],
            Docker | Remapped => {
                let mut flags = vec!["--cgroupns=private", "--env=container=docker"];
                flags.extend(["--tmpfs=/run", "--tmpfs=/run/lock", "--tmpfs=/tmp"]);
                flags.push("--stop-signal=SIGRTMIN+3");
                if self == Docker {
                    flags.push("--cap-add=SYS_ADMIN");
                }
                flags
            }
            Ctr => vec![
                "--env=container=containerd",
                "--with-ns=cgroup:",
                "--mount=type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=rw:nosuid:nodev:noexec",
                "--mount=type=tmpfs,src=tmpfs,dst=/run/lock,options=nosuid:nodev",
                "--mount=type=tmpfs,src=tmpfs,dst=/tmp,options=nosuid:nodev",
            ],
        }
    }

    /// The program that boots systemd there. Docker mounts /sys/fs/cgroup read-only.
    fn systemd(self) -> &'static [&'static str] {
        match self {
            Docker => &[
                "sh",
                "-c",
                "mount -o remount,rw /sys/fs/cgroup && exec /sbin/init",
            ],
            _ => &["/sbin/init"],
        }
    }
}

/// The runtime called by the name with which all containers are system containers.
fn by_its_name() -> &'static Path {
    static LINK: OnceLock<PathBuf> = OnceLock::new();
    LINK.get_or_init(|| {
        let link = engine_dir().join("vzrun-system");
        symlink(Runtime::get().path(), &link).unwrap();
        link
    })
}

fn start_containerd() {
    let at = engine_dir().join("containerd");
    let (at, socket) = (at.display(), Ctr.socket());
    let config = format!(
        "version = 2\nroot = \"/var/lib/containerd\"\nstate = \"{at}\"\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{socket}\"\n"
    );
    let file = format!("{at}.toml");
    fs::write(&file, config).unwrap();
    let asks = || Ctr.client().arg("version");
    engine_daemon("containerd", &["--config", &file], &[], asks);
}

/// A system that boots, named after the test. It is removed when dropped.
struct System {
    place: Place,
    name: String,
    id: String,
}

impl System {
    /// Boots one with a console.
    fn boot(place: Place, image: &str, flags: &[&str], init: &[&str]) -> System {
        let name = test_name();
        let image = place.image(image);
        let call = place
            .bare()
            .args(["run", "--detach", "-it", "--name", &name]);
        let output = call.args(flags).arg(image).args(init).run().ok();
        let id = output.stdout.trim().to_string();
        System { place, name, id }
    }

    fn systemd(place: Place, flags: &[&str]) -> System {
        let flags = [&place.systemd_flags()[..], flags].concat();
        System::boot(place, "systemd", &flags, place.systemd())
    }

    /// `VERB... NAME ARGS...`
    fn call(&self, verb: &[&str], args: &[&str]) -> Call {
        self.place.bare().args(verb).arg(&self.name).args(args)
    }

    fn exec(&self, command: &[&str]) -> Output {
        self.call(&["exec"], command).run()
    }

    fn printed(&self, command: &[&str]) -> String {
        self.exec(command).ok().stdout.trim().to_string()
    }

    /// All that came on the console.
    fn logs(&self) -> String {
        self.call(&["logs"], &[]).run().ok().stdout
    }

    /// Waits until systemd has started everything that it wants to start.
    #[track_caller]
    fn wait_running(&self) {
        let ask = ["systemctl", "is-system-running", "--wait"];
        let state = until("systemd", || wait_state(&self.exec(&ask)));
        let units = self.exec(&["systemctl", "--failed", "--no-legend"]).stdout;
        assert_eq!((state.as_str(), units.as_str()), ("running", ""));
    }

    /// Its console.
    fn attach(&self) -> (Terminal, Running) {
        let terminal = Terminal::open();
        let call = self.call(&["attach", "--detach-keys=ctrl-]"], &[]);
        let running = call.terminal(&terminal).spawn();
        (terminal, running)
    }

    /// Stops it, which it must do by itself, and gives its exit status.
    #[track_caller]
    fn stop(&self) -> String {
        let output = self.call(&["stop", PATIENCE], &[]).run().ok();
        assert!(
            output.elapsed < SHUTDOWN,
            "{}\n{}",
            output.describe(),
            self.logs()
        );
        self.ended()
    }

    /// Waits for its end, and gives its exit status.
    fn ended(&self) -> String {
        let code = self.call(&["wait"], &[]).run().ok().stdout;
        let format = "--format={{.State.Status}} {{.State.ExitCode}}";
        let said = self.call(&["inspect", format], &[]).run().ok().stdout;
        assert_eq!(said.trim(), format!("exited {}", code.trim()));
        code.trim().to_string()
    }
}

impl Drop for System {
    fn drop(&mut self) {
        let output = self.call(&["rm", "--force"], &[]).run();
        if !std::thread::panicking() {
            output.ok();
            wait_nothing_left(&self.id);
        }
    }
}

/// What `systemctl is-system-running` says when it is no longer to change.
fn wait_state(output: &Output) -> Option<String> {
    let state = output.stdout.trim();
    ["running", "degraded"]
        .contains(&state)
        .then(|| state.to_string())
}

/// Logs root in at a prompt that is there, or comes at Return.
fn log_in(terminal: &mut Terminal) {
    terminal.write("\r");
    terminal.read_until("login: ");
    terminal.write("root\r");
    terminal.read_until("Password: ");
    terminal.write("secret\r");
    // What is typed before the shell is there may be thrown away.
    terminal.read_until("# ");
    terminal.write("echo $(id -un)-$((40+2))\r");
    terminal.read_until("root-42");
}

/// Leaves a console behind, as it is.
fn leave(mut terminal: Terminal, attached: Running) {
    terminal.write("\x1d");
    attached.wait();
}

/// Makes a cgroup in that of the unit that runs it, and moves there.
const SUBTREE: &str = "own=/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)
    mkdir $own/mine && echo 0 >$own/mine/cgroup.procs && sed -n s/^0:://p /proc/self/cgroup";

fn systemd_lives(place: Place) {
    let system = System::systemd(place, &[]);
    system.wait_running();
    let nobody = system
        .call(&["exec", "--user=nobody"], &["id", "-un"])
        .run();
    assert_eq!(nobody.ok().stdout.trim(), "nobody");
    let journal = system.printed(&["journalctl", "--no-pager", "--unit=init.scope"]);
    assert!(journal.contains("Startup finished in"), "{journal}");
    let cgroup = system.printed(&["grep", "^0:", "/proc/1/cgroup"]);
    assert_eq!(cgroup, "0::/init.scope");
    let unit = [
        "systemd-run",
        "--quiet",
        "--wait",
        "--pipe",
        "-pDelegate=yes",
        "-pMemoryMax=64M",
    ];
    let cgroup = system.printed(&[&unit[..], &["sh", "-euc", SUBTREE]].concat());
    assert!(
        cgroup.starts_with("/system.slice/run-") && cgroup.ends_with("/mine"),
        "{cgroup}"
    );

    // Without CAP_SYS_BOOT systemd cannot call reboot(2), so it exits.
    assert_eq!(system.stop(), "0");
    let console = system.logs();
    assert!(
        console.contains("halt.target") && console.contains("Halting system."),
        "{console}"
    );
    system.call(&["start"], &[]).run().ok();
    system.wait_running();
    system.call(&["restart", PATIENCE], &[]).run().ok();
    system.wait_running();
    system.exec(&["systemctl", "poweroff"]);
    assert_eq!(system.ended(), "0");
}

#[test]
fn systemd_in_podman() {
    systemd_lives(Podman);
}

#[test]
fn systemd_in_rootless_podman() {
    systemd_lives(Rootless);
}

#[test]
fn systemd_in_docker() {
    systemd_lives(Docker);
}

#[test]
fn systemd_in_docker_with_a_user_namespace() {
    differs!(Runc, "with its cgroupfs driver it gives nothing away");
    systemd_lives(Remapped);
}

/// reboot(2) in a pid namespace kills its process 1: SIGHUP for a reboot, SIGINT for an end.
fn systemd_reboots(place: Place) {
    let system = System::systemd(place, &["--cap-add=SYS_BOOT"]);
    for (verb, status) in [("reboot", "129"), ("poweroff", "130"), ("halt", "130")] {
        system.wait_running();
        system.exec(&["systemctl", verb]);
        assert_eq!(system.ended(), status, "{verb}");
        system.call(&["start"], &[]).run().ok();
    }
    system.wait_running();
    assert_eq!(system.stop(), "130");
}

#[test]
fn systemd_reboots_and_ends_by_reboot_in_podman() {
    systemd_reboots(Podman);
}

#[test]
fn systemd_reboots_and_ends_by_reboot_in_docker() {
    systemd_reboots(Docker);
}

/// With its console on a terminal from the beginning.
fn systemd_in_the_foreground(place: Place) {
    let image = place.image("systemd");
    let mut terminal = Terminal::open();
    let call = place
        .bare()
        .args(["run", "--rm", "-it", "--name", &test_name()]);
    let call = call
        .args(place.systemd_flags())
        .arg(image)
        .args(place.systemd());
    let running = call.terminal(&terminal).spawn();
    terminal.read_until("Welcome to");
    log_in(&mut terminal);
    terminal.write("tty; systemctl poweroff\r");
    terminal.read_until("/dev/console");
    terminal.read_until("Powering off.");
    running.wait().ok();
}

#[test]
fn a_console_of_systemd_in_podman() {
    systemd_in_the_foreground(Podman);
}

#[test]
fn a_console_of_systemd_in_rootless_podman() {
    systemd_in_the_foreground(Rootless);
}

#[test]
fn a_console_of_systemd_in_docker() {
    systemd_in_the_foreground(Docker);
}

#[test]
fn a_console_of_systemd_attached_and_left() {
    let system = System::systemd(Podman, &[]);
    for _ in 0..2 {
        let (mut terminal, running) = system.attach();
        log_in(&mut terminal);
        terminal.write("exit\r");
        terminal.read_until("logout");
        terminal.read_until("login: ");
        leave(terminal, running);
    }
    system.wait_running();
}

/// Lines for /etc/inittab.d: a login on the console, and a shutdown when the power fails.
fn inittab_d() -> String {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    let dir = DIR.get_or_init(|| {
        let dir = engine_dir().join("inittab.d");
        fs::create_dir(&dir).unwrap();
        let console = "co:2345:respawn:/sbin/getty --noclear 38400 console\n";
        fs::write(dir.join("console.tab"), console).unwrap();
        let power = "pw::powerfail:/sbin/shutdown -h now\n";
        fs::write(dir.join("power.tab"), power).unwrap();
        dir
    });
    format!("--volume={}:/etc/inittab.d:ro", dir.display())
}

/// A system of sysvinit: it boots, lets root in, ends and reboots by itself.
fn sysvinit_lives(place: Place, image: &str, flags: &[&str]) -> System {
    let inittab_d = inittab_d();
    let common = ["--stop-signal=SIGPWR", "--cap-add=SYS_BOOT", &inittab_d];
    let system = System::boot(place, image, &[&common, flags].concat(), &["/sbin/init"]);
    let booted = || {
        let level = system.exec(&["runlevel"]).stdout;
        (level.trim() == "N 2").then_some(())
    };
    until("runlevel 2", booted);
    let nobody = system
        .call(&["exec", "--user=nobody"], &["id", "-un"])
        .run();
    assert_eq!(nobody.ok().stdout.trim(), "nobody");
    let (mut terminal, running) = system.attach();
    log_in(&mut terminal);
    leave(terminal, running);
    assert_eq!(system.stop(), "130");
    let console = system.logs();
    assert!(console.contains("Will now halt."), "{console}");
    system.call(&["start"], &[]).run().ok();
    until("runlevel 2 again", booted);
    system.exec(&["shutdown", "-r", "now"]);
    assert_eq!(system.ended(), "129");
    system
}

/// Its own boot scripts name the host, and mount.
const OWN_NAMESPACE: [&str; 3] = [
    "--systemd=always",
    "--userns=auto:size=65536",
    "--cap-add=SYS_ADMIN",
];

#[test]
fn sysvinit_in_podman() {
    let system = sysvinit_lives(Podman, "sysvinit", &OWN_NAMESPACE);
    let console = system.logs();
    assert!(!console.contains("returned failure"), "{console}");
}

#[test]
fn sysvinit_in_rootless_podman() {
    let flags = ["--systemd=always", "--cap-add=SYS_ADMIN"];
    let system = sysvinit_lives(Rootless, "sysvinit", &flags);
    let console = system.logs();
    assert!(!console.contains("returned failure"), "{console}");
}

#[test]
fn sysvinit_in_docker() {
    sysvinit_lives(Docker, "sysvinit", &[]);
}

fn until_openrc_has_started(system: &System) {
    // It says so at the end of the runlevel.
    until("all services", || {
        let services = system.exec(&["rc-status", "default"]).stdout;
        let started = services.contains("started") && !services.contains("stopped");
        started.then_some(())
    });
}

#[test]
fn openrc_in_podman() {
    let system = sysvinit_lives(Podman, "openrc", &OWN_NAMESPACE);
    system.call(&["start"], &[]).run().ok();
    until_openrc_has_started(&system);
    assert!(
        !system
            .printed(&["rc-status", "sysinit"])
            .contains("stopped")
    );
}

/// busybox's init: its configuration and a password for root, as flags that mount them.
fn busybox_flags(flag: impl Fn(&Path, &str) -> String) -> Vec<String> {
    static FILES: OnceLock<[(PathBuf, &str); 2]> = OnceLock::new();
    let files = FILES.get_or_init(|| {
        let inittab = fresh_path("inittab");
        let text =
            "::sysinit:/bin/echo booting\n::respawn:/bin/login\n::shutdown:/bin/echo going down\n";
        fs::write(&inittab, text).unwrap();
        let passwd = fresh_path("passwd");
        let hash = engine_call("busybox").args(["mkpasswd", "-m", "sha256", "secret"]);
        let hash = hash.run().ok().stdout;
        fs::write(
            &passwd,
            format!("root:{}:0:0:root:/root:/bin/sh\n", hash.trim()),
        )
        .unwrap();
        [(inittab, "/etc/inittab"), (passwd, "/etc/passwd")]
    });
    files.iter().map(|(file, at)| flag(file, at)).collect()
}

fn busybox_lives(place: Place, flags: &[&str]) {
    let volumes = busybox_flags(|file, at| format!("--volume={}:{at}:ro", file.display()));
    let mut all = vec!["--stop-signal=SIGUSR2", "--cap-add=SYS_BOOT"];
    all.extend(volumes.iter().map(String::as_str));
    let system = System::boot(place, "bb", &[&all, flags].concat(), &["/bin/init"]);
    let boots = || system.logs().matches("booting\r").count();
    until("the boot", || (boots() == 1).then_some(()));
    let (mut terminal, running) = system.attach();
    log_in(&mut terminal);
    leave(terminal, running);
    assert_eq!(system.stop(), "130");
    let console = system.logs();
    assert!(
        console.contains("going down") && console.contains("Requesting system poweroff"),
        "{console}"
    );
    system.call(&["start"], &[]).run().ok();
    until("the second boot", || (boots() == 2).then_some(()));
    system.exec(&["reboot"]);
    assert_eq!(system.ended(), "129");
}

#[test]
fn busybox_init_in_podman() {
    busybox_lives(Podman, &["--systemd=always"]);
}

#[test]
fn busybox_init_in_rootless_podman() {
    busybox_lives(Rootless, &["--systemd=always"]);
}

#[test]
fn busybox_init_in_docker() {
    busybox_lives(Docker, &[]);
}

/// `ctr run --tty` on a terminal; `body` is called at the console, and gives the signal that ends it.
fn under_ctr(
    image: &str,
    flags: &[&str],
    init: &str,
    status: i32,
    body: impl Fn(&mut Terminal) -> &'static str,
) {
    let (name, image) = (test_name(), Ctr.image(image));
    let mut terminal = Terminal::open();
    // There is no controller for the cpu shares that it asks for by default.
    let call = Ctr
        .bare()
        .args(["run", "--rm", "--tty", "--cpu-shares=0", "--runc-binary"]);
    let call = call.arg(Runtime::get().path()).args(flags);
    let call = call.args([&image, &name, init]);
    // As long as the body takes, which waits for things of its own.
    let call = call.limit(Duration::from_secs(900));
    let running = call.terminal(&terminal).spawn();
    let signal = body(&mut terminal);
    let kill = Ctr.bare().args(["task", "kill", "--signal", signal, &name]);
    kill.run().ok();
    running.wait().exits(status);
    wait_nothing_left(&name);
}

#[test]
fn systemd_in_containerd() {
    let exec = |id: &str, flags: &[&str], command: &[&str]| {
        let call = Ctr.bare().args(["task", "exec", "--exec-id", id]);
        call.args(flags).arg(test_name()).args(command).run()
    };
    under_ctr(
        "systemd",
        &Ctr.systemd_flags(),
        "/sbin/init",
        0,
        |terminal| {
            log_in(terminal);
            let ask = ["systemctl", "is-system-running", "--wait"];
            assert_eq!(exec("ask", &[], &ask).stdout, "running\n");
            let unit = [
                "systemd-run",
                "--quiet",
                "--wait",
                "--pipe",
                "-pDelegate=yes",
            ];
            let cgroup = exec("unit", &[], &[&unit[..], &["sh", "-euc", SUBTREE]].concat());
            assert!(cgroup.ok().stdout.trim().ends_with(".service/mine"));
            let daemon = exec("user", &["--user=1"], &["id", "-un"]);
            assert_eq!(daemon.ok().stdout, "daemon\n");
            "SIGRTMIN+3"
        },
    );
}

#[test]
fn sysvinit_in_containerd() {
    let dir = inittab_d();
    let dir = dir.split(['=', ':']).nth(1).unwrap();
    let mount = format!("--mount=type=bind,src={dir},dst=/etc/inittab.d,options=rbind:ro");
    under_ctr(
        "sysvinit",
        &["--cap-add=CAP_SYS_BOOT", &mount],
        "/sbin/init",
        130,
        |terminal| {
            log_in(terminal);
            "SIGPWR"
        },
    );
}

#[test]
fn busybox_init_in_containerd() {
    let mounts = busybox_flags(|file, at| {
        format!(
            "--mount=type=bind,src={},dst={at},options=rbind:ro",
            file.display()
        )
    });
    let mut flags = vec!["--cap-add=CAP_SYS_BOOT"];
    flags.extend(mounts.iter().map(String::as_str));
    under_ctr("bb", &flags, "/bin/init", 129, |terminal| {
        log_in(terminal);
        "SIGTERM"
    });
}

/// As a server, with nothing but the annotation: the same container goes on after a reboot from inside, and ends when it is
/// powered off.
fn systemd_as_a_server(place: Place) {
    let mut flags = vec!["--annotation=io.vzrun.system=true", "--restart=on-failure"];
    match place {
        // Podman's own user namespace is all that there is.
        Rootless => flags.extend(["--systemd=always", "--cap-add=SYS_BOOT"]),
        Podman => flags.push("--systemd=false"),
        _ => {}
    }
    let system = System::boot(place, "systemd", &flags, &["/sbin/init"]);
    system.wait_running();
    let propagation = system.printed(&["findmnt", "-no", "PROPAGATION", "/"]);
    assert!(propagation.starts_with("shared"), "{propagation}");
    let uuid = system.printed(&["cat", "/run/host/container-uuid", "/etc/machine-id"]);
    if place != Rootless {
        let map = system.printed(&["cat", "/proc/self/uid_map"]);
        assert!(map.ends_with(" 65536") && !map.contains(" 0 "), "{map}");
        let uuid: Vec<&str> = uuid.lines().collect();
        assert_eq!((uuid[0], uuid[0]), (uuid[1], &system.id[..32]));
    }
    let format = "--format={{.State.Pid}} {{.State.StartedAt}}";
    let inspect = || system.call(&["inspect", format], &[]).run().ok().stdout;
    let begun = inspect();
    for _ in 0..3 {
        system.reboot(&["systemctl", "reboot"]);
        system.wait_running();
    }
    assert_eq!(inspect(), begun);
    system.exec(&["systemctl", "poweroff"]);
    assert_eq!(system.ended(), "0");
}

#[test]
fn a_server_in_podman() {
    differs!(Runc | Crun, "no system containers");
    systemd_as_a_server(Podman);
}

#[test]
fn a_server_in_rootless_podman() {
    differs!(Runc | Crun, "no system containers");
    systemd_as_a_server(Rootless);
}

#[test]
fn a_server_in_docker() {
    differs!(Runc | Crun, "no system containers");
    systemd_as_a_server(Docker);
}

const SERVER: &str = "--annotation=io.vzrun.system=true";

impl System {
    /// Has it rebooted by a command inside, and waits for its next boot.
    #[track_caller]
    fn reboot(&self, command: &[&str]) {
        self.exec(&["touch", "/run/of-this-boot"]).ok();
        // It may be killed before it can say that all is well.
        self.exec(command);
        until("the next boot", || {
            let output = self.exec(&["test", "!", "-e", "/run/of-this-boot"]);
            (output.code() == Some(0)).then_some(())
        });
    }
}

/// sysvinit, with its own scripts or OpenRC's, with nothing but the annotation and a login on the console.
fn sysvinit_as_a_server(image: &str) -> System {
    let inittab_d = inittab_d();
    let system = System::boot(Podman, image, &[SERVER, &inittab_d], &["/sbin/init"]);
    let booted = || {
        let level = system.exec(&["runlevel"]).stdout;
        (level.trim() == "N 2").then_some(())
    };
    until("runlevel 2", booted);
    system.reboot(&["shutdown", "-r", "now"]);
    until("runlevel 2 again", booted);
    system
}

#[test]
fn a_server_of_sysvinit() {
    differs!(Runc | Crun, "no system containers");
    let system = sysvinit_as_a_server("sysvinit");
    assert_eq!(system.stop(), "0");
    let console = system.logs();
    assert!(!console.contains("returned failure"), "{console}");
}

#[test]
fn a_server_of_openrc() {
    differs!(Runc | Crun, "no system containers");
    let system = sysvinit_as_a_server("openrc");
    openrc_has_started(&system);
    assert_eq!(system.stop(), "0");
}

/// The runlevel has been reached, and nothing of it has failed.
fn openrc_has_started(system: &System) {
    until_openrc_has_started(system);
    let crashed = system.exec(&["rc-status", "--crashed"]).stdout;
    assert_eq!(crashed.trim(), "");
}

/// OpenRC's own init, which `io.vzrun.system=auto` knows by its name.
#[test]
fn a_server_of_openrc_init() {
    differs!(Runc | Crun, "no system containers");
    let auto = "--annotation=io.vzrun.system=auto";
    let system = System::boot(Podman, "openrc", &[auto], &["/sbin/openrc-init"]);
    openrc_has_started(&system);
    system.reboot(&["openrc-shutdown", "--reboot", "now"]);
    openrc_has_started(&system);
    assert_eq!(system.stop(), "0");
    system.call(&["start"], &[]).run().ok();
    openrc_has_started(&system);
    system.exec(&["openrc-shutdown", "--poweroff", "now"]);
    assert_eq!(system.ended(), "0");
}

/// busybox's init, a hundred times in a row where `VZRUN_TEST_ROUNDS=100` says so: always the same container, with the same
/// addresses and limits. Its end by poweroff is no failure, after which it would be started again.
fn reboots_in_a_row(place: Place) {
    let volumes = busybox_flags(|file, at| format!("--volume={}:{at}:ro", file.display()));
    let mut flags = vec![SERVER, "--ulimit=nofile=777:777", "--restart=on-failure"];
    flags.extend(volumes.iter().map(String::as_str));
    let system = System::boot(place, "bb", &flags, &["/bin/init"]);
    let engine_knows = || {
        let format = "--format={{.Id}} {{.State.Pid}} {{.State.StartedAt}} {{.RestartCount}}";
        system.call(&["inspect", format], &[]).run().ok().stdout
    };
    let seen = || {
        let inside = "ip -o -4 addr; ulimit -n; cat /proc/self/uid_map";
        system.printed(&["sh", "-c", inside]) + &engine_knows()
    };
    let at_first = seen();
    for _ in 0..rounds(10, 1.0) {
        system.reboot(&["reboot"]);
    }
    assert_eq!(seen(), at_first);
    system.exec(&["poweroff"]);
    assert_eq!(system.ended(), "0");
    let now = engine_knows();
    assert!(now.ends_with(" 0\n"), "{now}");
}

#[test]
fn reboots_in_a_row_in_podman() {
    differs!(Runc | Crun, "no system containers");
    reboots_in_a_row(Podman);
}

#[test]
fn reboots_in_a_row_in_docker() {
    differs!(Runc | Crun, "no system containers");
    reboots_in_a_row(Docker);
}

#[test]
fn reboots_in_a_row_in_containerd() {
    differs!(Runc | Crun, "no system containers");
    let mounts = busybox_flags(|file, at| {
        format!(
            "--mount=type=bind,src={},dst={at},options=rbind:ro",
            file.display()
        )
    });
    let mut flags = vec![SERVER];
    flags.extend(mounts.iter().map(String::as_str));
    let call = |id: &str, command: &[&str]| {
        let call = Ctr.bare().args(["task", "exec", "--exec-id", id]);
        call.arg(test_name()).args(command).run()
    };
    let pid = || Ctr.bare().args(["task", "list"]).run().ok().stdout;
    under_ctr("bb", &flags, "/bin/init", 0, |terminal| {
        log_in(terminal);
        let at_first = pid();
        for round in 0..rounds(10, 1.0) {
            call(&format!("m{round}"), &["touch", "/run/of-this-boot"]).ok();
            call(&format!("r{round}"), &["reboot"]);
            let mut tries = 0;
            until("the next boot", || {
                tries += 1;
                let id = format!("t{round}-{tries}");
                let output = call(&id, &["test", "!", "-e", "/run/of-this-boot"]);
                (output.code() == Some(0)).then_some(())
            });
        }
        assert_eq!(pid(), at_first);
        "SIGTERM"
    });
}

#[test]
fn a_server_in_containerd() {
    differs!(Runc | Crun, "no system containers");
    let call = |id: &str, command: &[&str]| {
        let call = Ctr.bare().args(["task", "exec", "--exec-id", id]);
        call.arg(test_name()).args(command).run()
    };
    let running = |boot: &str| {
        let mut tries = 0;
        let ask = ["systemctl", "is-system-running", "--wait"];
        let state = until("systemd", || {
            tries += 1;
            wait_state(&call(&format!("{boot}{tries}"), &ask))
        });
        assert_eq!(state, "running");
    };
    under_ctr("systemd", &[SERVER], "/sbin/init", 0, |terminal| {
        log_in(terminal);
        running("first");
        call("reboot", &["systemctl", "reboot"]);
        terminal.read_until("Rebooting.");
        log_in(terminal);
        running("second");
        "SIGTERM"
    });
}

/// What Podman hears of a container's readiness it passes on, and so it does with a server's.
#[test]
fn podman_is_told_of_a_servers_readiness() {
    differs!(Runc | Crun, "no system containers");
    let path = fresh_path("notify.sock");
    let manager = UnixDatagram::bind(&path).unwrap();
    let patience = Some(Duration::from_secs(200));
    manager.set_read_timeout(patience).unwrap();
    let (name, image) = (test_name(), Podman.image("systemd"));
    let flags = [
        "run",
        "--detach",
        "--sdnotify=container",
        SERVER,
        "--name",
        &name,
    ];
    let call = Podman.bare().env("NOTIFY_SOCKET", &path).args(flags);
    let output = call.arg(image).arg("/sbin/init").run().ok();
    let id = output.stdout.trim().to_string();
    let system = System {
        place: Podman,
        name,
        id,
    };
    let mut seen = Vec::new();
    while !seen
        .iter()
        .any(|message: &String| message.contains("READY=1"))
    {
        let mut text = [0; 4096];
        let length = manager.recv(&mut text).unwrap();
        seen.push(String::from_utf8_lossy(&text[..length]).into_owned());
    }
    let state = system.printed(&["systemctl", "is-system-running"]);
    assert_eq!(state, "running", "{seen:?}");
}

/// A distribution as it is on the disk, with systemd; removed when dropped.
struct OnDisk(PathBuf);

impl OnDisk {
    /// As the root of a bundle.
    fn of(bundle: &Bundle) -> OnDisk {
        let root = Path::new("/var/tmp").join(bundle.id());
        fs::create_dir(&root).unwrap();
        let unpack = engine_call("tar").args(["-C", root.to_str().unwrap(), "-xf"]);
        unpack.arg(distribution("systemd")).run().ok();
        bundle.set("/root/path", json!(root));
        bundle.set("/annotations", json!({"io.vzrun.system": "auto"}));
        bundle.args(&["/sbin/init"]);
        OnDisk(root)
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// systemd says by itself that it is ready.
#[test]
fn start_waits_for_systemd() {
    differs!(Runc | Crun, "no system containers");
    let bundle = Bundle::new();
    let _root = OnDisk::of(&bundle);
    let c = bundle.container();
    c.create();
    let start = c.call("start", &["--wait", "--timeout", "5m"]);
    start.limit(Duration::from_secs(400)).run().ok();
    let state = c.exec(&["systemctl", "is-system-running"]).stdout;
    assert_eq!(state, "running\n");
    assert_eq!(c.state()["system"]["ready"], true);
    c.exec(&["systemctl", "reboot"]);
    until("the next boot", || {
        let system = c.state()["system"].clone();
        (system["reboots"] == 1 && system["ready"] == true).then_some(())
    });
    let state = c.exec(&["systemctl", "is-system-running"]).stdout;
    assert_eq!(state, "running\n");
}

/// Its container interface, as systemd itself makes use of it.
#[test]
fn systemd_finds_what_it_is_given() {
    differs!(Runc | Crun, "no system containers");
    let bundle = Bundle::new();
    let _root = OnDisk::of(&bundle);
    let credentials = bundle.home().join("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::write(credentials.join("hello"), "secret of the host\n").unwrap();
    bundle.mount(json!({"destination": "/run/host/credentials", "type": "bind", "source": credentials, "options": ["bind", "ro"]}));
    let c = bundle.container();
    c.create();
    let start = c.call("start", &["--wait", "--timeout", "5m"]);
    start.limit(Duration::from_secs(400)).run().ok();
    for boot in 0..2 {
        let unit = ["systemd-run", "--quiet", "--wait", "--pipe"];
        let credential = c.exec(
            &[
                &unit[..],
                &[
                    "-pLoadCredential=hello",
                    "sh",
                    "-c",
                    "cat $CREDENTIALS_DIRECTORY/hello",
                ],
            ]
            .concat(),
        );
        assert_eq!(credential.ok().stdout, "secret of the host\n");
        let hidden = c.exec(
            &[
                &unit[..],
                &[
                    "-pInaccessiblePaths=/etc/passwd",
                    "stat",
                    "-c",
                    "%F %a %s",
                    "/etc/passwd",
                ],
            ]
            .concat(),
        );
        assert_eq!(hidden.ok().stdout, "regular empty file 0 0\n");
        let nodes = c.exec(&["readlink", "-f", "/run/systemd/inaccessible"]);
        assert_eq!(nodes.ok().stdout, "/run/host/inaccessible\n");
        c.exec(&["systemd-detect-virt", "--quiet", "--container"])
            .ok();
        let failed = c.exec(&["systemctl", "--failed", "--no-legend"]).stdout;
        assert_eq!(failed, "");
        if boot == 0 {
            c.exec(&["systemctl", "reboot"]);
            until("the next boot", || {
                let system = c.state()["system"].clone();
                (system["reboots"] == 1 && system["ready"] == true).then_some(())
            });
        }
    }
}

/// Without an engine: a bundle.
#[test]
fn a_server_of_a_bundle() {
    differs!(Runc | Crun, "no system containers");
    let bundle = Bundle::new();
    let _root = OnDisk::of(&bundle);
    let c = bundle.container();
    let running = c.spawn_run();
    let ask = ["systemctl", "is-system-running", "--wait"];
    let state = until("systemd", || wait_state(&c.exec(&ask)));
    let failed = c.exec(&["systemctl", "--failed", "--no-legend"]).stdout;
    assert_eq!((state.as_str(), failed.as_str()), ("running", ""));
    assert_eq!(c.state()["system"]["init"], "systemd");
    c.kill("TERM").ok();
    running.wait().exits(0);
    assert_eq!(bundle.leftovers(), [""; 0]);
}
