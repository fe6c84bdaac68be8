//! Names of devices on the command line, and the `burn` devices behind them.
//!
//! Which devices there are is decided when the program is compiled, by the features `flex` (on by default), `wgpu`,
//! `vulkan` and `cuda`.

use std::fmt;
use std::str::FromStr;

/// A device that this build can use. Without any device feature the type has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceName {
    /// The processor, by `burn-flex`.
    #[cfg(feature = "flex")]
    Flex,
    /// The best adapter of the system by `wgpu`, whichever graphics interface it has.
    #[cfg(feature = "wgpu")]
    Wgpu,
    /// The best adapter that speaks Vulkan.
    #[cfg(feature = "vulkan")]
    Vulkan,
    /// The NVIDIA device of this index, from 0.
    #[cfg(feature = "cuda")]
    Cuda(usize),
}

/// The names that this build understands, the default first.
pub const COMPILED: &[&str] = &[
    #[cfg(feature = "flex")]
    "flex",
    #[cfg(feature = "wgpu")]
    "wgpu",
    #[cfg(feature = "vulkan")]
    "vulkan",
    #[cfg(feature = "cuda")]
    "cuda",
];

impl DeviceName {
    /// What a program uses when `--device` is not given: the first of [`COMPILED`], or nothing if no device is compiled in.
    pub fn default_of_build() -> Option<Self> {
        COMPILED.first().and_then(|name| name.parse().ok())
    }

    /// Opens the device. `flex` is always there; the others fail on first use if the machine lacks them.
    #[cfg(feature = "burn")]
    pub fn open(self) -> burn::tensor::Device {
        #[allow(unused_imports, reason = "a build without devices opens none")]
        use burn::tensor::Device;
        #[cfg(any(feature = "wgpu", feature = "vulkan"))]
        use burn::tensor::DeviceKind;

        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Device::flex(),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Device::wgpu(DeviceKind::DefaultDevice),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Device::vulkan(DeviceKind::DefaultDevice),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => Device::cuda(index),
        }
    }
}

impl fmt::Display for DeviceName {
    #[allow(
        unused_variables,
        reason = "a build without devices has no value to print"
    )]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            #[cfg(feature = "flex")]
            Self::Flex => f.write_str("flex"),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => f.write_str("wgpu"),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => f.write_str("vulkan"),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for DeviceName {
    type Err = UnknownDevice;

    fn from_str(name: &str) -> Result<Self, UnknownDevice> {
        #[cfg(feature = "cuda")]
        if let Some(index) = name.strip_prefix("cuda:") {
            return index.parse().map(Self::Cuda).map_err(|_| UnknownDevice {
                name: name.to_owned(),
            });
        }
        match name {
            #[cfg(feature = "flex")]
            "flex" => Ok(Self::Flex),
            #[cfg(feature = "wgpu")]
            "wgpu" => Ok(Self::Wgpu),
            #[cfg(feature = "vulkan")]
            "vulkan" => Ok(Self::Vulkan),
            #[cfg(feature = "cuda")]
            "cuda" => Ok(Self::Cuda(0)),
            _ => Err(UnknownDevice {
                name: name.to_owned(),
            }),
        }
    }
}

/// A device name that this build does not understand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this build has no device `{name}`, but: {}; others come with `--features wgpu`, `vulkan` or `cuda`",
    list()
)]
pub struct UnknownDevice {
    /// What was given.
    pub name: String,
}

/// The help text of `--device`.
pub(crate) fn option_help() -> String {
    let default = COMPILED
        .first()
        .map_or_else(String::new, |name| format!(" [default: {name}]"));
    format!("Where tensors live; this build has: {}{default}", list())
}

fn list() -> String {
    match COMPILED {
        [] => "none".to_owned(),
        names => names
            .iter()
            .map(|&name| if name == "cuda" { "cuda[:N]" } else { name })
            .collect::<Vec<_>>()
            .join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed_and_shown(name: &str) -> Result<String, UnknownDevice> {
        name.parse::<DeviceName>().map(|device| device.to_string())
    }

    #[test]
    fn compiled_names_round_trip() {
        for name in COMPILED {
            let shown = parsed_and_shown(name).unwrap();
            assert!(shown.starts_with(name));
            assert_eq!(parsed_and_shown(&shown), Ok(shown));
        }
    }

    #[test]
    fn there_is_a_default_wherever_there_is_a_device() {
        let default = DeviceName::default_of_build();
        assert_eq!(default.is_some(), !COMPILED.is_empty());
    }

    #[test]
    fn other_names_are_errors_that_list_the_choice() {
        for name in ["", "abacus", "FLEX", "cuda:", "cuda:x", "cuda:-1", "flex:0"] {
            let error = name.parse::<DeviceName>().unwrap_err();
            assert_eq!(error.name, name);
            for compiled in COMPILED {
                assert!(error.to_string().contains(compiled));
            }
        }
    }

    #[cfg(feature = "cuda")]
    #[test]
    fn cuda_takes_an_index() {
        assert_eq!("cuda".parse(), Ok(DeviceName::Cuda(0)));
        assert_eq!("cuda:3".parse(), Ok(DeviceName::Cuda(3)));
    }
}
