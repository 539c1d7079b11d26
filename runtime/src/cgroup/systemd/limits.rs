//! Limits as properties of the scope (systemd.resource-control(5)), so that systemd knows them and keeps them when it
//! writes the cgroup's files again. What has no property is in the files alone; these are written in any case.

use super::{Property, Value};
use crate::cgroup::limits::{Amount, CpuMax, Limits, io_weight};

/// systemd keeps a quota in its files as a whole percentage of a CPU: this many microseconds per second.
const PERCENT: u64 = 10_000;
const SECOND: u64 = 1_000_000;
/// The kernel's period of cpu.max, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;
/// More CPUs or memory nodes than Linux can have; a number above is left to the kernel to refuse.
const MOST_BITS: usize = 1 << 16;

/// The properties of a new scope.
pub(crate) fn of_new(limits: &Limits) -> Vec<Property> {
    let mut properties = of_change(limits);
    // This one is for a start alone.
    let group = unified(limits, "memory.oom.group").and_then(|value| match value {
        "0" => Some("continue"),
        "1" => Some("kill"),
        _ => None,
    });
    if let Some(policy) = group {
        properties.push(Property::new("OOMPolicy", Value::Text(policy.into())));
    }
    properties
}

/// The properties that change with these limits. Of two for the same the last counts.
pub(crate) fn of_change(limits: &Limits) -> Vec<Property> {
    let mut all = List(Vec::new());
    all.amount("MemoryMax", limits.memory.max);
    all.amount("MemoryLow", limits.memory.low);
    all.amount("MemorySwapMax", limits.memory.swap);
    all.weight(limits.cpu.weight, limits.cpu.idle);
    if let Some(max) = limits.cpu.max {
        all.quota(max);
    }
    all.tasks(limits.pids.max);
    all.bits("AllowedCPUs", limits.cpuset.cpus.as_deref());
    all.bits("AllowedMemoryNodes", limits.cpuset.mems.as_deref());
    all.io_weight(limits.io.weight.map(io_weight));
    for (file, value) in &limits.unified.files {
        all.file(limits, file, value.trim());
    }
    all.0
}

fn unified<'l>(limits: &'l Limits, name: &str) -> Option<&'l str> {
    let found = limits.unified.files.iter().find(|(file, _)| file == name);
    found.map(|(_, value)| value.trim())
}

struct List(Vec<Property>);

impl List {
    fn set(&mut self, name: &str, value: Value) {
        self.0.retain(|property| property.name != name);
        self.0.push(Property::new(name, value));
    }

    fn amount(&mut self, name: &str, amount: Option<Amount>) {
        if let Some(amount) = amount {
            self.set(name, Value::U64(number(amount)));
        }
    }

    /// 0 is systemd's word for idle, and a weight its word for not idle.
    fn weight(&mut self, weight: Option<u64>, idle: Option<bool>) {
        let weight = match (idle, weight) {
            (Some(true), _) => 0,
            (_, Some(weight)) => weight,
            (Some(false), None) => 100,
            (None, None) => return,
        };
        self.set("CPUWeight", Value::U64(weight));
    }

    /// Rounded up, as in runc: less than was asked for would be worse. The file gets it as it is.
    fn quota(&mut self, CpuMax { quota, period }: CpuMax) {
        self.set("CPUQuotaPeriodUSec", Value::U64(period));
        let per_second = match quota {
            Amount::Max => u64::MAX,
            Amount::Of(quota) => {
                let per_second = u128::from(quota) * u128::from(SECOND) / u128::from(period.max(1));
                let rounded = per_second.div_ceil(u128::from(PERCENT)) * u128::from(PERCENT);
                u64::try_from(rounded).unwrap_or(u64::MAX)
            }
        };
        self.set("CPUQuotaPerSecUSec", Value::U64(per_second));
    }

    /// No task at all is not to be had from systemd: the container's init is there already.
    fn tasks(&mut self, max: Option<Amount>) {
        let max = max.map(|max| match max {
            Amount::Of(0) => Amount::Of(1),
            other => other,
        });
        self.amount("TasksMax", max);
    }

    /// systemd writes its own conversion of it to io.bfq.weight, too.
    fn io_weight(&mut self, weight: Option<u64>) {
        if let Some(weight) = weight {
            self.set("IOWeight", Value::U64(weight));
        }
    }

