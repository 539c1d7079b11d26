//! Measures OCI runtimes and the floor side by side: in each round every program
//! has one turn, in an order of that round's own, so that what else the machine
//! does falls on all of them alike. Prints markdown.

mod bars;
mod bundles;
mod process;
mod runtime;
mod table;
#[path = "../wait.rs"]
mod wait;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bundles::Bundles;
use process::Sample;
use runtime::{CGROUPS, Runtime};
use table::{Column, Row};

const USAGE: &str = "usage: measure BUNDLE ROUNDS CONTAINERS NAME=PATH...
BUNDLE is one of bundle.sh's; ROUNDS how often the quick cases are done; CONTAINERS how many `list` shows;
NAME=PATH the programs, the floor's name being floor.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [bundle, rounds, containers, programs @ ..] = args.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(1);
    };
    let bundle = PathBuf::from(bundle);
    let programs: Vec<Runtime> = programs
        .iter()
        .map(|program| parse_program(program, &bundle))
        .collect();
    let rounds = rounds.parse().expect("ROUNDS is a number");
    let containers = containers.parse().expect("CONTAINERS is a number");

    // What a detached container leaves to init comes to us instead, to be waited for.
    let me = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(me)).expect("subreaper");
    // Something always stays below, lest a runtime removes the parent of its cgroup.
    fs::create_dir_all(format!("{CGROUPS}/keep")).expect("cgroup");

    let bundles = Bundles::new(&bundle);
    let rows = measure(&programs, &bundles, rounds, containers);
    println!("{}\n{}", table::markdown(&rows), bars::markdown(&rows));
    let failed = rows
        .iter()
        .flat_map(|row| &row.columns)
        .filter(|column| column.samples.is_err())
        .count();
    ExitCode::from(u8::from(failed > 0))
}

fn parse_program(program: &str, scratch: &Path) -> Runtime {
    let (name, path) = program.split_once('=').expect("NAME=PATH");
    Runtime::new(name, Path::new(path), scratch)
}

fn measure(programs: &[Runtime], bundles: &Bundles, rounds: usize, containers: usize) -> Vec<Row> {
    let all: Vec<&Runtime> = programs.iter().collect();
    let mut rows = vec![
        row("run", &all, rounds, |runtime| runtime.run(bundles)),
        row("run with seccomp", &all, rounds, |runtime| {
            runtime.run_filtered(bundles)
        }),
        row("create+start+delete", &all, rounds, |runtime| {
            runtime.life(bundles)
        }),
    ];
    let sleepers: Vec<Result<u32, String>> = all
        .iter()
        .map(|runtime| runtime.start_sleeper(bundles))
        .collect();
    let sleeper = |runtime: &Runtime| {
        let at = programs
            .iter()
            .position(|program| program.name == runtime.name)
            .expect("one of ours");
        sleepers[at].clone()
    };
    rows.push(row("exec", &all, rounds, |runtime| {
        runtime.exec(sleeper(runtime)?)
    }));
    rows.push(row("state", &all, rounds, |runtime| {
        sleeper(runtime)?;
        runtime.state(&runtime.id("sleep"))
    }));
    for runtime in &all {
        complain(runtime, runtime.delete_sleeper());
    }
    let few = (rounds / 20).max(3);
    rows.push(row("100 started", &all, few, |runtime| {
        let started = runtime.start_many(bundles, "many", 100);
        let deleted = runtime.delete_many("many", 100);
        let started = started?;
        deleted.map(|_| started)
    }));

    let with_state: Vec<&Runtime> = all
        .into_iter()
        .filter(|runtime| !runtime.is_floor())
        .collect();
    for runtime in &with_state {
        complain(runtime, runtime.start_many(bundles, "light", containers));
    }
    rows.push(row(
        &format!("list of {containers}"),
        &with_state,
        few * 4,
        Runtime::list,
    ));
    rows.push(row(
        &format!("state among {containers}"),
        &with_state,
        few * 4,
        |runtime| runtime.state(&format!("{}-0", runtime.id("light"))),
    ));
    for runtime in &with_state {
        complain(runtime, runtime.delete_many("light", containers));
    }
    rows
}

fn complain(runtime: &Runtime, result: Result<Sample, String>) {
    if let Err(error) = result {
        eprintln!("measure: {}: {error}", runtime.name);
    }
}

/// Does a case in rounds with all programs. One that fails is out of the case.
fn row(
    case: &str,
    programs: &[&Runtime],
    rounds: usize,
    work: impl Fn(&Runtime) -> Result<Sample, String>,
) -> Row {
    const WARM_UP: usize = 2;
    eprintln!("measure: {case}");
    let column = |runtime: &&Runtime| Column {
        name: runtime.name.clone(),
        samples: Ok(Vec::new()),
    };
    let mut columns: Vec<Column> = programs.iter().map(column).collect();
    let mut chance = Chance(0x9e37_79b9);
    for round in 0..rounds + WARM_UP {
        for at in chance.order(programs.len()) {
            let Ok(samples) = &mut columns[at].samples else {
                continue;
            };
            // The kernel takes a network namespace apart after its last process has gone: that
            // is the doing of the one before. It tells nobody when it is done.
            std::thread::sleep(Duration::from_millis(5));
            match work(programs[at]) {
                Ok(sample) if round >= WARM_UP => samples.push(sample),
                Ok(_) => {}
                Err(error) => {
                    eprintln!("measure: {case}: {}: {error}", programs[at].name);
                    columns[at].samples = Err(error);
                }
            }
        }
    }
    Row {
        case: case.to_owned(),
        columns,
    }
}

/// Random enough to shuffle with, and the same in each measurement.
struct Chance(u64);

impl Chance {
    fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            order.swap(last, (self.0 >> 33) as usize % (last + 1));
        }
        order
    }
}
