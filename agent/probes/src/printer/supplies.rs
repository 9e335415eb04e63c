//! Levels of toner, ink and waste, from `marker-*` attributes (CUPS and most printers) or from `printer-supply` (PWG
//! 5100.13). The special values -1, -2 and -3 are not levels and never become one.

use crate::printer::message::Group;
use firstline_model::Value;

/// More supplies than this do not fit into a printer.
pub(super) const MAX_SUPPLIES: usize = 32;
const MAX_NAME_BYTES: usize = 128;

/// How much is there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Level {
    /// Share of the capacity, from 0 to 1.
    Share(f64),
    /// -1: the printer does not measure it.
    Unavailable,
    /// -2: the printer does not know.
    Unknown,
    /// -3: something is left, nobody knows how much.
    SomeLeft,
}

/// One supply.
#[derive(Debug, Clone, PartialEq)]
pub struct Supply {
    /// Its name, as the printer gives it.
    pub name: String,
    /// Its type: `toner`, `ink`, `waste-toner`.
    pub kind: Option<String>,
    /// How much is there.
    pub level: Level,
    /// Below this share the printer itself calls it low.
    pub low: Option<f64>,
    /// Whether it is a container that fills up instead of a supply that runs out.
    pub receptacle: bool,
}

impl Supply {
    /// The share that is left, for supplies that run out. Receptacles have none: the standards and the vendors do not
    /// agree whether their level counts what is in them or the room that is left.
    pub fn share_left(&self) -> Option<f64> {
        match self.level {
            Level::Share(share) if !self.receptacle => Some(share),
            Level::Share(_) | Level::Unavailable | Level::Unknown | Level::SomeLeft => None,
        }
    }

    /// The supply as part of a document.
    pub fn document(&self) -> Value {
        let mut pairs =
            vec![("name", Value::from(self.name.clone())), ("receptacle", Value::from(self.receptacle))];
        pairs.push(match self.level {
            Level::Share(share) => ("level", Value::from(share)),
            Level::Unavailable => ("level_state", Value::from("unavailable")),
            Level::Unknown => ("level_state", Value::from("unknown")),
            Level::SomeLeft => ("level_state", Value::from("some_left")),
        });
        pairs.extend(self.kind.clone().map(|kind| ("type", Value::from(kind))));
        pairs.extend(self.low.map(|low| ("low_level", Value::from(low))));
        Value::map(pairs)
    }
}

/// The supplies that a group of printer attributes tells of. `printer-supply` is used when there are no `marker-names`.
pub(crate) fn of(group: &Group) -> Vec<Supply> {
    let markers = markers(group);
    let mut found = if markers.is_empty() { printer_supplies(group) } else { markers };
    tell_apart(&mut found);
    found
}

/// The name tells the samples apart, so a printer's second supply of one name needs one of its own.
pub(super) fn tell_apart(found: &mut [Supply]) {
    for at in 1..found.len() {
        if found[..at].iter().any(|earlier| earlier.name == found[at].name) {
            found[at].name = format!("{} ({})", found[at].name, at + 1);
        }
    }
}

fn markers(group: &Group) -> Vec<Supply> {
    let (names, types) = (group.texts("marker-names"), group.texts("marker-types"));
    let (levels, low) = (group.integers("marker-levels"), group.integers("marker-low-levels"));
    names
        .into_iter()
        .take(MAX_SUPPLIES)
        .enumerate()
        .map(|(at, name)| {
            let kind = types.get(at).filter(|kind| !kind.is_empty()).map(|kind| short(kind));
            Supply {
                name: named(&name, at),
                receptacle: kind.as_deref().is_some_and(|kind| kind.starts_with("waste")),
                level: levels.get(at).map_or(Level::Unavailable, |&level| level_of(level, 100)),
                low: low.get(at).and_then(|&low| share(low, 100)),
                kind,
            }
        })
        .collect()
}

