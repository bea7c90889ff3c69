//! The `tcpffee` program.

fn main() {
    use tcpffee::{config, events, signals, supervisor::*};
    let _log = tcpffee::logging::start(&tcpffee::logging::Settings {
        rust_log: std::env::var("RUST_LOG").ok(),
        default_filter: tcpffee::logging::DEFAULT_FILTER,
    });
    let environment = config::Environment::from_process().unwrap();
    let pid = tcpffee::pid_file::PidFile::acquire(environment.pid_path()).unwrap();
    let path = std::env::args()
        .skip_while(|a| a != "--config")
        .nth(1)
        .map_or(environment.config_path.clone(), Into::into);
    let loaded = config::read(&path, &environment).unwrap();
    let (tx, rx) = crossbeam_channel::bounded(events::QUEUE_EVENTS);
    signals::listen(tx.clone()).unwrap();
    let control = tcpffee::control::ControlSocket::open(&pid, tx.clone()).unwrap();
    let s = Supervisor::start(Start {
        config: loaded.config,
        environment,
        config_path: Some(path),
        events: tx,
    })
    .unwrap();
    s.run(&rx);
    control.close(std::time::Duration::from_secs(1));
    pid.release();
}
