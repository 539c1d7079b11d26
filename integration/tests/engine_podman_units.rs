//! What Podman makes of other people's files: Kubernetes' YAML, quadlet's units, compose files; and many containers at once.

use integration::Podman::{Root, Tester};
use integration::{
    DEADLINE, Engine, IMAGE, Podman, containers_conf, engine_call, fresh_path, open_to_all,
    test_name, until, wait_nothing_left,
};
use std::fs;
use std::path::{Path, PathBuf};

/// A new directory that every user may use.
fn directory() -> PathBuf {
    let dir = fresh_path("files");
    fs::create_dir(&dir).unwrap();
    open_to_all(&dir);
    dir
}

fn ids(who: Podman) -> Vec<String> {
    let filter = format!("--filter=name=^{}[-_]", test_name());
    let list = ["ps", "--all", "--quiet", "--no-trunc", &filter];
    let output = who.call(list).run().ok();
    output.stdout.lines().map(str::to_string).collect()
}

/// A pod with what a pod can have: an init container, two containers that share a volume and the
/// host's name, one of them with a user, a variable, a capability and a read-only root.
fn pod(name: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  volumes:
  - {{name: shared, emptyDir: {{}}}}
  - {{name: host, hostPath: {{path: /etc, type: Directory}}}}
  initContainers:
  - name: first
    image: {IMAGE}
    imagePullPolicy: Never
    command: [sh, -c, "echo of the first >/s/file"]
    volumeMounts: [{{name: shared, mountPath: /s}}]
  containers:
  - name: one
    image: {IMAGE}
    imagePullPolicy: Never
    command: [sh, -c, "cat /s/file; id -u; echo $A; hostname; touch /x || echo no; ls /host/passwd; sleep 1000"]
    env: [{{name: A, value: a variable}}]
    securityContext: {{runAsUser: 1000, readOnlyRootFilesystem: true}}
    volumeMounts: [{{name: shared, mountPath: /s}}, {{name: host, mountPath: /host, readOnly: true}}]
  - name: two
    image: {IMAGE}
    imagePullPolicy: Never
    command: [sh, -c, "cat /s/file; grep CapEff /proc/self/status; sleep 1000"]
    securityContext: {{capabilities: {{add: [NET_ADMIN]}}}}
    volumeMounts: [{{name: shared, mountPath: /s}}]
"#
    )
}

/// `podman kube play`, what the pod's containers say, `podman kube down`.
fn play(who: Podman) {
    let name = test_name();
    let file = directory().join("pod.yaml");
    fs::write(&file, pod(&name)).unwrap();
    let file = file.to_str().unwrap();
    let network: &[&str] = match who {
        Root => &[],
        // What containers of their own have.
        Tester => &["--network=pasta"],
    };
    who.call([&["kube", "play"], network, &[file]].concat())
        .run()
        .ok();
    let made = ids(who);
    let logs = |container: &str, lines: usize| {
        let name = format!("{name}-{container}");
        until("what it prints", || {
            let output = who.call(["logs", &name]).run().ok().stdout;
            (output.lines().count() >= lines).then_some(output)
        })
    };
    let one = format!("of the first\n1000\na variable\n{name}\nno\n/host/passwd\n");
    assert_eq!(logs("one", 6), one);
    let two = "of the first\nCapEff:\t00000000800415fb\n";
    assert_eq!(logs("two", 2), two);
    who.call(["kube", "down", "--force", file]).run().ok();
    assert_eq!(ids(who), Vec::<String>::new());
    assert!(made.len() >= 2, "{made:?}");
    made.iter().for_each(|id| wait_nothing_left(id));
}

#[test]
fn kube_play() {
    play(Root);
}

#[test]
fn kube_play_by_an_ordinary_user() {
    play(Tester);
}

#[test]
fn a_quadlet_unit() {
    // As systemd would: the generator makes a service, whose ExecStart and ExecStop are run here.
    let (dir, name) = (directory(), test_name());
    let unit = format!(
        "[Container]\nImage={IMAGE}\nContainerName={name}\nPull=never\nNetwork=none\nEnvironment=A=b\n\
         ReadOnly=true\nDropCapability=all\nExec=sh -c \"echo $A; sleep 1000\"\n"
    );
    fs::write(dir.join("unit.container"), unit).unwrap();
    let generator = engine_call("/usr/lib/systemd/system-generators/podman-system-generator");
    let service = generator.arg("--dryrun").env("QUADLET_UNIT_DIRS", &dir);
    let service = service.run().ok().stdout;
    let command = |key: &str| {
        let line = service.lines().find_map(|line| line.strip_prefix(key));
        let line = line.unwrap_or_else(|| panic!("no {key} in\n{service}"));
        // What is systemd's to fill in and to read; there is no cgroup of a unit to divide here.
        let line = line
            .replace("%t", dir.to_str().unwrap())
            .replace("\\x20", " ");
        line.replace("%N", "unit").replace("--cgroups=split", "")
    };
    // A shell takes the quotes away as systemd does.
    let shell = |line: &str| {
        let call = engine_call("sh").env("CONTAINERS_CONF_OVERRIDE", containers_conf());
        call.args(["-c", &line.replace('$', "\\$")])
    };
    // Makes the image.
    Root.call(["version"]).run().ok();
    shell(&command("ExecStart=")).run().ok();
    let id = Root.call(["inspect", "--format={{.Id}}", &name]).run().ok();
    until("what it prints", || {
        let logs = Root.call(["logs", &name]).run().ok().stdout;
        (logs == "b\n").then_some(())
    });
    shell(&command("ExecStop=")).run().ok();
    wait_nothing_left(id.stdout.trim());
}

