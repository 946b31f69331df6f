//! The boards that come with Limbeck.

/// Name and file of each. To add one: write the file, list it here.
pub(crate) const BUILTIN: &[(&str, &str)] = &[
    ("host", include_str!("../boards/host.toml")),
    ("qemu-aarch64", include_str!("../boards/qemu-aarch64.toml")),
    ("qemu-aarch64-a72", include_str!("../boards/qemu-aarch64-a72.toml")),
    ("qemu-aarch64-a76", include_str!("../boards/qemu-aarch64-a76.toml")),
    ("qemu-armv7", include_str!("../boards/qemu-armv7.toml")),
    ("qemu-riscv64", include_str!("../boards/qemu-riscv64.toml")),
    ("raspberry-pi-5", include_str!("../boards/raspberry-pi-5.toml")),
    ("raspberry-pi-4", include_str!("../boards/raspberry-pi-4.toml")),
    ("raspberry-pi-3", include_str!("../boards/raspberry-pi-3.toml")),
    ("raspberry-pi-zero-2w", include_str!("../boards/raspberry-pi-zero-2w.toml")),
    ("raspberry-pi-2", include_str!("../boards/raspberry-pi-2.toml")),
    ("raspberry-pi-zero", include_str!("../boards/raspberry-pi-zero.toml")),
    ("beaglebone-black", include_str!("../boards/beaglebone-black.toml")),
    ("jetson-nano", include_str!("../boards/jetson-nano.toml")),
    ("jetson-orin-nano", include_str!("../boards/jetson-orin-nano.toml")),
    ("imx8m", include_str!("../boards/imx8m.toml")),
    ("rock-5", include_str!("../boards/rock-5.toml")),
    ("orange-pi-5", include_str!("../boards/orange-pi-5.toml")),
    ("orange-pi-pc", include_str!("../boards/orange-pi-pc.toml")),
    ("visionfive-2", include_str!("../boards/visionfive-2.toml")),
];

/// What people call some of them.
pub(crate) const ALIASES: &[(&str, &str)] = &[
    ("rpi5", "raspberry-pi-5"),
    ("rpi4", "raspberry-pi-4"),
    ("rpi3", "raspberry-pi-3"),
    ("rpi-zero-2w", "raspberry-pi-zero-2w"),
    ("rpi2", "raspberry-pi-2"),
    ("rpi-zero", "raspberry-pi-zero"),
    ("raspberry-pi-1", "raspberry-pi-zero"),
    ("bbb", "beaglebone-black"),
    ("rock5", "rock-5"),
    ("orangepi5", "orange-pi-5"),
    ("visionfive2", "visionfive-2"),
];

/// The built-in board of a name or alias: its own name and its text.
pub(crate) fn named(name: &str) -> Option<(&'static str, &'static str)> {
    let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
    BUILTIN.iter().find(|(known, _)| *known == name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alias_is_of_a_board_and_hides_none() {
        for (alias, name) in ALIASES {
            assert_eq!(named(alias).map(|(name, _)| name), Some(*name));
            assert!(BUILTIN.iter().all(|(name, _)| name != alias), "{alias}");
        }
    }
}
