//! The checker: does a recorded history show a store that lost nothing and answered nothing wrong?
//!
//! Each key has one writer, whose clock rises with every write, and is checked as a regular register (Lamport,
//! "On interprocess communication", 1986): a read gives the last write acknowledged before it began, or one that was under
//! way during it. A write that was never acknowledged may take effect at any time after its beginning, until a newer
//! one is acknowledged.

use super::forms::{self, Outcome, Record};
use super::history::{Fault, Line};
use std::collections::BTreeMap;

/// A write of one key.
#[derive(Clone, Debug)]
struct Write {
    record: Record,
    from: u64,
    /// When it was acknowledged.
    acknowledged: Option<u64>,
}

/// A read that was answered in its caller's form.
#[derive(Clone, Debug)]
struct Read {
    key: String,
    from: u64,
    to: u64,
    /// What it gave; absent when it said that the key was never written.
    found: Option<Record>,
}

/// Everything that the clients saw.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    writes: BTreeMap<String, Vec<Write>>,
    reads: Vec<Read>,
    /// Connections that broke during a call.
    pub resets: Vec<Fault>,
    /// Connections that were refused.
    pub refusals: Vec<Fault>,
    calls: Counts,
    /// Calls by the caller's version.
    pub by_version: BTreeMap<u32, u64>,
    /// The first answers that were wrong, refused or failed, for people.
    pub remarks: Vec<String>,
}

/// The calls, by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All that ended.
    pub total: u64,
    /// Answered rightly.
    pub ok: u64,
    /// Refused by the software or an adapter.
    pub refused: u64,
    /// Not answered in time, or answered with a server's error.
    pub failed: u64,
    /// Answered in a strange form, or with a value that the key could not hold.
    pub wrong: u64,
}

/// What the checker found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The calls.
    pub calls: Counts,
    /// Writes that were acknowledged.
    pub writes_acknowledged: u64,
    /// Acknowledged writes that the final reads show neither themselves nor overwritten.
    pub acknowledged_writes_lost: u64,
    /// The first things that are wrong, for people.
    pub remarks: Vec<String>,
}

/// The most remarks that are kept.
const REMARKS_MAX: usize = 20;

impl Observed {
    /// Takes in one client process's history.
    pub fn add(&mut self, lines: Vec<Line>) {
        let mut begun = BTreeMap::new();
        for line in lines {
            match line {
                Line::Begin {
                    id,
                    key,
                    from,
                    version,
                    sent,
                } => {
                    begun.insert(
                        id,
                        (version, key.clone(), self.begin(key, from, version, &sent)),
                    );
                }
                Line::Write {
                    id,
                    to,
                    status,
                    got,
                } => {
                    let Some((version, key, place)) = begun.remove(&id) else {
                        continue;
                    };
                    let outcome = forms::write(version, status, &got);
                    if outcome == Outcome::Written {
                        self.acknowledge(&key, place, to);
                    }
                    self.count(version, &outcome, || {
                        format!("write of {key} at version {version}: {status} {got}")
                    });
                }
                Line::Read {
                    key,
                    from,
                    to,
                    version,
                    status,
                    got,
                } => {
                    let outcome = forms::read(version, &key, status, &got);
                    self.count(version, &outcome, || {
                        format!("read of {key} at version {version}: {status} {got}")
                    });
                    let found = match outcome {
                        Outcome::Found(record) => Some(record),
                        Outcome::Missing => None,
                        _ => continue,
                    };
                    self.reads.push(Read {
                        key,
                        from,
                        to,
                        found,
                    });
                }
                Line::Reset(fault) => self.resets.push(fault),
                Line::Refused(fault) => self.refusals.push(fault),
                Line::Ready { .. } => {}
            }
        }
    }

    /// The place of the write among the key's; none when what was sent is not of the version (a fault of the client).
    fn begin(
        &mut self,
        key: String,
        from: u64,
        version: u32,
        sent: &serde_json::Value,
    ) -> Option<usize> {
        let record = forms::sent(version, sent)?;
        let writes = self.writes.entry(key).or_default();
        writes.push(Write {
            record,
            from,
            acknowledged: None,
        });
        Some(writes.len() - 1)
    }

    fn acknowledge(&mut self, key: &str, place: Option<usize>, at: u64) {
        let write = place.and_then(|place| self.writes.get_mut(key)?.get_mut(place));
        if let Some(write) = write {
            write.acknowledged = Some(at);
        }
    }

