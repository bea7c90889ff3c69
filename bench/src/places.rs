//! Addresses and ports of one comparison, all on the loopback network.
//!
//! Everything lies in one /16 of 127/8 chosen by process id, so that two comparisons on one
//! machine do not meet. Listeners stay below the ephemeral range.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context, bail};
use socket2::{Domain, Socket, Type};

/// Listened ports. As many destinations times [`GROUPS`] as needed for the balancer's outgoing
/// connections never to run short of ephemeral ports, TIME_WAIT included.
pub const PORTS: u16 = 16;
/// Server groups behind the balancer.
pub const GROUPS: u8 = 2;
/// Client addresses.
pub const CLIENTS: u16 = 400;

const FIRST_PORT: u16 = 27_000;
const LAST_PORT: u16 = 32_000;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Who is where.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    network: u8,
    first_port: u16,
    /// Which of several balancers with the same ports.
    balancer: u8,
}

impl Places {
    /// Chooses addresses and ports that are free now.
    pub fn choose() -> anyhow::Result<Places> {
        let network = 64 + u8::try_from(std::process::id() % 64).expect("below 64");
        let step = usize::from(PORTS) + 1;
        for first_port in (FIRST_PORT..LAST_PORT).step_by(step) {
            let places = Places {
                network,
                first_port,
                balancer: 0,
            };
            if places.are_free() {
                return Ok(places);
            }
        }
        bail!(
            "no {step} free ports in a row between {FIRST_PORT} and {LAST_PORT} on {}",
            Places {
                network,
                first_port: FIRST_PORT,
                balancer: 0,
            }
            .proxy()
        )
    }

    fn are_free(&self) -> bool {
        let statistics = [SocketAddrV4::new(self.proxy(), self.statistics_port())];
        self.listens()
            .chain(statistics)
            .chain(self.backends())
            .all(|address| listener(address).is_ok())
    }

    /// The same places with another balancer, on an address of its own: below 10.
    pub fn of_balancer(self, balancer: u8) -> Places {
        Places { balancer, ..self }
    }

    /// The balancer's address.
    pub fn proxy(&self) -> Ipv4Addr {
        Ipv4Addr::new(127, self.network, 0, 1 + self.balancer)
    }

    /// First and last listened port.
    pub fn ports(&self) -> (u16, u16) {
        (self.first_port, self.first_port + PORTS - 1)
    }

    /// A port for the balancer's own statistics.
    pub fn statistics_port(&self) -> u16 {
        self.first_port + PORTS
    }

    /// The addresses that the balancer listens on.
    pub fn listens(&self) -> impl Iterator<Item = SocketAddrV4> + use<> {
        let proxy = self.proxy();
        let (first, last) = self.ports();
        (first..=last).map(move |port| SocketAddrV4::new(proxy, port))
    }

    /// One listened address, spread by `nth`.
    pub fn listen(&self, nth: u64) -> SocketAddrV4 {
        let offset = u16::try_from(nth % u64::from(PORTS)).expect("below PORTS");
        SocketAddrV4::new(self.proxy(), self.first_port + offset)
    }

    /// The host of each group.
    pub fn groups(&self) -> impl Iterator<Item = Ipv4Addr> + use<> {
        let network = self.network;
        (0..GROUPS).map(move |group| Ipv4Addr::new(127, network, 0, 11 + group))
    }

    /// Every target of every group.
    pub fn backends(&self) -> impl Iterator<Item = SocketAddrV4> + use<> {
        let (first, last) = self.ports();
        self.groups()
            .flat_map(move |host| (first..=last).map(move |port| SocketAddrV4::new(host, port)))
    }

    /// One client address, spread by `nth`.
    pub fn client(&self, nth: u64) -> Ipv4Addr {
        let nth = u16::try_from(nth % u64::from(CLIENTS)).expect("below CLIENTS");
        let (third, fourth) = (nth / 200, nth % 200);
        Ipv4Addr::new(
            127,
            self.network,
            1 + u8::try_from(third).expect("CLIENTS / 200"),
            1 + u8::try_from(fourth).expect("below 200"),
        )
    }
}

/// A non-blocking listener whose connections inherit TCP_NODELAY.
pub fn listener(address: SocketAddrV4) -> anyhow::Result<std::net::TcpListener> {
    let open = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok::<_, std::io::Error>(socket.into())
    };
    open().with_context(|| format!("listen on {address}"))
}
