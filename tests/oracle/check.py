"""Judges a collector's database against the ledger of a run. Shares no code with the product: sqlite3 and arithmetic.

usage: check.py --ledger FILE --store collector.db [--generated] [--tickets]

  always       every record of the ledger is stored exactly once and unchanged, or covered by a stored gap; nothing is
               stored that nobody wrote; every ack is kept; marks and counters agree with the rows; integrity_check
  --generated  the records are the generator's: their content is computed anew from (seed, device, number)
  --spool FILE the devices' side is an agent that was killed: records that are still in this spool are on their way, not
               lost, and a kill may have come between a commit and its line in the ledger
  --tickets    the tickets of the rule oracle.level are those of the reference evaluator below

Prints one fault a line and ends with 1, or the counts and ends with 0.
"""

import argparse
import hashlib
import sqlite3
import struct
import sys
from collections import defaultdict

MASK = (1 << 64) - 1
BLOCK = 120
RULE = "oracle.level"
ABOVE, CLEAR_BELOW = 0.90, 0.80


# --- the generator, once more -------------------------------------------------------------------------------------

def scramble(state):
    mixed = (state + 0x9E3779B97F4A7C15) & MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
    return mixed ^ (mixed >> 31)


def mix(*parts):
    state = 0
    for part in parts:
        state = scramble(state ^ part)
    return state


def value(seed, device, seq):
    return (mix(seed, device, seq) >> 11) / (1 << 53)


def level(seed, device, seq):
    block, place = divmod(seq - 1, BLOCK)
    plan = mix(seed, device, block, 1)
    fills = 5 + (plan >> 8) % 15
    recovers = fills + 10 + (plan >> 16) % 15
    noise = value(seed, device, seq)
    kind = plan % 3
    if kind == 0 or place < fills:
        return block, 0.5 + 0.2 * noise
    if kind == 2 or place < recovers:
        return block, 0.85 if (place - fills) % 4 == 3 else 0.92 + 0.05 * noise
    return block, 0.6 * noise


# --- the reference evaluator: what the rule must have done, from the order of the records alone --------------------

def expected_history(seed, device, last):
    """component id -> transitions, for records 1..last."""
    firing, history = set(), defaultdict(list)
    for seq in range(1, last + 1):
        drive, used = level(seed, device, seq)
        component = f"/oracle/{drive}"
        if component not in firing and used > ABOVE:
            history[component].append("reopened" if history[component] else "opened")
            firing.add(component)
        elif component in firing and used < CLEAR_BELOW:
            history[component].append("resolved")
            firing.discard(component)
    return history


# --- reading -------------------------------------------------------------------------------------------------------

def read_ledger(path):
    seed, indices, durable, acked, said = 0, {}, {}, {}, []
    with open(path, encoding="ascii") as lines:
        for line in lines:
            kind, *rest = line.split()
            if kind == "S":
                seed = int(rest[0])
            elif kind == "D":
                indices[rest[0]] = int(rest[1])
            elif kind == "I":
                device, epoch, seq, digest = rest
                if durable.setdefault((device, epoch, int(seq)), digest) != digest:
                    sys.exit(f"the ledger contradicts itself: {line}")
            elif kind == "V":
                said.append((rest[0], float(rest[1])))
            elif kind == "A":
                device, epoch, seq = rest
                acked[device, epoch] = max(acked.get((device, epoch), 0), int(seq))
    return seed, indices, durable, acked, said


def gaps_of(database):
    """(device, epoch) -> ranges that the device gave up, as the collector recorded them."""
    gaps = defaultdict(list)
    for actor, subject in database.execute("SELECT actor, subject FROM audit WHERE action = 'record.gap'"):
        epoch, _, numbers = subject.rpartition("/")
        first, last = numbers.split("-")
        gaps[actor.removeprefix("device:"), epoch.replace("-", "")].append((int(first), int(last)))
    return gaps


def few(names):
    names = sorted(names)
    return ", ".join("/".join(str(part) for part in name) for name in names[:5]) + (" ..." if len(names) > 5 else "")


# --- judging -------------------------------------------------------------------------------------------------------

def check_records(database, seed, indices, durable, acked, waiting, unsaid, generated, faults):
    stored, doubled = {}, 0
    rows = database.execute("SELECT device, lower(hex(epoch)), seq, payload FROM record")
    for device, epoch, seq, payload in rows:
        if device not in indices:
            continue
        name = (device, epoch, seq)
        doubled += name in stored
        stored[name] = payload
    if doubled:
        faults.append(f"doubled: {doubled} records are stored more than once")
    gaps = gaps_of(database)
    lost = {
        (device, epoch, seq)
        for device, epoch, seq in durable.keys() - stored.keys()
        if (epoch, seq) not in waiting
        and not any(first <= seq <= last for first, last in gaps[device, epoch])
    }
    if lost:
        broken = {name for name in lost if name[2] <= acked.get(name[:2], 0)}
        faults.append(f"lost: {len(lost)} records, {len(broken)} of them acked: {few(lost)}")
    last = defaultdict(int)
    for device, epoch, seq in durable:
        last[device, epoch] = max(last[device, epoch], seq)
    invented = {name for name in stored.keys() - durable.keys() if not 0 < name[2] - last[name[:2]] <= unsaid}
    if invented:
        faults.append(f"invented: {len(invented)} records that nobody wrote: {few(invented)}")
    changed = {
        name for name in stored.keys() & durable.keys() if hashlib.sha256(stored[name]).hexdigest() != durable[name]
    }
    if changed:
        faults.append(f"changed: {len(changed)} records: {few(changed)}")
    if generated:
        wrong = {
            name for name, payload in stored.items()
            if struct.pack("<d", value(seed, indices[name[0]], name[2])) not in payload
            or struct.pack("<d", level(seed, indices[name[0]], name[2])[1]) not in payload
        }
        if wrong:
            faults.append(f"content: {len(wrong)} records do not say what they must: {few(wrong)}")
    return stored


