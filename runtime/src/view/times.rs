//! What adds up over time: the CPU time of a boot, and the load averages. Both are brought forward when somebody looks, so that
//! nothing runs while nobody does.

use super::sources::Keyed;

/// CPU time in microseconds, as cpu.stat counts it: since the cgroup was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Busy {
    pub(super) user: u64,
    pub(super) nice: u64,
    pub(super) system: u64,
}

/// Of one boot, as /proc/stat shows it, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) user: u64,
    pub(super) nice: u64,
    pub(super) system: u64,
    pub(super) idle: u64,
}

impl Busy {
    /// Of cpu.stat, where user time has that of nice processes in it, too (nice_usec: Linux 6.12). The one is measured, the other
    /// counted by ticks, so that may be more.
    pub(super) fn of(stat: &Keyed) -> Busy {
        let user = stat.get("user_usec");
        let nice = stat.get("nice_usec").min(user);
        Busy {
            user: user - nice,
            nice,
            system: stat.get("system_usec"),
        }
    }

    fn sum(&self) -> u64 {
        self.user + self.nice + self.system
    }
}

/// The CPUs' time since a boot.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CpuTime {
    /// What had been used before it.
    before: Busy,
    /// When this was last brought forward, in microseconds since the machine's boot.
    at: u64,
    busy: u64,
    /// What has been shown last.
    shown: Shown,
}

impl CpuTime {
    pub(super) fn begin(now: u64, busy: Busy) -> CpuTime {
        CpuTime {
            before: busy,
            at: now,
            busy: busy.sum(),
            shown: Shown::default(),
        }
    }

    /// Idle is what of the time of so many CPUs has not been used. Nothing ever goes back, also when there are fewer CPUs from now on.
    pub(super) fn bring_forward(&mut self, now: u64, busy: Busy, cpus: u64) -> Shown {
        let elapsed = now.saturating_sub(self.at).saturating_mul(cpus);
        let used = busy.sum().saturating_sub(self.busy);
        (self.at, self.busy) = (now, busy.sum());
        let last = self.shown;
        self.shown = Shown {
            user: busy.user.saturating_sub(self.before.user).max(last.user),
            nice: busy.nice.saturating_sub(self.before.nice).max(last.nice),
            system: busy
                .system
                .saturating_sub(self.before.system)
                .max(last.system),
            idle: last.idle + elapsed.saturating_sub(used),
        };
        self.shown
    }
}

/// Over how many microseconds the three averages of /proc/loadavg are taken.
const OVER: [f64; 3] = [60e6, 300e6, 900e6];
/// What is more often looked at is not brought forward each time.
const LEAST: u64 = 100_000;

/// The load averages: of how many processes want a CPU, or wait for a disk.
///
/// The kernel counts them every five seconds. By cgroup there is no such count, but there is the time that CPUs have worked (on
/// average as many processes have run as that is times the time passed), and the time in which some process has waited for a CPU,
/// and for I/O (one at least). Their sum is taken for the load since it was last looked at, and weighted as the kernel does. So
/// it is too low where many wait at a time, and even over a time in which nobody looked.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Load {
    at: u64,
    running: u64,
    blocked: u64,
    averages: [f64; 3],
    /// How many ran or waited for a CPU, and for I/O, of late.
    latest: [f64; 2],
}

/// What the load is reckoned from: sums of microseconds since whenever.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Waits {
    pub(super) used: u64,
    pub(super) for_cpu: u64,
    pub(super) for_io: u64,
}

impl Load {
    pub(super) fn begin(now: u64, waits: Waits) -> Load {
        Load {
            at: now,
            running: waits.used + waits.for_cpu,
            blocked: waits.for_io,
            ..Load::default()
        }
    }

    pub(super) fn bring_forward(&mut self, now: u64, waits: Waits) {
        let elapsed = now.saturating_sub(self.at);
        if elapsed < LEAST {
            return;
        }
        let running = waits.used + waits.for_cpu;
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / elapsed as f64;
        self.latest = [
            rate(running, self.running),
            rate(waits.for_io, self.blocked),
        ];
        let load = self.latest[0] + self.latest[1];
        for (average, over) in self.averages.iter_mut().zip(OVER) {
            let kept = (-(elapsed as f64) / over).exp();
            *average = *average * kept + load * (1.0 - kept);
        }
        (self.at, self.running, self.blocked) = (now, running, waits.for_io);
    }

