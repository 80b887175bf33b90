//! Whether the roots have signed, and if not, who is missing: the words that draft, verify and install share.

use demarche_protocol::{
    charter::Charter,
    identity::{card::Card, keys::PublicKey, member::MemberId, roots::RootList},
};

use super::beside::{Beside, how_to_sign, malformed, quoted, with_suffix};
use crate::error::{Failure, Result, unverified};

/// How far one member's roots have come with a document.
pub(super) struct Standing {
    pub(super) member: MemberId,
    pub(super) needed: usize,
    /// The roots that have signed.
    pub(super) signed: Vec<PublicKey>,
    /// Those that have not.
    pub(super) waiting: Vec<PublicKey>,
}

impl Standing {
    pub(super) fn of(beside: &Beside, member: &MemberId, roots: &RootList) -> Self {
        let good = beside.document().verified_keys(beside.kind.namespace());
        let (signed, waiting) = roots.keys().iter().partition(|key| good.contains(key));
        Self { member: member.clone(), needed: roots.needed(), signed, waiting }
    }

    pub(super) fn complete(&self) -> bool {
        self.signed.len() >= self.needed
    }

    /// `tehran: 1 of 2 signatures; missing 1 more, of SHA256:… or SHA256:…`.
    pub(super) fn line(&self) -> String {
        let Self { member, needed, signed, .. } = self;
        let have = signed.len();
        let signatures = if *needed == 1 { "signature" } else { "signatures" };
        if self.complete() {
            return format!("{member}: signed ({have} of the {needed} {signatures} needed)");
        }
        format!(
            "{member}: {have} of the {needed} {signatures} needed by roots of {member}; missing {}",
            self.missing()
        )
    }

    fn missing(&self) -> String {
        let keys: Vec<String> = self.waiting.iter().map(PublicKey::fingerprint).collect();
        match (self.needed.saturating_sub(self.signed.len()), keys.as_slice()) {
            (1, [only]) => only.clone(),
            (more, _) => format!("{more} of {}", keys.join(", ")),
        }
    }
}

/// The standing of every member of a charter, in its order.
pub(super) fn charter_standing(beside: &Beside, charter: &Charter) -> Vec<Standing> {
    charter.members().map(|member| Standing::of(beside, &member.id, &member.roots)).collect()
}

/// Refuses unless `roots` of `member` have signed; wrong signatures are refused first. `also` is a key that may have
/// signed besides: a card's node.
pub(super) fn roots_signed(
    beside: &Beside,
    member: &MemberId,
    roots: &RootList,
    also: Option<&PublicKey>,
) -> Result<()> {
    beside.refuse_wrong()?;
    let standing = Standing::of(beside, member, roots);
    if standing.complete() {
        return Ok(());
    }
    let strangers: Vec<String> = beside
        .strangers(roots, also)
        .iter()
        .map(|found| {
            format!(
                "; {} is by {}, which is no root of {member}",
                found.path.display(),
                found.signature.key.fingerprint()
            )
        })
        .collect();
    Err(unverified(format!("{}: {}{}", beside.path.display(), standing.line(), strangers.concat()))
        .help(how_to_sign(&beside.path, beside.kind)))
}

/// A card that its member's roots and its own node have signed.
pub(super) fn card(beside: &Beside, member: &MemberId, roots: &RootList) -> Result<Card> {
    let card = Card::parse(beside.text()).map_err(|why| malformed(&beside.path, &why))?;
    roots_signed(beside, member, roots, Some(&card.node))?;
    match Card::verify(&beside.document(), member, roots) {
        Ok(_) => Ok(card),
        Err(why) => Err(not_the_node(beside, &why)),
    }
}

/// The roots have signed, so what is left is the node's own signature (threat K1d).
fn not_the_node(beside: &Beside, why: &dyn std::fmt::Display) -> Failure {
    let possession = with_suffix(&beside.path, ".node.sig");
    unverified(format!("{}: {why}", beside.path.display())).help(format!(
        "fetch {} from the data directory where `setup` or `card renew` wrote it",
        quoted(&possession)
    ))
}
