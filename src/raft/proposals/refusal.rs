//! Why a leader does not take a command, as a number that travels.

use crate::core::ProposeError;
use crate::sessions::Refusal;
use crate::wire::proposal::ANSWER_TOO_LARGE;

/// Why a command was not taken, or not applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    /// The leader has too much to do: later.
    Later,
    /// The body is too long.
    TooLarge,
    /// A member does not understand its version.
    Version,
    /// The sessions refuse it.
    Session(Refusal),
}

const LATER: u16 = 1;
const TOO_LARGE: u16 = 2;
const VERSION: u16 = 3;
const EXPIRED: u16 = 16;
const STALE: u16 = 17;
const BELOW_WINDOW: u16 = 18;
const ANSWER_GONE: u16 = 19;
const TOO_MANY_CLIENTS: u16 = 20;
const ISSUED_AHEAD: u16 = 21;

impl Code {
    /// As it travels.
    pub fn number(self) -> u16 {
        match self {
            Code::Later => LATER,
            Code::TooLarge => TOO_LARGE,
            Code::Version => VERSION,
            Code::Session(Refusal::Expired) => EXPIRED,
            Code::Session(Refusal::Stale) => STALE,
            Code::Session(Refusal::BelowWindow) => BELOW_WINDOW,
            Code::Session(Refusal::AnswerGone) => ANSWER_GONE,
            Code::Session(Refusal::TooManyClients) => TOO_MANY_CLIENTS,
            Code::Session(Refusal::IssuedAhead) => ISSUED_AHEAD,
        }
    }

    /// What the number means. One that a newer leader may have invented is a "later": asked again
    /// until the deadline, its outcome is then stated as unknown.
    pub fn from_number(number: u16) -> Code {
        match number {
            TOO_LARGE => Code::TooLarge,
            VERSION => Code::Version,
            EXPIRED => Code::Session(Refusal::Expired),
            STALE => Code::Session(Refusal::Stale),
            BELOW_WINDOW => Code::Session(Refusal::BelowWindow),
            ANSWER_GONE => Code::Session(Refusal::AnswerGone),
            TOO_MANY_CLIENTS => Code::Session(Refusal::TooManyClients),
            ISSUED_AHEAD => Code::Session(Refusal::IssuedAhead),
            // It was applied; its answer is too long to travel.
            ANSWER_TOO_LARGE => Code::Session(Refusal::AnswerGone),
            _ => Code::Later,
        }
    }

    /// What the core's refusal means; none where it does not lead.
    pub fn of(error: ProposeError) -> Option<Code> {
        match error {
            ProposeError::NotLeader { .. } => None,
            ProposeError::Busy { .. }
            | ProposeError::LogFull { .. }
            | ProposeError::Transferring { .. } => Some(Code::Later),
            ProposeError::TooLarge { .. } => Some(Code::TooLarge),
            ProposeError::Version { .. } => Some(Code::Version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_arrives_as_it_was_sent() {
        let codes = [
            Code::Later,
            Code::TooLarge,
            Code::Version,
            Code::Session(Refusal::Expired),
            Code::Session(Refusal::Stale),
            Code::Session(Refusal::BelowWindow),
            Code::Session(Refusal::AnswerGone),
            Code::Session(Refusal::TooManyClients),
            Code::Session(Refusal::IssuedAhead),
        ];
        for code in codes {
            assert_eq!(Code::from_number(code.number()), code);
        }
        assert_eq!(Code::from_number(999), Code::Later);
    }
}
