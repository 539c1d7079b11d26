//! What Docker makes of other people's files: Dockerfiles by BuildKit, and compose files.
//! BuildKit inside of dockerd runs `runc` from PATH, so there the runtime under test has that name.

use integration::{Call, Docker, Engine, Output, fresh_path, test_name};
use std::fs;
use std::path::PathBuf;

/// A directory with these files.
fn directory(files: &[(&str, &str)]) -> PathBuf {
    let dir = fresh_path("files");
    fs::create_dir(&dir).unwrap();
    for (name, text) in files {
        fs::write(dir.join(name), text).unwrap();
    }
    dir
}

fn build_call(lines: &str, flags: &[&str]) -> Call {
    let file = format!("FROM bb\n{lines}\n");
    let dir = directory(&[("Dockerfile", &file), ("file", "of the context")]);
    let words = ["build", "--progress=plain", "--no-cache", "--tag"];
    let tag = test_name();
    let words = words.iter().copied().chain([tag.as_str()]);
    Docker
        .call(words.chain(flags.iter().copied()))
        .arg(dir)
        .both_streams()
}

fn build(lines: &str, flags: &[&str]) -> Output {
    let output = build_call(lines, flags).run();
    Docker.call(["rmi", "--force", &test_name()]).run().ok();
    output
}

/// Builds of which a line prints this: `name: [flags] lines => text`.
macro_rules! builds {
    ($($name:ident: [$($flag:expr),*] $lines:expr => $text:expr;)+) => {
        $(#[test]
        fn $name() {
            let output = build($lines, &[$($flag),*]).ok();
            // `#5 0.102 text`
            let mut lines = output.stdout.lines().filter_map(|line| line.splitn(3, ' ').nth(2));
            assert!(lines.any(|line| line == $text), "{}", output.describe());
        })+
    };
}

builds! {
    buildkit_runs_a_line: [] "RUN echo made >/made\nRUN cat /made" => "made";
    buildkit_runs_a_line_as_a_user: [] "USER tester\nRUN id -un" => "tester";
    buildkit_runs_a_line_in_a_directory: [] "WORKDIR /new/one\nRUN pwd" => "/new/one";
    buildkit_runs_a_line_in_exec_form: [] "RUN [\"echo\", \"plain words\"]" => "plain words";
    buildkit_mounts_a_cache: [] "RUN --mount=type=cache,target=/c echo kept >/c/f && cat /c/f" => "kept";
    buildkit_mounts_the_context: [] "RUN --mount=type=bind,target=/ctx cat /ctx/file; echo" => "of the context";
    buildkit_mounts_a_tmpfs: [] "RUN --mount=type=tmpfs,target=/t grep -o '/t tmpfs' /proc/mounts" => "/t tmpfs";
    buildkit_has_no_network_to_give: ["--network=none"] "RUN ip -o link | wc -l" => "1";
    buildkit_gives_the_hosts_network: ["--network=host"] "RUN echo yes" => "yes";
    buildkit_has_capabilities: [] "RUN grep CapEff /proc/self/status | cut -f2" => "00000000a80425fb";
    buildkit_has_a_seccomp_filter: [] "RUN grep Seccomp: /proc/self/status | cut -f2" => "2";
    buildkit_has_arguments: ["--build-arg=A=b c"] "ARG A\nRUN echo $A" => "b c";
}

#[test]
fn buildkit_tells_the_status_of_a_line() {
    let output = build_call("RUN exit 4", &[]).run().exits(1);
    assert!(
        output.stdout.contains("exit code: 4"),
        "{}",
        output.describe()
    );
}

#[test]
fn buildkit_has_a_secret() {
    let dir = directory(&[("secret", "hidden words")]);
    let flag = format!("--secret=id=s,src={}", dir.join("secret").display());
    let lines = "RUN --mount=type=secret,id=s,target=/s cat /s && echo";
    let output = build(lines, &[&flag]).ok();
    assert!(
        output.stdout.contains("hidden words"),
        "{}",
        output.describe()
    );
}

#[test]
fn buildkits_image_runs() {
    build_call("RUN echo made >/made", &[]).run().ok();
    let words = ["run", "--rm", &test_name(), "cat", "/made"];
    assert_eq!(Docker.call(words).run().ok().stdout, "made\n");
    Docker.call(["rmi", &test_name()]).run().ok();
}

#[test]
fn compose() {
    let file = r#"
services:
  server:
    build: .
    stop_grace_period: 1s
    init: true
    command: ["sh", "-c", "echo of the server >/data/x; exec sleep 1000"]
    volumes: ["data:/data"]
    healthcheck: {test: ["CMD", "test", "-e", "/data/x"], interval: 200ms}
  client:
    image: bb
    command: ["cat", "/data/x"]
    read_only: true
    volumes: ["data:/data:ro"]
    depends_on: {server: {condition: service_healthy}}
volumes: {data: {}}
"#;
    let dir = directory(&[
        ("compose.yaml", file),
        ("Dockerfile", "FROM bb\nRUN echo made >/made\n"),
    ]);
    let name = test_name();
    let compose = |words: &[&str]| {
        let call = Docker.call(["compose", "--project-name", &name]);
        call.args(words).cwd(&dir).run()
    };
    compose(&["up", "--detach"]).ok();
    let filter = format!("--filter=name={name}");
    let all = ["ps", "--all", "--quiet", "--no-trunc", &filter];
    let made = Docker.call(all).run().ok().stdout;
    assert_eq!(made.lines().count(), 2);
    let client = format!("{name}-client-1");
    assert_eq!(Docker.call(["wait", &client]).run().ok().stdout, "0\n");
    let output = compose(&[
        "exec",
        "-T",
        "server",
        "cat",
        "/made",
        "/data/x",
        "/proc/1/comm",
    ]);
    assert_eq!(output.ok().stdout, "made\nof the server\ndocker-init\n");
    compose(&["restart", "server"]).ok();
    compose(&["exec", "-T", "server", "true"]).ok();
    compose(&["down", "--volumes", "--rmi=local"]).ok();
    made.lines().for_each(|id| Docker.wait_nothing_left(id));
}
