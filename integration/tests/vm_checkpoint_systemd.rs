//! A Debian with systemd, journald, dbus, logind, cron, sshd, a timer and a server as a container: to a checkpoint and
//! back, again and again.
//!
//! The distribution is the image `server` of `hack/images`, which hack/test-vm puts beside the tests.
//! `VZRUN_TEST_ROUNDS=20` makes 20 cycles in each place.

use integration::{
    Bundle, Call, CgroupDriver, Container, HostMount, Output, Value, differs, json, needs, rounds,
    until_systemd_runs, until_within,
};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where hack/test-vm puts it.
const IMAGE: &str = "/job/server.tar";
/// Where roots are: a disk, not memory.
const DISK: &str = "/var/tmp";
const PORT: u16 = 7777;
/// Emulated, and with a dozen services.
const PATIENCE: Duration = Duration::from_secs(300);

/// The root filesystem of the distribution, with what is to run there; unpacked once.
fn distribution() -> PathBuf {
    use std::sync::OnceLock;
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    let unpack = || {
        let whole = Path::new(DISK).join("server");
        if whole.exists() {
            // By the run with the other cgroup driver.
            return whole;
        }
        let root = Path::new(DISK).join("server-in-parts");
        fs::create_dir(&root).unwrap();
        host(&["tar", "-xf", IMAGE, "-C", root.to_str().unwrap()]);
        let write = |path: &str, text: &str| fs::write(root.join(path), text).unwrap();
        let units = [
            ("echo.service", format!("[Service]\nExecStart=/probe echo-tcp {PORT}\n")),
            ("limited.service", "[Service]\nExecStart=/bin/sleep infinity\nUser=nobody\nMemoryMax=50M\nTasksMax=17\n".to_string()),
            ("tick.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'date +%%s >>/var/tick'\n".to_string()),
            ("tick.timer", "[Timer]\nOnBootSec=1\nOnUnitActiveSec=5\nAccuracySec=100ms\n".to_string()),
        ];
        for (name, text) in &units {
            write(&format!("etc/systemd/system/{name}"), text);
        }
        for name in ["echo.service", "limited.service", "tick.timer"] {
            let wants = root
                .join("etc/systemd/system/multi-user.target.wants")
                .join(name);
            std::os::unix::fs::symlink(Path::new("..").join(name), wants).unwrap();
        }
        write(
            "etc/cron.d/tick",
            "* * * * * root date +\\%s >>/var/cron-tick\n",
        );
        fs::rename(&root, &whole).unwrap();
        whole
    };
    ROOT.get_or_init(unpack).clone()
}

#[track_caller]
fn host(words: &[&str]) -> Output {
    Call::of(words[0], Path::new(DISK))
        .args(&words[1..])
        .limit(PATIENCE)
        .run()
        .ok()
}

/// What the root filesystem of a container is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Directory,
    Overlay,
    Btrfs,
}

/// A system that has been booted.
struct System<'b> {
    c: Container<'b>,
    _network: Network,
    client: TcpStream,
    uptime: f64,
}

/// A network namespace with a name, which outlives the container.
struct Network(String);

impl Network {
    fn new(name: &str) -> Network {
        host(&["ip", "netns", "add", name]);
        host(&["ip", "-n", name, "link", "set", "lo", "up"]);
        Network(name.into())
    }

    fn path(&self) -> String {
        format!("/run/netns/{}", self.0)
    }

    /// A connection within it.
    fn connect(&self) -> TcpStream {
        let namespace = fs::File::open(self.path()).unwrap();
        let connect = move || {
            use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
            use std::os::fd::AsFd;
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            until_within(PATIENCE, "the server", || {
                TcpStream::connect(("127.0.0.1", PORT)).ok()
            })
        };
        let stream = std::thread::spawn(connect).join().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let call = Call::of("ip", Path::new(DISK)).args(["netns", "del", &self.0]);
        call.run();
    }
}

fn tmpfs(place: &str, options: &[&str]) -> Value {
    let all = [&["nosuid", "nodev"], options].concat();
    json!({"destination": place, "type": "tmpfs", "source": "tmpfs", "options": all})
}

