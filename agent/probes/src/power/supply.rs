//! A power supply as `/sys/class/power_supply/*/uevent` describes it (the kernel's `sysfs-class-power`). Pure.

use firstline_model::order;
use std::collections::BTreeMap;

/// What sort of supply it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A battery that this machine runs on.
    Battery,
    /// A battery of something else: mouse, keyboard, headset.
    Peripheral,
    /// Power from outside.
    Outside,
}

/// One supply.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Supply {
    values: BTreeMap<String, String>,
}

impl Supply {
    /// Reads the lines `POWER_SUPPLY_NAME=value`.
    pub fn of(uevent: &str) -> Self {
        let values = uevent.lines().filter_map(|line| {
            let (name, value) = line.strip_prefix("POWER_SUPPLY_")?.split_once('=')?;
            let value = value.trim();
            (!value.is_empty()).then(|| (name.to_owned(), value.to_owned()))
        });
        Self { values: order::map(values) }
    }

    /// A supply that another system describes, by the names that the kernel would use.
    pub fn with(values: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self { values: order::map(values.into_iter().map(|(name, value)| (name.to_owned(), value))) }
    }

    /// A text of it; one that only fills the place is none.
    pub fn text(&self, name: &str) -> Option<&str> {
        let text = self.values.get(name)?.as_str();
        let is_filler =
            text.chars().all(|c| matches!(c, '0' | ' ' | '-')) || text.eq_ignore_ascii_case("unknown");
        (!is_filler).then_some(text)
    }

    /// A whole number of it, zero included.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.values.get(name)?.parse().ok()
    }

    /// What sort it is; `None` when it does not say or is something else.
    pub fn kind(&self) -> Option<Kind> {
        let kind = self.text("TYPE")?;
        match (kind, self.text("SCOPE")) {
            ("Battery", Some("Device")) => Some(Kind::Peripheral),
            ("Battery", _) => Some(Kind::Battery),
            ("Mains" | "Wireless", _) => Some(Kind::Outside),
            (usb, _) if usb.starts_with("USB") => Some(Kind::Outside),
            _ => None,
        }
    }

    /// Whether power comes from it; `None` when it does not say.
    pub fn online(&self) -> Option<bool> {
        self.number("ONLINE").map(|online| online > 0)
    }

    /// Whether the bay holds a battery. Drivers that do not say have one.
    pub fn is_present(&self) -> bool {
        self.number("PRESENT") != Some(0)
    }

    /// Share of charge left.
    pub fn charge(&self) -> Option<f64> {
        let percent = self.number("CAPACITY")?;
        (percent <= 100).then_some(percent as f64 / 100.0)
    }

    /// What it holds when full as a share of what it held when new. New ones hold a little more than they should; more
    /// than half as much again is a wrong number, and so is nothing at all.
    pub fn health(&self) -> Option<f64> {
        let share = |of: &str| {
            let full = self.number(&format!("{of}_FULL"))?;
            let design = self.number(&format!("{of}_FULL_DESIGN")).filter(|design| *design > 0)?;
            Some(full as f64 / design as f64)
        };
        let share = share("ENERGY").or_else(|| share("CHARGE"))?;
        (share > 0.0 && share <= 1.5).then_some(share)
    }

    /// Whether its own electronics call it defective; `None` when they do not say.
    pub fn is_defective(&self) -> Option<bool> {
        match self.text("HEALTH")? {
            "Dead" | "Overheat" | "Over voltage" | "Unspecified failure" | "Over current" => Some(true),
            _ => Some(false),
        }
    }

    /// Whether it is being drained.
    pub fn is_discharging(&self) -> bool {
        self.text("STATUS") == Some("Discharging")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worn_battery_has_its_share_and_an_absurd_one_has_none() {
        let worn = "POWER_SUPPLY_TYPE=Battery\nPOWER_SUPPLY_ENERGY_FULL=30000000\nPOWER_SUPPLY_ENERGY_FULL_DESIGN=50000000\n";
        assert_eq!(Supply::of(worn).health(), Some(0.6));
        for (full, design) in [("0", "50"), ("50", "0"), ("9000", "50"), ("-5", "50"), ("x", "50")] {
            let text = format!("POWER_SUPPLY_CHARGE_FULL={full}\nPOWER_SUPPLY_CHARGE_FULL_DESIGN={design}\n");
            assert_eq!(Supply::of(&text).health(), None, "{full} of {design}");
        }
    }

    #[test]
    fn a_mouse_is_no_battery_of_the_machine() {
        let mouse =
            Supply::of("POWER_SUPPLY_TYPE=Battery\nPOWER_SUPPLY_SCOPE=Device\nPOWER_SUPPLY_CAPACITY=7\n");
        assert_eq!((mouse.kind(), mouse.charge()), (Some(Kind::Peripheral), Some(0.07)));
        assert_eq!(Supply::of("POWER_SUPPLY_TYPE=USB_PD").kind(), Some(Kind::Outside));
        assert_eq!(Supply::of("POWER_SUPPLY_CAPACITY=255").charge(), None);
        assert_eq!(Supply::of("garbage\nPOWER_SUPPLY_TYPE").kind(), None);
    }
}
