//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Measure tcpffee side by side with other TCP load balancers.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start each balancer in turn, put the same work through it, and print one table.
    Compare(CompareOptions),
    /// The reference: a bare epoll loop that copies bytes and knows no sticks.
    #[command(hide = true)]
    Bare(BareOptions),
    /// Three processes of the Raft module on this machine, beside what its disk and loopback take.
    Raft(RaftOptions),
    /// Three tcpffees as a cluster on this machine, with HAProxy's `peers` beside it.
    Cluster(ClusterOptions),
    /// One node that agrees on sticks and proxies nothing: for `cluster`.
    #[command(hide = true)]
    ClusterNode(ClusterNodeOptions),
}

/// Options of `compare`.
#[derive(Args, Debug)]
pub struct CompareOptions {
    /// Rounds; each figure is the median over them (5; with --quick 2).
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: Option<u32>,
    /// A tenth of the work: shows that everything runs; the figures are rough.
    #[arg(long)]
    pub quick: bool,
    /// Multiply the amount of work, to profile a longer run.
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    pub scale: f64,
    /// Only these works.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub only: Vec<WorkName>,
    /// The balancers to measure, in this order.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "tcpffee,haproxy,nginx"
    )]
    pub balancers: Vec<BalancerName>,
    /// The tcpffee to measure.
    #[arg(long, default_value = "target/release/tcpffee")]
    pub tcpffee: PathBuf,
    /// A second build of tcpffee, measured as "other".
    #[arg(long)]
    pub other_tcpffee: Option<PathBuf>,
    /// The haproxy to measure.
    #[arg(long, default_value = "/usr/sbin/haproxy")]
    pub haproxy: PathBuf,
    /// The nginx to measure.
    #[arg(long, default_value = "/usr/sbin/nginx")]
    pub nginx: PathBuf,
    /// nginx's stream module, where it is not built in.
    #[arg(long, default_value = "/usr/lib/nginx/modules/ngx_stream_module.so")]
    pub nginx_stream_module: PathBuf,
    /// The core of the balancer [default: the first that this process may use].
    #[arg(long)]
    pub proxy_core: Option<usize>,
    /// The core of clients and servers [default: the next one].
    #[arg(long)]
    pub load_core: Option<usize>,
}

/// Options of `bare`.
#[derive(Args, Debug)]
pub struct BareOptions {
    /// Addresses to listen on.
    #[arg(long, required = true, value_delimiter = ',')]
    pub listen: Vec<SocketAddr>,
    /// Hosts to relay to, on the port that the client came to.
    #[arg(long, required = true, value_delimiter = ',')]
    pub to: Vec<std::net::Ipv4Addr>,
}

/// Options of `raft`.
#[derive(Args, Debug)]
pub struct RaftOptions {
    /// The node to measure: the example `node` of the package tcpffee-raft.
    #[arg(long, default_value = "target/release/examples/node")]
    pub node: PathBuf,
    /// A tenth of the work: shows that everything runs; the figures are rough.
    #[arg(long)]
    pub quick: bool,
    /// Where the nodes' directories are made: on the disk to measure [default: the directory for
    /// temporary files].
    #[arg(long)]
    pub directory: Option<PathBuf>,
}

/// Options of `cluster`.
#[derive(Args, Debug)]
pub struct ClusterOptions {
    /// The tcpffee to measure.
    #[arg(long, default_value = "target/release/tcpffee")]
    pub tcpffee: PathBuf,
    /// The haproxy to measure.
    #[arg(long, default_value = "/usr/sbin/haproxy")]
    pub haproxy: PathBuf,
    /// A tenth of the work: shows that everything runs; the figures are rough.
    #[arg(long)]
    pub quick: bool,
    /// Only these parts.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub only: Vec<PartName>,
    /// Where the nodes' directories are made: on the disk to measure [default: the directory for
    /// temporary files].
    #[arg(long)]
    pub directory: Option<PathBuf>,
}

/// A part of the cluster's measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PartName {
    /// Clients at two nodes at once, while nodes are killed and restarted.
    Burst,
    /// New keys at the proposal interface; recovery; a wiped node.
    Agreed,
    /// New keys through real connections.
    New,
    /// Known keys: CPU time per connection.
    Known,
    /// The leader is killed.
    Leader,
    /// Idle connections that are held.
    Held,
}

/// Options of `cluster-node`: those of the example `node` of tcpffee-raft.
#[derive(Args, Debug)]
pub struct ClusterNodeOptions {
    /// Which of the peers it is.
    #[arg(long)]
    pub id: u64,
    /// Where log and snapshots are.
    #[arg(long)]
    pub directory: PathBuf,
    /// Where clients are listened for.
    #[arg(long)]
    pub clients: SocketAddr,
    /// NUMBER=LOGS_ADDRESS,PROPOSALS_ADDRESS for each node, this one included.
    #[arg(long, required = true)]
    pub peer: Vec<String>,
    /// The peers form a cluster: they always do.
    #[arg(long)]
    pub form: bool,
    /// Bytes of entries after which a snapshot is taken.
    #[arg(long)]
    pub snapshot_after_bytes: Option<usize>,
}

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WorkName {
    /// Connect, 64 bytes each way, close.
    Connect,
    /// 64-byte ping-pong on 64 connections.
    Pingpong,
    /// Bulk transfer, one way and then the other.
    Bulk,
    /// Idle connections.
    Idle,
}

/// A balancer to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum BalancerName {
    /// tcpffee
    Tcpffee,
    /// haproxy
    Haproxy,
    /// nginx with its stream module
    Nginx,
    /// The bare epoll loop of this program.
    Bare,
    /// The second build of tcpffee; `--other-tcpffee` adds it.
    #[value(skip)]
    Other,
}

impl BalancerName {
    /// The word for it in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            BalancerName::Tcpffee => "tcpffee",
            BalancerName::Haproxy => "haproxy",
            BalancerName::Nginx => "nginx",
            BalancerName::Bare => "bare",
            BalancerName::Other => "other",
        }
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err(format!("expected a number above zero, found {text:?}")),
    }
}