/// The config as Podman makes it with --systemd=always.
fn configure(bundle: &Bundle, root: &Path, network: &Network) {
    bundle.set("/root/path", json!(root));
    bundle.set("/annotations/io.vzrun.migratable", json!("true"));
    bundle.args(&["/sbin/init"]);
    bundle.env("container=oci");
    bundle.env("container_uuid=0123456789abcdef0123456789abcdef");
    bundle.capabilities(&[
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_NET_BIND_SERVICE",
        "CAP_SETFCAP",
        "CAP_SETGID",
        "CAP_SETPCAP",
        "CAP_SETUID",
        "CAP_SYS_CHROOT",
    ]);
    bundle.remove("/process/capabilities/ambient");
    bundle.set("/process/noNewPrivileges", json!(false));
    bundle.set(
        "/process/rlimits/0",
        json!({"type": "RLIMIT_NOFILE", "hard": 65536, "soft": 65536}),
    );
    for (place, options) in [
        ("/run", &["mode=755"][..]),
        ("/run/lock", &[]),
        ("/tmp", &["mode=1777"]),
        ("/var/log/journal", &[]),
    ] {
        bundle.mount(tmpfs(place, options));
    }
    let probe = integration::probe_path();
    let copy = bundle.home().join("probe");
    fs::copy(probe, &copy).unwrap();
    bundle.mount(
        json!({"destination": "/probe", "type": "bind", "source": copy, "options": ["bind", "ro"]}),
    );
    let cgroup = bundle.config()["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .position(|mount| mount["type"] == "cgroup")
        .unwrap();
    bundle.set(
        &format!("/mounts/{cgroup}/options"),
        json!(["nosuid", "noexec", "nodev", "rw"]),
    );
    bundle.namespace(json!({"type": "network", "path": network.path()}));
    bundle.set(
        "/linux/resources",
        json!({"memory": {"limit": 512 << 20}, "pids": {"limit": 300}, "cpu": {"shares": 512}}),
    );
}

/// A root filesystem of this kind; what of it is mounted goes with the second.
fn root(place: Place, bundle: &Bundle) -> (PathBuf, Vec<HostMount>) {
    let home = Path::new(DISK).join(bundle.id());
    fs::create_dir(&home).unwrap();
    let source = distribution();
    let (root, mounts) = match place {
        Place::Directory => (home.join("root"), Vec::new()),
        Place::Overlay => {
            for name in ["upper", "work", "merged"] {
                fs::create_dir(home.join(name)).unwrap();
            }
            let at = |name: &str| home.join(name).display().to_string();
            let data = format!(
                "lowerdir={},upperdir={},workdir={}",
                source.display(),
                at("upper"),
                at("work")
            );
            let mount = HostMount::new("overlay", &home.join("merged"), "overlay", &data);
            (home.join("merged"), vec![mount])
        }
        Place::Btrfs => {
            host(&["modprobe", "--all", "loop", "btrfs"]);
            let (image, mounted) = (home.join("image"), home.join("mounted"));
            host(&["truncate", "-s", "800M", image.to_str().unwrap()]);
            host(&["mkfs.btrfs", "-q", image.to_str().unwrap()]);
            let device = host(&["losetup", "--find", "--show", image.to_str().unwrap()]).stdout;
            fs::create_dir(&mounted).unwrap();
            let mount = HostMount::new(device.trim(), &mounted, "btrfs", "");
            // It goes when nobody uses it any more.
            host(&["losetup", "--detach", device.trim()]);
            host(&[
                "btrfs",
                "-q",
                "subvolume",
                "create",
                mounted.join("root").to_str().unwrap(),
            ]);
            (mounted.join("root"), vec![mount])
        }
    };
    if place != Place::Overlay {
        host(&[
            "cp",
            "-a",
            "-T",
            source.to_str().unwrap(),
            root.to_str().unwrap(),
        ]);
    }
    (root, mounts)
}

impl System<'_> {
    /// Boots one and waits until it is up.
    fn boot<'b>(bundle: &'b Bundle, network: Network) -> System<'b> {
        let c = bundle.container();
        c.run_detached();
        running(&c);
        let client = network.connect();
        let mut system = System {
            c,
            _network: network,
            client,
            uptime: 0.0,
        };
        system.lives("boot");
        system
    }

    /// All is as it was, and goes on.
    fn lives(&mut self, when: &str) {
        running(&self.c);
        self.client.write_all(when.as_bytes()).unwrap();
        let mut back = vec![0; when.len()];
        self.client.read_exact(&mut back).unwrap();
        assert_eq!(back, when.as_bytes());
        let read = |path: &str| {
            self.c
                .exec_call(&[""; 0], &["cat", path])
                .limit(PATIENCE)
                .run()
                .ok()
                .stdout
        };
        let uptime: f64 = read("/proc/uptime")
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        assert!(
            uptime > self.uptime,
            "{when}: {uptime} after {}",
            self.uptime
        );
        self.uptime = uptime;
        let own = self.c.cgroup_dir();
        for (file, value) in [
            ("memory.max", "536870912"),
            ("pids.max", "300"),
            ("system.slice/limited.service/memory.max", "52428800"),
            ("system.slice/limited.service/pids.max", "17"),
        ] {
            let found = fs::read_to_string(own.join(file));
            let found = found.as_deref().map(str::trim);
            if !found.is_ok_and(|found| found == value) {
                let script = "cd /sys/fs/cgroup; systemctl status limited; ls system.slice; cat cgroup.subtree_control system.slice/cgroup.subtree_control; cat cgroup.procs; journalctl --no-pager --lines=60";
                let call = self.c.exec_call(&[""; 0], &["sh", "-c", script]);
                let said = call.limit(PATIENCE).run().describe();
                panic!("{when}: {file}: {found:?}\n{said}");
            }
        }
        assert!(!own.join("vzrun.criu").exists());
        // Timers and the service manager do their work: a unit is started that was not there before.
        let ticks = || {
            let call = self.c.exec_call(&[""; 0], &["cat", "/var/tick"]);
            call.limit(PATIENCE).run().stdout.lines().count()
        };
        let before = ticks();
        until_within(PATIENCE, &format!("a tick after {when}"), || {
            (ticks() > before).then_some(())
        });
        // The end of one that was there at the checkpoint is noticed, too.
        let script = "systemctl restart limited && systemctl is-active limited cron dbus ssh echo systemd-journald systemd-logind";
        let call = self
            .c
            .exec_call(&[""; 0], &["sh", "-c", script])
            .limit(PATIENCE);
        assert_eq!(call.run().ok().stdout, "active\n".repeat(7), "{when}");
    }

    fn cycle(&mut self, number: usize) {
        let images = Path::new(DISK).join(self.c.id()).join("images");
        let _ = fs::remove_dir_all(&images);
        let path = ["--image-path", images.to_str().unwrap()];
        let call = |verb: &str, flags: &[&str]| {
            let flags = [&path[..], &["--tcp-established"], flags].concat();
            let output = self.c.call(verb, &flags).limit(PATIENCE).run();
            let log = ["dump.log", "restore.log"].map(|log| {
                let text = fs::read_to_string(images.join(log)).unwrap_or_default();
                let errors: Vec<&str> =
                    text.lines().filter(|line| line.contains("Error")).collect();
                errors.join("\n")
            });
            assert!(
                output.code() == Some(0),
                "cycle {number}: {}\n{}",
                output.describe(),
                log.join("\n")
            );
        };
        call("checkpoint", &[]);
        assert!(!self.c.exists());
        call("restore", &["--detach"]);
        self.lives(&format!("cycle {number}"));
    }
}

