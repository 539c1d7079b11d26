//! `probe call`: system calls under a filter, each in a process of its own, and what came of them.
//!
//! A call is `[thread:][i386:|x32:]NUMBER[,ARGUMENT...]`. Its answer is the value that it gave (a number), the error's
//! name, `trap NUMBER ARCH DATA` (what SIGSYS said, hexadecimal architecture), `signal N` where that has killed the
//! process, `thread killed` where it has killed only the thread that made the call, or `no number`.

use crate::{kernel, names};
use serde_json::{Value, json};
use std::sync::mpsc;
use std::time::Duration;

/// The answers, by call.
pub(crate) fn answers(calls: &[&str]) -> Value {
    let answers = calls
        .iter()
        .map(|text| (text.to_string(), answer(text).unwrap_or(json!("no number"))));
    Value::Object(answers.collect())
}

fn answer(text: &str) -> Option<Value> {
    let (in_thread, rest) = match text.strip_prefix("thread:") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (abi, numbers) = match rest.split_once(':') {
        None => (Abi::Native, rest),
        Some(("i386", numbers)) => (Abi::I386, numbers),
        Some(("x32", numbers)) => (Abi::X32, numbers),
        Some(_) => return None,
    };
    let numbers: Vec<i64> = numbers
        .split(',')
        .map(|number| number.parse().ok())
        .collect::<Option<_>>()?;
    let (number, rest) = numbers.split_first()?;
    let mut args = [0; 6];
    for (to, from) in args.iter_mut().zip(rest) {
        *to = *from;
    }
    let call = Call {
        abi,
        number: *number,
        args,
    };
    let (text, signal) = kernel::in_child(|| match in_thread {
        false => call.make(),
        true => call.make_in_thread(),
    });
    Some(match (text, signal) {
        (_, Some(signal)) => json!(format!("signal {signal}")),
        (text, None) => serde_json::from_str(&text).unwrap_or(json!("no answer")),
    })
}

#[derive(Clone, Copy)]
enum Abi {
    Native,
    /// By `int 0x80`.
    I386,
    /// With the bit of the x32 ABI in the number.
    X32,
}

#[derive(Clone, Copy)]
struct Call {
    abi: Abi,
    number: i64,
    args: [i64; 6],
}

impl Call {
    /// Its answer as JSON.
    fn make(self) -> String {
        kernel::catch_sigsys();
        let result = match self.abi {
            Abi::Native => kernel::raw_syscall(self.number, self.args),
            Abi::X32 => kernel::raw_syscall(self.number | 0x4000_0000, self.args),
            Abi::I386 => kernel::i386_syscall(self.number, self.args),
        };
        let answer = match (kernel::trapped(), result) {
            (Some((number, arch, data)), _) => json!(format!("trap {number} {arch:x} {data}")),
            (None, Ok(value)) => json!(value),
            (None, Err(error)) => json!(names::errno(error)),
        };
        answer.to_string()
    }

    fn make_in_thread(self) -> String {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || sender.send(self.make()));
        loop {
            // A thread that the kernel has killed drops nothing, so it is looked for.
            match receiver.recv_timeout(Duration::from_millis(5)) {
                Ok(answer) => return answer,
                Err(_) if kernel::threads() == 1 => return json!("thread killed").to_string(),
                Err(_) => {}
            }
        }
    }
}
