//! Podman, by root and by an ordinary user, with the runtime under test in runc's place.

use integration::Podman::{Root, Tester};
use integration::{
    Engine, IMAGE, Podman, Terminal, differs, ends, engine_call, fresh_path, image_tar,
    open_to_all, prints, test_name, until, wait_nothing_left,
};
use std::fs;

/// A directory of the host that everybody may use.
fn shared_dir() -> String {
    let dir = fresh_path("shared");
    fs::create_dir(&dir).unwrap();
    open_to_all(&dir);
    // The user tester's, who may then give it away.
    std::os::unix::fs::chown(&dir, Some(1000), Some(1000)).unwrap();
    dir.to_str().unwrap().to_string()
}

const NOT_FOUND: &str = "OCI runtime attempted to invoke a command that was not found";
const DENIED: &str = "OCI permission denied";

prints! {
    a_command_runs: Root [] ["echo", "hi"] => "hi";
    a_hostname: Root ["--hostname=foo"] ["hostname"] => "foo";
    a_user: Root ["--user=1000:1000"] ["id"] => "uid=1000(tester) gid=1000(tester) groups=1000(tester)";
    a_user_by_name: Root ["--user=tester"] ["id", "-u"] => "1000";
    a_group_more: Root ["--group-add=5"] ["id", "-G"] => "0 5";
    a_working_directory: Root ["--workdir=/tmp"] ["pwd"] => "/tmp";
    a_variable: Root ["--env=A=b c"] ["sh", "-c", "echo $A"] => "b c";
    a_umask: Root ["--umask=0077"] ["sh", "-c", "umask"] => "0077";
    an_oom_score: Root ["--oom-score-adj=500"] ["cat", "/proc/self/oom_score_adj"] => "500";
    an_ulimit: Root ["--ulimit=nofile=100:200"] ["sh", "-c", "ulimit -n; ulimit -Hn"] => "100\n200";
    sysctls: Root ["--sysctl=net.ipv4.ip_forward=1", "--sysctl=kernel.msgmax=9000"]
        ["cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/msgmax"] => "1\n9000";
    read_only: Root ["--read-only"]
        ["sh", "-c", "touch /x 2>/dev/null || echo no; touch /tmp/x /run/x && echo yes"] => "no\nyes";
    read_only_without_its_tmpfs: Root ["--read-only", "--read-only-tmpfs=false"]
        ["sh", "-c", "touch /tmp/x 2>/dev/null || echo no"] => "no";
    default_capabilities: Root [] ["grep", "CapEff", "/proc/self/status"] => "CapEff:\t00000000800405fb";
    capabilities_added_and_dropped: Root ["--cap-add=NET_ADMIN", "--cap-drop=CHOWN"]
        ["grep", "CapEff", "/proc/self/status"] => "CapEff:\t00000000800415fa";
    no_capabilities: Root ["--cap-drop=all"] ["grep", "CapPrm", "/proc/self/status"] => "CapPrm:\t0000000000000000";
    privileged: Root ["--privileged"]
        ["sh", "-c", "mkdir /m; mount -t tmpfs x /m && grep -q ' /sys sysfs rw' /proc/mounts && echo yes"] => "yes";
    no_new_privileges: Root ["--security-opt=no-new-privileges"]
        ["grep", "NoNewPrivs", "/proc/self/status"] => "NoNewPrivs:\t1";
    the_default_seccomp_profile: Root [] ["grep", "Seccomp:", "/proc/self/status"] => "Seccomp:\t2";
    no_seccomp_profile: Root ["--security-opt=seccomp=unconfined"] ["grep", "Seccomp:", "/proc/self/status"] => "Seccomp:\t0";
    a_seccomp_profile_of_an_ordinary_user: Tester [] ["grep", "Seccomp:", "/proc/self/status"] => "Seccomp:\t2";
    a_masked_path: Root ["--security-opt=mask=/etc/passwd"] ["cat", "/etc/passwd"] => "";
    nothing_masked: Root ["--security-opt=unmask=ALL"]
        ["sh", "-c", "grep -E ' /proc/| /sys/firmware' /proc/mounts | wc -l"] => "0";
    a_device: Root ["--device=/dev/fuse"] ["sh", "-c", "stat -c %t:%T /dev/fuse"] => "a:e5";
    a_device_for_reading_only: Root ["--device=/dev/fuse:/dev/mine:r"]
        ["sh", "-c", "(: </dev/mine) && echo yes; (: >>/dev/mine) 2>/dev/null || echo no"] => "yes\nno";
    a_tmpfs: Root ["--tmpfs=/t:size=1m,mode=700"]
        ["sh", "-c", "df -k /t | awk 'END { print $2 }'; stat -c %a /t"] => "1024\n700";
    a_tmpfs_has_what_it_covers: Root ["--tmpfs=/etc"] ["grep", "-c", "tester", "/etc/passwd"] => "1";
    shm_has_a_size: Root ["--shm-size=1m"] ["sh", "-c", "df -k /dev/shm | awk 'END { print $2 }'"] => "1024";
    an_image_is_mounted: Root ["--mount=type=image,src=localhost/bb,dst=/img"] ["ls", "/img/bin/busybox"] => "/img/bin/busybox";
    a_user_namespace: Root ["--uidmap=0:100000:5000"]
        ["sh", "-c", "cat /proc/self/uid_map | xargs"] => "0 100000 5000";
    a_user_namespace_by_podman: Root ["--userns=auto:size=1000"]
        ["sh", "-c", "awk '{ print $1, $3 }' /proc/self/uid_map"] => "0 1000";
    the_hosts_pids: Root ["--pid=host"] ["sh", "-c", "test $$ -gt 5 && echo yes"] => "yes";
    the_hosts_ipc: Root ["--ipc=host"] ["echo", "yes"] => "yes";
    the_hosts_name: Root ["--uts=host"] ["hostname"] => "vzrun-env";
    no_network: Root ["--network=none"] ["sh", "-c", "ip -o link | wc -l"] => "1";
    the_hosts_network: Root ["--network=host"] ["sh", "-c", "test -e /sys/class/net/lo && echo yes"] => "yes";
    a_bridge: Root ["--network=bridge"] ["sh", "-c", "ip -o -4 addr show eth0 | wc -l"] => "1";
    an_init: Root ["--init"] ["cat", "/proc/1/comm"] => "podman-init";
    a_cgroup_of_its_own: Root [] ["sh", "-c", "grep ^0: /proc/self/cgroup"] => "0::/";
    the_hosts_cgroup_namespace: Root ["--cgroupns=host"]
        ["sh", "-c", "grep -c ^0::/.*libpod-.* /proc/self/cgroup"] => "1";
    cgroups_are_mounted_by_their_name: Root []
        ["sh", "-c", "grep -c '^cgroup2* /sys/fs/cgroup cgroup2 ' /proc/mounts"] => "1";
    systemd_mode: Root ["--systemd=always"]
        ["sh", "-c", "echo $container; grep -cE ' (/run|/run/lock|/tmp|/var/log/journal) tmpfs' /proc/mounts; test -w /sys/fs/cgroup && echo rw"]
        => "podman\n4\nrw";
    a_big_environment: Root [&format!("--env=BIG={}", "x".repeat(100_000))] ["sh", "-c", "echo ${#BIG}"] => "100000";
    a_host_name_more: Root ["--add-host=foo:1.2.3.4"] ["sh", "-c", "grep foo /etc/hosts | xargs"] => "1.2.3.4 foo";

    an_ordinary_user_is_root_inside: Tester [] ["id", "-u"] => "0";
    an_ordinary_users_ids: Tester [] ["sh", "-c", "xargs </proc/self/uid_map"] => "0 1000 1 1 100000 65536";
    userns_keep_id: Tester ["--userns=keep-id"] ["id", "-u"] => "1000";
    userns_keep_id_as_another: Tester ["--userns=keep-id:uid=5,gid=6"] ["sh", "-c", "id -u; id -g"] => "5\n6";
    userns_nomap: Tester ["--userns=nomap"] ["id", "-u"] => "0";
    userns_auto: Tester ["--userns=auto:size=500"] ["sh", "-c", "awk '{ print $1, $3 }' /proc/self/uid_map"] => "0 500";
    userns_host: Tester ["--userns=host", "--ipc=host", "--uts=host"] ["echo", "yes"] => "yes";
    pasta: Tester ["--network=pasta"] ["sh", "-c", "test -e /sys/class/net/lo && echo yes"] => "yes";
    the_hosts_network_of_an_ordinary_user: Tester ["--network=host"] ["echo", "yes"] => "yes";
    a_device_of_an_ordinary_user: Tester ["--device=/dev/fuse"] ["sh", "-c", "stat -c %t:%T /dev/fuse"] => "a:e5";
    privileged_by_an_ordinary_user: Tester ["--privileged"]
        ["sh", "-c", "unshare -Urm mount -t tmpfs x /tmp && echo yes"] => "yes";
    an_init_of_an_ordinary_user: Tester ["--init"] ["cat", "/proc/1/comm"] => "podman-init";
    a_sysctl_of_an_ordinary_user: Tester ["--sysctl=net.ipv4.ip_forward=1"]
        ["cat", "/proc/sys/net/ipv4/ip_forward"] => "1";
}

