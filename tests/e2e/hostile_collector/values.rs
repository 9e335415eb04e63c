//! Every message that a collector can send, filled with what an attacker would try; the number of a value is its seed.

use firstline_proto::v1;
use firstline_proto::v1::collector_message::Message;
use firstline_proto::v1::directive::Directive as Order;
use firstline_proto::v1::run_diagnostic::Diagnostic;
use firstline_tests::fuzz::mutate::mutation;
use firstline_tests::oracle::generator::mix;
use prost::Message as _;

/// The policy that tells the test that everything before it was heard.
pub(super) const LAST_REVISION: u64 = 4_242_424_242;

/// Names that are commands, paths, addresses, or too much.
const NAMES: &[&str] = &[
    "memory",
    "filesystem",
    "network",
    "printer",
    "no-such-probe",
    "",
    "/",
    "/etc",
    "..",
    "../../../../etc/passwd",
    "/proc/self/exe",
    "/dev/sda",
    "/var/lib/firstline-agent/spool.db",
    "; touch /tmp/fl-hostile",
    "$(touch /tmp/fl-hostile)",
    "`touch /tmp/fl-hostile`",
    "| sh",
    "\n/bin/sh -c reboot\n",
    "--output=/etc/cron.d/x",
    "-o ProxyCommand=sh",
    "http://169.254.169.254/latest/meta-data",
    "ipp://10.0.0.1/printers/x",
    "file:///etc/shadow",
    "10.0.0.1:22",
    "evil.example",
    "cups.service",
    "sda",
    "nvme0n1; rm -rf /",
    "%s%s%s%n",
    "\u{0}",
    "\u{202e}exe.txt",
    "{{7*7}}",
    "LD_PRELOAD=/tmp/x.so",
    "system.memory.utilization",
];

const EXTREMES: &[u64] = &[0, 1, 4, 5, 60, 86_400, 86_401, 0x7fff_ffff, 0xffff_ffff, u64::MAX >> 1, u64::MAX];

struct Dice {
    seed: u64,
    throw: u64,
}