/// The system is up, with no unit failed.
fn running(c: &Container<'_>) {
    until_systemd_runs(PATIENCE, |words| {
        let call = c.exec_call(&[""; 0], words);
        call.limit(PATIENCE).run().stdout
    });
}

fn cycles(place: Place) {
    differs!(Runc | Crun, "does not restore a system like this");
    let bundle = Bundle::new();
    let network = Network::new(bundle.id());
    let (root, mounts) = root(place, &bundle);
    configure(&bundle, &root, &network);
    let mut system = System::boot(&bundle, network);
    for number in 1..=rounds(2, 1.0) {
        system.cycle(number);
    }
    system.c.delete_force().ok();
    drop(system);
    drop(mounts);
    fs::remove_dir_all(Path::new(DISK).join(bundle.id())).unwrap();
}

#[test]
fn on_an_overlay() {
    cycles(Place::Overlay);
}

#[test]
fn in_a_directory() {
    needs!(
        CgroupDriver::get() == CgroupDriver::Cgroupfs,
        "the cgroupfs driver, as once is enough"
    );
    cycles(Place::Directory);
}

#[test]
fn on_btrfs() {
    needs!(
        CgroupDriver::get() == CgroupDriver::Cgroupfs,
        "the cgroupfs driver, as once is enough"
    );
    cycles(Place::Btrfs);
}
