//! Checkpoint and restore by Podman where all of CRIU's means are there: a kernel that tells which memory has changed, and sockets of
//! the Internet. (The rest: `engine_checkpoint.rs`.)

use integration::Podman::Root;
use integration::{CgroupDriver, Engine, Podman, echoes, engine_call, fresh_path, needs};
use std::time::Duration;

const PORT: u16 = 7777;

/// The size of the memory in such an archive.
#[track_caller]
fn pages(archive: &str) -> u64 {
    let words = ["--list", "--verbose", "--file", archive];
    let list = engine_call("tar").args(words).run().ok().stdout;
    let lines = list.lines().filter(|line| line.contains("/pages-"));
    let sizes = lines.map(|line| line.split_whitespace().nth(2).unwrap().parse::<u64>());
    sizes.map(|size| size.unwrap()).sum()
}

#[test]
fn memory_is_saved_beforehand() {
    needs!(
        CgroupDriver::get() == CgroupDriver::Systemd,
        "the systemd driver, Podman's own, as once is enough"
    );
    let (name, mut last);
    let archives = ["before", "after"].map(|name| fresh_path(name).display().to_string());
    let [before, after] = archives
        .each_ref()
        .map(|archive| ["--compress=none", "--export", archive]);
    {
        let c = Root.counting(&["--network=none"]);
        name = c.name.clone();
        // Within Podman.
        c.checkpoint(&["--pre-checkpoint"]);
        last = c.counts_on(0);
        c.checkpoint(&["--with-previous"]);
        assert_eq!(c.status(), "exited");
        c.restore(&[]);
        last = c.counts_on(last);
        // And by archives.
        c.checkpoint(&[&["--pre-checkpoint"], &before[..]].concat());
        last = c.counts_on(last);
        c.checkpoint(&[&["--with-previous"], &after[..]].concat());
    }
    let [whole, rest] = archives.each_ref().map(|archive| pages(archive));
    assert!(whole > 400_000 && rest < whole / 2, "{rest} of {whole}");
    let previous = ["--import-previous", &archives[0]];
    let c = Root.restored(&archives[1], &previous, &name);
    c.counts_on(last);
}

#[test]
fn a_client_stays_connected() {
    needs!(
        CgroupDriver::get() == CgroupDriver::Systemd,
        "the systemd driver, Podman's own, as once is enough"
    );
    let archive = fresh_path("archive").display().to_string();
    let server = format!("0.0.0.0:{PORT}");
    let (name, mut client);
    {
        let c = Root.started(&[&Podman::with_probe()], &["/probe", "echo-tcp", &server]);
        name = c.name.clone();
        client = c.connect(PORT);
        echoes(&mut client, "before");
        // Nobody is to lose a connection without a word.
        let call = c.call(&["container", "checkpoint"], &[]);
        call.limit(Duration::from_secs(300)).run().exits(125);
        echoes(&mut client, "refused");
        c.checkpoint(&["--tcp-established", "--leave-running"]);
        echoes(&mut client, "left running");
        c.checkpoint(&["--tcp-established"]);
        c.restore(&["--tcp-established"]);
        echoes(&mut client, "restored");
        c.checkpoint(&["--tcp-established", "--export", &archive]);
    }
    let _c = Root.restored(&archive, &["--tcp-established"], &name);
    echoes(&mut client, "imported");
}
