//! The architectures of a filter.

use crate::error::{Error, Result};
use crate::spec;

/// An architecture whose programs some kernel that vzrun is built for can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86.
    I386,
    /// 32-bit pointers on 64-bit x86: the same architecture to the kernel, but for a bit in each number.
    X32,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM, the EABI.
    Arm,
}

impl Arch {
    /// The one that this program is made for.
    #[cfg(target_arch = "x86_64")]
    pub(super) const NATIVE: Arch = Arch::X86_64;
    /// The one that this program is made for.
    #[cfg(target_arch = "aarch64")]
    pub(super) const NATIVE: Arch = Arch::Aarch64;

    /// All whose programs run here, the native one first.
    pub(super) fn all_here() -> Vec<Arch> {
        let all = [
            Arch::X86_64,
            Arch::Aarch64,
            Arch::I386,
            Arch::X32,
            Arch::Arm,
        ];
        let here = all.into_iter().filter(|arch| arch.runs_on(Arch::NATIVE));
        here.collect()
    }

    /// `seccomp_data.arch`: AUDIT_ARCH_* of linux/audit.h.
    pub(super) fn audit(self) -> u32 {
        match self {
            Arch::X86_64 | Arch::X32 => 0xc000_003e,
            Arch::I386 => 0x4000_0003,
            Arch::Aarch64 => 0xc000_00b7,
            Arch::Arm => 0x4000_0028,
        }
    }

    /// What every number of a call has set: __X32_SYSCALL_BIT.
    pub(super) fn bit(self) -> u32 {
        match self {
            Arch::X32 => 1 << 30,
            _ => 0,
        }
    }

    /// Arguments are compared in all of their 64 bits. On the others the kernel looks at the lower half alone.
    pub(super) fn is_64(self) -> bool {
        matches!(self, Arch::X86_64 | Arch::Aarch64)
    }

    /// Whether a kernel of `native` runs programs of this one.
    fn runs_on(self, native: Arch) -> bool {
        match native {
            Arch::Aarch64 | Arch::Arm => matches!(self, Arch::Aarch64 | Arch::Arm),
            _ => matches!(self, Arch::X86_64 | Arch::I386 | Arch::X32),
        }
    }
}

/// The architectures of a profile that can occur on a kernel of `native`, that one first: it is always among them.
///
/// # Errors
/// A name that runc does not know, or one of the other byte order, which a filter for this machine cannot have.
pub(super) fn plan(names: Option<&Vec<spec::Arch>>, native: Arch) -> Result<Vec<Arch>> {
    let mut arches = vec![native];
    for name in names.into_iter().flatten() {
        use spec::Arch as Name;
        let arch = match name {
            Name::ScmpArchX86_64 => Arch::X86_64,
            Name::ScmpArchX86 => Arch::I386,
            Name::ScmpArchX32 => Arch::X32,
            Name::ScmpArchAarch64 => Arch::Aarch64,
            Name::ScmpArchArm => Arch::Arm,
            // Kernels of these machines never meet ours.
            Name::ScmpArchMipsel
            | Name::ScmpArchMipsel64
            | Name::ScmpArchMipsel64n32
            | Name::ScmpArchPpc64le
            | Name::ScmpArchRiscv64
            | Name::ScmpArchLoongarch64 => continue,
            Name::ScmpArchMips
            | Name::ScmpArchMips64
            | Name::ScmpArchMips64n32
            | Name::ScmpArchPpc
            | Name::ScmpArchPpc64
            | Name::ScmpArchS390
            | Name::ScmpArchS390x => {
                return Err(Error::config(format!(
                    "linux.seccomp: {name} has another byte order than this machine"
                )));
            }
            _ => {
                return Err(Error::config(format!(
                    "linux.seccomp: string {name} is not a valid arch for seccomp"
                )));
            }
        };
        if arch.runs_on(native) && !arches.contains(&arch) {
            arches.push(arch);
        }
    }
    Ok(arches)
}
