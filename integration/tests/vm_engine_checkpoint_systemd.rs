//! A Debian with systemd as a container of Podman's, as docs/checkpoint.md has it: to a checkpoint and back, within Podman and
//! by an archive. (By the runtime alone, and what is looked at more closely: `vm_checkpoint_systemd.rs`, which has the image.)

use integration::Podman::Root;
use integration::{
    CgroupDriver, Engine, Output, Podman, Started, differs, echoes, fresh_path, needs, test_name,
    until_systemd_runs,
};
use std::net::TcpStream;
use std::time::Duration;

/// Where hack/test-vm puts it.
const TAR: &str = "/job/server.tar";
const IMAGE: &str = "localhost/server:test";
const PORT: u16 = 7777;
/// Emulated, and with a dozen services.
const PATIENCE: Duration = Duration::from_secs(300);

fn exec(c: &Started<Podman>, command: &[&str]) -> Output {
    c.call(&["exec"], command).limit(PATIENCE).run()
}

/// The system is up, with no unit failed.
fn running(c: &Started<Podman>) {
    until_systemd_runs(PATIENCE, |words| exec(c, words).stdout);
}

/// It is the system that was booted, with its connection, and goes on.
fn lives(c: &Started<Podman>, client: &mut TcpStream, when: &str) {
    assert_eq!(c.status(), "running", "{when}");
    running(c);
    echoes(client, when);
    // A service is found to have ended, and is started anew.
    let script = "test -e /run/of-this-boot && systemctl restart cron && \
                  systemctl is-active cron dbus ssh echo systemd-journald systemd-logind";
    let active = exec(c, &["sh", "-c", script]).ok().stdout;
    assert_eq!(active, "active\n".repeat(6), "{when}");
}

#[test]
fn a_distribution_comes_back() {
    differs!(Runc | Crun, "does not restore a system like this");
    needs!(
        CgroupDriver::get() == CgroupDriver::Systemd,
        "the systemd driver, Podman's own, as once is enough"
    );
    let import = Root.call(["import", "--quiet", TAR, IMAGE]);
    import.limit(PATIENCE).run().ok();
    let archive = fresh_path("archive").display().to_string();
    let name = &test_name();
    let mut client;
    {
        let probe = Podman::with_probe();
        let migratable = "--annotation=io.vzrun.migratable=true";
        let words = ["run", "--detach", "--name", name, "--systemd=always"];
        let words = [&words[..], &[migratable, &probe, IMAGE, "/sbin/init"]].concat();
        let id = Root.call(words).limit(PATIENCE).run().ok().stdout;
        let c = Started::of(Root, name.clone(), id.trim().to_string());
        running(&c);
        let script = format!(
            "touch /run/of-this-boot && systemd-run --quiet --unit=echo /probe echo-tcp 0.0.0.0:{PORT}"
        );
        exec(&c, &["sh", "-c", &script]).ok();
        client = c.connect(PORT);
        lives(&c, &mut client, "boot");

        c.checkpoint(&["--tcp-established"]);
        assert_eq!(c.status(), "exited");
        c.restore(&["--tcp-established"]);
        lives(&c, &mut client, "restored");
        c.checkpoint(&["--tcp-established", "--export", &archive]);
    }
    let c = Root.restored(&archive, &["--tcp-established"], name);
    lives(&c, &mut client, "imported");
}