impl Dice {
    fn next(&mut self) -> u64 {
        self.throw += 1;
        mix(&[self.seed, self.throw, 12])
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn name(&mut self) -> String {
        if self.below(200) == 0 {
            return "A".repeat(1 << self.below(17));
        }
        let at = self.below(NAMES.len() as u64) as usize;
        NAMES[at].to_owned()
    }

    fn number(&mut self) -> u64 {
        if self.below(2) == 0 { self.next() } else { EXTREMES[self.below(EXTREMES.len() as u64) as usize] }
    }

    fn small(&mut self) -> u32 {
        u32::try_from(self.number() & u64::from(u32::MAX)).unwrap_or(u32::MAX)
    }

    fn level(&mut self) -> f64 {
        [0.5, 0.0, -1.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, 1e308][self.below(7) as usize]
    }

    fn many(&mut self, most: u64) -> u64 {
        if self.below(400) == 0 { most } else { self.below(6) }
    }
}

fn order(order: Order) -> Message {
    Message::Directive(v1::Directive { directive: Some(order) })
}

fn policy(dice: &mut Dice) -> v1::Policy {
    let intervals = dice.many(5_000);
    let triggers = dice.many(2_000);
    v1::Policy {
        revision: dice.number(),
        probe_intervals: (0..intervals)
            .map(|_| v1::ProbeInterval { probe: dice.name(), interval_s: dice.small() })
            .collect(),
        triggers: (0..triggers)
            .map(|_| {
                let attributes = dice.many(100);
                v1::Trigger {
                    metric: dice.name(),
                    component_kind: if dice.below(2) == 0 { "memory".to_owned() } else { dice.name() },
                    level: dice.level(),
                    attributes: (0..attributes).map(|_| dice.name()).collect(),
                }
            })
            .collect(),
        directory_depth: dice.small(),
    }
}

fn diagnostic(dice: &mut Dice) -> v1::RunDiagnostic {
    let diagnostic = match dice.below(11) {
        0 => Diagnostic::LargestDirectories(v1::LargestDirectories { mount_point: dice.name() }),
        1 => Diagnostic::Printer(v1::PrinterTest { queue: dice.name() }),
        2 => Diagnostic::Link(v1::LinkTest {}),
        3 => Diagnostic::Gateway(v1::GatewayTest {}),
        4 => Diagnostic::DnsServers(v1::DnsServersTest {}),
        5 => Diagnostic::TopProcesses(v1::TopProcesses {}),
        6 => Diagnostic::Service(v1::ServiceTest { name: dice.name() }),
        7 => Diagnostic::PhysicalDisk(v1::PhysicalDiskTest { id: dice.name() }),
        8 => Diagnostic::KernelLog(v1::KernelLog {}),
        9 => Diagnostic::Recorder(v1::RecorderWindow { component: dice.name() }),
        _ => return v1::RunDiagnostic { request_id: dice.name(), diagnostic: None, asked_ago_s: 0 },
    };
    let request_id = if dice.below(3) == 0 { dice.name() } else { format!("request-{}", dice.next()) };
    v1::RunDiagnostic {
        request_id,
        diagnostic: Some(diagnostic),
        asked_ago_s: u32::try_from(dice.below(1 << 32)).unwrap_or(0),
    }
}

fn trust(dice: &mut Dice, own: &[u8]) -> v1::Trust {
    let authorities = match dice.below(6) {
        0 => Vec::new(),
        1 => vec![vec![0x30; dice.below(20_000) as usize]],
        2 => vec![own.to_vec(); 9],
        3 => vec![mutation(own, &[], dice.next())],
        // Its own, so that the agent can come back: whom else it trusts is this collector's right to say.
        _ => vec![own.to_vec()],
    };
    // A mutation that is a certificate all the same must not lock the agent out of this test.
    let authorities =
        if authorities.len() == 1 { [authorities, vec![own.to_vec()]].concat() } else { authorities };
    v1::Trust { authorities, renew: dice.below(50) == 0 }
}

/// The greeting, which is what an honest collector would say.
pub(super) fn welcome(hello: &v1::Hello) -> v1::CollectorMessage {
    let marks = hello.epochs.iter().map(|offer| v1::EpochMark {
        epoch: offer.epoch.clone(),
        through_seq: offer.first_unacked.saturating_sub(1),
    });
    let welcome = v1::Welcome {
        marks: marks.collect(),
        credit: 1000,
        sent_at_ms: i64::MAX,
        generation: u64::MAX >> 1,
        token: vec![7; 16],
    };
    v1::CollectorMessage { message: Some(Message::Welcome(welcome)) }
}

/// Value `number`.
pub(super) fn message(number: u64, authority: &[u8], hello: &v1::Hello) -> v1::CollectorMessage {
    let mut dice = Dice { seed: number, throw: 0 };
    let message = match dice.below(21) {
        0..=6 => order(Order::Policy(policy(&mut dice))),
        7..=13 => order(Order::RunDiagnostic(diagnostic(&mut dice))),
        14 | 15 => Message::Trust(trust(&mut dice, authority)),
        // Acks of what is not this agent's, and of what it has acked already.
        16 => Message::Ack(v1::Ack { epoch: vec![9; 16], through_seq: dice.number(), credit: dice.small() }),
        17 => Message::Ack(v1::Ack {
            epoch: hello.epochs.first().map_or_else(|| vec![9; 16], |offer| offer.epoch.clone()),
            through_seq: 0,
            credit: dice.small(),
        }),
        18 => order(Order::Policy(v1::Policy { revision: dice.number(), ..v1::Policy::default() })),
        19 => order(Order::LiveView(v1::LiveView { for_s: dice.small() })),
        _ => return mutated(&mut dice, authority),
    };
    v1::CollectorMessage { message: Some(message) }
}

/// A message whose bytes were changed and that can still be read.
fn mutated(dice: &mut Dice, authority: &[u8]) -> v1::CollectorMessage {
    let original = match dice.below(2) {
        0 => order(Order::Policy(policy(dice))),
        _ => order(Order::RunDiagnostic(diagnostic(dice))),
    };
    let original = v1::CollectorMessage { message: Some(original) };
    let bytes = mutation(&original.encode_to_vec(), authority, dice.next());
    match v1::CollectorMessage::decode(bytes.as_slice()) {
        Ok(v1::CollectorMessage { message: Some(Message::Directive(directive)) }) => {
            v1::CollectorMessage { message: Some(Message::Directive(directive)) }
        }
        // What would end the stream has its turn at the end of each.
        Ok(_) | Err(_) => original,
    }
}

/// What every life ends with, before what ends the stream.
pub(super) fn last_policy() -> v1::CollectorMessage {
    let policy = v1::Policy { revision: LAST_REVISION, ..v1::Policy::default() };
    v1::CollectorMessage { message: Some(order(Order::Policy(policy))) }
}

/// What ends a stream: a refusal, a second greeting, an ack of what was never sent.
pub(super) fn ending(number: u64) -> v1::CollectorMessage {
    let mut dice = Dice { seed: number, throw: 1 << 32 };
    let message = match dice.below(4) {
        0 => Message::Refusal(v1::Refusal {
            reason: i32::try_from(dice.below(9)).unwrap_or(0),
            text: dice.name().repeat(100),
            retry_after_s: dice.small(),
        }),
        1 => Message::Welcome(v1::Welcome {
            marks: vec![v1::EpochMark { epoch: vec![1; 3], through_seq: dice.number() }],
            credit: dice.small(),
            sent_at_ms: i64::MIN,
            generation: dice.number(),
            token: vec![0; dice.below(100) as usize],
        }),
        2 => Message::Ack(v1::Ack { epoch: vec![1; 7], through_seq: u64::MAX, credit: 0 }),
        _ => return v1::CollectorMessage { message: None },
    };
    v1::CollectorMessage { message: Some(message) }
}

/// The answer to a request for a new certificate.
pub(super) fn renewal(number: u64, authority: &[u8]) -> v1::RenewResponse {
    let mut dice = Dice { seed: number, throw: 2 << 32 };
    v1::RenewResponse {
        certificate: mutation(authority, &[], dice.next()),
        authorities: vec![authority.to_vec(); dice.below(12) as usize],
    }
}
