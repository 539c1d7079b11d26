//! Buildah, and Podman's build, running their RUN lines with the runtime under test.

use integration::Podman::Tester;
use integration::{
    Call, Engine, IMAGE, Output, Runtime, Terminal, cgroup_dirs_named, containers_conf,
    engine_call, engine_dir, image_tar, test_name,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What Buildah asks for by itself needs rights over limits that the test environment lacks.
const LIMITS: [&str; 2] = ["--ulimit=nofile=1024:4096", "--ulimit=nproc=4096:4096"];

fn call(program: &str) -> Call {
    static IMPORTED: OnceLock<()> = OnceLock::new();
    let bare = |program| engine_call(program).env("CONTAINERS_CONF_OVERRIDE", containers_conf());
    IMPORTED.get_or_init(|| {
        let import = bare("podman").args(["import", "-q"]).arg(image_tar());
        import.arg(IMAGE).run().ok();
    });
    bare(program)
}

/// The build of this test's Containerfile in a directory of its own.
struct Build {
    dir: PathBuf,
}

impl Build {
    fn new(lines: &str) -> Build {
        let dir = engine_dir().join(test_name());
        fs::create_dir_all(&dir).unwrap();
        fs::write(
            dir.join("Containerfile"),
            format!("FROM {IMAGE}\n{lines}\n"),
        )
        .unwrap();
        fs::write(dir.join("file"), "of the context").unwrap();
        Build { dir }
    }

    fn with(&self, program: &[&str], flags: &[&str]) -> Output {
        let runtime = Runtime::get().path().to_str().unwrap();
        let call = call(program[0]).args(&program[1..]).args(LIMITS);
        let call = call.args(["--isolation=oci", "--no-cache", "--tag", &test_name()]);
        let runtime = match program[0] {
            "buildah" => vec!["--runtime", runtime],
            _ => vec![],
        };
        let output = call.args(runtime).args(flags).arg(&self.dir).run();
        assert_nothing_left();
        output
    }

    /// `buildah build`
    fn run(&self, flags: &[&str]) -> Output {
        self.with(&["buildah", "build"], flags)
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        call("podman")
            .args(["rmi", "--force", "--ignore", &test_name()])
            .run();
    }
}

/// Buildah's containers are named after the directories of their bundles, which go last.
fn assert_nothing_left() {
    let lists = ["/run/vzrun", "/run/runc", "/run/crun"].map(Path::new);
    let states = lists
        .iter()
        .filter_map(|dir| fs::read_dir(dir).ok())
        .flatten();
    for entry in states.flatten() {
        let name = entry.file_name().into_string().unwrap();
        let Some(bundle) = name.strip_prefix("buildah-") else {
            continue;
        };
        // The other tests' builds are under way meanwhile.
        if !Path::new("/var/tmp").join(bundle).exists() {
            assert!(!entry.path().exists(), "{name}");
            assert!(cgroup_dirs_named(&name).is_empty(), "{name}");
        }
    }
}

/// What a build prints, of which `text` is a part: `name: [flags] lines => text`.
macro_rules! prints {
    ($($name:ident: [$($flag:expr),*] $lines:expr => $text:expr;)+) => {
        $(#[test]
        fn $name() {
            let output = Build::new($lines).run(&[$($flag),*]).ok();
            assert!(output.stdout.contains($text), "{}", output.describe());
        })+
    };
}

prints! {
    a_line_runs: [] "RUN echo made >/made\nRUN echo is $(cat /made)" => "is made";
    a_line_runs_as_a_user: [] "USER tester\nRUN id" => "uid=1000(tester)";
    a_line_runs_in_a_directory: [] "WORKDIR /new/one\nRUN pwd" => "/new/one";
    a_line_in_exec_form_runs: [] "RUN [\"echo\", \"plain words\"]" => "plain words";
    a_capability_more: ["--cap-add=NET_ADMIN"] "RUN grep CapEff /proc/self/status" => "00000000800415fb";
    a_cache_is_mounted: [] "RUN --mount=type=cache,target=/c echo kept >/c/f && cat /c/f" => "kept";
    the_context_is_mounted: [] "RUN --mount=type=bind,target=/ctx cat /ctx/file" => "of the context";
    a_tmpfs_is_mounted: [] "RUN --mount=type=tmpfs,target=/t grep -o '/t tmpfs' /proc/mounts" => "/t tmpfs";
    a_build_without_network: ["--network=none"] "RUN echo $(ip -o link | wc -l) device" => "1 device";
    a_build_in_the_hosts_network: ["--network=host"] "RUN echo yes it runs" => "yes it runs";
    a_build_in_a_user_namespace: ["--userns-uid-map=0:100000:5000", "--userns-gid-map=0:100000:5000"]
        "RUN xargs </proc/self/uid_map" => "0 100000 5000";
    a_volume_of_the_build: ["--volume=/etc:/host:ro"] "RUN ls /host/debian_version; touch /host/x || echo no" => "no";
}

#[test]
fn the_status_of_a_line_is_the_builds() {
    Build::new("RUN exit 7")
        .run(&[])
        .exits(7)
        .says("exit status 7");
}

#[test]
fn a_missing_command_is_named() {
    let output = Build::new("RUN [\"/nosuch\"]").run(&[]).fails();
    output.says("no such file or directory");
}

#[test]
fn a_secret_is_mounted() {
    let build = Build::new("RUN --mount=type=secret,id=s,target=/s cat /s");
    let flag = format!("--secret=id=s,src={}", build.dir.join("file").display());
    assert!(build.run(&[&flag]).ok().stdout.contains("of the context"));
}

#[test]
fn podman_builds() {
    let build = Build::new("RUN echo made by $(id -un)");
    let output = build.with(&["podman", "build"], &[]).ok();
    assert!(
        output.stdout.contains("made by root"),
        "{}",
        output.describe()
    );
}

#[test]
fn podman_builds_for_an_ordinary_user() {
    let build = Build::new("RUN echo made by $(id -un), $(xargs </proc/self/uid_map)");
    let words = [
        "build",
        "--isolation=oci",
        "--no-cache",
        "--tag",
        &test_name(),
    ];
    let call = Tester.call(words).args(LIMITS).arg(&build.dir);
    let output = call.run().ok();
    let text = "made by root, 0 1000 1 1 100000 65536";
    assert!(output.stdout.contains(text), "{}", output.describe());
    Tester.call(["rmi", &test_name()]).run().ok();
}

/// A working container, removed when dropped.
struct Working(String);

impl Working {
    fn new() -> Working {
        let name = test_name();
        call("buildah")
            .args(["from", "--name", &name])
            .args(LIMITS)
            .arg(IMAGE)
            .run()
            .ok();
        Working(name)
    }

    fn run_call(&self, flags: &[&str], command: &[&str]) -> Call {
        let call = call("buildah").args(["run", "--isolation=oci", "--runtime"]);
        let call = call.arg(Runtime::get().path()).args(flags);
        call.args(["--", &self.0]).args(command)
    }

    fn run(&self, flags: &[&str], command: &[&str]) -> Output {
        self.run_call(flags, command).run()
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        call("buildah").args(["rm", &self.0]).run();
    }
}

#[test]
fn run_in_a_working_container() {
    let c = Working::new();
    assert_eq!(c.run(&[], &["echo", "hi"]).ok().stdout, "hi\n");
    c.run(&[], &["sh", "-c", "exit 3"]).exits(3);
    c.run(&[], &["nosuch"]).exits(1).says("nosuch");
    assert_eq!(c.run(&["--user=1000"], &["id", "-u"]).ok().stdout, "1000\n");
    c.run(&[], &["touch", "/made"]).ok();
    c.run(&[], &["ls", "/made"]).ok();
    let stdin = c.run_call(&[], &["cat"]).stdin("from outside").run();
    assert_eq!(stdin.ok().stdout, "from outside");
    assert_nothing_left();
}

#[test]
fn run_with_a_terminal() {
    let c = Working::new();
    let mut terminal = Terminal::open();
    let command = ["sh", "-c", "tty; read x; echo got $x"];
    let running = c.run_call(&["--tty"], &command).terminal(&terminal).spawn();
    terminal.read_until("/dev/pts/0");
    terminal.write("word\n");
    terminal.read_until("got word");
    running.wait().ok();
}
