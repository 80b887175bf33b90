//! Reading libp2p's errors: the whole chain as one line, and the one cause that callers must tell apart.

use std::{error::Error, io};

use libp2p::{core::transport::TransportError, relay::outbound::hop::ConnectError, swarm::DialError};

use crate::transport::OpenError;

/// The error and its sources, outermost first, each text once, all on one line.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = on_one_line(&error.to_string());
    let mut next = error.source();
    while let Some(error) = next {
        let part = on_one_line(&error.to_string());
        if text.is_empty() {
            // Some of libp2p's errors only carry another.
            text = part;
        } else if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        next = error.source();
    }
    text
}

/// The name resolver tells all attempts at a name as a list under a headline; here each cause stands once.
fn on_one_line(text: &str) -> String {
    let mut causes: Vec<&str> = Vec::new();
    for line in text.lines().map(|line| line.trim().trim_start_matches("- ")) {
        if !line.is_empty() && line != "Multiple dial errors occurred:" && !causes.contains(&line) {
            causes.push(line);
        }
    }
    causes.join("; ")
}

/// Why an address could not be dialled, without the address, which the caller knows.
pub(super) fn dial_trouble(error: &DialError) -> String {
    match error {
        DialError::Transport(attempts) => attempts
            .iter()
            .map(|(_, error)| match error {
                TransportError::MultiaddrNotSupported(_) => "address not supported".to_owned(),
                TransportError::Other(error) => chain(error),
            })
            .collect::<Vec<_>>()
            .join("; "),
        other => chain(other),
    }
}

/// What a failed circuit means to whoever wanted a stream.
pub(super) fn circuit_error(error: &DialError) -> OpenError {
    let refusal = match error {
        DialError::Transport(attempts) => attempts.iter().find_map(|(_, error)| match error {
            TransportError::Other(error) => relay_answer(error),
            TransportError::MultiaddrNotSupported(_) => None,
        }),
        _ => None,
    };
    refusal.unwrap_or_else(|| OpenError::Failed(dial_trouble(error)))
}

/// Looks for the relay's own answer in a chain of errors.
fn relay_answer(error: &(dyn Error + 'static)) -> Option<OpenError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(answer) = error.downcast_ref::<ConnectError>() {
            return match answer {
                ConnectError::NoReservation | ConnectError::ConnectionFailed => Some(OpenError::PeerAbsent),
                ConnectError::ResourceLimitExceeded | ConnectError::PermissionDenied => {
                    Some(OpenError::Refused)
                }
                ConnectError::Unsupported => Some(OpenError::Unsupported),
                _ => None,
            };
        }
        // An `io::Error` gives its content's source as its own and hides the content itself.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{said}")]
    struct Told {
        said: &'static str,
        source: Option<Box<Told>>,
    }

    fn told(said: &'static str, source: Option<Told>) -> Told {
        Told { said, source: source.map(Box::new) }
    }

    #[test]
    fn an_error_is_one_line_with_each_cause_once() {
        let in_use = || told("Address already in use (os error 98)", None);
        assert_eq!(chain(&told("", Some(in_use()))), "Address already in use (os error 98)");
        assert_eq!(
            chain(&told("cannot dial", Some(in_use()))),
            "cannot dial: Address already in use (os error 98)"
        );
        let many = told("Multiple dial errors occurred:\n - no route\n - no route\n - refused", None);
        assert_eq!(chain(&told("", Some(many))), "no route; refused");
    }
}