ends! {
    an_exit_status: Root [] ["sh", "-c", "exit 42"] => 42, "";
    a_missing_command: Root [] ["nosuch"] => 127, NOT_FOUND;
    a_missing_path: Root [] ["/bin/nosuch"] => 127, NOT_FOUND;
    a_file_that_is_no_program: Root [] ["/etc/passwd"] => 126, DENIED;
    a_directory_is_no_program: Root [] ["/etc"] => 126, "";
    a_wrong_flag_of_podmans: Root ["--nosuch"] ["true"] => 125, "unknown flag";
    a_missing_working_directory: Root ["--workdir=/nosuch"] ["true"] => 126, "does not exist";
    a_missing_command_of_an_ordinary_user: Tester [] ["nosuch"] => 127, NOT_FOUND;
    an_exit_status_of_an_ordinary_user: Tester [] ["sh", "-c", "exit 9"] => 9, "";
    a_time_limit: Root ["--timeout=1"] ["sleep", "100"] => 255, "";
}

/// Tests that both users of Podman have.
macro_rules! by_both {
    ($($name:ident)+) => {
        $(mod $name {
            #[test]
            fn by_root() {
                super::$name(super::Root)
            }

            #[test]
            fn by_an_ordinary_user() {
                super::$name(super::Tester)
            }
        })+
    };
}