    fn count(&mut self, version: u32, outcome: &Outcome, remark: impl FnOnce() -> String) {
        let calls = &mut self.calls;
        calls.total += 1;
        *self.by_version.entry(version).or_default() += 1;
        match outcome {
            Outcome::Written | Outcome::Found(_) | Outcome::Missing => {
                calls.ok += 1;
                return;
            }
            Outcome::Refused => calls.refused += 1,
            Outcome::Failed => calls.failed += 1,
            Outcome::Strange(_) => calls.wrong += 1,
        }
        if self.remarks.len() < REMARKS_MAX {
            self.remarks.push(remark());
        }
    }

    /// How the calls ended, before the values are checked.
    pub fn counts(&self) -> Counts {
        self.calls
    }

    /// Every key that a write was begun for.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.writes.keys().map(String::as_str)
    }

    /// Judges the history. `last` holds what each key held when all was over; keys without an entry are taken as missing.
    pub fn judge(mut self, last: &BTreeMap<String, Record>) -> Verdict {
        let registers: BTreeMap<&str, Register> = self
            .writes
            .iter()
            .map(|(key, writes)| (key.as_str(), Register::new(writes)))
            .collect();
        let none = Register::new(&[]);
        for read in &self.reads {
            if let Err(why) = registers
                .get(read.key.as_str())
                .unwrap_or(&none)
                .allows(read)
            {
                self.calls.wrong += 1;
                self.calls.ok -= 1;
                if self.remarks.len() < REMARKS_MAX {
                    self.remarks.push(why);
                }
            }
        }
        let (mut acknowledged, mut lost) = (0, 0);
        for (key, writes) in &self.writes {
            let clock = last.get(key).map_or(0, |record| record.clock);
            let acknowledgements = writes.iter().filter(|write| write.acknowledged.is_some());
            let (there, gone): (Vec<_>, Vec<_>) =
                acknowledgements.partition(|write| write.record.clock <= clock);
            acknowledged += (there.len() + gone.len()) as u64;
            lost += gone.len() as u64;
            let invented = last
                .get(key)
                .is_some_and(|found| writes.iter().all(|write| write.record != *found));
            lost += u64::from(invented);
            if (invented || !gone.is_empty()) && self.remarks.len() < REMARKS_MAX {
                self.remarks.push(format!(
                    "{key} holds {:?} in the end, {} newer writes are lost",
                    last.get(key),
                    gone.len()
                ));
            }
        }
        Verdict {
            calls: self.calls,
            writes_acknowledged: acknowledged,
            acknowledged_writes_lost: lost,
            remarks: self.remarks,
        }
    }
}

/// One key's writes, ordered for the questions that reads ask.
struct Register<'a> {
    by_clock: BTreeMap<u64, &'a Write>,
    /// (when acknowledged, the highest clock acknowledged until then), by time.
    acknowledged: Vec<(u64, u64)>,
}

impl<'a> Register<'a> {
    fn new(writes: &'a [Write]) -> Self {
        let by_clock = writes
            .iter()
            .map(|write| (write.record.clock, write))
            .collect();
        let mut acknowledged: Vec<_> = writes
            .iter()
            .filter_map(|write| Some((write.acknowledged?, write.record.clock)))
            .collect();
        acknowledged.sort_unstable();
        let mut highest = 0;
        for (_, clock) in &mut acknowledged {
            highest = highest.max(*clock);
            *clock = highest;
        }
        Self {
            by_clock,
            acknowledged,
        }
    }

    /// May this read have given what it gave? The error says why not.
    fn allows(&self, read: &Read) -> Result<(), String> {
        let before = self.acknowledged.partition_point(|(at, _)| *at < read.from);
        let oldest = before.checked_sub(1).map(|last| self.acknowledged[last].1);
        let Some(found) = &read.found else {
            return oldest.map_or(Ok(()), |clock| {
                Err(format!(
                    "{} was missing though the write of clock {clock} was acknowledged before",
                    read.key
                ))
            });
        };
        match self.by_clock.get(&found.clock) {
            Some(write) if write.record == *found && write.from <= read.to => {}
            _ => {
                return Err(format!(
                    "{} held {found:?}, which nobody had written",
                    read.key
                ));
            }
        }
        match oldest {
            Some(clock) if found.clock < clock => Err(format!(
                "{} held clock {}, older than {clock}, which was acknowledged before",
                read.key, found.clock
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
