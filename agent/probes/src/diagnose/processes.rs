//! The programs that use most memory and processor time, from `/proc`. Names only: command lines hold file names and
//! sometimes passwords.

use crate::diagnose::{Examined, count, facts};
use crate::process::{TICKS_PER_SECOND, Used, stat};
use crate::{Context, Root};
use firstline_model::{DiagnosticOutcome, Value, order};
use std::collections::HashMap;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

const SHOWN: usize = 5;
const MAX_PROCESSES: usize = 4096;
/// Over how long processor time is measured; at 100 ticks a second this resolves 2 percent.
const WINDOW: Duration = Duration::from_millis(500);
const HOG_MEMORY_SHARE: f64 = 0.5;
const HOG_PROCESSORS: f64 = 0.9;

/// One program at one moment.
#[derive(Debug, Clone, PartialEq)]
struct Process {
    pid: u32,
    name: String,
    ticks: u64,
    rss_bytes: Option<u64>,
    cpu: Option<f64>,
}

pub(super) fn top_processes(context: &Context) -> Examined {
    let root = &context.root;
    let begun = Instant::now();
    let before: HashMap<u32, u64> =
        scan(root, false).into_iter().map(|process| (process.pid, process.ticks)).collect();
    if before.is_empty() {
        return Examined::could_not_tell("The list of running programs could not be read.");
    }
    if root.is_system() {
        pause(WINDOW);
    }
    let window = begun.elapsed().as_secs_f64();
    let mut processes = scan(root, true);
    if root.is_system() && window > 0.0 {
        for process in &mut processes {
            let used = before.get(&process.pid).map(|ticks| process.ticks.saturating_sub(*ticks));
            process.cpu = used.map(|ticks| ticks as f64 / TICKS_PER_SECOND / window);
        }
    }
    let memory = root.read_text("/proc/meminfo").ok().and_then(|text| memory_total(&text));
    report(processes, memory)
}

/// Waits for a time to pass: nothing ever notifies.
fn pause(time: Duration) {
    let (mutex, condition) = (Mutex::new(()), Condvar::new());
    if let Ok(guard) = mutex.lock() {
        drop(condition.wait_timeout_while(guard, time, |()| true));
    }
}

fn scan(root: &Root, with_memory: bool) -> Vec<Process> {
    let names = root.list("/proc").unwrap_or_default();
    names
        .iter()
        .filter_map(|name| name.parse::<u32>().ok())
        .take(MAX_PROCESSES)
        .filter_map(|pid| {
            let (_, Used { name, ticks }) = stat(&root.read_text(&format!("/proc/{pid}/stat")).ok()?)?;
            let status = with_memory.then(|| root.read_text(&format!("/proc/{pid}/status")).ok()).flatten();
            Some(Process { pid, name, ticks, rss_bytes: status.as_deref().and_then(resident), cpu: None })
        })
        .collect()
}

/// `VmRSS` of a `status` file, in bytes; kernel threads have none.
fn resident(text: &str) -> Option<u64> {
    kilobytes(text, "VmRSS:")
}

fn memory_total(text: &str) -> Option<u64> {
    kilobytes(text, "MemTotal:").filter(|total| *total > 0)
}

fn kilobytes(text: &str, field: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(field))?;
    value.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

fn report(mut processes: Vec<Process>, memory: Option<u64>) -> Examined {
    let total = processes.len();
    order::sort_by_key(&mut processes, |process| std::cmp::Reverse(process.rss_bytes));
    let by_memory: Vec<Process> =
        processes.iter().filter(|process| process.rss_bytes.is_some()).take(SHOWN).cloned().collect();
    order::sort_by(&mut processes, |one, other| {
        other.cpu.unwrap_or(-1.0).total_cmp(&one.cpu.unwrap_or(-1.0))
    });
    let by_cpu: Vec<Process> =
        processes.into_iter().filter(|process| process.cpu.is_some()).take(SHOWN).collect();
    let share = |process: &Process| Some(process.rss_bytes? as f64 / memory? as f64);
    let memory_hog = by_memory.first().filter(|process| share(process).is_some_and(|s| s > HOG_MEMORY_SHARE));
    let cpu_hog = by_cpu.first().filter(|process| process.cpu.is_some_and(|cpu| cpu > HOG_PROCESSORS));
    let mut sentences = Vec::new();
    if let Some(first) = by_memory.first() {
        let bytes = first.rss_bytes.unwrap_or(0) as f64;
        sentences.push(format!("{} uses most memory ({:.0} MB)", first.name, bytes / 1e6));
    }
    if let Some(first) = by_cpu.first().filter(|process| process.cpu.unwrap_or(0.0) > 0.0) {
        let percent = first.cpu.unwrap_or(0.0) * 100.0;
        sentences.push(format!("{} most processor time ({percent:.0}% of one processor)", first.name));
    }
    if sentences.is_empty() {
        sentences.push(format!("{} running, none of them large", count(total, "program is", "programs are")));
    }
    let hog = memory_hog.is_some() || cpu_hog.is_some();
    let outcome = if hog { DiagnosticOutcome::Problem } else { DiagnosticOutcome::Ok };
    let facts = facts([
        ("processes", Some(Value::from(total as f64))),
        ("memory_total_bytes", memory.map(|total| Value::from(total as f64))),
        ("top_memory_share", by_memory.first().and_then(share).map(Value::from)),
        ("top_cpu", by_cpu.first().and_then(|process| process.cpu).map(Value::from)),
        ("by_memory", Some(Value::List(by_memory.iter().map(describe).collect()))),
        ("by_cpu", Some(Value::List(by_cpu.iter().map(describe).collect()))),
    ]);
    Examined::new(outcome, format!("{}.", sentences.join(", ")), facts)
}

fn describe(process: &Process) -> Value {
    facts([
        ("name", Some(Value::from(process.name.clone()))),
        ("pid", Some(Value::from(f64::from(process.pid)))),
        ("rss_bytes", process.rss_bytes.map(|bytes| Value::from(bytes as f64))),
        ("cpu", process.cpu.map(Value::from)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(name: &str, rss_bytes: Option<u64>, cpu: Option<f64>) -> Process {
        Process { pid: 1, name: name.to_owned(), ticks: 0, rss_bytes, cpu }
    }

    #[test]
    fn a_program_with_more_than_half_of_the_memory_is_a_problem() {
        let small = process("editor", Some(1_000), None);
        let large = process("browser", Some(5_001), None);
        let kernel = process("kworker", None, None);
        let examined = report(vec![small.clone(), kernel, large], Some(10_000));
        assert_eq!(examined.outcome, DiagnosticOutcome::Problem);
        assert!(examined.summary.starts_with("browser"), "{}", examined.summary);
        assert_eq!(report(vec![small], Some(10_000)).outcome, DiagnosticOutcome::Ok);
    }

    #[test]
    fn processor_time_ranks_apart_from_memory() {
        let examined =
            report(vec![process("a", Some(9), Some(0.1)), process("b", Some(1), Some(0.95))], None);
        assert_eq!(examined.outcome, DiagnosticOutcome::Problem);
        assert!(examined.summary.contains("b most processor time (95%"), "{}", examined.summary);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_test_is_one_of_the_running_programs() {
        let own = scan(&Root::system(), true).into_iter().find(|process| process.pid == std::process::id());
        assert!(own.unwrap().rss_bytes.unwrap() > 0);
    }
}
