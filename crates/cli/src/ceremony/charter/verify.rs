//! `charter verify`: who has signed, who is missing, and what to do next.

use serde_json::Value;

use super::{FileArgs, describe, read};
use crate::ceremony::{
    beside::{how_to_sign, quoted},
    check::{Standing, charter_standing},
    said::Said,
};
use crate::error::Result;

/// Reports; exit 6 when a signature is wrong, 1 while some are missing.
pub(super) fn run(args: &FileArgs) -> Result<Said> {
    let (beside, charter) = read(&args.file)?;
    beside.refuse_wrong()?;
    let standing = charter_standing(&beside, &charter);
    let file = quoted(&args.file);
    let mut said = Said::new(format!("\"{}\", channel {}", charter.title, beside.document().id()))
        .lines(standing.iter().map(|standing| format!("  {}", standing.line())));
    for found in beside.signatures() {
        let key = &found.signature.key;
        if !charter.members().any(|member| member.roots.keys().contains(key)) {
            said = said.line(format!(
                "  {} is by {}, which is no root of any member: it counts for nothing",
                found.path.display(),
                key.fingerprint()
            ));
        }
    }
    let missing: Vec<&Standing> = standing.iter().filter(|standing| !standing.complete()).collect();
    let mut json = describe(&beside, &charter);
    if let Value::Object(object) = &mut json {
        let ids: Vec<String> = missing.iter().map(|standing| standing.member.to_string()).collect();
        object.insert("missing".to_owned(), ids.into());
    }
    said = said.json(json);
    if missing.is_empty() {
        return Ok(said
            .line("all have signed")
            .next(format!("in each data directory: demarche install {file} --card CARD… --data DIR")));
    }
    said.incomplete = true;
    for standing in missing {
        said = said.next(format!("a root of {}: {}", standing.member, how_to_sign(&args.file, beside.kind)));
    }
    Ok(said)
}
