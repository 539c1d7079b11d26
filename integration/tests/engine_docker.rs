//! Docker: a dockerd whose default runtime is the one under test.

use integration::{
    Docker, Engine, Runtime, Terminal, ends, engine_call, fresh_path, open_to_all, prints,
    test_name, until,
};
use std::fs;

/// The name of the image in Docker.
const IMAGE: &str = Docker::IMAGE;

prints! {
    a_command_runs: Docker [] ["echo", "hi"] => "hi";
    an_init: Docker ["--init"] ["cat", "/proc/1/comm"] => "docker-init";
    the_hosts_pids: Docker ["--pid=host"] ["sh", "-c", "test $$ -gt 5 && echo yes"] => "yes";
    the_hosts_ipc: Docker ["--ipc=host"] ["echo", "yes"] => "yes";
    the_hosts_name: Docker ["--uts=host"] ["hostname"] => "vzrun-env";
    no_network: Docker ["--network=none"] ["sh", "-c", "ip -o link | wc -l"] => "1";
    the_hosts_network: Docker ["--network=host"] ["sh", "-c", "test -e /sys/class/net/lo && echo yes"] => "yes";
    a_bridge: Docker [] ["sh", "-c", "ip -o -4 addr show eth0 | wc -l"] => "1";
    a_user: Docker ["--user=1000"] ["id", "-un"] => "tester";
    a_group_more: Docker ["--group-add=5"] ["id", "-G"] => "0 5";
    read_only_but_a_tmpfs: Docker ["--read-only", "--tmpfs=/t"]
        ["sh", "-c", "touch /x 2>/dev/null || echo no; touch /t/x && echo yes"] => "no\nyes";
    privileged: Docker ["--privileged"] ["sh", "-c", "mkdir /m; mount -t tmpfs x /m && echo yes"] => "yes";
    default_capabilities: Docker [] ["grep", "CapEff", "/proc/self/status"] => "CapEff:\t00000000a80425fb";
    capabilities_added_and_dropped: Docker ["--cap-add=NET_ADMIN", "--cap-drop=CHOWN"]
        ["grep", "CapEff", "/proc/self/status"] => "CapEff:\t00000000a80435fa";
    no_new_privileges: Docker ["--security-opt=no-new-privileges"]
        ["grep", "NoNewPrivs", "/proc/self/status"] => "NoNewPrivs:\t1";
    the_default_seccomp_profile: Docker []
        ["sh", "-c", "grep Seccomp: /proc/self/status; unshare -U true 2>/dev/null || echo no"] => "Seccomp:\t2\nno";
    a_device: Docker ["--device=/dev/fuse"] ["stat", "-c", "%t:%T", "/dev/fuse"] => "a:e5";
    an_ulimit: Docker ["--ulimit=nofile=100:200"] ["sh", "-c", "ulimit -n; ulimit -Hn"] => "100\n200";
    a_sysctl: Docker ["--sysctl=net.ipv4.ip_forward=0"] ["cat", "/proc/sys/net/ipv4/ip_forward"] => "0";
    a_hostname: Docker ["--hostname=foo"] ["hostname"] => "foo";
    a_working_directory_is_made: Docker ["--workdir=/a/b"] ["pwd"] => "/a/b";
    a_variable: Docker ["--env=A=b c"] ["sh", "-c", "echo $A"] => "b c";
    an_oom_score: Docker ["--oom-score-adj=100"] ["cat", "/proc/self/oom_score_adj"] => "100";
    a_cgroup_of_its_own: Docker [] ["grep", "^0:", "/proc/self/cgroup"] => "0::/";
    shm_has_a_size: Docker ["--shm-size=1m"] ["sh", "-c", "df -k /dev/shm | awk 'END { print $2 }'"] => "1024";
}