by_both! {
    a_named_volume_stays
    exec_in_a_container
    stop_kills_what_does_not_end
    kill_and_wait
    restart_and_start_again
    a_restart_policy
    attach
    init_creates_without_starting
    logs_have_both_streams
    top_and_stats
    cp_into_and_out_of_it
    a_health_check
    stdin_comes_in
    volumes
    hooks_of_the_hooks_directory
    a_secret
}

fn stdin_comes_in(who: Podman) {
    let output = who.run_call(&["-i"], &["cat"], |call| call.stdin("from outside"));
    assert_eq!(output.ok().stdout, "from outside");
}

#[test]
fn a_terminal() {
    for who in [Root, Tester] {
        let mut terminal = Terminal::open();
        terminal.resize(30, 100);
        let name = format!("{}-{}", test_name(), who as u8);
        let words = ["run", "--rm", "-it", "--name", &name];
        let words = words
            .iter()
            .chain(&[IMAGE, "sh", "-c", "tty; read x; echo got $x"]);
        let running = who.call(words).terminal(&terminal).spawn();
        terminal.read_until("/dev/pts/0");
        terminal.write("word\n");
        terminal.read_until("got word");
        running.wait().ok();
    }
}

fn volumes(who: Podman) {
    let dir = shared_dir();
    fs::write(format!("{dir}/file"), "of the host").unwrap();
    let volume = |options: &str| format!("--volume={dir}:/v{options}");
    let read_only = [
        "sh",
        "-c",
        "cat /v/file; touch /v/new 2>/dev/null || echo no",
    ];
    assert_eq!(who.printed(&[&volume(":ro")], &read_only), "of the hostno");
    who.printed(&[&volume("")], &["touch", "/v/new"]);
    assert!(fs::exists(format!("{dir}/new")).unwrap());
    who.printed(&[&volume(":O")], &["touch", "/v/over"]);
    assert!(!fs::exists(format!("{dir}/over")).unwrap());
    let shared = [
        "sh",
        "-c",
        "grep ' /v ' /proc/self/mountinfo | grep -c shared:",
    ];
    assert_eq!(who.printed(&[&volume(":rshared")], &shared), "1");
}

#[test]
fn a_volume_is_given_to_the_user() {
    for (who, flags) in [(Root, ["--user=1000"]), (Tester, ["--user=1000"])] {
        let volume = format!("--volume={}:/v:U", shared_dir());
        let owner = who.printed(&[flags[0], &volume], &["stat", "-c", "%u", "/v"]);
        assert_eq!(owner, "1000");
    }
}