/// Two services, of which one waits for the other to be healthy.
const COMPOSE: &str = r#"
services:
  server:
    image: localhost/bb
    pull_policy: never
    stop_grace_period: 1s
    command: ["sh", "-c", "echo of the server >/data/x; exec sleep 1000"]
    volumes: ["data:/data"]
    cap_drop: [ALL]
  client:
    image: localhost/bb
    pull_policy: never
    command: ["sh", "-c", "until cat /data/x; do sleep 0.05; done"]
    volumes: ["data:/data:ro"]
    depends_on: [server]
volumes: {data: {}}
"#;

#[test]
fn compose_by_podman_compose() {
    let dir = directory();
    fs::write(dir.join("compose.yaml"), COMPOSE).unwrap();
    let name = test_name();
    let compose = |words: &[&str]| {
        let call = Root.call(["compose", "--project-name", &name]);
        let call = call.env("PODMAN_COMPOSE_PROVIDER", "/usr/bin/podman-compose");
        call.args(words).cwd(&dir).run()
    };
    compose(&["up", "--detach"]).ok();
    let made = ids(Root);
    assert_eq!(made.len(), 2);
    let client = format!("{name}_client_1");
    assert_eq!(Root.call(["wait", &client]).run().ok().stdout, "0\n");
    let logs = Root.call(["logs", &client]).run().ok().stdout;
    assert!(logs.ends_with("of the server\n"), "{logs}");
    compose(&["exec", "-T", "server", "cat", "/data/x"]).ok();
    compose(&["down", "--volumes"]).ok();
    assert_eq!(ids(Root), Vec::<String>::new());
    made.iter().for_each(|id| wait_nothing_left(id));
}

#[test]
fn compose_by_dockers_compose() {
    let (dir, name) = (directory(), test_name());
    fs::write(dir.join("compose.yaml"), COMPOSE).unwrap();
    let socket = format!("unix://{}/socket", dir.display());
    let serving = Root
        .call(["system", "service", "--time=0", &socket])
        .spawn();
    until("the socket", || dir.join("socket").exists().then_some(()));
    let compose = |words: &[&str]| {
        let call = engine_call("/usr/libexec/docker/cli-plugins/docker-compose");
        let call = call.args(["--project-name", &name]).args(words);
        call.env("DOCKER_HOST", &socket).cwd(&dir).run()
    };
    compose(&["up", "--detach"]).ok();
    let made = ids(Root);
    assert_eq!(made.len(), 2);
    let logs = until("what the client prints", || {
        let output = compose(&["logs", "client"]).ok().stdout;
        output.contains("of the server").then_some(output)
    });
    assert!(logs.contains("client-1"), "{logs}");
    compose(&["exec", "-T", "server", "cat", "/data/x"]).ok();
    compose(&["down", "--volumes"]).ok();
    made.iter().for_each(|id| wait_nothing_left(id));
    drop(serving);
}

/// How many containers run at once: `VZRUN_TEST_MANY`, or few.
fn many() -> usize {
    let set = std::env::var("VZRUN_TEST_MANY");
    set.map_or(20, |count| count.parse().unwrap())
}

#[test]
fn many_at_once_and_nothing_is_left() {
    let count = many();
    let name = |number: usize| format!("{}-{number}", test_name());
    let names: Vec<String> = (0..count).map(name).collect();
    let mut made = Vec::new();
    for some in names.chunks(8) {
        let running: Vec<_> = some
            .iter()
            .map(|name| {
                let words = ["run", "--detach", "--network=none", "--name", name];
                Root.call(words.iter().chain(&[IMAGE, "sleep", "10000"]))
                    .spawn()
            })
            .collect();
        made.extend(running.into_iter().map(|call| call.wait().ok().stdout));
    }
    let ids: Vec<&str> = made.iter().map(|id| id.trim()).collect();
    let filter = format!("--filter=name={}", test_name());
    let running = ["ps", "--quiet", "--filter=status=running", &filter];
    let output = Root.call(running).run().ok();
    assert_eq!(output.stdout.lines().count(), count);
    let pids = until("the processes of all", || {
        let output = engine_call("pgrep").args(["-xf", "sleep 10000"]).run();
        let pids: Vec<String> = output.stdout.lines().map(str::to_string).collect();
        (pids.len() == count).then_some(pids)
    });
    let remove = ["rm", "--force", "--time=0", &filter];
    Root.call(remove).limit(10 * DEADLINE).run().ok();
    ids.iter().for_each(|id| wait_nothing_left(id));
    for pid in pids {
        assert!(!Path::new("/proc").join(&pid).exists(), "{pid}");
    }
    until("the last conmon to end", || {
        let conmon = engine_call("pgrep").args(["-f", "conmon .*-n many_at_once"]);
        (conmon.run().code() == Some(1)).then_some(())
    });
}