ends! {
    an_exit_status: Docker [] ["sh", "-c", "exit 5"] => 5, "";
    a_missing_command: Docker [] ["nosuch"] => 127, "OCI runtime create failed";
    a_file_that_is_no_program: Docker [] ["/etc/passwd"] => 126, "permission denied";
    a_directory_is_no_program: Docker [] ["/etc"] => 126, "";
    a_wrong_flag_of_dockers: Docker ["--nosuch"] ["true"] => 125, "unknown flag";
}

#[test]
fn stdin_comes_in() {
    let output = Docker.run_call(&["-i"], &["cat"], |call| call.stdin("from outside"));
    assert_eq!(output.ok().stdout, "from outside");
}

#[test]
fn a_terminal() {
    let mut terminal = Terminal::open();
    let command = ["sh", "-c", "tty; read x; echo got $x"];
    let words = ["run", "--rm", "-it", IMAGE].iter().chain(&command);
    let running = Docker.call(words).terminal(&terminal).spawn();
    terminal.read_until("/dev/pts/0");
    terminal.write("word\n");
    terminal.read_until("got word");
    running.wait().ok();
}

#[test]
fn volumes() {
    let dir = fresh_path("volume");
    fs::create_dir(&dir).unwrap();
    open_to_all(&dir);
    let volume = |options: &str| format!("--volume={}:/v{options}", dir.display());
    Docker.printed(&[&volume("")], &["touch", "/v/new"]);
    assert!(dir.join("new").exists());
    let command = ["sh", "-c", "ls /v; touch /v/other 2>/dev/null || echo no"];
    assert_eq!(Docker.printed(&[&volume(":ro")], &command), "new\nno");
}

#[test]
fn a_named_volume_stays() {
    let volume = format!("--volume={}:/v", test_name());
    Docker.printed(&[&volume], &["touch", "/v/file"]);
    assert_eq!(Docker.printed(&[&volume], &["ls", "/v"]), "file");
    Docker.call(["volume", "rm", &test_name()]).run().ok();
}

#[test]
fn exec_in_a_container() {
    let c = Docker.sleeping();
    assert_eq!(c.exec(&[], &["echo", "hi"]).ok().stdout, "hi\n");
    c.exec(&[], &["sh", "-c", "exit 8"]).exits(8);
    // Docker 28 tells the two apart, as `run` does.
    let missing = if Docker.major_version() < 28 {
        126
    } else {
        127
    };
    c.exec(&[], &["nosuch"]).exits(missing);
    c.exec(&[], &["/etc"]).exits(126);
    let flags = ["--user=1000", "--workdir=/tmp", "--env=A=b"];
    let output = c.exec(&flags, &["sh", "-c", "id -u; pwd; echo $A"]).ok();
    assert_eq!(output.stdout, "1000\n/tmp\nb\n");
    let capabilities = ["grep", "CapEff", "/proc/self/status"];
    let usual = c.exec(&[], &capabilities).ok().stdout;
    assert_ne!(c.exec(&["--privileged"], &capabilities).ok().stdout, usual);
    c.exec(&["--detach"], &["touch", "/made"]).ok();
    until("the file", || {
        (c.exec(&[], &["ls", "/made"]).code() == Some(0)).then_some(())
    });
    let stdin = c
        .call(&["exec", "-i"], &["cat"])
        .stdin("from outside")
        .run();
    assert_eq!(stdin.ok().stdout, "from outside");
    let mut terminal = Terminal::open();
    let command = ["sh", "-c", "tty; read x"];
    let running = c
        .call(&["exec", "-it"], &command)
        .terminal(&terminal)
        .spawn();
    terminal.read_until("/dev/pts/");
    terminal.write("\n");
    running.wait().ok();
}

#[test]
fn pause_and_unpause() {
    let c = Docker.sleeping();
    c.call(&["pause"], &[]).run().ok();
    assert_eq!(c.status(), "paused");
    c.exec(&[], &["true"]).fails();
    c.call(&["unpause"], &[]).run().ok();
    assert_eq!(c.status(), "running");
}

