//! What the node's owner asks, answered.

use super::handle::Request;
use super::node::Node;
use crate::forming::Operator;
use crate::store::files::Files;

impl<F: Files> Node<F> {
    pub(super) fn take_requests(&mut self) {
        while let Ok(request) = self.requests.try_recv() {
            self.take_request(request);
        }
    }

    fn take_request(&mut self, request: Request) {
        // Whoever does not wait for an answer any more has given up.
        match request {
            Request::Peers(peers) => {
                self.transport.set_peers(&peers);
                self.config.network.peers = peers;
            }
            Request::Agreement(agreement) => {
                self.transport.set_agreement(agreement.clone());
                self.config.network.agreement = agreement;
            }
            Request::Secrets(secrets) => {
                self.transport.set_secrets(secrets.clone());
                self.config.network.secrets = secrets;
            }
            Request::State(statement) => {
                self.config.statement = statement.clone();
                self.forming.state_anew(statement.clone());
                self.life.core.state(statement);
            }
            Request::Transfer(to, reply) => {
                let _ = reply.send(self.life.core.transfer_leadership(to));
            }
            Request::Change(change, reply) => {
                let _ = reply.send(self.life.core.change_membership(change));
            }
            Request::Fence(index, reply) => {
                let _ = reply.send(self.life.core.fence(index));
            }
            Request::Operate(ask, reply) => {
                let report = self.forming.operate(ask);
                let _ = reply.send(report);
            }
            Request::Snapshot => self.saving.asked = true,
            Request::Turn(turned) => turned(),
            Request::Stop => self.begin_to_stop(),
        }
    }
}
