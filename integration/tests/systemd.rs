//! The systemd driver where there is no systemd, or one that does not answer.

use integration::{Bundle, differs, json};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

/// The bus that a runtime is told to use. Nothing of the container may be left however it fails.
#[track_caller]
fn refused(bundle: &Bundle, address: &str, texts: &[&str]) -> Duration {
    bundle.set(
        "/linux/cgroupsPath",
        json!(format!("system.slice:vzrun:{}", bundle.id())),
    );
    let start = Instant::now();
    let call = bundle
        .bare_call()
        .arg("--root")
        .arg(bundle.root())
        .args(["--systemd-cgroup", "create", "--bundle"])
        .arg(bundle.dir())
        .arg(bundle.id())
        .env("DBUS_SYSTEM_BUS_ADDRESS", address)
        .limit(Duration::from_secs(90));
    call.run().fails().says_any(texts);
    let took = start.elapsed();
    assert_eq!(bundle.leftovers(), [""; 0]);
    took
}

#[test]
fn no_systemd() {
    let bundle = Bundle::new();
    let address = format!("unix:path={}/no-bus", bundle.home().display());
    refused(
        &bundle,
        &address,
        &[
            "systemd not running on this host, cannot use systemd cgroups manager",
            "cannot connect to systemd's bus",
            "cannot open sd-bus",
        ],
    );
}

#[test]
fn a_bus_address_that_is_none() {
    differs!(Runc | Crun, "have their own words for it");
    let bundle = Bundle::new();
    refused(&bundle, "tcp:host=localhost", &["names no unix socket"]);
}

#[test]
fn a_bus_that_never_answers() {
    differs!(Runc | Crun, "look elsewhere for systemd, or wait for ever");
    let bundle = Bundle::new();
    let socket = bundle.home().join("bus");
    let _silent = UnixListener::bind(&socket).unwrap();
    let took = refused(
        &bundle,
        &format!("unix:path={}", socket.display()),
        &["timed out: no answer from systemd's bus"],
    );
    assert!(took < Duration::from_secs(45), "{took:?}");
}

#[test]
fn a_bus_that_talks_nonsense() {
    differs!(Runc | Crun, "look elsewhere for systemd");
    for (answer, text) in [
        (
            &b"REJECTED ANONYMOUS\r\n"[..],
            "refuses the connection: REJECTED ANONYMOUS",
        ),
        (
            b"OK 00\r\nHTTP/1.1 400 Bad Request\r\n",
            "a D-Bus message of an unknown version",
        ),
        (
            b"OK 00\r\nl\x02\x00\x01\xff\xff\xff\x7f0000\x00\x00\x00\x00",
            "a D-Bus message of",
        ),
        (b"", "has closed the connection"),
    ] {
        let bundle = Bundle::new();
        let socket = bundle.home().join("bus");
        let listener = UnixListener::bind(&socket).unwrap();
        let fool = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().unwrap();
            // It may be gone already.
            let _ = stream.write_all(answer);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        });
        refused(&bundle, &format!("unix:path={}", socket.display()), &[text]);
        fool.join().unwrap();
    }
}

#[test]
fn paths_that_are_not_of_systemd() {
    differs!(Crun, "takes them all");
    let bundle = Bundle::new();
    for path in ["/a/b", "a.slice:b", "a:b:c", "a--b.slice:b:c"] {
        bundle.set("/linux/cgroupsPath", json!(path));
        let call = bundle.bare_call().arg("--root").arg(bundle.root());
        let call = call.args(["--systemd-cgroup", "create", "--bundle"]);
        let output = call.arg(bundle.dir()).arg(bundle.id()).run().fails();
        output.says_any(&[
            "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups",
            "invalid slice name",
            "systemd not running on this host",
        ]);
        assert_eq!(bundle.leftovers(), [""; 0]);
    }
}
