//! Printer state reasons (RFC 8011 5.4.12): base keyword, severity and what each means to a person.
//!
//! The suffix alone misleads in both directions: an idle printer without toner says `toner-empty-report`, and CUPS's own
//! bookkeeping words carry no suffix, which would make them errors. So the base keyword decides what the reason is about,
//! and the severity is corrected for words that are no faults.

/// The severity of a reason, as its suffix says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReasonSeverity {
    /// Worth knowing; printing goes on.
    Report,
    /// Printing goes on, for now.
    Warning,
    /// Printing has stopped. Also the meaning of no suffix at all.
    Error,
}

impl ReasonSeverity {
    /// The severity as it is written in the attribute `severity`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What a base keyword is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Nothing.
    Fine,
    /// Stopped by a person.
    Paused,
    /// The print server does not reach the printer.
    NoContact,
    /// The printer is off or stopping.
    Off,
    /// Paper is jammed.
    Jam,
    /// Out of paper, or the wrong paper.
    MediaOut,
    /// Something will run out or fill up soon.
    Soon,
    /// A tray is missing or full.
    Tray,
    /// A cover or door is open.
    Open,
    /// Toner, ink or developer is used up.
    SupplyOut,
    /// Toner, ink or developer is low.
    SupplyLow,
    /// The waste container is full.
    WasteFull,
    /// A part is worn out or too hot or cold.
    Worn,
    /// No room for the job.
    Memory,
    /// The print server's own bookkeeping.
    Bookkeeping,
    /// A driver or filter is missing.
    Driver,
    /// Not in the table.
    Other,
}

/// One reason, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason {
    /// The keyword without its suffix.
    pub keyword: String,
    /// The severity, corrected for words that are no faults.
    pub severity: ReasonSeverity,
}

/// A keyword has at most 255 bytes; longer ones do not come from a printer.
const MAX_KEYWORD_BYTES: usize = 255;

impl Reason {
    /// Splits the suffix off. `None` for what is no keyword at all.
    pub fn parse(text: &str) -> Option<Self> {
        let plausible = !text.is_empty()
            && text.len() <= MAX_KEYWORD_BYTES
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        if !plausible {
            return None;
        }
        // This keyword ends in a suffix by its own spelling.
        let whole = text == "cups-ipp-conformance-failure-report";
        let (keyword, said) = [
            ("-error", ReasonSeverity::Error),
            ("-warning", ReasonSeverity::Warning),
            ("-report", ReasonSeverity::Report),
        ]
        .into_iter()
        .filter(|_| !whole)
        .find_map(|(suffix, severity)| Some((text.strip_suffix(suffix)?, Some(severity))))
        .filter(|(keyword, _)| !keyword.is_empty())
        .unwrap_or((text, None));
        let severity = match (classify(keyword), said) {
            (Class::Fine | Class::Bookkeeping, _) => ReasonSeverity::Report,
            // Without a suffix these would count as errors, but other checks own them: paused and unreachable.
            (Class::Paused | Class::NoContact | Class::Driver, None) => ReasonSeverity::Warning,
            (_, Some(severity)) => severity,
            (_, None) => ReasonSeverity::Error,
        };
        Some(Self { keyword: keyword.to_owned(), severity })
    }

    /// What the reason is about.
    pub fn class(&self) -> Class {
        classify(&self.keyword)
    }

    /// Whether somebody has to do something before the printer prints on: everything but low supplies, bookkeeping
    /// and what is only worth knowing. An empty supply counts at any severity, because the suffix under-reports it.
    pub fn stops_printing(&self) -> bool {
        match self.class() {
            Class::SupplyOut | Class::WasteFull | Class::Jam => true,
            Class::Fine | Class::Bookkeeping | Class::Soon | Class::SupplyLow => false,
            Class::Paused => self.severity > ReasonSeverity::Report,
            Class::NoContact
            | Class::Off
            | Class::MediaOut
            | Class::Tray
            | Class::Open
            | Class::Worn
            | Class::Memory
            | Class::Driver
            | Class::Other => self.severity == ReasonSeverity::Error,
        }
    }

