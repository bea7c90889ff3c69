//! `compare`: every balancer, every work, in alternating rounds.

use anyhow::{Context, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::balancer::Balancer;
use crate::cli::{BalancerName, CompareOptions};
use crate::core::{self, Cores};
use crate::figure::Sample;
use crate::places::Places;
use crate::table::{self, Results};
use crate::work::Work;

const ROUNDS: u32 = 5;
const QUICK_ROUNDS: u32 = 2;
/// Load average above which the machine counts as busy.
const BUSY_LOAD: f64 = 0.7;

/// Runs the comparison and prints its table.
///
/// # Errors
/// A balancer is missing, does not start, or hangs; or connections through one failed (after the
/// table has been printed).
pub fn run(options: &CompareOptions) -> anyhow::Result<()> {
    let cores = Cores::choose(options.proxy_core, options.load_core)?;
    core::pin(cores.load)?;
    raise_descriptor_limit()?;
    let balancers = balancers(options)?;
    let works = Work::all(options);
    let rounds = options
        .rounds
        .unwrap_or(if options.quick { QUICK_ROUNDS } else { ROUNDS });
    let places = Places::choose()?;
    warn_of_other_work();
    let mut results = Results::default();
    for round in 0..rounds {
        for &work in &works {
            // Each round starts with another balancer, so that none is always the first.
            for at in 0..balancers.len() {
                let balancer = &balancers[(at + round as usize) % balancers.len()];
                let sample = work.measure(balancer, &places, cores)?;
                tell(round, rounds, work, balancer.name, &sample);
                results.add(work, balancer.name, sample);
            }
        }
    }
    let names: Vec<BalancerName> = balancers.iter().map(|balancer| balancer.name).collect();
    println!("\n{}", table::render(&works, &names, &results));
    let errors = results.errors();
    ensure!(errors == 0, "{errors} connections failed");
    Ok(())
}

fn balancers(options: &CompareOptions) -> anyhow::Result<Vec<Balancer>> {
    let mut names: Vec<BalancerName> = Vec::new();
    let other = options
        .other_tcpffee
        .is_some()
        .then_some(BalancerName::Other);
    for &name in options.balancers.iter().chain(&other) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
        .into_iter()
        .map(|name| Balancer::find(name, options))
        .collect()
}

/// One line for one sample, as it comes.
fn tell(round: u32, rounds: u32, work: Work, name: BalancerName, sample: &Sample) {
    let unit = table::cost_unit(work);
    eprintln!(
        "round {}/{rounds}  {:<30}  {:<8} {:>9} {unit}  {:>9}/s  system {:.0} %  core {:.0} %  \
         load {:.0} %  errors {}",
        round + 1,
        work.title(),
        name.as_str(),
        table::cost(work, sample.cost),
        table::rate(sample.rate),
        sample.system_share * 100.0,
        sample.proxy_busy * 100.0,
        sample.load_busy * 100.0,
        sample.errors,
    );
}

/// Says so where the machine is busy before the comparison begins.
fn warn_of_other_work() {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load
        .split(' ')
        .next()
        .and_then(|load| load.parse::<f64>().ok());
    if let Some(load) = load.filter(|load| *load > BUSY_LOAD) {
        eprintln!("note: the load average is {load}: other work blurs the figures");
    }
}

/// As many descriptors as this process may have; the balancers inherit it.
fn raise_descriptor_limit() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).context("raise the limit of descriptors")
}
