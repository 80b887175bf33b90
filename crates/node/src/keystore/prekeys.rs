//! The prekeys under the node's card: the first stands on the card, later ones are made here every week. One is erased when every peer has held
//! a later one for as long as a mediator may keep what is sealed to it; from then on nobody opens that any more (threat K4).
//!
//! `keys/SERIAL/prekey.key` is the card's, `prekey-N.key` the later ones; `prekeys` beside them says of each when it was made and when all
//! peers had confirmed it, as `N MADE [CONFIRMED]`. Lost or unreadable, it only keeps keys longer.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs, io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use demarche_control::{
    layout::{self, DataDir, PRIVATE},
    secret_file,
};
use demarche_protocol::{
    hash::ChannelId,
    identity::{
        card::{Card, CardSerial, Prekey},
        member::MemberId,
        prekey::PrekeySecret,
        signed_prekey::PrekeyNumber,
    },
    time::Timestamp,
};
use rand_core::Rng as _;
use zeroize::Zeroizing;

use super::{KeystoreError, read_line_file};
use crate::{defaults::PREKEY_EVERY, runtime::random};

struct Kept {
    secret: PrekeySecret,
    made: Timestamp,
    /// When every peer had confirmed this one or a later one.
    confirmed: Option<Timestamp>,
}

/// All prekeys of one card whose private half is here.
pub(crate) struct Prekeys {
    data: DataDir,
    serial: CardSerial,
    /// Whose confirmation counts.
    peers: BTreeSet<(ChannelId, MemberId)>,
    /// The longest that a mediator of any channel keeps an envelope.
    keep_for: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: BTreeMap<PrekeyNumber, Kept>,
    held: BTreeMap<(ChannelId, MemberId), PrekeyNumber>,
}

impl Prekeys {
    /// Reads those of `card`. The card's own may be erased when a later one is here.
    pub(crate) fn read(
        data: &DataDir,
        card: &Card,
        peers: BTreeSet<(ChannelId, MemberId)>,
        keep_for: Duration,
    ) -> Result<Self, KeystoreError> {
        let serial = card.serial;
        let noted = noted(data, serial);
        let mut kept = BTreeMap::new();
        for number in numbers(data, serial) {
            let path = data.prekey_numbered(serial, number.0);
            let secret = read_line_file(&path, secret_file::read_prekey, secret_file::PREKEY_FORM)?;
            let unknown = number == PrekeyNumber::OF_CARD;
            let default = if unknown { card.issued_at } else { crate::runtime::clock::wall() };
            let (made, confirmed) = noted.get(&number).copied().unwrap_or((default, None));
            kept.insert(number, Kept { secret, made, confirmed });
        }
        let state = Mutex::new(State { kept, held: BTreeMap::new() });
        Ok(Self { data: data.clone(), serial, peers, keep_for, state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The private half of one.
    pub(crate) fn secret(&self, card: CardSerial, number: PrekeyNumber) -> Option<PrekeySecret> {
        let state = self.state();
        state.kept.get(&number).filter(|_| card == self.serial).map(|kept| kept.secret.clone())
    }

    /// The newest one, if that is not the card's.
    pub(crate) fn newest(&self) -> Option<(PrekeyNumber, Prekey)> {
        let state = self.state();
        let (number, kept) = state.kept.last_key_value()?;
        (*number > PrekeyNumber::OF_CARD).then(|| (*number, kept.secret.public()))
    }

    /// A peer has confirmed that it holds a prekey.
    pub(crate) fn held(&self, channel: ChannelId, peer: &MemberId, number: PrekeyNumber, now: Timestamp) {
        let mut state = self.state();
        let known = state.held.entry((channel, peer.clone())).or_insert(number);
        *known = number.max(*known);
        let all = self.peers.iter().map(|peer| state.held.get(peer).copied()).min().flatten();
        let Some(all) = all else { return };
        let newly = state.kept.range_mut(..=all).filter(|(_, kept)| kept.confirmed.is_none());
        let changed = newly.map(|(_, kept)| kept.confirmed = Some(now)).count() > 0;
        if changed {
            self.note(&state);
        }
    }

    /// Makes a new one when the newest is old enough, and erases those whose time is over. The new one is told.
    pub(crate) fn tend(&self, now: Timestamp) -> Option<(PrekeyNumber, Prekey)> {
        let mut state = self.state();
        self.erase(&mut state, now);
        let (number, newest) = state.kept.last_key_value()?;
        if now < newest.made.plus(PREKEY_EVERY) {
            return None;
        }
        let number = PrekeyNumber(number.0 + 1);
        let secret = drawn().and_then(|secret| {
            let path = self.data.prekey_numbered(self.serial, number.0);
            layout::write(&path, secret_file::prekey(&secret).as_bytes(), PRIVATE)?;
            Ok(secret)
        });
        match secret {
            Ok(secret) => {
                let prekey = secret.public();
                state.kept.insert(number, Kept { secret, made: now, confirmed: None });
                self.note(&state);
                tracing::info!(
                    number = number.0,
                    "a new prekey: what is sealed to earlier ones will be closed for ever"
                );
                Some((number, prekey))
            }
            Err(why) => {
                tracing::error!(%why, "no new prekey could be made; the one before it goes on");
                None
            }
        }
    }

    /// One is over when a later one has been confirmed by all for as long as an envelope is kept.
    fn erase(&self, state: &mut State, now: Timestamp) {
        let over = |kept: &Kept| kept.confirmed.is_some_and(|at| at.plus(self.keep_for) <= now);
        let Some(first) = state.kept.iter().filter(|(_, kept)| over(kept)).map(|(number, _)| *number).max()
        else {
            return;
        };
        let erased: Vec<PrekeyNumber> = state.kept.range(..first).map(|(number, _)| *number).collect();
        for number in &erased {
            match layout::remove(&self.data.prekey_numbered(self.serial, number.0)) {
                Ok(()) => drop(state.kept.remove(number)),
                Err(why) => tracing::error!(%why, number = number.0, "a prekey could not be erased"),
            }
        }
        if !erased.is_empty() {
            self.note(state);
        }
    }

    fn note(&self, state: &State) {
        let mut text = String::new();
        for (number, Kept { made, confirmed, .. }) in &state.kept {
            let confirmed = confirmed.map_or_else(String::new, |at| format!(" {at}"));
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{} {made}{confirmed}", number.0);
        }
        if let Err(why) = layout::write(&self.data.prekey_times(self.serial), text.as_bytes(), PRIVATE) {
            tracing::error!(%why, "the times of the prekeys could not be noted: they are kept longer");
        }
    }
}

fn drawn() -> io::Result<PrekeySecret> {
    let mut generator = random::generator()?;
    let (mut x25519, mut seed) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 64]));
    generator.fill_bytes(&mut x25519[..]);
    generator.fill_bytes(&mut seed[..]);
    Ok(PrekeySecret::from_bytes(&x25519, &seed))
}

