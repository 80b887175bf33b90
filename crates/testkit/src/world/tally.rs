//! What a run went through, counted: a run that nothing disturbed proves nothing.

/// What a run went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Nodes that died.
    pub crashes: u64,
    /// Frames sent.
    pub frames: u64,
    /// Sessions that completed.
    pub sessions: u64,
    /// Commits that failed.
    pub failed_commits: u64,
    /// Entries told to have arrived.
    pub arrivals: u64,
    /// Entries judged void.
    pub voids: u64,
    /// Cards renewed.
    pub renewals: u64,
    /// Disks lost.
    pub lost_disks: u64,
    /// Envelopes sealed.
    pub envelopes: u64,
    /// Entries told to be in custody.
    pub in_custody: u64,
    /// Envelopes that did not open.
    pub unopenable: u64,
    /// Envelopes that a mediator signed for and lost.
    pub lost_envelopes: u64,
    /// Deposits refused for want of room.
    pub refusals: u64,
    /// Mediators that died.
    pub office_deaths: u64,
    /// Inputs handled.
    pub steps: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.crashes += other.crashes;
        self.frames += other.frames;
        self.sessions += other.sessions;
        self.failed_commits += other.failed_commits;
        self.arrivals += other.arrivals;
        self.voids += other.voids;
        self.renewals += other.renewals;
        self.lost_disks += other.lost_disks;
        self.envelopes += other.envelopes;
        self.in_custody += other.in_custody;
        self.unopenable += other.unopenable;
        self.lost_envelopes += other.lost_envelopes;
        self.refusals += other.refusals;
        self.office_deaths += other.office_deaths;
        self.steps += other.steps;
    }
}
