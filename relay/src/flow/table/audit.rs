//! Whether the parts of a table agree with one another; tests and fuzz targets ask.

use super::*;

impl FlowTable {
    /// Panics when an entry is missing from an index or a list, or one of those holds something that is no entry.
    pub(crate) fn audit(&self) {
        let FlowCounts { half_open, assured } = self.counts();
        assert_eq!(self.half_open_by_address.len(), half_open);
        assert_eq!(self.half_open_by_age.len(), half_open);
        assert_eq!(self.half_open.iter(BY_AGE, &self.half_open_by_age).count(), half_open);
        assert_eq!(self.hosts.values().map(Chain::len).sum::<usize>(), half_open);
        assert!(self.hosts.values().all(|host| !host.is_empty()));
        assert_eq!(self.sessions.values().map(|session| session.half_open.len()).sum::<usize>(), half_open);
        assert_eq!(self.sessions.values().map(|session| session.assured.len()).sum::<usize>(), assured);
        assert!(self.sessions.values().all(|one| !one.half_open.is_empty() || !one.assured.is_empty()));
        assert_eq!(self.assured_by_address.len(), assured);
        let by_silence: Vec<u64> = self.iter_assured().map(Assured::last_activity).collect();
        assert_eq!(by_silence.len(), assured);
        assert!(by_silence.is_sorted());
        for flow in self.iter_assured() {
            let place = self.assured_by_address[&flow.key];
            assert_eq!(self.assured.get(place).tag, flow.tag);
        }
    }
}