/// The numbers whose files are here.
fn numbers(data: &DataDir, serial: CardSerial) -> BTreeSet<PrekeyNumber> {
    let names = fs::read_dir(data.keys(serial)).into_iter().flatten().flatten();
    let number = |name: &str| match name.strip_prefix("prekey")?.strip_suffix(".key")? {
        "" => Some(PrekeyNumber::OF_CARD),
        later => later.strip_prefix('-')?.parse().ok().map(PrekeyNumber),
    };
    names.filter_map(|entry| number(entry.file_name().to_str()?)).collect()
}

type Times = BTreeMap<PrekeyNumber, (Timestamp, Option<Timestamp>)>;

fn noted(data: &DataDir, serial: CardSerial) -> Times {
    let text = fs::read_to_string(data.prekey_times(serial)).unwrap_or_default();
    let line = |line: &str| {
        let mut words = line.split(' ');
        let number = words.next()?.parse().ok().map(PrekeyNumber)?;
        let made = words.next()?.parse().ok()?;
        Some((number, (made, words.next().and_then(|at| at.parse().ok()))))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use demarche_testkit::fixtures::{self, DRAFTED, Scene};

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const KEPT_FOR: Duration = Duration::from_secs(30 * 86_400);

    /// K4: a private half is erased one custody time after every peer has confirmed a later one, no sooner, and for good.
    #[test]
    fn k4_a_prekey_is_erased_when_nothing_sealed_to_it_can_come_any_more() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::new(directory.path());
        let scene = Scene::new(3);
        let (me, one, other) = (&scene.parties[0], &scene.parties[1], &scene.parties[2]);
        let card = scene.card(me, 1);
        layout::make_directory(&data.keys(card.serial), 0o700).unwrap();
        layout::write(
            &data.prekey(card.serial),
            secret_file::prekey(&fixtures::prekey()).as_bytes(),
            PRIVATE,
        )
        .unwrap();
        let channel = scene.channel();
        let peers = || [one, other].map(|peer| (channel, peer.clone())).into();
        let read = || Prekeys::read(&data, &card, peers(), KEPT_FOR).unwrap();
        let has =
            |prekeys: &Prekeys, number: u64| prekeys.secret(card.serial, PrekeyNumber(number)).is_some();

        let prekeys = read();
        assert!(prekeys.tend(DRAFTED.plus(6 * DAY)).is_none() && prekeys.newest().is_none());
        let made = DRAFTED.plus(PREKEY_EVERY);
        let (number, public) = prekeys.tend(made).unwrap();
        assert_eq!(number, PrekeyNumber(1));
        prekeys.held(channel, one, number, made);
        let later = made.plus(2 * KEPT_FOR);
        prekeys.tend(later);
        assert!(has(&prekeys, 0), "one peer has not confirmed");

        let prekeys = read();
        assert_eq!(prekeys.secret(card.serial, PrekeyNumber(1)).unwrap().public(), public);
        for peer in [one, other] {
            prekeys.held(channel, peer, PrekeyNumber(1), later);
        }
        let prekeys = read();
        prekeys.tend(later.plus(29 * DAY));
        assert!(has(&prekeys, 0), "an envelope may still wait");
        prekeys.tend(later.plus(30 * DAY));
        assert!(!has(&prekeys, 0) && has(&prekeys, 1));
        assert!(!data.prekey(card.serial).exists());
        let prekeys = read();
        assert!(!has(&prekeys, 0) && has(&prekeys, 1), "and so after a restart");
        assert!(prekeys.secret(CardSerial(2), PrekeyNumber(1)).is_none());
    }
}