    /// How many processes run, the reader among them, and how many are blocked: of so many.
    pub(super) fn now(&self, of: u64) -> (u64, u64) {
        let [running, blocked] = self.latest.map(|rate| rate.round() as u64);
        (running.clamp(1, of.max(1)), blocked.min(of))
    }

    /// Over 1, 5 and 15 minutes.
    pub(super) fn averages(&self) -> [f64; 3] {
        self.averages
    }

    /// /proc/loadavg. `last` is the pid that was last given away.
    pub(super) fn text(&self, threads: u64, last: u64) -> String {
        let [one, five, fifteen] = self.averages;
        let (running, _) = self.now(threads);
        format!("{one:.2} {five:.2} {fifteen:.2} {running}/{threads} {last}\n")
    }
}

/// /proc/uptime: seconds since boot, and those that the CPUs were idle.
pub(super) fn uptime(since_boot: u64, idle: u64) -> String {
    let text = |usec: u64| format!("{}.{:02}", usec / 1_000_000, usec / 10_000 % 100);
    format!("{} {}\n", text(since_boot), text(idle))
}

/// The sum in the line `some` of a file like cpu.pressure (Documentation/accounting/psi.rst), in microseconds.
pub(super) fn some_total(pressure: &str) -> u64 {
    let line = pressure.lines().find(|line| line.starts_with("some "));
    let total = line.and_then(|line| line.rsplit_once("total="));
    total.and_then(|(_, total)| total.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn idle_never_goes_back() {
        let busy = |user, system| Busy {
            user,
            nice: 0,
            system,
        };
        let mut time = CpuTime::begin(10 * SECOND, busy(5 * SECOND, SECOND));
        let shown = time.bring_forward(20 * SECOND, busy(8 * SECOND, 2 * SECOND), 2);
        let expected = Shown {
            user: 3 * SECOND,
            nice: 0,
            system: SECOND,
            idle: 16 * SECOND,
        };
        assert_eq!(shown, expected);
        // One CPU from now on, and more used than there is of it.
        let shown = time.bring_forward(21 * SECOND, busy(10 * SECOND, 2 * SECOND), 1);
        assert_eq!((shown.user, shown.idle), (5 * SECOND, 16 * SECOND));
        let shown = time.bring_forward(22 * SECOND, busy(10 * SECOND, 2 * SECOND), 1);
        assert_eq!(shown.idle, 17 * SECOND);
        assert_eq!(uptime(12_345_678, shown.idle), "12.34 17.00\n");
    }

    #[test]
    fn nice_is_told_apart() {
        let stat =
            Keyed("usage_usec 9\nuser_usec 5\nsystem_usec 4\nnice_usec 2\ncore_sched 0\n".into());
        let busy = Busy {
            user: 3,
            nice: 2,
            system: 4,
        };
        assert_eq!(Busy::of(&stat), busy);
        let busy = Busy::of(&Keyed("user_usec 5\nnice_usec 7\n".into()));
        assert_eq!((busy.user, busy.nice), (0, 5));
    }

    #[test]
    fn load_comes_and_goes() {
        let mut load = Load::begin(0, Waits::default());
        assert_eq!(load.text(5, 77), "0.00 0.00 0.00 1/5 77\n");
        // Two CPUs at work and somebody waiting, for a minute, looked at each second.
        let mut waits = Waits::default();
        for second in 1..=60 {
            waits.used += 2 * SECOND;
            waits.for_cpu += SECOND;
            load.bring_forward(second * SECOND, waits);
        }
        // 3 x (1 - 1/e), as the kernel has it after a minute.
        assert_eq!(load.text(9, 80), "1.90 0.54 0.19 3/9 80\n");
        assert_eq!(load.now(2), (2, 0));
        // One long look is the same as many.
        let mut once = Load::begin(0, Waits::default());
        once.bring_forward(60 * SECOND, waits);
        assert_eq!(once.text(9, 80), load.text(9, 80));
        load.bring_forward(60 * SECOND + 1, Waits::default());
        load.bring_forward(3600 * SECOND, waits);
        assert_eq!(load.text(9, 80), "0.00 0.00 0.00 1/9 80\n");
        // Only that for I/O counts as blocked.
        waits.for_io += SECOND;
        load.bring_forward(3601 * SECOND, waits);
        assert_eq!(load.now(9), (1, 1));
    }

    #[test]
    fn sums_of_pressure() {
        let text = "some avg10=0.00 avg60=0.12 avg300=0.05 total=431\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(some_total(text), 431);
        assert_eq!(some_total(""), 0);
    }
}
