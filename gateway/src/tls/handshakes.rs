//! Handshakes of a listener, counted by how they ended. [bridge]

use std::{fmt, io};

use rustls::{Error, HandshakeKind, PeerIncompatible, ProtocolVersion};

use crate::bridge::counter::Counter;

/// Why a handshake did not come to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// A certificate was asked for and none shown.
    NoCertificate,
    /// The client's certificate is not acceptable.
    BadCertificate,
    /// No version of the protocol that both speak.
    Version,
    /// No cipher suite, key exchange, signature or application protocol that both speak.
    NothingInCommon,
    /// No certificate for the name that was asked for.
    UnknownName,
    /// HTTP in the clear.
    PlainHttp,
    /// It took too long.
    Timeout,
    /// The client left.
    Closed,
    /// The client refused to go on, and said so.
    Alert,
    /// Bytes that are no TLS, or break its rules.
    Malformed,
}

impl Failure {
    /// All, in the order of their discriminants.
    pub const ALL: [Self; 10] = [
        Self::NoCertificate,
        Self::BadCertificate,
        Self::Version,
        Self::NothingInCommon,
        Self::UnknownName,
        Self::PlainHttp,
        Self::Timeout,
        Self::Closed,
        Self::Alert,
        Self::Malformed,
    ];

    /// Value of `reason`.
    pub fn label(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::BadCertificate => "bad_certificate",
            Self::Version => "version",
            Self::NothingInCommon => "nothing_in_common",
            Self::UnknownName => "unknown_name",
            Self::PlainHttp => "plain_http",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Alert => "alert",
            Self::Malformed => "malformed",
        }
    }

    /// What the error of a handshake comes down to.
    pub fn of(error: &io::Error) -> Self {
        if error
            .get_ref()
            .is_some_and(|inner| inner.is::<UnknownName>())
        {
            return Self::UnknownName;
        }
        let cause = error.get_ref().and_then(|inner| inner.downcast_ref());
        match cause {
            None => Self::Closed,
            Some(Error::NoCertificatesPresented) => Self::NoCertificate,
            Some(Error::InvalidCertificate(_)) => Self::BadCertificate,
            Some(Error::PeerIncompatible(
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::SupportedVersionsExtensionRequired,
            )) => Self::Version,
            Some(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => {
                Self::NothingInCommon
            }
            Some(Error::AlertReceived(_)) => Self::Alert,
            Some(_) => Self::Malformed,
        }
    }

    /// Whether an operator should read of it: somebody is kept out who means to come in.
    pub fn is_telling(self) -> bool {
        matches!(self, Self::NoCertificate | Self::BadCertificate)
    }
}

/// A client asks for a name that nothing is presented for.
#[derive(Debug)]
pub(crate) struct UnknownName;

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no certificate for the name that was asked for")
    }
}

impl std::error::Error for UnknownName {}

/// Handshakes of one thread. Written by that thread only.
#[derive(Debug, Default)]
pub struct Handshakes {
    /// Complete ones, by version (1.2, 1.3) and whether an earlier session was resumed.
    done: [[Counter; 2]; 2],
    /// By [`Failure`].
    failed: [Counter; Failure::ALL.len()],
}

impl Handshakes {
    /// Values of `version` and `resumed`, and how many.
    pub fn done(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let versions = ["1.2", "1.3"].into_iter().zip(&self.done);
        versions.flat_map(|(version, kinds)| {
            let kinds = ["false", "true"].into_iter().zip(kinds);
            kinds.map(move |(resumed, count)| (version, resumed, count.value()))
        })
    }

    /// How many ended so.
    pub fn failed(&self, failure: Failure) -> u64 {
        self.failed[failure as usize].value()
    }

    /// Counts a complete one.
    pub(crate) fn count(&self, version: Option<ProtocolVersion>, kind: Option<HandshakeKind>) {
        let version = usize::from(version == Some(ProtocolVersion::TLSv1_3));
        let resumed = usize::from(kind == Some(HandshakeKind::Resumed));
        self.done[version][resumed].add(1);
    }

    /// Counts one that failed.
    pub(crate) fn fail(&self, failure: Failure) {
        self.failed[failure as usize].add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_indexed_by_discriminant() {
        for (at, failure) in Failure::ALL.into_iter().enumerate() {
            assert_eq!(failure as usize, at);
        }
    }

    #[test]
    fn causes_are_told_apart_through_the_error_of_the_socket() {
        let wrapped = |error: Error| io::Error::new(io::ErrorKind::InvalidData, error);
        let cases = [
            (
                wrapped(Error::NoCertificatesPresented),
                Failure::NoCertificate,
            ),
            (
                wrapped(rustls::CertificateError::Expired.into()),
                Failure::BadCertificate,
            ),
            (
                wrapped(PeerIncompatible::Tls12NotOfferedOrEnabled.into()),
                Failure::Version,
            ),
            (
                wrapped(PeerIncompatible::NoCipherSuitesInCommon.into()),
                Failure::NothingInCommon,
            ),
            (wrapped(Error::DecryptError), Failure::Malformed),
            (io::ErrorKind::UnexpectedEof.into(), Failure::Closed),
            (io::ErrorKind::ConnectionReset.into(), Failure::Closed),
        ];
        for (error, want) in cases {
            assert_eq!(Failure::of(&error), want, "{error}");
        }
    }
}
