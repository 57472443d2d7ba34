//! How often what happened in the runs, so that a kind of accident that never happens is noticed.

/// How often things happened.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) values: u64,
    pub(crate) crashes: u64,
    pub(crate) poisonings: u64,
    pub(crate) hangs: u64,
    pub(crate) retirements: u64,
    pub(crate) stale_replies: u64,
    pub(crate) snapshots: u64,
    pub(crate) restores: u64,
    pub(crate) replays: u64,
    pub(crate) stalls: u64,
    pub(crate) dead_letters: u64,
    pub(crate) drains: u64,
    pub(crate) scalings: u64,
    pub(crate) moves: u64,
    pub(crate) replacements: u64,
    pub(crate) windows: u64,
    pub(crate) late: u64,
    pub(crate) pool_batches: u64,
    pub(crate) pool_deaths: u64,
    pub(crate) pool_scalings: u64,
    pub(crate) standstills: u64,
    pub(crate) slow: u64,
    /// Changes that users have asked for.
    pub(crate) changes: u64,
    pub(crate) withdrawals: u64,
    pub(crate) unsaved: u64,
    pub(crate) unloaded: u64,
    pub(crate) adoptions: u64,
    pub(crate) outages: u64,
    pub(crate) refused: u64,
    pub(crate) slow_calls: u64,
    pub(crate) ends: u64,
    pub(crate) checkpoints: u64,
    pub(crate) suspensions: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.values += other.values;
        self.crashes += other.crashes;
        self.poisonings += other.poisonings;
        self.hangs += other.hangs;
        self.retirements += other.retirements;
        self.stale_replies += other.stale_replies;
        self.snapshots += other.snapshots;
        self.restores += other.restores;
        self.replays += other.replays;
        self.stalls += other.stalls;
        self.dead_letters += other.dead_letters;
        self.drains += other.drains;
        self.scalings += other.scalings;
        self.moves += other.moves;
        self.replacements += other.replacements;
        self.windows += other.windows;
        self.late += other.late;
        self.pool_batches += other.pool_batches;
        self.pool_deaths += other.pool_deaths;
        self.pool_scalings += other.pool_scalings;
        self.standstills += other.standstills;
        self.slow += other.slow;
        self.changes += other.changes;
        self.withdrawals += other.withdrawals;
        self.unsaved += other.unsaved;
        self.unloaded += other.unloaded;
        self.adoptions += other.adoptions;
        self.outages += other.outages;
        self.refused += other.refused;
        self.slow_calls += other.slow_calls;
        self.ends += other.ends;
        self.checkpoints += other.checkpoints;
        self.suspensions += other.suspensions;
    }

    pub(crate) fn accidents(&self) -> [(&'static str, u64); 31] {
        [
            ("crashes", self.crashes),
            ("poisonings", self.poisonings),
            ("hangs", self.hangs),
            ("retirements", self.retirements),
            ("stale replies", self.stale_replies),
            ("snapshots", self.snapshots),
            ("restores", self.restores),
            ("replays", self.replays),
            ("stalls", self.stalls),
            ("dead letters", self.dead_letters),
            ("drains", self.drains),
            ("scalings", self.scalings),
            ("moves", self.moves),
            ("replacements", self.replacements),
            ("windows", self.windows),
            ("late values", self.late),
            ("batches in pools", self.pool_batches),
            ("deaths in pools", self.pool_deaths),
            ("scalings of pools", self.pool_scalings),
            ("standstills", self.standstills),
            ("slow workers that move on", self.slow),
            ("batches withdrawn from behind a slow one", self.withdrawals),
            ("states that cannot be saved", self.unsaved),
            ("states that cannot be loaded", self.unloaded),
            ("slots without a worker whose partitions others took over", self.adoptions),
            ("stages that wait because a step is out", self.outages),
            ("connections that were given up", self.refused),
            ("deaths of the orchestrator", self.ends),
            ("checkpoints", self.checkpoints),
            ("runs that were suspended", self.suspensions),
            ("slots relieved because of a slow call", self.slow_calls),
        ]
    }
}