#[test]
fn an_idmapped_volume() {
    differs!(Runc < (1, 2), "before id-mapped mounts");
    let dir = shared_dir();
    fs::write(format!("{dir}/file"), "").unwrap();
    let flags = ["--uidmap=0:100000:65536", "--gidmap=0:100000:65536"];
    let volume = format!("--volume={dir}:/v:idmap");
    let owner = Root.printed(
        &[flags[0], flags[1], &volume],
        &["stat", "-c", "%u:%g", "/v/file"],
    );
    assert_eq!(owner, "0:0");
}

fn a_named_volume_stays(who: Podman) {
    let volume = format!("--volume={}:/v", test_name());
    who.printed(&[&volume], &["touch", "/v/file"]);
    assert_eq!(who.printed(&[&volume], &["ls", "/v"]), "file");
    who.call(["volume", "rm", &test_name()]).run().ok();
}

#[test]
fn preserved_descriptors() {
    let file = fresh_path("file");
    fs::write(&file, "by descriptor").unwrap();
    let output = Root.run_call(&["--preserve-fds=1"], &["cat", "/proc/self/fd/3"], |call| {
        call.fd(3, fs::File::open(&file).unwrap())
    });
    assert_eq!(output.ok().stdout, "by descriptor");
}

fn hooks_of_the_hooks_directory(who: Podman) {
    let dir = shared_dir();
    let hook = format!(
        r#"{{"version":"1.0.0","hook":{{"path":"/bin/sh","args":["sh","-c","cat >{dir}/state"]}},"when":{{"always":true}},"stages":["createRuntime"]}}"#
    );
    fs::write(format!("{dir}/hook.json"), hook).unwrap();
    let hooks = format!("--hooks-dir={dir}");
    let words = [hooks.as_str(), "run", "--rm"];
    who.call(words.iter().chain(&[IMAGE, "true"])).run().ok();
    let state = fs::read_to_string(format!("{dir}/state")).unwrap();
    assert!(state.contains("\"pid\""), "{state}");
}

#[test]
fn without_cgroups() {
    let output = Root.run(&["--cgroups=disabled"], &["echo", "hi"]);
    differs!(Runc, "it cannot go without");
    assert_eq!(output.ok().stdout, "hi\n");
}

fn exec_in_a_container(who: Podman) {
    let c = who.sleeping();
    assert_eq!(c.exec(&[], &["echo", "hi"]).ok().stdout, "hi\n");
    c.exec(&[], &["sh", "-c", "exit 9"]).exits(9);
    c.exec(&[], &["nosuch"]).exits(127).says(NOT_FOUND);
    c.exec(&[], &["/etc/passwd"]).exits(126).says(DENIED);
    c.exec(&["--workdir=/nosuch"], &["pwd"]).exits(127);
    assert_eq!(c.exec(&["--workdir=/tmp"], &["pwd"]).ok().stdout, "/tmp\n");
    assert_eq!(
        c.exec(&["--user=1000"], &["id", "-u"]).ok().stdout,
        "1000\n"
    );
    let variable = c.exec(&["--env=A=b"], &["sh", "-c", "echo $A"]);
    assert_eq!(variable.ok().stdout, "b\n");
    let bounding = ["grep", "CapEff", "/proc/self/status"];
    let usual = c.exec(&[], &bounding).ok().stdout;
    assert_ne!(c.exec(&["--privileged"], &bounding).ok().stdout, usual);
    let cgroup = ["grep", "^0:", "/proc/self/cgroup"];
    assert_eq!(c.exec(&[], &cgroup).ok().stdout, "0::/\n");
    c.exec(&["--detach"], &["touch", "/tmp/made"]).ok();
    until("the file", || {
        (c.exec(&[], &["ls", "/tmp/made"]).code() == Some(0)).then_some(())
    });
    let stdin = c
        .call(&["exec", "-i"], &["cat"])
        .stdin("from outside")
        .run();
    assert_eq!(stdin.ok().stdout, "from outside");
}

#[test]
fn exec_with_a_terminal() {
    for who in [Root, Tester] {
        let c = who.sleeping();
        let mut terminal = Terminal::open();
        let running = c
            .call(&["exec", "-it"], &["tty"])
            .terminal(&terminal)
            .spawn();
        terminal.read_until("/dev/pts/0");
        running.wait().ok();
    }
}

