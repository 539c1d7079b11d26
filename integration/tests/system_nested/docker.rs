//! Docker of a Debian in a system container, unprivileged: with runc and with vzrun below it.

use integration::{Bundle, Container, Debian, Runtime, has_controller, image_tar, json};
use std::time::Duration;

/// A daemon that knows vzrun, too: until it answers.
const START: &str = r#"
    mkdir -p /etc/docker
    echo '{"runtimes": {"vzrun": {"path": "/usr/local/bin/vzrun"}}}' >/etc/docker/daemon.json
    dockerd >/run/docker.log 2>&1 &
    until docker version; do
        kill -0 $! && [ $((i += 1)) -lt 1000 ] || { cat /run/docker.log; exit 1; }
        sleep 0.2
    done"#;
/// For anything, emulated as well.
const PATIENCE: Duration = Duration::from_secs(300);

fn exec(c: &Container<'_>, command: &[&str]) -> String {
    let call = c.exec_call(&[""; 0], command).limit(PATIENCE);
    call.run().ok().stdout.trim().to_owned()
}

fn docker(c: &Container<'_>, args: &[&str]) -> String {
    exec(c, &[&["docker"], args].concat())
}

pub(crate) fn docker_runs_containers() {
    let bundle = Bundle::new();
    let debian = Debian::new(bundle.id());
    bundle.set("/root/path", json!(debian.root()));
    bundle.set("/annotations", json!({"io.vzrun.system": "true"}));
    bundle.args(&["/bin/sleep", "10000"]);
    bundle.env("HOME=/root");
    let binds = [
        ("/var/lib/docker", debian.store()),
        ("/image.tar", image_tar().to_path_buf()),
        ("/usr/local/bin/vzrun", Runtime::get().path().to_path_buf()),
    ];
    for (at, source) in binds {
        bundle.mount(json!({"destination": at, "source": source, "options": ["bind"]}));
    }
    let c = bundle.container();
    c.run_detached();
    exec(&c, &["sh", "-c", START]);
    docker(&c, &["import", "/image.tar", "bb"]);
    assert_eq!(docker(&c, &["info", "--format={{.Driver}}"]), "overlay2");
    for runtime in ["runc", "vzrun"] {
        let run = |flags: &[&str], command: &[&str]| {
            let name = format!("--runtime={runtime}");
            let words = [&["run", "--rm", &name], flags, &["bb"], command].concat();
            docker(&c, &words)
        };
        // With a network: a bridge, a pair of devices, rules of a firewall.
        let gateway = run(
            &[],
            &[
                "sh",
                "-c",
                "ip route | sed -n 's/default via \\([^ ]*\\) .*/\\1/p'",
            ],
        );
        run(&[], &["ping", "-c1", "-W5", &gateway]);
        if has_controller("memory") {
            let files =
                ["memory.max", "pids.max", "cpu.max"].map(|file| format!("/sys/fs/cgroup/{file}"));
            let cat = ["cat", &files[0], &files[1], &files[2]];
            let limits = run(&["--memory=64m", "--pids-limit=50", "--cpus=0.5"], &cat);
            assert_eq!(limits, "67108864\n50\n50000 100000", "{runtime}");
        }
    }
    c.delete_force().ok();
    drop(debian);
    assert_eq!(bundle.leftovers(), [""; 0]);
}