    fn bits(&mut self, name: &str, list: Option<&str>) {
        if let Some(bits) = list.and_then(bits) {
            self.set(name, Value::Bytes(bits));
        }
    }

    /// A file that is named in linux.resources.unified.
    fn file(&mut self, limits: &Limits, file: &str, value: &str) {
        match file {
            "memory.max" => self.amount("MemoryMax", bytes(value)),
            "memory.high" => self.amount("MemoryHigh", bytes(value)),
            "memory.low" => self.amount("MemoryLow", bytes(value)),
            "memory.min" => self.amount("MemoryMin", bytes(value)),
            "memory.swap.max" => self.amount("MemorySwapMax", bytes(value)),
            "memory.zswap.max" => self.amount("MemoryZSwapMax", bytes(value)),
            "pids.max" => self.tasks(bytes(value)),
            // All there are.
            "cpuset.cpus" if value.is_empty() => self.set("AllowedCPUs", Value::Bytes(Vec::new())),
            "cpuset.mems" if value.is_empty() => {
                self.set("AllowedMemoryNodes", Value::Bytes(Vec::new()));
            }
            "cpuset.cpus" => self.bits("AllowedCPUs", Some(value)),
            "cpuset.mems" => self.bits("AllowedMemoryNodes", Some(value)),
            "cpu.idle" => match value {
                "0" => {
                    let weight = unified(limits, "cpu.weight").and_then(|w| w.parse().ok());
                    self.weight(weight.or(limits.cpu.weight), Some(false));
                }
                "1" => self.weight(None, Some(true)),
                _ => {}
            },
            "cpu.weight" if unified(limits, "cpu.idle") != Some("1") => {
                self.weight(value.parse().ok(), None);
            }
            "io.weight" => self.io_weight(default_weight(value)),
            "io.bfq.weight" => {
                let weight = default_weight(value).and_then(|weight| u16::try_from(weight).ok());
                self.io_weight(weight.map(io_weight));
            }
            "cpu.max" => {
                let mut words = value.split_ascii_whitespace();
                let quota = words.next().and_then(bytes);
                let period = words
                    .next()
                    .map_or(Some(DEFAULT_PERIOD), |p| p.parse().ok());
                if let (Some(quota), Some(period)) = (quota, period) {
                    self.quota(CpuMax { quota, period });
                }
            }
            _ => {}
        }
    }
}

fn number(amount: Amount) -> u64 {
    match amount {
        // Infinity, for systemd.
        Amount::Max => u64::MAX,
        Amount::Of(count) => count,
    }
}