#[test]
fn pause_and_unpause() {
    for who in [Root, Tester] {
        let c = who.sleeping();
        c.call(&["pause"], &[]).run().ok();
        assert_eq!(c.status(), "paused");
        c.exec(&[], &["true"]).fails();
        c.call(&["unpause"], &[]).run().ok();
        assert_eq!(c.status(), "running");
        c.call(&["unpause"], &[]).run().fails();
    }
}

#[test]
fn stop_lets_it_end_by_itself() {
    for who in [Root, Tester] {
        let c = who.sleeping();
        c.call(&["stop", "--time=20"], &[]).run().ok();
        assert_eq!(c.says("{{.State.Status}} {{.State.ExitCode}}"), "exited 7");
        assert_eq!(c.logs(), "up\nbye\n");
    }
}

fn stop_kills_what_does_not_end(who: Podman) {
    let c = who.started(&[], &["sleep", "1000"]);
    c.call(&["stop", "--time=1"], &[]).run().ok();
    assert_eq!(c.says("{{.State.ExitCode}}"), "137");
}

fn kill_and_wait(who: Podman) {
    let c = who.sleeping();
    c.call(&["kill", "--signal=CONT"], &[]).run().ok();
    assert_eq!(c.status(), "running");
    c.call(&["kill"], &[]).run().ok();
    assert_eq!(c.call(&["wait"], &[]).run().ok().stdout, "137\n");
}

#[test]
fn kill_without_a_pid_namespace_ends_all() {
    let c = Root.started(
        &["--pid=host"],
        &["sh", "-c", "sleep 987654 & sleep 987654"],
    );
    let alive = || {
        engine_call("pgrep")
            .args(["-xf", "sleep 987654"])
            .run()
            .code()
            == Some(0)
    };
    until("the processes", || alive().then_some(()));
    c.call(&["kill"], &[]).run().ok();
    until("all to be gone", || (!alive()).then_some(()));
}

fn restart_and_start_again(who: Podman) {
    let c = who.sleeping();
    c.call(&["restart", "--time=20"], &[]).run().ok();
    assert_eq!(c.status(), "running");
    c.call(&["stop", "--time=0"], &[]).run().ok();
    c.call(&["start"], &[]).run().ok();
    assert_eq!(c.status(), "running");
}

fn a_restart_policy(who: Podman) {
    let c = who.started(&["--restart=on-failure:2"], &["sh", "-c", "echo x; exit 3"]);
    until("two restarts", || {
        let said = c.says("{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}");
        (said == "2 exited 3" && c.logs() == "x\nx\nx\n").then_some(())
    });
}

fn attach(who: Podman) {
    let script = ["sh", "-c", "read a; echo got $a; exit 5"];
    let c = who.started_by(&["create", "-i"], &[], &script);
    let output = c
        .call(&["start", "--attach", "-i"], &[])
        .stdin("word\n")
        .run();
    assert_eq!(output.exits(5).stdout, "got word\n");
}

fn init_creates_without_starting(who: Podman) {
    let c = who.started_by(&["create"], &[], &["echo", "hi"]);
    c.call(&["init"], &[]).run().ok();
    assert_eq!(c.status(), "initialized");
    assert_eq!(
        c.call(&["start", "--attach"], &[]).run().ok().stdout,
        "hi\n"
    );
}

fn logs_have_both_streams(who: Podman) {
    let c = who.started(&[], &["sh", "-c", "echo out; echo err >&2"]);
    c.call(&["wait"], &[]).run().ok();
    let output = c.call(&["logs"], &[]).run().ok();
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("out\n", "err\n")
    );
}

fn top_and_stats(who: Podman) {
    let c = who.sleeping();
    let top = c.call(&["top"], &["pid", "comm"]).run().ok().stdout;
    assert!(top.lines().any(|line| line.starts_with("1 ")), "{top}");
    let stats = c
        .call(&["stats", "--no-stream", "--format={{.Name}}"], &[])
        .run()
        .ok();
    assert_eq!(stats.stdout.trim(), test_name());
}

