//! Podman, by root and by an ordinary user, with the runtime under test in runc's place.

use crate::{Call, Engine, IMAGE, containers_conf, engine_call, image_tar, wait_nothing_left};
use std::fs;
use std::sync::OnceLock;

/// Podman, by who runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Podman {
    /// root
    Root,
    /// The user tester, who has subordinate ids.
    Tester,
}

impl Podman {
    fn bare(self) -> Call {
        let call = match self {
            Podman::Root => engine_call("podman"),
            Podman::Tester => engine_call("as-user").args(["tester", "podman"]),
        };
        call.env("CONTAINERS_CONF_OVERRIDE", containers_conf())
    }

    fn prepare(self) {
        if let Podman::Tester = self {
            // pasta, an ordinary user's default, wants an interface to make its own like.
            let script = "ip link add outside0 type veth peer name outside1
                ip addr add 192.0.2.1/24 dev outside0
                ip link set outside0 up
                ip link set outside1 up
                ip route add default via 192.0.2.254";
            engine_call("sh").args(["-euc", script]).run().ok();
        } else {
            prepare_automatic_ids();
        }
        let tar = image_tar().to_str().unwrap();
        self.bare().args(["import", "-q", tar, IMAGE]).run().ok();
    }
}

impl Engine for Podman {
    const IMAGE: &'static str = IMAGE;
    const REMOVE: &'static [&'static str] = &["--time=0"];

    fn call<S: AsRef<str>>(self, words: impl IntoIterator<Item = S>) -> Call {
        static READY: [OnceLock<()>; 2] = [OnceLock::new(), OnceLock::new()];
        READY[self as usize].get_or_init(|| self.prepare());
        words
            .into_iter()
            .fold(self.bare(), |call, word| call.arg(word.as_ref()))
    }

    fn wait_nothing_left(self, id: &str) {
        wait_nothing_left(id);
    }
}

/// For --userns=auto. The ids of one that is no user count for nothing with the libsubid of today.
fn prepare_automatic_ids() {
    let name = "containers";
    // The VM is there for many test binaries.
    if engine_call("id").arg(name).run().code() == Some(0) {
        return;
    }
    let user = ["--system", "--no-create-home", name];
    engine_call("useradd").args(user).run().ok();
    for file in ["/etc/subuid", "/etc/subgid"] {
        let ids = fs::read_to_string(file).unwrap();
        fs::write(file, format!("{ids}{name}:500000:1000000\n")).unwrap();
    }
}
