//! The systemd driver: the container's cgroup is that of a transient scope, made and removed by systemd
//! (org.freedesktop.systemd1(5)).
//!
//! systemd takes a running process into a new scope. So the container's init is forked first, where its creator is, and
//! works on what needs no cgroup while systemd does its part; it waits before the first thing that shows or needs its
//! cgroup. Where the cgroup then is, the process itself tells (/proc/PID/cgroup). Should vzrun be killed meanwhile, its
//! child ends with it, and systemd removes a scope that is empty.

pub(crate) mod annotation;
mod bus;
#[cfg(feature = "fuzz")]
pub(super) mod doors;
pub(crate) mod limits;
mod unit;
mod wire;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bus::{Connection, Refusal};
use wire::{Call, Message, Writer, kind};

pub(crate) use bus::Bus;
pub(crate) use unit::Unit;
pub(crate) use wire::Value;

use super::devices::{DeviceAllow, DeviceRules};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::fs;

const SYSTEMD: &str = "org.freedesktop.systemd1";
const OBJECT: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
/// How long systemd may take for all of an operation, as in runc.
const PATIENCE: Duration = Duration::from_secs(30);

/// A property of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Property {
    pub(crate) name: String,
    pub(crate) value: Value,
}

impl Property {
    pub(crate) fn new(name: impl Into<String>, value: Value) -> Property {
        Property {
            name: name.into(),
            value,
        }
    }
}

/// The devices, so that systemd does not take them away when it attaches its own program again.
pub(crate) fn of_devices(rules: &DeviceRules) -> [Property; 2] {
    let DeviceAllow { policy, list } = rules.device_allow();
    [
        Property::new("DevicePolicy", Value::Text(policy.into())),
        Property::new("DeviceAllow", Value::Pairs(list)),
    ]
}

/// What a container's scope has in any case.
fn base(unit: &Unit, id: &str, pid: u32) -> Vec<Property> {
    let on = || Value::Bool(true);
    [
        ("Description", Value::Text(format!("vzrun container {id}"))),
        ("Slice", Value::Text(unit.slice.clone())),
        ("Delegate", on()),
        ("PIDs", Value::U32s(vec![pid])),
        // A controller that is turned on later does not count what was before.
        ("MemoryAccounting", on()),
        ("CPUAccounting", on()),
        ("IOAccounting", on()),
        ("TasksAccounting", on()),
        ("DefaultDependencies", Value::Bool(false)),
        // A scope that has failed (its processes were OOM-killed, say) goes by itself, too.
        ("CollectMode", Value::Text("inactive-or-failed".into())),
    ]
    .map(|(name, value)| Property::new(name, value))
    .into()
}

/// A connection to systemd, for the work with one unit.
#[derive(Debug)]
pub(crate) struct Systemd {
    unit: Unit,
    bus: Connection,
    until: Instant,
    /// Ended jobs that were not asked for yet: who says so, which job, how it has ended.
    ended: Vec<Ended>,
}

#[derive(Debug)]
struct Ended {
    sender: String,
    job: String,
    result: String,
}

/// A start that has been asked for.
#[derive(Debug)]
pub(crate) struct Starting {
    systemd: Systemd,
    properties: Vec<Property>,
    serial: u32,
}

impl Systemd {
    /// Connects to the systemd that the unit belongs to. It does not wait for an answer.
    ///
    /// # Errors
    /// As runc where the host has no systemd.
    pub(crate) fn connect(unit: &Unit) -> Result<Systemd> {
        let mut bus = Connection::open(unit.bus).map_err(|error| {
            match unit.bus == Bus::System && fs::stat("/run/systemd/system").is_err() {
                true => Error::unsupported(format!(
                    "systemd not running on this host, cannot use systemd cgroups manager: {error}"
                )),
                false => error,
            }
        })?;
        bus.subscribe(&format!(
            "type='signal',sender='{SYSTEMD}',path='{OBJECT}',interface='{MANAGER}',member='JobRemoved',arg2='{}'",
            unit.name
        ))?;
        bus.flush()?;
        Ok(Systemd {
            unit: unit.clone(),
            bus,
            until: Instant::now() + PATIENCE,
            ended: Vec::new(),
        })
    }

