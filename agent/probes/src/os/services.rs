//! What `systemctl` prints about units. Pure; the texts are those of systemd 232 and later.

use serde::Deserialize;

/// A unit as `systemctl show` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unit {
    /// The unit's full name: `cups.service`.
    pub id: String,
    /// `loaded`, `not-found`, `masked`.
    pub load_state: String,
    /// `active`, `inactive`, `failed`, `activating`.
    pub active_state: String,
    /// `running`, `exited`, `dead`.
    pub sub_state: String,
    /// `success`, `exit-code`, `signal`, `start-limit-hit`.
    pub result: String,
    /// Exit status of the main process of its last run.
    pub exit_status: Option<i64>,
    /// How often systemd restarted it by itself.
    pub restarts: Option<u64>,
}

impl Unit {
    /// The name that people use: services without `.service`, other units in full.
    pub fn name(&self) -> &str {
        self.id.strip_suffix(".service").unwrap_or(&self.id)
    }
}

#[derive(Deserialize)]
struct Listed {
    unit: String,
}

/// Names of the units that `systemctl list-units --output=json --plain --no-legend` lists. Systems older than 248
/// print a table in spite of the option.
pub fn listed(text: &str) -> Result<Vec<String>, String> {
    let names: Vec<String> = if text.trim_start().starts_with('[') {
        let listed: Vec<Listed> = serde_json::from_str(text)
            .map_err(|error| format!("the list of units cannot be read: {error}"))?;
        listed.into_iter().map(|listed| listed.unit).collect()
    } else {
        text.lines()
            .filter_map(|line| line.trim_start_matches(['●', '*', '×', ' ']).split_ascii_whitespace().next())
            .map(str::to_owned)
            .collect()
    };
    Ok(names.into_iter().filter(|name| is_unit_name(name)).collect())
}

/// Names that systemd accepts (systemd.unit(5)); others are never passed to it.
pub fn is_unit_name(name: &str) -> bool {
    name.len() <= 255
        && name.rsplit_once('.').is_some_and(|(stem, kind)| !stem.is_empty() && !kind.is_empty())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\' | '@'))
}

/// The units that `systemctl show --property=...` describes, in its order.
pub fn shown(text: &str) -> Vec<Unit> {
    text.split("\n\n")
        .map(|paragraph| {
            let mut unit = Unit::default();
            for (name, value) in paragraph.lines().filter_map(|line| line.split_once('=')) {
                match name {
                    "Id" => unit.id = value.to_owned(),
                    "LoadState" => unit.load_state = value.to_owned(),
                    "ActiveState" => unit.active_state = value.to_owned(),
                    "SubState" => unit.sub_state = value.to_owned(),
                    "Result" => unit.result = value.to_owned(),
                    "ExecMainStatus" => unit.exit_status = value.parse().ok(),
                    "NRestarts" => unit.restarts = value.parse().ok(),
                    _ => {}
                }
            }
            unit
        })
        .filter(|unit| !unit.id.is_empty() && !unit.active_state.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_new_and_old_systemd_are_read() {
        let json = r#"[{"unit":"broken.service","load":"loaded","active":"failed","sub":"failed","description":"x"}]"#;
        let table =
            "● broken.service loaded failed failed A broken service\n-.mount loaded failed failed Root\n";
        assert_eq!(listed(json).unwrap(), ["broken.service"]);
        assert_eq!(listed(table).unwrap(), ["broken.service", "-.mount"]);
        assert_eq!(listed("").unwrap(), Vec::<String>::new());
        assert!(listed("[{\"unit\":").is_err());
    }

    #[test]
    fn names_that_are_no_units_are_dropped() {
        assert_eq!(
            listed("a;b.service x\n../x y\nnodot z\n\u{7}.service q\n").unwrap(),
            Vec::<String>::new()
        );
    }

    #[test]
    fn shown_units_have_their_state_and_exit_status() {
        let text = "Id=cups.service\nLoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\nExecMainStatus=3\nNRestarts=5\n\nId=gone.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\nNRestarts=[not set]\n\ngarbage\n";
        let units = shown(text);
        assert_eq!(units.len(), 2);
        assert_eq!((units[0].name(), units[0].exit_status, units[0].restarts), ("cups", Some(3), Some(5)));
        assert_eq!((units[1].load_state.as_str(), units[1].restarts), ("not-found", None));
    }
}