#[test]
fn stop_lets_it_end_by_itself() {
    let c = Docker.sleeping();
    c.call(&["stop", "--time=20"], &[]).run().ok();
    assert_eq!(c.says("{{.State.Status}} {{.State.ExitCode}}"), "exited 7");
    assert_eq!(c.logs(), "up\nbye\n");
}

#[test]
fn stop_kills_what_does_not_end() {
    let c = Docker.started(&[], &["sleep", "1000"]);
    c.call(&["stop", "--time=1"], &[]).run().ok();
    assert_eq!(c.says("{{.State.ExitCode}}"), "137");
}

#[test]
fn kill_and_wait() {
    let c = Docker.sleeping();
    c.call(&["kill", "--signal=CONT"], &[]).run().ok();
    assert_eq!(c.status(), "running");
    c.call(&["kill"], &[]).run().ok();
    assert_eq!(c.call(&["wait"], &[]).run().ok().stdout, "137\n");
}

#[test]
fn restart_and_start_again() {
    let c = Docker.sleeping();
    c.call(&["restart", "--time=20"], &[]).run().ok();
    assert_eq!(c.status(), "running");
    c.call(&["stop", "--time=0"], &[]).run().ok();
    c.call(&["start"], &[]).run().ok();
    assert_eq!(c.status(), "running");
}

#[test]
fn a_restart_policy() {
    let c = Docker.started(&["--restart=on-failure:2"], &["sh", "-c", "echo x; exit 3"]);
    until("two restarts", || {
        let said = c.says("{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}");
        (said == "2 exited 3" && c.logs() == "x\nx\nx\n").then_some(())
    });
}

#[test]
fn a_restart_policy_until_it_is_stopped() {
    let c = Docker.started(&["--restart=unless-stopped"], &["sleep", "1000"]);
    let pid = || c.says("{{.State.Pid}}");
    let first = pid();
    engine_call("kill").args(["-KILL", &first]).run().ok();
    until("its next life", || {
        (pid() != first && c.status() == "running").then_some(())
    });
    c.call(&["stop", "--time=0"], &[]).run().ok();
    assert_eq!(c.says("{{.State.Status}} {{.RestartCount}}"), "exited 1");
}

#[test]
fn the_ipc_namespace_of_another_container() {
    let c = Docker.started(&["--ipc=shareable"], &["sleep", "1000"]);
    c.exec(&[], &["touch", "/dev/shm/file"]).ok();
    let flag = format!("--ipc=container:{}", c.name);
    assert_eq!(Docker.printed(&[&flag], &["ls", "/dev/shm"]), "file");
}

#[test]
fn changes_are_seen_and_committed() {
    let c = Docker.started(&[], &["touch", "/made"]);
    assert_eq!(c.call(&["wait"], &[]).run().ok().stdout, "0\n");
    assert!(c.call(&["diff"], &[]).run().ok().stdout.contains("A /made"));
    c.call(&["commit"], &["committed"]).run().ok();
    let words = ["run", "--rm", "committed", "ls", "/made"];
    assert_eq!(Docker.call(words).run().ok().stdout, "/made\n");
    Docker.call(["rmi", "committed"]).run().ok();
}

#[test]
fn logs_have_both_streams() {
    let c = Docker.started(
        &[],
        &["sh", "-c", "echo out; echo err >&2; exec sleep 1000"],
    );
    let output = until("what it says", || {
        let output = c.call(&["logs"], &[]).run().ok();
        (!output.stdout.is_empty() && !output.stderr.is_empty()).then_some(output)
    });
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("out\n", "err\n")
    );
}

#[test]
fn attach() {
    let script = ["sh", "-c", "read a; echo got $a; exit 5"];
    let c = Docker.started_by(&["create", "-i"], &[], &script);
    let output = c
        .call(&["start", "--attach", "-i"], &[])
        .stdin("word\n")
        .run();
    assert_eq!(output.exits(5).stdout, "got word\n");
}