    /// Asks systemd to make the scope, with this process in it.
    pub(crate) fn start(mut self, id: &str, pid: u32, more: &[Property]) -> Result<Starting> {
        let mut properties = base(&self.unit, id, pid);
        properties.extend_from_slice(more);
        let serial = self.ask_start(&properties)?;
        Ok(Starting {
            systemd: self,
            properties,
            serial,
        })
    }

    fn ask_start(&mut self, properties: &[Property]) -> Result<u32> {
        let mut body = Writer::default();
        body.text(&self.unit.name)?;
        body.text("replace")?;
        write_properties(&mut body, properties)?;
        // No further units.
        let none = body.open_array(8);
        body.close_array(none)?;
        self.ask("StartTransientUnit", "ssa(sv)a(sa(sv))", body, true)
    }

    /// Where the cgroup of the unit is if it is where systemd puts such a unit.
    pub(crate) fn usual_path(unit: &Unit) -> Result<Option<PathBuf>> {
        Ok(match unit.bus {
            Bus::System => unit.usual_path(Path::new("/")),
            Bus::User => unit.usual_path(&Systemd::connect(unit)?.root()?),
        })
    }

    /// The cgroup of this systemd.
    fn root(&mut self) -> Result<PathBuf> {
        let mut body = Writer::default();
        body.text(MANAGER)?;
        body.text("ControlGroup")?;
        let get = self.bus.queue(&Call {
            destination: SYSTEMD,
            path: OBJECT,
            interface: "org.freedesktop.DBus.Properties",
            member: "Get",
            signature: "ss",
            body,
            answered: true,
        })?;
        let answer = self.bus.answer(get, self.until, drop);
        answer
            .map_err(Error::from)
            .and_then(|answer| Ok(Path::new("/").join(answer.arguments().text_in_variant()?)))
            .context(|| "asking systemd for its cgroup")
    }

    /// Stops the unit and waits until it is gone: at once if it is gone already.
    pub(crate) fn stop(mut self) -> Result<()> {
        let mut body = Writer::default();
        body.text(&self.unit.name)?;
        body.text("replace")?;
        let serial = self.ask("StopUnit", "ss", body, true)?;
        let words = format!("stopping the unit {:?}", self.unit.name);
        match self.job(serial) {
            Ok(_) => {}
            Err(Refusal::Said { name, .. }) if name.ends_with(".NoSuchUnit") => return Ok(()),
            Err(refusal) => return Err(Error::from(refusal).wrap(words)),
        }
        // It is remembered as failed only where an annotation has changed its CollectMode.
        self.reset_failed()
    }

    /// Changes properties of the unit, until it is gone.
    pub(crate) fn set(mut self, properties: &[Property]) -> Result<()> {
        let mut body = Writer::default();
        body.text(&self.unit.name)?;
        body.bool(true);
        write_properties(&mut body, properties)?;
        let set = manager_call("SetUnitProperties", "sba(sv)", body, true);
        let set = self.bus.queue(&set)?;
        // It answers first and writes the files after that, but before it looks at the next message.
        let written = self.bus.queue(&Call {
            destination: SYSTEMD,
            path: OBJECT,
            interface: "org.freedesktop.DBus.Peer",
            member: "Ping",
            signature: "",
            body: Writer::default(),
            answered: true,
        })?;
        let answer = self.bus.answer(set, self.until, drop);
        answer
            .and_then(|_| self.bus.answer(written, self.until, drop))
            .map(drop)
            .map_err(Error::from)
            .context(|| format!("setting properties of the unit {:?}", self.unit.name))
    }

    /// Lets systemd forget that the unit has failed, if it has.
    fn reset_failed(&mut self) -> Result<()> {
        let mut body = Writer::default();
        body.text(&self.unit.name)?;
        self.ask("ResetFailedUnit", "s", body, false).map(drop)
    }

    fn ask(&mut self, member: &str, signature: &str, body: Writer, answered: bool) -> Result<u32> {
        let call = manager_call(member, signature, body, answered);
        let serial = self.bus.queue(&call)?;
        self.bus.flush()?;
        Ok(serial)
    }

