//! Where a session goes by the table's answer, and what is to be seen of its client there.

use std::net::SocketAddr;

use crate::groups::{Group, Target};

use super::connect::Source;
use super::generation::Generation;
use super::session::Session;
use super::transparent::Client;
use crate::fault::Fault;

/// The group that a session was given to, and the group's target for its port.
#[derive(Clone, Copy, Debug)]
pub struct Upstream<'g> {
    /// The generation that has both.
    pub generation: &'g Generation,
    /// The group.
    pub group: &'g Group,
    /// The target.
    pub target: &'g Target,
    /// The client, where the target is to see its own address.
    pub client: Option<Client>,
}

impl<'g> Upstream<'g> {
    /// That of a session by its answer; `None`: the generation has no such target.
    pub fn of(session: &Session, generation: &'g Generation) -> Option<Upstream<'g>> {
        let group = generation.groups.get(session.answer?.group)?;
        let client = Client {
            address: session.peer,
            is_named: session.proxied.is_some(),
        };
        Some(Upstream {
            generation,
            group,
            target: group.targets().get(&session.port)?,
            client: group.transparent.then_some(client),
        })
    }

    /// Whether an address of the target may see the client, where it is to.
    fn suits(&self, address: SocketAddr) -> bool {
        self.client
            .is_none_or(|client| client.in_family_of(address).is_some())
    }

    /// The address to connect to first, and how many there are to be tried in all.
    pub fn first(&self) -> Option<(SocketAddr, usize)> {
        let first = self.target.first(|address| self.suits(address))?;
        let addresses = self.target.addresses().iter();
        Some((first, addresses.filter(|&&to| self.suits(to)).count()))
    }

    /// The address to connect to once `failed` has not taken the connection.
    pub fn next_after(&self, failed: SocketAddr) -> Option<SocketAddr> {
        let suits = |address| self.suits(address);
        self.target.next_after(failed, suits)
    }

    /// Where a connection to an address comes from, if it is to come from the client.
    ///
    /// # Errors
    /// It cannot.
    pub fn client_source(&self, address: SocketAddr) -> Result<Option<Source>, Fault> {
        let source = self.client.map(|client| client.source_towards(address));
        Ok(source.transpose()?.map(Source::Client))
    }

    /// Whether a connection to one of the addresses can come from the client, if it is to. Where this
    /// host has no means to find out, the connect will say so.
    pub fn may_be_reached(&self) -> bool {
        let mut addresses = self.target.addresses().iter();
        self.client.is_none()
            || addresses.any(|&to| !matches!(self.client_source(to), Err(Fault::Source(..))))
    }

    /// Whether the address that connections come from is not the kernel's to choose.
    pub fn is_bound(&self, address: SocketAddr) -> bool {
        self.client.is_some() || !self.generation.sources.towards(address).is_empty()
    }
}