fn printer_supplies(group: &Group) -> Vec<Supply> {
    let descriptions = group.texts("printer-supply-description");
    group
        .texts("printer-supply")
        .iter()
        .take(MAX_SUPPLIES)
        .enumerate()
        .map(|(at, text)| {
            let field = |wanted: &str| {
                text.split(';').find_map(|pair| {
                    let (key, value) = pair.split_once('=')?;
                    (key.trim() == wanted).then(|| value.trim())
                })
            };
            let number = |wanted: &str| field(wanted).and_then(|text| text.parse::<i32>().ok());
            let percent = field("unit") == Some("percent");
            let capacity = if percent { 100 } else { number("maxcapacity").unwrap_or(-2) };
            let name = descriptions.get(at).map(String::as_str).or(field("colorantname")).unwrap_or_default();
            Supply {
                name: named(name, at),
                kind: field("type").map(short),
                level: number("level").map_or(Level::Unavailable, |level| level_of(level, capacity)),
                low: None,
                receptacle: field("class") == Some("receptacleThatIsFilled"),
            }
        })
        .collect()
}

pub(super) fn level_of(level: i32, capacity: i32) -> Level {
    match level {
        -1 => Level::Unavailable,
        -3 => Level::SomeLeft,
        level => share(level, capacity).map_or(Level::Unknown, Level::Share),
    }
}

/// A share needs both numbers to be real and the level to fit: 150 percent is a printer's mistake, not a level.
fn share(level: i32, capacity: i32) -> Option<f64> {
    (capacity > 0 && (0..=capacity).contains(&level)).then(|| f64::from(level) / f64::from(capacity))
}

fn short(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_NAME_BYTES)].to_owned()
}

pub(super) fn named(name: &str, at: usize) -> String {
    if name.is_empty() { format!("supply {}", at + 1) } else { short(name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::printer::message::{self, testing::Writer};

    fn supplies(writer: Writer) -> Vec<Supply> {
        of(&message::parse(&writer.end()).unwrap().groups()[0])
    }

    fn integers(writer: Writer, name: &str, numbers: &[i32]) -> Writer {
        numbers.iter().enumerate().fold(writer, |writer, (at, &number)| {
            writer.integer(0x21, if at == 0 { name } else { "" }, number)
        })
    }

    #[test]
    fn special_levels_are_told_apart_and_never_become_a_share() {
        let writer = Writer::new(0)
            .group(4)
            .texts(0x42, "marker-names", &["Black", "Cyan", "Magenta", "Yellow", "Broken", "Waste"])
            .texts(0x44, "marker-types", &["toner", "toner", "toner", "toner", "toner", "waste-toner"]);
        let found = supplies(integers(writer, "marker-levels", &[5, -1, -2, -3, 150, 90]));
        let levels: Vec<Level> = found.iter().map(|supply| supply.level).collect();
        let expected = [
            Level::Share(0.05),
            Level::Unavailable,
            Level::Unknown,
            Level::SomeLeft,
            Level::Unknown,
            Level::Share(0.9),
        ];
        assert_eq!(levels, expected);
        let left: Vec<Option<f64>> = found.iter().map(Supply::share_left).collect();
        assert_eq!(left, [Some(0.05), None, None, None, None, None]);
        assert_eq!(found[3].document().get("level_state").unwrap().as_text(), Some("some_left"));
    }

    #[test]
    fn octet_strings_of_the_printer_working_group_are_read() {
        let writer = Writer::new(0)
            .group(4)
            .texts(
                0x30,
                "printer-supply",
                &[
                    "index=1;class=receptacleThatIsFilled;type=wasteToner;unit=percent;maxcapacity=100;level=25;",
                    "index=2;class=supplyThatIsConsumed;type=toner;unit=impressions;maxcapacity=12000;level=11501;",
                    "index=3;class=supplyThatIsConsumed;type=toner;maxcapacity=-2;level=-3;",
                    "rubbish;=;level",
                ],
            )
            .texts(0x41, "printer-supply-description", &["Waste Tank", "Drum", ""]);
        let found = supplies(writer);
        assert_eq!(found.len(), 4);
        assert!(found[0].receptacle && found[0].share_left().is_none());
        assert!((found[1].share_left().unwrap() - 0.9584).abs() < 0.001);
        assert_eq!((found[2].level, found[2].name.as_str()), (Level::SomeLeft, "supply 3"));
        assert_eq!(found[3].level, Level::Unavailable);
    }

    #[test]
    fn supplies_are_bounded_in_number_and_told_apart_by_name() {
        let names = vec!["x"; 500];
        let found = supplies(Writer::new(0).group(4).texts(0x42, "marker-names", &names));
        assert_eq!(found.len(), MAX_SUPPLIES);
        assert_eq!((found[0].name.as_str(), found[1].name.as_str()), ("x", "x (2)"));
    }
}
