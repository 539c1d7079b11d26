//! A target without a fuzzer: `TARGET [SECONDS] [FILE|FOLDER]...` runs it on all the files, and then for so many seconds
//! on changed copies of them. What it panics on is written to a file.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Runs `target` as the arguments say.
pub fn replay(target: impl Fn(&[u8])) -> ExitCode {
    let mut words = std::env::args().skip(1).peekable();
    let seconds = words.peek().and_then(|word| word.parse::<u64>().ok());
    let places = words.skip(usize::from(seconds.is_some()));
    let mut inputs = Vec::new();
    for place in places {
        if let Err(error) = gather(Path::new(&place), &mut inputs) {
            eprintln!("{place}: {error}");
            return ExitCode::FAILURE;
        }
    }
    // One thing that is always tried, and that changes start from.
    inputs.push(Vec::new());
    if !inputs.iter().all(|input| holds(&target, input)) {
        return ExitCode::FAILURE;
    }
    let given = inputs.len();
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(0));
    // Another run, other inputs: the time is as good a seed as any, and a finding is kept.
    let mut dice = Dice(end.elapsed().as_nanos() as u64 ^ u64::from(std::process::id()) << 32);
    dice.0 ^= std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(1, |time| time.as_nanos() as u64);
    let mut tried = 0;
    while Instant::now() < end {
        if !holds(&target, &dice.changed(&inputs)) {
            return ExitCode::FAILURE;
        }
        tried += 1;
    }
    println!("{given} inputs, {tried} random ones");
    ExitCode::SUCCESS
}

fn gather(place: &Path, inputs: &mut Vec<Vec<u8>>) -> std::io::Result<()> {
    if !place.is_dir() {
        inputs.push(fs::read(place)?);
        return Ok(());
    }
    let mut files = fs::read_dir(place)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<PathBuf>>>()?;
    files.sort();
    files.iter().try_for_each(|file| gather(file, inputs))
}

fn holds(target: &impl Fn(&[u8]), input: &[u8]) -> bool {
    if catch_unwind(AssertUnwindSafe(|| target(input))).is_ok() {
        return true;
    }
    let file = std::env::temp_dir().join(format!("vzrun-fuzz-{}", std::process::id()));
    match fs::write(&file, input) {
        Ok(()) => eprintln!("the input is in {}", file.display()),
        Err(_) => eprintln!("the input is {input:?}"),
    }
    false
}

/// xorshift64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 |= u64::from(self.0 == 0);
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 11) as usize % end.max(1)
    }

    /// One of the inputs with some bytes of its own, or bytes alone.
    fn changed(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut input = match self.below(2) {
            0 => inputs[self.below(inputs.len())].clone(),
            _ => (0..self.below(600)).map(|_| self.next() as u8).collect(),
        };
        for _ in 0..self.below(8) {
            let at = self.below(input.len() + 1);
            match (self.below(4), input.get_mut(at)) {
                (0, Some(byte)) => *byte = self.next() as u8,
                (1, Some(byte)) => *byte ^= 1 << self.below(8),
                (2, Some(_)) => drop(input.remove(at)),
                (3, Some(_)) => {
                    let part = input[at..input.len().min(at + self.below(64))].to_vec();
                    let to = self.below(input.len());
                    drop(input.splice(to..to, part));
                }
                _ => input.push(self.next() as u8),
            }
        }
        input
    }
}
