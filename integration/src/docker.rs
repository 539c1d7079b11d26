//! Docker: a dockerd whose default runtime is the one under test.

use crate::{
    Call, CgroupDriver, Engine, Runtime, engine_call, engine_daemon, engine_dir, has_controller,
    image_tar, until, wait_nothing_left,
};
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::OnceLock;

/// Docker, with a daemon that is started when it is called first.
#[derive(Clone, Copy, Debug)]
pub struct Docker;

impl Docker {
    /// The first number of the daemon's version.
    pub fn major_version(self) -> u32 {
        let words = ["version", "--format={{.Server.Version}}"];
        let version = self.call(words).run().ok().stdout;
        version.split('.').next().unwrap().parse().unwrap()
    }
}

fn bare() -> Call {
    let socket = format!("unix://{}/docker.sock", engine_dir().display());
    engine_call("docker").env("DOCKER_HOST", socket)
}

impl Engine for Docker {
    const IMAGE: &'static str = "bb";
    const REMOVE: &'static [&'static str] = &[];

    fn call<S: AsRef<str>>(self, words: impl IntoIterator<Item = S>) -> Call {
        static STARTED: OnceLock<()> = OnceLock::new();
        STARTED.get_or_init(start);
        words
            .into_iter()
            .fold(bare(), |call, word| call.arg(word.as_ref()))
    }

    fn wait_nothing_left(self, id: &str) {
        wait_nothing_left(id);
        // Docker keeps the state of its runtimes below its exec-root.
        let state = engine_dir().join("exec/runtime-under-test/moby").join(id);
        until("the state to be gone", || (!state.exists()).then_some(()));
    }

    /// Docker loses the output of one in some hundred that end at once (here 1 of 180 with runc, when
    /// the machine is busy; its log has nothing, either): such a one is run again.
    fn printed(self, flags: &[&str], command: &[&str]) -> String {
        let once = || self.run(flags, command).ok().stdout.trim_end().to_string();
        let first = once();
        if first.is_empty() { once() } else { first }
    }
}

fn start() {
    let dir = engine_dir();
    let at = dir.display();
    // Emulated, a bridge and its firewall take their time, and tests there have no word on networks.
    let network = match has_controller("pids") {
        true => r#""bridge": "none", "iptables": false, "ip6tables": false,"#,
        false => "",
    };
    let config = format!(
        r#"{{"runtimes": {{"under-test": {{"path": "{}"}}}}, "default-runtime": "under-test",
        "exec-opts": ["native.cgroupdriver={}"], {network}
        "data-root": "{at}/data", "exec-root": "{at}/exec", "pidfile": "{at}/pid",
        "hosts": ["unix://{at}/docker.sock"], "storage-driver": "vfs"}}"#,
        Runtime::get().path().display(),
        CgroupDriver::get().name()
    );
    let file = dir.join("daemon.json");
    fs::write(&file, config).unwrap();
    // BuildKit inside of it runs what it finds under this name.
    let programs = dir.join("docker-programs");
    fs::create_dir(&programs).unwrap();
    symlink(Runtime::get().path(), programs.join("runc")).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    engine_daemon(
        "dockerd",
        &["--config-file", file.to_str().unwrap()],
        &[("PATH", &path)],
        || bare().arg("version"),
    );
    let tar = image_tar().to_str().unwrap();
    bare().args(["import", tar, Docker::IMAGE]).run().ok();
}
