//! More distributions as servers, without a flag beside what turns system mode on: the annotation in Podman, the runtime's name
//! in Docker and containerd. The Debians before and after the stable one, and the stable one with other inits.

use super::{Ctr, Docker, Place, Podman, SERVER, System, by_its_name, under_ctr, wait_state};
use integration::{Output, differs, has_distribution, needs, test_name, until};
use std::cell::Cell;

/// A command inside.
type Exec<'a> = &'a dyn Fn(&[&str]) -> Output;

/// How one is known to have booted, which must be without a failure, and how it is told to boot anew.
#[derive(Clone, Copy)]
struct Init {
    wait_booted: fn(Exec<'_>),
    reboot: &'static [&'static str],
    /// What comes on the console of each boot, and when it goes down by itself.
    says: [&'static str; 2],
}

const SYSTEMD: Init = Init {
    wait_booted: |exec| {
        let ask = ["systemctl", "is-system-running", "--wait"];
        let state = until("systemd", || wait_state(&exec(&ask)));
        let units = exec(&["systemctl", "--failed", "--no-legend"]).stdout;
        assert_eq!((state.as_str(), units.as_str()), ("running", ""));
    },
    reboot: &["systemctl", "reboot"],
    says: ["login: ", "Halting system."],
};

const RUNIT: Init = Init {
    wait_booted: |exec| {
        let script = "cat /proc/[0-9]*/comm | grep -x runsvdir";
        until("stage 2", || {
            let output = exec(&["sh", "-c", script]);
            (output.code() == Some(0)).then_some(())
        });
    },
    reboot: &["init", "6"],
    says: ["enter stage: /etc/runit/2", "Running shutdown tasks"],
};

/// With its own scripts, or OpenRC's.
const SYSVINIT: Init = Init {
    wait_booted: |exec| {
        until("runlevel 2", || {
            (exec(&["runlevel"]).stdout.trim() == "N 2").then_some(())
        });
    },
    reboot: &["shutdown", "-r", "now"],
    says: [
        "Entering runlevel: 2",
        "Sending processes configured via /etc/inittab the TERM signal",
    ],
};

/// What a boot leaves behind, and the next one does not find.
const MARK: &str = "/run/of-this-boot";

fn lives(place: Place, image: &str, init: Init) {
    differs!(Runc | Crun, "no system containers");
    needs!(
        has_distribution(image) || !image.ends_with("-sid"),
        "an image of sid, which could not be built"
    );
    if place == Ctr {
        return lives_in_containerd(image, init);
    }
    let flag = match place {
        Docker => "--runtime=vzrun-system",
        _ => SERVER,
    };
    let system = System::boot(place, image, &[flag], &["/sbin/init"]);
    (init.wait_booted)(&|command| system.exec(command));
    system.reboot(init.reboot);
    (init.wait_booted)(&|command| system.exec(command));
    assert_eq!(system.stop(), "0");
    let console = system.logs();
    assert!(console.contains(init.says[1]), "{console}");
}

fn lives_in_containerd(image: &str, init: Init) {
    let count = Cell::new(0);
    let exec = |command: &[&str]| {
        count.set(count.get() + 1);
        let id = format!("exec-{}", count.get());
        let call = Ctr.bare().args(["task", "exec", "--exec-id", &id]);
        call.arg(test_name()).args(command).run()
    };
    let flags = ["--runc-binary", by_its_name().to_str().unwrap()];
    under_ctr(image, &flags, "/sbin/init", 0, |console| {
        console.read_until(init.says[0]);
        (init.wait_booted)(&exec);
        exec(&["touch", MARK]).ok();
        exec(init.reboot);
        until("the next boot", || {
            let output = exec(&["test", "!", "-e", MARK]);
            (output.code() == Some(0)).then_some(())
        });
        console.read_until(init.says[0]);
        (init.wait_booted)(&exec);
        "SIGTERM"
    });
}

macro_rules! servers {
    ($($name:ident: $place:ident $image:literal $init:ident;)+) => {
        $(#[test]
        fn $name() {
            lives($place, $image, $init);
        })+
    };
}

servers! {
    bookworm_in_podman: Podman "systemd-bookworm" SYSTEMD;
    bookworm_in_docker: Docker "systemd-bookworm" SYSTEMD;
    bookworm_in_containerd: Ctr "systemd-bookworm" SYSTEMD;
    sid_in_podman: Podman "systemd-sid" SYSTEMD;
    sid_in_docker: Docker "systemd-sid" SYSTEMD;
    sid_in_containerd: Ctr "systemd-sid" SYSTEMD;
    sysvinit_in_docker: Docker "sysvinit" SYSVINIT;
    sysvinit_in_containerd: Ctr "sysvinit" SYSVINIT;
    openrc_in_docker: Docker "openrc" SYSVINIT;
    openrc_in_containerd: Ctr "openrc" SYSVINIT;
    runit_in_podman: Podman "runit" RUNIT;
    runit_in_docker: Docker "runit" RUNIT;
    runit_in_containerd: Ctr "runit" RUNIT;
}