/// `max` or a number, with the suffixes that the kernel takes. What else it may take is left to it.
fn bytes(text: &str) -> Option<Amount> {
    if text == "max" {
        return Some(Amount::Max);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    let count: u64 = digits.parse().ok()?;
    count.checked_mul(1 << shift).map(Amount::Of)
}

/// The weight in a line of io.weight that is not about one device.
fn default_weight(line: &str) -> Option<u64> {
    line.strip_prefix("default")
        .unwrap_or(line)
        .trim()
        .parse()
        .ok()
}

/// A list like `0-3,7` as bits, the lowest first.
fn bits(list: &str) -> Option<Vec<u8>> {
    let mut bits = Vec::new();
    for part in list
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= MOST_BITS {
            return None;
        }
        for bit in first..=last {
            if bits.len() <= bit / 8 {
                bits.resize(bit / 8 + 1, 0);
            }
            bits[bit / 8] |= 1 << (bit % 8);
        }
    }
    (!bits.is_empty()).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;

    fn properties(json: &str) -> String {
        let resources = spec::parse_resources(json.as_bytes()).unwrap();
        let limits = Limits::plan(Some(&resources)).unwrap();
        let show = |property: Property| match property.value {
            Value::U64(u64::MAX) => format!("{}=infinity", property.name),
            Value::U64(value) => format!("{}={value}", property.name),
            Value::Text(value) => format!("{}={value}", property.name),
            Value::Bytes(value) => format!("{}={value:?}", property.name),
            other => panic!("{other:?}"),
        };
        let list: Vec<String> = of_new(&limits).into_iter().map(show).collect();
        list.join(" ")
    }

    #[test]
    fn table() {
        for (json, expected) in [
            ("{}", ""),
            (
                r#"{"memory":{"limit":1000,"reservation":500,"swap":3000}}"#,
                "MemoryMax=1000 MemoryLow=500 MemorySwapMax=2000",
            ),
            (
                r#"{"memory":{"limit":-1}}"#,
                "MemoryMax=infinity MemorySwapMax=infinity",
            ),
            (r#"{"cpu":{"shares":1024}}"#, "CPUWeight=100"),
            (r#"{"cpu":{"shares":1024,"idle":1}}"#, "CPUWeight=0"),
            (r#"{"cpu":{"shares":2,"idle":0}}"#, "CPUWeight=1"),
            (r#"{"cpu":{"idle":0}}"#, "CPUWeight=100"),
            (
                r#"{"cpu":{"quota":20000}}"#,
                "CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=200000",
            ),
            (
                r#"{"cpu":{"quota":12345,"period":50000}}"#,
                "CPUQuotaPeriodUSec=50000 CPUQuotaPerSecUSec=250000",
            ),
            (
                r#"{"cpu":{"quota":-1,"period":50000}}"#,
                "CPUQuotaPeriodUSec=50000 CPUQuotaPerSecUSec=infinity",
            ),
            (
                r#"{"cpu":{"quota":9223372036854775807,"period":1}}"#,
                "CPUQuotaPeriodUSec=1 CPUQuotaPerSecUSec=infinity",
            ),
            (r#"{"pids":{"limit":0}}"#, "TasksMax=1"),
            (r#"{"pids":{"limit":-1}}"#, "TasksMax=infinity"),
            (r#"{"pids":{"limit":7}}"#, "TasksMax=7"),
            (
                r#"{"cpu":{"cpus":"0-2,9","mems":"0"}}"#,
                "AllowedCPUs=[7, 2] AllowedMemoryNodes=[1]",
            ),
            // For the kernel to judge.
            (r#"{"cpu":{"cpus":"3-1"}}"#, ""),
            (r#"{"cpu":{"cpus":"0-99999999999"}}"#, ""),
            (r#"{"cpu":{"cpus":"0-7:1/2"}}"#, ""),
            (
                r#"{"unified":{"memory.max":"max","memory.high":"1M","memory.min":" 7 ","pids.max":"0"}}"#,
                "MemoryHigh=1048576 MemoryMax=infinity MemoryMin=7 TasksMax=1",
            ),
            (
                r#"{"memory":{"limit":5},"unified":{"memory.max":"9"}}"#,
                "MemoryMax=9",
            ),
            (
                r#"{"unified":{"memory.max":"x","memory.low":"1X","pids.max":""}}"#,
                "",
            ),
            (r#"{"unified":{"memory.low":"99999999T"}}"#, ""),
            (
                r#"{"unified":{"cpu.idle":"1","cpu.weight":"7"}}"#,
                "CPUWeight=0",
            ),
            (
                r#"{"unified":{"cpu.idle":"0","cpu.weight":"7"}}"#,
                "CPUWeight=7",
            ),
            (
                r#"{"unified":{"cpu.max":"50000 100000"}}"#,
                "CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=500000",
            ),
            (
                r#"{"unified":{"cpu.max":"max"}}"#,
                "CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=infinity",
            ),
            (r#"{"unified":{"cpu.max":"a b","cpu.idle":"x"}}"#, ""),
            (
                r#"{"unified":{"memory.oom.group":"1","cpuset.cpus":"1","cpuset.mems":"0"}}"#,
                "AllowedCPUs=[2] AllowedMemoryNodes=[1] OOMPolicy=kill",
            ),
            (
                r#"{"blockIO":{"weight":10},"unified":{"io.weight":"8:0 300"}}"#,
                "IOWeight=1",
            ),
            (r#"{"unified":{"io.weight":"default 300"}}"#, "IOWeight=300"),
            (r#"{"unified":{"io.bfq.weight":"1000"}}"#, "IOWeight=10000"),
            (
                r#"{"unified":{"cpuset.cpus":"","cpuset.mems":""}}"#,
                "AllowedCPUs=[] AllowedMemoryNodes=[]",
            ),
            (
                r#"{"unified":{"memory.oom.group":"0","hugetlb.2MB.max":"1"}}"#,
                "OOMPolicy=continue",
            ),
        ] {
            assert_eq!(properties(json), expected, "{json}");
        }
    }
}