def check_said(stored, said, faults):
    """Every value that a device was given to report is in one of its records."""
    everything = defaultdict(bytes)
    for (device, _, _), payload in stored.items():
        everything[device] += payload + b"|"
    missing = [(device, number) for device, number in said if struct.pack("<d", number) not in everything[device]]
    if missing:
        faults.append(f"unsaid: {len(missing)} of {len(said)} reported values are in no record: {few(missing)}")


def check_marks(database, indices, stored, acked, faults):
    highest, marks = defaultdict(int), defaultdict(int)
    for device, epoch, seq in stored:
        highest[device, epoch] = max(highest[device, epoch], seq)
    for device, epoch, through in database.execute("SELECT device, lower(hex(epoch)), through FROM mark"):
        if device in indices:
            marks[device, epoch] = through
    for name in marks.keys() | highest.keys() | acked.keys():
        if marks[name] < highest[name]:
            faults.append(f"mark: {few([name])} is at {marks[name]}, but record {highest[name]} is stored")
        if marks[name] < acked.get(name, 0):
            faults.append(f"ack: {few([name])} was acked through {acked[name]}, the mark is {marks[name]}")
    (rows,), (counted,) = (
        database.execute("SELECT count(*) FROM record").fetchone(),
        database.execute("SELECT value FROM counter WHERE name = 'record'").fetchone(),
    )
    if rows != counted:
        faults.append(f"counter: {counted} records are counted, {rows} are stored")


def check_tickets(database, seed, indices, durable, faults):
    last = defaultdict(int)
    for device, _, seq in durable:
        last[device] = max(last[device], seq)
    found = defaultdict(list)
    tickets = database.execute(
        "SELECT id, device, component_id, state FROM ticket WHERE rule = ? AND kind = 'incident' ORDER BY id", [RULE]
    ).fetchall()
    for number, device, component, state in tickets:
        kinds = [kind for (kind,) in database.execute(
            "SELECT kind FROM timeline WHERE ticket = ? AND kind IN ('opened', 'resolved', 'reopened') ORDER BY id",
            [number],
        )]
        found[device, component].append((kinds, state))
    for device, index in indices.items():
        expected = expected_history(seed, index, last[device])
        for component in expected.keys() | {component for owner, component in found if owner == device}:
            histories, must = found.get((device, component), []), expected.get(component, [])
            if len(histories) != (1 if must else 0):
                faults.append(f"tickets: {device} {component} has {len(histories)} tickets, expected {must}")
                continue
            for kinds, state in histories:
                is_over = state in ("resolved", "closed")
                if kinds != must or is_over != (must[-1] == "resolved"):
                    faults.append(f"ticket: {device} {component} is {state} after {kinds}, expected {must}")
    return len(tickets)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ledger", required=True)
    parser.add_argument("--store", required=True)
    parser.add_argument("--spool")
    parser.add_argument("--generated", action="store_true")
    parser.add_argument("--tickets", action="store_true")
    arguments = parser.parse_args()
    seed, indices, durable, acked, said = read_ledger(arguments.ledger)
    waiting = set()
    if arguments.spool:
        waiting = set(sqlite3.connect(arguments.spool).execute(
            "SELECT lower(hex(e.name)), r.seq FROM record r JOIN epoch e ON e.id = r.epoch WHERE r.seq > e.watermark"
        ))
    database = sqlite3.connect(arguments.store, timeout=10)
    faults, tickets = [], 0
    (integrity,) = database.execute("PRAGMA integrity_check").fetchone()
    if integrity != "ok":
        faults.append(f"integrity: {integrity}")
    # A transaction of the agent holds a record and perhaps a gap record before it.
    unsaid = 2 if arguments.spool else 0
    stored = check_records(database, seed, indices, durable, acked, waiting, unsaid, arguments.generated, faults)
    check_said(stored, said, faults)
    check_marks(database, indices, stored, acked, faults)
    if arguments.tickets:
        tickets = check_tickets(database, seed, indices, durable, faults)
    promised = sum(1 for device, epoch, seq in durable if seq <= acked.get((device, epoch), 0))
    for fault in faults:
        print(fault)
    if not faults:
        print(f"records {len(durable)}\nacked {promised}\ntickets {tickets}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