    /// Waits for the end of the job that the answer to a call names, and tells its result.
    fn job(&mut self, serial: u32) -> std::result::Result<String, Refusal> {
        let Systemd {
            bus, until, ended, ..
        } = self;
        let answer = bus.answer(serial, *until, |message| ended.extend(ended_job(&message)))?;
        let job = answer.arguments().text()?.to_owned();
        loop {
            // Anybody may send a signal, but only systemd has answered.
            let ours =
                |it: &&Ended| it.job == job && (bus.is_private || it.sender == answer.sender);
            if let Some(found) = ended.iter().find(ours) {
                return Ok(found.result.clone());
            }
            let message = bus.receive(*until)?;
            ended.clear();
            ended.extend(ended_job(&message));
        }
    }
}

impl Starting {
    /// Waits until the scope is there, with the process in it.
    pub(crate) fn finish(mut self) -> Result<Unit> {
        let systemd = &mut self.systemd;
        let words = format!("unable to start unit {:?}", systemd.unit.name);
        let mut may_reset = true;
        loop {
            let (name, text) = match systemd.job(self.serial) {
                Ok(result) if result == "done" => return Ok(self.systemd.unit),
                Ok(result) => {
                    systemd.reset_failed()?;
                    let text = format!("{words}: systemd's job ended with {result:?}");
                    return Err(Error::new(ErrorKind::Process, text));
                }
                Err(Refusal::Said { name, text }) => (name, text),
                Err(Refusal::Failed(error)) => return Err(error.wrap(words)),
            };
            if name.ends_with(".UnitExists") && may_reset {
                // It may be left over from a container that has failed.
                may_reset = false;
                systemd.reset_failed()?;
            } else if let Some(at) = dispensable(&self.properties, &text) {
                let property = self.properties.remove(at);
                crate::log::debug(format_args!("this systemd has no {}", property.name));
            } else {
                return Err(Error::from(Refusal::Said { name, text }).wrap(words));
            }
            self.serial = systemd.ask_start(&self.properties)?;
        }
    }
}

/// Which property of the list an older systemd does not know, by its own words, and need not know: the cgroup's file is
/// written anyway.
fn dispensable(properties: &[Property], text: &str) -> Option<usize> {
    const YOUNG: [&str; 5] = [
        "CollectMode",
        "CPUQuotaPeriodUSec",
        "AllowedCPUs",
        "AllowedMemoryNodes",
        "MemoryZSwapMax",
    ];
    // CPUWeight=0 stands for idle since systemd 252.
    let zero =
        |property: &Property| property.name == "CPUWeight" && property.value == Value::U64(0);
    if text.contains("CPUWeight") {
        return properties.iter().position(zero);
    }
    let rest = text.strip_prefix("Cannot set property ")?;
    let name = rest.split(',').next()?;
    YOUNG.contains(&name).then_some(())?;
    properties.iter().position(|property| property.name == name)
}

fn manager_call<'a>(member: &'a str, signature: &'a str, body: Writer, answered: bool) -> Call<'a> {
    Call {
        destination: SYSTEMD,
        path: OBJECT,
        interface: MANAGER,
        member,
        signature,
        body,
        answered,
    }
}

fn write_properties(body: &mut Writer, properties: &[Property]) -> Result<()> {
    let list = body.open_array(8);
    for Property { name, value } in properties {
        body.property(name, value)
            .context(|| format!("property {name} for systemd"))?;
    }
    body.close_array(list)
}

/// The signal JobRemoved, if the message is one: number, job, unit, result.
fn ended_job(message: &Message) -> Option<Ended> {
    let is_it = message.kind == kind::SIGNAL
        && message.interface == MANAGER
        && message.member == "JobRemoved"
        && message.signature == "uoss";
    if !is_it {
        return None;
    }
    let mut arguments = message.arguments();
    arguments.u32().ok()?;
    let job = arguments.text().ok()?.to_owned();
    let _unit = arguments.text().ok()?;
    Some(Ended {
        sender: message.sender.clone(),
        job,
        result: arguments.text().ok()?.to_owned(),
    })
}

/// Checks that the process is in the unit now, whose cgroup this is.
pub(crate) fn check_place(unit: &Unit, path: &Path) -> Result<()> {
    match path
        .file_name()
        .is_some_and(|name| name == unit.name.as_str())
    {
        true => Ok(()),
        false => Err(Error::new(
            ErrorKind::Process,
            format!(
                "systemd has made {:?}, but the process is in {path:?}",
                unit.name
            ),
        )),
    }
}