#[test]
fn top_and_stats() {
    let c = Docker.sleeping();
    assert!(c.call(&["top"], &[]).run().ok().stdout.lines().count() > 1);
    let stats = c
        .call(&["stats", "--no-stream", "--format={{.Name}}"], &[])
        .run()
        .ok();
    assert_eq!(stats.stdout.trim(), test_name());
}

#[test]
fn update_of_the_restart_policy() {
    let c = Docker.sleeping();
    c.call(&["update", "--restart=on-failure:3"], &[])
        .run()
        .ok();
    assert_eq!(c.says("{{.HostConfig.RestartPolicy.Name}}"), "on-failure");
}

#[test]
fn cp_into_and_out_of_it() {
    let c = Docker.sleeping();
    let (file, back) = (fresh_path("file"), fresh_path("back"));
    fs::write(&file, "of the host").unwrap();
    let inside = format!("{}:/copy", c.name);
    Docker
        .call(["cp", file.to_str().unwrap(), &inside])
        .run()
        .ok();
    assert_eq!(c.exec(&[], &["cat", "/copy"]).ok().stdout, "of the host");
    Docker
        .call(["cp", &inside, back.to_str().unwrap()])
        .run()
        .ok();
    assert_eq!(fs::read_to_string(back).unwrap(), "of the host");
}

#[test]
fn a_health_check() {
    let flags = [
        "--health-cmd=test -e /etc/passwd",
        "--health-interval=200ms",
    ];
    let c = Docker.started(&flags, &["sleep", "1000"]);
    until("its health", || {
        (c.says("{{.State.Health.Status}}") == "healthy").then_some(())
    });
}

#[test]
fn the_namespaces_of_another_container() {
    let c = Docker.sleeping();
    let of = |kind: &str| format!("--{kind}=container:{}", c.name);
    assert_eq!(
        Docker.printed(&[&of("pid")], &["cat", "/proc/1/comm"]),
        "sh"
    );
    let address = ["ip", "-o", "-4", "addr", "show", "eth0"];
    let its = c.exec(&[], &address).ok().stdout;
    assert_eq!(Docker.printed(&[&of("network")], &address), its.trim_end());
}

#[test]
fn events_tell_of_its_life() {
    let c = Docker.started_by(&["create"], &[], &["sh", "-c", "exit 3"]);
    c.call(&["start", "--attach"], &[]).run().exits(3);
    let filter = format!("container={}", c.name);
    let words = [
        "events",
        "--since=10m",
        "--until=0s",
        "--filter",
        &filter,
        "--format={{.Action}}",
    ];
    let events = until("its end among the events", || {
        let events = Docker.call(words).run().ok().stdout;
        events.contains("die").then_some(events)
    });
    assert!(
        events.contains("create\n") && events.contains("start\n"),
        "{events}"
    );
}

#[test]
fn build() {
    let build = |text: &str| {
        let words = ["build", "--quiet", "--force-rm", "--tag", "built", "-"];
        Docker
            .call(words)
            .env("DOCKER_BUILDKIT", "0")
            .stdin(text)
            .run()
    };
    build("FROM bb\nRUN echo made >/made && id\nRUN cat /made\n").ok();
    let output = Docker
        .call(["run", "--rm", "built", "cat", "/made"])
        .run()
        .ok();
    assert_eq!(output.stdout, "made\n");
    build("FROM bb\nRUN exit 4\n").exits(4);
    Docker.call(["rmi", "built"]).run().ok();
}

#[test]
fn info_names_the_runtime() {
    let info = |format: &str| Docker.call(["info", "--format", format]).run().ok().stdout;
    let said = info("{{.DefaultRuntime}} {{.CgroupVersion}}");
    assert_eq!(said, "under-test 2\n");
    let version = engine_call(Runtime::get().path().to_str().unwrap()).arg("--version");
    let version = version.run().ok().stdout;
    let commit = version
        .lines()
        .find_map(|line| line.strip_prefix("commit: "));
    assert_eq!(info("{{.RuncCommit.ID}}").trim(), commit.unwrap());
}
