//! The summary of a run, and the conditions under which it is a success.

use super::differential;
use serde::Serialize;

/// The one line of `--json`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// The example's name.
    pub example: &'static str,
    /// How many nodes there were.
    pub nodes: usize,
    /// The versions that the system went through.
    pub versions: Vec<u32>,
    /// The clients' calls.
    pub calls: Calls,
    /// Writes that were acknowledged.
    pub writes_acknowledged: u64,
    /// Connections that were refused although nothing had been killed.
    pub connections_refused: u64,
    /// Acknowledged writes that are neither there nor overwritten in the end.
    pub acknowledged_writes_lost: u64,
    /// Calls that adapters served, as the agents count them.
    pub cross_version_calls: CrossVersionCalls,
    /// For how long calls were held, once for each upgrade of each node.
    pub node_unavailable_ms: Spread,
    /// The whole run.
    pub seconds: u64,
    /// What was seen of the cluster; only for redis-cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cluster>,
    /// How many of the refused calls each dispatch refused; only for color-flavor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_by_dispatch: Option<RefusedBy>,
    /// How many requests both versions answer equally; only for json-server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differential: Option<differential::Both>,
    /// What met a killed child before it listened again; only with `--chaos`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crash_failed: Option<u64>,
    /// At how many points agents were killed; only with `--chaos`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kill_points: Option<KillPoints>,
    /// How many times a server was killed; only with `--database`, `--object-store` or `--registry`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub servers_killed: Option<u64>,
    /// How many times a standby took over the database; only with `--database`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failovers: Option<u64>,
    /// How many objects lie in the bucket, or blobs in the registry; only with `--object-store` or `--registry`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<usize>,
}

/// What was seen of a cluster, asked every 100 ms at every running node whether all of it is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// All looks.
    pub looks: u64,
    /// Looks at a node that was upgrading, or had been killed, and did not see all served.
    pub aside: u64,
    /// All other looks that did not.
    pub not_ok: u64,
    /// Sessions of the bus that passed adapters.
    pub sessions: u64,
}

/// Refused calls by dispatch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RefusedBy {
    /// The adapter sees only its own callers.
    pub direct: u64,
    /// It is told of the others' calls.
    pub observed: u64,
}

/// Calls by how they ended for their caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Calls {
    /// All that ended.
    pub total: u64,
    /// Answered rightly.
    pub ok: u64,
    /// Refused.
    pub refused: u64,
    /// Times that a connection broke during a call, which was then made again.
    pub reset_retried: u64,
    /// Not answered, or with a server's error.
    pub failed: u64,
    /// Answered wrongly.
    pub wrong: u64,
}

/// Calls whose caller was at another version than the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CrossVersionCalls {
    /// From callers at older versions.
    pub past: u64,
    /// From callers at newer versions.
    pub future: u64,
    /// Of these, across two versions.
    pub two_steps: Directions,
}

/// Counts by direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Directions {
    /// From callers at older versions.
    pub past: u64,
    /// From callers at newer versions.
    pub future: u64,
}

/// The middle and the end of a set of times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// The median, milliseconds.
    pub p50: u64,
    /// The longest, milliseconds.
    pub max: u64,
}

impl Spread {
    /// Of these times; zeros when there are none.
    pub fn of(mut times: Vec<u64>) -> Self {
        times.sort_unstable();
        Self {
            p50: times.get(times.len() / 2).copied().unwrap_or(0),
            max: times.last().copied().unwrap_or(0),
        }
    }
}

/// The points at which agents are killed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KillPoints {
    /// Reached, and the agent killed there.
    pub hit: usize,
    /// Journal records, before and after their action, for every class.
    pub total: usize,
}

/// What a run must reach besides its zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demands {
    /// At least so many calls.
    pub calls: u64,
    /// At least so many acknowledged writes.
    pub writes: u64,
    /// At least so many calls through past, and through future adapters.
    pub cross_version: u64,
    /// At least so many of each across two steps.
    pub two_steps: u64,
    /// At most so many broken connections: those that were open when a child was stopped or an agent killed.
    pub resets_max: u64,
    /// So many versions were live at once.
    pub live: usize,
    /// Whether calls may be refused.
    pub refusals: Refusals,
}

/// Whether a run's calls may be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusals {
    /// None is.
    Never,
    /// Those that the example's table lists are, so there must be some.
    Listed,
    /// Some may be.
    Allowed,
}

impl Summary {
    /// Together with another run's: sums of what is counted, the worse of what is measured.
    pub fn and(mut self, other: &Self) -> Self {
        let (calls, more) = (&mut self.calls, &other.calls);
        for (sum, number) in [
            (&mut calls.total, more.total),
            (&mut calls.ok, more.ok),
            (&mut calls.refused, more.refused),
            (&mut calls.reset_retried, more.reset_retried),
            (&mut calls.failed, more.failed),
            (&mut calls.wrong, more.wrong),
            (&mut self.writes_acknowledged, other.writes_acknowledged),
            (&mut self.connections_refused, other.connections_refused),
            (
                &mut self.acknowledged_writes_lost,
                other.acknowledged_writes_lost,
            ),
            (
                &mut self.cross_version_calls.past,
                other.cross_version_calls.past,
            ),
            (
                &mut self.cross_version_calls.future,
                other.cross_version_calls.future,
            ),
            (&mut self.seconds, other.seconds),
        ] {
            *sum += number;
        }
        let spread = &mut self.node_unavailable_ms;
        spread.p50 = spread.p50.max(other.node_unavailable_ms.p50);
        spread.max = spread.max.max(other.node_unavailable_ms.max);
        self
    }

