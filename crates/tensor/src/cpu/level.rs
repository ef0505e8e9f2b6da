//! Which vectors the processor has, and which of them kernels may use.

use std::env;
use std::sync::OnceLock;

/// A set of instructions that kernels are written for, each holding the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// What every processor of the target has.
    Portable,
    /// The 128-bit vectors of aarch64.
    Neon,
    /// 256-bit vectors with fused multiply-add.
    Avx2,
    /// 512-bit vectors.
    Avx512,
    /// And products of bytes, four of them added up at once.
    Vnni,
    /// And products of bfloat16, two of them added up at once.
    Bf16,
}

impl Level {
    const ALL: [Level; 6] =
        [Level::Portable, Level::Neon, Level::Avx2, Level::Avx512, Level::Vnni, Level::Bf16];

    /// The highest level that this processor has and that TRUSTFORMERS_CPU allows: `portable`, `neon`, `avx2`, `avx512`, `vnni` or
    /// `bf16`. Anything else there allows all. Read once.
    pub(crate) fn current() -> Level {
        static CURRENT: OnceLock<Level> = OnceLock::new();
        *CURRENT.get_or_init(|| Level::allowed(env::var("TRUSTFORMERS_CPU").ok().as_deref()))
    }

    /// The highest level that this processor has, none above the one that is named.
    fn allowed(name: Option<&str>) -> Level {
        let named = |level: &Level| name.is_some_and(|name| name.trim().eq_ignore_ascii_case(level.name()));
        let highest = Level::ALL.into_iter().find(named);
        let is_allowed = |level: &Level| highest.is_none_or(|highest| *level <= highest);
        Level::available().filter(is_allowed).last().unwrap_or(Level::Portable)
    }

    /// The levels that this processor has, lowest first.
    pub(crate) fn available() -> impl Iterator<Item = Level> {
        Level::ALL.into_iter().filter(|level| level.is_present())
    }

    fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            Level::Neon => "neon",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
            Level::Vnni => "vnni",
            Level::Bf16 => "bf16",
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn is_present(self) -> bool {
        let avx2 = || is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        match self {
            Level::Portable => true,
            Level::Neon => false,
            Level::Avx2 => avx2(),
            Level::Avx512 => avx2() && is_x86_feature_detected!("avx512f"),
            Level::Vnni => {
                avx2()
                    && is_x86_feature_detected!("f16c")
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            Level::Bf16 => Level::Vnni.is_present() && is_x86_feature_detected!("avx512bf16"),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_present(self) -> bool {
        // Every aarch64 has it.
        self == Level::Portable || self == Level::Neon && cfg!(target_arch = "aarch64")
    }
}

/// Which instructions kernels use, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The set that is used.
    pub level: &'static str,
    /// Those that this processor has, lowest first.
    pub available: Vec<&'static str>,
}

/// Which instructions kernels use, and which they could.
pub fn capabilities() -> Capabilities {
    Capabilities { level: Level::current().name(), available: Level::available().map(Level::name).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_lowers_the_level_and_never_raises_it() {
        let highest = Level::available().last().unwrap();
        assert_eq!(Level::allowed(None), highest);
        assert_eq!(Level::allowed(Some("as much as there is")), highest);
        assert_eq!(Level::allowed(Some("portable")), Level::Portable);
        for level in Level::ALL {
            let below = Level::available().filter(|&other| other <= level).last();
            assert_eq!(Some(Level::allowed(Some(level.name()))), below);
        }
        assert_eq!(Level::allowed(Some(" AVX2 ")), Level::allowed(Some("avx2")));
    }

    /// Which level is used is decided once in a process: the other levels are tested by processes of their own.
    #[cfg(not(miri))]
    #[test]
    fn every_test_passes_at_every_lower_level() {
        if env::var_os("TRUSTFORMERS_CPU").is_some() {
            return;
        }
        let highest = Level::available().last();
        for level in Level::available().filter(|&level| Some(level) != highest) {
            let tests = std::process::Command::new(env::current_exe().unwrap())
                .env("TRUSTFORMERS_CPU", level.name())
                .args(["cpu::", "ops::", "quant::"])
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&tests.stdout);
            assert!(tests.status.success(), "at level {}:\n{said}", level.name());
        }
    }
}