    /// The reason in words that a person at the printer understands.
    pub fn meaning(&self) -> String {
        let text = match self.keyword.as_str() {
            "none" => "nothing is wrong",
            "paused" | "moving-to-paused" => "it was paused by a person",
            "connecting-to-device" => "the print server is trying to reach it",
            "timed-out" => "it does not answer the print server",
            "offline" => "it is offline",
            "shutdown" => "it is switched off",
            "stopping" | "stopped-partly" => "it is stopping",
            "media-jam" => "paper is jammed",
            "media-empty" => "it is out of paper",
            "media-needed" => "it needs other paper than is loaded",
            "media-low" => "paper is running low",
            "output-area-almost-full" => "the output tray is almost full",
            "output-area-full" => "the output tray is full",
            "input-tray-missing" => "a paper tray is missing",
            "output-tray-missing" => "the output tray is missing",
            "cover-open" => "a cover is open",
            "door-open" | "interlock-open" => "a door is open",
            "toner-empty" => "toner is used up",
            "marker-supply-empty" => "ink or toner is used up",
            "developer-empty" => "developer is used up",
            "toner-low" => "toner is low",
            "marker-supply-low" => "ink or toner is low",
            "developer-low" => "developer is low",
            "opc-near-eol" => "the drum is near the end of its life",
            "marker-waste-full" | "waste-receptacle-full" => "the waste container is full",
            "marker-waste-almost-full" => "the waste container is almost full",
            "cleaner-life-almost-over" => "the cleaner is near the end of its life",
            "opc-life-over" => "the drum is worn out",
            "cleaner-life-over" => "the cleaner is worn out",
            "fuser-over-temp" => "the fuser is too hot",
            "fuser-under-temp" => "the fuser does not get warm",
            "interpreter-resource-unavailable" => "it has not enough memory for the job",
            "spool-area-full" => "its storage for jobs is full",
            "cups-missing-filter" => "a part of its driver is missing",
            "cups-insecure-filter" => "a part of its driver has unsafe permissions",
            "cups-ipp-conformance-failure-report" => "it does not keep to the printing standard",
            "apple-missing-usbclassdriver" => "its USB driver is missing",
            keyword => return format!("it reports \"{}\"", keyword.replace('-', " ")),
        };
        text.to_owned()
    }
}

fn classify(keyword: &str) -> Class {
    match keyword {
        "none" => Class::Fine,
        "paused" | "moving-to-paused" => Class::Paused,
        "connecting-to-device" | "timed-out" => Class::NoContact,
        "offline" | "shutdown" | "stopping" | "stopped-partly" => Class::Off,
        "media-jam" => Class::Jam,
        "media-empty" | "media-needed" => Class::MediaOut,
        "media-low" | "output-area-almost-full" | "marker-waste-almost-full" | "cleaner-life-almost-over" => {
            Class::Soon
        }
        "input-tray-missing" | "output-tray-missing" | "output-area-full" => Class::Tray,
        "cover-open" | "door-open" | "interlock-open" => Class::Open,
        "toner-empty" | "marker-supply-empty" | "developer-empty" => Class::SupplyOut,
        "toner-low" | "marker-supply-low" | "developer-low" | "opc-near-eol" => Class::SupplyLow,
        "marker-waste-full" | "waste-receptacle-full" => Class::WasteFull,
        "opc-life-over" | "fuser-over-temp" | "fuser-under-temp" | "cleaner-life-over" => Class::Worn,
        "interpreter-resource-unavailable" | "spool-area-full" => Class::Memory,
        "cups-waiting-for-job-completed" => Class::Bookkeeping,
        "cups-missing-filter"
        | "cups-insecure-filter"
        | "cups-ipp-conformance-failure-report"
        | "apple-missing-usbclassdriver" => Class::Driver,
        other if other.starts_with("cups-remote-") => Class::Bookkeeping,
        other if other.starts_with("com.apple.print.recoverable") => Class::Bookkeeping,
        _ => Class::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ReasonSeverity::{Error, Report, Warning};

    #[test]
    fn the_suffix_is_split_off_and_corrected_by_the_keyword() {
        for (text, keyword, severity, stops) in [
            ("none", "none", Report, false),
            ("media-jam", "media-jam", Error, true),
            ("media-jam-warning", "media-jam", Warning, true),
            ("media-empty-error", "media-empty", Error, true),
            ("media-empty-warning", "media-empty", Warning, false),
            ("toner-empty-report", "toner-empty", Report, true),
            ("marker-supply-low-warning", "marker-supply-low", Warning, false),
            ("paused", "paused", Warning, true),
            ("cups-waiting-for-job-completed", "cups-waiting-for-job-completed", Report, false),
            ("cups-remote-stopped", "cups-remote-stopped", Report, false),
            ("cups-missing-filter-warning", "cups-missing-filter", Warning, false),
            ("cups-ipp-conformance-failure-report", "cups-ipp-conformance-failure-report", Warning, false),
            ("vendor-thing-error", "vendor-thing", Error, true),
            ("-error", "-error", Error, true),
        ] {
            let reason = Reason::parse(text).unwrap();
            assert_eq!((reason.keyword.as_str(), reason.severity), (keyword, severity), "{text}");
            assert_eq!(reason.stops_printing(), stops, "{text}");
        }
    }

    #[test]
    fn what_is_no_keyword_is_no_reason() {
        for text in ["", "media jam", "<script>", "media-jam\n", &"a".repeat(256)] {
            assert_eq!(Reason::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn every_keyword_of_the_table_has_words_of_its_own() {
        let known = [
            "none",
            "paused",
            "offline",
            "media-jam",
            "media-empty",
            "media-low",
            "cover-open",
            "toner-empty",
            "toner-low",
            "marker-waste-full",
            "opc-life-over",
            "spool-area-full",
            "timed-out",
            "output-area-full",
        ];
        for keyword in known {
            let reason = Reason::parse(keyword).unwrap();
            assert_ne!(reason.class(), Class::Other, "{keyword}");
            assert!(!reason.meaning().contains("reports"), "{keyword}");
        }
        assert_eq!(Reason::parse("roof-on-fire-error").unwrap().meaning(), "it reports \"roof on fire\"");
    }
}
