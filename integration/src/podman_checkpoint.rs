//! A container of Podman's on its way to a checkpoint and back.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::{Engine, Podman, Started, probe_path, until_within};

/// What Podman does around CRIU may take, where it is emulated.
const PATIENCE: Duration = Duration::from_secs(300);
/// Numbers go to stdout and to a file, each once and in order, beside some memory that stays as it is: that of a process
/// which waits for more to sort, from one that no restore wakes. (The shell that counts forks, and a child of the moment has all of its memory anew.)
const COUNTER: &str = "(head -c 500000 /dev/urandom | od -x; touch /tmp/all; tail -f /dev/null) | sort & \
                       until test -e /tmp/all; do sleep 0.02; done; \
                       i=0; while :; do echo $i | tee /tmp/n; i=$((i+1)); sleep 0.02; done";

impl Podman {
    /// Started with these flags, and counting.
    #[track_caller]
    pub fn counting(self, flags: &[&str]) -> Started<Podman> {
        let c = self.started(flags, &["sh", "-c", COUNTER]);
        c.counts_on(0);
        c
    }

    /// The flag by which a container has `/probe`.
    pub fn with_probe() -> String {
        format!("--volume={}:/probe:ro", probe_path().display())
    }

    /// `container restore --import ARCHIVE FLAGS`, under the name that it had.
    #[track_caller]
    pub fn restored(self, archive: &str, flags: &[&str], name: &str) -> Started<Podman> {
        let words = [&["container", "restore", "--import", archive], flags];
        let output = self.call(words.concat()).limit(PATIENCE).run().ok();
        let id = output.stdout.trim().to_string();
        Started::of(self, name.to_string(), id)
    }
}

impl Started<Podman> {
    /// The number that the container has come to, through a process that is put into it.
    #[track_caller]
    fn number(&self) -> u32 {
        let call = || self.call(&["exec"], &["cat", "/tmp/n"]).limit(PATIENCE);
        // Empty while it is being written, and not there before the first.
        until_within(PATIENCE, "a number", || {
            call().run().stdout.trim().parse().ok()
        })
    }

    /// It goes on from there; gives how far it has come.
    #[track_caller]
    pub fn counts_on(&self, from: u32) -> u32 {
        assert_eq!(self.status(), "running");
        let first = self.number();
        assert!(first >= from, "{first} after {from}");
        until_within(PATIENCE, "more numbers", || {
            (self.number() > first).then_some(())
        });
        self.number()
    }

    /// `container checkpoint FLAGS NAME`
    #[track_caller]
    pub fn checkpoint(&self, flags: &[&str]) {
        let verb = [&["container", "checkpoint"], flags].concat();
        self.call(&verb, &[]).limit(PATIENCE).run().ok();
    }

    /// `container restore FLAGS NAME`
    #[track_caller]
    pub fn restore(&self, flags: &[&str]) {
        let verb = [&["container", "restore"], flags].concat();
        self.call(&verb, &[]).limit(PATIENCE).run().ok();
    }

    /// A connection of the host's to a server in it that [`echoes`].
    #[track_caller]
    pub fn connect(&self, port: u16) -> TcpStream {
        let address = self.says("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}");
        let stream = until_within(PATIENCE, "the server", || {
            TcpStream::connect((address.as_str(), port)).ok()
        });
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

/// What is said to `probe echo-tcp` comes back.
#[track_caller]
pub fn echoes(client: &mut TcpStream, text: &str) {
    client.write_all(text.as_bytes()).unwrap();
    let mut back = vec![0; text.len()];
    client.read_exact(&mut back).unwrap();
    assert_eq!(String::from_utf8_lossy(&back), text);
}
