//! Refusals: what failed, and the next step.

use axum::{
    Json,
    extract::{Query, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use demarche_control::{Code, Problem, SignedFileError};
use demarche_protocol::{channel::Refusal, transcript::Void};

use crate::{runtime::channel::AskError, store::StoreError};

/// A problem as an answer.
#[derive(Debug)]
pub(super) struct Refused(pub(super) Problem);

/// What a handler answers.
pub(super) type Answer<T> = Result<Json<T>, Refused>;

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.0)).into_response()
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store could not be read");
        Self(
            Problem::new(Code::Other, error.to_string())
                .with_help("look at the node's log, which demarched writes on stderr, and at its disk"),
        )
    }
}

impl From<SignedFileError> for Refused {
    fn from(error: SignedFileError) -> Self {
        let code = match error {
            SignedFileError::Signature { .. } => Code::BadSignature,
            SignedFileError::TooMany(_) => Code::TooLong,
            SignedFileError::Json(_) | SignedFileError::NoType => Code::Malformed,
        };
        Self(Problem::new(code, error.to_string()))
    }
}

impl From<AskError> for Refused {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Stopping => Self(stopping()),
            AskError::Refused(refusal) => Self(of_refusal(&refusal)),
        }
    }
}

/// What a query says, or why it says nothing.
pub(super) fn query<T>(read: Result<Query<T>, QueryRejection>) -> Result<T, Refused> {
    read.map(|Query(asked)| asked).map_err(|why| {
        let problem = Problem::new(Code::Malformed, why.body_text());
        Refused(problem.with_help("use a demarche of the node's own version"))
    })
}

pub(super) fn stopping() -> Problem {
    Problem::new(Code::Stopping, "the node is stopping")
        .with_help("start it again, then send the same file: demarche send FILE")
}

fn of_refusal(refusal: &Refusal) -> Problem {
    let (code, help) = match refusal {
        Refusal::Void(void) => return of_void(void),
        Refusal::Credential(_) => (
            Code::BadSignature,
            "look at what it says and who signed: demarche charter explain, demarche officer list",
        ),
        Refusal::UnknownReference(_) => (Code::UnknownReference, "see what is here: demarche inbox"),
        Refusal::NoSpace => (Code::DiskFull, "make room on the node's disk, then send the same file again"),
        Refusal::OutcomeUnknown => (
            Code::OutcomeUnknown,
            "look after the node's disk and start it again; sending the same file again is safe",
        ),
        Refusal::Busy => (Code::Busy, "try again in a moment"),
        Refusal::NeedsNewCard(_) => (Code::NeedsNewCard, "demarche card renew, sign it and install it"),
        Refusal::NoPath(_) => (Code::Other, "see why: demarche status"),
    };
    Problem::new(code, refusal.to_string()).with_help(help)
}

fn of_void(void: &Void) -> Problem {
    let (code, help) = match void {
        Void::NotADocument(_) => (Code::Malformed, "compose it with demarche, or correct the line it names"),
        Void::OutOfPlace(_) => (Code::Malformed, "install it instead: demarche install FILE"),
        Void::WrongChannel => (Code::WrongChannel, "name the right channel: --channel NAME"),
        Void::WrongParty => (Code::WrongParty, "send it at the node of the party it speaks for"),
        Void::UnknownProvision(_) => (Code::UnknownProvision, "see the provisions: demarche charter show"),
        Void::BadSignature(_) => (Code::BadSignature, "sign the text again as it stands"),
        Void::UnknownOfficer(_) => {
            (Code::UnknownOfficer, "enrol the officer: demarche officer draft, sign it and install it")
        }
        Void::RevokedOfficer(_) => (Code::RevokedOfficer, "another officer must sign: demarche officer list"),
        Void::SuspendedOfficer(_) => {
            (Code::RevokedOfficer, "the roots decide: a new officer's document lifts the suspension")
        }
        Void::MissingDuty { .. } => {
            (Code::MissingDuty, "an officer with that duty must sign: demarche officer list")
        }
        Void::TooFewSignatures { .. } => {
            (Code::TooFewSignatures, "have another officer sign the same file, then: demarche send FILE")
        }
        Void::Credential(_) => (Code::BadSignature, "have the roots sign it: demarche sign FILE --key ROOT"),
        Void::AlreadyInEffect(_) => (Code::Other, "see how far it has come: demarche inbox"),
        Void::Misplaced | Void::FalseAuthority => {
            (Code::Other, "look at the node's log, which demarched writes on stderr")
        }
    };
    Problem::new(code, void.to_string()).with_help(help)
}