fn cp_into_and_out_of_it(who: Podman) {
    let c = who.sleeping();
    let file = fresh_path("file");
    fs::write(&file, "of the host").unwrap();
    let inside = format!("{}:/tmp/copy", c.name);
    who.call(["cp", file.to_str().unwrap(), &inside]).run().ok();
    assert_eq!(
        c.exec(&[], &["cat", "/tmp/copy"]).ok().stdout,
        "of the host"
    );
    c.call(&["pause"], &[]).run().ok();
    let back = fresh_path("back");
    who.call(["cp", &inside, back.to_str().unwrap()]).run().ok();
    assert_eq!(fs::read_to_string(back).unwrap(), "of the host");
    c.call(&["unpause"], &[]).run().ok();
}

fn a_health_check(who: Podman) {
    let flags = [
        "--health-cmd=test -e /tmp/good",
        "--health-interval=disable",
        "--health-retries=1",
    ];
    let c = who.started(&flags, &["sleep", "1000"]);
    who.call(["healthcheck", "run", &c.name]).run().exits(1);
    c.exec(&[], &["touch", "/tmp/good"]).ok();
    who.call(["healthcheck", "run", &c.name]).run().ok();
    assert_eq!(c.says("{{.State.Health.Status}}"), "healthy");
}

#[test]
fn update_of_what_the_host_cannot_limit_is_an_error() {
    let c = Root.sleeping();
    c.call(&["update", "--pids-limit=50"], &[])
        .run()
        .exits(125)
        .says("pids");
    assert_eq!(c.status(), "running");
}

#[test]
fn the_namespaces_of_another_container() {
    let c = Root.sleeping();
    let of = |kind: &str| format!("--{kind}=container:{}", c.name);
    let pid = Root.printed(&[&of("pid")], &["cat", "/proc/1/comm"]);
    assert_eq!(pid, "sh");
    let address = ["ip", "-o", "-4", "addr", "show", "eth0"];
    let its = c.exec(&[], &address).ok().stdout;
    assert_eq!(Root.printed(&[&of("network")], &address), its.trim_end());
    Root.printed(&[&of("ipc")], &["true"]);
}

#[test]
fn changes_are_seen_and_committed() {
    let c = Root.started_by(&["run", "--detach"], &[], &["touch", "/made"]);
    c.call(&["wait"], &[]).run().ok();
    assert!(c.call(&["diff"], &[]).run().ok().stdout.contains("A /made"));
    let image = "localhost/committed";
    c.call(&["commit", "-q"], &[image]).run().ok();
    let words = ["run", "--rm"]
        .iter()
        .copied()
        .chain([image, "ls", "/made"]);
    assert_eq!(Root.call(words).run().ok().stdout, "/made\n");
    Root.call(["rmi", image]).run().ok();
}

#[test]
fn a_rootfs_without_an_image() {
    let tree = image_tar().with_file_name("image");
    for (rootfs, text) in [
        (tree.display().to_string(), "plain"),
        (format!("{}:O", tree.display()), "over"),
    ] {
        let words = ["run", "--rm"].iter().copied();
        let words = words.chain(["--rootfs", &rootfs, "echo", text]);
        assert_eq!(Root.call(words).run().ok().stdout.trim(), text);
    }
}

fn a_secret(who: Podman) {
    let name = test_name();
    let file = fresh_path("secret");
    fs::write(&file, "hidden").unwrap();
    who.call(["secret", "create", &name, file.to_str().unwrap()])
        .run()
        .ok();
    let path = format!("/run/secrets/{name}");
    assert_eq!(who.printed(&["--secret", &name], &["cat", &path]), "hidden");
    who.call(["secret", "rm", &name]).run().ok();
}

#[test]
fn a_pod() {
    for who in [Root, Tester] {
        let name = format!("{}-{}", test_name(), who as u8);
        let id = who
            .call(["pod", "create", "--name", &name])
            .run()
            .ok()
            .stdout;
        let pod = ["--pod", name.as_str()];
        who.call(
            ["run", "--detach"]
                .iter()
                .chain(&pod)
                .chain(&[IMAGE, "sleep", "1000"]),
        )
        .run()
        .ok();
        assert_eq!(who.printed(&pod, &["hostname"]), name);
        let status = who
            .call(["pod", "inspect", "--format={{.State}}", &name])
            .run()
            .ok();
        assert_eq!(status.stdout.trim(), "Running");
        who.call(["pod", "rm", "--force", "--time=0", &name])
            .run()
            .ok();
        wait_nothing_left(id.trim());
    }
}