    /// Everything that is not as it must be; empty for a success. `live` is the most versions that were live at once,
    /// `behind` names the nodes that have not come to the last version.
    pub fn shortcomings(&self, demands: &Demands, live: usize, behind: &[String]) -> Vec<String> {
        let mut found = Vec::new();
        let listed = match demands.refusals {
            Refusals::Never => 0,
            Refusals::Listed | Refusals::Allowed => self.calls.refused,
        };
        for (what, count) in [
            ("calls failed", self.calls.failed),
            ("calls were answered wrongly", self.calls.wrong),
            ("calls were refused", self.calls.refused - listed),
            ("connections were refused", self.connections_refused),
            (
                "acknowledged writes are lost",
                self.acknowledged_writes_lost,
            ),
        ] {
            if count > 0 {
                found.push(format!("{count} {what}"));
            }
        }
        let crossed = &self.cross_version_calls;
        for (what, count, wanted) in [
            ("calls", self.calls.total, demands.calls),
            (
                "acknowledged writes",
                self.writes_acknowledged,
                demands.writes,
            ),
            ("past calls", crossed.past, demands.cross_version),
            ("future calls", crossed.future, demands.cross_version),
            (
                "past calls across two steps",
                crossed.two_steps.past,
                demands.two_steps,
            ),
            (
                "future calls across two steps",
                crossed.two_steps.future,
                demands.two_steps,
            ),
            ("versions live at once", live as u64, demands.live as u64),
            (
                "refused calls",
                self.calls.refused,
                u64::from(demands.refusals == Refusals::Listed),
            ),
        ] {
            if count < wanted {
                found.push(format!("only {count} {what}, not {wanted}"));
            }
        }
        if self.calls.reset_retried > demands.resets_max {
            let (resets, most) = (self.calls.reset_retried, demands.resets_max);
            found.push(format!(
                "{resets} connections broke, but only {most} were open when something was stopped"
            ));
        }
        if let Some(points) = self.kill_points.filter(|points| points.hit != points.total) {
            found.push(format!(
                "agents were killed at {} of {} points",
                points.hit, points.total
            ));
        }
        let late = |node| format!("{node} is not at the last version");
        found.extend(behind.iter().map(late));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMANDS: Demands = Demands {
        calls: 10,
        writes: 5,
        cross_version: 2,
        two_steps: 1,
        resets_max: 3,
        live: 3,
        refusals: Refusals::Never,
    };

    fn success() -> Summary {
        let both = Directions { past: 1, future: 1 };
        Summary {
            calls: Calls {
                total: 10,
                ok: 10,
                reset_retried: 3,
                ..Calls::default()
            },
            writes_acknowledged: 5,
            cross_version_calls: CrossVersionCalls {
                past: 2,
                future: 2,
                two_steps: both,
            },
            ..Summary::default()
        }
    }

    #[test]
    fn a_success_has_no_shortcomings() {
        assert_eq!(
            success().shortcomings(&DEMANDS, 3, &[]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn every_condition_counts() {
        let with = |change: fn(&mut Summary)| {
            let mut summary = success();
            change(&mut summary);
            summary.shortcomings(&DEMANDS, 3, &[]).len()
        };
        assert_eq!(with(|summary| summary.calls.failed = 1), 1);
        assert_eq!(with(|summary| summary.calls.wrong = 1), 1);
        assert_eq!(with(|summary| summary.calls.refused = 1), 1);
        assert_eq!(with(|summary| summary.connections_refused = 1), 1);
        assert_eq!(with(|summary| summary.acknowledged_writes_lost = 1), 1);
        assert_eq!(with(|summary| summary.calls.total = 9), 1);
        assert_eq!(with(|summary| summary.writes_acknowledged = 4), 1);
        assert_eq!(with(|summary| summary.calls.reset_retried = 4), 1);
        assert_eq!(
            with(|summary| summary.cross_version_calls = CrossVersionCalls::default()),
            4
        );
        assert_eq!(
            with(|summary| summary.kill_points = Some(KillPoints { hit: 1, total: 2 })),
            1
        );
        assert_eq!(
            success().shortcomings(&DEMANDS, 2, &["a".to_owned()]).len(),
            2
        );
    }

    #[test]
    fn the_spread_is_of_the_times() {
        assert_eq!(Spread::of(vec![5, 1, 3]), Spread { p50: 3, max: 5 });
        assert_eq!(Spread::of(vec![]), Spread::default());
    }

    #[test]
    fn the_line_has_the_promised_fields() {
        let line = serde_json::to_string(&success()).expect("a line");
        assert_eq!(
            line,
            r#"{"example":"","nodes":0,"versions":[],"calls":{"total":10,"ok":10,"refused":0,"reset_retried":3,"failed":0,"wrong":0},"writes_acknowledged":5,"connections_refused":0,"acknowledged_writes_lost":0,"cross_version_calls":{"past":2,"future":2,"two_steps":{"past":1,"future":1}},"node_unavailable_ms":{"p50":0,"max":0},"seconds":0}"#
        );
    }
}
